"""The bare relay: the least that a Python program between client and provider can do, and so the unit of all figures.

It reads a request whole, sends it on over a kept-alive connection of its pool, and passes the answer's bytes on
as they come.  HTTP is parsed by httptools, only to know where a message ends; nothing is looked into or
changed.  It has what no relay may lack: a slow client slows the upstream, a client that leaves ends the
upstream's work, a broken answer breaks the client's connection.
"""

import argparse
import asyncio
from typing import cast

import httptools

from . import serving


class Upstream(asyncio.Protocol):
    """A connection to the provider; serves one client at a time and goes back to the pool."""

    transport: asyncio.Transport

    def __init__(self, pool: list["Upstream"]) -> None:
        self.pool = pool
        self.client: Client | None = None
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, client: "Client", request: list[bytes]) -> None:
        self.client = client
        client.upstream = self
        self.transport.writelines(request)

    def data_received(self, data: bytes) -> None:
        client = self.client
        if client is None:
            self.transport.abort()
            return
        client.transport.write(data)
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        client = self.client
        assert client is not None
        client.upstream = self.client = None
        if client.paused:
            client.paused = False
            self.transport.resume_reading()
        if self.parser.should_keep_alive():
            self.pool.append(self)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.pool:
            self.pool.remove(self)
        if self.client:
            self.client.transport.abort()


class Client(asyncio.Protocol):
    """A connection from a client."""

    transport: asyncio.Transport

    def __init__(self, port: int, pool: list[Upstream]) -> None:
        self.port = port
        self.pool = pool
        self.upstream: Upstream | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.request: list[bytes] = []
        self.whole = False
        self.paused = False
        self.connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.request.append(data)
        self.parser.feed_data(data)
        if self.whole:
            self.whole = False
            request, self.request = self.request, []
            if self.pool:
                self.pool.pop().send(self, request)
            else:
                self.connecting = asyncio.get_running_loop().create_task(self._connect(request))

    def on_message_complete(self) -> None:
        self.whole = True

    async def _connect(self, request: list[bytes]) -> None:
        try:
            _, upstream = await asyncio.get_running_loop().create_connection(
                lambda: Upstream(self.pool), "127.0.0.1", self.port
            )
        except OSError:
            self.transport.abort()
        else:
            upstream.send(self, request)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.connecting:
            self.connecting.cancel()
        if self.upstream:
            self.upstream.client = None
            self.upstream.transport.abort()

    def pause_writing(self) -> None:
        if self.upstream:
            self.paused = True
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream and self.paused:
            self.paused = False
            self.upstream.transport.resume_reading()


def main() -> None:
    parser = argparse.ArgumentParser(description="bare relay of the benchmark")
    parser.add_argument("port", type=int, help="loopback port of the provider stand-in")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--seconds", type=float, default=3600, help="stop after this time in any case")
    given = parser.parse_args()
    pool: list[Upstream] = []
    serving.run(serving.serve(lambda: Client(given.port, pool), given.seconds), given.loop)


if __name__ == "__main__":
    main()
