"""The API of a real router: a process of its own, its management token, hot reload, and two editors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_client import CONFIG, SECRETS

from ccr_core.api import operations
from ccr_core.testing.loopback import Router

LIMIT = 30.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration in it."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "config.json").write_text(CONFIG.replace('"PORT": 3456', '"PORT": 0'))
    return folder


@pytest.fixture(scope="module")
def router(home: Path) -> Iterator[Router]:
    """One that runs."""
    with Router(home) as running:
        yield running


@pytest.fixture
def manage(home: Path, router: Router) -> Iterator[httpx.Client]:
    """Somebody with the management token."""
    token = (home / "config.json.home" / "management.token").read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=router.url, headers=headers, timeout=LIMIT, trust_env=False) as client:
        yield client


def test_the_token_opens_and_the_routers_key_does_not(router: Router, manage: httpx.Client) -> None:
    """
    The key of the model endpoints manages nothing.
    """
    with httpx.Client(base_url=router.url, timeout=LIMIT, trust_env=False) as other:
        assert 401 == other.get("/api/config").status_code
        assert 401 == other.get("/api/config", headers={"x-api-key": SECRETS[0]}).status_code
    assert 200 == manage.get("/api/config").status_code


def test_a_change_is_in_use_when_it_is_answered(home: Path, manage: httpx.Client) -> None:
    """
    The next request goes by it, and the file differs in one line.
    """
    path = home / "config.json"
    before = path.read_text().splitlines()
    version = manage.get("/api/config").json()["version"]
    change = {"op": "set", "path": ["Router", "default"], "value": "local,tiny"}

    done = manage.patch("/api/config", json={"version": version, "changes": [change]}).json()

    assert (True, None) == (done["applied"], done["reason"])
    assert "local,tiny" == manage.get("/api/status").json()["default"]
    described = manage.post("/api/router/explain", json={"describe": {"text": "x"}}).json()
    assert {"provider": "local", "model": "tiny", "level": None} == described["route"]
    assert 1 == sum(one != other for one, other in zip(before, path.read_text().splitlines(), strict=True))
    assert 0o600 == path.stat().st_mode & 0o777


def test_of_many_editors_one_wins_each_time(home: Path, manage: httpx.Client) -> None:
    """
    Those that lose are told, no change is lost in silence, and the file is whole.
    """

    def add(number: int) -> bool:
        for _ in range(60):
            version = manage.get("/api/config").json()["version"]
            change = {"op": "set", "path": ["limits", "ping_s"], "value": 10 + number}
            note = {"op": "set", "path": [f"note_{number}"], "value": number}
            status = manage.patch("/api/config", json={"version": version, "changes": [change, note]}).status_code
            if status == 200:
                return True
            assert 409 == status
        return False

    with ThreadPoolExecutor(4) as editors:
        assert [True] * 6 == list(editors.map(add, range(6)))

    config = manage.get("/api/config").json()["config"]
    assert list(range(6)) == [config[f"note_{number}"] for number in range(6)]


def test_nothing_that_is_read_holds_a_secret(home: Path, manage: httpx.Client) -> None:
    """
    Every route that only looks.
    """
    for operation in operations():
        if operation.method != "GET" or "{" in operation.path or operation.path == "/api/presets/market":
            continue
        query = {"file": "ccr.log"} if operation.path == "/api/logs" else {}
        answer = manage.get(operation.path, params=query)
        assert answer.status_code in (200, 404), operation
        assert "no-store" == answer.headers["cache-control"]
        for secret in SECRETS:
            assert secret not in answer.text


def test_importing_the_server_imports_nothing_of_the_api() -> None:
    """
    The operations come at the first request below /api.
    """
    code = (
        "import json, sys; import ccr_core.server, ccr_core.api;"
        "print(json.dumps([name for name in sys.modules if name.startswith('ccr_core.api.')]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT)

    loaded: Any = json.loads(done.stdout)
    assert [] == loaded
