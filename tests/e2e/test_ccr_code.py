"""Claude Code started by `ccr code`: the launcher finds the router, sets the environment, and passes arguments on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from install_clients import Client
from rig import CLIENT_LIMIT, QUIET, START_LIMIT, Rig, Run, ccr_program, healthy
from scripted import Fail, Say, Upstream

pytestmark = pytest.mark.e2e


def launch(rig: Rig, *arguments: str, **more: str) -> Run:
    """Run `ccr code` as a person would whose shell still has a key for another service."""
    env = {**rig.ccr_env(), **QUIET, "IS_SANDBOX": "1", "CLAUDE_PATH": str(rig.client.program)}
    env |= {"ANTHROPIC_API_KEY": "another-key", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/nowhere"}
    env |= {"CLAUDE_CODE_MAX_RETRIES": "0", **more}
    process = rig.start([ccr_program(), "code", *arguments], env)
    code = process.wait(CLIENT_LIMIT)
    return Run(exit_code=code, stdout=process.stdout, stderr=process.stderr)


def wait_for_the_end(rig: Rig) -> None:
    """Wait until the router that `ccr code` has started is gone."""
    until = time.monotonic() + START_LIMIT
    while healthy(rig.port) and time.monotonic() < until:
        time.sleep(0.2)
    assert not healthy(rig.port)


def test_code_passes_arguments_and_prompt(rig: Rig) -> None:
    """Every argument reaches the client as it was given, and its requests go through the router that runs."""
    prompt = "--not-a-flag, but 'quoted' $HOME \"text\""
    rig.play([Say(text="I am here.")])
    arguments = ["--append-system-prompt=Be brief, a,b", *rig.arguments("x", model="up,m2")[2:], "-p", "--", prompt]
    run = launch(rig, *arguments)
    assert run.answer == "I am here."
    [request] = rig.upstream.requests
    assert request.model == "m2"
    assert prompt in request.said_by("user")
    assert "Be brief, a,b" in request.text


def test_code_ends_with_the_exit_code_of_the_client(rig: Rig) -> None:
    """A failed run is a failed command."""
    rig.play(lambda _: Fail(status=400, message="no such thing"))
    run = launch(rig, *rig.arguments("Hello?"))
    assert "no such thing" in run.error


def test_code_starts_and_ends_its_own_router(client: Client, tmp_path: Path) -> None:
    """Without a running router `ccr code` starts one from the configuration; it ends with its last client."""
    with Upstream([Say(text="Started for you.")]) as upstream:
        rig = Rig(client, tmp_path, upstream, "chat")
        rig.write_config()
        try:
            assert launch(rig, *rig.arguments("Hello?")).answer == "Started for you."
            wait_for_the_end(rig)
        finally:
            rig.start([ccr_program(), "stop"], rig.ccr_env()).wait(START_LIMIT)
            rig.close()
        assert [request.model for request in upstream.requests] == ["m1"]
        assert upstream.problems == []


LOGIN = "sk-ant-oat01-clients-own"


def test_code_keeps_the_clients_own_login(client: Client, tmp_path: Path) -> None:
    """With `oauth_provider: anthropic` the login of the client reaches Anthropic, the router's key only the router."""
    with Upstream([Say(text="Signed in as myself.")]) as upstream:
        rig = Rig(client, tmp_path, upstream, "messages")
        entry = {"name": "claude", "auth_type": "oauth", "oauth_provider": "anthropic", "models": ["claude-sonnet-5"]}
        config = {
            "PORT": rig.port,
            "APIKEY": "key-of-the-router",
            "Providers": [{**entry, "options": {"first_party": True}}],
            "Router": {"default": "claude,claude-sonnet-5"},
            "oauth": {"anthropic": {"api_base": upstream.url, "allow_custom_host": True}},
        }
        (rig.ccr_home / "config.json").write_text(json.dumps(config))
        # What the client would ask elsewhere with its login goes nowhere.
        nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
        try:
            run = launch(rig, *rig.arguments("Hello?"), CLAUDE_CODE_OAUTH_TOKEN=LOGIN, **nowhere)
            assert run.answer == "Signed in as myself."
            wait_for_the_end(rig)
        finally:
            rig.start([ccr_program(), "stop"], rig.ccr_env()).wait(START_LIMIT)
            rig.close()
        assert upstream.problems == []
        [request] = upstream.requests
        assert request.model == "claude-sonnet-5"
        assert request.headers["authorization"] == f"Bearer {LOGIN}"
        assert "oauth-2025-04-20" in request.headers["anthropic-beta"]
        assert request.headers["user-agent"].startswith("claude-cli/")
        assert "key-of-the-router" not in repr(request.headers) + json.dumps(request.body)
        files = [path for path in rig.ccr_home.rglob("*") if path.is_file()]
        assert [] == [path for path in files if LOGIN.encode() in path.read_bytes()]
