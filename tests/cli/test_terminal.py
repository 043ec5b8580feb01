"""What people see and type: commands in a pseudo-terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
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


COLOURED = re.compile(r"\x1b\[[\d;]*[349]\d[\d;]*m")


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {}])
@pytest.mark.parametrize("args", [["status"], ["plugins", "audit"], ["preset", "list"], ["config", "test"], ["model"]])
def test_no_colour(ccr: Any, args: list[str], env: dict[str, str]) -> None:
    """Who wants no colours gets none anywhere, in the dialog either, which has them otherwise."""
    ccr.write_config(
        {**ECHO, "Router": {"default": "echo,echo", "tests": [{"request": {}, "expect": {"rule": "think"}}]}}
    )
    with ccr.terminal(*args, env=env) as terminal:
        if args == ["model"]:
            terminal.until("What now?")
            terminal.interrupt()
        terminal.wait()
    if env or args in (["model"], ["config", "test"]):
        assert (not env) == bool(COLOURED.search(terminal.output))


EDITOR = """#!/bin/sh
case "$1" in
  good) sed -i s/info/debug/ "$2" ;;
  bad) echo '{' > "$2" ;;
  fail) exit 3 ;;
esac
"""


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("good", 0, "config.json can be used"),
        ("same", 0, "config.json is as it was"),
        ("bad", 1, "error: "),
        ("fail", 1, "ended with exit code 3; the configuration was not looked at"),
    ],
)
def test_edit(ccr: Any, word: str, code: int, said: str) -> None:
    """The editor that the user has chosen gets the file, and the file is checked when it has ended."""
    path = ccr.write_config({**ECHO, "LOG_LEVEL": "info"})
    (ccr.bin / "ed").write_text(EDITOR)
    (ccr.bin / "ed").chmod(0o755)
    with ccr.terminal("config", "edit", env={"EDITOR": f"ed {word}"}) as terminal:
        assert code == terminal.wait(), terminal.output
    assert said in terminal.shown
    assert (word == "good") == ("debug" in path.read_text())


def test_edit_without_an_editor(ccr: Any) -> None:
    """An editor that is not there is named; without a terminal none is started."""
    ccr.write_config(ECHO)
    with ccr.terminal("config", "edit", env={"VISUAL": "no-such-editor -w"}) as terminal:
        assert 1 == terminal.wait()
    assert 'there is no editor "no-such-editor -w"; name one in EDITOR' in terminal.shown
    done = ccr.run("config", "edit")
    assert (2, True) == (done.returncode, "ccr config path prints where the file is" in done.stderr)


ASKING = {
    "auth login anthropic-managed": (1, "use --accept-terms-risk if you want it"),
    "model": (2, "the dialog needs a terminal; without one: ccr model list, set, add, remove"),
    "plugins install ./empty": (1, "nothing was installed; --yes does it without asking"),
    "plugins remove store-keyring": (1, "nothing was removed; --yes does it without asking"),
    "preset export other": (0, "the preset other is in "),
    "preset install ./given": (1, "answer by --set ID=VALUE, by --answers FILE, or on a terminal"),
    "preset install mine": (1, "answer by --set ID=VALUE, by --answers FILE, or on a terminal"),
    "preset delete mine": (0, "the preset mine is removed"),
    "trust": (1, "--yes"),
}


@pytest.mark.parametrize("words", ASKING)
def test_nothing_is_asked_without_a_terminal(ccr: Any, words: str) -> None:
    """With a standard input that never says anything each command ends, and says what option would have answered."""
    ccr.write_config(ECHO)
    manifest = {"name": "mine", "schema": [{"id": "key", "type": "password"}], **ECHO}
    for folder in (ccr.folder / "presets" / "mine", ccr.root / "given"):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(manifest))
    (ccr.root / "empty").mkdir()
    (ccr.root / ".ccr.toml").write_text('[Router]\ndefault = "echo,echo"\n')
    child = subprocess.Popen(
        [sys.executable, "-m", "ccr_core.cli", *words.split()],
        env=ccr.env,
        cwd=ccr.root,
        stdin=subprocess.PIPE,  # nothing is written to it, and it stays open
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    ccr.started.append(child)
    code, part = ASKING[words]
    assert code == child.wait(60)
    assert child.stdout is not None
    assert part in child.stdout.read()


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
