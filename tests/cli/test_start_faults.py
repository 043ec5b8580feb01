"""What may keep the router from starting: one message with cause and next step, an exit code, files as they were.

Each fault is met by `ccr start`, by `ccr start -d`, whose child meets it, and by `ccr code`, which starts a router.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

ECHO = {"Providers": [{"name": "echo", "models": ["echo"]}], "Router": {"default": "echo,echo"}}
COMMANDS = {"start": ("start",), "start -d": ("start", "-d"), "code": ("code", "-p", "hi")}
OURS = re.compile(r"logs/ccr-\d+(_\d+)?\.log|(start|users)\.lock|/management\.token$")
"""Files that a start makes and that are not the user's."""


@attrs.frozen
class Fault:
    """Something wrong: what is said of the cause, what of the next step, and how it comes about (gives variables)."""

    cause: str
    step: str
    make: Callable[[Any, Any], Mapping[str, str] | None]
    commands: tuple[str, ...] = tuple(COMMANDS)
    code: int = 1
    limit: bool = False


class Health(http.server.BaseHTTPRequestHandler):
    """What an older router answers."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "ok", "timestamp": "2025-01-01T00:00:00Z"}')

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""


@pytest.fixture
def old_router() -> Iterator[int]:
    """The port of a router of another kind."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def config(ccr: Any, **more: Any) -> None:
    ccr.write_config({**ECHO, **more})


def port_of(name: str) -> Callable[[Any, Any], None]:
    return lambda ccr, request: config(ccr, PORT=request.getfixturevalue(name))


def text(content: str) -> Callable[[Any, Any], None]:
    def make(ccr: Any, request: Any) -> None:
        ccr.folder.mkdir(parents=True)
        (ccr.folder / "config.json").write_text(content)

    return make


def plugin(ccr: Any, request: Any) -> Mapping[str, str]:
    """An installed plugin that cannot be imported, and that the configuration needs."""
    info = ccr.root / "site" / "third_broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ccr]\nbroken = third_broken\n")
    (ccr.root / "site" / "third_broken.py").write_text("raise RuntimeError('no luck')\n")
    config(ccr, transformer={"use": ["broken"]})
    return {"PYTHONPATH": str(ccr.root / "site")}


def unusable(ccr: Any, request: Any) -> Mapping[str, str]:
    """A file where the folder should be."""
    (ccr.root / "file").write_text("mine")
    return {"CCR_HOME": str(ccr.root / "file" / "ccr")}


def no_rights(*parts: str) -> Callable[[Any, Any], None]:
    """Something in HOME, or HOME itself, that the user has no right to look at."""

    def make(ccr: Any, request: Any) -> None:
        config(ccr)
        (ccr.root / "home").joinpath(*parts).chmod(0)

    return make


def not_a_file(ccr: Any, request: Any) -> None:
    """A folder where the configuration should be."""
    (ccr.folder / "config.json").mkdir(parents=True)


def locked(ccr: Any, request: Any) -> None:
    """A folder where the state file should be written."""
    config(ccr)
    (ccr.folder / "run.json").mkdir()


def no_client(ccr: Any, request: Any) -> None:
    config(ccr, CLAUDE_PATH="no-such-claude")


FAULTS = {
    "port of another program": Fault(
        r"port \d+ is taken by another program \(pid \d+: ", "choose another port with --port", port_of("taken")
    ),
    "port of an older router": Fault(
        r"port \d+ is taken by another router \(pid \d+: ", "choose another port with --port", port_of("old_router")
    ),
    "syntax of the configuration": Fault(r"config\.json, line 1, column \d+: ", r"config\.json", text('{"PORT": 1,,}')),
    "problems of the configuration": Fault(
        r'Router\.default +no provider for "gone,x"',
        "known: echo",
        lambda ccr, _: config(ccr, Router={"default": "gone,x"}),
    ),
    "option of the wrong type": Fault(
        r'PORT +expected an integer, got "many"', r"\(line 1, column \d+\)", text('{"PORT": "many"}')
    ),
    "plugin that is needed": Fault(
        'no transformer "broken"', "plugin third-broken 1.0 failed: RuntimeError: no luck", plugin
    ),
    "folder without rights": Fault(
        r"cannot use the folder .*: .*(not readable|Permission denied)", "CCR_HOME", no_rights(".claude-code-router")
    ),
    "home without rights": Fault(r"cannot use the folder .*: Permission denied", "CCR_HOME", no_rights()),
    "configuration without rights": Fault(
        r"cannot read .*config\.json: Permission denied", r"chmod u\+r", no_rights(".claude-code-router", "config.json")
    ),
    "configuration that is no file": Fault(r"cannot read .*config\.json: Is a directory", "config.json", not_a_file),
    "folder": Fault("cannot use the folder", "CCR_HOME names another", unusable),
    "state file": Fault(r"cannot write .*run\.json", "run.json", locked),
    "port in the environment": Fault(
        'SERVICE_PORT is "x", which is no port number',
        "unset it",
        lambda ccr, _: config(ccr) or {"SERVICE_PORT": "x"},
    ),
    "full disk": Fault(r"cannot (write|use|create|keep) ", r"\S", lambda ccr, _: config(ccr), limit=True),
    "client": Fault('"no-such-claude"', "npm install", no_client, commands=("code",), code=127),
}


def files(folder: Path) -> dict[str, str]:
    """The user's files with their contents, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not OURS.search(name):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run(ccr: Any, words: tuple[str, ...], env: Mapping[str, str], limit: bool) -> subprocess.CompletedProcess[str]:
    """Run `ccr`; with `limit` no file can grow, which is what programs see of a full disk."""
    command = [sys.executable, "-m", "ccr_core.cli", *words]
    if limit:
        command = ["bash", "-c", f"ulimit -f 0; exec {shlex.join(command)}"]
    if os.geteuid() == 0:
        # Otherwise the rights of files mean nothing to it.
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(
        command, env={**ccr.env, **env}, cwd=ccr.root, capture_output=True, text=True, timeout=60, check=False, input=""
    )


CASES = [(name, command) for name, fault in FAULTS.items() for command in fault.commands]


@pytest.mark.parametrize(("name", "command"), CASES, ids=[f"{name}: {command}" for name, command in CASES])
def test_fault(ccr: Any, request: pytest.FixtureRequest, name: str, command: str) -> None:
    """One message names the cause and the next step, nothing is changed, and no router stays behind."""
    fault = FAULTS[name]
    ccr.client("print('the client ran')")
    env = fault.make(ccr, request) or {}
    before = files(ccr.root / "home")
    done = run(ccr, COMMANDS[command], env, fault.limit)
    for path in (ccr.root / "home", ccr.folder, ccr.folder / "config.json"):
        if path.exists():
            path.chmod(0o700)

    assert fault.code == done.returncode, done.stdout + done.stderr
    assert re.search(fault.cause, done.stderr), done.stderr
    assert re.search(fault.step, done.stderr), done.stderr
    assert 1 == len(re.findall(r"(?m)^error: ", done.stderr)), done.stderr
    assert "Traceback" not in done.stderr
    assert "the client ran" not in done.stdout
    assert before == files(ccr.root / "home")
    if name != "state file":
        assert {} == ccr.state


def test_the_configuration_that_was_broken_works_once_mended(ccr: Any) -> None:
    """After a fault nothing is in the way of the next start."""
    text('{"PORT": 0,,}')(ccr, None)
    assert 1 == ccr.run("start", "-d").returncode
    config(ccr)
    ccr.ok("start", "-d")
    assert "running" == json.loads(ccr.ok("status", "--json"))["state"]
