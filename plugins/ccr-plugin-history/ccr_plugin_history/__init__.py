"""The history of requests: an observer that keeps them in an SQLite file, commands that read it, and pages for a UI.

Rules of this package:

* whoever tells the observer something never waits: it puts what it is told into a queue, and a thread of its own folds
  that into rows and writes them about twice a second, sooner if much waits, in one transaction;
* the disk is never anybody's problem: a failure is logged once, what could not be written is counted, and the count
  is in the file as soon as writing works again;
* the file is the truth, and several routers may write it: nothing that is read comes from a process's memory;
* prompts and answers are kept only where the configuration says so; headers and keys never are.

``store`` knows the file, ``writer`` writes it, ``query`` reads it, ``commands`` and ``pages`` show what was read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from ccr_core import (
    Answered,
    Arrived,
    Body,
    Failed,
    Finished,
    Observation,
    Observer,
    ObserverSpec,
    PageSpec,
    Routed,
    Running,
    Sent,
    hookimpl,
)

log = logging.getLogger("ccr.history")

FILE = "history/history.sqlite3"
"""Where the file is, in the directory of ccr."""

TICK = 0.5
"""Seconds between two writes; what was told since the last one is lost if the process is killed."""

MANY = 1000
"""Observations that do not wait for the end of a tick, five for a request: some kB each, so that memory stays flat."""

LOOK = 0.1
"""Seconds after which it is looked whether so many wait; a tick has some of them."""

BEAT = 5.0
"""Seconds between two signs of life of a process that has requests under way."""

IDLE = 3600.0
"""Seconds between two looks for what is too old, in a router that has nothing to do."""

QUEUE = 50_000
"""The most observations that wait to be written."""

CLOSE_SECONDS = 3.0
"""How long the end waits for the last rows; a disk that hangs must not hang the router."""

MAIN = frozenset({Arrived, Routed, Sent, Answered, Finished, Failed})


@attrs.frozen
class Options:
    """``bodies``: keep requests and answers, ``body_kb`` kB of each; ``days`` and ``size_mb``: how much is kept."""

    bodies: bool = False
    body_kb: float = attrs.field(default=64.0, validator=attrs.validators.gt(0))
    days: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    size_mb: float = attrs.field(default=200.0, validator=attrs.validators.ge(1))


class History(Observer):
    """Writes the file.  The thread starts with the first exchange and ends with :meth:`close`."""

    def __init__(self, options: Options, home: Any) -> None:
        self.path = Path(home) / FILE
        self._options = options
        self._cap = int(options.body_kb * 1000) if options.bodies else 0
        self._queue: deque[Observation] = deque()
        self._dropped: deque[str] = deque()
        self._wake = threading.Event()
        self._end = threading.Event()
        self._settled = threading.Condition()
        self._told = self._writing = False
        self._thread: threading.Thread | None = None

    def on(self, observation: Observation) -> None:
        """Take an observation; return at once."""
        if len(self._queue) >= QUEUE:
            if isinstance(observation, Finished) and len(self._dropped) < QUEUE:
                self._dropped.append(observation.id)
            return
        if self._cap and isinstance(observation, Body):
            observation = attrs.evolve(observation, content=observation.content[: self._cap])
        self._queue.append(observation)
        if not self._told:
            # Setting the event costs more than all the rest here.
            self._told = True
            self._wake.set()
            if self._thread is None and not self._end.is_set():
                self._thread = threading.Thread(target=self._run, name="ccr-history", daemon=True)
                self._thread.start()

    def settle(self, seconds: float) -> bool:
        """Wait until all that was told so far was tried to write; whether that was so within ``seconds``."""
        with self._settled:
            return self._settled.wait_for(lambda: not (self._wake.is_set() or self._queue or self._writing), seconds)

    def close(self) -> None:
        """Write what still waits, and end."""
        self._end.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                log.warning("could not finish %s within %s seconds", self.path, CLOSE_SECONDS)

    def _run(self) -> None:
        from ccr_plugin_history.writer import Writer

        writer = Writer(self.path, self._options)
        wait: float | None = None
        while True:
            if self._wake.wait(wait):
                # What comes within a tick is written together, unless that is much: it is memory that waits here.
                until = time.monotonic() + TICK
                while len(self._queue) < MANY and (left := until - time.monotonic()) > 0:
                    if self._end.wait(min(LOOK, left)):
                        break
            closed = self._end.is_set()
            self._writing = True
            self._wake.clear()
            self._told = False
            # One by one, so that each is let go as soon as it is folded into its row.
            batch = (self._queue.popleft() for _ in range(len(self._queue)))
            dropped = [self._dropped.popleft() for _ in range(len(self._dropped))]
            wait = writer.step(batch, dropped, last=closed)
            with self._settled:
                self._writing = False
                self._settled.notify_all()
            if closed:
                return


def wants(options: Options | None) -> frozenset[type]:
    """The observations that are written; bodies only where the options say so."""
    return MAIN | {Body} if options is not None and options.bodies else MAIN


@hookimpl
def ccr_observers() -> Iterable[ObserverSpec]:
    """Offer the observer ``history``."""
    yield ObserverSpec(
        name="history",
        factory=History,
        options=Options,
        wants=wants,
        summary="Every request in history/history.sqlite3: where it went, why, how fast, at what price.",
    )


def application(options: None, router: Running) -> Any:
    """The application behind ``/api/history``."""
    from ccr_plugin_history.pages import Pages

    return Pages(router.home / FILE)


@hookimpl
def ccr_pages() -> Iterable[PageSpec]:
    """Offer the page ``history``: data for the web UI and for programs."""
    yield PageSpec(
        name="history",
        factory=application,
        path="/api/history",
        summary="Requests, sums and an overview, from the history.",
    )
