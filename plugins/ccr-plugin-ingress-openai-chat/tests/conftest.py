"""A router on a loopback port, for clients that open real connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import attrs
import ccr_plugin_anthropic
import ccr_plugin_echo
import ccr_plugin_gemini
import ccr_plugin_ingress_openai_chat
import ccr_plugin_openai_chat
import ccr_plugin_openai_responses
import ccr_plugin_rule_default
import ccr_plugin_rule_explicit
import openai
import pytest
import uvicorn

from ccr_core import WireRequest
from ccr_core.config import from_document
from ccr_core.plugins import load
from ccr_core.runtime import build
from ccr_core.server import create_app
from ccr_core.testing import Upstream
from ccr_core.upstream import Reply

DIALECTS = ("anthropic", "openai-chat", "openai-responses", "gemini")
PLUGINS = [
    ccr_plugin_anthropic,
    ccr_plugin_echo,
    ccr_plugin_gemini,
    ccr_plugin_ingress_openai_chat,
    ccr_plugin_openai_chat,
    ccr_plugin_openai_responses,
    ccr_plugin_rule_default,
    ccr_plugin_rule_explicit,
]


class Line:
    """The way to the providers; each test puts its own at the other end."""

    upstream = Upstream()

    async def send(self, wire: WireRequest, body: bytes) -> Reply:
        """See :class:`ccr_core.upstream.Sender`."""
        return await self.upstream.send(wire, body)

    async def aclose(self) -> None:
        """Nothing to close."""


@attrs.frozen
class Served:
    """The router, its address, and the way to its providers: one of each dialect, named after it, and ``echo``."""

    url: str
    line: Line


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The router, running in a thread."""
    providers = [
        {
            "name": dialect,
            "api_base_url": f"https://{dialect}.example/v1",
            "api_key": "sk-test",
            "models": ["big"],
            "dialect": dialect,
        }
        for dialect in DIALECTS
    ]
    document = {"Providers": [*providers, {"name": "echo"}], "Router": {"default": "echo,echo"}}
    line = Line()
    app = create_app(build(from_document(document), load(PLUGINS)), line)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=2))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until = time.monotonic() + 10
            while not server.started and time.monotonic() < until:
                time.sleep(0.01)
            assert server.started
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", line)
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture
def provider(served: Served) -> Iterator[Upstream]:
    """The provider that the router reaches in this test."""
    served.line.upstream = Upstream()
    yield served.line.upstream
    served.line.upstream.verify()


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK, which does not try again."""
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0, timeout=20) as made:
        yield made
