"""Which tool call a piece of a stream belongs to.

Services agree neither on indexes nor on ids: some give each call the index 0, some give no index, some a new id with
each piece, and some number the calls of every answer anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import orjson

from ccr_core import CallIds, Request


@attrs.define
class Call:
    """A tool call in the making."""

    key: tuple[str, int]
    given: str
    """The id that the service gave, empty if none."""
    id: str
    name: str = ""
    parts: list[str] = attrs.Factory(list)
    started: bool = False
    stopped: bool = False

    def complete(self) -> bool:
        """Whether the arguments are a whole JSON text."""
        try:
            orjson.loads("".join(self.parts))
        except orjson.JSONDecodeError:
            return False
        return True


def _another(known: Call, given: str, name: str, arguments: str) -> bool:
    """Whether an entry with the index of ``known`` begins another call."""
    if not name:
        return False
    if given and known.given:
        return given != known.given and (name != known.name or known.complete())
    return bool(arguments) and known.complete()


class Calls:
    """The tool calls of one answer."""

    def __init__(self, request: Request) -> None:
        self._ids = CallIds(request)
        self._all: list[Call] = []
        self._by_index: dict[Any, Call] = {}

    def __iter__(self) -> Iterator[Call]:
        return iter(self._all)

    def find(self, index: Any, given: str, name: str, arguments: str) -> Call:
        """The call that an entry belongs to, or a new one.

        The index decides where there is one, unless the entry plainly begins another call.  Without index the id
        decides, and else the order.
        """
        known = self._by_index.get(index) if index is not None else None
        if known is not None:
            if not _another(known, given, name, arguments):
                known.given = known.given or given
                return known
        elif given and (index is None or not name):
            known = next((call for call in self._all if call.given == given), None)
            if known is not None:
                return known
        if index is None and self._all:
            last = self._all[-1]
            if not name or not (given or (last.name and last.complete())):
                return last
        call = Call(("tool", len(self._all)), given, self._ids.fresh(given))
        self._all.append(call)
        if index is not None:
            self._by_index[index] = call
        return call
