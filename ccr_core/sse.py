"""Bytes to server-sent events and back; the only place that turns stream bytes into text.

Rules (WHATWG HTML, "Server-sent events"): events end with a blank line, lines with LF, CR LF or CR; ``:`` begins a
comment; several ``data`` lines are joined by LF; one blank after the colon is dropped.  Unlike a browser, an event
at the very end that lacks its blank line is still given: some providers end so, and a cut one does not parse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import orjson

from ccr_core.errors import ProtocolError
from ccr_core.messages import JSON, loads
from ccr_core.push import Push

# Searched for with find(): "in" tries a number first, and makes an exception of each one that is none.
_PLAIN = b"data: {"
_LF = b"\n"
_CR = b"\r"
_loads = orjson.loads
_new = object.__new__


@attrs.define(unsafe_hash=True)  # not frozen: made for each event, and takes half as long so
class Chunk:
    """One parsed piece of a provider's stream.

    ``data`` is the parsed JSON, or the text as it came where it is no JSON object or array (``[DONE]``).
    """

    data: Any
    event: str | None = None


class SseParser(Push[bytes, Chunk]):
    """Bytes, cut anywhere, to :class:`Chunk`.  Raises ``ProtocolError`` for an event whose JSON is broken."""

    LIMIT = 64 * 1024 * 1024
    """The most bytes that one event may hold."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, item: bytes) -> Iterable[Chunk]:
        """Take bytes as they came; give the events that are complete."""
        # The commonest read of a provider that takes its time: one event, whole, in one line.
        if item.startswith(_PLAIN) and self._begun and not self._rest:
            end = item.find(_LF)
            if end == len(item) - 2 and item.endswith(_LF) and item.find(_CR) < 0:
                try:
                    # What a call of the class does, for half of its price.
                    chunk = _new(Chunk)
                    chunk.data, chunk.event = _loads(item[6:end]), None
                    return (chunk,)
                except orjson.JSONDecodeError:
                    pass  # read again below, with more patience
        return self._split(item)

    def _split(self, item: bytes) -> Iterable[Chunk]:
        data = self._rest + item if self._rest else item
        if not self._begun:
            if len(data) < 3 and b"\xef\xbb\xbf".startswith(data):
                self._rest = data
                return ()
            data = data.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
        if data.find(_CR) >= 0:
            # A CR at the end may be half of a CR LF whose LF comes with the next bytes.
            held = _CR if data.endswith(_CR) else b""
            data = data[: len(data) - len(held)].replace(b"\r\n", _LF).replace(_CR, _LF)
        else:
            held = b""
        events = data.split(_LF + _LF)
        # Assigned before the events are given: the rest must be right even if the reader stops half-way.
        self._rest = events.pop() + held
        if len(self._rest) > self.LIMIT:
            return self._too_large(events)
        try:
            return [chunk for lines in events if (chunk := parse_event(lines)) is not None]
        except ProtocolError:
            # One by one, so that those before the broken one are given.
            return filter(None, map(parse_event, events))

    def _too_large(self, events: list[bytes]) -> Iterable[Chunk]:
        yield from filter(None, map(parse_event, events))
        raise ProtocolError(f"an event of the provider is larger than {self.LIMIT} bytes")

    def flush(self) -> Iterable[Chunk]:
        """Give a last event that has no blank line after it."""
        rest, self._rest = self._rest, b""
        chunk = parse_event(rest.rstrip(b"\r\n"))
        if chunk is not None:
            yield chunk


def parse_event(lines: bytes) -> Chunk | None:
    """One event, given without the blank line behind it and with LF at the end of lines; ``None`` if it holds no data.

    Raises ``ProtocolError`` if its JSON is broken.
    """
    # Almost every event has one of two forms; both are taken apart without splitting all lines.
    if lines.startswith(b"data:") and lines.find(_LF) < 0:
        if lines.startswith(_PLAIN):
            try:
                return Chunk(_loads(lines[6:]))
            except orjson.JSONDecodeError:
                pass  # read again below, with more patience
        return Chunk(_value(lines[5:]))
    if lines.startswith(b"event:"):
        end = lines.find(_LF)
        if lines.startswith(_PLAIN, end + 1) and lines.find(_LF, end + 1) < 0 < end:
            try:
                return Chunk(_loads(lines[end + 7 :]), lines[6:end].strip().decode("utf-8", "replace"))
            except orjson.JSONDecodeError:
                pass
    name = None
    data: list[bytes] = []
    for line in lines.split(_LF):
        if line.startswith(b"data:"):
            data.append(line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].strip().decode("utf-8", "replace")
    if not data:
        return None
    if len(data) == 1:
        return Chunk(_value(data[0]), name)
    return Chunk(_value(b"\n".join(part.removeprefix(b" ") for part in data)), name)


def _value(data: bytes) -> Any:
    data = data.strip()
    if data[:1] not in (b"{", b"["):
        return data.decode("utf-8", "replace")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if data == b"[DONE]":
            return "[DONE]"
        try:
            # Half a character, from a model whose tokens are bytes: U+FFFD in its place, instead of no answer.
            return loads(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            pass
        raise ProtocolError(f"the provider sent an event that is not JSON ({error}): {data[:200]!r}") from None


def encode(data: JSON, event: str | None = None) -> bytes:
    """One event as bytes."""
    if event is None:
        return b"data: %b\n\n" % orjson.dumps(data)
    return b"event: %b\ndata: %b\n\n" % (event.encode(), orjson.dumps(data))
