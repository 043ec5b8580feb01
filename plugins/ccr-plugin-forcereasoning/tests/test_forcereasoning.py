"""The transformer ``forcereasoning``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_forcereasoning as plugin
import ccr_plugin_openai_chat
import pytest
from ccr_plugin_forcereasoning.step import INSTRUCTION

from ccr_core import ConfigError
from ccr_core.testing import (
    Make,
    Trial,
    Upstream,
    ask,
    check_plugin,
    check_transformer,
    config,
    message,
    sse,
    standins,
)
from ccr_core.testing.samples import text, thinking, tool_use

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.rule]
(SPEC,) = plugin.ccr_transformers()
SAID = {"type": "text", "text": INSTRUCTION}


def tagged(words: str) -> dict[str, Any]:
    """Thinking as the model gets it back."""
    return text(f"<reasoning_content>\n{words}\n</reasoning_content>")


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC, messages={"tagged": message(text("<reasoning_content>a</reasoning_content>b"))})


RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"role": "user", "content": "hi"}, [{"role": "user", "content": [SAID, text("hi")]}]),
        ({"role": "user", "content": [text("hi")]}, [{"role": "user", "content": [text("hi"), SAID]}]),
        ({"role": "user", "content": [RESULT]}, [{"role": "user", "content": [RESULT, SAID]}]),
        (
            {"role": "system", "content": "news"},
            [{"role": "system", "content": "news"}, {"role": "user", "content": [SAID]}],
        ),
        ({"role": "assistant", "content": "{"}, [{"role": "assistant", "content": "{"}]),
    ],
    ids=["plain", "blocks", "results of tools", "system", "a started answer"],
)
def test_instruction(last: dict[str, Any], expected: list[Any]) -> None:
    """The model is told to think in the last words that it reads, and never between calls and their results."""
    first = {"role": "user", "content": "first"}

    assert [first, *expected] == Trial(SPEC).request(ask(messages=[first, last])).messages


def test_no_room_for_a_tag() -> None:
    """An answer that must have a given form is left alone, with a note."""
    trial = Trial(SPEC)
    body = ask(output_config={"format": {"type": "json_schema", "schema": {}}})

    assert body is trial.request(body).body
    assert ["forcereasoning"] == [key for key, _ in trial.notes]


def history(*contents: Any) -> list[Any]:
    """A conversation with these answers."""
    messages: list[Any] = []
    for content in contents:
        messages += [{"role": "user", "content": "q"}, {"role": "assistant", "content": content}]
    return [*messages, {"role": "user", "content": [text("q")]}]


def answers(messages: list[Any]) -> list[Any]:
    """The contents of the answers in a conversation."""
    return [message["content"] for message in messages if message["role"] == "assistant"]


def test_earlier_thinking() -> None:
    """Thinking goes back in the tag, in its place between the other blocks."""
    call = tool_use("Read", n=1)
    given = history([thinking("a"), text("b"), thinking("c"), call], "plain", [text("no thinking")])

    got = answers(Trial(SPEC).request(ask(messages=given)).messages)

    assert [[tagged("a"), text("b"), tagged("c"), call], "plain", [text("no thinking")]] == got


def test_only_the_last_ones() -> None:
    """Of a long conversation only the last messages show their thinking, and those that have nothing else."""
    given = history([thinking("alone")], [thinking("old"), text("b")], [thinking("new"), text("c")])

    got = answers(Trial(SPEC, {"keep": 1}).request(ask(messages=given)).messages)

    assert [[tagged("alone")], [thinking("old"), text("b")], [tagged("new"), text("c")]] == got


def test_bad_options() -> None:
    """A negative number is refused."""
    with pytest.raises(ConfigError, match="must not be negative, got -1"):
        Trial(SPEC, {"keep": -1})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("<reasoning_content>\na\n</reasoning_content>\nb", [("thinking", "a"), ("text", "b")]),
        (
            "Sure.\n<reasoning_content>a</reasoning_content>b",
            [("text", "Sure.\n"), ("thinking", "a"), ("text", "b")],
        ),
        ("no tag at all", [("text", "no tag at all")]),
        ("<reasoning_content>a", [("thinking", "a")]),
    ],
    ids=["as told", "text before", "no tag", "never closed"],
)
async def test_answers(ccr: Make, upstream: Upstream, words: str, expected: list[Any]) -> None:
    """What stands in the tag is thinking, and everything else is text: streamed letter by letter, and whole."""
    chunks = [{"choices": [{"delta": {"content": letter}}]} for letter in words]
    upstream.stream(sse(*chunks, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, "[DONE]"))
    upstream.reply({"choices": [{"message": {"content": words}, "finish_reason": "stop"}]})
    router = ccr(config(use=["forcereasoning"]), plugins=PLUGINS)

    for stream in (True, False):
        answer = await router.messages(ask(stream=stream))
        kinds = [(block["type"], block.get("text") or block.get("thinking")) for block in answer.content]
        assert expected == kinds


async def test_the_round(ccr: Make, upstream: Upstream) -> None:
    """The thinking that the client got and sends back reaches the model in the tag, and no note says it was lost."""
    words = "<reasoning_content>a</reasoning_content>b"
    upstream.reply({"choices": [{"message": {"content": words}, "finish_reason": "stop"}]})
    router = ccr(config(use=["forcereasoning"]), plugins=PLUGINS)
    content = (await router.messages(ask(stream=False))).content

    explained = await router.explain(ask(messages=history(content)))

    assert "<reasoning_content>\na\n</reasoning_content>\n\nb" == explained["body"]["messages"][1]["content"]
    assert [] == explained["notes"]
