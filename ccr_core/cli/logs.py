"""``ccr logs``: what was asked, and what the router said.

The requests are read from ``logs/requests.jsonl`` (the observer ``request-log``), newest last, what was put aside
included; the router's own output from ``logs/ccr-*.log``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from ccr_core.cli.output import emit, facts, fail, note, paint, printable
from ccr_core.config import home

REQUESTS = "requests.jsonl"
POLL_SECONDS = 0.2


@click.command(short_help="Show the requests, or the router's output.")
@click.argument("name", required=False, default="requests", metavar="[requests|server|FILE]")
@click.option("-f", "--follow", is_flag=True, help="Go on, until Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="How many of the last ones.")
@click.option("--request", "wanted", metavar="ID", help="All that is known of one request; the end of its id will do.")
@click.option("--json", "as_json", is_flag=True, help="Print the requests as JSON, a line each.")
def logs(name: str, follow: bool, lines: int, wanted: str | None, as_json: bool) -> int:
    """Show the requests, or the router's output.

    "requests" (the default) are the exchanges that ended, a line each; "server" is the output of the newest router that
    was started in the background; a FILE is one of ccr's folder logs.

    \b
    Examples:
      ccr logs
      ccr logs -f
      ccr logs server -n 100
      ccr logs --request 3f2a
      ccr logs --json -n 1000 | grep '"status":5'

    Exit code: 0; 1 when there is no such log or request.
    """
    folder = home() / "logs"
    if wanted is not None:
        return _one(folder, wanted, as_json)
    if name == "requests":
        path = folder / REQUESTS
        shown: Callable[[str], str | None] = (lambda line: line) if as_json else line_of
        if not path.exists() and not follow:
            note(f"there is no {path} yet: no request was answered, or the observer request-log is off")
            return 1
        _show(path, lines, shown, older=_aside(path))
    else:
        found = newest(folder) if name == "server" else folder / name
        if found is None or not found.is_file() or found.parent.resolve() != folder.resolve():
            there = ", ".join(sorted(each.name for each in folder.glob("*"))) or "none"
            return fail(f'there is no log "{name}" in {folder}; there are: {there}')
        path, shown = found, str
        _show(path, lines, shown)
    if follow:
        sys.stdout.flush()
        try:
            for line in follow_file(path):
                text = shown(line)
                if text is not None:
                    print(printable(text, painted=True), flush=True)
        except KeyboardInterrupt:
            pass
    return 0


def newest(folder: Path) -> Path | None:
    """The output of the router that was started last."""
    files = sorted(folder.glob("ccr-*.log"), key=lambda each: each.stat().st_mtime_ns)
    return files[-1] if files else None


def _aside(path: Path) -> list[Path]:
    """The files that were put aside, newest first."""
    return [each for number in range(1, 100) if (each := path.with_name(f"{path.name}.{number}")).exists()]


def _show(path: Path, count: int, shown: Callable[[str], str | None], older: list[Path] | None = None) -> None:
    last: deque[str] = deque(maxlen=count)
    for each in [*reversed(older or []), path]:
        try:
            with each.open(encoding="utf-8", errors="replace") as file:
                last.extend(line.rstrip("\n") for line in file)
        except OSError as error:
            if each != path or not isinstance(error, FileNotFoundError):
                note(f"cannot read {each}: {error.strerror or error}")
    for line in last:
        text = shown(line)
        if text is not None:
            print(printable(text, painted=True))


def follow_file(path: Path) -> Iterator[str]:
    """Lines that are added to a file from now on, for ever; also when it is put aside and begun anew."""
    file = None
    rest = ""
    try:
        first = True
        while True:
            if file is None:
                try:
                    file = path.open(encoding="utf-8", errors="replace")
                    if first:
                        file.seek(0, os.SEEK_END)
                except FileNotFoundError:
                    pass
                first = False
            if file is not None:
                added = file.read()
                *whole, rest = (rest + added).split("\n")
                yield from whole
                if not added:
                    try:
                        now = path.stat()
                        same = now.st_ino == os.fstat(file.fileno()).st_ino and now.st_size >= file.tell()
                    except FileNotFoundError:
                        same = False
                    if not same:
                        file.close()
                        file, rest = None, ""
                        continue
            time.sleep(POLL_SECONDS)
    finally:
        if file is not None:
            file.close()


def line_of(text: str) -> str | None:
    """A line for people for one of ``requests.jsonl``; ``None`` if it cannot be understood."""
    try:
        data = json.loads(text)
        if "lost" in data:
            return paint(f"{_local(data['time'])}  {data['lost']} request(s) could not be written", "yellow")
        status = int(data["status"])
        usage = data.get("usage") or {}
        colour = "green" if status < 400 else "yellow" if status == 499 else "red"
        parts = [
            _local(data["time"]),
            paint(str(status), colour),
            f"{data['duration']:7.2f}s",
            data.get("route") or "-",
            f"({data.get('scenario')})" if data.get("scenario") else "",
            f"{usage.get('input_tokens', 0)}+{usage.get('output_tokens', 0)}",
            data["id"],
            (data.get("error") or {}).get("message", ""),
        ]
        return "  ".join(part for part in parts if part)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _local(text: str) -> str:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone().strftime("%m-%d %H:%M:%S")


def _one(folder: Path, wanted: str, as_json: bool) -> int:
    """All that is known of one request."""
    found: list[dict[str, Any]] = []
    path = folder / REQUESTS
    for each in (path, *_aside(path)):
        try:
            lines = each.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if wanted not in line:
                continue
            try:
                data = json.loads(line)
            except ValueError:
                continue
            name = data.get("id") if isinstance(data, dict) else None
            if isinstance(name, str) and (name == wanted or name.endswith(wanted) or name.startswith(wanted)):
                found.append(data)
    exact = [data for data in found if data["id"] == wanted]
    found = exact or found
    if not found:
        return fail(f'there is no request "{wanted}" in {path}; ccr logs shows the last ones with their ids')
    if len(found) > 1:
        return fail(f"{len(found)} requests fit: {', '.join(data['id'] for data in found[:5])}")
    (data,) = found
    said = [
        {"file": log.name, "line": line}
        for log in sorted(folder.glob("ccr-*.log"))
        for line in log.read_text("utf-8", "replace").splitlines()
        if data["id"] in line
    ]
    if as_json:
        emit({"request": data, "log": said})
        return 0
    error = data.get("error") or {}
    rows = [(key, value) for key, value in data.items() if key not in ("usage", "notes", "error")]
    facts([(key, value if not isinstance(value, dict | list) else json.dumps(value)) for key, value in rows])
    facts([(f"usage.{key}", value) for key, value in (data.get("usage") or {}).items()])
    facts([(f"note {key}", value) for key, value in data.get("notes") or ()])
    facts([(f"error.{key}", value) for key, value in error.items()])
    for entry in said:
        print(printable(f"{entry['file']}: {entry['line']}"))
    return 0
