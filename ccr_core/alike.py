"""Server-sent events that differ in a few values, read without parsing what they have in common.

Nearly every service repeats the same JSON around each piece of text: its own id, the model, the time when the answer
began.  So once an event has been parsed, those like it are recognised by the bytes around the values that differ, and
only these values are parsed.  That is no guess: a JSON text with another value in the place of a value says the same
but for that value.  Whatever differs in more is parsed as always: :class:`~ccr_core.sse.SseParser` does it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import attrs
import orjson

from ccr_core.push import Push
from ccr_core.sse import Chunk, SseParser

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands in an event: keys and indexes.  The last is a key."""

TRIES = 4
"""How many patterns are tried in a row without one that a second event has."""

SINGLY = 8
"""How many events of one read are parsed one by one in search of a pattern."""

HELD = 64 * 1024
"""The most bytes of a begun event that are kept from the parser, as it may be one of the pattern."""

_GAPS = (b"\n\n", b"\r\n\r\n")
_FIELD = "data: "
_loads = orjson.loads
_new = object.__new__
_value_at = json.JSONDecoder().raw_decode


@attrs.frozen(eq=False)
class Pattern:
    """What some events have in common.

    ``head`` are the bytes before the first value, ``parts`` those after each; the last has the empty line that ends the
    event.  ``paths`` say which values these are, ``start`` is where the JSON begins in ``head``, and ``event`` is the
    name of the event.
    """

    head: bytes
    parts: tuple[bytes, ...]
    paths: tuple[Path, ...]
    start: int
    event: str | None

    @classmethod
    def of(cls, event: bytes, chunk: Chunk, paths: Sequence[Path]) -> Pattern | None:
        """The pattern of ``event``, parsed as ``chunk``, with those of ``paths`` that it has.

        ``None`` if the event is written in a way that is not understood here.
        """
        try:
            text = event.decode()
            start = text.index("{")
            if not text.endswith(_FIELD, 0, start):
                return None
            values = {path: value for path in paths if (value := _get(chunk.data, path)) is not None}
            places = sorted((_place(text, start, path), path) for path in values)
            bounds = [0, *(bound for place, _ in places for bound in place), len(text)]
            parts = [text[begin:end].encode() for begin, end in zip(bounds[::2], bounds[1::2], strict=True)]
            start = len(text[:start].encode())
            # The places are right if the event with nothing in them says the same but for the values.
            other = _loads(b"null".join(parts)[start:])
            for path, value in values.items():
                if _get(other, path) is not None:
                    return None
                _get(other, path[:-1])[path[-1]] = value
        except (LookupError, TypeError, ValueError):
            return None
        if other != chunk.data:
            return None
        return cls(parts[0], tuple(parts[1:]), tuple(path for _, path in places), start, chunk.event)

    def pieces(self, data: bytes) -> tuple[list[Chunk], int]:
        """The events with which ``data`` begins, as long as they are of this pattern, and where they end."""
        head, parts, find = self.head, self.parts, data.find
        pieces: list[Chunk] = []
        at, size = 0, len(data)
        try:
            while at < size and data.startswith(head, at):
                begin = at + len(head)
                values = []
                for part in parts:
                    end = find(part, begin)
                    if end < 0:
                        return pieces, at
                    values.append(_loads(data[begin:end]))
                    begin = end + len(part)
                piece = _new(Piece)
                piece.pattern, piece.values = self, values
                pieces.append(piece)
                at = begin
        except orjson.JSONDecodeError:
            pass  # it differs in more than the values
        return pieces, at


class Piece(Chunk):
    """A chunk of which only the values that differ are parsed as yet.

    ``values`` belong to the ``paths`` of the ``pattern``.  The rest is that of the pattern, so whoever has read one
    chunk knows what the others of its pattern are.
    """

    __slots__ = ("pattern", "values")
    pattern: Pattern
    values: list[Any]

    def __new__(cls, data: Any, event: str | None = None) -> Any:
        """A common chunk, for those who make one of this by changing something (``attrs.evolve``)."""
        return Chunk(data, event)

    @property
    def data(self) -> Any:
        """The whole chunk."""
        pattern = self.pattern
        rest = b"".join([orjson.dumps(value) + part for value, part in zip(self.values, pattern.parts, strict=True)])
        return _loads(pattern.head[pattern.start :] + rest)

    @property
    def event(self) -> str | None:  # type: ignore[override]
        """The name of the event."""
        return self.pattern.event


class Alike(Push[bytes, Chunk]):
    """Bytes, cut anywhere, to chunks, as ``SseParser`` gives them; those of one pattern come as :class:`Piece`.

    ``text`` is where the events hold their text; only those that have some there are taken for a pattern.  ``others``
    are the places of further values that differ from one to the next.
    """

    def __init__(self, text: Path, *others: Path) -> None:
        self._paths = (text, *others)
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
        out: list[Chunk] = []
        # Of a long read the first events are parsed one by one, until there is a pattern for the others.
        for _ in range(SINGLY):
            if self._pattern is not None and self._between:
                pieces, end = self._pattern.pieces(item)
                if pieces:
                    self._tries = TRIES
                    out += pieces
                    if end == len(item):
                        return out
                    item = item[end:]
                    break
            end = _first_end(item) if self._tries else 0
            if not 0 < end < len(item):
                break
            chunks = self._parsed(item[:end])
            item = item[end:]
            if not isinstance(chunks, list | tuple):
                return itertools.chain(out, chunks, self._later(item))
            out += chunks
        chunks = self._parsed(item)
        return itertools.chain(out, chunks) if out else chunks

    def _later(self, item: bytes) -> Iterable[Chunk]:
        yield from self.feed(item)

    def _parsed(self, item: bytes) -> Iterable[Chunk]:
        """What the parser makes of ``item``; an event that has only begun is not given to it yet."""
        begun = self._between
        end, gap = max(((item.rfind(gap) + len(gap), gap) for gap in _GAPS if gap in item), default=(0, b""))
        rest = item[end:]
        # What is held has no empty line, with whatever line ends: nobody shall wait for an event that is whole.
        self._between = (end > 0 or (begun and len(item) < HELD)) and not (b"\n\r" in rest or b"\r\r" in rest)
        if self._between:
            item, self._held = item[:end], rest
        chunks = self._parser.feed(item)
        if gap and self._between and self._tries and isinstance(chunks, list | tuple) and chunks:
            chunk = chunks[-1]
            start = item.rfind(gap, 0, -len(gap))
            text = _get(chunk.data, self._paths[0])
            if text and isinstance(text, str) and (begun or start >= 0):
                self._tries -= 1
                event = item[start + len(gap) :] if start >= 0 else item
                self._pattern = Pattern.of(event, chunk, self._paths)
        return chunks

    def flush(self) -> Iterable[Chunk]:
        """Give a last event that has no blank line after it."""
        held, self._held = self._held, b""
        yield from self._parser.feed(held)
        yield from self._parser.flush()


def _first_end(data: bytes) -> int:
    """Where the first event of ``data`` ends, or one after it if line ends are mixed; 0 if that is not to be seen."""
    line = data.find(b"\n")
    gap = _GAPS[data[line - 1 : line] == b"\r"]
    return data.find(gap) + len(gap) if gap in data else 0


def _get(data: Any, path: Path) -> Any:
    """The value at ``path`` of ``data``; ``None`` if there is none."""
    try:
        for step in path:
            data = data[step]
    except (LookupError, TypeError):
        return None
    return data


def _place(text: str, start: int, path: Path) -> tuple[int, int]:
    """Where the value of the first key of that name stands in ``text``."""
    key = f'"{path[-1]}":'
    at = text.index(key, start) + len(key)
    at += len(text[at:]) - len(text[at:].lstrip(" "))
    return at, _value_at(text, at)[1]
