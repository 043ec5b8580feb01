"""Which tool call a piece of a stream belongs to.

Services agree neither on indexes nor on ids: some give each call the index 0, some give no index, some a new id with
each piece, and some number the calls of every answer anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import orjson

from ccr_core import Request, new_id


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
        self._request = request
        self._all: list[Call] = []
        self._by_index: dict[Any, Call] = {}
        self._history: frozenset[str] | None = None
        self._given: set[str] = set()

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
        call = Call(("tool", len(self._all)), given, self._fresh_id(given))
        self._all.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _fresh_id(self, given: str) -> str:
        """``given``, unless it is missing or was used before: some services number the calls of each answer anew."""
        if self._history is None:
            self._history = frozenset(
                str(block.get("id"))
                for message in self._request.messages
                if message.get("role") == "assistant" and isinstance(message.get("content"), list)
                for block in message["content"]
                if block.get("type") == "tool_use"
            )
        if not given or given in self._history or given in self._given:
            given = new_id("toolu")
        self._given.add(given)
        return given
