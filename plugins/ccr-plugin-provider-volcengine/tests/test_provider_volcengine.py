"""The presets of the package ``provider-volcengine``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_volcengine
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
    ccr_plugin_provider_volcengine,
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
        ("volcengine", "https://ark.cn-beijing.volces.com/api/v3/chat/completions"),
        ("volcengine-coding", "https://ark.cn-beijing.volces.com/api/coding/v3/chat/completions"),
        ("volcengine-coding-anthropic", "https://ark.cn-beijing.volces.com/api/coding/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """The plan has addresses of its own."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},ark-code-latest", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("doubao-seed-1-8-251228", {"type": "enabled"}),
        ("deepseek-v3-2-251201", {"type": "enabled"}),
        ("kimi-k2-5-260127", {"type": "enabled"}),
        ("ep-20260101", None),
    ],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, thinking: JSON | None) -> None:
    """Models that have the switch are switched; nothing limits the answer to 8192 tokens."""
    _, _, got = await sent(ccr, upstream, f"volcengine,{model}", claude_code_request())

    assert (thinking, 32000) == (got.get("thinking"), got["max_tokens"])
