"""A stand-in for Google's login service on loopback; tests know no credentials but their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest


class Vendor:
    """A service whose answers are functions: path → what was sent (a form, JSON, or nothing) → status and object."""

    def __init__(self) -> None:
        self.on: dict[str, Callable[[dict[str, Any]], tuple[int, Any]]] = {}
        self.received: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve({})

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length", "0")))
                if "json" in self.headers.get("content-type", ""):
                    self._serve(json.loads(data))
                else:
                    self._serve({name: values[0] for name, values in parse_qs(data.decode()).items()})

            def _serve(self, given: dict[str, Any]) -> None:
                path = urlsplit(self.path).path
                vendor.received.append((path, {k.lower(): v for k, v in self.headers.items()}, given))
                missing = (404, {"error": {"message": f"nothing at {path}"}})
                status, body = vendor.on[path](given) if path in vendor.on else missing
                out = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def asked(self, path: str) -> list[dict[str, Any]]:
        """What was sent to ``path``, in order."""
        return [given for where, _, given in self.received if where == path]


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """A stand-in that knows no address until the test says so."""
    made = Vendor()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No credentials, project or machine of the person who runs the tests; gives the home folder."""
    for name in (
        "APPDATA",
        "CLOUDSDK_CONFIG",
        "CLOUD_RUN_JOB",
        "GAE_SERVICE",
        "GCE_METADATA_HOST",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_LOCATION",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_CLOUD_QUOTA_PROJECT",
        "GOOGLE_VERTEX_LOCATION",
        "GOOGLE_VERTEX_PROJECT",
        "K_SERVICE",
    ):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("CCR_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setattr("ccr_plugin_vertex.auth.PRODUCT", tmp_path / "none")
    return home
