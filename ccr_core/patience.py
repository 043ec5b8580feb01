"""A time limit for each of very many short waits, for almost nothing.

``asyncio.timeout`` sets and cancels a timer for every wait, which costs as much as converting an event.  Here one
timer serves a whole stream: when it fires it looks how long the current wait has lasted, and sleeps on if that is not
long enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType


class Patience:
    """Ends a wait of the current task that lasts longer than ``seconds``.  Use::

    with Patience(15) as patience:
        patience.begin()
        try:
            data = await reply.read()
        except asyncio.CancelledError:
            if not patience.lost():
                raise
            ...  # nothing came in time
        patience.end()
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task is not None else 0
        self._since = 0.0
        self._heard: Callable[[], bool] | None = None
        self._waiting = False
        self._lost = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Patience:
        self._timer = self._loop.call_later(self._seconds, self._look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting = False
        if self._timer is not None:
            self._timer.cancel()

    def begin(self, heard: Callable[[], bool] | None = None) -> None:
        """A wait begins: for one thing, or for one after another; then ``heard`` says whether one has come since it
        was asked last."""
        self._since = self._loop.time()
        self._heard = heard
        self._waiting = True

    def end(self) -> None:
        """The wait is over."""
        self._waiting = False

    def lost(self) -> bool:
        """Whether the wait was ended from here, and not by somebody who cancelled the task."""
        self._waiting = False
        if not self._lost:
            return False
        self._lost = False
        assert self._task is not None
        return self._task.uncancel() <= self._cancelling

    def _look(self) -> None:
        now = self._loop.time()
        if not self._waiting or (self._heard is not None and self._heard()):
            self._since = now
        due = self._since + self._seconds
        if due <= now and self._task is not None:
            self._lost = True
            self._waiting = False
            self._task.cancel()
            due = now + self._seconds
        if self._heard is not None:
            # When exactly the last thing came is not known: looking more often than needed makes up for that.
            due = min(due, now + self._seconds / 4)
        self._timer = self._loop.call_at(due, self._look)
