"""The presets of the package ``provider-ollama``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_ollama
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
    ccr_plugin_provider_ollama,
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
        ("ollama,qwen3-coder:30b", "http://localhost:11434/v1/chat/completions"),
        ("ollama-anthropic,qwen3-coder:30b", "http://localhost:11434/v1/messages"),
    ],
)
async def test_the_local_server_needs_no_key(ccr: Make, upstream: Upstream, route: str, url: str) -> None:
    """Without a key none is sent."""
    got, headers, _ = await sent(ccr, upstream, route, claude_code_request())

    assert (url, set()) == (got, {"authorization", "x-api-key"} & set(headers))


async def test_the_cloud_wants_a_key(ccr: Make, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken from the environment."""
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-cloud")
    url, headers, _ = await sent(ccr, upstream, "ollama-cloud,gpt-oss:120b", claude_code_request())

    assert ("https://ollama.com/v1/chat/completions", "Bearer sk-cloud") == (url, headers["authorization"])


async def test_a_forced_tool_is_the_only_one(ccr: Make, upstream: Upstream) -> None:
    """Ollama ignores tool_choice."""
    body = claude_code_request(tool_choice={"type": "tool", "name": "Bash"})
    _, _, got = await sent(ccr, upstream, "ollama,llama4", body)

    assert (["Bash"], "auto") == ([tool["function"]["name"] for tool in got["tools"]], got["tool_choice"])


@pytest.mark.parametrize(("model", "level"), [("gpt-oss:20b", "high"), ("qwen3-coder:30b", None)])
async def test_thinking(ccr: Make, upstream: Upstream, model: str, level: str | None) -> None:
    """Only models that can think are asked to: others refuse."""
    _, _, got = await sent(ccr, upstream, f"ollama,{model}", claude_code_request())

    assert level == got.get("reasoning_effort")


async def test_images(ccr: Make, upstream: Upstream) -> None:
    """Data passes, a URL does not."""
    images: list[JSON] = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    ]
    body = claude_code_request(history=[{"role": "user", "content": [*images, {"type": "text", "text": "?"}]}])
    _, _, got = await sent(ccr, upstream, "ollama,gemma4", body)

    assert ["image_url", "text", "text"] == [part["type"] for part in got["messages"][-1]["content"]]
