"""The whole story, with the real program in a terminal and a stand-in for GitHub on this machine.

The stand-in is written after public clients of the service; its addresses are set in the configuration.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ccr_core.testing import sse
from ccr_core.testing.loopback import (
    Hit,
    Router,
    Terminal,
    Vendor,
    accounts,
    edit_account,
    run,
    secrets_in,
)

GITHUB_TOKEN = "ghu_verysecretgithubtoken"
DEVICE_CODE = "device-code-very-secret"

MODELS = {
    "data": [
        {
            "id": "claude-opus-4.6",
            "name": "Claude Opus 4.6",
            "supported_endpoints": ["/chat/completions", "/v1/messages"],
            "model_picker_enabled": True,
            "policy": {"state": "enabled"},
            "billing": {"multiplier": 3},
            "capabilities": {
                "type": "chat",
                "limits": {"max_prompt_tokens": 128000, "max_output_tokens": 16000},
                "supports": {"tool_calls": True, "reasoning_effort": ["low", "high"]},
            },
        },
        {"id": "gpt-5.3-codex", "supported_endpoints": ["/responses"], "capabilities": {"type": "chat"}},
        {"id": "gpt-4o", "capabilities": {"type": "chat"}},
        {"id": "text-embedding", "capabilities": {"type": "embeddings"}},
        {"id": "not-for-you", "policy": {"state": "disabled"}, "capabilities": {"type": "chat"}},
    ]
}

MESSAGE = sse(
    {
        "type": "message_start",
        "message": {
            "id": "m1",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4.6",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 0},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "from messages"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
)
CHAT = sse(
    {"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "from chat"}}]},
    {"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    "[DONE]",
)
STREAM = {"content-type": "text/event-stream"}


class GitHub(Vendor):
    """GitHub and the Copilot API."""

    def __init__(self) -> None:
        super().__init__()
        self.pending = 1
        self.issued = 0
        self.valid: set[str] = set()
        self.revoked = False
        self.seconds = 1500
        self.limited: Any = None
        self.routes |= {
            "POST /login/device/code": self.device,
            "POST /login/oauth/access_token": self.grant,
            "GET /user": self.user,
            "GET /copilot_internal/v2/token": self.exchange,
            "GET /copilot_internal/user": self.quota,
            "GET /api/models": lambda hit: MODELS if self.known(hit) else (401, {"error": "no"}),
            "POST /api/chat/completions": lambda hit: self.model(hit, CHAT),
            "POST /api/v1/messages": lambda hit: self.model(hit, MESSAGE),
        }

    def device(self, hit: Hit) -> Any:
        assert {"client_id": "client-1", "scope": "read:user"} == hit.form
        return {
            "device_code": DEVICE_CODE,
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{self.url}/login/device",
            "expires_in": 900,
            "interval": 0,
        }

    def grant(self, hit: Hit) -> Any:
        assert DEVICE_CODE == hit.form["device_code"]
        if self.pending:
            self.pending -= 1
            return {"error": "authorization_pending"}
        return {"access_token": GITHUB_TOKEN, "token_type": "bearer", "scope": "read:user"}

    def user(self, hit: Hit) -> Any:
        assert f"token {GITHUB_TOKEN}" == hit.headers["authorization"]
        return {"login": "octocat", "id": 1}

    def exchange(self, hit: Hit) -> Any:
        if self.revoked or hit.headers.get("authorization") != f"token {GITHUB_TOKEN}":
            return 401, {"message": "Bad credentials"}
        assert "vscode/1.104.3" == hit.headers["editor-version"]
        self.issued += 1
        token = f"tid=secret{self.issued};exp=1"
        self.valid.add(f"Bearer {token}")
        return {
            "token": token,
            "expires_at": int(time.time()) + self.seconds,
            "refresh_in": 1500,
            "sku": "pro",
            "endpoints": {"api": f"{self.url}/api"},
        }

    def quota(self, hit: Hit) -> Any:
        snapshot = {"percent_remaining": 25.0, "unlimited": False}
        chat = {"percent_remaining": 100.0, "unlimited": True}
        return {"quota_reset_date": "2026-12-01", "quota_snapshots": {"premium_interactions": snapshot, "chat": chat}}

    def known(self, hit: Hit) -> bool:
        return hit.headers.get("authorization") in self.valid

    def model(self, hit: Hit, stream: bytes) -> Any:
        if not self.known(hit):
            return 401, {"error": {"message": "token expired"}}
        if self.limited is not None:
            return self.limited
        headers = {**STREAM, "x-quota-snapshot-premium_interactions": "ent=300&rem=40.0&rst=2026-12-01T00:00:00Z"}
        return 200, headers, stream


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as vendor:
        yield vendor


def config(github: GitHub) -> dict[str, Any]:
    """The provider entry is that of older configurations, unchanged; only the addresses are the stand-in's."""
    return {
        "Providers": [
            {
                "name": "copilot",
                "api_base_url": "https://api.githubcopilot.com",
                "auth_type": "oauth",
                "oauth_provider": "copilot",
                "models": ["claude-opus-4-6", "gpt-4o"],
            }
        ],
        "Router": {"default": "copilot,claude-opus-4-6"},
        "retry": {"attempts": 0},
        "oauth": {
            "copilot": {
                "client_id": "client-1",
                "login_base": github.url,
                "github_api": github.url,
                "allow_custom_host": True,
            }
        },
    }


def sign_in(home: Path, github: GitHub) -> Terminal:
    import json

    (home / "config.json").write_text(json.dumps({"PORT": 0, **config(github)}))
    with Terminal(home, "auth", "login", "copilot") as terminal:
        terminal.until("WDJB-MJHT")
        terminal.until(r"signed in to copilot as octocat \(account \w{8}\)")
        assert 0 == terminal.wait()
    return terminal


def ask(model: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "hi"}]
    return {
        "model": model,
        "max_tokens": 64000,
        "stream": True,
        "messages": [{"role": "user", "content": content}],
        **fields,
    }


def test_the_whole_story(tmp_path: Path, github: GitHub) -> None:
    """Sign in with a code, see the account, be answered on the right endpoint, renew, be refused, sign out."""
    terminal = sign_in(tmp_path, github)

    assert 0o600 == (tmp_path / "auth.json").stat().st_mode & 0o777
    assert "active" in run(tmp_path, "auth", "status").stdout
    listed = run(tmp_path, "auth", "models", "copilot").stdout
    assert "claude-opus-4.6" in listed
    assert "text-embedding" not in listed
    assert "not-for-you" not in listed
    assert "premium interactions 75% used" in run(tmp_path, "auth", "status", "copilot", "--usage").stdout

    with Router(tmp_path) as router:
        status, headers, body = router.post(ask("copilot,claude-opus-4-6"))
        assert (200, True) == (status, b"from messages" in body), body
        (hit,) = github.at("/api/v1/messages")
        sent = hit.json
        assert ("claude-opus-4.6", 16000) == (sent["model"], sent["max_tokens"])
        expected = {
            "copilot-integration-id": "vscode-chat",
            "editor-version": "vscode/1.104.3",
            "openai-intent": "messages-proxy",
            "x-interaction-type": "messages-proxy",
            "x-github-api-version": "2026-06-01",
            "anthropic-version": "2023-06-01",
            "x-initiator": "user",
        }
        assert expected == {name: hit.headers.get(name) for name in expected}
        assert "x-api-key" not in hit.headers
        assert hit.headers["x-request-id"]

        # A model without that endpoint is asked by chat completions.
        status, _, body = router.post(ask("copilot,gpt-4o"))
        assert (200, True) == (status, b"from chat" in body), body
        (hit,) = github.at("/api/chat/completions")
        assert "max_tokens" not in hit.json
        assert "conversation-panel" == hit.headers["openai-intent"]

        # The vendor forgets the token early: it is renewed once and the request sent again.
        github.valid.clear()
        issued = github.issued
        status, _, _ = router.post(ask("copilot,gpt-4o"))
        assert (200, issued + 1) == (status, github.issued)

        # It ends: it is renewed before the next request.
        edit_account(tmp_path, "copilot", access_expires_at=int(time.time()) + 60)
        time.sleep(1.1)
        status, _, _ = router.post(ask("copilot,gpt-4o"))
        assert (200, issued + 2) == (status, github.issued)

        # The plan is used up: 429, and the account rests.
        github.limited = (429, {"error": {"code": "quota_exceeded", "message": "you have no premium requests left"}})
        status, headers, body = router.post(ask("copilot,gpt-4o"))
        assert (429, "3600") == (status, headers["retry-after"])
        assert b"no premium requests left" in body
        wait(lambda: "cooling down until" in run(tmp_path, "auth", "status").stdout)
        assert "premium interactions 60% used" in run(tmp_path, "auth", "status").stdout

        # The user takes the permission back at GitHub.
        github.limited, github.revoked = None, True
        github.valid.clear()
        status, _, body = router.post(ask("copilot,gpt-4o"))
        assert 401 == status
        (account,) = accounts(tmp_path, "copilot")
        assert f"Run: ccr auth login copilot --account {account}".encode() in body
        exchanges = len(github.at("/copilot_internal/v2/token"))
        status, _, _ = router.post(ask("copilot,gpt-4o"))
        assert (401, exchanges) == (status, len(github.at("/copilot_internal/v2/token")))
    stood = run(tmp_path, "auth", "status", "copilot")
    assert (1, True) == (stood.returncode, "needs login" in stood.stdout)

    gone = run(tmp_path, "auth", "logout", "copilot")
    assert "signed out of copilot" in gone.stdout
    assert "settings/applications" in gone.stderr
    assert {} == accounts(tmp_path, "copilot")
    assert "nobody is signed in" in run(tmp_path, "auth", "status").stdout

    texts = [terminal.output, router.log, body.decode(), listed, stood.stdout]
    assert [] == secrets_in(tmp_path, texts, GITHUB_TOKEN, DEVICE_CODE, "tid=secret")


def test_again_is_the_same_account(tmp_path: Path, github: GitHub) -> None:
    """Whoever signs in again has one account, not two."""
    sign_in(tmp_path, github)
    first = set(accounts(tmp_path, "copilot"))
    sign_in(tmp_path, github)

    assert first == set(accounts(tmp_path, "copilot"))


def test_no_seat(tmp_path: Path, github: GitHub) -> None:
    """A GitHub account without Copilot is told so, with the vendor's link, and nothing is kept."""
    details = {"message": "No access to Copilot", "notification_url": "https://github.com/settings/copilot"}
    github.routes["GET /copilot_internal/v2/token"] = lambda hit: (403, {"error_details": details})
    import json

    (tmp_path / "config.json").write_text(json.dumps(config(github)))
    with Terminal(tmp_path, "auth", "login", "copilot") as terminal:
        terminal.until("No access to Copilot https://github.com/settings/copilot")
        assert 1 == terminal.wait()

    assert not (tmp_path / "auth.json").exists()
    assert GITHUB_TOKEN not in terminal.output


def test_nobody_signed_in(tmp_path: Path, github: GitHub) -> None:
    """A request says which command is missing."""
    with Router(tmp_path, config(github)) as router:
        status, _, body = router.post(ask("copilot,gpt-4o"))

    assert 401 == status
    assert b"Run: ccr auth login copilot" in body


def wait(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
