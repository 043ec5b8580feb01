"""``ccr trust``: let the ``.ccr.toml`` of a repository choose models.

A repository is somebody else's text, so its file counts only after the user has seen it, and only as it was then: the
text's digest is kept, not the path alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ccr_core.cli import process
from ccr_core.cli.output import emit, fail, note, paint, table
from ccr_core.config import home
from ccr_core.errors import CcrError, ConfigError
from ccr_core.projects import SHARED, TRUSTED, digest, shared_file, standing, trusted


@click.command(short_help="Let a repository's .ccr.toml choose models.")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--list", "listing", is_flag=True, help="List the trusted files.")
@click.option("--revoke", is_flag=True, help="Trust the file no longer.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print JSON.")
def trust(path: Path | None, listing: bool, revoke: bool, yes: bool, as_json: bool) -> int:
    """Let a repository's .ccr.toml choose models for the sessions that work in it.

    PATH is the file, or a folder of the repository; without it, the present folder. The text is shown first. Any
    change of it ends the trust.

    \b
    Examples:
      ccr trust                   show the repository's file and ask
      ccr trust --yes ~/project   without asking
      ccr trust --list
      ccr trust --revoke

    Exit code: 0; 1 when the file is not trusted, or there is none.
    """
    folder = home()
    if listing:
        if path is not None or revoke or yes:
            raise click.UsageError("--list stands alone")
        return _list(folder, as_json)
    if as_json:
        raise click.UsageError("--json goes with --list")
    known = trusted(folder)
    file = _file(path, known if revoke else {})
    if revoke:
        if known.pop(str(file), None) is None:
            return fail(f"{file} was not trusted")
        _write(folder, known)
        print(f"{file} is no longer trusted")
        return 0
    text = _text(file)
    if known.get(str(file)) == digest(text):
        print(f"{file} is trusted already")
        return 0
    print(paint(str(file), "bold"))
    print("".join(char if char.isprintable() or char in "\n\t" else f"\\u{ord(char):04x}" for char in text.rstrip()))
    if not yes:
        if not sys.stdin.isatty():
            return fail("this is no terminal, so nobody can be asked; if the text above is right: ccr trust --yes")
        if not click.confirm("Let it choose models for the sessions that work there?", err=True):
            note("it stays without effect")
            return 1
    _write(folder, {**known, str(file): digest(text)})
    print(f"{file} is trusted until it changes")
    return 0


def _file(path: Path | None, known: dict[str, str]) -> Path:
    """The file that is meant; one of ``known`` need not exist any more."""
    start = (path or Path()).expanduser().resolve()
    for wanted in (start, start / SHARED):
        if str(wanted) in known:
            return wanted
    if start.is_file() and (path or start).name != SHARED:
        raise CcrError(f"only a file named {SHARED} is looked for, not {start.name}")
    found = start if start.is_file() else shared_file(start) if start.is_dir() else None
    if found is None:
        where = f"there is no {start}" if not start.exists() else f"there is no {SHARED} in the repository of {start}"
        raise CcrError(where)
    return found.resolve()


def _text(file: Path) -> str:
    """The text of a file that can be used."""
    from ccr_core.config import parse, read_text

    # As the router reads it; it must be TOML with a table Router, else trusting it means nothing.
    read_text(file)
    text = file.read_text("utf-8")
    router = parse(text, file.with_suffix(".toml")).data.get("Router")
    if not isinstance(router, dict) or not router:
        raise ConfigError(f"{file} has no table [Router], and nothing else in it would count")
    return text


def _list(folder: Path, as_json: bool) -> int:
    rows = [(state, str(path)) for path, state in standing(folder)]
    if as_json:
        emit([{"path": name, "state": state} for state, name in rows])
    elif rows:
        table(("STATE", "FILE"), rows)
    else:
        print("no repository's file is trusted")
    return 0


def _write(folder: Path, known: dict[str, str]) -> None:
    process.make_folder(folder)
    process.write_private(folder / TRUSTED, json.dumps(known, indent=2) + "\n")
