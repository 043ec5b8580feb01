"""The provider stand-in: answers model calls from pre-serialised bytes, faster than anything measured.

It answers `POST` on the paths of `payload.PATHS`, streamed or plain as the request body asks.  The shape of
the answers is set by start-up options, changed for all later requests by `/control?events=…&delay=…&size=…`,
or for one request by the same names in its own query:

    events   number of text deltas
    size     characters of each delta; 0: a few, as models stream them
    delay    milliseconds from one delta to the next; 0: the whole answer at once, in `writes` writes
    writes   0: each delta by itself, without waiting

`/control` answers with the counters: what was asked, is being answered, was sent, was broken off by the caller.
"""

import argparse
import asyncio
import json
from typing import Any, cast
from urllib.parse import parse_qsl

import attrs
import httptools

from . import serving
from .payload import GEMINI, PATHS, Answer, answer


@attrs.frozen
class Shape:
    """What the answers look like; the fields are those of the module's docstring."""

    events: int = 200
    size: int = 0
    delay: float = 0.0
    writes: int = 8

    def changed(self, query: bytes) -> "Shape":
        """Return this shape with the numbers a query string gives; other names in it are ignored."""
        given = {key: value for key, value in parse_qsl(query.decode()) if key in ("events", "size", "delay", "writes")}
        if not given:
            return self
        delay = float(given.pop("delay", self.delay))
        return attrs.evolve(self, delay=delay, **{key: int(value) for key, value in given.items()})


@attrs.define
class State:
    """The shape of the next answers, and what happened so far."""

    shape: Shape
    requests: int = 0
    active: int = 0
    peak: int = 0
    finished: int = 0
    broken_off: int = 0
    events_sent: int = 0
    bytes_sent: int = 0
    """Of answers without delay: what the caller's side has taken, or has room for."""
    request_bytes: int = 0
    smallest_request: int = 0
    connections: int = 0
    connections_made: int = 0

    def began(self, length: int) -> None:
        self.requests += 1
        self.active += 1
        self.peak = max(self.peak, self.active)
        self.request_bytes += length
        self.smallest_request = min(self.smallest_request or length, length)

    def report(self) -> dict[str, Any]:
        return attrs.asdict(self)

    def reset(self) -> None:
        """Start counting anew; what is going on now stays counted."""
        self.requests = self.finished = self.broken_off = self.events_sent = self.bytes_sent = 0
        self.request_bytes = self.smallest_request = self.connections_made = 0
        self.peak = self.active


_READ = memoryview(bytearray(65536))
"""Where every connection reads into; what is there is dealt with before anything else is read."""


class Connection(asyncio.BufferedProtocol):
    """One connection from the program under test.

    The rest of a long body is read to its place without a look at it.  With a buffer for each read and a parser in
    between, a conversation of 300 kB takes this program twice the time, on the cores that the measured one needs.
    """

    transport: asyncio.Transport

    def __init__(self, state: State) -> None:
        self.state = state
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.length = 0
        self.body = bytearray()
        self.filled = 0
        self.direct = False
        self.answering = False
        self.keep_alive = True
        self.timer: asyncio.Handle | None = None
        self.paused = False
        self.rest: tuple[list[bytes], int] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)
        self.state.connections += 1
        self.state.connections_made += 1

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self.body)[self.filled : self.length] if self.direct else _READ

    def buffer_updated(self, nbytes: int) -> None:
        if self.direct:
            self.filled += nbytes
            if self.filled == self.length:
                self.direct = False
                self._complete()
                self.parser = httptools.HttpRequestParser(self)
            return
        try:
            self.parser.feed_data(_READ[:nbytes])
        except httptools.HttpParserError:
            self._reply(b"400 Bad Request", {"error": {"message": "not HTTP"}})
            self.transport.close()
        self.direct = 0 < self.filled < self.length

    def connection_lost(self, exc: Exception | None) -> None:
        self.state.connections -= 1
        if self.timer:
            self.timer.cancel()
        if self.answering:
            self.answering = False
            self.state.active -= 1
            self.state.broken_off += 1

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self.rest is not None:
            rest, self.rest = self.rest, None
            self._write(*rest)

    # httptools

    def on_message_begin(self) -> None:
        self.url, self.length, self.filled = b"", 0, 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-length":
            self.length = int(value)
            if self.length > len(self.body):
                self.body = bytearray(self.length)

    def on_headers_complete(self) -> None:
        self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body[self.filled : self.filled + len(body)] = body
        self.filled += len(body)

    def on_message_complete(self) -> None:
        self._complete()

    # answers

    def _complete(self) -> None:
        path, _, query = self.url.partition(b"?")
        dialect = PATHS.get(path.decode())
        if dialect and self.parser.get_method() == b"POST":
            streams = path.endswith(b":streamGenerateContent") if dialect == GEMINI else None
            self._answer_model_call(dialect, query, streams)
        elif path == b"/control":
            if b"reset" in query:
                self.state.reset()
            self.state.shape = self.state.shape.changed(query)
            self._reply(b"200 OK", self.state.report())
        elif path == b"/health":
            self._reply(b"200 OK", {"status": "ok"})
        else:
            self._reply(b"404 Not Found", {"error": {"message": "no such path"}})

    def _reply(self, status: bytes, value: object) -> None:
        body = json.dumps(value).encode()
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)
        )
        if not self.keep_alive:
            self.transport.close()

    def _answer_model_call(self, dialect: str, query: bytes, streams: bool | None) -> None:
        shape = self.state.shape.changed(query)
        self.state.began(self.filled)
        self.answering = True
        found = answer(dialect, shape.events, shape.size)
        if not (_wants_stream(self.body, self.filled) if streams is None else streams):
            self._write([found.plain], shape.events)
        elif shape.delay:
            self.transport.write(found.head + found.steps[0])
            self._pace(found, 1, asyncio.get_running_loop().time(), shape.delay / 1000)
        else:
            self._write(_burst(dialect, shape), shape.events)

    def _write(self, pieces: list[bytes], events: int) -> None:
        """Write the pieces of one answer, each in its own turn of the loop and when the one before is gone."""
        if self.paused:
            self.rest = pieces, events
            return
        self.transport.write(pieces[0])
        self.state.bytes_sent += len(pieces[0])
        if len(pieces) > 1:
            self.timer = asyncio.get_running_loop().call_soon(self._write, pieces[1:], events)
        else:
            self.state.events_sent += events
            self._finished()

    def _pace(self, found: Answer, step: int, began: float, delay: float) -> None:
        """Write one step when its time has come; the times are fixed, so that delays do not add up."""
        if step > 1:
            self.transport.write(found.steps[step - 1])
            self.state.events_sent += 1
        if step == len(found.steps):
            self._finished()
            return
        loop = asyncio.get_running_loop()
        self.timer = loop.call_at(began + step * delay, self._pace, found, step + 1, began, delay)

    def _finished(self) -> None:
        self.timer = None
        self.answering = False
        self.state.active -= 1
        self.state.finished += 1
        if not self.keep_alive:
            self.transport.close()


def _wants_stream(body: bytearray, length: int) -> bool:
    """Say whether the body asks for a stream; quoted text inside strings has its quotes escaped."""
    at = body.rfind(b'"stream"', 0, length)
    return at >= 0 and body[at + 8 : min(at + 16, length)].replace(b" ", b"").startswith(b":true")


_bursts: dict[tuple[str, Shape], list[bytes]] = {}


def _burst(dialect: str, shape: Shape) -> list[bytes]:
    key = (dialect, shape)
    if key not in _bursts:
        _bursts[key] = answer(dialect, shape.events, shape.size).writes(shape.writes)
    return _bursts[key]


def main() -> None:
    parser = argparse.ArgumentParser(description="provider stand-in of the benchmark")
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds")
    parser.add_argument("--writes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3600, help="stop after this time in any case")
    given = parser.parse_args()
    state = State(Shape(given.events, given.size, given.delay, given.writes))
    serving.run(serving.serve(lambda: Connection(state), given.seconds))


if __name__ == "__main__":
    main()
