"""A whole router in a test: made of a configuration and the plugins that are passed in, with no process and no socket.

The application is driven over ASGI directly.  So a test sees each piece of an answer when the router sends it, and
can hang up in the middle.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from ccr_core.config import Config, from_document
from ccr_core.explain import explain_with
from ccr_core.hookspecs import hookimpl
from ccr_core.messages import JSON
from ccr_core.observe import Finished, Observation, Observer
from ccr_core.plugins import Registry, load
from ccr_core.projects import Projects
from ccr_core.runtime import build
from ccr_core.server import App, create_app
from ccr_core.spec import ObserverSpec
from ccr_core.testing.recordings import Call, fold_anthropic
from ccr_core.testing.upstream import EXCHANGE, Received, Upstream

SECONDS = 10.0
"""How long one call may take before the test fails."""

MESSAGES = "/v1/messages"


def config(
    provider: str = "acme",
    models: Sequence[str] = ("big", "small"),
    *,
    use: Sequence[Any] = (),
    **fields: Any,
) -> JSON:
    """A configuration with one provider, whose first model is the default route.

    ``use`` are its transformers as a configuration names them; ``fields`` are added to the provider's entry
    (``dialect="openai-chat"``).
    """
    entry = {
        "name": provider,
        "api_base_url": "https://api.example/v1",
        "api_key": "sk-test",
        "models": list(models),
        "transformer": {"use": list(use)},
        **fields,
    }
    return {"Providers": [entry], "Router": {"default": f"{provider},{models[0]}"}}


@attrs.frozen
class StreamEvent:
    """An event as the client read it, ``at`` seconds after it asked; ``type`` is the name in its ``event:`` line."""

    at: float
    type: str
    data: Any


class _Recorder(Observer):
    def on(self, observation: Observation) -> None:
        """Keep it with the call it belongs to."""
        call = EXCHANGE.get()
        if isinstance(call, Answer):
            call.observations.append(observation)


class _Watching:
    """The plugin through which the harness watches."""

    @hookimpl
    def ccr_observers(self) -> Iterable[ObserverSpec]:
        return [ObserverSpec(name="ccr-testing", factory=lambda options, home: _Recorder(), summary="For tests.")]


class Answer:
    """What the router answered to one call, so far or whole.

    ``increments`` are the pieces in which the body came, each with the seconds since the call.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.increments: list[tuple[float, bytes]] = []
        self.ended = False
        self.observations: list[Observation] = []
        self._upstream = upstream

    @property
    def body(self) -> bytes:
        """All bytes of the body."""
        return b"".join(data for _, data in self.increments)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def streamed(self) -> bool:
        """Whether the answer is a stream of events."""
        return "event-stream" in self.headers.get("content-type", "")

    @property
    def events(self) -> list[StreamEvent]:
        """The complete events of a streamed answer; pass them to ``check_stream``."""
        out: list[StreamEvent] = []
        rest = b""
        for at, data in self.increments if self.streamed else ():
            *whole, rest = (rest + data).split(b"\n\n")
            out += [_event(at, part) for part in whole if not part.startswith(b":")]
        return out

    @property
    def message(self) -> JSON:
        """The message of the Messages API that was answered; of a stream, as much as came (see ``complete``)."""
        if not self.streamed:
            return self.json if self.status == 200 else {}
        return fold_anthropic(event.data for event in self.events if event.type != "error").body

    @property
    def complete(self) -> bool:
        """Whether the answer is whole: a message, or a stream with its ``message_stop``."""
        if not self.streamed:
            return self.status == 200 and self.ended
        return any(event.type == "message_stop" for event in self.events)

    @property
    def content(self) -> list[JSON]:
        """The blocks of the message."""
        return self.message.get("content") or []

    @property
    def text(self) -> str:
        """The visible text."""
        return "".join(block["text"] for block in self.content if block["type"] == "text")

    @property
    def thinking(self) -> str:
        """The visible thinking."""
        return "".join(block["thinking"] for block in self.content if block["type"] == "thinking")

    @property
    def tool_uses(self) -> list[JSON]:
        """The tool calls, whole blocks."""
        return [block for block in self.content if block["type"] == "tool_use"]

    @property
    def calls(self) -> list[Call]:
        """The tool calls, name and arguments only."""
        return [Call(block["name"], block["input"]) for block in self.tool_uses]

    @property
    def stop_reason(self) -> str | None:
        """Why the model stopped."""
        return self.message.get("stop_reason")

    @property
    def usage(self) -> JSON:
        """The final usage."""
        return self.message.get("usage") or {}

    @property
    def error(self) -> JSON | None:
        """The error object (``type``, ``message``) of a refusal or of an ``error`` event; ``None`` if all went well."""
        if self.streamed:
            return next((event.data["error"] for event in self.events if event.type == "error"), None)
        if self.status < 400:
            return None
        error: JSON = self.json["error"]
        return error

    @property
    def route(self) -> str | None:
        """Where it went, as ``provider,model``, from the header ``x-ccr-route``."""
        return self.headers.get("x-ccr-route", "").partition("; ")[0] or None

    @property
    def rule(self) -> str | None:
        """The rule that decided, from the header ``x-ccr-route``."""
        parts = self.headers.get("x-ccr-route", "").split("; ")
        return next((part.removeprefix("rule=") for part in parts if part.startswith("rule=")), None)

    @property
    def sent(self) -> list[Received]:
        """The requests that were sent to providers for it."""
        return [received for received in self._upstream.requests if received.exchange is self]

    @property
    def finished(self) -> Finished | None:
        """The observation that ended it (``Failed`` is one too)."""
        return next((seen for seen in self.observations if isinstance(seen, Finished)), None)

    @property
    def notes(self) -> list[tuple[str, Any]]:
        """What dialects and transformers noted."""
        return list(self.finished.notes) if self.finished else []

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:300]!r}>"


def _event(at: float, part: bytes) -> StreamEvent:
    name, data = "", []
    for line in part.decode("utf-8").split("\n"):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        elif field == "data":
            data.append(value.removeprefix(" "))
    text = "\n".join(data)
    parsed = json.loads(text) if text[:1] in ("{", "[") and text != "[DONE]" else text
    kind = parsed.get("type") if isinstance(parsed, dict) else None
    if name and kind and name != kind:
        raise AssertionError(f"the event {name!r} has data of the type {kind!r}")
    return StreamEvent(at, name, parsed)


class Stream(Answer):
    """An answer that is under way; iterate it for its events as they come."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__(upstream)
        self._begun = time.monotonic()
        self._news = asyncio.Event()
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._request: list[dict[str, Any]] = []

    def start(self, app: App, scope: dict[str, Any], body: bytes) -> None:
        """Send the request."""
        self._request = [{"type": "http.request", "body": body, "more_body": False}]

        async def call() -> None:
            EXCHANGE.set(self)
            try:
                await app(scope, self._receive, self._send)
            finally:
                self._news.set()

        self._task = asyncio.create_task(call())

    async def _receive(self) -> dict[str, Any]:
        if self._request:
            return self._request.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self._gone.is_set():
            return
        if message["type"] == "http.response.start":
            assert self.status == 0, "the router sent the head of its answer twice"
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            assert self.status, "the router sent a body before the head"
            assert not self.ended, "the router sent a body after its end"
            if message.get("body"):
                self.increments.append((time.monotonic() - self._begun, message["body"]))
            self.ended = not message.get("more_body", False)
        self._news.set()
        # As a server does when the socket can take more: others may run.
        await asyncio.sleep(0)

    async def __aiter__(self) -> AsyncIterator[StreamEvent]:
        """The events as they come, until the answer ends."""
        given = 0
        while True:
            events = self.events
            for event in events[given:]:
                yield event
            given = len(events)
            if self.ended or self._gone.is_set() or (self._task is not None and self._task.done()):
                return
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), SECONDS)
            except TimeoutError:
                raise AssertionError(f"no more of the answer came for {SECONDS:g} s: {self!r}") from None

    async def until(self, kind: str) -> StreamEvent:
        """Wait for the first event of the type ``kind``; raise ``AssertionError`` if the answer ends before."""
        async for event in self:
            if event.type == kind:
                return event
        raise AssertionError(f"the answer ended without {kind}: {self!r}")

    async def hang_up(self) -> None:
        """Leave, as a client does that closes its connection; waits until the router has noticed."""
        self._gone.set()
        await self.finish()

    async def finish(self) -> Answer:
        """Wait for the end of the answer; raise ``AssertionError`` if it does not come."""
        assert self._task is not None
        try:
            await asyncio.wait_for(asyncio.shield(self._task), SECONDS)
        except TimeoutError:
            self._task.cancel()
            raise AssertionError(f"the router did not finish within {SECONDS:g} s: {self!r}") from None
        return self


class Harness:
    """A router made of ``configuration`` (a document, or a ``Config``) and ``plugins`` (modules or objects).

    Raises ``ConfigError`` as the router would at its start.  ``registry`` and ``app`` are the router's own.
    """

    def __init__(self, configuration: Mapping[str, Any] | Config, plugins: Iterable[Any], upstream: Upstream) -> None:
        self.registry: Registry = load([*plugins, _Watching()])
        failed = [plugin for plugin in self.registry.plugins if plugin.state == "failed"]
        if failed:
            raise AssertionError(f"plugin {failed[0].name} failed: {failed[0].reason}")
        if not isinstance(configuration, Config):
            watched = {**configuration.get("observers", {}), "ccr-testing": {}}
            # One request, one attempt, unless the test says otherwise: an unexpected call is to fail the test.
            configuration = from_document({"retry": {"attempts": 0}, **configuration, "observers": watched})
        self.runtime = build(configuration, self.registry)
        self.upstream = upstream
        self.app: App = create_app(self.runtime, upstream)
        # No project of the person who runs the tests takes part.
        nowhere = Path("/nonexistent")
        self.app.engine.projects = Projects(nowhere, nowhere)
        self._ending: asyncio.Event | None = None
        self._lifespan: asyncio.Task[None] | None = None

    async def messages(self, body: JSON, *, headers: Mapping[str, str] | None = None, path: str = MESSAGES) -> Answer:
        """Ask for an answer, streamed or not as ``body`` says, and wait for its end."""
        async with self.open(body, headers=headers, path=path) as stream:
            return await stream.finish()

    async def count_tokens(self, body: JSON, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask how many tokens ``body`` has; ``.json["input_tokens"]`` says it."""
        return await self.messages(body, headers=headers, path=f"{MESSAGES}/count_tokens")

    async def get(self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
        """Fetch ``path``, which may have a query."""
        async with self._call(method, path, b"", headers) as stream:
            return await stream.finish()

    @asynccontextmanager
    async def open(
        self, body: JSON | bytes, *, headers: Mapping[str, str] | None = None, path: str = MESSAGES
    ) -> AsyncIterator[Stream]:
        """Ask, and look at the answer while it comes; at the end of the block the client leaves."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._call("POST", path, data, {"content-type": "application/json", **(headers or {})}) as stream:
            yield stream

    async def explain(self, body: JSON, *, headers: Mapping[str, str] | None = None) -> JSON:
        """What the router would do with ``body`` and why, as ``ccr explain`` shows it; sends nothing."""
        ingress = next(item.value for item in self.runtime.ingresses if MESSAGES in item.value.paths)
        return await explain_with(self.app.engine, ingress, json.dumps(body).encode(), dict(headers or {}))

    @asynccontextmanager
    async def _call(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> AsyncIterator[Stream]:
        await self._start()
        path, _, query = path.partition("?")
        sent = {"host": "127.0.0.1:3456", "content-length": str(len(body)), **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 3456),
        }
        stream = Stream(self.upstream)
        stream.start(self.app, scope, body)
        try:
            yield stream
        finally:
            await stream.hang_up()

    async def _start(self) -> None:
        """Begin the application's lifespan, once."""
        if self._lifespan is not None:
            return
        started, self._ending = asyncio.Event(), asyncio.Event()
        incoming = [{"type": "lifespan.startup"}]
        ending = self._ending

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop()
            await ending.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                started.set()
            elif message["type"].endswith(".failed"):
                raise AssertionError(f"the application's {message['type']}: {message.get('message')}")

        scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._lifespan = asyncio.create_task(self.app(scope, receive, send))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({waiting, self._lifespan}, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not started.is_set():
            await asyncio.wait_for(self._lifespan, 0.1)
            raise AssertionError("the application did not start")

    async def aclose(self) -> None:
        """End the application's lifespan."""
        if self._lifespan is not None and self._ending is not None:
            self._ending.set()
            await asyncio.wait_for(self._lifespan, SECONDS)
            self._lifespan = None


Make: TypeAlias = Callable[..., Harness]
"""The type of the fixture ``ccr``: ``ccr(config, plugins=[…])`` gives a :class:`Harness`."""
