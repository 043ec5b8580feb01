"""The presets of the package ``provider-groq``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_groq
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
    ccr_plugin_provider_groq,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0], "api_key": "sk-test"}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


async def test_a_conversation(ccr: Make, upstream: Upstream) -> None:
    """Nothing that Groq refuses is sent."""
    body = claude_code_request(history=claude_code_history(), top_k=5)
    url, headers, got = await sent(ccr, upstream, "groq,openai/gpt-oss-120b", body)
    text = json.dumps(got)

    assert ("https://api.groq.com/openai/v1/chat/completions", "Bearer sk-test") == (url, headers["authorization"])
    assert [] == [name for name in ("cache_control", "$schema", "top_k", '"name": "user"') if name in text]
    assert 32000 == got["max_completion_tokens"]


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("openai/gpt-oss-120b", "adaptive", {"reasoning_effort": "high"}),
        ("openai/gpt-oss-120b", "disabled", {"reasoning_effort": "low"}),
        ("qwen/qwen3-32b", "adaptive", {"reasoning_effort": "default", "reasoning_format": "parsed"}),
        ("qwen/qwen3-32b", "disabled", {"reasoning_effort": "none", "reasoning_format": "parsed"}),
        ("llama-3.3-70b-versatile", "adaptive", {}),
    ],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, thinking: str, expected: JSON) -> None:
    """It is asked for in the words of the model."""
    _, _, got = await sent(ccr, upstream, f"groq,{model}", claude_code_request(thinking={"type": thinking}))

    assert expected == {name: got[name] for name in ("reasoning_effort", "reasoning_format") if name in got}
