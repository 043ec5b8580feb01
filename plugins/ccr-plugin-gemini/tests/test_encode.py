"""Requests: what a Messages API body becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from ccr_plugin_gemini import Gemini, Options, Thinking, Tools
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import JSON, Context, Target, WireRequest, seal
from ccr_core.testing import (
    as_request,
    ask,
    claude_code_headers,
    claude_code_history,
    claude_code_request,
    recordings,
    sample_requests,
    tool,
)

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
SKIP = "skip_thought_signature_validator"
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
PDF = {
    "type": "document",
    "title": "a.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
}
SDK: dict[str, Any] = {
    "contents": types.Content,
    "systemInstruction": types.Content,
    "tools": types.Tool,
    "toolConfig": types.ToolConfig,
    "generationConfig": types.GenerationConfig,
    "safetySettings": types.SafetySetting,
}
"""Part of the body → the class of Google's own library for it, which refuses fields it does not know."""


@attrs.define
class Sent:
    """What was sent, and what was noted about it."""

    wire: WireRequest
    notes: list[tuple[str, Any]]

    @property
    def body(self) -> JSON:
        assert self.wire.body is not None
        return self.wire.body

    @property
    def contents(self) -> list[JSON]:
        return self.body["contents"]  # type: ignore[no-any-return]

    @property
    def generation(self) -> JSON:
        return self.body.get("generationConfig", {})  # type: ignore[no-any-return]

    def noted(self, words: str) -> bool:
        return any(words in str(value) for _, value in self.notes)

    def accepted(self) -> None:
        """Fail unless Google's own library takes the body."""
        assert self.body.keys() <= SDK.keys()
        for name, value in self.body.items():
            for one in value if isinstance(value, list) else [value]:
                SDK[name].model_validate(one)


def send(
    body: JSON,
    model: str = "gemini-3-flash-preview",
    options: Options | None = None,
    headers: Mapping[str, str] | None = None,
    **target: Any,
) -> Sent:
    notes: list[tuple[str, Any]] = []
    where: dict[str, Any] = {"provider": "acme", "model": model, "base_url": "https://api.example", **target}
    ctx = Context(
        exchange_id="test",
        target=Target(options=options or Options(), **where),
        note=lambda key, value: notes.append((key, value)),
    )
    sent = Sent(Gemini().encode(as_request(body, headers), ctx), notes)
    sent.accepted()
    return sent


def say(*messages: JSON | tuple[str, Any], **fields: Any) -> JSON:
    """A body with these messages."""
    turns = [turn if isinstance(turn, dict) else {"role": turn[0], "content": turn[1]} for turn in messages]
    return {"model": "any", "max_tokens": 4096, "messages": turns, **fields}


def use(ident: str, name: str = "Read", **given: Any) -> JSON:
    return {"type": "tool_use", "id": ident, "name": name, "input": given}


def result(ident: str, content: Any = "done", **more: Any) -> JSON:
    return {"type": "tool_result", "tool_use_id": ident, "content": content, **more}


def own(text: str = "", model: str = "gemini-3-flash-preview", **data: Any) -> JSON:
    """A thinking block that came from the target of these tests."""
    return {"type": "thinking", "thinking": text, "signature": seal("gemini", {"m": model, **data})}


def user(*parts: JSON) -> JSON:
    return {"role": "user", "parts": list(parts)}


def model(*parts: JSON) -> JSON:
    return {"role": "model", "parts": list(parts)}


def text(value: str) -> JSON:
    return {"text": value}


def call(ident: str, name: str = "Read", /, signature: str = "", **given: Any) -> JSON:
    part: JSON = {"functionCall": {"id": ident, "name": name, "args": given}}
    return {**part, "thoughtSignature": signature} if signature else part


def answer(ident: str, output: str = "done", name: str = "Read", key: str = "output", **more: Any) -> JSON:
    return {"functionResponse": {"id": ident, "name": name, "response": {key: output}, **more}}


# --- the whole ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gemini-3-flash-preview", "gemini-2.5-pro", "gemini-2.0-flash", "gemma-3-27b-it"])
@pytest.mark.parametrize("schema", ["json-schema", "openapi"])
@pytest.mark.parametrize("what", sorted(sample_requests()))
def test_googles_own_library_takes_the_body(what: str, schema: Any, name: str) -> None:
    """Requests of every kind are bodies as the service's own library would send them."""
    sent = send(sample_requests()[what], name, Options(tools=Tools(schema=schema)))

    assert ["user", "model"] * (len(sent.contents) // 2) + ["user"] == [one["role"] for one in sent.contents]


def test_a_request_of_claude_code() -> None:
    """The parts of a request of Claude Code are where they belong; what is for Anthropic only is gone."""
    body = claude_code_request(history=claude_code_history(), safeguards=[{"paths": "/home/user"}])
    sent = send(body, headers=claude_code_headers())

    assert "https://api.example/v1beta/models/gemini-3-flash-preview:streamGenerateContent?alt=sse" == sent.wire.url
    assert {"content-type": "application/json", "accept": "text/event-stream"} == sent.wire.headers
    system = sent.body["systemInstruction"]["parts"]
    assert 2 == len(system)
    assert "x-anthropic-billing-header" not in json.dumps(sent.body)
    assert "safeguards" not in json.dumps(sent.body)
    assert sent.noted("fields without a counterpart left out: context_management, metadata, safeguards")
    names = [one["name"] for one in sent.body["tools"][0]["functionDeclarations"]]
    assert ["Agent", "Bash", "Edit", "Read", "Schedule", "ToolSearch", "Write"] == names
    assert {"includeThoughts": True, "thinkingLevel": "high"} == sent.generation["thinkingConfig"]
    first = sent.contents[0]["parts"]
    assert text("Say what this project does.") == first[1]
    assert first[2]["text"].startswith("<system-reminder>\n# Environment")
    assert sent.noted("2 thinking blocks of another service or model left out")


def test_a_short_request() -> None:
    """What is not asked for is not sent."""
    assert {"contents": [user(text("hello"))], "generationConfig": {"maxOutputTokens": 4096}} == send(
        say(("user", "hello"))
    ).body


# --- the order ---------------------------------------------------------------------------------------------------


def test_parallel_calls() -> None:
    """The responses stand in one content, in the order of the calls, before whatever else the user says."""
    sent = send(
        say(
            ("user", "go"),
            ("assistant", [{"type": "text", "text": "I look."}, use("a", n=1), use("b")]),
            ("user", [{"type": "text", "text": "first"}, result("b", "two"), result("a", "one", is_error=True)]),
            ("system", "The time is up."),
            ("user", "more"),
        ),
        "gemini-2.5-pro",
    )

    reminder = text("<system-reminder>\nThe time is up.\n</system-reminder>")
    assert [
        user(text("go")),
        model(text("I look."), call("a", n=1), call("b")),
        user(answer("a", "one", key="error"), answer("b", "two"), text("first"), reminder, text("more")),
    ] == sent.contents


def test_what_stands_between_calls_and_results_follows_them() -> None:
    """Nothing comes between calls and responses, and the change of order is told."""
    sent = send(
        say(
            ("user", "go"),
            ("assistant", [use("a"), use("b")]),
            ("user", [result("a")]),
            ("system", "note"),
            ("user", [result("b")]),
        ),
        "gemini-2.5-pro",
    )

    assert user(answer("a"), answer("b"), text("<system-reminder>\nnote\n</system-reminder>")) == sent.contents[-1]
    assert sent.noted("now follows the results")


def test_orphans() -> None:
    """A call without a result gets one that says so, a result without its call becomes text."""
    sent = send(
        say(
            ("user", [result("x", "late"), result("y", [PNG], is_error=True)]),
            ("assistant", [use("a")]),
            ("assistant", "and then"),
            ("user", "stop"),
        ),
        "gemini-2.5-pro",
    )

    inline = {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}
    interrupted = answer("a", "(interrupted: the tool gave no result)", key="error")
    assert [
        user(
            text("[an earlier tool call (x) gave:]"), text("late"), text("[an earlier tool call (y) failed:]"), inline
        ),
        model(call("a"), text("and then")),
        user(interrupted, text("stop")),
    ] == sent.contents
    assert sent.noted("1 tool calls without a result")
    assert sent.noted("2 tool results without their call")


def test_the_user_begins_and_ends() -> None:
    """Where the assistant begins or has the last word, words of the user are put around, and that is told."""
    sent = send(say(("assistant", "a"), ("assistant", [{"type": "text", "text": "b"}])))

    assert ["user", "model", "user"] == [one["role"] for one in sent.contents]
    assert [text("a"), text("b")] == sent.contents[1]["parts"]
    assert sent.noted("put before the first one")
    assert sent.noted("cannot be continued")


def test_empty_messages_are_left_out() -> None:
    """Empty texts and messages without any content make no contents."""
    sent = send(say(("user", ""), ("assistant", ""), ("assistant", [own("hm")]), ("user", "hi"), ("user", "there")))

    assert [user(text("hi"), text("there"))] == sent.contents
    assert [user(text(" "))] == send(say(("user", ""))).contents
    between = send(say(("user", "hi"), ("assistant", "a"), ("user", ""), ("assistant", "b"), ("user", "go on")))
    assert [user(text("hi")), model(text("a"), text("b")), user(text("go on"))] == between.contents


def test_a_model_without_instruction() -> None:
    """For a model that takes no system instruction the system prompt is the user's first words."""
    sent = send(say(("user", "hi"), system="Be brief."), "gemma-3-27b-it")

    assert [user(text("Be brief."), text("hi"))] == sent.contents
    assert "systemInstruction" not in sent.body
    assert sent.noted("part of the first user message")


# --- content -----------------------------------------------------------------------------------------------------


def test_images_and_files() -> None:
    """Data goes inline, addresses as file data, texts as text; what the service refuses is left out and told."""
    gif = {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lG"}}
    data_url = {"type": "image", "source": {"type": "url", "url": "data:image/webp;base64,UklG"}}
    linked = {"type": "image", "source": {"type": "url", "url": "https://h/a.jpg?x=1"}}
    paper = {"type": "document", "source": {"type": "url", "url": "https://h/paper"}}
    plain = {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}
    nested = {"type": "document", "context": "c", "source": {"type": "content", "content": [PNG]}}
    stored = {"type": "image", "source": {"type": "file", "file_id": "f"}}
    sent = send(say(("user", [PNG, PDF, gif, data_url, linked, paper, plain, nested, stored])))

    png = {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}
    assert [
        png,
        text("a.pdf"),
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
        text("[image omitted: this model cannot be given image/gif]"),
        {"inlineData": {"mimeType": "image/webp", "data": "UklG"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://h/a.jpg?x=1"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://h/paper"}},
        text('<document title="t">\nwords\n</document>'),
        text("c"),
        png,
        text("[image omitted]"),
    ] == sent.contents[0]["parts"]
    assert sent.noted("1 images of type image/gif left out")
    assert sent.noted("1 images left out")
    assert text("[image omitted]") == send(say(("user", [linked])), options=Options(urls=False)).contents[0]["parts"][0]


def test_files_in_results() -> None:
    """A model of the third generation gets files inside the response, an older one beside all the responses."""
    body = say(
        ("user", "go"), ("assistant", [use("a"), use("b")]), ("user", [result("a", [PNG, PDF]), result("b", [])])
    )
    png = {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}
    pdf = {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}}

    new, old = send(body).contents[-1], send(body, "gemini-2.5-flash").contents[-1]

    assert user(answer("a", "a.pdf", parts=[png, pdf]), answer("b", "(no output)")) == new
    assert (
        user(
            answer("a", "a.pdf\n(the result has a file: it follows the responses)"),
            answer("b", "(no output)"),
            text("[file of the result of Read (a):]"),
            png,
            pdf,
        )
        == old
    )
    assert new == send(body, "gemini-2.5-flash", Options(tools=Tools(files="nested"))).contents[-1]


def test_blocks_without_a_counterpart_become_text() -> None:
    """Work of other services' own tools stays in the conversation, as text, and is told."""
    found = {"type": "web_search_result", "title": "T", "url": "https://t"}
    sent = send(
        say(
            (
                "user",
                [{"type": "search_result", "title": "S", "source": "s", "content": [{"type": "text", "text": "x"}]}],
            ),
            (
                "assistant",
                [
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
                    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [found]},
                    {"type": "text", "text": "T says.", "citations": [{"type": "web_search_result_location"}]},
                    {"type": "vendor_block", "value": 1},
                ],
            ),
            ("user", "ok"),
        )
    )

    assert [text("S (s)\nx")] == sent.contents[0]["parts"]
    assert [
        text('[the tool web_search was called with {"query":"q"}]'),
        text("[web search results:]\n- T: https://t"),
        text("T says."),
        text('[vendor_block: {"value":1}]'),
    ] == sent.contents[1]["parts"]
    assert sent.noted("1 vendor_block blocks written as text")
    assert sent.noted("1 citations left out")


# --- thinking ----------------------------------------------------------------------------------------------------


def test_signatures_go_back_to_their_parts() -> None:
    """Each signature that a seal holds is on the part on which it came."""
    raw = {"toolCall": {"id": "g", "toolType": "GOOGLE_SEARCH_WEB", "args": {}}, "thoughtSignature": "RRRR"}
    sent = send(
        say(
            ("user", "go"),
            (
                "assistant",
                [
                    own("hm", t="TTTT", n="NNNN"),
                    {"type": "text", "text": "one"},
                    own("", p="PPPP", e=["EEEE"]),
                    own(r=[raw], i=["s1"]),
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
                    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
                    {"type": "text", "text": "two"},
                    own(p="QQQQ", c={"a": "AAAA"}),
                    use("a"),
                    use("b"),
                ],
            ),
            ("user", [result("a"), result("b")]),
        )
    )

    assert [
        {"text": "hm", "thought": True, "thoughtSignature": "TTTT"},
        {"text": "one", "thoughtSignature": "NNNN"},
        {"text": "", "thoughtSignature": "PPPP"},
        {"text": "", "thoughtSignature": "EEEE"},
        raw,
        {"text": "two", "thoughtSignature": "QQQQ"},
        call("a", signature="AAAA"),
        call("b"),
    ] == sent.contents[1]["parts"]
    assert not sent.noted("signature")


@pytest.mark.parametrize(
    ("replay", "thought"),
    [("all", [{"text": "hm", "thought": True}]), ("signatures", []), ("none", [])],
)
def test_what_goes_back(replay: Any, thought: list[JSON]) -> None:
    """How much of its own thinking a model gets back is an option."""
    body = say(("user", "go"), ("assistant", [own("hm", c={"a": "AAAA"}), use("a")]), ("user", [result("a")]))
    sent = send(body, options=Options(thinking=Thinking(replay=replay)))

    signature = SKIP if replay == "none" else "AAAA"
    assert [*thought, call("a", signature=signature)] == sent.contents[1]["parts"]


@pytest.mark.parametrize(
    "foreign",
    [
        own("hm", model="gemini-2.5-pro", c={"a": "AAAA"}),
        {"type": "thinking", "thinking": "hm", "signature": seal("api.deepseek.com", {"m": "gemini-3-flash-preview"})},
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "redacted_thinking", "data": "x"},
    ],
)
def test_foreign_thinking_is_left_out(foreign: JSON) -> None:
    """What another model or service thought stays away; its calls bear the value that skips the check."""
    body = say(("user", "go"), ("assistant", [foreign, use("a"), use("b")]), ("user", [result("a"), result("b")]))
    sent = send(body)

    assert [call("a", signature=SKIP), call("b")] == sent.contents[1]["parts"]
    assert sent.noted("1 thinking blocks of another service or model left out")
    assert sent.noted("1 calls without a signature of this model")


def test_older_models_need_no_signature() -> None:
    """The value that skips the check goes only to models that check, unless the options say otherwise."""
    body = say(("user", "go"), ("assistant", [use("a")]), ("user", [result("a")]))

    assert [call("a")] == send(body, "gemini-2.5-pro").contents[1]["parts"]
    assert [call("a")] == send(body, options=Options(thinking=Thinking(missing="none"))).contents[1]["parts"]
    skipping = Options(thinking=Thinking(missing="skip"))
    assert [call("a", signature=SKIP)] == send(body, "gemini-2.5-pro", skipping).contents[1]["parts"]


ADAPTIVE = {"thinking": {"type": "adaptive"}}
OFF = {"thinking": {"type": "disabled"}}


def enabled(budget: int) -> JSON:
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def effort(level: str, **more: Any) -> JSON:
    return {"output_config": {"effort": level}, **more}


@pytest.mark.parametrize(
    ("name", "wish", "expected"),
    [
        ("gemini-2.5-pro", enabled(31999), {"includeThoughts": True, "thinkingBudget": 31999}),
        ("gemini-2.5-pro", enabled(40000), {"includeThoughts": True, "thinkingBudget": 32768}),
        ("gemini-2.5-pro", enabled(50), {"includeThoughts": True, "thinkingBudget": 128}),
        ("gemini-2.5-pro", ADAPTIVE, {"includeThoughts": True, "thinkingBudget": -1}),
        ("gemini-2.5-pro", effort("low", **ADAPTIVE), {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-2.5-pro", OFF, {"thinkingBudget": 128}),
        ("gemini-2.5-flash", enabled(31999), {"includeThoughts": True, "thinkingBudget": 24576}),
        ("gemini-2.5-flash", OFF, {"thinkingBudget": 0}),
        ("gemini-2.5-flash-lite", enabled(100), {"includeThoughts": True, "thinkingBudget": 512}),
        ("gemini-2.5-flash", effort("medium"), {"thinkingBudget": 8192}),
        ("gemini-2.5-flash", {}, None),
        ("gemini-2.0-flash", ADAPTIVE, None),
        ("gemini-3-pro-preview", effort("medium", **ADAPTIVE), {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-3-pro-preview", ADAPTIVE, {"includeThoughts": True}),
        ("gemini-3.1-pro-preview", effort("max", **ADAPTIVE), {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-3.7-flash", OFF, {"thinkingLevel": "minimal"}),
        ("gemini-3.7-flash", enabled(31999), {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-3.7-flash", enabled(1000), {"includeThoughts": True, "thinkingLevel": "low"}),
        (
            "gemini-3.7-flash",
            effort("low", thinking={"type": "adaptive", "display": "omitted"}),
            {"thinkingLevel": "low"},
        ),
    ],
)
def test_asking_for_thinking(name: str, wish: JSON, expected: JSON | None) -> None:
    """Each model is asked in its own way, within its limits."""
    sent = send(say(("user", "hi"), **{"max_tokens": 64000, **wish}), name)

    assert expected == sent.generation.get("thinkingConfig")


def test_the_level_of_the_route_wins() -> None:
    """A level or budget that the route asks for replaces the client's wish."""
    body = say(("user", "hi"), max_tokens=64000, **OFF)

    assert "medium" == send(body, level="medium").generation["thinkingConfig"]["thinkingLevel"]
    config = send(body, "gemini-2.5-flash", level="budget:2000").generation["thinkingConfig"]
    assert {"includeThoughts": True, "thinkingBudget": 2000} == config


def test_thinking_leaves_room_for_the_answer() -> None:
    """Thoughts count as answer here: budgets stay below the limit, and small limits are raised or thinking stopped."""
    sent = send(say(("user", "hi"), max_tokens=8000, **enabled(7999)), "gemini-2.5-pro")
    assert 7999 == sent.generation["thinkingConfig"]["thinkingBudget"]
    sent = send(say(("user", "hi"), max_tokens=8000, **enabled(20000)), "gemini-2.5-pro")
    assert 4000 == sent.generation["thinkingConfig"]["thinkingBudget"]
    assert sent.noted("budget of 20000 lowered to 4000")

    small = say(("user", "hi"), max_tokens=64)
    assert {"maxOutputTokens": 64, "thinkingConfig": {"thinkingBudget": 0}} == send(
        small, "gemini-2.5-flash"
    ).generation
    sent = send(small, "gemini-2.5-pro")
    assert {"maxOutputTokens": 1088, "thinkingConfig": {"thinkingBudget": 128}} == sent.generation
    assert sent.noted("raised by 1024")
    sent = send(small, "gemini-3.7-flash")
    assert {"maxOutputTokens": 1088, "thinkingConfig": {"thinkingLevel": "minimal"}} == sent.generation
    assert {"maxOutputTokens": 64} == send(small, "gemini-2.0-flash").generation


def test_options_of_thinking() -> None:
    """The options win over what is known of the model."""
    body = say(("user", "hi"), max_tokens=64000, **effort("xhigh", **ADAPTIVE))

    levels = Options(thinking=Thinking(levels=("low", "xhigh")))
    assert "xhigh" == send(body, options=levels).generation["thinkingConfig"]["thinkingLevel"]
    budget = Options(thinking=Thinking(style="budget", min_budget=1, max_budget=500))
    assert 500 == send(body, options=budget).generation["thinkingConfig"]["thinkingBudget"]
    none = send(body, options=Options(thinking=Thinking(style="none")))
    assert "thinkingConfig" not in none.generation
    assert none.noted("not asked for")


# --- tools -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {"mode": "AUTO"}),
        ({"type": "auto"}, {"mode": "AUTO"}),
        ({"type": "any"}, {"mode": "ANY"}),
        ({"type": "none"}, {"mode": "NONE"}),
        ({"type": "tool", "name": "Read"}, {"mode": "ANY", "allowedFunctionNames": ["Read"]}),
        ({"type": "tool", "name": "Other"}, {"mode": "AUTO"}),
    ],
)
def test_tool_choice(choice: JSON | None, expected: JSON) -> None:
    """The client's choice is the mode of function calling."""
    body = ask(tools=["Read", "Write"], tool_choice=choice)

    assert {"functionCallingConfig": expected} == send(body).body["toolConfig"]


def test_modes_and_what_cannot_be_said() -> None:
    """The mode for free choice is an option; one call at a time cannot be asked for."""
    body = ask(tools=["Read"], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    sent = send(body, options=Options(tools=Tools(auto_mode="VALIDATED")))

    assert {"functionCallingConfig": {"mode": "VALIDATED"}} == sent.body["toolConfig"]
    assert sent.noted("one tool at a time")


def test_names() -> None:
    """Names that the service does not take are shortened alike in tools, calls, responses and references."""
    long = f"mcp__server__{'x' * 70}"
    body = say(
        ("user", "go"),
        ("assistant", [use("a", long), use("b", "7 ways")]),
        ("user", [result("a", [{"type": "tool_reference", "tool_name": long}]), result("b")]),
        tools=[tool(long), tool("7 ways"), tool("a.b-c")],
        tool_choice={"type": "tool", "name": long},
    )
    sent = send(body)

    names = [one["name"] for one in sent.body["tools"][0]["functionDeclarations"]]
    assert [64, 16, 5] == [len(name) for name in names]
    assert names[1].startswith("_7_ways_")
    assert names[:2] == [part["functionCall"]["name"] for part in sent.contents[1]["parts"]]
    assert names[:2] == [part["functionResponse"]["name"] for part in sent.contents[2]["parts"]]
    assert (
        f"The tool {names[0]} is now available."
        == (sent.contents[2]["parts"][0]["functionResponse"]["response"]["output"])
    )
    assert names[:1] == sent.body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"]


def test_ids_may_be_left_out() -> None:
    """For a service that takes no ids there are none."""
    body = say(("user", "go"), ("assistant", [use("a"), use("b")]), ("user", [result("a")]))
    sent = send(body, options=Options(tools=Tools(ids=False)))

    assert '"id"' not in json.dumps(sent.contents)


def test_deferred_tools() -> None:
    """A deferred tool is offered once it was referred to or called, or if the search for it is Anthropic's own."""
    deferred = [{**tool(name), "defer_loading": True} for name in ("One", "Two", "Three")]
    turns = [
        ("user", "go"),
        ("assistant", [use("a", "ToolSearch"), use("b", "Two")]),
        ("user", [result("a", [{"type": "tool_reference", "tool_name": "One"}]), result("b")]),
    ]
    server = {"type": "tool_search_tool_regex_20251119", "name": "tool_search"}

    def names(sent: Sent) -> list[str]:
        return [one["name"] for one in sent.body["tools"][0]["functionDeclarations"]]

    assert ["ToolSearch", "One", "Two"] == names(send(say(*turns, tools=[tool("ToolSearch"), *deferred])))
    placeholder = {**tool("DeferredToolPlaceholder"), "defer_loading": True}
    everything = send(say(*turns, tools=[server, placeholder, *deferred]))
    assert ["One", "Two", "Three"] == names(everything)
    assert everything.noted("all deferred tools are offered")


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch"}
CODE = {"type": "code_execution_20250522", "name": "code_execution"}


def test_googles_tools() -> None:
    """Server tools become Google's own; what they cannot be told, and other server tools, are noted."""
    advisor = {"type": "advisor_20260301", "name": "advisor"}
    sent = send(ask(tools=[SEARCH, FETCH, CODE, advisor], tool_choice={"type": "tool", "name": "web_search"}))

    assert [{"googleSearch": {}}, {"urlContext": {}}, {"codeExecution": {}}] == sent.body["tools"]
    assert "toolConfig" not in sent.body
    assert sent.noted("web_search: max_uses cannot be passed on")
    assert sent.noted("server tool left out: advisor")
    off = send(ask(tools=[SEARCH, FETCH, CODE]), options=Options(tools=Tools(search=False, fetch=False, code=False)))
    assert "tools" not in off.body
    assert off.noted("server tool left out: web_search")


def test_googles_tools_with_others() -> None:
    """Newer models take both kinds together; for older ones the client's tools are kept, or the one that is forced."""
    body = ask(tools=[SEARCH, "Read"])
    new = send(body)
    assert ["googleSearch", "functionDeclarations"] == [next(iter(one)) for one in new.body["tools"]]
    assert new.body["toolConfig"]["includeServerSideToolInvocations"] is True

    old = send(body, "gemini-2.5-pro")
    assert ["functionDeclarations"] == [next(iter(one)) for one in old.body["tools"]]
    assert old.noted("web_search left out")
    forced = send({**body, "tool_choice": {"type": "tool", "name": "web_search"}}, "gemini-2.5-pro")
    assert [{"googleSearch": {}}] == forced.body["tools"]
    assert forced.noted("only web_search is offered")


# --- the other fields --------------------------------------------------------------------------------------------


def test_limits() -> None:
    """The fields of sampling have their own names; what is above a limit is cut and told."""
    body = ask(temperature=0.2, top_p=0.9, top_k=20, stop_sequences=["", *"abcdef"], max_tokens=90000)
    sent = send(body, "gemini-2.5-flash", max_output=65536)

    expected = {"maxOutputTokens": 65536, "temperature": 0.2, "topP": 0.9, "topK": 20, "stopSequences": list("abcde")}
    assert expected == sent.generation
    assert sent.noted("90000 lowered to the limit 65536")
    assert sent.noted("stop sequences above the limit of 5 left out: ['f']")


def test_the_third_generation_keeps_its_temperature() -> None:
    """Models that are made for temperature 1 are not told another."""
    sent = send(ask(temperature=0.2, max_tokens=4096))

    assert {"maxOutputTokens": 4096} == sent.generation
    assert sent.noted("temperature 0.2 left out")


def test_the_form_of_the_answer() -> None:
    """A schema goes out in the field that the model has for it, or in words."""
    schema = {"$schema": "x", "type": "object", "properties": {"a": {"const": "b"}}, "additionalProperties": False}
    body = ask(output_config={"format": {"type": "json_schema", "schema": schema}})

    made = send(body).generation
    assert "application/json" == made["responseMimeType"]
    assert {name: schema[name] for name in list(schema)[1:]} == made["responseJsonSchema"]
    old = send(body, "gemini-2.0-flash").generation
    assert {"type": "OBJECT", "properties": {"a": {"type": "STRING", "enum": ["b"]}}} == old["responseSchema"]
    words = send({**body, "tools": [tool("Read")]}, "gemini-2.5-pro")
    assert "responseMimeType" not in words.generation
    assert '"const":"b"' in words.body["systemInstruction"]["parts"][-1]["text"]
    assert words.noted("only described in words")
    assert "responseJsonSchema" in send({**body, "tools": [tool("Read")]}).generation
    odd = send(ask(output_config={"format": {"type": "grammar"}}))
    assert odd.noted("unknown output format left out: grammar")


def test_options_of_the_body() -> None:
    """Safety settings, additions and omissions."""
    options = Options(
        safety="BLOCK_NONE",
        body={"generationConfig": {"topK": 1, "responseModalities": ["TEXT"]}, "contents": []},
        drop=("topP", "toolConfig"),
        limit_field=False,
    )
    sent = send(ask(tools=["Read"], top_k=5, top_p=0.5), "gemini-2.0-flash", options)

    assert 5 == len(sent.body["safetySettings"])
    assert {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"} == sent.body["safetySettings"][0]
    assert {"topK": 5, "responseModalities": ["TEXT"]} == sent.generation
    assert "toolConfig" not in sent.body
    assert sent.noted("topP left out")
    assert 1 == len(sent.contents)


# --- recorded conversations --------------------------------------------------------------------------------------

TURNS = [
    one for one in recordings.recordings(ROOT, "gemini") if one.request is not None and "multi_turn" in one.features
]


def as_messages(contents: list[JSON], name: str) -> list[JSON]:
    """The conversation that a client of the Messages API would have had."""
    turns: list[JSON] = []
    for content in contents:
        blocks: list[JSON] = []
        for part in content["parts"]:
            if "functionCall" in part:
                made = part["functionCall"]
                if part.get("thoughtSignature"):
                    blocks.append(own(model=name, c={made["id"]: part["thoughtSignature"]}))
                blocks.append(use(made["id"], made["name"], **made["args"]))
            elif "functionResponse" in part:
                value = part["functionResponse"]["response"].get("return_value", "(no output)")
                blocks.append(result(part["functionResponse"]["id"], value))
            else:
                blocks.append({"type": "text", "text": part["text"]})
        turns.append({"role": "assistant" if content["role"] == "model" else "user", "content": blocks})
    return turns


@pytest.mark.parametrize("recording", TURNS, ids=str)
def test_recorded_conversations(recording: recordings.Recording) -> None:
    """Conversations that the service accepted are made anew: the same contents, tools and system prompt."""
    theirs = recording.request
    assert theirs is not None
    functions = [one for part in theirs["tools"] for one in part.get("functionDeclarations", ())]
    tools = [
        {
            "name": one["name"],
            "description": one["description"],
            "input_schema": one.get("parameters_json_schema") or json.loads(json.dumps(one["parameters"]).lower()),
        }
        for one in functions
    ]
    system = "\n".join(part["text"] for part in theirs.get("systemInstruction", {}).get("parts", ()))
    sent = send(say(*as_messages(theirs["contents"], recording.model), tools=tools, system=system), recording.model)

    expected: list[JSON] = []
    for content in theirs["contents"]:
        parts = []
        for part in content["parts"]:
            if "functionResponse" in part:
                told = part["functionResponse"]
                output = told["response"].get("return_value", "(no output)")
                part = {"functionResponse": {**told, "response": {"output": output}}}
            parts.append(part)
        if expected and expected[-1]["role"] == content["role"]:
            expected[-1]["parts"] += parts
        else:
            expected.append({"role": content["role"], "parts": parts})
    assert expected == sent.contents
    assert [one["name"] for one in functions] == [one["name"] for one in sent.body["tools"][0]["functionDeclarations"]]


# --- nothing is lost ---------------------------------------------------------------------------------------------

words = st.text(alphabet="abc é\n<>{}", min_size=1, max_size=12).filter(lambda value: value.strip() == value)
arguments = st.dictionaries(
    st.sampled_from(["x", "y"]), st.one_of(words, st.integers(), st.none(), st.booleans()), max_size=2
)


@st.composite
def conversations(draw: st.DrawFn) -> list[JSON]:
    """Turns of text, calls and results in lawful and less lawful order."""
    turns: list[JSON] = [{"role": draw(st.sampled_from(["user", "assistant"])), "content": draw(words)}]
    number = 0
    for _ in range(draw(st.integers(0, 4))):
        blocks: list[JSON] = [{"type": "text", "text": one} for one in draw(st.lists(words, max_size=1))]
        ids = []
        for given_arguments in draw(st.lists(arguments, max_size=3)):
            ids.append(f"call_{number}")
            number += 1
            blocks.append(use(ids[-1], draw(st.sampled_from("AB")), **given_arguments))
        if blocks:
            turns.append({"role": "assistant", "content": blocks})
        answered = draw(st.permutations(ids))[: draw(st.integers(0, len(ids)))]
        reply: list[JSON] = [result(one, draw(words), is_error=draw(st.booleans())) for one in answered]
        if draw(st.booleans()):
            reply.append(result("nobody", draw(words)))
        reply += [{"type": "text", "text": one} for one in draw(st.lists(words, max_size=2))]
        if draw(st.booleans()):
            turns.append({"role": "system", "content": draw(words)})
        if reply:
            turns.append({"role": "user", "content": reply})
    return turns


@settings(max_examples=200, deadline=None)
@given(conversations())
def test_nothing_is_lost_on_the_way_out(turns: list[JSON]) -> None:
    """Roles alternate, calls are answered at once and in order, and each text, call and result is there."""
    sent = send(say(*turns))

    assert ["user", "model"] * (len(sent.contents) // 2) + ["user"] == [one["role"] for one in sent.contents]
    waiting: list[str] = []
    said = {"user": "", "model": ""}
    results: dict[str, JSON] = {}
    calls: list[tuple[str, str, Any]] = []
    for content in sent.contents:
        answered = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        assert waiting == [one["id"] for one in answered]
        assert ["functionResponse"] * len(answered) == [next(iter(one)) for one in content["parts"][: len(answered)]]
        results.update({one["id"]: one["response"] for one in answered})
        made = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        calls += [(one["id"], one["name"], one["args"]) for one in made]
        waiting = [one["id"] for one in made]
        said[content["role"]] += "\n".join(part.get("text", "") for part in content["parts"]) + "\n"
    assert [] == waiting

    expected = []
    for turn in turns:
        content = turn["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            role = "model" if turn["role"] == "assistant" else "user"
            if block["type"] == "text":
                assert block["text"] in said[role]
            elif block["type"] == "tool_use":
                expected.append((block["id"], block["name"], block["input"]))
            elif block["tool_use_id"] in results:
                key = "error" if block["is_error"] else "output"
                assert {key: block["content"]} == results[block["tool_use_id"]]
            else:
                assert block["content"] in said["user"]
                assert sent.noted("tool results without their call")
    assert expected == calls
    missing = sum("interrupted" in str(one.get("error")) for one in results.values())
    assert sent.noted(f"{missing} tool calls without a result") is bool(missing)
