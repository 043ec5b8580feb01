"""From events to the events of a response, and from a message to a whole one.

A whole answer is written as a stream of which only the last event counts: there is no second writer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import orjson
from ccr_plugin_ingress_openai_chat.encode import Counts, arguments_of, text_input
from ccr_plugin_ingress_openai_chat.errors import error_body

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
    explode,
    new_id,
    parse_arguments,
)

from .request import ResponsesRequest, ToolName
from .thoughts import encrypted_of

INCOMPLETE = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}
"""Stop reason → why the answer is incomplete; for the others it is complete."""


class Encoder(Push[Event, bytes]):
    """The events of one streamed answer; ``response`` is its state, at the end the whole answer.

    Text blocks that follow each other are parts of one item.  Blocks without a counterpart are left out; of a web
    search the query and the addresses are kept.  A ``StreamError`` becomes ``response.failed``.
    """

    def __init__(self, request: Request) -> None:
        self._names = request.names if isinstance(request, ResponsesRequest) else {}
        echo = request.echo if isinstance(request, ResponsesRequest) else {}
        self.response: JSON = {
            "id": new_id("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": request.model,
            "output": [],
            "previous_response_id": None,
            "store": False,
            "tools": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "usage": None,
            **echo,
        }
        self._output: list[JSON] = self.response["output"]
        self._number = 0
        self._usage: JSON = {}
        self._reason: str | None = None
        self._item: JSON | None = None
        """The item that is open; the block inside of it may be complete already."""
        self._block: JSON = {}
        self._parts: list[str] = []
        """The pieces of the open block."""
        self._citations: list[JSON] = []
        self._text_head = b""

    def feed(self, item: Event) -> Iterable[bytes]:
        """The events for one event."""
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
            return self._begin(item)
        if isinstance(item, MessageDelta):
            self._usage = {**self._usage, **item.usage}
            self._reason = item.stop_reason
            return ()
        if isinstance(item, MessageStop):
            return self._end()
        if isinstance(item, StreamError):
            return self._fail(item)
        return ()

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(data))

    # --- the answer ------------------------------------------------------------------------------------------------

    def _begin(self, item: MessageStart) -> list[bytes]:
        if item.id:
            self.response["id"] = item.id if item.id.startswith("resp_") else f"resp_{item.id}"
        self.response["model"] = item.model or self.response["model"]
        self._usage = item.usage
        return [self._event(f"response.{what}", response=self.response) for what in ("created", "in_progress")]

    def _end(self) -> list[bytes]:
        events = self._close()
        reason = INCOMPLETE.get(self._reason or "")
        status = "incomplete" if reason else "completed"
        self.response["status"] = status
        self.response["incomplete_details"] = {"reason": reason} if reason else None
        if not reason:
            self.response["completed_at"] = int(time.time())
        self.response["usage"] = usage_of(self._usage)
        return [*events, self._event(f"response.{status}", response=self.response)]

    def _fail(self, item: StreamError) -> list[bytes]:
        told = error_body(item.kind, item.message)
        error = {"code": told["code"] or told["type"], "message": told["message"]}
        self.response |= {"status": "failed", "error": error}
        return [self._event("response.failed", response=self.response)]

    # --- items and parts -------------------------------------------------------------------------------------------

    def _open(self, item: JSON) -> list[bytes]:
        events = self._close()
        self._item = item
        return [*events, self._event("response.output_item.added", output_index=len(self._output), item=item)]

    def _close(self) -> list[bytes]:
        """End the open item."""
        item, self._item = self._item, None
        if item is None:
            return []
        if "status" in item:
            item = {**item, "status": "completed"}
        place = len(self._output)
        self._output.append(item)
        return [self._event("response.output_item.done", output_index=place, item=item)]

    def _at(self) -> JSON:
        assert self._item is not None
        return {"item_id": self._item["id"], "output_index": len(self._output)}

    def _start(self, block: JSON) -> list[bytes]:
        self._block, self._parts, self._citations = block, [], []
        kind = block.get("type")
        events: list[bytes] = []
        if kind == "text":
            events += self._start_text()
            self._citations = list(block.get("citations") or ())
            if block.get("text"):
                events += self._delta({"type": "text_delta", "text": block["text"]})
        elif kind in ("thinking", "redacted_thinking"):
            events += self._open({"type": "reasoning", "id": new_id("rs"), "summary": [], "encrypted_content": None})
            if block.get("thinking"):
                events += self._delta({"type": "thinking_delta", "thinking": block["thinking"]})
        elif kind == "tool_use":
            events += self._open(self._call_item(block))
        elif kind == "server_tool_use" and block.get("name") == "web_search":
            action = {"type": "search", "query": ""}
            item = {"type": "web_search_call", "id": new_id("ws"), "status": "in_progress", "action": action}
            events += self._open(item)
            events += [
                self._event(f"response.web_search_call.{what}", **self._at()) for what in ("in_progress", "searching")
            ]
        elif kind == "web_search_tool_result" and self._item is not None and self._item["type"] == "web_search_call":
            found = block.get("content")
            if isinstance(found, list):
                sources = [{"type": "url", "url": one["url"]} for one in found if one.get("url")]
                self._item["action"] = {**self._item["action"], "sources": sources}
        return events

    def _start_text(self) -> list[bytes]:
        events: list[bytes] = []
        if self._item is None or self._item["type"] != "message":
            item = {"type": "message", "id": new_id("msg"), "status": "in_progress", "role": "assistant", "content": []}
            events += self._open(item)
        assert self._item is not None
        place = len(self._item["content"])
        where = {**self._at(), "content_index": place}
        self._text_head = (
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
            + orjson.dumps(where)[1:-1]
            + b',"logprobs":[],"sequence_number":'
        )
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return [*events, self._event("response.content_part.added", **where, part=part)]

    def _call_item(self, block: JSON) -> JSON:
        known = self._names.get(block["name"]) or ToolName(block["name"])
        item: JSON = {
            "type": "custom_tool_call" if known.custom else "function_call",
            "id": new_id("ctc" if known.custom else "fc"),
            "status": "in_progress",
            "call_id": block["id"],
            "name": known.name,
            "input" if known.custom else "arguments": "",
        }
        return {**item, "namespace": known.namespace} if known.namespace else item

    def _delta(self, delta: JSON) -> Iterable[bytes]:
        kind = delta.get("type")
        if kind == "text_delta":
            text = delta["text"]
            self._parts.append(text)
            number = self._number
            self._number += 1
            return (self._text_head + b'%d,"delta":%b}\n\n' % (number, orjson.dumps(text)),)
        if kind == "input_json_delta":
            part = delta["partial_json"]
            self._parts.append(part)
            if self._item is None or self._item["type"] != "function_call" or not part:
                return ()
            return (self._event("response.function_call_arguments.delta", **self._at(), delta=part),)
        if kind == "thinking_delta":
            return self._thought(delta["thinking"])
        if kind == "signature_delta":
            self._block = {**self._block, "signature": (self._block.get("signature") or "") + delta["signature"]}
        elif kind == "citations_delta":
            self._citations.append(delta["citation"])
        return ()

    def _thought(self, text: str) -> list[bytes]:
        where = {**self._at(), "summary_index": 0}
        events: list[bytes] = []
        if not self._parts:
            part = {"type": "summary_text", "text": ""}
            events.append(self._event("response.reasoning_summary_part.added", **where, part=part))
        self._parts.append(text)
        return [*events, self._event("response.reasoning_summary_text.delta", **where, delta=text)]

    def _stop(self) -> list[bytes]:
        kind = self._block.get("type")
        if kind == "text":
            return self._stop_text("".join(self._parts))
        if kind in ("thinking", "redacted_thinking"):
            return self._stop_thought("".join(self._parts))
        if kind == "tool_use":
            return self._stop_call("".join(self._parts))
        if self._item is not None and self._item["type"] == "web_search_call":
            if kind == "web_search_tool_result":
                return self._close()
            if kind == "server_tool_use" and self._block.get("name") == "web_search":
                given = parse_arguments("".join(self._parts)) if self._parts else self._block.get("input") or {}
                self._item["action"] = {**self._item["action"], "query": str(given.get("query") or "")}
                return [self._event("response.web_search_call.completed", **self._at())]
        return []

    def _stop_text(self, text: str) -> list[bytes]:
        assert self._item is not None
        where = {**self._at(), "content_index": len(self._item["content"])}
        notes = cited(self._citations, len(text))
        part = {"type": "output_text", "text": text, "annotations": notes, "logprobs": []}
        events = [
            self._event("response.output_text.annotation.added", **where, annotation_index=number, annotation=note)
            for number, note in enumerate(notes)
        ]
        self._item = {**self._item, "content": [*self._item["content"], part]}
        return [
            *events,
            self._event("response.output_text.done", **where, text=text, logprobs=[]),
            self._event("response.content_part.done", **where, part=part),
        ]

    def _stop_thought(self, text: str) -> list[bytes]:
        assert self._item is not None
        events: list[bytes] = []
        if text:
            where = {**self._at(), "summary_index": 0}
            part = {"type": "summary_text", "text": text}
            events.append(self._event("response.reasoning_summary_text.done", **where, text=text))
            events.append(self._event("response.reasoning_summary_part.done", **where, part=part))
            self._item = {**self._item, "summary": [part]}
        self._item = {**self._item, "encrypted_content": encrypted_of(self._block)}
        return [*events, *self._close()]

    def _stop_call(self, sent: str) -> list[bytes]:
        assert self._item is not None
        where, events = self._at(), []
        if self._item["type"] == "custom_tool_call":
            given = parse_arguments(sent) if sent else self._block.get("input")
            text = text_input(given)
            events.append(self._event("response.custom_tool_call_input.delta", **where, delta=text))
            events.append(self._event("response.custom_tool_call_input.done", **where, input=text))
            self._item = {**self._item, "input": text}
            return [*events, *self._close()]
        if not sent:
            # A call that did not stream its arguments has them in its start, or has none.
            sent = arguments_of(self._block.get("input"))
            events.append(self._event("response.function_call_arguments.delta", **where, delta=sent))
        name = self._item["name"]
        events.append(self._event("response.function_call_arguments.done", **where, name=name, arguments=sent))
        self._item = {**self._item, "arguments": sent}
        return [*events, *self._close()]


def whole(message: JSON, request: Request) -> bytes:
    """A whole ``message`` as a response."""
    encoder = Encoder(request)
    for event in explode(message):
        if isinstance(event, BlockDelta) and "__unparsedToolInput" in event.delta.get("partial_json", ""):
            # What the model wrote instead of JSON goes out as it wrote it.
            raw = arguments_of(parse_arguments(event.delta["partial_json"]))
            event = BlockDelta(event.key, {**event.delta, "partial_json": raw})
        encoder.feed(event)
    return orjson.dumps(encoder.response)


def cited(citations: Iterable[JSON], length: int) -> list[JSON]:
    """The annotations of a text of that ``length``; sources without an address have none."""
    return [
        {
            "type": "url_citation",
            "start_index": 0,
            "end_index": length,
            "url": citation["url"],
            "title": citation.get("title") or citation["url"],
        }
        for citation in citations
        if citation.get("url")
    ]


def usage_of(usage: JSON) -> JSON:
    """Token counts in the form of Responses."""
    of = Counts.of(usage)
    return {
        "input_tokens": of.prompt,
        "input_tokens_details": {"cached_tokens": of.cached, "cache_write_tokens": of.written},
        "output_tokens": of.output,
        "output_tokens_details": {"reasoning_tokens": of.thinking},
        "total_tokens": of.prompt + of.output,
    }
