"""Passing a request of the management API or a page on to the worker that answers these: the first.

Dialogs that span several requests (a sign-in, a preset with questions) live in the memory of the process that began
them, so with several workers one of them has them all.  Another worker that is asked lends it a new connection, one
end of a pair of sockets, and speaks HTTP over the other.  Requests of models never come here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httptools

from ccr_core.errors import RequestError

Message = MutableMapping[str, Any]

HOP = frozenset({b"connection", b"content-length", b"expect", b"keep-alive", b"transfer-encoding", b"upgrade"})
"""Headers that belong to a connection and are written anew."""


class _Answer:
    """What has come of an answer; the methods are the parser's."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.begun = self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() not in HOP - {b"content-length"}:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.begun = True

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


async def forward(
    scope: Message,
    body: bytes,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
    lend: Callable[[socket.socket], None],
) -> None:
    """Pass a request, whose body has been read, on over a connection that ``lend`` gives away; pass the answer back.

    Raises ``RequestError`` (503) if nothing comes back, ``ConnectionError`` if the answer breaks off.
    """
    mine, theirs = socket.socketpair()
    try:
        with theirs:
            lend(theirs)
        mine.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=mine)
    except OSError as error:
        mine.close()
        raise RequestError(f"the worker for management cannot be asked: {error.strerror or error}", 503) from None

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        writer.transport.abort()

    watching = asyncio.create_task(watch())
    answer = _Answer()
    started = False
    try:
        writer.write(_head(scope, len(body)) + body)
        while not answer.complete and (data := await reader.read(65536)):
            answer.parser.feed_data(data)
            if answer.begun and not started:
                started = True
                status = answer.parser.get_status_code()
                await send({"type": "http.response.start", "status": status, "headers": answer.headers})
            if answer.chunks:
                data = b"".join(answer.chunks)
                answer.chunks.clear()
                await send({"type": "http.response.body", "body": data, "more_body": True})
        if not started:
            raise RequestError("the worker for management is being replaced; try again", 503)
        if not answer.complete and scope["method"] != "HEAD":
            raise ConnectionError("the worker for management broke off its answer")
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        watching.cancel()
        with contextlib.suppress(OSError):
            writer.close()


def _head(scope: Message, length: int) -> bytes:
    query = scope.get("query_string", b"")
    target = scope.get("raw_path") or scope["path"].encode()
    lines = [b"%s %s HTTP/1.1" % (scope["method"].encode(), target + (b"?" + query if query else b""))]
    lines += [b"%s: %s" % (name, value) for name, value in scope["headers"] if name not in HOP]
    lines += [b"connection: close", b"content-length: %d" % length]
    return b"\r\n".join(lines) + b"\r\n\r\n"
