"""``ccr statusline`` with options: its help, and its place in Claude Code's settings.

The line itself is made by :mod:`ccr_core.cli.statusline`, which must not import what is imported here.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from ccr_core.cli.output import fail
from ccr_core.errors import CcrError, ConfigError

UNDO = "statusline-undo.json"


@click.command(short_help="Print Claude Code's status line.")
@click.option("--install", is_flag=True, help="Put it into Claude Code's settings, keeping what was there.")
@click.option("--uninstall", is_flag=True, help="Put back what was there before --install.")
@click.argument("preset", required=False)
def statusline(preset: str | None, install: bool, uninstall: bool) -> int:
    """Print Claude Code's status line, from the JSON that the client gives on standard input.

    The theme is StatusLine of the configuration, or of the PRESET. "ccr code" shows it where StatusLine.enabled is set;
    --install shows it in every Claude Code, by an entry in settings.json of ~/.claude (or CLAUDE_CONFIG_DIR).

    \b
    Examples:
      ccr statusline --install
      ccr statusline --uninstall
      echo '{"workspace": {"current_dir": "'$PWD'"}}' | ccr statusline

    Exit code: 0; 1 when the input is no JSON or the settings cannot be changed.
    """
    if install and uninstall:
        return fail("--install and --uninstall exclude each other", 2)
    if install:
        return put_in(preset)
    if uninstall:
        return take_out()
    from ccr_core.cli import statusline as line

    return line.main([preset] if preset else [])


def settings_path() -> Path:
    """Claude Code's settings of this user."""
    chosen = os.environ.get("CLAUDE_CONFIG_DIR")
    return (Path(chosen).expanduser() if chosen else Path.home() / ".claude") / "settings.json"


def entry(preset: str | None = None) -> dict[str, Any]:
    """The value of ``statusLine`` in Claude Code's settings."""
    program = "ccr" if shutil.which("ccr") else f"{shlex.quote(sys.executable)} -P -m ccr_core.cli"
    return {
        "type": "command",
        "command": f"{program} statusline{f' {shlex.quote(preset)}' if preset else ''}",
        "padding": 0,
    }


def _read(path: Path) -> dict[str, Any]:
    from ccr_core.config import read

    try:
        return read(path)
    except ConfigError as error:
        raise CcrError(f"{error.message}; mend the file, nothing was changed") from error


def put_in(preset: str | None) -> int:
    """Write the entry and remember what was there."""
    from ccr_core.cli import process
    from ccr_core.config import home
    from ccr_core.config_edit import Set, edit, write_new

    path, ours = settings_path(), entry(preset)
    process.make_folder(home())
    memory = home() / UNDO
    there = path.exists()
    before = _read(path).get("statusLine") if there else None
    if before == ours:
        print(f"{path} has this status line already")
        return 0
    old = _memory(memory)
    if old is not None and old.get("path") == str(path) and before == old.get("installed"):
        before, there = old.get("previous"), not old.get("created")  # what was there before the first of our entries
    # The memory first: an entry that nobody can undo must not be there.
    process.write_private(
        memory,
        json.dumps({"path": str(path), "created": not there, "previous": before, "installed": ours}, indent=2),
    )
    if path.exists():
        edit(path, [Set(("statusLine",), ours)])
    else:
        write_new(path, json.dumps({"statusLine": ours}, indent=2) + "\n")
    print(f"the status line is in {path}; Claude Code shows it from its next start on")
    if before is not None:
        print("what was there before comes back with: ccr statusline --uninstall")
    return 0


def take_out() -> int:
    """Put back what was there before."""
    from ccr_core.config import home
    from ccr_core.config_edit import Delete, Set, edit

    memory = home() / UNDO
    old = _memory(memory)
    if old is None:
        print("the status line was not installed by ccr; nothing to do")
        return 0
    path = Path(str(old["path"]))
    data = _read(path) if path.exists() else {}
    if data.get("statusLine") != old.get("installed"):
        memory.unlink(missing_ok=True)
        print(f"{path} has another status line meanwhile, or none; it stays as it is")
        return 0
    if old.get("created") and set(data) == {"statusLine"}:
        path.unlink()
    elif old.get("previous") is None:
        edit(path, [Delete(("statusLine",))])
    else:
        edit(path, [Set(("statusLine",), old["previous"])])
    memory.unlink(missing_ok=True)
    print(f"{path} is as it was before")
    return 0


def _memory(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("path"), str) else None
