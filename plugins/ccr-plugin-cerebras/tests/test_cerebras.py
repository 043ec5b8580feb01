"""The transformer ``cerebras``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ccr_plugin_cerebras as plugin
import ccr_plugin_openai_chat
import pytest

from ccr_core import ConfigError
from ccr_core.testing import Make, Trial, Upstream, ask, check_plugin, check_transformer, config, standins
from ccr_core.testing.bodies import PIXEL

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

RECORDINGS = Path(__file__).parents[3] / "tests" / "recordings" / "openai-chat" / "cerebras"
PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.rule]
(SPEC,) = plugin.ccr_transformers()
ON = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
OFF = {"thinking": {"type": "disabled"}}


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)


@pytest.mark.parametrize(
    ("options", "asked", "expected"),
    [({}, 32000, 16384), ({}, 100, 100), ({"max_tokens": 8192}, 32000, 8192), ({"max_tokens": "9000"}, 32000, 9000)],
    ids=["by itself", "smaller", "configured", "in quotes"],
)
async def test_limit(ccr: Make, options: dict[str, Any], asked: int, expected: int) -> None:
    """No more is asked for than the limiter likes, and what is lowered is noted."""
    explained = await ccr(config(use=[["cerebras", options]]), plugins=PLUGINS).explain(ask(max_tokens=asked))

    assert (expected, False) == (explained["body"]["max_completion_tokens"], "max_tokens" in explained["body"])
    assert (expected != asked) == ("max_tokens" in [note["key"] for note in explained["notes"]])


@pytest.mark.parametrize("limit", [0, "many"])
def test_bad_limit(limit: Any) -> None:
    """A limit that is no positive number is refused."""
    with pytest.raises(ConfigError, match="must be"):
        Trial(SPEC, {"max_tokens": limit})


@pytest.mark.parametrize(
    ("model", "client", "expected"),
    [
        ("gpt-oss-120b", ON, {"reasoning_effort": "medium"}),
        ("gpt-oss-120b", OFF, {"reasoning_effort": "low"}),
        ("zai-glm-4.7", ON, {"disable_reasoning": False}),
        ("zai-glm-4.7", OFF, {"disable_reasoning": True}),
        ("llama3.1-8b", ON, {}),
    ],
)
async def test_thinking_is_asked_for(ccr: Make, model: str, client: Any, expected: dict[str, Any]) -> None:
    """Each family is asked in the words that it knows."""
    router = ccr(config("c", [model], use=["cerebras"]), plugins=PLUGINS)

    body = (await router.explain(ask(model=f"c,{model}", **client)))["body"]

    names = ("reasoning_effort", "disable_reasoning", "reasoning", "thinking")
    assert expected == {name: body[name] for name in names if name in body}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-oss-120b", lambda thought, text: (thought, text)),
        ("zai-glm-4.7", lambda thought, text: (None, f"<think>\n{thought}\n</think>\n\n{text}")),
    ],
)
async def test_thinking_goes_back(ccr: Make, upstream: Upstream, model: str, expected: Any) -> None:
    """Recorded thinking reaches the client, and goes back in the running turn as the family wants it."""
    upstream.stream(RECORDINGS / "cerebras.thinking-part-survives-multiturn.1")
    router = ccr(config("c", [model], use=["cerebras"]), plugins=PLUGINS)
    answer = await router.messages(ask(model=f"c,{model}", stream=False))
    turns = [
        {"role": "user", "content": "2 + 2"},
        {"role": "assistant", "content": [*answer.content, {"type": "tool_use", "id": "t", "name": "R", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
    ]

    body = (await router.explain(ask(model=f"c,{model}", messages=turns)))["body"]

    sent = body["messages"][1]
    assert expected(answer.thinking, answer.text) == (sent.get("reasoning"), sent["content"])


async def test_what_cerebras_refuses(ccr: Make) -> None:
    """Images and the flag for parallel calls are left out, visibly."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    body = ask(
        messages=[{"role": "user", "content": [image]}],
        tools=["Read"],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    )

    explained = await ccr(config(use=["cerebras"]), plugins=PLUGINS).explain(body)

    assert "parallel_tool_calls" not in explained["body"]
    assert "[image omitted]" == explained["body"]["messages"][0]["content"]
    assert {"messages", "tools"} <= {note["key"] for note in explained["notes"]}
