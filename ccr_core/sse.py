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
        data = self._rest + item if self._rest else item
        if not self._begun:
            if len(data) < 3 and b"\xef\xbb\xbf".startswith(data):
                self._rest = data
                return
            data = data.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
        if b"\r" in data:
            # A CR at the end may be half of a CR LF whose LF comes with the next bytes.
            held = b"\r" if data.endswith(b"\r") else b""
            data = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        else:
            held = b""
        events = data.split(b"\n\n")
        # Assigned before the events are given: the rest must be right even if the reader stops half-way.
        self._rest = events.pop() + held
        for lines in events:
            if lines[:7] == b"data: {" and b"\n" not in lines:
                try:
                    yield Chunk(orjson.loads(lines[6:]))
                    continue
                except orjson.JSONDecodeError:
                    pass  # read again below, with more patience
            chunk = _parse(lines)
            if chunk is not None:
                yield chunk
        if len(self._rest) > self.LIMIT:
            raise ProtocolError(f"an event of the provider is larger than {self.LIMIT} bytes")

    def flush(self) -> Iterable[Chunk]:
        """Give a last event that has no blank line after it."""
        rest, self._rest = self._rest, b""
        chunk = _parse(rest.rstrip(b"\r\n"))
        if chunk is not None:
            yield chunk


def _parse(lines: bytes) -> Chunk | None:
    # Almost every event has one of two forms; both are taken apart without splitting all lines.
    if lines.startswith(b"data:") and b"\n" not in lines:
        return Chunk(_value(lines[5:]))
    name = None
    data: list[bytes] = []
    for line in lines.split(b"\n"):
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
