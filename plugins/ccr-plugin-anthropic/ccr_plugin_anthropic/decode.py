"""A provider's answer in Messages format to events, tolerant of what compatible providers leave out or add."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import orjson

from ccr_core import (
    JSON,
    BlockDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Context,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    ProtocolError,
    Push,
    StreamError,
    Unknown,
    explode,
    explode_block,
    kind_of,
    new_id,
    reading,
)

_MESSAGE = frozenset({"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"})
_BESIDE = ("context_management",)
"""Fields of a whole message that a stream sends beside the final delta, not inside it."""


KINDS = frozenset(
    {
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "timeout_error",
        "api_error",
        "overloaded_error",
    }
)
"""The error types of the API."""


class Decoder(Push[Chunk, Event]):
    """The chunks of one streamed answer to events.

    Events, blocks and deltas of unknown type pass.  Missing indexes, missing block ends, whole arguments in a block's
    start, and content in the message's start are put right.  Without ``message_stop`` the answer is not complete.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._open: Any = None
        self._unnumbered = 0
        self._arguments: dict[Any, JSON] = {}
        self._started = self._complete = False

    def feed(self, item: Chunk) -> Iterable[Event]:
        """The events of one chunk; ``ProtocolError`` if it is malformed."""
        data = item.data
        if type(data) is not dict:
            if data != "[DONE]":
                self._ctx.note("anthropic.stream", f"ignored an event that is no JSON object: {str(data)[:100]}")
            return ()
        kind = data.get("type")
        # The commonest first.
        if kind == "content_block_delta":
            delta = data.get("delta")
            if type(delta) is not dict:
                raise ProtocolError("the provider sent a content_block_delta without a delta")
            key = data.get("index", self._open)
            if self._arguments or type(key) is not int:
                with reading(data):
                    hash(key)
                    self._arguments.pop(key, None)
            return (BlockDelta(key, delta),)
        with reading(data):
            if kind == "content_block_start":
                return self._start_block(data)
            if kind == "content_block_stop":
                return self._stop_block(data.get("index", self._open))
            return tuple(self._other(kind or item.event, data))

    def flush(self) -> Iterable[Event]:
        """Raise ``ProtocolError`` unless ``message_stop`` was seen."""
        if not self._complete:
            raise ProtocolError(
                "the provider's answer was cut off: it ended without message_stop"
                if self._started
                else "the provider's answer has no event of the Messages API"
            )
        return ()

    def _start_block(self, data: JSON) -> Iterable[Event]:
        block = data.get("content_block")
        if type(block) is not dict:
            raise ProtocolError("the provider sent a content_block_start without a block")
        key = data.get("index")
        hash(key)
        if key is None:
            self._unnumbered += 1
            key = ("block", self._unnumbered)
        self._open = key
        kind = block.get("type")
        events: list[Event] = []
        # Clients read a block's content from its deltas only.
        for kind_, field in (("text", "text"), ("thinking", "thinking")):
            if kind == kind_ and block.get(field):
                events.append(BlockDelta(key, {"type": f"{field}_delta", field: block[field]}))
                block = {**block, field: ""}
        if isinstance(block.get("input"), dict) and block["input"]:
            self._arguments[key] = block["input"]
            block = {**block, "input": {}}
        return [BlockStart(key, block), *events]

    def _stop_block(self, key: Any) -> Iterable[Event]:
        hash(key)
        arguments = self._arguments.pop(key, None)
        if key == self._open:
            self._open = None
        if arguments is None:
            return (BlockStop(key),)
        return (_arguments_delta(key, arguments), BlockStop(key))

    def _other(self, kind: Any, data: JSON) -> Iterable[Event]:
        if kind == "ping":
            return (Ping(),)
        if kind == "message_start":
            return self._start(data)
        if kind == "message_delta":
            return (_message_delta(data),)
        if kind == "message_stop":
            return self._stop(data)
        if kind == "error" or (kind is None and data.get("error")):
            return (stream_error(data),)
        if not isinstance(kind, str):
            self._ctx.note("anthropic.stream", f"ignored an event without a type: {orjson.dumps(data)[:100].decode()}")
            return ()
        return (Unknown(kind, data),)

    def _start(self, data: JSON) -> Iterable[Event]:
        message = data.get("message")
        if type(message) is not dict:
            raise ProtocolError("the provider sent a message_start without a message")
        self._started = True
        extra = {name: value for name, value in message.items() if name not in _MESSAGE}
        yield MessageStart(
            str(message.get("id") or new_id("msg")),
            str(message.get("model") or self._ctx.target.model),
            _usage(message),
            extra,
        )
        # Blocks may be there from the start, when an answer goes on after code execution called a tool.
        for place, block in enumerate(message.get("content") or ()):
            yield from explode_block(("start", place), block)

    def _stop(self, data: JSON) -> Iterable[Event]:
        self._complete = True
        beside = [name for name in data if name != "type"]
        if beside:
            self._ctx.note("anthropic.stream", f"dropped from message_stop: {', '.join(beside)}")
        return (*(_arguments_delta(key, value) for key, value in self._arguments.items()), MessageStop())


def _arguments_delta(key: Any, arguments: JSON) -> BlockDelta:
    return BlockDelta(key, {"type": "input_json_delta", "partial_json": orjson.dumps(arguments).decode()})


def _message_delta(data: JSON) -> MessageDelta:
    delta = data.get("delta") or {}
    return MessageDelta(
        delta.get("stop_reason"),
        delta.get("stop_sequence"),
        _usage(data),
        {name: value for name, value in delta.items() if name not in ("stop_reason", "stop_sequence")},
        {name: value for name, value in data.items() if name not in ("type", "delta", "usage")},
    )


def _usage(data: JSON) -> JSON:
    usage = data.get("usage")
    return usage if isinstance(usage, dict) else {}


def stream_error(data: JSON) -> StreamError:
    """The failure that an ``error`` event reports; its status follows from its kind unless the event has a number."""
    error = data.get("error")
    if not isinstance(error, dict):
        error = {"message": error if isinstance(error, str) else data.get("message")}
    kind = error.get("type")
    status = next((code for name in ("status", "code") if _is_status(code := error.get(name))), None)
    message = error.get("message") or "the provider reported an error in its stream and said no more"
    if kind not in KINDS:
        kind = kind_of(status) if status else "api_error"
    return StreamError(kind, str(message), status)


def _is_status(code: Any) -> bool:
    return isinstance(code, int) and 400 <= code <= 599


def decode_message(body: JSON) -> Iterable[Event]:
    """The events of a whole message; ``UpstreamError`` if it is an error, ``ProtocolError`` if it is no message."""
    if body.get("type") == "error" or ("content" not in body and body.get("error")):
        raise stream_error(body).to_error()
    if not isinstance(body.get("content"), list):
        raise ProtocolError(f"the provider's answer is not a message: {orjson.dumps(body)[:200].decode()}")
    return _events(body)


def _events(body: JSON) -> Iterable[Event]:
    with reading(body):
        events = list(explode({**body, "usage": _usage(body)}))
    for event in events:
        if isinstance(event, MessageDelta):
            beside = {name: event.extra[name] for name in _BESIDE if name in event.extra}
            if beside:
                extra = {name: value for name, value in event.extra.items() if name not in beside}
                event = attrs.evolve(event, extra=extra, beside=beside)
        yield event
