"""The transformer ``vercel``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_openai_chat
import ccr_plugin_vercel as plugin
import orjson
import pytest

from ccr_core.testing import (
    Make,
    Upstream,
    ask,
    check_plugin,
    check_transformer,
    claude_code_request,
    config,
    standins,
)
from ccr_core.testing.bodies import PIXEL

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.dialect, standins.rule]
(SPEC,) = plugin.ccr_transformers()
ROUTING = {"providerOptions": {"gateway": {"order": ["bedrock"]}}}


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)
    check_transformer(SPEC, ROUTING)


@pytest.mark.parametrize("dialect", ["openai-chat", "plain"])
async def test_routing_options(ccr: Make, dialect: str) -> None:
    """Any fields go into the body, in each of the formats that the gateway speaks."""
    router = ccr(config(use=[["vercel", ROUTING]], dialect=dialect), plugins=PLUGINS)

    assert ROUTING["providerOptions"] == (await router.explain(ask()))["body"]["providerOptions"]


@pytest.mark.parametrize(("model", "marks"), [("anthropic/claude-opus-5", True), ("openai/gpt-5.2", False)])
async def test_cache_marks(ccr: Make, model: str, marks: bool) -> None:
    """Marks are kept for models of the Claude family, and removed for others."""
    router = ccr(config("v", [model], use=["vercel"]), plugins=PLUGINS)

    explained = await router.explain(claude_code_request(model=f"v,{model}"))

    assert marks == (b"cache_control" in orjson.dumps(explained["body"]))


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, {"effort": "high"}),
        ({"thinking": {"type": "disabled"}}, {"enabled": False}),
        ({}, None),
    ],
    ids=["on", "off", "nothing said"],
)
async def test_thinking_is_asked_for(ccr: Make, client: dict[str, Any], expected: Any) -> None:
    """Thinking is asked for with an object."""
    router = ccr(config(use=["vercel"]), plugins=PLUGINS)

    assert expected == (await router.explain(ask(**client)))["body"].get("reasoning")


async def test_images(ccr: Make) -> None:
    """An image's data has one prefix, not two."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    body = ask(messages=[{"role": "user", "content": [image]}])

    sent = (await ccr(config(use=["vercel"]), plugins=PLUGINS).explain(body))["body"]

    assert {"url": f"data:image/png;base64,{PIXEL}"} == sent["messages"][0]["content"][0]["image_url"]


async def test_thinking_both_ways(ccr: Make, upstream: Upstream) -> None:
    """Thinking reaches the client, and goes back with its details."""
    details = [{"type": "reasoning.encrypted", "data": "ZW5j"}]
    message = {"content": "4", "reasoning": "Hm.", "reasoning_details": details}
    upstream.reply({"choices": [{"message": message, "finish_reason": "stop"}]})
    router = ccr(config(use=["vercel"]), plugins=PLUGINS)
    answer = await router.messages(ask(stream=False))
    turns = [{"role": "assistant", "content": answer.content}, {"role": "user", "content": "sure?"}]

    body = (await router.explain(ask(messages=[{"role": "user", "content": "2+2"}, *turns])))["body"]

    assert ("Hm.", details) == (answer.thinking, body["messages"][1]["reasoning_details"])
