"""The one shape of everything that streams: ``feed(item) -> items`` and ``flush() -> items``.

A stage takes one item and gives any number of items, at once and without waiting: no event loop, no socket, no
clock.  ``flush()`` says that no more input will come.  It does **not** say that all is well: a stage that has not
seen its end mark raises there, or else a cut connection would look like a finished answer.

:class:`Pipe` puts stages in a row and goes *depth first*: what a stage gives is carried through all later stages
before its next item is made, so whatever was finished before a failure has already left the pipe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from ccr_core.errors import CcrError, PluginError

In = TypeVar("In")
Out = TypeVar("Out")

Run: TypeAlias = Callable[[Any, list[Any]], None]


class Push(Generic[In, Out]):
    """A stage of a stream.  Made for one stream and used once, so state on ``self`` is safe."""

    def feed(self, item: In) -> Iterable[Out]:
        """Take one item; give what can be given now."""
        raise NotImplementedError

    def flush(self) -> Iterable[Out]:
        """No more input will come: give the rest, or raise if the input ended too early."""
        return ()


@attrs.frozen
class Stage:
    """A stage in its place in a pipe, with the names that an error message needs."""

    feed: Callable[[Any], Iterable[Any]]
    flush: Callable[[], Iterable[Any]]
    step: str
    plugin: str
    run: Run | None = None
    """``feed`` for the last stage of a row: it appends what it gives, and names who is at fault itself."""

    @classmethod
    def of(cls, push: Push[Any, Any], step: str, plugin: str = "ccr-core") -> Stage:
        """Place ``push`` under the name ``step``, contributed by distribution ``plugin``."""
        return cls(push.feed, push.flush, step, plugin)


class Pipe(Push[Any, Any]):
    """Stages in a row, which together are one stage again.

    An exception that is not a :class:`~ccr_core.errors.CcrError` becomes a ``PluginError`` naming the stage.  A pipe
    without stages gives what it takes.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages) or (Stage(lambda item: (item,), lambda: (), "nothing", "ccr-core"),)
        # From each place on: at the end every stage still gives something.
        end = len(self._stages) - 1
        runs = [_last(self._stages[end])] * (end + 1)
        for place in reversed(range(end)):
            upto = min(place + 3, end)
            runs[place] = _row(self._stages[place:upto], runs[upto])
        self._runs = runs
        self.push: Run = self._runs[0]
        """Like :meth:`feed`, but append to the list given: after an exception it holds what was finished before it."""

    def feed(self, item: Any) -> Iterable[Any]:
        """Carry ``item`` through every stage."""
        out: list[Any] = []
        try:
            self.push(item, out)
        except CcrError:
            yield from out
            raise
        yield from out

    def flush(self) -> Iterable[Any]:
        """End every stage, first to last; what each still gives goes through the stages after it."""
        out: list[Any] = []
        try:
            self.end(out)
        except CcrError:
            yield from out
            raise
        yield from out

    def end(self, out: list[Any]) -> None:
        """Like :meth:`flush`, but append to ``out``, as :attr:`push` does."""
        for place, stage in enumerate(self._stages):
            try:
                for item in stage.flush():
                    if place + 1 < len(self._runs):
                        self._runs[place + 1](item, out)
                    else:
                        out.append(item)
            except CcrError:
                raise
            except Exception as error:
                raise PluginError(stage.plugin, stage.step, "flush", error) from error


def _last(stage: Stage) -> Run:
    """Carrying one item through the last stage of a row."""
    feed = stage.feed

    def last(item: Any, out: list[Any]) -> None:
        try:
            out += feed(item)
        except CcrError:
            raise
        except Exception as error:
            raise _failed(stage, error) from error

    return stage.run or last


def _row(stages: Sequence[Stage], following: Run) -> Run:
    """Carrying one item through one to three ``stages``, and all that they give through what is ``following``.

    Three in one function, because each item goes through all of them, and a call takes as long as much of their work.
    """
    first = stages[0]
    feed = first.feed

    def one(item: Any, out: list[Any]) -> None:
        try:
            for given in feed(item):
                following(given, out)
        except CcrError:
            raise
        except Exception as error:
            raise _failed(first, error) from error

    if len(stages) == 1:
        return one
    second = stages[1]
    feed_second = second.feed

    def two(item: Any, out: list[Any]) -> None:
        try:
            for given in feed(item):
                try:
                    for passed in feed_second(given):
                        following(passed, out)
                except CcrError:
                    raise
                except Exception as error:
                    raise _failed(second, error) from error
        except CcrError:
            raise
        except Exception as error:
            raise _failed(first, error) from error

    if len(stages) == 2:
        return two
    third = stages[2]
    feed_third = third.feed

    def three(item: Any, out: list[Any]) -> None:
        try:
            for given in feed(item):
                try:
                    for passed in feed_second(given):
                        try:
                            for event in feed_third(passed):
                                following(event, out)
                        except CcrError:
                            raise
                        except Exception as error:
                            raise _failed(third, error) from error
                except CcrError:
                    raise
                except Exception as error:
                    raise _failed(second, error) from error
        except CcrError:
            raise
        except Exception as error:
            raise _failed(first, error) from error

    return three


def _failed(stage: Stage, error: Exception) -> PluginError:
    return PluginError(stage.plugin, stage.step, "feed", error)
