"""The supervisor of several workers: one socket that listens, N processes that serve.

``ccr start --workers N`` becomes this process.  It accepts connections and hands each to the worker that has the
fewest, so that they are spread evenly however they come; it looks into none of them.  (A listening socket that the
workers have in common, or one for each with ``SO_REUSEPORT``, spreads 16 connections as 16 and 0 now and then.)

Rules:

* nothing is accepted before every worker is ready, so that a configuration that cannot be used is told by one worker
  and ends the start, as it does without workers;
* a worker that ends is replaced, and the log says so; one that cannot begin is tried again after ever longer pauses,
  while the others serve.  Connections that nobody can take wait in the queue of the listening socket;
* workers hold the other end of a socket: they end when the supervisor is gone, however it went.  Their listening
  socket is never theirs, so the port is free at that moment;
* this process imports nothing of the server and has no event loop.
"""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

log = logging.getLogger("ccr.workers")

BUFFER = 256 * 1024
"""Bytes of a socket's buffer, and the most that a message may have."""

GRACE_S = 15.0
"""Seconds after which workers that were asked to end are ended: more than the server takes for unfinished answers."""

SHORT_S = 5.0
"""A worker that ends sooner than this after its start is started again after a pause."""

FULL_S = 0.05
"""Seconds until a connection that no worker could take is offered again."""


def possible() -> bool:
    """Whether this system can have several workers: it takes Unix sockets that pass connections on."""
    return os.name == "posix" and hasattr(socket, "send_fds")


@attrs.frozen(kw_only=True)
class Place:
    """What the supervisor gives a worker: its number from 1, its sockets, and who else there is.

    ``router`` is the number of the supervisor's process, which is that of the router for everybody else; ``inboxes``
    are the others' by their number; ``serving`` are those of them that can be asked for what they know; ``starts``
    counts how often a worker was started in this place.
    """

    number: int
    router: int
    control: int
    inbox: int
    inboxes: Mapping[int, int]
    serving: tuple[int, ...] = ()
    starts: int = 1

    @property
    def tells(self) -> bool:
        """Whether this worker says what all of them would say of the configuration and the plugins."""
        return self.number == 1 and self.starts == 1

    def everybody(self) -> list[int]:
        """The numbers of all workers."""
        return sorted([self.number, *self.inboxes])

    def to_text(self) -> str:
        """For the command line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def of_text(cls, text: str) -> Place:
        """What :meth:`to_text` wrote."""
        data = json.loads(text)
        inboxes = {int(number): each for number, each in data.pop("inboxes").items()}
        return cls(**{**data, "inboxes": inboxes, "serving": tuple(data["serving"])})


def pair() -> tuple[socket.socket, socket.socket]:
    """An inbox and the socket that others write into; neither blocks."""
    both = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for each in both:
        each.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    return both


@attrs.define
class _Worker:
    """A place for a worker, and the process in it."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    control: socket.socket | None = None
    ready: bool = False
    connections: int = 0
    used: int = 0
    """When it got its last connection, counted in connections."""

    starts: int = 0
    began: float = 0.0
    short: int = 0
    """How often in a row it ended soon."""

    again: float | None = None
    said: bytes = b""


class Supervisor:
    """Runs ``count`` workers behind ``listener``.

    ``command`` gives the command line of the worker in a place; ``on_ready`` is called once, with what the first worker
    said of itself, when all of them are ready.
    """

    def __init__(
        self,
        listener: socket.socket,
        count: int,
        command: Callable[[Place], Sequence[str]],
        on_ready: Callable[[dict[str, Any]], None],
    ) -> None:
        self._listener = listener
        self._command = command
        self._on_ready = on_ready
        self._workers = {number: _Worker(number) for number in range(1, count + 1)}
        self._inboxes = {number: pair() for number in self._workers}
        self._selector = selectors.DefaultSelector()
        self._signals: collections.deque[int] = collections.deque()
        self._held: socket.socket | None = None
        self._passed = 0
        self._served = False
        self._ending = False
        self._about: dict[str, Any] = {}

    def run(self) -> int:
        """Serve until a signal comes; give the exit code."""
        self._listener.setblocking(False)
        woken, wake = socket.socketpair()
        woken.setblocking(False)
        wake.setblocking(False)
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGTERM, signal.SIGINT)}
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(4096))
        try:
            self._start(self._workers[1])
            code = self._serve()
            self._end()
            return code
        finally:
            for worker in self._workers.values():
                if worker.process is not None and worker.process.poll() is None:
                    worker.process.kill()
                    worker.process.wait()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            woken.close()
            wake.close()

    def _signalled(self, number: int, frame: object) -> None:
        self._signals.append(number)

    def _serve(self) -> int:
        while not self._signals:
            self._wait()
            for worker in self._workers.values():
                if worker.process is None and worker.starts and not self._served:
                    return 1  # it has said why
                if worker.again is not None and time.monotonic() >= worker.again:
                    self._start(worker)
            if not self._served and self._workers[1].ready:
                for worker in self._workers.values():
                    if not worker.starts:
                        self._start(worker)
                if all(worker.ready for worker in self._workers.values()):
                    self._served = True
                    self._on_ready(self._about)
                    self._open(True)
        return 0

    def _wait(self) -> None:
        """Do what is to be done next, or wait until it is time to start a worker again."""
        times = [worker.again for worker in self._workers.values() if worker.again is not None]
        seconds = max(0.0, min(times) - time.monotonic()) if times else None
        if self._held is not None:
            seconds = FULL_S
        for key, _ in self._selector.select(seconds):
            key.data()
        if self._held is not None and self._pass(self._held):
            self._held = None
            self._open(True)

    # Workers.

    def _start(self, worker: _Worker) -> None:
        mine, control = socket.socketpair()
        mine.setblocking(False)
        for each in (mine, control):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        inbox = self._inboxes[worker.number][0].fileno()
        inboxes = {number: both[1].fileno() for number, both in self._inboxes.items() if number != worker.number}
        worker.starts += 1
        place = Place(
            number=worker.number,
            router=os.getpid(),
            control=control.fileno(),
            inbox=inbox,
            inboxes=inboxes,
            serving=tuple(other.number for other in self._workers.values() if other.ready and other is not worker),
            starts=worker.starts,
        )
        worker.ready, worker.again, worker.said, worker.connections = False, None, b"", 0
        worker.began = time.monotonic()
        with control:
            worker.process = subprocess.Popen(
                self._command(place),
                stdin=subprocess.DEVNULL,
                pass_fds=[place.control, inbox, *inboxes.values()],
            )
        worker.control = mine
        self._selector.register(mine, selectors.EVENT_READ, lambda: self._heard(worker))

    def _heard(self, worker: _Worker) -> None:
        """Take what a worker says; the end of its line is its end."""
        assert worker.control is not None
        try:
            data = worker.control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._ended(worker)
            return
        *lines, worker.said = (worker.said + data).split(b"\n")
        for line in lines:
            word, *rest = json.loads(line)
            if word == "ready":
                worker.ready = True
                self._about = self._about or rest[0]
                if worker.starts > 1:
                    assert worker.process is not None
                    log.warning("worker %d serves again (pid %d)", worker.number, worker.process.pid)
                    self._open(True)
            elif word == "closed":
                worker.connections -= 1
            elif word == "ending":
                worker.ready = False

    def _ended(self, worker: _Worker) -> None:
        """A worker is gone: forget it, and see when it is to be replaced."""
        assert worker.control is not None
        assert worker.process is not None
        self._selector.unregister(worker.control)
        worker.control.close()
        process, worker.process, worker.control, worker.ready = worker.process, None, None, False
        try:
            code = process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if not self._served or self._ending:
            return
        worker.short = worker.short + 1 if time.monotonic() - worker.began < SHORT_S else 0
        pause = min(30.0, 0.25 * 2 ** (worker.short - 1)) if worker.short else 0.0
        worker.again = time.monotonic() + pause
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        log.error(
            "worker %d (pid %d) ended (%s) with %d connections; another is started%s",
            *(worker.number, process.pid, how, worker.connections, f" in {pause:g} s" if pause else ""),
        )

    # Connections.

    def _open(self, wanted: bool) -> None:
        """Accept connections, or leave them in the queue of the socket."""
        is_open = self._listener in self._selector.get_map()
        if wanted and not is_open and self._served:
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        elif is_open and not wanted:
            self._selector.unregister(self._listener)

    def _accept(self) -> None:
        for _ in range(64):
            if not any(worker.ready for worker in self._workers.values()):
                self._open(False)
                return
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Too many files, or a client that is gone already: whatever it is, it passes.
                log.warning("a connection could not be accepted: %s", error)
                time.sleep(FULL_S)
                return
            if not self._pass(connection):
                self._held = connection
                self._open(False)
                return

    def _pass(self, connection: socket.socket) -> bool:
        """Hand a connection to the worker with the fewest; whether one could take it."""
        ready = [worker for worker in self._workers.values() if worker.ready]
        for worker in sorted(ready, key=lambda worker: (worker.connections, worker.used)):
            assert worker.control is not None
            with contextlib.suppress(OSError):
                socket.send_fds(worker.control, [b"c"], [connection.fileno()])
                self._passed += 1
                worker.connections, worker.used = worker.connections + 1, self._passed
                connection.close()
                return True
        return False

    # The end.

    def _end(self) -> None:
        """Ask the workers to finish, wait for them, and end those that do not."""
        self._ending = True
        self._open(False)
        self._listener.close()
        if self._held is not None:
            self._held.close()
        # Ctrl-C reaches the workers by itself, and a second one would end them at once.
        self._signals.clear()
        self._tell(signal.SIGTERM)
        until = time.monotonic() + GRACE_S
        while any(worker.process is not None for worker in self._workers.values()):
            left = until - time.monotonic()
            if left <= 0:
                for worker in self._workers.values():
                    if worker.process is not None:
                        log.error("worker %d (pid %d) did not end; it is killed", worker.number, worker.process.pid)
                return
            for key, _ in self._selector.select(left):
                key.data()
            while self._signals:
                self._tell(self._signals.popleft())

    def _tell(self, number: int) -> None:
        for worker in self._workers.values():
            if worker.process is not None and worker.process.poll() is None:
                worker.process.send_signal(number)
