"""The presets of the package ``provider-azure``, in a whole router."""

from __future__ import annotations

import json

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_azure
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
    ccr_plugin_provider_azure,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0], "api_key": "sk-test"}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


@pytest.fixture(autouse=True)
def resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a user with one resource."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com/")
    monkeypatch.setenv("ANTHROPIC_FOUNDRY_RESOURCE", "mine")


@pytest.mark.parametrize(
    ("preset", "url", "header"),
    [
        ("azure", "https://mine.openai.azure.com/openai/v1/chat/completions", "api-key"),
        ("azure-anthropic", "https://mine.services.ai.azure.com/anthropic/v1/messages", "x-api-key"),
    ],
)
async def test_where_it_goes(ccr: Make, upstream: Upstream, preset: str, url: str, header: str) -> None:
    """The address is that of the resource in the environment; the key is sent in one way only."""
    got, headers, _ = await sent(ccr, upstream, f"{preset},my-gpt", claude_code_request())

    assert (url, "sk-test") == (got, headers[header])
    assert "authorization" not in headers


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("https://mine.openai.azure.com", "https://mine.openai.azure.com/openai/v1"),
        ("https://mine.openai.azure.com/openai/v1/", "https://mine.openai.azure.com/openai/v1"),
        ("https://mine.openai.azure.com/openai/deployments/d", "https://mine.openai.azure.com/openai/deployments/d"),
        ("", "https:///openai/v1"),
    ],
)
def test_the_address(monkeypatch: pytest.MonkeyPatch, endpoint: str, base: str) -> None:
    """The variable is written in several ways; without it the preset knows the path only."""
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)

    assert base == next(iter(ccr_plugin_provider_azure.ccr_providers())).base_url


@pytest.mark.parametrize(
    "url",
    [
        "https://mine.openai.azure.com/openai/v1",
        "https://mine.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        "https://mine.services.ai.azure.com/openai/v1",
    ],
)
async def test_addresses_are_recognised(ccr: Make, upstream: Upstream, url: str) -> None:
    """An entry with any name and such a URL is this service."""
    upstream.fail(404)
    entry = {"name": "work", "api_base_url": url, "api_key": "sk-test", "models": ["gpt-5-eu"]}
    document = {"Providers": [entry], "Router": {"default": "work,gpt-5-eu"}}

    await ccr(document, plugins=PLUGINS).messages(claude_code_request(temperature=1))

    (received,) = upstream.requests
    assert "sk-test" == received.headers["api-key"]
    assert url in (received.url, received.url.removesuffix("/chat/completions"))
    assert ("high", 32000) == (received.json["reasoning_effort"], received.json["max_completion_tokens"])
    assert set() == {"temperature", "max_tokens"} & set(received.json)


async def test_claude(ccr: Make, upstream: Upstream) -> None:
    """The effort and documents pass; betas, edits of the context and the client's accounting do not."""
    body = claude_code_request(history=claude_code_history())
    _, headers, got = await sent(ccr, upstream, "azure-anthropic,claude-opus-5", body)
    text = json.dumps(got)

    assert ({"effort": "high"}, "2023-06-01") == (got["output_config"], headers["anthropic-version"])
    assert "anthropic-beta" not in headers
    assert "application/pdf" in text
    assert [] == [word for word in ("context_management", "billing-header") if word in text]
