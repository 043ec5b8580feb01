"""The first configuration: what is found, what is written, what is said."""

from __future__ import annotations

import http.server
import json
import threading
import tomllib
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from ccr_core import ProviderSpec
from ccr_core.cli.firstrun import discover, served, starter
from ccr_core.config import from_document

ALPHA = ProviderSpec(name="alpha", base_url="https://alpha.example", key_env="ALPHA_KEY", models=("a1", "a2"))
ALPHA_TOO = ProviderSpec(name="alpha-too", base_url="https://alpha.example/2", key_env="ALPHA_KEY", models=("x",))
EMPTY = ProviderSpec(name="empty", base_url="https://empty.example", key_env="EMPTY_KEY")
ECHO = ProviderSpec(name="echo", base_url="embedded:echo", models=("echo",), summary='The "echo" model.')


class Listing(http.server.BaseHTTPRequestHandler):
    """A model server that lists its models as its path says."""

    answers: ClassVar[dict[str, Any]] = {
        "/ollama": {
            "models": [
                {"name": "q:8b", "details": {"family": "qwen3"}},
                {"name": "nomic-embed-text:latest", "details": {"family": "nomic-bert"}},
                {"name": "mine", "details": {"family": "bert", "families": ["bert"]}},
            ]
        },
        "/openai": {"data": [{"id": "text-embedding-3"}, {"id": "BAAI/bge-m3"}, {"id": "g"}, {"id": "bge"}]},
        "/vectors": {"data": [{"id": "all-minilm"}]},
        "/empty": {"object": "list", "data": []},
        "/other": ["?"],
        "/words": {"data": "?", "models": 3},
        "/health": {"status": "ok"},
    }

    def do_GET(self) -> None:
        found = self.answers.get(self.path)
        body = b"<html>hello</html>" if self.path == "/page" else json.dumps(found).encode()
        found = found or self.path == "/page"
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def local() -> Iterator[str]:
    """The address of a local model server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ollama", ("q:8b",)),
        ("/openai", ("g", "bge")),
        ("/vectors", ()),
        ("/empty", ()),
        ("/other", None),
        ("/words", None),
        ("/health", None),
        ("/page", None),
        ("/missing", None),
    ],
)
def test_local_server(local: str, path: str, expected: tuple[str, ...] | None) -> None:
    """The models to talk with are read from either listing; what answers without a listing is no model server."""
    assert expected == served(local + path)


def test_no_local_server(taken: int) -> None:
    """Nothing there, or nothing that answers in time, is no server."""
    assert (None, None) == (served("http://127.0.0.1:1/"), served(f"http://127.0.0.1:{taken}/", timeout=0.1))


def test_what_is_found(local: str) -> None:
    """Keys in the environment come first, each used once, then servers that answer; echo is not needed then."""
    server = ProviderSpec(name="box", base_url="http://127.0.0.1:1/v1", probe=f"{local}/ollama")
    absent = ProviderSpec(name="absent", base_url="http://127.0.0.1:1/v1", probe=f"{local}/missing")
    found = discover([ECHO, server, absent, ALPHA, ALPHA_TOO, EMPTY], {"ALPHA_KEY": "s3cret", "EMPTY_KEY": ""})
    assert [("alpha", ("a1", "a2")), ("box", ("q:8b",))] == [(each.spec.name, each.models) for each in found]


def test_nothing_is_found() -> None:
    """Without a key, a server or a known model the echo model answers."""
    assert ["echo"] == [each.spec.name for each in discover([ECHO, ALPHA], {})]
    assert ["empty", "echo"] == [each.spec.name for each in discover([ECHO, EMPTY], {"EMPTY_KEY": "x"})]


def test_starter_is_a_configuration() -> None:
    """The file is TOML that our own reader takes without a remark; keys are references."""
    env = {"ALPHA_KEY": "s3cret", "EMPTY_KEY": "other"}
    text = starter(discover([ECHO, ALPHA, EMPTY], env))
    assert "s3cret" not in text
    data = tomllib.loads(text)
    assert "alpha,a1" == data["Router"]["default"]
    assert [
        {"name": "alpha", "api_key": "$ALPHA_KEY", "models": ["a1", "a2"]},
        {"name": "empty", "api_key": "$EMPTY_KEY", "models": []},
    ] == data["Providers"]
    config = from_document(data, env)
    assert ("s3cret", ()) == (config.providers[0].api_key, config.warnings)


def test_starter_without_anything() -> None:
    """With nothing to offer the file is still one that can be read."""
    assert {"PORT": 3456, "Router": {}} == tomllib.loads(starter([]))


def test_start_without_configuration(ccr: Any) -> None:
    """Start writes the file, private, says what it found and what is next on standard error, and serves echo."""
    done = ccr.run("start", "-d", "--port", "0")
    assert 0 == done.returncode, done.stderr
    path = ccr.folder / "config.toml"
    assert "0o600" == oct(path.stat().st_mode & 0o777)
    assert "echo,echo" == tomllib.loads(path.read_text())["Router"]["default"]
    for text in (f"a first one is written: {path}", "the built-in echo model answers", 'next: "ccr code"'):
        assert text in done.stderr
    assert done.stdout.startswith("ccr is running at ")


def test_key_in_the_environment(ccr: Any) -> None:
    """A key in the environment becomes a provider; the key is not in the file."""
    done = ccr.run("start", "-d", "--port", "0", env={"ANTHROPIC_API_KEY": "sk-ant-s3cret"})
    assert "anthropic: its key is in ANTHROPIC_API_KEY; " in done.stderr
    text = (ccr.folder / "config.toml").read_text()
    assert 'api_key = "$ANTHROPIC_API_KEY"' in text
    assert "s3cret" not in text + done.stderr + done.stdout


def test_nothing_is_overwritten(ccr: Any) -> None:
    """A configuration that is there, in whatever syntax or state, is neither touched nor joined by another."""
    for name, text in (("config.json", "{ broken"), ("config.toml", "broken =")):
        for old in ccr.folder.glob("config.*"):
            old.unlink()
        ccr.folder.mkdir(exist_ok=True)
        (ccr.folder / name).write_text(text)
        assert 1 == ccr.run("start", "-d").returncode
        assert [(name, text)] == [(path.name, path.read_text()) for path in ccr.folder.glob("config.*")]


def test_claude_json_is_left_alone(ccr: Any) -> None:
    """The client's own file in the home directory is not made."""
    ccr.ok("start", "-d", "--port", "0")
    assert [".claude-code-router"] == [path.name for path in ccr.folder.parent.iterdir()]
