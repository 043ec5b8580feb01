"""Spans as a receiver on loopback gets them."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_otel as plugin
import ccr_plugin_rule_default
import pytest
from ccr_plugin_otel.spans import Spans, trace_id
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ccr_core import Answered, Arrived, Failed, Finished, Observation, Prices, Routed, Sent
from ccr_core.testing import PLAIN, Make, Upstream, ask, config

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

AT = 1_764_000_000.0


class Receiver:
    """An OTLP receiver; ``spans`` are what it got, as plain data, in order of their start."""

    def __init__(self, status: int = 200) -> None:
        receiver = self
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: dict[str, str] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    data = gzip.decompress(data)
                receiver.headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append(ExportTraceServiceRequest.FromString(data))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def spans(self) -> list[dict[str, Any]]:
        found = [
            {
                "name": span.name,
                "trace": span.trace_id.hex(),
                "id": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "kind": span.kind,
                "start": span.start_time_unix_nano / 1e9,
                "end": span.end_time_unix_nano / 1e9,
                "status": span.status.code,
                "events": [event.name for event in span.events],
                "attributes": {item.key: plain(item.value) for item in span.attributes},
            }
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(found, key=lambda span: (span["start"], span["kind"]))

    def resource(self) -> dict[str, Any]:
        return {item.key: plain(item.value) for item in self.requests[0].resource_spans[0].resource.attributes}


def plain(value: Any) -> Any:
    if value.WhichOneof("value") == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, value.WhichOneof("value"))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the person who runs the tests takes part, nor a proxy."""
    for name in list(os.environ):
        if name.startswith("OTEL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    made = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    yield made
    made.close()


Trace = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def trace(receiver: Receiver, tmp_path: Path) -> Trace:
    """What the receiver gets of these observations."""

    def trace(*exchanges: Iterator[Observation]) -> list[dict[str, Any]]:
        observer = plugin.Tracing(plugin.Options(), tmp_path)
        for exchange in exchanges:
            for seen in exchange:
                observer.on(seen)
        observer.close()
        return receiver.spans

    return trace


def exchange(
    id: str = "req_1",
    at: float = AT,
    attempts: tuple[int, ...] = (200,),
    session: str | None = None,
    agent: str | None = None,
    type: str | None = None,
    parent: str | None = None,
    **fields: Any,
) -> Iterator[Observation]:
    """An exchange from its arrival to its end three seconds later, an attempt each second."""
    hints = {"session": session, "agent_id": agent, "agent_type": type, "parent_agent_id": parent}
    yield Arrived(id=id, at=at, path="/v1/messages", model="asked", stream=True, size=9, **hints)
    yield Routed(id=id, at=at, provider="p1", model="m", scenario="default", why="because", rule="default")
    for number, status in enumerate(attempts, start=1):
        url = "https://u:secret@api.invalid:8443/v1/chat?key=secret"
        yield Sent(id=id, at=at + number - 1, attempt=number, provider=f"p{number}", model="m", url=url)
        yield Answered(id=id, at=at + number - 0.5, attempt=number, status=status, error="secret")
    given = {
        "status": 200,
        "stream": True,
        "requested": "asked",
        "provider": f"p{len(attempts)}",
        "model": "m",
        "scenario": "default",
        "why": "because",
        "attempts": len(attempts),
        "duration": 3.0,
        "first": 0.75,
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 30, "cache_read_input_tokens": 5},
        "notes": (("fallback", "secret"),),
        "prices": Prices(input=1.0, output=2.0),
        **hints,
        **fields,
    }
    kind = Failed if "error" in fields else Finished
    yield kind(id=id, at=at + 3.0, **given)


async def test_of_a_router(ccr: Make, upstream: Upstream, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request to a real router arrives at the receiver, as a trace of the session."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=blue")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    router = ccr(config(dialect="anthropic"), [plugin, ccr_plugin_anthropic, ccr_plugin_rule_default])
    upstream.reply(PLAIN["text"])
    answer = await router.messages(ask(stream=False, model="x"), headers={"x-claude-code-session-id": "s1"})
    assert 200 == answer.status, answer.body
    await router.aclose()

    session, request, attempt = receiver.spans
    assert ["session", "POST /v1/messages", "chat big"] == [span["name"] for span in (session, request, attempt)]
    assert ["", session["id"], request["id"]] == [span["parent"] for span in (session, request, attempt)]
    assert {f"{trace_id('s1'):032x}"} == {span["trace"] for span in (session, request, attempt)}
    assert answer.headers["request-id"] == request["attributes"]["ccr.request.id"]
    assert answer.usage["output_tokens"] == attempt["attributes"]["gen_ai.usage.output_tokens"]
    assert "blue" == receiver.headers["x-team"]
    assert ("ccr", "test") == tuple(receiver.resource()[n] for n in ("service.name", "deployment.environment.name"))


def test_attributes(trace: Trace) -> None:
    """Exchanges and attempts say what the conventions name, and nothing secret."""
    request, attempt = trace(exchange())

    assert (AT, AT + 3, 2, 0, ["first byte"]) == tuple(
        request[name] for name in ("start", "end", "kind", "status", "events")
    )
    assert {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "http.request.body.size": 9,
        "http.response.status_code": 200,
        "ccr.request.id": "req_1",
        "ccr.requested_model": "asked",
        "ccr.stream": True,
        "ccr.route": "p1,m",
        "ccr.scenario": "default",
        "ccr.rule": "default",
        "ccr.why": "because",
        "ccr.attempts": 1,
        "ccr.cost": 7.5e-05,
        "ccr.time_to_first_byte": 0.75,
        "ccr.notes": ["fallback"],
    } == request["attributes"]
    assert (AT, AT + 3, 3, "chat m") == tuple(attempt[name] for name in ("start", "end", "kind", "name"))
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "p1",
        "gen_ai.request.model": "m",
        "server.address": "api.invalid",
        "server.port": 8443,
        "ccr.attempt": 1,
        "http.response.status_code": 200,
        "gen_ai.usage.input_tokens": 15,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.response.finish_reasons": ["end_turn"],
    } == attempt["attributes"]


def test_attempts(trace: Trace, receiver: Receiver) -> None:
    """Each attempt has a span; those that failed say how, and only the one that answered has tokens."""
    request, *attempts = trace(exchange(attempts=(529, 0, 200)))

    assert {request["id"]} == {attempt["parent"] for attempt in attempts}
    assert [("p1", "529", 2), ("p2", "no_answer", 2), ("p3", None, 0)] == [
        (
            attempt["attributes"]["gen_ai.provider.name"],
            attempt["attributes"].get("error.type"),
            attempt["status"],
        )
        for attempt in attempts
    ]
    assert [False, False, True] == ["gen_ai.usage.output_tokens" in attempt["attributes"] for attempt in attempts]
    assert [0.5, 0.5, 1.0] == [attempt["end"] - attempt["start"] for attempt in attempts]
    assert b"secret" not in receiver.requests[0].SerializeToString()


@pytest.mark.parametrize(
    ("fields", "error", "status"),
    [
        ({"status": 529, "error": "secret", "kind": "overloaded_error"}, "overloaded_error", 2),
        ({"status": 499, "error": "left", "kind": "api_error"}, "client_left", 0),
    ],
)
def test_failures(trace: Trace, fields: dict[str, Any], error: str, status: int) -> None:
    """A failure is an error of exchange and attempt; a client that left is none."""
    spans = trace(exchange(**fields))

    assert [(error, status)] * 2 == [(span["attributes"]["error.type"], span["status"]) for span in spans]


def test_agents_of_a_session(trace: Trace) -> None:
    """The requests of a task are one trace: agents lie under the agents that started them."""
    spans = trace(
        exchange("req_1", AT, session="s"),
        exchange("req_2", AT + 1, session="s", agent="a", type="Explore"),
        exchange("req_3", AT + 2, session="s", agent="b", type="Plan", parent="a"),
        exchange("req_4", AT + 9, session="s", agent="a", type="Explore"),
        exchange("req_5", AT + 10, session="s", agent="c", parent="unknown"),
        exchange("req_6", AT, session="other"),
        exchange("req_7", AT),
    )
    by_id = {span["id"]: span for span in spans}
    of = {span["attributes"]["ccr.request.id"]: span for span in spans if "ccr.request.id" in span["attributes"]}

    def above(span: dict[str, Any]) -> list[str]:
        names = []
        while span["parent"]:
            span = by_id[span["parent"]]
            names.append(span["name"])
        return names

    assert {
        "req_1": ["session"],
        "req_2": ["invoke_agent Explore", "session"],
        "req_3": ["invoke_agent Plan", "invoke_agent Explore", "session"],
        "req_4": ["invoke_agent Explore", "session"],
        "req_5": ["invoke_agent", "session"],
        "req_6": ["session"],
        "req_7": [],
    } == {id: above(span) for id, span in of.items()}
    assert of["req_2"]["parent"] == of["req_4"]["parent"]
    assert 1 == len({of[f"req_{n}"]["trace"] for n in range(1, 6)})
    assert 3 == len({of[f"req_{n}"]["trace"] for n in (1, 6, 7)})
    (explore,) = [span for span in spans if span["name"] == "invoke_agent Explore"]
    assert (AT + 1, AT + 12) == (explore["start"], explore["end"])
    assert {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.id": "a",
        "gen_ai.agent.name": "Explore",
        "gen_ai.conversation.id": "s",
        "ccr.requests": 2,
    } == explore["attributes"]
    assert [AT + 13] == [span["end"] for span in spans if span["name"] == "session" and span["start"] == AT][:1]


def test_idle_agents_end(receiver: Receiver) -> None:
    """An agent that has been silent for long is over; one that waits for its answer is not."""
    spans = Spans("otlp", idle_s=60.0)
    for seen in exchange("req_1", AT, session="s", agent="a"):
        spans.take(seen)
    for seen in exchange("req_2", AT, session="t"):
        spans.take(seen)
    spans.take(next(exchange("req_3", AT + 10, session="t")))
    spans.end_idle(AT + 50)
    assert [("s", "a"), ("s", None), ("t", None)] == sorted(spans._agents, key=str)
    spans.end_idle(AT + 100)

    assert [("t", None)] == list(spans._agents)
    spans.close()
    assert 3 == len([span for span in receiver.spans if span["name"] in ("session", "invoke_agent")])


def test_what_is_remembered_is_bounded(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many sessions there are, and requests without an end, only so many are kept."""
    monkeypatch.setattr("ccr_plugin_otel.spans.AGENTS", 5)
    monkeypatch.setattr("ccr_plugin_otel.spans.UNDER_WAY", 5)
    spans = Spans("otlp", idle_s=60.0)
    for number in range(20):
        for seen in exchange(f"req_{number}", session=f"s{number}"):
            spans.take(seen)
        spans.take(next(exchange(f"lost_{number}")))

    assert (5, 5) == (len(spans._agents), len(spans._open))
    spans.close()


@pytest.mark.parametrize(("sampler", "count"), [("always_off", 0), ("parentbased_always_on", 3)])
def test_sampling(receiver: Receiver, trace: Trace, monkeypatch: pytest.MonkeyPatch, sampler: str, count: int) -> None:
    """The sampler of the environment decides, for the session as a whole."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)

    assert count == len(trace(exchange(session="s")))


def test_sampling_by_ratio(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a ratio each session is in or out with all its spans."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    spans = trace(*(exchange(f"req_{n}", session=f"s{n}", agent="a") for n in range(30)))
    traces = [span["trace"] for span in spans]

    assert 0 < len(set(traces)) < 30
    assert {4} == {traces.count(each) for each in traces}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, None),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, None),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, None),
    ],
)
def test_where_to(environ: dict[str, str], expected: str | None) -> None:
    """The standard variables say whether and how spans are sent."""
    assert expected == plugin.exporter(environ)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "no traces are sent"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "sent as http/protobuf"),
    ],
)
def test_what_is_not_known_is_said(environ: dict[str, str], words: str, caplog: pytest.LogCaptureFixture) -> None:
    """A variable that asks for something else is not passed over in silence."""
    with caplog.at_level(logging.WARNING, "ccr.otel"):
        plugin.exporter(environ)

    assert words in caplog.records[0].getMessage()


def test_nothing_without_a_receiver(tmp_path: Path) -> None:
    """While nobody says where to, there is no thread, and OpenTelemetry is not loaded."""
    observer = plugin.Tracing(plugin.Options(), tmp_path)
    for seen in exchange():
        observer.on(seen)
    observer.close()
    assert None is observer._thread

    script = (
        "import sys, ccr_plugin_otel as p\n(spec,) = p.ccr_observers()\nmade = spec.factory(p.Options(), '.')\n"
        "made.on(None)\nprint(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert "False\n" == done.stdout


def test_a_receiver_that_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its refusal hurts nobody, and the end comes all the same."""
    receiver = Receiver(400)
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        observer = plugin.Tracing(plugin.Options(), tmp_path)
        for seen in exchange():
            observer.on(seen)
        observer.close()
        observer.on(next(exchange("req_2")))

        assert 1 == len(receiver.requests)
    finally:
        receiver.close()


def test_a_receiver_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The end waits for a bounded time only."""
    monkeypatch.setattr(plugin, "CLOSE_SECONDS", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    observer = plugin.Tracing(plugin.Options(), tmp_path)
    for seen in exchange():
        observer.on(seen)
    observer.close()

    assert observer._thread is not None
    observer._thread.join(30)
    assert not observer._thread.is_alive()
