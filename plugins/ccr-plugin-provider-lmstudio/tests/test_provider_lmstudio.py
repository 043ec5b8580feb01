"""The presets of the package ``provider-lmstudio``, in a whole router."""

from __future__ import annotations

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_lmstudio
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
    ccr_plugin_provider_lmstudio,
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
        ("lmstudio,m", "http://localhost:1234/v1/chat/completions"),
        ("lmstudio-anthropic,m", "http://localhost:1234/v1/messages"),
    ],
)
async def test_no_key_is_needed(ccr: Make, upstream: Upstream, route: str, url: str) -> None:
    """Without a key none is sent."""
    got, headers, _ = await sent(ccr, upstream, route, claude_code_request())

    assert (url, set()) == (got, {"authorization", "x-api-key"} & set(headers))


async def test_a_forced_tool_is_the_only_one(ccr: Make, upstream: Upstream) -> None:
    """The server takes tool_choice as a word only."""
    body = claude_code_request(tool_choice={"type": "tool", "name": "Bash"})
    _, _, got = await sent(ccr, upstream, "lmstudio,m", body)

    assert (["Bash"], "required") == ([tool["function"]["name"] for tool in got["tools"]], got["tool_choice"])


@pytest.mark.parametrize(("model", "level"), [("openai/gpt-oss-20b", "high"), ("qwen/qwen3-coder-30b", None)])
async def test_thinking(ccr: Make, upstream: Upstream, model: str, level: str | None) -> None:
    """Only models that take a level are given one."""
    _, _, got = await sent(ccr, upstream, f"lmstudio,{model}", claude_code_request())

    assert level == got.get("reasoning_effort")
