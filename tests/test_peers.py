"""Workers among themselves: inboxes over real sockets, on one loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from ccr_core.errors import RequestError
from ccr_core.forward import forward
from ccr_core.memory import Memory
from ccr_core.peers import Peers
from ccr_core.workers import Place, pair


@pytest.fixture
def inboxes() -> Iterator[dict[int, tuple[socket.socket, socket.socket]]]:
    """The inboxes of three workers."""
    made = {number: pair() for number in (1, 2, 3)}
    yield made
    for both in made.values():
        for each in both:
            each.close()


def worker(number: int, inboxes: dict[int, tuple[socket.socket, socket.socket]]) -> tuple[Peers, Memory]:
    """One of them, with a memory that it shares."""
    others = {other: both[1] for other, both in inboxes.items() if other != number}
    peers, memory = Peers(number, inboxes[number][0], others), Memory(lambda: 1.0)
    peers.join("", memory)
    return peers, memory


def test_told_before_it_is_needed(inboxes: dict[int, tuple[socket.socket, socket.socket]]) -> None:
    """What one tells is in the others' inboxes at once: no loop has to run in between."""
    (_, memory), (second, heard), (third, also) = (worker(number, inboxes) for number in (1, 2, 3))
    memory.used("s", {"input_tokens": 7})
    assert [None, None] == [heard.usage("s"), also.usage("s")]
    second.drain()
    third.drain()
    assert [{"input_tokens": 7}] * 2 == [heard.usage("s"), also.usage("s")]


async def test_one_that_does_not_read(inboxes: dict[int, tuple[socket.socket, socket.socket]]) -> None:
    """More than its inbox holds waits with those who tell it, and arrives in order when it reads again."""
    (first, memory), (second, heard) = (worker(number, inboxes) for number in (1, 2))
    await first.begin()
    for number in range(3000):
        memory.used("s" if number % 2 else f"s-{number}", {"input_tokens": number})
    assert memory.usage("s-2998") is not None
    await second.begin()
    for _ in range(200):
        await asyncio.sleep(0.01)
        if heard.usage("s") == {"input_tokens": 2999}:
            break
    assert [{"input_tokens": 2998}, {"input_tokens": 2999}] == [heard.usage("s-2998"), heard.usage("s")]
    first.close()
    second.close()


async def test_a_new_one_catches_up(inboxes: dict[int, tuple[socket.socket, socket.socket]]) -> None:
    """One that begins later knows what the others know when ``begin`` is over, also of presets that it has."""
    first, memory = worker(1, inboxes)
    preset = Memory(lambda: 1.0)
    first.join("preset", preset)
    await first.begin()
    for number in range(200):
        memory.used(f"s-{number}", {"input_tokens": number})
    preset.used("s", {"input_tokens": 1})
    second, fresh = worker(2, inboxes)
    of_preset = Memory(lambda: 1.0)
    second.join("preset", of_preset)
    await second.begin([1])
    assert list(memory.updates()) == list(fresh.updates())
    assert {"input_tokens": 1} == of_preset.usage("s")
    first.close()
    second.close()


async def test_questions(inboxes: dict[int, tuple[socket.socket, socket.socket]]) -> None:
    """Each answers for itself; one that is silent is missing, and nobody waits for it for long."""
    workers = [worker(number, inboxes)[0] for number in (1, 2, 3)]
    for peers in workers[:2]:
        await peers.begin()
        peers.answers["number"] = lambda peers=peers: peers.number
    assert {2: 2} == await workers[0].ask("number", 0.2)
    await workers[2].begin()
    assert {2: 2, 3: None} == await workers[0].ask("number", 5)
    for peers in workers:
        peers.close()


async def test_words(inboxes: dict[int, tuple[socket.socket, socket.socket]]) -> None:
    """A word makes the others do something; an unknown word and a message that is none do nothing."""
    first, second = (worker(number, inboxes)[0] for number in (1, 2))
    heard: list[str] = []
    second.told["look"] = lambda: heard.append("look")
    first.say("what")
    inboxes[2][1].send(b"{")
    first.say("look")
    second.drain()
    assert ["look"] == heard


def test_a_place_on_the_command_line() -> None:
    """A place survives the way to the new process."""
    place = Place(number=2, router=7, control=3, inbox=4, inboxes={1: 5, 3: 6}, serving=(1,), starts=2)
    assert place == Place.of_text(place.to_text())
    assert ([1, 2, 3], False) == (place.everybody(), place.tells)


def test_a_preset_that_goes(inboxes: dict[int, tuple[socket.socket, socket.socket]]) -> None:
    """A memory that is not shared any more tells and hears nothing."""
    (first, memory), (second, heard) = (worker(number, inboxes) for number in (1, 2))
    second.leave("")
    memory.used("s", {"input_tokens": 7})
    with contextlib.suppress(BlockingIOError):
        second.drain()
    assert (None, None) == (heard.usage("s"), heard.tell)
    assert memory.tell is not None
    first.leave("")
    assert memory.tell is None


async def test_a_connection_is_lent(inboxes: dict[int, tuple[socket.socket, socket.socket]]) -> None:
    """A connection that one worker lends is served by the other; one that nobody serves is closed."""
    (first, _), (second, _) = (worker(number, inboxes) for number in (1, 2))
    for served in (True, False):
        got: list[socket.socket] = []
        second.adopt = got.append if served else None
        mine, theirs = socket.socketpair()
        with mine, theirs:
            first.lend(2, theirs)
            theirs.close()
            second.drain()
            for each in got:
                each.sendall(b"hello")
                each.close()
            assert (b"hello" if served else b"") == mine.recv(9)


def scope(**more: object) -> dict[str, object]:
    """A request of the management API."""
    headers = [(b"host", b"127.0.0.1"), (b"connection", b"keep-alive"), (b"authorization", b"Bearer t")]
    return {"method": "POST", "raw_path": b"/api/a%20b", "query_string": b"x=1", "headers": headers, **more}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", (200, b"ok", None)),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", (200, b"ok", None)),
        (b"HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n", (409, b"", None)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", (200, b"ok", ConnectionError)),
        (b"", (0, b"", RequestError)),
    ],
)
async def test_a_request_is_passed_on(answer: bytes, expected: tuple[int, bytes, type[Exception] | None]) -> None:
    """The other worker sees the request as it was; its answer is passed back, and a cut one does not look whole."""
    there: list[socket.socket] = []
    sent: list[dict[str, object]] = []
    seen = b""

    async def serve() -> None:
        nonlocal seen
        reader, writer = await asyncio.open_unix_connection(sock=there[0])
        seen = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)
        writer.write(answer)
        writer.close()

    def lend(connection: socket.socket) -> None:
        there.append(connection.dup())
        there[0].setblocking(False)
        serving.append(asyncio.create_task(serve()))

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    serving: list[asyncio.Task[None]] = []
    status, body, error = expected
    with pytest.raises(error) if error is not None else contextlib.nullcontext():
        await forward(scope(), b"{}", receive, send, lend)  # type: ignore[arg-type]
    await serving[0]
    assert seen.startswith(b"POST /api/a%20b?x=1 HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer t\r\n")
    assert (b"keep-alive" in seen, seen.endswith(b"content-length: 2\r\n\r\n{}")) == (False, True)
    assert status == (sent[0]["status"] if sent else 0)
    assert body == b"".join(bytes(message.get("body", b"")) for message in sent)  # type: ignore[call-overload]
    assert (error is None) == (bool(sent) and sent[-1].get("more_body") is False)
