"""Whole programs on this machine: a vendor to sign in to, ``ccr`` in a terminal, and a running router.

For stories that must be true of the real thing: a login typed by a user, a token renewed by a router, a process that
is killed.  Everything listens on loopback, on ports that the system gives, and ends with its ``with`` block.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs

LIMIT = 60.0
"""Seconds that any one step may take."""


@attrs.define
class Hit:
    """A request that a vendor got."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = attrs.field(repr=False)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}


Answer = Any
"""An object (JSON, status 200), a pair of status and object, or status, headers and bytes."""


class Vendor:
    """A web server that answers as the test says; ``routes`` is ``"POST /path"`` → function of a :class:`Hit`.

    ``hits`` are all requests, in order.  Functions run one at a time.
    """

    def __init__(self, routes: Mapping[str, Callable[[Hit], Answer]] | None = None) -> None:
        self.routes: dict[str, Callable[[Hit], Answer]] = dict(routes or {})
        self.hits: list[Hit] = []
        self._lock = threading.Lock()
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                hit = Hit(self.command, parts.path, query, headers, body)
                status, more, data = vendor.answer(hit)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in {"content-length": str(len(data)), **more}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)

            do_GET = do_POST = do_DELETE = do_PUT = _serve

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Vendor:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(LIMIT)

    def answer(self, hit: Hit) -> tuple[int, dict[str, str], bytes]:
        """What ``hit`` is answered with."""
        with self._lock:
            self.hits.append(hit)
            route = self.routes.get(f"{hit.method} {hit.path}")
            made = route(hit) if route is not None else (404, {"error": f"no route {hit.method} {hit.path}"})
        if isinstance(made, tuple) and len(made) == 3:
            return made
        status, body = made if isinstance(made, tuple) else (200, made)
        return status, {"content-type": "application/json"}, json.dumps(body).encode()

    def at(self, path: str) -> list[Hit]:
        """The requests to one path."""
        return [hit for hit in self.hits if hit.path == path]


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a ``ccr`` that knows nothing of this machine's user."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CCR_HOME": str(home),
        "NO_BROWSER": "1",
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        **more,
    }


class Terminal:
    """``ccr`` with ``args``, run by a user at a terminal; ``output`` is what was shown so far."""

    def __init__(self, home: Path, *args: str, **env: str) -> None:
        import pty

        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ccr_core.cli", *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(home, **env),
            cwd=home,
            start_new_session=True,
        )
        os.close(slave)
        self.output = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT)
        os.close(self._master)

    def until(self, pattern: str, seconds: float = LIMIT) -> re.Match[str]:
        """Wait until the output has ``pattern``."""
        end = time.monotonic() + seconds
        while (found := re.search(pattern, self.output)) is None:
            assert time.monotonic() < end, f"no {pattern!r} in:\n{self.output}"
            if not self._read(0.1) and self.process.poll() is not None and not self._read(0.2):
                raise AssertionError(f"ended without {pattern!r}:\n{self.output}")
        return found

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, text.encode() + b"\n")

    def wait(self) -> int:
        """Wait for the end; gives the exit code."""
        end = time.monotonic() + LIMIT
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end:\n{self.output}"
            self._read(0.05)
        while self._read(0.1):
            pass
        return self.process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.output += data.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(data)


def run(home: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``ccr`` with ``args`` to its end, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "ccr_core.cli", *args],
        env=environment(home, **env),
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


class Router:
    """A running router; ``log`` is what it wrote once it has ended."""

    def __init__(self, home: Path, config: Mapping[str, Any] | None = None, name: str = "config.json") -> None:
        path = home / name
        if config is not None:
            path.write_text(json.dumps({"PORT": 0, **config}))
        self._out = (home / f"{name}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ccr_core.cli", "start", "--config", str(path), "--log-level", "debug"],
            env=environment(home, CCR_HOME=str(home / f"{name}.home"), CCR_AUTH_FILE=str(home / "auth.json")),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
        )
        self._state = home / f"{name}.home" / "run.json"
        self.log = ""
        self.url = ""

    def __enter__(self) -> Router:
        end = time.monotonic() + LIMIT
        while not self.url:
            assert self.process.poll() is None, self._written()
            assert time.monotonic() < end, self._written()
            with contextlib.suppress(OSError, ValueError):
                state = json.loads(self._state.read_text())
                self.url = f"http://127.0.0.1:{state['port']}"
            time.sleep(0.05)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(LIMIT)
        self.log = self._written()
        self._out.close()

    def _written(self) -> str:
        self._out.flush()
        self._out.seek(0)
        return self._out.read()

    def post(self, body: Mapping[str, Any], **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send one request to ``/v1/messages``; gives status, headers and body."""
        parts = urlsplit(self.url)
        with contextlib.closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=LIMIT)) as client:
            more = {
                "content-type": "application/json",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
            client.request("POST", "/v1/messages", json.dumps(body), more)
            answer = client.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def accounts(home: Path, provider: str) -> dict[str, Any]:
    """The accounts of a provider in ``auth.json``, by id."""
    providers = json.loads((home / "auth.json").read_text())["providers"]
    found: dict[str, Any] = providers.get(provider, {}).get("accounts", {})
    return found


def edit_account(home: Path, provider: str, **changes: Any) -> None:
    """Change members of the only account of a provider."""
    path = home / "auth.json"
    document = json.loads(path.read_text())
    (record,) = document["providers"][provider]["accounts"].values()
    record |= changes
    path.write_text(json.dumps(document))


def arguments(process: subprocess.Popen[Any]) -> str:
    """What everybody on this machine can see of a process: its arguments (Linux; elsewhere nothing)."""
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def fetch(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Fetch ``url`` as a browser would that follows no redirects."""
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=LIMIT)) as client:
        client.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
        answer = client.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def secrets_in(home: Path, texts: Iterator[str] | list[str], *secrets: str) -> list[str]:
    """Which of ``secrets`` stand in ``texts`` or in any file below ``home`` but the store; empty is good."""
    found = []
    everything = [*texts]
    for path in home.rglob("*"):
        if path.is_file() and not path.name.startswith("auth.json"):
            everything.append(path.read_bytes().decode("utf-8", "replace"))
    for secret in secrets:
        found += [secret for text in everything if secret in text]
    return found
