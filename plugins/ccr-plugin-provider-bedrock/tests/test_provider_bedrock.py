"""The presets of the package ``provider-bedrock``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_bedrock
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
    ccr_plugin_provider_bedrock,
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
        ("bedrock", "https://bedrock-mantle.eu-west-1.api.aws/v1/chat/completions"),
        ("bedrock-anthropic", "https://bedrock-mantle.eu-west-1.api.aws/anthropic/v1/messages"),
    ],
)
async def test_where_it_goes(
    ccr: Make, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, preset: str, url: str
) -> None:
    """The region is that of the environment; the key is a bearer token."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    got, headers, _ = await sent(ccr, upstream, f"{preset},any", claude_code_request())

    assert (url, "Bearer sk-test") == (got, headers["authorization"])


@pytest.mark.parametrize(("default", "region"), [("ap-south-1", "ap-south-1"), ("", "us-east-1")])
def test_the_region(monkeypatch: pytest.MonkeyPatch, default: str, region: str) -> None:
    """Without AWS_REGION it is the default one, else that in which most models are."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", default)

    chat, _ = ccr_plugin_provider_bedrock.ccr_providers()

    assert f"https://bedrock-mantle.{region}.api.aws/v1/chat/completions" == chat.base_url


async def test_addresses_are_recognised(ccr: Make, upstream: Upstream) -> None:
    """The older endpoint for chat completions is known by its host."""
    upstream.fail(404)
    url = "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1"
    entry = {"name": "aws", "api_base_url": url, "api_key": "sk-test", "models": ["openai.gpt-oss-120b-1:0"]}
    document = {"Providers": [entry], "Router": {"default": "aws,openai.gpt-oss-120b-1:0"}}

    await ccr(document, plugins=PLUGINS).messages(claude_code_request(output_config={"effort": "max"}))

    (received,) = upstream.requests
    assert (f"{url}/chat/completions", "high") == (received.url, received.json["reasoning_effort"])


async def test_claude(ccr: Make, upstream: Upstream) -> None:
    """The effort and documents pass; betas and edits of the context do not."""
    body = claude_code_request(history=claude_code_history())
    _, headers, got = await sent(ccr, upstream, "bedrock-anthropic,anthropic.claude-opus-5", body)

    assert {"effort": "high"} == got["output_config"]
    assert "context_management" not in got
    assert "anthropic-beta" not in headers
    assert "document" in {
        block["type"] for one in got["messages"] for block in one["content"] if isinstance(block, dict)
    }
