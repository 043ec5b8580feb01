"""The presets of the package ``provider-vercel``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_vercel
import ccr_plugin_rule_default
import pytest

from ccr_core import JSON
from ccr_core.testing import Upstream, claude_code_history, claude_code_request
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [
    ccr_plugin_anthropic,
    ccr_plugin_openai_chat,
    ccr_plugin_rule_default,
    ccr_plugin_provider_vercel,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0], "api_key": "sk-test"}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


@pytest.mark.parametrize(
    ("preset", "url"),
    [
        ("vercel", "https://ai-gateway.vercel.sh/v1/chat/completions"),
        ("vercel-anthropic", "https://ai-gateway.vercel.sh/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Both formats have their address."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},anthropic/claude-sonnet-4.6", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(("model", "marks"), [("anthropic/claude-sonnet-4.6", 3), ("openai/gpt-5.5", 0)])
async def test_thinking_and_cache_marks(ccr: Make, upstream: Upstream, model: str, marks: int) -> None:
    """Thinking is asked for with an object; cache marks are for models of Anthropic."""
    _, _, got = await sent(ccr, upstream, f"vercel,{model}", claude_code_request(history=claude_code_history()))

    assert {"effort": "high"} == got["reasoning"]
    assert marks == json.dumps(got).count("cache_control")
