"""The transformer ``openrouter``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ccr_plugin_openai_chat
import ccr_plugin_openrouter as plugin
import orjson
import pytest

from ccr_core.testing import (
    Make,
    Trial,
    Upstream,
    ask,
    check_plugin,
    check_transformer,
    claude_code_request,
    config,
    sse,
    standins,
)

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

RECORDINGS = Path(__file__).parents[3] / "tests" / "recordings" / "openai-chat" / "openrouter"
PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.dialect, standins.rule]
(SPEC,) = plugin.ccr_transformers()
ROUTING = {"provider": {"only": ["moonshotai/fp8"]}}
ON = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
OFF = {"thinking": {"type": "disabled"}}


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)
    check_transformer(SPEC, ROUTING)


@pytest.mark.parametrize("dialect", ["openai-chat", "plain"])
async def test_routing_options(ccr: Make, dialect: str) -> None:
    """Any fields go into the body, in each of the formats that OpenRouter speaks, and replace those of the request."""
    options = {**ROUTING, "models": ["a/b"], "x_new": 1, "temperature": 0.1}
    router = ccr(config(use=[["openrouter", options]], dialect=dialect), plugins=PLUGINS)

    body = (await router.explain(ask(temperature=1)))["body"]

    assert options == {name: body[name] for name in options}


async def test_options_for_one_model(ccr: Make) -> None:
    """Options of a model's own step are added to the step for all."""
    given = config("or", ["kimi"], use=["openrouter"])
    given["Providers"][0]["transformer"]["kimi"] = {"use": [["openrouter", ROUTING]]}

    body = (await ccr(given, plugins=PLUGINS).explain(ask(model="or,kimi")))["body"]

    assert ROUTING["provider"] == body["provider"]


@pytest.mark.parametrize(
    ("model", "marks"),
    [("anthropic/claude-opus-5", 4), ("moonshotai/kimi-k2", 0), ("google/gemini-3-pro", 0)],
)
async def test_cache_marks(ccr: Make, model: str, marks: int) -> None:
    """Marks are kept for models of the Claude family, and removed for others."""
    mark = {"cache_control": {"type": "ephemeral"}}
    turns = [{"role": "user", "content": [{"type": "text", "text": f"{n}", **mark}]} for n in range(3)]
    body = claude_code_request(history=turns, model=f"or,{model}")

    explained = await ccr(config("or", [model], use=["openrouter"]), plugins=PLUGINS).explain(body)

    assert marks == orjson.dumps(explained["body"]).count(b"cache_control")


@pytest.mark.parametrize(
    ("model", "client", "expected"),
    [
        ("anthropic/claude-opus-5", ON, {"effort": "medium"}),
        ("anthropic/claude-opus-5", OFF, {"enabled": False}),
        ("anthropic/claude-opus-5", {"thinking": {"type": "adaptive"}}, {"enabled": True}),
        ("openai/gpt-oss-120b", OFF, {"effort": "minimal"}),
        ("openai/gpt-5-mini", OFF, {"effort": "minimal"}),
        ("openai/gpt-5.2", OFF, {"enabled": False}),
        ("moonshotai/kimi-k2-thinking", OFF, {"effort": "minimal"}),
        ("x/y", {"output_config": {"effort": "xhigh"}}, {"effort": "xhigh"}),
        ("x/y", {}, None),
    ],
)
async def test_thinking_is_asked_for(ccr: Make, model: str, client: dict[str, Any], expected: Any) -> None:
    """Thinking is asked for in OpenRouter's way, and not switched off where that is refused."""
    router = ccr(config("or", [model], use=["openrouter"]), plugins=PLUGINS)

    assert expected == (await router.explain(ask(model=f"or,{model}", **client)))["body"].get("reasoning")


async def test_details_go_back(ccr: Make, upstream: Upstream) -> None:
    """Signed details of thinking go back unchanged, also those before the user's last message."""
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "f", "index": 0}]
    message = {"content": "4", "reasoning": "Hm.", "reasoning_details": details}
    upstream.reply({"choices": [{"message": message, "finish_reason": "stop"}]})
    router = ccr(config(use=["openrouter"]), plugins=PLUGINS)
    answer = await router.messages(ask(stream=False))
    turns = [{"role": "assistant", "content": answer.content}, {"role": "user", "content": "sure?"}]

    body = (await router.explain(ask(messages=[{"role": "user", "content": "2+2"}, *turns])))["body"]

    assert (details, "Hm.") == (body["messages"][1]["reasoning_details"], body["messages"][1]["reasoning"])


async def test_web_search(ccr: Make) -> None:
    """A wish for web search becomes OpenRouter's own; the ending of the model's name passes."""
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}

    body = (
        await ccr(config("or", ["a/b:online"], use=["openrouter"]), plugins=PLUGINS).explain(
            ask(tools=[tool], model="or,a/b:online")
        )
    )["body"]

    assert [{"type": "openrouter:web_search", "parameters": {"max_uses": 2}}] == body["tools"]
    assert "a/b:online" == body["model"]


async def test_stop_reasons_stay(ccr: Make, upstream: Upstream) -> None:
    """The length limit stays the reason although counts come with it; a numeric id of a call becomes a proper one."""
    call = {"index": 0, "id": 0, "function": {"name": "Read", "arguments": "{}"}}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5}
    first = {"choices": [{"delta": {"content": "x", "tool_calls": [call]}}]}
    upstream.stream(sse(first, {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": usage}, "[DONE]"))

    answer = await ccr(config(use=["openrouter"]), plugins=PLUGINS).messages(ask(tools=["Read"]))

    assert ("max_tokens", 2) == (answer.stop_reason, answer.usage["output_tokens"])
    assert [str] == [type(block["id"]) for block in answer.tool_uses]
    assert ("cost", 0.5) in answer.notes
    assert {"include": True} == upstream.requests[0].json["usage"]


async def test_recorded_thinking(ccr: Make, upstream: Upstream) -> None:
    """Thinking that OpenRouter really sent reaches the client once, before the text."""
    upstream.stream(RECORDINGS / "openrouter.stream-with-reasoning.0", cut=7)

    answer = await ccr(config(use=["openrouter"]), plugins=PLUGINS).messages(ask(**ON))

    assert ["thinking", "text"] == [block["type"] for block in answer.content]


def test_no_body() -> None:
    """A request without a body is left alone."""
    from ccr_core import WireRequest

    wire = WireRequest(method="GET", url="https://openrouter.ai/api/v1/models")

    assert wire is Trial(SPEC, ROUTING).wire(wire)
