"""Where the file is; what holds for it is tested with the core (`tests/test_tokenstore.py`)."""

from __future__ import annotations

import json
from pathlib import Path

import ccr_plugin_store_file
import pytest
from ccr_plugin_store_file import Options, make

from ccr_core.testing import check_plugin


def test_the_package() -> None:
    """It is as plugins must be."""
    check_plugin(ccr_plugin_store_file, Path(__file__).parents[1])


def test_in_the_folder_of_ccr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options the file is auth.json, and is made at the first change."""
    monkeypatch.delenv("CCR_AUTH_FILE", raising=False)
    store = make(Options(), tmp_path)

    store.update(lambda providers: providers.update({"p": {"accounts": {}}}))

    assert {"p": {"accounts": {}}} == json.loads((tmp_path / "auth.json").read_text())["providers"]


def test_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option names another file, and the variable wins over it."""
    monkeypatch.delenv("CCR_AUTH_FILE", raising=False)
    assert str(tmp_path / "mine.json") == make(Options(path=tmp_path / "mine.json"), tmp_path).where()

    monkeypatch.setenv("CCR_AUTH_FILE", str(tmp_path / "other.json"))

    assert str(tmp_path / "other.json") == make(Options(path=tmp_path / "mine.json"), tmp_path).where()
