"""Every route of a router with all plugins: what answers whom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from toy import call

from ccr_core.config import from_document
from ccr_core.plugins import load
from ccr_core.runtime import build
from ccr_core.server import App, create_app

OPEN = {("GET", "/"), ("HEAD", "/"), ("GET", "/health"), ("HEAD", "/health"), ("HEAD", "/api/hello"), ("GET", "/ui")}
"""What anyone on this computer may ask."""

SIGN_IN = ("POST", "/api/session")
"""Answers anyone, and says no."""

WITHOUT_KEY = {("GET", "/v1/models"), ("HEAD", "/v1/models"), ("GET", "/v1/models/{id:path}")} | {
    ("HEAD", "/v1/models/{id:path}"),
    ("GET", "/api/status"),
    ("HEAD", "/api/status"),
    ("GET", "/api/hello"),
    ("GET", "/metrics"),
}
"""What a router without an ``APIKEY`` answers besides models, and one with it to its key."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCR_HOME", str(tmp_path))
    return tmp_path


def router(key: str | None) -> App:
    document = {"Providers": [{"name": "echo"}], "Router": {"default": "echo,echo"}, "APIKEY": key}
    return create_app(build(from_document(document, {}), load()))


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


async def answers(app: App, headers: dict[str, str]) -> dict[tuple[str, str], int]:
    """The status of every route."""
    found = {}
    for method, path in app.routes():
        body = b"{}" if method not in ("GET", "HEAD") else b""
        given = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        found[method, path] = (await call(app, method, filled(path), body, given)).status
    return found


async def test_with_a_key_only_what_is_open_answers_without_it(served: Path) -> None:
    """The page's own files, health, and the client's knock."""
    found = await answers(router("secret"), {})

    assert {route for route in found if route in OPEN} == {route for route, status in found.items() if status < 400}
    assert {401} == {status for route, status in found.items() if route not in OPEN}
    assert SIGN_IN in found
    assert len(found) > 20


async def test_without_a_key_management_wants_its_token_all_the_same(served: Path) -> None:
    """Models are free to those on this computer; changing the router is not, nor looking into it."""
    app = router(None)
    models = {("POST", path) for contributed in app.engine.runtime.ingresses for path in contributed.value.paths}
    counts = {("POST", path) for contributed in app.engine.runtime.ingresses for path in contributed.value.count_paths}
    found = await answers(app, {})

    managed = {route for route in found if not route[1].startswith("/preset/")} - OPEN - WITHOUT_KEY - models - counts
    assert {401} == {found[route] for route in managed}
    assert all(path.startswith(("/api/", "/metrics")) for _, path in managed)


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}, {"origin": "null"}])
@pytest.mark.parametrize("key", [None, "secret"])
async def test_a_foreign_name_or_page_gets_nothing(served: Path, key: str | None, headers: dict[str, str]) -> None:
    """Not even what is open; also not with the right tokens."""
    app = router(key)
    tokens = {"x-api-key": "secret", "authorization": f"Bearer {app.access.token()}"}

    assert {403} == set((await answers(app, headers)).values())
    assert {403} == set((await answers(app, {**headers, **tokens})).values())


async def test_the_routers_key_opens_models_and_nothing_else(served: Path) -> None:
    """A client that has it cannot change where requests go."""
    app = router("secret")
    found = await answers(app, {"x-api-key": "secret"})
    managed = {route for route in found if route[1].startswith("/api/")} - WITHOUT_KEY - OPEN

    assert {401} == {found[route] for route in managed}
