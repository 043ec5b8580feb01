"""``ccr requests``, ``ccr usage`` and ``ccr explain ID``, as they are run."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccr_plugin_history as plugin
import pytest
from ccr_plugin_history import commands
from ccr_plugin_history.writer import Writer
from told import AT, begun, ended, whole

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``ccr`` with arguments, in this process: exit code, output, and what went to standard error."""
    from ccr_core.cli import main

    monkeypatch.setenv("CCR_HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    def run(*args: str) -> tuple[int, str, str]:
        code = main([*args])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def some(tmp_path: Path) -> Writer:
    """Four requests: one that went well, one without a price, one that failed, and one under way."""
    writer = Writer(tmp_path / plugin.FILE, plugin.Options(days=36500))
    writer.step(whole("req_aaaaaaaa1", AT, session="s1", notes=(("dropped", "top_k"),)))
    writer.step(whole("req_aaaaaaaa2", AT + 60, provider="q", prices=None))
    writer.step(whole("req_aaaaaaaa3", AT + 120, status=529, error="too busy", usage={}))
    writer.step(begun("req_aaaaaaaa4", AT + 180))
    return writer


EVIL = "=cmd\x1b]0;title\x07\x1b[2J\x9b31m\u202e"


def test_what_a_provider_says_gives_no_orders_to_a_terminal(run: Run, tmp_path: Path) -> None:
    """Escape sequences are written out, in the list, of one request and in sums."""
    writer = Writer(tmp_path / plugin.FILE, plugin.Options(days=36500))
    writer.step(whole("req_aaaaaaaa1", AT, model=f"m{EVIL}", status=500, error=EVIL, usage={}, notes=(("k", EVIL),)))

    for args in (["requests"], ["requests", "show", "aaa1"], ["usage", "--by", "model"]):
        code, out, _ = run(*args)
        assert (0, []) == (code, [char for char in "\x1b\x07\x9b\u202e" if char in out])
        assert "=cmd\\u001b]0;title\\u0007\\u001b[2J\\u009b31m\\u202e" in out


def test_list(run: Run, some: Writer) -> None:
    """A line for each request, the newest last, plain where nobody looks."""
    code, out, err = run("requests")

    assert (0, "") == (code, err)
    assert [
        "11-24 16:00:00  200        2.00s  p,m  (default)  1000+5000c > 100  $0.0025  aaaaaaa1",
        "11-24 16:01:00  200        2.00s  q,m  (default)  1000+5000c > 100  ?  aaaaaaa2",
        "11-24 16:02:00  529        2.00s  p,m  (default)  ?  aaaaaaa3  too busy",
        "11-24 16:03:00  running        …  p,m  (default)  aaaaaaa4",
    ] == out.splitlines()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("-n", "2"), "34"),
        (("--session", "s1"), "1"),
        (("--provider", "q"), "2"),
        (("--model", "q,m"), "2"),
        (("--status", "error"), "3"),
        (("--status", "running"), "4"),
        (("--since", "2025-11-24T16:02"), "34"),
        (("--until", "2025-11-24T16:01"), "1"),
        (("--agent", "main", "-n", "1"), "4"),
        (("--project", "/x"), ""),
        (("-n", "0"), ""),
    ],
)
def test_filters(run: Run, some: Writer, args: tuple[str, ...], expected: str) -> None:
    """The options choose requests, the newest last."""
    code, out, _ = run("requests", *args, "--json")

    assert (0, expected) == (code, "".join(json.loads(line)["id"][-1] for line in out.splitlines()))


def test_csv(run: Run, some: Writer) -> None:
    """All fields of a line of CSV have names; what is not known is empty."""
    _, out, _ = run("requests", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))

    assert ["0.0025", "", "", ""] == [row["cost"] for row in rows]
    assert ["1000", "5000", "2025-11-24T16:00:00+0000"] == [rows[0][name] for name in ("input", "cache_read", "time")]
    assert "too busy" == rows[2]["error"]


def test_csv_has_no_formulas(run: Run, tmp_path: Path) -> None:
    """What a spreadsheet would run as a formula is text there, whoever said it."""
    writer = Writer(tmp_path / plugin.FILE, plugin.Options(days=36500))
    writer.step(whole(status=500, error="=cmd|' /C calc'!A0", model="@sum"))

    assert "'=cmd|' /C calc'!A0" == next(csv.DictReader(io.StringIO(run("requests", "--csv")[1])))["error"]
    assert "p,@sum" == next(csv.DictReader(io.StringIO(run("usage", "--by", "model", "--csv")[1])))["model"]


def test_many_are_listed(run: Run, tmp_path: Path) -> None:
    """More than a page of them is read in pages."""
    writer = Writer(tmp_path / plugin.FILE, plugin.Options(days=36500))
    writer.step(seen for n in range(450) for seen in whole(f"req_{n:03}", AT + n))
    _, out, _ = run("requests", "--json", "-n", "430")

    assert [f"req_{n:03}" for n in range(20, 450)] == [json.loads(line)["id"] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("requests", "--since", "soon"), 1, '"soon" is no time'),
        (("requests", "--status", "good"), 1, 'there is no status "good"'),
        (("requests", "--json", "--csv"), 2, "--json or --csv, not both"),
        (("usage", "--json", "--csv"), 2, "--json or --csv, not both"),
        (("usage", "--by", "colour"), 2, "'colour' is not one of"),
        (("requests", "show", "req_b"), 1, 'there is no request "req_b" in the history'),
        (("requests", "show", "req_aaa"), 1, "several requests fit req_aaa"),
        (("explain", "req_b"), 1, 'there is no request "req_b" in the history'),
    ],
)
def test_wrong_use(run: Run, some: Writer, args: tuple[str, ...], code: int, words: str) -> None:
    """What cannot be done is said, with the exit code of such."""
    got, out, err = run(*args)

    assert (code, "") == (got, out)
    assert words in err


def test_without_a_history(run: Run) -> None:
    """Before the first request there is nothing to show, and it is said why."""
    code, out, err = run("requests")

    assert (0, "") == (code, out)
    assert "no request was answered, or the observer history is off" in err
    assert (
        0,
        [
            "day    requests  errors  input  output  cached  cost",
            "total         0       0      0       0       0    $0",
        ],
    ) == (
        (done := run("usage"))[0],
        done[1].splitlines(),
    )


@pytest.mark.parametrize("command", [("requests", "show", "a1"), ("explain", "req_aaaaaaaa1")])
def test_show(run: Run, some: Writer, command: tuple[str, ...]) -> None:
    """One request: its route and why, its timeline, every rule's answer, and what was lost on the way."""
    if command[0] == "requests":
        command = (*command[:2], "aaa1")
    code, out, _ = run(*command)

    assert 0 == code
    for line in (
        "request    req_aaaaaaaa1",
        "state      done, 200",
        "route      p,m",
        "because    default: Router.default",
        "tokens     1000 input, 100 output, 5000 cache read",
        "cost       $0.0025",
        "speed      66.7 tokens/s",
        "    +0.00s arrived   asked, 10 bytes",
        "    +0.02s sent      to p,m at https://api.invalid/v1/chat",
        "    +0.40s answered  200",
        "    +2.00s finished  200, end_turn",
        "rule       passed    think: thinking is off",
        "rule       decided   default: p,m: Router.default",
        "note       dropped: top_k",
    ):
        assert line in out.splitlines()


@pytest.mark.parametrize("command", [("requests", "show", "--json", "aaa3"), ("explain", "--json", "req_aaaaaaaa3")])
def test_show_as_json(run: Run, some: Writer, command: tuple[str, ...]) -> None:
    """The same for programs."""
    _, out, _ = run(*command)

    assert ("req_aaaaaaaa3", "failed") == tuple(json.loads(out)[name] for name in ("id", "state"))


def test_usage(run: Run, some: Writer) -> None:
    """A line for each group and one for all; what lacks a price is marked."""
    code, out, _ = run("usage", "--by", "provider")

    assert 0 == code
    assert [
        "provider  requests  errors  input  output  cached       cost",
        "p                3       1  1,000     100   5,000    $0.0025",
        "q                1       0  1,000     100   5,000          ?",
        "total            4       1  2,000     200  10,000  $0.0025+?",
    ] == out.splitlines()


def test_usage_for_programs(run: Run, some: Writer) -> None:
    """Sums as JSON and as CSV; agents without a name are the conversation itself."""
    _, as_json, _ = run("usage", "--by", "day", "--json")
    _, as_csv, _ = run("usage", "--by", "model", "--csv", "--since", "2025-11-24T16:01")
    _, agents, _ = run("usage", "--by", "agent")

    assert ["2025-11-24"] == [group["key"] for group in json.loads(as_json)["groups"]]
    rows = list(csv.DictReader(io.StringIO(as_csv)))
    assert [("p,m", "2", ""), ("q,m", "1", "")] == [(row["model"], row["requests"], row["cost"]) for row in rows]
    assert "main" == agents.splitlines()[1].split()[0]


def test_follow(run: Run, some: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is shown once, when it ends."""
    monkeypatch.setattr(commands, "FOLLOW_SECONDS", 0.01)
    shown: list[Any] = []

    def told(request: dict[str, Any]) -> None:
        shown.append((request["id"][-1], request["state"]))
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_json_line", told)

    def later() -> None:
        time.sleep(0.05)
        some.step(begun("req_aaaaaaaa5", AT + 200))
        some.step(ended("req_aaaaaaaa4", AT + 180))
        some.step(ended("req_aaaaaaaa5", AT + 200))

    thread = threading.Thread(target=later)
    thread.start()
    code, _, _ = run("requests", "-f", "-n", "1", "--json")
    thread.join(10)

    assert (0, [("4", "running"), ("4", "done"), ("5", "done")]) == (code, shown)


def test_clear(run: Run, some: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history is removed for those who say so."""
    monkeypatch.setattr("click.confirm", lambda *args, **options: False)

    assert 1 == run("requests", "clear")[0]
    assert (0, "removed 4 request(s)\n", "") == run("requests", "clear", "--yes")
    assert "" == run("requests")[1]


def test_as_a_program(tmp_path: Path, some: Writer) -> None:
    """The commands are found by their entry points; Ctrl-C ends following in order, a closed pipe does no harm."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CCR_HOME": str(tmp_path)}
    ccr = [sys.executable, "-m", "ccr_core.cli"]
    following = subprocess.Popen([*ccr, "requests", "-f", "--json"], env=env, stdout=subprocess.PIPE, text=True)
    assert following.stdout is not None
    lines = [following.stdout.readline() for _ in range(4)]
    following.send_signal(signal.SIGINT)
    rest = following.communicate(timeout=30)[0]

    assert ["1", "2", "3", "4"] == [json.loads(line)["id"][-1] for line in lines]
    assert (0, "") == (following.returncode, rest)
    helped = subprocess.run([*ccr, "--help"], env=env, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "usage" in helped.partition("Commands of plugins:")[2]
