"""The presets of the package ``provider-modelscope``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_modelscope
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
    ccr_plugin_provider_modelscope,
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
        ("modelscope", "https://api-inference.modelscope.cn/v1/chat/completions"),
        ("modelscope-anthropic", "https://api-inference.modelscope.cn/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Both formats have their address."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},ZhipuAI/GLM-4.6", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(
    ("model", "thinks"), [("ZhipuAI/GLM-4.6", True), ("Qwen/Qwen3-Coder-480B-A35B-Instruct", None)]
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, thinks: bool | None) -> None:
    """It is asked for in a stream, from models that have the switch; the answer is limited."""
    body = claude_code_request(stream=False, max_tokens=128000)
    _, _, got = await sent(ccr, upstream, f"modelscope,{model}", body)

    assert (thinks, True, 65536) == (got.get("enable_thinking"), got["stream"], got["max_tokens"])
