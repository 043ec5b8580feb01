"""Requests: what a Messages API body becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import openai.types.responses.response_create_params as params
import pytest
from ccr_plugin_openai_responses import Options, Responses
from ccr_plugin_openai_responses.reasoning import sealed
from pydantic import TypeAdapter

from ccr_core import JSON, Context, Target, WireRequest, seal
from ccr_core.testing import (
    as_request,
    ask,
    claude_code_headers,
    claude_code_history,
    claude_code_request,
    recordings,
    tool,
)

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
SDK: TypeAdapter[Any] = TypeAdapter(params.ResponseCreateParams)
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}}
PDF = {
    "type": "document",
    "title": "a.pdf",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JV"},
}


def context(notes: list[tuple[str, Any]], options: Options | None = None, **target: Any) -> Context:
    where: dict[str, Any] = {"provider": "acme", "model": "big", "base_url": "https://api.example/v1", **target}
    return Context(
        exchange_id="test",
        target=Target(options=options or Options(), **where),
        note=lambda key, value: notes.append((key, value)),
    )


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
    def items(self) -> list[JSON]:
        return self.body["input"]  # type: ignore[no-any-return]

    def noted(self, words: str) -> bool:
        return any(words in str(value) for _, value in self.notes)


def send(body: JSON, options: Options | None = None, headers: Mapping[str, str] | None = None, **target: Any) -> Sent:
    notes: list[tuple[str, Any]] = []
    wire = Responses().encode(as_request(body, headers), context(notes, options, **target))
    return Sent(wire, notes)


def say(*turns: JSON | tuple[str, Any], **fields: Any) -> JSON:
    """A body with these messages."""
    messages = [turn if isinstance(turn, dict) else {"role": turn[0], "content": turn[1]} for turn in turns]
    return {"model": "any", "max_tokens": 100, "messages": messages, **fields}


def use(ident: str, name: str = "Read", **given: Any) -> JSON:
    return {"type": "tool_use", "id": ident, "name": name, "input": given}


def result(ident: str, content: Any = "done", **more: Any) -> JSON:
    return {"type": "tool_result", "tool_use_id": ident, "content": content, **more}


def text(words: str) -> JSON:
    return {"type": "text", "text": words}


def thought(words: str = "", options: Options | None = None, **item: Any) -> JSON:
    """A thinking block as this dialect makes it of ``item``, for the target of these tests."""
    shown = ("content" if item.get("content") else "summary") if words else ""
    signature = sealed({"type": "reasoning", **item}, shown, context([]), options or Options())
    return {"type": "thinking", "thinking": words, "signature": signature}


def message(role: str, *words: str, **fields: Any) -> JSON:
    """A message item of the user or system."""
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": one} for one in words]}


def consumed(value: Any) -> Any:
    """``value`` with every lazy iterable in it read, so that all of it is validated."""
    if isinstance(value, Mapping):
        return {key: consumed(inner) for key, inner in value.items()}
    return (
        value if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") else [consumed(one) for one in value]
    )


def check_body(body: JSON) -> None:
    """The types of the ``openai`` package accept ``body``, and it is JSON.

    They want an id for each thought; the service looks ids up, and must not get one that it has not stored.
    """
    copy = json.loads(json.dumps(body))
    for item in copy["input"]:
        if item["type"] == "reasoning":
            item.setdefault("id", "rs_1")
    # What the types do not know would be missing from what comes out of them.
    assert copy == {"stream": copy["stream"], **consumed(SDK.validate_python(copy))}


# --- whole requests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recording", [one for one in recordings.recordings(ROOT, "anthropic") if one.request], ids=str)
def test_recorded_requests_become_valid_bodies(recording: recordings.Recording) -> None:
    """Each recorded Messages request becomes a body that the ``openai`` package's types accept, itself unchanged."""
    assert recording.request is not None
    before = json.dumps(recording.request)

    sent = send(recording.request, Options(web_search="web_search", code_execution=True))

    check_body(sent.body)
    assert before == json.dumps(recording.request)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(instructions="empty", system_role="developer", phase=True, cache_marks=4, fast="priority"),
        Options(tool_output="text", documents="none", images="none", schema="basic", structured="none"),
    ],
    ids=["defaults", "others", "less"],
)
def test_a_conversation_of_claude_code_becomes_a_valid_body(options: Options, stream: bool) -> None:
    """With every kind of block that it replays."""
    body = claude_code_request(history=claude_code_history(), stream=stream)

    sent = send(body, options, claude_code_headers())

    check_body(sent.body)
    assert stream is sent.body["stream"]
    assert "safeguards" not in json.dumps(sent.body)


def test_a_conversation_of_claude_code() -> None:
    """Nothing that it says is lost, but what a note names."""
    sent = send(claude_code_request(history=claude_code_history()), headers=claude_code_headers())

    assert [
        "message user",
        "message system",
        "message assistant",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message user",
        "function_call",
        "function_call_output",
        "function_call",
        "function_call_output",
        "message system",
        "message assistant",
        "message user",
        "message user",
    ] == [f"{item['type']} {item.get('role', '')}".strip() for item in sent.items]
    assert [
        ("body", "fields without a counterpart left out: context_management, metadata"),
        ("messages", "2 thinking blocks of another service or model left out"),
    ] == sent.notes
    assert sent.body["instructions"].startswith("You are a coding assistant for the command line.\n\n# Rule 1")
    assert "cc_version" not in json.dumps(sent.body)
    assert {"effort": "high", "summary": "auto"} == sent.body["reasoning"]
    assert ["reasoning.encrypted_content"] == sent.body["include"]
    assert (False, True, 32000) == tuple(sent.body[name] for name in ("store", "stream", "max_output_tokens"))


def test_nothing_unknown_is_sent() -> None:
    """Fields that the client invents stay here; those that hold nothing are not worth a note."""
    sent = send(say(("user", "hi"), safeguards=[{"private": 1}], metadata={"user_id": "me"}, top_k=None))

    assert {"model", "input", "max_output_tokens", "include", "store", "stream"} == sent.body.keys()
    assert [("body", "fields without a counterpart left out: metadata, safeguards")] == sent.notes


def test_stop_sequences_are_noted() -> None:
    """The format has none."""
    assert send(say(("user", "hi"), stop_sequences=["</block>"])).noted("left out: stop_sequences")


# --- the chatgpt backend -----------------------------------------------------------------------------------------

CHATGPT = Options(
    instructions="empty",
    system_role="developer",
    assistant_text="parts",
    force_stream=True,
    session_header="session_id",
    fast="priority",
    drop=("max_output_tokens", "temperature", "top_p"),
)


def test_the_options_for_the_chatgpt_backend() -> None:
    """It always streams, stores nothing, wants instructions (which may be empty) and refuses limits."""
    turns = [("user", "hi"), ("assistant", "ho"), ("user", "hi")]
    body = say(*turns, system="Be brief.", temperature=1, speed="fast")
    base = "https://chatgpt.com/backend-api/codex"
    sent = send(body, CHATGPT, claude_code_headers(), base_url=base)

    assert "https://chatgpt.com/backend-api/codex/responses" == sent.wire.url
    assert {
        "model": "big",
        "instructions": "",
        "input": [
            message("developer", "Be brief."),
            message("user", "hi"),
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ho"}]},
            message("user", "hi"),
        ],
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
        "prompt_cache_key": sent.wire.headers["session_id"],
        "service_tier": "priority",
    } == sent.body
    assert "text/event-stream" == sent.wire.headers["accept"]
    assert sent.noted("max_output_tokens left out")


# --- messages ----------------------------------------------------------------------------------------------------


def test_system_messages_stay_in_place() -> None:
    """Also between a call and its result, where they wait until the result is out."""
    turns = [
        ("user", "go"),
        ("assistant", [use("c1")]),
        ("system", "The user left."),
        ("user", [result("c1")]),
        ("system", [text("Back.")]),
    ]
    items = send(say(*turns)).items

    assert ["message", "function_call", "function_call_output", "message", "message"] == [one["type"] for one in items]
    assert [message("system", "The user left."), message("system", "Back.")] == items[3:]


def test_system_messages_as_reminders() -> None:
    """For those who know no such role."""
    sent = send(say(("user", "go"), ("system", "Now.")), Options(system_role="user"))

    assert message("user", "<system-reminder>\nNow.\n</system-reminder>") == sent.items[1]


def test_the_system_prompt_as_first_message() -> None:
    """Without the field for instructions; the accounting line is left out."""
    system = [text("x-anthropic-billing-header: cc_version=1;"), text("One."), text("Two.")]
    sent = send(say(("user", "go"), system=system), Options(instructions="none"))

    assert message("system", "One.", "Two.") == sent.items[0]
    assert "instructions" not in sent.body


def test_results_come_after_their_calls_in_order() -> None:
    """Whatever the order in which the client gives them; what stands beside them follows."""
    answers = [text("Look:"), result("c2", "two"), result("c1", "one")]
    items = send(say(("user", "go"), ("assistant", [use("c1"), use("c2")]), ("user", answers))).items

    assert [("c1", "one"), ("c2", "two")] == [(one["call_id"], one["output"]) for one in items[3:5]]
    assert message("user", "Look:") == items[5]


def test_results_and_calls_without_each_other() -> None:
    """A call gets a result saying so, a result becomes text; both are noted."""
    turns = [("user", "go"), ("assistant", [use("c1")]), ("user", [result("other", "42", is_error=True)])]
    sent = send(say(*turns))

    assert "(interrupted: the tool gave no result)" == sent.items[2]["output"]
    assert message("user", "[an earlier tool call (other) failed:]", "42") == sent.items[3]
    assert sent.noted("1 tool calls without a result")
    assert sent.noted("1 tool results without their call, now text")


def test_an_answer_over_several_messages_is_not_torn_apart() -> None:
    """Calls of messages that follow each other wait for their results together."""
    turns = [
        ("user", "go"),
        ("assistant", [use("c1")]),
        ("assistant", [use("c2")]),
        ("user", [result("c1"), result("c2")]),
    ]
    sent = send(say(*turns))

    assert ["c1", "c2"] == [item["call_id"] for item in sent.items if item["type"] == "function_call_output"]
    assert [] == sent.notes


def test_pictures_and_files_stay_in_the_result() -> None:
    """The format takes them there."""
    content = [text("See:"), PNG, PDF]
    items = send(say(("user", "go"), ("assistant", [use("c1")]), ("user", [result("c1", content)]))).items

    assert [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBOR"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JV"},
    ] == items[2]["output"]


def test_pictures_and_files_after_the_result() -> None:
    """For those who take text only."""
    content = [text("See:"), PNG]
    turns = [("user", "go"), ("assistant", [use("c1")]), ("user", [result("c1", content), text("Well?")])]
    items = send(say(*turns), Options(tool_output="text")).items

    assert "See:\n(the rest of the result is in the next message)" == items[2]["output"]
    assert ["input_text", "input_image"] == [part["type"] for part in items[3]["content"]]
    assert message("user", "Well?") == items[4]


@pytest.mark.parametrize(
    ("content", "error", "output"),
    [
        ("", False, "(no output)"),
        ([], False, "(no output)"),
        ("no", True, "Error: no"),
        ("error: no", True, "error: no"),
        ("<tool_use_error>no</tool_use_error>", True, "<tool_use_error>no</tool_use_error>"),
        ([text("a"), text("b")], False, "a\nb"),
        ([{"type": "tool_reference", "tool_name": "Fetch"}], False, "The tool Fetch is now available."),
    ],
)
def test_results(content: Any, error: bool, output: str) -> None:
    """Errors are marked, and a result is never empty."""
    answer = result("c1", content, is_error=error)

    assert output == send(say(("user", "go"), ("assistant", [use("c1")]), ("user", [answer]))).items[2]["output"]


def test_a_picture_of_an_error() -> None:
    """The mark stands before it."""
    answer = result("c1", [PNG], is_error=True)
    items = send(say(("user", "go"), ("assistant", [use("c1")]), ("user", [answer]))).items

    assert [("input_text", "Error:"), ("input_image", None)] == [
        (part["type"], part.get("text")) for part in items[2]["output"]
    ]


@pytest.mark.parametrize(
    ("block", "options", "part"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
            {},
            {"type": "input_image", "detail": "auto", "image_url": "https://a.example/b.png"},
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
            {"images": "inline"},
            {"type": "input_text", "text": "[image omitted]"},
        ),
        (PNG, {"images": "none"}, {"type": "input_text", "text": "[image omitted]"}),
        (
            {"type": "document", "source": {"type": "url", "url": "https://a.example/b.pdf"}},
            {},
            {"type": "input_file", "file_url": "https://a.example/b.pdf"},
        ),
        (
            {"type": "document", "title": "b", "source": {"type": "url", "url": "https://a.example/b.pdf"}},
            {"documents": "file"},
            {"type": "input_text", "text": "[document omitted: b; it cannot be given to this model]"},
        ),
        (
            {"type": "document", "title": "b", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
            {"documents": "none"},
            {"type": "input_text", "text": '<document title="b">\nx\n</document>'},
        ),
        (
            {"type": "search_result", "title": "T", "source": "s", "content": [text("x")]},
            {},
            {"type": "input_text", "text": "T (s)\nx"},
        ),
    ],
)
def test_parts(block: JSON, options: JSON, part: JSON) -> None:
    """What a block of the user becomes; what is left out is noted and leaves a remark."""
    sent = send(say(("user", [block])), Options(**options))

    assert [part] == sent.items[0]["content"]
    assert ("omitted" in str(part)) is sent.noted("left out")


def test_a_document_with_parts() -> None:
    """Context, title and contents are all there."""
    content = {"type": "content", "content": [text("x"), PNG]}
    block = {"type": "document", "title": "T", "context": "C", "source": content}
    parts = send(say(("user", [block]))).items[0]["content"]

    assert ["C", "T", "x", None] == [part.get("text") for part in parts]


def test_a_started_answer_is_asked_to_go_on() -> None:
    """The format has no way to continue it."""
    sent = send(say(("user", "go"), ("assistant", "{")))

    assert "Go on exactly where" in sent.items[-1]["content"][0]["text"]
    assert sent.noted("cannot be continued")


def test_texts_of_the_model() -> None:
    """Blocks with citations are one text, others are paragraphs; server tools are put into words, with a note."""
    cited = {**text("b"), "citations": [{"type": "web_search_result_location", "url": "u"}]}
    blocks = [
        text("p"),
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": "T", "url": "u"}]},
        text("a"),
        cited,
        text("c"),
    ]
    sent = send(say(("user", "go"), ("assistant", blocks), ("user", "on")))

    assert (
        'p\n\n[the tool web_search was called with {"query":"q"}]\n\n[web search results:]\n- T: u\n\nabc'
        == sent.items[1]["content"]
    )
    assert sent.noted("1 citations left out")
    assert sent.noted("1 server_tool_use blocks written as text")


def test_phases() -> None:
    """Text before a call is commentary, other text an answer; models that know the word are told."""
    turns = [
        ("user", "go"),
        ("assistant", [text("I look."), use("c1")]),
        ("user", [result("c1")]),
        ("assistant", "Done."),
        ("user", "Thanks."),
    ]
    for model, phases in (("gpt-5.5", ["commentary", "final_answer"]), ("gpt-5.1", [None, None])):
        items = send(say(*turns), model=model).items
        assert phases == [item.get("phase") for item in items if item.get("role") == "assistant"]


def test_cache_marks() -> None:
    """The last four that may be kept go out; others are noted."""
    marked = [{**text(str(number)), "cache_control": {"type": "ephemeral"}} for number in range(5)]
    answer = result("c1", "x", cache_control={"type": "ephemeral"})
    turns = [("user", marked), ("assistant", [use("c1")]), ("user", [answer])]
    sent = send(say(*turns), Options(cache_marks=9))
    parts = [*sent.items[0]["content"], *sent.items[2]["output"]]

    assert [False, False, True, True, True, True] == ["prompt_cache_breakpoint" in part for part in parts]
    assert sent.noted("2 cache marks above the limit of 4 left out")
    assert "prompt_cache_breakpoint" not in json.dumps(send(say(*turns)).body)


# --- thinking ----------------------------------------------------------------------------------------------------


def test_encrypted_thinking_goes_back_in_its_place() -> None:
    """Each thought directly before its call, unchanged, without its id."""
    blocks = [
        thought("Why.", id="rs_1", encrypted_content="gAA1"),
        use("c1"),
        thought("", id="rs_2", encrypted_content="gAA2"),
        text("So."),
        use("c2"),
    ]
    items = send(say(("user", "go"), ("assistant", blocks), ("user", [result("c1"), result("c2")]))).items

    summary = [{"type": "summary_text", "text": "Why."}]
    assert {"type": "reasoning", "summary": summary, "encrypted_content": "gAA1"} == items[1]
    assert {"type": "reasoning", "summary": [], "encrypted_content": "gAA2"} == items[3]
    assert ["function_call", "reasoning", "message", "function_call"] == [one["type"] for one in items[2:6]]


def test_visible_thinking_goes_back_with_its_id() -> None:
    """Services that show the thinking itself keep no secret, and look nothing up."""
    block = thought("Long.", id="rs_1", content=[{"type": "reasoning_text", "text": "Long."}])
    items = send(say(("user", "go"), ("assistant", [block, text("So.")]), ("user", "on"))).items

    content = [{"type": "reasoning_text", "text": "Long."}]
    assert {"type": "reasoning", "id": "rs_1", "summary": [], "content": content} == items[1]


def test_stored_thinking_goes_back_by_its_id() -> None:
    """Where the service keeps answers, the id is enough."""
    options = Options(store=True)
    block = thought("", options, id="rs_1")
    sent = send(say(("user", "go"), ("assistant", [block, text("So.")]), ("user", "on")), options)

    assert {"type": "reasoning", "id": "rs_1", "summary": []} == sent.items[1]
    assert sent.body["store"] is True


def test_ids_are_not_sent_to_those_who_store_nothing() -> None:
    """Also if the option was another when the thought was made."""
    stored = Options(store=True)
    blocks = [thought("", stored, id="rs_1"), thought("", stored, id="rs_2", encrypted_content="gAA"), text("So.")]
    items = send(say(("user", "go"), ("assistant", blocks), ("user", "on"))).items

    assert [{"type": "reasoning", "summary": [], "encrypted_content": "gAA"}] == items[1:2]
    assert ["message", "message"] == [item["type"] for item in items[2:]]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "thinking", "thinking": "Hm.", "signature": seal("openai-responses.other.example", {"e": "gAA"})},
        {"type": "thinking", "thinking": "Hm.", "signature": seal("api.example", {"m": "big", "f": "reasoning"})},
        {"type": "redacted_thinking", "data": "x"},
        thought("A summary only."),
    ],
    ids=["anthropic", "another host", "another format", "redacted", "nothing but a summary"],
)
def test_thinking_that_is_of_no_use_is_left_out(block: JSON) -> None:
    """A note says so."""
    sent = send(say(("user", "go"), ("assistant", [block, text("So.")]), ("user", "on")))

    assert ["message", "message", "message"] == [item["type"] for item in sent.items]
    assert sent.noted("1 thinking blocks of another service or model left out")


def test_after_a_change_of_model_encrypted_thinking_stays_behind() -> None:
    """Another model cannot be trusted to read it; visible thinking is text for all."""
    hidden = thought("Why.", encrypted_content="gAA1")
    shown = thought("Long.", content=[{"type": "reasoning_text", "text": "Long."}])
    sent = send(say(("user", "go"), ("assistant", [hidden, shown, text("So.")]), ("user", "on")), model="other")

    assert ["message", "reasoning", "message", "message"] == [item["type"] for item in sent.items]
    assert "Long." == sent.items[1]["content"][0]["text"]


def test_a_thought_that_led_to_nothing_is_left_out() -> None:
    """The service refuses one that no item follows."""
    blocks = [text("So."), thought("Why.", encrypted_content="gAA1")]
    sent = send(say(("user", "go"), ("assistant", blocks), ("user", "on")))

    assert "reasoning" not in [item["type"] for item in sent.items]
    assert sent.noted("1 thoughts that led to nothing left out")


@pytest.mark.parametrize(("replay", "count"), [("always", 3), ("tool_loop", 2), ("none", 0)])
def test_which_thinking_goes_back(replay: Any, count: int) -> None:
    """All, that since the last question, or none."""
    turns = [
        ("user", "go"),
        ("assistant", [thought("", encrypted_content="gAA1"), text("So.")]),
        ("user", "on"),
        ("assistant", [thought("", encrypted_content="gAA2"), use("c1")]),
        ("user", [result("c1")]),
        ("assistant", [thought("", encrypted_content="gAA3"), use("c2")]),
        ("user", [result("c2")]),
    ]
    sent = send(say(*turns), Options(replay=replay))

    assert count == sum(item["type"] == "reasoning" for item in sent.items)


def test_a_compaction_goes_back() -> None:
    """In its place, also as the last thing of an answer."""
    signature = sealed({"type": "compaction", "encrypted_content": "gAA"}, "", context([]), Options())
    block = {"type": "thinking", "thinking": "", "signature": signature}
    items = send(say(("user", "go"), ("assistant", [text("So."), block]), ("user", "on"))).items

    assert {"type": "compaction", "encrypted_content": "gAA"} == items[2]


@pytest.mark.parametrize(
    ("body", "options", "level", "expected"),
    [
        ({}, {}, None, None),
        ({"thinking": {"type": "adaptive"}}, {}, None, {"summary": "auto"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, {}, None, {"effort": "high", "summary": "auto"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {}, None, {"effort": "low", "summary": "auto"}),
        ({"output_config": {"effort": "max"}}, {}, None, {"effort": "high"}),
        ({"output_config": {"effort": "max"}}, {"levels": ("low", "max")}, None, {"effort": "max"}),
        ({"output_config": {"effort": "max"}}, {"levels": ()}, None, None),
        ({"thinking": {"type": "disabled"}}, {"levels": ()}, None, None),
        ({"output_config": {"effort": "turbo"}}, {}, None, {"effort": "turbo"}),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, {}, "low", {"effort": "low"}),
        ({"thinking": {"type": "adaptive"}}, {"summary": "none"}, "low", {"effort": "low"}),
        (
            {"thinking": {"type": "adaptive"}},
            {"summary": "detailed"},
            "budget:9000",
            {"effort": "high", "summary": "detailed"},
        ),
        ({"thinking": {"type": "disabled"}}, {}, None, {"effort": "low"}),
        ({"thinking": {"type": "disabled"}}, {"levels": ("none", "low")}, None, {"effort": "none"}),
        (
            {"thinking": {"type": "disabled"}},
            {"levels": ("none", "low"), "can_disable": False},
            None,
            {"effort": "low"},
        ),
        ({"thinking": {"type": "adaptive"}}, {"thinking": False}, "high", None),
    ],
)
def test_how_thinking_is_asked_for(body: JSON, options: JSON, level: str | None, expected: JSON | None) -> None:
    """The level of the route wins; levels that the service does not know become the nearest."""
    sent = send(say(("user", "hi"), **body), Options(**options), level=level)

    assert expected == sent.body.get("reasoning")
    assert options.get("thinking", True) is ("include" in sent.body)
    assert options.get("thinking", True) is not sent.noted("is not known to think")


# --- tools -------------------------------------------------------------------------------------------------------


def test_tools_are_flat_and_not_strict() -> None:
    """Without the word the service makes them strict by itself."""
    sent = send(ask(tools=[tool("Read", "Reads.", path={"type": "string"})]))

    schema = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    assert [
        {"type": "function", "name": "Read", "description": "Reads.", "parameters": schema, "strict": False}
    ] == sent.body["tools"]


def test_long_and_odd_names_and_ids() -> None:
    """Shortened the same way in tools, calls and the choice; calls and results keep the same id."""
    name, ident = "mcp__" + "x" * 70, "resp_" + "y" * 70 + ":call_0"
    turns = [("user", "go"), ("assistant", [use(ident, name), use("a", "b c")]), ("user", [result(ident), result("a")])]
    sent = send(say(*turns, tools=[tool(name)], tool_choice={"type": "tool", "name": name}))
    short = sent.body["tools"][0]["name"]

    assert 64 == len(short)
    assert {short} == {sent.items[1]["name"], sent.body["tool_choice"]["name"]}
    assert sent.items[1]["call_id"] == sent.items[3]["call_id"]
    assert 64 == len(sent.items[1]["call_id"])
    assert sent.items[2]["name"].startswith("b_c_")


def test_ids_that_come_again_are_told_apart() -> None:
    """Two calls of one conversation must differ."""
    turns: list[tuple[str, Any]] = [("user", "go")]
    for answer in ("one", "two"):
        turns += [("assistant", [use("call_0")]), ("user", [result("call_0", answer)])]
    items = send(say(*turns)).items
    calls = [item["call_id"] for item in items if item["type"] == "function_call"]

    assert "call_0" == calls[0] != calls[1]
    assert [(calls[0], "one"), (calls[1], "two")] == [
        (item["call_id"], item["output"]) for item in items if item["type"] == "function_call_output"
    ]


def test_deferred_tools() -> None:
    """The placeholder never goes out; a deferred tool does once it was referred to or called."""
    deferred = [
        {**tool(name), "defer_loading": True} for name in ("DeferredToolPlaceholder", "Found", "Called", "Other")
    ]
    turns = [
        ("user", "go"),
        ("assistant", [use("c1", "ToolSearch"), use("c2", "Called")]),
        ("user", [result("c1", [{"type": "tool_reference", "tool_name": "Found"}]), result("c2")]),
    ]
    sent = send(say(*turns, tools=[tool("ToolSearch"), *deferred]))
    server = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    with_search = send(say(("user", "go"), tools=[server, *deferred]))

    assert ["ToolSearch", "Found", "Called"] == [one["name"] for one in sent.body["tools"]]
    assert ["Found", "Called", "Other"] == [one["name"] for one in with_search.body["tools"]]
    assert with_search.noted("all deferred tools are offered")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "tool", "name": "A"}, {"tool_choice": {"type": "function", "name": "A"}}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"tool_choice": "auto", "parallel_tool_calls": False}),
        ({"type": "none", "disable_parallel_tool_use": True}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "Z"}, {}),
        (None, {}),
    ],
)
def test_the_choice(choice: JSON | None, expected: JSON) -> None:
    """Which tool must be called, and whether one at a time."""
    body = ask(tools=["A", "B"])
    sent = send({**body, "tool_choice": choice} if choice else body)

    assert expected == {name: sent.body[name] for name in ("tool_choice", "parallel_tool_calls") if name in sent.body}
    assert bool(choice and choice.get("name") == "Z") is sent.noted("Z is not offered")


def test_without_tools_there_is_no_choice() -> None:
    """The service refuses one."""
    sent = send(ask(tool_choice={"type": "tool", "name": "Z"}))

    assert sent.body.keys().isdisjoint({"tools", "tool_choice", "parallel_tool_calls"})
    assert sent.noted("there is no tool Z to offer")


def test_too_many_tools() -> None:
    """Those above the limit are left out and named."""
    sent = send(ask(tools=["A", "B", "C"]), Options(max_tools=1, parallel_flag=False))

    assert ["A"] == [one["name"] for one in sent.body["tools"]]
    assert sent.noted("left out: B, C")


SEARCH = {
    "type": "web_search_20250305",
    "name": "web_search",
    "max_uses": 8,
    "allowed_domains": ["a.example"],
    "user_location": {"type": "approximate", "city": "Berlin", "nonsense": 1},
}


def test_web_search_is_the_providers_own() -> None:
    """Where the options say so; what it does not know is noted."""
    chosen = {"type": "tool", "name": "web_search"}
    sent = send(ask(tools=[SEARCH], tool_choice=chosen), Options(web_search="web_search"))
    beside = send(ask(tools=[SEARCH, "A"], tool_choice=chosen), Options(web_search="web_search_preview"))

    assert [
        {
            "type": "web_search",
            "user_location": {"type": "approximate", "city": "Berlin"},
            "filters": {"allowed_domains": ["a.example"]},
        }
    ] == sent.body["tools"]
    assert "required" == sent.body["tool_choice"]
    assert sent.noted("does not know it: max_uses")
    assert {"type": "web_search_preview"} == beside.body["tool_choice"]
    assert beside.noted("does not know it: max_uses, allowed_domains")
    check_body(sent.body)
    check_body(beside.body)


def test_server_tools_without_a_counterpart_are_noted() -> None:
    """Also web search, unless the options name one."""
    code = {"type": "code_execution_20250825", "name": "code_execution"}
    sent = send(ask(tools=[SEARCH, code, "A"]))
    run = send(ask(tools=[code]), Options(code_execution=True))

    assert ["A"] == [one["name"] for one in sent.body["tools"]]
    assert sent.noted("server tool left out: web_search (web_search_20250305)")
    assert sent.noted("server tool left out: code_execution")
    assert [{"type": "code_interpreter", "container": {"type": "auto"}}] == run.body["tools"]
    check_body(run.body)


# --- other fields ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "model_most", "option", "expected"),
    [(100, None, None, 100), (100, 50, None, 50), (100, 50, 40, 40), (1, None, None, 16), (100, 8, None, 16)],
)
def test_the_limit(wanted: int, model_most: int | None, option: int | None, expected: int) -> None:
    """The least of all limits, but never fewer than the service takes; a change is noted."""
    body = {**say(("user", "hi")), "max_tokens": wanted}
    sent = send(body, Options(max_output=option), max_output=model_most)

    assert expected == sent.body["max_output_tokens"]
    assert (expected != wanted) is bool(sent.notes)


@pytest.mark.parametrize(
    ("sampling", "thinking", "sent_on"),
    [("auto", True, False), ("auto", False, True), ("always", True, True), ("never", False, False)],
)
def test_sampling(sampling: Any, thinking: bool, sent_on: bool) -> None:
    """Models that think refuse it; leaving it out is noted."""
    body = say(("user", "hi"), temperature=0.5, top_p=0.9, thinking={"type": "adaptive" if thinking else "none"})
    sent = send(body, Options(sampling=sampling))

    assert ({"temperature": 0.5, "top_p": 0.9} if sent_on else {}) == {
        name: sent.body[name] for name in ("temperature", "top_p") if name in sent.body
    }
    assert (not sent_on) is sent.noted("models that think do not take it")


def test_the_form_of_the_answer() -> None:
    """A schema goes out as it is, strict if it can be; where the service knows none it is put into words."""
    strict = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    loose = {"type": "object", "properties": {"a": {"type": "string"}}}
    for schema in (strict, loose):
        form = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        sent = send(say(("user", "hi"), **form))
        assert {
            "format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": schema is strict}
        } == sent.body["text"]
        check_body(sent.body)
        worded = send(say(("user", "hi"), system="Be brief.", **form), Options(structured="json_object"))
        assert {"format": {"type": "json_object"}} == worded.body["text"]
        assert worded.body["instructions"].startswith("Be brief.\n\nAnswer with one JSON object")
        assert worded.noted("only described in words")


def test_the_session_is_known_by_a_stable_key() -> None:
    """It tells nothing, is the same in each request of a session, and another for a sub-agent or another session."""
    keys = [
        send(ask(), headers=claude_code_headers(session=session, agent_id=agent)).body["prompt_cache_key"]
        for session, agent in (("a", None), ("a", None), ("a", "x"), ("b", None))
    ]

    assert keys[0] == keys[1]
    assert 3 == len(set(keys))
    assert 32 == len(keys[0])
    assert "prompt_cache_key" not in send(ask()).body


def test_further_fields() -> None:
    """Those of the options join those of the request, and do not replace them."""
    more = {"text": {"verbosity": "low"}, "include": ["x"], "truncation": "auto", "model": "other"}
    form = {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}
    sent = send(say(("user", "hi"), **form), Options(body=more, include=("y",), drop=("store",)))

    assert {"verbosity", "format"} == sent.body["text"].keys()
    assert ["reasoning.encrypted_content", "y", "x"] == sent.body["include"]
    assert ("auto", "big") == (sent.body["truncation"], sent.body["model"])
    assert "store" not in sent.body


# --- recorded requests -------------------------------------------------------------------------------------------


def as_messages(items: list[JSON]) -> list[JSON]:
    """The conversation of the Messages API whose replay the recorded ``items`` are."""
    turns: list[JSON] = []

    def add(role: str, *blocks: JSON) -> None:
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": list(blocks)})

    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            content = item["content"]
            parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
            add(item["role"], *(as_block(part) for part in parts))
        elif kind == "reasoning":
            words = "".join(part["text"] for part in item["summary"] or item.get("content") or ())
            add("assistant", thought(words, **item))
        elif kind == "function_call":
            add("assistant", use(item["call_id"], item["name"], **json.loads(item["arguments"])))
        else:
            output = item["output"]
            add("user", result(item["call_id"], output if isinstance(output, str) else [*map(as_block, output)]))
    return turns


def as_block(part: JSON) -> JSON:
    if part["type"] == "input_image":
        kind, _, data = part["image_url"].removeprefix("data:").partition(";base64,")
        return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    if part["type"] == "input_file":
        return {"type": "document", "source": {"type": "url", "url": part["file_url"]}}
    return text(part["text"])


def normal(item: JSON) -> JSON:
    """A recorded item without what is of no consequence: how a text is written, ids, and fields without a value."""
    item = {name: value for name, value in item.items() if value is not None and name not in ("id", "status", "phase")}
    item.setdefault("type", "message")
    content = item.get("content")
    if isinstance(content, str):
        item["content"] = [{"type": "text", "text": content}]
    elif content:
        item["content"] = [
            {"type": "text", "text": part["text"]} if part["type"].endswith("put_text") else part for part in content
        ]
    if "arguments" in item:
        item["arguments"] = json.loads(item["arguments"])
    return item


OURS = {"message", "reasoning", "function_call", "function_call_output"}
REPLAYS = [
    one
    for one in recordings.recordings(ROOT, "openai-responses")
    if one.request and {item.get("type", "message") for item in one.request["input"]} <= OURS
]


@pytest.mark.parametrize("recording", REPLAYS, ids=str)
def test_recorded_conversations_are_told_as_they_were(recording: recordings.Recording) -> None:
    """The items of a recorded request, made into a conversation and encoded, are the same items again."""
    assert recording.request is not None
    given = recording.request["input"]
    sent = send(say(*as_messages(given)))

    said = [item for item in given if item.get("content", "x")]
    assert [normal(item) for item in said] == [normal(item) for item in sent.items]
    check_body(sent.body)


def test_there_are_16_recorded_conversations() -> None:
    """The test above runs over all but the one that searches for tools."""
    assert 16 == len(REPLAYS)
