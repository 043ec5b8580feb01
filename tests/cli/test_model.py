"""`ccr model` and `ccr provider` without a terminal: what they print, and what they do to the file."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIG = """{
  // the port is mine
  "PORT": 0,
  "Providers": [
    { "name": "up", "api_base_url": "%s/v1/chat/completions", "api_key": "$UP_KEY", "models": ["m", "n"] }, // first
  ],
  "Router": {
    "default": "up,m", // the usual one
  },
}
"""


class Upstream:
    """A service that speaks OpenAI's chat format and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.tools = True
        self.status = 200
        upstream = self

        class Answers(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                upstream.asked.append(body)
                upstream.keys.append(self.headers.get("authorization", ""))
                refused = upstream.status != 200 or (body.get("tools") and not upstream.tools)
                data = upstream.refusal() if refused else upstream.answer(body)
                self.send_response((upstream.status if upstream.status != 200 else 400) if refused else 200)
                self.send_header("content-type", "application/json" if refused else "text/event-stream")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def refusal(self) -> bytes:
        return json.dumps({"error": {"message": "not with me", "type": "invalid_request_error"}}).encode()

    def answer(self, body: dict[str, Any]) -> bytes:
        delta: dict[str, Any] = {"role": "assistant", "content": "pong"}
        reason = "stop"
        if body.get("tools"):
            call = {"name": "report", "arguments": '{"word": "pong"}'}
            delta = {
                "role": "assistant",
                "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": call}],
            }
            reason = "tool_calls"
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        head = {"id": "x", "object": "chat.completion.chunk", "model": "m"}
        chunks = [
            {**head, "choices": [{"index": 0, "delta": delta}]},
            {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage},
        ]
        return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A service on this machine."""
    service = Upstream()
    yield service
    service.close()


@pytest.fixture
def file(ccr: Any, upstream: Upstream) -> Path:
    """The configuration, as somebody wrote it, with comments."""
    ccr.env["UP_KEY"] = "sk-the-secret-of-up-1234"
    ccr.folder.mkdir()
    path: Path = ccr.folder / "config.json"
    path.write_text(CONFIG % upstream.url)
    return path


def test_list(ccr: Any, file: Path) -> None:
    """Routes and models are listed, as text and as data."""
    data = json.loads(ccr.ok("model", "list", "--json"))
    assert {"routes": {"default": "up,m"}, "models": {"up": ["m", "n"]}} == data
    lines = ccr.ok("model", "list").splitlines()
    assert ["default  up,m", "", "PROVIDER  MODEL", "up        m", "up        n"] == lines


def test_set_keeps_the_file(ccr: Any, file: Path) -> None:
    """A route is changed in its place; comments, order and the reference to the key stay, and a copy is kept."""
    before = file.read_text()
    assert "default is up,n,high\n" == ccr.ok("model", "set", "default", "UP,n,high")
    assert before.replace('"up,m"', '"up,n,high"') == file.read_text()
    assert [before] == [copy.read_text() for copy in file.parent.glob("config.json.*.bak")]
    assert 0o600 == file.stat().st_mode & 0o777


def test_set_other_routes(ccr: Any, file: Path) -> None:
    """Routes may be spelled otherwise, may be for a kind of sub-agent, and can be taken away again."""
    ccr.ok("model", "set", "long-context", "up,n")
    ccr.ok("model", "set", "agentTypes.Explore", "up,m")
    ccr.ok("model", "set", "longContextThreshold", "90000")
    routes = json.loads(ccr.ok("model", "list", "--json"))["routes"]
    assert {"default": "up,m", "longContext": "up,n", "agentTypes.Explore": "up,m"} == routes
    assert '"longContextThreshold": 90000' in file.read_text()
    ccr.ok("model", "set", "longContext", "none")
    assert "longContext" not in json.loads(ccr.ok("model", "list", "--json"))["routes"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("model", "set", "thnik", "up,m"), 'there is no route "thnik"; did you mean "think"?'),
        (("model", "set", "think", "nobody,m"), '"nobody,m" names no provider'),
        (("model", "set", "agentTypes", "up,m"), "write agentTypes.NAME"),
        (("model", "set", "longContextThreshold", "many"), '"many" is no number'),
        (("model", "add", "nobody", "m"), 'there is no provider "nobody"; known: up'),
        (("model", "add", "up", "m"), "up has the model m already"),
        (("model", "remove", "up", "mm"), 'up has no model "mm"'),
        (("provider", "add", "up", "--url", "http://x/y", "--model", "m"), "there is a provider up already"),
        (("provider", "add", "other", "--model", "m"), "give its address with --url"),
        (("provider", "add", "other", "--url", "http://x/y"), "give at least one model"),
        (("provider", "add", "other", "--url", "nowhere", "--model", "m"), '"nowhere" is no address'),
        (
            ("provider", "add", "o", "--url", "http://x/y", "--model", "m", "--dialect", "klingon"),
            "nothing was written",
        ),
        (("provider", "remove", "up"), "up is in use: default lead to it"),
    ],
)
def test_refusals(ccr: Any, file: Path, words: tuple[str, ...], reason: str) -> None:
    """What makes no sense is refused with the reason, and the file stays as it is, to the byte."""
    before = file.read_bytes()
    done = ccr.run(*words)
    assert 1 == done.returncode
    assert reason in done.stderr
    assert before == file.read_bytes()
    assert [] == list(file.parent.glob("*.bak"))


def test_models(ccr: Any, file: Path) -> None:
    """Models are added and removed; a route to a removed one is named."""
    assert "up has the model o; background leads to it\n" == ccr.ok("model", "add", "up", "o", "--route", "background")
    assert '"models": ["m", "n", "o"] }, // first' in file.read_text()
    done = ccr.run("model", "remove", "up", "o")
    assert (0, "up no longer has the model o\n") == (done.returncode, done.stdout)
    assert "background still leads to it" in done.stderr
    assert {"up": ["m", "n"]} == json.loads(ccr.ok("model", "list", "--json"))["models"]


def test_dialog_needs_a_terminal(ccr: Any, file: Path) -> None:
    """Nothing is asked where nobody can answer."""
    done = ccr.run("model")
    assert (2, "") == (done.returncode, done.stdout)
    assert "the dialog needs a terminal" in done.stderr


def test_add_a_known_service(ccr: Any, file: Path) -> None:
    """A service that a plugin knows needs only its name; its key stays in the environment."""
    ccr.ok("provider", "add", "deepseek", env={"DEEPSEEK_API_KEY": "sk-of-deepseek"})
    assert '{"name": "deepseek", "api_key": "$DEEPSEEK_API_KEY"}' in file.read_text()
    assert "sk-of-deepseek" not in file.read_text()
    rows = {row["name"]: row for row in json.loads(ccr.ok("provider", "list", "--json"))}
    assert ("$DEEPSEEK_API_KEY is not set", "set") == (rows["deepseek"]["key"], rows["up"]["key"])
    ccr.ok("provider", "remove", "deepseek")
    assert "deepseek" not in file.read_text()


def test_add_with_a_key(ccr: Any, file: Path, upstream: Upstream) -> None:
    """A key is read from standard input, never printed, and used."""
    words = ("provider", "add", "own", "--url", f"{upstream.url}/v1/chat/completions", "--model", "m")
    done = ccr.run(*words, "--key", input="sk-typed-in\n")
    assert 0 == done.returncode, done.stderr
    assert "sk-typed-in" not in done.stdout + done.stderr
    ccr.ok("provider", "test", "own")
    assert ["Bearer sk-typed-in"] == upstream.keys
    assert 1 == ccr.run(*("own2" if word == "own" else word for word in words), "--key").returncode
    ccr.ok("provider", "add", "env", *words[3:], "--key-env", "MY_KEY", "--default")
    assert '"default": "env,m", // the usual one' in file.read_text()
    assert '"$MY_KEY"' in file.read_text()


def test_add_without_a_configuration(ccr: Any) -> None:
    """Where there is no configuration yet, a first one is written."""
    ccr.ok("provider", "add", "x", "--url", "http://127.0.0.1:1/v1/messages", "--model", "m", "--default")
    assert "x,m" == json.loads(ccr.ok("model", "list", "--json"))["routes"]["default"]
    assert (ccr.folder / "config.toml").exists()


def test_provider_test(ccr: Any, file: Path, upstream: Upstream) -> None:
    """One request says whether the provider works, streams and calls tools, and how fast."""
    result = json.loads(ccr.ok("provider", "test", "up", "--json"))
    assert ("up", "m", True, 200, "called") == tuple(
        result[key] for key in ("provider", "model", "ok", "status", "tools")
    )
    assert {"input_tokens": 7, "output_tokens": 3} == result["usage"]
    assert 0 < result["first"] <= result["duration"] < 30
    assert (1, True, "m") == (len(upstream.asked), upstream.asked[0]["stream"], upstream.asked[0]["model"])
    assert "up,n works" in ccr.ok("provider", "test", "up", "--model", "n")


def test_provider_test_without_tools(ccr: Any, file: Path, upstream: Upstream) -> None:
    """A provider that refuses tools is tried without, and both facts are told."""
    upstream.tools = False
    result = json.loads(ccr.ok("provider", "test", "up", "--json"))
    assert (True, 2) == (result["ok"], len(upstream.asked))
    assert result["tools"].startswith("refused: ")
    assert "not with me" in result["tools"]


def test_provider_test_fails(ccr: Any, file: Path, upstream: Upstream) -> None:
    """A refusal, and a key that is not there, are told with exit code 1."""
    upstream.status = 401
    done = ccr.run("provider", "test", "up")
    assert 1 == done.returncode
    assert "not with me" in done.stdout
    assert 1 == len(upstream.asked)
    done = ccr.run("provider", "test", "up", env={"UP_KEY": ""})
    assert (1, 1) == (done.returncode, len(upstream.asked))
    assert "it has no key: $UP_KEY is not set" in done.stdout


def test_running_router_uses_it(ccr: Any, file: Path, upstream: Upstream) -> None:
    """A running router uses a change before the command ends, and keeps its process."""
    ccr.ok("start", "-d")
    pid = ccr.state["pid"]
    done = ccr.run("model", "set", "default", "up,n")
    assert f"the router at http://127.0.0.1:{ccr.state['port']} uses it already" in done.stderr
    body = {"model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(f"http://127.0.0.1:{ccr.state['port']}/v1/messages", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["x-ccr-route"].startswith("up,n;")
    assert (pid, "n") == (ccr.state["pid"], upstream.asked[-1]["model"])
    ccr.ok("stop")
