"""The observer ``request-log``."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_request_log as plugin
import pytest

from ccr_core import Arrived, Failed, Finished

FINISHED = Finished(
    id="x-1",
    at=1_700_000_000.25,
    status=200,
    stream=True,
    requested="claude-x",
    provider="p",
    model="m",
    scenario="think",
    why="thinking is on",
    attempts=2,
    duration=1.23456,
    first=0.5,
    stop_reason="end_turn",
    usage={"input_tokens": 7, "output_tokens": 3},
    tokens=9,
    session="s",
    agent_id="a",
    agent_type="Explore",
    request_class="main",
    notes=(("dropped", "top_k"),),
)
FAILED = Failed(**attrs.asdict(FINISHED, recurse=False), kind="overloaded_error", error="too busy")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[plugin.RequestLog]:
    observer = plugin.RequestLog(plugin.Options(), tmp_path)
    yield observer
    observer.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_hook() -> None:
    """The plugin offers exactly the observer that its README names, for the two ends of an exchange."""
    specs = list(plugin.ccr_observers())

    assert [("request-log", frozenset({Finished, Failed}), True)] == [(s.name, s.wants, s.default) for s in specs]


def test_lines(log: plugin.RequestLog, tmp_path: Path) -> None:
    """A finished and a failed exchange are a line each, in order; anything else is none."""
    log.on(FINISHED)
    log.on(Arrived(id="x", at=1.0, path="/v1/messages", model="m", stream=True, size=1))
    log.on(FAILED)
    log.close()

    expected = {
        "time": "2023-11-14T22:13:20.250Z",
        "id": "x-1",
        "status": 200,
        "route": "p,m",
        "scenario": "think",
        "why": "thinking is on",
        "requested": "claude-x",
        "stream": True,
        "tokens": 9,
        "usage": {"input_tokens": 7, "output_tokens": 3},
        "stop_reason": "end_turn",
        "attempts": 2,
        "first": 0.5,
        "duration": 1.2346,
        "session": "s",
        "agent_id": "a",
        "agent_type": "Explore",
        "request_class": "main",
        "notes": [["dropped", "top_k"]],
        "error": None,
    }
    failed = {**expected, "error": {"kind": "overloaded_error", "message": "too busy"}}
    assert [expected, failed] == lines(tmp_path / "logs" / "requests.jsonl")


def test_owner_only(log: plugin.RequestLog) -> None:
    """The file is its owner's alone, even if it was readable before."""
    log.path.parent.mkdir()
    log.path.touch(0o644)
    log.path.chmod(0o644)
    log.on(FINISHED)
    log.close()

    assert 0o600 == stat.S_IMODE(log.path.stat().st_mode)


@pytest.mark.parametrize(
    "text",
    [
        "wrong key sk-proj-AbCdEf0123456789AbCdEf",
        "Authorization: Bearer abcdef0123456789abcdef",
        "key AIzaSyA0123456789abcdefghij",
        "gsk_0123456789abcdefghij",
    ],
)
def test_no_secrets(text: str) -> None:
    """A key that a provider repeats in its refusal does not reach the file."""
    seen = plugin.line(attrs.evolve(FAILED, error=text, notes=(("n", text),))).decode()

    assert "0123456789" not in seen
    assert "…" in json.loads(seen)["error"]["message"]


KEY = "sk-proj-AbCdEf0123456789AbCdEf"


class Odd:
    def __str__(self) -> str:
        return f"odd {KEY}"


@pytest.mark.parametrize(
    "change",
    [
        {"requested": KEY},
        {"provider": KEY},
        {"model": KEY},
        *({name: f"a\n{KEY}"} for name in ("scenario", "why", "stop_reason", "session", "agent_id", "agent_type")),
        {"request_class": f'"{KEY}'},
        {"error": json.dumps({"error": f"wrong key:\n{KEY}"})},
        {"usage": {"service": {"tier": [KEY]}}},
        {"usage": {KEY: 1}},
        {"usage": {1: KEY, "big": 2**80}},
        {"notes": ((KEY, 1),)},
        {"notes": (("a", [KEY, {"b": KEY}]), ("b", (KEY,)), ("half", "\ud800"))},
        {"notes": (("odd", Odd()), ("odd", [Odd()]))},
    ],
)
def test_no_secrets_anywhere(change: dict[str, Any]) -> None:
    """Wherever a key stands, it does not reach the file; neither the first time nor again."""
    for _ in range(2):
        seen = plugin.line(attrs.evolve(FAILED, **change)).decode()

        assert "sk-pr…" in seen
        assert "0123456789" not in seen
        assert "x-1" == json.loads(seen)["id"]


def test_long_and_odd_values() -> None:
    """Long notes are shortened, and values that JSON has not are written as text."""
    notes = (("long", "x" * 5000), ("list", ["y" * 5000]), ("odd", Path("/a")), ("half", "\ud800"))

    got = json.loads(plugin.line(attrs.evolve(FINISHED, notes=notes, first=None, provider="")))

    assert ["x" * 500 + "… (5000 characters)", '["' + "y" * 498 + "… (5004 characters)", "/a", "?"] == [
        value for _, value in got["notes"]
    ]
    assert (None, None) == (got["first"], got["route"])


def test_rotation(tmp_path: Path) -> None:
    """A full file is put aside, and only as many are kept as the options say."""
    size = len(plugin.line(FINISHED))
    for number in range(7):
        # A log each, so that each line is written by itself.
        log = plugin.RequestLog(plugin.Options(max_mb=2.5 * size / 1e6, keep=2), tmp_path)
        log.on(attrs.evolve(FINISHED, id=f"x-{number}"))
        log.close()

    found = {path.name: [entry["id"] for entry in lines(path)] for path in (tmp_path / "logs").iterdir()}
    assert {
        "requests.jsonl": ["x-6"],
        "requests.jsonl.1": ["x-4", "x-5"],
        "requests.jsonl.2": ["x-2", "x-3"],
    } == found


def test_rotation_without_keeping(tmp_path: Path) -> None:
    """With ``keep`` 0 the file begins anew."""
    for number in range(3):
        log = plugin.RequestLog(plugin.Options(max_mb=0.0001, keep=0), tmp_path)
        log.on(attrs.evolve(FINISHED, id=f"x-{number}"))
        log.close()

    assert ["requests.jsonl"] == os.listdir(tmp_path / "logs")
    assert ["x-2"] == [entry["id"] for entry in lines(tmp_path / "logs" / "requests.jsonl")]


def test_unwritable_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be made costs one warning, and the gap is written once it can."""
    (tmp_path / "logs").write_text("in the way")
    log = plugin.RequestLog(plugin.Options(), tmp_path)
    with caplog.at_level(logging.WARNING, "ccr.request-log"):
        for _ in range(3):
            log.on(FINISHED)
            assert log.settle(10)
        (tmp_path / "logs").unlink()
        log.on(FINISHED)
        log.close()

    assert 1 == len(caplog.records)
    assert [None, 3] == [entry.get("lost") for entry in lines(log.path)]


def test_full_disk(log: plugin.RequestLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full after half a line leaves whole lines, and the loss is counted."""
    log.on(FINISHED)
    assert log.settle(10)
    real, left = os.write, [10]

    def write(file: int, data: bytes) -> int:
        if left:
            if left[0] == 0:
                raise OSError(28, "no space left on device")
            count, left[0] = real(file, data[: left[0]]), 0
            return count
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    log.on(FINISHED)
    assert log.settle(10)
    left.clear()
    log.on(FINISHED)
    log.close()

    assert [None, None, 1] == [entry.get("lost") for entry in lines(log.path)]


def test_never_waits(log: plugin.RequestLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk hangs, telling returns at once; what the queue cannot take is counted."""
    hangs, goes_on = threading.Event(), threading.Event()
    real = log._append

    def append(data: bytes) -> None:
        hangs.set()
        assert goes_on.wait(10)
        real(data)

    monkeypatch.setattr(log, "_append", append)
    monkeypatch.setattr(plugin, "QUEUE", 5)
    log.on(FINISHED)
    assert hangs.wait(10)
    for _ in range(8):
        log.on(FINISHED)
    goes_on.set()
    log.close()

    assert [None] * 6 + [3] == [entry.get("lost") for entry in lines(log.path)]


def test_a_hanging_disk_does_not_hang_the_end(log: plugin.RequestLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end waits for a bounded time only."""
    goes_on = threading.Event()
    monkeypatch.setattr(plugin, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(log, "_append", lambda data: goes_on.wait(10))
    log.on(FINISHED)
    log.close()

    goes_on.set()
    assert log._thread is not None
    log._thread.join(10)
    assert not log._thread.is_alive()


def test_no_thread_without_requests(log: plugin.RequestLog, tmp_path: Path) -> None:
    """Without an exchange there is no thread and no file; closing twice is fine."""
    log.close()
    log.close()
    log.on(FINISHED)

    assert None is log._thread
    assert [] == os.listdir(tmp_path)


WORKER = """
import sys
import attrs
import ccr_plugin_request_log as plugin
sys.path.insert(0, sys.argv[2])
from test_request_log import FINISHED
log = plugin.RequestLog(plugin.Options(max_mb=0.005, keep=1000), sys.argv[1])
for number in range(60):
    log.on(attrs.evolve(FINISHED, id=f"{sys.argv[3]}-{number}"))
    assert log.settle(10)
log.close()
"""


def test_several_workers(tmp_path: Path) -> None:
    """Two processes write to one file, and put it aside, without losing a line."""
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(Path(__file__).parent)]
    workers = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    assert [0, 0] == [worker.wait(60) for worker in workers]
    files = list((tmp_path / "logs").glob("requests.jsonl*"))
    ids = {each["id"] for file in files for each in lines(file)}
    assert {f"{name}-{number}" for name in "ab" for number in range(60)} == ids
    assert len(files) > 5
