"""The HTTP client, against real sockets that behave well, badly, and not at all."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import gzip
import socket
import ssl
import weakref
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ccr_core import ConfigError, UpstreamError, WireRequest, upstream
from ccr_core.upstream import BUFFER, HttpSender, is_loopback

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(script: Script) -> AsyncIterator[str]:
    """A server on a free loopback port whose every connection runs ``script``."""

    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


@asynccontextmanager
async def sender(**options: object) -> AsyncIterator[HttpSender]:
    made = HttpSender(**options)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.aclose()


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(length)


def answers(*answers: bytes) -> Script:
    """Answer each request of a connection with the next of ``answers``, then close."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    return script


async def read_all(reply: object) -> bytes:
    return b"".join([data async for data in pieces(reply)])


async def pieces(reply: object) -> AsyncIterator[bytes]:
    while data := await reply.read():  # type: ignore[attr-defined]
        yield data


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def test_request_goes_out_as_it_is() -> None:
    """
    Method, path with query, headers and body arrive; the length is right.
    """
    seen: list[tuple[bytes, bytes]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(OK)

    async with serving(script) as url, sender() as http:
        reply = await http.send(WireRequest(url=f"{url}/v1/x?beta=true", headers={"x-api-key": "k"}), b'{"a":1}')
        body = await read_all(reply)

    head, sent = seen[0]
    assert b"ok" == body
    assert head.startswith(b"POST /v1/x?beta=true HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nx-api-key: k\r\n" in head
    assert b'{"a":1}' == sent


async def test_connections_are_reused() -> None:
    """
    The second request goes over the first one's connection once its answer was read.
    """
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answers(OK, OK, OK)(reader, writer)

    async with serving(script) as url, sender() as http:
        for _ in range(3):
            assert b"ok" == await read_all(await http.send(WireRequest(url=url), b""))

    assert 1 == connections


async def test_reused_connection_that_was_closed_is_replaced() -> None:
    """
    A kept connection that the provider closed meanwhile costs nothing: the request goes over a new one.
    """
    async with serving(answers(OK)) as url, sender() as http:
        for _ in range(3):
            assert b"ok" == await read_all(await http.send(WireRequest(url=url), b""))


async def test_closed_on_arrival_of_the_second_request() -> None:
    """
    A kept connection closed just as the next request is sent is retried, as no byte of an answer came.
    """
    requests = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1
        writer.write(OK)
        await read_request(reader)
        requests += 1

    async with serving(script) as url, sender() as http:
        for _ in range(2):
            assert b"ok" == await read_all(await http.send(WireRequest(url=url), b""))

    assert 3 == requests


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "without an answer"),
        (b"rubbish\r\n\r\n", "not valid HTTP"),
    ],
)
async def test_no_answer(answer: bytes, words: str) -> None:
    """
    A connection that ends before the head of an answer is an error that says so.
    """
    async with serving(answers(answer)) as url, sender() as http:
        with pytest.raises(UpstreamError, match=words) as caught:
            await http.send(WireRequest(url=url), b"")

    assert 502 == caught.value.status


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nxy",
    ],
)
async def test_cut_body_is_an_error_after_what_came(answer: bytes) -> None:
    """
    What arrived before the cut can be read; then comes an error, never an end.
    """
    async with serving(answers(answer)) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        got = [await reply.read()]
        with pytest.raises(UpstreamError, match="in the middle of its answer"):
            got += [data async for data in pieces(reply)]

    assert b"".join(got).startswith(b"abc")


async def test_body_that_ends_with_the_connection() -> None:
    """
    Without a length and without chunks the end of the connection ends the body (RFC 9112, 6.3).
    """
    async with serving(answers(b"HTTP/1.1 200 OK\r\n\r\nabc")) as url, sender() as http:
        assert b"abc" == await read_all(await http.send(WireRequest(url=url), b""))


async def test_informational_answers_are_passed_over() -> None:
    """
    100 and 103 come before the answer, not in its place.
    """
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK
    async with serving(answers(answer)) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        assert (200, b"ok") == (reply.status, await read_all(reply))
        assert "link" not in reply.headers


async def test_compressed_answer() -> None:
    """
    gzip is understood although it was not asked for, at any cut; a cut one is an error.
    """
    packed = gzip.compress(b"hello " * 1000)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(head + b"content-length: %d\r\n\r\n" % len(packed))
        for at in range(0, len(packed), 7):
            writer.write(packed[at : at + 7])
            await asyncio.sleep(0)
        await read_request(reader)
        writer.write(head + b"content-length: 20\r\n\r\n" + packed[:20])

    async with serving(script) as url, sender() as http:
        assert b"hello " * 1000 == await read_all(await http.send(WireRequest(url=url), b""))
        with pytest.raises(UpstreamError, match="cut short"):
            await read_all(await http.send(WireRequest(url=url), b""))


async def test_closing_a_reply_closes_the_connection() -> None:
    """
    A reader that leaves in the middle is noticed by the provider at once.
    """
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        try:
            await reader.read()
        finally:
            gone.set()

    async with serving(script) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        await reply.read()
        reply.close()
        async with asyncio.timeout(5):
            await gone.wait()


async def test_closed_connection_needs_no_collector() -> None:
    """
    A connection that is closed is let go at once: hundreds of them do not wait for the garbage collector.
    """
    gone, let_go = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers(OK)(reader, writer)
        await reader.read()
        gone.set()

    gc.collect()
    gc.disable()
    try:
        async with serving(script) as url:
            async with sender() as http:
                assert b"ok" == await read_all(await http.send(WireRequest(url=url), b""))
                (kept,) = http._idle.values()
                connection = weakref.ref(kept[0], lambda _: let_go.set())
                del kept
            async with asyncio.timeout(5):
                await gone.wait()
                await let_go.wait()
        assert connection() is None
    finally:
        gc.enable()


async def test_cancelled_wait_for_the_head_closes_the_connection() -> None:
    """
    Cancelling a request that is not answered yet closes its connection.
    """
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        try:
            await reader.read()
        finally:
            gone.set()

    async with serving(script) as url, sender() as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await http.send(WireRequest(url=url), b"")
        async with asyncio.timeout(5):
            await gone.wait()


async def test_slow_reader_slows_the_provider() -> None:
    """
    While nobody reads, the provider can send no more than the buffers hold.
    """
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        block = b"x" * 100_000
        for _ in range(1000):
            writer.write(block)
            await writer.drain()
            sent += len(block)

    async with serving(script) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        await asyncio.sleep(0.5)
        waiting = sent
        got = len(await read_all(reply))

    assert 100_000_000 == got
    assert waiting < 50_000_000
    assert reply._size <= BUFFER * 2


async def test_read_can_be_cancelled_without_loss() -> None:
    """
    A read that timed out loses no bytes.
    """
    go = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        await go.wait()
        writer.write(b"ok")

    async with serving(script) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await reply.read()
        go.set()
        assert b"ok" == await read_all(reply)


async def test_nobody_listens() -> None:
    """
    A refused connection is a 502 that names the address.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with sender() as http:
        with pytest.raises(UpstreamError, match=f"cannot connect to 127.0.0.1:{port}") as caught:
            await http.send(WireRequest(url=f"http://127.0.0.1:{port}/"), b"")

    assert 502 == caught.value.status


@pytest.mark.parametrize("url", ["ftp://x/", "http:///x", "http://x:99999/", "nonsense"])
async def test_url_that_leads_nowhere(url: str) -> None:
    """
    A URL that cannot be used is named.
    """
    async with sender() as http:
        with pytest.raises(UpstreamError, match="URL"):
            await http.send(WireRequest(url=url), b"")


async def test_header_with_a_line_break_is_refused() -> None:
    """
    Nothing can smuggle a header, or a second request, through a value.
    """
    async with serving(answers(OK)) as url, sender() as http:
        with pytest.raises(UpstreamError, match="x-bad"):
            await http.send(WireRequest(url=url, headers={"x-bad": "a\r\nb: c"}), b"")


def test_loopback_hosts() -> None:
    """
    Only what can be no other machine counts as loopback.
    """
    yes = ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "::1", "[::1]"]
    no = ["0.0.0.0", "10.0.0.1", "example.com", "localhost.evil.example", "127.0.0.1.evil.example", ""]
    assert [True] * len(yes) == [is_loopback(host) for host in yes]
    assert [False] * len(no) == [is_loopback(host) for host in no]


async def test_plain_requests_go_through_the_proxy() -> None:
    """
    A proxy gets the whole URL and its credentials; the hosts in no_proxy are left alone.
    """
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await read_request(reader))[0])
        writer.write(OK)

    async with serving(script) as url:
        port = url.rpartition(":")[2]
        async with sender(proxy_url=f"http://me:p%40ss@127.0.0.1:{port}", no_proxy=(".direct.invalid",)) as http:
            await read_all(await http.send(WireRequest(url="http://api.invalid/v1"), b""))
            with pytest.raises(UpstreamError, match=r"x\.direct\.invalid"):
                await http.send(WireRequest(url="http://x.direct.invalid/"), b"")

    assert seen[0].startswith(b"POST http://api.invalid/v1 HTTP/1.1\r\n")
    assert b"proxy-authorization: Basic bWU6cEBzcw==\r\n" in seen[0]


async def test_proxy_that_refuses_a_tunnel() -> None:
    """
    A proxy's refusal to tunnel is told in its own words.
    """
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Not For You\r\n\r\n")
        await writer.drain()

    async with serving(script) as url, sender(proxy_url=url) as http:
        with pytest.raises(UpstreamError, match="403 Not For You"):
            await http.send(WireRequest(url="https://api.invalid/"), b"")

    assert seen[0].startswith(b"CONNECT api.invalid:443 HTTP/1.1\r\n")


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "https://proxy.invalid"])
def test_proxy_of_another_kind(url: str) -> None:
    """
    A kind of proxy that is not supported is refused when it is configured, not when it is used.
    """
    with pytest.raises(ConfigError, match="PROXY_URL"):
        HttpSender(proxy_url=url)


# What a provider compresses although nobody asked for it.


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_what_is_understood(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """
    Nothing is asked for but plain bytes; gzip and deflate are understood all the same.
    """
    seen: list[bytes] = []
    packed = pack(b"hello " * 1000)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await read_request(reader))[0])
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: %s\r\n" % encoding.encode())
        writer.write(b"content-length: %d\r\n\r\n" % len(packed) + packed)

    async with serving(script) as url, sender() as http:
        assert b"hello " * 1000 == await read_all(await http.send(WireRequest(url=url), b""))
    assert b"\r\naccept-encoding: identity\r\n" in seen[0]


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
async def test_what_is_not_understood(encoding: str) -> None:
    """
    An answer that is compressed in another way is an error that says so, and never passed on as it is.
    """
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: 2\r\n\r\nok".encode()
    async with serving(answers(head)) as url, sender() as http:
        with pytest.raises(UpstreamError, match=f"compressed its answer with {encoding}, which was not asked for"):
            await read_all(await http.send(WireRequest(url=url), b""))


async def test_a_few_bytes_that_stand_for_many() -> None:
    """
    A compressed answer takes no more memory while it waits than a plain one, and all of it arrives.
    """
    plain = bytes(BUFFER * 400)
    packed = gzip.compress(plain, 9)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed))
            writer.write(packed)

    async with serving(script) as url, sender() as http:
        for _ in range(2):
            reply = await http.send(WireRequest(url=url), b"")
            await asyncio.sleep(0.1)
            held, got = reply._size, 0
            async for data in pieces(reply):
                held, got = max(held, reply._size, len(data)), got + len(data)
            assert len(plain) == got
            assert held <= 2 * BUFFER


# Connections.


async def test_connecting_takes_too_long() -> None:
    """
    A host that does not take connections is a 504 after the time allowed.
    """
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # its queue is full
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        async with sender(connect_seconds=0.2) as http:
            with pytest.raises(UpstreamError, match=r"within 0\.2 s") as caught:
                await http.send(WireRequest(url="http://{}:{}/".format(*deaf.getsockname())), b"")
    assert 504 == caught.value.status


async def test_unused_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A connection that nobody uses is given up after a while.
    """
    monkeypatch.setattr(upstream, "IDLE_SECONDS", 0.05)
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await reader.read()
        gone.set()

    async with serving(script) as url, sender() as http:
        await read_all(await http.send(WireRequest(url=url), b""))
        async with asyncio.timeout(5):
            await gone.wait()


@pytest.mark.parametrize(
    ("no_proxy", "host", "expected"),
    [
        ("example.com", "example.com", True),
        ("example.com", "api.example.com", True),
        (".example.com", "api.example.com", True),
        ("*.example.com", "api.example.com", True),
        ("EXAMPLE.com", "api.Example.COM", True),
        ("example.com", "notexample.com", False),
        ("*", "anything.test", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.12", False),
        ("", "example.com", False),
        ("", "127.0.0.1", True),
        ("", "localhost", True),
        ("", "::1", True),
    ],
)
def test_hosts_without_the_proxy(no_proxy: str, host: str, expected: bool) -> None:
    """
    NO_PROXY names hosts and all below them, with or without a dot or a star; this machine is never proxied.
    """
    http = HttpSender(proxy_url="http://proxy.invalid:3128", no_proxy=(no_proxy,) if no_proxy else ())
    assert expected == http._bypasses(host)


# TLS.


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An authority of our own, and a certificate of it for ``localhost`` and ``api.invalid``."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    now = datetime.datetime.now(datetime.UTC)

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def begun(subject: str, key: Any) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("authority"))
        made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return made.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = begun("authority", authority).add_extension(x509.BasicConstraints(True, None), True)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("api.invalid")])
    leaf = begun("server", key).add_extension(names, False)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.sign(authority, hashes.SHA256()).public_bytes(pem))
    (folder / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + leaf.sign(authority, hashes.SHA256()).public_bytes(pem)
    )
    return folder


@asynccontextmanager
async def serving_tls(script: Script, folder: Path) -> AsyncIterator[int]:
    """Like :func:`serving`, with TLS; gives the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def trusting(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Our own authority is trusted, as the user's would be: by ``SSL_CERT_FILE``."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    upstream._tls.cache_clear()
    yield certificates
    upstream._tls.cache_clear()


async def test_tls(trusting: Path) -> None:
    """
    A certificate of an authority that ``SSL_CERT_FILE`` names is trusted, and the connection is used again.
    """
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await read_request(reader)
            writer.write(OK)

    async with serving_tls(script, trusting) as port, sender() as http:
        for _ in range(2):
            assert b"ok" == await read_all(await http.send(WireRequest(url=f"https://localhost:{port}/"), b"{}"))
    assert 1 == connections


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
async def test_tls_that_cannot_be_trusted(certificates: Path, request: Any, host: str, trusted: bool) -> None:
    """
    An unknown authority and a certificate for another name are refused, with the reason; nothing is sent.
    """
    if trusted:
        request.getfixturevalue("trusting")
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async with serving_tls(script, certificates) as port, sender() as http:
        with pytest.raises(UpstreamError, match=f"the certificate of {host} cannot be trusted"):
            await http.send(WireRequest(url=f"https://{host}:{port}/"), b"secret")
    assert b"" == b"".join(seen)


async def test_tls_through_a_proxy(trusting: Path) -> None:
    """
    Through a proxy TLS is between the client and the provider: the proxy sees a host name, and its own credentials.
    """
    asked: list[bytes] = []
    passed: list[bytes] = []

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_request(reader)
            writer.write(OK)

    async with serving_tls(provider, trusting) as port:

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            there, here = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

            async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
                while data := await source.read(65536):
                    passed.append(data)
                    target.write(data)
                target.close()

            try:
                await asyncio.gather(copy(reader, here), copy(there, writer))
            finally:
                here.close()
                with contextlib.suppress(ConnectionError):
                    await here.wait_closed()

        async with serving(proxy) as url, sender(proxy_url=url.replace("//", "//me:pass@")) as http:
            for _ in range(2):
                wire = WireRequest(url="https://api.invalid/v1", headers={"x-api-key": "very-secret"})
                assert b"ok" == await read_all(await http.send(wire, b"{}"))
    assert 1 == len(asked)
    assert asked[0].startswith(b"CONNECT api.invalid:443 HTTP/1.1\r\n")
    assert b"proxy-authorization: Basic bWU6cGFzcw==\r\n" in asked[0]
    assert b"very-secret" not in b"".join(passed)
