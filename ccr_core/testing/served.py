"""A router on a loopback port, for clients that open real connections: SDKs, browsers, other programs."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import uvicorn

from ccr_core.config import from_document
from ccr_core.dialect import WireRequest
from ccr_core.plugins import load
from ccr_core.runtime import build
from ccr_core.server import create_app
from ccr_core.testing.upstream import Upstream
from ccr_core.upstream import Reply


class Line:
    """The way to the providers; each test puts its own ``upstream`` at the other end."""

    def __init__(self) -> None:
        self.upstream = Upstream()

    async def send(self, wire: WireRequest, body: bytes) -> Reply:
        """See :class:`ccr_core.upstream.Sender`."""
        return await self.upstream.send(wire, body)

    async def aclose(self) -> None:
        """Nothing to close."""


@attrs.frozen
class Served:
    """A router that serves: its address, and the way to its providers."""

    url: str
    line: Line


@contextlib.contextmanager
def serving(document: Mapping[str, Any], plugins: Iterable[Any]) -> Iterator[Served]:
    """A router with the configuration ``document`` and ``plugins`` (modules or objects), in a thread of its own.

    It listens on a free loopback port until the block is left.
    """
    line = Line()
    app = create_app(build(from_document(document), load(plugins)), line)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=2))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until = time.monotonic() + 10
            while not server.started and time.monotonic() < until:
                time.sleep(0.01)
            assert server.started, "the router did not start within 10 s"
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", line)
        finally:
            server.should_exit = True
            thread.join(10)
