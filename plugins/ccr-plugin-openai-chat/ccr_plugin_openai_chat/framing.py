"""Server-sent events of chat completions, which differ from one to the next in a few letters.

Nearly every service repeats the same JSON around each piece of text: its own id, the model, the time when the answer
began.  So once an event has been parsed, those like it are recognised by what stands before and after their text, and
only the text is parsed.  That is no guess: where all other bytes are the same, a JSON text with another string in the
place of a string says the same but for that string.

Whatever differs in more (the first and the last event, calls, services that count in every event) is parsed as always.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import attrs
import orjson

from ccr_core import Chunk, Push, SseParser

TRIES = 4
"""How many patterns are tried in a row without one that a second event has."""

HELD = 64 * 1024
"""The most bytes of an event that are kept until there are more; it may be one of a pattern."""

_GAPS = (b"\n\n", b"\r\n\r\n")
_FIELD = b"data: "
_CONTENT = b'"content":'
_loads = orjson.loads
_new = object.__new__


@attrs.frozen(eq=False)
class Pattern:
    """What some events have in common: all bytes but the JSON string that is their text."""

    head: bytes
    tail: bytes
    """With the empty line that ends the event."""
    between: bytes
    """From the text of an event to that of the next."""

    @classmethod
    def of(cls, event: bytes, data: Any, text: str) -> Pattern | None:
        """The pattern of ``event``, which says ``data`` and has ``text``; ``None`` if it is written otherwise."""
        at = event.find(_CONTENT) + len(_CONTENT)
        at += event.startswith(b" ", at)
        literal = orjson.dumps(text)
        head, tail = event[:at], event[at + len(literal) :]
        # Right if the event with another text in this place says the same but for the text.
        try:
            other = _loads(head[len(_FIELD) :] + b'""' + tail)
            delta = other["choices"][0]["delta"]
            same = delta["content"] == "" and event.startswith(literal, at)
            delta["content"] = text
        except (LookupError, TypeError, ValueError):
            return None
        return cls(head, tail, tail + head) if same and other == data else None


class Piece(Chunk):
    """A chunk of which only the text is parsed as yet: the rest is that of ``pattern``."""

    __slots__ = ("pattern", "text")
    pattern: Pattern
    text: str
    event = None

    def __new__(cls, data: Any, event: str | None = None) -> Any:
        """A common chunk, for those who make one of this by changing something (``attrs.evolve``)."""
        return Chunk(data, event)

    @property
    def data(self) -> Any:
        """The whole chunk."""
        return _loads(self.pattern.head[len(_FIELD) :] + orjson.dumps(self.text) + self.pattern.tail)


class Framing(Push[bytes, Chunk]):
    """Bytes, cut anywhere, to chunks; those of one pattern come as :class:`Piece`."""

    def __init__(self) -> None:
        self._parser = SseParser()
        self._between = True
        """Whether the parser holds nothing: what comes next begins an event."""
        self._held = b""
        """The begin of an event that the parser was not given yet."""
        self._pattern: Pattern | None = None
        self._tries = TRIES

    def feed(self, item: bytes) -> Iterable[Chunk]:
        """Take bytes as they came; give the events that are complete."""
        if self._held:
            item, self._held = self._held + item, b""
        pattern = self._pattern
        if pattern is not None and self._between and item.startswith(pattern.head):
            end = item.rfind(pattern.tail)
            pieces = _pieces(item[len(pattern.head) : end].split(pattern.between), pattern) if end > 0 else None
            if pieces is not None:
                self._tries = TRIES
                rest = item[end + len(pattern.tail) :]
                return itertools.chain(pieces, self._parsed(rest)) if rest else pieces
        return self._parsed(item)

    def _parsed(self, item: bytes) -> Iterable[Chunk]:
        """What the parser makes of ``item``; a last line that has only begun is not given to it yet."""
        begun = self._between
        end = max(item.rfind(b"\n"), item.rfind(b"\r")) + 1
        gap = next((gap for gap in _GAPS if item.endswith(gap, 0, end)), None)
        self._between = gap is not None or (begun and not end and len(item) < HELD)
        if self._between:
            item, self._held = item[:end], item[end:]
        if gap is None:
            return self._parser.feed(item)
        chunks = self._parser.feed(item)
        if self._tries and isinstance(chunks, list | tuple) and chunks:
            data = chunks[-1].data
            start = item.rfind(gap, 0, -len(gap))
            text = _text(data)
            if text and (begun or start >= 0):
                self._tries -= 1
                self._pattern = Pattern.of(item[start + len(gap) :] if start >= 0 else item, data, text)
        return chunks

    def flush(self) -> Iterable[Chunk]:
        """Give a last event that has no blank line after it."""
        held, self._held = self._held, b""
        yield from self._parser.feed(held)
        yield from self._parser.flush()


def _text(data: Any) -> str:
    """The text in a chunk; empty if there is none."""
    try:
        text = data["choices"][0]["delta"]["content"]
    except (LookupError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def _pieces(texts: list[bytes], pattern: Pattern) -> list[Chunk] | None:
    """A piece for each of ``texts``, which ought to be JSON strings; ``None`` if one is not."""
    pieces: list[Chunk] = []
    try:
        for literal in texts:
            piece = _new(Piece)
            piece.pattern, piece.text = pattern, _loads(literal)
            if type(piece.text) is not str:
                return None
            pieces.append(piece)
    except orjson.JSONDecodeError:
        return None
    return pieces
