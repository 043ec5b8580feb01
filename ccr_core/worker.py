"""The server of one worker: uvicorn's, which takes its connections from the supervisor and does not listen."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from ccr_core.peers import Post


class WorkerServer(uvicorn.Server):
    """Serves the connections that come through ``post``, until a signal comes or the supervisor is gone."""

    def __init__(self, config: uvicorn.Config, post: Post) -> None:
        super().__init__(config)
        self._control = post.control
        self._peers = post.peers
        self._adopting: set[asyncio.Task[Any]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin without a socket of its own."""
        await super().startup(sockets=[])
        lost = self._lost

        class Connection(self.config.http_protocol_class):  # type: ignore[misc, name-defined]
            """A connection of which the supervisor learns when it ends."""

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                lost()

        self._control.listen(lambda sock: self._adopt(sock, Connection, self._lost), self._alone)
        # Those that another worker lends are not counted by the supervisor.
        self._peers.adopt = lambda sock: self._adopt(sock, self.config.http_protocol_class, lambda: None)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what has begun."""
        self._control.say("ending")
        await super().shutdown(sockets=[])

    def _adopt(self, sock: socket.socket, connection: Any, lost: Callable[[], None]) -> None:
        """Serve a connection."""
        sock.setblocking(False)
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = connection(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        def adopted(task: asyncio.Task[Any]) -> None:
            self._adopting.discard(task)
            if not task.cancelled() and task.exception() is not None:
                lost()  # it was gone before it could be served

        task = loop.create_task(loop.connect_accepted_socket(protocol, sock))
        self._adopting.add(task)
        task.add_done_callback(adopted)

    def _lost(self) -> None:
        self._control.say("closed")

    def _alone(self) -> None:
        """The supervisor is gone: nobody could find or stop this worker."""
        self.should_exit = True
