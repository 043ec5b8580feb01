"""Streams that are passed on as they are: what goes through, when, and what is read from them."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from ccr_plugin_anthropic.relay import LIMIT, Relay

from ccr_core import JSON, Outcome, ProtocolError, UpstreamError
from ccr_core.testing import pieces, random_pieces
from ccr_core.testing.recordings import read_sse

START: JSON = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "m", "usage": {"input_tokens": 3, "output_tokens": 1, "x": 1}},
}
BLOCK: JSON = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
ENDS: list[JSON] = [
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]


def text(value: str) -> JSON:
    """A delta of text."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": value}}


def sse(*events: JSON, end: str = "\n", space: str = " ", names: bool = True) -> bytes:
    """A stream in one of the spellings that there are."""
    return "".join(
        (f"event:{space}{event['type']}{end}" if names else "")
        + f"data:{space}{json.dumps(event, ensure_ascii=False)}{end}{end}"
        for event in events
    ).encode()


ANSWER = (START, {"type": "ping"}, BLOCK, text("Grüße 🎉"), *ENDS)


def run(parts: Iterable[bytes], outcome: Outcome | None = None) -> list[bytes]:
    """What a relay gives."""
    relay = Relay(outcome or Outcome())
    return [*(piece for part in parts for piece in relay.feed(part)), *relay.flush()]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
@pytest.mark.parametrize("space", [" ", ""], ids=["blank", "no blank"])
def test_untouched_at_any_cut(end: str, space: str) -> None:
    """However a stream is spelt and cut, the same bytes come out, in whole events, and the same is read."""
    data = sse(*ANSWER, end=end, space=space)
    for parts in (
        [data],
        pieces(data, 1),
        pieces(data, 7),
        pieces(data, 4096),
        *(random_pieces(data, n) for n in range(20)),
    ):
        given = run(parts, outcome := Outcome())

        assert data == b"".join(given)
        assert all(piece.endswith((end * 2).encode()) for piece in given)
        assert all(list(read_sse(piece)) for piece in given)
        assert Outcome("msg_1", "m", "end_turn", {"input_tokens": 3, "output_tokens": 5, "x": 1}, None, True) == outcome


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
@pytest.mark.parametrize("names", [True, False], ids=["passing", "mending"])
def test_a_client_that_wants_another_name(end: str, names: bool) -> None:
    """The first event calls the model as the client does, at any cut; nothing else differs, and the log has the
    provider's name."""
    data = b": hello" + end.encode() * 2 + sse(*ANSWER, end=end, names=names)
    expected = [{**START, "message": {**START["message"], "model": "mine"}}, *ANSWER[1:]]
    for parts in ([data], pieces(data, 1), pieces(data, 7), *(random_pieces(data, n) for n in range(20))):
        relay = Relay(outcome := Outcome(), "mine")
        given = b"".join([*(piece for part in parts for piece in relay.feed(part)), *relay.flush()])

        assert expected == list(read_sse(given))
        assert ("m", True) == (outcome.model, outcome.complete)


TRAPS = [
    "event: message_stop\ndata: {}\n\n",
    "\n\nevent: error\n\n",
    'event:message_delta\r\n\r\ndata: {"type":"message_stop"}',
    "event: message_start" * 5,
]


def test_words_in_the_text_are_not_events() -> None:
    """What a model writes about this very protocol is text, wherever the reads are cut."""
    data = sse(START, BLOCK, *(text(trap) for trap in TRAPS))
    for size in (1, 2, 3, 5, 16, 17, 4096):
        outcome = Outcome()
        relay = Relay(outcome)

        assert data == b"".join(piece for part in pieces(data, size) for piece in relay.feed(part))
        assert (False, None, None) == (outcome.complete, outcome.error, outcome.stop_reason)
        with pytest.raises(ProtocolError, match="cut off"):
            relay.flush()


def test_reads_that_begin_with_such_words() -> None:
    """A read may begin in the middle of a text, with the very letters of a name."""
    data = sse(START, BLOCK, text("event: message_stop"), text("event: error"))
    relay = Relay(outcome := Outcome())
    for mark in (b"event: message_stop", b"event: error"):
        at = data.rindex(mark)
        first, data = data[:at], data[at:]
        list(relay.feed(first))
    list(relay.feed(data))

    assert (False, None) == (outcome.complete, outcome.error)


def test_nothing_before_the_start() -> None:
    """Comments, pings and half a start give nothing; with the start's end all of it comes."""
    head = b": hello\n\n" + sse({"type": "ping"})
    start = sse(START)
    relay = Relay(Outcome())

    assert [] == [piece for part in (head, start[:-1]) for piece in relay.feed(part)]
    assert [head + start] == list(relay.feed(start[-1:]))


def test_half_an_event_waits() -> None:
    """Others may be put between what is given, so it is whole events only."""
    relay = Relay(Outcome())
    list(relay.feed(sse(START)))
    one, two = sse(text("a")), sse(text("b"))

    assert [[one], [], [two]] == [list(relay.feed(part)) for part in (one + two[:9], two[9:20], two[20:])]


BEGINNINGS: list[tuple[str, bytes, type[Exception], int, str]] = [
    ("nothing", b"", ProtocolError, 502, "it is empty"),
    ("a page", b"<html><body>Bad gateway</body></html>", ProtocolError, 502, "<html>"),
    ("a word", b"no", ProtocolError, 502, "no"),
    ("a comment", b": waiting\n\n", ProtocolError, 502, "waiting"),
    ("a ping", sse({"type": "ping"}), ProtocolError, 502, "not a stream"),
    ("half a start", sse(START)[:50], ProtocolError, 502, "not JSON"),
    ("a start and no more", sse(START)[:-2], ProtocolError, 502, "cut off"),
    ("a delta", sse(text("x")), ProtocolError, 502, "content_block_delta"),
    ("another format", b'data: {"choices": []}\n\n', ProtocolError, 502, "without a type"),
    ("the end of another format", b"data: [DONE]\n\n", ProtocolError, 502, "DONE"),
    ("a JSON message", b'{"type": "message"}', ProtocolError, 502, "JSON instead of a stream"),
    ("a JSON error", b'{"error": {"type": "rate_limit_error", "message": "slow"}}', UpstreamError, 429, "slow"),
    (
        "an error",
        sse({"type": "ping"}, {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
        UpstreamError,
        529,
        "busy",
    ),
    (
        "an error without a blank line",
        sse({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})[:-2],
        UpstreamError,
        529,
        "busy",
    ),
]


@pytest.mark.parametrize(
    ("data", "error", "status", "words"), [case[1:] for case in BEGINNINGS], ids=[case[0] for case in BEGINNINGS]
)
@pytest.mark.parametrize("size", [1, 4096])
def test_what_does_not_begin(data: bytes, error: type[Exception], status: int, words: str, size: int) -> None:
    """An answer that does not begin with a message's start is an error, and nothing of it is given."""
    with pytest.raises(error, match=words) as raised:
        run(pieces(data, size))

    assert isinstance(raised.value, UpstreamError)
    assert status == raised.value.status


def test_a_page_is_refused_at_once() -> None:
    """An endless page need not end to be refused."""
    with pytest.raises(ProtocolError):
        Relay(Outcome()).feed(b"<html>")


@pytest.mark.parametrize("begun", [False, True])
def test_an_event_without_end(begun: bool) -> None:
    """What is kept of an event has a limit."""
    relay = Relay(Outcome())
    if begun:
        list(relay.feed(sse(START)))
    list(relay.feed(b"data: " + b"x" * (LIMIT - 10)))

    with pytest.raises(ProtocolError, match="larger"):
        relay.feed(b"xxxxx")


def test_an_error_in_the_middle_is_passed_on() -> None:
    """The client sees the provider's own error; it is recorded, and it is the end."""
    data = sse(START, BLOCK, text("x"), {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})

    assert data == b"".join(run([data], outcome := Outcome()))
    assert (False, "busy") == (outcome.complete, outcome.error)


def test_cut_anywhere() -> None:
    """Cut at any byte before its last event's end a stream is never complete, and no half event is given."""
    data = sse(*ANSWER)
    stop = data.index(b"event: message_stop")
    for size in [*range(0, stop, 13), stop, stop + 5, stop + 20, stop + 30]:
        outcome = Outcome()
        relay = Relay(outcome)
        given = list(relay.feed(data[:size]))

        with pytest.raises(UpstreamError):
            relay.flush()

        assert not outcome.complete
        assert all(piece.endswith(b"\n\n") for piece in given)


def test_the_last_blank_line_is_added() -> None:
    """A last event without its blank line would never reach the client's code."""
    data = sse(*ANSWER)

    assert data == b"".join(run([data[:-2]], outcome := Outcome()))
    assert outcome.complete


def test_what_follows_the_end_passes() -> None:
    """Bytes behind the last event are passed on too."""
    data = sse(*ANSWER) + b": bye\n"

    assert data == b"".join(run([data]))


def mended(data: bytes) -> list[Any]:
    """The events that come out of a stream that must be mended; the same at any cut."""
    out = b"".join(run([data]))
    for seed in range(5):
        assert out == b"".join(run(random_pieces(data, seed)))
    assert out == b"".join(run(pieces(data, 1)))
    names = [line[7:].decode() for line in out.split(b"\n") if line.startswith(b"event: ")]
    events = list(read_sse(out))
    assert names == [event["type"] for event in events]
    return events


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_without_event_lines(end: str) -> None:
    """Clients see nothing in a stream without ``event:`` lines, so they are added."""
    assert list(ANSWER) == mended(sse(*ANSWER, end=end, names=False))


def test_without_usage() -> None:
    """The SDKs fail without usage, so figures are added; what is there stays."""
    start = {"type": "message_start", "message": {"id": "i", "model": "m", "usage": None}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}

    got = mended(sse(start, BLOCK, text("x"), delta, {"type": "message_stop"}))

    assert {"input_tokens": 0, "output_tokens": 0} == got[0]["message"]["usage"]
    assert {"output_tokens": 0} == got[-2]["usage"]
    assert [BLOCK, text("x")] == got[1:3]


def test_mending_adds_types_and_shapes() -> None:
    """The rest that clients need is added as well; what is no event goes."""
    data = sse(START, names=False) + b'event: ping\ndata: {}\n\n: c\n\ndata: [DONE]\n\ndata: {"error": "no"}\n\n'

    assert [START, {"type": "ping"}, {"type": "error", "error": {"type": "api_error", "message": "no"}}] == mended(data)


def test_mending_reads_the_same() -> None:
    """What is read from a mended stream is what is read from others."""
    run([sse(*ANSWER, names=False)], outcome := Outcome())

    assert Outcome("msg_1", "m", "end_turn", {"input_tokens": 3, "output_tokens": 5, "x": 1}, None, True) == outcome


def test_mending_does_not_end_what_was_cut() -> None:
    """A stream that needs mending and is cut is an error too."""
    with pytest.raises(ProtocolError):
        run([sse(*ANSWER[:-1], names=False)])


def test_a_byte_order_mark_goes() -> None:
    """A byte order mark hides the first event's name from clients."""
    assert list(ANSWER) == mended(b"\xef\xbb\xbf" + sse(*ANSWER))


def test_a_relay_frees_itself() -> None:
    """No reference leads from a relay to itself: thousands of streams must not wait for the collector."""
    gc.collect()
    gc.disable()
    try:
        before = sum(isinstance(thing, Relay) for thing in gc.get_objects())
        run([sse(*ANSWER)])
        after = sum(isinstance(thing, Relay) for thing in gc.get_objects())
    finally:
        gc.enable()

    assert before == after


def test_long_streams() -> None:
    """A long answer of random sizes in random reads comes out as it went in."""
    chance = random.Random(5)
    words = [text("wörd " * chance.randint(0, 300)) for _ in range(200)]
    data = sse(START, BLOCK, *words, *ENDS)

    assert data == b"".join(run(random_pieces(data, 1), outcome := Outcome()))
    assert outcome.complete
