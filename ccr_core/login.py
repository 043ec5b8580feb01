"""Holding the conversations of :mod:`ccr_core.auth`: the network, the browser's way back, and whoever is asked.

:func:`quietly` runs a flow that needs nobody (a renewal), :func:`converse` one that does.  A :class:`Front` is the
one who is asked: the terminal (:mod:`ccr_core.cli.auth`), or a :class:`Session` for programs such as a web page.

No token, code or verifier is ever logged or part of an error: whatever went into or came out of a request is cut out
of the words of a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import html
import logging
import re
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import attrs
import orjson

from ccr_core import __version__
from ccr_core.auth import (
    Ask,
    AwaitCallback,
    Call,
    Flow,
    Listen,
    Now,
    OpenUrl,
    Say,
    ShowCode,
    Sleep,
)
from ccr_core.dialect import WireReply
from ccr_core.errors import AuthError, CcrError, RequestError, UpstreamError
from ccr_core.flows import read_pasted
from ccr_core.upstream import is_loopback, trusted

log = logging.getLogger("ccr.login")

T = TypeVar("T")

CONNECT_SECONDS, SECONDS = 10.0, 30.0
"""How long a request to a login service may take."""

ANSWER = 4 * 1024 * 1024
"""Bytes of an answer that are read."""

_SECRET = re.compile(
    r"(token|secret|verifier|authorization|password|assertion)|^(device_code|code|device_auth_id|authorization_code)$"
)


_tls = functools.cache(trusted)
"""Made once: reading the roots takes longer than all else.  Not the context of requests, which httpx would change."""


class Http:
    """What sends the requests of flows: blocking, without redirects, through the configured proxy.

    ``secrets`` collects what must not be shown.  One instance serves one flow.
    """

    def __init__(self, proxy_url: str | None = None, no_proxy: tuple[str, ...] = ()) -> None:
        self._proxy_url = proxy_url
        self._no_proxy = tuple(entry.strip().lower().lstrip("*").lstrip(".") for entry in no_proxy if entry.strip())
        self.secrets: set[str] = set()

    def call(self, call: Call) -> WireReply:
        """Send one request; raise ``UpstreamError`` if no answer comes."""
        import httpx

        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        wire = call.wire
        headers = {"user-agent": f"ccr/{__version__}", **wire.headers}
        content: dict[str, Any] = {}
        if call.form is not None:
            content = {"data": dict(call.form)}
            self._remember(call.form)
        elif wire.body is not None:
            content = {"content": orjson.dumps(wire.body)}
            headers.setdefault("content-type", "application/json")
            self._remember(wire.body)
        for value in (headers.get("authorization", ""),):
            self.secrets.update(part for part in value.split() if len(part) > 7)
        host = urlsplit(wire.url).hostname or ""
        proxy = self._proxy_url if not self._bypasses(host) else None
        try:
            with (
                httpx.Client(
                    timeout=httpx.Timeout(SECONDS, connect=CONNECT_SECONDS), proxy=proxy, trust_env=False, verify=_tls()
                ) as client,
                client.stream(wire.method, wire.url, headers=headers, **content) as answer,
            ):
                parts, size = [], 0
                for part in answer.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > ANSWER:
                        break
                reply = WireReply(status=answer.status_code, headers=dict(answer.headers), body=b"".join(parts))
        except httpx.TimeoutException:
            raise UpstreamError(f"{host} did not answer in time", 504) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UpstreamError(f"cannot reach {host}: {type(error).__name__}: {self.clean(str(error))}") from None
        with contextlib.suppress(orjson.JSONDecodeError):
            self._remember(orjson.loads(reply.body))
        return reply

    def clean(self, text: str) -> str:
        """``text`` without anything secret that has passed through here."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, "…")
        return text

    def _bypasses(self, host: str) -> bool:
        if self._proxy_url is None or is_loopback(host):
            return True
        return any(entry == "" or host == entry or host.endswith(f".{entry}") for entry in self._no_proxy)

    def _remember(self, data: Any) -> None:
        if isinstance(data, Mapping):
            for key, value in data.items():
                if isinstance(value, str) and len(value) > 7 and _SECRET.search(str(key)):
                    self.secrets.add(value)
                elif isinstance(value, (Mapping, list)):
                    self._remember(value)
        elif isinstance(data, list):
            for value in data:
                self._remember(value)


@contextlib.contextmanager
def _clean(http: Http) -> Iterator[None]:
    """Errors of a flow, without secrets."""
    try:
        yield
    except CcrError as error:
        error.message = http.clean(error.message)
        error.args = (error.message,)
        raise


def quietly(
    flow: Flow[T],
    http: Http,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Run a flow that asks nobody, in this thread."""
    value: Any = None
    failure: UpstreamError | None = None
    with _clean(http):
        while True:
            try:
                command = flow.send(value) if failure is None else flow.throw(failure)
            except StopIteration as end:
                result: T = end.value
                return result
            value, failure = None, None
            match command:
                case Call():
                    try:
                        value = http.call(command)
                    except UpstreamError as error:
                        failure = error
                case Sleep():
                    sleep(command.seconds)
                case Now():
                    value = clock()
                case Say():
                    log.info("%s", http.clean(command.text))
                case _:
                    flow.close()
                    raise AuthError("this needs the user; sign in again")


class Front:
    """Who is asked and told.  Everything here is called on the event loop."""

    headless = False
    """Whether the browser is on another machine."""

    def say(self, text: str) -> None:
        """Tell the user."""

    def open_url(self, url: str) -> None:
        """Show an address, and open it where there is a browser."""

    def show_code(self, url: str, code: str, seconds: float) -> None:
        """Show an address and the code to type there."""

    async def ask(self, text: str, secret: bool) -> str:
        """Ask the user."""
        raise AuthError("nobody can be asked here")

    async def pasted(self) -> str:
        """Wait until the user pastes the address of the last page, or the code in it."""
        await asyncio.Event().wait()
        raise AssertionError


async def converse(flow: Flow[T], front: Front, http: Http, *, clock: Callable[[], float] = time.time) -> T:
    """Run a flow with someone to ask."""
    value: Any = None
    failure: CcrError | None = None
    waiting: _Callback | None = None
    with _clean(http):
        try:
            while True:
                try:
                    command = flow.send(value) if failure is None else flow.throw(failure)
                except StopIteration as end:
                    result: T = end.value
                    return result
                value, failure = None, None
                match command:
                    case Call():
                        try:
                            value = await asyncio.to_thread(http.call, command)
                        except UpstreamError as error:
                            failure = error
                    case Listen():
                        if waiting is not None:
                            await waiting.close()
                        http.secrets.add(command.state)
                        waiting = _Callback(command)
                        value = await waiting.begin(front.headless)
                    case AwaitCallback():
                        assert waiting is not None, "Listen comes first"
                        value = await waiting.code(front, command.seconds)
                        http.secrets.add(value)
                        await waiting.close()
                    case OpenUrl():
                        front.open_url(command.url)
                    case ShowCode():
                        front.show_code(command.url, command.code, command.seconds)
                    case Ask():
                        value = (await front.ask(command.text, command.secret)).strip()
                        if command.secret and value:
                            http.secrets.add(value)
                    case Say():
                        front.say(http.clean(command.text))
                    case Sleep():
                        await asyncio.sleep(command.seconds)
                    case Now():
                        value = clock()
        finally:
            flow.close()
            if waiting is not None:
                await waiting.close()


# The browser's way back.

HEAD = 16 * 1024
"""Bytes that a request to the callback may have."""

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="robots" content="noindex">
<title>ccr</title><body style="font: 16px sans-serif; margin: 4em auto; max-width: 40em"><h1>{title}</h1><p>{text}</p>
"""


class _Callback:
    """A web server for one request: the vendor's answer, brought by the user's browser.

    It listens on loopback only, knows one path, and takes nothing without the right ``state``: a page that the user
    happens to have open can neither finish nor end the login.
    """

    def __init__(self, listen: Listen) -> None:
        self._listen = listen
        self._servers: list[asyncio.Server] = []
        self._result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._hosts: frozenset[str] = frozenset()
        self._open: set[asyncio.StreamWriter] = set()

    async def begin(self, headless: bool) -> str:
        """Listen; give the redirect URI."""
        listen = self._listen
        if headless and listen.paste:
            return listen.paste
        for port in listen.ports:
            if await self._bind(port):
                port = self._servers[0].sockets[0].getsockname()[1]
                break
        else:
            # Nothing comes back by itself then, but the address can still be pasted.
            port = next((port for port in listen.ports if port), 0)
            log.warning("the ports %s are taken; paste the address of the last page", ", ".join(map(str, listen.ports)))
            if not port:
                raise AuthError("no port of this machine can be had for the sign-in")
        self._hosts = frozenset(f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]"))
        return f"http://{listen.host}:{port}{listen.path}"

    async def _bind(self, port: int) -> bool:
        import os

        bind = os.environ.get("CCR_OAUTH_CALLBACK_HOST") or "127.0.0.1"
        for attempt in range(10 if port else 1):
            try:
                self._servers.append(await asyncio.start_server(self._serve, bind, port, limit=HEAD))
                break
            except OSError:
                # Another program of this kind may still wait for a login that nobody finishes: ask it to give up.
                if not port:
                    return False
                if attempt == 0:
                    await _cancel_other(port)
                await asyncio.sleep(0.2)
        else:
            return False
        if bind == "127.0.0.1" and self._listen.host == "localhost":
            got = self._servers[0].sockets[0].getsockname()[1]
            with contextlib.suppress(OSError):  # a machine without IPv6
                self._servers.append(await asyncio.start_server(self._serve, "::1", got, limit=HEAD))
        return True

    async def code(self, front: Front, seconds: float) -> str:
        """Wait for the browser, or for what the user pastes."""
        pasting = asyncio.ensure_future(self._pasted(front))
        try:
            async with asyncio.timeout(seconds):
                done, _ = await asyncio.wait({self._result, pasting}, return_when=asyncio.FIRST_COMPLETED)
                return done.pop().result()
        except TimeoutError:
            raise AuthError(f"nobody signed in within {seconds:g} s; try again") from None
        finally:
            pasting.cancel()

    async def _pasted(self, front: Front) -> str:
        while True:
            try:
                return read_pasted(await front.pasted(), self._listen.state)
            except RequestError as error:
                front.say(error.message)

    async def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()
        for writer in list(self._open):
            writer.close()
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
        if not self._result.done():
            self._result.cancel()
        elif not self._result.cancelled():
            self._result.exception()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
                status, title, text, then = self._answer(head.decode("latin-1"))
                body = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
                lines = [
                    f"HTTP/1.1 {status}",
                    "content-type: text/html; charset=utf-8",
                    f"content-length: {len(body)}",
                    "connection: close",
                    "cache-control: no-store",
                    "referrer-policy: no-referrer",
                    "content-security-policy: default-src 'none'; style-src 'unsafe-inline'",
                    "x-content-type-options: nosniff",
                ]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
                await writer.drain()
            if then is not None:
                then()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was, it is no browser with an answer
        finally:
            self._open.discard(writer)
            writer.close()

    def _answer(self, head: str) -> tuple[str, str, str, Callable[[], None] | None]:
        """Status, title and text of the page, and what follows from it."""
        request, *lines = head.split("\r\n")
        method, _, rest = request.partition(" ")
        target = rest.partition(" ")[0]
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        nothing = ("404 Not Found", "Nothing here", "This address is of no use.", None)
        if method != "GET" or headers.get("host", "").lower() not in self._hosts or self._result.done():
            return nothing
        parts = urlsplit(target)
        if parts.path == "/cancel" and not {"origin", "referer", "sec-fetch-site"} & set(headers):
            # Only programs ask for this; from a page it would carry one of these headers.
            return "200 OK", "Ended", "The sign-in was ended.", self._fail("the sign-in was ended by another program")
        if parts.path != self._listen.path:
            return nothing
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if not hmac.compare_digest(fields.get("state", "").encode(), self._listen.state.encode()):
            return "400 Bad Request", "Not this sign-in", "This answer belongs to another sign-in.", None
        if fields.get("error"):
            words = (fields.get("error_description") or fields["error"])[:300]
            return "200 OK", "Not signed in", words, self._fail(f"the vendor refused: {words}")
        code = fields.get("code")
        if not code:
            return "400 Bad Request", "Nothing to work with", "This answer holds no code.", None
        return "200 OK", "Signed in", "You can close this page and go back.", functools.partial(self._finish, code)

    def _fail(self, message: str) -> Callable[[], None]:
        def fail() -> None:
            if not self._result.done():
                self._result.set_exception(AuthError(message))

        return fail

    def _finish(self, code: str) -> None:
        if not self._result.done():
            self._result.set_result(code)


async def _cancel_other(port: int) -> None:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /cancel HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
            writer.close()


# For programs.


class Session(Front):
    """A login that a program steers: it starts it, shows what :meth:`status` says, and passes on what the user gives.

    Making one begins the login; :meth:`started` waits until there is something to show.  From then on the program asks
    for :meth:`status` now and then: with the method ``browser`` it offers the address, and a field for the address of
    the last page in case the browser is on another machine (:meth:`finish`); with ``device`` the address and the code;
    in the state ``asking`` the question, whose answer goes to :meth:`finish` as well.  It ends by itself (``done``,
    ``failed``: refused, expired, wrong), by :meth:`cancel`, or when another one for the provider begins
    (:class:`Logins`).  Whether the user agrees to a risk (``AuthSpec.risk``) is asked for before it is made.

    ``on_done`` is called with the result before the state becomes ``done``; it keeps the account
    (:func:`ccr_core.tokenstore.save_login`) and returns its id.  No token, code or verifier is ever in the status.
    """

    def __init__(
        self, provider: str, flow: Flow[T], http: Http, on_done: Callable[[T], Coroutine[Any, Any, str]]
    ) -> None:
        self.provider = provider
        self._state = "starting"
        self._shown: dict[str, Any] = {}
        self._notes: list[str] = []
        self._input: asyncio.Queue[str] = asyncio.Queue(1)
        self._told = asyncio.Event()
        self._task = asyncio.ensure_future(self._run(flow, http, on_done))

    async def started(self, seconds: float = 60.0) -> dict[str, Any]:
        """What to show the user, as soon as there is something; see :meth:`status`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._told.wait(), seconds)
        return self.status()

    def status(self) -> dict[str, Any]:
        """``state`` (``starting``, ``waiting``, ``asking``, ``done``, ``failed``) and what belongs to it.

        ``method`` is ``browser`` (with ``auth_url``) or ``device`` (with ``auth_url`` and ``user_code``);
        ``expires_at`` is a Unix time; ``question`` and ``secret`` belong to ``asking``, ``account`` to ``done``,
        ``error`` to ``failed``; ``notes`` are for the user.
        """
        return {"provider": self.provider, "state": self._state, "notes": list(self._notes), **self._shown}

    def finish(self, text: str) -> None:
        """Pass on what the user typed or pasted; raise ``AuthError`` if nothing is asked."""
        wanted = self._state == "asking" or (self._state == "waiting" and self._shown.get("method") == "browser")
        if not wanted or self._input.full():
            raise AuthError(f"the sign-in for {self.provider} does not wait for an input")
        self._input.put_nowait(text)

    async def wait(self) -> dict[str, Any]:
        """Wait for the end."""
        await asyncio.wait({self._task})
        return self.status()

    async def cancel(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self, flow: Flow[T], http: Http, on_done: Callable[[T], Coroutine[Any, Any, str]]) -> None:
        try:
            account = await on_done(await converse(flow, self, http))
            self._state, self._shown = "done", {"account": account}
        except CcrError as error:
            self._state, self._shown = "failed", {"error": error.message}
        except asyncio.CancelledError:
            self._state, self._shown = "failed", {"error": "the sign-in was ended"}
            raise
        except Exception as error:
            log.exception("the sign-in for %s failed", self.provider)
            self._state, self._shown = "failed", {"error": f"this is a fault of the plugin: {type(error).__name__}"}
        finally:
            self._told.set()

    def say(self, text: str) -> None:
        """See :class:`Front`."""
        self._notes.append(text)

    def open_url(self, url: str) -> None:
        """See :class:`Front`."""
        self._state = "waiting"
        self._shown = {"method": "browser", "auth_url": url, "expires_at": int(time.time() + 300)}
        self._told.set()

    def show_code(self, url: str, code: str, seconds: float) -> None:
        """See :class:`Front`."""
        self._state = "waiting"
        shown = {"method": "device", "auth_url": url, "user_code": code, "expires_at": int(time.time() + seconds)}
        self._shown = shown
        self._told.set()

    async def ask(self, text: str, secret: bool) -> str:
        """See :class:`Front`."""
        before = self._state, self._shown
        while not self._input.empty():
            self._input.get_nowait()  # it was meant for something else
        self._state, self._shown = "asking", {**self._shown, "question": text, "secret": secret}
        self._told.set()
        given = await self._input.get()
        self._state, self._shown = before
        return given

    async def pasted(self) -> str:
        """See :class:`Front`."""
        return await self._input.get()


@attrs.define
class Logins:
    """The logins under way, one for each provider; a new one ends the one before."""

    _sessions: dict[str, Session] = attrs.Factory(dict)

    async def start(self, provider: str, make: Callable[[], Session]) -> dict[str, Any]:
        """Begin the login that ``make`` makes, and give what to show."""
        old = self._sessions.pop(provider, None)
        if old is not None:
            await old.cancel()
        session = self._sessions[provider] = make()
        return await session.started()

    def find(self, provider: str) -> Session:
        """The login of a provider; raise ``AuthError`` if there is none."""
        try:
            return self._sessions[provider]
        except KeyError:
            raise AuthError(f"no sign-in for {provider} was started") from None

    async def close(self) -> None:
        """End all."""
        for session in self._sessions.values():
            await session.cancel()
        self._sessions.clear()
