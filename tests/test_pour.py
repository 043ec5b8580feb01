"""What arrives goes from the provider's connection to the client's in one call, over real sockets on both sides.

Behind other servers and other senders the engine reads and writes in turns; the tests of the engine are about that
way.  Here is shown that this one is taken where it should be, and that it does not change what the client gets.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import uvicorn
from test_engine import END, HELLO, MORE, TEXT
from test_upstream import Script, read_request, sender, serving
from toy import ask, toy_app
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ccr_core import UpstreamError, WireRequest
from ccr_core.config import Limits
from ccr_core.patience import Patience
from ccr_core.server import App, _AsgiClient
from ccr_core.upstream import HttpSender

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def writing(*pieces: bytes | float | None) -> Script:
    """Answer with ``pieces``, each a write of its own; a number waits so many seconds, ``None`` for ever."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for piece in pieces:
            if piece is None:
                await reader.read()
            elif isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)

    return script


def spaced(*pieces: bytes) -> Script:
    """Answer with ``pieces``, so far apart that each is a read of its own."""
    return writing(*[part for piece in pieces for part in (piece, 0.02)])


# --- the reply ---------------------------------------------------------------------------------------------------


async def test_what_arrives_is_poured_read_by_read() -> None:
    """
    The sink gets each read as it is; after the end ``read`` says that it is the end.
    """
    poured: list[bytes] = []

    script = spaced(HEAD + chunk(b"one"), chunk(b"two") + chunk(b"three"), b"0\r\n\r\n")
    async with serving(script) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        first = await reply.read()
        await reply.pour(lambda data: not poured.append(data))
        rest = await reply.read()

    assert (b"one", [b"twothree"], b"") == (first, poured, rest)


async def test_a_sink_that_wants_no_more_ends_the_pouring() -> None:
    """
    What comes after it said no waits to be read; what waits is never overtaken.
    """
    poured: list[bytes] = []

    async with serving(spaced(HEAD, chunk(b"one"), chunk(b"two"), b"0\r\n\r\n")) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        await reply.pour(lambda data: bool(poured.append(data)))
        await asyncio.sleep(0.1)
        await reply.pour(lambda data: not poured.append(b"overtaken"))
        rest = await reply.read()

    assert ([b"one"], b"two") == (poured, rest)


async def test_what_a_sink_raises_reaches_who_pours() -> None:
    """
    An exception of the sink is raised by ``pour``; the connection is not taken for finished.
    """

    def sink(data: bytes) -> bool:
        raise ValueError(data)

    async with serving(spaced(HEAD, chunk(b"one"), chunk(b"two"))) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        with pytest.raises(ValueError, match="one"):
            await reply.pour(sink)
        assert b"two" == await reply.read()


async def test_a_cut_body_ends_the_pouring_and_is_an_error() -> None:
    """
    The cut is told by ``read``, after all that came before it.
    """
    poured: list[bytes] = []

    async with serving(spaced(HEAD, chunk(b"one"), b"")) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        await reply.pour(lambda data: not poured.append(data))
        with pytest.raises(UpstreamError, match="in the middle"):
            await reply.read()

    assert [b"one"] == poured


async def test_cancelled_pouring_loses_nothing() -> None:
    """
    What comes after a time limit passed waits to be read.
    """
    async with serving(writing(HEAD, 0.1, chunk(b"one"), b"0\r\n\r\n")) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await reply.pour(lambda data: True)
        assert b"one" == await reply.read()


async def test_compressed_answer_is_read_and_not_poured() -> None:
    """
    Pouring gives what is on the wire, so it ends at once where that is not the body.
    """
    head = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")

    async with serving(writing(head, None)) as url, sender() as http:
        reply = await http.send(WireRequest(url=url), b"")
        async with asyncio.timeout(5):
            await reply.pour(lambda data: True)
        reply.close()


async def test_patience_with_many_things() -> None:
    """
    A wait for one thing after another ends only when none has come for as long as the limit says.
    """
    answers = iter([True, True, True, False])
    asked = 0

    def heard() -> bool:
        nonlocal asked
        asked += 1
        return next(answers, False)

    with Patience(0.02) as patience:
        patience.begin(heard)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(10)
        assert patience.lost()
    assert asked > 3


# --- the whole way -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(app: App) -> AsyncIterator[int]:
    """``app`` behind uvicorn on a port of its own."""
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", log_config=None, ws="none", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            async with asyncio.timeout(10):
                await task


class Redirected(HttpSender):
    """Sends everything to one address."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    async def send(self, wire: WireRequest, body: bytes) -> Any:
        return await super().send(WireRequest(url=self._url), body)


async def answer(port: int, *headers: str) -> list[Any]:
    """The lines of a streamed answer, which must end as HTTP says it must."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = ask(stream=True)
    data = b""
    try:
        lines = ["POST /toy HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(lines).encode() + body)
        async with asyncio.timeout(10):
            await reader.readuntil(b"\r\n\r\n")
            while size := int(await reader.readuntil(b"\r\n"), 16):
                data += (await reader.readexactly(size + 2))[:-2]
    finally:
        writer.close()
        await writer.wait_closed()
    return [orjson.loads(line) for line in data.splitlines()]


@pytest.fixture
def sinks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What went through the sinks of clients."""
    seen: list[bytes] = []
    made = _AsgiClient.sink

    def watched(self: _AsgiClient, push: Any, out: list[bytes]) -> Callable[[bytes], bool] | None:
        sink = made(self, push, out)
        assert sink is not None, "uvicorn's cycle has other attributes now"

        def watch(data: bytes) -> bool:
            seen.append(data)
            return sink(data)

        return watch

    monkeypatch.setattr(_AsgiClient, "sink", watched)
    return seen


async def ask_through(script: Script, *headers: str, **changes: Any) -> list[Any]:
    """What a client of the toy format gets while the provider does as ``script`` says."""
    async with serving(script) as url:
        app, _ = toy_app(**changes)
        app.engine.sender = app.sender = Redirected(url)
        async with running(app) as port:
            return await answer(port, *headers)


async def test_events_take_the_short_way_to_the_client(sinks: list[bytes]) -> None:
    """
    After the first piece every read goes through the sink; the client gets what it would get otherwise.
    """
    lines = await ask_through(spaced(HEAD + chunk(TEXT), chunk(MORE), chunk(END), b"0\r\n\r\n"))

    assert [MORE, END] == sinks
    assert [*HELLO[:3], ["delta", 0, " world"], *HELLO[3:]] == lines


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 13, 17, 29])
async def test_the_same_events_however_the_bytes_arrive(sinks: list[bytes], size: int) -> None:
    """
    Cut anywhere, also inside HTTP's own framing, the answer is the same.
    """
    whole = chunk(TEXT) + chunk(MORE) + chunk(MORE + END) + b"0\r\n\r\n"
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]

    lines = await ask_through(writing(HEAD, *parts))

    words = [line[2] for line in lines if line[0] == "delta"]
    assert ["hello", " world", " world"] == words
    assert HELLO[-3:] == lines[-3:]


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        ([], "in the middle"),
        ([b"0\r\n\r\n"], "ended early"),
        ([chunk(MORE + b"data: {broken\n\n"), None], "not JSON"),
        ([chunk(MORE + b'data: {"error":"no"}\n\n'), None], "no"),
        ([b"no chunk at all\r\n", None], "not valid HTTP"),
        ([chunk(MORE), None], "silent"),
    ],
)
async def test_an_answer_that_fails_on_the_short_way(sinks: list[bytes], rest: list[Any], error: str) -> None:
    """
    What was finished before the failure goes out, then an error, and no lawful end.
    """
    limits = Limits(ping_s=0.1, idle_s=0.3)
    lines = await ask_through(writing(HEAD + chunk(TEXT), 0.02, chunk(MORE), 0.02, *rest), limits=limits)

    assert MORE in sinks
    words = [line[2] for line in lines if line[0] == "delta"]
    assert ["hello", *[" world"] * (1 + sum(MORE in (piece or b"") for piece in rest))] == words
    assert "error" == lines[-1][0]
    assert re.search(error, lines[-1][2])
    assert ["MessageStop"] not in lines


async def test_pings_bridge_a_silence_on_the_short_way(sinks: list[bytes]) -> None:
    """
    Where the provider pauses the client gets pings, and the rest of the answer after them.
    """
    limits = Limits(ping_s=0.05, idle_s=5)
    lines = await ask_through(
        writing(HEAD + chunk(TEXT), 0.02, chunk(MORE), 0.3, chunk(MORE), 0.02, chunk(MORE), chunk(END), b"0\r\n\r\n"),
        limits=limits,
    )

    assert ["Ping"] in lines
    without = [line for line in lines if line != ["Ping"]]
    assert [*HELLO[:3], *[["delta", 0, " world"]] * 3, *HELLO[3:]] == without
    assert len(sinks) >= 2


class Watched:
    """A transport that keeps what is written to it."""

    def __init__(self, transport: Any, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        self._written.append(bytes(data))
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was written to clients, write by write."""
    written: list[bytes] = []
    made = HttpToolsProtocol.connection_made

    def watched(self: HttpToolsProtocol, transport: Any) -> None:
        made(self, Watched(transport, written))

    monkeypatch.setattr(HttpToolsProtocol, "connection_made", watched)
    return written


@pytest.mark.parametrize("headers", [[], ["connection: close"]], ids=["kept", "closed"])
async def test_an_answer_that_comes_whole_is_one_write(writes: list[bytes], headers: list[str]) -> None:
    """
    Head, events and end go out in one piece where they have come in one, also before the connection is closed.
    """
    lines = await ask_through(spaced(HEAD + chunk(TEXT) + chunk(END) + b"0\r\n\r\n"), *headers)

    assert HELLO == lines
    assert [(b"HTTP/1.1 200 ", b"\r\n0\r\n\r\n")] == [(data[:13], data[-7:]) for data in writes]


async def test_the_head_and_the_end_take_no_writes_of_their_own(writes: list[bytes]) -> None:
    """
    The head goes out with the first events, the end with the last ones.
    """
    await ask_through(spaced(HEAD + chunk(TEXT), chunk(MORE), chunk(END) + b"0\r\n\r\n"))

    assert 3 == len(writes)
    assert writes[0].startswith(b"HTTP/1.1 200 ")
    assert b"hello" in writes[0]
    assert writes[2].endswith(b"\r\n0\r\n\r\n")
