"""Requests like Claude Code's through a router, signed with an account, against stand-ins."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_gemini
import ccr_plugin_oauth_antigravity
import ccr_plugin_oauth_gemini
import ccr_plugin_rule_default
import ccr_plugin_store_file
import pytest

from ccr_core import FileStore, Token
from ccr_core.testing import Make, Upstream, check_plugin, check_stream, claude_code_request, sse
from ccr_core.tokenstore import save_login

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS: list[ModuleType] = [
    ccr_plugin_anthropic,
    ccr_plugin_gemini,
    ccr_plugin_oauth_antigravity,
    ccr_plugin_oauth_gemini,
    ccr_plugin_rule_default,
    ccr_plugin_store_file,
]

STREAM = sse(
    json.dumps({"response": {"candidates": [{"content": {"parts": [{"text": "Hel"}]}}]}, "traceId": "t"}),
    json.dumps(
        {
            "response": {"candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}]},
            "traceId": "t",
        }
    ),
)

URL = "https://daily-cloudcode-pa.googleapis.com/v1internal:streamGenerateContent?alt=sse"


def configuration(vendor: Any, **entry: Any) -> dict[str, Any]:
    return {
        "Providers": [
            {
                "name": "antigravity",
                "auth_type": "oauth",
                "oauth_provider": "antigravity",
                "models": ["claude-sonnet-4-6"],
                **entry,
            }
        ],
        "Router": {"default": f"antigravity,{entry.get('models', ['claude-sonnet-4-6'])[0]}"},
        "oauth": {"antigravity": {"client_secret": "s-1", "token_url": f"{vendor.url}/token"}},
    }


def signed_in(path: Path, *, seconds: float = 3000.0, consent: bool = True) -> None:
    now = time.time()
    token = Token(
        access="ya29.one",
        refresh="1//refresh",
        expires=now + seconds,
        account="acc00001",
        obtained=now,
        data={"project_id": "my-project", "project_checked_at": now},
    )
    save_login(FileStore(path), "antigravity", token, now, consent=consent)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"transformer": {"use": ["antigravity"]}},
        {"api_base_url": "https://daily-cloudcode-pa.sandbox.googleapis.com"},
        {"api_base_url": "https://daily-cloudcode-pa.sandbox.googleapis.com", "transformer": {"use": ["gemini"]}},
        {"models": ["antigravity-claude-sonnet-4-6"]},
    ],
    ids=str,
)
async def test_a_streamed_request(
    ccr: Make, upstream: Upstream, vendor: Any, alone: Path, entry: dict[str, Any]
) -> None:
    """A request goes out in the envelope, signed, whichever way an older configuration names the service."""
    signed_in(alone)
    upstream.stream(STREAM, cut=9)
    answer = await ccr(configuration(vendor, **entry), PLUGINS).messages(claude_code_request(stream=True))
    sent = answer.sent[0]

    check_stream(answer.events)
    assert ("Hello", URL, "Bearer ya29.one") == (answer.text, sent.url, sent.headers["authorization"])
    assert ("claude-sonnet-4-6", "my-project") == (sent.json["model"], sent.json["project"])


async def test_no_capacity(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """Where the first host has no capacity, the second answers."""
    signed_in(alone)
    upstream.reply({"error": {"code": 503, "message": "No capacity available"}}, 503).stream(STREAM)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert "Hello" == answer.text
    assert [URL, URL.replace("daily-", "")] == [sent.url for sent in answer.sent]


async def test_a_quota(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A used-up quota, which the second host has not either, is a 429 with the time."""
    signed_in(alone)
    quota = {
        "error": {
            "code": 429,
            "message": "no",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"reason": "QUOTA_EXHAUSTED", "metadata": {"quotaResetDelay": "2h"}}],
        }
    }
    upstream.reply(quota, 429).reply(quota, 429)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert (429, "7200") == (answer.status, answer.headers["retry-after"])


async def test_renewing(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A token near its end is renewed before the request, one that is refused after it."""
    signed_in(alone, seconds=30)
    names = iter(("two", "three"))
    vendor.routes["POST /token"] = lambda hit: {"access_token": f"ya29.{next(names)}", "expires_in": 3599}
    upstream.reply({"error": {"code": 401, "message": "no"}}, 401).stream(STREAM)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert "Hello" == answer.text
    assert ["Bearer ya29.two", "Bearer ya29.three"] == [sent.headers["authorization"] for sent in answer.sent]


async def test_a_closed_account(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """An account that the service has closed is set aside, and not asked for again."""
    signed_in(alone)
    words = "This service has been disabled in this account for violation of Terms of Service."
    upstream.reply({"error": {"code": 403, "message": words}}, 403)
    router = ccr(configuration(vendor), PLUGINS)
    first = await router.messages(claude_code_request(stream=True))
    second = await router.messages(claude_code_request(stream=True))

    assert (403, 403, []) == (first.status, second.status, second.sent)
    assert first.error is not None
    assert words == first.error["message"]


async def test_revoked(ccr: Make, vendor: Any, alone: Path) -> None:
    """A sign-in that was taken back names the command that helps."""
    signed_in(alone, seconds=-5)
    vendor.routes["POST /token"] = lambda hit: (400, {"error": "invalid_grant"})
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert 401 == answer.status
    assert answer.error is not None
    assert "ccr auth login antigravity" in answer.error["message"]


async def test_no_consent(ccr: Make, vendor: Any, alone: Path) -> None:
    """An account whose owner has not agreed to the risk is not used."""
    signed_in(alone, consent=False)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert (401, []) == (answer.status, answer.sent)


def test_plugin() -> None:
    """The package keeps the rules of packages."""
    check_plugin(ccr_plugin_oauth_antigravity)
