"""Every built-in plugin passes the check that anyone's must pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccr_core.testing import check_plugin, entry_module

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[1] / "plugins").glob("*/pyproject.toml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_plugin(folder: Path) -> None:
    """
    Hooks, documentation, imports and packaging are as ``check_plugin`` wants them.
    """
    check_plugin(entry_module(folder), folder)


def test_there_are_plugins() -> None:
    """
    The core has no dialect, ingress or rule of its own.
    """
    assert {"ccr-plugin-anthropic", "ccr-plugin-openai-chat", "ccr-plugin-rule-default"} <= {
        folder.name for folder in FOLDERS
    }
