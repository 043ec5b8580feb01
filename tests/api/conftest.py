"""A running application with its configuration in a private folder, and a client of its management API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from api_client import CONFIG, Client
from starlette.applications import Starlette

from ccr_core import api
from ccr_core.config import load
from ccr_core.plugins import Registry
from ccr_core.plugins import load as load_plugins
from ccr_core.reload import Reload
from ccr_core.runtime import build
from ccr_core.server import App


@pytest.fixture(scope="session")
def registry() -> Registry:
    """All installed plugins."""
    return load_plugins()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mapping[str, str]:
    """The variables that the configurations refer to, and a home of its own."""
    monkeypatch.setenv("CCR_HOME", str(tmp_path))
    monkeypatch.setenv("DEEPSEEK_API_KEY", "resolved-key-of-deepseek")
    for name in ("OPENROUTER_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "GROQ_API_KEY"):
        monkeypatch.setenv(name, f"resolved-{name.lower()}")
    return {}


@pytest.fixture
def written() -> str:
    """The text of the configuration; a test module may have another one."""
    return CONFIG


@pytest.fixture
def file_name() -> str:
    """What the configuration file is called."""
    return "config.json"


@pytest.fixture
async def client(
    environment: Mapping[str, str], tmp_path: Path, registry: Registry, written: str, file_name: str
) -> AsyncIterator[Client]:
    """A client of an application that follows its files."""
    path = tmp_path / file_name
    path.write_text(written)
    runtime = build(load(path), registry)
    app = App(runtime)
    app.reload = Reload(runtime, lambda: (load(path), registry), app.swap)
    transport = httpx.ASGITransport(Starlette(routes=api.routes(app)), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3456") as http:
        yield Client(http, app, path)
    await app.sender.aclose()
    app.engine.runtime.watch.close()
