"""``Trial``, ``check_transformer`` and ``check_rule``: good steps pass, and each fault is found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import attrs
import pytest

from ccr_core import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Chunk,
    ConfigError,
    Decision,
    Event,
    MessageStop,
    Pass,
    Ping,
    Request,
    RouteContext,
    RuleSpec,
    StreamError,
    Transformer,
    TransformerSpec,
    Unknown,
    WireRequest,
)
from ccr_core.testing import RuleCase, Trial, ask, ask_rule, check_rule, check_transformer, message
from ccr_core.testing.samples import text, thinking, tool_use


@attrs.frozen
class Options:
    """Options of :class:`Shout`."""

    mark: str = "!"


class Shout(Transformer[Options]):
    """Asks for capitals, and writes all visible text in capitals."""

    def on_request(self, request: Request) -> Request:
        self.ctx.note("shout", self.options.mark)
        return request.with_(system=f"Shout{self.options.mark}")

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        return attrs.evolve(wire, body={**(wire.body or {}), "loud": True})

    def feed_wire(self, chunk: Chunk) -> Iterable[Chunk]:
        if isinstance(chunk.data, dict) and "text" in chunk.data:
            chunk = attrs.evolve(chunk, data={**chunk.data, "text": chunk.data["text"].upper()})
        return (chunk,)

    def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, BlockDelta) and event.delta["type"] == "text_delta":
            event = BlockDelta(event.key, {**event.delta, "text": event.delta["text"].upper()})
        return (event,)


def spec(factory: Any, options: type[Any] | None = None) -> TransformerSpec:
    return TransformerSpec(name="shout", factory=factory, options=options, summary="Shouts.")


def test_a_trial_is_one_attempt() -> None:
    """
    What a transformer does to a request, to chunks and to an answer can be looked at one by one.
    """
    trial = Trial(spec(Shout, Options), {"mark": "?"})

    assert "Shout?" == trial.request(ask()).body["system"]
    assert {"model": "x", "loud": True} == trial.wire({"model": "x"}).body
    assert [Chunk({"text": "A"})] == trial.chunks([Chunk({"text": "a"})])
    assert [text("HI")] == trial.message(message(text("hi")))["content"]
    assert [BlockDelta(1, {"type": "text_delta", "text": "A"})] == trial.events(
        [BlockDelta(1, {"type": "text_delta", "text": "a"})]
    )
    assert [("shout", "?")] == trial.notes


def test_options_are_read_as_from_a_file() -> None:
    """
    A wrong option is refused as at the start of the router.
    """
    with pytest.raises(ConfigError, match="unknown option of shout"):
        Trial(spec(Shout, Options), {"marks": "?"})


def test_a_good_transformer_passes() -> None:
    """
    One that works on every stage, with options or without.
    """
    check_transformer(spec(Shout, Options))
    check_transformer(spec(Shout, Options), {"mark": "?"}, bodies=[{"model": "x"}], chunks=[[Chunk({"text": "a"})]])
    check_transformer(spec(Transformer))


class Base(Transformer[None]):
    """Does nothing."""


class ChangesRequest(Base):
    def on_request(self, request: Request) -> Request:
        request.body["messages"].append({"role": "user", "content": "x"})
        return request


class ChangesWire(Base):
    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        assert wire.body is not None
        wire.body["x"] = 1
        return wire


class ForgetsRequest(Base):
    def on_request(self, request: Request) -> Request:
        return None  # type: ignore[return-value]


class FailsOnSystem(Base):
    def on_request(self, request: Request) -> Request:
        assert [] == [message for message in request.messages if message["role"] == "system"]
        return request


class ChangesEvents(Base):
    def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, BlockDelta):
            event.delta["seen"] = True
        return (event,)


class TrustsDeltas(Base):
    """Believes that a word comes in one delta."""

    def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, BlockDelta) and "text" in event.delta:
            event = BlockDelta(event.key, {**event.delta, "text": event.delta["text"].replace("some", "any")})
        return (event,)


class DropsPings(Base):
    def feed(self, event: Event) -> Iterable[Event]:
        return () if isinstance(event, Ping) else (event,)


class DropsUnknown(Base):
    def feed(self, event: Event) -> Iterable[Event]:
        return () if isinstance(event, Unknown) else (event,)


class DropsErrors(Base):
    def feed(self, event: Event) -> Iterable[Event]:
        return () if isinstance(event, StreamError) else (event,)


class DropsNewDeltas(Base):
    def feed(self, event: Event) -> Iterable[Event]:
        return () if isinstance(event, BlockDelta) and event.delta["type"] == "x_delta" else (event,)


class OnlyText(Base):
    """Knows the blocks of today only."""

    def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, BlockStart) and event.block["type"] == "vendor_block":
            event = BlockStart(event.key, {"type": "text", "text": ""})
        return (event,)


class Shared(Base):
    """Keeps its state on the class."""

    seen: ClassVar[list[str]] = []

    def feed(self, event: Event) -> Iterable[Event]:
        if isinstance(event, BlockDelta) and "text" in event.delta:
            self.seen.append(event.delta["text"])
            return ()
        if isinstance(event, MessageStop):
            self.seen.clear()
        if isinstance(event, BlockStop) and self.seen:
            words, self.seen[:] = "".join(self.seen), []
            return (BlockDelta(event.key, {"type": "text_delta", "text": words}), event)
        return (event,)


class Finishes(Base):
    """Ends what was cut off."""

    def __init__(self, options: None, ctx: Any) -> None:
        super().__init__(options, ctx)
        self.done = False

    def feed(self, event: Event) -> Iterable[Event]:
        self.done = self.done or isinstance(event, MessageStop)
        return (event,)

    def flush(self) -> Iterable[Event]:
        return () if self.done else (MessageStop(),)


class FailsWhenCut(Base):
    """Takes for granted that the answer ends well."""

    def __init__(self, options: None, ctx: Any) -> None:
        super().__init__(options, ctx)
        self.done: list[bool] = []

    def feed(self, event: Event) -> Iterable[Event]:
        self.done += [True] if isinstance(event, MessageStop) else []
        return (event,)

    def flush(self) -> Iterable[Event]:
        assert self.done[0]
        return ()


class ChangesChunks(Base):
    def feed_wire(self, chunk: Chunk) -> Iterable[Chunk]:
        if isinstance(chunk.data, dict):
            chunk.data["seen"] = True
        return (chunk,)


@pytest.mark.parametrize(
    ("factory", "complaint"),
    [
        (ChangesRequest, "a short one: on_request changed the request"),
        (ChangesWire, "on_wire_request changed what it was given"),
        (ForgetsRequest, "on_request failed: TypeError: expected a Request, got None"),
        (FailsOnSystem, "one of Claude Code: on_request failed: AssertionError"),
        (ChangesEvents, "changed an event it was given"),
        (TrustsDeltas, "gives another message than uncut"),
        (DropsPings, "pings and unknown events did not pass"),
        (DropsUnknown, "pings and unknown events did not pass"),
        (DropsErrors, "an error of the provider after 1 events does not pass"),
        (DropsNewDeltas, "a delta of an unknown kind does not pass"),
        (OnlyText, "a block of an unknown kind did not pass unchanged"),
        (Shared, "two answers at the same time disturb each other"),
        (Finishes, "comes out as if it were complete"),
        (FailsWhenCut, "fails when the answer is cut after 1 events: IndexError"),
        (ChangesChunks, "feed_wire changed a chunk"),
    ],
)
def test_a_faulty_transformer_is_found_out(factory: Any, complaint: str) -> None:
    """
    Each fault is reported with the request or answer in which it shows.
    """
    with pytest.raises(AssertionError) as raised:
        check_transformer(spec(factory))

    assert complaint in str(raised.value)


def test_own_requests_and_messages_are_tried_too() -> None:
    """
    What the author adds is part of the check.
    """

    class Picky(Base):
        def on_request(self, request: Request) -> Request:
            assert "picky" not in request.body
            return request

        def feed(self, event: Event) -> Iterable[Event]:
            assert not isinstance(event, BlockStart) or event.block.get("name") != "Picky"
            return (event,)

    check_transformer(spec(Picky))
    with pytest.raises(AssertionError, match="mine: on_request failed"):
        check_transformer(spec(Picky), requests={"mine": ask(picky=1)})
    with pytest.raises(AssertionError, match="mine: fails: AssertionError"):
        check_transformer(spec(Picky), messages={"mine": message(thinking("hm"), tool_use("Picky"))})


# --- rules --------------------------------------------------------------------------------------------------


@attrs.frozen
class LongOptions:
    """Options of the rule ``long``."""

    route: str = attrs.field(default="", metadata={"key": "longContext"})


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """Take the long route for long requests, and strip a mark."""
    if not ctx.options.route:
        return Pass("Router.longContext is not set")
    if (ctx.tokens or 0) < 1000:
        return Pass(f"only {ctx.tokens} tokens")
    return Decision(ctx.options.route, "it is long", scenario="longContext", request=request.with_(metadata={}))


async def decide_later(request: Request, ctx: RouteContext) -> Decision | Pass:
    """The same, as a coroutine."""
    return decide(request, ctx)


def rule(function: Any, summary: str = "Long requests.") -> RuleSpec:
    return RuleSpec(name="long", decide=function, options=LongOptions, needs=frozenset({"tokens"}), summary=summary)


LONG = {"longContext": "acme,big", "other": 1}


@pytest.mark.parametrize("function", [decide, decide_later])
def test_a_good_rule_passes(function: Any) -> None:
    """
    Each case is decided as it says, by functions and by coroutine functions.
    """
    cases = [
        RuleCase(router=LONG, tokens=2000, model="acme,big", scenario="longContext", request_body=ask(metadata={})),
        RuleCase(router=LONG, tokens=20),
        RuleCase(tokens=2000),
    ]

    check_rule(rule(function), cases)
    assert Pass("only 20 tokens") == ask_rule(rule(function), cases[1])


async def test_a_coroutine_rule_can_be_asked_inside_a_loop() -> None:
    """
    A check in an asynchronous test works too.
    """
    assert Pass("only 1 tokens") == ask_rule(rule(decide_later), RuleCase(router=LONG, tokens=1))


def mutates(request: Request, ctx: RouteContext) -> Decision | Pass:
    request.body["metadata"] = {}
    return Pass("x")


def needs_model(request: Request, ctx: RouteContext) -> Decision | Pass:
    return Pass(f"not for {request.body['model']}")


def wavers(request: Request, ctx: RouteContext, said: list[int] = []) -> Decision | Pass:  # noqa: B006 - the fault
    said.append(1)
    return Pass(f"number {len(said)}")


@pytest.mark.parametrize(
    ("function", "case", "complaint"),
    [
        (decide, RuleCase(router=LONG, tokens=20, model="acme,big"), "expected acme,big, got that it passes"),
        (decide, RuleCase(router=LONG, tokens=2000), "expected that it passes, got acme,big"),
        (decide, RuleCase(router={"longContext": "x,y"}, tokens=2000, model="x,y"), "there is no such provider"),
        (decide, RuleCase(router=LONG, tokens=2000, model="acme,big", scenario="think"), "expected the scenario"),
        (decide, RuleCase(router=LONG, tokens=2000, model="acme,big", request_body=ask()), "expected the request"),
        (lambda request, ctx: Pass(""), RuleCase(), "it gives no reason"),
        (lambda request, ctx: "acme,big", RuleCase(), "it fails"),
        (mutates, RuleCase(), "it changed the request"),
        (needs_model, RuleCase(), "no model: it fails: KeyError: 'model'"),
        (wavers, RuleCase(), "it says Pass(why='number 1', request=None) and then"),
    ],
)
def test_a_faulty_rule_is_found_out(function: Any, case: RuleCase, complaint: str) -> None:
    """
    Each fault is reported with the case or the shape of request in which it shows.
    """
    with pytest.raises(AssertionError) as raised:
        check_rule(rule(function), [case])

    assert complaint in str(raised.value)


def test_a_rule_needs_a_summary() -> None:
    """
    Listings show it.
    """
    with pytest.raises(AssertionError, match="no summary"):
        check_rule(rule(decide, summary=""), [])
