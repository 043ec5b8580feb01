"""The load generator: many clients at once, each answer checked byte by byte.

It takes one JSON object (`Load`) as its argument and prints one JSON object (`Result`).  It runs as a process
of its own and reports its own CPU share, so that a run in which the generator was the limit is seen as such.
"""

import asyncio
import itertools
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import attrs
import httptools

from . import serving
from .payload import Checker, growing_body, request_body

_EVENT = b"event: content_block_delta"


@attrs.frozen(kw_only=True)
class Load:
    """What to send, and which answer to expect."""

    port: int
    path: str = "/v1/messages?beta=true"
    models: tuple[str, ...] = ("m",)
    """Taken in turn, request by request."""
    body_bytes: int = 60_000
    grow: bool = False
    """Whether each request is the one before with a message more."""
    stream: bool = True
    events: int = 200
    size: int = 0
    usage: bool = True
    """Whether a wrong number of output tokens is an error."""
    clients: int = 16
    requests: int | None = None
    """Stop when so many were sent; None: go on until `seconds` are over."""
    seconds: float = 120.0
    """No request begins after this time."""
    timeout: float = 60.0
    """Time limit of one request; passing it is an error."""
    stagger: float = 0.0
    """The clients begin spread over this time."""
    hang_up_every: int = 0
    """Each n-th request is broken off in the middle of its answer; 0: none."""
    first_number: int = 0


class Attempt(Exception):
    """How a request ended other than with a whole answer; the text goes into the count of errors."""


class Client(asyncio.Protocol):
    """One client with one kept-alive connection; sends its next request when the answer is complete."""

    transport: asyncio.Transport | None = None

    def __init__(self, load: Load) -> None:
        self.load = load
        self.done: asyncio.Future[None] | None = None

    async def ask(self, body: Sequence[bytes], hang_up_after: int) -> None:
        """Send one request and wait for its whole answer, in `status`, `chunks` and the times.

        The body comes in pieces, so that none of it is copied.  With `hang_up_after` above 0 the connection is cut
        when so many text deltas have come.
        """
        loop = asyncio.get_running_loop()
        if self.transport is None:
            try:
                await loop.create_connection(lambda: self, "127.0.0.1", self.load.port)
            except OSError as error:
                raise Attempt(f"cannot connect: {error.strerror}") from None
        assert self.transport is not None
        self.parser = httptools.HttpResponseParser(self)
        self.chunks: list[bytes] = []
        self.status = 0
        self.seen = 0
        self.hang_up_after = hang_up_after
        self.hung_up = False
        self.first_byte = self.first_text = 0.0
        self.done = loop.create_future()
        timer = loop.call_later(self.load.timeout, self._fail, "no complete answer in time")
        self.began = time.perf_counter()
        self.transport.writelines([_head(self.load, sum(map(len, body))), *body])
        try:
            await self.done
        finally:
            timer.cancel()
            self.done = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.done is None or self.done.done():
            return
        if not self.first_text:
            now = time.perf_counter()
            self.first_byte = self.first_byte or now
            if _EVENT in data:
                self.first_text = now
        if self.hang_up_after:
            self.seen += data.count(_EVENT)
            if self.seen >= self.hang_up_after:
                self.hung_up = True
                self.cut()
                self.done.set_result(None)
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)

    def on_message_complete(self) -> None:
        assert self.done is not None
        self.status = self.parser.get_status_code()
        if not self.parser.should_keep_alive() and self.transport:
            self.transport.close()
            self.transport = None
        self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._fail("connection lost in the middle of an answer")

    def _fail(self, problem: str) -> None:
        if self.done and not self.done.done():
            self.done.set_exception(Attempt(problem))
        self.cut()

    def cut(self) -> None:
        if self.transport:
            self.transport.abort()
            self.transport = None


def _head(load: Load, length: int) -> bytes:
    """Return the request head of a coding client."""
    return (
        f"POST {load.path} HTTP/1.1\r\nhost: 127.0.0.1:{load.port}\r\naccept: application/json\r\n"
        "content-type: application/json\r\nuser-agent: claude-cli/2.1.0 (external, cli)\r\n"
        "x-claude-code-session-id: 3f0c8a52-6d1e-4b7f-9a44-0c5d2e7b9f10\r\nanthropic-version: 2023-06-01\r\n"
        "anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14\r\nx-app: cli\r\n"
        "anthropic-dangerous-direct-browser-access: true\r\nauthorization: Bearer test\r\n"
        f"connection: keep-alive\r\naccept-encoding: gzip, deflate, br, zstd\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


@attrs.define
class Tally:
    """What came back, request by request."""

    right: int = 0
    hung_up: int = 0
    errors: Counter[str] = attrs.Factory(Counter)
    first_byte: list[float] = attrs.Factory(list)
    first_text: list[float] = attrs.Factory(list)
    whole: list[float] = attrs.Factory(list)

    def add(self, client: Client, checker: Checker) -> None:
        """Judge the answer that a client has just received."""
        if client.hung_up:
            self.hung_up += 1
            return
        ended = time.perf_counter()
        body = b"".join(client.chunks)
        if client.status != 200:
            problem: str | None = f"status {client.status}: {body[:200].decode(errors='replace')}"
        else:
            problem = checker.stream(body) if client.load.stream else checker.plain(body)
        if problem:
            self.errors[problem] += 1
            return
        self.right += 1
        self.first_byte.append(client.first_byte - client.began)
        if client.first_text:
            self.first_text.append(client.first_text - client.began)
        self.whole.append(ended - client.began)


def spread(values: list[float]) -> dict[str, float]:
    """Return median, 90th and 99th percentile and maximum in milliseconds."""
    if not values:
        return {}
    ordered = sorted(values)
    ranks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[max(0, math.ceil(rank * len(ordered)) - 1)] * 1000, 4) for name, rank in ranks.items()}


async def run(load: Load) -> dict[str, Any]:
    """Run the load to its end and return the result as JSON."""
    bodies = [
        growing_body(load.body_bytes, model) if load.grow else request_body(load.body_bytes, model, load.stream)
        for model in load.models
    ]
    checker = Checker(load.events, load.size, load.usage)
    tally = Tally()
    numbers = itertools.islice(itertools.count(load.first_number), load.requests)
    began = time.perf_counter()
    cpu = time.process_time()

    async def client(index: int) -> None:
        await asyncio.sleep(load.stagger * index / load.clients)
        own = Client(load)
        for number in numbers:
            if time.perf_counter() - began > load.seconds:
                break
            hang_up = load.hang_up_every and number % load.hang_up_every == 0
            # Spread over the first three quarters of the answer, so that it is never complete.
            after = 1 + number * 7 % max(1, load.events * 3 // 4) if hang_up else 0
            try:
                await own.ask(bodies[number % len(bodies)].pieces(number), after)
            except Attempt as end:
                tally.errors[str(end)] += 1
            else:
                tally.add(own, checker)
        own.cut()

    await asyncio.gather(*(client(index) for index in range(load.clients)))
    elapsed = time.perf_counter() - began
    return {
        "right": tally.right,
        "hung_up": tally.hung_up,
        "errors": sum(tally.errors.values()),
        "error_kinds": dict(tally.errors.most_common(5)),
        "elapsed": round(elapsed, 6),
        "per_second": round(tally.right / elapsed, 2),
        "first_byte_ms": spread(tally.first_byte),
        "first_text_ms": spread(tally.first_text),
        "whole_ms": spread(tally.whole),
        "own_cpu_share": round((time.process_time() - cpu) / elapsed, 3),
    }


def main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    print(json.dumps(serving.run(run(load))))


if __name__ == "__main__":
    main()
