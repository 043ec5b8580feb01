"""A message and its events."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import (
    BlockDelta,
    BlockStart,
    BlockStop,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    ProtocolError,
    StreamError,
    Unknown,
    UpstreamError,
    assemble,
    explode,
    explode_block,
    parse_arguments,
)

RECORDINGS = Path(__file__).parent / "recordings"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)
EXTRA = st.dictionaries(st.sampled_from(["x_vendor", "cache_control", "title"]), JSON, max_size=2)


def block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Blocks of a kind, with further fields that nobody here knows."""
    known = st.fixed_dictionaries({"type": st.just(kind), **fields})
    return st.builds(lambda extra, known: {**extra, **known}, EXTRA, known)


BLOCKS = st.one_of(
    block("text", text=TEXT),
    block("text", text=TEXT, citations=st.none() | st.lists(OBJECTS, max_size=3)),
    block("thinking", thinking=TEXT, signature=TEXT),
    block("redacted_thinking", data=TEXT),
    block("tool_use", id=TEXT, name=TEXT, input=OBJECTS),
    block("server_tool_use", id=TEXT, name=TEXT, input=OBJECTS),
    block("web_search_tool_result", tool_use_id=TEXT, content=st.lists(OBJECTS, max_size=2)),
    block("compaction", content=TEXT | st.none()),
    block("not_known_yet", value=JSON),
)
MESSAGES = st.fixed_dictionaries(
    {
        "id": TEXT,
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": TEXT,
        "content": st.lists(BLOCKS, max_size=5),
        "stop_reason": st.sampled_from([None, "end_turn", "tool_use"]),
        "stop_sequence": st.none() | TEXT,
        "usage": st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "x"]), JSON),
    },
    optional={"container": JSON, "context_management": JSON},
)


@given(MESSAGES)
def test_round_trip(message: dict[str, Any]) -> None:
    """A message comes back from its events, fields that nobody knows included, and is not changed itself."""
    before = copy.deepcopy(message)

    assert message == assemble(explode(message))
    assert before == message


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((RECORDINGS / "anthropic").glob("*/*/response.json")) if '"content"' in path.read_text()],
    ids=lambda path: path.parent.name,
)
def test_recorded_messages(path: Path) -> None:
    """Recorded answers come back from their events unchanged."""
    message = json.loads(path.read_text())

    assert message == assemble(explode(message))


@given(BLOCKS)
def test_events_of_a_block(block: dict[str, Any]) -> None:
    """A block's events are one start, deltas, and one stop, all under the key that was given."""
    events = list(explode_block("key", block))

    kinds = [BlockStart, *[BlockDelta] * (len(events) - 2), BlockStop]
    assert kinds == [type(event) for event in events]
    assert {"key"} == {event.key for event in events if not isinstance(event, Ping | MessageStop)}  # type: ignore[union-attr]


def test_events_of_a_message() -> None:
    """Thinking, text and a call are streamed as the API would, each block in one delta per field."""
    message = {
        "id": "m",
        "model": "x",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "hi"},
            {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}},
            {"type": "tool_use", "id": "u", "name": "n", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"output_tokens": 3},
        "container": {"id": "c"},
    }

    assert [
        MessageStart("m", "x", {"output_tokens": 3}),
        BlockStart(0, {"type": "thinking", "thinking": "", "signature": ""}),
        BlockDelta(0, {"type": "thinking_delta", "thinking": "hm"}),
        BlockDelta(0, {"type": "signature_delta", "signature": "sig"}),
        BlockStop(0),
        BlockStart(1, {"type": "text", "text": ""}),
        BlockDelta(1, {"type": "text_delta", "text": "hi"}),
        BlockStop(1),
        BlockStart(2, {"type": "tool_use", "id": "t", "name": "n", "input": {}}),
        BlockDelta(2, {"type": "input_json_delta", "partial_json": '{"a":1}'}),
        BlockStop(2),
        BlockStart(3, {"type": "tool_use", "id": "u", "name": "n", "input": {}}),
        BlockStop(3),
        MessageDelta("tool_use", None, {"output_tokens": 3}, {"container": {"id": "c"}}),
        MessageStop(),
    ] == list(explode(message))


def test_assemble_a_stream() -> None:
    """Deltas are joined, usage is merged with the later figure winning, and pings and unknown events do no harm."""
    events = [
        MessageStart("m", "x", {"input_tokens": 5, "output_tokens": 1}, {"service_tier": "standard"}),
        Ping(),
        BlockStart("t", {"type": "text"}),
        BlockDelta("t", {"type": "text_delta", "text": "a"}),
        Unknown("new", {"type": "new"}),
        BlockDelta("t", {"type": "text_delta", "text": "b"}),
        BlockDelta("t", {"type": "citations_delta", "citation": {"n": 1}}),
        BlockStop("t"),
        BlockStart("c", {"type": "tool_use", "id": "i", "name": "n", "input": {}}),
        BlockDelta("c", {"type": "input_json_delta", "partial_json": '{"a":'}),
        BlockDelta("c", {"type": "input_json_delta", "partial_json": "1}"}),
        BlockStop("c"),
        BlockStart("k", {"type": "compaction", "content": None}),
        BlockDelta("k", {"type": "compaction_delta", "content": "sum"}),
        BlockStop("k"),
        MessageDelta("stop_sequence", "END", {"output_tokens": 7}, {"container": None}, {"context_management": {}}),
        MessageStop(),
    ]

    assert {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "x",
        "content": [
            {"type": "text", "text": "ab", "citations": [{"n": 1}]},
            {"type": "tool_use", "id": "i", "name": "n", "input": {"a": 1}},
            {"type": "compaction", "content": "sum"},
        ],
        "stop_reason": "stop_sequence",
        "stop_sequence": "END",
        "usage": {"input_tokens": 5, "output_tokens": 7},
        "service_tier": "standard",
        "container": None,
        "context_management": {},
    } == assemble(events)


def test_events_are_not_changed() -> None:
    """Assembling changes no event: others may hold them too."""
    events = [
        MessageStart("m", "x", {"input_tokens": 5}),
        BlockStart("t", {"type": "text", "text": "", "citations": []}),
        BlockDelta("t", {"type": "citations_delta", "citation": {"n": 1}}),
        BlockDelta("t", {"type": "text_delta", "text": "a"}),
        BlockStop("t"),
        MessageDelta("end_turn", None, {"output_tokens": 7}),
        MessageStop(),
    ]
    before = copy.deepcopy(events)
    assemble(events)

    assert before == events


def test_cut_answer() -> None:
    """Events without the end mark make no message."""
    events = list(explode({"content": [{"type": "text", "text": "a"}]}))[:-1]

    with pytest.raises(ProtocolError, match="ended before its end mark"):
        assemble(events)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StreamError("overloaded_error", "busy"), 529),
        (StreamError("overloaded_error", "busy", 503), 503),
        (StreamError("rate_limit_error", "slow"), 429),
        (StreamError("odd_error", "?"), 500),
    ],
)
def test_error_in_the_stream(error: StreamError, status: int) -> None:
    """A failure inside the stream becomes an error with the provider's words, kind and status."""
    with pytest.raises(UpstreamError) as caught:
        assemble([MessageStart("m", "x"), error])

    assert (error.message, error.kind, status) == (caught.value.message, caught.value.kind, caught.value.status)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": [1]}', {"a": [1]}),
        ("", {}),
        (" \n", {}),
        ('{"a": ', {"__unparsedToolInput": {"raw": '{"a": ', "len": 6}}),
        ("[1]", {"__unparsedToolInput": {"raw": "[1]", "len": 3}}),
        ('{"a": NaN}', {"__unparsedToolInput": {"raw": '{"a": NaN}', "len": 10}}),
    ],
)
def test_arguments(text: str, expected: dict[str, Any]) -> None:
    """Arguments are parsed; what is no JSON object is kept as it came; no text means no arguments."""
    assert expected == parse_arguments(text)


def test_unparsable_arguments_stay_visible() -> None:
    """A call whose arguments are broken keeps them, so that it can be answered with an error."""
    events = [
        MessageStart("m", "x"),
        BlockStart("c", {"type": "tool_use", "id": "i", "name": "n", "input": {}}),
        BlockDelta("c", {"type": "input_json_delta", "partial_json": '{"a": oops}'}),
        BlockStop("c"),
        MessageDelta("tool_use"),
        MessageStop(),
    ]

    assert {"__unparsedToolInput": {"raw": '{"a": oops}', "len": 11}} == assemble(events)["content"][0]["input"]
