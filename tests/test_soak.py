"""Rough handling of a real router process over real sockets: clients that leave, crowd, dribble and do not read;
providers that hang, flood and fall silent.  A short form of what ``python -m tests.bench.run --only soak`` does for
minutes.

One process serves all tests.  Both of its providers are this test's own server: ``ant`` is passed through, ``oai`` is
translated.  Nothing here waits for a fixed time; what is waited for is bounded by ``SECONDS``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

SECONDS = 20.0
"""How long anything may take before a test fails."""

BODY_MB = 8
"""The largest request that the router takes here."""

process: Any = importlib.import_module("bench.process")
payload: Any = importlib.import_module("bench.payload")

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BOTH = pytest.mark.parametrize("model", ["ant,m", "oai,m"])
"""Passed through and translated."""


@attrs.frozen
class Router:
    """A running router and the socket on which its providers listen."""

    pid: int
    port: int
    listener: socket.socket

    def sockets(self) -> int:
        """How many sockets the process has open; 0 where that cannot be known.

        Files are not counted: the history opens and closes its own when it likes.
        """
        return sum(process.sockets(self.pid).values())


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """The router, started once."""
    folder = tmp_path_factory.mktemp("soak")
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        at = f"http://127.0.0.1:{listener.getsockname()[1]}"
        document = {
            "PORT": 0,
            "Providers": [
                {"name": "oai", "api_base_url": f"{at}/v1/chat/completions", "api_key": "k", "models": ["m"]},
                {
                    "name": "ant",
                    "api_base_url": f"{at}/v1/messages",
                    "api_key": "k",
                    "models": ["m"],
                    "dialect": "anthropic",
                },
            ],
            "Router": {"default": "oai,m"},
            "limits": {"body_mb": BODY_MB, "first_byte_s": 1.5, "ping_s": 0.2, "idle_s": 1},
            "retry": {"attempts": 0},
        }
        (folder / "config.json").write_text(json.dumps(document))
        with (folder / "err.txt").open("w") as err:
            running = subprocess.Popen(
                [sys.executable, "-m", "ccr_core.cli", "start"],
                env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "CCR_HOME": str(folder)},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        assert running.stdout is not None
        try:
            said = next((line for line in running.stdout if "is running at http://" in line), "")
            assert said, (folder / "err.txt").read_text()
            yield Router(running.pid, int(said.partition("http://127.0.0.1:")[2].split()[0]), listener)
            running.send_signal(signal.SIGTERM)
            running.communicate(timeout=SECONDS)
        finally:
            running.kill()
            running.communicate(timeout=SECONDS)
    assert "Traceback" not in (folder / "err.txt").read_text()


class Provider:
    """What a test's provider has seen: how many requests came in, are open, and were left by the router."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.open = 0
        self.left = 0
        self.sent = 0
        self.news = asyncio.Event()

    def tell(self, **changes: int) -> None:
        """Count something."""
        for name, change in changes.items():
            setattr(self, name, getattr(self, name) + change)
        self.news.set()

    async def until(self, what: Callable[[], bool]) -> None:
        """Wait until ``what`` is true of it."""
        async with asyncio.timeout(SECONDS):
            while not what():
                self.news.clear()
                await self.news.wait()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

Answering = Callable[[Provider, bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def provider(router: Router, answer: Answering) -> AsyncIterator[Provider]:
    """Serve the router's providers: each request is given to ``answer``, which writes what it wants."""
    seen = Provider()
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")
                )
                body = await reader.readexactly(length)
                seen.bodies.append(body)
                seen.tell(open=1)
                try:
                    await answer(seen, head.split(b" ")[1], reader, writer)
                finally:
                    seen.tell(open=-1)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            serving.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, sock=router.listener.dup(), limit=1 << 24)
    try:
        yield seen
    finally:
        server.close()
        tasks = tuple(serving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer_of(path: bytes, events: int = 20, size: int = 0) -> Any:
    """The answer of a well-behaved provider."""
    return payload.answer(payload.PATHS[path.decode()], events, size)


async def answers(seen: Provider, path: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whole, at once."""
    writer.write(b"".join(answer_of(path).writes(0)))
    await writer.drain()


async def begins(seen: Provider, path: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer half, then wait for the router to leave."""
    whole = answer_of(path)
    writer.write(whole.head + b"".join(whole.steps[:10]))
    await reader.read()
    seen.tell(left=1)
    raise ConnectionResetError


async def says_nothing(seen: Provider, path: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait for the router to leave."""
    await reader.read()
    seen.tell(left=1)
    raise ConnectionResetError


def request(model: str = "oai,m", size: int = 0, stream: bool = True) -> bytes:
    """The body of a request of about ``size`` bytes."""
    body = {
        "model": model,
        "max_tokens": 100,
        "stream": stream,
        "messages": [{"role": "user", "content": "x" * size or "hello"}],
    }
    return json.dumps(body).encode()


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    """The head of a request."""
    lines = (f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def post(body: bytes, path: str = "/v1/messages") -> bytes:
    """A whole request."""
    return head(path, f"content-length: {len(body)}") + body


class Client:
    """One connection to the router."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, *, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers and body."""
        async with asyncio.timeout(SECONDS):
            status, headers = await self.answer_head()
            if bodiless:
                return status, headers, b""
            if "content-length" in headers:
                return status, headers, await self.reader.readexactly(int(headers["content-length"]))
            body = b""
            while size := int((await self.reader.readuntil(b"\r\n")), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
            return status, headers, body

    async def answer_head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        async with asyncio.timeout(SECONDS):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in lines if line)
        return int(first.split(" ")[1]), {name.lower(): value for name, _, value in pairs}


@asynccontextmanager
async def client(router: Router, *sent: bytes) -> AsyncIterator[Client]:
    """A connection over which ``sent`` has gone; cut at the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port, limit=1 << 24)
    writer.writelines(sent)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def ask(router: Router, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """One request over a connection of its own, and its answer."""
    async with client(router, sent) as one:
        return await one.answer()


def problem(body: bytes) -> str | None:
    """What is wrong with the answer of a well-behaved provider."""
    found: str | None = payload.Checker(20, 0).stream(body)
    return found


# --- many, and leaving --------------------------------------------------------------------------------------


@BOTH
async def test_a_client_that_leaves_ends_the_work_of_the_provider(router: Router, model: str) -> None:
    """Sixteen clients hang up in the middle: the router leaves the provider at once and keeps nothing open."""
    async with provider(router, answers):
        await ask(router, post(request(model)))
    before = router.sockets()

    async with provider(router, begins) as seen:
        for _ in range(16):
            async with client(router, post(request(model))) as one:
                await one.answer_head()
        await seen.until(lambda: seen.left == 16)

        assert 0 == seen.open
    assert process.until(lambda: router.sockets() <= before, SECONDS)


@BOTH
async def test_a_client_that_leaves_before_the_answer(router: Router, model: str) -> None:
    """Also while the provider has not said a word."""
    async with provider(router, says_nothing) as seen:
        async with client(router, post(request(model))):
            await seen.until(lambda: seen.open == 1)
        await seen.until(lambda: seen.left == 1)


@BOTH
async def test_a_client_that_leaves_a_plain_request(router: Router, model: str) -> None:
    """Also when it did not ask for a stream."""
    async with provider(router, begins) as seen:
        async with client(router, post(request(model, stream=False))):
            await seen.until(lambda: seen.open == 1)
        await seen.until(lambda: seen.left == 1)


async def test_a_client_that_leaves_inside_its_request(router: Router) -> None:
    """Half a request is no request."""
    async with provider(router, answers) as seen:
        async with client(router, post(request())[:-5]):
            pass
        assert 200 == (await ask(router, post(request())))[0]
        assert 1 == len(seen.bodies)


async def test_two_hundred_at_once(router: Router) -> None:
    """Two hundred streams are open at the same time, on both roads; every answer is whole, nothing stays open."""
    gate = asyncio.Event()

    async def together(seen: Provider, path: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = answer_of(path)
        writer.write(whole.head + whole.steps[0])
        seen.tell(sent=1)
        await gate.wait()
        writer.write(b"".join(whole.steps[1:]))

    before = router.sockets()
    async with provider(router, together) as seen, asyncio.TaskGroup() as group:
        models = ["ant,m", "oai,m"] * 100
        asked = [group.create_task(ask(router, post(request(model)))) for model in models]
        await seen.until(lambda: seen.sent == 200)
        gate.set()

    assert [(200, None)] * 200 == [(one.result()[0], problem(one.result()[2])) for one in asked]
    # Kept connections to the provider end with it.
    assert process.until(lambda: router.sockets() <= before, SECONDS)


def test_load_with_clients_that_hang_up() -> None:
    """The load generator's clients, a third of which break off: all others get whole answers."""
    with process.script("upstream", "--events", "40", "--delay", "5", "--seconds", "60") as upstream:
        run: Any = importlib.import_module("bench.run")
        product = run.Product("ccr", run.find_ccr())
        with product.started(upstream.port) as (running, _):
            load = {
                "port": running.port,
                "models": ["ant,m", "oai,m"],
                "events": 40,
                "clients": 60,
                "requests": 180,
                "hang_up_every": 3,
                "timeout": SECONDS,
            }
            done = subprocess.run(
                [sys.executable, "-m", "bench.load", json.dumps(load)],
                cwd=Path(__file__).parent,
                capture_output=True,
                timeout=3 * SECONDS,
                check=True,
            )
            result = json.loads(done.stdout)
            assert ({}, 120, 60) == (result["error_kinds"], result["right"], result["hung_up"])
            assert process.until(lambda: process.control(upstream.port)["active"] == 0, SECONDS)

            def left() -> int:
                held = process.sockets(running.pid)
                return sum(n for (state, local, _), n in held.items() if local == running.port and state != "listen")

            assert process.until(lambda: left() == 0, SECONDS)
            assert not any(state == "close_wait" for state, _, _ in process.sockets(running.pid))


async def test_many_counts_at_once(router: Router) -> None:
    """Twenty-seven counts at the same time, as Claude Code asks for them at its start, and no provider is asked."""
    body = payload.request_body(60_000, "oai,m").render(0)
    async with provider(router, answers) as seen:
        counted = await asyncio.gather(
            *(ask(router, post(body, "/v1/messages/count_tokens?beta=true")) for _ in range(27))
        )

    assert [] == seen.bodies
    assert {200} == {status for status, _, _ in counted}
    (tokens,) = {json.loads(found)["input_tokens"] for _, _, found in counted}
    assert 10_000 < tokens < 30_000


# --- HTTP ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/hello", "/health", "/?x=1"])
async def test_greetings(router: Router, path: str) -> None:
    """What clients send to see whether anyone is there is answered, without a body for HEAD."""
    async with client(router, head(path, method="HEAD"), head("/health", method="GET")) as one:
        status, _, _ = await one.answer(bodiless=True)
        again, _, body = await one.answer()

    assert (200, 200, "ok") == (status, again, json.loads(body)["status"])


@BOTH
async def test_query_strings(router: Router, model: str) -> None:
    """Any query is taken."""
    async with provider(router, answers):
        status, _, body = await ask(router, post(request(model), "/v1/messages?beta=true&x=%20"))

    assert (200, None) == (status, problem(body))


@BOTH
async def test_chunked_request(router: Router, model: str) -> None:
    """A request may come in chunks, cut anywhere, and reaches the provider whole."""
    body = request(model, 3000)
    chunks = [body[start : start + 700] for start in range(0, len(body), 700)]
    sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    async with provider(router, answers) as seen:
        status, _, answer = await ask(router, head("/v1/messages", "transfer-encoding: chunked") + sent)

    assert (200, None) == (status, problem(answer))
    assert b"x" * 3000 in seen.bodies[0]


async def test_dribbled_request(router: Router) -> None:
    """A request that comes byte by byte is served, and holds up nobody."""
    sent = post(request("ant,m"))
    async with provider(router, answers), client(router) as slow:
        for number, at in enumerate(range(len(sent))):
            slow.writer.write(sent[at : at + 1])
            await slow.writer.drain()
            if number == len(sent) // 2:
                assert 200 == (await ask(router, post(request())))[0]
        status, _, body = await slow.answer()

    assert (200, None) == (status, problem(body))


async def test_kept_and_pipelined_connections(router: Router) -> None:
    """A connection serves one request after the other, also those sent before the answer to the first."""
    sent = [post(request(model)) for model in ("ant,m", "oai,m", "ant,m")]
    async with provider(router, answers) as seen, client(router, *sent) as one:
        got = [await one.answer() for _ in range(3)]
        one.writer.write(post(request("oai,m")))
        got.append(await one.answer())

    assert [(200, None)] * 4 == [(status, problem(body)) for status, _, body in got]
    assert 4 == len(seen.bodies)


async def test_expect_continue(router: Router) -> None:
    """A client that asks before it sends its body is told to."""
    body = request()
    async with (
        provider(router, answers),
        client(router, head("/v1/messages", f"content-length: {len(body)}", "expect: 100-continue")) as one,
    ):
        assert 100 == (await one.answer_head())[0]
        one.writer.write(body)
        assert 200 == (await one.answer())[0]


@BOTH
async def test_large_request(router: Router, model: str) -> None:
    """A request of several megabytes passes."""
    async with provider(router, answers) as seen:
        status, _, body = await ask(router, post(request(model, 5_000_000)))

    assert (200, None) == (status, problem(body))
    assert b"x" * 5_000_000 in seen.bodies[0]


async def test_too_large_request(router: Router) -> None:
    """A request over the limit is refused, announced or not, and the router goes on."""
    size = BODY_MB * 1024 * 1024 + 1
    chunk = b"%x\r\n%s\r\n" % (100_000, b"x" * 100_000)
    chunked = [head("/v1/messages", "transfer-encoding: chunked"), *[chunk] * (size // 100_000 + 1)]
    async with provider(router, answers) as seen:
        for sent in ([head("/v1/messages", f"content-length: {size}")], chunked):
            async with client(router, *sent) as one:
                status, _, body = await one.answer()
            assert (413, "request_too_large") == (status, json.loads(body)["error"]["type"])
        assert [] == seen.bodies
        assert 200 == (await ask(router, post(request())))[0]


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST /v1/messages HTTP/1.1\r\nx\r\n\r\n"]
)
async def test_what_is_not_http(router: Router, sent: bytes) -> None:
    """Something else than HTTP is refused, and does no harm."""
    async with client(router, sent) as one:
        async with asyncio.timeout(SECONDS):
            assert b" 400 " in (await one.reader.read(4096)).split(b"\r\n")[0]
    async with client(router, head("/health", method="GET")) as one:
        assert 200 == (await one.answer())[0]


# --- providers that misbehave -------------------------------------------------------------------------------


@BOTH
async def test_a_provider_that_never_answers(router: Router, model: str) -> None:
    """Silence before the first byte is a 504, and the connection to the provider is closed."""
    async with provider(router, says_nothing) as seen:
        status, _, body = await ask(router, post(request(model)))
        await seen.until(lambda: seen.left == 1)

    assert (504, "timeout_error") == (status, json.loads(body)["error"]["type"])


@BOTH
async def test_a_provider_that_falls_silent(router: Router, model: str) -> None:
    """Silence in the middle: the client is kept awake by pings for a while, then told."""
    async with provider(router, begins) as seen:
        status, _, body = await ask(router, post(request(model)))
        await seen.until(lambda: seen.left == 1)

    events = [part.partition(b"\n")[0].removeprefix(b"event: ").decode() for part in body.strip().split(b"\n\n")]
    assert (200, "error", False) == (status, events[-1], "message_stop" in events)
    assert "ping" in events[-4:-1]


@BOTH
async def test_a_client_that_does_not_read(router: Router, model: str) -> None:
    """A flood from the provider waits for the client, outside of the router; when that reads, all of it arrives."""
    async with provider(router, answers):
        assert 200 == (await ask(router, post(request(model))))[0]
    before = process.memory(router.pid)
    events, size = 2000, 20_000
    for path in ("/v1/messages", "/v1/chat/completions"):
        answer_of(path.encode(), events, size)  # so that it is made before anybody waits for it

    async def floods(seen: Provider, path: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        for piece in answer_of(path, events, size).writes(0):
            writer.write(piece)
            await writer.drain()
            seen.tell(sent=1)

    async def stalled() -> int:
        """How many events had gone out when for a while none did."""
        while True:
            before = seen.sent
            seen.news.clear()
            try:
                await asyncio.wait_for(seen.news.wait(), 0.3)
            except TimeoutError:
                if seen.sent == before and before:
                    return before

    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    small.setblocking(False)
    async with provider(router, floods) as seen, asyncio.timeout(3 * SECONDS):
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", router.port))
        reader, writer = await asyncio.open_connection(sock=small, limit=1 << 16)
        writer.write(post(request(model)))

        assert await stalled() < events * 0.75
        assert process.memory(router.pid) - before < events * size / 4

        one = Client(reader, writer)
        status, _, body = await one.answer()
        writer.close()

    assert 200 == status
    assert payload.Checker(events, size).stream(body) is None
