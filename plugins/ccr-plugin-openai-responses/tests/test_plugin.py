"""The plugin as a whole: what it offers, URLs, models, a whole router, and that nothing is lost there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_openai_responses
import ccr_plugin_rule_default
import ccr_plugin_rule_explicit
import pytest
from ccr_plugin_openai_responses import Options, Responses
from ccr_plugin_openai_responses.options import for_model
from ccr_plugin_openai_responses.urls import endpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import JSON, Chunk, Context, Target, assemble
from ccr_core.config import Problems, structure
from ccr_core.testing import (
    as_request,
    ask,
    check_plugin,
    check_stream,
    check_transformer,
    claude_code_headers,
    claude_code_history,
    claude_code_request,
    config,
    expected,
    recordings,
    sse,
    whole,
)
from ccr_core.testing.pytest_plugin import Make
from ccr_core.testing.upstream import Upstream

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
ALL = recordings.recordings(ROOT, "openai-responses")
GOOD = [one for one in ALL if not one.failed and "error" not in one.features]
PLUGINS = [ccr_plugin_anthropic, ccr_plugin_openai_responses, ccr_plugin_rule_default, ccr_plugin_rule_explicit]
CONFIG = config(dialect="openai-responses")


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin has to pass find nothing."""
    check_plugin(ccr_plugin_openai_responses)


def test_the_transformer_keeps_the_rules() -> None:
    """It changes nothing."""
    (spec,) = ccr_plugin_openai_responses.ccr_transformers()
    check_transformer(spec)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://h/v1/responses", "https://h/v1/responses"),
        ("https://h/v1/responses?api-version=1", "https://h/v1/responses?api-version=1"),
        ("https://h/v1/chat/completions", "https://h/v1/responses"),
        ("https://h/openai/v1/chat/completions?a=1", "https://h/openai/v1/responses?a=1"),
        ("https://h/v1", "https://h/v1/responses"),
        ("https://h/v1/", "https://h/v1/responses"),
        ("https://h/api/v3", "https://h/api/v3/responses"),
        ("https://h/openai", "https://h/openai/responses"),
        ("https://h/backend-api/codex", "https://h/backend-api/codex/responses"),
        ("https://h", "https://h/v1/responses"),
        ("https://h?key=1", "https://h/v1/responses?key=1"),
        ("https://h/my/own/gateway", "https://h/my/own/gateway"),
        ("localhost:1234", "http://localhost:1234/v1/responses"),
        ("api.example.com/v1", "https://api.example.com/v1/responses"),
    ],
)
def test_urls(base: str, expected: str) -> None:
    """Every form of base URL that people paste leads to the endpoint."""
    assert expected == endpoint(base)


@pytest.mark.parametrize(
    ("model", "thinking", "levels", "sampling", "phase"),
    [
        ("gpt-4o", False, ("low", "medium", "high"), "always", False),
        ("openai/gpt-4.1-mini", False, ("low", "medium", "high"), "always", False),
        ("o3", True, ("low", "medium", "high"), "never", False),
        ("gpt-5-mini", True, ("minimal", "low", "medium", "high"), "never", False),
        ("gpt-5-pro", True, ("high",), "never", False),
        ("gpt-5-codex", True, ("low", "medium", "high"), "never", False),
        ("gpt-5-chat-latest", False, ("minimal", "low", "medium", "high"), "never", False),
        ("gpt-5.1", True, ("none", "low", "medium", "high"), "never", False),
        ("gpt-5.3-codex", True, ("low", "medium", "high", "xhigh"), "never", True),
        ("openai.gpt-5.5", True, ("none", "low", "medium", "high", "xhigh"), "never", True),
        ("gpt-6-astra", True, ("none", "low", "medium", "high", "xhigh", "max"), "never", False),
        ("grok-4", True, ("low", "medium", "high"), "auto", False),
    ],
)
def test_known_models(model: str, thinking: bool, levels: tuple[str, ...], sampling: str, phase: bool) -> None:
    """What is known of OpenAI's models goes by their names, with or without the maker's."""
    options = for_model(Options(), model)

    assert (thinking, levels, sampling, phase) == (options.thinking, options.levels, options.sampling, options.phase)


def test_options_of_the_configuration_win() -> None:
    """Those for all models over what is known of one, and those for some models over both."""
    problems = Problems()
    given = {
        "levels": ["low"],
        "models": {"gpt-5*": {"phase": True}, "*-mini": {"levels": ["high"], "body": {"a": 1}}},
    }
    options = structure(Options, given, "options", problems)
    assert [] == problems.items
    assert options is not None

    assert (("low",), True, False) == _three(for_model(options, "gpt-5.1"))
    assert (("high",), True, False) == _three(for_model(options, "gpt-5-mini"))
    assert {"a": 1} == for_model(options, "gpt-5-mini").body
    assert (("low",), False, True) == _three(for_model(options, "other"))


def _three(options: Options) -> tuple[tuple[str, ...], bool, bool]:
    return (tuple(options.levels), options.phase, options.sampling == "auto")


# --- in a router -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("recording", GOOD, ids=str)
async def test_recordings_through_a_router(
    ccr: Make, upstream: Upstream, recording: recordings.Recording, stream: bool
) -> None:
    """Each recorded answer means the same to a client that streams and to one that does not."""
    says = expected(recording)
    if stream and recording.stream:
        upstream.stream(recording, cut=997)
    elif stream or not recording.stream:
        upstream.reply(whole(recording).body)
    else:
        upstream.stream(recording)
    tools = sorted({call.name for call in says.calls})

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask(tools=tools, stream=stream))

    assert 200 == answer.status
    assert [] == says.differences(answer.message)
    if stream:
        check_stream(answer.events)


async def test_a_session_over_two_turns(ccr: Make, upstream: Upstream) -> None:
    """The thought of the first answer is in the second request, before its call, as the provider gave it."""
    recording = next(one for one in ALL if one.name.endswith("openai-reasoning-encrypted-content.1.stream.0"))
    final = next(one for one in ALL if one.name.endswith("phase-streamed-on-part-start.1"))
    upstream.stream(recording).then.stream(final)
    router = ccr(CONFIG, plugins=PLUGINS)
    turns: list[JSON] = [{"role": "user", "content": "Reckon."}]
    body = ask(tools=["calculator"], thinking={"type": "adaptive"})

    first = await router.messages({**body, "messages": turns})
    (call,) = first.tool_uses
    answer = {"type": "tool_result", "tool_use_id": call["id"], "content": "19"}
    turns += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [answer]}]
    second = await router.messages({**body, "messages": turns})

    items = [event["item"] for event in recording.events() if event["type"] == "response.output_item.done"]
    sent = second.sent[0].json["input"]
    assert ["message", "reasoning", "function_call", "function_call_output"] == [item["type"] for item in sent]
    assert items[0]["encrypted_content"] == sent[1]["encrypted_content"]
    assert items[1]["call_id"] == sent[2]["call_id"] == sent[3]["call_id"]
    assert "The capital of PotatoLand is **Potato City**." == second.text


async def test_a_plain_client_of_a_service_that_only_streams(ccr: Make, upstream: Upstream) -> None:
    """The stream is asked for and put together."""
    recording = next(one for one in ALL if one.name.endswith("openai-responses.stream.0"))
    upstream.stream(recording)
    router = ccr(config(dialect="openai-responses", options={"force_stream": True}), plugins=PLUGINS)

    answer = await router.messages(ask(tools=["get_capital"], stream=False))

    assert answer.sent[0].json["stream"] is True
    assert not answer.streamed
    assert [("get_capital", {"country": "France"})] == [(call.name, call.input) for call in answer.calls]


async def test_a_failure_in_the_stream_keeps_its_status_for_a_plain_client(ccr: Make, upstream: Upstream) -> None:
    """It comes inside an answer with the status 200."""
    failed = {"code": "invalid_prompt", "message": "told"}
    upstream.stream(
        sse({"type": "response.created", "response": {}}, {"type": "response.failed", "response": {"error": failed}})
    )
    router = ccr(config(dialect="openai-responses", options={"force_stream": True}), plugins=PLUGINS)

    answer = await router.messages(ask(stream=False))

    assert 400 == answer.status
    assert answer.error is not None
    assert "told" in answer.error["message"]


@pytest.mark.parametrize(
    "fields",
    [
        {"api_base_url": "https://api.example/v1/responses"},
        {"api_base_url": "https://api.example/v1/chat/completions", "use": ["openai-responses"]},
        {"api_base_url": "https://api.example/v1/chat/completions", "use": ["OpenAI-Responses"]},
        {"api_base_url": "https://api.example", "dialect": "openai-responses"},
    ],
)
async def test_how_a_configuration_chooses_the_dialect(ccr: Make, upstream: Upstream, fields: JSON) -> None:
    """By the URL, by the transformer, by name; the key goes as a bearer token."""
    upstream.reply({"output": [], "usage": {"input_tokens": 1, "output_tokens": 1}})

    answer = await ccr(config(**fields), plugins=PLUGINS).messages(claude_code_request(), headers=claude_code_headers())

    assert "https://api.example/v1/responses" == answer.sent[0].url
    assert "Bearer sk-test" == answer.sent[0].headers["authorization"]
    assert 200 == answer.status


# --- there and back ----------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(lambda text: text.strip())
arguments = st.dictionaries(st.sampled_from("abc"), st.one_of(words, st.integers(-9, 9), st.none()), max_size=2)


def ctx(notes: list[tuple[str, Any]]) -> Context:
    target = Target(provider="p", model="m", base_url="https://h/v1", options=Options())
    return Context(exchange_id="t", target=target, note=lambda key, value: notes.append((key, value)))


@st.composite
def conversations(draw: st.DrawFn) -> list[JSON]:
    """Turns of text, calls and results, in order and out of it."""
    turns: list[JSON] = [{"role": "user", "content": draw(words)}]
    for number in range(draw(st.integers(0, 4))):
        given = draw(st.lists(arguments, max_size=3))
        calls = [
            {"type": "tool_use", "id": f"c{number}{place}", "name": "A", "input": one}
            for place, one in enumerate(given)
        ]
        said = [{"type": "text", "text": one} for one in draw(st.lists(words, max_size=2))]
        if calls or said:
            turns.append({"role": "assistant", "content": draw(st.permutations([*said, *calls]))})
        if draw(st.booleans()):
            turns.append({"role": "system", "content": draw(words)})
        answered = draw(st.permutations(calls))[: draw(st.integers(0, len(calls)))]
        reply = [{"type": "tool_result", "tool_use_id": one["id"], "content": draw(words)} for one in answered]
        reply += [{"type": "text", "text": one} for one in draw(st.lists(words, max_size=1))]
        if draw(st.booleans()):
            reply.append({"type": "tool_result", "tool_use_id": "nobody", "content": draw(words)})
        if reply:
            turns.append({"role": "user", "content": reply})
    return turns


@settings(max_examples=200, deadline=None)
@given(conversations())
def test_nothing_is_lost_on_the_way_out(turns: list[JSON]) -> None:
    """Each text, call and result is among the items; every call has one result, after it; what lacked is noted."""
    notes: list[tuple[str, Any]] = []
    body = Responses().encode(as_request(ask(messages=turns)), ctx(notes)).body
    assert body is not None
    said: dict[str, str] = {"user": "", "assistant": "", "system": ""}
    calls: list[tuple[str, Any]] = []
    results: dict[str, str] = {}
    for item in body["input"]:
        if item["type"] == "message":
            content = item["content"]
            parts = [content] if isinstance(content, str) else [part["text"] for part in content]
            said[item["role"]] += "\n".join(["", *parts])
        elif item["type"] == "function_call":
            calls.append((item["call_id"], json.loads(item["arguments"])))
        else:
            assert item["call_id"] in [call for call, _ in calls]
            assert item["call_id"] not in results
            results[item["call_id"]] = item["output"]

    given = []
    for turn in turns:
        content = turn["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if block["type"] == "text":
                assert block["text"] in said[turn["role"]]
            elif block["type"] == "tool_use":
                given.append((block["id"], block["input"]))
            else:
                assert block["content"] in (results.get(block["tool_use_id"]) or said["user"])
    assert given == calls
    assert [call for call, _ in calls] == list(results)
    missing = sum("interrupted" in output for output in results.values())
    assert missing == sum(int(str(value).split()[0]) for _, value in notes if "without a result" in str(value))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["text", "thought", "call"]), words, arguments), max_size=5), st.integers(1, 9)
)
def test_nothing_is_lost_there_and_back(parts: list[tuple[str, str, JSON]], size: int) -> None:
    """Items, streamed in pieces of any size or whole, become blocks, which become the same items again."""
    output: list[JSON] = []
    events: list[JSON] = [{"type": "response.created", "response": {"id": "r", "model": "m"}}]
    for place, (kind, text, given_arguments) in enumerate(parts):
        at = {"output_index": place, "item_id": f"i{place}"}
        if kind == "text":
            item: JSON = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
            delta, whole_text = {"type": "response.output_text.delta", "content_index": 0}, text
        elif kind == "thought":
            summary = [{"type": "summary_text", "text": text}]
            item = {"type": "reasoning", "summary": summary, "encrypted_content": f"g{place}"}
            delta, whole_text = {"type": "response.reasoning_summary_text.delta", "summary_index": 0}, text
        else:
            whole_text = json.dumps(given_arguments)
            item = {"type": "function_call", "call_id": f"c{place}", "name": "A", "arguments": whole_text}
            delta = {"type": "response.function_call_arguments.delta"}
        item["id"] = f"i{place}"
        output.append(item)
        empty = {**item, "content": [], "summary": [], "arguments": ""}
        events.append({"type": "response.output_item.added", **at, "item": empty})
        for start in range(0, len(whole_text), size):
            events.append({**delta, **at, "delta": whole_text[start : start + size]})
        events.append({"type": "response.output_item.done", **at, "item": item})
    last: JSON = {"type": "response.completed", "response": {"output": output, "usage": {"input_tokens": 1}}}
    dialect, request = Responses(), as_request(ask())
    notes: list[tuple[str, Any]] = []
    decoder = dialect.decoder(request, ctx(notes))
    message = assemble(event for data in [*events, last] for event in decoder.feed(Chunk(data)))
    at_once = assemble(dialect.decode_body(last["response"], request, ctx(notes)))

    assert at_once["content"] == message["content"]
    turns = [{"role": "user", "content": "go"}, {"role": "assistant", "content": message["content"]}]
    answers = [
        {"type": "tool_result", "tool_use_id": f"c{n}", "content": "x"} for n, p in enumerate(parts) if p[0] == "call"
    ]
    turns.append({"role": "user", "content": [*answers, {"type": "text", "text": "on"}]})
    body = dialect.encode(as_request(ask(messages=turns)), ctx(notes)).body
    assert body is not None
    while output and output[-1]["type"] == "reasoning":
        output.pop()

    back = [item for item in body["input"][1:] if item["type"] != "function_call_output"][:-1]
    assert _runs(output) == _runs(back)


def _runs(items: list[JSON]) -> list[Any]:
    """What ``items`` say; texts that follow each other are one."""
    out: list[Any] = []
    for item in items:
        if item["type"] == "message":
            content = item["content"]
            text = content if isinstance(content, str) else content[0]["text"]
            if out and isinstance(out[-1], str):
                out[-1] += "\n\n" + text
            else:
                out.append(text)
        elif item["type"] == "reasoning":
            out.append((item["summary"], item["encrypted_content"]))
        else:
            out.append((item["call_id"], item["name"], json.loads(item["arguments"])))
    return out


def test_a_long_conversation_is_told_the_same_every_time() -> None:
    """Otherwise the provider's cache of the prompt would not be hit."""
    body = claude_code_request(history=claude_code_history())
    longer = claude_code_request(history=[*claude_code_history(), {"role": "assistant", "content": "Yes."}])
    sent = [Responses().encode(as_request(one), ctx([])).body for one in (body, body, longer)]
    assert sent[0] is not None
    assert sent[2] is not None

    assert sent[0] == sent[1]
    assert sent[0]["input"] == sent[2]["input"][: len(sent[0]["input"])]
