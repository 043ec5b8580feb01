"""`ccr logs`: requests for people and programs, one request with all that is known, and going on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccr_core.cli import logs

LINE: dict[str, Any] = {
    "time": "2025-11-14T22:13:20.250Z",
    "id": "req-0001",
    "status": 200,
    "route": "p,m",
    "scenario": "think",
    "why": "thinking is on",
    "requested": "claude-x",
    "stream": True,
    "usage": {"input_tokens": 7, "output_tokens": 3},
    "duration": 1.25,
    "notes": [["dropped", "top_k"]],
    "error": None,
}


def write(ccr: Any, *lines: Any, name: str = "requests.jsonl") -> Path:
    """Write a log of requests."""
    folder = ccr.folder / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / name
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_lines(ccr: Any) -> None:
    """A request is a line with when, status, time, route, size, id and what went wrong."""
    failed = {**LINE, "id": "req-2", "status": 529, "error": {"kind": "overloaded_error", "message": "too busy"}}
    write(ccr, LINE, failed, "{cut", {"time": LINE["time"], "lost": 3})
    shown = ccr.ok("logs", env={"TZ": "UTC"}).splitlines()
    assert [
        "11-14 22:13:20  200     1.25s  p,m  (think)  7+3  req-0001",
        "11-14 22:13:20  529     1.25s  p,m  (think)  7+3  req-2  too busy",
        "11-14 22:13:20  3 request(s) could not be written",
    ] == shown


def test_what_a_provider_says_gives_no_orders_to_a_terminal(ccr: Any) -> None:
    """Escape sequences are written out, in the list, of one request and in the router's own output."""
    evil = "\x1b]0;title\x07\x1b[2J\u202e\x1b[8m"
    write(ccr, {**LINE, "status": 529, "error": {"kind": "overloaded_error", "message": evil}})
    write(ccr, f"req-0001 {evil}", name="ccr-1.log")

    for args in (["logs"], ["logs", "--request", "0001"], ["logs", "server"]):
        shown = ccr.ok(*args)
        assert [] == [char for char in "\x1b\x07\u202e" if char in shown]
        assert "\\u001b]0;title\\u0007\\u001b[2J\\u202e\\u001b[8m" in shown


def test_json(ccr: Any) -> None:
    """As JSON the lines are those of the file."""
    write(ccr, LINE)
    assert LINE == json.loads(ccr.ok("logs", "--json"))


def test_the_last_ones(ccr: Any) -> None:
    """Files that were put aside count, too; of all the last ones are shown."""
    write(ccr, *({**LINE, "id": f"a{number}"} for number in range(3)), name="requests.jsonl.2")
    write(ccr, *({**LINE, "id": f"b{number}"} for number in range(3)), name="requests.jsonl.1")
    write(ccr, {**LINE, "id": "c"})
    assert ["a2", "b0", "b1", "b2", "c"] == [line.split()[-1] for line in ccr.ok("logs", "-n", "5").splitlines()]


def test_one_request(ccr: Any) -> None:
    """All that is known of a request: the fields, notes, and what the router said of it."""
    write(ccr, LINE, name="requests.jsonl.1")
    write(ccr, {**LINE, "id": "req-0002"})
    write(ccr, "INFO [req-0001] something", "INFO other", name="ccr-20251114.log")
    shown = ccr.ok("logs", "--request", "0001")
    for part in (
        "requested",
        "claude-x",
        "usage.input_tokens",
        "note dropped",
        "ccr-20251114.log: INFO [req-0001] something",
    ):
        assert part in shown
    assert "other" not in shown
    data = json.loads(ccr.ok("logs", "--request", "req-0001", "--json"))
    assert (LINE, 1) == (data["request"], len(data["log"]))


@pytest.mark.parametrize(("wanted", "said"), [("nothing", "there is no request"), ("req", "2 requests fit")])
def test_no_such_request(ccr: Any, wanted: str, said: str) -> None:
    """An unknown id, and one that fits several, are errors."""
    write(ccr, LINE, {**LINE, "id": "req-2"})
    done = ccr.run("logs", "--request", wanted)
    assert (1, True) == (done.returncode, said in done.stderr)


def test_server(ccr: Any) -> None:
    """The output of the newest router is shown, or a file by its name; nothing outside the folder."""
    old, new = (write(ccr, name, name=f"ccr-{name}.log") for name in ("1", "2"))
    os.utime(old, (1, 1))
    assert "2\n" == ccr.ok("logs", "server")
    assert "1\n" == ccr.ok("logs", "ccr-1.log")
    assert new.exists()
    (ccr.folder / "config.json").write_text("{}")
    for name in ("../config.json", "nothing"):
        done = ccr.run("logs", name)
        assert (1, "") == (done.returncode, done.stdout)
        assert "there are: ccr-1.log, ccr-2.log" in done.stderr


def test_without_logs(ccr: Any) -> None:
    """Before the first request there is none, which is said."""
    done = ccr.run("logs")
    assert (1, True) == (done.returncode, "no request was answered" in done.stderr)


def test_following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that come are given, whole; also after the file was put aside."""
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.01)
    path = tmp_path / "log"
    path.write_text("old\n")
    got: list[str] = []

    def read() -> None:
        for line in logs.follow_file(path):
            got.append(line)
            if line == "end":
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    time.sleep(0.1)
    with path.open("a") as file:
        file.write("one\nha")
        file.flush()
        time.sleep(0.05)
        file.write("lf\n")
    end = time.monotonic() + 10
    while len(got) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    path.rename(tmp_path / "log.1")
    path.write_text("end\n")
    reader.join(10)
    assert ["one", "half", "end"] == got


def test_follow_ends_with_ctrl_c(ccr: Any, wait_for: Callable[[Callable[[], Any]], Any]) -> None:
    """`-f` shows what is there, goes on, and ends well with Ctrl-C."""
    import signal

    path, output = write(ccr, LINE), ccr.root / "output"
    with output.open("w") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", "ccr_core.cli", "logs", "-f"], env=ccr.env, stdout=file, text=True
        )
    ccr.started.append(child)
    wait_for(lambda: "req-0001" in output.read_text())
    time.sleep(0.3)
    with path.open("a") as file:
        file.write(json.dumps({**LINE, "id": "req-new"}) + "\n")
    wait_for(lambda: "req-new" in output.read_text())
    child.send_signal(signal.SIGINT)
    assert 0 == child.wait(20)
