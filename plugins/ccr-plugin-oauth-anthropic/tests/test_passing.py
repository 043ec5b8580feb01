"""The client's own login: where it goes, and where it never goes."""

from __future__ import annotations

import json
import logging
from types import ModuleType
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_oauth_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_request_log
import ccr_plugin_rule_default
import ccr_plugin_store_file
import pytest
from ccr_plugin_oauth_anthropic import Passing, PassingOptions

from ccr_core import AuthError, ConfigError, WireRequest
from ccr_core.testing import (
    Make,
    Upstream,
    check_plugin,
    check_stream,
    claude_code_headers,
    claude_code_request,
    samples,
    sse,
    streamed,
)

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS: list[ModuleType] = [
    ccr_plugin_anthropic,
    ccr_plugin_oauth_anthropic,
    ccr_plugin_openai_chat,
    ccr_plugin_request_log,
    ccr_plugin_rule_default,
    ccr_plugin_store_file,
]

LOGIN = "sk-ant-oat01-the-clients-own"
HEADERS = {**claude_code_headers(), "authorization": f"Bearer {LOGIN}"}

STREAM = streamed("Hello")

OTHER = sse(
    json.dumps({"choices": [{"index": 0, "delta": {"content": "other"}}]}),
    json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    "[DONE]",
)


def configuration(**more: Any) -> dict[str, Any]:
    return {
        "Providers": [
            {
                "name": "claude",
                "auth_type": "oauth",
                "oauth_provider": "anthropic",
                "models": ["claude-sonnet-5", "claude-opus-5"],
            },
            {
                "name": "acme",
                "api_base_url": "https://api.example/v1/chat/completions",
                "api_key": "sk-acme",
                "models": ["big"],
            },
        ],
        "Router": {"default": "claude,claude-sonnet-5"},
        **more,
    }


async def test_a_streamed_request(ccr: Make, upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    """The request goes to Anthropic as it came, with the client's login; the answer comes back byte for byte."""
    upstream.stream(STREAM, cut=13)
    body = claude_code_request(stream=True)
    with caplog.at_level(logging.DEBUG):
        answer = await ccr(configuration(), PLUGINS).messages(body, headers=HEADERS)
    sent = answer.sent[0]

    check_stream(answer.events)
    assert STREAM == answer.body
    assert "https://api.anthropic.com/v1/messages" == sent.url
    assert f"Bearer {LOGIN}" == sent.headers["authorization"]
    assert "x-api-key" not in sent.headers
    assert HEADERS["user-agent"] == sent.headers["user-agent"]
    assert {**body, "model": "claude-sonnet-5"} == sent.json
    assert LOGIN not in caplog.text


@pytest.mark.parametrize(
    ("given", "sent_betas"),
    [
        ("claude-code-20250219,x", "claude-code-20250219,oauth-2025-04-20,x"),
        ("claude-code-20250219,oauth-2025-04-20", "claude-code-20250219,oauth-2025-04-20"),
    ],
)
async def test_the_beta(ccr: Make, upstream: Upstream, given: str, sent_betas: str) -> None:
    """The beta that lets logins in is named, once, in the second place."""
    upstream.stream(STREAM)
    headers = {**HEADERS, "anthropic-beta": given}
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=True), headers=headers)

    assert sent_betas == answer.sent[0].headers["anthropic-beta"]


async def test_a_fallback_elsewhere(ccr: Make, upstream: Upstream) -> None:
    """Another provider gets its own key and nothing of the client's login."""
    upstream.fail(529, "overloaded").stream(OTHER)
    router = ccr(configuration(fallback={"default": ["acme,big"]}), PLUGINS)
    answer = await router.messages(claude_code_request(stream=True), headers=HEADERS)
    other = answer.sent[1]

    assert "other" == answer.text
    assert "Bearer sk-acme" == other.headers["authorization"]
    assert LOGIN not in repr(dict(other.headers)) + other.body.decode()


async def test_explain_shows_no_login(ccr: Make) -> None:
    """What would be sent is shown without the login."""
    shown = await ccr(configuration(), PLUGINS).explain(claude_code_request(stream=True), headers=HEADERS)

    assert LOGIN not in json.dumps(shown)
    assert "https://api.anthropic.com/v1/messages" == shown["url"]


@pytest.mark.parametrize("authorization", [None, "Bearer ccr-needs-no-key", "Bearer my-router-key", f"Basic {LOGIN}"])
async def test_no_login(ccr: Make, authorization: str | None) -> None:
    """What is no login of Anthropic's is not sent to it; the answer says how to start the client."""
    headers = {name: value for name, value in HEADERS.items() if name != "authorization"}
    if authorization is not None:
        headers["authorization"] = authorization
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=True), headers=headers)

    assert (401, []) == (answer.status, answer.sent)
    assert answer.error is not None
    assert "without ANTHROPIC_AUTH_TOKEN" in answer.error["message"]


@pytest.mark.parametrize("name", ["x-ccr-key", "x-api-key"])
async def test_beside_the_routers_key(ccr: Make, upstream: Upstream, name: str) -> None:
    """With a key for the router both are sent, and only the login goes on."""
    upstream.stream(STREAM)
    headers = {**HEADERS, name: "my-router-key"}
    router = ccr(configuration(APIKEY="my-router-key"), PLUGINS)
    answer = await router.messages(claude_code_request(stream=True), headers=headers)

    assert f"Bearer {LOGIN}" == answer.sent[0].headers["authorization"]
    assert "my-router-key" not in repr(dict(answer.sent[0].headers))


LIMITS = {
    "anthropic-ratelimit-unified-status": "allowed_warning",
    "anthropic-ratelimit-unified-5h-utilization": "0.93",
    "anthropic-ratelimit-unified-reset": "1800000000",
}


@pytest.mark.parametrize("stream", [True, False])
async def test_limits_of_the_plan(ccr: Make, upstream: Upstream, stream: bool) -> None:
    """Every answer tells the client what is left of its plan; the router's own headers stay what they are."""
    told = {**LIMITS, "set-cookie": "a=b", "request-id": "req_vendor"}
    if stream:
        upstream.stream(STREAM, headers=told)
    else:
        upstream.reply(samples.message(samples.text("Hello")), headers=told)
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=stream), headers=HEADERS)

    assert LIMITS == {name: answer.headers.get(name) for name in LIMITS}
    assert ("set-cookie" in answer.headers, "claude,claude-sonnet-5") == (
        False,
        answer.headers["x-ccr-route"].partition(";")[0],
    )


async def test_a_used_up_plan(ccr: Make, upstream: Upstream) -> None:
    """The refusal reaches the client in Anthropic's words, with all that its limit screen is made of."""
    upstream.fail(429, "You have hit your limit.", headers={**LIMITS, "retry-after": "7200"})
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=True), headers=HEADERS)

    assert (429, "7200") == (answer.status, answer.headers["retry-after"])
    assert LIMITS == {name: answer.headers.get(name) for name in LIMITS}
    assert answer.error is not None
    assert "You have hit your limit." == answer.error["message"]


async def test_limits_of_another_attempt(ccr: Make, upstream: Upstream) -> None:
    """What a refusal said of a plan is not told with the answer of another provider."""
    upstream.fail(529, "overloaded", headers=LIMITS).stream(OTHER)
    router = ccr(configuration(fallback={"default": ["acme,big"]}), PLUGINS)
    answer = await router.messages(claude_code_request(stream=True), headers=HEADERS)

    assert [] == [name for name in answer.headers if name.startswith("anthropic-")]


async def test_a_refused_login(ccr: Make, upstream: Upstream) -> None:
    """A 401 is the client's business: it comes back in Anthropic's words, after one request."""
    upstream.fail(401, "OAuth token has expired")
    answer = await ccr(configuration(), PLUGINS).messages(claude_code_request(stream=True), headers=HEADERS)

    assert (401, 1) == (answer.status, len(answer.sent))
    assert answer.error is not None
    assert "OAuth token has expired" == answer.error["message"]


async def test_the_next_client(ccr: Make, upstream: Upstream) -> None:
    """Nothing is kept from one request to the next."""
    upstream.stream(STREAM).stream(STREAM)
    router = ccr(configuration(), PLUGINS)
    answers = [
        await router.messages(
            claude_code_request(stream=True), headers={**HEADERS, "authorization": f"Bearer sk-ant-oat01-{who}"}
        )
        for who in ("one", "two")
    ]
    none = await router.messages(claude_code_request(stream=True), headers=claude_code_headers())

    assert ["Bearer sk-ant-oat01-one", "Bearer sk-ant-oat01-two"] == [
        answer.sent[0].headers["authorization"] for answer in answers
    ]
    assert 401 == none.status


@pytest.mark.parametrize("where", ["entry", "option"])
async def test_another_host(ccr: Make, where: str) -> None:
    """The login does not go to another host, whoever names it."""
    document = configuration()
    if where == "entry":
        document["Providers"][0]["api_base_url"] = "https://evil.example/v1/messages"
        with pytest.raises(ConfigError, match="tokens of anthropic are not sent there"):
            ccr(document, PLUGINS)
    else:
        document["oauth"] = {"anthropic": {"api_base": "https://evil.example"}}
        answer = await ccr(document, PLUGINS).messages(claude_code_request(stream=True), headers=HEADERS)
        assert (401, []) == (answer.status, answer.sent)


def test_a_request_without_the_step() -> None:
    """A request that no client's login came with is not signed."""
    wire = WireRequest(url="https://api.anthropic.com/v1/messages", headers={}, body={})
    with pytest.raises(AuthError, match="sent none"):
        Passing(PassingOptions(), "anthropic").apply(wire, None)


def test_plugin() -> None:
    """The package keeps the rules of packages."""
    check_plugin(ccr_plugin_oauth_anthropic)
