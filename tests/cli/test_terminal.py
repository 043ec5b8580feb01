"""What people see and type: commands in a pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import subprocess
import sys
import termios
import time
from typing import Any

import pytest

ECHO = {"Providers": [{"name": "echo", "models": ["echo"]}], "Router": {"default": "echo,echo"}}


def terminal(ccr: Any, *args: str, typed: str = "", after: str = "", **env: str) -> tuple[int, str]:
    """Run `ccr args` in a pseudo-terminal, type when `after` is shown; gives exit code and all that was shown."""
    outer, inner = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "ccr_core.cli", *args],
        env={**ccr.env, "TERM": "xterm", **env},
        cwd=ccr.root,
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
    )
    ccr.started.append(child)
    os.close(inner)
    shown, end, again = "", time.monotonic() + 60, 0.0
    try:
        while time.monotonic() < end:
            if typed and after in shown and time.monotonic() > again:
                # Perhaps more than once: Python misses a Ctrl-C that comes just before it begins to wait for input.
                os.write(outer, typed.encode())
                again = time.monotonic() + 2
            if not select.select([outer], [], [], 0.1)[0]:
                if child.poll() is not None:
                    break
                continue
            part = b""
            with contextlib.suppress(OSError):  # how Linux says that the other side is closed
                part = os.read(outer, 65536)
            if not part:
                break
            shown += part.decode(errors="replace")
        return child.wait(20), shown.replace("\r\n", "\n")
    finally:
        os.close(outer)


@pytest.mark.parametrize(("env", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_doctor(ccr: Any, env: dict[str, str], colour: bool) -> None:
    """On a terminal the levels have colours, unless somebody does not want them."""
    ccr.write_config(ECHO)
    code, shown = terminal(ccr, "doctor", "keys", "client", **env)
    assert 1 == code
    assert colour == ("\x1b[31merror" in shown)
    assert "-> npm install -g @anthropic-ai/claude-code" in re.sub(r"\x1b\[\d+m", "", shown)


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x03"])
def test_no_means_no(ccr: Any, answer: str) -> None:
    """Asked before a plugin is installed, anything but yes installs nothing."""
    (ccr.root / "empty").mkdir()
    code, shown = terminal(ccr, "plugins", "install", "./empty", typed=answer, after="install it? [y/N]")
    assert code in (1, 130)
    assert "a plugin runs with your rights" in shown
    assert "Traceback" not in shown
    assert "Installing" not in shown


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
    got, shown = terminal(ccr, *args)
    assert part in shown
    assert code in (got, None)
