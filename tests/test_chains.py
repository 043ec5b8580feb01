"""Any transformers of ours in any order keep the laws that each keeps alone.

An ordinary conversation is no cause for a failure; what is given stays as it was; an answer is the same streamed, cut
anywhere, and whole; and what comes out is lawful.
"""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import ccr_plugin_openai_chat
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccr_core import Context, Event, Pipe, Request, Target, assemble, explode
from ccr_core.config import Problems, structure
from ccr_core.plugins import load
from ccr_core.push import Stage
from ccr_core.sequence import Sequencer
from ccr_core.testing import (
    RICH,
    Harness,
    Upstream,
    ask,
    check_stream,
    claude_code_history,
    claude_code_request,
    config,
    entry_module,
    message,
    recut,
    sample_requests,
    sse,
    standins,
    steady_ids,
)
from ccr_core.testing.samples import text, thinking, tool_use
from ccr_core.transform import Chain, Step

FOLDERS = sorted(path.parent for path in (Path(__file__).parents[1] / "plugins").glob("*/pyproject.toml"))
MODULES = {folder.name: entry_module(folder) for folder in FOLDERS}
OFFERING = [module for module in MODULES.values() if hasattr(module, "ccr_transformers")]
CONTRIBUTED = load(OFFERING).transformers
SPECS = {name: contributed.value for name, contributed in CONTRIBUTED.items()}

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "maxtoken": [{"max_tokens": 2000}, {"max_tokens": "500"}],
    "sampling": [{"temperature": 0.5, "top_k": 3, "repetition_penalty": 1.1, "max_tokens": 900}, {}],
    "customparams": [{"seed": 1, "stream_options": {"include_usage": False}, "tools": "x"}, {}],
    "openrouter": [{"provider": {"only": ["x"]}}, {}],
    "vercel": [{"providerOptions": {"gateway": {"order": ["x"]}}}],
    "reasoning": [{}, {"enable": False}],
    "extrathinktag": [{}, {"tag": "reasoning_content"}],
    "forcereasoning": [{}, {"keep": 0}],
    "deepseek": [{}, {"max_tokens": 800}],
    "streamoptions": [{}, {"include_usage": False}],
}
"""Options to try, where the defaults are not enough."""

REQUESTS = [
    *sample_requests().values(),
    claude_code_request(history=claude_code_history()),
    ask(tools=["Read", "Bash"], tool_choice={"type": "auto"}, system="Be brief."),
]

TEXTS = [
    "Hello.",
    "<think>\na\n</think>\nb",
    "Well.\n<reasoning_content>x y</reasoning_content>",
    "<reasoning_content>open",
    "a < b\n<think",
    "\n",
    "ü漢🙂",
]


def blocks(number: int) -> st.SearchStrategy[dict[str, Any]]:
    """One content block; ``number`` keeps the ids of calls apart."""
    said = st.sampled_from(TEXTS)
    return st.one_of(
        said.map(text),
        st.sampled_from(["Hm.", "First\n\nthen."]).map(thinking),
        said.map(lambda words: tool_use("Read", f"toolu_{number}", path=words)),
        said.map(lambda words: tool_use("ExitTool", f"toolu_{number}", response=words)),
    )


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A whole message, one of the samples or a made-up one."""
    if draw(st.integers(0, 3)) == 0:
        return copy.deepcopy(draw(st.sampled_from(list(RICH.values()))))
    content = [draw(blocks(number)) for number in range(draw(st.integers(1, 4)))]
    calls = any(block["type"] == "tool_use" for block in content)
    return message(*content, stop_reason="tool_use" if calls else draw(st.sampled_from(["end_turn", "max_tokens"])))


def uses(names: list[str]) -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    """Some of the transformers with options, in any order, the same one more than once."""
    one = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(OPTIONS.get(name, [{}])))
    )
    return st.lists(one, min_size=1, max_size=6)


def step(use: tuple[str, dict[str, Any]]) -> Step:
    """A transformer as the configuration makes it."""
    spec = SPECS[use[0]]
    problems = Problems()
    options = structure(spec.options, use[1], use[0], problems) if spec.options is not None else None
    problems.raise_if_any(None)
    return Step(spec, options, f"use {use[0]}", CONTRIBUTED[use[0]].plugin)


def chain(steps: list[Step]) -> Chain:
    """The steps of one attempt."""
    target = Target(provider="acme", model="big", base_url="https://api.example/v1")
    return Chain(steps, Context(exchange_id="test", target=target))


def answered(steps: list[Step], request: Request, events: list[Event]) -> list[Event]:
    """What the client is told when the provider says ``events``."""
    attempt = chain(steps)
    with steady_ids():
        attempt.on_request(request)
        pipe = Pipe([*attempt.stages(), Stage.of(Sequencer(), "sequencer")])
        out: list[Event] = []
        for event in events:
            pipe.push(event, out)
        pipe.end(out)
    return out


ANSWERING = sorted(name for name in SPECS if chain([step((name, OPTIONS.get(name, [{}])[0]))]).stages())
"""Those that touch answers."""

EACH = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@EACH
@given(uses(sorted(SPECS)), st.sampled_from(REQUESTS))
def test_requests(used: list[tuple[str, dict[str, Any]]], body: dict[str, Any]) -> None:
    """A request passes the chain, stays as it was, and becomes the same each time."""
    steps = [step(use) for use in used]
    before = orjson.dumps(body)

    with steady_ids():
        once = chain(steps).on_request(Request(body)).body
    with steady_ids():
        again = chain(steps).on_request(Request(body)).body

    assert before == orjson.dumps(body)
    assert orjson.dumps(once) == orjson.dumps(again)
    assert len(once["messages"]) >= len(body["messages"])


@EACH
@given(uses(ANSWERING), st.sampled_from(REQUESTS), answers(), st.integers(0, 10_000))
def test_answers(
    used: list[tuple[str, dict[str, Any]]], body: dict[str, Any], answer: dict[str, Any], seed: int
) -> None:
    """An answer passes the chain, lawful, and is the same message however it is cut."""
    steps, request = [step(use) for use in used], Request(body)
    events = list(explode(answer))

    whole = answered(steps, request, events)
    cut = answered(steps, request, list(recut(events, seed)))

    check_stream(whole, complete=True)
    check_stream(cut, complete=True)
    assert assemble(whole) == assemble(cut)


@EACH
@given(uses(ANSWERING), answers())
def test_no_words_are_lost(used: list[tuple[str, dict[str, Any]]], answer: dict[str, Any]) -> None:
    """All that the model said is in the message: as text, as thinking, or in a call."""
    got = assemble(answered([step(use) for use in used], Request(ask(tools=["Read"])), list(explode(answer))))

    assert _words(answer) == _words(got)
    assert [name for name in _calls(answer) if name != "ExitTool"] == [n for n in _calls(got) if n != "ExitTool"]


def _words(answer: dict[str, Any]) -> str:
    """Everything that was said, without blanks and tags."""
    said = ""
    for block in answer["content"]:
        given_words = block.get("input", {}).get("response") if block.get("name") == "ExitTool" else None
        said += block.get("thinking") or block.get("text") or given_words or ""
    for tag in ("think", "reasoning_content"):
        said = said.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    return "".join(said.split())


def _calls(answer: dict[str, Any]) -> list[str]:
    return [block["name"] for block in answer["content"] if block["type"] == "tool_use"]


# --- in a whole router --------------------------------------------------------------------------------------

CHAT = sorted(name for name, spec in SPECS.items() if spec.dialect is None)
"""Those that leave the format to the provider."""


def as_chat(answer: dict[str, Any]) -> dict[str, Any]:
    """``answer`` as a message of chat completions."""
    said: dict[str, Any] = {"role": "assistant", "content": None}
    for block in answer["content"]:
        if block["type"] == "text":
            said["content"] = (said["content"] or "") + block["text"]
        elif block["type"] == "thinking":
            said["reasoning_content"] = said.get("reasoning_content", "") + block["thinking"]
        elif block["type"] == "tool_use":
            function = {"name": block["name"], "arguments": json.dumps(block["input"])}
            said.setdefault("tool_calls", []).append({"id": block["id"], "type": "function", "function": function})
    return said


def chat_stream(said: dict[str, Any]) -> bytes:
    """The same streamed, in the order of the fields of which an answer is read."""
    deltas: list[dict[str, Any]] = [{name: said[name]} for name in ("reasoning_content", "content") if said.get(name)]
    deltas += [{"tool_calls": [{**call, "index": n}]} for n, call in enumerate(said.get("tool_calls", []))]
    chunks = [{"id": "c", "model": "big", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"id": "c", "model": "big", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return sse(*chunks, end, {"choices": [], "usage": USAGE}, "[DONE]")


USAGE = {"prompt_tokens": 5, "completion_tokens": 6}


async def _both(used: list[tuple[str, dict[str, Any]]], answer: dict[str, Any], cut: int) -> None:
    said = as_chat(answer)
    upstream = Upstream()
    upstream.stream(chat_stream(said), cut=cut)
    upstream.reply({"id": "c", "model": "big", "choices": [{"message": said, "finish_reason": "stop"}], "usage": USAGE})
    plugins = [*OFFERING, standins.ingress, standins.rule]
    if ccr_plugin_openai_chat not in plugins:
        plugins.append(ccr_plugin_openai_chat)
    plugins = [plugin for plugin in plugins if plugin is not MODULES["ccr-plugin-anthropic"]]
    given_config = config(use=[list(use) for use in used])
    router = Harness(given_config, plugins, upstream)
    body = claude_code_request(history=claude_code_history())
    try:
        with steady_ids():
            streamed = await router.messages({**body, "stream": True})
        with steady_ids():
            whole = await router.messages({**body, "stream": False})
    finally:
        await router.aclose()
    upstream.verify()

    assert (200, 200) == (streamed.status, whole.status)
    check_stream(streamed.events, complete=True)
    assert whole.content == streamed.content
    assert (whole.stop_reason, whole.usage["output_tokens"]) == (streamed.stop_reason, streamed.usage["output_tokens"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(uses(CHAT), answers(), st.sampled_from([1, 7, 4096]))
def test_in_a_router(used: list[tuple[str, dict[str, Any]]], answer: dict[str, Any], cut: int) -> None:
    """A conversation of Claude Code passes a router with any steps; streamed and whole answers are the same."""
    asyncio.run(_both(used, answer, cut))


def test_options_are_known() -> None:
    """The options above are for transformers that are there, and fit them."""
    for name, tried in OPTIONS.items():
        for options in tried:
            assert step((name, options)).spec.name == name


@pytest.mark.parametrize("name", sorted(SPECS))
def test_each_alone_is_made(name: str) -> None:
    """Each can be made with the options above: a new one that insists on options needs a line there."""
    assert step((name, OPTIONS.get(name, [{}])[0])).spec is SPECS[name]
