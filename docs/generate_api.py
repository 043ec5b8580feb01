"""Writes the routes into ``docs/api.md`` from the table of operations: ``python docs/generate_api.py``.

The rest of the page is written by hand.  ``tests/api/test_api_docs.py`` fails when it is stale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import attrs

from ccr_core.api import operations
from ccr_core.api.openapi import text
from ccr_core.api.operation import Operation

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
BEGIN, END = "<!-- routes: python docs/generate_api.py -->\n", "<!-- end of routes -->\n"


SUBJECTS = {"openapi.json": "The description", "provider-presets": "providers", "models": "providers", "oauth": "auth"}
"""What begins another path than its subject."""


def routes() -> str:
    """The sections on the routes, by subject."""
    sections: dict[str, list[str]] = {}
    for operation in operations():
        word = operation.path.split("/")[2]
        subject = SUBJECTS.get(word, word)
        sections.setdefault(f"{subject[:1].upper()}{subject[1:]}", []).extend(row(operation))
    return "".join(f"### {subject}\n\n" + "\n".join([*lines, "", ""]) for subject, lines in sections.items())


def row(operation: Operation) -> Iterator[str]:
    """What there is to know of an operation."""
    yield f"* **`{operation.method} {operation.path}`** {operation.summary}"
    for name, meaning in operation.query.items():
        yield f"  `?{name}=` {meaning}"
    taken = [f"`{body(operation.takes)}`"] if operation.takes is not None and attrs.fields(operation.takes) else []
    taken += [f"`{media}`" for media in operation.media if media != "application/json"]
    if taken:
        yield f"  Takes {' or '.join(taken)}."
    given = text(operation.gives)
    if given:
        yield f"  Gives `{given}`."


def body(cls: type[Any]) -> str:
    """The members of a body; ``?`` may be left out."""
    members = []
    for field in attrs.fields(attrs.resolve_types(cls)):
        end = "" if field.default is attrs.NOTHING else "?"
        inner = next((part for part in _parts(field.type) if attrs.has(part)), None)
        members.append(f"{field.name}{end}" + (f": [{body(inner)}]" if inner is not None else ""))
    return "{" + ", ".join(members) + "}"


def _parts(kind: Any) -> Iterator[Any]:
    """The classes in a type."""
    if isinstance(kind, type) and not get_args(kind):
        yield kind
    for part in get_args(kind):
        yield from _parts(part)


def page() -> str:
    """The whole page with fresh routes."""
    old = PAGE.read_text("utf-8")
    return re.sub(f"(?s)(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", lambda _: f"\n{routes()}", old)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
