"""The events of an answer, in canonical form, and the way between a message and its events.

They follow the stream of the Anthropic Messages API, with one difference: a block is named by any hashable *key*
that is convenient to its maker (``"text"``, ``("tool", 1)``).  The Sequencer turns keys into the indexes a client
sees.  Payloads stay plain JSON objects, so that fields nobody here knows survive.

Events are values: never change one, or an object inside one; make another.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, TypeAlias

import attrs
import orjson

from ccr_core.errors import STATUSES, ProtocolError, UpstreamError
from ccr_core.messages import JSON

BlockKey: TypeAlias = Hashable


@attrs.frozen
class MessageStart:
    """The answer begins.  ``usage`` counts what is known so far; ``extra`` holds other fields of the message."""

    id: str
    model: str
    usage: JSON = attrs.Factory(dict)
    extra: JSON = attrs.Factory(dict)


@attrs.frozen
class BlockStart:
    """A content block begins; ``block`` is the block with what it holds at its start (often empty)."""

    key: BlockKey
    block: JSON


@attrs.define(unsafe_hash=True)  # not frozen: it is made twice for each event, and takes half as long so
class BlockDelta:
    """More of a block: ``text_delta``, ``input_json_delta``, ``thinking_delta``, ``signature_delta``, …"""

    key: BlockKey
    delta: JSON


@attrs.frozen
class BlockStop:
    """A content block is complete."""

    key: BlockKey


@attrs.frozen
class MessageDelta:
    """What is known at the end: why the model stopped, and the final usage (cumulative).

    ``extra`` holds other fields of the delta itself, ``beside`` other fields of the event.
    """

    stop_reason: str | None
    stop_sequence: str | None = None
    usage: JSON = attrs.Factory(dict)
    extra: JSON = attrs.Factory(dict)
    beside: JSON = attrs.Factory(dict)


@attrs.frozen
class MessageStop:
    """The answer is complete.  Without it, it is not."""


@attrs.frozen
class Ping:
    """The connection lives; means nothing else."""


@attrs.frozen
class StreamError:
    """The provider reports a failure inside the stream.  ``status`` where it gives one, else by ``kind``."""

    kind: str
    message: str
    status: int | None = None

    def to_error(self) -> UpstreamError:
        """This failure as the exception that the engine handles."""
        return UpstreamError(self.message, self.status or STATUSES.get(self.kind, 500), self.kind)


@attrs.frozen
class Unknown:
    """An event of a type that is not known here; it passes in its place."""

    type: str
    data: JSON


Event: TypeAlias = (
    MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | Ping | StreamError | Unknown
)

_OPENING: dict[str, JSON] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
}


def explode(message: JSON) -> Iterator[Event]:
    """The events of a whole ``message``, as if it had been streamed (each block in one delta)."""
    known = {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}
    extra = {name: value for name, value in message.items() if name not in known}
    usage = message.get("usage") or {}
    yield MessageStart(str(message.get("id") or ""), str(message.get("model") or ""), usage)
    for key, block in enumerate(message.get("content") or ()):
        yield from explode_block(key, block)
    yield MessageDelta(message.get("stop_reason"), message.get("stop_sequence"), usage, extra)
    yield MessageStop()


def explode_block(key: BlockKey, block: JSON) -> Iterator[Event]:
    """The events of one whole content ``block``."""
    kind = block.get("type")
    if kind == "text":
        citations = block.get("citations")
        opening = {**block, "text": ""}
        if citations:
            opening["citations"] = []
        yield BlockStart(key, opening)
        for citation in citations or ():
            yield BlockDelta(key, {"type": "citations_delta", "citation": citation})
        if block.get("text"):
            yield BlockDelta(key, {"type": "text_delta", "text": block["text"]})
    elif kind == "thinking":
        yield BlockStart(key, {**block, "thinking": "", "signature": ""})
        if block.get("thinking"):
            yield BlockDelta(key, {"type": "thinking_delta", "thinking": block["thinking"]})
        if block.get("signature"):
            yield BlockDelta(key, {"type": "signature_delta", "signature": block["signature"]})
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use") and block.get("input"):
        yield BlockStart(key, {**block, "input": {}})
        yield BlockDelta(key, {"type": "input_json_delta", "partial_json": orjson.dumps(block["input"]).decode()})
    else:
        yield BlockStart(key, block)
    yield BlockStop(key)


def assemble(events: Iterable[Event]) -> JSON:
    """The whole message that ``events`` (in lawful order) make.

    Raises ``UpstreamError`` for a ``StreamError`` among them, ``ProtocolError`` when they end too early or the
    arguments of a tool call are not a JSON object.
    """
    message: JSON = {}
    blocks: dict[BlockKey, JSON] = {}
    parts: dict[BlockKey, dict[str, list[str]]] = {}
    complete = False
    for event in events:
        if isinstance(event, BlockDelta):
            _grow(blocks[event.key], parts[event.key], event.delta)
        elif isinstance(event, BlockStart):
            block = blocks[event.key] = {**_OPENING.get(str(event.block.get("type")), {}), **event.block}
            parts[event.key] = {}
            message["content"].append(block)
        elif isinstance(event, BlockStop):
            _finish(blocks.pop(event.key), parts.pop(event.key))
        elif isinstance(event, MessageStart):
            message = {
                "id": event.id,
                "type": "message",
                "role": "assistant",
                "model": event.model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": dict(event.usage),
                **event.extra,
            }
        elif isinstance(event, MessageDelta):
            message["stop_reason"] = event.stop_reason
            message["stop_sequence"] = event.stop_sequence
            message["usage"] = {**message["usage"], **event.usage}
            message.update(event.extra)
            message.update(event.beside)
        elif isinstance(event, MessageStop):
            complete = True
        elif isinstance(event, StreamError):
            raise event.to_error()
    if not complete:
        raise ProtocolError("the answer ended before its end mark")
    return message


def _grow(block: JSON, parts: dict[str, list[str]], delta: JSON) -> None:
    kind = delta.get("type")
    if kind == "text_delta":
        parts.setdefault("text", []).append(delta["text"])
    elif kind == "thinking_delta":
        parts.setdefault("thinking", []).append(delta["thinking"])
    elif kind == "signature_delta":
        parts.setdefault("signature", []).append(delta["signature"])
    elif kind == "input_json_delta":
        parts.setdefault("input", []).append(delta["partial_json"])
    elif kind == "compaction_delta":
        parts.setdefault("content", []).append(delta.get("content") or "")
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]


def _finish(block: JSON, parts: dict[str, list[str]]) -> None:
    for field, texts in parts.items():
        text = "".join(texts)
        if field != "input":
            block[field] = (block.get(field) or "") + text
        elif text:
            block["input"] = parse_arguments(text)


def parse_arguments(text: str) -> Any:
    """The arguments of a tool call, sent as JSON text.

    Text that is no JSON object is kept under ``__unparsedToolInput``, the shape in which the client itself replays
    it: the call stays visible and can be answered with an error instead of being lost.  No text, no arguments.
    """
    if not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {"__unparsedToolInput": {"raw": text, "len": len(text)}}
