"""The presets of the package ``provider-vllm``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_vllm
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
    ccr_plugin_provider_vllm,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0]}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


@pytest.mark.parametrize(
    ("route", "url"),
    [
        ("vllm,m", "http://localhost:8000/v1/chat/completions"),
        ("vllm-anthropic,m", "http://localhost:8000/v1/messages"),
    ],
)
async def test_no_key_is_needed(ccr: Make, upstream: Upstream, route: str, url: str) -> None:
    """Without a key none is sent."""
    got, headers, _ = await sent(ccr, upstream, route, claude_code_request())

    assert (url, set()) == (got, {"authorization", "x-api-key"} & set(headers))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("unsloth/Qwen3-30B", {"chat_template_kwargs": {"enable_thinking": True}}),
        ("gpt-oss-20b", {"reasoning_effort": "high"}),
        ("llama-4", {}),
    ],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, expected: JSON) -> None:
    """It is asked for in the way of the model's template."""
    _, _, got = await sent(ccr, upstream, f"vllm,{model}", claude_code_request())

    assert expected == {name: got[name] for name in ("chat_template_kwargs", "reasoning_effort") if name in got}


async def test_sampling(ccr: Make, upstream: Upstream) -> None:
    """The server knows top_k."""
    _, _, got = await sent(ccr, upstream, "vllm,m", claude_code_request(top_k=40))

    assert 40 == got["top_k"]
