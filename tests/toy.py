"""A client format, a provider format and a driver small enough to read, for tests of the core alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import orjson

from ccr_core import (
    BlockDelta,
    BlockStart,
    BlockStop,
    CcrError,
    Context,
    Decision,
    Dialect,
    Event,
    Ingress,
    MessageDelta,
    MessageStart,
    MessageStop,
    Outcome,
    Pass,
    Ping,
    ProtocolError,
    Push,
    Request,
    RequestError,
    RouteContext,
    RuleSpec,
    StreamError,
    UpstreamError,
    WireReply,
    WireRequest,
    hints_of,
    hookimpl,
    parse_body,
)
from ccr_core.config import Config, ProviderConfig, Retry, RouterConfig
from ccr_core.plugins import Registry, load
from ccr_core.runtime import Runtime, build
from ccr_core.server import App, create_app
from ccr_core.sse import Chunk


class ToyIngress(Ingress):
    """Clients that get one JSON array per event and line."""

    name = "toy-client"
    paths = ("/toy",)
    count_paths = ("/toy/count",)

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Request:
        parsed = parse_body(body)
        if "messages" not in parsed:
            raise RequestError("messages: missing")
        return Request(parsed, headers, hints_of(parsed, headers), self.name)

    def encoder(self, request: Request) -> Push[Event, bytes]:
        return Lines()

    def encode_message(self, message: Any, request: Request) -> bytes:
        return orjson.dumps(message)

    def encode_error(self, error: CcrError) -> WireReply:
        return WireReply(status=error.status, body=orjson.dumps({"kind": error.kind, "message": error.message}))

    def encode_count(self, count: int) -> bytes:
        return orjson.dumps({"tokens": count})


class Lines(Push[Event, bytes]):
    """One line per event."""

    def feed(self, item: Event) -> Iterable[bytes]:
        if isinstance(item, BlockDelta):
            value: list[Any] = ["delta", item.key, item.delta.get("text")]
        elif isinstance(item, StreamError):
            value = ["error", item.kind, item.message]
        else:
            value = [type(item).__name__]
        return (orjson.dumps(value) + b"\n",)


class ToyDialect(Dialect):
    """Providers that stream ``data: {"text": …}`` events and end with ``data: {"end": true}``."""

    name: ClassVar[str] = "toy"

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        body = {"model": ctx.target.model, "stream": request.stream, "messages": request.messages}
        return WireRequest(url=ctx.target.base_url, body=body)

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        return ToyDecoder()

    def decode_body(self, body: Any, request: Request, ctx: Context) -> Iterable[Event]:
        yield MessageStart("m", "toy", {"input_tokens": 3})
        yield from (BlockStart("t", {"type": "text", "text": ""}),)
        yield BlockDelta("t", {"type": "text_delta", "text": body["text"]})
        yield BlockStop("t")
        yield MessageDelta("end_turn", usage={"output_tokens": 1})
        yield MessageStop()


class ToyDecoder(Push[Chunk, Event]):
    def __init__(self) -> None:
        self.begun = self.ended = False

    def feed(self, item: Chunk) -> Iterable[Event]:
        if "error" in item.data:
            yield StreamError("overloaded_error", item.data["error"])
            return
        if not self.begun:
            self.begun = True
            yield MessageStart("m", "toy", {"input_tokens": 3})
        if "text" in item.data:
            yield BlockDelta("t", {"type": "text_delta", "text": item.data["text"]})
        if item.data.get("end"):
            self.ended = True
            yield MessageDelta("end_turn", usage={"output_tokens": 1})
            yield MessageStop()

    def flush(self) -> Iterable[Event]:
        if not self.ended:
            raise ProtocolError("the toy ended early")
        return ()


def to_default(request: Request, ctx: RouteContext) -> Decision | Pass:
    """Route to the model that the client names, if it names one so, else to toy,m."""
    if "," in request.model:
        return Decision(request.model, "asked for")
    return Decision("toy,m", "the only one")


def toy_plugin(**hooks: Any) -> Any:
    """A plugin with the toy formats and one rule; ``hooks`` adds or replaces implementations."""
    parts = {
        "ccr_dialects": lambda: [ToyDialect()],
        "ccr_ingresses": lambda: [ToyIngress()],
        "ccr_rules": lambda: [RuleSpec(name="default", decide=to_default)],
        **hooks,
    }
    plugin = SimpleNamespace(__name__="toy_plugin")
    for name, function in parts.items():
        setattr(plugin, name, hookimpl(function))
    return plugin


def toy_config(**changes: Any) -> Config:
    """A configuration with the providers toy and spare, which both speak the toy format."""
    providers = tuple(
        ProviderConfig(
            name=name,
            api_base_url=f"http://{name}.invalid/",
            api_key=f"key-of-{name}",
            models=("m",),
            dialect="toy",
            where=f"Providers[{place}]",
        )
        for place, name in enumerate(("toy", "spare"))
    )
    defaults = {"providers": providers, "router": RouterConfig(default="toy,m"), "retry": Retry(attempts=0)}
    return Config(**{**defaults, **changes})


def toy_registry(*plugins: Any) -> Registry:
    return load(plugins or [toy_plugin()])


def toy_runtime(*plugins: Any, **changes: Any) -> Runtime:
    return build(toy_config(**changes), toy_registry(*plugins))


class FakeReply:
    """A reply whose body is given as pieces; an exception among them is raised in its place, None hangs."""

    def __init__(self, status: int, headers: Mapping[str, str], pieces: Iterable[Any]) -> None:
        self.status = status
        self.headers = dict(headers)
        self.closed = False
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        # Nothing is taken before the wait is over: a read may be cancelled without loss.
        while self._pieces and (self._pieces[0] is None or isinstance(self._pieces[0], float)):
            pause = self._pieces[0]
            if pause is None:
                await asyncio.Event().wait()
            step = min(0.01, pause)
            await asyncio.sleep(step)
            self._pieces[0] = pause - step
            if self._pieces[0] <= 0:
                self._pieces.pop(0)
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        return bytes(piece)

    def close(self) -> None:
        self.closed = True


class FakeSender:
    """Gives the next of ``replies`` to each request; an exception is raised instead."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.sent: list[tuple[WireRequest, Any]] = []
        self.closed = False

    async def send(self, wire: WireRequest, body: bytes) -> Any:
        self.sent.append((wire, orjson.loads(body)))
        if not self.replies:
            raise AssertionError("a request that the test did not expect")
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def aclose(self) -> None:
        self.closed = True


def stream(*pieces: Any) -> FakeReply:
    return FakeReply(200, {"content-type": "text/event-stream"}, pieces)


def whole(body: Any, status: int = 200, **headers: str) -> FakeReply:
    return FakeReply(status, {"content-type": "application/json", **headers}, [orjson.dumps(body)])


class Got:
    """What a client got: ``status``, ``headers``, ``body``, and ``writes`` as they came."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.writes: list[bytes] = []
        self.ended = False
        self.changed = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)

    @property
    def lines(self) -> list[Any]:
        return [orjson.loads(line) for line in self.body.splitlines()]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def calling(
    app: App, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Got, Any]]:
    """Send one request to ``app``; gives what the client gets, and a function that hangs up."""
    got = Got()
    left = asyncio.Event()
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            got.status = message["status"]
            got.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            if message.get("body"):
                got.writes.append(message["body"])
            got.ended = not message.get("more_body", False)
        got.changed.set()

    raw = {"host": "127.0.0.1:3456", **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 3456),
        "client": ("127.0.0.1", 5),
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
    }
    task = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]
    try:
        yield got, left.set
    finally:
        left.set()
        async with asyncio.timeout(5):
            await task


async def call(app: App, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Got:
    """Send one request and wait for the whole answer."""
    async with calling(app, method, path, body, headers) as (got, _):
        await got.until(lambda: got.ended)
    return got


def ask(text: str = "hi", **fields: Any) -> bytes:
    return orjson.dumps({"model": "x", "messages": [{"role": "user", "content": text}], **fields})


def toy_app(*replies: Any, plugins: Any = (), **changes: Any) -> tuple[App, FakeSender]:
    sender = FakeSender(*replies)
    return create_app(toy_runtime(*plugins, **changes), sender), sender


__all__ = [
    "Outcome",
    "Ping",
    "UpstreamError",
    "ask",
    "call",
    "calling",
    "stream",
    "toy_app",
    "toy_config",
    "toy_plugin",
    "toy_registry",
    "toy_runtime",
    "whole",
]
