"""What keeps these tests apart from the person who runs them, and from the machine on which they run."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No credentials, project or machine of the person who runs the tests; gives the home folder."""
    for name in (
        "APPDATA",
        "CLOUDSDK_CONFIG",
        "CLOUD_RUN_JOB",
        "GAE_SERVICE",
        "GCE_METADATA_HOST",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_LOCATION",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_CLOUD_QUOTA_PROJECT",
        "GOOGLE_VERTEX_LOCATION",
        "GOOGLE_VERTEX_PROJECT",
        "K_SERVICE",
    ):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CCR_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setattr("ccr_plugin_vertex.auth.PRODUCT", tmp_path / "none")
    return home
