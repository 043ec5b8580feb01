"""How long whom is left alone after which failure."""

from __future__ import annotations

import email.utils
import time

import pytest

from ccr_core import UpstreamError
from ccr_core.health import Health, retry_after


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_limited_key_cools_for_as_long_as_it_is_told() -> None:
    """
    429 cools the key, not the provider, for the time that the provider gives.
    """
    health = Health(Clock())

    health.failed("p", "k1", UpstreamError("slow", 429, headers={"retry-after": "7"}))

    assert 7 == health.cooling(("p", "k1"))
    assert 0 == health.cooling("p")
    assert 0 == health.cooling(("p", "k2"))


def test_without_a_time_it_doubles_up_to_a_limit() -> None:
    """
    Again and again limited means longer and longer, but not for ever.
    """
    clock = Clock()
    health = Health(clock)
    seconds = []
    for _ in range(8):
        health.failed("p", "k", UpstreamError("slow", 429))
        seconds.append(health.cooling(("p", "k")))
        clock.now += seconds[-1]

    assert [15, 30, 60, 120, 240, 480, 600, 600] == seconds


@pytest.mark.parametrize("status", [401, 402, 403])
def test_refused_key(status: int) -> None:
    """
    A key that is refused is left alone for minutes.
    """
    health = Health(Clock())
    health.failed("p", "k", UpstreamError("no", status))
    assert 300 == health.cooling(("p", "k"))


def test_provider_cools_from_the_third_failure_in_a_row() -> None:
    """
    Single failures are accidents; a row of them is a state.
    """
    health = Health(Clock())
    seen = []
    for _ in range(4):
        health.failed("p", "k", UpstreamError("down", 503))
        seen.append(health.cooling("p"))

    assert [0, 0, 10, 20] == seen


def test_provider_that_says_when_is_believed_at_once() -> None:
    """
    An overloaded provider that gives a time is left alone for it.
    """
    health = Health(Clock())
    health.failed("p", "k", UpstreamError("busy", 529, headers={"retry-after": "3"}))
    assert 3 == health.cooling("p")


def test_success_forgets() -> None:
    """
    One answer and all is well again.
    """
    health = Health(Clock())
    for _ in range(5):
        health.failed("p", "k", UpstreamError("down", 500))
    health.worked("p", "k")
    health.failed("p", "k", UpstreamError("down", 500))

    assert 0 == health.cooling("p")


def test_the_clients_own_mistakes_cool_nobody() -> None:
    """
    400 and 404 say nothing about health.
    """
    health = Health(Clock())
    for status in (400, 404, 413, 422):
        for _ in range(5):
            health.failed("p", "k", UpstreamError("wrong", status))
    assert [] == health.report()


def test_report_names_who_and_why() -> None:
    """
    People can see who cools down.
    """
    health = Health(Clock())
    health.failed("p", "k1", UpstreamError("slow down", 429, headers={"retry-after": "5"}))
    assert [{"provider": "p", "key": "k1", "seconds": 5.0, "why": "429: slow down"}] == health.report()


def test_forms_of_retry_after() -> None:
    """
    Milliseconds, seconds and dates are read; rubbish is unsaid.
    """
    assert 0.25 == retry_after({"retry-after-ms": "250", "retry-after": "9"})
    assert 2.5 == retry_after({"retry-after": "2.5"})
    assert 0 == retry_after({"retry-after": "-4"})
    assert 25 < (retry_after({"retry-after": email.utils.formatdate(time.time() + 30, usegmt=True)}) or 0) <= 30
    assert [None, None] == [retry_after({"retry-after": "soon"}), retry_after({})]
