"""From events to chunks of a chat completion, and from a message to a whole one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import attrs
import orjson

from ccr_core import (
    JSON,
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    Push,
    Request,
    StreamError,
    new_id,
    parse_arguments,
)

from .errors import error_body
from .request import ChatRequest
from .thoughts import detail_of

FINISH = {
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""Stop reason → finish reason, where it is not ``stop``."""

DONE = b"data: [DONE]\n\n"

_WITHIN = ("thinking", "redacted_thinking", "text")
"""Blocks that text may go on behind as if they were not there."""


class Encoder(Push[Event, bytes]):
    """The chunks of one streamed answer.

    Blocks without a counterpart (results of a provider's own tools) are left out; what cites them has their addresses.
    A ``StreamError`` becomes a chunk with ``error``, after which there is no ``[DONE]``.
    """

    def __init__(self, request: Request) -> None:
        self._wants_usage = isinstance(request, ChatRequest) and request.usage
        self._customs = request.customs if isinstance(request, ChatRequest) else frozenset[str]()
        self._head = b""
        self._shell: JSON = {}
        self._usage: JSON = {}
        self._block: JSON = {}
        self._parts: list[str] = []
        """The input of a tool whose input is a text, or the thinking or text of the open block."""
        self._calls = -1
        self._details = -1
        self._said = 0
        """How many characters of text were sent."""
        self._last = ""
        self._gap = False
        self._begin = 0
        self._citations: list[JSON] = []

    def feed(self, item: Event) -> Iterable[bytes]:
        """The chunks for one event."""
        # The commonest first.
        if type(item) is BlockDelta:
            return self._delta(item.delta)
        if isinstance(item, BlockStart):
            return self._start(item.block)
        if isinstance(item, BlockStop):
            return self._stop()
        if isinstance(item, Ping):
            return (b": ping\n\n",)
        if isinstance(item, MessageStart):
            shell = {"id": item.id or new_id("chatcmpl"), "created": int(time.time()), "model": item.model}
            self._shell = {**shell, "object": "chat.completion.chunk"}
            self._head = b"data: " + orjson.dumps(self._shell)[:-1] + b',"choices":[{"index":0,"delta":'
            self._usage = item.usage
            return (self._chunk({"role": "assistant", "content": ""}),)
        if isinstance(item, MessageDelta):
            self._usage = {**self._usage, **item.usage}
            return (self._chunk({}, finish_reason(item.stop_reason)),)
        if isinstance(item, MessageStop):
            if not self._wants_usage:
                return (DONE,)
            return (_event({**self._shell, "choices": [], "usage": usage_of(self._usage)}), DONE)
        if isinstance(item, StreamError):
            return (_event({"error": error_body(item.kind, item.message)}),)
        return ()

    def _chunk(self, delta: JSON, finish: str | None = None) -> bytes:
        return self._head + orjson.dumps(delta) + b',"finish_reason":' + orjson.dumps(finish) + b"}]}\n\n"

    def _start(self, block: JSON) -> Iterable[bytes]:
        kind = block.get("type")
        self._block, self._parts = block, []
        if kind == "text":
            self._begin, self._citations = self._said, list(block.get("citations") or ())
            return self._delta({"type": "text_delta", "text": block["text"]}) if block.get("text") else ()
        if kind == "thinking" and block.get("thinking"):
            return self._delta({"type": "thinking_delta", "thinking": block["thinking"]})
        if kind not in _WITHIN:
            self._gap = bool(self._said)
        if kind != "tool_use":
            return ()
        self._calls += 1
        if block["name"] in self._customs:
            return ()
        function = {"name": block["name"], "arguments": ""}
        return (self._call({"id": block["id"], "type": "function", "function": function}),)

    def _call(self, fields: JSON) -> bytes:
        return self._chunk({"tool_calls": [{"index": self._calls, **fields}]})

    def _delta(self, delta: JSON) -> Iterable[bytes]:
        kind = delta.get("type")
        if kind == "text_delta":
            text = delta["text"]
            if self._gap and text:
                # Text behind a call is a paragraph of its own.
                text = text if self._last.isspace() or text[0].isspace() else "\n\n" + text
                self._gap = False
            if not text:
                return ()
            self._said += len(text)
            self._last = text[-1]
            return (self._head + b'{"content":' + orjson.dumps(text) + b'},"finish_reason":null}]}\n\n',)
        if kind == "input_json_delta":
            part = delta["partial_json"]
            if self._block.get("type") != "tool_use" or not part:
                return ()
            self._parts.append(part)
            if self._block["name"] in self._customs:
                return ()
            return (self._call({"function": {"arguments": part}}),)
        if kind == "thinking_delta":
            self._parts.append(delta["thinking"])
            return (self._chunk({"reasoning_content": delta["thinking"]}),)
        if kind == "signature_delta":
            self._block = {**self._block, "signature": (self._block.get("signature") or "") + delta["signature"]}
        elif kind == "citations_delta":
            self._citations.append(delta["citation"])
        return ()

    def _stop(self) -> Iterable[bytes]:
        block, kind = self._block, self._block.get("type")
        if kind == "text":
            notes = cited(self._citations, self._begin, self._said)
            return (self._chunk({"annotations": notes}),) if notes else ()
        if kind in ("thinking", "redacted_thinking"):
            detail = detail_of({**block, "thinking": "".join(self._parts)}, self._details + 1)
            if detail is None:
                return ()
            self._details += 1
            return (self._chunk({"reasoning_details": [detail]}),)
        if kind != "tool_use":
            return ()
        sent = "".join(self._parts)
        if block["name"] in self._customs:
            given = parse_arguments(sent) if sent else block.get("input")
            custom = {"name": block["name"], "input": text_input(given)}
            return (self._call({"id": block["id"], "type": "custom", "custom": custom}),)
        # A call that did not stream its arguments has them in its start, or has none.
        return () if sent else (self._call({"function": {"arguments": arguments_of(block.get("input"))}}),)


def whole(message: JSON, request: Request) -> bytes:
    """A whole ``message`` as a chat completion."""
    customs = request.customs if isinstance(request, ChatRequest) else frozenset[str]()
    text, thought, gap = "", "", False
    details: list[JSON] = []
    calls: list[JSON] = []
    notes: list[JSON] = []
    for block in message.get("content") or ():
        kind = block.get("type")
        if kind == "text":
            said = str(block.get("text") or "")
            if gap and said and text and not (text[-1].isspace() or said[0].isspace()):
                said = "\n\n" + said
            gap = gap and not said
            notes += cited(block.get("citations") or (), len(text), len(text) + len(said))
            text += said
        elif kind in ("thinking", "redacted_thinking"):
            thought += str(block.get("thinking") or "")
            detail = detail_of(block, len(details))
            details += [detail] if detail else []
        else:
            gap = bool(text)
            if kind == "tool_use":
                calls.append(_whole_call(block, customs))
    said_message: JSON = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
    for name, value in (
        ("reasoning_content", thought),
        ("reasoning_details", details),
        ("annotations", notes),
        ("tool_calls", calls),
    ):
        if value:
            said_message[name] = value
    choice = {
        "index": 0,
        "message": said_message,
        "logprobs": None,
        "finish_reason": finish_reason(message.get("stop_reason")),
    }
    return orjson.dumps(
        {
            "id": message.get("id") or new_id("chatcmpl"),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": message.get("model") or "",
            "choices": [choice],
            "usage": usage_of(message.get("usage") or {}),
        }
    )


def _whole_call(block: JSON, customs: frozenset[str]) -> JSON:
    name, given = block["name"], block.get("input")
    if name in customs:
        return {"id": block["id"], "type": "custom", "custom": {"name": name, "input": text_input(given)}}
    return {"id": block["id"], "type": "function", "function": {"name": name, "arguments": arguments_of(given)}}


def finish_reason(stop_reason: str | None) -> str:
    """The finish reason for a stop reason."""
    return FINISH.get(stop_reason or "", "stop")


def arguments_of(given: Any) -> str:
    """The arguments of a call as JSON text; those that the model wrote as no JSON, as it wrote them."""
    if isinstance(given, dict) and isinstance(given.get("__unparsedToolInput"), dict):
        return str(given["__unparsedToolInput"].get("raw") or "")
    return orjson.dumps({} if given is None else given).decode()


def text_input(given: Any) -> str:
    """The text for a tool whose input is a text; a model that ignored the schema is quoted as it is."""
    if isinstance(given, dict) and isinstance(given.get("input"), str):
        return str(given["input"])
    return arguments_of(given)


def cited(citations: Iterable[JSON], start: int, end: int) -> list[JSON]:
    """The annotations for the text from ``start`` to ``end``; sources without an address have none."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": start,
                "end_index": end,
                "url": citation["url"],
                "title": citation.get("title") or citation["url"],
            },
        }
        for citation in citations
        if citation.get("url")
    ]


def usage_of(usage: JSON) -> JSON:
    """Token counts in the form of chat completions."""
    of = Counts.of(usage)
    details: JSON = {"cached_tokens": of.cached}
    if of.written:
        details["cache_write_tokens"] = of.written
    return {
        "prompt_tokens": of.prompt,
        "completion_tokens": of.output,
        "total_tokens": of.prompt + of.output,
        "prompt_tokens_details": details,
        **({"completion_tokens_details": {"reasoning_tokens": of.thinking}} if of.thinking else {}),
    }


@attrs.frozen
class Counts:
    """Token counts as OpenAI has them: those of the cache are a part of the prompt's, those of thinking of the
    output's."""

    prompt: int
    cached: int
    written: int
    output: int
    thinking: int

    @classmethod
    def of(cls, usage: JSON) -> Counts:
        """From the form of the Messages API, in which ``input_tokens`` leaves out what has to do with the cache."""

        def count(name: str, source: Any = usage) -> int:
            value = source.get(name) if isinstance(source, dict) else None
            return value if isinstance(value, int) else 0

        cached, written = count("cache_read_input_tokens"), count("cache_creation_input_tokens")
        thinking = count("thinking_tokens", usage.get("output_tokens_details"))
        return cls(count("input_tokens") + cached + written, cached, written, count("output_tokens"), thinking)


def _event(data: JSON) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(data)
