"""What keeps these tests apart from the person who runs them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No account, project, client or program of the person who runs the tests; gives the path of the accounts."""
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT_ID", "NPM_CONFIG_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GEMINI", "ANTIGRAVITY"):
        monkeypatch.delenv(f"CCR_{name}_CLIENT_ID", raising=False)
        monkeypatch.delenv(f"CCR_{name}_CLIENT_SECRET", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CCR_AUTH_FILE", str(tmp_path / "auth.json"))
    return tmp_path / "auth.json"
