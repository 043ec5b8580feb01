"""`ccr model` on a terminal: the dialog, driven through a pseudo-terminal by its keys."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

DOWN, ENTER, CTRL_C = "\x1b[B", "\r", "\x03"
SECONDS = 40.0


class Terminal:
    """A program at a pseudo-terminal of its own."""

    def __init__(self, ccr: Any, *args: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        self.child = subprocess.Popen(
            [sys.executable, "-m", "ccr_core.cli", *args],
            env={**ccr.env, "TERM": "xterm", "NO_COLOR": "1", "PROMPT_TOOLKIT_NO_CPR": "1"},
            cwd=ccr.root,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""
        self.end = time.monotonic() + SECONDS

    def until(self, text: str) -> str:
        """Read until ``text`` is shown; what was shown up to it is then forgotten."""
        while text not in (plain := re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.shown)):
            if not self._read():
                raise AssertionError(f"{text!r} was not shown, but:\n{plain}")
        self.shown = plain.partition(text)[2]
        return plain

    def _read(self) -> bool:
        if not select.select([self.master], [], [], max(0.0, self.end - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def press(self, *keys: str) -> None:
        """Press keys, with a moment between them as a person has."""
        for key in keys:
            os.write(self.master, key.encode())
            time.sleep(0.1)

    def wait(self) -> int:
        """The exit code."""
        while self._read():
            pass
        return self.child.wait(SECONDS)

    def close(self) -> None:
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait(SECONDS)
        os.close(self.master)


@pytest.fixture
def terminal(ccr: Any) -> Iterator[Terminal]:
    """The dialog, with a configuration of two models."""
    up = {"name": "up", "api_base_url": "http://127.0.0.1:1/v1/messages", "api_key": "k", "models": ["m", "other"]}
    ccr.write_config({"Providers": [up, {"name": "echo", "models": ["echo"]}], "Router": {"default": "up,m"}})
    running = Terminal(ccr, "model")
    running.until("default  up,m")
    running.until("What now?")
    yield running
    running.close()


def written(ccr: Any) -> dict[str, Any]:
    """The configuration as it is now."""
    return dict(json.loads((ccr.folder / "config.json").read_text()))


def test_set_a_route(ccr: Any, terminal: Terminal) -> None:
    """A route is chosen, a model is found by typing a part of its name, with a level; the new state is shown."""
    terminal.press(ENTER)
    terminal.until("Which route?")
    terminal.press(*"think", ENTER)
    terminal.until("Which model for think?")
    terminal.press(*"othe", ENTER)
    terminal.until("Which level of reasoning?")
    terminal.press(*[DOWN] * 5, ENTER)
    terminal.until("think is up,other,high")
    terminal.until("What now?")
    assert "up,other,high" == written(ccr)["Router"]["think"]
    terminal.press(CTRL_C)
    assert 0 == terminal.wait()


def test_going_back_changes_nothing(ccr: Any, terminal: Terminal) -> None:
    """Ctrl-C leads to the menu, and from there to the shell; nothing is written."""
    before = (ccr.folder / "config.json").read_bytes()
    terminal.press(ENTER)
    terminal.until("Which route?")
    terminal.press(CTRL_C)
    terminal.until("What now?")
    terminal.press(CTRL_C)
    assert 0 == terminal.wait()
    assert before == (ccr.folder / "config.json").read_bytes()


def test_add_a_model(ccr: Any, terminal: Terminal) -> None:
    """A model is added; a name that is taken is refused where it is typed."""
    terminal.press(DOWN, ENTER)
    terminal.until("To which provider?")
    terminal.press(ENTER)
    terminal.until("What is the model called?")
    terminal.press("m", ENTER)
    terminal.until("up has the model m already")
    terminal.press("2", ENTER)
    terminal.until("Shall a route lead to up,m2?")
    terminal.press("n")
    terminal.until("What now?")
    assert ["m", "other", "m2"] == written(ccr)["Providers"][0]["models"]


def test_add_a_provider_from_a_preset(ccr: Any, terminal: Terminal) -> None:
    """A service is found by typing; its key is a reference to the usual variable; a route may lead to it at once."""
    terminal.press(DOWN, DOWN, ENTER)
    terminal.until("Which service?")
    terminal.press(*"deepseek", ENTER)
    terminal.until("Where is its key?")
    terminal.until("DEEPSEEK_API_KEY")
    terminal.press(ENTER)
    terminal.until("Which models shall be listed?")
    terminal.press(ENTER)
    terminal.until("Shall a route lead to deepseek,")
    terminal.press("y")
    terminal.until("Which route?")
    terminal.press(*"background", ENTER)
    terminal.until("background is deepseek,")
    terminal.until("whether it works?")
    terminal.press("n")
    terminal.until("What now?")
    added = written(ccr)["Providers"][2]
    assert ("deepseek", "$DEEPSEEK_API_KEY") == (added["name"], added["api_key"])
    assert f"deepseek,{added['models'][0]}" == written(ccr)["Router"]["background"]


def test_try_a_provider(ccr: Any, terminal: Terminal) -> None:
    """A small request is sent, and the dialog says how it fared and goes on."""
    terminal.press(*[DOWN] * 4, ENTER)
    terminal.until("Which model?")
    terminal.press(*"echo", ENTER)
    terminal.until("echo,echo works")
    terminal.until("What now?")
