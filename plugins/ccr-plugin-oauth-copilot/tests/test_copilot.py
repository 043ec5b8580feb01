"""The parts of the Copilot sign-in, without a network."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_oauth_copilot
import pytest
from ccr_plugin_oauth_copilot import Copilot, Options
from ccr_plugin_oauth_copilot.step import initiator

from ccr_core import (
    AccountError,
    AuthError,
    Call,
    Hints,
    Limited,
    Request,
    ShowCode,
    Sleep,
    Token,
    UpstreamError,
    WireReply,
    WireRequest,
    Wish,
)
from ccr_core.testing import check_plugin, replay

NOW = 1_700_000_000.0
DEVICE = {
    "device_code": "d",
    "user_code": "AB-12",
    "verification_uri": "https://github.com/login/device",
    "interval": 5,
}
GRANTED = {"access_token": "ghu_1", "token_type": "bearer", "scope": "read:user"}
EXCHANGED = {
    "token": "tid=1",
    "expires_at": NOW + 1500,
    "refresh_in": 1500,
    "endpoints": {"api": "https://api.individual.githubcopilot.com"},
}
LISTED = {"data": [{"id": "claude-opus-4.6", "supported_endpoints": ["/v1/messages", "/chat/completions"]}]}
TEXT = {"type": "text", "text": "hi"}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
REMINDER = {"type": "text", "text": "<system-reminder>be kind</system-reminder>"}


def scheme(**options: Any) -> Copilot:
    return Copilot(Options(**options), "copilot")


def token(**data: Any) -> Token:
    return Token(access="tid=1", refresh="ghu_1", expires=NOW, account="a", data={"mode": "exchange", **data})


def test_the_package() -> None:
    """It is as plugins must be."""
    check_plugin(ccr_plugin_oauth_copilot, Path(__file__).parents[1])


def test_login() -> None:
    """Code, GitHub token, who it was, Copilot token, models: in this order."""
    made, asked = replay(scheme().login(Wish()), [DEVICE, GRANTED, {"login": "octocat"}, EXCHANGED, LISTED])

    assert [Call, ShowCode, Sleep, Call, Call, Call, Call] == [type(each) for each in asked]
    assert ("tid=1", "ghu_1", NOW + 1500, "octocat") == (made.access, made.refresh, made.expires, made.label)
    assert "https://api.individual.githubcopilot.com" == made.data["api_base"]
    assert "https://api.individual.githubcopilot.com/models" == asked[-1].wire.url  # type: ignore[union-attr]


def test_direct() -> None:
    """Without an exchange the GitHub token is the token, and no editor is named."""
    made, _ = replay(scheme(mode="direct").login(Wish()), [DEVICE, GRANTED, {"login": "octocat"}, LISTED])
    signed = scheme(mode="direct").apply(WireRequest(url="https://api.githubcopilot.com/chat/completions"), made)

    assert ("ghu_1", None) == (made.access, made.expires)
    assert {"authorization": "Bearer ghu_1", "openai-intent": "conversation-edits"} == signed.headers


def test_an_enterprise() -> None:
    """Its host is used throughout, and two hosts make two accounts."""
    replies = [DEVICE, GRANTED, {"login": "octocat"}, {**EXCHANGED, "endpoints": {}}, LISTED]
    made, asked = replay(scheme(host="acme.ghe.com").login(Wish()), replies)
    other, _ = replay(scheme().login(Wish()), replies)

    urls = [each.wire.url for each in asked if isinstance(each, Call)]
    assert [
        "https://acme.ghe.com/login/device/code",
        "https://acme.ghe.com/login/oauth/access_token",
        "https://api.acme.ghe.com/user",
        "https://api.acme.ghe.com/copilot_internal/v2/token",
        "https://copilot-api.acme.ghe.com/models",
    ] == urls
    assert made.account != other.account


@pytest.mark.parametrize(
    "api",
    [
        "http://api.individual.githubcopilot.com",
        "https://evil.example",
        "https://githubcopilot.com.evil.example",
        "https://api.githubcopilot.com@evil.example",
        "",
        None,
    ],
)
def test_foreign_hosts(api: Any) -> None:
    """A host that is not GitHub's is not used, whoever names it."""
    made, _ = replay(scheme().refresh(token(models_at=NOW)), [{**EXCHANGED, "endpoints": {"api": api}}])

    assert "https://api.githubcopilot.com" == made.data["api_base"]


def test_models_are_looked_at_once_an_hour() -> None:
    """A list that is older is fetched again; one that cannot be had does not matter."""
    _, asked = replay(scheme().refresh(token(models_at=NOW - 100)), [EXCHANGED])
    assert 1 == len(asked)

    made, asked = replay(scheme().refresh(token(models_at=NOW - 4000)), [EXCHANGED, (500, {})])

    assert (2, "tid=1") == (len(asked), made.access)


@pytest.mark.parametrize(("status", "state"), [(401, "needs_login"), (403, "disabled"), (404, "disabled")])
def test_refused_exchange(status: int, state: str) -> None:
    """A GitHub token that is revoked, or has no seat, is not tried again."""
    with pytest.raises(AccountError) as caught:
        replay(scheme().refresh(token()), [(status, {"message": "no"})])

    assert state == caught.value.state


def test_a_github_token_that_ends() -> None:
    """Where GitHub's token ends it is renewed first."""
    old = token(models_at=NOW, github_refresh="ghr_1", github_expires=NOW + 10)
    renewed = {"access_token": "ghu_2", "refresh_token": "ghr_2", "expires_in": 28800}

    made, asked = replay(scheme().refresh(old), [renewed, EXCHANGED])

    assert "token ghu_2" == asked[1].wire.headers["authorization"]  # type: ignore[union-attr]
    assert ("ghu_2", "ghr_2") == (made.refresh, made.data["github_refresh"])


MODELS = {
    "a": {"endpoints": ["/chat/completions", "/responses", "/v1/messages"]},
    "b": {"endpoints": ["/responses"], "max_output": 1000},
    "gpt-x": {"endpoints": []},
    "claude-opus-4.6": {"endpoints": ["/v1/messages"], "max_output": 1000},
}


@pytest.mark.parametrize(
    ("model", "endpoint"),
    [("a", "messages"), ("b", "responses"), ("gpt-x", None), ("unknown", None), ("claude-opus-4-6", "messages")],
)
def test_endpoints(model: str, endpoint: str | None) -> None:
    """The endpoint that needs the least translation; chat completions where nothing is known."""
    assert endpoint == scheme().endpoint(model, token(models=MODELS))


def test_nothing_is_known_yet() -> None:
    """Without an account the usual endpoint is taken."""
    assert scheme().endpoint("a", None) is None


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"model": "claude-opus-4-6", "max_tokens": 5000}, {"model": "claude-opus-4.6", "max_tokens": 1000}),
        ({"model": "gpt-x", "max_tokens": 5000}, {"model": "gpt-x"}),
        ({"model": "b", "max_output_tokens": 10}, {"model": "b", "max_output_tokens": 10}),
        ({"model": "new", "max_tokens": 5000}, {"model": "new", "max_tokens": 5000}),
    ],
)
def test_fitting(sent: Any, expected: Any) -> None:
    """Names and limits are the vendor's; the request given is not changed."""
    wire = WireRequest(url="https://api.githubcopilot.com/chat/completions", body=dict(sent))

    assert expected == scheme().apply(wire, token(models=MODELS)).body
    assert sent == wire.body


def test_the_accounts_own_host() -> None:
    """Requests go where GitHub says; an address in the options wins."""
    wire = WireRequest(url="https://api.githubcopilot.com/v1/messages")
    own = token(api_base="https://api.business.githubcopilot.com")

    assert "https://api.business.githubcopilot.com/v1/messages" == scheme().apply(wire, own).url
    other = scheme(api_base="https://x.example")
    assert wire.url == other.apply(wire, own).url


def test_betas() -> None:
    """Only known beta names are sent, and after a refusal none."""
    named = {"anthropic-beta": "claude-code-20250219, interleaved-thinking-2025-05-14"}
    wire = WireRequest(url="https://api.githubcopilot.com/v1/messages", headers=named)

    signed = scheme().apply(wire, token())
    again = scheme().amend(wire, WireReply(status=400, body=b"unsupported beta"))

    assert "interleaved-thinking-2025-05-14" == signed.headers["anthropic-beta"]
    assert again is not None
    assert "anthropic-beta" not in again.headers
    assert scheme().amend(again, WireReply(status=400, body=b"unsupported beta")) is None


@pytest.mark.parametrize(
    ("content", "hints", "expected"),
    [
        ("hi", Hints(), "user"),
        ([TEXT], Hints(), "user"),
        ([RESULT], Hints(), "agent"),
        ([RESULT, TEXT], Hints(), "user"),
        ([RESULT, REMINDER], Hints(), "agent"),
        ([REMINDER, TEXT], Hints(), "user"),
        ([REMINDER], Hints(), "user"),
        ("", Hints(), "agent"),
        ([TEXT], Hints(request_class="main"), "user"),
        ([TEXT], Hints(request_class="auxiliary"), "agent"),
        ([TEXT], Hints(agent_id="sub-1"), "agent"),
        ([TEXT], Hints(compaction="auto"), "agent"),
    ],
)
def test_initiator(content: Any, hints: Hints, expected: str) -> None:
    """Whoever has just spoken begins the request."""
    assert expected == initiator(Request({"messages": [{"role": "user", "content": content}]}, hints=hints))


@pytest.mark.parametrize(("content", "expected"), [("hi", "user"), ([RESULT], "agent")])
def test_what_the_client_adds(content: Any, expected: str) -> None:
    """A message of the client's own behind the user's says nothing of who has spoken."""
    messages = [{"role": "user", "content": content}, {"role": "system", "content": "# Environment"}]

    assert expected == initiator(Request({"messages": messages}))


def test_an_assistant_goes_on() -> None:
    """A conversation that ends with the model's own words is not begun by the user."""
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "{"}]

    assert "agent" == initiator(Request({"messages": messages}))


def refused(status: int, body: bytes, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return scheme().refused(WireReply(status=status, headers=named, body=body), UpstreamError("words", status))


@pytest.mark.parametrize("status", [402, 429])
def test_a_used_up_plan(status: int) -> None:
    """It rests until what the refusal names; where it names nothing, no time is made up."""
    soon = datetime.datetime.fromtimestamp(time.time() + 7200, datetime.UTC).isoformat()
    spent = f"ent=300&rem=0.0&rst={soon.replace('+00:00', 'Z')}"
    body = b'{"error":{"code":"quota_exceeded","message":"no more"}}'
    silent = refused(status, body)
    told = refused(status, body, retry_after="90", x_quota_snapshot_chat=spent)
    reset = refused(status, body, x_quota_snapshot_premium=spent)
    left = refused(status, body, x_quota_snapshot_premium=spent.replace("rem=0.0", "rem=1.0"))

    assert [Limited] * 4 == [type(each) for each in (silent, told, reset, left)]
    assert [{}, {"retry-after": "90"}, {}] == [each.headers for each in (silent, told, left)]
    assert 7100 < int(reset.headers["retry-after"]) <= 7200


def test_refusals() -> None:
    """What a refusal means for the account and for the client."""
    assert "words" == refused(429, b'{"error":{"code":"rate_limited"}}').message
    long = refused(400, b'{"error":{"code":"model_max_prompt_tokens_exceeded","message":"128000"}}')
    assert (400, True) == (long.status, long.message.startswith("prompt is too long"))
    assert 404 == refused(400, b'{"error":{"code":"model_not_supported","message":"no"}}').status
    assert "editor_version" in refused(466, b"too old").message


def test_quota_headers() -> None:
    """Shares that are used, with their end; what has no limit is left out."""
    windows = scheme().observe(
        {
            "x-quota-snapshot-premium_interactions": "ent=300&ov=0.0&rem=25.0&rst=2026-12-01T00:00:00Z",
            "x-quota-snapshot-chat": "ent=-1&rem=100.0",
            "x-quota-snapshot-broken": "nothing",
        }
    )

    assert [("premium interactions", 0.75, 1796083200.0)] == [(each.name, each.used, each.resets) for each in windows]


def test_nobody() -> None:
    """Without an account there is no request."""
    with pytest.raises(AuthError, match="ccr auth login copilot"):
        scheme().apply(WireRequest(url="https://api.githubcopilot.com/models"), None)


def test_nothing_secret_is_shown() -> None:
    """The text form of a token has neither of the tokens."""
    shown = repr(attrs.evolve(token(github_refresh="ghr_9")))

    assert [] == [secret for secret in ("tid=1", "ghu_1", "ghr_9") if secret in shown]
