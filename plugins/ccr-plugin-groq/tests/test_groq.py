"""The transformer ``groq``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ccr_plugin_groq as plugin
import ccr_plugin_openai_chat
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
    sse,
    standins,
)

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

RECORDINGS = Path(__file__).parents[3] / "tests" / "recordings" / "openai-chat" / "groq"
PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.rule]
(SPEC,) = plugin.ccr_transformers()
ON = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
OFF = {"thinking": {"type": "disabled"}}


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)


async def test_what_groq_refuses(ccr: Make) -> None:
    """No cache marks, no ``$schema`` and no ``top_k`` reach Groq; a tool without a schema is no cause for a failure."""
    body = claude_code_request(top_k=5)
    body["tools"] = [*body["tools"], {"name": "Bare", "description": "No schema."}]

    sent = (await ccr(config(use=["groq"]), plugins=PLUGINS).explain(body))["body"]

    text = orjson.dumps(sent)
    assert [] == [word for word in (b"cache_control", b"$schema", b"top_k") if word in text]
    assert "Bare" in [tool["function"]["name"] for tool in sent["tools"]]


@pytest.mark.parametrize(
    ("model", "client", "expected"),
    [
        ("openai/gpt-oss-120b", ON, "medium"),
        ("openai/gpt-oss-120b", OFF, "low"),
        ("qwen/qwen3-32b", ON, "default"),
        ("qwen/qwen3-32b", OFF, "none"),
        ("llama-3.3-70b-versatile", ON, None),
        ("llama-3.3-70b-versatile", OFF, None),
    ],
)
async def test_thinking_is_asked_for(ccr: Make, model: str, client: dict[str, Any], expected: Any) -> None:
    """Each family is asked in the words that it knows, and has its thinking in a field of its own."""
    router = ccr(config("groq", [model], use=["groq"]), plugins=PLUGINS)

    body = (await router.explain(ask(model=f"groq,{model}", **client)))["body"]

    assert expected == body.get("reasoning_effort")
    assert ("parsed" if "qwen" in model else None) == body.get("reasoning_format")


async def test_calls_keep_their_ids(ccr: Make, upstream: Upstream) -> None:
    """The pieces of a call are one call, with the id that Groq gave; counts are read where older models have them."""
    pieces = [
        {"index": 0, "id": "call_1", "function": {"name": "Read", "arguments": '{"n"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
    ]
    chunks = [{"choices": [{"delta": {"content": "Look."}}]}]
    chunks += [{"choices": [{"delta": {"tool_calls": [piece]}}]} for piece in pieces]
    usage = {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "x_groq": usage}
    upstream.stream(sse(*chunks, end, "[DONE]"))

    answer = await ccr(config(use=["groq"]), plugins=PLUGINS).messages(ask(tools=["Read"]))

    assert [("call_1", {"n": 1})] == [(block["id"], block["input"]) for block in answer.tool_uses]
    assert ("Look.", 4) == (answer.text, answer.usage["output_tokens"])


async def test_recorded_thinking(ccr: Make, upstream: Upstream) -> None:
    """Thinking that Groq really sent reaches the client as thinking."""
    upstream.stream(RECORDINGS / "groq.model-thinking-part-iter.0")

    answer = await ccr(config(use=["groq"]), plugins=PLUGINS).messages(ask(**ON))

    assert answer.thinking
    assert answer.text
