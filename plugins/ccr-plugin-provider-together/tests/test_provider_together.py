"""The presets of the package ``provider-together``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_together
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
    ccr_plugin_provider_together,
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
        ("together", "https://api.together.xyz/v1/chat/completions"),
        ("together-anthropic", "https://api.together.ai/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Both formats have their address."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},openai/gpt-oss-120b", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(("model", "level"), [("openai/gpt-oss-120b", "high"), ("zai-org/GLM-5", None)])
async def test_thinking(ccr: Make, upstream: Upstream, model: str, level: str | None) -> None:
    """Only models that take a level are given one."""
    _, _, got = await sent(ccr, upstream, f"together,{model}", claude_code_request())

    assert level == got.get("reasoning_effort")
