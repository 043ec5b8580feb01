"""`ccr activate`: code that the shells themselves understand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

import pytest

from ccr_core.cli.activate import SHELLS

UGLY = "a'b\"c$HOME`id`\\ d;e"


POSIX = """
eval "$(ccr activate)"
say() { printf '%s|%s|%s|%s\\n' "$ANTHROPIC_AUTH_TOKEN" "$ANTHROPIC_BASE_URL" "$NO_PROXY" "${ANTHROPIC_API_KEY-gone}"; }
say
eval "$(ccr env)"
say
eval "$(ccr activate --unset)"
env
"""
FISH = """
function say
    set -q ANTHROPIC_API_KEY; or set -l ANTHROPIC_API_KEY gone
    printf '%s|%s|%s|%s\\n' "$ANTHROPIC_AUTH_TOKEN" "$ANTHROPIC_BASE_URL" "$NO_PROXY" "$ANTHROPIC_API_KEY"
end
ccr activate --shell fish | source
say
ccr env --shell fish | source
say
ccr activate --shell fish --unset | source
env
"""
SCRIPTS = {"sh": POSIX, "dash": POSIX, "bash": POSIX, "zsh": POSIX, "fish": FISH}
HERE = [shell for shell in SCRIPTS if shell == "sh" or shutil.which(shell)]
"""The shells of this machine; CI has all of them."""


@pytest.mark.parametrize("shell", HERE)
@pytest.mark.parametrize("key", [f"{UGLY}\nline ~ \u2018typographic\u2019 *", "-n"])
def test_shells(ccr: Any, shell: str, key: str) -> None:
    """As the page says it, a real shell takes the values literally, drops what conflicts, and can take it all back."""
    ccr.write_config({"PORT": 4567, "APIKEY": "$UGLY"})
    program = ccr.bin / "ccr"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ccr_core.cli "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        [shell, "-c", SCRIPTS[shell]],
        env={**ccr.env, "UGLY": key, "NO_PROXY": "corp.example", "ANTHROPIC_API_KEY": "x"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    expected = f"{key}|http://127.0.0.1:4567|corp.example,127.0.0.1,localhost|gone\n"
    assert done.stdout.startswith(expected * 2), done.stdout + done.stderr
    after = done.stdout.removeprefix(expected * 2).splitlines()
    assert [] == [line for line in after if line.startswith(("ANTHROPIC", "CLAUDE", "DISABLE", "API_"))]
    assert "NO_PROXY=corp.example" in after


OWN_LOGIN = """
eval "$(ccr activate)"
eval "$(ccr activate)"
printf '%s|%s|%s\\n' "$CLAUDE_CODE_OAUTH_TOKEN" "${ANTHROPIC_AUTH_TOKEN-gone}" "$ANTHROPIC_CUSTOM_HEADERS"
eval "$(ccr activate --unset)"
printf '%s|%s\\n' "$CLAUDE_CODE_OAUTH_TOKEN" "$ANTHROPIC_CUSTOM_HEADERS"
"""


@pytest.mark.parametrize("shell", [shell for shell in HERE if SCRIPTS[shell] is POSIX])
def test_the_clients_own_login(ccr: Any, shell: str) -> None:
    """The client's login stays, the router's key is one header among the user's, once, and can be taken back."""
    entry = {"name": "claude", "auth_type": "oauth", "oauth_provider": "anthropic", "models": ["m"]}
    ccr.write_config({"APIKEY": "s3cret", "Providers": [entry], "Router": {"default": "claude,m"}})
    program = ccr.bin / "ccr"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ccr_core.cli "$@"\n')
    program.chmod(0o755)
    there = {"CLAUDE_CODE_OAUTH_TOKEN": "mine", "ANTHROPIC_AUTH_TOKEN": "old", "ANTHROPIC_CUSTOM_HEADERS": "x-mine: 1"}
    done = subprocess.run(
        [shell, "-c", OWN_LOGIN],
        env={**ccr.env, **there},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert "mine|gone|x-mine: 1\nx-ccr-key: s3cret\nmine|x-mine: 1\n" == done.stdout


def powershell(text: str) -> str:
    """What PowerShell makes of a text in single quotes, by its documented rule: two quotes, of any shape, are one."""
    quotes = "'\u2018\u2019\u201a\u201b"
    assert text[0] in quotes
    assert text[-1] in quotes
    inner, made = text[1:-1], ""
    while inner:
        if inner[0] in quotes:
            assert inner[1] in quotes, f"the text ends before {inner!r}"
            inner = inner[1:]
        made, inner = made + inner[0], inner[1:]
    return made


@pytest.mark.parametrize("value", [UGLY, "it's ''two''", "\u2018typographic\u2019 \u201b", "`n $(x) $x", ""])
def test_powershell(value: str) -> None:
    """PowerShell has nothing to expand in what it gets, and takes it literally."""
    name, equals, text = SHELLS["powershell"].set("X", value).partition(" = ")
    assert ("$env:X", " = ", value) == (name, equals, powershell(text))


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
