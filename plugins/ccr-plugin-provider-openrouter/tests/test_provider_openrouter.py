"""The presets of the package ``provider-openrouter``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_openrouter
import ccr_plugin_rule_default
import pytest

from ccr_core import JSON
from ccr_core.testing import Upstream, claude_code_request
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [
    ccr_plugin_anthropic,
    ccr_plugin_openai_chat,
    ccr_plugin_rule_default,
    ccr_plugin_provider_openrouter,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0], "api_key": "sk-test"}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


@pytest.mark.parametrize(
    ("route", "url"),
    [
        ("openrouter,openrouter/auto", "https://openrouter.ai/api/v1/chat/completions"),
        ("openrouter-anthropic,anthropic/claude-sonnet-4.6", "https://openrouter.ai/api/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, route: str, url: str) -> None:
    """Both formats have their address; the key is a bearer token, and the program tells its name."""
    got, headers, _ = await sent(ccr, upstream, route, claude_code_request())

    assert (url, "Bearer sk-test", "ccr") == (got, headers["authorization"], headers["x-title"])


@pytest.mark.parametrize(
    ("model", "marks"), [("anthropic/claude-opus-4.8:online", 4), ("google/gemini-3.1-pro", 4), ("z-ai/glm-5", 0)]
)
async def test_cache_marks(ccr: Make, upstream: Upstream, model: str, marks: int) -> None:
    """They are kept for models of Anthropic and Google, four at most."""
    marked = {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}
    _, _, body = await sent(ccr, upstream, f"openrouter,{model}", claude_code_request(history=[marked] * 4))

    assert marks == json.dumps(body).count("cache_control")


async def test_thinking_search_and_cost(ccr: Make, upstream: Upstream) -> None:
    """Thinking is asked for with an object, search is OpenRouter's own, and the cost is wanted."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    _, _, body = await sent(ccr, upstream, "openrouter,x-ai/grok-4.6", claude_code_request(tools=[search]))

    assert ({"effort": "high"}, {"include": True}) == (body["reasoning"], body["usage"])
    assert [{"type": "openrouter:web_search", "parameters": {"max_uses": 8}}] == body["tools"]
    assert 32000 == body["max_tokens"]
