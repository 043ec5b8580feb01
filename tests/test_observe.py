"""The fence around observers."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from ccr_core import Answered, Arrived, Body, Failed, Finished, Observation, Observer, Prices, Routed, Sent, Streamed
from ccr_core.exchange import exchange_id
from ccr_core.observe import Watch

ARRIVED = Arrived(id="1", at=0.0, path="/", model="m", stream=True, size=1)
STREAMED = Streamed(id="1", at=0.0)
FINISHED: dict[str, Any] = {
    "id": "1",
    "at": 0.0,
    "status": 200,
    "stream": True,
    "requested": "m",
    "provider": "p",
    "model": "m",
    "scenario": "default",
    "why": "w",
    "attempts": 1,
    "duration": 1.0,
    "first": None,
    "stop_reason": None,
    "usage": {},
}
KINDS = (Arrived, Routed, Sent, Answered, Streamed, Finished, Failed)


class Sees(Observer):
    def __init__(self) -> None:
        self.seen: list[Observation] = []
        self.closed = False

    def on(self, observation: Observation) -> None:
        self.seen.append(observation)

    def close(self) -> None:
        self.closed = True


class Fails(Sees):
    """Fails while ``bad``."""

    bad = True

    def on(self, observation: Observation) -> None:
        super().on(observation)
        if self.bad:
            raise ValueError("oops")

    def close(self) -> None:
        raise ValueError("oops")


def watch(*observers: tuple[Observer, frozenset[type]]) -> Watch:
    return Watch((f"observer-{place}", observer, wants) for place, (observer, wants) in enumerate(observers))


def test_ids_of_exchanges_rise() -> None:
    """Ids are unique, and those of a later second are greater: what keeps many of them appends to its index."""
    made = [exchange_id(1_700_000_000.0 + number // 100) for number in range(1000)]

    assert 1000 == len(set(made))
    assert all(earlier < later for earlier, later in zip(made, made[100:], strict=False))
    assert {28} == {len(each) for each in made}


def test_everyone_who_wants_it_sees_it() -> None:
    """An observer sees the kinds that it wants, or all of them."""
    everything, some = Sees(), Sees()
    both = watch((everything, frozenset()), (some, frozenset({Streamed})))

    both.tell(ARRIVED)
    both.tell(STREAMED)

    assert [ARRIVED, STREAMED] == everything.seen
    assert [STREAMED] == some.seen


def test_kinds_are_told_apart() -> None:
    """Whoever wants finished exchanges only is not shown failed ones."""
    finished, failed = Sees(), Sees()
    both = watch((finished, frozenset({Finished})), (failed, frozenset({Failed})))
    failure = Failed(**FINISHED, kind="api_error", error="x")

    both.tell(Finished(**FINISHED))
    both.tell(failure)

    assert [Finished(**FINISHED)] == finished.seen
    assert [failure] == failed.seen


def test_wants() -> None:
    """Observations that nobody wants need not be made."""
    nobody, one = watch(), watch((Sees(), frozenset({Failed})))

    assert [False] * len(KINDS) == [nobody.wants(kind) for kind in KINDS]
    assert [Failed] == [kind for kind in KINDS if one.wants(kind)]


def test_a_failure_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that fails is logged once, and the others see everything."""
    good = Sees()
    both = watch((Fails(), frozenset()), (good, frozenset()))

    with caplog.at_level(logging.WARNING, "ccr.observe"):
        both.tell(ARRIVED)
        both.tell(STREAMED)

    assert [ARRIVED, STREAMED] == good.seen
    assert ["observer observer-0 failed"] == [record.getMessage() for record in caplog.records]


def test_silence_after_failures_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    """After some failures in a row an observer is not shown anything more, and the log says so."""
    bad = Fails()
    one = watch((bad, frozenset()))

    with caplog.at_level(logging.WARNING, "ccr.observe"):
        for _ in range(Watch.LIMIT + 3):
            one.tell(ARRIVED)

    assert Watch.LIMIT == len(bad.seen)
    assert not one.wants(Arrived)
    assert ["observer observer-0 failed", "observer observer-0 failed; it is silent until the next reload"] == [
        record.getMessage() for record in caplog.records
    ]


def test_a_success_between_failures_counts() -> None:
    """Failures that are not in a row do not silence an observer."""
    bad = Fails()
    one = watch((bad, frozenset()))
    for place in range(3 * Watch.LIMIT):
        bad.bad = place % 2 == 0
        one.tell(ARRIVED)

    assert 3 * Watch.LIMIT == len(bad.seen)


def test_close() -> None:
    """Every observer is closed, also after one that fails at it."""
    good = Sees()
    watch((Fails(), frozenset()), (good, frozenset())).close()

    assert good.closed


def test_an_observer_needs_nothing() -> None:
    """The base class may be told everything and does nothing."""
    one = watch((Observer(), frozenset()))
    one.tell(ARRIVED)
    one.close()

    assert one.wants(Arrived)


def test_bodies_are_told_to_those_who_ask() -> None:
    """Whoever wants everything is not shown bodies; whoever names them is."""
    everything, bodies = Sees(), Sees()
    both = watch((everything, frozenset()), (bodies, frozenset({Body})))
    body = Body(id="1", at=0.0, kind="request", content=b"{}", size=2)

    both.tell(body)

    assert ([], [body]) == (everything.seen, bodies.seen)
    assert not watch((everything, frozenset())).wants(Body)
    assert both.wants(Body)


@pytest.mark.parametrize(
    ("usage", "prices", "cost"),
    [
        ({"input_tokens": 1_000_000}, Prices(input=2.0, output=1.0), 2.0),
        ({"input_tokens": 1_000_000, "cost": 0.5}, Prices(input=2.0, output=1.0), 0.5),
        ({"input_tokens": 1_000_000, "cost": 0}, None, 0.0),
        ({"input_tokens": 1_000_000, "cost": True}, None, None),
        ({"input_tokens": 1_000_000}, None, None),
    ],
)
def test_cost(usage: dict[str, Any], prices: Prices | None, cost: float | None) -> None:
    """What the provider says that it cost comes first, then the prices; without either it is not known."""
    assert cost == Finished(**{**FINISHED, "usage": usage}, prices=prices).cost
