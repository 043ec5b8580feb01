"""The counter ``api``."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import ccr_plugin_tokens_api as plugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import ConfigError, Counter
from ccr_core.testing import Make, ask, check_plugin, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

HI = [{"role": "user", "content": "hi"}]
PLUGINS = [plugin, standins.ingress, standins.dialect, standins.rule]


class Service:
    """A service that counts the words of what it gets, on a loopback port."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], Any]] = []
        self.answer: Any = None
        self.status = 200
        service = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.asked.append(({name.lower(): value for name, value in self.headers.items()}, sent))
                text = sent["text"] if "text" in sent else sent["messages"][0]["content"]
                answer = {"token_count": 10 * len(text.split())} if service.answer is None else service.answer
                data = json.dumps(answer).encode()
                self.send_response(service.status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self._server.server_port}/count"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Service()
    yield made
    made.close()


def counter(service: Service, **options: Any) -> plugin.ApiCounter:
    return plugin.ApiCounter(plugin.Options(url=service.url, **options))


def test_the_plugin_keeps_the_rules() -> None:
    """The check that every plugin has to pass finds nothing."""
    check_plugin(plugin)


def test_one_question_for_all(service: Service) -> None:
    """All texts go in one question, and the counts add up to what the service said."""
    counts = counter(service).count_all(["one two three", "four", ""])

    assert (40, 1) == (sum(counts), len(service.asked))
    assert counts[0] > counts[1] > counts[2] == 0
    assert "one two three\nfour\n" == service.asked[0][1]["messages"][0]["content"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"messages": HI}),
        (
            {"request_format": "anthropic", "model": "m"},
            {"messages": HI, "model": "m"},
        ),
        ({"request_format": "openai"}, {"model": "gpt-3.5-turbo", "messages": HI}),
        ({"request_format": "custom"}, {"text": "hi"}),
    ],
)
def test_formats(service: Service, options: Any, expected: Any) -> None:
    """What is sent is as the older tool sent it."""
    assert 10 == counter(service, **options).count("hi")
    assert expected == service.asked[0][1]


def test_headers(service: Service) -> None:
    """The key is a bearer token; headers of the block win."""
    counter(service, api_key="k").count("hi")
    counter(service, api_key="k", headers={"authorization": "Other", "x-more": "1"}).count("hi")

    (first, _), (second, _) = service.asked
    assert ("Bearer k", "Other", "1") == (first["authorization"], second["authorization"], second["x-more"])


@pytest.mark.parametrize(
    ("answer", "path", "expected"),
    [
        ({"token_count": 7}, "token_count", 7),
        ({"usage": {"total": 7.0}}, "usage.total", 7),
        ({"data": [{"tokens": 7}]}, "data.0.tokens", 7),
        ([7], "0", 7),
    ],
)
def test_where_the_number_is(service: Service, answer: Any, path: str, expected: int) -> None:
    """The path goes through objects and lists."""
    service.answer = answer

    assert expected == counter(service, response_field=path).count("hello world")


@pytest.mark.parametrize("answer", [{}, {"token_count": "7"}, {"token_count": True}, {"token_count": -1}, [], 7])
def test_answers_without_a_number(service: Service, caplog: pytest.LogCaptureFixture, answer: Any) -> None:
    """Anything else is a failure: an estimate, and a warning."""
    service.answer = answer

    with caplog.at_level("WARNING"):
        counted = counter(service).count("hello " * 20)

    assert Counter().count("hello " * 20) == counted
    assert "its answer has no number at token_count" in caplog.text


def test_a_failing_service_is_left_alone_for_a_while(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a failure nobody waits again for a minute; then it is asked once more."""
    now = [100.0]
    monkeypatch.setattr(plugin.time, "monotonic", lambda: now[0])
    made = counter(service)
    service.status = 500

    with caplog.at_level("WARNING"):
        made.count("a")
        made.count("b")
    now[0] += plugin.REST + 1
    service.status = 200

    assert (10, 2, 1) == (made.count("c"), len(service.asked), len(caplog.records))


def test_lone_surrogates(service: Service) -> None:
    """Text that was cut in the middle of a character can be sent."""
    assert 10 == counter(service).count("hi\ud800")


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**4), min_size=1))
def test_shares(total: int, weights: list[int]) -> None:
    """The parts add up to the whole, and none is negative."""
    parts = plugin.share(total, weights)

    assert (total, len(weights)) == (sum(parts), len(parts))
    assert min(parts) >= 0


async def test_block(ccr: Make, service: Service) -> None:
    """A block of the older tool counts; a conversation that grows asks about its new part only."""
    block = {"type": "api", "url": service.url, "apiKey": "k"}
    block |= {"requestFormat": "custom", "responseField": "token_count"}
    router = ccr(config(dialect="plain", tokenizer={"default": block}), plugins=PLUGINS)
    messages = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "three"}]

    counts = []
    for size in (1, 2, 2):
        got = await router.count_tokens(ask(messages=messages[:size]))
        counts.append(got.json["input_tokens"])

    assert [23, 36, 36] == counts
    assert ["one two", "three"] == [sent["text"] for _, sent in service.asked]


async def test_without_an_address(ccr: Make) -> None:
    """A block without url is an error with its place."""
    with pytest.raises(ConfigError, match="url is missing"):
        ccr(config(dialect="plain", tokenizer={"default": {"type": "api"}}), plugins=PLUGINS)
