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
        runs: list[Run] = []
        for stage in reversed(self._stages):
            runs.append(_run(stage, runs[-1] if runs else None))
        self._runs = tuple(reversed(runs))

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

    def push(self, item: Any, out: list[Any]) -> None:
        """Like :meth:`feed`, but append to ``out``: after an exception ``out`` holds what was finished before it."""
        self._runs[0](item, out)

    def end(self, out: list[Any]) -> None:
        """Like :meth:`flush`, but append to ``out``."""
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


def _run(stage: Stage, following: Run | None) -> Run:
    """Carrying one item through ``stage`` and all that follow; a function of its own for each place, for speed."""
    feed = stage.feed

    def last(item: Any, out: list[Any]) -> None:
        try:
            out += feed(item)
        except CcrError:
            raise
        except Exception as error:
            raise PluginError(stage.plugin, stage.step, "feed", error) from error

    if following is None:
        return last

    def run(item: Any, out: list[Any]) -> None:
        try:
            for given in feed(item):
                following(given, out)
        except CcrError:
            raise
        except Exception as error:
            raise PluginError(stage.plugin, stage.step, "feed", error) from error

    return run
