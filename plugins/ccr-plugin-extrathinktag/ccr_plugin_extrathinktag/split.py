"""Applies a :class:`TagScanner` to the text blocks of an answer.

A text block becomes up to three: text, thinking, text.  The first text keeps the block's own key; the others get keys
of their own, and the Sequencer puts all in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from ccr_core import (
    JSON,
    BlockDelta,
    BlockKey,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStop,
    Push,
    StreamError,
)

from .scan import BLANKS, TagScanner

_NOTHING: BlockKey = ("extrathinktag", "nothing")
"""A key that no block has."""


@attrs.define
class _Block:
    """A text block under way.  ``kind`` and ``at`` are what is open of it in the answer that goes out."""

    key: BlockKey
    block: JSON
    scanner: TagScanner
    kind: str = ""
    at: BlockKey = None
    count: int = 0
    waiting: list[JSON] = attrs.Factory(list)
    """Deltas (citations) that belong to the text, and came while none was open."""


class Splitter(Push[Event, Event]):
    """Turns what stands between ``<tag>`` and ``</tag>`` in text blocks into thinking blocks.

    ``signature`` is what the thinking blocks are signed with.  Thinking that is never closed is noted.
    """

    def __init__(self, tag: str, signature: str, note: Callable[[str, Any], None]) -> None:
        self._tag = tag
        self._signature = signature
        self._note = note
        self._blocks: dict[BlockKey, _Block] = {}
        self._through: BlockKey = _NOTHING
        """The key of the block whose text passes as it is, unless a tag may begin in it or at its end."""
        self._scanner: TagScanner
        """The scanner of that block."""
        self._passed = ""
        """The last text that passed, of which the scanner knows nothing yet."""

    def feed(self, item: Event) -> Iterable[Event]:
        """Take the next event."""
        if type(item) is BlockDelta:
            if item.key is self._through:  # nearly all of an answer: decoders do not make a key anew for each piece
                text = item.delta.get("text")
                # A tag may begin with blanks at the start of a line.
                if text and "<" not in text and (text[-1] not in BLANKS or not self._at_line(text)):
                    self._passed = text
                    return (item,)
            return self._delta(item)
        self._settle()
        self._through = _NOTHING
        if isinstance(item, BlockStart):
            return self._start(item)
        if isinstance(item, BlockStop):
            return list(self._end(item.key)) if item.key in self._blocks else (item,)
        if isinstance(item, MessageDelta | MessageStop | StreamError) and self._blocks:
            return [*self.flush(), item]
        return (item,)

    def _settle(self) -> None:
        """Tell the scanner what passed."""
        if self._passed:
            self._scanner.line = self._passed[-1] == "\n"
            self._passed = ""

    def _at_line(self, text: str) -> bool:
        """Whether a line begins with ``text``, or in it."""
        self._settle()
        return self._scanner.line or "\n" in text

    def flush(self) -> Iterable[Event]:
        """Give the text that waited."""
        self._settle()
        return [event for key in [*self._blocks] for event in self._end(key)]

    def _start(self, item: BlockStart) -> Iterable[Event]:
        # A start for a key that is still open stops the block before it.
        ended = list(self._end(item.key)) if item.key in self._blocks else []
        if item.block.get("type") != "text":
            return [*ended, item]
        block = self._blocks[item.key] = _Block(item.key, {**item.block, "text": ""}, TagScanner(self._tag))
        return [*ended, *self._say(block, item.block.get("text") or "")]

    def _delta(self, item: BlockDelta) -> Iterable[Event]:
        self._settle()
        block = self._blocks.get(item.key)
        is_text = item.delta.get("type") == "text_delta"
        if block is None:
            if not is_text:
                return (item,)
            # A decoder may leave the start of a text block to the Sequencer.
            block = self._blocks[item.key] = _Block(item.key, {"type": "text", "text": ""}, TagScanner(self._tag))
        if is_text:
            given = list(self._say(block, item.delta["text"]))
            passing = block.kind == "text" and block.at == block.key and block.scanner.passing
            self._through, self._scanner = block.key if passing else _NOTHING, block.scanner
            return given
        if block.kind == "text":
            return (BlockDelta(block.at, item.delta),)
        block.waiting.append(item.delta)
        return ()

    def _say(self, block: _Block, text: str) -> Iterator[Event]:
        for kind, piece in block.scanner.feed(text):
            yield from self._give(block, kind, piece)

    def _give(self, block: _Block, kind: str, piece: str) -> Iterator[Event]:
        yield from self._turn_to(block, kind)
        if kind == "text":
            yield BlockDelta(block.at, {"type": "text_delta", "text": piece})
        else:
            yield BlockDelta(block.at, {"type": "thinking_delta", "thinking": piece})

    def _turn_to(self, block: _Block, kind: str) -> Iterator[Event]:
        """Open a block of the ``kind`` unless one is open."""
        if block.kind == kind:
            return
        yield from self._close(block)
        block.kind = kind
        block.count += 1
        block.at = block.key if kind == "text" and block.count == 1 else (self._tag, block.key, block.count)
        if kind == "text":
            yield BlockStart(block.at, block.block)
            for delta in block.waiting:
                yield BlockDelta(block.at, delta)
            block.waiting = []
        else:
            yield BlockStart(block.at, {"type": "thinking", "thinking": "", "signature": ""})

    def _close(self, block: _Block) -> Iterator[Event]:
        if block.kind == "thinking":
            yield BlockDelta(block.at, {"type": "signature_delta", "signature": self._signature})
        if block.kind:
            yield BlockStop(block.at)
        block.kind = ""

    def _end(self, key: BlockKey) -> Iterator[Event]:
        block = self._blocks.pop(key)
        for kind, piece in block.scanner.flush():
            yield from self._give(block, kind, piece)
        if block.scanner.open:
            self._note("thinking", f"the model opened <{self._tag}> and never closed it")
        if not block.count or block.waiting:
            yield from self._turn_to(block, "text")
        yield from self._close(block)
