"""Answers: from events to chunks, and from a message to a chat completion."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_ingress_openai_chat.ingress import ChatCompletions
from ccr_plugin_ingress_openai_chat.request import ChatRequest

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
from ccr_core.testing.samples import message, text, thinking, tool_use

INGRESS = ChatCompletions()
REQUEST = ChatRequest({"model": "m", "messages": []}, ingress="chat-completions")


def streamed(*events: Event, usage: bool = False, customs: tuple[str, ...] = ()) -> list[Any]:
    """The data of the chunks for ``events``."""
    request = ChatRequest(REQUEST.body, usage=usage, customs=frozenset(customs))
    encoder = INGRESS.encoder(request)
    return list(read_sse(b"".join([piece for event in events for piece in encoder.feed(event)] + [*encoder.flush()])))


def deltas(*events: Event, customs: tuple[str, ...] = ()) -> list[JSON]:
    """The deltas for ``events`` behind a start."""
    chunks = streamed(MessageStart("id", "m"), *events, customs=customs)
    return [chunk["choices"][0]["delta"] for chunk in chunks[1:] if chunk != "[DONE]"]


def whole(given: JSON, customs: tuple[str, ...] = ()) -> JSON:
    """The chat completion for a message."""
    request = ChatRequest(REQUEST.body, customs=frozenset(customs))
    completion: JSON = json.loads(INGRESS.encode_message(given, request))
    return completion


def said(given: JSON) -> JSON:
    """The message in the chat completion for a message."""
    answer: JSON = whole(given)["choices"][0]["message"]
    return answer


def test_a_stream() -> None:
    """The role comes first, then pieces of text, the reason, the usage if it was asked for, and the end mark."""
    events = [
        MessageStart("id", "m", {"input_tokens": 2, "cache_read_input_tokens": 3}),
        BlockStart(0, {"type": "text", "text": ""}),
        BlockDelta(0, {"type": "text_delta", "text": "Hel"}),
        BlockDelta(0, {"type": "text_delta", "text": "lo"}),
        BlockStop(0),
        MessageDelta("end_turn", usage={"output_tokens": 5}),
        MessageStop(),
    ]

    *chunks, end = streamed(*events)
    *_, usage, _ = streamed(*events, usage=True)

    assert "[DONE]" == end
    assert [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "Hel"}, None),
        ({"content": "lo"}, None),
        ({}, "stop"),
    ] == [(chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks]
    assert {("id", "m", "chat.completion.chunk")} == {(one["id"], one["model"], one["object"]) for one in chunks}
    assert [] == usage["choices"]
    assert {
        "prompt_tokens": 5,
        "completion_tokens": 5,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 3},
    } == usage["usage"]


def test_a_call_in_pieces() -> None:
    """A call is begun with its name and goes on with its arguments; the next one has the next index."""
    got = deltas(
        BlockStart(0, {"type": "tool_use", "id": "a", "name": "Bash", "input": {}}),
        BlockDelta(0, {"type": "input_json_delta", "partial_json": ""}),
        BlockDelta(0, {"type": "input_json_delta", "partial_json": '{"x":'}),
        BlockDelta(0, {"type": "input_json_delta", "partial_json": "1}"}),
        BlockStop(0),
        BlockStart(1, {"type": "tool_use", "id": "b", "name": "List", "input": {}}),
        BlockStop(1),
        BlockStart(2, {"type": "tool_use", "id": "c", "name": "Read", "input": {"p": "q"}}),
        BlockStop(2),
    )

    calls = [delta["tool_calls"][0] for delta in got]
    assert {"index": 0, "id": "a", "type": "function", "function": {"name": "Bash", "arguments": ""}} == calls[0]
    assert [
        (0, ""),
        (0, '{"x":'),
        (0, "1}"),
        (1, ""),
        (1, "{}"),
        (2, ""),
        (2, '{"p":"q"}'),
    ] == [(call["index"], call["function"]["arguments"]) for call in calls]


def test_a_tool_whose_input_is_a_text() -> None:
    """The call of a custom tool has its text, also if the model wrote something else than asked."""
    call = tool_use("Patch", input="*** Begin")

    (got,) = deltas(*list(explode(message(call)))[1:4], customs=("Patch",))
    (whole_call,) = whole(message(call), ("Patch",))["choices"][0]["message"]["tool_calls"]
    (other,) = whole(message(tool_use("Patch", other=1)), ("Patch",))["choices"][0]["message"]["tool_calls"]

    assert {"id": "toolu_1", "type": "custom", "custom": {"name": "Patch", "input": "*** Begin"}} == whole_call
    assert {"index": 0, **whole_call} == got["tool_calls"][0]
    assert '{"other":1}' == other["custom"]["input"]


def test_arguments_that_are_no_json() -> None:
    """What a model wrote instead of JSON reaches the client as the model wrote it."""
    broken = tool_use("Bash", __unparsedToolInput={"raw": '{"a', "len": 3})

    (call,) = said(message(broken))["tool_calls"]

    assert '{"a' == call["function"]["arguments"]


def test_thinking() -> None:
    """Thinking has its own field; its signature goes beside it, with the length of its text instead of the text."""
    given = message(
        thinking("abc", "s1"), {"type": "redacted_thinking", "data": "h"}, thinking("de", "s2"), thinking("f", "")
    )
    details = [
        {"type": "reasoning.text", "signature": "s1", "length": 3, "format": "ccr", "index": 0},
        {"type": "reasoning.encrypted", "data": "h", "format": "ccr", "index": 1},
        {"type": "reasoning.text", "signature": "s2", "length": 2, "format": "ccr", "index": 2},
    ]

    got = deltas(*list(explode(given))[1:-2])
    answer = said(given)

    assert "abcdef" == "".join(delta.get("reasoning_content", "") for delta in got)
    assert details == [one for delta in got for one in delta.get("reasoning_details", ())]
    assert ("abcdef", details) == (answer["reasoning_content"], answer["reasoning_details"])


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([text("a"), text("b")], "ab"),
        ([text("a"), thinking("t"), text("b")], "ab"),
        ([text("a"), tool_use("Bash"), text("b")], "a\n\nb"),
        ([text("a\n"), tool_use("Bash"), text("b")], "a\nb"),
        ([text("a"), tool_use("Bash"), text(" b")], "a b"),
        ([tool_use("Bash"), text("b")], "b"),
        ([text("a"), {"type": "web_search_tool_result", "content": []}, text("b"), text("c")], "a\n\nbc"),
    ],
)
def test_texts_are_joined(blocks: list[JSON], expected: str) -> None:
    """Several texts are one; a call or a search between them makes two paragraphs."""
    given = message(*blocks)
    got = deltas(*list(explode(given))[1:-2])

    assert expected == "".join(delta.get("content", "") for delta in got)
    assert expected == said(given)["content"]


def test_sources() -> None:
    """The addresses that a text cites become annotations with its place; sources without address do not."""
    found = {"type": "web_search_result_location", "url": "https://h", "title": "H"}
    page = {"type": "page_location", "document_index": 0}
    given = message(text("Well: "), {"type": "text", "text": "it is.", "citations": [found, page]})
    expected = {
        "type": "url_citation",
        "url_citation": {"url": "https://h", "title": "H", "start_index": 6, "end_index": 12},
    }

    got = deltas(*list(explode(given))[1:-2])

    assert [expected] == [one for delta in got for one in delta.get("annotations", ())]
    assert [expected] == said(given)["annotations"]


def test_a_whole_answer() -> None:
    """A whole answer has one choice, and its figures."""
    given = message(text("Hi"), usage={"input_tokens": 1, "cache_creation_input_tokens": 2, "output_tokens": 3})

    completion = whole(given)

    assert {
        "id": "msg_sample",
        "object": "chat.completion",
        "created": completion["created"],
        "model": "big",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 3,
            "total_tokens": 6,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 2},
        },
    } == completion


def test_tokens_of_thinking() -> None:
    """They are a part of the answer's tokens, in a whole answer and at the end of a stream."""
    given = message(text("Hi"), usage={"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 20}})

    usage = whole(given)["usage"]

    assert (30, {"reasoning_tokens": 20}) == (usage["completion_tokens"], usage["completion_tokens_details"])
    assert "completion_tokens_details" not in whole(message(text("Hi")))["usage"]


def test_only_calls() -> None:
    """An answer that only calls has no content, as OpenAI has it; an empty one has an empty text."""
    assert said(message(tool_use("Bash")))["content"] is None
    assert "" == said(message())["content"]


@pytest.mark.parametrize(
    ("stop_reason", "expected"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        (None, "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ],
)
def test_why_it_ended(stop_reason: str | None, expected: str) -> None:
    """Each stop reason has a finish reason."""
    given = {**message(text("a")), "stop_reason": stop_reason}
    *_, last, _ = streamed(*explode(given))

    assert expected == last["choices"][0]["finish_reason"]
    assert expected == whole(given)["choices"][0]["finish_reason"]


def test_pings_and_the_unknown() -> None:
    """A ping is a comment, which clients skip; what is unknown has no form here."""
    encoder = INGRESS.encoder(REQUEST)

    assert [b": ping\n\n"] == [*encoder.feed(Ping())]
    assert [] == [*encoder.feed(Unknown("new", {"a": 1}))]


def test_an_error_in_the_stream() -> None:
    """A failure is a chunk that SDKs raise, without an end mark behind it."""
    *_, last = streamed(MessageStart("id", "m"), StreamError("overloaded_error", "too busy"))

    assert {
        "error": {"message": "too busy", "type": "overloaded_error", "param": None, "code": "server_is_overloaded"}
    } == last


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (RequestError("n: no"), 400, {"type": "invalid_request_error", "param": "n", "code": None}),
        (RequestError("a[0].b: no"), 400, {"type": "invalid_request_error", "param": "a[0].b", "code": None}),
        (RequestError("the body: no"), 400, {"type": "invalid_request_error", "param": None, "code": None}),
        (AuthError("no"), 401, {"type": "authentication_error", "param": None, "code": "invalid_api_key"}),
        (CcrError("no"), 500, {"type": "server_error", "param": None, "code": "server_error"}),
        (UpstreamError("no", 429), 429, {"type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}),
        (UpstreamError("no", 402), 402, {"type": "billing_error", "param": None, "code": "insufficient_quota"}),
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
