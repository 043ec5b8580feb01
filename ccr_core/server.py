"""The ASGI application and the process around it.

The model endpoints are plain ASGI, because a framework's request and response objects cost more than a conversion;
everything else is Starlette.  Every request passes one gate first: header size, ``Host``, ``Origin``, key.  What is
not in the tables here does not exist.

Safe by default: without an ``APIKEY`` only loopback is bound, whatever ``HOST`` says, and only loopback names are
accepted as ``Host``, so that a web page cannot reach the router by a name that it controls.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hmac
import logging
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from ccr_core import __version__
from ccr_core.access import Access
from ccr_core.config import Config, home, proxy_change, without_user
from ccr_core.dialect import Ingress
from ccr_core.engine import Engine
from ccr_core.errors import CcrError, ConfigError, RequestError, kind_of
from ccr_core.explain import messages_ingress
from ccr_core.messages import JSON
from ccr_core.namespaces import Namespaces
from ccr_core.pages import OfferedPage, placed
from ccr_core.plugins import Registry
from ccr_core.presets import presets_folder
from ccr_core.reload import Reload
from ccr_core.runtime import ALIAS, Runtime, build
from ccr_core.upstream import HttpSender, Sender, is_loopback

if TYPE_CHECKING:
    from ccr_core.peers import Peers, Post

log = logging.getLogger("ccr.server")

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HELLO = "/api/hello"
STATUS, SESSION = "/api/status", "/api/session"
OPEN = frozenset({("GET", "/"), ("HEAD", "/"), ("GET", "/health"), ("HEAD", "/health"), ("HEAD", HELLO)})
"""What answers without a key."""

MANAGEMENT = "/api/"
"""What the paths of the management API begin with; they want a management token or a session of the web UI."""

UPLOADS = ("application/json", "application/zip", "application/octet-stream")
"""What may be sent to the management API; a form of another page cannot send any of these."""

OF_PRESETS = frozenset({"/", "/health", HELLO, "/v1/models"})
"""What a preset answers beside the paths of models."""

PRESET = "/preset/"
"""What the paths of presets begin with: ``/preset/<name>/v1/messages`` is ``/v1/messages`` of that preset."""


class App:
    """The ASGI application.  ``engine.runtime`` may be replaced at any time; running exchanges keep theirs."""

    def __init__(self, runtime: Runtime, sender: Sender | None = None) -> None:
        self.sender: Sender = sender or _sender(runtime.config)
        self.engine = Engine(runtime, self.sender)
        self.started = time.time()
        self.on_ready: Callable[[], None] | None = None
        self.reload: Reload | None = None
        self.post: Post | None = None
        self.pid = os.getpid()
        self._rest: Any = None
        self.presets = Namespaces(None, self.engine, _other_sender)
        self.home = home()
        self.access = Access(self.home)
        self._use(runtime)

    def swap(self, runtime: Runtime) -> None:
        """Serve new requests with ``runtime``; those under way finish on the old one."""
        old, new = self.engine.runtime.config, runtime.config
        if isinstance(self.sender, HttpSender) and _network(old) != _network(new):
            # Replies under way keep their connections; only the idle ones are closed.
            closing, self.sender = self.sender, _sender(new)
            self.engine.sender = self.sender
            self._closing = asyncio.ensure_future(closing.aclose())
        if proxy := proxy_change(old.proxy_url, new.proxy_url):
            log.warning("%s", proxy)
        self._use(runtime)
        self.engine.swap(runtime)
        self.presets.follow()

    def join(self, post: Post) -> None:
        """Be one of several workers: share what is known, and tell each other of changed files."""
        self.post, self.pid = post, post.place.router
        peers = post.peers
        peers.join("", self.engine.memory)
        self.presets.on_engine = lambda name, engine: peers.join(name, engine.memory) if engine else peers.leave(name)
        peers.answers["status"] = self._own_status
        peers.told["look"] = self._look_soon
        self.presets.on_change = lambda: peers.say("look")
        if self.reload is not None:
            self.reload.on_change = lambda: peers.say("look")

    def _look_soon(self) -> None:
        """Another worker has found changed files."""
        self.presets.soon()
        if self.reload is not None:
            self.reload.soon()

    def _use(self, runtime: Runtime) -> None:
        paths: dict[str, tuple[Ingress, bool]] = {}
        for contributed in runtime.ingresses:
            ingress = contributed.value
            for path in ingress.paths:
                paths[path] = (ingress, False)
            for path in ingress.count_paths:
                paths[path] = (ingress, True)
        self._paths = paths
        self._pages, faults = placed(runtime.pages, list(paths))
        for fault in faults:
            log.warning("%s", fault)
        self._mounted: dict[str, Any] = {}
        config = runtime.config
        self._key = config.apikey.encode() if config.apikey else None
        self._loopback_only = self._key is None or is_loopback(config.host)
        self._body_limit = int(config.limits.body_mb * 1024 * 1024)
        self._header_limit = int(config.limits.header_kb * 1024)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        if self.post is not None:
            await self.post.peers.begin(self.post.place.serving)
        await send({"type": "lifespan.startup.complete"})
        if self.on_ready is not None:
            self.on_ready()
        watching = [asyncio.create_task(self.engine.warm(self.engine.runtime))]
        if self.reload is not None:
            watching.append(asyncio.create_task(self.reload.run()))
            watching.append(asyncio.create_task(self.presets.run()))
        await receive()
        for task in watching:
            task.cancel()
        await self.presets.close()
        await self.sender.aclose()
        self.engine.runtime.watch.close()
        if self.post is not None:
            self.post.peers.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        headers: dict[str, str] = {}
        size = 0
        for raw_name, raw_value in scope["headers"]:
            size += len(raw_name) + len(raw_value) + 4
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        known = self._paths.get(path)
        preset = None
        if known is None and path.startswith(PRESET):
            preset, _, path = path[len(PRESET) :].partition("/")
            path = f"/{path}"
            known = self._paths.get(path)
        # Of a preset only the client's knock is answered without a key.
        whole = scope["path"] if preset is not None and path != HELLO else path
        page = None if known is not None or preset is not None else self._page(path)
        refusal = self._gate(method, whole, headers, size, page)
        if refusal is not None:
            status, message = refusal
            error = RequestError(message, status)
            await self._refuse(known[0] if known else None, error, send)
        elif self.post is not None and self.post.place.number != 1 and (page is not None or _of_one(scope["path"])):
            await self._forward(self.post.peers, headers, scope, receive, send)
        elif page is not None:
            await self._serve_page(page, scope, receive, send)
        elif preset is not None:
            await self._preset(preset, path, known, scope, headers, receive, send)
        elif known is None:
            await self._other(scope, receive, send)
        elif method != "POST":
            await self._refuse(known[0], RequestError(f"{path} takes POST, not {method}", 405), send)
        else:
            await self._model(self.engine, known[0], known[1], path, headers, receive, send)

    async def _preset(
        self,
        name: str,
        path: str,
        known: tuple[Ingress, bool] | None,
        scope: Scope,
        headers: dict[str, str],
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve a path of a preset: those of models, the list of models, and what a client asks at its start."""
        ingress = known[0] if known is not None else None
        try:
            engine = self.presets.engine(name)
            if known is None and not (path in OF_PRESETS or path.startswith("/v1/models/")):
                raise RequestError(f"there is no {scope['method']} {path} for a preset", 404)
            if known is not None and scope["method"] != "POST":
                raise RequestError(f"{path} takes POST, not {scope['method']}", 405)
        except RequestError as error:
            await self._refuse(ingress, error, send)
        except ConfigError as error:
            await self._refuse(ingress, RequestError(error.message, 404), send)
        else:
            if known is None:
                await self._other({**scope, "path": path, "raw_path": path.encode(), "engine": engine}, receive, send)
                return
            # The observers are those of the main runtime: they stay open while this exchange tells them something.
            with self.engine.hold():
                await self._model(engine, known[0], known[1], path, headers, receive, send)

    async def _forward(
        self, peers: Peers, headers: Mapping[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let the first worker answer."""
        from ccr_core.forward import forward

        try:
            body = await self._body(headers, receive)
            if body is not None:
                await forward(scope, body, receive, send, lambda sock: peers.lend(1, sock))
        except RequestError as error:
            await self._refuse(None, error, send)

    def _page(self, path: str) -> OfferedPage | None:
        """The page that answers ``path``: of several, the one whose place is longest."""
        while path:
            page = self._pages.get(path)
            if page is not None:
                return page
            path = path.rpartition("/")[0]
        return None

    async def _serve_page(self, page: OfferedPage, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the page's application answer; it sees its place as ``root_path``."""
        mount, begun = page.spec.mount, False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            app = self._mounted.get(mount)
            if app is None:
                assert page.spec.factory is not None
                app = self._mounted[mount] = page.spec.factory(page.options, self)
            await app({**scope, "root_path": mount}, self._limited(receive), sending)
        except RequestError as error:
            if begun:
                raise
            await self._refuse(None, error, send)
        except Exception as error:
            log.exception("page %s (%s) failed", page.spec.name, page.plugin)
            if begun:
                raise
            what = f"the page {page.spec.name} of {page.plugin} failed: {type(error).__name__}"
            await self._refuse(None, RequestError(what, 500), send)

    def _limited(self, receive: Receive) -> Receive:
        """``receive`` that refuses a body larger than the limit."""
        size = 0

        async def limited() -> MutableMapping[str, Any]:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._body_limit:
                raise RequestError(f"the request is larger than {self._body_limit} bytes (limits.body_mb)", 413)
            return message

        return limited

    def _gate(
        self, method: str, path: str, headers: Mapping[str, str], size: int, page: OfferedPage | None
    ) -> tuple[int, str] | None:
        """Why a request may not enter: status and message; ``None`` if it may."""
        if size > self._header_limit:
            return 431, f"the headers are larger than {self._header_limit} bytes"
        host = headers.get("host", "")
        if self._loopback_only and not is_loopback(_host_name(host)):
            return 403, f"the host {host!r} is not served here; use 127.0.0.1 or localhost"
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, f"pages of {origin!r} may not use this router"
        want = "key"
        if page is not None:
            want = page.spec.access
        elif path.startswith(MANAGEMENT) and path not in (HELLO, STATUS):
            want = "open" if (method, path) == ("POST", SESSION) else "manage"
        if want != "key":
            return self._may_manage(method, headers, want)
        if self._key is None or (method, path) in OPEN:
            return None
        if path == STATUS and self.access.expires(_bearer(headers)) is not None:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else scheme
        for key in (given, headers.get("x-api-key", ""), headers.get("x-ccr-key", "")):
            if key and hmac.compare_digest(key.encode("latin-1", "replace"), self._key):
                return None
        return 401, "the router's key is missing or wrong; send APIKEY as x-ccr-key, as x-api-key or as a bearer token"

    def _may_manage(self, method: str, headers: Mapping[str, str], want: str) -> tuple[int, str] | None:
        """Why a page or the management API may not be used; ``None`` if it may."""
        management = self.engine.runtime.config.management
        if not management.enabled:
            return 403, "management is switched off (management.enabled)"
        if not self._loopback_only and not management.remote:
            return 403, "the router listens beyond this computer; managing it there needs management.remote: true"
        if method not in ("GET", "HEAD") and (
            headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        ):
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in UPLOADS:
                return 415, f"expected the content type application/json, got {kind or 'none'}"
        if want == "open":
            return None
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "other pages may not manage this router"
        if self.access.expires(_bearer(headers)) is None:
            return 401, "managing needs a session (ccr ui opens one) or the management token, as a bearer token"
        return None

    async def _refuse(self, ingress: Ingress | None, error: CcrError, send: Send) -> None:
        if ingress is not None:
            reply = ingress.encode_error(error)
            status, content = reply.status, reply.body
        else:
            status = error.status
            content = orjson.dumps({"type": "error", "error": {"type": kind_of(status), "message": error.message}})
        await send(_start(status, {"content-type": "application/json"}))
        await send({"type": "http.response.body", "body": content})

    async def _model(
        self,
        engine: Engine,
        ingress: Ingress,
        counting: bool,
        path: str,
        headers: dict[str, str],
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            body = await self._body(headers, receive)
        except RequestError as error:
            await self._refuse(ingress, error, send)
            return
        if body is None:
            return
        if self.post is not None:
            self.post.peers.drain()
        if counting:
            await self._count(engine, ingress, body, headers, send)
            return
        serving = asyncio.current_task()
        assert serving is not None
        client = _AsgiClient(send)
        left = False

        async def watch() -> None:
            nonlocal left
            while (await receive())["type"] != "http.disconnect":
                pass
            if not client.done:
                left = True
                serving.cancel()

        watching = asyncio.create_task(watch())
        serve = engine.serve(ingress, path, body, headers, client)
        del body  # the engine lets it go as soon as it is read
        try:
            await serve
        except asyncio.CancelledError:
            if not left:
                raise
            serving.uncancel()
        finally:
            watching.cancel()

    async def try_messages(self, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Answer a Messages API request of somebody who manages the router.

        What opened the management API is not the client's own credential, and goes to no provider.
        """
        kept = {
            name: value
            for name, value in headers.items()
            if name not in ("authorization", "x-api-key", "cookie", "origin", "referer", "proxy-authorization")
        }
        ingress = messages_ingress(self.engine.runtime)
        await self._model(self.engine, ingress, False, "/v1/messages", kept, receive, send)

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes | None:
        """The request's body; ``None`` if the client left before it was complete."""
        too_large = f"the request is larger than {self._body_limit} bytes (limits.body_mb)"
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._body_limit:
            raise RequestError(too_large, 413)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > self._body_limit:
                raise RequestError(too_large, 413)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _count(self, engine: Engine, ingress: Ingress, body: bytes, headers: dict[str, str], send: Send) -> None:
        try:
            count = await engine.count_for_client(engine.runtime, ingress.decode(body, headers))
        except CcrError as error:
            await self._refuse(ingress, error, send)
            return
        await send(_start(200, {"content-type": "application/json"}))
        await send({"type": "http.response.body", "body": ingress.encode_count(count)})

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._rest is None:
            self._rest = self._starlette()
        await self._rest(scope, self._limited(receive), send)

    def _starlette(self) -> Any:
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route

        from ccr_core.api import routes
        from ccr_core.api.session import session_routes

        async def root(request: Request) -> Response:
            return JSONResponse({"message": "ccr", "version": __version__})

        async def hello(request: Request) -> Response:
            return Response()

        async def health(request: Request) -> Response:
            return JSONResponse(self.health())

        async def status(request: Request) -> Response:
            return JSONResponse(await self.whole_status())

        async def models(request: Request) -> Response:
            data = self.models(request.scope.get("engine"))
            ids = [model["id"] for model in data]
            return JSONResponse(
                {
                    "object": "list",
                    "data": data,
                    "has_more": False,
                    "first_id": ids[0] if ids else None,
                    "last_id": ids[-1] if ids else None,
                }
            )

        async def model(request: Request) -> Response:
            wanted = request.path_params["id"]
            found = next((item for item in self.models(request.scope.get("engine")) if item["id"] == wanted), None)
            if found is None:
                raise RequestError(f"no model {wanted!r}; GET /v1/models lists them", 404)
            return JSONResponse(found)

        async def refuse(request: Request, error: Exception) -> Response:
            if not isinstance(error, CcrError):
                code = getattr(error, "status_code", 500)
                error = RequestError(f"there is no {request.method} {request.url.path} here", code)
            content = {"type": "error", "error": {"type": error.kind, "message": error.message}}
            details = getattr(error, "details", None) or {}
            wait = details.get("retry_after")
            return JSONResponse(content, error.status, {"retry-after": str(wait)} if wait else None)

        return Starlette(
            routes=[
                Route("/", root),
                Route("/health", health),
                Route(HELLO, hello, methods=["HEAD", "GET"]),
                Route(STATUS, status),
                *session_routes(self.access),
                *routes(self),
                Route("/v1/models", models),
                Route("/v1/models/{id:path}", model),
            ],
            exception_handlers={404: refuse, 405: refuse, RequestError: refuse},
        )

    def health(self) -> JSON:
        """What ``GET /health`` answers, to anyone."""
        return {
            "status": "ok",
            "version": __version__,
            "pid": self.pid,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def status(self) -> JSON:
        """How this process stands."""
        runtime = self.engine.runtime
        return {
            **self.health(),
            "started": self.started,
            "config": str(runtime.config.source) if runtime.config.source else None,
            "providers": {name: list(models) for name, models in runtime.models.items()},
            "default": runtime.config.router.default,
            "proxy": without_user(runtime.config.proxy_url) if runtime.config.proxy_url else None,
            "warnings": list(runtime.warnings),
            "reload": self.reload.to_json() if self.reload is not None else None,
            "cooling": self.engine.health.report(),
            "learned": self.engine.learned.report(),
            "presets": self.presets.to_json(),
            "plugins": [plugin.to_json() for plugin in runtime.registry.plugins],
        }

    def routes(self) -> list[tuple[str, str]]:
        """Every method and path that is answered, those of pages by where they are; ``{name}`` stands for any text."""
        if self._rest is None:
            self._rest = self._starlette()
        from ccr_core.api import operations

        named = [(method, route.path) for route in self._rest.routes for method in sorted(route.methods or ())]
        named += [(operation.method, operation.path) for operation in operations()]
        models = [("POST", path) for path in self._paths]
        presets = [(method, f"{PRESET}{{name}}{path}") for method, path in models]
        presets += [("GET", f"{PRESET}{{name}}{path}") for path in sorted(OF_PRESETS)]
        return models + presets + named + [("GET", mount) for mount in self._pages]

    def pages(self) -> list[OfferedPage]:
        """The pages in use: those that have a place, and those that are only shown in the web UI."""
        return [page for page in self.engine.runtime.pages if not page.spec.factory or page in self._pages.values()]

    async def whole_status(self) -> JSON:
        """What ``GET /api/status`` answers to those who have the key: of several workers, of all of them."""
        if self.post is None:
            return {**self.status(), "workers": [self._own_status()], "worker": 1}
        place, peers = self.post.place, self.post.peers
        peers.drain()
        told = {place.number: self._own_status(), **await peers.ask("status")}
        workers = [told.get(number) or {"number": number, "silent": True} for number in place.everybody()]
        status = {**self.status(), "workers": workers, "worker": place.number}
        failed = [worker for worker in workers if worker.get("problem")]
        if failed and status["reload"] is not None:
            status["reload"] = {**status["reload"], "problem": failed[0]["problem"]}
        return status

    def _own_status(self) -> JSON:
        """What differs between workers."""
        place = self.post.place if self.post is not None else None
        return {
            "number": place.number if place is not None else 1,
            "pid": os.getpid(),
            "started": self.started,
            "starts": place.starts if place is not None else 1,
            "reloads": self.reload.count if self.reload is not None else 0,
            "problem": self.reload.problem if self.reload is not None else None,
        }

    def models(self, engine: Engine | None = None) -> list[JSON]:
        """The models of ``GET /v1/models``, in a form that Anthropic's and OpenAI's clients both read.

        Claude Code's picker shows only names with "claude" or "anthropic" in them, so others have an alias as well.
        With the ``engine`` of a preset they are the preset's.
        """
        made = int(self.started)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made))
        runtime = (engine or self.engine).runtime
        return [
            {
                "type": "model",
                "object": "model",
                "id": name,
                "display_name": f"{runtime.providers[provider].facts(model).title or model} ({provider})",
                "created_at": stamp,
                "created": made,
                "owned_by": provider,
            }
            for provider, models in runtime.models.items()
            for model in models
            for name in _names(f"{provider},{model}")
        ]


def _names(name: str) -> tuple[str, ...]:
    lower = name.lower()
    return (name,) if "claude" in lower or "anthropic" in lower else (name, ALIAS + name)


def _bearer(headers: Mapping[str, str]) -> str:
    """The bearer token of a request, or nothing."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _of_one(path: str) -> bool:
    """Whether a path is of the management API, whose dialogs one worker holds."""
    return path.startswith(MANAGEMENT) and path not in (HELLO, STATUS)


def _network(config: Config) -> tuple[Any, ...]:
    return config.limits.connect_s, config.proxy_url, config.no_proxy


def _sender(config: Config) -> HttpSender:
    return HttpSender(connect_seconds=config.limits.connect_s, proxy_url=config.proxy_url, no_proxy=config.no_proxy)


def _other_sender(config: Config, main: Config) -> HttpSender | None:
    """A sender for a preset whose network settings are not the main ones; ``None`` where they are."""
    return _sender(config) if _network(config) != _network(main) else None


class _Cork:
    """Stands in for a transport while the head of an answer and its first bytes are written, so that both go out in
    one piece: each call of the kernel takes as long as converting several events."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._parts: list[bytes] = []
        self._closing = False

    def write(self, data: bytes) -> None:
        self._parts.append(data)

    def close(self) -> None:
        self._closing = True

    def pull(self) -> None:
        """Write what was kept."""
        if self._parts:
            self._transport.write(b"".join(self._parts))
        if self._closing:
            self._transport.close()


class _AsgiClient:
    """The :class:`~ccr_core.exchange.Client` behind an ASGI connection.

    Behind ``send`` of uvicorn is its cycle, an object for each request, which knows the transport: by way of that
    a chunk is written for a third of what a call of ``send`` costs.  Behind another server there is no such way.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._head: dict[str, Any] | None = None
        self.done = False

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self._head = _start(status, headers)

    async def write(self, data: bytes, last: bool = False) -> None:
        self.done = last
        body = {"type": "http.response.body", "body": data, "more_body": not last}
        if self._head is None:
            await self._send(body)
            return
        head, self._head = self._head, None
        cycle: Any = getattr(self._send, "__self__", None)
        transport = getattr(cycle, "transport", None)
        if transport is None:
            await self._send(head)
            await self._send(body)
            return
        cycle.transport = cork = _Cork(transport)
        try:
            await self._send(head)
            await self._send(body)
        finally:
            cycle.transport = transport
            cork.pull()

    def sink(self, push: Callable[[bytes, list[bytes]], None], out: list[bytes]) -> Callable[[bytes], bool] | None:
        """See :meth:`~ccr_core.exchange.Client.sink`."""
        cycle: Any = getattr(self._send, "__self__", None)
        try:
            if cycle.chunked_encoding is not True or cycle.disconnected:
                return None
            flow, write = cycle.flow, cycle.transport.write
            if flow.write_paused:
                return None
        except AttributeError:
            return None

        def sink(data: bytes) -> bool:
            push(data, out)
            if out:
                data = out[0] if len(out) == 1 else b"".join(out)
                out.clear()
                write(b"%x\r\n" % len(data) + data + b"\r\n")
                if flow.write_paused:
                    return False
            return True

        return sink


def _start(status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": raw}


def _host_name(host: str) -> str:
    """The name in a ``Host`` header, without port and brackets."""
    name, end, port = host.rpartition("]") if host.startswith("[") else host.partition(":")
    if end == "]":
        name, port = name[1:], port.removeprefix(":")
    # Anything else behind the name is no port: several of these headers, or somebody who tries things.
    return name if not port or port.isdecimal() else ""


def create_app(runtime: Runtime, sender: Sender | None = None) -> App:
    """The ASGI application for ``runtime``; ``sender`` replaces the network (tests)."""
    return App(runtime, sender)


def bind_address(config: Config, host: str | None = None) -> str:
    """Where to listen: ``host`` or the configured one; always loopback while there is no ``APIKEY``."""
    wanted = host or config.host
    if config.apikey or is_loopback(wanted):
        return wanted
    log.warning("HOST %s needs an APIKEY; listening on 127.0.0.1 only", wanted)
    return "127.0.0.1"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raise ``ConfigError`` if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name != "nt":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return sock


def serve(
    config: Config,
    registry: Registry,
    *,
    host: str | None = None,
    port: int | None = None,
    on_ready: Callable[[str, int], None] | None = None,
    again: Callable[[], tuple[Config, Registry]] | None = None,
    post: Post | None = None,
    on_reload: Callable[[Config], None] | None = None,
) -> int:
    """Serve until a signal ends it; give the exit code.

    ``on_ready(host, port)`` is called once the socket accepts connections.  ``again`` reads configuration and plugins
    anew when a file of theirs has changed; without it nothing is reloaded.  ``on_reload`` gets the configuration that
    has been taken into service.  Raises ``ConfigError`` before it listens if the configuration cannot be used or the
    port is taken.  With a ``post`` this is one of several workers: it does not listen, but serves the connections that
    its supervisor hands to it.
    """
    import uvicorn

    runtime = build(config, registry)
    for warning in runtime.warnings if post is None or post.place.tells else ():
        log.warning("%s", warning)
    if config.proxy_url and (post is None or post.place.tells):
        log.info("requests go through the proxy %s", without_user(config.proxy_url))
    app = create_app(runtime)
    if again is not None:

        def use(made: Runtime) -> None:
            app.swap(made)
            if on_reload is not None:
                on_reload(made.config)

        app.reload = Reload(runtime, again, use)
    if config.management.enabled:
        try:
            app.access.token()
        except CcrError as error:
            log.warning("the web UI cannot be used: %s", error.message)
    if post is not None:
        app.join(post)
    app.presets.folder = presets_folder(home())
    app.presets.load()
    sock = None
    if post is None:
        address = bind_address(config, host)
        sock = listen(address, config.port if port is None else port)
    if on_ready is not None:
        # The socket listens already: whoever connects from now on is served as soon as the loop runs.
        at = sock.getsockname()[:2] if sock is not None else ("", 0)
        app.on_ready = lambda: on_ready(*at)
    uvicorn_config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        log_config=None,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    # What has been made until now stays; requests make many objects that live for one of them only.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    if post is not None:
        from ccr_core.worker import WorkerServer

        server: uvicorn.Server = WorkerServer(uvicorn_config, post)
    else:
        server = uvicorn.Server(uvicorn_config)
    with contextlib.closing(sock) if sock is not None else contextlib.nullcontext():
        server.run(sockets=[sock] if sock is not None else [])
    return 0 if server.started else 1
