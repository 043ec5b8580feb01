"""What clients are told: clear refusals, whole streams, errors in the API's form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_anthropic.ingress import AnthropicIngress

from ccr_core import (
    AuthError,
    BlockDelta,
    BlockStart,
    CcrError,
    ConfigError,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    PluginError,
    Request,
    RequestError,
    RoutingError,
    StreamError,
    Unknown,
    UpstreamError,
)
from ccr_core.testing import claude_code_headers, claude_code_history, claude_code_request, sample_requests

INGRESS = AnthropicIngress()
USER = {"role": "user", "content": "hi"}


def told(event: Event) -> tuple[str, Any]:
    """Name and data of an event as the client gets it."""
    (data,) = INGRESS.encoder(Request({})).feed(event)
    name, rest = data.decode().split("\n", 1)
    return name.removeprefix("event: "), json.loads(rest.removeprefix("data: "))


def decode(body: Any, headers: dict[str, str] | None = None) -> Request:
    """The request that a body becomes."""
    return INGRESS.decode(json.dumps(body).encode(), headers or {})


def test_paths() -> None:
    """The Messages API and its token count."""
    assert ("anthropic", ("/v1/messages",), ("/v1/messages/count_tokens",)) == (
        INGRESS.name,
        INGRESS.paths,
        INGRESS.count_paths,
    )


def test_claude_code_is_understood() -> None:
    """A request of Claude Code is taken as it is, and its hints are read."""
    body = claude_code_request(history=claude_code_history())

    request = decode(body, claude_code_headers(session="s-1", request_class="main", agent_id="a1"))

    assert body == request.body
    assert ("s-1", "main", "a1") == (request.hints.session, request.hints.request_class, request.hints.agent_id)


@pytest.mark.parametrize("body", sample_requests().values(), ids=list(sample_requests()))
def test_good_requests(body: dict[str, Any]) -> None:
    """Requests of every kind are taken, with unknown fields, without optional ones, and with null for them."""
    nulls = {"system": None, "stop_sequences": None, "thinking": None, "metadata": None, "output_config": None}

    assert {**nulls, **body, "x_new": [1]} == decode({**nulls, **body, "x_new": [1]}).body
    count = {name: body[name] for name in ("model", "messages")} | {"tools": []}
    assert count == decode(count).body


BAD: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages: Field required"),
    ({"messages": "hi"}, "messages: Input should be a valid list"),
    ({"messages": []}, "messages: at least one message is required"),
    ({"messages": [USER, 5]}, "messages.1: Input should be an object"),
    ({"messages": [{"content": "x"}]}, "messages.0.role: Field required"),
    ({"messages": [{**USER, "role": "tool"}]}, "messages.0.role: Input should be 'user', 'assistant' or 'system'"),
    ({"messages": [USER, USER, USER, {"role": "user"}]}, "messages.3.content: Field required"),
    (
        {"messages": [{**USER, "content": 5}]},
        "messages.0.content: Input should be a string or a list of content blocks",
    ),
    ({"messages": [{**USER, "content": ["x"]}]}, "messages.0.content.0: Input should be an object"),
    ({"messages": [{**USER, "content": [{}]}]}, "messages.0.content.0.type: Field required"),
    ({"messages": [{**USER, "content": [{"type": "text"}]}]}, "messages.0.content.0.text.text: Field required"),
    (
        {"messages": [{**USER, "content": [{"type": "text", "text": None}]}]},
        "messages.0.content.0.text.text: Input should be a valid string",
    ),
    (
        {"messages": [{**USER, "content": [{"type": "tool_result", "content": "x"}]}]},
        "messages.0.content.0.tool_result.tool_use_id: Field required",
    ),
    (
        {
            "messages": [
                {**USER, "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]}]}
            ]
        },
        "messages.0.content.0.tool_result.content.0.text.text: Field required",
    ),
    (
        {"messages": [{**USER, "content": [{"type": "tool_use", "id": "t", "name": "n", "input": "x"}]}]},
        "messages.0.content.0.tool_use.input: Input should be an object",
    ),
    ({"messages": [{**USER, "content": [{"type": "image"}]}]}, "messages.0.content.0.image.source: Field required"),
    ({"model": 5}, "model: Input should be a valid string"),
    ({"system": 5}, "system: Input should be a string or a list of content blocks"),
    ({"system": [{"type": "text"}]}, "system.0.text.text: Field required"),
    ({"tools": {}}, "tools: Input should be a valid list"),
    ({"tools": [5]}, "tools.0: Input should be an object"),
    ({"tools": [{"input_schema": {}}]}, "tools.0.name: Field required"),
    ({"tools": [{"name": "x", "input_schema": []}]}, "tools.0.input_schema: Input should be an object"),
    ({"max_tokens": "5"}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
    ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
    ({"stream": "yes"}, "stream: Input should be a valid boolean"),
    ({"stop_sequences": "x"}, "stop_sequences: Input should be a list of strings"),
    ({"thinking": True}, "thinking: Input should be an object"),
]


@pytest.mark.parametrize(("wrong", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_requests(wrong: dict[str, Any], words: str) -> None:
    """What is wrong with a request is said with its place."""
    with pytest.raises(RequestError) as raised:
        decode({"model": "m", "messages": [USER], **wrong})

    assert (words, 400, "invalid_request_error") == (raised.value.message, raised.value.status, raised.value.kind)


def test_usage_always_has_numbers() -> None:
    """What the provider left out of the usage is 0: the SDKs fail on nothing."""
    _, start = told(MessageStart("msg_1", "m", {"input_tokens": None, "service_tier": "x"}))
    _, delta = told(MessageDelta("end_turn"))
    whole = json.loads(INGRESS.encode_message({"content": [], "usage": {"input_tokens": 3}}, Request({})))

    assert {"input_tokens": 0, "output_tokens": 0, "service_tier": "x"} == start["message"]["usage"]
    assert {"output_tokens": 0} == delta["usage"]
    assert {"input_tokens": 3, "output_tokens": 0} == whole["usage"]


def test_message_start() -> None:
    """The message's start has all fields that the SDKs read, further ones, and an id even if the provider gave none."""
    _, data = told(MessageStart("", "m", {}, {"container": {"id": "c"}}))

    assert data["message"].pop("id").startswith("msg_")
    assert {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "container": {"id": "c"},
        "usage": {"input_tokens": 0, "output_tokens": 0},
    } == data["message"]


@pytest.mark.parametrize(
    ("event", "name", "data"),
    [
        (Ping(), "ping", {"type": "ping"}),
        (MessageStop(), "message_stop", {"type": "message_stop"}),
        (
            StreamError("overloaded_error", "busy"),
            "error",
            {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
        ),
        (Unknown("new_event", {"x": 1}), "new_event", {"type": "new_event", "x": 1}),
        (
            BlockStart(2, {"type": "text", "text": ""}),
            "content_block_start",
            {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
        ),
        (
            BlockDelta(2, {"type": "text_delta", "text": 'a\n"ü'}),
            "content_block_delta",
            {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": 'a\n"ü'}},
        ),
        (
            MessageDelta("refusal", None, {"output_tokens": 1}, {"stop_details": {"a": 1}}, {"context_management": {}}),
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": "refusal", "stop_sequence": None, "stop_details": {"a": 1}},
                "usage": {"output_tokens": 1},
                "context_management": {},
            },
        ),
    ],
)
def test_events(event: Event, name: str, data: dict[str, Any]) -> None:
    """Each event has its name in an ``event:`` line and its data as the API has it."""
    assert (name, data) == told(event)


@pytest.mark.parametrize(
    ("error", "status", "kind", "headers"),
    [
        (
            UpstreamError(
                "slow down",
                429,
                headers={"retry-after": "7", "x-should-retry": "true", "request-id": "req_1", "x": "y"},
            ),
            429,
            "rate_limit_error",
            {"retry-after": "7", "x-should-retry": "true", "request-id": "req_1"},
        ),
        (UpstreamError("busy", 529), 529, "overloaded_error", {}),
        (RequestError("too much", 413), 413, "request_too_large", {}),
        (RoutingError("nobody"), 404, "not_found_error", {}),
        (AuthError("log in"), 401, "authentication_error", {"x-should-retry": "false"}),
        (ConfigError("wrong"), 500, "api_error", {"x-should-retry": "false"}),
        (PluginError("p", "s", "m", ValueError("v")), 500, "api_error", {"x-should-retry": "false"}),
    ],
)
def test_errors(error: CcrError, status: int, kind: str, headers: dict[str, str]) -> None:
    """An error keeps status, words and what a client needs to retry; what retrying cannot cure says so."""
    reply = INGRESS.encode_error(error)

    body = json.loads(reply.body)
    assert (status, {"content-type": "application/json", **headers}) == (reply.status, dict(reply.headers))
    assert ("error", {"type": kind, "message": error.message}) == (body["type"], body["error"])
    assert headers.get("request-id") == body.get("request_id")


def test_count() -> None:
    """The answer of the token count."""
    assert {"input_tokens": 42} == json.loads(INGRESS.encode_count(42))
