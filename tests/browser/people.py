"""Who takes part in a test in a browser: a router in a fresh HOME, and people who look at its page.

Rules: the router is the real program with an empty environment (see `rig.py` of the end-to-end tests); a person is a
browser context of their own, with what went wrong on their pages written down.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from install_axe import SCRIPT
from rig import START_LIMIT, Process, ccr_program, free_port, healthy

JSON = dict[str, Any]
PICTURES = Path(__file__).parent / "pictures"
WAIT = 15_000
"""Milliseconds that something may take to appear."""


class Home:
    """A HOME of its own, and the router in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "home"
        self.ccr = self.folder / ".claude-code-router"
        self.ccr.mkdir(parents=True)
        self.port = free_port()
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TERM": "dumb",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        self._logs = folder / "logs"
        self._router: Process | None = None

    @property
    def url(self) -> str:
        """Where the router is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.ccr / "config.json"

    def write(self, config: JSON | str) -> None:
        """Make the configuration file."""
        self.config.write_text(config if isinstance(config, str) else json.dumps(config, indent=2))

    def data(self) -> JSON:
        """What is in the configuration file, which is plain JSON."""
        found: JSON = json.loads(self.config.read_text())
        return found

    def start(self, **environ: str) -> None:
        """Start the router and wait until it answers."""
        argv = [ccr_program(), "start", "--port", str(self.port)]
        self._router = Process(argv, env={**self.environ, **environ}, cwd=self.folder, logs=self._logs)
        until = time.monotonic() + START_LIMIT
        while not healthy(self.port):
            if not self._router.running or time.monotonic() > until:
                raise AssertionError(f"ccr start failed:\n{self._router.stdout}\n{self._router.stderr}")
            time.sleep(0.1)

    def run(self, *arguments: str) -> str:
        """Run a command of ccr to its end; what it printed."""
        process = Process([ccr_program(), *arguments], env=self.environ, cwd=self.folder, logs=self._logs)
        code = process.wait(60)
        assert code == 0, f"ccr {' '.join(arguments)} ended with {code}\n{process.stdout}\n{process.stderr}"
        return process.stdout

    def link(self) -> str:
        """A link of `ccr ui`, which works once."""
        return self.run("ui", "--no-browser").strip()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the management API as a program of the same user does."""
        token = (self.ccr / "management.token").read_text().strip()
        request = urllib.request.Request(
            f"{self.url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"authorization": f"Bearer {token}", "content-type": "application/json"},
            method=method,
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)

    def message(self, text: str = "Hello?", **fields: Any) -> Any:
        """Send a request for a model as a client does; the answer (the text of a stream)."""
        body = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": text}]}
        request = urllib.request.Request(
            f"{self.url}/v1/messages", json.dumps(body | fields).encode(), {"content-type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return answer.read().decode() if fields.get("stream") else json.load(answer)

    def close(self) -> None:
        """End the router."""
        if self._router is not None:
            self._router.stop()
            said = self._router.stdout + self._router.stderr
            assert "Traceback" not in said, said


class Person:
    """Somebody with a browser."""

    def __init__(
        self,
        browser: Any,
        home: Home,
        *,
        width: int = 1280,
        scheme: str = "light",
        language: str = "en-GB",
        signed_in: bool = True,
    ) -> None:
        self.home = home
        self.name = f"{scheme}-{width}"
        self.complaints: list[str] = []
        self.expected: list[str] = []
        # axe is put into the page past its policy, by the test only; violations are reported by the page itself.
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, locale=language, reduced_motion="reduce"
        )
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=home.url)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.page.on("console", lambda m: self._heard(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('CSP', e.violatedDirective, e.blockedURI))"
        )
        if signed_in:
            self.page.goto(home.link())
            self.page.wait_for_selector(".page h1")

    def _heard(self, text: str) -> None:
        self.complaints.append(f"console: {text}")

    def _asked(self, url: str) -> None:
        if not url.startswith((self.home.url, "data:", "blob:")):
            self.complaints.append(f"asked another server: {url}")

    def expects(self, *words: str) -> None:
        """Words of complaints that belong to the test, such as a status of an error that it provokes."""
        self.expected += words

    def go(self, place: str) -> Any:
        """Open a page by its address; the page itself, when it is drawn."""
        self.page.goto(f"{self.home.url}/ui/#/{place}")
        self.page.wait_for_function("() => document.querySelector('.page h1') && !document.querySelector('.loading')")
        return self.page

    def save(self) -> None:
        """Press Save and wait until it is done."""
        self.page.evaluate("document.getElementById('toasts').replaceChildren()")
        self.page.click("button:text-is('Save')")
        self.page.wait_for_selector(".toast:has-text('Saved')")

    def heading(self) -> str:
        """What the page is called."""
        return str(self.page.inner_text("h1"))

    def picture(self, name: str) -> None:
        """Keep a picture of the whole page."""
        PICTURES.mkdir(exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}-{self.name}.png", full_page=True)

    def faults(self) -> list[str]:
        """What axe calls serious or critical on the page as it is, one line each."""
        session = self.context.new_cdp_session(self.page)
        session.send("Runtime.evaluate", {"expression": SCRIPT.read_text("utf-8")})
        session.detach()
        found = self.page.evaluate(
            "() => axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => [v.impact, v.id, "
            "v.nodes.slice(0, 3).map(n => n.target.join(' ') + ' ' + (n.any[0]?.message ?? n.failureSummary))]))"
        )
        return [f"{rule}: {'; '.join(nodes)}" for impact, rule, nodes in found if impact in ("serious", "critical")]

    def too_wide(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("() => document.documentElement.scrollWidth - innerWidth"))

    def end(self) -> list[str]:
        """Close the browser; everything that went wrong in it."""
        self.context.close()
        return [each for each in self.complaints if not any(word in each for word in self.expected)]


def example(base_url: str, **more: Any) -> Mapping[str, Any]:
    """A configuration with two providers at a loopback address, most things set."""
    return {
        "Providers": [
            {
                "name": "up",
                "api_base_url": f"{base_url}/v1/chat/completions",
                "api_key": "sk-secret-of-the-test-0123456789",
                "models": ["m1", "m2"],
                "transformer": {"use": [["maxtoken", {"max_tokens": 4096}]], "m2": {"use": ["tooluse"]}},
            },
            {
                "name": "spare",
                "api_base_url": f"{base_url}/v1/chat/completions",
                "api_key": "$SPARE_KEY",
                "models": ["s"],
            },
        ],
        "Router": {
            "default": "up,m1",
            "background": "spare,s",
            "think": "up,m2,high",
            "longContextThreshold": 50000,
            "tests": [{"name": "plan mode thinks", "request": {"plan": True}, "expect": "up,m2,high"}],
        },
        "fallback": {"default": ["spare,s"]},
        **more,
    }
