"""Several workers behave as one: real processes, real connections, each case with one worker and with two."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ccr_core import workers as supervisor
from ccr_core.cli import process

LONG = "word " * 30_000
"""More than 20,000 tokens."""

JSON = dict[str, Any]


def message(text: str = "hello", **usage: int) -> tuple[int, JSON, JSON]:
    """A whole answer of the Messages API."""
    fields = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    content = [{"type": "text", "text": text}]
    used = {"input_tokens": 1, "output_tokens": 1, **usage}
    return 200, {}, {**fields, "content": content, "stop_reason": "end_turn", "usage": used}


def refusal(status: int, words: str = "no", **headers: str) -> tuple[int, JSON, JSON]:
    """An error of the Messages API."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, {"type": "error", "error": {"type": "api_error", "message": words}}


class Provider:
    """A provider of the Messages API that answers as the test says; ``asked`` has key and model of each request.

    A streamed answer comes one piece of text at a time, each after the first when the test lets ``go``.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: list[JSON] = []
        self.reply: Callable[[str, JSON], tuple[int, JSON, JSON]] = lambda key, body: message()
        self.go = threading.Semaphore(0)
        provider = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/oauth/token":
                    status, headers, body = provider.token(json.loads(data))
                elif self.path == "/backend/responses":
                    self._codex()
                    return
                else:
                    sent = json.loads(data)
                    key = self.headers.get("x-api-key", "")
                    provider.asked.append(f"{key} {sent['model']}")
                    provider.bodies.append(sent)
                    if sent.get("stream"):
                        self._stream()
                        return
                    status, headers, body = provider.reply(key, sent)
                self._send(status, {"content-type": "application/json", **headers}, json.dumps(body).encode())

            def _send(self, status: int, headers: JSON, data: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for piece in STREAM:
                        if b"text_delta" in piece and piece != STREAM[1]:
                            provider.go.acquire(timeout=30)
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.write(b"0\r\n\r\n")

            def _codex(self) -> None:
                known = self.headers.get("authorization") == f"Bearer access-{provider.renewed}"
                data = RESPONSE if known else b'{"detail": "expired"}'
                kind = "text/event-stream" if known else "application/json"
                self._send(200 if known else 401, {"content-type": kind}, data)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.renewed = 0
        self.reused = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def token(self, sent: JSON) -> tuple[int, JSON, JSON]:
        """Renew a token; each refresh token works once."""
        time.sleep(0.2)  # long enough for everybody to want it
        with self._lock:
            if sent.get("refresh_token") != f"refresh-{self.renewed}":
                self.reused += 1
                return 401, {}, {"error": {"code": "refresh_token_reused"}}
            self.renewed += 1
            made = {"access_token": f"access-{self.renewed}", "refresh_token": f"refresh-{self.renewed}"}
            return 200, {}, {**made, "expires_in": 3600}

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


def event(kind: str, **fields: Any) -> bytes:
    """One server-sent event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START = {**message()[2], "content": [], "stop_reason": None}
STREAM = [
    event("message_start", message=START)
    + event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": f" {number}"}) for number in range(4)),
    event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 4})
    + event("message_stop"),
]  # fmt: skip

RESPONSE = event(
    "response.completed",
    response={
        "id": "resp_1",
        "model": "gpt-5.5",
        "status": "completed",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}],
        "usage": {"input_tokens": 5, "output_tokens": 1},
    },
)


class Case:
    """A router with one or two workers, and a connection to each of them (or two to the one)."""

    def __init__(self, ccr: Any, provider: Provider, workers: int) -> None:
        self.ccr = ccr
        self.provider = provider
        self.workers = workers
        self.connections: list[http.client.HTTPConnection] = []

    def start(self, **config: Any) -> None:
        """Start with two keys of ``up``, and ``other``, unless ``config`` says otherwise."""
        entry = {"name": "up", "api_base_url": f"{self.provider.url}/v1/messages", "api_key": ["k1", "k2"]}
        other = {"name": "other", "api_base_url": f"{self.provider.url}/v1/messages", "api_key": "o"}
        providers = [{**entry, "models": ["m", "big"]}, {**other, "models": ["m"]}]
        self.ccr.write_config({"Providers": providers, "Router": {"default": "up,m"}, **config})
        self.ccr.ok("start", "-d", "--workers", str(self.workers))
        self.connect()

    def connect(self) -> None:
        """Two connections, one after the other: with two workers each has one of them."""
        self.close()
        port = self.ccr.state["port"]
        self.connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(2)]
        served = [self.status(of)["worker"] for of in (0, 1)]
        assert ([1, 1] if self.workers == 1 else [1, 2]) == sorted(served)

    def send(self, of: int, path: str = "/v1/messages", session: str | None = None, **fields: Any) -> tuple[int, Any]:
        """Ask over one of the connections; give status and body."""
        body = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
        headers = {"content-type": "application/json"}
        if session is not None:
            headers["x-claude-code-session-id"] = session
        connection = self.connections[of]
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def ask(self, of: int, **fields: Any) -> int:
        """Ask, and give the status."""
        return self.send(of, **fields)[0]

    def status(self, of: int = 0) -> Any:
        """What the router says of itself over one of the connections."""
        self.connections[of].request("GET", "/api/status")
        return json.loads(self.connections[of].getresponse().read())

    def close(self) -> None:
        """Close the connections."""
        for connection in self.connections:
            connection.close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider, until the test ends."""
    made = Provider()
    yield made
    made.close()


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers"])
def case(ccr: Any, provider: Provider, request: pytest.FixtureRequest) -> Iterator[Case]:
    """The router of a case, not started yet."""
    made = Case(ccr, provider, request.param)
    yield made
    made.close()
    ccr.run("stop")


@pytest.fixture
def two(ccr: Any, provider: Provider) -> Iterator[Case]:
    """A router that has two workers."""
    made = Case(ccr, provider, 2)
    yield made
    made.close()
    ccr.run("stop")


# Cases: what is asked of whom, and what the provider then has seen.  0 and 1 are the two connections.


def keys_take_turns(case: Case) -> Any:
    """Each key has its turn, whoever is asked."""
    return [case.ask(of) for of in (0, 1, 1, 0, 0, 1)], sorted(case.provider.asked)


def a_session_keeps_its_key(case: Case) -> Any:
    """A session's requests use one key, whoever is asked."""
    case.ask(0)
    used = []
    for session in ("s1", "s2"):
        case.provider.asked.clear()
        for of in (0, 1, 1, 0):
            case.ask(of, session=session)
        used.append(len(set(case.provider.asked)))
    return used


def a_limited_key_rests(case: Case) -> Any:
    """A key that was limited is not asked again, by nobody."""
    case.provider.reply = lambda key, body: refusal(429, retry_after="600") if key == "k1" else message()
    statuses = [case.ask(0), case.ask(0), case.ask(1), case.ask(1)]
    return statuses, case.provider.asked


def a_session_leaves_a_limited_key(case: Case) -> Any:
    """The session goes over to the other key and stays there, whoever is asked."""
    case.ask(0, session="s")
    case.provider.reply = lambda key, body: refusal(429, retry_after="600") if key == "k1" else message()
    statuses = [case.ask(1, session="s"), case.ask(0, session="s"), case.ask(1, session="s")]
    return statuses, case.provider.asked


def a_failing_provider_rests(case: Case) -> Any:
    """Three failures in a row, of whoever, and the fallback is asked first."""
    case.provider.reply = lambda key, body: message() if key == "o" else refusal(503)
    for of in (0, 1, 0):
        case.ask(of)
    case.provider.asked.clear()
    return [case.ask(1), case.ask(0)], case.provider.asked


def an_answer_ends_the_rest(case: Case) -> Any:
    """Two failures at one and an answer at the other: the next two failures do not make three."""
    down = True
    case.provider.reply = lambda key, body: refusal(503) if down and key != "o" else message()
    case.ask(0), case.ask(0)
    down = False
    case.ask(1)
    down = True
    case.ask(0), case.ask(1)
    case.provider.asked.clear()
    case.ask(0)
    return len(case.provider.asked), case.provider.asked[-1]


def a_refused_parameter_is_left_out(case: Case) -> Any:
    """What one has learned the other does not have to learn."""
    case.provider.reply = lambda key, body: (
        refusal(400, "unsupported parameter: top_k") if "top_k" in body else message()
    )
    statuses = [case.ask(0, top_k=3), case.ask(1, top_k=3)]
    return statuses, ["top_k" in body for body in case.provider.bodies]


def the_last_usage_makes_it_long(case: Case) -> Any:
    """What the session's last prompt had decides, whoever has seen it."""
    long = [{"role": "user", "content": LONG}]
    case.ask(0, session="s", messages=long)
    case.provider.reply = lambda key, body: message(input_tokens=900, cache_read_input_tokens=90_000)
    case.ask(1, session="s", messages=long)
    case.ask(0, session="s", messages=long)
    case.ask(1, session="another", messages=long)
    return [asked.split()[1] for asked in case.provider.asked]


def counts_are_corrected(case: Case) -> Any:
    """A count is corrected by what the provider has reported to whoever."""
    long = [{"role": "user", "content": LONG}]
    first = case.send(1, "/v1/messages/count_tokens", session="s", messages=long)[1]["input_tokens"]
    case.provider.reply = lambda key, body: message(input_tokens=first * 3 // 2)
    case.ask(0, session="s", messages=long)
    again = [case.send(of, "/v1/messages/count_tokens", session="s", messages=long)[1]["input_tokens"] for of in (0, 1)]
    return [abs(count - first * 3 // 2) <= 1 for count in again]


def a_preset_has_its_own(case: Case) -> Any:
    """What is known of a preset's provider is shared, and kept apart from the main one's."""
    case.provider.reply = lambda key, body: refusal(429, retry_after="600") if key == "p1" else message()
    path = "/preset/other-keys/v1/messages"
    statuses = [case.ask(of, path=path) for of in (0, 0, 1, 1)]
    return statuses, case.provider.asked


def everybody_tells_the_same(case: Case) -> Any:
    """The status says what all workers know, whoever is asked."""
    case.provider.reply = lambda key, body: refusal(429, retry_after="600") if key == "k1" else message()
    case.ask(0), case.ask(1)
    told = [case.status(of) for of in (0, 1)]
    alike = [{name: one[name] for name in ("pid", "learned", "providers", "default", "workers")} for one in told]
    cooling = [[(item["provider"], item["key"]) for item in one["cooling"]] for one in told]
    return cooling, alike[0] == alike[1], case.ccr.state["pid"] == told[0]["pid"], len(told[0]["workers"])


def a_login_is_one_dialog(case: Case) -> Any:
    """A sign-in that one connection begins goes on over the other, and the pages have the same files."""
    headers = {"authorization": f"Bearer {(case.ccr.folder / 'management.token').read_text().strip()}"}

    def manage(of: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = case.connections[of]
        more = {"content-type": "application/json"} if body is not None else {}
        connection.request(method, path, None if body is None else json.dumps(body), {**headers, **more})
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data.startswith(b"{") else data

    found = []
    for of in (0, 1):
        _, begun = manage(of, "POST", "/api/auth/login/codex", {"elsewhere": True, "method": "browser"})
        for other in (0, 1):
            status, login = manage(other, "GET", f"/api/auth/logins/{begun['id']}")
            found.append((status, login.get("id") == begun["id"]))
    odd = [manage(of, "GET", "/api/auth/logins/none")[0] for of in (0, 1)]
    pages = {manage(of, "GET", "/ui/")[:2] for of in (0, 1)}
    unsigned = []
    for of in (0, 1):
        case.connections[of].request("GET", "/api/auth/providers")
        unsigned.append((answer := case.connections[of].getresponse()).status)
        answer.read()
    return found, odd, len(pages), unsigned


PRESET = {
    "Providers": [
        {"name": "up", "api_base_url": "{url}/v1/messages", "api_key": ["p1", "p2"], "models": ["m"]},
    ],
    "Router": {"default": "up,m"},
}

FALLBACK = {"fallback": {"default": ["other,m"]}, "retry": {"attempts": 0}}

CASES: list[tuple[Callable[[Case], Any], JSON, Any]] = [
    (keys_take_turns, {}, ([200] * 6, ["k1 m"] * 3 + ["k2 m"] * 3)),
    (a_session_keeps_its_key, {}, [1, 1]),
    (a_limited_key_rests, {}, ([200] * 4, ["k1 m", "k2 m", "k2 m", "k2 m", "k2 m"])),
    (a_session_leaves_a_limited_key, {}, ([200] * 3, ["k1 m", "k1 m", "k2 m", "k2 m", "k2 m"])),
    (a_failing_provider_rests, FALLBACK, ([200] * 2, ["o m", "o m"])),
    (an_answer_ends_the_rest, FALLBACK, (2, "o m")),
    (a_refused_parameter_is_left_out, {}, ([200, 200], [True, False, False])),
    (
        the_last_usage_makes_it_long,
        {"Router": {"default": "up,m", "longContext": "up,big", "longContextThreshold": 60_000}},
        ["m", "m", "big", "m"],
    ),
    (
        counts_are_corrected,
        {"Router": {"default": "up,m", "longContext": "up,big", "longContextThreshold": 900_000}},
        [True, True],
    ),
    (a_preset_has_its_own, {}, ([200] * 4, ["p1 m", "p2 m", "p2 m", "p2 m", "p2 m"])),
    (
        a_login_is_one_dialog,
        {"oauth": {"codex": {"issuer": "http://127.0.0.1:1", "allow_custom_host": True, "redirect_ports": [0]}}},
        ([(200, True)] * 4, [404, 404], 1, [401, 401]),
    ),
    (everybody_tells_the_same, {}, ([[("up", "key 1")]] * 2, True, True, None)),
]


@pytest.mark.parametrize(("ask", "config", "expected"), CASES, ids=[each[0].__name__ for each in CASES])
def test_same_behaviour(case: Case, ask: Callable[[Case], Any], config: JSON, expected: Any) -> None:
    """What one worker does, two do, whichever of them is asked."""
    if ask is a_preset_has_its_own:
        folder = case.ccr.folder / "presets" / "other-keys"
        folder.mkdir(parents=True)
        text = json.dumps({"name": "other-keys", "version": "1.0.0", **PRESET}).replace("{url}", case.provider.url)
        (folder / "manifest.json").write_text(text)
    if ask is everybody_tells_the_same:
        expected = (*expected[:-1], case.workers)
    case.start(**config)
    assert expected == ask(case)


def test_a_token_is_renewed_once(case: Case) -> None:
    """When all workers need a new token of a subscription at once, the vendor is asked once."""
    now = int(time.time())
    record = {"type": "oauth", "enabled": True, "label": "me", "access_token": "access-0", "refresh_token": "refresh-0"}
    record |= {"access_expires_at": now - 60, "extra": {"chatgpt_account_id": "acc"}, "status": {"state": "ok"}}
    case.ccr.folder.mkdir(parents=True)
    accounts = {"codex": {"default": "me", "accounts": {"me": record}}}
    (case.ccr.folder / "auth.json").write_text(json.dumps({"version": 2, "providers": accounts}))
    (case.ccr.folder / "auth.json").chmod(0o600)
    url = case.provider.url
    case.start(
        Providers=[{"name": "codex", "auth_type": "oauth", "oauth_provider": "codex", "models": ["gpt-5.5"]}],
        Router={"default": "codex,gpt-5.5"},
        oauth={"codex": {"issuer": url, "api_base": f"{url}/backend", "allow_custom_host": True}},
    )
    port = case.ccr.state["port"]
    got: list[int] = []

    def one() -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            body = {"model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            connection.request("POST", "/v1/messages", json.dumps(body), {"content-type": "application/json"})
            got.append(connection.getresponse().status)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ([200] * 8, 1, 0) == (got, case.provider.renewed, case.provider.reused)


def test_changed_files(case: Case, wait_for: Callable[..., Any]) -> None:
    """A changed configuration is in use in every worker; one that cannot be used in none, and the status says so."""
    case.start()
    text = (case.ccr.folder / "config.json").read_text()
    (case.ccr.folder / "config.json").write_text(text.replace('"default": "up,m"', '"default": "other,m"'))
    wait_for(lambda: {1} == {worker["reloads"] for worker in case.status()["workers"]})
    assert [200, 200] == [case.ask(of) for of in (0, 1)]
    assert ["o m", "o m"] == case.provider.asked
    (case.ccr.folder / "config.json").write_text("{")
    wait_for(lambda: all(worker["problem"] for worker in case.status()["workers"]))
    assert [True, True] == [bool(case.status(of)["reload"]["problem"]) for of in (0, 1)]
    assert "not in use" in case.ccr.ok("status")
    assert [200, 200] == [case.ask(of) for of in (0, 1)]


def test_stop_finishes_answers(case: Case, wait_for: Callable[..., Any]) -> None:
    """Answers that are on their way are finished before the router ends; then no process and no port are left."""
    case.start()
    pids = [worker["pid"] for worker in case.status()["workers"]]
    port, pid = case.ccr.state["port"], case.ccr.state["pid"]
    answers = [stream(connection) for connection in case.connections]
    stopping = case.ccr.begin("stop")
    wait_for(lambda: refused(port))
    case.provider.go.release(6)
    assert [True, True] == [b"message_stop" in answer.read() for answer in answers]
    out, err = stopping.communicate(timeout=30)
    assert 0 == stopping.returncode, out + err
    assert [] == [each for each in (pid, *pids) if process.exists(each)]
    assert {} == case.ccr.state


def stream(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    """Begin a streamed request; give the answer, of which nothing but the head is read."""
    body = {"model": "x", "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    connection.request("POST", "/v1/messages", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    assert 200 == answer.status
    return answer


def refused(port: int) -> bool:
    """Whether nobody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_worker_is_killed(two: Case, wait_for: Callable[..., Any]) -> None:
    """Its streams break off and do not look finished, the other's go on; another takes its place and knows all."""
    two.provider.reply = lambda key, body: refusal(429, retry_after="600") if key == "k1" else message()
    two.start()
    two.ask(0)
    before = {worker["number"]: worker["pid"] for worker in two.status()["workers"]}
    served = [two.status(of)["worker"] for of in (0, 1)]
    answers = [stream(connection) for connection in two.connections]
    os.kill(before[served[0]], signal.SIGKILL)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answers[0].read()
    two.provider.go.release(8)
    assert b"message_stop" in answers[1].read()

    again = wait_for(
        lambda: [each for each in two.status(1)["workers"] if each["number"] == served[0] and each.get("starts") == 2]
    )
    assert again[0]["pid"] not in before.values()
    log = Path(two.ccr.state["log"]).read_text()
    assert f"worker {served[0]} (pid {before[served[0]]}) ended (signal 9)" in log
    assert f"worker {served[0]} serves again (pid {again[0]['pid']})" in log
    assert "started again 1 time" in two.ccr.ok("status")
    two.connections[0].close()
    two.connections[0] = http.client.HTTPConnection("127.0.0.1", two.ccr.state["port"], timeout=30)
    assert served[0] == two.status(0)["worker"]
    two.provider.asked.clear()
    assert [200, 200] == [two.ask(0), two.ask(0)]
    assert ["k2 m", "k2 m"] == two.provider.asked


def test_the_supervisor_is_killed(two: Case, wait_for: Callable[..., Any]) -> None:
    """Workers do not outlive it, and the router can be started again at once."""
    two.start()
    pids = [worker["pid"] for worker in two.status()["workers"]]
    os.kill(two.ccr.state["pid"], signal.SIGKILL)
    wait_for(lambda: not any(process.exists(pid) for pid in pids))
    assert 1 == two.ccr.run("status").returncode
    two.start()
    assert 200 == two.ask(0)


def test_ctrl_c(two: Case, wait_for: Callable[..., Any]) -> None:
    """In the foreground a signal ends all workers in good order, exit code 0, nothing left."""
    two.ccr.write_config({"workers": 2})
    for number in (signal.SIGINT, signal.SIGTERM):
        child = two.ccr.begin("start")
        wait_for(lambda: two.ccr.state)
        two.connect()
        pids = [worker["pid"] for worker in two.status()["workers"]]
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
        assert 0 == child.returncode, out + err
        assert "with 2 workers" in out
        assert [] == [pid for pid in pids if process.exists(pid)]
        assert {} == two.ccr.state


def test_options_stay(two: Case) -> None:
    """Restart keeps the number of workers; the option stands above the configuration."""
    two.ccr.write_config({"workers": 3})
    two.ccr.ok("start", "-d", "--workers", "2")
    two.connect()
    two.ccr.ok("restart")
    two.connect()
    assert 2 == len(two.status()["workers"])


def test_counters_have_one_place(two: Case) -> None:
    """Workers get a folder, empty at the start, where the client library of Prometheus adds up what they count."""
    folder = two.ccr.folder / "run" / "metrics"
    folder.mkdir(parents=True)
    (folder / "counter_1.db").touch()
    two.start()
    found = {
        Path(f"/proc/{worker['pid']}/environ")
        .read_bytes()
        .partition(b"PROMETHEUS_MULTIPROC_DIR=")[2]
        .partition(b"\0")[0]
        for worker in two.status()["workers"]
    }
    assert ({str(folder).encode()}, False) == (found, (folder / "counter_1.db").exists())


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"Router": {"default": "nobody,m"}}, 'no provider for "nobody,m"'),
        ({"workers": 0}, "expected an integer from 1 to 64"),
    ],
)
def test_what_cannot_be_used_is_told_once(ccr: Any, config: JSON, told: str) -> None:
    """A configuration that cannot be used ends the start with one message and exit code 1, and leaves nothing."""
    ccr.write_config({"workers": 2, "Providers": [{"name": "echo", "models": ["echo"]}], **config})
    done = ccr.run("start")
    assert (1, 1) == (done.returncode, done.stderr.count(told)), done.stderr
    assert {} == ccr.state


def test_where_it_is_not_possible(ccr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without the sockets for it is told what to leave out; one worker needs none of them."""
    from click.testing import CliRunner

    from ccr_core.cli.start import start

    ccr.write_config({})
    monkeypatch.setenv("CCR_HOME", str(ccr.folder))
    monkeypatch.setattr(supervisor, "possible", lambda: False)
    found = CliRunner().invoke(start, ["--workers", "2"], standalone_mode=False)
    assert (1, True) == (found.return_value, "cannot have several workers; leave out --workers" in found.output)
