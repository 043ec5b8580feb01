"""The presets of the package ``provider-deepseek``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_deepseek
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
    ccr_plugin_provider_deepseek,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0], "api_key": "sk-test"}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


@pytest.mark.parametrize(
    ("preset", "url", "header", "value"),
    [
        ("deepseek", "https://api.deepseek.com/chat/completions", "authorization", "Bearer sk-test"),
        ("deepseek-anthropic", "https://api.deepseek.com/anthropic/v1/messages", "x-api-key", "sk-test"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str, header: str, value: str) -> None:
    """Both formats have their address and their way to send the key."""
    got, headers, body = await sent(ccr, upstream, f"{preset},deepseek-v4-pro", claude_code_request())

    assert (url, value) == (got, headers[header])
    assert "deepseek-v4-pro" == body["model"]


async def test_thinking(ccr: Make, upstream: Upstream) -> None:
    """It is asked for with its effort, and every earlier answer has some, if only empty; images become a remark."""
    body = claude_code_request(history=claude_code_history(), output_config={"effort": "xhigh"})
    _, _, got = await sent(ccr, upstream, "deepseek,deepseek-v4-pro", body)

    assert ({"type": "enabled"}, "high") == (got["thinking"], got["reasoning_effort"])
    assert {""} == {one["reasoning_content"] for one in got["messages"] if one["role"] == "assistant"}
    assert all(isinstance(one["content"], str) for one in got["messages"] if one["role"] == "tool")
    assert "image_url" not in json.dumps(got)


async def test_no_thinking_while_a_tool_is_forced(ccr: Make, upstream: Upstream) -> None:
    """The service refuses both together; the demand for the tool is the more specific one."""
    body = claude_code_request(history=claude_code_history(), tool_choice={"type": "tool", "name": "Bash"})
    _, _, got = await sent(ccr, upstream, "deepseek,deepseek-v4-pro", body)

    assert ({"type": "disabled"}, "Bash") == (got["thinking"], got["tool_choice"]["function"]["name"])
    assert "reasoning_content" not in json.dumps(got)


async def test_the_anthropic_format(ccr: Make, upstream: Upstream) -> None:
    """The effort passes, and nothing that only Anthropic knows."""
    _, headers, got = await sent(ccr, upstream, "deepseek-anthropic,deepseek-v4-pro", claude_code_request())

    assert {"effort": "high"} == got["output_config"]
    assert set() == {"metadata", "context_management"} & set(got)
    assert "anthropic-beta" not in headers
    assert ["You are a coding assistant for the command line."] == [block["text"] for block in got["system"]][:1]
