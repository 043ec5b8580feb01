"""What people see and type: commands in a pseudo-terminal."""

from __future__ import annotations

from typing import Any

import pytest
from terminals import CTRL_C

ECHO = {"Providers": [{"name": "echo", "models": ["echo"]}], "Router": {"default": "echo,echo"}}


@pytest.mark.parametrize(("env", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_doctor(ccr: Any, env: dict[str, str], colour: bool) -> None:
    """On a terminal the levels have colours, unless somebody does not want them."""
    ccr.write_config(ECHO)
    with ccr.terminal("doctor", "keys", "client", env=env) as terminal:
        assert 1 == terminal.wait()
    assert colour == ("\x1b[31merror" in terminal.output)
    assert "-> npm install -g @anthropic-ai/claude-code" in terminal.shown


@pytest.mark.parametrize("answer", ["n\n", "\n", CTRL_C])
def test_no_means_no(ccr: Any, answer: str) -> None:
    """Asked before a plugin is installed, anything but yes installs nothing."""
    (ccr.root / "empty").mkdir()
    with ccr.terminal("plugins", "install", "./empty") as terminal:
        assert "a plugin runs with your rights" in terminal.until("install it? [y/N]")
        if answer == CTRL_C:
            assert terminal.interrupt() == 130
        else:
            terminal.press(answer)
            assert terminal.wait() == 1
    assert "Traceback" not in terminal.output
    assert "Installing" not in terminal.output


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (["status"], 1, "ccr is not running"),
        (["plugins", "show", "echo"], 0, "ccr-plugin-echo"),
        (["plugins", "audit"], None, "DISTRIBUTION"),
        (["logs"], 1, "there is no"),
        (["service", "install", "--print"], 0, "ExecStart="),
        (["import", "/nowhere"], 1, "there is no folder /nowhere"),
        (["completion", "fish"], 0, "complete -c ccr"),
        (["statusline", "--uninstall"], 0, "nothing to do"),
    ],
)
def test_commands(ccr: Any, args: list[str], code: int | None, part: str) -> None:
    """Each command does on a terminal what it does in a pipe, with its exit code."""
    ccr.write_config(ECHO)
    with ccr.terminal(*args) as terminal:
        assert code in (terminal.wait(), None)
    assert part in terminal.shown
