"""Locks between processes: who is kept out, for how long, and what a process that dies leaves."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ccr_core.locks import _say_none, alone, open_lock, release, take


@pytest.fixture(params=["folder", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What is locked: a folder that exists, and a file that does not yet."""
    return tmp_path if request.param == "folder" else tmp_path / "some.lock"


def test_one_at_a_time(path: Path) -> None:
    """Who comes second is kept out for as long as the first is in, and told so when its time is over."""
    with alone(path) as first, alone(path, 0.03) as second:
        assert (True, False) == (first, second)
    with alone(path, 0) as third:
        assert third


def test_without_an_end(path: Path) -> None:
    """Who names no time waits until the other is out."""
    seen = []

    def wait() -> None:
        with alone(path) as held:
            seen.append(("in", held))

    thread = threading.Thread(target=wait)
    with alone(path):
        thread.start()
        thread.join(0.05)
        seen.append(("out", thread.is_alive()))
    thread.join(10)

    assert [("out", True), ("in", True)] == seen


def test_a_failure_lets_go(path: Path) -> None:
    """A block that raises gives the lock back."""
    with pytest.raises(KeyError), alone(path):
        raise KeyError("x")

    with alone(path, 0) as held:
        assert held


HOLDER = """
import sys, time
from pathlib import Path
from ccr_core import alone
with alone(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_killed(path: Path) -> None:
    """A process keeps others out, and when it is killed its lock is gone."""
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert "in\n" == child.stdout.readline()
        with alone(path, 0) as during:
            pass
    finally:
        child.kill()
        child.communicate(timeout=20)
    with alone(path, 5) as after:
        pass

    assert (False, True) == (during, after)


def test_what_stays(tmp_path: Path) -> None:
    """A folder's lock leaves nothing; a lock file stays, as somebody may wait for it, and is its owner's."""
    with alone(tmp_path):
        pass
    assert [] == list(tmp_path.iterdir())

    before = os.umask(0)
    try:
        with alone(tmp_path / "some.lock"):
            pass
    finally:
        os.umask(before)
    assert 0o600 == stat.S_IMODE((tmp_path / "some.lock").stat().st_mode)


def test_no_such_folder(tmp_path: Path) -> None:
    """Where a lock file cannot be made the system's error says so."""
    with pytest.raises(FileNotFoundError), alone(tmp_path / "missing" / "some.lock"):
        pass


def test_shared(tmp_path: Path) -> None:
    """Any number may share a lock; who wants it alone gets it when the others are gone."""
    first, second = (open_lock(tmp_path / "some.lock") for _ in range(2))
    try:
        together = [take(first, shared=True), take(second, shared=True), take(second)]
        release(first)
        last = [take(second), take(first, shared=True)]
    finally:
        os.close(first)
        os.close(second)

    assert ([True, True, False], [True, False]) == (together, last)


def test_given_back_while_a_child_has_the_file(tmp_path: Path) -> None:
    """A lock that is given back is free, also when another still has the same open file."""
    file = open_lock(tmp_path / "some.lock")
    inherited = os.dup(file)
    try:
        take(file)
        release(file)
        os.close(file)
        with alone(tmp_path / "some.lock", 0) as held:
            assert held
    finally:
        os.close(inherited)


def test_a_disk_without_locks(path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where a disk has no locks the work goes on, and the log says once that nobody is kept out."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    _say_none.cache_clear()
    with alone(path) as first, alone(path, 0) as second:
        assert (True, True) == (first, second)

    assert ["this disk cannot lock files (No locks available)"] == [
        record.getMessage().partition(":")[0] for record in caplog.records
    ]
