"""`ccr activate`: code that the shells themselves understand."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from ccr_core.cli.activate import SHELLS

UGLY = "a'b\"c$HOME`id`\\ d;e"


def evaluated(ccr: Any, code: str, show: str, env: dict[str, str]) -> str:
    """What a POSIX shell prints after `eval`."""
    done = subprocess.run(
        ["sh", "-c", f'eval "$1"; {show}', "sh", code],
        env={"PATH": ccr.env["PATH"], **env},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    return done.stdout


def test_posix(ccr: Any) -> None:
    """A shell takes the values literally, whatever is in the key, and drops what conflicts."""
    ccr.write_config({"PORT": 4567, "APIKEY": "$UGLY"})
    env = {"NO_PROXY": "corp.example", "UGLY": UGLY}
    code = ccr.ok("activate", env=env)
    show = 'printf "%s|%s|%s|%s" "$ANTHROPIC_AUTH_TOKEN" "$ANTHROPIC_BASE_URL" "$NO_PROXY" "${ANTHROPIC_API_KEY-gone}"'
    expected = f"{UGLY}|http://127.0.0.1:4567|corp.example,127.0.0.1,localhost|gone"
    assert expected == evaluated(ccr, code, show, {"ANTHROPIC_API_KEY": "x"})
    assert code == ccr.ok("env", env=env)


def test_unset(ccr: Any) -> None:
    """--unset takes back what was set, and leaves the user's part of NO_PROXY."""
    ccr.write_config({"PORT": 4567})
    before = {"NO_PROXY": "corp.example"}
    code = ccr.ok("activate", env=before)
    after = {"NO_PROXY": "corp.example,127.0.0.1,localhost"}
    back = ccr.ok("activate", "--unset", env=after)
    shown = evaluated(ccr, f"{code}\n{back}", "env", before)
    names = {line.partition("=")[0] for line in shown.splitlines()}
    assert set() == {name for name in names if name.startswith(("ANTHROPIC", "CLAUDE", "DISABLE", "API_"))}
    assert "NO_PROXY=corp.example" in shown.splitlines()


def test_only_shell_code_on_standard_output(ccr: Any) -> None:
    """Without a configuration the defaults hold, nothing is written, and remarks go to standard error."""
    done = ccr.run("activate")
    assert 0 == done.returncode
    assert set() == {line.split()[0] for line in done.stdout.splitlines()} - {"export", "unset"}
    assert "export ANTHROPIC_BASE_URL=http://127.0.0.1:3456" in done.stdout.splitlines()
    assert "the router is not running; start it with: ccr start -d\n" == done.stderr
    assert not ccr.folder.exists()


def test_broken_configuration(ccr: Any) -> None:
    """A configuration that cannot be read puts nothing on standard output."""
    ccr.write_config({"PORT": "x"})
    done = ccr.run("activate")
    assert (1, "") == (done.returncode, done.stdout)


def test_running_router(ccr: Any) -> None:
    """A running router's own port is used."""
    ccr.write_config({})
    ccr.ok("start", "-d")
    assert f"ANTHROPIC_BASE_URL=http://127.0.0.1:{ccr.state['port']}\n" in ccr.ok("activate")


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ("posix", "export X='a'\"'\"'b\\c$d'"),
        ("fish", "set -gx X 'a\\'b\\\\c$d';"),
        ("powershell", "$env:X = 'a''b\\c$d'"),
    ],
)
def test_quoting(shell: str, expected: str) -> None:
    """Each shell's quoting leaves nothing to expand."""
    assert expected == SHELLS[shell].set("X", "a'b\\c$d")


def test_shell_option(ccr: Any) -> None:
    """--shell chooses the language for setting and removing."""
    ccr.write_config({"PORT": 1})
    assert "set -gx ANTHROPIC_BASE_URL 'http://127.0.0.1:1';" in ccr.ok("activate", "--shell", "fish")
    assert "set -e ANTHROPIC_API_KEY;" in ccr.ok("activate", "--shell", "fish")
    assert "Remove-Item Env:ANTHROPIC_BASE_URL -ErrorAction SilentlyContinue" in ccr.ok(
        "activate", "--shell", "powershell", "--unset"
    )
