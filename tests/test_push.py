"""Stages in a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import Pipe, PluginError, ProtocolError, Push, Stage


class Times(Push[int, int]):
    """Gives each item ``count`` times, and ``rest`` at the end."""

    def __init__(self, count: int, rest: int | None = None) -> None:
        self.count = count
        self.rest = rest

    def feed(self, item: int) -> Iterable[int]:
        return [item] * self.count

    def flush(self) -> Iterable[int]:
        return () if self.rest is None else (self.rest,)


class FailsAt(Push[int, int]):
    """Gives items one by one, and fails at ``bad``, after giving its negative."""

    def __init__(self, bad: int | None, error: Exception | None = None) -> None:
        self.bad = bad
        self.error = error or ValueError("bad item")

    def feed(self, item: int) -> Iterable[int]:
        if item == self.bad:
            yield -item
            raise self.error
        yield item

    def flush(self) -> Iterable[int]:
        if self.bad is None:
            yield 99
            raise self.error


def pipe(*stages: Push[Any, Any]) -> Pipe:
    return Pipe([Stage.of(stage, f"step-{place}", f"plugin-{place}") for place, stage in enumerate(stages)])


def test_a_stage_gives_nothing_at_its_end_by_default() -> None:
    """A stage needs no ``flush`` of its own."""
    assert [] == list(Push[int, int]().flush())


def test_a_stage_must_say_what_it_gives() -> None:
    """``feed`` has no default."""
    with pytest.raises(NotImplementedError):
        Push[int, int]().feed(1)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 9)), max_size=4),
    st.lists(st.integers(), max_size=4),
)
def test_a_row_is_the_composition(stages: list[tuple[int, int | None]], items: list[int]) -> None:
    """A pipe gives what one stage after another, each with all its input at once, would give."""
    expected = list(items)
    for count, rest in stages:
        expected = [item for item in expected for _ in range(count)] + ([] if rest is None else [rest])
    whole = pipe(*(Times(count, rest) for count, rest in stages))

    assert expected == [*(given for item in items for given in whole.feed(item)), *whole.flush()]


def test_no_stages() -> None:
    """A pipe without stages gives what it takes."""
    assert [7] == [*Pipe([]).feed(7), *Pipe([]).flush()]


def test_depth_first() -> None:
    """An item goes through all stages before the stage before makes its next one."""
    seen: list[str] = []

    class Loud(Push[int, int]):
        def __init__(self, name: str) -> None:
            self.name = name

        def feed(self, item: int) -> Iterable[int]:
            for number in (item * 10, item * 10 + 1):
                seen.append(f"{self.name}{number}")
                yield number

    row = pipe(Loud("a"), Loud("b"))
    list(row.feed(1))

    assert ["a10", "b100", "b101", "a11", "b110", "b111"] == seen


def test_what_was_finished_before_a_failure_is_given() -> None:
    """The items made before an exception leave the pipe, and then the exception."""
    row = pipe(Times(2), FailsAt(2))
    assert [1, 1] == list(row.feed(1))

    given = iter(row.feed(2))
    assert -2 == next(given)
    with pytest.raises(PluginError):
        next(given)


def test_push_keeps_what_was_finished() -> None:
    """``push`` and ``end`` leave in the list what was finished before an exception."""
    out: list[int] = []
    row = pipe(Times(1), FailsAt(None), Times(2))
    row.push(1, out)

    with pytest.raises(PluginError):
        row.end(out)

    assert [1, 1, 99, 99] == out


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_failure_is_attributed(place: int) -> None:
    """An exception names the stage that raised it, wherever in the row it stands, and keeps its cause."""
    stages: list[Push[int, int]] = [Times(1), Times(1), Times(1)]
    stages[place] = FailsAt(5)

    with pytest.raises(PluginError) as caught:
        list(pipe(*stages).feed(5))

    error = caught.value
    assert (f"plugin-{place}", f"step-{place}", "feed") == (error.plugin, error.step, error.method)
    assert f"step-{place} (plugin plugin-{place}) failed in feed: ValueError: bad item" == error.message
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_failure_at_the_end_is_attributed(place: int) -> None:
    """An exception in ``flush`` names its stage."""
    stages: list[Push[int, int]] = [Times(1), Times(1), Times(1)]
    stages[place] = FailsAt(None)

    with pytest.raises(PluginError) as caught:
        list(pipe(*stages).flush())

    assert (f"step-{place}", "flush") == (caught.value.step, caught.value.method)


def test_a_failure_at_the_end_of_an_earlier_stage() -> None:
    """What a stage gives at its end, and a later one fails on, is the later one's failure."""
    with pytest.raises(PluginError) as caught:
        list(pipe(Times(1, rest=5), FailsAt(5)).flush())

    assert ("step-1", "feed") == (caught.value.step, caught.value.method)


@pytest.mark.parametrize("place", [0, 1])
def test_the_routers_own_errors_pass(place: int) -> None:
    """An error that the router itself understands is not wrapped."""
    stages: list[Push[int, int]] = [Times(1), Times(1)]
    stages[place] = FailsAt(5, ProtocolError("cut"))

    with pytest.raises(ProtocolError, match=r"^cut$"):
        list(pipe(*stages).feed(5))


@pytest.mark.parametrize("place", [0, 1])
def test_a_forgotten_return(place: int) -> None:
    """A stage that gives ``None`` is named; it does not lose items in silence."""

    class Forgetful(Push[int, int]):
        def feed(self, item: int) -> Iterable[int]:
            return None  # type: ignore[return-value]

    stages: list[Push[int, int]] = [Times(1), Times(1)]
    stages[place] = Forgetful()

    with pytest.raises(PluginError, match=f"step-{place} .* failed in feed: TypeError"):
        list(pipe(*stages).feed(5))
