"""Passing a stream on as it came, and reading from the side what the router must know.

Theory of operation.  A line break is never part of a JSON text on the wire (inside strings it is escaped).  So a blank
line is the end of an event, and a line that begins with ``event:`` is an event's name, whatever words a model writes.
Whole events are passed on, so that others may be put between them; in each read only the beginnings of the few names
that matter are searched for, and only those events are parsed.

Nothing is given before ``message_start`` is there whole: until then the answer can still be retried elsewhere.  That
first event also tells whether clients can read the stream at all.  Some compatible services leave out the ``event:``
lines, or the usage, without which clients see nothing or fail; their streams are mended event by event instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson

from ccr_core import JSON, Chunk, Outcome, ProtocolError, Push, SseParser, parse_event
from ccr_plugin_anthropic.decode import stream_error

LIMIT = 4 * 1024 * 1024
"""The most bytes that are kept of an event that does not end."""

_BLANK = re.compile(rb"\r?\n\r?\n|\r\r")
_MARKS = (b"\n\n", b"\n\r\n", b"\r\r")
_END = b"\n\n"
_LINE = re.compile(rb"\{|event:|data:|id:|retry:|:")
_DELTA = b"event: content_block_delta\n"
_BOM = b"\xef\xbb\xbf"
_NAMES = (b"message_", b"error")
"""How the names of events that matter begin.  They are searched for without what stands before them, which is the same
in each event: a search that begins to fit everywhere takes several times as long."""

_FIELDS = (b"event: ", b"event:")


class Relay(Push[bytes, bytes]):
    """The bytes of one streamed answer, untouched; what they say of the answer goes into ``outcome``.

    With ``named`` the first event calls the model so.
    """

    def __init__(self, outcome: Outcome, named: str | None = None) -> None:
        self.outcome = outcome
        self._named = named
        self._rest = b""
        self._marks: tuple[bytes, ...] = _MARKS
        self._begun = False
        self._mending = False
        self._plain = False
        """Passing as it is, with LF alone at the end of lines."""

    def feed(self, item: bytes) -> Iterable[bytes]:
        """Whole events, once the answer has begun; ``UpstreamError`` or ``ProtocolError`` if it begins otherwise."""
        # The commonest read of a provider that takes its time: one event, whole, which does not matter here.
        if (
            self._plain
            and not self._rest
            and item.startswith(_DELTA)
            and item.find(b"\n", len(_DELTA)) == len(item) - 2
            and item.endswith(_END)
            and item.find(b"\r") < 0
        ):
            return (item,)
        return self._pass(item) if self._begun else self._open(item)

    def flush(self) -> Iterable[bytes]:
        """Raise ``ProtocolError`` unless the answer was complete, or ended with an error that has been passed on.

        A last event that lacks its blank line is given with one.
        """
        outcome, rest = self.outcome, self._rest
        if not self._begun:
            self._end_unbegun(rest)
        given: Iterable[bytes] = ()
        if outcome.complete or outcome.error is not None:
            given = (rest,) if rest and not self._mending else ()
        elif rest:
            given = tuple(self._pass(_END))
        if not outcome.complete and outcome.error is None:
            raise ProtocolError("the provider's answer was cut off: it ended without message_stop")
        return given

    def _open(self, item: bytes) -> Iterable[bytes]:
        data = self._rest + item
        self._rest = data
        text = data.removeprefix(_BOM).lstrip(b"\r\n")
        if len(text) >= 6 and not _LINE.match(text):
            raise ProtocolError(f"the provider's answer is not a stream of events: {_excerpt(text)}")
        if len(data) > LIMIT:
            raise ProtocolError(f"the provider's first event is larger than {LIMIT} bytes")
        place = 0
        while (blank := _BLANK.search(data, place)) is not None:
            end = blank.end()
            for chunk in _chunks(data[place:end]):
                if self._begins(chunk):
                    return self._begin(data, place, end, chunk)
            place = end
        return ()

    def _end_unbegun(self, rest: bytes) -> None:
        """Raise what is wrong with an answer that ended before it began."""
        if rest.lstrip().startswith(b"{"):
            try:
                data = orjson.loads(rest)
            except orjson.JSONDecodeError:
                data = {}
            if data.get("error"):
                raise stream_error(data).to_error()
            raise ProtocolError(f"the provider answered with JSON instead of a stream of events: {_excerpt(rest)}")
        tuple(self._open(_END))
        if not self._begun:
            raise ProtocolError(f"the provider's answer is not a stream of events: {_excerpt(rest)}")

    def _begins(self, chunk: Chunk) -> bool:
        data = chunk.data
        if not isinstance(data, dict):
            raise ProtocolError(f"the provider's answer begins with {str(data)[:100]!r}")
        kind = data.get("type") or chunk.event
        if kind == "ping":
            return False
        if kind == "error" or (kind is None and data.get("error")):
            raise stream_error(data).to_error()
        if kind != "message_start" or not isinstance(data.get("message"), dict):
            raise ProtocolError(f"the provider's answer begins with {kind or 'an event without a type'}")
        return True

    def _begin(self, data: bytes, place: int, end: int, chunk: Chunk) -> Iterable[bytes]:
        """``data`` from the first byte on, in which the first event stands from ``place`` to ``end``."""
        usage = chunk.data["message"].get("usage")
        has_usage = isinstance(usage, dict) and isinstance(usage.get("input_tokens"), int)
        self._begun = True
        self._mending = not chunk.event or not has_usage or data.startswith(_BOM)
        if data.find(b"\r") < 0:
            self._marks = _MARKS[:1]
            self._plain = not self._mending
        self._rest = b""
        if self._mending:
            return self._pass(data.removeprefix(_BOM))
        self._learn(chunk)
        first = data[:end]
        if self._named is not None:
            first = data[:place] + _event("message_start", self._renamed(chunk.data))
        return (first, *self._pass(data[end:])) if end < len(data) else (first,)

    def _renamed(self, data: JSON) -> JSON:
        message = data.get("message")
        if self._named is None or not isinstance(message, dict):
            return data
        return {**data, "message": {**message, "model": self._named}}

    def _pass(self, item: bytes) -> Iterable[bytes]:
        rest = self._rest
        data = rest + item if rest else item
        # The end of the last whole event; of what was kept, only its last bytes can be half of a blank line.
        at = max(0, len(rest) - 2)
        end = max((found + len(mark) for mark in self._marks if (found := data.rfind(mark, at)) >= 0), default=0)
        if not end:
            if len(data) > LIMIT:
                raise ProtocolError(f"an event of the provider is larger than {LIMIT} bytes")
            self._rest = data
            return ()
        whole, self._rest = (data, b"") if end == len(data) else (data[:end], data[end:])
        if self._mending:
            mended = b"".join(self._mended(chunk) for chunk in _chunks(whole))
            return (mended,) if mended else ()
        for name in _NAMES:
            found = whole.find(name)
            while found >= 0:
                if _names_event(whole, found):
                    blank = _BLANK.search(whole, found)
                    for chunk in _chunks(b"event:" + whole[found : blank.end() if blank else end]):
                        self._learn(chunk)
                found = whole.find(name, found + 1)
        return (whole,)

    def _learn(self, chunk: Chunk) -> None:
        outcome, data = self.outcome, chunk.data
        if not isinstance(data, dict):
            return
        kind = data.get("type") or chunk.event
        if kind == "message_start":
            message: JSON = data.get("message") or {}
            outcome.id = str(message.get("id") or "")
            outcome.model = str(message.get("model") or "")
            outcome.usage = dict(message.get("usage") or {})
        elif kind == "message_delta":
            outcome.stop_reason = (data.get("delta") or {}).get("stop_reason") or outcome.stop_reason
            outcome.usage = {**outcome.usage, **(data.get("usage") or {})}
        elif kind == "message_stop":
            outcome.complete = True
        elif kind == "error":
            outcome.error = stream_error(data).message

    def _mended(self, chunk: Chunk) -> bytes:
        data = chunk.data
        if not isinstance(data, dict):
            return b""
        kind = data.get("type") or chunk.event or ("error" if data.get("error") else None)
        if not isinstance(kind, str):
            return b""
        if kind == "message_start" and isinstance(data.get("message"), dict):
            message = data["message"]
            usage = _numbers(message.get("usage"), "input_tokens", "output_tokens")
            data = {**data, "message": {**message, "usage": usage}}
        elif kind == "message_delta":
            data = {**data, "usage": _numbers(data.get("usage"), "output_tokens")}
        elif kind == "error" and not isinstance(data.get("error"), dict):
            error = stream_error(data)
            data = {**data, "error": {"type": error.kind, "message": error.message}}
        self._learn(Chunk(data, kind))
        return _event(
            kind, self._renamed({"type": kind, **data}) if kind == "message_start" else {"type": kind, **data}
        )


def _names_event(data: bytes, place: int) -> bool:
    """Whether what stands at ``place`` is the name of an event: behind ``event:`` at the beginning of a line."""
    for field in _FIELDS:
        begin = place - len(field)
        if begin >= 0 and data.startswith(field, begin):
            return not begin or data[begin - 1] in b"\r\n"
    return False


def _event(kind: str, data: JSON) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(data))


def _chunks(data: bytes) -> list[Chunk]:
    """The chunks of whole events."""
    if data.find(b"\r") < 0:
        return [chunk for lines in data.split(_END) if lines and (chunk := parse_event(lines)) is not None]
    parser = SseParser()
    return [*parser.feed(data), *parser.flush()]


def _numbers(usage: Any, *names: str) -> JSON:
    usage = usage if isinstance(usage, dict) else {}
    return {**usage, **{name: 0 for name in names if not isinstance(usage.get(name), int)}}


def _excerpt(data: bytes) -> str:
    return repr(data[:200].decode("utf-8", "replace")) if data else "it is empty"
