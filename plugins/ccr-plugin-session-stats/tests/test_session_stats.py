"""The observer ``session-stats``."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_session_stats as plugin
import pytest

from ccr_core import Arrived, Failed, Finished, Prices, Sent

ARRIVED = Arrived(
    id="x-1", at=1.0, path="/v1/messages", model="claude-x", stream=True, size=1, session="s-1", request_class="main"
)
FINISHED = Finished(
    id="x-1",
    at=1_700_000_000.0,
    status=200,
    stream=True,
    requested="claude-x",
    provider="p",
    model="m",
    scenario="think",
    why="thinking is on",
    attempts=1,
    duration=2.5,
    first=0.5,
    stop_reason="end_turn",
    usage={"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 1000},
    session="s-1",
    request_class="main",
)
FAILED = Failed(**attrs.asdict(FINISHED, recurse=False), kind="overloaded_error", error="too busy")


@pytest.fixture
def stats(tmp_path: Path) -> Iterator[plugin.SessionStats]:
    observer = plugin.SessionStats(plugin.Options(), tmp_path)
    yield observer
    observer.close()


def contents(home: Path, session: str = "s-1") -> dict[str, Any]:
    return dict(json.loads((home / "run" / "sessions" / plugin.file_name(session)).read_text()))


def test_hook() -> None:
    """The plugin offers exactly the observer that its README names."""
    assert [("session-stats", True)] == [(spec.name, spec.default) for spec in plugin.ccr_observers()]


def test_a_session(stats: plugin.SessionStats, tmp_path: Path) -> None:
    """A finished exchange is in the file with its speed, and its session is not streaming any more."""
    stats.on(ARRIVED)
    assert stats.settle(10)
    assert contents(tmp_path)["streaming"] is True
    stats.on(FINISHED)
    stats.close()

    seen = contents(tmp_path)
    assert {
        "at": 1_700_000_000.0,
        "route": "p,m",
        "provider": "p",
        "model": "m",
        "requested": "claude-x",
        "scenario": "think",
        "why": "thinking is on",
        "stream": True,
        "input_tokens": 100,
        "output_tokens": 50,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 0,
        "ttft_ms": 500,
        "duration_ms": 2500,
        "tokens_per_second": 25.0,
        "cost": None,
    } == seen["last"]
    assert (1, "s-1", False, 1) == (seen["version"], seen["session"], seen["streaming"], seen["total"]["unpriced"])


def test_sums_go_on(tmp_path: Path) -> None:
    """Another observer, after a restart or a reload, adds to the same sums; failures count, and change nothing else."""
    for seen in (FINISHED, FAILED, FINISHED):
        observer = plugin.SessionStats(plugin.Options(), tmp_path)
        observer.on(seen)
        observer.close()

    total = contents(tmp_path)["total"]
    assert (3, 1, 150, 300) == tuple(total[key] for key in ("requests", "failed", "output_tokens", "input_tokens"))
    assert "p,m" == contents(tmp_path)["last"]["route"]


@pytest.mark.parametrize("change", [{"agent_id": "a1"}, {"request_class": "auxiliary"}])
def test_others_count_in_the_sums_only(stats: plugin.SessionStats, tmp_path: Path, change: dict[str, str]) -> None:
    """Sub-agents and helper calls do not hide where the conversation itself went."""
    stats.on(FINISHED)
    stats.on(attrs.evolve(FINISHED, model="small", **change))
    stats.close()

    assert ("m", 2) == (contents(tmp_path)["last"]["model"], contents(tmp_path)["total"]["requests"])


@pytest.mark.parametrize(
    ("prices", "usage", "expected"),
    [
        ({"p,*": {"input": 1, "output": 2, "cache_read": 0.1}}, {}, 0.0003),
        ({"m": {"input": 1, "output": 2}}, {}, 0.0012),
        ({"other": {"input": 1}, "*": {"output": 2}}, {}, 0.0001),
        ({"p,*": {"input": 1}}, {"cost": 0.5}, 0.5),
        (
            {"m": {"cache_write_1h": 4}},
            {"cache_creation_input_tokens": 9, "cache_creation": {"ephemeral_1h_input_tokens": 9}},
            0.000036,
        ),
        ({"other": {"input": 1}}, {}, None),
    ],
)
def test_cost(tmp_path: Path, prices: Any, usage: dict[str, Any], expected: float | None) -> None:
    """The provider's own figure wins, then the first price that fits; without either there is none."""
    options = plugin.Options(prices={name: plugin.Price(**price) for name, price in prices.items()})
    observer = plugin.SessionStats(options, tmp_path)
    observer.on(attrs.evolve(FINISHED, usage={**FINISHED.usage, **usage}))
    observer.close()

    assert expected == contents(tmp_path)["last"]["cost"]
    assert (expected or 0) == contents(tmp_path)["total"]["cost"]


def test_owner_only_and_nothing_beside(stats: plugin.SessionStats, tmp_path: Path) -> None:
    """The file is its owner's alone, and no temporary file stays."""
    stats.on(FINISHED)
    stats.close()

    folder = tmp_path / "run" / "sessions"
    assert ["s-1.json"] == os.listdir(folder)
    assert 0o600 == stat.S_IMODE((folder / "s-1.json").stat().st_mode)


@pytest.mark.parametrize("session", ["../../evil", "a/b", "x" * 300, "ü"])
def test_odd_sessions(stats: plugin.SessionStats, tmp_path: Path, session: str) -> None:
    """What a client calls its session never leads out of the folder."""
    stats.on(attrs.evolve(FINISHED, session=session))
    stats.close()

    assert [plugin.file_name(session)] == os.listdir(tmp_path / "run" / "sessions")
    assert [tmp_path / "run"] == list(tmp_path.iterdir())


def test_pruning(stats: plugin.SessionStats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new session removes the files of old ones, and the oldest of too many."""
    folder = tmp_path / "run" / "sessions"
    folder.mkdir(parents=True)
    for name, age in (("old", 31), ("b", 3), ("a", 2), ("c", 1)):
        (folder / f"{name}.json").write_text("{}")
        moment = time.time() - age * 86400
        os.utime(folder / f"{name}.json", (moment, moment))
    monkeypatch.setattr(plugin, "KEPT", 3)
    stats.on(FINISHED)
    stats.close()

    assert {"a.json", "c.json", "s-1.json"} == set(os.listdir(folder))


def test_broken_file(stats: plugin.SessionStats, tmp_path: Path) -> None:
    """A file that cannot be understood is begun anew."""
    (tmp_path / "run" / "sessions").mkdir(parents=True)
    (tmp_path / "run" / "sessions" / "s-1.json").write_text('{"total": 1')
    stats.on(FINISHED)
    stats.close()

    assert 1 == contents(tmp_path)["total"]["requests"]


def test_unwritable_folder(stats: plugin.SessionStats, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be made costs one warning, and nothing else."""
    (tmp_path / "run").write_text("in the way")
    with caplog.at_level(logging.WARNING, "ccr.session-stats"):
        for _ in range(3):
            stats.on(FINISHED)
            assert stats.settle(10)

    assert 1 == len(caplog.records)


def test_what_is_not_of_a_session(stats: plugin.SessionStats, tmp_path: Path) -> None:
    """Requests without a session, and other observations, make no file and no thread."""
    stats.on(attrs.evolve(FINISHED, session=None))
    stats.on(Sent(id="x", at=1.0, attempt=1, provider="p", model="m", url="u"))
    stats.close()

    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, True),
        ({"LOG": False}, False),
        ({"LOG": False, "plugins": [{"name": "token-speed", "enabled": True}]}, True),
        ({"LOG": False, "plugins": [{"name": "token-speed"}]}, False),
        ({"plugins": [{"name": "token-speed", "enabled": True}], "observers": {"session-stats": False}}, False),
    ],
)
def test_the_older_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], expected: bool
) -> None:
    """Where an older configuration enables `token-speed`, the observer watches, unless it is switched off by name."""
    from ccr_core.config import from_document
    from ccr_core.plugins import load
    from ccr_core.runtime import build

    monkeypatch.setenv("CCR_HOME", str(tmp_path))
    runtime = build(from_document(config, {}), load([plugin]))
    assert expected == runtime.watch.wants(Finished)


WORKER = """
import sys
import attrs
import ccr_plugin_session_stats as plugin
sys.path.insert(0, sys.argv[2])
from test_session_stats import ARRIVED, FINISHED
stats = plugin.SessionStats(plugin.Options(), sys.argv[1])
for number in range(30):
    stats.on(attrs.evolve(FINISHED, id=f"x-{number}"))
    assert stats.settle(10)
stats.on(attrs.evolve(ARRIVED, id="open"))
assert stats.settle(10)
print("ready", flush=True)
sys.stdin.read()
"""


def test_several_workers(tmp_path: Path, stats: plugin.SessionStats) -> None:
    """What two processes tell of one session is added up; one that dies has nothing on its way any more."""
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(Path(__file__).parent)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    try:
        assert ["ready\n"] * 2 == [worker.stdout.readline() for worker in workers if worker.stdout]
        seen = contents(tmp_path)
        assert (60, True) == (seen["total"]["requests"], seen["streaming"])
        workers[0].kill()
        workers[0].wait(10)
        stats.on(FINISHED)
        assert stats.settle(10)
        assert contents(tmp_path)["streaming"] is True
        workers[1].kill()
        workers[1].wait(10)
        stats.on(FINISHED)
        assert stats.settle(10)
        assert contents(tmp_path)["streaming"] is False
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate(timeout=10)


@pytest.mark.parametrize(("prices", "expected"), [({}, 2.0), ({"*": plugin.Price(input=5.0)}, 5.0)])
def test_cost_by_the_catalogue(tmp_path: Path, prices: Any, expected: float) -> None:
    """Where nothing is configured here, the prices that the router knows count."""
    observer = plugin.SessionStats(plugin.Options(prices=prices), tmp_path)
    observer.on(attrs.evolve(FINISHED, usage={"input_tokens": 1_000_000}, prices=Prices(input=2.0, output=3.0)))
    observer.close()

    assert expected == contents(tmp_path)["total"]["cost"]
