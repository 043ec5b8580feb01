"""ccr trust."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccr_core.projects import is_trusted

TEXT = '[Router]\ndefault = "up,m"  # für alle\n'


@pytest.fixture
def shared(ccr: Any) -> Path:
    """The file of a repository, in the folder that commands are run in."""
    (ccr.root / ".git").mkdir()
    path = ccr.root / ".ccr.toml"
    path.write_text(TEXT)
    return path


def known(ccr: Any) -> dict[str, str]:
    """What is trusted."""
    path = ccr.folder / "trusted.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def test_trust(ccr: Any, shared: Path) -> None:
    """The text is shown and, after a yes, trusted: this text at this place, in a file for the user's eyes only."""
    done = ccr.run("trust", "--yes")

    assert 0 == done.returncode
    assert f"{shared}\n{TEXT}{shared} is trusted until it changes\n" == done.stdout
    assert [str(shared)] == list(known(ccr))
    assert is_trusted(shared, TEXT, ccr.folder)
    assert 0o600 == stat.S_IMODE((ccr.folder / "trusted.json").stat().st_mode)
    assert f"{shared} is trusted already\n" == ccr.ok("trust")


@pytest.mark.parametrize("path", ["sub/folder", ".ccr.toml", ".", "~/../."])
def test_where_the_file_is(ccr: Any, shared: Path, path: str) -> None:
    """The file may be named, or any folder of its repository."""
    (ccr.root / "sub" / "folder").mkdir(parents=True)
    ccr.ok("trust", "--yes", path)
    assert [str(shared)] == list(known(ccr))


def test_without_a_terminal_nobody_is_asked(ccr: Any, shared: Path) -> None:
    """A pipe is no yes."""
    done = ccr.run("trust", input="y\n")
    assert 1 == done.returncode
    assert "error: this is no terminal" in done.stderr
    assert {} == known(ccr)


@pytest.mark.parametrize(("answer", "code", "trusts"), [("y\n", 0, True), ("n\n", 1, False), ("\n", 1, False)])
def test_on_a_terminal_it_asks(ccr: Any, shared: Path, answer: str, code: int, trusts: bool) -> None:
    """Only a yes is a yes."""
    outer, inner = os.openpty()
    try:
        os.write(outer, answer.encode())
        done = subprocess.run(
            [sys.executable, "-m", "ccr_core.cli", "trust"],
            env=ccr.env,
            cwd=ccr.root,
            stdin=inner,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(inner)
        os.close(outer)
    assert code == done.returncode, done.stderr
    assert "Let it choose models" in done.stderr
    assert trusts == is_trusted(shared, TEXT, ccr.folder)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[Router", "expected ']'"),
        ("PORT = 1", "has no table [Router]"),
        ("Router = 7", "has no table [Router]"),
        ("[Router]", "has no table [Router]"),
        ('[Router]\ndefault = "a\x1b[2K"', "line 2"),
    ],
)
def test_text_that_means_nothing(ccr: Any, shared: Path, text: str, why: str) -> None:
    """What the router could not use, and what hides from the eye with control characters, cannot be trusted."""
    shared.write_text(text)
    done = ccr.run("trust", "--yes")
    assert 1 == done.returncode
    assert why in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert {} == known(ccr)


def test_invisible_characters_are_shown(ccr: Any, shared: Path) -> None:
    """Characters that turn the direction of a line are written out."""
    shared.write_text('[Router]\ndefault = "a\u202eb"\n')
    assert 'default = "a\\u202eb"' in ccr.ok("trust", "--yes")


def test_list(ccr: Any, shared: Path) -> None:
    """The list says of each file whether it is still the one that was trusted."""
    assert "no repository's file is trusted\n" == ccr.ok("trust", "--list")
    ccr.ok("trust", "--yes")
    assert ["STATE    FILE", f"trusted  {shared}"] == ccr.ok("trust", "--list").splitlines()
    shared.write_text(TEXT + "\n")
    assert [{"path": str(shared), "state": "changed"}] == json.loads(ccr.ok("trust", "--list", "--json"))
    shared.unlink()
    assert [{"path": str(shared), "state": "gone"}] == json.loads(ccr.ok("trust", "--list", "--json"))


def test_revoke(ccr: Any, shared: Path) -> None:
    """Trust can be taken back, also of a file that is gone; other files stay trusted."""
    other = ccr.root / "other"
    (other / ".git").mkdir(parents=True)
    (other / ".ccr.toml").write_text(TEXT)
    ccr.ok("trust", "--yes")
    ccr.ok("trust", "--yes", "other")
    shared.unlink()

    assert f"{shared} is no longer trusted\n" == ccr.ok("trust", "--revoke")
    assert [str(other / ".ccr.toml")] == list(known(ccr))
    (other / ".ccr.toml").write_text("changed")
    ccr.ok("trust", "--revoke", "other/.ccr.toml")
    assert {} == known(ccr)
    assert "was not trusted" in ccr.run("trust", "--revoke", "other").stderr


def test_nothing_to_trust(ccr: Any) -> None:
    """Without a file that is said; so is a file of another name, and a path that does not exist."""
    (ccr.root / ".git").mkdir()
    (ccr.root / "x.toml").write_text(TEXT)
    assert f"error: there is no .ccr.toml in the repository of {ccr.root}\n" == ccr.run("trust", "--yes").stderr
    assert f"error: there is no {ccr.root}/none\n" == ccr.run("trust", "--yes", "none").stderr
    assert "only a file named .ccr.toml" in ccr.run("trust", "--yes", "x.toml").stderr
    assert not ccr.folder.exists()


@pytest.mark.parametrize("args", [["--list", "--revoke"], ["--list", "."], ["--json"]])
def test_options_that_do_not_go_together(ccr: Any, args: list[str]) -> None:
    """Nonsense is refused."""
    assert 2 == ccr.run("trust", *args).returncode


def test_it_is_light(ccr: Any, shared: Path) -> None:
    """Neither the router nor plugins are loaded."""
    script = "import sys; from ccr_core.cli import main; main(['trust', '--yes']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=ccr.env,
        cwd=ccr.root,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    heavy = {"httpx", "starlette", "uvicorn", "orjson", "pluggy", "cattrs", "ccr_core.engine", "ccr_core.plugins"}
    assert set() == heavy & set(done.stderr.split())
