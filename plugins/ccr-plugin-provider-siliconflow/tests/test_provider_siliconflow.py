"""The presets of the package ``provider-siliconflow``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_siliconflow
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
    ccr_plugin_provider_siliconflow,
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
        ("siliconflow", "https://api.siliconflow.cn/v1/chat/completions"),
        ("siliconflow-anthropic", "https://api.siliconflow.cn/v1/messages"),
        ("siliconflow-intl", "https://api.siliconflow.com/v1/chat/completions"),
        ("siliconflow-intl-anthropic", "https://api.siliconflow.com/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Two services, two formats."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},zai-org/GLM-4.6", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("zai-org/GLM-4.6", {"enable_thinking": True, "thinking_budget": 24576}),
        (
            "Pro/deepseek-ai/DeepSeek-V4",
            {"enable_thinking": True, "thinking_budget": 24576, "reasoning_effort": "high"},
        ),
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct", {}),
        ("moonshotai/Kimi-K2-Instruct-0905", {}),
    ],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, expected: JSON) -> None:
    """Models that have the switch are switched; others would refuse the field."""
    _, _, got = await sent(ccr, upstream, f"siliconflow,{model}", claude_code_request())

    names = ("enable_thinking", "thinking_budget", "reasoning_effort")
    assert expected == {name: got[name] for name in names if name in got}


@pytest.mark.parametrize(("asked", "budget"), [(100, 128), (60000, 32768)])
async def test_budgets(ccr: Make, upstream: Upstream, asked: int, budget: int) -> None:
    """They stay within what the service takes."""
    thinking = {"type": "enabled", "budget_tokens": asked}
    body = claude_code_request(thinking=thinking, output_config=..., max_tokens=64000)
    _, _, got = await sent(ccr, upstream, "siliconflow,zai-org/GLM-4.6", body)

    assert budget == got["thinking_budget"]
