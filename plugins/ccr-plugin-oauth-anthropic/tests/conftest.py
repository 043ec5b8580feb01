"""What keeps these tests apart from the person who runs them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No account of the person who runs the tests; gives the path of the accounts."""
    monkeypatch.setenv("CCR_AUTH_FILE", str(tmp_path / "auth.json"))
    return tmp_path / "auth.json"
