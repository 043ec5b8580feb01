"""Transformers and their one law of composition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import (
    Chunk,
    Context,
    Event,
    Ping,
    Pipe,
    PluginError,
    Request,
    RequestError,
    Target,
    Transformer,
    TransformerSpec,
    Unknown,
    WireRequest,
)
from ccr_core.transform import Chain, Step, overrides

CONTEXT = Context(exchange_id="1", target=Target(provider="p", model="m", base_url="http://localhost"))
WIRE = WireRequest(url="http://localhost", body={"path": []})


def path(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {**value, "path": [*value.get("path", []), name]}


class Tracing(Transformer[str]):
    """Writes its name (its option) on everything that passes, and gives one item of its own at the end."""

    def on_request(self, request: Request) -> Request:
        return request.with_(**path(request.body, self.options))

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        return attrs.evolve(wire, body=path(wire.body or {}, self.options))

    def feed_wire(self, chunk: Chunk) -> Iterable[Chunk]:
        yield Chunk(path(chunk.data, self.options))

    def flush_wire(self) -> Iterable[Chunk]:
        yield Chunk({"end": self.options})

    def feed(self, event: Event) -> Iterable[Event]:
        yield Unknown("traced", path(event.data, self.options)) if isinstance(event, Unknown) else event

    def flush(self) -> Iterable[Event]:
        yield Unknown("end", {"end": self.options})


def chain(*steps: tuple[Any, Any]) -> Chain:
    return Chain(
        [
            Step(TransformerSpec(name=f"step-{place}", factory=factory), options, f"use[{place}]", f"plugin-{place}")
            for place, (factory, options) in enumerate(steps)
        ],
        CONTEXT,
    )


@given(st.lists(st.text("abc", min_size=1, max_size=2), max_size=6))
def test_the_law_of_composition(names: list[str]) -> None:
    """For any chain: what goes out runs first to last, what comes back runs last to first."""
    made = chain(*((Tracing, name) for name in names))

    assert names == made.on_request(Request({})).body.get("path", [])
    assert names == (made.on_wire_request(WIRE).body or {})["path"]
    back = list(reversed(names))
    events, chunks = Pipe(made.stages()), Pipe(made.wire_stages())
    assert [back] == [event.data.get("path", []) for event in events.feed(Unknown("x", {}))]
    assert [back] == [chunk.data.get("path", []) for chunk in chunks.feed(Chunk({}))]


@given(st.lists(st.text("abc", min_size=1, max_size=2), max_size=6))
def test_the_end_runs_the_same_way(names: list[str]) -> None:
    """What a step gives at the end passes the steps before it in the order written, and only those."""
    made = chain(*((Tracing, name) for name in names))

    expected = [(name, list(reversed(names[:place]))) for place, name in reversed(list(enumerate(names)))]
    assert expected == [(event.data["end"], event.data.get("path", [])) for event in Pipe(made.stages()).flush()]
    assert expected == [(chunk.data["end"], chunk.data.get("path", [])) for chunk in Pipe(made.wire_stages()).flush()]


def test_a_step_that_does_nothing() -> None:
    """The methods that a transformer does not override change nothing."""
    plain: Transformer[None] = Transformer(None, CONTEXT)
    request, chunk = Request({}), Chunk({})

    assert request is plain.on_request(request)
    assert WIRE is plain.on_wire_request(WIRE)
    assert [chunk] == [*plain.feed_wire(chunk), *plain.flush_wire()]
    assert [Ping()] == [*plain.feed(Ping()), *plain.flush()]


def test_steps_that_do_nothing_are_left_out() -> None:
    """A step takes part in the stages that it overrides, and in no others."""

    class OnlyFlush(Transformer[None]):
        def flush(self) -> Iterable[Event]:
            return ()

    class OnlyWire(Transformer[None]):
        def feed_wire(self, chunk: Chunk) -> Iterable[Chunk]:
            return (chunk,)

    made = chain((Transformer, None), (OnlyFlush, None), (OnlyWire, None))

    assert ["step-1 at use[1]"] == [stage.step for stage in made.stages()]
    assert ["step-2 at use[2]"] == [stage.step for stage in made.wire_stages()]


def test_overrides() -> None:
    """A method counts as overridden in the class itself and in any class between."""

    class Below(Tracing):
        pass

    assert overrides(Below("x", CONTEXT), "feed")
    assert overrides(Below("x", CONTEXT), "feed_wire", "flush")
    assert not overrides(Transformer(None, CONTEXT), "feed", "flush", "feed_wire")


def test_made_anew_for_each_attempt() -> None:
    """Two chains share no transformer, so state on ``self`` is safe."""
    made: list[Transformer[Any]] = []

    def factory(options: Any, ctx: Context) -> Transformer[Any]:
        made.append(Transformer(options, ctx))
        return made[-1]

    chain((factory, "o"))
    chain((factory, "o"))

    assert made[0] is not made[1]
    assert ("o", CONTEXT) == (made[0].options, made[0].ctx)


class Fails(Transformer[BaseException]):
    """Raises its option everywhere."""

    def on_request(self, request: Request) -> Request:
        raise self.options

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        raise self.options

    def feed(self, event: Event) -> Iterable[Event]:
        raise self.options

    def feed_wire(self, chunk: Chunk) -> Iterable[Chunk]:
        raise self.options


CALLS = [
    ("on_request", lambda made: made.on_request(Request({}))),
    ("on_wire_request", lambda made: made.on_wire_request(WIRE)),
    ("feed", lambda made: list(Pipe(made.stages()).feed(Ping()))),
    ("feed", lambda made: list(Pipe(made.wire_stages()).feed(Chunk({})))),
]


@pytest.mark.parametrize(("method", "call"), CALLS)
def test_a_failing_step_is_named(method: str, call: Any) -> None:
    """A failure names plugin, step, its place in the configuration, and method; nothing is skipped."""
    with pytest.raises(PluginError) as caught:
        call(chain((Tracing, "a"), (Fails, ValueError("oops")), (Tracing, "b")))

    expected = f"step-1 at use[1] (plugin plugin-1) failed in {method}: ValueError: oops"
    assert expected == caught.value.message


@pytest.mark.parametrize(("method", "call"), CALLS)
def test_a_refusal_passes(method: str, call: Any) -> None:
    """A step may refuse a request with one of the router's own errors."""
    with pytest.raises(RequestError, match=r"^no images$"):
        call(chain((Fails, RequestError("no images"))))


def test_a_step_that_cannot_be_made() -> None:
    """A failing constructor is named with the place in the configuration."""

    class Unmade(Transformer[None]):
        def __init__(self, options: None, ctx: Context) -> None:
            raise KeyError("x")

    with pytest.raises(PluginError, match=r"step-0 at use\[0\] \(plugin plugin-0\) failed in __init__: KeyError"):
        chain((Unmade, None))


@pytest.mark.parametrize(
    ("factory", "method"),
    [
        (lambda options, ctx: None, "__init__"),
        (type("R", (Transformer,), {"on_request": lambda self, request: None}), "on_request"),
        (type("W", (Transformer,), {"on_wire_request": lambda self, wire: {"url": "x"}}), "on_wire_request"),
    ],
)
def test_a_forgotten_return(factory: Any, method: str) -> None:
    """A step that gives the wrong thing is the one that is named, not the next."""

    def run() -> None:
        made = chain((factory, None), (Tracing, "a"))
        made.on_request(Request({}))
        made.on_wire_request(WIRE)

    with pytest.raises(PluginError, match=f"step-0 .* failed in {method}: TypeError: expected a "):
        run()
