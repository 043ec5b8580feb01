"""Answers: from events to the events of a response, and from a message to a whole one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from ccr_plugin_ingress_openai_responses.ingress import Responses
from ccr_plugin_ingress_openai_responses.request import ResponsesRequest, ToolName
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from ccr_core import (
    JSON,
    AuthError,
    BlockDelta,
    BlockStart,
    BlockStop,
    CcrError,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    RequestError,
    StreamError,
    Unknown,
    UpstreamError,
    explode,
)
from ccr_core.testing.recordings import read_sse
from ccr_core.testing.samples import RICH, message, text, thinking, tool_use

INGRESS = Responses()
STREAM: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def request(names: Mapping[str, ToolName] | None = None, echo: JSON | None = None) -> ResponsesRequest:
    return ResponsesRequest({"model": "m", "messages": []}, ingress="responses", names=names or {}, echo=echo or {})


def streamed(*events: Event, names: Mapping[str, ToolName] | None = None) -> list[JSON]:
    """The data of the events for ``events``."""
    encoder = INGRESS.encoder(request(names))
    return list(read_sse(b"".join([piece for event in events for piece in encoder.feed(event)] + [*encoder.flush()])))


def whole(given: JSON, names: Mapping[str, ToolName] | None = None, echo: JSON | None = None) -> JSON:
    """The response for a message."""
    response: JSON = json.loads(INGRESS.encode_message(given, request(names, echo)))
    return response


def without_ids(value: Any) -> Any:
    """``value`` without what differs each time."""
    if isinstance(value, dict):
        volatile = ("id", "item_id", "created_at", "completed_at")
        return {name: without_ids(one) for name, one in value.items() if name not in volatile}
    return [without_ids(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("what", RICH)
def test_every_event_is_one_of_openai(what: str) -> None:
    """Each event is what the SDK's own types demand, numbered from 0; the items are announced and ended in order."""
    events = streamed(*explode(RICH[what]))

    for event in events:
        STREAM.validate_python(event, strict=False)
    assert [*range(len(events))] == [event["sequence_number"] for event in events]
    items = [(event["type"][21:], event["output_index"]) for event in events if "output_item" in event["type"]]
    count = len(items) // 2
    assert [(what, place) for place in range(count) for what in ("added", "done")] == items
    last = events[-1]["response"]
    assert last["output"] == [event["item"] for event in events if event["type"] == "response.output_item.done"]


@pytest.mark.parametrize("what", RICH)
def test_whole_and_streamed_agree(what: str) -> None:
    """A whole answer is what a stream ends with, and what the SDK's own types demand."""
    response = whole(RICH[what])
    *_, last = streamed(*explode(RICH[what]))

    Response.model_validate(response, strict=False)
    assert without_ids(last["response"]) == without_ids(response)


def test_a_stream() -> None:
    """Texts that follow each other are parts of one item, each begun, grown and ended."""
    events = streamed(
        MessageStart("id", "m", {"input_tokens": 2, "cache_read_input_tokens": 3}),
        BlockStart(0, {"type": "text", "text": ""}),
        BlockDelta(0, {"type": "text_delta", "text": "Hel"}),
        BlockDelta(0, {"type": "text_delta", "text": "lo"}),
        BlockStop(0),
        BlockStart(1, {"type": "text", "text": "!"}),
        BlockStop(1),
        MessageDelta("end_turn", usage={"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 4}}),
        MessageStop(),
    )

    assert [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ] == [event["type"].removeprefix("response.") for event in events]
    assert [(0, "Hel"), (0, "lo"), (1, "!")] == [
        (event["content_index"], event["delta"]) for event in events if event["type"].endswith("text.delta")
    ]
    (item,) = events[-1]["response"]["output"]
    assert ["Hello", "!"] == [part["text"] for part in item["content"]]
    assert {item["id"]} == {event["item_id"] for event in events if "item_id" in event}
    assert ("resp_id", "m", "completed") == tuple(events[-1]["response"][name] for name in ("id", "model", "status"))
    assert {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 10,
    } == events[-1]["response"]["usage"]


def test_a_call_in_pieces() -> None:
    """A call grows by its arguments; one that did not stream them has them all the same."""
    events = streamed(
        MessageStart("id", "m"),
        BlockStart(0, {"type": "tool_use", "id": "a", "name": "Bash", "input": {}}),
        BlockDelta(0, {"type": "input_json_delta", "partial_json": ""}),
        BlockDelta(0, {"type": "input_json_delta", "partial_json": '{"x":'}),
        BlockDelta(0, {"type": "input_json_delta", "partial_json": "1}"}),
        BlockStop(0),
        BlockStart(1, {"type": "tool_use", "id": "b", "name": "List", "input": {}}),
        BlockStop(1),
        BlockStart(2, {"type": "tool_use", "id": "c", "name": "Read", "input": {"p": "q"}}),
        BlockStop(2),
        MessageDelta("tool_use"),
        MessageStop(),
    )

    assert [(0, '{"x":'), (0, "1}"), (1, "{}"), (2, '{"p":"q"}')] == [
        (event["output_index"], event["delta"]) for event in events if event["type"].endswith("arguments.delta")
    ]
    assert [
        ("a", "Bash", '{"x":1}', "completed"),
        ("b", "List", "{}", "completed"),
        ("c", "Read", '{"p":"q"}', "completed"),
    ] == [
        tuple(item[name] for name in ("call_id", "name", "arguments", "status"))
        for item in events[-1]["response"]["output"]
    ]


def test_names_of_tools() -> None:
    """A call names its tool as the client does: in its namespace, and with a text where the input is one."""
    names = {"web__get": ToolName("get", "web"), "Patch": ToolName("Patch", None, True)}
    given = message(
        tool_use("web__get", "a", url="u"),
        tool_use("Patch", "b", input="*** Begin"),
        tool_use("Patch", "c", other=1),
        stop_reason="tool_use",
    )

    events = streamed(*explode(given), names=names)

    assert [
        {
            "type": "function_call",
            "status": "completed",
            "call_id": "a",
            "name": "get",
            "arguments": '{"url":"u"}',
            "namespace": "web",
        },
        {"type": "custom_tool_call", "status": "completed", "call_id": "b", "name": "Patch", "input": "*** Begin"},
        {"type": "custom_tool_call", "status": "completed", "call_id": "c", "name": "Patch", "input": '{"other":1}'},
    ] == without_ids(events[-1]["response"]["output"])
    assert ["*** Begin", '{"other":1}'] == [
        event["input"] for event in events if event["type"] == "response.custom_tool_call_input.done"
    ]
    assert without_ids(events[-1]["response"]["output"]) == without_ids(whole(given, names)["output"])


def test_arguments_that_are_no_json() -> None:
    """What a model wrote instead of JSON reaches the client as the model wrote it."""
    (call,) = whole(message(tool_use("Bash", __unparsedToolInput={"raw": '{"a', "len": 3})))["output"]

    assert '{"a' == call["arguments"]


def test_thinking() -> None:
    """Thinking is a summary, and its signature is what a client keeps as encrypted."""
    given = message(thinking("abc", "s1"), {"type": "redacted_thinking", "data": "h"}, thinking("", "s2"))

    items = whole(given)["output"]

    assert [
        ([{"type": "summary_text", "text": "abc"}], "ccr.s1"),
        ([], "ccr-hidden.h"),
        ([], "ccr.s2"),
    ] == [(item["summary"], item["encrypted_content"]) for item in items]


def test_a_search() -> None:
    """Of a search there are the query and the addresses; what the text cites is annotated."""
    citation = {"type": "web_search_result_location", "url": "https://h", "title": "H"}
    found = [{"type": "web_search_result", "url": "https://h", "title": "H"}]
    given = message(
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": found},
        {"type": "text", "text": "Found.", "citations": [citation, {"type": "page_location"}]},
    )

    events = streamed(*explode(given))
    search, said = events[-1]["response"]["output"]

    assert {"type": "search", "query": "x", "sources": [{"type": "url", "url": "https://h"}]} == search["action"]
    note = {"type": "url_citation", "start_index": 0, "end_index": 6, "url": "https://h", "title": "H"}
    assert [note] == said["content"][0]["annotations"]
    assert [note] == [event["annotation"] for event in events if event["type"].endswith("annotation.added")]


def test_a_search_without_results() -> None:
    """A search whose results never came, and one that failed, are ended all the same."""
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
    failed = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": {"error_code": "unavailable"}}
    other = {"type": "server_tool_use", "id": "s2", "name": "code_execution", "input": {"query": "not this"}}

    items = whole(message(search, other, search, failed, text("a")))["output"]

    assert ["web_search_call", "web_search_call", "message"] == [item["type"] for item in items]
    assert [("x", "completed")] * 2 == [(item["action"]["query"], item["status"]) for item in items[:2]]


@pytest.mark.parametrize(
    ("stop_reason", "status", "reason"),
    [
        ("end_turn", "completed", None),
        ("stop_sequence", "completed", None),
        ("tool_use", "completed", None),
        ("pause_turn", "completed", None),
        (None, "completed", None),
        ("max_tokens", "incomplete", "max_output_tokens"),
        ("model_context_window_exceeded", "incomplete", "max_output_tokens"),
        ("refusal", "incomplete", "content_filter"),
    ],
)
def test_why_it_ended(stop_reason: str | None, status: str, reason: str | None) -> None:
    """An answer that a limit or a filter ended is incomplete, and says why; any other is complete."""
    *_, last = streamed(*explode({**message(text("a")), "stop_reason": stop_reason}))

    assert (f"response.{status}", status) == (last["type"], last["response"]["status"])
    assert ({"reason": reason} if reason else None) == last["response"]["incomplete_details"]


def test_the_request_is_repeated() -> None:
    """Fields that clients look for in the answer are in it; what is stored is not claimed."""
    response = whole(message(text("a")), echo={"metadata": {"a": "b"}, "temperature": 0.5})

    assert ({"a": "b"}, 0.5, False) == (response["metadata"], response["temperature"], response["store"])


def test_pings_and_the_unknown() -> None:
    """A ping is a comment, which clients skip; what is unknown has no form here."""
    encoder = INGRESS.encoder(request())

    assert [b": ping\n\n"] == [*encoder.feed(Ping())]
    assert [] == [*encoder.feed(Unknown("new", {"a": 1}))]


def test_an_error_in_the_stream() -> None:
    """A failure ends the response as failed, with what was complete before it and no usage."""
    *_, last = streamed(
        *list(explode(message(text("a"), tool_use("Bash"))))[:4], StreamError("overloaded_error", "busy")
    )

    assert ("response.failed", "failed") == (last["type"], last["response"]["status"])
    assert {"code": "server_is_overloaded", "message": "busy"} == last["response"]["error"]
    assert last["response"]["usage"] is None


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (RequestError("a[0].b: no"), 400, {"type": "invalid_request_error", "param": "a[0].b", "code": None}),
        (AuthError("no"), 401, {"type": "authentication_error", "param": None, "code": "invalid_api_key"}),
        (CcrError("no"), 500, {"type": "server_error", "param": None, "code": "server_error"}),
        (UpstreamError("no", 429), 429, {"type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}),
        (
            UpstreamError("prompt is too long: 9 tokens > 8 maximum", 400),
            400,
            {"type": "invalid_request_error", "param": None, "code": "context_length_exceeded"},
        ),
    ],
)
def test_an_error(error: CcrError, status: int, expected: JSON) -> None:
    """An error has OpenAI's form: type and code for programs, the place of a mistake, and the words."""
    reply = INGRESS.encode_error(error)

    assert (status, {"error": {"message": error.message, **expected}}) == (reply.status, json.loads(reply.body))


def test_the_headers_of_an_error() -> None:
    """How long to wait passes; what only a person can cure is not to be tried again."""
    told = INGRESS.encode_error(UpstreamError("no", 429, headers={"retry-after": "3", "server": "x"})).headers
    assert {"content-type": "application/json", "retry-after": "3"} == told
    assert "false" == INGRESS.encode_error(AuthError("no")).headers["x-should-retry"]


def test_a_count() -> None:
    """The count of a request has OpenAI's form."""
    assert {"object": "response.input_tokens", "input_tokens": 7} == json.loads(INGRESS.encode_count(7))
