"""The presets of the package ``provider-dashscope``, in a whole router."""

from __future__ import annotations

from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_dashscope
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
    ccr_plugin_provider_dashscope,
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
        ("dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"),
        ("qwen", "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"),
        ("dashscope-intl", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions"),
        ("dashscope-us", "https://dashscope-us.aliyuncs.com/compatible-mode/v1/chat/completions"),
        ("dashscope-coding", "https://coding.dashscope.aliyuncs.com/v1/chat/completions"),
        ("dashscope-coding-anthropic", "https://coding.dashscope.aliyuncs.com/apps/anthropic/v1/messages"),
        ("dashscope-anthropic", "https://dashscope.aliyuncs.com/apps/anthropic/v1/messages"),
        ("dashscope-intl-anthropic", "https://dashscope-intl.aliyuncs.com/apps/anthropic/v1/messages"),
        ("dashscope-us-anthropic", "https://dashscope-us.aliyuncs.com/apps/anthropic/v1/messages"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Each region has its address, in two formats."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},qwen-plus", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(
    ("model", "expected"),
    [("qwen-plus", {"enable_thinking": True, "thinking_budget": 24576}), ("qwen3-coder-plus", {})],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, expected: JSON) -> None:
    """It is asked for in a stream, whatever the client wants."""
    _, _, got = await sent(ccr, upstream, f"dashscope,{model}", claude_code_request(stream=False))

    assert expected == {name: got[name] for name in ("enable_thinking", "thinking_budget") if name in got}
    assert (True, {"include_usage": True}) == (got["stream"], got["stream_options"])


@pytest.mark.parametrize(
    ("model", "tools", "choice"),
    [("qwen-plus", 7, {"type": "function", "function": {"name": "Bash"}}), ("qwen3-coder-plus", 1, "auto")],
)
async def test_a_forced_tool(ccr: Make, upstream: Upstream, model: str, tools: int, choice: Any) -> None:
    """It is forced without thinking, or is the only one where it cannot be forced."""
    body = claude_code_request(tool_choice={"type": "tool", "name": "Bash"})
    _, _, got = await sent(ccr, upstream, f"dashscope,{model}", body)

    assert (tools, choice) == (len(got["tools"]), got["tool_choice"])
    assert True is not got.get("enable_thinking")


async def test_search(ccr: Make, upstream: Upstream) -> None:
    """It is the service's own."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    _, _, got = await sent(ccr, upstream, "dashscope,qwen-plus", claude_code_request(tools=[search]))

    assert True is got["enable_search"]


CODING = "https://coding.dashscope.aliyuncs.com"
GENERAL = "https://dashscope.aliyuncs.com/compatible-mode/v1"


@pytest.mark.parametrize(
    ("url", "key", "advice"),
    [
        (GENERAL, "sk-sp-secret", "use the preset dashscope-coding"),
        ("https://dashscope-intl.aliyuncs.com", "sk-sp-secret", "use the preset dashscope-coding"),
        (f"{CODING}/apps/anthropic", "sk-sp-secret", None),
        (GENERAL, "sk-secret", None),
        (CODING, "sk-sp-secret", None),
    ],
)
def test_keys_of_the_plan(ccr: Make, url: str, key: str, advice: str | None) -> None:
    """A key at an address that it does not belong to is warned of, and not shown."""
    entry = {"name": "mine", "api_base_url": url, "api_key": key, "models": ["qwen-plus"]}
    router = ccr({"Providers": [entry], "Router": {"default": "mine,qwen-plus"}}, PLUGINS)
    warned = [text for text in router.runtime.warnings if "mine" in text]

    assert [advice] * (advice is not None) == [text[-len(str(advice)) :] for text in warned]
    assert "secret" not in "".join(warned)
