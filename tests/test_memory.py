"""What engines remember, and that two memories which tell each other everything know the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ccr_core.auth import Key, Token
from ccr_core.errors import UpstreamError
from ccr_core.memory import Memory, Update
from ccr_core.routing import Route

KEYS = [Key(id=f"key {number}", token=Token(access=f"k{number}")) for number in (1, 2)]
ROUTE = Route(provider="p", model="m", level="high")


def refusal(status: int, message: str = "no", **headers: str) -> UpstreamError:
    return UpstreamError(message, status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def wired(one: Memory, *others: Memory) -> None:
    """Let the others hear what ``one`` tells, as it goes over a wire."""

    def tell(update: Update) -> None:
        for other in others:
            other.hear(json.loads(json.dumps(update)))

    one.tell = tell


def known(memory: Memory) -> dict[str, Any]:
    """All that can be asked of a memory."""
    return {
        "cooling": memory.health.report(),
        "learned": memory.learned.report(),
        "usage": [memory.usage(session) for session in ("s", "t")],
        "ratio": memory.ratio("s", ROUTE),
        "key": [memory.key("p", session) for session in ("s", "t")],
        "turn": [memory.turn("p", key) for key in KEYS],
    }


CHANGES: list[Callable[[Memory], object]] = [
    lambda memory: memory.failed("p", "key 1", refusal(429, retry_after="60")),
    lambda memory: memory.failed("p", "key 1", refusal(401)),
    lambda memory: [memory.failed("p", "", refusal(503)) for _ in range(3)],
    lambda memory: (memory.failed("p", "key 1", refusal(429)), memory.worked("p", "key 1")),
    lambda memory: memory.learn("p", "m", refusal(400, "unsupported parameter: a.b"), {"a": {"b": 1}}),
    lambda memory: memory.learn("p", "m", refusal(400, "max_tokens: at most 50"), {"max_tokens": 99}),
    lambda memory: memory.used("s", {"input_tokens": 5}),
    lambda memory: memory.used("t", {"input_tokens": 5}, ROUTE, 1.25, 9000),
    lambda memory: memory.used("s", {"input_tokens": 5}, ROUTE, 1.25, 9000),
    lambda memory: memory.chose("p", KEYS[1], "s", KEYS),
    lambda memory: memory.chose("p", KEYS[0], None, KEYS),
    lambda memory: memory.chose("p", KEYS[0], "t"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_told(change: Callable[[Memory], object]) -> None:
    """Whoever hears of a change knows what the one knows that made it."""
    one, other = Memory(lambda: 100.0), Memory(lambda: 100.0)
    heard: list[Update] = []
    wired(one, other)
    change(one)
    assert known(one) == known(other)
    one.tell = heard.append
    change(one)
    assert heard


def test_all_that_is_known() -> None:
    """A fresh memory that hears the updates of another knows the same."""
    one, fresh = Memory(lambda: 100.0), Memory(lambda: 100.0)
    for change in CHANGES:
        change(one)
    for update in one.updates():
        fresh.hear(json.loads(json.dumps(update)))
    assert known(one) == known(fresh)


def test_hearing_is_not_telling() -> None:
    """What was heard is not told again: two memories would never be silent."""
    one, other = Memory(), Memory()
    wired(one, other)
    told: list[Update] = []
    other.tell = told.append
    for change in CHANGES:
        change(one)
    assert [] == told


def test_failures_that_cross_add_up() -> None:
    """Three failures in a row of a provider are three, whoever saw them."""
    one, other = Memory(lambda: 100.0), Memory(lambda: 100.0)
    wired(one, other)
    wired(other, one)
    for memory in (one, other, one):
        assert 0 == memory.health.cooling("p")
        memory.failed("p", "", refusal(503))
    assert (10.0, 10.0) == (one.health.cooling("p"), other.health.cooling("p"))


def test_choices_that_cross() -> None:
    """Of two choices for one session at nearly the same moment both end with the later one; no turn is lost."""
    one, other = Memory(lambda: 1.0), Memory(lambda: 2.0)
    told: dict[str, list[Update]] = {"one": [], "other": []}
    one.tell, other.tell = told["one"].append, told["other"].append
    one.chose("p", KEYS[0], "s", KEYS)
    other.chose("p", KEYS[1], "s", KEYS)
    one.hear(told["other"][0])
    other.hear(told["one"][0])
    assert ["key 2", "key 2"] == [memory.key("p", "s") for memory in (one, other)]
    assert [[1.0, 1.0]] * 2 == [[memory.turn("p", key) for key in KEYS] for memory in (one, other)]


@pytest.mark.parametrize("update", [[], ["what"], ["failed", "p"], ["used", 1, 2, 3], ["state", None, "x", None, 1, 2]])
def test_what_nobody_understands(update: Update, caplog: pytest.LogCaptureFixture) -> None:
    """An update that is none is left out, with a line in the log."""
    memory = Memory()
    memory.hear(update)
    assert "nobody understands" in caplog.text


def test_few_messages() -> None:
    """Success that changes nothing is not told, and neither are failures that say nothing of key or provider."""
    memory = Memory()
    told: list[Update] = []
    memory.tell = told.append
    memory.worked("p", "key 1")
    memory.failed("p", "key 1", refusal(400))
    memory.chose("p", KEYS[0], None)
    memory.learn("p", "m", refusal(400, "the request is bad"), {"a": 1})
    assert [] == told
