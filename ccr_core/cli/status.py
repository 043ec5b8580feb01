"""``ccr status``: reads the state file and asks the running router; imports nothing of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import attrs
import click

from ccr_core import __version__
from ccr_core.cli import process
from ccr_core.cli.output import emit, facts, paint
from ccr_core.config import find, home, read, resolve
from ccr_core.errors import CcrError

CODES = {"running": 0, "stopped": 1, "stuck": 2}


@click.command(short_help="Say whether the router runs, and where.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> int:
    """Say whether the router runs, where, and how it fares.

    Of a running router it also says why a changed configuration is not in use, which providers and keys are left alone
    for a while, what it has learned of providers, and how each of several workers fares. An APIKEY is taken from the
    configuration.

    \b
    Examples:
      ccr status
      ccr status --json
      ccr status >/dev/null || ccr start -d

    Exit code: 0 it runs, 1 it does not, 2 its process exists but does not answer.
    """
    standing = process.look(home())
    run = standing.run
    if as_json:
        # Options may name files, but hold no secret.
        details = {"url": run.url, **attrs.asdict(run), **_told(run, standing.state)} if run is not None else {}
        emit({"state": standing.state, **details})
        return CODES[standing.state]
    if run is None:
        print("ccr is not running; start it with: ccr start -d")
        return CODES["stopped"]
    print(paint("ccr is running", "green") if standing.state == "running" else paint("ccr does not answer", "red"))
    facts(
        [
            ("url", run.url),
            ("pid", run.pid),
            ("version", run.version + (f" (this is {__version__}: ccr restart)" if run.version != __version__ else "")),
            ("since", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))),
            ("configuration", run.config),
            *(_facts(_told(run, standing.state)) if standing.state == "running" else ()),
            ("not read", ", ".join(str(path) for path in find().ignored)),
            ("output", run.log or "in the terminal where it was started"),
            ("logs", home() / "logs"),
            *((f"plugin {failed.get('name')}", f"failed: {failed.get('reason')}") for failed in run.failed),
        ]
    )
    if standing.state == "stuck":
        print("its process exists, but nothing answers; end it with: ccr stop")
    return CODES[standing.state]


TOLD = ("default", "proxy", "warnings", "reload", "cooling", "learned", "workers")
"""What of a router's own status is shown."""


def _told(run: process.Run, state: str) -> dict[str, Any]:
    """What the router says of itself; empty if it does not answer, or refuses the key."""
    if state != "running":
        return {}
    found = process.status(run, _key(run)) or {}
    return {name: found[name] for name in TOLD if name in found}


def _key(run: process.Run) -> str | None:
    """The router's key, as the file has it now."""
    try:
        key = resolve(read(Path(run.config)).get("APIKEY"), os.environ, []) if run.config else None
    except CcrError:
        return None
    return key if isinstance(key, str) and key.isascii() and key.isprintable() else None


def _facts(told: dict[str, Any]) -> list[tuple[str, object]]:
    """Lines about reloads, cooling keys and learned corrections."""
    if not told:
        return [("details", "not told: the router wants another key than the APIKEY in the configuration")]
    reload = told.get("reload") or {}
    facts: list[tuple[str, object]] = [("default", told.get("default")), ("proxy", told.get("proxy"))]
    workers = told.get("workers") or ()
    facts += [("worker", _worker(worker)) for worker in workers if len(workers) > 1]
    if reload.get("last"):
        facts.append(("reloaded", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(reload["last"]))))
    if reload.get("problem"):
        facts.append(("not in use", paint(f"the changed configuration: {reload['problem']}", "red")))
    for item in told.get("cooling") or ():
        who = " ".join(part for part in (item["provider"], item["key"]) if part)
        facts.append(("cools down", f"{who}, for {item['seconds']:.0f} s: {item['why']}"))
    facts += [
        ("learned", f"{item['provider']},{item['model']}: {item['correction']}") for item in told.get("learned") or ()
    ]
    return facts


def _worker(worker: dict[str, Any]) -> str:
    """A line about one of several workers."""
    if worker.get("silent"):
        return paint(f"{worker['number']}: does not answer just now", "red")
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(worker["started"]))
    times = worker["starts"] - 1
    again = f", started again {times} time{'s' if times > 1 else ''}" if times else ""
    return f"{worker['number']}: pid {worker['pid']}, since {since}{again}"
