"""Answers of providers that do not keep to the letter of the protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_anthropic.dialect import Anthropic

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
    Request,
    StreamError,
    Target,
    Unknown,
    UpstreamError,
    assemble,
)
from ccr_core.testing import check_stream, decode, sse

TARGET = Target(provider="p", model="big", base_url="https://api.example/v1")
START: JSON = {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3}}}
DELTA = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
STOP = {"type": "message_stop"}


def events_of(*data: Any, notes: list[tuple[str, Any]] | None = None) -> list[Event]:
    """The events of a stream whose chunks have ``data``, without its end being checked."""
    gathered: list[tuple[str, Any]] = [] if notes is None else notes
    ctx = Context(exchange_id="1", target=TARGET, note=lambda key, value: gathered.append((key, value)))
    decoder = Anthropic().decoder(Request({}), ctx)
    return [event for one in data for event in decoder.feed(Chunk(one))]


def message_of(*data: JSON) -> JSON:
    """The message that a stream makes, through the Sequencer, as the engine does it."""
    stream = b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in data)
    decoded = decode(Anthropic(), [stream], Request({}), Context(exchange_id="1", target=TARGET))
    assert decoded.error is None
    check_stream(decoded.sequenced)
    return assemble(decoded.sequenced)


def block(index: int | None, start: JSON, *deltas: JSON, stop: bool = True) -> list[JSON]:
    """The chunks of a block; without index or stop if told so."""
    place = {} if index is None else {"index": index}
    return [
        {"type": "content_block_start", **place, "content_block": start},
        *({"type": "content_block_delta", **place, "delta": delta} for delta in deltas),
        *([{"type": "content_block_stop", **place}] if stop else []),
    ]


def test_every_field_is_kept() -> None:
    """Fields that nobody here knows stay where they were."""
    start = {**START, "message": {**START["message"], "container": 1}}
    delta = {**DELTA, "delta": {"stop_reason": "x", "stop_sequence": "y", "new": 1}, "context_management": {"a": 1}}

    assert [
        MessageStart("msg_1", "m", {"input_tokens": 3}, {"container": 1}),
        MessageDelta("x", "y", {"output_tokens": 5}, {"new": 1}, {"context_management": {"a": 1}}),
        MessageStop(),
    ] == events_of(start, delta, STOP)


def test_unknown_things_pass() -> None:
    """Events, blocks and deltas of kinds that are not known pass in their places."""
    data = [{"type": "new_event", "x": 1}, *block(0, {"type": "new_block", "y": 2}, {"type": "new_delta", "z": 3})]

    assert [
        Unknown("new_event", {"type": "new_event", "x": 1}),
        BlockStart(0, {"type": "new_block", "y": 2}),
        BlockDelta(0, {"type": "new_delta", "z": 3}),
        BlockStop(0),
    ] == events_of(*data)


def test_without_indexes_and_stops() -> None:
    """Blocks without index or end are told apart by their starts."""
    message = message_of(
        START,
        *block(None, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}, stop=False),
        *block(None, {"type": "text", "text": ""}, {"type": "text_delta", "text": "b"}),
        DELTA,
        STOP,
    )

    assert ["a", "b"] == [part["text"] for part in message["content"]]


def test_content_in_a_blocks_start() -> None:
    """Text, thinking and arguments that stand in a block's start are not lost on clients that read deltas only."""
    data = [
        START,
        *block(0, {"type": "thinking", "thinking": "hm"}, {"type": "signature_delta", "signature": "s"}),
        *block(1, {"type": "text", "text": "He"}, {"type": "text_delta", "text": "llo"}),
        *block(2, {"type": "tool_use", "id": "t1", "name": "n", "input": {"a": 1}}),
        *block(3, {"type": "tool_use", "id": "t2", "name": "n", "input": {"b": 2}}, stop=False),
        DELTA,
        STOP,
    ]

    starts = [event.block for event in events_of(*data) if isinstance(event, BlockStart)]
    content = message_of(*data)["content"]

    assert [None, "", None, None] == [start.get("text") for start in starts]
    assert ["hm", "Hello", {"a": 1}, {"b": 2}] == [
        content[0]["thinking"],
        content[1]["text"],
        content[2]["input"],
        content[3]["input"],
    ]


def test_arguments_that_come_twice() -> None:
    """Arguments in a block's start stand only if no deltas bring them."""
    message = message_of(
        START,
        *block(
            0,
            {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}},
            {"type": "input_json_delta", "partial_json": '{"a": 2}'},
        ),
        DELTA,
        STOP,
    )

    assert {"a": 2} == message["content"][0]["input"]


def test_content_in_the_messages_start() -> None:
    """Blocks that are there from the start are the first of the answer."""
    tool = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}
    start = {**START, "message": {**START["message"], "content": [tool]}}

    assert [tool] == message_of(start, DELTA, STOP)["content"]


def test_start_without_id_and_model() -> None:
    """A start that lacks them gets an id and the model that was asked for."""
    (start,) = events_of({"type": "message_start", "message": {}})

    assert isinstance(start, MessageStart)
    assert start.id.startswith("msg_")
    assert ("big", {}) == (start.model, start.usage)


def test_type_in_the_event_line_only() -> None:
    """The name of an event counts where its data has no type."""
    decoder = Anthropic().decoder(Request({}), Context(exchange_id="1", target=TARGET))

    assert [Ping(), MessageStop()] == [*decoder.feed(Chunk({}, "ping")), *decoder.feed(Chunk({}, "message_stop"))]
    assert () == decoder.flush()


def test_what_is_ignored_is_noted() -> None:
    """Data that means nothing is left out visibly; the end mark of other formats silently."""
    notes: list[tuple[str, Any]] = []

    assert [MessageStop()] == events_of("keep-alive", "[DONE]", {"x": 1}, {**STOP, "metrics": {}}, notes=notes)

    assert [
        "ignored an event that is no JSON object: keep-alive",
        'ignored an event without a type: {"x":1}',
        "dropped from message_stop: metrics",
    ] == [note for _, note in notes]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
            (StreamError("overloaded_error", "busy"), 529),
        ),
        ({"type": "error", "error": "no"}, (StreamError("api_error", "no"), 500)),
        ({"type": "error", "message": "no"}, (StreamError("api_error", "no"), 500)),
        ({"error": {"message": "slow", "code": 429}}, (StreamError("rate_limit_error", "slow", 429), 429)),
        ({"error": {"type": "1302", "message": "slow"}}, (StreamError("api_error", "slow"), 500)),
    ],
)
def test_errors_in_the_stream(data: JSON, expected: tuple[StreamError, int]) -> None:
    """An error keeps its words and kind, whatever its shape; its status follows."""
    (event,) = events_of(data)

    assert isinstance(event, StreamError)
    assert expected == (event, event.to_error().status)


@pytest.mark.parametrize("data", [[], [START], [START, DELTA], [{"type": "ping"}]])
def test_an_end_without_stop(data: list[JSON]) -> None:
    """Without ``message_stop`` no answer is complete."""
    stream = b"".join(sse(one) for one in data)

    assert isinstance(
        decode(Anthropic(), [stream], Request({}), Context(exchange_id="1", target=TARGET)).error, ProtocolError
    )


@pytest.mark.parametrize(
    "data",
    [
        {"type": "message_start"},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_delta", "index": 0},
    ],
)
def test_malformed_events(data: JSON) -> None:
    """An event without its content is an error."""
    with pytest.raises(ProtocolError):
        events_of(data)


def whole(body: JSON) -> list[Event]:
    """The events of a whole answer."""
    return list(Anthropic().decode_body(body, Request({}), Context(exchange_id="1", target=TARGET)))


def test_whole_answer_with_an_error_inside() -> None:
    """An error with status 200 is an error."""
    with pytest.raises(UpstreamError) as raised:
        whole({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}})

    assert (429, "slow") == (raised.value.status, raised.value.message)


def test_whole_answer_of_another_format() -> None:
    """What is no message is refused."""
    with pytest.raises(ProtocolError, match="not a message"):
        whole({"choices": []})


def test_where_whole_answers_keep_context_management() -> None:
    """Told as a stream, this field stands beside the final delta, as Anthropic's streams have it."""
    message: JSON = {
        "id": "m",
        "content": [],
        "stop_reason": "end_turn",
        "context_management": {"a": 1},
        "container": None,
    }

    delta = next(event for event in whole(message) if isinstance(event, MessageDelta))

    assert ({"container": None}, {"context_management": {"a": 1}}) == (delta.extra, delta.beside)
