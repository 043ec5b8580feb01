"""Which clients the installer chooses; nothing is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest
from install_clients import ClientsError, accepts, choose_versions, installed


@pytest.mark.parametrize(
    ("engines", "expected"),
    [
        (">=18.0.0", True),
        (">=22.0.0", False),
        ("^18 || ^20 || >=22", True),
        ("^18 || >=22", False),
        (">=18 <22", True),
        (">=18 <20", False),
        ("20.x", True),
        ("*", True),
    ],
)
def test_node_ranges(engines: str, expected: bool) -> None:
    """A range as npm packages write it admits Node 20 or not."""
    assert accepts(engines, 20) is expected


def test_unknown_range_is_an_error() -> None:
    """A range of another form is not guessed at."""
    with pytest.raises(ClientsError, match="cannot read the Node range '-'"):
        choose_versions([{"version": "1.0.0", "engines": {"node": "18 - 20"}}])


def test_newest_versions_are_chosen_by_number() -> None:
    """Versions are compared as numbers, in any order; pre-releases do not count."""
    published = [
        {"version": "2.1.9", "engines": {"node": ">=18.0.0"}},
        {"version": "2.1.100", "engines": {"node": ">=22.0.0"}},
        {"version": "2.1.10", "engines": {"node": ">=18.0.0"}},
        {"version": "3.0.0-beta.1", "engines": {"node": ">=18.0.0"}},
        {"version": "2.1.99", "engines": {"node": ">=22.0.0"}},
    ]
    assert choose_versions(published) == {"newest": "2.1.100", "node20": "2.1.10"}


def test_missing_clients_are_an_error_with_the_command(tmp_path: Path) -> None:
    """A folder without clients, or with a damaged index, says how to install them."""
    with pytest.raises(ClientsError, match=r"run `python tests/e2e/install_clients\.py`"):
        installed(tmp_path)
    (tmp_path / "clients.json").write_text('{"newest": "1.0.0"}')
    with pytest.raises(ClientsError, match="there is no native Claude Code program"):
        installed(tmp_path)
