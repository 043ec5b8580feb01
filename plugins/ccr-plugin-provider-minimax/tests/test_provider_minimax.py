"""The presets of the package ``provider-minimax``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_minimax
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
    ccr_plugin_provider_minimax,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0], "api_key": "sk-test"}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


@pytest.mark.parametrize(
    ("preset", "url", "header", "value"),
    [
        ("minimax", "https://api.minimax.io/v1/chat/completions", "authorization", "Bearer sk-test"),
        ("minimax-anthropic", "https://api.minimax.io/anthropic/v1/messages", "x-api-key", "sk-test"),
        ("minimax-cn", "https://api.minimaxi.com/v1/chat/completions", "authorization", "Bearer sk-test"),
        ("minimax-cn-anthropic", "https://api.minimaxi.com/anthropic/v1/messages", "x-api-key", "sk-test"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str, header: str, value: str) -> None:
    """Two services, two formats, two ways to send the key."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},MiniMax-M3", claude_code_request())

    assert (url, value) == (got, headers[header])


@pytest.mark.parametrize(("model", "images"), [("MiniMax-M2.7", 0), ("MiniMax-M3", 2)])
async def test_thoughts_and_images(ccr: Make, upstream: Upstream, model: str, images: int) -> None:
    """Thoughts come apart from the text; M2 sees no images."""
    _, _, got = await sent(ccr, upstream, f"minimax,{model}", claude_code_request(history=claude_code_history()))

    assert True is got["reasoning_split"]
    assert images == json.dumps(got).count('"image_url", "image_url"')
