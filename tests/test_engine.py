"""Exchanges from end to end, with a toy format on both sides and no network."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from toy import ask, call, calling, stream, toy_app, toy_plugin, whole

from ccr_core import (
    BlockDelta,
    Body,
    Catalogue,
    CatalogueSpec,
    Failed,
    Finished,
    ModelFacts,
    Observer,
    ObserverSpec,
    Prices,
    Routed,
    Subject,
    Transformer,
    TransformerSpec,
    UpstreamError,
)
from ccr_core.config import Limits, ProviderConfig, StepUse, TransformerUse
from ccr_core.explain import difference

TEXT = b'data: {"text":"hello"}\n\n'
MORE = b'data: {"text":" world"}\n\n'
END = b'data: {"end":true}\n\n'
HELLO = [
    ["MessageStart"],
    ["BlockStart"],
    ["delta", 0, "hello"],
    ["BlockStop"],
    ["MessageDelta"],
    ["MessageStop"],
]


async def test_a_streamed_answer() -> None:
    """
    A stream comes out event by event, with the route in a header.
    """
    app, sender = toy_app(stream(TEXT, END))

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert 200 == got.status
    assert HELLO == got.lines
    assert "toy,m; rule=default; scenario=default" == got.headers["x-ccr-route"]
    assert "Bearer key-of-toy" == sender.sent[0][0].headers["authorization"]


async def test_events_of_one_read_are_written_at_once() -> None:
    """
    Whatever one network read brings is sent in one piece.
    """
    app, _ = toy_app(stream(TEXT + MORE, END))

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert 2 == len(got.writes)


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("streamed", [True, False])
async def test_how_the_client_asks_and_how_the_provider_answers_are_independent(asked: bool, streamed: bool) -> None:
    """
    A stream can become a message and a message a stream; the text is the same.
    """
    app, _ = toy_app(stream(TEXT, END) if streamed else whole({"text": "hello"}))

    got = await call(app, "POST", "/toy", ask(stream=asked))

    if asked:
        assert HELLO == got.lines
    else:
        assert [{"type": "text", "text": "hello"}] == got.json["content"]
        assert {"input_tokens": 3, "output_tokens": 1} == got.json["usage"]


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ([], 502),
        ([b"<html>oops</html>"], 502),
        ([b'data: {"error":"no"}\n\n'], 529),
        ([b"data: {}\n\n", b'data: {"error":"no"}\n\n'], 529),
        ([b"data: {}\n\n", UpstreamError("cut")], 502),
        ([b'data: {"te'], 502),
    ],
)
async def test_failure_before_anything_was_said_is_a_status(pieces: list[Any], status: int) -> None:
    """
    An empty answer, a page, an early error or cut: the client gets an error answer and no stream.
    """
    app, _ = toy_app(stream(*pieces))

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert status == got.status
    assert "message" in got.json


@pytest.mark.parametrize("last", [UpstreamError("cut"), b""])
async def test_cut_stream_never_looks_finished(last: Any) -> None:
    """
    After the first event a cut is an error event, and no end follows.
    """
    app, _ = toy_app(stream(TEXT, last))

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert 200 == got.status
    assert ["delta", 0, "hello"] in got.lines
    assert "error" == got.lines[-1][0]
    assert ["MessageStop"] not in got.lines


async def test_cut_stream_is_no_message() -> None:
    """
    A client that wants a whole message gets an error when the provider's stream is cut.
    """
    app, _ = toy_app(stream(TEXT, UpstreamError("cut")))

    got = await call(app, "POST", "/toy", ask())

    assert 502 == got.status


async def test_refusal_keeps_status_words_and_retry_after() -> None:
    """
    A provider's refusal reaches the client with its status and its words.
    """
    app, _ = toy_app(whole({"error": {"message": "slow down"}}, 429, **{"retry-after": "7"}))

    got = await call(app, "POST", "/toy", ask())

    assert (429, {"kind": "rate_limit_error", "message": "slow down"}) == (got.status, got.json)


async def test_client_that_leaves_closes_the_provider() -> None:
    """
    When the client hangs up in mid-stream, the provider's answer is closed and the exchange is a failure.
    """
    reply = stream(TEXT, None)
    seen: list[Any] = []
    app, _ = toy_app(reply, plugins=[watching(seen)])

    async with calling(app, "POST", "/toy", ask(stream=True)) as (got, hang_up):
        await got.until(lambda: got.writes)
        hang_up()

    assert reply.closed
    assert [499] == [observation.status for observation in seen if isinstance(observation, Failed)]


async def test_silence_is_bridged_with_pings_and_then_ends() -> None:
    """
    While the provider is silent the client gets pings; after the limit, an error.
    """
    limits = Limits(ping_s=0.02, idle_s=0.1)
    app, _ = toy_app(stream(TEXT, None), limits=limits)

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert ["Ping"] in got.lines
    assert "silent" in got.lines[-1][2]


async def test_greeting_is_released_by_silence() -> None:
    """
    A provider that has greeted and then thinks for long is shown to be alive.
    """
    app, _ = toy_app(stream(b"data: {}\n\n", 0.1, TEXT, END), limits=Limits(ping_s=0.02))

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert [["MessageStart"], ["Ping"]] == got.lines[:2]
    assert ["MessageStop"] == got.lines[-1]
    assert 1 == got.lines.count(["MessageStart"])


@pytest.mark.parametrize("failure", [UpstreamError("down"), whole({"error": "busy"}, 503), stream(b"data: {}\n\n")])
async def test_falls_back_before_the_first_event(failure: Any) -> None:
    """
    A provider that fails before it says anything is replaced by the next of the list.
    """
    app, sender = toy_app(failure, stream(TEXT, END), fallback={"default": ("spare,m",)})

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert HELLO == got.lines
    assert ["http://toy.invalid/", "http://spare.invalid/"] == [wire.url for wire, _ in sender.sent]
    assert got.headers["x-ccr-route"].startswith("spare,m;")


async def test_no_fallback_after_the_first_event() -> None:
    """
    What was begun is not begun again elsewhere.
    """
    app, sender = toy_app(stream(TEXT, UpstreamError("cut")), fallback={"default": ("spare,m",)})

    await call(app, "POST", "/toy", ask(stream=True))

    assert 1 == len(sender.sent)


async def test_no_fallback_for_the_clients_own_mistake() -> None:
    """
    A request that is wrong is wrong everywhere.
    """
    app, sender = toy_app(whole({"error": "bad"}, 400), fallback={"default": ("spare,m",)})

    got = await call(app, "POST", "/toy", ask())

    assert (400, 1) == (got.status, len(sender.sent))


async def test_when_all_fail_the_first_error_is_told() -> None:
    """
    The client sees why the chosen provider failed, not the last resort.
    """
    app, _ = toy_app(
        whole({"error": "first"}, 503), whole({"error": "second"}, 500), fallback={"default": ("spare,m",)}
    )

    got = await call(app, "POST", "/toy", ask())

    assert (503, "first") == (got.status, got.json["message"])


class Loud(Transformer[None]):
    """Upper-case both ways; breaks on the word break."""

    def on_request(self, request: Any) -> Any:
        if "break" in str(request.messages):
            raise KeyError("broken")
        return request.with_(messages=[{"role": "user", "content": "LOUD"}])

    def feed(self, event: Any) -> Any:
        if isinstance(event, BlockDelta):
            event = BlockDelta(event.key, {**event.delta, "text": event.delta["text"].upper()})
        return (event,)


class Wired(Transformer[None]):
    """Reads the provider's own chunks."""

    def feed_wire(self, chunk: Any) -> Any:
        if "text" in chunk.data:
            chunk = type(chunk)({"text": chunk.data["text"] + "!"})
        return (chunk,)


def with_steps(*names: str) -> dict[str, Any]:
    spec = [TransformerSpec(name="loud", factory=Loud), TransformerSpec(name="wired", factory=Wired)]
    provider = ProviderConfig(
        name="toy",
        api_base_url="http://toy.invalid/",
        api_key="k",
        models=("m",),
        dialect="toy",
        where="Providers[0]",
        transformer=TransformerUse(use=tuple(StepUse(name=name, where=f"use[{i}]") for i, name in enumerate(names))),
    )
    return {"plugins": [toy_plugin(ccr_transformers=lambda: spec)], "providers": (provider,)}


@pytest.mark.parametrize("asked", [True, False])
async def test_transformers_run_both_ways_streamed_or_not(asked: bool) -> None:
    """
    A step changes the request and the answer, whichever way the client asks.
    """
    app, sender = toy_app(stream(TEXT, END) if asked else whole({"text": "hello"}), **with_steps("loud"))

    got = await call(app, "POST", "/toy", ask(stream=asked))

    assert b"HELLO" in got.body
    assert "LOUD" == sender.sent[0][1]["messages"][0]["content"]


async def test_steps_on_the_wire_always_see_a_stream() -> None:
    """
    A step that reads the provider's chunks works for whole answers too: the provider is asked to stream.
    """
    app, sender = toy_app(stream(TEXT, END), **with_steps("wired"))

    got = await call(app, "POST", "/toy", ask())

    assert "hello!" == got.json["content"][0]["text"]
    assert sender.sent[0][1]["stream"] is True


async def test_broken_step_is_named_and_never_skipped() -> None:
    """
    A step that raises fails the exchange, and the message says which.
    """
    app, sender = toy_app(**with_steps("loud"))

    got = await call(app, "POST", "/toy", ask("break"))

    assert 500 == got.status
    assert "loud at use[0] (plugin toy-plugin) failed in on_request: KeyError" in got.json["message"]
    assert [] == sender.sent


class Seen(Observer):
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def on(self, observation: Any) -> None:
        self.seen.append(observation)


def watching(seen: list[Any]) -> Any:
    return toy_plugin(ccr_observers=lambda: [ObserverSpec(name="seen", factory=lambda options, home: Seen(seen))])


async def test_observers_see_the_whole_exchange() -> None:
    """
    Each exchange is told from arrival to end, with usage and timings.
    """
    seen: list[Any] = []
    app, _ = toy_app(stream(TEXT, END), plugins=[watching(seen)])

    await call(app, "POST", "/toy", ask(stream=True))

    assert ["Arrived", "Routed", "Sent", "Answered", "Streamed", "Finished"] == [type(o).__name__ for o in seen]
    finished = seen[-1]
    assert isinstance(finished, Finished)
    assert ("toy", "m", 200, "end_turn") == (
        finished.provider,
        finished.model,
        finished.status,
        finished.stop_reason,
    )
    assert {"input_tokens": 3, "output_tokens": 1} == finished.usage
    assert finished.first is not None
    assert 0 < finished.first <= finished.duration


async def test_observers_are_told_why_and_at_what_price() -> None:
    """
    The rule that decided, every rule's answer, and the prices of the model that answered.
    """

    class Priced(Catalogue):
        def facts(self, subject: Subject) -> ModelFacts:
            return ModelFacts(prices=Prices(input=1.0, output=2.0))

    seen: list[Any] = []
    spec = ObserverSpec(name="seen", factory=lambda options, home: Seen(seen))
    plugin = toy_plugin(ccr_observers=lambda: [spec], ccr_catalogues=lambda: [CatalogueSpec(name="c", factory=Priced)])
    app, _ = toy_app(stream(TEXT, END), plugins=[plugin])

    await call(app, "POST", "/toy", ask(stream=True))

    (routed,) = [each for each in seen if isinstance(each, Routed)]
    assert "default" == routed.rule
    assert ("default", "decided") == tuple(routed.explanation[-1][key] for key in ("rule", "state"))
    assert (Prices(input=1.0, output=2.0), 5e-6) == (seen[-1].prices, seen[-1].cost)


async def test_observers_are_told_why_nothing_was_chosen() -> None:
    """
    A failure to route carries every rule's answer.
    """
    seen: list[Any] = []
    app, _ = toy_app(plugins=[watching(seen)])

    await call(app, "POST", "/toy", ask(model="nobody,m"))

    assert isinstance(seen[-1], Failed)
    assert "decided" in [answer["state"] for answer in seen[-1].explanation]


async def test_bodies_for_those_who_ask() -> None:
    """
    An observer that names bodies is told the request, what is sent and the answer; also of a refusal.
    """
    seen: list[Any] = []
    spec = ObserverSpec(
        name="seen", factory=lambda options, home: Seen(seen), wants=lambda options: frozenset({Body, Finished})
    )
    app, sender = toy_app(stream(TEXT, END), plugins=[toy_plugin(ccr_observers=lambda: [spec])])

    got = await call(app, "POST", "/toy", ask(stream=True))
    told = [(type(each).__name__, getattr(each, "kind", ""), getattr(each, "attempt", None)) for each in seen]
    request, sent, _, answer = seen
    assert [("Body", "request", None), ("Body", "sent", 1), ("Finished", "", None), ("Body", "answer", None)] == told
    assert sender.sent[0][1] == orjson.loads(sent.content)
    assert (got.body, len(answer.content)) == (answer.content, answer.size)
    assert ask(stream=True) == request.content
    assert 1 == len({each.id for each in seen})

    seen.clear()
    refused = await call(app, "POST", "/toy", ask(model="nobody,m"))
    assert [("request", None), ("answer", None)] == [(each.kind, each.attempt) for each in seen]
    assert refused.body == seen[-1].content


async def test_long_answers_are_kept_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of a long answer observers get the beginning and its whole size; the client gets all of it.
    """
    monkeypatch.setattr("ccr_core.exchange.KEPT", 30)
    seen: list[Any] = []
    spec = ObserverSpec(name="seen", factory=lambda options, home: Seen(seen), wants=frozenset({Body}))
    app, _ = toy_app(stream(TEXT, MORE, END), plugins=[toy_plugin(ccr_observers=lambda: [spec])])

    got = await call(app, "POST", "/toy", ask(stream=True))
    whole_answer = got.body

    assert (whole_answer[:30], len(whole_answer)) == (seen[-1].content, seen[-1].size)


async def test_provider_that_is_not_configured() -> None:
    """
    Asking for an unknown provider is answered with its name and what to do.
    """
    app, _ = toy_app()

    got = await call(app, "POST", "/toy", ask(model="nobody,m"))

    assert 404 == got.status
    assert 'no provider for "nobody,m"' in got.json["message"]


async def test_many_at_once_do_not_mix() -> None:
    """
    Fifty exchanges at a time each get their own answer.
    """
    replies = [stream(b'data: {"text":"%d"}\n\n' % n, 0.001, END) for n in range(50)]
    app, _ = toy_app(*replies)

    answers = await asyncio.gather(*(call(app, "POST", "/toy", ask(stream=True)) for _ in range(50)))

    assert [str(n) for n in range(50)] == sorted((a.lines[2][2] for a in answers), key=int)


def test_difference_names_each_place() -> None:
    """
    What changed between two bodies is listed place by place.
    """
    before = {"a": 1, "b": [{"c": 2}, 3], "gone": True}
    after = {"a": 1, "b": [{"c": 5}, 3], "new": None}

    assert [
        {"path": "b[0].c", "before": 2, "after": 5},
        {"path": "gone", "before": True, "after": None},
    ] == difference(before, after)
