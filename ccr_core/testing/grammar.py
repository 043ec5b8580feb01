"""The grammar of an answer as a client reads it, checked event by event.

The rules are those that ``ccr_core.sequence`` enforces, and its tables are used where it has them.  This file says
in addition what an official client library insists on: figures in both usages, ids of tool calls, arguments that are
one JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ccr_core.events import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    StreamError,
    Unknown,
)
from ccr_core.messages import JSON
from ccr_core.sequence import OPENERS

DELTAS: dict[str, str] = {delta: block["type"] for delta, block in OPENERS.items()}
"""Kind of delta → the kind of block it belongs to; ``input_json_delta`` belongs to any block with an input."""

_PAYLOADS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


def check_stream(events: Iterable[Any], *, complete: bool | None = True) -> None:
    """Raise ``AssertionError`` unless ``events`` are a lawful answer; the message shows where they are not.

    ``events`` are canonical events with numbers for keys (as they leave the Sequencer), the JSON objects of a
    Messages API stream, or anything with such an object in ``data``.  ``complete`` says how it must end: ``True``
    with ``message_stop``, ``False`` without it (cut, or an ``error`` event), ``None`` either way.
    """
    seen: list[JSON] = []
    try:
        _Grammar().run(_told(to_wire(events), seen), complete)
    except _Unlawful as error:
        shown = [f"  {'>' if n == len(seen) - 1 else ' '} {n:4} {_show(event)}" for n, event in enumerate(seen)]
        raise AssertionError(f"unlawful stream: {error}\n" + "\n".join(shown[-12:])) from None


def to_wire(events: Iterable[Any]) -> Iterator[JSON]:
    """``events``, in any of the forms that :func:`check_stream` takes, as JSON objects of the Messages API."""
    for event in events:
        if isinstance(event, dict):
            yield event
        elif isinstance(event, Unknown):
            yield {**event.data, "type": event.type}
        elif isinstance(getattr(event, "data", None), dict):
            yield event.data
        else:
            yield _to_wire(event)


def _to_wire(event: Event) -> JSON:
    match event:
        case MessageStart():
            message = {"id": event.id, "type": "message", "role": "assistant", "model": event.model, "content": []}
            ends = {"stop_reason": None, "stop_sequence": None, "usage": event.usage}
            return {"type": "message_start", "message": {**message, **ends, **event.extra}}
        case BlockStart():
            return {"type": "content_block_start", "index": event.key, "content_block": event.block}
        case BlockDelta():
            return {"type": "content_block_delta", "index": event.key, "delta": event.delta}
        case BlockStop():
            return {"type": "content_block_stop", "index": event.key}
        case MessageDelta():
            delta = {"stop_reason": event.stop_reason, "stop_sequence": event.stop_sequence, **event.extra}
            return {"type": "message_delta", "delta": delta, "usage": event.usage, **event.beside}
        case MessageStop():
            return {"type": "message_stop"}
        case Ping():
            return {"type": "ping"}
        case StreamError():
            return {"type": "error", "error": {"type": event.kind, "message": event.message}}
    raise AssertionError(f"not an event: {event!r}")


class _Unlawful(Exception):
    pass


def _told(events: Iterable[JSON], seen: list[JSON]) -> Iterator[JSON]:
    for event in events:
        seen.append(event)
        yield event


def _show(event: JSON) -> str:
    text = json.dumps(event, ensure_ascii=False, default=repr)
    return text if len(text) <= 160 else text[:157] + "…"


class _Grammar:
    """start  block*  delta  stop; pings and unknown events anywhere after the start; an error ends it."""

    def __init__(self) -> None:
        self.block: JSON | None = None
        self.next_index = 0
        self.arguments = ""
        self.broken_arguments: str | None = None
        self.ids: set[str] = set()
        self.delta: JSON | None = None

    def run(self, events: Iterator[JSON], complete: bool | None) -> None:
        first = next(events, None)
        if first is None:
            if complete:
                raise _Unlawful("it is empty")
            return
        if first.get("type") == "error":
            ended = "error"
        else:
            self.start(first)
            ended = ""
        for event in events:
            if ended:
                raise _Unlawful(f"something follows the {ended}")
            ended = self.step(event)
        if complete and ended != "message_stop":
            raise _Unlawful("it ends without message_stop")
        if complete is False and ended == "message_stop":
            raise _Unlawful("it ends with message_stop, as if it were complete")

    def start(self, event: JSON) -> None:
        if event.get("type") != "message_start":
            raise _Unlawful("it does not begin with message_start")
        message = event["message"]
        if message.get("content") != []:
            raise _Unlawful("message_start has content")
        if not isinstance(message.get("id"), str) or not isinstance(message.get("model"), str):
            raise _Unlawful("message_start has no id or no model")
        _figures(message.get("usage"), "input_tokens", "output_tokens")

    def step(self, event: JSON) -> str:
        """Take one event; the kind of end that it is, or nothing."""
        kind = event.get("type")
        if kind == "error":
            error = event.get("error")
            if not isinstance(error, dict) or not error.get("type") or not isinstance(error.get("message"), str):
                raise _Unlawful("the error has no type or no message")
            return "error"
        if kind == "message_stop":
            if self.delta is None:
                raise _Unlawful("message_stop before message_delta")
            return "message_stop"
        if kind == "message_start":
            raise _Unlawful("a second message_start")
        if kind == "message_delta":
            self.end(event)
        elif kind in ("content_block_start", "content_block_delta", "content_block_stop"):
            if self.delta is not None:
                raise _Unlawful(f"{kind} after message_delta")
            self.in_block(str(kind), event)
        return ""

    def in_block(self, kind: str, event: JSON) -> None:
        index = event.get("index")
        if kind == "content_block_start":
            if self.block is not None:
                raise _Unlawful("a block starts while another is open")
            if index != self.next_index:
                raise _Unlawful(f"expected block {self.next_index}, got {index!r}")
            self.open(event["content_block"])
            return
        if self.block is None or index != self.next_index - 1:
            raise _Unlawful(f"{kind} for block {index!r}, which is not open")
        if kind == "content_block_delta":
            self.grow(event["delta"])
        else:
            self.close()

    def open(self, block: JSON) -> None:
        if not isinstance(block.get("type"), str):
            raise _Unlawful("a block without a type")
        if block["type"] == "tool_use":
            ident, name = block.get("id"), block.get("name")
            if not isinstance(ident, str) or not ident or not isinstance(name, str) or not name:
                raise _Unlawful("a tool call without id or name")
            if ident in self.ids:
                raise _Unlawful(f"two tool calls have the id {ident!r}")
            self.ids.add(ident)
        if self.broken_arguments is not None:
            raise _Unlawful(f"the arguments of a tool call were no JSON object: {self.broken_arguments!r}")
        self.block, self.arguments = block, ""
        self.next_index += 1

    def grow(self, delta: JSON) -> None:
        assert self.block is not None
        kind = delta.get("type")
        if not isinstance(kind, str):
            raise _Unlawful("a delta without a type")
        home = DELTAS.get(kind, self.block["type"])
        if home != self.block["type"] or (kind == "input_json_delta" and "input" not in self.block):
            raise _Unlawful(f"a {kind} in a block of type {self.block['type']}")
        if kind in _PAYLOADS and not isinstance(delta.get(_PAYLOADS[kind]), str):
            raise _Unlawful(f"a {kind} without text")
        if kind == "input_json_delta":
            self.arguments += delta["partial_json"]

    def close(self) -> None:
        assert self.block is not None
        if self.arguments:
            try:
                value = json.loads(self.arguments)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                # Lawful only for the last call of an answer that was cut short.
                self.broken_arguments = self.arguments
        self.block = None

    def end(self, event: JSON) -> None:
        if self.block is not None:
            raise _Unlawful("message_delta while a block is open")
        if self.delta is not None:
            raise _Unlawful("a second message_delta")
        self.delta = event["delta"]
        reason = self.delta.get("stop_reason")
        if not isinstance(reason, str) or not reason:
            raise _Unlawful("message_delta has no stop_reason")
        _figures(event.get("usage"), "output_tokens")
        if self.broken_arguments is not None and reason not in ("max_tokens", "model_context_window_exceeded"):
            raise _Unlawful(f"the arguments of a tool call were no JSON object: {self.broken_arguments!r}")


def _figures(usage: Any, *fields: str) -> None:
    for field in fields:
        if not isinstance(usage, dict) or type(usage.get(field)) is not int:
            raise _Unlawful(f"usage.{field} is not a number")
