"""The presets of the package ``provider-xai``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_openai_responses
import ccr_plugin_provider_xai
import ccr_plugin_rule_default
import pytest

from ccr_core import JSON
from ccr_core.testing import Upstream, claude_code_request
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [
    ccr_plugin_anthropic,
    ccr_plugin_openai_chat,
    ccr_plugin_openai_responses,
    ccr_plugin_rule_default,
    ccr_plugin_provider_xai,
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
    [("xai", "https://api.x.ai/v1/chat/completions"), ("xai-responses", "https://api.x.ai/v1/responses")],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str) -> None:
    """Both formats have their address."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},grok-4.6", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("grok-4.6", "max", "xhigh"),
        ("grok-4.5", "max", "high"),
        ("grok-4.3", "low", "low"),
        ("grok-4.20", "high", None),
        ("grok-code-fast-1", "high", None),
    ],
)
async def test_thinking(ccr: Make, upstream: Upstream, model: str, effort: str, expected: str | None) -> None:
    """Each model has its levels, in both formats; stop sequences are refused in the older one."""
    body = claude_code_request(output_config={"effort": effort}, stop_sequences=["END"])
    _, _, chat = await sent(ccr, upstream, f"xai,{model}", body)
    upstream.requests.clear()
    _, _, response = await sent(ccr, upstream, f"xai-responses,{model}", body)

    assert (expected, expected) == (chat.get("reasoning_effort"), response.get("reasoning", {}).get("effort"))
    assert "stop" not in chat


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("grok-4.6", ["reasoning.encrypted_content"]),
        ("grok-4", ["reasoning.encrypted_content"]),
        ("grok-4-0709", ["reasoning.encrypted_content"]),
        ("grok-4.20-reasoning", ["reasoning.encrypted_content"]),
        ("grok-code-fast-1", ["reasoning.encrypted_content"]),
        ("grok-4-1-fast-non-reasoning", None),
    ],
)
async def test_thoughts_are_asked_for(ccr: Make, upstream: Upstream, model: str, expected: list[str] | None) -> None:
    """Models that think without being told to are asked for their encrypted thoughts too, for the next turn."""
    _, _, got = await sent(ccr, upstream, f"xai-responses,{model}", claude_code_request())

    assert expected == got.get("include")


async def test_schemas(ccr: Make, upstream: Upstream) -> None:
    """Limits that the service refuses are put into words."""
    _, _, got = await sent(ccr, upstream, "xai,grok-4.6", claude_code_request())
    (read,) = (tool["function"] for tool in got["tools"] if tool["function"]["name"] == "Read")

    assert "maxLength: 20" in read["parameters"]["properties"]["pages"]["description"]
    assert "allOf" not in json.dumps(got["tools"])


async def test_tokens_of_thinking_are_added(ccr: Make, upstream: Upstream) -> None:
    """The service counts them apart."""
    usage = {"prompt_tokens": 12, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 290}}
    choice = {"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    upstream.reply({"id": "1", "choices": [choice], "usage": usage})
    document = {"Providers": [{"name": "xai", "api_key": "sk-test"}], "Router": {"default": "xai,grok-4.6"}}

    answer = await ccr(document, plugins=PLUGINS).messages(claude_code_request(stream=False))

    assert (12, 291) == (answer.usage["input_tokens"], answer.usage["output_tokens"])
