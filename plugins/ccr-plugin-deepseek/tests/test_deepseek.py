"""The transformer ``deepseek``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ccr_plugin_deepseek as plugin
import ccr_plugin_openai_chat
import pytest

from ccr_core import ConfigError
from ccr_core.testing import Make, Trial, Upstream, ask, check_plugin, check_transformer, config, sse, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

RECORDINGS = Path(__file__).parents[3] / "tests" / "recordings" / "openai-chat" / "deepseek"
PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.dialect, standins.rule]
(SPEC,) = plugin.ccr_transformers()
ON = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
OFF = {"thinking": {"type": "disabled"}}
OWN = config("deepseek", ["deepseek-v4-pro"], use=["deepseek"])


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)
    check_transformer(SPEC, {"max_tokens": 8192})


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (ON, {"thinking": {"type": "enabled"}, "reasoning_effort": "medium"}),
        (OFF, {"thinking": {"type": "disabled"}}),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            {"thinking": {"type": "enabled"}, "reasoning_effort": "max"},
        ),
        ({}, {}),
    ],
    ids=["a budget", "off", "an effort", "nothing said"],
)
async def test_thinking_is_asked_for(ccr: Make, client: dict[str, Any], expected: dict[str, Any]) -> None:
    """The service is asked in its own words."""
    body = (await ccr(OWN, plugins=PLUGINS).explain(ask(**client)))["body"]

    assert expected == {name: body[name] for name in ("thinking", "reasoning_effort") if name in body}


@pytest.mark.parametrize(
    ("options", "asked", "expected"),
    [({}, 32000, 32000), ({"max_tokens": 8192}, 32000, 8192), ({"max_tokens": "8192"}, 100, 100)],
    ids=["no limit of its own", "larger", "smaller"],
)
@pytest.mark.parametrize("dialect", ["openai-chat", "plain"])
async def test_limit(ccr: Make, dialect: str, options: dict[str, Any], asked: int, expected: int) -> None:
    """Only a limit in the options lowers what the client asks for, in whichever format."""
    router = ccr(config(use=[["deepseek", options]], dialect=dialect), plugins=PLUGINS)

    assert expected == (await router.explain(ask(max_tokens=asked)))["body"]["max_tokens"]


@pytest.mark.parametrize("limit", [0, "many", "-1"])
def test_bad_limit(limit: Any) -> None:
    """A limit that is no positive number is refused."""
    with pytest.raises(ConfigError, match="must be"):
        Trial(SPEC, {"max_tokens": limit})


@pytest.mark.parametrize("model", ["deepseek-v3-250324", "deepseek-ai/DeepSeek-V4", "deepseek-chat"])
async def test_other_services(ccr: Make, model: str) -> None:
    """Under other names, at other services, no field is sent that might be refused."""
    router = ccr(config("other", [model], use=["deepseek"]), plugins=PLUGINS)

    body = (await router.explain(ask(model=f"other,{model}", **ON)))["body"]

    assert {"thinking", "reasoning_effort"}.isdisjoint(body)


async def test_the_way_of_the_service_stays(ccr: Make) -> None:
    """Where the provider's options say how a model is asked, the transformer does not change it."""
    style = {"reasoning": {"style": "enable_thinking"}}
    given = config("other", ["x/DeepSeek-V4"], use=["deepseek"], options=style)

    body = (await ccr(given, plugins=PLUGINS).explain(ask(model="other,x/DeepSeek-V4", **ON)))["body"]

    assert (True, False) == (body["enable_thinking"], "thinking" in body)


async def test_forced_tools(ccr: Make) -> None:
    """A request that forces a tool is made without thinking."""
    body = ask(tools=["Read"], tool_choice={"type": "any"}, **ON)

    sent = (await ccr(OWN, plugins=PLUGINS).explain(body))["body"]

    assert ("required", {"type": "disabled"}) == (sent["tool_choice"], sent["thinking"])


async def test_thinking_goes_back(ccr: Make, upstream: Upstream) -> None:
    """The thinking that came goes back with its message, and an empty one with the messages of other models."""
    upstream.stream(RECORDINGS / "deepseek.deferred-capability-with-thinking.1")
    router = ccr(OWN, plugins=PLUGINS)
    first = await router.messages(ask(stream=False))
    assert first.thinking
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "4"} for call in first.tool_uses]
    history = [
        {"role": "user", "content": "My guess is 4."},
        {"role": "assistant", "content": "Then roll."},
        {"role": "user", "content": "I do."},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]

    body = (await router.explain(ask(messages=history)))["body"]

    told = [message.get("reasoning_content") for message in body["messages"] if message["role"] == "assistant"]
    assert ["", first.thinking] == told


async def test_streamed(ccr: Make, upstream: Upstream) -> None:
    """Thinking, text, a call and the counts of a last chunk of their own: nothing is lost."""
    deltas = [
        {"role": "assistant", "content": None, "reasoning_content": "Hm"},
        {"content": None, "reasoning_content": "m."},
        {"content": "I look."},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "Read", "arguments": '{"n"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}}
    upstream.stream(sse(*chunks, end, usage, "[DONE]"), cut=11)

    answer = await ccr(config(use=["deepseek"]), plugins=PLUGINS).messages(ask(tools=["Read"], **ON))

    assert ["thinking", "text", "tool_use"] == [block["type"] for block in answer.content]
    assert ("Hmm.", "I look.", {"n": 1}) == (answer.thinking, answer.text, answer.tool_uses[0]["input"])
    assert (5, 5, 4) == tuple(answer.usage[f"{name}_tokens"] for name in ("input", "output", "cache_read_input"))
