"""A `ccr` to run as people run it: a process of its own, with a private home and an otherwise empty environment."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from terminals import Terminal

LIMIT = 60.0
"""Seconds that any one command may take."""


class Ccr:
    """The program `ccr` with a private HOME; `folder` is where it keeps its files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "home" / ".claude-code-router"
        self.bin = root / "bin"
        for path in (root / "home", self.bin):
            path.mkdir()
        self.env: dict[str, str] = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(root / "home"),
            "TMPDIR": str(root),
            "LC_ALL": "C.UTF-8",
        }
        self.started: list[subprocess.Popen[str]] = []

    def run(
        self, *args: str, env: Mapping[str, str] | None = None, input: str = "", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `ccr args` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "ccr_core.cli", *args],
            env={**self.env, **(env or {})},
            cwd=cwd or self.root,
            input=input,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def ok(self, *args: str, **options: Any) -> str:
        """Run `ccr args`, which must succeed; gives its standard output."""
        done = self.run(*args, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Begin `ccr args` and go on; ended with the test."""
        child = subprocess.Popen(
            [sys.executable, "-m", "ccr_core.cli", *args],
            env={**self.env, **(env or {})},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(child)
        return child

    def terminal(self, *args: str, env: Mapping[str, str] | None = None) -> Terminal:
        """Run `ccr args` at a pseudo-terminal; to be used in a `with` statement."""
        command = [sys.executable, "-m", "ccr_core.cli", *args]
        return Terminal(command, {**self.env, **(env or {})}, self.root)

    def write_config(self, data: Mapping[str, Any], name: str = "config.json") -> Path:
        """Write a configuration; the port is any free one unless the data say otherwise."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_text(json.dumps({"PORT": 0, **data}))
        return path

    def client(self, body: str) -> Path:
        """Install a program `claude`: a Python script in which `args`, `env` and `settings` are known."""
        path = self.bin / "claude"
        path.write_text(
            f"#!{sys.executable}\nimport json, os, sys\nargs, env = sys.argv[1:], dict(os.environ)\n"
            f"settings = json.load(open(args[args.index('--settings') + 1]))\n{body}\n"
        )
        path.chmod(0o755)
        return path

    @property
    def state(self) -> dict[str, Any]:
        """The state file of the running router; empty if there is none."""
        try:
            return dict(json.loads((self.folder / "run.json").read_text()))
        except (OSError, ValueError):
            return {}

    def close(self) -> None:
        """End what was started."""
        for child in self.started:
            if child.poll() is None:
                child.kill()
            child.communicate(timeout=LIMIT)
        pid = self.state.get("pid")
        if pid is not None and b"ccr_core.cli" in _command(pid):
            os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def ccr(tmp_path: Path) -> Iterator[Ccr]:
    """The program, and the end of all that it started."""
    program = Ccr(tmp_path)
    yield program
    program.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ccr]:
    """A program for all tests of a module that only look: what it runs, and where it keeps its files, is one."""
    program = Ccr(tmp_path_factory.mktemp("shared"))
    yield program
    program.close()


@pytest.fixture
def make_ccr() -> Iterator[Callable[[Path], Ccr]]:
    """Make a program of its own in a folder, where `ccr` is one that others use, too."""
    made: list[Ccr] = []

    def make(folder: Path) -> Ccr:
        made.append(Ccr(folder))
        return made[-1]

    yield make
    for program in made:
        program.close()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which this very process listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def wait_for() -> Callable[[Callable[[], Any]], Any]:
    """Wait until a function gives something true; give that."""

    def wait(ask: Callable[[], Any]) -> Any:
        end = time.monotonic() + LIMIT
        while not (found := ask()):
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.05)
        return found

    return wait
