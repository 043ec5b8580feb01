"""Answers of shapes that no recording has: what comes late, twice, out of order, or not at all."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ccr_plugin_openai_responses import Options, Responses

from ccr_core import JSON, Context, ProtocolError, Request, Target, UpstreamError, assemble, unseal
from ccr_core.testing import as_request, ask, decode, sse, tool

DIALECT = Responses()


def ctx(notes: list[tuple[str, Any]] | None = None, **options: Any) -> Context:
    """A context for the model ``big`` with these options."""
    gathered = notes if notes is not None else []
    target = Target(provider="acme", model="big", base_url="https://api.example/v1", options=Options(**options))
    return Context(exchange_id="t", target=target, note=lambda key, value: gathered.append((key, value)))


def event(kind: str, **fields: Any) -> JSON:
    return {"type": f"response.{kind}", **fields}


def completed(*output: JSON, status: str = "completed", **fields: Any) -> JSON:
    usage = {"input_tokens": 10, "output_tokens": 5}
    response = {"id": "resp_1", "status": status, "model": "big-1", "output": list(output), "usage": usage, **fields}
    return event(status if status in ("completed", "incomplete", "failed") else "done", response=response)


CREATED = event("created", response={"id": "resp_1", "model": "big-1", "status": "in_progress"})


def message_item(*texts: str, **fields: Any) -> JSON:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": content, **fields}


def call_item(name: str = "Read", arguments: Any = '{"a":1}', call: str = "call_1", **fields: Any) -> JSON:
    return {
        "type": "function_call",
        "id": f"fc_{call}",
        "call_id": call,
        "name": name,
        "arguments": arguments,
        **fields,
    }


def streamed(*events: JSON | str, context: Context | None = None, request: Request | None = None) -> JSON:
    """The message that these events make."""
    decoded = decode(DIALECT, [sse(*events)], request or as_request(ask()), context or ctx())
    if decoded.error is not None:
        raise decoded.error
    return assemble(decoded.sequenced)


def whole(body: JSON, context: Context | None = None, request: Request | None = None) -> JSON:
    """The message that a whole answer makes."""
    return assemble(DIALECT.decode_body(body, request or as_request(ask()), context or ctx()))


def texts(message: JSON) -> list[str]:
    return [block["text"] for block in message["content"] if block["type"] == "text"]


# --- how the parts of an answer arrive ---------------------------------------------------------------------------


def test_an_answer_may_come_in_its_last_event_only() -> None:
    """Without any delta everything is in the last event, and in order."""
    message = streamed(CREATED, completed(message_item("One.", "Two."), call_item()))

    assert ["One.", "Two."] == texts(message)
    assert ("Read", {"a": 1}, "call_1") == tuple(message["content"][2][name] for name in ("name", "input", "id"))
    assert ("resp_1", "big-1", "tool_use") == (message["id"], message["model"], message["stop_reason"])


def test_an_answer_may_come_in_whole_items() -> None:
    """The last event of some services has no output; the items came before, out of order here."""
    message = streamed(
        CREATED,
        event("output_item.done", output_index=1, item=call_item()),
        event("output_item.done", output_index=0, item=message_item("Text.")),
        completed(),
    )

    assert ["tool_use", "text"] == [block["type"] for block in message["content"]]


@pytest.mark.parametrize("pieces", list(itertools.product((0, 1), repeat=3)))
def test_nothing_comes_twice(pieces: tuple[int, int, int]) -> None:
    """Deltas, the end of the text, the end of the item and the last event may all bring it, or any of them."""
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
    events = [
        event("output_item.added", output_index=0, item=message_item()),
        event("output_text.delta", delta="Hel", **place),
    ]
    ends = [
        event("output_text.done", text="Hello.", **place),
        event("content_part.done", part={"type": "output_text", "text": "Hello."}, **place),
        event("output_item.done", output_index=0, item=message_item("Hello.")),
    ]
    events += [end for end, wanted in zip(ends, pieces, strict=True) if wanted]

    assert ["Hello."] == texts(streamed(CREATED, *events, completed(message_item("Hello."))))


@pytest.mark.parametrize("end", range(3))
def test_each_end_brings_the_rest(end: int) -> None:
    """The end of the text, of the part, and of the item: each is enough."""
    place = {"output_index": 0, "content_index": 0}
    ends = [
        event("output_text.done", text="Hello.", **place),
        event("content_part.done", part={"type": "output_text", "text": "Hello."}, **place),
        event("output_item.done", output_index=0, item=message_item("Hello.")),
    ]

    assert ["Hello."] == texts(streamed(CREATED, ends[end], completed()))


def test_the_type_may_be_in_the_event_line_only() -> None:
    """Which names the event too."""
    data = b'event: response.completed\ndata: {"response": {"output": [], "usage": {"input_tokens": 1}}}\n\n'
    decoded = decode(DIALECT, [data], as_request(ask()), ctx())

    assert decoded.error is None
    assert "end_turn" == assemble(decoded.sequenced)["stop_reason"]


def test_calls_grow_side_by_side() -> None:
    """Deltas of two calls in turns are told apart by their place, whatever their ids say."""
    events = [
        event("output_item.added", output_index=0, item=call_item("A", "", "call_a")),
        event("output_item.added", output_index=1, item=call_item("B", "", "call_b")),
        event("function_call_arguments.delta", output_index=1, item_id="x1", delta='{"b":'),
        event("function_call_arguments.delta", output_index=0, item_id="x2", delta='{"a":'),
        event("function_call_arguments.delta", output_index=1, item_id="x3", delta="2}"),
        event("function_call_arguments.delta", output_index=0, item_id="x4", delta="1}"),
        event("function_call_arguments.done", output_index=0, arguments='{"a":1}'),
        event("output_item.done", output_index=1, item=call_item("B", '{"b":2}', "call_b")),
        event("output_item.done", output_index=0, item=call_item("A", '{"a":1}', "call_a")),
    ]
    message = streamed(CREATED, *events, completed())

    assert [("A", {"a": 1}), ("B", {"b": 2})] == [(block["name"], block["input"]) for block in message["content"]]


def test_events_may_lack_their_place() -> None:
    """Then the id of the item tells which one is meant, or else it is the last one."""
    message = streamed(
        event("output_item.added", item=call_item("A", "", "call_a")),
        event("output_item.added", item=call_item("B", "", "call_b")),
        event("function_call_arguments.delta", item_id="fc_call_a", delta='{"a":1}'),
        event("function_call_arguments.delta", delta='{"b":2}'),
        event("output_item.done", item=call_item("A", '{"a":1}', "call_a")),
        event("output_item.done", item=call_item("B", '{"b":2}', "call_b")),
        completed(call_item("A", '{"a":1}', "call_a"), call_item("B", '{"b":2}', "call_b")),
    )

    assert [("A", {"a": 1}), ("B", {"b": 2})] == [(block["name"], block["input"]) for block in message["content"]]


def test_items_may_all_have_the_same_place() -> None:
    """A place whose item is done is used for the next one."""
    items = [message_item("One."), call_item("A"), call_item("B", call="call_2")]
    events = []
    for item in items:
        events += [event(f"output_item.{what}", output_index=0, item=item) for what in ("added", "done")]
    message = streamed(CREATED, *events, completed(*items))

    assert ["One."] == texts(message)
    assert ["A", "B"] == [block["name"] for block in message["content"][1:]]


def test_text_may_come_unannounced() -> None:
    """Deltas without any event before them start the answer and the block."""
    events = [
        event("output_text.delta", output_index=0, content_index=0, delta=piece) for piece in ("\n", " \n", "Hi", "!")
    ]
    message = streamed(*events, completed())

    assert ["\n \nHi!"] == texts(message)
    assert message["id"].startswith("msg_")


def test_blanks_alone_are_no_text() -> None:
    """Other services refuse a block of blanks when it is sent back."""
    assert [] == streamed(CREATED, completed(message_item("\n\n")))["content"]


def test_a_last_word_that_differs_is_noted() -> None:
    """What was streamed stands; the difference leaves a note."""
    notes: list[tuple[str, Any]] = []
    place = {"output_index": 0, "content_index": 0}
    message = streamed(
        CREATED,
        event("output_text.delta", delta="Hello", **place),
        event("output_text.done", text="Good day", **place),
        completed(),
        context=ctx(notes),
    )

    assert ["Hello"] == texts(message)
    assert "differs from what it had streamed" in notes[0][1]


@pytest.mark.parametrize("arguments", ["", None, {}, "{}"])
def test_a_call_without_arguments_has_none(arguments: Any) -> None:
    """However that is written."""
    assert {} == streamed(CREATED, completed(call_item(arguments=arguments)))["content"][0]["input"]


def test_arguments_may_be_an_object() -> None:
    """Instead of the JSON text."""
    assert {"a": 1} == whole({"output": [call_item(arguments={"a": 1})]})["content"][0]["input"]


def test_a_call_may_be_named_late() -> None:
    """Arguments wait for the name."""
    message = streamed(
        CREATED,
        event("function_call_arguments.delta", output_index=0, delta='{"a":'),
        event("function_call_arguments.delta", output_index=0, delta="1}"),
        event("output_item.done", output_index=0, item=call_item()),
        completed(),
    )

    assert ("Read", {"a": 1}) == (message["content"][0]["name"], message["content"][0]["input"])


def test_a_call_without_a_name_is_refused() -> None:
    """Its arguments must not be lost in silence."""
    with pytest.raises(ProtocolError, match="not its name"):
        streamed(CREATED, event("function_call_arguments.delta", output_index=0, delta="{}"), completed())


def test_a_shortened_name_is_restored() -> None:
    """The client gets the name that it knows."""
    long = "mcp__" + "server" * 10 + "__read"
    request = as_request(ask(tools=[tool(long)]))
    sent = DIALECT.encode(request, ctx()).body
    assert sent is not None
    short = sent["tools"][0]["name"]

    assert 64 == len(short)
    assert long == whole({"output": [call_item(short)]}, request=request)["content"][0]["name"]


def test_a_refusal_is_text() -> None:
    """The model's own words for not doing it are shown, and noted."""
    notes: list[tuple[str, Any]] = []
    part = {"type": "refusal", "refusal": "I cannot help with that."}
    place = {"output_index": 0, "content_index": 0}
    message = streamed(
        CREATED,
        event("refusal.delta", delta="I cannot ", **place),
        event("refusal.delta", delta="help with that.", **place),
        event("refusal.done", refusal=part["refusal"], **place),
        completed({"type": "message", "id": "msg_1", "content": [part]}),
        context=ctx(notes),
    )

    assert (["I cannot help with that."], "end_turn") == (texts(message), message["stop_reason"])
    assert [("refusal", "the model declined; its words are the text of the answer")] == notes


def test_what_comes_late_for_a_call_is_noted() -> None:
    """A call that is done stays as it is."""
    notes: list[tuple[str, Any]] = []
    late = event("function_call_arguments.delta", output_index=0, delta="more")
    done = event("output_item.done", output_index=0, item=call_item())

    assert {"a": 1} == streamed(CREATED, done, late, completed(), context=ctx(notes))["content"][0]["input"]
    assert [("unread", "the provider sent more arguments for a call that was complete")] == notes


def test_what_is_no_json_is_noted() -> None:
    """With its words."""
    notes: list[tuple[str, Any]] = []
    streamed(CREATED, "one moment please", completed(), context=ctx(notes))

    assert [("unread", "the provider sent something that is no JSON object: one moment please")] == notes


# --- thinking ----------------------------------------------------------------------------------------------------


def reasoning_item(*summary: str, encrypted: str | None = None, content: str | None = None) -> JSON:
    item: JSON = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": t} for t in summary]}
    if content is not None:
        item["content"] = [{"type": "reasoning_text", "text": content}]
    return {**item, "encrypted_content": encrypted}


def test_sections_of_a_summary_are_paragraphs() -> None:
    """Streamed and whole alike."""
    events = [
        event("reasoning_summary_part.added", output_index=0, summary_index=0),
        event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="One."),
        event("reasoning_summary_text.done", output_index=0, summary_index=0, text="One."),
        event("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="Tw"),
        event("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="o."),
    ]
    item = reasoning_item("One.", "Two.", encrypted="gAAA")

    for message in (streamed(CREATED, *events, completed(item)), whole({"output": [item]})):
        (block,) = message["content"]
        assert "One.\n\nTwo." == block["thinking"]
        opened = unseal(block["signature"])
        assert opened is not None
        assert {"m": "big", "t": "reasoning", "s": "summary", "e": "gAAA"} == opened[1]


def test_of_summary_and_thinking_one_is_shown() -> None:
    """Whichever comes first; in a whole answer the summary."""
    item = reasoning_item("Short.", content="Long thinking.")
    events = [
        event("reasoning_text.delta", output_index=0, content_index=0, delta="Long "),
        event("reasoning_text.done", output_index=0, content_index=0, text="Long thinking."),
        event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="Short."),
    ]

    assert "Long thinking." == streamed(CREATED, *events, completed(item))["content"][0]["thinking"]
    assert "Short." == whole({"output": [item]})["content"][0]["thinking"]


def test_a_thought_that_holds_nothing_is_no_block() -> None:
    """An item without text and encrypted form says nothing, unless the service keeps it under its id."""
    item = reasoning_item()
    kept = whole({"output": [item]}, ctx(store=True))["content"]

    assert [] == whole({"output": [item]})["content"]
    opened = unseal(kept[0]["signature"])
    assert opened is not None
    assert "rs_1" == opened[1]["i"]


def test_too_large_a_signature_keeps_the_text_only() -> None:
    """A note says so."""
    notes: list[tuple[str, Any]] = []
    (block,) = whole({"output": [reasoning_item("Short.", encrypted="x" * 300_000)]}, ctx(notes))["content"]
    opened = unseal(block["signature"])

    assert opened is not None
    assert ("Short.", False) == (block["thinking"], "e" in opened[1])
    assert "too large to keep" in notes[0][1]


# --- other items -------------------------------------------------------------------------------------------------


def test_a_hosted_shell_is_a_server_tool() -> None:
    """Its result is an item of its own."""
    call = {
        "type": "shell_call",
        "call_id": "c1",
        "action": {"commands": ["ls", "pwd"]},
        "environment": {"type": "container_reference", "container_id": "x"},
    }
    output = {
        "type": "shell_call_output",
        "call_id": "c1",
        "output": [
            {"stdout": "a\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}},
            {"stdout": "", "stderr": "no\n", "outcome": {"type": "exit", "exit_code": 2}},
        ],
    }
    message = whole({"output": [call, output]})
    use, result = message["content"]

    assert ("bash_code_execution", {"command": "ls\npwd"}) == (use["name"], use["input"])
    assert use["id"] == result["tool_use_id"]
    assert ("a\n", "no\n", 2) == tuple(result["content"][name] for name in ("stdout", "stderr", "return_code"))
    assert "end_turn" == message["stop_reason"]


def test_a_local_shell_keeps_folder_environment_and_time() -> None:
    """They are part of the command line."""
    action = {"command": ["grep", "a b"], "env": {"LANG": "C"}, "working_directory": "/my dir", "timeout_ms": 500}
    item = {"type": "local_shell_call", "id": "lsh_1", "call_id": "call_1", "action": action}
    request = as_request(ask(tools=[{"type": "bash_20250124", "name": "bash"}]))
    (use,) = whole({"output": [item]}, request=request)["content"]

    assert {"command": "cd '/my dir' && LANG=C grep 'a b'", "timeout": 500} == use["input"]
    assert ("bash", "call_1") == (use["name"], use["id"])


def test_tools_that_the_service_runs_itself_are_no_calls() -> None:
    """Named in the options, they leave notes; the client is not asked to run them."""
    notes: list[tuple[str, Any]] = []
    items = [
        {"type": "custom_tool_call", "call_id": "c1", "name": "x_keyword_search", "input": "cats"},
        call_item("x_user_search"),
        message_item("Found."),
    ]
    message = whole({"output": items}, ctx(notes, provider_tools=("x_*",)))

    assert ["Found."] == [block["text"] for block in message["content"]]
    assert "end_turn" == message["stop_reason"]
    assert ["items", "tools"] == [key for key, value in notes if "ran its tool x_" in value]


@pytest.mark.parametrize(
    ("action", "note"),
    [
        ({"type": "open_page", "url": "https://a.example"}, "the provider looked into the page https://a.example"),
        ({"type": "find_in_page", "url": "https://b.example", "pattern": "x"}, "into the page https://b.example"),
    ],
)
def test_pages_that_were_looked_into_leave_notes(action: JSON, note: str) -> None:
    """They are no searches."""
    notes: list[tuple[str, Any]] = []
    message = whole({"output": [{"type": "web_search_call", "action": action}]}, ctx(notes))

    assert [] == message["content"]
    assert note in notes[0][1]


def test_sources_of_a_search_are_its_results() -> None:
    """Where the service gives them, they are not given again as those that the text cites."""
    action = {"type": "search", "queries": ["a", "b"], "sources": [{"type": "url", "url": "https://a.example"}]}
    cited = message_item("See.")
    cited["content"][0]["annotations"] = [
        {"type": "url_citation", "url": url, "title": "T", "start_index": 0, "end_index": 3}
        for url in ("https://a.example", "https://b.example", "https://b.example")
    ]
    request = as_request(ask(tools=[{"type": "web_search_20250305", "name": "web_search"}]))
    message = whole({"output": [{"type": "web_search_call", "action": action}, cited]}, request=request)
    results = [block["content"] for block in message["content"] if block["type"] == "web_search_tool_result"]

    assert "a; b" == message["content"][0]["input"]["query"]
    assert [["https://a.example"], ["https://b.example"]] == [[one["url"] for one in content] for content in results]
    assert ["https://a.example", "https://b.example"] == [one["url"] for one in message["content"][2]["citations"]]


@pytest.mark.parametrize("queries", [[], ["one", "two"]])
def test_sources_that_nothing_else_names(queries: list[str]) -> None:
    """They are listed under the last search, or under none, also for clients that did not ask if there is no text."""
    searches = [{"type": "web_search_call", "action": {"type": "search", "query": query}} for query in queries]
    cited = message_item("")
    annotation = {"type": "url_citation", "url": "https://a.example", "title": "T"}
    cited["content"][0]["annotations"] = [annotation]
    call, result = whole({"output": [*searches, cited]})["content"][-2:]

    assert {"query": queries[-1] if queries else ""} == call["input"]
    assert [("https://a.example", "T")] == [(one["url"], one["title"]) for one in result["content"]]


def test_a_compaction_without_content_is_noted() -> None:
    """There is nothing to give back."""
    notes: list[tuple[str, Any]] = []

    assert [] == whole({"output": [{"type": "compaction", "id": "cmp_1"}]}, ctx(notes))["content"]
    assert ("unread", "a compaction without content left out") == notes[0]


def test_only_a_tool_that_runs_commands_gets_a_shell_call() -> None:
    """Not every tool that has a command."""
    item = {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls", "pwd"]}}
    request = as_request(ask(tools=[tool("Device", command={"type": "string"}), tool("bash")]))
    (use,) = whole({"output": [item]}, request=request)["content"]

    assert ("shell", {"commands": ["ls", "pwd"]}) == (use["name"], use["input"])


def test_a_failed_search_is_an_error_block() -> None:
    """In the form that Anthropic's own search has."""
    item = {"type": "web_search_call", "status": "failed", "action": {"type": "search", "query": "x"}}

    assert {"type": "web_search_tool_result_error", "error_code": "unavailable"} == whole({"output": [item]})[
        "content"
    ][1]["content"]


def test_an_item_of_tomorrow_leaves_a_note() -> None:
    """It is named, and the answer goes on."""
    notes: list[tuple[str, Any]] = []
    message = whole({"output": [{"type": "hologram", "id": "h_1"}, message_item("Text.")]}, ctx(notes))

    assert ["Text."] == texts(message)
    assert ("items", "an item of type hologram has no counterpart") in notes


@pytest.mark.parametrize("kind", ["call", "result", "shell", "init__", "told"])
def test_a_kind_of_item_names_no_method(kind: str) -> None:
    """What a provider calls an item cannot reach into the program."""
    notes: list[tuple[str, Any]] = []
    whole({"output": [{"type": kind}]}, ctx(notes))

    assert [("items", f"an item of type {kind} has no counterpart")] == notes[:1]


def test_a_part_of_tomorrow_leaves_a_note() -> None:
    """Parts of a message as well."""
    notes: list[tuple[str, Any]] = []
    item = message_item("Text.")
    item["content"].append({"type": "output_hologram"})

    assert ["Text."] == texts(whole({"output": [item]}, ctx(notes)))
    assert ("unread", "a content part of type output_hologram has no counterpart") in notes


def test_what_code_gave() -> None:
    """Its output and whether it failed; images are noted."""
    notes: list[tuple[str, Any]] = []
    outputs = [{"type": "logs", "logs": "1\n"}, {"type": "image", "url": "u"}, {"type": "logs", "logs": "2\n"}]
    item = {"type": "code_interpreter_call", "code": "x", "outputs": outputs, "status": "completed"}
    failed = {**item, "outputs": None, "status": "failed"}
    blocks = whole({"output": [item, failed]}, ctx(notes))["content"]

    assert [("1\n2\n", 0), ("", 1)] == [
        (block["content"]["stdout"], block["content"]["return_code"]) for block in blocks[1::2]
    ]
    assert [("items", "1 images made by code left out")] == notes[:1]


def test_an_event_of_tomorrow_leaves_one_note() -> None:
    """However often it comes; what is known to mean nothing leaves none."""
    notes: list[tuple[str, Any]] = []
    tomorrow = event("hologram.delta", delta="x")
    streamed(
        CREATED,
        tomorrow,
        tomorrow,
        {"type": "keepalive"},
        {"type": "codex.rate_limits"},
        completed(),
        context=ctx(notes),
    )

    assert [("unread", "the provider sent an event of unknown type: response.hologram.delta")] == notes


# --- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("max_output_tokens", "max_tokens"), ("content_filter", "refusal"), ("max_messages", "end_turn")],
)
def test_why_an_answer_is_incomplete(reason: str, stop: str) -> None:
    """The reason decides, also where a call was begun."""
    message = streamed(
        CREATED, completed(message_item("Te"), status="incomplete", incomplete_details={"reason": reason})
    )

    assert (["Te"], stop) == (texts(message), message["stop_reason"])


def test_a_call_that_was_cut_short() -> None:
    """Half arguments stay visible, and the reason is the limit."""
    details = {"reason": "max_output_tokens"}
    message = streamed(
        CREATED, completed(call_item(arguments='{"a":'), status="incomplete", incomplete_details=details)
    )

    assert "max_tokens" == message["stop_reason"]
    assert '{"a":' == message["content"][0]["input"]["__unparsedToolInput"]["raw"]


def test_usage_leaves_out_what_was_cached() -> None:
    """Read and written; the tokens of thinking are in the output already, and told beside it."""
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 15},
    }
    message = streamed(CREATED, completed(usage=usage))

    assert {
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 15},
    } == message["usage"]


def test_missing_usage_is_noted() -> None:
    """The counts are then unknown."""
    notes: list[tuple[str, Any]] = []
    streamed(CREATED, completed(usage=None), context=ctx(notes))

    assert [("usage", "the provider gave no token counts")] == notes


@pytest.mark.parametrize("end", [(), ("[DONE]",), (event("in_progress", response={}),)])
def test_without_its_end_mark_an_answer_is_none(end: tuple[JSON | str, ...]) -> None:
    """Whatever else comes last."""
    place = {"output_index": 0, "content_index": 0}
    with pytest.raises(ProtocolError, match="before its end mark"):
        streamed(CREATED, event("output_text.delta", delta="Hi", **place), *end)


def test_nothing_at_all_is_no_answer() -> None:
    """An empty stream is refused."""
    with pytest.raises(ProtocolError, match="is empty"):
        streamed()


def test_what_comes_after_the_end_is_dropped() -> None:
    """Some gateways add their own mark."""
    assert ["Hi"] == texts(streamed(CREATED, completed(message_item("Hi")), "[DONE]", CREATED))


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "told"}, 429, "rate_limit_error"),
        ({"type": "error", "error": {"type": "server_error", "message": "told"}}, 500, "api_error"),
        ({"type": "error", "error": {"code": "server_is_overloaded", "message": "told"}}, 529, "overloaded_error"),
        ({"error": {"message": "told", "code": 403}}, 403, "permission_error"),
        ({"error": "told"}, 500, "api_error"),
        (completed(status="failed", error={"code": "invalid_prompt", "message": "told"}), 400, "invalid_request_error"),
        (completed(error={"code": "server_error", "message": "told"}), 500, "api_error"),
        (completed(status="failed"), 500, "api_error"),
        (event("cancelled", response={"status": "cancelled"}), 500, "api_error"),
    ],
)
def test_failures_in_a_stream(failure: JSON, status: int, kind: str) -> None:
    """Whatever the shape: words, status and kind; and what was said before stays said."""
    place = {"output_index": 0, "content_index": 0}
    events = [CREATED, event("output_text.delta", delta="Hi", **place), failure]
    decoded = decode(DIALECT, [sse(*events)], as_request(ask()), ctx())

    assert isinstance(decoded.error, UpstreamError)
    assert (status, kind) == (decoded.error.status, decoded.error.kind)
    assert "told" in decoded.error.message or "no reason" in decoded.error.message
    assert "Hi" == decoded.so_far["content"][0]["text"]


def test_an_overflow_in_a_stream_is_told_in_the_clients_words() -> None:
    """So that it compacts the conversation."""
    error = {
        "code": "context_length_exceeded",
        "message": "Your input exceeds the context window of this model. Please adjust your input and try again.",
    }
    with pytest.raises(UpstreamError, match=r"^prompt is too long: Your input exceeds") as caught:
        streamed(CREATED, completed(status="failed", error=error))

    assert (400, "invalid_request_error") == (caught.value.status, caught.value.kind)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_whole_answer_may_have_failed(status: str) -> None:
    """Its error is given, or that it has none."""
    with pytest.raises(UpstreamError, match="no reason"):
        whole({"status": status, "output": []})
    with pytest.raises(UpstreamError, match="too bad"):
        whole({"status": status, "output": [], "error": {"code": "server_error", "message": "too bad"}})


@pytest.mark.parametrize("body", [{}, [], None, {"choices": []}, {"output": None}])
def test_a_body_that_is_no_answer_is_refused(body: Any) -> None:
    """With what it is."""
    with pytest.raises(ProtocolError, match="has no output"):
        whole(body)


def test_a_body_that_is_an_error_with_status_200() -> None:
    """Some gateways do so."""
    for name in ("detail", "message"):
        with pytest.raises(UpstreamError, match="no such model"):
            whole({name: "no such model"})


def test_an_answer_in_the_background_is_refused() -> None:
    """There is nothing to read yet."""
    with pytest.raises(ProtocolError, match="in the background"):
        whole({"status": "queued", "output": []})
