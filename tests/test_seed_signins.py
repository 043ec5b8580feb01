"""Configurations with ``auth_type: "oauth"`` that people have from claude-code-router work unchanged, over real HTTP.

As in :mod:`test_seed_configs`, a router is started from the file as it was written for the older tool, with all plugins
of this project, and only its connections are redirected.  The accounts of copilot and codex are in the older tool's
own file.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from seed_examples import ACCOUNTS, BARE
from test_seed_configs import Redirected, Services, runtime_of, served, text_of
from test_seed_configs import services as services

from ccr_core import FileStore, Token
from ccr_core.config import home
from ccr_core.testing import claude_code_headers, claude_code_request
from ccr_core.tokenstore import save_login

HOSTS = """
{
  "Providers": [
    { "name": "codex", "api_base_url": "https://chatgpt.com/", "auth_type": "oauth", "models": ["gpt-5.5"] },
    {
      "name": "gemini",
      "api_base_url": "https://cloudcode-pa.googleapis.com",
      "auth_type": "oauth",
      "models": ["gemini-2.5-pro"]
    },
    {
      "name": "antigravity",
      "api_base_url": "https://daily-cloudcode-pa.sandbox.googleapis.com",
      "auth_type": "oauth",
      "oauth_provider": "antigravity",
      "models": ["antigravity-claude-sonnet-4-6", "gemini-3-flash"]
    },
    {
      "name": "anthropic",
      "api_base_url": "https://api.anthropic.com",
      "auth_type": "oauth",
      "models": ["claude-sonnet-5"]
    },
    { "name": "none", "auth_type": "oauth", "oauth_provider": "copilot", "models": ["gpt-4o"] }
  ]
}
"""

LOGIN = "sk-ant-oat01-of-the-client"
URLS = {
    "codex": ("https://chatgpt.com/backend-api/codex/responses", "Bearer codex-token"),
    "copilot": ("https://api.githubcopilot.com/chat/completions", "Bearer tid=copilot"),
    "none": ("https://api.githubcopilot.com/chat/completions", "Bearer tid=copilot"),
    "gemini": ("https://cloudcode-pa.googleapis.com/v1internal:", "Bearer ya29.gemini"),
    "antigravity": ("https://daily-cloudcode-pa.googleapis.com/v1internal:", "Bearer ya29.antigravity"),
    "anthropic": ("https://api.anthropic.com/v1/messages", f"Bearer {LOGIN}"),
    "openrouter": ("https://openrouter.ai/api/v1/chat/completions", "Bearer key-of-openrouter"),
}
"""Where the requests of each provider end, and how they are signed."""

MODELS = [
    pytest.param(text, f"{entry['name']},{model}", id=f"{name}-{entry['name']}-{model}")
    for name, text in (("accounts", ACCOUNTS), ("bare", BARE), ("hosts", HOSTS))
    for entry in json.loads(text)["Providers"]
    for model in entry["models"]
]


@pytest.fixture
def signed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the older tool's accounts, and those for which there must be a new agreement; gives the file."""
    monkeypatch.setenv("CCR_HOME", str(tmp_path))
    soon = time.time() + 86_400
    file = home() / "auth.json"
    old = {
        "codex": {"type": "oauth", "access": "codex-token", "refresh": "r", "expires": soon * 1000, "accountId": "acc"},
        "copilot": {"type": "oauth", "access": "tid=copilot", "refresh": "ghu_1", "expires": soon * 1000},
        "antigravity": {"type": "oauth", "access": "ya29.old", "refresh": "1//r|old-project", "expires": soon * 1000},
    }
    file.write_text(json.dumps(old))
    for name in ("gemini", "antigravity"):
        data = {"project_id": "my-project", "project_checked_at": time.time()}
        token = Token(access=f"ya29.{name}", refresh="1//r", expires=soon, account=f"{name:_<8.8}", data=data)
        save_login(FileStore(file), name, token, time.time(), consent=True)
    return file


@pytest.mark.parametrize(("text", "route"), MODELS)
async def test_every_model(
    services: Services, signed_in: Path, monkeypatch: pytest.MonkeyPatch, text: str, route: str
) -> None:
    """Each model is asked at its service's own address, with the account's token, streamed and whole."""
    runtime = runtime_of(text, signed_in.parent, monkeypatch)
    sender = Redirected(services.port)
    name, _, model = route.partition(",")
    headers = claude_code_headers()
    headers |= {"authorization": f"Bearer {LOGIN}", "x-ccr-key": "your-secret-key"}

    async with served(runtime, sender) as client:
        for stream in (True, False):
            body = claude_code_request(model=route, stream=stream)
            answer = await client.post("/v1/messages?beta=true", json=body, headers=headers)
            assert 200 == answer.status_code, answer.text
            assert ("Hello", "end_turn") == text_of(answer)[:2]

    url, authorization = URLS[name]
    assert [url] * 2 == [each[: len(url)] for each in sender.urls]
    assert [authorization] * 2 == [seen.headers["authorization"] for seen in services.seen]
    named = [str(seen.body.get("model", model)).removeprefix("antigravity-") for seen in services.seen]
    assert [model.removeprefix("antigravity-")] * 2 == named
    assert "your-secret-key" not in str([seen.headers for seen in services.seen])


@pytest.mark.parametrize("text", [ACCOUNTS, BARE, HOSTS])
def test_no_complaints(signed_in: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """All providers are there; the only warnings are about routes and rules."""
    runtime = runtime_of(text, signed_in.parent, monkeypatch)

    assert {entry["name"] for entry in json.loads(text)["Providers"]} == set(runtime.providers)
    assert [] == [each for each in runtime.warnings if "Router" not in each and "default" not in each]


def routes() -> list[Any]:
    """Requests of Claude Code for the scenarios of the first configuration, and where they go."""
    long = "words " * 90_000
    return [
        pytest.param({}, "codex", "gpt-5.3-codex", id="default"),
        pytest.param({"thinking": {"type": "enabled", "budget_tokens": 9000}}, "codex", "gpt-5.3-codex", id="think"),
        pytest.param({"model": "claude-3-5-haiku-20241022"}, "copilot", "gpt-5-mini", id="background"),
        pytest.param({"text": long}, "gemini", "gemini-3-pro-preview", id="long"),
    ]


@pytest.mark.parametrize(("asked", "provider", "model"), routes())
async def test_routes(
    services: Services,
    signed_in: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    provider: str,
    model: str,
) -> None:
    """The routes of the first configuration lead to the accounts."""
    runtime = runtime_of(ACCOUNTS, signed_in.parent, monkeypatch)
    sender = Redirected(services.port)
    given = {"text": "Hello?", "model": "claude-sonnet-4-5", **asked}
    thinking = {"thinking": given.pop("thinking")} if "thinking" in given else {"thinking": {"type": "disabled"}}
    body = {**claude_code_request(given["text"], model=given["model"]), **thinking}

    async with served(runtime, sender) as client:
        answer = await client.post("/v1/messages", json=body, headers={"x-api-key": "your-secret-key"})

    assert 200 == answer.status_code, answer.text
    assert URLS[provider][0] == sender.urls[0][: len(URLS[provider][0])]
    assert model == services.seen[0].body["model"]
