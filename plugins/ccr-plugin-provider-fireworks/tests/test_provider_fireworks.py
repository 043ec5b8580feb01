"""The presets of the package ``provider-fireworks``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_fireworks
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
    ccr_plugin_provider_fireworks,
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
        ("fireworks", "https://api.fireworks.ai/inference/v1/chat/completions"),
        ("fireworks-anthropic", "https://api.fireworks.ai/inference/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Both formats have their address."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},accounts/fireworks/models/glm-5", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


async def test_a_request(ccr: Make, upstream: Upstream) -> None:
    """It is always a stream, a prompt that is too long is to be refused, and a session finds its cache."""
    body = claude_code_request(stream=False)
    _, headers, got = await sent(ccr, upstream, "fireworks,accounts/fireworks/models/kimi-k2-instruct", body)

    assert (True, "error") == (got["stream"], got["context_length_exceeded_behavior"])
    assert 32 == len(headers["x-session-affinity"])


@pytest.mark.parametrize(
    ("model", "thinking", "level"),
    [
        ("gpt-oss-120b", "disabled", "low"),
        ("glm-5", "disabled", "none"),
        ("deepseek-v4", "adaptive", "high"),
        ("kimi-k2-instruct", "adaptive", None),
    ],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, thinking: str, level: str | None) -> None:
    """Models that take a level are given one."""
    body = claude_code_request(thinking={"type": thinking})
    _, _, got = await sent(ccr, upstream, f"fireworks,accounts/fireworks/models/{model}", body)

    assert level == got.get("reasoning_effort")
