"""The one owner of connections to providers: pools, TLS, proxies, time limits.

Written on asyncio and httptools rather than on a general HTTP client, because each chunk that a general client hands
up costs more than its conversion does (measured: docs/performance.md).  It does HTTP/1.1 with keep-alive, which every
provider speaks, gives all body bytes of one network read at once, stops reading from a provider while nobody takes
what has arrived, and closes a connection at once when its reply is closed.

A cut answer never looks complete: :meth:`Reply.read` raises unless the body ended as HTTP says it must.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import ipaddress
import socket
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import attrs
import httptools

from ccr_core import __version__
from ccr_core.dialect import WireRequest
from ccr_core.errors import ConfigError, Unreachable, UpstreamError
from ccr_core.messages import Headers

BUFFER = 256 * 1024
"""Bytes of an answer that may wait for the reader before the provider is made to wait."""

IDLE_SECONDS = 45.0
"""How long an unused connection is kept."""


class Reply(Protocol):
    """A provider's answer: its head has arrived, its body is arriving."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Headers:
        """The headers, lower-case names."""
        ...

    async def read(self) -> bytes:
        """What has arrived since the last call; waits for more; ``b""`` at the end.

        Raises ``UpstreamError`` when the body was cut.  Cancelling a call loses nothing.

        A reply may have the methods ``pour(sink)`` and ``ended()`` as well, see :class:`HttpReply`.
        """
        ...

    def close(self) -> None:
        """Nobody wants the rest: end the connection unless the answer is complete."""
        ...


class Sender(Protocol):
    """What sends requests to providers."""

    async def send(self, wire: WireRequest, body: bytes) -> Reply:
        """Send ``wire`` with ``body`` (its body, serialised); give the reply as soon as its head is here.

        Raises ``UpstreamError``: 502 if the provider cannot be reached or closes, 504 if connecting takes too long.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class _Stale(Exception):
    """A reused connection was closed before any byte of the answer: the request may be sent again."""


@attrs.frozen
class _Place:
    """Where a URL leads: what identifies a pooled connection, and the request line."""

    tls: bool
    host: str
    port: int
    authority: str
    path: str


@functools.lru_cache(maxsize=512)
def _place(url: str) -> _Place:
    parts = urlsplit(url)
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise UpstreamError(f"the provider's URL must begin with http:// or https://, got {url!r}")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise UpstreamError(f"the provider's URL {url!r} has a bad port: {error}") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii() or any(char <= " " for char in path):
        raise UpstreamError(f"the provider's URL {url!r} has characters that must be escaped")
    return _Place(parts.scheme == "https", host, port, parts.netloc.rpartition("@")[2], path)


class HttpReply:
    """The :class:`Reply` of :class:`HttpSender`."""

    def __init__(self, connection: _Connection) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._head: asyncio.Future[None] = self._loop.create_future()
        self._waiter: asyncio.Future[None] | None = None
        self.sink: Callable[[bytes], bool] | None = None
        self._thrown: Exception | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False
        self._done = False
        self._error: UpstreamError | None = None
        self._inflate: Any = None
        self._packed: deque[bytes] = deque()
        self._ended = False

    async def read(self) -> bytes:
        """See :meth:`Reply.read`."""
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self._done:
                return b""
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if self._packed:
            self._unpack()
        if self._paused and self._size <= BUFFER:
            self._paused = False
            self._connection.resume()
        return data

    def heard(self) -> bool:
        """Whether the provider has sent anything since this was asked last."""
        return self._connection.heard()

    def ended(self) -> bool:
        """Whether the body is complete, and all of it was read."""
        return self._done and not self._parts and self._error is None

    async def pour(self, sink: Callable[[bytes], bool]) -> None:
        """Hand what arrives to ``sink`` in the moment it arrives, without waking this task, which costs as much as
        all else.

        Ends, without a word why, when ``sink`` wants no more (it gives false), when something waits to be read, and
        when the body ends or is cut: :meth:`read` tells.  What ``sink`` raises is raised here.  Cancelling loses
        nothing.
        """
        if self._parts or self._done or self._error is not None or self._inflate is not None:
            return
        self.sink = sink
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = self.sink = None
            thrown, self._thrown = self._thrown, None
            if thrown is not None:
                raise thrown

    def close(self) -> None:
        """See :meth:`Reply.close`."""
        if not self._done and self._error is None:
            self._error = UpstreamError("the answer was closed by its reader")
            self._connection.abort()

    # What follows is called by the connection.

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers = status, headers
        encoding = headers.get("content-encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif encoding not in ("identity", ""):
            self.fail(UpstreamError(f"the provider compressed its answer with {encoding}, which was not asked for"))
        if not self._head.done():
            self._head.set_result(None)

    def arrived(self, chunks: list[bytes]) -> None:
        if self._inflate is None:
            self._parts += chunks
            self._size = sum(map(len, self._parts))
        else:
            self._packed += chunks
            self._unpack()
        if self._size > BUFFER and not self._paused and not self._done:
            self._paused = True
            self._connection.pause()
        if self._parts or self._done:
            self._wake()

    def _unpack(self) -> None:
        """Unpack what has arrived, as far as there is room: a few bytes may stand for very many."""
        try:
            while self._packed and self._size <= BUFFER:
                data = self._inflate.decompress(self._packed.popleft(), BUFFER)
                if len(data) == BUFFER:
                    # There may be more, also where all bytes were taken.
                    self._packed.appendleft(self._inflate.unconsumed_tail)
                if data:
                    self._parts.append(data)
                    self._size += len(data)
        except zlib.error as error:
            self._packed.clear()
            self.fail(UpstreamError(f"the provider's compressed answer is broken: {error}"))
        if self._ended and not self._packed:
            self._finish()

    def poured(self, error: Exception | None = None) -> None:
        """The sink wants no more, or failed."""
        self.sink = None
        self._thrown = error
        self._wake()

    def complete(self) -> None:
        self._ended = True
        if not self._packed:
            self._finish()

    def _finish(self) -> None:
        if self._inflate is not None and not self._inflate.eof and self.status not in (204, 304):
            self.fail(UpstreamError("the provider's compressed answer was cut short"))
        self._done = True
        self._wake()

    def fail(self, error: UpstreamError | _Stale) -> None:
        if not self._head.done():
            self._head.set_exception(error)
        elif isinstance(error, UpstreamError) and self._error is None and not self._done:
            self._error = error
        self._wake()

    async def head(self) -> None:
        await self._head

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Connection(asyncio.Protocol):
    """One connection; serves one reply at a time."""

    def __init__(self, pool: HttpSender, key: tuple[bool, str, int]) -> None:
        self._pool = pool
        self.key = key
        self.idle_since = 0.0
        self.used = 0
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._reply: HttpReply | None = None
        self._parser: Any = None
        self._status = 0
        self._headers: dict[str, str] = {}
        # The parser calls it for every chunk of a body: nothing but a list's own append is quick enough.
        self._chunks: list[bytes] = []
        self.on_body = self._chunks.append
        self._heard: bool | None = None
        self._framed = False
        self._finished = False
        self._keep = False

    def start(self, reply: HttpReply, head: bytes, body: bytes) -> None:
        self._reply = reply
        self._parser = httptools.HttpResponseParser(self)
        self._chunks.clear()
        self._heard = None
        self._finished = False
        self.used += 1
        assert self._transport is not None
        self._transport.writelines([head, body])

    def heard(self) -> bool:
        heard = bool(self._heard)
        self._heard = False
        return heard

    def pause(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.resume_reading()

    def abort(self) -> None:
        self._reply = None
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        reply = self._reply
        if reply is None:
            # Bytes that nobody asked for: the connection is not in a known state any more.
            self.abort()
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            reply.fail(UpstreamError("the provider switched protocols"))
            self.abort()
            return
        except httptools.HttpParserError as error:
            reply.fail(UpstreamError(f"the provider's answer is not valid HTTP: {error}"))
            self.abort()
            return
        chunks = self._chunks
        if chunks:
            # The end is left to be read: then it goes out together with what the router says last.
            sink = reply.sink if not self._finished else None
            if sink is None:
                reply.arrived(chunks)
                chunks.clear()
            else:
                data = chunks.pop() if len(chunks) == 1 else b"".join(chunks)
                chunks.clear()
                try:
                    if not sink(data):
                        reply.poured()
                except Exception as error:
                    reply.poured(error)
        if self._finished:
            self._release()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        reply, self._reply = self._reply, None
        # The parser holds this connection's methods: together they would stay until the collector comes.
        self._transport = self._parser = None
        self._pool.forget(self)
        if reply is None:
            return
        if self._heard is None and self.used > 1:
            reply.fail(_Stale())
        elif reply.status and not self._framed and exc is None:
            # Neither a length nor chunks: the end of the connection is the end of the body.
            reply.complete()
        else:
            what = "in the middle of its answer" if reply.status else "without an answer"
            reply.fail(UpstreamError(f"the provider closed the connection {what}" + (f": {exc}" if exc else "")))

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self._headers.get(key)
        self._headers[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= 200 and self._reply is not None:
            self._framed = "content-length" in self._headers or "chunked" in self._headers.get("transfer-encoding", "")
            self._reply.begin(self._status, self._headers)

    def on_message_complete(self) -> None:
        self._finished = self._status >= 200
        self._keep = bool(self._parser.should_keep_alive())

    def _release(self) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.complete()
        if self._keep and self._framed and not self.closed:
            self.resume()
            self._pool.keep(self)
        elif self._transport is not None:
            self.closed = True
            self._transport.close()


class _Tunnel(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT."""

    def __init__(self) -> None:
        self._data = b""
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._data += data
        if b"\r\n\r\n" in self._data and not self.answer.done():
            self.answer.set_result(self._data)
        elif len(self._data) > 16384 and not self.answer.done():
            self.answer.set_exception(UpstreamError("the proxy's answer is too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(UpstreamError("the proxy closed the connection"))


class HttpSender:
    """A pool of connections, shared by all providers of a runtime.

    ``proxy_url`` is an ``http://`` proxy (with credentials if it needs them), used for every host that ``no_proxy``
    does not list; loopback hosts are never proxied.
    """

    def __init__(
        self,
        *,
        connect_seconds: float = 10.0,
        proxy_url: str | None = None,
        no_proxy: tuple[str, ...] = (),
        idle_per_host: int = 64,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._proxy = _proxy_of(proxy_url) if proxy_url else None
        self._no_proxy = tuple(entry.strip().lower().lstrip("*").lstrip(".") for entry in no_proxy if entry.strip())
        self._idle_per_host = idle_per_host
        self._idle: dict[tuple[bool, str, int], deque[_Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, wire: WireRequest, body: bytes) -> HttpReply:
        """See :meth:`Sender.send`."""
        place = _place(wire.url)
        key = (place.tls, place.host, place.port)
        proxied = self._proxy is not None and not self._bypasses(place.host)
        head = self._head(wire, place, len(body), proxied and not place.tls)
        while True:
            connection = self._take(key)
            if connection is None:
                connection = await self._connect(key, proxied)
            reply = HttpReply(connection)
            connection.start(reply, head, body)
            try:
                await reply.head()
            except _Stale:
                continue
            except BaseException:
                reply.close()
                connection.abort()
                raise
            return reply

    async def aclose(self) -> None:
        """See :meth:`Sender.aclose`."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        for connections in list(self._idle.values()):
            for connection in list(connections):
                connection.abort()
        self._idle.clear()

    # The pool.

    def keep(self, connection: _Connection) -> None:
        connections = self._idle.setdefault(connection.key, deque())
        if self._closed or len(connections) >= self._idle_per_host:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        connections.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_SECONDS, self._drop_idle)

    def forget(self, connection: _Connection) -> None:
        connections = self._idle.get(connection.key)
        if connections and connection in connections:
            connections.remove(connection)

    def _take(self, key: tuple[bool, str, int]) -> _Connection | None:
        connections = self._idle.get(key)
        while connections:
            connection = connections.pop()
            if not connection.closed:
                return connection
        return None

    def _drop_idle(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE_SECONDS
        for key, connections in list(self._idle.items()):
            while connections and connections[0].idle_since <= oldest:
                connections.popleft().abort()
            if not connections:
                del self._idle[key]
        if self._idle and not self._closed:
            self._sweep = loop.call_later(IDLE_SECONDS / 2, self._drop_idle)

    # Making connections.

    def _head(self, wire: WireRequest, place: _Place, length: int, absolute: bool) -> bytes:
        target = f"http://{place.authority}{place.path}" if absolute else place.path
        lines = [f"{wire.method} {target} HTTP/1.1", f"host: {place.authority}"]
        headers = {
            "user-agent": f"ccr/{__version__}",
            "accept-encoding": "identity",
            **wire.headers,
            "content-length": str(length),
        }
        if absolute and self._proxy is not None and self._proxy.credentials:
            headers["proxy-authorization"] = self._proxy.credentials
        for name, value in headers.items():
            if "\r" in value or "\n" in value or "\0" in value:
                raise UpstreamError(f"the header {name} has a line break in its value")
            lines.append(f"{name}: {value}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _bypasses(self, host: str) -> bool:
        host = host.lower()
        if is_loopback(host):
            return True
        return any(entry == "" or host == entry or host.endswith(f".{entry}") for entry in self._no_proxy)

    async def _connect(self, key: tuple[bool, str, int], proxied: bool) -> _Connection:
        tls, host, port = key
        loop = asyncio.get_running_loop()
        context = _tls() if tls else None
        where = f"{host}:{port}"
        try:
            async with asyncio.timeout(self._connect_seconds):
                if proxied and self._proxy is not None:
                    proxy = self._proxy
                    where = f"the proxy {proxy.host}:{proxy.port}"
                    if context is None:
                        _, made = await loop.create_connection(lambda: _Connection(self, key), proxy.host, proxy.port)
                        return made
                    return await self._tunnel(key, proxy, context)
                _, made = await loop.create_connection(
                    lambda: _Connection(self, key),
                    host,
                    port,
                    ssl=context,
                    server_hostname=host if context is not None else None,
                )
                return made
        except TimeoutError:
            raise Unreachable(f"cannot connect to {where} within {self._connect_seconds:g} s", 504) from None
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"the certificate of {host} cannot be trusted: {error.verify_message}") from None
        except socket.gaierror as error:
            raise Unreachable(f"cannot find the address of {where}: {error.strerror}") from None
        except OSError as error:
            raise Unreachable(f"cannot connect to {where}: {error.strerror or error}") from None

    async def _tunnel(self, key: tuple[bool, str, int], proxy: _Proxy, context: ssl.SSLContext) -> _Connection:
        _, host, port = key
        loop = asyncio.get_running_loop()
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        transport, tunnel = await loop.create_connection(_Tunnel, proxy.host, proxy.port)
        lines = [f"CONNECT {authority} HTTP/1.1", f"host: {authority}"]
        if proxy.credentials:
            lines.append(f"proxy-authorization: {proxy.credentials}")
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        try:
            answer = await tunnel.answer
            status = answer.split(b"\r\n", 1)[0].decode("latin-1")
            if status.split(" ")[1:2] != ["200"]:
                raise Unreachable(f"the proxy {proxy.host}:{proxy.port} refused to connect to {authority}: {status}")
            connection = _Connection(self, key)
            secured = await loop.start_tls(transport, connection, context, server_hostname=host)
        except BaseException:
            transport.abort()
            raise
        assert secured is not None
        connection.connection_made(secured)
        return connection


@attrs.frozen
class _Proxy:
    host: str
    port: int
    credentials: str | None


def _proxy_of(url: str) -> _Proxy:
    parts: SplitResult = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(f"PROXY_URL must be http://host:port, got {parts.scheme}://{parts.hostname or ''}")
    credentials = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = "Basic " + base64.b64encode(pair.encode()).decode()
    return _Proxy(parts.hostname, parts.port or 80, credentials)


def trusted() -> ssl.SSLContext:
    """A context with the system's roots (``SSL_CERT_FILE``, ``SSL_CERT_DIR`` count), else with those of certifi."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"]:
        import certifi

        context.load_verify_locations(certifi.where())
    return context


_tls = functools.cache(trusted)


@functools.lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address) can only be this machine."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class EmbeddedReply:
    """The reply of an upstream inside the process; see :class:`ccr_core.spec.Embedded`."""

    def __init__(self, status: int, headers: Headers, pieces: AsyncIterator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self._pieces = pieces

    async def read(self) -> bytes:
        """See :meth:`Reply.read`."""
        return await anext(self._pieces, b"")

    def close(self) -> None:
        """See :meth:`Reply.close`.  An iterator that is not read further costs nothing."""
