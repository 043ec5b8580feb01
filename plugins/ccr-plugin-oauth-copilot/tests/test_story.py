"""The whole story, with the real program in a terminal and a stand-in for GitHub on this machine.

The stand-in is written after public clients of the service; its addresses are set in the configuration.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ccr_core import JSON
from ccr_core.testing import sse, streamed
from ccr_core.testing.loopback import Hit, Router, Terminal, accounts
from ccr_core.testing.signins import SAID, STREAM, LoginService, Story, check_accounts, check_story

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

CHAT = sse(
    {"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "from chat"}}]},
    {"id": "c1", "model": "gpt-4o", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    "[DONE]",
)


class GitHub(LoginService):
    """GitHub and the Copilot API.  GitHub's token is exchanged for one that the API takes."""

    provider: ClassVar[str] = "copilot"
    model: ClassVar[str] = "claude-opus-4-6"
    listed_as: ClassVar[str] = "claude-opus-4.6"
    rotates: ClassVar[bool] = False
    token_path: ClassVar[str] = "/copilot_internal/v2/token"

    def __init__(self) -> None:
        super().__init__()
        self.pending = 1
        self.seconds = 1500
        self.routes |= {
            "POST /login/device/code": self.device,
            "POST /login/oauth/access_token": self.grant,
            "GET /user": self.user,
            f"GET {self.token_path}": self.exchange,
            "GET /copilot_internal/user": self.quota,
            "GET /api/models": self.known(lambda hit: MODELS),
            "POST /api/chat/completions": self.known(lambda hit: (200, STREAM, CHAT)),
            "POST /api/v1/messages": self.models,
        }

    def options(self) -> JSON:
        """Every address is the stand-in's; where the API is it says itself."""
        return {"client_id": "client-1", "login_base": self.url, "github_api": self.url}

    def entry(self) -> JSON:
        """As in older configurations."""
        return {"api_base_url": "https://api.githubcopilot.com", "models": [self.model, "gpt-4o"]}

    def device(self, hit: Hit) -> Any:
        """A code for the user, and one for the program."""
        assert {"client_id": "client-1", "scope": "read:user"} == hit.form
        self.secrets.add("device-code-very-secret")
        return {
            "device_code": "device-code-very-secret",
            "user_code": "WDJB-MJHT",
            "verification_uri": f"{self.url}/login/device",
            "expires_in": 900,
            "interval": 0,
        }

    def sign_in(self, terminal: Terminal) -> None:
        """The user types the code elsewhere."""
        terminal.until("WDJB-MJHT")

    def grant(self, hit: Hit) -> Any:
        """The program asks whether the user has typed it; refusals are no errors."""
        assert "device-code-very-secret" == hit.form["device_code"]
        if self.pending:
            self.pending -= 1
            return {"error": "authorization_pending"}
        token = f"ghu_{len(self.refresh)}-very-secret"
        self.refresh[token] = self.person
        self.secrets.add(token)
        return {"access_token": token, "token_type": "bearer", "scope": "read:user"}

    def user(self, hit: Hit) -> Any:
        """Whose token it is."""
        return {"login": self.refresh[hit.headers["authorization"].removeprefix("token ")], "id": 1}

    def exchange(self, hit: Hit) -> Any:
        """A token of the API, for an editor that is new enough."""
        person = self.refresh.get(hit.headers.get("authorization", "").removeprefix("token "))
        if person is None:
            return 401, {"message": "Bad credentials"}
        assert "vscode/1.104.3" == hit.headers["editor-version"]
        self.renewed += 1
        token = f"tid=very-secret{self.renewed};exp=1"
        self.access[token] = person
        self.secrets.add(token)
        return {
            "token": token,
            "expires_at": int(time.time() + self.seconds),
            "refresh_in": 1500,
            "sku": "pro",
            "endpoints": {"api": f"{self.url}/api"},
        }

    def quota(self, hit: Hit) -> Any:
        """What is left of the plan."""
        snapshot = {"percent_remaining": 25.0, "unlimited": False}
        chat = {"percent_remaining": 100.0, "unlimited": True}
        return {"quota_reset_date": "2026-12-01", "quota_snapshots": {"premium_interactions": snapshot, "chat": chat}}

    def answered(self, hit: Hit) -> bytes:
        """The Messages API."""
        return streamed(SAID)

    def told(self) -> dict[str, str]:
        """What is left of the plan stands in every answer."""
        return {"x-quota-snapshot-premium_interactions": "ent=300&rem=40.0&rst=2026-12-01T00:00:00Z"}

    def limited(self, seconds: float) -> Any:
        """The plan is used up; when it is restored only the quota says."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        spent = {"x-quota-snapshot-premium_interactions": f"ent=300&rem=0.0&rst={at}"}
        body = b'{"error":{"code":"quota_exceeded","message":"you have no premium requests left"}}'
        return 429, {"content-type": "application/json", **spent}, body


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as vendor:
        yield vendor


def test_the_whole_story(tmp_path: Path, github: GitHub) -> None:
    """From the sign-in with a code to the end; requests go out on the endpoint of the model, as an editor's."""
    story = check_story(tmp_path, github)
    sent = github.sent[0]

    assert "/api/v1/messages" == sent.path
    assert ("claude-opus-4.6", 16000) == (sent.json["model"], sent.json["max_tokens"])
    expected = {
        "copilot-integration-id": "vscode-chat",
        "editor-version": "vscode/1.104.3",
        "openai-intent": "messages-proxy",
        "x-interaction-type": "messages-proxy",
        "x-github-api-version": "2026-06-01",
        "anthropic-version": "2023-06-01",
        "x-initiator": "user",
    }
    assert expected == {name: sent.headers.get(name) for name in expected}
    assert "x-api-key" not in sent.headers
    assert sent.headers["x-request-id"]
    texts = "".join(story.texts)
    assert "you have no premium requests left" in texts
    assert "settings/applications" in texts


def test_accounts(tmp_path: Path, github: GitHub) -> None:
    """Two accounts, then another provider."""
    check_accounts(tmp_path, github)


def test_models_and_quota(tmp_path: Path, github: GitHub) -> None:
    """Only models for conversations are listed; the quota is that of the last answer, or what the vendor says now."""
    story = Story(tmp_path, github)
    story.configure()
    story.sign_in()
    listed = story.run("auth", "models", "copilot")
    assert (True, False, False) == tuple(
        name in listed for name in ("claude-opus-4.6", "text-embedding", "not-for-you")
    )
    with Router(tmp_path) as router:
        story.ask(router)

    assert "premium interactions 60% used" in story.run("auth", "status")
    assert "premium interactions 75% used" in story.run("auth", "status", "copilot", "--usage")


def test_another_endpoint(tmp_path: Path, github: GitHub) -> None:
    """A model without the Messages API is asked by chat completions."""
    story = Story(tmp_path, github)
    story.configure(Router={"default": "copilot,gpt-4o"})
    story.sign_in()
    with Router(tmp_path) as router:
        _, headers, body = router.post({"model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})

    assert b"from chat" in body, headers
    (hit,) = github.at("/api/chat/completions")
    assert "max_tokens" not in hit.json
    assert "conversation-panel" == hit.headers["openai-intent"]


def test_again_is_the_same_account(tmp_path: Path, github: GitHub) -> None:
    """Whoever signs in again has one account, not two."""
    story = Story(tmp_path, github)
    story.configure()
    first = story.sign_in()
    second = story.sign_in()

    assert ({first}, first) == (set(accounts(tmp_path, "copilot")), second)


def test_no_seat(tmp_path: Path, github: GitHub) -> None:
    """A GitHub account without Copilot is told so, with the vendor's link, and nothing is kept."""
    details = {"message": "No access to Copilot", "notification_url": "https://github.com/settings/copilot"}
    github.routes[f"GET {github.token_path}"] = lambda hit: (403, {"error_details": details})
    Story(tmp_path, github).configure()
    with Terminal(tmp_path, "auth", "login", "copilot") as terminal:
        terminal.until("No access to Copilot https://github.com/settings/copilot")
        assert 1 == terminal.wait()

    assert not (tmp_path / "auth.json").exists()
    assert "very-secret" not in terminal.output


def test_nobody_signed_in(tmp_path: Path, github: GitHub) -> None:
    """A request says which command is missing."""
    story = Story(tmp_path, github)
    story.configure()
    with Router(tmp_path) as router:
        assert "Run: ccr auth login copilot" in story.ask(router, 401)[1]
