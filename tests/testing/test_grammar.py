"""What ``check_stream`` accepts and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccr_core import BlockStart, MessageStart, Ping, StreamError, Unknown, explode
from ccr_core.testing import RICH, Recording, check_stream, message, to_wire
from ccr_core.testing.recordings import recordings
from ccr_core.testing.samples import text, tool_use

STREAMS = [r for r in recordings(Path(__file__).parents[1] / "recordings", "anthropic") if r.stream]

Events = list[dict[str, Any]]


def good() -> Events:
    """A text, a tool call, the end: 0 start, 1-3 text, 4-6 call, 7 delta, 8 stop."""
    return list(to_wire(explode(message(text("hi"), tool_use("Read", n=1), stop_reason="tool_use"))))


@pytest.mark.parametrize("recording", STREAMS, ids=str)
def test_recorded_streams_are_lawful(recording: Recording) -> None:
    """
    What Anthropic itself sends keeps the grammar, and cut short it does as an incomplete one.
    """
    events = list(recording.events())

    check_stream(events)
    check_stream(events[: len(events) // 2], complete=False)


@pytest.mark.parametrize("what", RICH)
def test_samples_are_lawful(what: str) -> None:
    """
    Canonical events are checked like those of the wire, with pings and unknown events between them.
    """
    events = list(explode(RICH[what]))

    check_stream([events[0], Ping(), Unknown("x_new", {"a": 1}), *events[1:]])


def drop(place: int) -> Callable[[Events], Events]:
    return lambda events: [*events[:place], *events[place + 1 :]]


def put(place: int, *path: str | int, value: Any) -> Callable[[Events], Events]:
    def change(events: Events) -> Events:
        target: Any = events[place]
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
        return events

    return change


def twice(place: int) -> Callable[[Events], Events]:
    return lambda events: [*events[: place + 1], events[place], *events[place + 1 :]]


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (lambda events: [], "it is empty"),
        (drop(0), "does not begin with message_start"),
        (lambda events: [{"type": "ping"}, *events], "does not begin with message_start"),
        (twice(0), "a second message_start"),
        (put(0, "message", "usage", value={"output_tokens": 1}), "usage.input_tokens is not a number"),
        (put(0, "message", "usage", value=None), "usage.input_tokens is not a number"),
        (drop(1), "for block 0, which is not open"),
        (drop(3), "a block starts while another is open"),
        (drop(6), "message_delta while a block is open"),
        (put(4, "index", value=2), "expected block 1, got 2"),
        (put(5, "index", value=0), "for block 0, which is not open"),
        (put(2, "delta", value={"type": "thinking_delta", "thinking": "x"}), "thinking_delta in a block of type text"),
        (put(2, "delta", value={"type": "text_delta", "text": None}), "a text_delta without text"),
        (put(4, "content_block", "id", value=""), "a tool call without id or name"),
        (put(5, "delta", "partial_json", value='{"n": '), "were no JSON object"),
        (put(5, "delta", "partial_json", value="[1]"), "were no JSON object"),
        (drop(7), "message_stop before message_delta"),
        (twice(7), "a second message_delta"),
        (put(7, "delta", "stop_reason", value=None), "message_delta has no stop_reason"),
        (put(7, "usage", value={}), "usage.output_tokens is not a number"),
        (drop(8), "ends without message_stop"),
        (twice(8), "something follows the message_stop"),
        (lambda events: [*events[:7], {"type": "error", "error": "x"}], "the error has no type"),
        (lambda events: [events[0], {"type": "error", "error": {"type": "x", "message": "y"}}, events[1]], "follows"),
    ],
)
def test_unlawful_streams_are_refused(break_it: Callable[[Events], Events], complaint: str) -> None:
    """
    Each broken rule is named, and the place in the stream is shown.
    """
    with pytest.raises(AssertionError, match=complaint):
        check_stream(break_it(good()))


def test_two_calls_with_one_id_are_refused() -> None:
    """
    A client could not answer them.
    """
    events = list(explode(message(tool_use("Read", "same"), tool_use("Read", "same"))))

    with pytest.raises(AssertionError, match="two tool calls have the id 'same'"):
        check_stream(events)


def test_arguments_may_be_cut_off_by_the_token_limit() -> None:
    """
    Only the last call of an answer that ran into its limit may have arguments that do not parse.
    """
    events = put(5, "delta", "partial_json", value='{"n": ')(good())

    check_stream(put(7, "delta", "stop_reason", value="max_tokens")(events))


def test_the_end_is_as_asked() -> None:
    """
    A complete stream is not taken for a broken one, nor an error for a complete one.
    """
    failed = [*good()[:3], {"type": "error", "error": {"type": "api_error", "message": "x"}}]

    check_stream(failed, complete=False)
    check_stream([StreamError("api_error", "x")], complete=False)
    check_stream([], complete=False)
    with pytest.raises(AssertionError, match="as if it were complete"):
        check_stream(good(), complete=False)
    with pytest.raises(AssertionError, match="ends without message_stop"):
        check_stream(failed)


def test_the_place_is_shown() -> None:
    """
    The message lists the events up to the one that breaks the rule.
    """
    with pytest.raises(AssertionError) as raised:
        check_stream([MessageStart("m", "x", {"input_tokens": 1, "output_tokens": 1}), BlockStart(1, {"type": "text"})])

    assert '>    1 {"type": "content_block_start", "index": 1' in str(raised.value)
