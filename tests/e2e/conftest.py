"""Fixtures of the end-to-end tests, and the rule about missing clients.

With the clients installed the tests run. Without them they fail with the command that installs them where
they are wanted (`CI=true` or `CCR_E2E=1`); elsewhere they are left out, and a line of pytest's report says
so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from install_clients import LABELS, Client, folder, installed, missing
from rig import Rig
from scripted import Upstream


def wanted() -> bool:
    """Whether a missing client is a failure."""
    return os.environ.get("CI", "").lower() in ("true", "1") or os.environ.get("CCR_E2E") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests with real clients out where these are neither installed nor wanted."""
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents and item.get_closest_marker("e2e")]
    if ours and not wanted() and missing():
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


def pytest_report_collectionfinish() -> list[str]:
    """Say in the report what became of the end-to-end tests."""
    why = missing()
    if why and not wanted():
        return [f"end-to-end tests with Claude Code are left out: {why}"]
    return [] if why else [f"end-to-end tests use {_named()}"]


def _named() -> str:
    return ", ".join(f"Claude Code {client.version} ({client.label})" for client in installed(folder()).values())


@pytest.fixture(params=LABELS)
def client(request: pytest.FixtureRequest) -> Client:
    """Each of the two clients in turn."""
    why = missing()
    if why:
        pytest.fail(f"{why} (or leave the end-to-end tests out: -m 'not e2e')", pytrace=False)
    return installed(folder())[request.param]


@pytest.fixture
def rig(client: Client, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A test rig with a running router; the road (`chat` by default) may be given by indirect parameter."""
    with Upstream() as upstream:
        rig = Rig(client, tmp_path, upstream, getattr(request, "param", "chat"))
        try:
            rig.start_router()
            yield rig
        finally:
            rig.close()
        assert upstream.problems == []
