"""Logs: the files in ccr's folder ``logs``, by name only, from their end backwards."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import orjson

from ccr_core.api.desk import Desk
from ccr_core.api.masks import masked
from ccr_core.api.openapi import maybe
from ccr_core.api.operation import Call, Operation, Refused
from ccr_core.messages import JSON

BLOCK = 2 * 1024 * 1024
"""Bytes that one request looks through; where that is not enough for the lines wanted, the next one goes on."""

MOST = 2000
LEVELS = ("debug", "info", "warning", "error", "critical")

_LEVEL = re.compile(rb"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")


@attrs.frozen
class Line:
    """A line, and where in the file it begins."""

    start: int
    text: bytes
    level: int


def files(desk: Desk, call: Call) -> JSON:
    """The files, the latest first."""
    rows = []
    for path, found in _files(desk):
        rows.append({"name": path.name, "size": found.st_size, "modified": found.st_mtime})
    return {"files": sorted(rows, key=lambda row: (-float(row["modified"]), row["name"]))}


def _files(desk: Desk) -> Iterator[tuple[Path, os.stat_result]]:
    """What is directly in the folder and a plain file; links could lead anywhere."""
    try:
        names = sorted(os.listdir(_folder(desk)))
    except OSError:
        return
    for name in names:
        path = _folder(desk) / name
        try:
            found = path.lstat()
        except OSError:
            continue
        if stat.S_ISREG(found.st_mode) and not name.startswith("."):
            yield path, found


def _folder(desk: Desk) -> Path:
    return desk.app.home / "logs"


def _file(desk: Desk, call: Call) -> Path:
    name = call.query.get("file", "")
    known = {path.name: path for path, _ in _files(desk)}
    if name not in known:
        raise Refused(f"there is no log {name!r}; there are: {', '.join(known) or 'none'}", 404)
    return known[name]


def show(desk: Desk, call: Call) -> JSON:
    """The last lines before a place, oldest first; each is an object where it is one, else text."""
    path = _file(desk, call)
    count = _number(call, "lines", 200, MOST)
    level = call.query.get("level", "").lower()
    level = {"warn": "warning", "fatal": "critical", "trace": "debug"}.get(level, level)
    if level and level not in LEVELS:
        raise Refused(f"no level {level!r}; there are {', '.join(LEVELS)}")
    least = LEVELS.index(level) if level else -1
    wanted = call.query.get("request", "").encode()
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        end = min(_number(call, "before", size, size), size)
        start = max(0, end - BLOCK)
        file.seek(start)
        data = file.read(end - start)
    found = [line for line in _lines(data, start) if line.level >= least and wanted in line.text]
    taken = found[-count:] if count else []
    begin = taken[0].start if len(found) > len(taken) and taken else _first(data, start)
    return {
        "file": path.name,
        "lines": desk.clean([_shown(line.text) for line in taken]),
        "before": begin if begin > 0 else None,
    }


def _number(call: Call, name: str, usual: int, most: int) -> int:
    text = call.query.get(name, "")
    if text and not (text.isdecimal() and len(text) < 20):
        raise Refused(f"{name} must be a number, not {text[:40]!r}")
    return min(int(text), most) if text else usual


def _first(data: bytes, start: int) -> int:
    """Where the first whole line of a block begins."""
    return 0 if start == 0 else start + data.find(b"\n") + 1


def _lines(data: bytes, start: int) -> Iterator[Line]:
    """The whole lines of a block; one without a level of its own, as in a traceback, has that of the one before."""
    position = _first(data, start)
    level = 1
    for text in data[position - start :].splitlines(keepends=True):
        if text.strip():
            level = _level(text, level)
            yield Line(position, text.rstrip(b"\r\n"), level)
        position += len(text)


def _level(text: bytes, before: int) -> int:
    if text[:1] == b"{":
        status = re.search(rb'"status":\s*(\d+)', text)
        return 1 if status is None or int(status[1]) < 400 else 2 if int(status[1]) < 500 else 3
    match = _LEVEL.search(text[:120])
    return LEVELS.index(match[1].decode().lower()) if match else before


def _shown(text: bytes) -> Any:
    if text[:1] == b"{":
        try:
            return masked(orjson.loads(text))
        except orjson.JSONDecodeError:
            pass
    return masked(text.decode("utf-8", "replace"))


def empty(desk: Desk, call: Call) -> JSON:
    """Empty a file; whoever writes it goes on writing it."""
    path = _file(desk, call)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)))
    return {"file": path.name, "size": 0}


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/logs/files",
        summary="The log files.",
        answer=files,
        gives={"files": [{"name": str, "size": int, "modified": float}]},
    ),
    Operation(
        method="GET",
        path="/api/logs",
        summary="The last lines of a log file, oldest first; `before` of the answer asks for those before them.",
        answer=show,
        query={
            "file": "its name, as `GET /api/logs/files` lists it",
            "lines": "how many (200)",
            "before": "only what stands before this byte",
            "level": "this one or worse: debug, info, warning, error, critical",
            "request": "only lines that hold this",
        },
        gives={"file": str, "lines": [object], "before": maybe(int)},
    ),
    Operation(
        method="DELETE",
        path="/api/logs",
        summary="Empty a log file.",
        answer=empty,
        query={"file": "its name"},
        gives={"file": str, "size": int},
    ),
)
