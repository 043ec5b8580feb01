"""The presets of the package ``provider-cerebras``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_cerebras
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
    ccr_plugin_provider_cerebras,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0], "api_key": "sk-test"}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


async def test_a_conversation(ccr: Make, upstream: Upstream) -> None:
    """Little is reserved, images become a remark, and what Cerebras refuses is not sent."""
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    body = claude_code_request(history=claude_code_history(), tool_choice=choice)
    url, headers, got = await sent(ccr, upstream, "cerebras,gpt-oss-120b", body)

    assert ("https://api.cerebras.ai/v1/chat/completions", "Bearer sk-test") == (url, headers["authorization"])
    assert (16384, "high") == (got["max_completion_tokens"], got["reasoning_effort"])
    assert set() == {"max_tokens", "parallel_tool_calls"} & set(got)
    assert "image_url" not in json.dumps(got)


@pytest.mark.parametrize(("thinking", "disabled"), [("adaptive", False), ("disabled", True)])
async def test_glm(ccr: Make, upstream: Upstream, thinking: str, disabled: bool) -> None:
    """GLM is switched by a field of its own."""
    _, _, got = await sent(ccr, upstream, "cerebras,zai-glm-4.7", claude_code_request(thinking={"type": thinking}))

    assert disabled is got["disable_reasoning"]
