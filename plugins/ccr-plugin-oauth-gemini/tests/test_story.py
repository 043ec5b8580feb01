"""Requests like Claude Code's through a router, signed with an account, against stand-ins."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_gemini
import ccr_plugin_oauth_gemini
import ccr_plugin_rule_default
import ccr_plugin_store_file
import pytest

from ccr_core import ConfigError, FileStore, Token, seal
from ccr_core.testing import Make, Upstream, check_plugin, check_stream, claude_code_request, sse
from ccr_core.tokenstore import save_login

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS: list[ModuleType] = [
    ccr_plugin_anthropic,
    ccr_plugin_gemini,
    ccr_plugin_oauth_gemini,
    ccr_plugin_rule_default,
    ccr_plugin_store_file,
]

STREAM = sse(
    json.dumps(
        {
            "response": {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hel"}]}}]},
            "traceId": "trace-1",
        }
    ),
    json.dumps(
        {
            "response": {
                "candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 2},
            },
            "traceId": "trace-1",
        }
    ),
)

STREAM_URL = "https://cloudcode-pa.googleapis.com/v1internal:streamGenerateContent?alt=sse"


def configuration(vendor: Any, **entry: Any) -> dict[str, Any]:
    provider = {
        "name": "gemini",
        "auth_type": "oauth",
        "oauth_provider": "gemini",
        "models": ["gemini-2.5-pro", "gemini-2.5-flash"],
        **entry,
    }
    return {
        "Providers": [provider],
        "Router": {"default": "gemini,gemini-2.5-pro"},
        "oauth": {"gemini": {"client_secret": "s-1", "token_url": f"{vendor.url}/token"}},
    }


def signed_in(path: Path, *, seconds: float = 3000.0, consent: bool = True, **changes: Any) -> None:
    now = time.time()
    token = Token(
        access="ya29.one",
        refresh="1//refresh",
        expires=now + seconds,
        account="acc00001",
        label="me@example.com",
        obtained=now,
        data={"project_id": "my-project", "tier": "standard-tier", "project_checked_at": now, **changes},
    )
    save_login(FileStore(path), "gemini", token, now, consent=consent)


async def test_a_streamed_request(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A request of Claude Code goes out in the envelope, signed; the answer comes back unwrapped."""
    signed_in(alone)
    upstream.stream(STREAM, cut=11)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))
    sent = answer.sent[0]
    body = sent.json

    check_stream(answer.events)
    assert ("Hello", "end_turn", 2) == (answer.text, answer.stop_reason, answer.usage["output_tokens"])
    assert "trace-1" == answer.message["id"]
    assert STREAM_URL == sent.url
    assert "Bearer ya29.one" == sent.headers["authorization"]
    assert "text/event-stream" == sent.headers["accept"]
    assert ("gemini-2.5-pro", "my-project") == (body["model"], body["project"])
    assert {"model", "project", "user_prompt_id", "request"} == set(body)
    assert {"contents", "tools", "systemInstruction"} <= set(body["request"])
    assert [] == vendor.hits


async def test_a_whole_answer(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A request that does not stream uses the other method, without ``alt``."""
    signed_in(alone)
    upstream.reply(
        {"response": {"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}, "traceId": "t"}
    )
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=False))

    assert "Hi" == answer.text
    assert "https://cloudcode-pa.googleapis.com/v1internal:generateContent" == answer.sent[0].url


@pytest.mark.parametrize(
    "entry",
    [
        {"api_base_url": "https://generativelanguage.googleapis.com"},
        {"api_base_url": "https://generativelanguage.googleapis.com/v1beta/models/"},
        {"api_base_url": "https://generativelanguage.googleapis.com", "transformer": {"use": ["gemini"]}},
        {"api_base_url": "https://cloudcode-pa.googleapis.com"},
        {"api_base_url": "https://cloudcode-pa.googleapis.com/v1internal:generateContent"},
    ],
    ids=str,
)
async def test_older_addresses(ccr: Make, upstream: Upstream, vendor: Any, alone: Path, entry: dict[str, Any]) -> None:
    """Addresses of older configurations mean the service."""
    signed_in(alone)
    upstream.stream(STREAM)
    answer = await ccr(configuration(vendor, **entry), PLUGINS).messages(claude_code_request(stream=True))

    assert ("Hello", STREAM_URL) == (answer.text, answer.sent[0].url)


async def test_an_address_elsewhere(ccr: Make, vendor: Any, alone: Path) -> None:
    """The token is not sent to another host."""
    signed_in(alone)
    with pytest.raises(ConfigError, match="the tokens of gemini are not sent there"):
        ccr(configuration(vendor, api_base_url="https://evil.example/v1internal"), PLUGINS)


async def test_an_old_token_is_renewed_first(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A token near its end is renewed before the request, once, and kept."""
    signed_in(alone, seconds=60)
    vendor.routes["POST /token"] = lambda hit: {"access_token": "ya29.two", "expires_in": 3599}
    upstream.stream(STREAM).stream(STREAM)
    router = ccr(configuration(vendor), PLUGINS)
    first = await router.messages(claude_code_request(stream=True))
    second = await router.messages(claude_code_request(stream=True))

    assert ["Bearer ya29.two"] * 2 == [answer.sent[0].headers["authorization"] for answer in (first, second)]
    assert 1 == len(vendor.at("/token"))
    kept = FileStore(alone).read()["gemini"]["accounts"]["acc00001"]
    assert ("ya29.two", "1//refresh") == (kept["access_token"], kept["refresh_token"])


async def test_a_refused_token(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """After a 401 the token is renewed, and the request sent once more."""
    signed_in(alone)
    vendor.routes["POST /token"] = lambda hit: {"access_token": "ya29.two", "expires_in": 3599}
    upstream.reply({"error": {"code": 401, "message": "no", "status": "UNAUTHENTICATED"}}, 401).stream(STREAM)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert "Hello" == answer.text
    assert ["Bearer ya29.one", "Bearer ya29.two"] == [sent.headers["authorization"] for sent in answer.sent]


async def test_a_revoked_sign_in(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A sign-in that was taken back is told with the command that helps, and Google is not asked again."""
    signed_in(alone, seconds=-10)
    vendor.routes["POST /token"] = lambda hit: (400, {"error": "invalid_grant", "error_description": "revoked"})
    router = ccr(configuration(vendor), PLUGINS)
    answers = [await router.messages(claude_code_request(stream=True)) for _ in range(2)]

    for answer in answers:
        assert 401 == answer.status
        assert answer.error is not None
        assert "ccr auth login gemini" in answer.error["message"]
    assert 1 == len(vendor.at("/token"))


async def test_a_quota(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A used-up quota is a 429 with the time; another model of the account is asked at once."""
    signed_in(alone)
    quota = {
        "error": {
            "code": 429,
            "message": "You have exhausted your capacity. Your quota will reset after 1h0m0s.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "QUOTA_EXHAUSTED"}],
        }
    }
    upstream.reply(quota, 429).stream(STREAM)
    router = ccr(
        {**configuration(vendor), "fallback": {"default": ["gemini,gemini-2.5-flash"]}},
        PLUGINS,
    )
    answer = await router.messages(claude_code_request(stream=True))

    assert ["gemini-2.5-pro", "gemini-2.5-flash"] == [sent.json["model"] for sent in answer.sent]
    assert "Hello" == answer.text


async def test_a_quota_without_another_model(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """Where nothing else is to be had, the client is told how long to wait."""
    signed_in(alone)
    upstream.reply({"error": {"code": 429, "message": "Your quota will reset after 1h0m0s."}}, 429)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert (429, "3600") == (answer.status, answer.headers["retry-after"])


async def test_a_signature_that_is_refused(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """Signatures that the service refuses are left out, once; calls then bear the documented value."""
    signed_in(alone)
    refusal = {"error": {"code": 400, "message": "Corrupted thought signature.", "status": "INVALID_ARGUMENT"}}
    signature = seal("code-assist", {"m": "gemini-3-pro-preview", "c": {"toolu_1": "of-another-account"}})
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "a"}}
    body = claude_code_request(stream=True)
    body["messages"] = [
        {"role": "user", "content": "read a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": signature}, call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]},
    ]
    upstream.reply(refusal, 400).stream(STREAM)
    entry = configuration(vendor, models=["gemini-3-pro-preview"])
    entry["Router"]["default"] = "gemini,gemini-3-pro-preview"
    answer = await ccr(entry, PLUGINS).messages(body)
    first, second = (json.dumps(sent.json) for sent in answer.sent)

    assert "Hello" == answer.text
    assert "of-another-account" in first
    assert "of-another-account" not in second
    assert "skip_thought_signature_validator" in second


async def test_no_consent(ccr: Make, vendor: Any, alone: Path) -> None:
    """An account whose owner has not agreed to the risk is not used."""
    signed_in(alone, consent=False)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert 401 == answer.status
    assert answer.error is not None
    assert "agrees to the risk" in answer.error["message"]


async def test_nobody_signed_in(ccr: Make, vendor: Any) -> None:
    """Without an account the answer names the command."""
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True))

    assert 401 == answer.status
    assert answer.error is not None
    assert "ccr auth login gemini" in answer.error["message"]


def test_plugin() -> None:
    """The package keeps the rules of packages."""
    check_plugin(ccr_plugin_oauth_gemini)
