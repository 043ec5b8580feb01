"""Counting, and what a scrape sees of it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_prometheus as plugin
import ccr_plugin_rule_default
import ccr_plugin_rule_explicit
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ccr_core import Answered, Arrived, Failed, Finished, Prices, Sent
from ccr_core.testing import PLAIN, Make, Upstream, ask, config

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_anthropic, ccr_plugin_rule_default, ccr_plugin_rule_explicit]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Metrics of the test's own."""
    plugin._shared.clear()
    yield
    plugin._shared.clear()


def read(text: str) -> dict[str, float]:
    """The samples of a scrape: ``name{label=value,…}`` → value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def seen() -> dict[str, float]:
    return read(plugin.counted().text()[1].decode())


def finished(model: str = "m", id: str = "1", **fields: Any) -> Finished:
    given = {
        "status": 200,
        "stream": True,
        "requested": "x",
        "provider": "p",
        "scenario": "default",
        "why": "",
        "attempts": 1,
        "duration": 2.0,
        "first": 0.5,
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 30, "cache_read_input_tokens": 5},
        **fields,
    }
    kind = Failed if "error" in fields else Finished
    return kind(id=id, at=0.0, model=model, **given)


async def test_a_scrape(ccr: Make, upstream: Upstream) -> None:
    """Requests of a real router are seen by whoever reads the page, in both formats."""
    document = config(dialect="anthropic")
    document["Providers"][0]["models"] = [{"name": "big", "prices": {"input": 2, "output": 10}}, "small"]
    document["retry"] = {"attempts": 0}
    router = ccr(document, PLUGINS)
    upstream.reply(PLAIN["text"]).then.fail(529)

    answer = await router.messages(ask(stream=False))
    refused = await router.messages(ask(stream=False, model="acme,small"))
    page = await router.get("/metrics")
    got = read(page.body.decode())
    other = await router.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})

    assert [200, 529, 200] == [answer.status, refused.status, page.status]
    assert page.headers["content-type"].startswith("text/plain")
    big, small = "model=big,provider=acme", "model=small,provider=acme"
    assert 1 == got["ccr_requests_total{model=big,outcome=ok,provider=acme,scenario=default,status=200}"]
    assert 1 == got[f"ccr_attempts_total{{{small},status=529}}"]
    assert answer.usage["output_tokens"] == got["ccr_tokens_total{kind=output,model=big,provider=acme}"]
    usage = answer.usage
    assert (usage["input_tokens"] * 2 + usage["output_tokens"] * 10) / 1e6 == pytest.approx(
        got[f"ccr_cost_dollars_total{{{big}}}"]
    )
    assert 1 == got[f"ccr_request_duration_seconds_count{{{big}}}"]
    assert 0 == got["ccr_requests_in_progress"]
    assert [1] == [value for name, value in got.items() if name.startswith("ccr_info")]
    assert other.body.endswith(b"# EOF\n")
    assert other.headers["content-type"].startswith("application/openmetrics-text")


async def test_with_a_key(ccr: Make) -> None:
    """A router that has a key shows its metrics to those who have it, too."""
    router = ccr({**config(dialect="anthropic"), "APIKEY": "the-key"}, PLUGINS)

    assert 401 == (await router.get("/metrics")).status
    assert 200 == (await router.get("/metrics", headers={"authorization": "Bearer the-key"})).status
    assert 403 == (await router.get("/metrics", headers={"host": "evil.example", "x-api-key": "the-key"})).status


def test_counting(tmp_path: Path) -> None:
    """Ends are told apart, tokens and cost added; what has no price is counted as such."""
    observer = plugin.Counting(plugin.Options(), tmp_path)
    observer.on(finished(prices=Prices(input=1.0, output=2.0)))
    observer.on(finished(stream=False, first=None))
    observer.on(finished(status=529, error="busy", kind="overloaded_error", usage={}))
    observer.on(finished(status=499, error="left", kind="api_error", usage={}))
    got = seen()

    labels = "model=m,provider=p"
    for status, outcome, count in ((200, "ok", 2), (529, "failed", 1), (499, "left", 1)):
        name = f"ccr_requests_total{{model=m,outcome={outcome},provider=p,scenario=default,status={status}}}"
        assert count == got[name]
    assert [20, 60, 10] == [got[f"ccr_tokens_total{{kind={k},{labels}}}"] for k in ("input", "output", "cache_read")]
    assert (7.5e-5, 1) == (got[f"ccr_cost_dollars_total{{{labels}}}"], got[f"ccr_requests_unpriced_total{{{labels}}}"])
    assert (3, 4, 1) == tuple(
        got[f"ccr_{name}_count{{{labels}}}"]
        for name in ("first_byte_seconds", "request_duration_seconds", "output_tokens_per_second")
    )
    assert 20 == got[f"ccr_output_tokens_per_second_sum{{{labels}}}"]


def test_much_is_counted_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What waits is counted when it is much, when somebody looks, and at the end; what cannot be is left out."""
    observer = plugin.Counting(plugin.Options(), tmp_path)
    for _ in range(3 * plugin.WAITING):
        observer.on(finished())
        assert len(observer._waiting) <= plugin.WAITING
    observer.on(finished(usage={"input_tokens": 1}, first="odd"))
    observer.on(finished())
    name = "ccr_requests_total{model=m,outcome=ok,provider=p,scenario=default,status=200}"
    assert 3 * plugin.WAITING + 2 == seen()[name]
    assert ["Finished cannot be counted"] == [record.getMessage() for record in caplog.records]
    observer.on(finished())
    observer.close()

    assert not observer._waiting
    assert 3 * plugin.WAITING + 3 == seen()[name]


def test_under_way(tmp_path: Path) -> None:
    """Requests under way go up and down; those of a runtime that ends are taken back."""
    observer = plugin.Counting(plugin.Options(), tmp_path)
    for id in "123":
        observer.on(Arrived(id=id, at=0.0, path="/", model="m", stream=True, size=1))
    assert 3 == seen()["ccr_requests_in_progress"]
    observer.on(finished(id="1"))
    observer.on(finished(id="of another"))
    assert 2 == seen()["ccr_requests_in_progress"]
    observer.close()
    observer.close()

    assert 0 == seen()["ccr_requests_in_progress"]


def test_attempts(tmp_path: Path) -> None:
    """Each answer is counted for the provider that gave it, and an answer to nothing is not."""
    observer = plugin.Counting(plugin.Options(), tmp_path)
    for number, (provider, status) in enumerate((("p", 429), ("q", 200)), start=1):
        observer.on(Sent(id="1", at=0.0, attempt=number, provider=provider, model="m", url="http://x"))
        observer.on(Answered(id="1", at=0.0, attempt=number, status=status))
    observer.on(Answered(id="2", at=0.0, attempt=1, status=500))
    got = {name: value for name, value in seen().items() if name.startswith("ccr_attempts_total")}

    assert {
        "ccr_attempts_total{model=m,provider=p,status=429}": 1.0,
        "ccr_attempts_total{model=m,provider=q,status=200}": 1.0,
    } == got


def test_labels_are_limited(tmp_path: Path) -> None:
    """However many models clients name, there are only so many series."""
    observer = plugin.Counting(plugin.Options(labels=3), tmp_path)
    for number in range(10):
        observer.on(finished(f"m{number}"))
    durations = {name: value for name, value in seen().items() if name.startswith("ccr_request_duration_seconds_count")}

    assert {"m0": 1, "m1": 1, "m2": 1, "other": 7} == {
        name.partition("model=")[2].partition(",")[0]: value for name, value in durations.items()
    }


def run(script: str, **env: str) -> str:
    """What a process of its own prints that has the names of this module."""
    head = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom test_prometheus import *\n"
    done = subprocess.run(
        [sys.executable, "-c", head + script],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_nothing_is_loaded_before_it_is_needed() -> None:
    """Only a look at the metrics loads the library, not the package itself nor counting."""
    script = (
        "import sys, ccr_plugin_prometheus as p; from ccr_core import Arrived; list(p.ccr_observers())\n"
        "arrived = Arrived(id='1', at=0.0, path='/', model='m', stream=True, size=1)\n"
        "p.Counting(p.Options(), '.').on(arrived)\n"
        "print('prometheus_client' in sys.modules)\n"
        "p.counted().text()\n"
        "print('prometheus_client' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert "False\nTrue\n" == done.stdout


COUNT = """
observer = plugin.Counting(plugin.Options(labels=2), Path("."))
observer.on(Arrived(id="9", at=0.0, path="/", model="m", stream=True, size=1))
observer.on(Sent(id="9", at=0.0, attempt=1, provider="p", model="m", url="http://x"))
observer.on(Answered(id="9", at=0.0, attempt=1, status=200))
for duration in (0.05, 0.1, 0.11, 700.0):
    observer.on(finished(duration=duration, first=duration / 2, prices=Prices(input=1.0, output=2.0)))
for model in ("n", "o", "odd \\" \\n"):
    observer.on(finished(model, status=529, error="busy", kind="overloaded_error", usage={"output_tokens": 0}))
print({name: value for name, value in seen().items() if "_created" not in name and "ccr_info" not in name})
"""


def test_plain_numbers_are_shown_as_the_library_does(tmp_path: Path) -> None:
    """What one process counts by itself looks as if the client library had counted it, as it does for workers."""
    (tmp_path / "shared").mkdir()
    alone = ast.literal_eval(run(COUNT))
    shared = ast.literal_eval(run(COUNT, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "shared")))

    assert shared == alone
    assert [2, 3, 3, 4] == [
        alone[f"ccr_request_duration_seconds_bucket{{le={bound},model=m,provider=p}}"]
        for bound in ("0.1", "0.25", "640.0", "+Inf")
    ]


def test_when_counting_began() -> None:
    """Each series says when it began, unless the client library is told to leave that out."""
    script = COUNT.replace('"_created" not in name and', '"_created" in name and')

    assert len(ast.literal_eval(run(script))) > 10
    assert {} == ast.literal_eval(run(script, PROMETHEUS_DISABLE_CREATED_SERIES="true"))


def test_several_workers(tmp_path: Path) -> None:
    """With a folder that they share, each worker shows the sums of all."""
    script = """
observer = plugin.Counting(plugin.Options(), Path("."))
observer.on(Arrived(id="9", at=0.0, path="/", model="m", stream=True, size=1))
observer.on(finished())
print(seen()["ccr_request_duration_seconds_count{model=m,provider=p}"])
"""

    assert ["1.0\n", "2.0\n"] == [run(script, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) for _ in range(2)]
