"""The plugin as a whole: what it offers, its options, its URLs, and that nothing is lost on the way out and back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_openai_chat
import pytest
from ccr_plugin_openai_chat import OpenAIChat, Options, ccr_providers
from ccr_plugin_openai_chat.options import for_model
from ccr_plugin_openai_chat.urls import endpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import JSON, Chunk, Context, ProviderSpec, Target, assemble, hookimpl
from ccr_core.config import Problems, structure
from ccr_core.testing import Upstream, as_request, ask, check_plugin, config, standins
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin has to pass find nothing."""
    check_plugin(ccr_plugin_openai_chat)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://h/v1/chat/completions", "https://h/v1/chat/completions"),
        ("https://h/v1/chat/completions?api-version=1", "https://h/v1/chat/completions?api-version=1"),
        ("https://h/v1", "https://h/v1/chat/completions"),
        ("https://h/v1/", "https://h/v1/chat/completions"),
        ("https://h/api/v3", "https://h/api/v3/chat/completions"),
        ("https://h/api/paas/v4", "https://h/api/paas/v4/chat/completions"),
        ("https://h/v1beta/openai", "https://h/v1beta/openai/chat/completions"),
        ("https://h", "https://h/v1/chat/completions"),
        ("https://h/", "https://h/v1/chat/completions"),
        ("https://h?key=1", "https://h/v1/chat/completions?key=1"),
        (
            "https://h/openai/deployments/d?api-version=1",
            "https://h/openai/deployments/d/chat/completions?api-version=1",
        ),
        ("https://h/my/own/gateway", "https://h/my/own/gateway"),
        ("localhost:11434", "http://localhost:11434/v1/chat/completions"),
        ("api.example.com/v1", "https://api.example.com/v1/chat/completions"),
    ],
)
def test_urls(base: str, expected: str) -> None:
    """Every form of base URL that people paste leads to the endpoint."""
    assert expected == endpoint(base)


@pytest.mark.parametrize(
    "url",
    [
        "https://generativelanguage.googleapis.com/v1beta/openai/",
        "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
    ],
)
async def test_the_format_is_known_by_the_url(ccr: Make, upstream: Upstream, url: str) -> None:
    """A host that speaks another format by default is spoken to in this one where the URL is of this one."""
    upstream.fail(400)
    host = ProviderSpec(name="google", base_url="https://generativelanguage.googleapis.com", dialect="plain")
    plugin = type("Plugin", (), {"ccr_providers": hookimpl(lambda self: [host])})()
    document = config(models=["gemini-x"], api_base_url=url)

    await ccr(document, [ccr_plugin_openai_chat, plugin, standins.dialect, standins.ingress, standins.rule]).messages(
        ask()
    )

    (sent,) = upstream.requests
    assert "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions" == sent.url
    assert "Bearer sk-test" == sent.headers["authorization"]


def openai() -> Options:
    (preset,) = ccr_providers()
    problems = Problems()
    options = structure(Options, preset.options, "options", problems)
    assert [] == problems.items
    assert options is not None
    return options


@pytest.mark.parametrize(
    ("model", "role", "style", "dropped"),
    [
        ("gpt-4o", "system", "none", ()),
        ("o1-mini", "user", "none", ("temperature", "top_p")),
        ("o3", "developer", "reasoning_effort", ("temperature", "top_p")),
        ("gpt-5.1", "developer", "reasoning_effort", ("temperature", "top_p")),
        ("gpt-5-chat-latest", "developer", "none", ("temperature", "top_p")),
    ],
)
def test_the_preset_for_openai(model: str, role: str, style: str, dropped: tuple[str, ...]) -> None:
    """Options go by the model where the models differ."""
    options = for_model(openai(), model)

    assert (role, style, dropped) == (options.content.system_role, options.reasoning.style, options.drop)
    assert "max_completion_tokens" == options.max_tokens_field


def test_wrong_options_are_found_at_any_depth() -> None:
    """An option that does not exist is named with its place, also for some models only."""
    problems = Problems()
    structure(Options, {"models": {"x*": {"reasoning": {"stile": "none"}}}}, "options", problems)

    assert ['options.models["x*"].reasoning.stile'] == [problem.path for problem in problems.items]


# --- there and back ----------------------------------------------------------------------------------------------

words = st.text(alphabet="abc é\n<>{}", min_size=1, max_size=12).filter(lambda text: text.strip() == text)
arguments = st.dictionaries(
    st.sampled_from(["x", "y"]),
    st.one_of(words, st.integers(-(2**63), 2**63 - 1), st.none(), st.booleans()),
    max_size=2,
)


@st.composite
def conversations(draw: st.DrawFn) -> list[JSON]:
    """Turns of text, calls and results in lawful and less lawful order."""
    turns: list[JSON] = [{"role": "user", "content": draw(words)}]
    number = 0
    for _ in range(draw(st.integers(0, 4))):
        blocks: list[JSON] = [{"type": "text", "text": text} for text in draw(st.lists(words, max_size=1))]
        ids = []
        for given_arguments in draw(st.lists(arguments, max_size=3)):
            ids.append(f"call_{number}")
            number += 1
            blocks.append(
                {"type": "tool_use", "id": ids[-1], "name": draw(st.sampled_from("AB")), "input": given_arguments}
            )
        if blocks:
            turns.append({"role": "assistant", "content": blocks})
        answered = draw(st.permutations(ids))[: draw(st.integers(0, len(ids)))]
        reply: list[JSON] = [
            {"type": "tool_result", "tool_use_id": one, "content": draw(words), "is_error": draw(st.booleans())}
            for one in answered
        ]
        if draw(st.booleans()):
            reply.append({"type": "tool_result", "tool_use_id": "nobody", "content": draw(words)})
        reply += [{"type": "text", "text": text} for text in draw(st.lists(words, max_size=2))]
        if draw(st.booleans()):
            turns.append({"role": "system", "content": draw(words)})
        if reply:
            turns.append({"role": "user", "content": reply})
    return turns


@settings(max_examples=200, deadline=None)
@given(conversations())
def test_nothing_is_lost_on_the_way_out(turns: list[JSON]) -> None:
    """Each text, call and result of a conversation is in the messages, each call is answered once and at once."""
    notes: list[tuple[str, Any]] = []
    target = Target(provider="p", model="m", base_url="https://h/v1", options=Options())
    ctx = Context(exchange_id="t", target=target, note=lambda key, value: notes.append((key, value)))
    body = OpenAIChat().encode(as_request(ask(messages=turns)), ctx).body
    assert body is not None
    sent = body["messages"]

    said = {"user": "", "assistant": "", "system": ""}
    results: dict[str, str] = {}
    waiting: list[str] = []
    calls: list[tuple[str, str, Any]] = []
    for message in sent:
        if message["role"] == "tool":
            assert waiting.pop(0) == message["tool_call_id"]
            results[message["tool_call_id"]] = message["content"]
            continue
        assert [] == waiting
        said[message["role"]] += "\n" + (message["content"] or "")
        for call in message.get("tool_calls", ()):
            waiting.append(call["id"])
            calls.append((call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])))
    assert [] == waiting

    expected = []
    noted = " ".join(str(value) for _, value in notes)
    for turn in turns:
        content = turn["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block["type"] == "text":
                assert block["text"] in said[turn["role"]]
            elif block["type"] == "tool_use":
                expected.append((block["id"], block["name"], block["input"]))
            elif block["tool_use_id"] in results and block["content"] in results[block["tool_use_id"]]:
                assert not block["is_error"] or results[block["tool_use_id"]].lower().startswith("error")
            else:
                assert block["content"] in said["user"]
                assert "tool results without their call" in noted
    assert expected == calls
    missing = [one for one in results if "interrupted" in results[one]]
    assert (f"{len(missing)} tool calls without a result" in noted) is bool(missing)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(words, arguments), min_size=1, max_size=5), st.integers(1, 9))
def test_nothing_is_lost_on_the_way_back(parts: list[Any], size: int) -> None:
    """Texts and calls, streamed in pieces of any size, come back as blocks in the same order."""
    chunks: list[JSON] = []
    count = 0
    for part in parts:
        text = part if isinstance(part, str) else json.dumps(part)
        for start in range(0, len(text), size):
            piece = text[start : start + size]
            if isinstance(part, str):
                chunks.append({"content": piece})
            else:
                named = {"name": "A"} if start == 0 else {}
                chunks.append(
                    {"tool_calls": [{"index": count, "id": f"c{count}", "function": {**named, "arguments": piece}}]}
                )
        count += not isinstance(part, str)
    target = Target(provider="p", model="m", base_url="https://h/v1", options=Options())
    dialect, ctx = OpenAIChat(), Context(exchange_id="t", target=target)
    body = {
        "choices": [
            {
                "message": {
                    "content": "".join(part for part in parts if isinstance(part, str)),
                    "tool_calls": [
                        {"id": f"w{n}", "function": {"name": "A", "arguments": json.dumps(part)}}
                        for n, part in enumerate(part for part in parts if not isinstance(part, str))
                    ],
                },
                "finish_reason": "stop",
            }
        ]
    }
    decoder = dialect.decoder(as_request(ask()), ctx)
    events = [e for delta in chunks for e in decoder.feed(Chunk({"id": "x", "choices": [{"delta": delta}]}))]
    events += [*decoder.feed(Chunk("[DONE]")), *decoder.flush()]
    streamed, whole = assemble(events), assemble(dialect.decode_body(body, as_request(ask()), ctx))

    texts = "".join(part for part in parts if isinstance(part, str))
    calls = [part for part in parts if not isinstance(part, str)]
    for message in (streamed, whole):
        content = message["content"]
        assert texts == "".join(block["text"] for block in content if block["type"] == "text")
        assert calls == [block["input"] for block in content if block["type"] == "tool_use"]


@pytest.mark.parametrize("section", ["", "reasoning", "tools", "content"])
def test_the_readme_has_every_option_with_its_default(section: str) -> None:
    """The tables of the README are those of the classes."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    cls: Any = type(getattr(Options(), section)) if section else Options
    start = readme.index(f"### `{section}`" if section else "## Options")
    table = readme[start : readme.find("\n##", start + 5)]
    documented = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }

    assert {field.name for field in attrs.fields(cls)} == documented
    for field in attrs.fields(cls):
        if isinstance(field.default, (str, bool, int)) and field.default != "":
            assert re.search(rf"\| `{field.name}` \| `{re.escape(json.dumps(field.default))}` \|", table), field.name
