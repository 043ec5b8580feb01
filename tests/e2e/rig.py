"""The place where one end-to-end test happens: a scripted provider, `ccr` in front of it, a Claude Code
client.

Rules: both programs are real processes. Each gets an empty environment (PATH, a private HOME, TERM, and what
the test sets) and a private folder, so nothing of the machine's own clients, keys or settings is seen or
touched. Every process has a time limit and is ended by its own process id, never by name. What a process
printed goes to files, so that a grandchild that keeps a pipe open cannot block the test.

`CCR_E2E_DIRECT=1` leaves `ccr` out: the client then speaks to the scripted provider itself, in Anthropic
format. A test that fails there too shows a change of the client, not a fault of the router.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from install_clients import Client
from scripted import Received, Script, Upstream

JSON = dict[str, Any]
Road = Literal["chat", "messages", "direct"]

CLIENT_LIMIT = 120.0
"""Seconds that one run of the client may take; an ordinary one takes three."""
START_LIMIT = 40.0
"""Seconds until `ccr start` must be healthy."""

QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}
"""What keeps the client from talking to anything but its base URL."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run of the client: what it printed, and its stream-json events."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[JSON]:
        return [json.loads(line) for line in self.stdout.splitlines() if line.startswith("{")]

    @property
    def result(self) -> JSON:
        """The last event, which tells how the run ended."""
        found = [event for event in self.events if event["type"] == "result"]
        assert found, f"the client gave no result; exit {self.exit_code}\n{self.stdout[-2000:]}\n{self.stderr[-2000:]}"
        return found[-1]

    @property
    def answer(self) -> str:
        """The final text; an error when the run failed, so that a test never takes an error for an answer."""
        assert not self.result["is_error"], f"the run failed: {self.result.get('result')}"
        assert self.exit_code == 0
        return str(self.result["result"])

    @property
    def error(self) -> str:
        """The words of the failure; an error when the run was fine."""
        assert self.result["is_error"], f"the run succeeded with {self.result.get('result')!r}"
        assert self.exit_code == 1
        return str(self.result["result"])

    @property
    def retries(self) -> list[JSON]:
        """The client's own notes about repeating a request."""
        return [event for event in self.events if event.get("subtype") == "api_retry"]

    @property
    def thinking(self) -> list[str]:
        """The thinking that the client took from the model, block by block."""
        return [block["thinking"] for block in self._blocks() if block["type"] == "thinking"]

    @property
    def text(self) -> str:
        """All text that the client took from the model, also of turns before the last."""
        return "\n".join(block["text"] for block in self._blocks() if block["type"] == "text")

    def _blocks(self) -> list[JSON]:
        turns = [event["message"] for event in self.events if event["type"] == "assistant"]
        return [block for turn in turns for block in turn["content"]]


class Process:
    """A child with its output in files; ended by its process id."""

    def __init__(self, argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        number = len(list(logs.iterdir())) // 2
        self._out = logs / f"{number:02d}.out"
        self._err = logs / f"{number:02d}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._child = subprocess.Popen(
                [str(part) for part in argv], env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def stdout(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._err.read_text(errors="replace")

    def wait(self, seconds: float) -> int:
        """The exit code; after `seconds` the child is killed and the test fails with the end of its output."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self._child.args!r:.300} was still running after {seconds:.0f} s\n"
                f"{self.stdout[-2000:]}\n{self.stderr[-2000:]}"
            ) from None

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()
        self._child.wait(10)

    def stop(self, seconds: float = 15) -> int:
        """End it in good order (SIGTERM), within `seconds`; returns the exit code."""
        if self.running:
            self._child.send_signal(signal.SIGTERM)
        return self.wait(seconds)


class Rig:
    """What one test works with: `upstream`, `project` (the client's working directory), and the two programs.

    The road says what lies between client and upstream: `chat` - ccr and an OpenAI-chat provider; `messages`
    - ccr and an Anthropic provider; `direct` - nothing.
    """

    def __init__(self, client: Client, folder: Path, upstream: Upstream, road: Road) -> None:
        self.client = client
        self.upstream = upstream
        self.road: Road = "direct" if os.environ.get("CCR_E2E_DIRECT") else road
        self.project = folder / "project"
        self.home = folder / "home"
        self.ccr_home = folder / "ccr"
        self.port = free_port()
        self._logs = folder / "logs"
        self._router: Process | None = None
        self._started: list[Process] = []
        for path in (self.project, self.home, self.ccr_home, folder / "tmp"):
            path.mkdir()
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TERM": "dumb",
            "TMPDIR": str(folder / "tmp"),
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def play(self, script: Script) -> None:
        """Give the upstream its script."""
        self.upstream.play(script)

    @property
    def routed(self) -> bool:
        """Whether the router lies between client and upstream."""
        return self.road != "direct"

    @property
    def base_url(self) -> str:
        """What the client is told to talk to."""
        return self.upstream.url if self.road == "direct" else f"http://127.0.0.1:{self.port}"

    def write_config(self) -> None:
        """The configuration of the router: one provider `up` with two models, everything to the first.

        Pings come after a second of silence, so that a slow answer in a test has some.
        """
        provider: JSON = {
            "name": "up",
            "api_base_url": f"{self.upstream.url}/v1/chat/completions",
            "api_key": "k",
            "models": ["m1", "m2"],
        }
        if self.road == "messages":
            provider["api_base_url"] = f"{self.upstream.url}/v1/messages"
            provider["transformer"] = {"use": ["anthropic"]}
        config = {
            "PORT": self.port,
            "Providers": [provider],
            "Router": {"default": "up,m1"},
            "limits": {"ping_s": 1},
        }
        (self.ccr_home / "config.json").write_text(json.dumps(config, indent=1))

    def ccr_env(self) -> dict[str, str]:
        return {**self._env, "CCR_HOME": str(self.ccr_home)}

    def start_router(self) -> None:
        """Start `ccr start` and wait until it is healthy; the test fails with its own words when it does not."""
        if self.road == "direct":
            return
        self.write_config()
        self._router = self.start([ccr_program(), "start", "--port", str(self.port)], self.ccr_env())
        until = time.monotonic() + START_LIMIT
        while not healthy(self.port):
            if not self._router.running or time.monotonic() > until:
                raise AssertionError(f"ccr start failed:\n{self._router.stdout}\n{self._router.stderr}")
            time.sleep(0.1)

    def start(self, argv: Sequence[str | Path], env: Mapping[str, str]) -> Process:
        """Start a program in the project folder; it is ended with the rig at the latest."""
        process = Process(argv, env=env, cwd=self.project, logs=self._logs)
        self._started.append(process)
        return process

    def arguments(self, prompt: str, *extra: str, model: str = "sonnet", mode: str = "bypassPermissions") -> list[str]:
        """The client's command line for a run without a terminal."""
        return [
            *("-p", prompt, "--output-format", "stream-json", "--verbose"),
            *("--permission-mode", mode, "--model", model, *extra),
        ]

    def claude_env(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            **self._env,
            **QUIET,
            "ANTHROPIC_BASE_URL": self.base_url,
            "ANTHROPIC_AUTH_TOKEN": "dummy",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "IS_SANDBOX": "1",  # lets bypassPermissions run as root, as in a container
            **(env or {}),
        }

    def start_claude(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> Process:
        """Start the client and return at once."""
        return self.start([self.client.program, *arguments], self.claude_env(env))

    def claude(
        self,
        prompt: str,
        *extra: str,
        model: str = "sonnet",
        mode: str = "bypassPermissions",
        env: Mapping[str, str] | None = None,
    ) -> Run:
        """Run the client to its end on one prompt."""
        return self.finish(self.start_claude(self.arguments(prompt, *extra, model=model, mode=mode), env))

    def finish(self, process: Process) -> Run:
        """Wait for a client that was started and read what it printed."""
        code = process.wait(CLIENT_LIMIT)
        return Run(exit_code=code, stdout=process.stdout, stderr=process.stderr)

    def wait_for_request(self) -> Received:
        """The next request to reach the upstream, with time for the first words of its answer to get through."""
        have, until = len(self.upstream.requests), time.monotonic() + START_LIMIT
        while len(self.upstream.requests) == have:
            assert time.monotonic() < until, "no request reached the upstream"
            time.sleep(0.05)
        time.sleep(0.5)
        return self.upstream.requests[have]

    def close(self) -> None:
        """End what still runs, the router last and in good order."""
        for process in self._started:
            if process is not self._router and process.running:
                process.kill()
        if self._router is not None:
            code = self._router.stop()
            said = self._router.stdout + self._router.stderr
            assert "Traceback" not in said, said
            assert code in (0, -signal.SIGTERM), f"ccr start ended with {code}\n{said}"


def ccr_program() -> Path:
    """The `ccr` of the environment that runs the tests."""
    return Path(sys.executable).parent / ("ccr.exe" if os.name == "nt" else "ccr")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def healthy(port: int) -> bool:
    """Whether a router answers on this port."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
