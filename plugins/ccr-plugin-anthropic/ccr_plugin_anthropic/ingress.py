"""What clients of the Messages API speak: their requests, and the answers as they want them.

A request is checked as far as the rest of the router relies on its shape, and no further: fields and blocks that
nobody here knows pass.  Complaints name the place and use the API's own words, because clients read them: Claude Code
finds the cure for some refusals in the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, cast

import orjson

from ccr_core import (
    JSON,
    AuthError,
    BlockDelta,
    BlockStart,
    BlockStop,
    CcrError,
    ConfigError,
    Event,
    Headers,
    Ingress,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    PluginError,
    Push,
    Request,
    RequestError,
    StreamError,
    Unknown,
    UpstreamError,
    WireReply,
    hints_of,
    new_id,
    parse_body,
)

ROLES = ("user", "assistant", "system")
"""The roles of a message.  Claude Code puts ``system`` messages among the others for models it does not know."""

_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
_dumps = orjson.dumps
_OBJECT = (dict, type(None))
_OBJECTS = ("thinking", "metadata", "tool_choice", "output_config", "context_management")


class AnthropicIngress(Ingress):
    """The Messages API as Claude Code and the Anthropic SDKs speak it."""

    name: ClassVar[str] = "anthropic"
    paths: ClassVar[tuple[str, ...]] = ("/v1/messages",)
    count_paths: ClassVar[tuple[str, ...]] = ("/v1/messages/count_tokens",)

    def decode(self, body: bytes, headers: Headers) -> Request:
        """The request, unchanged, if the router can rely on its shape; ``RequestError`` (400) otherwise.

        ``max_tokens`` may be absent: count requests have none, and a dialect has a default.
        """
        data = parse_body(body)
        check(data)
        return Request(data, headers, hints_of(data, headers), self.name)

    def encoder(self, request: Request) -> Push[Event, bytes]:
        """An encoder that writes server-sent events with ``event:`` lines, without which clients see nothing."""
        return Encoder()

    def encode_message(self, message: JSON, request: Request) -> bytes:
        """The message as JSON; its usage has numbers, whatever the provider left out."""
        usage = _counts(message.get("usage") or {}, "input_tokens", "output_tokens")
        return orjson.dumps({**message, "usage": usage})

    def encode_error(self, error: CcrError) -> WireReply:
        """The error in the API's form, with the provider's ``retry-after``, ``x-should-retry`` and request id.

        What only a person can cure (a missing login, a wrong configuration, a broken plugin) is marked as not worth
        a retry: Claude Code would repeat a 401 or 500 ten times in three minutes.
        """
        headers: dict[str, str] = {"content-type": "application/json"}
        body: JSON = {"type": "error", "error": {"type": error.kind, "message": error.message}}
        if error.details:
            body["error"]["details"] = dict(error.details)
        if isinstance(error, UpstreamError):
            headers.update(error.headers)
            request_id = error.headers.get("request-id") or error.headers.get("x-request-id")
            if request_id:
                body["request_id"] = request_id
        elif isinstance(error, (AuthError, ConfigError, PluginError)):
            headers["x-should-retry"] = "false"
        return WireReply(status=error.status, headers=headers, body=orjson.dumps(body))

    def encode_count(self, count: int) -> bytes:
        """The answer of ``count_tokens``."""
        return orjson.dumps({"input_tokens": count})


class Encoder(Push[Event, bytes]):
    """Events, in the order and with the indexes of the Sequencer, to server-sent events."""

    def __init__(self) -> None:
        self._index: Any = None
        self._head = b""
        """What stands before the delta, for deltas of the block ``_index``."""

    def feed(self, item: Event) -> Iterable[bytes]:
        """The bytes of one event; never more than one piece."""
        if type(item) is BlockDelta:
            return (self.delta(cast(int, item.key), item.delta),)  # behind the Sequencer keys are indexes
        return (_encode(item),)

    def delta(self, index: int, delta: JSON) -> bytes:
        """The bytes of a piece of the block ``index``."""
        if index != self._index:
            self._index = index
            self._head = _DELTA % index
        return self._head + _dumps(delta) + b"}\n\n"


def _encode(item: Event) -> bytes:
    if isinstance(item, Ping):
        return b'event: ping\ndata: {"type":"ping"}\n\n'
    if isinstance(item, BlockStart):
        block = {"type": "content_block_start", "index": item.key, "content_block": item.block}
        return _event("content_block_start", block)
    if isinstance(item, BlockStop):
        return _event("content_block_stop", {"type": "content_block_stop", "index": item.key})
    if isinstance(item, MessageStart):
        message = {
            "id": item.id or new_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": item.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            **item.extra,
            "usage": _counts(item.usage, "input_tokens", "output_tokens"),
        }
        return _event("message_start", {"type": "message_start", "message": message})
    if isinstance(item, MessageDelta):
        delta = {"stop_reason": item.stop_reason, "stop_sequence": item.stop_sequence, **item.extra}
        usage = _counts(item.usage, "output_tokens")
        return _event("message_delta", {"type": "message_delta", "delta": delta, "usage": usage, **item.beside})
    if isinstance(item, MessageStop):
        return b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    if isinstance(item, StreamError):
        return _event("error", {"type": "error", "error": {"type": item.kind, "message": item.message}})
    if isinstance(item, Unknown):
        return _event(item.type, {"type": item.type, **item.data})
    raise TypeError(f"not an event: {item!r}")


def _event(name: str, data: JSON) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


def _counts(usage: JSON, *names: str) -> JSON:
    """``usage`` with a number for each of ``names``: the SDKs fail without."""
    wanted = {name: 0 for name in names if not isinstance(usage.get(name), int)}
    return {**usage, **wanted} if wanted else usage


def check(body: JSON) -> None:
    """Raise ``RequestError``, naming the place, if ``body`` is not a Messages request that the router can read.

    Source of the shapes and wordings: the API reference, and the refusals that Claude Code recognises.
    """
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise RequestError("model: Input should be a valid string")
    messages = body.get("messages")
    if messages is None:
        raise RequestError("messages: Field required")
    if not isinstance(messages, list):
        raise RequestError("messages: Input should be a valid list")
    if not messages:
        raise RequestError("messages: at least one message is required")
    if not _are_sound(messages):
        for place, message in enumerate(messages):
            _check_message(message, f"messages.{place}")
    system = body.get("system")
    if system is not None and not isinstance(system, str):
        _check_blocks(system, "system")
    _check_tools(body.get("tools"))
    tokens = body.get("max_tokens")
    if tokens is not None:
        if not isinstance(tokens, int) or isinstance(tokens, bool):
            raise RequestError("max_tokens: Input should be a valid integer")
        if tokens < 1:
            raise RequestError("max_tokens: must be greater than or equal to 1")
    if not isinstance(body.get("stream"), bool | None):
        raise RequestError("stream: Input should be a valid boolean")
    stops = body.get("stop_sequences")
    if stops is not None and not (isinstance(stops, list) and all(isinstance(stop, str) for stop in stops)):
        raise RequestError("stop_sequences: Input should be a list of strings")
    for name in _OBJECTS:
        if not isinstance(body.get(name), _OBJECT):
            raise RequestError(f"{name}: Input should be an object")


def _are_sound(messages: list[Any]) -> bool:
    """Whether all messages are certainly right.  Most requests are, and this is quick; who is doubtful, and where, is
    left to :func:`_check_message`."""
    try:
        for message in messages:
            content = message["content"]
            if message["role"] not in ROLES or not (type(content) is str or _blocks_are_sound(content)):
                return False
    except (KeyError, TypeError):
        return False
    return True


def _blocks_are_sound(blocks: Any) -> bool:
    """The same for the blocks of a message; raises ``KeyError`` or ``TypeError`` for some that are not."""
    if type(blocks) is not list:
        return False
    for block in blocks:
        kind = block["type"]
        if kind == "text":
            sound = type(block["text"]) is str
        elif kind == "tool_result":
            content = block["content"]
            sound = type(block["tool_use_id"]) is str and (type(content) is str or _blocks_are_sound(content))
        elif kind == "tool_use":
            sound = type(block["input"]) is dict and type(block["id"]) is str and type(block["name"]) is str
        else:
            sound = kind == "thinking" and type(block["thinking"]) is str
        if not sound:
            return False
    return True


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        raise RequestError(f"{where}: Input should be an object")
    role = message.get("role")
    if role not in ROLES:
        what = "Input should be 'user', 'assistant' or 'system'" if "role" in message else "Field required"
        raise RequestError(f"{where}.role: {what}")
    content = message.get("content")
    if isinstance(content, str):
        return
    if content is None:
        raise RequestError(f"{where}.content: Field required")
    _check_blocks(content, f"{where}.content")


def _check_blocks(blocks: Any, where: str) -> None:
    if not isinstance(blocks, list):
        raise RequestError(f"{where}: Input should be a string or a list of content blocks")
    for place, block in enumerate(blocks):
        if not isinstance(block, dict):
            raise RequestError(f"{where}.{place}: Input should be an object")
        kind = block.get("type")
        if not isinstance(kind, str):
            raise RequestError(f"{where}.{place}.type: Field required")
        for name in _TEXTS.get(kind, ()):
            if not isinstance(block.get(name), str):
                what = "Input should be a valid string" if name in block else "Field required"
                raise RequestError(f"{where}.{place}.{kind}.{name}: {what}")
        if kind == "tool_result":
            content = block.get("content")
            if content is not None and not isinstance(content, str):
                _check_blocks(content, f"{where}.{place}.tool_result.content")
        elif kind == "tool_use" and not isinstance(block.get("input"), dict):
            what = "Input should be an object" if "input" in block else "Field required"
            raise RequestError(f"{where}.{place}.tool_use.input: {what}")
        elif kind in ("image", "document") and not isinstance(block.get("source"), dict):
            raise RequestError(f"{where}.{place}.{kind}.source: Field required")


_TEXTS = {
    "text": ("text",),
    "thinking": ("thinking",),
    "tool_use": ("id", "name"),
    "tool_result": ("tool_use_id",),
}
"""The fields of a block that must be there and be strings, by its type."""


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise RequestError("tools: Input should be a valid list")
    for place, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise RequestError(f"tools.{place}: Input should be an object")
        if tool.get("type") not in (None, "custom"):
            continue
        if not isinstance(tool.get("name"), str):
            raise RequestError(f"tools.{place}.name: Field required")
        if not isinstance(tool.get("input_schema"), _OBJECT):
            raise RequestError(f"tools.{place}.input_schema: Input should be an object")
