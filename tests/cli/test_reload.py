"""A router in a process of its own takes changed files into service, and says how it stands."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

REQUESTS = int(os.environ.get("CCR_RELOAD_REQUESTS", "500"))
"""How many requests are sent under reloads; 10,000 take some ten seconds."""


class Provider(BaseHTTPRequestHandler):
    """Answers the Messages API with the key and the model that it was asked with."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = f"{self.headers.get('x-api-key')} {body['model']}"
        if self.headers.get("x-api-key") == "key-limited":
            self._answer(429, {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}})
        elif "top_k" in body:
            message = "unsupported parameter: top_k"
            self._answer(400, {"type": "error", "error": {"type": "invalid_request_error", "message": message}})
        else:
            content = [{"type": "text", "text": said}]
            usage = {"input_tokens": 1, "output_tokens": 1}
            message_fields = {"id": "msg_1", "type": "message", "role": "assistant", "stop_sequence": None}
            self._answer(
                200,
                {**message_fields, "model": "m", "content": content, "stop_reason": "end_turn", "usage": usage},
            )

    def _answer(self, status: int, data: Any) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[str]:
    """The URL of a provider."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/messages"
        server.shutdown()


def write(ccr: Any, provider: str, version: object, **more: Any) -> None:
    """Write a configuration whose key and model tell its version, in one step."""
    entry = {"name": "up", "api_base_url": provider, "api_key": f"key-{version}", "models": [f"m-{version}"]}
    data = {"PORT": 0, "Providers": [entry], "Router": {"default": f"up,m-{version}"}, **more}
    ccr.folder.mkdir(parents=True, exist_ok=True)
    beside = ccr.folder / "config.new"
    beside.write_text(json.dumps(data))
    os.replace(beside, ccr.folder / "config.json")


def connect(ccr: Any) -> http.client.HTTPConnection:
    """A connection to the router."""
    return http.client.HTTPConnection("127.0.0.1", ccr.state["port"], timeout=30)


def ask(connection: http.client.HTTPConnection, headers: Any = None, **fields: Any) -> tuple[int, Any]:
    """Status and body of one answer."""
    body = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    connection.request("POST", "/v1/messages", json.dumps(body), headers or {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def once(ccr: Any, headers: Any = None, **fields: Any) -> tuple[int, Any]:
    """One request over a connection of its own."""
    with contextlib.closing(connect(ccr)) as connection:
        return ask(connection, headers, **fields)


def test_requests_under_reloads(ccr: Any, provider: str) -> None:
    """While the configuration changes once a second no request fails, and none mixes two configurations."""
    write(ccr, provider, 1)
    ccr.ok("start", "-d")
    left, said = iter(range(REQUESTS)), []
    stop = threading.Event()

    def change() -> None:
        version = 1
        while not stop.wait(1.0):
            version += 1
            write(ccr, provider, version)

    def client(_: int) -> None:
        connection = connect(ccr)
        for _ in left:
            status, body = ask(connection)
            assert 200 == status, body
            said.append(body["content"][0]["text"])
            time.sleep(0.02 if REQUESTS < 1000 else 0)
        connection.close()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(client, range(4)))
    finally:
        stop.set()
        changing.join()

    assert REQUESTS == len(said)
    pairs = {tuple(part.partition("-")[2] for part in text.split()) for text in said}
    assert [] == [pair for pair in pairs if len(set(pair)) != 1]
    assert len(pairs) > 1


def test_status_of_reloads(ccr: Any, provider: str, wait_for: Callable[[Callable[[], Any]], Any]) -> None:
    """A bad file leaves the router as it is, and status says why; a good one is in use without a restart."""
    write(ccr, provider, 1, APIKEY="$MY_KEY", PROXY_URL="http://me:secret-of-proxy@127.0.0.1:1", NO_PROXY=["*"])
    env = {"MY_KEY": "secret-of-mine"}
    ccr.ok("start", "-d", env=env)
    headers = {"x-api-key": "secret-of-mine"}

    def status() -> Any:
        return json.loads(ccr.ok("status", "--json", env=env))

    assert ("up,m-1", None, 0) == (
        status()["default"],
        status()["reload"]["problem"],
        status()["reload"]["count"],
    )
    write(ccr, provider, 2, APIKEY="$MY_KEY", Rooter=1, Router={"default": "nobody,m"})
    wait_for(lambda: status()["reload"]["problem"])

    shown = ccr.ok("status", env=env)
    assert re.search(r"proxy +http://127\.0\.0\.1:1\n", shown)
    assert "not in use     the changed configuration: 1 problem in config.json" in shown
    assert 'no provider for "nobody,m"' in shown
    assert (200, "key-1 m-1") == ((found := once(ccr, headers))[0], found[1]["content"][0]["text"])
    assert 'no provider for "nobody,m"' in Path(ccr.state["log"]).read_text()

    write(ccr, provider, 3, APIKEY="$MY_KEY")
    wait_for(lambda: status()["reload"]["count"])
    assert "key-3 m-3" == once(ccr, headers)[1]["content"][0]["text"]
    shown = ccr.ok("status", env=env)
    assert "not in use" not in shown
    assert "reloaded" in shown
    assert "proxy " not in shown
    assert "through no proxy from now on" in Path(ccr.state["log"]).read_text()
    assert "secret" not in shown + json.dumps(status())


def test_log_level_changes_without_a_restart(
    ccr: Any, provider: str, wait_for: Callable[[Callable[[], Any]], Any]
) -> None:
    """What is logged follows LOG_LEVEL when the file changes; what the command line says stays."""
    write(ccr, provider, 1, LOG_LEVEL="warn", retry={"attempts": 0})
    ccr.ok("start", "-d")
    log = Path(ccr.state["log"])

    def reloads() -> Any:
        return json.loads(ccr.ok("status", "--json"))["reload"]["count"]

    write(ccr, provider, 2, LOG_LEVEL="info")
    wait_for(lambda: reloads() == 1)
    wait_for(lambda: "the changed configuration is in use" in log.read_text())
    before = log.read_text().count("is in use")
    write(ccr, provider, 3, LOG_LEVEL="error")
    wait_for(lambda: reloads() == 2)
    assert before == log.read_text().count("is in use")

    ccr.ok("restart", "--log-level", "error")
    write(ccr, provider, 4, LOG_LEVEL="info")
    wait_for(lambda: reloads() == 1)
    assert "is in use" not in Path(ccr.state["log"]).read_text().rpartition(" is running at ")[2]


def test_status_of_providers(ccr: Any, provider: str) -> None:
    """Keys that cool down and corrections that were learned are told."""
    write(ccr, provider, "limited", retry={"attempts": 0})
    ccr.ok("start", "-d")
    assert 429 == once(ccr)[0]

    assert "cools down     up key 1, for 1" in ccr.ok("status")
    (cooling,) = json.loads(ccr.ok("status", "--json"))["cooling"]
    assert ("up", "key 1", "429: slow down") == (cooling["provider"], cooling["key"], cooling["why"])


def test_status_of_corrections(ccr: Any, provider: str) -> None:
    """What a provider refuses is told."""
    write(ccr, provider, 1)
    ccr.ok("start", "-d")
    assert 200 == once(ccr, top_k=3)[0]

    assert "learned        up,m-1: left out top_k" in ccr.ok("status")
    assert ["left out top_k"] == [each["correction"] for each in json.loads(ccr.ok("status", "--json"))["learned"]]


def test_status_without_the_key(ccr: Any, provider: str) -> None:
    """Who has not the router's key is told where it runs, and that there is no more."""
    write(ccr, provider, 1, APIKEY="$MY_KEY")
    ccr.ok("start", "-d", env={"MY_KEY": "secret-of-mine"})

    shown = ccr.ok("status")

    assert "ccr is running" in shown
    assert "not told: the router wants another key" in shown
    assert "reload" not in json.loads(ccr.ok("status", "--json"))
