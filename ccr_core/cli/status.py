"""``ccr status``: reads the state file and asks ``/health``; imports nothing of the router."""

from __future__ import annotations

import time

import attrs
import click

from ccr_core import __version__
from ccr_core.cli import process
from ccr_core.cli.output import emit, facts, paint
from ccr_core.config import find, home

CODES = {"running": 0, "stopped": 1, "stuck": 2}


@click.command(short_help="Say whether the router runs, and where.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> int:
    """Say whether the router runs, and where.

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
        details = {"url": run.url, **attrs.asdict(run)} if run is not None else {}
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
            ("not read", ", ".join(str(path) for path in find().ignored)),
            ("output", run.log or "in the terminal where it was started"),
            ("logs", home() / "logs"),
            *((f"plugin {failed.get('name')}", f"failed: {failed.get('reason')}") for failed in run.failed),
        ]
    )
    if standing.state == "stuck":
        print("its process exists, but nothing answers; end it with: ccr stop")
    return CODES[standing.state]
