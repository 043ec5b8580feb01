"""The presets of the package ``provider-zai``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_zai
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
    ccr_plugin_provider_zai,
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
        ("zai", "https://api.z.ai/api/paas/v4/chat/completions"),
        ("zai-coding", "https://api.z.ai/api/coding/paas/v4/chat/completions"),
        ("zai-anthropic", "https://api.z.ai/api/anthropic/v1/messages"),
        ("zhipu", "https://open.bigmodel.cn/api/paas/v4/chat/completions"),
        ("zhipu-coding", "https://open.bigmodel.cn/api/coding/paas/v4/chat/completions"),
        ("zhipu-anthropic", "https://open.bigmodel.cn/api/anthropic/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Two services, the plan, two formats."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},glm-4.7", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


ON = {"type": "enabled", "clear_thinking": False}
OFF = {"type": "disabled", "clear_thinking": False}


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("glm-4.5-air", "adaptive", {"thinking": {"type": "enabled"}}),
        ("glm-4.6", "adaptive", {"thinking": {"type": "enabled"}, "tool_stream": True}),
        ("glm-4.7", "disabled", {"thinking": OFF, "tool_stream": True}),
        ("glm-5.2", "adaptive", {"thinking": ON, "reasoning_effort": "high", "tool_stream": True}),
        ("glm-5.3", "disabled", {"thinking": ON, "reasoning_effort": "low", "tool_stream": True}),
    ],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, thinking: str, expected: JSON) -> None:
    """Each model is asked in its own way, and streams the arguments of tools if it can."""
    _, _, got = await sent(ccr, upstream, f"zai,{model}", claude_code_request(thinking={"type": thinking}))

    names = ("thinking", "reasoning_effort", "tool_stream")
    assert expected == {name: got[name] for name in names if name in got}


@pytest.mark.parametrize(("model", "count"), [("glm-4.7", 0), ("glm-5.3", 0), ("glm-4.5v", 2), ("glm-5v-turbo", 2)])
async def test_images(ccr: Make, upstream: Upstream, model: str, count: int) -> None:
    """They pass to the models that see."""
    _, _, got = await sent(ccr, upstream, f"zai,{model}", claude_code_request(history=claude_code_history()))

    assert count == json.dumps(got).count('"image_url", "image_url"')


async def test_search_and_forced_tools(ccr: Make, upstream: Upstream) -> None:
    """Search is the service's own; a forced tool is the only one."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    bash = {"name": "Bash", "input_schema": {"type": "object"}}
    read = {"name": "Read", "input_schema": {"type": "object"}}
    body = claude_code_request(tools=[search, bash, read], tool_choice={"type": "tool", "name": "Bash"})
    _, _, got = await sent(ccr, upstream, "zai,glm-4.7", body)

    assert ["function", "web_search"] == [tool["type"] for tool in got["tools"]]
    assert "auto" == got["tool_choice"]
