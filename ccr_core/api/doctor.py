"""What ``ccr doctor`` finds.

Its checks are made for a process of their own, and some of them start programs: so they run in one.
"""

from __future__ import annotations

import asyncio
import os
import sys

import orjson

from ccr_core.api.desk import Desk
from ccr_core.api.openapi import maybe
from ccr_core.api.operation import Call, Operation, Refused
from ccr_core.messages import JSON

SECONDS = 60.0
SWITCH = ("true", "1", "yes")


async def show(desk: Desk, call: Call) -> JSON:
    """Run the checks."""
    words = [sys.executable, "-P", "-m", "ccr_core.cli", "doctor", "--json"]
    if call.query.get("network", "").lower() in SWITCH:
        words.append("--network")
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "CCR_HOME": str(desk.app.home)},
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, said = await process.communicate()
    except TimeoutError:
        raise Refused(f"the checks did not end within {SECONDS:g} s", 504) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        found = orjson.loads(out)
    except orjson.JSONDecodeError:
        words_said = said.decode("utf-8", "replace").strip().splitlines()
        raise Refused(f"ccr doctor failed: {words_said[-1] if words_said else process.returncode}", 500) from None
    findings = [
        {
            "check": each["check"],
            "level": each["level"],
            "message": each["text"],
            "mend": each.get("mend") or None,
        }
        for each in found["findings"]
    ]
    told: JSON = desk.clean({"ok": found["ok"], "findings": findings})
    return told


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/doctor",
        summary="What `ccr doctor` finds, and what mends it.",
        answer=show,
        query={"network": "`true`: also open a connection to each provider"},
        gives={
            "ok": bool,
            "findings": [
                {"check": str, "level": ("ok", "note", "warning", "error"), "message": str, "mend": maybe(str)}
            ],
        },
    ),
)
