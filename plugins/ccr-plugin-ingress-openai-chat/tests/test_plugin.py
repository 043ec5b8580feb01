"""The plugin as a whole: the rules that plugins keep, and that nothing is lost between it and the dialect."""

from __future__ import annotations

import json
from typing import Any

import ccr_plugin_ingress_openai_chat
import ccr_plugin_openai_chat
import ccr_plugin_rule_default
from ccr_plugin_ingress_openai_chat.ingress import ChatCompletions
from ccr_plugin_openai_chat import OpenAIChat
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import JSON, blocks_of, text_of
from ccr_core.testing import Upstream, as_request, check_ingress, check_plugin, config
from ccr_core.testing.dialects import context
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

ASK: JSON = {"model": "acme,big", "messages": [{"role": "user", "content": "Hi"}]}
CHOICES: list[JSON] = [
    {"type": "auto"},
    {"type": "any"},
    {"type": "none"},
    {"type": "tool", "name": "B"},
    {"type": "auto", "disable_parallel_tool_use": True},
]
USAGE: JSON = {"stream": True, "stream_options": {"include_usage": True}}


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin has to pass find nothing."""
    check_plugin(ccr_plugin_ingress_openai_chat)


def test_the_ingress_is_the_mirror_of_the_dialect() -> None:
    """What the ingress writes, the dialect reads: streamed however it was cut, whole, and failing anywhere."""
    check_ingress(ChatCompletions(), OpenAIChat(), bodies=[ASK, {**ASK, **USAGE}])


# --- there and back ----------------------------------------------------------------------------------------------

words = st.text(alphabet='abc é\n<>{}"\\', min_size=1, max_size=12).filter(lambda text: text.strip() == text)
arguments = st.dictionaries(
    st.sampled_from(["x", "y"]), st.one_of(words, st.integers(-(2**53), 2**53), st.none(), st.booleans()), max_size=2
)


@st.composite
def requests(draw: st.DrawFn) -> JSON:
    """Requests of the Messages API in which every call has its result."""
    turns: list[JSON] = [{"role": "user", "content": draw(words)}]
    number = 0
    for _ in range(draw(st.integers(0, 3))):
        blocks: list[JSON] = [{"type": "text", "text": text} for text in draw(st.lists(words, max_size=1))]
        results: list[JSON] = []
        for made in draw(st.lists(arguments, max_size=3)):
            blocks.append({"type": "tool_use", "id": f"c{number}", "name": draw(st.sampled_from("AB")), "input": made})
            results.append({"type": "tool_result", "tool_use_id": f"c{number}", "content": draw(words)})
            number += 1
        if blocks:
            turns.append({"role": "assistant", "content": blocks})
        if results:
            turns.append({"role": "user", "content": results})
        turns.append({"role": "user", "content": draw(words)})
    body: JSON = {"model": "big", "messages": turns, "max_tokens": draw(st.integers(1, 9999))}
    body["tools"] = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in "AB"]
    optional = {
        "system": words,
        "temperature": st.sampled_from([0, 0.5, 1]),
        "stop_sequences": st.lists(words, min_size=1, max_size=3),
        "stream": st.just(True),
        "tool_choice": st.sampled_from(CHOICES),
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            body[name] = draw(values)
    return body


def meaning(body: JSON) -> Any:
    """What a request says, however it is written."""
    said: list[Any] = [("system", text_of(body["system"]))] if body.get("system") else []
    for message in body["messages"]:
        for block in blocks_of(message["content"]):
            kind = block["type"]
            if kind == "text":
                said.append((message["role"], block["text"]))
            elif kind == "tool_use":
                said.append((block["id"], block["name"], block["input"]))
            else:
                said.append((block["tool_use_id"], text_of(block["content"])))
    rest = {name: value for name, value in body.items() if name not in ("messages", "system")}
    return said, rest


@settings(max_examples=150, deadline=None)
@given(requests())
def test_a_request_comes_back(body: JSON) -> None:
    """A request that goes out by the dialect and comes in again by the ingress says the same."""
    wire = OpenAIChat().encode(as_request(body), context(dialect=OpenAIChat()))

    back = ChatCompletions().decode(json.dumps(wire.body).encode(), {})

    assert meaning(body) == meaning(back.body)


# --- in the router -----------------------------------------------------------------------------------------------


async def test_what_is_left_out_is_noted(ccr: Make, upstream: Upstream) -> None:
    """What the ingress leaves out is a note of the exchange, like everything else that was left out."""
    upstream.reply({"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]})
    plugins = [ccr_plugin_ingress_openai_chat, ccr_plugin_openai_chat, ccr_plugin_rule_default]
    router = ccr(config(dialect="openai-chat"), plugins=plugins)

    answer = await router.messages({**ASK, "seed": 7}, path="/v1/chat/completions")

    assert 200 == answer.status
    assert "fields without a counterpart left out: seed" == dict(answer.notes)["chat-completions"]
