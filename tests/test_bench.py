"""The benchmark suite itself: that its parts work together and that its check of answers finds what is wrong.

Nothing here looks at a clock; figures come from `python -m tests.bench.run`.
"""

import importlib
import itertools
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the suite by name."""
    monkeypatch.syspath_prepend(str(TESTS))
    return lambda name: importlib.import_module(f"bench.{name}")


@pytest.fixture
def upstream(bench: Any) -> Iterator[Any]:
    """A running provider stand-in whose answers have 20 deltas."""
    with bench("process").script("upstream", "--events", "20", "--seconds", "60") as running:
        yield running


@pytest.fixture
def relay(bench: Any, upstream: Any) -> Iterator[Any]:
    """A running relay in front of the stand-in."""
    with bench("process").script("relay", str(upstream.port), "--seconds", "60") as running:
        yield running


def load(port: int, **options: Any) -> Any:
    """Run the load generator to its end."""
    given = {"port": port, "events": 20, "requests": 24, "clients": 4, "timeout": 10, **options}
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", json.dumps(given)], cwd=TESTS, capture_output=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("options", [{}, {"stream": False}, {"body_bytes": 1_000_000, "requests": 4}])
def test_answers_arrive_whole_through_the_relay(relay: Any, options: dict[str, Any]) -> None:
    """Every answer that the stand-in sends through the relay passes the check."""
    result = load(relay.port, **options)
    assert (options.get("requests", 24), 0, {}) == (result["right"], result["errors"], result["error_kinds"])


def test_requests_arrive_whole(bench: Any, upstream: Any, relay: Any) -> None:
    """The stand-in has read as many bytes as the load generator sent."""
    length = len(bench("payload").request_body(60_000, "m").render(0))
    load(relay.port, requests=8)
    counts = bench("process").control(upstream.port)
    assert (8, 8 * length, 8, 0) == (
        counts["requests"],
        counts["request_bytes"],
        counts["finished"],
        counts["active"],
    )


def test_paced_answers(bench: Any, upstream: Any, relay: Any) -> None:
    """An answer that comes event by event has the same text as one that comes at once."""
    bench("process").control(upstream.port, "delay=1")
    assert 24 == load(relay.port)["right"]


def test_another_answer_than_expected_is_an_error(relay: Any) -> None:
    """A text that is one piece short is reported with the place where it differs."""
    result = load(relay.port, events=21, requests=2)
    assert (0, 2) == (result["right"], result["errors"])
    assert "text differs at" in next(iter(result["error_kinds"]))


def test_clients_that_hang_up_end_the_work_upstream(bench: Any, upstream: Any, relay: Any) -> None:
    """What clients break off is broken off at the stand-in, and the other answers are whole."""
    process = bench("process")
    process.control(upstream.port, "delay=5")
    result = load(relay.port, requests=12, hang_up_every=3)
    assert (8, 4, 0) == (result["right"], result["hung_up"], result["errors"])
    process.until(lambda: not process.control(upstream.port)["active"], 10)
    counts = process.control(upstream.port)
    assert (8, 4, 0) == (counts["finished"], counts["broken_off"], counts["active"])


def test_a_relay_without_upstream_is_an_error(bench: Any) -> None:
    """A connection that ends in the middle of an answer counts as an error, not as an end."""
    process = bench("process")
    with process.script("relay", str(process.free_port()), "--seconds", "60") as relay:
        result = load(relay.port, requests=2, clients=1)
    assert {"connection lost in the middle of an answer": 2} == result["error_kinds"]


def test_chat_answer_carries_the_same_text(bench: Any, upstream: Any) -> None:
    """The chat dialect of the stand-in streams the same text, its usage, and its end mark."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{upstream.port}/v1/chat/completions?events=30", data=b'{"model":"m","stream": true}'
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        *events, last = [block.removeprefix(b"data: ") for block in reply.read().strip().split(b"\n\n")]
    chunks = [json.loads(event) for event in events]
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert bench("payload").answer_text(30, 0) == text
    assert (30, b"[DONE]") == (chunks[-1]["usage"]["completion_tokens"], last)


def test_every_dialect_arrives_through_the_router(bench: Any, upstream: Any) -> None:
    """The router gives the same text, stop reason and usage whatever the stand-in speaks: what `dialects` measures."""
    run = bench("run")
    several = run.providers(upstream.port)
    models = [f"{each['name']},m" for each in several]
    with run.Product("ccr", run.find_ccr()).started(upstream.port, Providers=several) as (running, _):
        found = [load(running.port, models=models, requests=10, stream=stream) for stream in (True, False)]
    assert [(10, {}), (10, {})] == [(each["right"], each["error_kinds"]) for each in found]


def test_a_conversation_that_grows(bench: Any) -> None:
    """Each request is the one before it with a message more; the first has the size asked for."""
    template = bench("payload").growing_body(100_000, "m")
    bodies = [json.loads(template.render(number)) for number in range(4)]
    assert 100_000 == pytest.approx(len(template.render(0)), rel=0.05)
    histories = [body["messages"] for body in bodies]
    assert all(after[:-1] == before for before, after in itertools.pairwise(histories))
    assert ["assistant", "user", "assistant"] == [history[-1]["role"] for history in histories[1:]]


def _stream(bench: Any) -> bytes:
    """Return the body of a right answer with 20 deltas, without the chunks of its transfer coding."""
    payload = bench("payload")
    steps = payload._anthropic_steps(payload.pieces(20, 0))
    return b"".join(event for step in steps for event in step)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (b"", b"", None),
        (b"event: ping\n", b"event: pong\n", "event 'pong' carries type 'ping'"),
        (b'" at"', b'" a"', "text differs at"),
        (b'"index":0,"delta"', b'"index":1,"delta"', "delta for block 1 while 0 is open"),
        (b"end_turn", b"max_tokens", "stop_reason is 'max_tokens'"),
        (b'"output_tokens":20', b'"output_tokens":2', "output_tokens is 2, not 20"),
        (b'event: message_stop\ndata: {"type":"message_stop"}\n\n', b"", "no message_stop"),
        (b'"message_stop"}\n\n', b'"message_stop"}\n', "the stream ends inside an event"),
        (b"message_start", b"message_begin", "the first event is"),
        (b'"text":" router"}', b'"text":" router"', "carries type 'not JSON'"),
    ],
)
def test_the_check_finds_what_is_wrong(bench: Any, before: bytes, after: bytes, problem: str | None) -> None:
    """Each kind of damage to an answer is found, also after the right answer has been seen."""
    checker = bench("payload").Checker(20, 0)
    right = _stream(bench)
    assert (None, None) == (checker.stream(right), checker.stream(right))
    found = checker.stream(right.replace(before, after, 1) if before else right)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


@pytest.mark.parametrize("size", [20_000, 60_000, 1_000_000])
def test_request_bodies(bench: Any, size: int) -> None:
    """A body has about the size asked for, the shape of a real one, and differs from request to request."""
    template = bench("payload").request_body(size, "oai,m")
    one, two = template.render(1), template.render(2)
    body = json.loads(one)
    assert (len(one), True) == (len(two), one != two)
    assert size == pytest.approx(len(one), rel=0.05)
    assert (3, 12, "oai,m", True) == (len(body["system"]), len(body["tools"]), body["model"], body["stream"])
    calls = [b["id"] for m in body["messages"] for b in m["content"] if b["type"] == "tool_use"]
    results = [b["tool_use_id"] for m in body["messages"] for b in m["content"] if b["type"] == "tool_result"]
    assert calls == results


@pytest.mark.parametrize("command", [["-m", "tests.bench.run"], ["tests/bench/run.py"]])
def test_the_command_names_its_scenarios(bench: Any, command: list[str]) -> None:
    """The one command starts both ways and names its scenarios."""
    done = subprocess.run(
        [sys.executable, *command, "--help"], cwd=TESTS.parent, capture_output=True, text=True, timeout=60, check=True
    )
    assert ", ".join(bench("run").SCENARIOS) in " ".join(done.stdout.split())


def test_the_history(bench: Any) -> None:
    """A run gives a row of the history in the documentation, whose columns are those of the page."""
    run = bench("run")
    page = (TESTS.parent / "docs" / "performance.md").read_text()
    titles = [title for title, *_ in run.HISTORY]
    assert f"| date | version | machine | {' | '.join(titles)} |" in page
    machine = {"processor": "P", "cores": 2, "python": "3.11", "load before": 0.5}
    figures = {program: {figure: 1.234} for _, scenario, program, figure in run.HISTORY if scenario == "flushed"}
    cells = run.row({"machine": machine, "scenarios": {"flushed": figures}}, "9.9").split("|")
    expected = ["9.9", "P, 2 cores, Python 3.11, load 0.5", "1.23", "1.23", ""]
    assert expected == [cell.strip() for cell in cells[2:7]]


async def test_counting_is_measured(bench: Any) -> None:
    """
    The benchmark of counting counts a conversation, and what is added to it.
    """
    found = await bench("counting").measure(tokens=20_000, rounds=2)

    assert 15_000 < found["tokens"] < 30_000
    assert found["again_ms"]["median"] <= found["again_ms"]["most"]
