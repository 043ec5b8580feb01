"""A login of the router's own: signing in, renewing, limits, and requests."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import ccr_plugin_anthropic
import ccr_plugin_oauth_anthropic
import ccr_plugin_rule_default
import ccr_plugin_store_file
import pytest
from ccr_plugin_oauth_anthropic import Managed, ManagedOptions

from ccr_core import (
    AccountError,
    Ask,
    AuthError,
    Call,
    FileStore,
    Limited,
    Listen,
    OpenUrl,
    Token,
    UpstreamError,
    WireReply,
    Wish,
)
from ccr_core.testing import Make, Upstream, claude_code_headers, claude_code_request, replay, streamed
from ccr_core.testing.loopback import Hit
from ccr_core.tokenstore import save_login

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS: list[ModuleType] = [
    ccr_plugin_anthropic,
    ccr_plugin_oauth_anthropic,
    ccr_plugin_rule_default,
    ccr_plugin_store_file,
]

NOW = 1_700_000_000.0
GRANTED = {
    "access_token": "sk-ant-oat01-one",
    "refresh_token": "sk-ant-ort01-one",
    "expires_in": 28800,
    "scope": "user:profile user:inference",
    "account": {"uuid": "u-1", "email_address": "me@example.com"},
    "organization": {"uuid": "o-1", "name": "Mine"},
}
PROFILE = {"account": {"uuid": "u-1"}, "organization": {"uuid": "o-1", "rate_limit_tier": "max_20x"}}

STREAM = streamed("Hello")


def auth(**options: Any) -> Managed:
    return Managed(ManagedOptions(**options), "anthropic-managed")


def test_login() -> None:
    """The page is asked with a challenge and a state; the exchange is JSON and repeats both."""
    token, asked = replay(auth().login(Wish()), ["c-1", GRANTED, PROFILE], now=NOW)
    listen, page, exchange = asked[0], asked[1], asked[3]
    assert isinstance(listen, Listen)
    assert isinstance(page, OpenUrl)
    assert isinstance(exchange, Call)
    query = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}

    assert page.url.startswith("https://claude.ai/oauth/authorize?")
    assert ("true", "code", "S256", "user:profile user:inference") == tuple(
        query[name] for name in ("code", "response_type", "code_challenge_method", "scope")
    )
    assert "https://platform.claude.com/oauth/code/callback" == listen.paste
    assert exchange.wire.body is not None
    assert {
        "grant_type": "authorization_code",
        "code": "c-1",
        "redirect_uri": query["redirect_uri"],
        "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        "state": query["state"],
    } == {name: value for name, value in exchange.wire.body.items() if name != "code_verifier"}
    assert ("sk-ant-oat01-one", "sk-ant-ort01-one", NOW + 28800, "me@example.com") == (
        token.access,
        token.refresh,
        token.expires,
        token.label,
    )
    assert {"organization_name": "Mine", "rate_limit_tier": "max_20x"} == token.data


def test_a_profile_that_is_closed() -> None:
    """A token that may not read the profile is enough if the exchange has said whose it is."""
    token, _ = replay(auth().login(Wish()), ["c-1", GRANTED, (403, {"error": {"message": "scope"}})])

    assert {"organization_name": "Mine"} == token.data


def test_organisations_are_accounts() -> None:
    """One person in two organisations has two accounts."""
    other = {**GRANTED, "organization": {"uuid": "o-2"}}
    ids = [replay(auth().login(Wish()), ["c-1", body, (403, {})])[0].account for body in (GRANTED, other)]

    assert ids[0] != ids[1]


def test_a_token_that_is_given() -> None:
    """A token of the vendor's own program is asked for, and holds for a year."""
    token, asked = replay(auth().login(Wish(method="token")), ["sk-ant-oat01-year"], now=NOW)

    assert ("sk-ant-oat01-year", None, NOW + 365 * 86400) == (token.access, token.refresh, token.expires)
    assert [True] == [each.secret for each in asked if isinstance(each, Ask)]


@pytest.mark.parametrize("given", ["sk-ant-api03-key", "sk-ant-oat01 two", ""])
def test_no_such_token(given: str) -> None:
    """Anything else is refused, and not repeated."""
    with pytest.raises(AuthError, match="no token of claude setup-token") as caught:
        replay(auth().login(Wish(method="token")), [given])

    assert not given or given not in caught.value.message


OLD = Token(access="sk-ant-oat01-one", refresh="sk-ant-ort01-one", expires=NOW, account="a", label="me")


def test_refresh() -> None:
    """Each renewal brings a new refresh token."""
    token, asked = replay(
        auth().refresh(OLD), [{"access_token": "sk-ant-oat01-two", "refresh_token": "sk-ant-ort01-two"}], now=NOW
    )
    call = asked[0]
    assert isinstance(call, Call)

    assert ("sk-ant-oat01-two", "sk-ant-ort01-two", "a") == (token.access, token.refresh, token.account)
    assert {
        "grant_type": "refresh_token",
        "refresh_token": "sk-ant-ort01-one",
        "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
    } == call.wire.body


def test_dead_refresh_tokens() -> None:
    """A token that was used or revoked is dead; one that never had a successor too."""
    with pytest.raises(AccountError, match="invalid_grant"):
        replay(auth().refresh(OLD), [(400, {"error": "invalid_grant", "error_description": "used"})])
    with pytest.raises(AccountError, match="cannot be renewed"):
        replay(auth().refresh(attrs.evolve(OLD, refresh=None)))


def test_usage_and_models() -> None:
    """The plan's limits are shares; models have names."""
    body = {
        "five_hour": {"utilization": 42.0, "resets_at": "2026-11-22T12:00:00+00:00"},
        "seven_day": {"utilization": 7, "resets_at": None},
        "seven_day_opus": None,
    }
    windows, asked = replay(auth().usage(OLD), [body])
    models, _ = replay(auth().models(OLD), [{"data": [{"id": "claude-opus-5", "display_name": "Opus 5"}]}])
    call = asked[0]
    assert isinstance(call, Call)

    assert [("5 hours", 0.42, 1795348800.0), ("7 days", 0.07, None)] == [
        (window.name, window.used, window.resets) for window in windows
    ]
    assert "oauth-2025-04-20" == call.wire.headers["anthropic-beta"]
    assert [("claude-opus-5", "Opus 5")] == [(model.id, model.name) for model in models]


def limits(**values: str) -> dict[str, str]:
    return {f"anthropic-ratelimit-unified-{name.replace('__', '-')}": value for name, value in values.items()}


def test_observe() -> None:
    """Each answer tells the limits."""
    windows = auth().observe(limits(**{"5h__utilization": "0.5", "5h__reset": "1800000000"}))

    assert [("5 hours", 0.5, 1800000000.0)] == [(window.name, window.used, window.resets) for window in windows]


@pytest.mark.parametrize(
    ("headers", "kind", "model_only"),
    [
        ({"5h__status": "rejected", "5h__reset": "{soon}"}, Limited, False),
        ({"status": "rejected", "reset": "{soon}"}, Limited, False),
        ({"7d_oi__status": "rejected", "7d_oi__reset": "{soon}"}, Limited, True),
        ({"7d_oi__status": "rejected", "5h__status": "rejected", "5h__reset": "{soon}"}, Limited, False),
        ({"5h__status": "allowed"}, UpstreamError, None),
        ({}, UpstreamError, None),
    ],
)
def test_limits(headers: dict[str, str], kind: type, model_only: bool | None) -> None:
    """A used-up limit rests the account, or one model; a passing 429 does neither."""
    soon = str(int(time.time()) + 3600)
    reply = WireReply(status=429, headers=limits(**{name: v.format(soon=soon) for name, v in headers.items()}))
    found = auth().refused(reply, UpstreamError("your limit is reached", 429))

    assert (kind, model_only, "your limit is reached") == (
        type(found),
        getattr(found, "model_only", None),
        str(found),
    )
    if isinstance(found, Limited):
        assert 3591 <= int(found.headers["retry-after"]) <= 3630


def test_resets_are_spread() -> None:
    """Those who wait for the same reset do not all come back with it: each rests 1 to 30 seconds longer."""
    reset = time.time() + 3600
    reply = WireReply(status=429, headers=limits(**{"5h__status": "rejected", "5h__reset": str(reset)}))
    rests = [auth().refused(reply, UpstreamError("no", 429)) for _ in range(60)]
    longer = [int(rest.headers["retry-after"]) - 3600 for rest in rests if isinstance(rest, Limited)]

    assert (60, True, True) == (len(longer), 0 <= min(longer) <= max(longer) <= 30, len(set(longer)) > 5)


def test_fast_mode() -> None:
    """The limit of a faster service is not the account's."""
    reply = WireReply(status=429, headers=limits(status="rejected"))
    error = UpstreamError("Fast mode credits are used up", 429)

    assert error is auth().refused(reply, error)


# --- the whole way -----------------------------------------------------------------------------------------------


def configuration(vendor: Any) -> dict[str, Any]:
    return {
        "Providers": [
            {
                "name": "claude",
                "auth_type": "oauth",
                "oauth_provider": "anthropic-managed",
                "models": ["claude-sonnet-5"],
            }
        ],
        "Router": {"default": "claude,claude-sonnet-5"},
        "oauth": {"anthropic-managed": {"token_url": f"{vendor.url}/token"}},
    }


def signed_in(path: Path, *, seconds: float = 20000.0, consent: bool = True) -> None:
    now = time.time()
    token = attrs.evolve(OLD, expires=now + seconds, account="acc00001", obtained=now)
    save_login(FileStore(path), "anthropic-managed", token, now, consent=consent)


CODE = claude_code_headers()


async def test_a_request(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """The router's token replaces whatever the client presents; all else is the client's."""
    signed_in(alone)
    upstream.stream(STREAM)
    headers = {**CODE, "authorization": "Bearer something-else"}
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True), headers=headers)
    sent = answer.sent[0]

    assert STREAM == answer.body
    assert ("Bearer sk-ant-oat01-one", CODE["user-agent"]) == (
        sent.headers["authorization"],
        sent.headers["user-agent"],
    )
    assert "oauth-2025-04-20" in sent.headers["anthropic-beta"].split(",")
    assert "something-else" not in repr(dict(sent.headers))


async def test_other_clients(ccr: Make, vendor: Any, alone: Path) -> None:
    """Requests that do not come from Claude Code are refused."""
    signed_in(alone)
    headers = {"user-agent": "curl/8"}
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True), headers=headers)

    assert (400, []) == (answer.status, answer.sent)
    assert answer.error is not None
    assert "for requests of Claude Code" in answer.error["message"]


async def test_renewing(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A token near its end is renewed first; a refused one is renewed and the request repeated; both are kept."""
    signed_in(alone, seconds=60)
    pairs = iter(("two", "three"))

    def renew(hit: Hit) -> Any:
        which = next(pairs)
        return {
            "access_token": f"sk-ant-oat01-{which}",
            "refresh_token": f"sk-ant-ort01-{which}",
            "expires_in": 28800,
        }

    vendor.routes["POST /token"] = renew
    upstream.fail(401, "expired").stream(STREAM)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True), headers=CODE)
    kept = FileStore(alone).read()["anthropic-managed"]["accounts"]["acc00001"]

    assert "Hello" == answer.text
    assert ["Bearer sk-ant-oat01-two", "Bearer sk-ant-oat01-three"] == [
        sent.headers["authorization"] for sent in answer.sent
    ]
    assert ["sk-ant-ort01-one", "sk-ant-ort01-two"] == [hit.json["refresh_token"] for hit in vendor.at("/token")]
    assert ("sk-ant-oat01-three", "sk-ant-ort01-three") == (kept["access_token"], kept["refresh_token"])


async def test_revoked(ccr: Make, vendor: Any, alone: Path) -> None:
    """A dead sign-in names the command that helps."""
    signed_in(alone, seconds=-10)
    vendor.routes["POST /token"] = lambda hit: (400, {"error": "invalid_grant"})
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True), headers=CODE)

    assert 401 == answer.status
    assert answer.error is not None
    assert "ccr auth login anthropic-managed" in answer.error["message"]


async def test_a_limit(ccr: Make, upstream: Upstream, vendor: Any, alone: Path) -> None:
    """A used-up limit is a 429 in Anthropic's words, with the time."""
    signed_in(alone)
    reset = str(int(time.time()) + 7200)
    upstream.fail(429, "limit reached", headers=limits(**{"5h__status": "rejected", "5h__reset": reset}))
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True), headers=CODE)

    assert 429 == answer.status
    assert 7191 <= int(answer.headers["retry-after"]) <= 7230
    assert reset == answer.headers["anthropic-ratelimit-unified-5h-reset"]


@pytest.mark.parametrize(
    "words",
    [
        "This credential is only authorized for use with Claude Code and cannot be used for other API requests.",
        "Third-party apps now draw from your extra usage, not your plan limits.",
    ],
)
async def test_the_vendors_words(ccr: Make, upstream: Upstream, vendor: Any, alone: Path, words: str) -> None:
    """What Anthropic refuses is told as it says it, and nothing is tried to get round it."""
    signed_in(alone)
    upstream.fail(400, words)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True), headers=CODE)

    assert (400, 1) == (answer.status, len(answer.sent))
    assert answer.error is not None
    assert words == answer.error["message"]


async def test_no_consent(ccr: Make, vendor: Any, alone: Path) -> None:
    """An account whose owner has not agreed is not used."""
    signed_in(alone, consent=False)
    answer = await ccr(configuration(vendor), PLUGINS).messages(claude_code_request(stream=True), headers=CODE)

    assert (401, []) == (answer.status, answer.sent)
