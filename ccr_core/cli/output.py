"""What commands print: results on standard output, everything else on standard error.

Colour only where a person looks: never into a pipe, never when ``NO_COLOR`` is set, never on a dumb terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

COLOURS = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}


_ODD = re.compile(r"(\x1b\[(?:0|1|2|31|32|33)m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str, *, painted: bool = False) -> str:
    """``text`` with what would make a terminal do something written out.

    What a service or a file says is shown as it is, and a terminal takes orders from it: to clear what stands there,
    to rename the window, to fill the clipboard.  ``painted`` leaves the colours that :func:`paint` gives.
    """
    return _ODD.sub(lambda match: (match[1] if painted else None) or f"\\u{ord(match[0][0]):04x}{match[0][1:]}", text)


def paint(text: str, colour: str) -> str:
    """``text`` in a colour of :data:`COLOURS`, if standard output shows colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def emit(data: Any) -> None:
    """Print plain data as JSON."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def note(text: str) -> None:
    """Say something beside the result, on standard error."""
    print(printable(text, painted=True), file=sys.stderr, flush=True)


def fail(text: str, code: int = 1) -> int:
    """Print an error on standard error; returns the exit code, so that a command can end with it."""
    note(f"error: {text}")
    return code


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns; empty values are left out."""
    shown = [(name, str(value)) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(printable(f"{name:<{width}}  {value}", painted=True))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns under ``head``; the last column is not padded."""
    lines = [tuple(head), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        print(paint(text, "bold") if number == 0 else text)
