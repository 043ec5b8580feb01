"""A provider that answers as the test says, in memory, in place of the network.

Answers are queued and given in that order, one for each request::

    upstream.fail(429, retry_after=2).then.stream(recording, cut=7).drop_after(500)

A request for which nothing is queued fails the test, and so does an answer that nobody fetched.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ccr_core.dialect import WireRequest
from ccr_core.errors import UpstreamError, kind_of
from ccr_core.events import explode
from ccr_core.messages import JSON, Headers
from ccr_core.testing import samples
from ccr_core.testing.grammar import to_wire
from ccr_core.testing.recordings import Recording
from ccr_core.testing.samples import pieces
from ccr_core.upstream import Reply

EXCHANGE: contextvars.ContextVar[object | None] = contextvars.ContextVar("ccr_testing_exchange", default=None)
"""Which call of the harness is being served: it marks the requests that are sent on its behalf."""


@attrs.define(eq=False)
class Received:
    """A request as the provider received it.

    ``closed`` says that the router ended the connection before the answer was complete.
    """

    method: str
    url: str
    headers: Headers
    body: bytes = attrs.field(repr=False)
    exchange: object | None = attrs.field(default=None, repr=False)
    closed: bool = False
    _closing: asyncio.Event = attrs.field(factory=asyncio.Event, repr=False, init=False)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def close(self) -> None:
        """Note that the router ended the connection."""
        self.closed = True
        self._closing.set()

    async def until_closed(self, seconds: float = 2.0) -> None:
        """Wait until the router ends the connection; raise ``AssertionError`` if it does not."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            raise AssertionError(f"the router kept the connection to {self.url} open for {seconds:g} s") from None


@attrs.define
class _Answer:
    what: str
    status: int = 200
    headers: dict[str, str] = attrs.Factory(dict)
    chunks: list[bytes] = attrs.Factory(list)
    pause: float = 0.0
    end: str = "end"
    """``end``: complete; ``drop``: the connection breaks; ``hang``: silence."""
    reachable: bool = True
    silent: bool = False

    def shorten(self, size: int, end: str) -> None:
        rest = size
        kept = []
        for chunk in self.chunks:
            if rest > 0:
                kept.append(chunk[:rest])
                rest -= len(chunk)
        self.chunks, self.end = kept, end
        self.what += f", {end} after {size} bytes"


class Upstream:
    """The provider: a :class:`ccr_core.upstream.Sender` whose answers the test queues.

    ``requests`` are those that arrived.
    """

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self._queue: list[_Answer] = []
        self._last: _Answer | None = None
        self._unexpected: list[str] = []

    # What the test says.

    def reply(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Upstream:
        """Answer with a whole JSON body."""
        data = json.dumps(body, ensure_ascii=False).encode()
        return self._add(f"reply with status {status}", status, "application/json", [data], headers)

    def stream(
        self,
        source: Recording | Path | str | bytes | Sequence[bytes],
        *,
        cut: int | None = None,
        pause: float = 0.0,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Upstream:
        """Answer with a stream of server-sent events.

        ``source`` is a recording or its folder, a file, bytes, or the pieces in which they arrive; ``cut`` cuts them
        into pieces of so many bytes.  ``pause`` are seconds before each piece.
        """
        content_type = "text/event-stream"
        if isinstance(source, str | Path):
            path = Path(source)
            source = Recording.load(path) if path.is_dir() else path.read_bytes()
        if isinstance(source, Recording):
            status, content_type, source = source.status, source.content_type, source.response
        chunks = [source] if isinstance(source, bytes) else list(source)
        if cut is not None:
            chunks = list(pieces(b"".join(chunks), cut))
        self._add("stream", status, content_type, chunks, headers)
        self._change().pause = pause
        return self

    def fail(
        self,
        status: int,
        message: str = "the provider refused",
        *,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Upstream:
        """Refuse with ``status``, in the form of error that most providers use."""
        error = {"type": "error", "error": {"type": kind_of(status), "message": message}}
        more = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        return self.reply(error, status, {**more, **(headers or {})})

    def refuse(self) -> Upstream:
        """Be unreachable: no connection comes about."""
        self._add("refused connection", 0, "", [], None)
        self._change().reachable = False
        return self

    def hang(self) -> Upstream:
        """Accept the request and never answer."""
        self._add("silence", 200, "", [], None)
        self._change().silent = True
        return self

    def drop_after(self, size: int) -> Upstream:
        """Let the connection break after ``size`` bytes of the answer that was queued last."""
        self._change().shorten(size, "drop")
        return self

    def hang_after(self, size: int) -> Upstream:
        """Fall silent after ``size`` bytes of the answer that was queued last."""
        self._change().shorten(size, "hang")
        return self

    @property
    def then(self) -> Upstream:
        """Nothing; it makes a row of answers read well."""
        return self

    def verify(self) -> None:
        """Raise ``AssertionError`` for requests that nobody expected and answers that nobody fetched."""
        problems = [f"unexpected request: {what}" for what in self._unexpected]
        problems += [f"nobody fetched the {answer.what}" for answer in self._queue]
        self._unexpected.clear()
        self._queue.clear()
        if problems:
            raise AssertionError("upstream: " + "; ".join(problems))

    def _add(
        self, what: str, status: int, content_type: str, chunks: Iterable[bytes], headers: Mapping[str, str] | None
    ) -> Upstream:
        given = {name.lower(): value for name, value in (headers or {}).items()}
        self._last = _Answer(what, status, {"content-type": content_type, **given}, list(chunks))
        self._queue.append(self._last)
        return self

    def _change(self) -> _Answer:
        if self._last is None:
            raise AssertionError("queue an answer first: upstream.stream(…).drop_after(…)")
        return self._last

    # What the router calls.

    async def send(self, wire: WireRequest, body: bytes) -> Reply:
        """See :class:`ccr_core.upstream.Sender`."""
        headers = {name.lower(): value for name, value in wire.headers.items()}
        received = Received(wire.method, wire.url, headers, body, EXCHANGE.get())
        self.requests.append(received)
        if not self._queue:
            self._unexpected.append(f"number {len(self.requests)}, {wire.method} {wire.url}")
            raise UpstreamError(f"the test did not expect a request to {wire.url}", 500)
        answer = self._queue.pop(0)
        if not answer.reachable:
            raise UpstreamError(f"cannot connect to {wire.url}", 502)
        if answer.silent:
            try:
                await asyncio.Event().wait()
            finally:
                received.close()
        return _Reply(answer, received)

    async def aclose(self) -> None:
        """Nothing to close."""


class _Reply:
    def __init__(self, answer: _Answer, received: Received) -> None:
        self.status = answer.status
        self.headers: Headers = answer.headers
        self._answer = answer
        self._chunks = list(answer.chunks)
        self._received = received
        self._complete = False

    async def read(self) -> bytes:
        # Also without a pause: each piece is a network read of its own.
        await asyncio.sleep(self._answer.pause)
        if self._chunks:
            return self._chunks.pop(0) or await self.read()
        if self._answer.end == "hang":
            await asyncio.Event().wait()
        if self._answer.end == "drop":
            self._complete = True
            raise UpstreamError("the provider closed the connection in the middle of its answer")
        self._complete = True
        return b""

    def close(self) -> None:
        if not self._complete and not (self._answer.end == "end" and not self._chunks):
            self._received.close()


def sse(*events: JSON | str) -> bytes:
    """Server-sent events as bytes; an object with a ``type`` gets an ``event:`` line, a text stands for itself."""
    out = []
    for event in events:
        if isinstance(event, str):
            out.append(f"data: {event}\n\n")
        else:
            name = f"event: {event['type']}\n" if "type" in event else ""
            out.append(f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n")
    return "".join(out).encode()


def streamed(said: str | JSON) -> bytes:
    """The server-sent events with which Anthropic's service gives a whole message, or says a text."""
    message = samples.message(samples.text(said)) if isinstance(said, str) else said
    return sse(*to_wire(explode(message)))
