"""The grammar of an answer."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Outcome,
    Ping,
    PluginError,
    ProtocolError,
    Push,
    StreamError,
    Unknown,
    UpstreamError,
    assemble,
)
from ccr_core.sequence import OPENERS, Sequencer
from ccr_core.testing import check_stream

TOOL = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
START = MessageStart("m", "x", {"input_tokens": 5})
STARTED = MessageStart("m", "x", {"input_tokens": 5, "output_tokens": 0})
ENDED = [MessageDelta("end_turn", usage={"output_tokens": 0}), MessageStop()]


def text(key: Any, words: str) -> BlockDelta:
    return BlockDelta(key, {"type": "text_delta", "text": words})


def arguments(key: Any, part: str) -> BlockDelta:
    return BlockDelta(key, {"type": "input_json_delta", "partial_json": part})


def opened(key: Any) -> BlockStart:
    return BlockStart(key, {"type": "text", "text": ""})


def run(*events: Any, outcome: Outcome | None = None) -> list[Event]:
    sequencer = Sequencer(outcome)
    return [*(out for event in events for out in sequencer.feed(event)), *sequencer.flush()]


# Any events in any order, with few keys so that they meet.
KEYS = st.sampled_from(["a", "b", ("tool", 1)])
WORDS = st.text("xyz", min_size=1, max_size=3)
EVENTS = st.one_of(
    st.builds(lambda key: opened(key), KEYS),
    st.builds(lambda key, words: BlockStart(key, {"type": "text", "text": words}), KEYS, WORDS),
    st.builds(lambda key, number: BlockStart(key, {**TOOL, "id": f"t{number}"}), KEYS, st.integers(0, 10**9)),
    st.builds(text, KEYS, WORDS),
    st.builds(lambda key, words: BlockDelta(key, {"type": "thinking_delta", "thinking": words}), KEYS, WORDS),
    st.builds(arguments, KEYS, st.just("{}")),
    st.builds(BlockStop, KEYS),
    st.builds(
        MessageDelta,
        st.none() | st.just("tool_use"),
        usage=st.dictionaries(st.just("output_tokens"), st.integers(0, 9)),
    ),
    st.just(Ping()),
    st.just(Unknown("new", {"type": "new"})),
    st.just(START),
    st.just(MessageStop()),
)


def words_of(events: Iterable[Event]) -> list[str]:
    """All text, thinking and arguments, in the order of the events."""
    found = []
    for event in events:
        if isinstance(event, BlockStart):
            found.append(str(event.block.get("text") or ""))
        elif isinstance(event, BlockDelta):
            found += [str(value) for name, value in event.delta.items() if name != "type"]
    return [word for word in found if word]


def structure(events: Iterable[Event]) -> None:
    """Assert the grammar, apart from what the kinds of blocks and deltas have to do with each other."""
    is_open, index = False, -1
    first, *rest = events
    assert isinstance(first, MessageStart)
    for event in rest[:-2]:
        if isinstance(event, BlockStart):
            index += 1
            assert (False, index) == (is_open, event.key)
            is_open = True
        elif isinstance(event, BlockDelta):
            assert (True, index) == (is_open, event.key)
        elif isinstance(event, BlockStop):
            assert (True, index) == (is_open, event.key)
            is_open = False
        else:
            assert isinstance(event, Ping | Unknown)
    assert not is_open
    assert [MessageDelta, MessageStop] == [type(event) for event in rest[-2:]]


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=25))
def test_lawful_or_refused(events: list[Event]) -> None:
    """Whatever comes in, what goes out is lawful with nothing lost, or the answer is refused."""
    before = copy.deepcopy(events)
    try:
        out = run(START, *events, MessageStop())
    except ProtocolError:
        return
    finally:
        assert before == events

    structure(out)
    assert sorted(words_of(events)) == sorted(words_of(out))


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=25))
def test_order_of_each_key(events: list[Event]) -> None:
    """The words of each key keep their order, through any overlap and any second use of the key."""
    named = [_named(event, place) for place, event in enumerate(events)]
    try:
        out = run(START, *named, MessageStop())
    except ProtocolError:
        return

    got: dict[str, list[str]] = {}
    for words in words_of(out):
        got.setdefault(words.partition("/")[0], []).append(words)
    expected: dict[str, list[str]] = {}
    for words in words_of(named):
        expected.setdefault(words.partition("/")[0], []).append(words)
    assert expected == got


def _named(event: Event, place: int) -> Event:
    """``event`` whose words say of which key they are, and where they came."""
    if isinstance(event, BlockDelta):
        (field,) = set(event.delta) - {"type"}
        return BlockDelta(event.key, {**event.delta, field: f"{event.key}/{place}"})
    if isinstance(event, BlockStart) and event.block.get("text"):
        return BlockStart(event.key, {**event.block, "text": f"{event.key}/{place}"})
    return event


@given(st.lists(EVENTS, max_size=15), st.integers(0, 15))
def test_a_cut_answer_never_looks_finished(events: list[Event], place: int) -> None:
    """Without the end mark there is no ``MessageStop``, and the end is an error."""
    sequencer = Sequencer()
    out: list[Event] = []
    with pytest.raises(ProtocolError):  # noqa: PT012
        for event in [START, *(event for event in events if not isinstance(event, MessageStop))][:place]:
            out += sequencer.feed(event)
        list(sequencer.flush())

    assert not any(isinstance(event, MessageStop | MessageDelta) for event in out)
    assert not sequencer.outcome.complete


def test_plain_answer() -> None:
    """Keys become indexes; figures that a client needs are there."""
    out = run(
        START,
        opened("text"),
        text("text", "hi"),
        BlockStop("text"),
        MessageDelta("end_turn", usage={"output_tokens": 3}),
        MessageStop(),
    )

    assert [
        STARTED,
        opened(0),
        text(0, "hi"),
        BlockStop(0),
        MessageDelta("end_turn", usage={"output_tokens": 3}),
        MessageStop(),
    ] == out
    check_stream(out)


def test_overlapping_blocks_wait() -> None:
    """A block that starts while another is open comes after it, whole, in the order of the starts."""
    out = run(
        START,
        BlockStart("a", {**TOOL, "id": "1"}),
        BlockStart("b", {**TOOL, "id": "2"}),
        BlockStart("c", {**TOOL, "id": "3"}),
        arguments("c", '{"c":'),
        arguments("b", "{}"),
        arguments("a", "{"),
        BlockStop("b"),
        arguments("a", "}"),
        BlockStop("a"),
        arguments("c", "1}"),
        MessageStop(),
    )

    assert [
        STARTED,
        BlockStart(0, {**TOOL, "id": "1"}),
        arguments(0, "{"),
        arguments(0, "}"),
        BlockStop(0),
        BlockStart(1, {**TOOL, "id": "2"}),
        arguments(1, "{}"),
        BlockStop(1),
        BlockStart(2, {**TOOL, "id": "3"}),
        arguments(2, '{"c":'),
        arguments(2, "1}"),
        BlockStop(2),
        *ENDED,
    ] == out


def test_a_block_that_waited_is_like_any_other() -> None:
    """Once its turn has come, a block's deltas and its stop go out at once."""
    sequencer = Sequencer()
    for event in (START, opened("a"), opened("b"), BlockStop("a")):
        list(sequencer.feed(event))

    assert [text(1, "x")] == list(sequencer.feed(text("b", "x")))
    assert [BlockStop(1)] == list(sequencer.feed(BlockStop("b")))


def test_what_is_open_is_closed_at_the_end() -> None:
    """Blocks without a stop, open or waiting, are closed before the final delta."""
    out = run(START, opened("a"), text("a", "1"), opened("b"), text("b", "2"), opened("c"), MessageStop())

    assert [
        STARTED,
        opened(0),
        text(0, "1"),
        BlockStop(0),
        opened(1),
        text(1, "2"),
        BlockStop(1),
        opened(2),
        BlockStop(2),
        *ENDED,
    ] == out


def test_a_key_used_again() -> None:
    """A key may be used again after its stop, and a second start stops the first block."""
    out = run(
        START,
        opened("t"),
        text("t", "1"),
        BlockStop("t"),
        opened("t"),
        text("t", "2"),
        opened("t"),
        text("t", "3"),
        MessageStop(),
    )

    assert ["1", "2", "3"] == words_of(out)
    assert 3 == sum(isinstance(event, BlockStop) for event in out)


def test_a_key_used_again_while_waiting() -> None:
    """The same while the blocks of the key wait for another that is open."""
    out = run(
        START,
        BlockStart("call", TOOL),
        opened("t"),
        text("t", "1"),
        BlockStop("t"),
        opened("t"),
        text("t", "2"),
        opened("t"),
        text("t", "3"),
        BlockStop("call"),
        text("t", "4"),
        MessageStop(),
    )

    texts = [block["text"] for block in assemble(out)["content"] if block["type"] == "text"]
    assert ["1", "2", "34"] == texts


@pytest.mark.parametrize(
    "delta",
    [
        {"type": "text_delta", "text": "a"},
        {"type": "thinking_delta", "thinking": "a"},
        {"type": "signature_delta", "signature": "a"},
        {"type": "citations_delta", "citation": {}},
    ],
    ids=lambda delta: delta["type"],
)
def test_a_delta_without_a_start(delta: dict[str, Any]) -> None:
    """A delta whose kind says which block it belongs to opens that block."""
    out = run(START, BlockDelta("t", delta), MessageStop())

    assert [STARTED, BlockStart(0, OPENERS[delta["type"]]), BlockDelta(0, delta), BlockStop(0), *ENDED] == out
    check_stream(out)


@pytest.mark.parametrize("delta", [{"type": "input_json_delta", "partial_json": "{"}, {"type": "new_delta"}, {}])
def test_a_delta_that_belongs_nowhere(delta: dict[str, Any]) -> None:
    """A delta for an unknown block, whose kind does not say which, is refused: dropping it would lose it."""
    with pytest.raises(ProtocolError, match="for a block that was not started"):
        run(START, BlockDelta("t", delta), MessageStop())


def test_arguments_after_the_stop_of_a_waiting_block() -> None:
    """Arguments for a call that is stopped are refused, also while the call waits for its turn."""
    with pytest.raises(ProtocolError):
        run(START, opened("t"), BlockStart("c", TOOL), BlockStop("c"), arguments("c", "{}"), MessageStop())


def test_text_after_the_stop_of_a_waiting_block() -> None:
    """Text for a block that is stopped begins another, also while the first waits for its turn."""
    out = run(START, BlockStart("c", TOOL), opened("t"), text("t", "1"), BlockStop("t"), text("t", "2"), MessageStop())

    assert ["1", "2"] == [block["text"] for block in assemble(out)["content"][1:]]


def test_stray_stops() -> None:
    """A stop for a block that is not open says nothing."""
    assert [STARTED, *ENDED] == run(START, BlockStop("a"), MessageStop())


def test_the_start_is_held() -> None:
    """The start goes out with what follows it, so that an early failure can still be answered with a status."""
    sequencer = Sequencer()

    assert [] == list(sequencer.feed(START))
    assert [] == list(sequencer.feed(Ping()))
    assert [STARTED, opened(0)] == list(sequencer.feed(opened("t")))
    assert [Ping()] == list(sequencer.feed(Ping()))


def test_the_start_can_be_released() -> None:
    """The held start goes when it is asked for, and only once."""
    sequencer = Sequencer()
    list(sequencer.feed(START))

    assert [STARTED] == list(sequencer.release())
    assert [] == list(sequencer.release())
    assert [opened(0)] == list(sequencer.feed(opened("t")))


def test_nothing_to_release() -> None:
    """Before the start there is nothing to release."""
    assert [] == list(Sequencer().release())


def test_a_second_start() -> None:
    """A second start is not passed on."""
    assert [STARTED, *ENDED] == run(START, MessageStart("other", "y"), MessageStop())


@pytest.mark.parametrize(
    "event", [opened("t"), text("t", "a"), MessageStop(), MessageDelta("end_turn"), Unknown("n", {})]
)
def test_no_start(event: Event) -> None:
    """An answer that does not begin with its start is refused."""
    with pytest.raises(ProtocolError):
        run(event)


def test_pings_before_the_start() -> None:
    """A ping before the start is no answer and no error."""
    assert [STARTED, *ENDED] == run(Ping(), START, MessageStop())


def test_unknown_events_pass_in_their_place() -> None:
    """An event of an unknown type passes where it stands."""
    new = Unknown("new", {"a": 1})

    assert [STARTED, new, opened(0), new, BlockStop(0), *ENDED] == run(START, new, opened("t"), new, MessageStop())


def test_several_final_deltas() -> None:
    """Several final deltas become one: reasons stay, figures of the later one win."""
    outcome = Outcome()
    out = run(
        START,
        MessageDelta("tool_use", "END", {"output_tokens": 1, "x": 1}, {"a": 1}, {"b": 1}),
        MessageDelta(None, None, {"output_tokens": 9}, {"c": 1}, {"d": 1}),
        MessageStop(),
        outcome=outcome,
    )

    expected = MessageDelta("tool_use", "END", {"output_tokens": 9, "x": 1}, {"a": 1, "c": 1}, {"b": 1, "d": 1})
    assert [STARTED, expected, MessageStop()] == out
    assert Outcome("m", "x", "tool_use", {"input_tokens": 5, "output_tokens": 9, "x": 1}, None, True) == outcome


@pytest.mark.parametrize("events", [[], [MessageDelta(None)]])
def test_a_reason_is_always_given(events: list[Event]) -> None:
    """A client cannot read an answer without a reason for its end."""
    out = run(START, *events, MessageStop())

    assert [STARTED, *ENDED] == out
    check_stream(out)


def test_figures_of_the_start_are_not_undone() -> None:
    """Output tokens that only the start tells are in the final delta."""
    out = run(MessageStart("m", "x", {"output_tokens": 7}), MessageStop())

    assert MessageDelta("end_turn", usage={"output_tokens": 7}) == out[1]


def test_a_failure_in_the_stream() -> None:
    """A failure that the provider reports is raised with its words."""
    with pytest.raises(UpstreamError, match=r"^busy$") as caught:
        run(START, opened("t"), StreamError("overloaded_error", "busy"))

    assert 529 == caught.value.status


@pytest.mark.parametrize(
    "event",
    [
        MessageStop(),
        Ping(),
        MessageDelta("end_turn"),
        StreamError("api_error", "late"),
        BlockStop("t"),
        START,
        Unknown("n", {}),
    ],
    ids=lambda event: type(event).__name__,
)
def test_after_the_end(event: Event) -> None:
    """After the end nothing more goes out."""
    assert [STARTED, *ENDED] == run(START, MessageStop(), event)


@pytest.mark.parametrize("event", [opened("t"), text("t", "a"), arguments("t", "{}")])
def test_content_after_the_end(event: Event) -> None:
    """Content after the end is refused, not lost in silence."""
    with pytest.raises(ProtocolError):
        run(START, MessageStop(), event)


@pytest.mark.parametrize(
    ("events", "message"),
    [([], "the provider's answer is empty"), ([START], "the provider's answer ended before its end mark")],
)
def test_cut(events: list[Event], message: str) -> None:
    """An answer that ends early, or never began, is an error that says so."""
    with pytest.raises(ProtocolError, match=message):
        run(*events)


@pytest.mark.parametrize("item", [{"type": "ping"}, "text", None])
def test_what_is_no_event(item: Any) -> None:
    """Something that is no event does not get through to a client."""
    with pytest.raises(TypeError, match="expected an event, got"):
        run(START, item)


class Words(Push[Event, bytes]):
    """An encoder that writes events as they are printed."""

    def feed(self, item: Event) -> Iterable[bytes]:
        return (repr(item).encode(),)


class Pieces(Words):
    """The same; what is a piece of a block it writes by its second method."""

    def delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return repr(BlockDelta(index, delta)).encode()


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=25), st.sampled_from([Words, Pieces]))
def test_one_stage_with_the_encoder(events: list[Event], encoder: type[Words]) -> None:
    """Together with an encoder the grammar is the same, and so is what was finished before a refusal."""
    stage = Sequencer().into(encoder(), "words")
    assert stage.run is not None
    got: list[bytes] = []
    expected: list[bytes] = []
    sequencer = Sequencer()

    refused = []
    for event in (START, *events, MessageStop()):
        try:
            expected += [repr(one).encode() for one in sequencer.feed(event)]
        except UpstreamError as error:
            refused.append(str(error))
        try:
            stage.run(event, got)
        except UpstreamError as error:
            refused.remove(str(error))

    assert [] == refused
    assert expected == got


def test_an_encoder_that_fails_is_named() -> None:
    """What an encoder raises for a piece carries its name."""

    class Broken(Words):
        def delta(self, index: int, delta: dict[str, Any]) -> bytes:
            raise KeyError("text")

    stage = Sequencer().into(Broken(), "words")
    begun = [piece for event in (START, opened("t")) for piece in stage.feed(event)]

    assert 2 == len(begun)
    with pytest.raises(PluginError, match=r"words.* delta"):
        list(stage.feed(text("t", "1")))


def test_an_error_of_the_routers_own_passes_the_encoder() -> None:
    """What an encoder refuses in the router's own words reaches the client in these words."""

    class Refusing(Words):
        def delta(self, index: int, delta: dict[str, Any]) -> bytes:
            raise ProtocolError("this cannot be written")

    stage = Sequencer().into(Refusing(), "words")
    begun = [piece for event in (START, opened("t")) for piece in stage.feed(event)]

    assert 2 == len(begun)
    with pytest.raises(ProtocolError, match="this cannot be written"):
        list(stage.feed(text("t", "1")))
