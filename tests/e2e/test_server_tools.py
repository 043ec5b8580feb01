"""Real Claude Code with a provider that can neither search the web nor see: the router's own tools stand in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from install_clients import Client
from rig import Rig
from scripted import Call, Received, Reply, Say, Upstream
from test_claude_code import png

pytestmark = pytest.mark.e2e


class Search:
    """A SearXNG with one page to find, on a loopback port; `queries` are those it got."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        search = self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                search.queries.append(query["q"][0])
                page = {"title": "The tower", "url": "https://tower.example/", "content": "It is 324 metres high."}
                body = json.dumps({"results": [page]}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class Tooled(Rig):
    """A rig whose router searches, and has a model that sees."""

    def __init__(self, client: Client, folder: Path, upstream: Upstream, search: Search) -> None:
        self.search = search
        super().__init__(client, folder, upstream, "chat")

    def write_config(self) -> None:
        """`up,m1` for everything, and `up,m2` for pictures."""
        super().write_config()
        path = self.ccr_home / "config.json"
        config = json.loads(path.read_text())
        config["Router"]["image"] = "up,m2"
        config["server_tools"] = {"web-search": {"backend": "searxng", "url": self.search.url}}
        path.write_text(json.dumps(config, indent=1))


@pytest.fixture
def rig(client: Client, tmp_path: Path) -> Iterator[Tooled]:
    """A router with both tools."""
    search = Search()
    try:
        with Upstream() as upstream:
            rig = Tooled(client, tmp_path, upstream, search)
            if not rig.routed:
                pytest.fail("these are the router's tools: leave CCR_E2E_DIRECT unset", pytrace=False)
            try:
                rig.start_router()
                yield rig
            finally:
                rig.close()
            assert upstream.problems == []
    finally:
        search.close()


def test_web_search(rig: Tooled) -> None:
    """WebSearch works with a model that has none: the client gets links and text from the router's search."""

    def script(request: Received) -> Reply:
        if "web_search" in request.tools:
            if not request.results:
                return Say(calls=[Call(name="web_search", arguments={"query": "tower height"})])
            return Say(text="324 metres, says https://tower.example/.")
        if not request.calls:
            return Say(calls=[Call(name="WebSearch", arguments={"query": "height of the tower"})])
        return Say(text="found")

    rig.play(script)
    assert rig.claude("Find out the height.").answer == "found"
    assert rig.search.queries == ["tower height"]
    *_, last = rig.upstream.requests
    told = next(iter(last.results.values()))
    assert "https://tower.example/" in told
    assert "324 metres, says" in told
    assert "The tower" in told


def test_old_picture(rig: Tooled) -> None:
    """A picture of an earlier turn is looked at by the model that sees, while the other one answers."""
    (rig.project / "red.png").write_bytes(png(24, 16))
    read = Call(name="Read", arguments={"file_path": str(rig.project / "red.png")})

    def script(request: Received) -> Reply:
        if request.model == "m2":
            return Say(text="It is red." if "The task" not in request.text else "The left half is dark red.")
        if not request.calls:
            return Say(calls=[read])
        if "Which red" not in request.text:
            raise AssertionError("a new picture goes to the model that sees")
        if any(name == "analyzeImage" for name, _ in request.calls.values()):
            return Say(text="Dark red.")
        return Say(calls=[Call(name="analyzeImage", arguments={"imageId": ["1"], "task": "Which red?"})])

    rig.play(script)
    assert rig.claude("What is in red.png?").answer == "It is red."
    assert rig.claude("Which red exactly?", "--continue").answer == "Dark red."
    assert [request.model for request in rig.upstream.requests] == ["m1", "m2", "m1", "m2", "m1"]
    assert [len(request.images) for request in rig.upstream.requests] == [0, 1, 0, 1, 0]
