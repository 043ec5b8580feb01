"""Who is asked after which failure, in which order, after how long, and what the client gets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs
import orjson
import pytest
from toy import FakeReply, ask, call, stream, toy_app, whole

from ccr_core import UpstreamError
from ccr_core.config import ApiKey, Limits, ProviderConfig, Retry
from ccr_core.memory import Memory

TEXT, END = b'data: {"text":"hello"}\n\n', b'data: {"end":true}\n\n'
GREETING = b"data: {}\n\n"


def answer() -> FakeReply:
    return stream(TEXT, END)


def refusal(status: int, **headers: str) -> Callable[[], Any]:
    return lambda: whole({"error": f"refused with {status}"}, status, **headers)


BEFORE: dict[str, tuple[Callable[[], Any], int]] = {
    "no connection": (lambda: UpstreamError("cannot connect"), 502),
    "connect timeout": (lambda: UpstreamError("cannot connect in time", 504), 504),
    "401": (refusal(401), 401),
    "402": (refusal(402), 402),
    "403": (refusal(403), 403),
    "408": (refusal(408), 408),
    "409": (refusal(409), 409),
    "429": (refusal(429), 429),
    "500": (refusal(500), 500),
    "502": (refusal(502), 502),
    "503": (refusal(503), 503),
    "504": (refusal(504), 504),
    "529": (refusal(529), 529),
    "empty": (lambda: stream(), 502),
    "page": (lambda: FakeReply(200, {"content-type": "text/html"}, [b"<html>no</html>"]), 502),
    "greets and is cut": (lambda: stream(GREETING, UpstreamError("cut")), 502),
    "greets and fails": (lambda: stream(GREETING, b'data: {"error":"no"}\n\n'), 529),
}
AFTER: dict[str, tuple[Any, ...]] = {
    "is cut": (UpstreamError("cut"),),
    "ends without its mark": (),
    "fails": (b'data: {"error":"no"}\n\n',),
    "is silent": (None,),
}
FINAL = {"400": refusal(400), "404": refusal(404), "413": refusal(413), "422": refusal(422)}


def providers(*names: str, keys: int = 1) -> tuple[ProviderConfig, ...]:
    return tuple(
        ProviderConfig(
            name=name,
            api_base_url=f"http://{name}.invalid/",
            api_key="k1",
            api_keys=tuple(ApiKey(key=f"k{n}") for n in range(1, keys + 1)),
            models=("m",),
            dialect="toy",
            where=f"Providers[{place}]",
        )
        for place, name in enumerate(names)
    )


def app_with(replies: list[Any], others: int, **config: Any) -> tuple[Any, Any]:
    names = ["toy", *(f"spare{n}" for n in range(others))]
    fallback = {"default": tuple(f"{name},m" for name in names[1:])}
    return toy_app(*replies, providers=providers(*names), fallback=fallback, **config)


def asked(sender: Any) -> list[str]:
    return [wire.url.split("/")[2].removesuffix(".invalid") for wire, _ in sender.sent]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the engine waited, without the waiting."""
    seen: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, *args: Any) -> None:
        seen.append(seconds)
        await real(0)

    monkeypatch.setattr("ccr_core.engine.asyncio.sleep", sleep)
    return seen


@pytest.mark.parametrize("others", [1, 2, 3])
@pytest.mark.parametrize("fault", BEFORE)
async def test_before_the_first_event_the_next_route_answers(fault: str, others: int, waits: list[float]) -> None:
    """
    Whatever fails before the first event, the next routes are asked in their order, at once, until one answers.
    """
    make, _ = BEFORE[fault]
    app, sender = app_with([make() for _ in range(others)] + [answer()], others, retry=Retry())

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert ["toy", *(f"spare{n}" for n in range(others))] == asked(sender)
    assert [] == waits
    assert 1 == got.lines.count(["MessageStart"])
    assert ["delta", 0, "hello"] in got.lines
    assert ["MessageStop"] == got.lines[-1]


@pytest.mark.parametrize("others", [0, 1, 2, 3])
@pytest.mark.parametrize("fault", BEFORE)
async def test_when_all_fail_the_client_gets_the_first_failure(fault: str, others: int) -> None:
    """
    With no route left the client gets the chosen provider's own failure, as a status.
    """
    make, status = BEFORE[fault]
    app, sender = app_with([make(), *(refusal(500)() for _ in range(others))], others)

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert status == got.status
    assert 1 + others == len(asked(sender))


@pytest.mark.parametrize("others", [0, 2])
@pytest.mark.parametrize("fault", FINAL)
async def test_what_is_wrong_with_the_request_is_told_at_once(fault: str, others: int) -> None:
    """
    The client's own mistakes go back to it; nobody else is asked.
    """
    app, sender = app_with([FINAL[fault]()], others, retry=Retry())

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert (int(fault), ["toy"]) == (got.status, asked(sender))


async def test_statuses_that_the_user_adds() -> None:
    """
    retry.also makes another status one after which others are asked.
    """
    app, sender = app_with([refusal(404)(), answer()], 1, retry=Retry(also=(404,)))

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert (200, ["toy", "spare0"]) == (got.status, asked(sender))


@pytest.mark.parametrize("others", [0, 1, 2, 3])
@pytest.mark.parametrize("fault", AFTER)
async def test_after_the_first_event_nothing_is_tried_again(fault: str, others: int, waits: list[float]) -> None:
    """
    What has begun ends with an error event and no lawful end; no event comes twice or is lost, nobody else is asked.
    """
    limits = {"limits": Limits(ping_s=0.02, idle_s=0.03)} if fault == "is silent" else {}
    app, sender = app_with([stream(TEXT, *AFTER[fault])], others, retry=Retry(attempts=3), **limits)

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert (["toy"], []) == (asked(sender), waits)
    said = [line for line in got.lines if line != ["Ping"]]
    assert [["MessageStart"], ["BlockStart"], ["delta", 0, "hello"]] == said[:3]
    assert "error" == said[-1][0]
    assert {"BlockStop", "error"} >= {line[0] for line in said[3:]}


@pytest.mark.parametrize("others", [0, 1, 2, 3])
@pytest.mark.parametrize("fault", AFTER)
async def test_a_whole_answer_that_breaks_is_asked_for_elsewhere(fault: str, others: int) -> None:
    """
    A client that does not stream has got nothing yet: the next routes are asked, and it never gets half an answer.
    """
    limits = {"api_timeout_ms": 30} if fault == "is silent" else {}
    broken = [stream(TEXT, *AFTER[fault]) for _ in range(max(1, others))]
    app, sender = app_with([*broken, *([answer()] if others else [])], others, **limits)

    got = await call(app, "POST", "/toy", ask(stream=False))

    assert ["toy", *(f"spare{n}" for n in range(others))] == asked(sender)
    assert (200 if others else {"fails": 529, "is silent": 504}.get(fault, 502)) == got.status
    assert ("hello" in str(got.json)) == bool(others)


@pytest.mark.parametrize("asked_to_stream", [True, False])
@pytest.mark.parametrize("fault", ["no connection", "500", "503", "529", "empty", "greets and is cut"])
async def test_last_route_is_tried_again(fault: str, asked_to_stream: bool, waits: list[float]) -> None:
    """
    A failure that may pass is tried again on the last route, after half a second or less.
    """
    make, _ = BEFORE[fault]
    app, sender = app_with([make(), answer()], 0, retry=Retry(attempts=1))

    got = await call(app, "POST", "/toy", ask(stream=asked_to_stream))

    assert (200, ["toy", "toy"]) == (got.status, asked(sender))
    assert 1 == len(waits)
    assert 0.25 <= waits[0] <= 0.5


async def test_waits_grow_and_are_bounded(waits: list[float]) -> None:
    """
    Each wait may be twice the last; together they stay within the limit.
    """
    app, sender = app_with([refusal(500)() for _ in range(20)], 0, retry=Retry(attempts=19, max_seconds=4))

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert 500 == got.status
    assert sum(waits) <= 4
    assert 3 <= len(waits) == len(sender.sent) - 1
    assert waits == sorted(waits) or max(waits) < 2 * sum(waits)


async def test_retry_after_is_followed(waits: list[float]) -> None:
    """
    A provider that says when is asked then.
    """
    app, _ = app_with([refusal(503, **{"retry-after": "2"})(), answer()], 0, retry=Retry())

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert (200, [2.0]) == (got.status, waits)


async def test_retry_after_that_is_too_long_is_passed_on(waits: list[float]) -> None:
    """
    A wait beyond the limit is the client's to decide.
    """
    app, sender = app_with([refusal(503, **{"retry-after": "60"})()], 0, retry=Retry())

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert (503, [], 1) == (got.status, waits, len(sender.sent))


async def test_limits_are_the_clients_to_wait_for(waits: list[float]) -> None:
    """
    429 on the only key of the last route goes to the client, which knows how to wait.
    """
    app, sender = app_with([refusal(429, **{"retry-after": "1"})()], 0, retry=Retry())

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert (429, [], 1) == (got.status, waits, len(sender.sent))


async def test_slow_provider_is_left() -> None:
    """
    A provider that does not begin to answer in time is a failure like others.
    """

    class Silent:
        async def send(self, wire: Any, body: bytes) -> Any:
            if "toy.invalid" in wire.url:
                await asyncio.Event().wait()
            return answer()

        async def aclose(self) -> None:
            pass

    app, _ = app_with([], 1, limits=Limits(first_byte_s=0.05))
    app.engine.sender = Silent()

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert ["MessageStop"] == got.lines[-1]
    assert got.headers["x-ccr-route"].startswith("spare0,m")


async def test_a_provider_has_a_time_of_its_own() -> None:
    """
    A provider's own limit counts for it, longer or shorter than that of all.
    """

    class Slow:
        async def send(self, wire: Any, body: bytes) -> Any:
            await asyncio.sleep(0.3 if "toy.invalid" in wire.url else 5)
            return answer()

        async def aclose(self) -> None:
            pass

    def with_times(toy: float | None, spare: float | None) -> Any:
        times = {"toy": toy, "spare0": spare}
        app, _ = app_with([], 1, limits=Limits(first_byte_s=0.15))
        entries = {
            name: attrs.evolve(found, config=attrs.evolve(found.config, first_byte_s=times.get(name)))
            for name, found in app.engine.runtime.providers.items()
        }
        app.swap(attrs.evolve(app.engine.runtime, providers=entries))
        app.engine.sender = Slow()
        return app

    patient = await call(with_times(20, None), "POST", "/toy", ask(stream=True))
    hasty = await call(with_times(None, 0.01), "POST", "/toy", ask(stream=True))

    assert patient.headers["x-ccr-route"].startswith("toy,m")
    assert "toy did not answer within 0.15 s" in str(hasty.json)


async def test_nothing_is_tried_again_for_a_client_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Hanging up during the wait ends it; the provider is not asked again.
    """
    from toy import calling

    app, sender = app_with(
        [refusal(503, **{"retry-after": "5"})(), answer()], 0, retry=Retry(attempts=1, max_seconds=10)
    )

    async with calling(app, "POST", "/toy", ask(stream=True)) as (got, hang_up):
        async with asyncio.timeout(5):
            while not sender.sent:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        hang_up()

    assert 1 == len(sender.sent)
    assert 0 == got.status


# Keys.


def keys_used(sender: Any) -> list[str]:
    return [wire.headers["authorization"].removeprefix("Bearer ") for wire, _ in sender.sent]


@pytest.mark.parametrize("status", [401, 402, 403, 429])
async def test_next_key_follows_at_once(status: int, waits: list[float]) -> None:
    """
    A key that is limited or refused is followed by the next one, before any other provider.
    """
    app, sender = toy_app(
        refusal(status)(), refusal(status)(), answer(), providers=providers("toy", keys=3), retry=Retry()
    )

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert 200 == got.status
    assert ["k1", "k2", "k3"] == keys_used(sender)
    assert [] == waits


async def test_cooling_key_is_not_used_until_it_may() -> None:
    """
    The key that was limited rests for the time given, then takes its turns again.
    """
    now = 0.0
    app, sender = toy_app(
        refusal(429, **{"retry-after": "60"})(), *(answer() for _ in range(8)), providers=providers("toy", keys=2)
    )
    app.engine.memory = Memory(lambda: now)

    for _ in range(3):
        await call(app, "POST", "/toy", ask(stream=True))
    now = 61.0
    for _ in range(4):
        await call(app, "POST", "/toy", ask(stream=True))

    assert ["k1", "k2", "k2", "k2"] == keys_used(sender)[:4]
    assert {"k1", "k2"} == set(keys_used(sender)[4:])


async def test_session_keeps_its_key() -> None:
    """
    Prompt caches belong to keys: a session changes its key only when it must; others take turns.
    """
    app, sender = toy_app(*(answer() for _ in range(8)), providers=providers("toy", keys=2))

    for n in range(8):
        await call(app, "POST", "/toy", ask(stream=True), {"x-claude-code-session-id": f"s{n % 2}"})

    used = keys_used(sender)
    assert 1 == len(set(used[0::2]))
    assert 1 == len(set(used[1::2]))
    assert set(used[0::2]) != set(used[1::2])


async def test_weights_share_the_turns() -> None:
    """
    A key of weight 3 gets three of four turns.
    """
    entry = providers("toy")[0]
    weighted = ProviderConfig(
        name="toy",
        api_base_url=entry.api_base_url,
        api_keys=(ApiKey(key="big", weight=3), ApiKey(key="small")),
        models=("m",),
        dialect="toy",
        where="Providers[0]",
    )
    app, sender = toy_app(*(answer() for _ in range(40)), providers=(weighted,))

    for _ in range(40):
        await call(app, "POST", "/toy", ask(stream=True))

    assert (30, 10) == (keys_used(sender).count("big"), keys_used(sender).count("small"))


# Cooling and learning.


async def test_cooling_provider_is_asked_last_but_asked() -> None:
    """
    After three failures in a row the next route is asked first; with no other left, the cooling one is asked.
    """
    app, sender = app_with([refusal(500)() if n % 2 == 0 else answer() for n in range(6)] + [answer()], 1)

    for _ in range(4):
        await call(app, "POST", "/toy", ask(stream=True))

    assert ["toy", "spare0", "toy", "spare0", "toy", "spare0", "spare0"] == asked(sender)


async def test_only_route_is_asked_though_it_cools() -> None:
    """
    Nobody is refused because of cooling.
    """
    app, _ = app_with([refusal(500)() for _ in range(4)] + [answer()], 0)

    statuses = [(await call(app, "POST", "/toy", ask(stream=True))).status for _ in range(5)]

    assert [500, 500, 500, 500, 200] == statuses


async def test_refused_parameter_is_left_out_and_remembered() -> None:
    """
    A parameter that the provider names is left out, once tried again, and left out from then on; it is noted.
    """
    refused = whole({"error": "Unsupported parameter: 'stream'"}, 400)
    named = whole({"error": "Unsupported parameter: 'extra'"}, 400)
    app, sender = toy_app(
        named, answer(), answer(), refused, providers=(provider_with_extra(),), plugins=[with_extra()]
    )

    first = await call(app, "POST", "/toy", ask(stream=True))
    second = await call(app, "POST", "/toy", ask(stream=True))
    third = await call(app, "POST", "/toy", ask(stream=True))

    assert [200, 200, 400] == [first.status, second.status, third.status]
    assert [True, False, False, False] == ["extra" in body for _, body in sender.sent]


def provider_with_extra() -> ProviderConfig:
    from ccr_core.config import StepUse, TransformerUse

    return ProviderConfig(
        name="toy",
        api_base_url="http://toy.invalid/",
        api_key="k",
        models=("m",),
        dialect="toy",
        where="Providers[0]",
        transformer=TransformerUse(use=(StepUse(name="extra", where="use[0]"),)),
    )


def with_extra() -> Any:
    import attrs
    from toy import toy_plugin

    from ccr_core import Transformer, TransformerSpec

    class Extra(Transformer[None]):
        def on_wire_request(self, wire: Any) -> Any:
            return attrs.evolve(wire, body={**wire.body, "extra": 1})

    return toy_plugin(ccr_transformers=lambda: [TransformerSpec(name="extra", factory=Extra)])


async def test_a_refusal_that_teaches_nothing_is_passed_on() -> None:
    """
    The same refusal again, or one that names nothing, is the client's.
    """
    app, sender = toy_app(whole({"error": "messages: wrong"}, 400))

    got = await call(app, "POST", "/toy", ask(stream=True))

    assert (400, 1) == (got.status, len(sender.sent))
    assert b"messages: wrong" in orjson.dumps(got.json)
