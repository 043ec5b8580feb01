"""The workflow of docs/ci.md as a script, and the pieces of docs/container.md that can be tried without a container."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from doc_blocks import ROOT, blocks

from ccr_core.config import from_document
from ccr_core.server import bind_address

CI = ROOT / "docs" / "ci.md"
CONTAINER = ROOT / "docs" / "container.md"
CLIENT = """
import urllib.request
assert "--settings" == args[0] and args[2] == "-p", args
body = {"model": "claude-x", "max_tokens": 50,
        "messages": [{"role": "user", "content": args[3] + sys.stdin.read()}]}
request = urllib.request.Request(env["ANTHROPIC_BASE_URL"] + "/v1/messages", json.dumps(body).encode(),
                                 {"content-type": "application/json"})
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(json.load(opener.open(request, timeout=30))["content"][0]["text"], env["CI"], env["TERM"])
"""


class Provider(http.server.BaseHTTPRequestHandler):
    """A provider that says what it was asked, and by which key."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = f"{self.headers['authorization']}: {asked['messages'][-1]['content']}"
        answer = {
            "id": "1",
            "model": asked["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""


@pytest.fixture
def provider() -> Iterator[str]:
    """Its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def steps(text: str) -> dict[str, str]:
    """The scripts of a workflow, by the name of their step."""
    found = {}
    for name, script in re.findall(
        r"(?m)^      - name: (.+)\n(?:        if: .+\n)?        run: \|\n((?:          .*\n|\n)+)", text
    ):
        found[name] = re.sub(r"(?m)^ {10}", "", script)
    return found


def workflow() -> dict[str, str]:
    return steps(next(block.text for block in blocks(CI) if block.about == "workflow"))


def test_workflow_has_its_steps() -> None:
    """Every script of the workflow is found, so that none is left untried."""
    text = next(block.text for block in blocks(CI) if block.about == "workflow")
    assert text.count("run: |") == len(workflow()) == 5
    assert "\t" not in text


def test_workflow(ccr: Any, provider: str) -> None:
    """The scripts of the workflow, but for the installation, run one after the other and give the model's answer."""
    ccr.client(CLIENT)
    claude = (ccr.bin / "claude").read_text().split("\n", 1)
    version = "import sys\nif '--version' in sys.argv:\n    print('2.1.0')\n    sys.exit()\n"
    (ccr.bin / "claude").write_text(f"{claude[0]}\n{version}{claude[1]}")
    for name, text in (
        ("ccr", f'exec {sys.executable} -m ccr_core.cli "$@"'),
        ("git", "echo 'commit 1: so'"),
    ):
        (ccr.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (ccr.bin / name).chmod(0o755)
    env = {**ccr.env, "CI": "true", "DEEPSEEK_API_KEY": "sk-ci", "SERVICE_PORT": "0"}
    said = ""
    for name, script in workflow().items():
        if name.startswith("Install"):
            continue
        script = script.replace("https://api.deepseek.com", provider)
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=ccr.root,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert 0 == done.returncode, f"{name}\n{done.stdout}{done.stderr}"
        said += done.stdout
    assert "Bearer sk-ci: Review this commit.commit 1: so\n true dumb" in said
    assert "deepseek,deepseek-flash" in said
    assert {} == ccr.state
    assert [] == [path for path in ccr.folder.rglob("*") if path.is_file() and b"sk-ci" in path.read_bytes()]


def dockerfile() -> str:
    return next(block.text for block in blocks(CONTAINER) if block.about == "container")


def test_container_runs_as_a_user() -> None:
    """The last user is not root, is made before it is used, and owns the folder."""
    lines = [line for line in dockerfile().splitlines() if line and not line.startswith("#")]
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert ["ccr"] == users
    made = next(line for line in lines if "useradd" in line)
    assert "chown ccr:ccr /data" in made
    assert lines.index("USER ccr") < next(index for index, line in enumerate(lines) if line.startswith("CMD "))
    assert lines.index(made) < lines.index("USER ccr")


def test_container_commands(ccr: Any) -> None:
    """The health check fails without a router and succeeds with the one that the container starts."""
    text = dockerfile()
    check = json.loads(re.search(r"HEALTHCHECK .* CMD (\[.*\])", text)[1])  # type: ignore[index]
    start = json.loads(re.search(r"(?m)^CMD (\[.*\])", text)[1])  # type: ignore[index]
    assert ("ccr", "ccr") == (check.pop(0), start.pop(0))
    ccr.write_config({"Providers": [{"name": "echo", "models": ["echo"]}]})
    env = {"CCR_HOME": str(ccr.folder)}
    assert 1 == ccr.run(*check, env=env).returncode
    child = ccr.begin(*start, env=env)
    assert child.stdout is not None
    assert "is running at" in child.stdout.readline()
    assert 0 == ccr.run(*check, env=env).returncode
    child.terminate()
    assert 0 == child.wait(30)


def test_container_configuration() -> None:
    """With its key the configuration listens on all addresses; without one, on this machine's own only."""
    text = next(block.text for block in blocks(CONTAINER) if block.about == "container-config")
    document = json.loads(text)
    assert "0.0.0.0" == bind_address(from_document(document, {"CCR_APIKEY": "k", "DEEPSEEK_API_KEY": "d"}))
    del document["APIKEY"]
    assert "127.0.0.1" == bind_address(from_document(document, {}))
