"""The presets of the package ``provider-moonshot``, in a whole router."""

from __future__ import annotations

import json
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_moonshot
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
    ccr_plugin_provider_moonshot,
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
        ("moonshot", "https://api.moonshot.ai/v1/chat/completions"),
        ("moonshot-anthropic", "https://api.moonshot.ai/anthropic/v1/messages"),
        ("moonshot-cn", "https://api.moonshot.cn/v1/chat/completions"),
        ("moonshot-cn-anthropic", "https://api.moonshot.cn/anthropic/v1/messages"),
        ("kimi-coding", "https://api.kimi.com/coding/v1/chat/completions"),
        ("kimi-coding-anthropic", "https://api.kimi.com/coding/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Three services, two formats."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},kimi-k3", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("kimi-k3", "adaptive", {"reasoning_effort": "high"}),
        ("kimi-k3", "disabled", {"reasoning_effort": "low"}),
        ("kimi-k2.6", "adaptive", {"thinking": {"type": "enabled", "keep": "all"}}),
        ("kimi-k2.6", "disabled", {"thinking": {"type": "disabled", "keep": "all"}}),
        ("kimi-k2.7-code", "disabled", {"thinking": {"type": "enabled", "keep": "all"}}),
        ("kimi-k2.5", "adaptive", {"thinking": {"type": "enabled"}}),
        ("kimi-k2-0905-preview", "adaptive", {"temperature": 0.6}),
    ],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, thinking: str, expected: JSON) -> None:
    """Each model is asked in its own way; those that think take no temperature."""
    body = claude_code_request(thinking={"type": thinking}, temperature=0.6)
    _, _, got = await sent(ccr, upstream, f"moonshot,{model}", body)

    names = ("thinking", "reasoning_effort", "temperature")
    assert expected == {name: got[name] for name in names if name in got}


@pytest.mark.parametrize(("model", "thought"), [("kimi-k2.6", " "), ("kimi-k3", " "), ("kimi-k2-turbo-preview", None)])
async def test_lost_thoughts(ccr: Make, upstream: Upstream, model: str, thought: str | None) -> None:
    """A model that demands its thoughts gets a blank where there are none."""
    _, _, got = await sent(ccr, upstream, f"moonshot,{model}", claude_code_request(history=claude_code_history()))

    assert {thought} == {one.get("reasoning_content") for one in got["messages"] if "tool_calls" in one}


@pytest.mark.parametrize(
    ("model", "tools", "choice"),
    [("kimi-k2.6", 7, {"type": "function", "function": {"name": "Bash"}}), ("kimi-k3", 1, "auto")],
)
async def test_a_forced_tool(ccr: Make, upstream: Upstream, model: str, tools: int, choice: Any) -> None:
    """It is forced without thinking, or is the only one of a model that always thinks."""
    body = claude_code_request(tool_choice={"type": "tool", "name": "Bash"})
    _, _, got = await sent(ccr, upstream, f"moonshot,{model}", body)

    assert (tools, choice) == (len(got["tools"]), got["tool_choice"])
    assert "enabled" != got.get("thinking", {}).get("type")


async def test_schemas(ccr: Make, upstream: Upstream) -> None:
    """They are in the flavour that the service takes: no $schema, and no allOf."""
    _, _, got = await sent(ccr, upstream, "moonshot,kimi-k3", claude_code_request())
    text = json.dumps(got["tools"])

    assert [] == [word for word in ("$schema", "allOf", "propertyNames") if word in text]
    assert {"object"} == {tool["function"]["parameters"]["type"] for tool in got["tools"]}
