"""Requests: what a Messages API body becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import openai.types.chat.completion_create_params as params
import pytest
from ccr_plugin_openai_chat import Content, OpenAIChat, Options, Reasoning, Tools
from pydantic import TypeAdapter

from ccr_core import JSON, Context, Request, Target, WireRequest, seal
from ccr_core.testing import as_request, ask, claude_code_headers, claude_code_history, claude_code_request, recordings

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
SDK: TypeAdapter[Any] = TypeAdapter(params.CompletionCreateParams)
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}}
PDF = {
    "type": "document",
    "title": "a.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"},
}


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
    def messages(self) -> list[JSON]:
        return self.body["messages"]  # type: ignore[no-any-return]

    def noted(self, words: str) -> bool:
        return any(words in str(value) for _, value in self.notes)


def send(body: JSON, options: Options | None = None, headers: Mapping[str, str] | None = None, **target: Any) -> Sent:
    notes: list[tuple[str, Any]] = []
    where: dict[str, Any] = {"provider": "acme", "model": "big", "base_url": "https://api.example/v1", **target}
    ctx = Context(
        exchange_id="test",
        target=Target(options=options or Options(), **where),
        note=lambda key, value: notes.append((key, value)),
    )
    return Sent(OpenAIChat().encode(as_request(body, headers), ctx), notes)


def say(*messages: JSON | tuple[str, Any], **fields: Any) -> JSON:
    """A body with these messages."""
    turns = [turn if isinstance(turn, dict) else {"role": turn[0], "content": turn[1]} for turn in messages]
    return {"model": "any", "max_tokens": 100, "messages": turns, **fields}


def use(ident: str, name: str = "Read", **given: Any) -> JSON:
    return {"type": "tool_use", "id": ident, "name": name, "input": given}


def result(ident: str, content: Any = "done", **more: Any) -> JSON:
    return {"type": "tool_result", "tool_use_id": ident, "content": content, **more}


def thinking(text: str, signature: str) -> JSON:
    return {"type": "thinking", "thinking": text, "signature": signature}


def own(field: str = "reasoning_content", model: str = "big", **data: Any) -> str:
    """A signature of thinking that came from the target of these tests."""
    return seal("api.example", {"m": model, "f": field, **data})


def consumed(value: Any) -> Any:
    """``value`` with every lazy iterable in it read, so that all of it is validated."""
    if isinstance(value, Mapping):
        return {key: consumed(inner) for key, inner in value.items()}
    return (
        value if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else [consumed(one) for one in value]
    )


def check_body(body: JSON) -> None:
    """The types of the ``openai`` package accept ``body``, and it is JSON."""
    consumed(SDK.validate_python(json.loads(json.dumps(body))))


# --- whole requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recording",
    [one for one in recordings.recordings(ROOT, "anthropic") if one.request],
    ids=str,
)
def test_recorded_requests_become_valid_bodies(recording: recordings.Recording) -> None:
    """Each recorded Messages request becomes a body that the ``openai`` package's types accept, itself unchanged."""
    assert recording.request is not None
    before = json.dumps(recording.request)

    sent = send(recording.request)

    check_body(sent.body)
    assert before == json.dumps(recording.request)
    assert "cache_control" not in json.dumps(sent.body)


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(content=Content(documents="file", image_in_tool=False, system_role="developer"), cache_marks=4),
        Options(content=Content(merge_users=True, inline_system="user", images="none", prefill="as_is")),
        Options(reasoning=Reasoning(style="reasoning_effort", replay="required_empty"), tools=Tools(schema="basic")),
    ],
)
def test_a_claude_code_conversation_becomes_a_valid_body(options: Options) -> None:
    """A conversation with every kind of block becomes a valid body, with nothing in it that is Anthropic's own."""
    sent = send(claude_code_request(history=claude_code_history()), options, claude_code_headers())
    text = json.dumps(sent.body)

    check_body(sent.body)
    for foreign in ("tool_result", "tool_use_id", "billing-header", "context_management", "defer_loading", "user_id"):
        assert foreign not in text
    if not options.cache_marks:
        assert "cache_control" not in text


def test_the_plainest_request() -> None:
    """One message becomes one message; nothing is added but what every service knows."""
    sent = send(ask("hi", stream=False), Options())

    assert {
        "model": "big",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 1024,
        "stream": False,
    } == sent.body
    assert "https://api.example/v1/chat/completions" == sent.wire.url
    assert [] == sent.notes


def test_unknown_fields_stay_here_and_are_named() -> None:
    """A field that nobody here knows does not reach the provider; a note says so."""
    sent = send(ask(safeguards=[{"path": "/home/me"}], metadata={"user_id": "x"}, novelty=1))

    assert set() == sent.body.keys() & {"safeguards", "metadata", "novelty"}
    assert sent.noted("metadata, novelty, safeguards")


def test_limits_and_sampling() -> None:
    """Limits are capped by the target, stop sequences cut to what is taken; both with a note."""
    body = ask(max_tokens=32000, temperature=0.5, top_p=0.9, top_k=5, stop_sequences=["a", "b", "c", "d", "e"])
    sent = send(body, Options(max_tokens_field="max_completion_tokens"), max_output=8192)

    assert (8192, 0.5, 0.9, ["a", "b", "c", "d"]) == tuple(
        sent.body[name] for name in ("max_completion_tokens", "temperature", "top_p", "stop")
    )
    assert "max_tokens" not in sent.body
    assert [sent.noted(words) for words in ("32000 lowered to the limit 8192", "top_k left out", "['e']")] == [True] * 3


def test_streams_ask_for_usage() -> None:
    """A streamed request asks for usage, unless the service refuses the field."""
    assert {"include_usage": True} == send(ask()).body["stream_options"]
    assert "stream_options" not in send(ask(), Options(stream_usage="never")).body
    assert send(ask(stream=False), Options(force_stream=True)).body["stream"] is True


def test_further_and_dropped_fields() -> None:
    """Fields of the options are added beside the request's own, and dropped ones are left out with a note."""
    options = Options(
        body={"provider": {"only": ["x"]}, "model": "other", "stream_options": {"chunk": 1}}, drop=("temperature",)
    )
    sent = send(ask(temperature=1), options)

    assert ({"only": ["x"]}, "big") == (sent.body["provider"], sent.body["model"])
    assert {"chunk": 1, "include_usage": True} == sent.body["stream_options"]
    assert "temperature" not in sent.body
    assert sent.noted("temperature left out")


def test_the_session_gets_a_stable_id_of_its_own() -> None:
    """The same session gives the same key, which does not hold the client's id."""
    options = Options(session_field="prompt_cache_key", session_header="X-Affinity")
    one, again = (send(claude_code_request(), options, claude_code_headers()) for _ in range(2))
    other = send(claude_code_request(session="other"), options, claude_code_headers(session="other"))

    assert one.body["prompt_cache_key"] == again.body["prompt_cache_key"] == one.wire.headers["x-affinity"]
    assert one.body["prompt_cache_key"] != other.body["prompt_cache_key"]
    assert "5e551074" not in json.dumps(one.body)


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


def test_structured_output() -> None:
    """A wished schema becomes ``response_format``, or words where the service takes no schema."""
    body = ask(output_config={"format": {"type": "json_schema", "schema": SCHEMA}})

    given = send(body).body["response_format"]
    assert {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}} == given
    loose = send(ask(output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}})).body
    assert "strict" not in loose["response_format"]["json_schema"]
    sent = send(body, Options(structured="json_object"))
    assert {"type": "json_object"} == sent.body["response_format"]
    assert '"additionalProperties":false' in sent.messages[0]["content"]
    assert sent.noted("described in words")


# --- messages ----------------------------------------------------------------------------------------------------


def test_the_system_prompt_without_the_accounting_line() -> None:
    """Blocks are joined; the line that changes with every request is left out."""
    system = [
        {"type": "text", "text": text}
        for text in ("x-anthropic-billing-header: cc_version=1;", "You code.", "Be brief.")
    ]
    messages = send(say(("user", "hi"), system=system)).messages

    assert {"role": "system", "content": "You code.\n\nBe brief."} == messages[0]
    assert (
        "developer"
        == send(say(("user", "hi"), system="x"), Options(content=Content(system_role="developer"))).messages[0]["role"]
    )


def test_system_messages_stay_in_place_or_become_reminders() -> None:
    """A system message in the conversation stays where it is; on demand it is put into a user message."""
    body = say(("user", "hi"), ("system", "cwd: /x"), ("assistant", "ho"), ("user", "more"))

    assert ["user", "system", "assistant", "user"] == [one["role"] for one in send(body).messages]
    folded = send(body, Options(content=Content(inline_system="user", merge_users=True))).messages
    assert "hi\n\n<system-reminder>\ncwd: /x\n</system-reminder>" == folded[0]["content"]
    assert ["user", "assistant", "user"] == [one["role"] for one in folded]


def test_results_follow_their_calls_in_order() -> None:
    """Results come first, in the order of the calls, whatever the order and place in which the client gave them."""
    body = say(
        ("user", "go"),
        ("assistant", [{"type": "text", "text": "ok"}, use("a", path="x"), use("b")]),
        ("system", "a reminder"),
        ("user", [{"type": "text", "text": "before"}, result("b", "B")]),
        ("user", [result("a", "A"), {"type": "text", "text": "after"}]),
    )

    assert [
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": "ok",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "Read", "arguments": '{"path":"x"}'}},
                {"id": "b", "type": "function", "function": {"name": "Read", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "A"},
        {"role": "tool", "tool_call_id": "b", "content": "B"},
        {"role": "system", "content": "a reminder"},
        {"role": "user", "content": "before"},
        {"role": "user", "content": "after"},
    ] == send(body).messages


def test_calls_spread_over_messages_are_one_message() -> None:
    """Assistant messages that follow each other are one, so that their calls and results stay together."""
    body = say(
        ("user", "go"), ("assistant", [use("a")]), ("assistant", [use("b")]), ("user", [result("a"), result("b")])
    )

    assert ["user", "assistant", "tool", "tool"] == [one["role"] for one in send(body).messages]


def test_missing_and_orphaned_results() -> None:
    """A call without a result gets one that says so; a result without a call becomes text; both are noted."""
    sent = send(
        say(("user", "go"), ("assistant", [use("a")]), ("user", [result("z", "lost"), {"type": "text", "text": "hm"}]))
    )

    assert ["user", "assistant", "tool", "user"] == [one["role"] for one in sent.messages]
    assert "interrupted" in sent.messages[2]["content"]
    assert "lost" in sent.messages[3]["content"]
    assert "hm" in sent.messages[3]["content"]
    assert (sent.noted("1 tool calls without a result"), sent.noted("1 tool results without")) == (True, True)


@pytest.mark.parametrize(
    ("content", "more", "expected"),
    [
        ("", {}, "(no output)"),
        ([], {}, "(no output)"),
        (None, {}, "(no output)"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {}, "a\nb"),
        ("it broke", {"is_error": True}, "Error: it broke"),
        ("Error: it broke", {"is_error": True}, "Error: it broke"),
        ("<tool_use_error>no</tool_use_error>", {"is_error": True}, "<tool_use_error>no</tool_use_error>"),
        ([{"type": "tool_reference", "tool_name": "WebFetch"}], {}, "The tool WebFetch is now available."),
        ([{"type": "document", "source": {"type": "text", "data": "x"}}], {}, "<document>\nx\n</document>"),
    ],
)
def test_tool_results(content: Any, more: JSON, expected: str) -> None:
    """What a tool message says for each kind of result."""
    messages = send(say(("user", "go"), ("assistant", [use("a")]), ("user", [result("a", content, **more)]))).messages

    assert expected == messages[2]["content"]


def test_images_of_results_are_lifted() -> None:
    """Images of tool results follow in one user message, after all results, before what else the user says."""
    sent = send(
        say(
            ("user", "go"),
            ("assistant", [use("a"), use("b")]),
            (
                "user",
                [
                    result("a", [PNG]),
                    result("b", [PNG, {"type": "text", "text": "B"}]),
                    {"type": "text", "text": "see"},
                ],
            ),
        )
    )
    tools, user = sent.messages[2:4], sent.messages[4]

    assert ["tool", "tool"] == [one["role"] for one in tools]
    assert all(isinstance(one["content"], str) for one in tools)
    assert ["text", "image_url", "text", "image_url", "text"] == [part["type"] for part in user["content"]]
    assert "data:image/png;base64,iVBOR" == user["content"][1]["image_url"]["url"]
    assert 5 == len(sent.messages)


def test_images_and_documents_that_do_not_pass() -> None:
    """What a service cannot take is replaced by a remark, and noted."""
    url = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
    sent = send(say(("user", [PNG, url, PDF])), Options(content=Content(images="inline")))

    assert ["image_url", "text", "text"] == [part["type"] for part in sent.messages[0]["content"]]
    assert "[image omitted]" == sent.messages[0]["content"][1]["text"]
    assert "a.pdf" in sent.messages[0]["content"][2]["text"]
    assert (sent.noted("1 images left out"), sent.noted("1 documents left out")) == (True, True)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("file", {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JV"}}),
        ("document_url", {"type": "document_url", "document_url": "data:application/pdf;base64,JV"}),
    ],
)
def test_documents_that_pass(way: Any, expected: JSON) -> None:
    """A PDF passes in the form that the service takes."""
    assert [expected] == send(say(("user", [PDF])), Options(content=Content(documents=way))).messages[0]["content"]


def test_the_content_of_a_message_with_calls_only() -> None:
    """It is null, empty or absent, as the service wants it."""
    body = say(("user", "go"), ("assistant", [use("a")]), ("user", [result("a")]))
    ways: list[Any] = ["null", "", "omit"]

    given = [send(body, Options(content=Content(empty=way))).messages[1].get("content", ...) for way in ways]
    assert [None, "", ...] == given


def test_an_answer_begun_by_the_client() -> None:
    """A last assistant message is followed by a request to go on, or marked as the service wants it."""
    body = say(("user", "go"), ("assistant", "{"))
    sent = send(body)

    assert ["user", "assistant", "user"] == [one["role"] for one in sent.messages]
    assert sent.noted("cannot be continued")
    assert send(body, Options(content=Content(prefill="prefix"))).messages[1]["prefix"] is True
    assert {"role": "assistant", "content": "{"} == send(body, Options(content=Content(prefill="as_is"))).messages[-1]


def test_empty_messages_are_not_sent() -> None:
    """Empty text makes neither a part nor a message."""
    messages = send(say(("user", [{"type": "text", "text": ""}]), ("assistant", []), ("user", "x"))).messages

    assert [{"role": "user", "content": "x"}] == messages


def test_blocks_of_server_tools_become_text() -> None:
    """A search that Anthropic's service ran stays readable, and is noted."""
    found = {"type": "web_search_result", "title": "T", "url": "https://t"}
    blocks = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [found]},
        {"type": "text", "text": "So."},
        {"type": "novelty", "x": 1},
    ]
    sent = send(say(("user", "go"), ("assistant", blocks), ("user", "and?")))

    for words in ("web_search was called with", "- T: https://t", "So.", '[novelty: {"x":1}]'):
        assert words in sent.messages[1]["content"]
    assert sent.noted("1 novelty blocks written as text")


def test_cited_text_is_one_text() -> None:
    """Text that citations cut into blocks is joined without a gap; other blocks are paragraphs."""
    cited = {"type": "text", "text": "b", "citations": [{"type": "char_location"}]}
    blocks = [{"type": "text", "text": "a"}, cited, {"type": "text", "text": "c"}, {"type": "text", "text": "d"}]

    assert "abc\n\nd" == send(say(("user", "x"), ("assistant", blocks), ("user", "y"))).messages[1]["content"]


def test_cache_marks_are_kept_up_to_a_number() -> None:
    """Marks stay on their parts where the service understands them, the last ones if there are too many."""
    mark = {"cache_control": {"type": "ephemeral"}}
    body = say(
        ("user", [{"type": "text", "text": "1", **mark}]),
        ("assistant", [use("a")]),
        ("user", [result("a", "2", **mark)]),
        system=[{"type": "text", "text": "s", **mark}],
    )
    two = send(body, Options(cache_marks=2))

    assert 0 == json.dumps(send(body).body).count("cache_control")
    assert 3 == json.dumps(send(body, Options(cache_marks=4)).body).count("cache_control")
    assert [{"type": "text", "text": "2", **mark}] == two.messages[-1]["content"]
    assert 2 == json.dumps(two.body).count("cache_control")
    assert two.noted("1 cache marks above the limit")


def test_an_assistant_message_between_tool_and_user() -> None:
    """Where a template demands it, a short assistant message parts tool results from the user."""
    body = say(("user", "go"), ("assistant", [use("a")]), ("user", [result("a"), {"type": "text", "text": "x"}]))
    messages = send(body, Options(content=Content(after_tool="OK."))).messages

    assert ["user", "assistant", "tool", "assistant", "user"] == [one["role"] for one in messages]


def test_ids_of_nine_characters() -> None:
    """Each id becomes nine letters and digits, the same for call and result, different for different ids."""
    calls = [use(f"toolu_{number}") for number in range(40)] + [use("Ab3Ab3Ab3")]
    body = say(("user", "go"), ("assistant", calls), ("user", [result(call["id"]) for call in calls]))
    messages = send(body, Options(tools=Tools(id_style="alnum9"))).messages
    ids = [call["id"] for call in messages[1]["tool_calls"]]

    assert ids == [one["tool_call_id"] for one in messages[2:]]
    assert 41 == len(set(ids))
    assert all(len(one) == 9 and one.isalnum() for one in ids)
    assert "Ab3Ab3Ab3" == ids[-1]


def test_ids_of_forty_characters() -> None:
    """Only an id that is too long is replaced."""
    long = "x" * 64
    body = say(("user", "go"), ("assistant", [use("a"), use(long)]), ("user", [result("a"), result(long)]))
    ids = [call["id"] for call in send(body, Options(tools=Tools(id_style="max40"))).messages[1]["tool_calls"]]

    assert "a" == ids[0]
    assert len(ids[1]) <= 40


# --- tools -------------------------------------------------------------------------------------------------------


def tool(name: str, **more: Any) -> JSON:
    return {"name": name, "description": "d", "input_schema": {"type": "object", "properties": {}}, **more}


def names(sent: Sent) -> list[str]:
    return [one["function"]["name"] for one in sent.body.get("tools", ())]


def test_a_tool() -> None:
    """A tool is a function with name, description and schema, and nothing else of it is sent."""
    sent = send(ask(tools=[tool("Read", cache_control={"type": "ephemeral"}, strict=True, type="custom")]))

    assert [
        {
            "type": "function",
            "function": {"name": "Read", "description": "d", "parameters": {"type": "object", "properties": {}}},
        }
    ] == sent.body["tools"]


def test_deferred_tools_wait_until_they_are_loaded() -> None:
    """A deferred tool is offered once it was referred to or called; the placeholder never."""
    tools = [tool("Read"), tool("DeferredToolPlaceholder", defer_loading=True)]
    tools += [tool(name, defer_loading=True) for name in ("WebFetch", "Called", "Unseen")]
    turns = [
        ("user", "go"),
        ("assistant", [use("a", "ToolSearch"), use("b", "Called")]),
        ("user", [result("a", [{"type": "tool_reference", "tool_name": "WebFetch"}]), result("b")]),
    ]

    assert ["Read", "WebFetch", "Called"] == names(send(say(*turns, tools=tools)))
    assert ["Read"] == names(send(say(("user", "go"), tools=tools)))


def test_without_a_tool_search_all_deferred_tools_are_offered() -> None:
    """Where the search is a server tool, which the service does not have, nothing is held back."""
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    sent = send(ask(tools=[search, tool("A", defer_loading=True)]))

    assert ["A"] == names(sent)
    assert sent.noted("server tool left out: tool_search_tool_bm25")


def test_server_tools_are_left_out_with_a_note() -> None:
    """No empty list of tools and no choice among none is sent."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    sent = send(ask(tools=[search], tool_choice={"type": "tool", "name": "web_search"}))

    assert set() == sent.body.keys() & {"tools", "tool_choice"}
    assert (sent.noted("server tool left out: web_search"), sent.noted("tool_choice left out")) == (True, True)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        (
            "openrouter",
            {
                "tools": [
                    {"type": "openrouter:web_search", "parameters": {"max_uses": 8, "excluded_domains": ["b.example"]}}
                ]
            },
        ),
        ("web_search_options", {"web_search_options": {}}),
        ("enable_search", {"enable_search": True}),
        ("glm", {"tools": [{"type": "web_search", "web_search": {"enable": True, "search_result": True}}]}),
    ],
)
def test_web_search_is_passed_on(way: Any, expected: JSON) -> None:
    """A wish for web search is put as the service takes it."""
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8, "blocked_domains": ["b.example"]}
    body = send(ask(tools=[search]), Options(tools=Tools(web_search=way))).body

    assert expected == {name: body.get(name) for name in expected}


@pytest.mark.parametrize(
    ("choice", "options", "expected"),
    [
        ({"type": "auto"}, Tools(), "auto"),
        ({"type": "none"}, Tools(), "none"),
        ({"type": "any"}, Tools(), "required"),
        ({"type": "any"}, Tools(choice_required="any"), "any"),
        ({"type": "tool", "name": "B"}, Tools(), {"type": "function", "function": {"name": "B"}}),
        ({"type": "tool", "name": "B"}, Tools(forced="filter", choice_required="any"), "any"),
        ({"type": "tool", "name": "B"}, Tools(forced="auto"), "auto"),
    ],
)
def test_tool_choice(choice: JSON, options: Tools, expected: Any) -> None:
    """The choice is put in the words that the service knows."""
    sent = send(ask(tools=["A", "B"], tool_choice=choice), Options(tools=options))

    assert expected == sent.body["tool_choice"]
    assert (["B"] if options.forced == "filter" else ["A", "B"]) == names(sent)


def test_one_tool_at_a_time() -> None:
    """The wish for one call at a time is passed on, or noted where the service has no word for it."""
    body = ask(tools=["A"], tool_choice={"type": "auto", "disable_parallel_tool_use": True})

    assert send(body).body["parallel_tool_calls"] is False
    without = send(body, Options(tools=Tools(parallel_flag=False)))
    assert "parallel_tool_calls" not in without.body
    assert without.noted("one tool at a time")


def test_long_names_are_shortened_everywhere_alike() -> None:
    """A name above 64 characters is the same short one in tools, choice and history, and different for another tool."""
    one, other = ("mcp__" + "server" * 12 + end for end in ("__a", "__b"))
    body = say(
        ("user", "go"),
        ("assistant", [use("a", one)]),
        ("user", [result("a")]),
        tools=[tool(one), tool(other)],
        tool_choice={"type": "tool", "name": one},
    )
    sent = send(body)
    first, second = names(sent)

    assert (64, 64) == (len(first), len(second))
    assert first != second
    assert first == sent.messages[1]["tool_calls"][0]["function"]["name"]
    assert first == sent.body["tool_choice"]["function"]["name"]


def test_limits_of_tools() -> None:
    """Too many tools and too long descriptions are cut, with a note."""
    tools = [tool("A", description="x" * 50), tool("B"), tool("C")]
    sent = send(ask(tools=tools), Options(tools=Tools(max_count=2, description_max=10)))

    assert ["A", "B"] == names(sent)
    assert 10 == len(sent.body["tools"][0]["function"]["description"])
    assert (sent.noted("left out: C"), sent.noted("cut from 50 to 10")) == (True, True)


# --- thinking ----------------------------------------------------------------------------------------------------

ENABLED = {"thinking": {"type": "enabled", "budget_tokens": 10000}}
ADAPTIVE = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
DISABLED = {"thinking": {"type": "disabled"}}


@pytest.mark.parametrize(
    ("fields", "level", "reasoning", "expected"),
    [
        (ENABLED, None, Reasoning(), {}),
        (ENABLED, "high", Reasoning(), {"reasoning_effort": "high"}),
        (ENABLED, None, Reasoning(style="reasoning_effort"), {"reasoning_effort": "high"}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 900}},
            None,
            Reasoning(style="reasoning_effort"),
            {"reasoning_effort": "low"},
        ),
        (ENABLED, "low", Reasoning(style="reasoning_effort"), {"reasoning_effort": "low"}),
        (ENABLED, "budget:1000", Reasoning(style="reasoning_effort"), {"reasoning_effort": "low"}),
        (ENABLED, "xhigh", Reasoning(style="reasoning_effort"), {"reasoning_effort": "high"}),
        (
            ENABLED,
            "minimal",
            Reasoning(style="reasoning_effort", levels=("none", "high")),
            {"reasoning_effort": "none"},
        ),
        (ENABLED, "medium", Reasoning(style="reasoning_effort", levels=("none", "max")), {"reasoning_effort": "max"}),
        (
            ENABLED,
            "low",
            Reasoning(style="reasoning_effort", levels=("none", "default")),
            {"reasoning_effort": "default"},
        ),
        (ADAPTIVE, None, Reasoning(style="reasoning_effort"), {"reasoning_effort": "high"}),
        ({"thinking": {"type": "adaptive"}}, None, Reasoning(style="reasoning_effort"), {}),
        (DISABLED, None, Reasoning(style="reasoning_effort"), {"reasoning_effort": "low"}),
        (DISABLED, None, Reasoning(style="reasoning_effort", levels=("none", "low")), {"reasoning_effort": "none"}),
        (ENABLED, None, Reasoning(style="reasoning"), {"reasoning": {"effort": "high"}}),
        (DISABLED, None, Reasoning(style="reasoning"), {"reasoning": {"enabled": False}}),
        ({"thinking": {"type": "adaptive"}}, None, Reasoning(style="reasoning"), {"reasoning": {"enabled": True}}),
        (
            ENABLED,
            None,
            Reasoning(style="thinking", extra={"clear_thinking": False}),
            {"thinking": {"clear_thinking": False, "type": "enabled"}},
        ),
        (
            ADAPTIVE,
            None,
            Reasoning(style="thinking", effort_too=True),
            {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},
        ),
        (DISABLED, None, Reasoning(style="thinking"), {"thinking": {"type": "disabled"}}),
        (
            DISABLED,
            None,
            Reasoning(style="thinking", can_disable=False, effort_too=True),
            {"thinking": {"type": "enabled"}, "reasoning_effort": "low"},
        ),
        (
            ENABLED,
            None,
            Reasoning(style="enable_thinking", max_budget=8000),
            {"enable_thinking": True, "thinking_budget": 8000},
        ),
        (ENABLED, "low", Reasoning(style="enable_thinking"), {"enable_thinking": True, "thinking_budget": 1024}),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            None,
            Reasoning(style="enable_thinking", effort_too=True, levels=("high", "max")),
            {"enable_thinking": True, "thinking_budget": 1024, "reasoning_effort": "high"},
        ),
        (DISABLED, None, Reasoning(style="enable_thinking"), {"enable_thinking": False}),
        (ENABLED, None, Reasoning(style="chat_template_kwargs"), {"chat_template_kwargs": {"enable_thinking": True}}),
        (DISABLED, None, Reasoning(style="disable_reasoning"), {"disable_reasoning": True}),
        ({}, None, Reasoning(style="enable_thinking"), {}),
        ({}, None, Reasoning(style="reasoning_effort"), {}),
    ],
)
def test_asking_for_thinking(fields: JSON, level: str | None, reasoning: Reasoning, expected: JSON) -> None:
    """Each style, from a budget, an effort, a wish not to think, and the level of the route, which wins."""
    body = send(ask(stream=False, **fields), Options(reasoning=reasoning), level=level).body

    assert expected == {
        name: value for name, value in body.items() if name not in ("model", "messages", "max_tokens", "stream")
    }


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "B"}], ids=["any", "one"])
@pytest.mark.parametrize("fields", [{}, ADAPTIVE], ids=["unsaid", "wanted"])
def test_no_thinking_where_a_tool_is_forced(fields: JSON, choice: JSON) -> None:
    """A service that cannot be made to call a tool while it thinks is asked not to think, nor gets empty thoughts."""
    options = Options(reasoning=Reasoning(style="thinking", replay="required_empty", forced_tools=False))
    sent = send({**ask(tools=["A", "B"]), "tool_choice": choice, **fields}, options)

    assert {"type": "disabled"} == sent.body["thinking"]
    assert sent.body["tool_choice"] in ("required", {"type": "function", "function": {"name": "B"}})
    assert bool(fields) is sent.noted("cannot be made to call a tool while it thinks")


@pytest.mark.parametrize("style", ["none", "reasoning_effort"])
def test_no_forced_tool_where_thinking_stays(style: Any) -> None:
    """Where thinking cannot be switched off, a forced tool is the only one that is offered, and not forced."""
    body = {**ask(tools=["A", "B"]), "tool_choice": {"type": "tool", "name": "B"}, **ADAPTIVE}
    sent = send(body, Options(reasoning=Reasoning(style=style, forced_tools=False)))

    assert (["B"], "auto") == (names(sent), sent.body["tool_choice"])
    assert sent.noted("cannot be told that a tool must be called")


def conversation(*signatures: str) -> JSON:
    """Two rounds: one before the user's last question, one in the tool loop after it."""
    first, second = signatures
    return say(
        ("user", "one"),
        ("assistant", [thinking("T1", first), {"type": "text", "text": "A1"}]),
        ("user", "two"),
        ("assistant", [thinking("T2", second), use("a")]),
        ("user", [result("a")]),
        thinking={"type": "adaptive"},
    )


@pytest.mark.parametrize(
    ("replay", "expected"),
    [("none", [None, None]), ("tool_loop", [None, "T2"]), ("always", ["T1", "T2"]), ("required_empty", ["T1", "T2"])],
)
def test_which_thinking_goes_back(replay: Any, expected: list[str | None]) -> None:
    """None, that of the running tool loop, or all."""
    messages = send(conversation(own(), own()), Options(reasoning=Reasoning(replay=replay))).messages

    assert expected == [one.get("reasoning_content") for one in messages if one["role"] == "assistant"]


def test_no_empty_thinking_for_a_model_that_does_not_think() -> None:
    """A service that demands an empty text gets none while thinking is switched off."""
    body = {**conversation("x", "y"), "thinking": {"type": "disabled"}}

    assert "reasoning_content" not in json.dumps(send(body, Options(reasoning=Reasoning(replay="required_empty"))).body)


def test_foreign_thinking_is_left_out() -> None:
    """Thinking of another service does not go out, not even as text; a service that demands some gets an empty one."""
    foreign = conversation("c2lnbmF0dXJl", seal("other.example", {"m": "big", "f": "reasoning_content"}))
    sent = send(foreign, Options(reasoning=Reasoning(replay="required_empty")))

    assert ["", ""] == [one["reasoning_content"] for one in sent.messages if one["role"] == "assistant"]
    assert "T1" not in json.dumps(sent.body)
    assert sent.noted("2 thinking blocks of another service")


@pytest.mark.parametrize(
    ("field", "way", "expected"),
    [
        ("reasoning", "received", {"reasoning": "T2", "content": "ok"}),
        ("reasoning", "reasoning_content", {"reasoning_content": "T2", "content": "ok"}),
        ("think_tags", "received", {"content": "<think>\nT2\n</think>\n\nok"}),
        (
            "parts",
            "received",
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "T2"}]},
                    {"type": "text", "text": "ok"},
                ]
            },
        ),
    ],
)
def test_how_thinking_goes_back(field: str, way: Any, expected: JSON) -> None:
    """In the field in which it came, or in the one that the options name."""
    body = say(
        ("user", "x"),
        ("assistant", [thinking("T2", own(field)), {"type": "text", "text": "ok"}, use("a")]),
        ("user", [result("a")]),
    )
    message = send(body, Options(reasoning=Reasoning(replay_as=way))).messages[1]

    assert expected == {name: value for name, value in message.items() if name not in ("role", "tool_calls")}


def test_signed_details_go_back_to_the_model_that_made_them() -> None:
    """Details are sent back as they came; to another model only the text."""
    details = [{"type": "reasoning.encrypted", "data": "xyz", "index": 0}]
    body = say(
        ("user", "x"),
        ("assistant", [thinking("T", own("reasoning_details", d=details)), use("a")]),
        ("user", [result("a")]),
    )

    same, other = send(body).messages[1], send(body, model="small").messages[1]
    assert (details, "T") == (same["reasoning_details"], same["reasoning"])
    assert (None, "T") == (other.get("reasoning_details"), other["reasoning"])


def test_signatures_of_calls_go_back_on_the_calls() -> None:
    """What a service attached to a tool call, or to the message, comes back in its place."""
    signature = own(x={"a": {"google": {"thought_signature": "S"}}, "": {"google": {"m": 1}}})
    body = say(("user", "x"), ("assistant", [thinking("", signature), use("a")]), ("user", [result("a")]))
    message = send(body).messages[1]

    assert {"google": {"thought_signature": "S"}} == message["tool_calls"][0]["extra_content"]
    assert {"google": {"m": 1}} == message["extra_content"]


def test_unreadable_arguments_of_the_history_stay_json() -> None:
    """What the client kept of arguments that were no JSON is sent as the JSON in which it kept them."""
    body = say(
        ("user", "x"), ("assistant", [use("a", __unparsedToolInput={"raw": "{", "len": 1})]), ("user", [result("a")])
    )
    arguments = send(body).messages[1]["tool_calls"][0]["function"]["arguments"]

    assert {"__unparsedToolInput": {"raw": "{", "len": 1}} == json.loads(arguments)


def test_a_request_is_not_changed() -> None:
    """Encoding leaves the request as it was, marks and all."""
    request: Request = as_request(claude_code_request(history=claude_code_history()))
    before = json.dumps(request.body)
    ctx = Context(exchange_id="t", target=Target(provider="p", model="m", base_url="x", options=Options(cache_marks=1)))

    OpenAIChat().encode(request, ctx)
    assert before == json.dumps(request.body)
