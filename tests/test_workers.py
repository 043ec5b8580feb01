"""The supervisor of several workers, with workers that are a few lines long."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

WORKER = """
import os, socket, sys, time
from ccr_core.workers import Place
place = Place.of_text(sys.argv[1])
control = socket.socket(fileno=place.control)
folder = sys.argv[2]
def how(name):
    return os.path.exists(f"{folder}/{place.number}-{name}")
if how("fails"):
    sys.exit("it cannot begin")
# In one piece: several processes write here.
os.write(1, f"began {place.number} {os.getpid()} {place.starts} {[*place.serving]}\\n".encode())
control.sendall(b'["ready", {"failed": []}]\\n')
if how("deaf"):
    time.sleep(60)
connections = []
while True:
    data, files, _, _ = socket.recv_fds(control, 64, 16)
    if not data:
        break
    for file in files:
        connections.append(socket.socket(fileno=file))
        connections[-1].sendall(b"%d" % place.number)
"""

SUPERVISOR = f"""
import logging, os, socket, sys
from ccr_core import workers
logging.basicConfig(format="log %(message)s", stream=sys.stdout)
workers.GRACE_S = 1.0
count, folder = int(sys.argv[1]), sys.argv[2]
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
def command(place):
    return [sys.executable, "-c", {WORKER!r}, place.to_text(), folder]
def ready(about):
    os.write(1, f"ready {{listener.getsockname()[1]}} {{about}}\\n".encode())
sys.exit(workers.Supervisor(listener, count, command, ready).run())
"""


class Supervised:
    """A supervisor in a process of its own, and what it and its workers have said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self, count: int) -> None:
        """Start it with so many workers."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(count), str(self.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def until(self, word: str) -> str:
        """Read until a line has ``word`` in it; give that."""
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if word in line:
                return line.strip()
        raise AssertionError(f"nobody said {word!r}: {self.lines} {self.process.stderr and self.process.stderr.read()}")

    def port(self) -> int:
        """Wait until all are ready; give the port."""
        return int(self.until("ready").split()[1])

    def pid(self, number: int) -> int:
        """The process of a worker that has begun."""
        return next(int(line.split()[2]) for line in self.lines if line.startswith(f"began {number} "))

    def end(self) -> int:
        """Ask it to end; give the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)
        return self.process.returncode


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    """One that is not started yet."""
    made = Supervised(tmp_path)
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.communicate(timeout=20)


def connect(port: int, stack: contextlib.ExitStack) -> int:
    """Connect, and stay; give the number of the worker that took it."""
    made = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
    return int(made.recv(1))


@pytest.mark.parametrize(("workers", "connections"), [(2, 16), (3, 12), (2, 3)])
def test_connections_are_spread(supervised: Supervised, workers: int, connections: int) -> None:
    """Each worker has as many connections as any other, give or take one."""
    supervised.start(workers)
    port = supervised.port()
    with contextlib.ExitStack() as stack:
        found = Counter(connect(port, stack) for _ in range(connections))
    assert set(range(1, workers + 1)) == set(found)
    assert max(found.values()) - min(found.values()) <= 1
    assert 0 == supervised.end()


def test_one_that_takes_no_connections(supervised: Supervised) -> None:
    """What a worker does not take off its line goes to the others when the line is full; nobody is turned away."""
    (supervised.folder / "2-deaf").touch()
    supervised.start(2)
    port = supervised.port()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(8)]
        answered = 0
        for each in sockets:
            each.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                answered += each.recv(1) == b"1"
    assert 4 == answered
    before = time.monotonic()
    assert 0 == supervised.end()
    assert time.monotonic() - before < 15


def test_the_first_says_why(supervised: Supervised) -> None:
    """A worker that cannot begin at the start ends it: exit code 1, its reason once, and no other was started."""
    (supervised.folder / "1-fails").touch()
    supervised.start(3)
    assert supervised.process is not None
    out, err = supervised.process.communicate(timeout=20)
    assert (1, "it cannot begin\n", 0) == (supervised.process.returncode, err, out.count("began"))


def test_one_of_the_others_cannot_begin(supervised: Supervised) -> None:
    """Neither does the router start with fewer workers than were asked for."""
    (supervised.folder / "2-fails").touch()
    supervised.start(2)
    assert supervised.process is not None
    out, _ = supervised.process.communicate(timeout=20)
    assert (1, False) == (supervised.process.returncode, "ready" in out)


def test_a_worker_that_dies_again_and_again(supervised: Supervised) -> None:
    """It is tried again after ever longer pauses, while the other serves, and takes its place when it can."""
    supervised.start(2)
    port = supervised.port()
    (supervised.folder / "2-fails").touch()
    os.kill(supervised.pid(2), signal.SIGKILL)
    assert "ended (signal 9)" in supervised.until("log worker 2")
    assert "another is started in 0.25 s" in supervised.lines[-1]
    assert "another is started in 0.5 s" in supervised.until("(exit code 1)")
    with contextlib.ExitStack() as stack:
        assert [1, 1] == [connect(port, stack) for _ in range(2)]
    (supervised.folder / "2-fails").unlink()
    assert supervised.until("began 2").endswith("[1]")
    supervised.until("worker 2 serves again")
    with contextlib.ExitStack() as stack:
        assert {1, 2} == {connect(port, stack) for _ in range(4)}
    assert 0 == supervised.end()


def test_connections_wait_while_nobody_serves(supervised: Supervised) -> None:
    """When all workers are gone, whoever connects waits until one is there again."""
    supervised.start(2)
    port = supervised.port()
    for number in (1, 2):
        os.kill(supervised.pid(number), signal.SIGKILL)
    supervised.until("log worker")
    supervised.until("log worker")
    with contextlib.ExitStack() as stack:
        assert connect(port, stack) in (1, 2)
    assert 0 == supervised.end()
