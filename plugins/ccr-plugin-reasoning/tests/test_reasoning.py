"""The transformer ``reasoning``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_openai_chat
import ccr_plugin_reasoning as plugin
import pytest

from ccr_core.testing import Make, Trial, Upstream, ask, check_plugin, check_transformer, config, sse, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.dialect, standins.rule]
(SPEC,) = plugin.ccr_transformers()
ON = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
OFF = {"thinking": {"type": "disabled"}}
FIELDS = ("thinking", "enable_thinking", "thinking_budget", "reasoning_effort", "reasoning")


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)
    check_transformer(SPEC, {"enable": False})


@pytest.mark.parametrize(
    ("options", "client", "expected"),
    [
        ({}, ON, {"thinking": {"type": "enabled"}, "enable_thinking": True}),
        ({}, {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "enabled"}, "enable_thinking": True}),
        ({}, OFF, {"thinking": {"type": "disabled"}, "enable_thinking": False}),
        ({}, {}, {}),
        ({"enable": False}, ON, {"thinking": {"type": "disabled"}, "enable_thinking": False}),
        ({"enable": False}, {}, {"thinking": {"type": "disabled"}, "enable_thinking": False}),
    ],
    ids=["wanted", "adaptive", "not wanted", "nothing said", "switched off", "switched off, nothing said"],
)
async def test_the_two_fields(
    ccr: Make, options: dict[str, Any], client: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Where the router knows nothing of the service, both fields say what is wanted."""
    router = ccr(config(use=[["reasoning", options]]), plugins=PLUGINS)

    body = (await router.explain(ask(**client)))["body"]

    assert expected == {name: body[name] for name in FIELDS if name in body}


@pytest.mark.parametrize(
    ("options", "client", "expected"),
    [
        ({}, ON, {"enable_thinking": True, "thinking_budget": 2000}),
        ({"enable": False}, ON, {"enable_thinking": False}),
        ({"enable": False}, {"output_config": {"effort": "high"}}, {"enable_thinking": False}),
    ],
    ids=["on", "off", "off in spite of the effort"],
)
async def test_a_known_way_stays(
    ccr: Make, options: dict[str, Any], client: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Where the provider's options say how thinking is asked for, no other field is added."""
    style = {"reasoning": {"style": "enable_thinking"}}
    router = ccr(config(use=[["reasoning", options]], options=style), plugins=PLUGINS)

    body = (await router.explain(ask(**client)))["body"]

    assert expected == {name: body[name] for name in FIELDS if name in body}


async def test_other_formats(ccr: Make) -> None:
    """The Messages API has its own field, and no other is added there."""
    router = ccr(config(use=[["reasoning", {"enable": False}]], dialect="plain"), plugins=PLUGINS)

    body = (await router.explain(ask(**ON)))["body"]

    assert OFF == {name: body[name] for name in FIELDS if name in body}


def test_other_wishes_for_the_output_stay() -> None:
    """Only the effort goes with the thinking, not the form of the answer."""
    request = Trial(SPEC, {"enable": False}).request(ask(output_config={"effort": "high", "format": {"type": "x"}}))

    assert {"format": {"type": "x"}} == request.body["output_config"]


async def test_thinking_comes_back(ccr: Make, upstream: Upstream) -> None:
    """Thinking in the field of these services reaches the client, whole or streamed."""
    message = {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
    upstream.reply({"id": "1", "model": "big", "choices": [{"message": message, "finish_reason": "stop"}]})
    deltas = [{"reasoning_content": "2+"}, {"reasoning_content": "2"}, {"content": "4"}]
    chunks = [{"choices": [{"delta": delta}]} for delta in deltas]
    upstream.stream(sse(*chunks, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, "[DONE]"))
    router = ccr(config(use=["reasoning"]), plugins=PLUGINS)

    whole = await router.messages(ask(stream=False, **ON))
    streamed = await router.messages(ask(**ON))

    assert [("2+2", "4")] * 2 == [(answer.thinking, answer.text) for answer in (whole, streamed)]
