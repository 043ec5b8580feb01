"""A program at a pseudo-terminal, as a person has it: what is shown, keys that are pressed, and its exit code."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LIMIT = 60.0
"""Seconds that a program may take from its start to its end."""
DOWN, ENTER, ESCAPE, CTRL_C, CTRL_D = "\x1b[B", "\r", "\x1b", "\x03", "\x04"
BETWEEN = 0.03
"""Seconds between two keys: a person has more, but several at once would be a paste."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]")


class Terminal:
    """A running program; ``shown`` is what it showed since the last :meth:`until`, ``output`` everything, raw."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
        self.child = subprocess.Popen(
            list(command),
            env={"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **env},
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
        )
        os.close(slave)
        self.output = ""
        self._passed = 0
        self.end = time.monotonic() + LIMIT

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def shown(self) -> str:
        """What was shown since the last :meth:`until`, without colours and movements of the cursor."""
        return self._plain()[self._passed :]

    def _plain(self) -> str:
        return _ESCAPES.sub("", self.output).replace("\r\n", "\n")

    def until(self, text: str) -> str:
        """Read until ``text`` is shown; gives what was shown with it, which is then passed."""
        while text not in self.shown:
            if not self._read(max(0.0, self.end - time.monotonic())):
                raise AssertionError(f"{text!r} was not shown, but:\n{self.shown}")
        found = self.shown
        self._passed += found.index(text) + len(text)
        return found

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            os.write(self.master, key.encode())
            time.sleep(BETWEEN)

    def wait(self) -> int:
        """Read to the end; gives the exit code."""
        while self._read(max(0.0, self.end - time.monotonic())):
            pass
        return self.child.wait(max(1.0, self.end - time.monotonic()))

    def interrupt(self) -> int:
        """Press Ctrl-C until the program ends; gives the exit code.

        Once is not enough: Python misses one that comes just before it begins to wait for input.
        """
        while self.child.poll() is None and time.monotonic() < self.end:
            with contextlib.suppress(OSError):
                os.write(self.master, CTRL_C.encode())
            part = time.monotonic() + 2
            while self.child.poll() is None and time.monotonic() < part:
                self._read(0.05)
        return self.wait()

    def _read(self, seconds: float) -> bool:
        """Read what is there within so many seconds; false at the end of the output, or if there was nothing."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def close(self) -> None:
        """End the program if it still runs."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait(LIMIT)
        os.close(self.master)
