"""The workers of one router, as seen by one of them: what they tell each other, and how connections come to them.

``ccr start --workers N`` runs N processes like this one under a supervisor (:mod:`ccr_core.workers`), which accepts
connections and hands each to a worker.  Every worker has an *inbox*, a Unix datagram socket into which all others
write directly.  Rules:

* what an answer has taught (a cool-down, a session's usage) is in every inbox before the client gets the end of that
  answer, and an inbox is emptied before a request is served.  So whatever a client can have noticed is known to the
  worker that it asks next, as it is with one process;
* a message is a JSON array; nothing is told for what streams, and nobody waits for an answer to a message in order to
  serve a request;
* a worker that does not read, because it is busy, gets what it missed as soon as it reads again, in order;
* a worker that takes the place of one that died asks the others for what they know before it serves;
* when the supervisor is gone, the worker ends: nothing is left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import orjson

from ccr_core.memory import Memory, Update
from ccr_core.workers import BUFFER, Place

log = logging.getLogger("ccr.workers")

WAITING = 10_000
"""The most messages kept for a worker that does not read."""

LENT = socket.CMSG_SPACE(4) if hasattr(socket, "CMSG_SPACE") else 0
"""Room for the connection that a message may bring."""

AT_ONCE = 50
"""Updates in one message, where much is told."""

ANSWER_S = 1.0
"""Seconds that the others have to answer a question."""

CATCH_UP_S = 3.0
"""Seconds that a new worker waits for what the others know."""


class Peers:
    """The other workers.  ``answers`` are questions that this one can be asked, ``told`` what it does on a word."""

    def __init__(self, number: int, inbox: socket.socket, inboxes: Mapping[int, socket.socket]) -> None:
        self.number = number
        self.answers: dict[str, Callable[[], Any]] = {}
        self.told: dict[str, Callable[[], None]] = {}
        self.adopt: Callable[[socket.socket], None] | None = None
        """Serves a connection that another worker lends."""
        self._inbox = inbox
        self._inboxes = inboxes
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._waiting: dict[int, deque[bytes]] = {other: deque() for other in inboxes}
        self._behind: set[int] = set()
        self._memories: dict[str, Memory] = {}
        self._asked = 0
        self._open: dict[int, tuple[dict[int, Any], asyncio.Future[None]]] = {}
        self._caught_up: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # Telling.

    def join(self, name: str, memory: Memory) -> None:
        """Share a memory with those of the same name in the other workers, and learn what they know."""
        self._memories[name] = memory
        memory.tell = lambda update: self._tell(["news", name, update])
        if name:
            self._tell(["hello", self.number, name])

    def leave(self, name: str) -> None:
        """The memory of this name is not used any more."""
        memory = self._memories.pop(name, None)
        if memory is not None:
            memory.tell = None

    def say(self, word: str) -> None:
        """Make the others do what their ``told`` has for ``word``."""
        self._tell(["word", word])

    def lend(self, other: int, connection: socket.socket) -> None:
        """Give a connection to another worker; ``OSError`` if it cannot take it now."""
        socket.send_fds(self._inboxes[other], [orjson.dumps(["connection"])], [connection.fileno()])

    async def ask(self, question: str, seconds: float = ANSWER_S) -> dict[int, Any]:
        """What each of the others answers, by their number; those that are silent for ``seconds`` are missing."""
        if not self._inboxes:
            return {}
        self._asked += 1
        number, found = self._asked, dict[int, Any]()
        complete = asyncio.get_running_loop().create_future()
        self._open[number] = (found, complete)
        self._tell(["ask", self.number, number, question])
        try:
            async with asyncio.timeout(seconds):
                await complete
        except TimeoutError:
            pass
        finally:
            del self._open[number]
        return found

    def _tell(self, message: list[Any]) -> None:
        data = orjson.dumps(message)
        for other in self._inboxes:
            self._send(other, data)

    def _tell_one(self, other: int, message: list[Any]) -> None:
        if other in self._inboxes:
            self._send(other, orjson.dumps(message))

    def _send(self, other: int, data: bytes) -> None:
        waiting = self._waiting[other]
        if not waiting:
            try:
                self._inboxes[other].send(data)
                self._behind.discard(other)
                return
            except BlockingIOError:
                pass
            except OSError as error:
                log.error("worker %s cannot be told something: %s", other, error)
                return
        if len(waiting) >= WAITING:
            if other not in self._behind:
                self._behind.add(other)
                log.warning("worker %s does not read what it is told; it misses news until it does", other)
            return
        waiting.append(data)
        if len(waiting) == 1 and self._loop is not None:
            self._loop.add_writer(self._inboxes[other], self._send_on, other)

    def _send_on(self, other: int) -> None:
        waiting = self._waiting[other]
        with contextlib.suppress(BlockingIOError):
            while waiting:
                self._inboxes[other].send(waiting[0])
                waiting.popleft()
        if not waiting and self._loop is not None:
            self._loop.remove_writer(self._inboxes[other])

    # Hearing.

    async def begin(self, serving: Iterable[int] = ()) -> None:
        """Read the inbox whenever something comes, on the running loop.

        A worker that begins while others are ``serving`` first learns what these know.
        """
        others = [other for other in serving if other in self._inboxes]
        if others:
            with contextlib.suppress(BlockingIOError):
                while True:  # what was meant for the one before is in what they know
                    self._inbox.recv_into(self._buffer)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._inbox, self.drain)
        for other, waiting in self._waiting.items():
            if waiting:
                self._loop.add_writer(self._inboxes[other], self._send_on, other)
        if others:
            self._caught_up = asyncio.Event()
            for other in others:
                self._tell_one(other, ["hello", self.number, None])
            try:
                async with asyncio.timeout(CATCH_UP_S):
                    await self._caught_up.wait()
            except TimeoutError:
                log.warning("no other worker has said in time what it knows; this one begins anew")

    def close(self) -> None:
        """Hear and say nothing any more."""
        if self._loop is not None:
            self._loop.remove_reader(self._inbox)
            for other in self._inboxes.values():
                self._loop.remove_writer(other)
            self._loop = None

    def drain(self) -> None:
        """Take in all that has been told so far."""
        while True:
            try:
                size, lent, _, _ = self._inbox.recvmsg_into([self._buffer], LENT)
            except BlockingIOError:
                return
            if lent:
                self._adopt(lent)
                continue
            try:
                self._heard(*orjson.loads(self._view[:size]))
            except Exception:
                log.exception("a message of another worker is left out")

    def _adopt(self, lent: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in lent:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for (file,) in struct.iter_unpack("i", data[: len(data) // 4 * 4]):
                    connection = socket.socket(fileno=file)
                    if self.adopt is None:
                        connection.close()
                    else:
                        self.adopt(connection)

    def _heard(self, kind: str, *rest: Any) -> None:
        if kind == "news":
            memory = self._memories.get(rest[0])
            if memory is not None:
                for update in rest[1:]:
                    memory.hear(update)
        elif kind == "word":
            self.told.get(rest[0], _nothing)()
        elif kind == "ask":
            other, number, question = rest
            answer = self.answers[question]() if question in self.answers else None
            self._tell_one(other, ["answer", self.number, number, answer])
        elif kind == "answer":
            other, number, answer = rest
            found, complete = self._open.get(number, ({}, None))
            found[other] = answer
            if complete is not None and len(found) == len(self._inboxes) and not complete.done():
                complete.set_result(None)
        elif kind == "hello":
            other, wanted = rest
            for name in self._memories if wanted is None else (wanted,):
                if name in self._memories:
                    self._tell_all_of(other, name)
            if wanted is None:
                self._tell_one(other, ["whole"])
        elif kind == "whole" and self._caught_up is not None:
            self._caught_up.set()

    def _tell_all_of(self, other: int, name: str) -> None:
        batch: list[Update] = []
        for update in self._memories[name].updates():
            batch.append(update)
            if len(batch) == AT_ONCE:
                self._tell_one(other, ["news", name, *batch])
                batch = []
        if batch:
            self._tell_one(other, ["news", name, *batch])


def _nothing() -> None:
    """An unknown word: another worker may be of a newer version for a moment."""


class Control:
    """A worker's line to its supervisor: connections come down, words go up."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    def listen(self, adopt: Callable[[socket.socket], None], ended: Callable[[], None]) -> None:
        """Call ``adopt`` with each connection, and ``ended`` once when the supervisor is gone."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            while True:
                try:
                    data, files, _, _ = socket.recv_fds(self._sock, 64, 16)
                except BlockingIOError:
                    return
                except OSError:
                    data, files = b"", []
                for file in files:
                    adopt(socket.socket(fileno=file))
                if not data:
                    loop.remove_reader(self._sock)
                    ended()
                    return

        loop.add_reader(self._sock, read)

    def say(self, *words: Any) -> None:
        """Tell the supervisor a line; one that is gone or full of them need not know."""
        with contextlib.suppress(OSError):
            self._sock.send(orjson.dumps(words) + b"\n")


@attrs.frozen
class Post:
    """A worker in its place: how a process becomes one."""

    place: Place
    control: Control
    peers: Peers

    @classmethod
    def take(cls, place: Place) -> Post:
        """Use the sockets that were inherited; they are not passed on to programs that this process starts."""
        files = [place.control, place.inbox, *place.inboxes.values()]
        for file in files:
            os.set_inheritable(file, False)
        control, inbox, *others = (socket.socket(fileno=file) for file in files)
        inboxes = dict(zip(place.inboxes, others, strict=True))
        return cls(place, Control(control), Peers(place.number, inbox, inboxes))
