"""Answers: the odd shapes in which services send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_openai_chat import OpenAIChat, Options, Reasoning, Tools

from ccr_core import (
    JSON,
    Chunk,
    Context,
    Event,
    MessageStart,
    ProtocolError,
    Request,
    StreamError,
    Target,
    UpstreamError,
    assemble,
    unseal,
)
from ccr_core.testing import as_request, ask, check_stream, decode

STOP: JSON = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
DONE = "[DONE]"


def ctx(options: Options | None = None, notes: list[Any] | None = None) -> Context:
    gathered = [] if notes is None else notes
    target = Target(provider="acme", model="big", base_url="https://api.example/v1", options=options or Options())
    return Context(exchange_id="t", target=target, note=lambda key, value: gathered.append((key, value)))


def delta(**fields: Any) -> JSON:
    """A chunk with this delta."""
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def call(index: int | None = 0, ident: Any = ..., name: Any = ..., arguments: Any = ..., **more: Any) -> JSON:
    """An entry of ``tool_calls``; what is not given is absent."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not ...}
    entry: JSON = {"function": function, **more}
    if index is not None:
        entry["index"] = index
    if ident is not ...:
        entry["id"] = ident
    return entry


def answer(
    *chunks: Any, options: Options | None = None, request: Request | None = None, notes: list[Any] | None = None
) -> JSON:
    """The message that a stream of these chunks makes, through framing, decoder and Sequencer; raises its error."""
    data = b"".join(b"data: %b\n\n" % (c if isinstance(c, str) else json.dumps(c)).encode() for c in chunks)
    decoded = decode(OpenAIChat(), [data], request or as_request(ask()), ctx(options, notes))
    if decoded.error is not None:
        raise decoded.error
    check_stream(decoded.sequenced)
    return assemble(decoded.sequenced)


def whole(body: Any, options: Options | None = None, request: Request | None = None) -> JSON:
    """The message that a whole answer makes."""
    return assemble(OpenAIChat().decode_body(body, request or as_request(ask()), ctx(options)))


def blocks(message: JSON) -> list[Any]:
    """The content, short: text, thinking, or name and input of a call."""
    return [_short(block) for block in message["content"]]


def _short(block: JSON) -> Any:
    if block["type"] == "text":
        return block["text"]
    if block["type"] == "thinking":
        return ("thinking", block["thinking"])
    return (block["name"], block["input"]) if block["type"] == "tool_use" else block


# --- the frame ---------------------------------------------------------------------------------------------------


def test_an_id_and_a_model_are_made_up_where_they_lack() -> None:
    """Empty ids and names are replaced: clients insist on them."""
    message = answer({"id": "", "model": "", "choices": [{"delta": {"content": "x"}}]}, STOP, DONE)

    assert message["id"].startswith("msg_")
    assert "big" == message["model"]
    assert ("c1", "m") == tuple(answer(delta(content="x"), STOP)[name] for name in ("id", "model"))


def test_text_of_many_shapes() -> None:
    """Null, empty, lists of parts and plain strings are one text."""
    message = answer(
        {"choices": [], "prompt_filter_results": []},
        delta(role="assistant", content=""),
        delta(content=None),
        delta(content="a"),
        delta(role="assistant", content="b", refusal=None, tool_calls=None),
        delta(content=[{"type": "text", "text": "c"}]),
        {"choices": [{"index": 0, "delta": None}]},
        STOP,
        DONE,
    )

    assert ["abc"] == blocks(message)
    assert "end_turn" == message["stop_reason"]


def test_a_chunk_with_a_message_instead_of_a_delta() -> None:
    """A whole message inside a stream is read once, and not when its text has been streamed before."""
    closing = {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}

    assert ["ab"] == blocks(answer(closing, DONE))
    assert ["ab"] == blocks(answer(delta(content="a"), delta(content="b"), closing, DONE))


@pytest.mark.parametrize("chunks", [[], [delta(role="assistant", content="")], [delta(content="x")]])
def test_a_stream_without_an_end_mark_is_broken(chunks: list[Any]) -> None:
    """Neither silence nor usage ends an answer."""
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    for rest in ([], [usage]):
        with pytest.raises(ProtocolError):
            answer(*chunks, *rest)


def test_an_empty_stream_with_an_end_mark_is_broken_too() -> None:
    """``[DONE]`` alone is no answer."""
    with pytest.raises(ProtocolError, match="is empty"):
        answer(DONE)


def test_either_end_mark_is_enough() -> None:
    """A finish reason without ``[DONE]``, or the other way round, and neither for services known to send none."""
    assert "end_turn" == answer(delta(content="x"), STOP)["stop_reason"]
    assert "end_turn" == answer(delta(content="x"), DONE)["stop_reason"]
    assert ["x"] == blocks(answer(delta(content="x"), options=Options(ends_without_mark=True)))
    with pytest.raises(ProtocolError):
        answer(delta(role="assistant"), options=Options(ends_without_mark=True))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("model_length", "max_tokens"),
        ("content_filter", "refusal"),
        ("sensitive", "refusal"),
        ("tool_calls", "end_turn"),
        ("STOP", "end_turn"),
        ("model_context_window_exceeded", "model_context_window_exceeded"),
        ("something_new", "end_turn"),
        ("mine", "max_tokens"),
    ],
)
def test_finish_reasons(reason: str, expected: str) -> None:
    """Each finish reason has its stop reason; the options may add some."""
    chunk = {"choices": [{"delta": {"content": "x"}, "finish_reason": reason}]}

    assert expected == answer(chunk, options=Options(finish={"mine": "max_tokens"}))["stop_reason"]


def test_a_call_decides_over_the_finish_reason() -> None:
    """An answer with calls stops for them, also when the service says ``stop``; not when it ran out of tokens."""
    chunk = delta(tool_calls=[call(0, "a", "Read", "{}")])

    assert "tool_use" == answer(chunk, STOP)["stop_reason"]
    length = {"choices": [{"delta": {}, "finish_reason": "length"}]}
    assert "max_tokens" == answer(chunk, length)["stop_reason"]


@pytest.mark.parametrize("reason", ["error", "network_error", "insufficient_system_resource"])
def test_a_finish_reason_that_means_failure(reason: str) -> None:
    """An answer that the service itself calls failed is an error, whatever came before."""
    with pytest.raises(UpstreamError, match=reason):
        answer(delta(content="x"), {"choices": [{"delta": {}, "finish_reason": reason}]}, DONE)


def test_the_first_finish_reason_counts() -> None:
    """Later chunks that repeat or drop it change nothing."""
    first = {"choices": [{"delta": {"content": ""}, "finish_reason": "length"}]}
    usage = {**STOP, "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    message = answer(delta(content="x"), first, usage, delta(content=""), DONE)

    assert ("max_tokens", 3) == (message["stop_reason"], message["usage"]["input_tokens"])


def test_a_reported_stop_sequence() -> None:
    """A service that tells which stop sequence it met is believed if the client asked for it."""
    chunk = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop", "stop_reason": "</b>"}]}

    message = answer(chunk, request=as_request(ask(stop_sequences=["</b>"])))
    assert ("stop_sequence", "</b>") == (message["stop_reason"], message["stop_sequence"])
    assert "end_turn" == answer(chunk)["stop_reason"]


@pytest.mark.parametrize(
    ("chunk", "status", "words"),
    [
        ({"error": {"message": "too busy", "code": 503}}, 503, "too busy"),
        ({"error": {"message": "slow down", "type": "rate_limit_error"}}, 429, "slow down"),
        ({"error": "no model"}, 500, "no model"),
        ({"object": "error", "message": "bad", "code": 400}, 400, "bad"),
        ({"base_resp": {"status_code": 1008, "status_msg": "no money"}}, 402, "no money"),
        ([{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}], 429, "quota"),
        ({"choices": [{"delta": {"content": ""}, "error": {"code": 502, "message": "gone"}}]}, 502, "gone"),
        (
            {"choices": [{"delta": {}, "finish_reason": "error"}], "error": {"code": 502, "message": "gone"}},
            502,
            "gone",
        ),
        (
            {"error": {"message": "This model's maximum context length is 10 tokens", "code": 400}},
            400,
            "prompt is too long",
        ),
    ],
)
def test_errors_inside_a_stream(chunk: Any, status: int, words: str) -> None:
    """An error in a stream that began well keeps its words and, where it has one, its status; no end is invented."""
    for before in ([], [delta(content="x")]):
        with pytest.raises(UpstreamError, match=words) as caught:
            answer(*before, chunk, DONE)
        assert status == caught.value.status


@pytest.mark.parametrize(
    "body", [{"error": {"message": "no", "code": 429}}, {"detail": "no"}, {"message": "no", "code": 1}]
)
def test_an_error_in_the_place_of_a_whole_answer(body: JSON) -> None:
    """A 200 that holds an error is one."""
    (event,) = OpenAIChat().decode_body(body, as_request(ask()), ctx())

    assert isinstance(event, StreamError)
    assert "no" == event.message


@pytest.mark.parametrize("body", [{}, {"choices": []}, [], "hello", {"choices": ["x"]}])
def test_something_else_in_the_place_of_a_whole_answer(body: Any) -> None:
    """What is neither answer nor error is a broken protocol."""
    with pytest.raises(ProtocolError, match="has no choices"):
        list(OpenAIChat().decode_body(body, as_request(ask()), ctx()))


def test_an_error_event_whose_data_is_text() -> None:
    """An event named ``error`` is one, whatever its data."""
    decoder = OpenAIChat().decoder(as_request(ask()), ctx())

    assert [StreamError("api_error", "it broke", 500)] == list(decoder.feed(Chunk("it broke", "error")))


def test_a_stream_of_another_kind_is_named() -> None:
    """If nothing was a chat completion, the error shows what there was instead."""
    with pytest.raises(ProtocolError, match=r"is no chat completion.*wrong door"):
        answer({"status": "wrong door"}, {"choices": []})


def test_the_cost_is_noted() -> None:
    """A service that tells what the answer cost is not told in vain."""
    notes: list[Any] = []
    answer(delta(content="x"), {**STOP, "usage": {**PLAIN, "cost": 0.25}}, notes=notes)

    assert ("cost", 0.25) in notes


def test_text_between_the_chunks_is_noted() -> None:
    """Data that is no JSON does not stop the answer, and does not vanish either."""
    notes: list[Any] = []

    assert ["x"] == blocks(answer(delta(content="x"), "keep-alive", STOP, notes=notes))
    assert any("keep-alive" in value for _, value in notes)


def test_unknown_fields_of_an_answer_are_noted_once() -> None:
    """A field with a value that nobody here reads leaves one note."""
    notes: list[Any] = []
    answer(delta(content="x", images=[1]), delta(content="y", images=[2]), STOP, notes=notes)

    assert 1 == len([value for _, value in notes if "images" in value])


# --- usage -------------------------------------------------------------------------------------------------------

PLAIN = {"prompt_tokens": 10, "completion_tokens": 5}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (PLAIN, (10, 5, None, None)),
        ({**PLAIN, "prompt_tokens_details": {"cached_tokens": 4}}, (6, 5, 4, None)),
        ({**PLAIN, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}}, (3, 5, 4, 3)),
        ({**PLAIN, "prompt_tokens_details": {"cached_tokens": 40}}, (0, 5, 40, None)),
        ({**PLAIN, "prompt_tokens_details": None, "prompt_cache_hit_tokens": 4}, (6, 5, 4, None)),
        ({**PLAIN, "cached_tokens": 4}, (6, 5, 4, None)),
        ({"input_tokens": 10, "output_tokens": 5}, (10, 5, None, None)),
        ({**PLAIN, "prompt_tokens": 10.0}, (10, 5, None, None)),
        ({**PLAIN, "prompt_tokens_details": [{"modality": "TEXT"}]}, (10, 5, None, None)),
    ],
)
@pytest.mark.parametrize("place", ["alone", "with the end", "in the choice", "x_groq", "each"])
def test_usage_in_all_places(usage: JSON, expected: tuple[int | None, ...], place: str) -> None:
    """The counts are found wherever they stand, and what was cached is not counted twice."""
    chunks = {
        "alone": [delta(content="x"), STOP, {"choices": [], "usage": usage}],
        "with the end": [delta(content="x"), {**STOP, "usage": usage}],
        "in the choice": [delta(content="x"), {"choices": [{"delta": {}, "finish_reason": "stop", "usage": usage}]}],
        "x_groq": [delta(content="x"), {**STOP, "x_groq": {"id": "r", "usage": usage}}],
        "each": [
            {**delta(content="x"), "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
            {**STOP, "usage": usage},
        ],
    }[place]
    found = answer(*chunks, DONE)["usage"]

    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert expected == tuple(found.get(name) for name in names)


def test_thinking_that_is_counted_apart() -> None:
    """For a service known to count it apart, thinking is added to the answer."""
    usage = {**PLAIN, "completion_tokens_details": {"reasoning_tokens": 7}}
    chunks = [delta(content="x"), {**STOP, "usage": usage}]

    assert 5 == answer(*chunks)["usage"]["output_tokens"]
    assert 12 == answer(*chunks, options=Options(reasoning_tokens="separate"))["usage"]["output_tokens"]


@pytest.mark.parametrize(
    ("details", "separate", "expected"),
    [
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, False, {"thinking_tokens": 3}),
        ({"output_tokens_details": {"reasoning_tokens": 3}}, False, {"thinking_tokens": 3}),
        ({"completion_tokens_details": {"reasoning_tokens": 7}}, True, {"thinking_tokens": 7}),
        # More than there are in all: then the service counts them apart, and nobody knows it.
        ({"completion_tokens_details": {"reasoning_tokens": 7}}, False, {"thinking_tokens": 5}),
        ({"completion_tokens_details": {"reasoning_tokens": 0}}, False, None),
        ({}, False, None),
    ],
)
def test_tokens_of_thinking(details: Any, separate: bool, expected: Any) -> None:
    """What a service says of them is passed on as the Messages API has it: a part of the answer's tokens."""
    chunks = [delta(content="x"), {**STOP, "usage": {**PLAIN, **details}}]
    options = Options(reasoning_tokens="separate") if separate else Options()

    assert expected == answer(*chunks, options=options)["usage"].get("output_tokens_details")


# --- thinking ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "T"},
        {"reasoning": "T"},
        {"reasoning_text": "T"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "T", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "T"}]},
        {"reasoning": "T", "reasoning_details": [{"type": "reasoning.text", "text": "T"}]},
        {"reasoning_content": "T", "reasoning": "T", "content": None},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "T"}]}]},
        {"content": [{"type": "thinking", "thinking": "T"}]},
        {"content": "<think>T</think>"},
        {"content": "\n<think>\nT\n</think>\n\n"},
    ],
)
def test_thinking_in_all_places(fields: JSON) -> None:
    """Thinking is found wherever it stands, once, streamed and whole, and signed so that it can go back."""
    streamed = answer(delta(**fields), delta(content="x"), STOP)
    content = fields.get("content")
    text = [*content, {"type": "text", "text": "x"}] if isinstance(content, list) else f"{content or ''}x"
    plain = whole({"choices": [{"message": {**fields, "content": text}, "finish_reason": "stop"}]})

    for message in (streamed, plain):
        assert [("thinking", "T"), "x"] == blocks(message)
        opened = unseal(message["content"][0]["signature"])
        assert opened is not None
        assert ("api.example", "big") == (opened[0], opened[1]["m"])


def test_details_are_kept_for_the_way_back() -> None:
    """Pieces of one streamed detail are one again; signatures and encrypted parts are kept as they came."""
    message = answer(
        delta(reasoning="a", reasoning_details=[{"type": "reasoning.text", "text": "a", "index": 0}]),
        delta(reasoning="b", reasoning_details=[{"type": "reasoning.text", "text": "b", "index": 0}]),
        delta(reasoning_details=[{"type": "reasoning.text", "signature": "S", "index": 0}]),
        delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "E", "index": 1}]),
        delta(content="x"),
        STOP,
    )
    opened = unseal(message["content"][0]["signature"])

    assert [("thinking", "ab"), "x"] == blocks(message)
    assert opened is not None
    assert [
        {"type": "reasoning.text", "text": "ab", "index": 0, "signature": "S"},
        {"type": "reasoning.encrypted", "data": "E", "index": 1},
    ] == opened[1]["d"]


def test_encrypted_thinking_without_text_is_carried() -> None:
    """It goes into a thinking block of its own, before the text or call that comes next, or at the end."""
    hidden = [{"type": "reasoning.encrypted", "data": "E"}]
    early = answer(delta(reasoning_details=hidden), delta(content="x"), STOP)
    late = answer(delta(content="x"), delta(reasoning_details=hidden), delta(content="y"), STOP)

    assert [("thinking", ""), "x"] == blocks(early)
    assert ["xy", ("thinking", "")] == blocks(late)
    assert all("d" in (unseal(one["signature"]) or ("", {}))[1] for one in (early["content"][0], late["content"][1]))


def test_details_too_large_to_carry_are_noted() -> None:
    """Above the limit only the text is kept."""
    notes: list[Any] = []
    hidden = [{"type": "reasoning.encrypted", "data": "E" * 300_000}]
    message = answer(delta(reasoning="a", reasoning_details=hidden), STOP, notes=notes)

    assert len(message["content"][0]["signature"]) < 200
    assert any("too large" in str(value) for _, value in notes)


def test_thinking_and_text_may_alternate() -> None:
    """Each turn of the two is a block of its own, in order."""
    message = answer(
        delta(reasoning_content="1"), delta(content="a"), delta(reasoning_content="2"), delta(content="b"), STOP
    )

    assert [("thinking", "1"), "a", ("thinking", "2"), "b"] == blocks(message)


def test_blank_thinking_is_no_block() -> None:
    """Blanks alone make neither thinking nor text."""
    assert ["x"] == blocks(answer(delta(reasoning_content="\n"), delta(content="x"), STOP))
    only_call = answer(delta(content="\n\n"), delta(tool_calls=[call(0, "a", "Read", "{}")]), STOP)
    assert [("Read", {})] == blocks(only_call)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>\nT </x> <\n</think>\n\nA <think>b</think>", [("thinking", "T </x> <"), "A <think>b</think>"]),
        ("  <think>T</think>A", [("thinking", "T"), "A"]),
        ("<think></think>A", ["A"]),
        ("<think>\n\n</think>\n\nA", ["A"]),
        ("<think>T", [("thinking", "T")]),
        ("<think>T </thi", [("thinking", "T </thi")]),
        ("<thin air", ["<thin air"]),
        ("<thi", ["<thi"]),
        ("A <think>T</think>", ["A <think>T</think>"]),
    ],
)
def test_think_tags(text: str, expected: list[Any], size: int) -> None:
    """A tag at the very start opens thinking, wherever the chunks cut it; later tags are text."""
    chunks = [delta(content=text[start : start + size]) for start in range(0, len(text), size)]

    assert expected == blocks(answer(*chunks, STOP))


def test_think_tags_by_option() -> None:
    """A template may swallow the opening tag, and tags may be meant as text."""
    open_, never = (Options(reasoning=Reasoning(inline_think=way)) for way in ("open", "never"))

    assert [("thinking", "T"), "A"] == blocks(answer(delta(content="T</think>A"), STOP, options=open_))
    assert [("thinking", "T"), "A"] == blocks(answer(delta(content="<think>T</think>A"), STOP, options=open_))
    assert ["<think>T</think>A"] == blocks(answer(delta(content="<think>T</think>A"), STOP, options=never))


def test_a_tag_after_thinking_of_its_own_field_is_text() -> None:
    """Where thinking has a field, the text is free to begin with a tag."""
    assert [("thinking", "T"), "<think>"] == blocks(answer(delta(reasoning="T"), delta(content="<think>"), STOP))


def test_think_tags_before_a_call() -> None:
    """Thinking that is not closed before a call ends there."""
    message = answer(delta(content="<think>T"), delta(tool_calls=[call(0, "a", "Read", "{}")]), STOP)

    assert [("thinking", "T"), ("Read", {})] == blocks(message)


# --- tool calls --------------------------------------------------------------------------------------------------

A1: JSON = {"path": "a"}


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param(
            [[call(0, "a", "Read", "")], [call(0, arguments='{"pa')], [call(0, arguments='th":"a"}')]],
            [("Read", A1)],
            id="in pieces",
        ),
        pytest.param([[call(0, "a", "Read", '{"path":"a"}')]], [("Read", A1)], id="in one chunk"),
        pytest.param([[call(3, "a", "Read", '{"path":"a"}')]], [("Read", A1)], id="a gap in the indexes"),
        pytest.param([[call(0, "a", "Read", {"path": "a"})]], [("Read", A1)], id="arguments as an object"),
        pytest.param([[call(0, "a", "Read")]], [("Read", {})], id="no arguments"),
        pytest.param([[call(0, "a", "Read", None)]], [("Read", {})], id="arguments null"),
        pytest.param([[call(0, None, "Read", '{"path":"a"}')]], [("Read", A1)], id="no id"),
        pytest.param([[call(0, 7, "Read", '{"path":"a"}')]], [("Read", A1)], id="a number as id"),
        pytest.param(
            [[call(0, "", "", '{"path":')], [call(0, "a", "Read", '"a"}')]], [("Read", A1)], id="name and id late"
        ),
        pytest.param(
            [[call(0, "a", "Read", '{"path":')], [call(0, "a", "Read", '"a"}')], [call(0, "a", "Read", "")]],
            [("Read", A1)],
            id="id and name repeated",
        ),
        pytest.param(
            [[call(0, "a", "Read", '{"path":')], [call(0, "zz", ..., '"a"}')]], [("Read", A1)], id="a new id each time"
        ),
        pytest.param(
            [[call(None, "a", "Read", '{"path":"a"}'), call(None, "b", "Grep", "{}")]],
            [("Read", A1), ("Grep", {})],
            id="two without index in one chunk",
        ),
        pytest.param(
            [[call(None, "a", "Read", '{"path":')], [call(None, "a", ..., '"a"}')], [call(None, "b", "Grep", "{}")]],
            [("Read", A1), ("Grep", {})],
            id="two without index in pieces",
        ),
        pytest.param(
            [[call(None, ..., "Read", '{"path":')], [call(None, ..., ..., '"a"}')], [call(None, ..., "Grep", "{}")]],
            [("Read", A1), ("Grep", {})],
            id="neither index nor id",
        ),
        pytest.param(
            [[call(0, "a", "Read", '{"path":"a"}')], [call(0, "b", "Read", '{"path":"a"}')]],
            [("Read", A1), ("Read", A1)],
            id="two with the same index",
        ),
        pytest.param(
            [[call(0, "", "Read", '{"path":"a"}')], [call(0, "", "Read", '{"path":"a"}')]],
            [("Read", A1), ("Read", A1)],
            id="two with the same index and no id",
        ),
        pytest.param(
            [
                [call(0, "a", "Read", ""), call(1, "b", "Grep", "")],
                [call(1, ..., ..., "{")],
                [call(0, ..., ..., '{"path":'), call(1, ..., ..., "}")],
                [call(0, ..., ..., '"a"}')],
            ],
            [("Read", A1), ("Grep", {})],
            id="interleaved",
        ),
        pytest.param([[call(0, "a", None, '{"path":"a"}')]], [("only", A1)], id="no name at all"),
        pytest.param(
            [[call(None, "a", "Read", '{"path":')], [call(0, "a", ..., '"a"}')]], [("Read", A1)], id="index late"
        ),
        pytest.param(
            [[call(0, "a", "Read", '{"path":"a"}'), call(1, "a", "Read", "{}")]],
            [("Read", A1), ("Read", {})],
            id="two with the same id",
        ),
    ],
)
def test_tool_calls(chunks: list[list[JSON]], expected: list[Any]) -> None:
    """Each way of streaming calls gives the calls that were meant, each with an id of its own."""
    message = answer(
        *(delta(tool_calls=entries) for entries in chunks), STOP, DONE, request=as_request(ask(tools=["only"]))
    )
    ids = [block["id"] for block in message["content"]]

    assert expected == blocks(message)
    assert "tool_use" == message["stop_reason"]
    assert len(set(ids)) == len(ids)
    assert all(ids)


def test_arguments_that_are_no_json_are_passed_on() -> None:
    """The client gets what the model wrote, and can tell it so."""
    decoder = OpenAIChat().decoder(as_request(ask()), ctx())
    chunks = [delta(tool_calls=[call(0, "a", "Read", "{not json")]), STOP]
    events = [event for chunk in chunks for event in decoder.feed(Chunk(chunk))]

    kept = {"__unparsedToolInput": {"raw": "{not json", "len": 9}}
    assert [("Read", kept)] == blocks(assemble([*events, *decoder.flush()]))


def test_calls_of_a_whole_answer_are_told_apart_by_place() -> None:
    """Indexes and ids may lack or repeat: the place in the list decides."""
    calls = [call(0, "", "Read", "{}"), call(0, "", "Read", "{}"), call(None, ..., "Grep", {"a": 1})]
    message = whole({"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "stop"}]})

    assert [("Read", {}), ("Read", {}), ("Grep", {"a": 1})] == blocks(message)


def test_the_old_form_of_a_call() -> None:
    """``function_call`` is a call; an empty one is none."""
    old = answer(delta(function_call={"name": "Read", "arguments": "{"}), delta(function_call={"arguments": "}"}), STOP)

    assert [("Read", {})] == blocks(old)
    assert ["x"] == blocks(answer(delta(content="x", function_call={"name": "", "arguments": ""}), STOP))


def test_ids_that_were_used_before_are_replaced() -> None:
    """An id that the conversation already knows would answer the wrong call."""
    history = [{"role": "assistant", "content": [{"type": "tool_use", "id": "call_0", "name": "Read", "input": {}}]}]
    request = as_request(ask(messages=[{"role": "user", "content": "x"}, *history]))
    chunk = delta(tool_calls=[call(0, "call_0", "Read", "{}"), call(1, "call_1", "Read", "{}")])
    first, second = (block["id"] for block in answer(chunk, STOP, request=request)["content"])

    assert first.startswith("toolu_")
    assert "call_1" == second


def test_short_names_are_restored() -> None:
    """The client gets the name that it gave, however the provider had to be told it."""
    name = "mcp__" + "x" * 80
    request = as_request(ask(tools=[name]))
    body = OpenAIChat().encode(request, ctx()).body
    assert body is not None
    short = body["tools"][0]["function"]["name"]

    assert [(name, {})] == blocks(answer(delta(tool_calls=[call(0, "a", short, "{}")]), STOP, request=request))


def test_text_around_calls_is_kept() -> None:
    """Text before, between and after calls stays, in order."""
    message = answer(
        delta(content="a"),
        delta(tool_calls=[call(0, "1", "Read", "{}")]),
        delta(content="b"),
        delta(tool_calls=[call(1, "2", "Grep", "{}")]),
        delta(content="c"),
        STOP,
    )

    assert ["a", ("Read", {}), "b", ("Grep", {}), "c"] == blocks(message)


def test_signatures_of_calls_are_carried() -> None:
    """What a service attaches to a call travels in the signature of a thinking block, by the id of the call."""
    extra = {"google": {"thought_signature": "S"}}
    message = answer(delta(tool_calls=[call(0, "a", "Read", "{}", extra_content=extra)]), STOP)
    opened = unseal(message["content"][0]["signature"])

    assert [("thinking", ""), ("Read", {})] == blocks(message)
    assert opened is not None
    assert {"a": extra} == opened[1]["x"]


def test_a_round_trip_of_thinking() -> None:
    """What a decoder sealed, the next request puts back where it came from."""
    extra = {"google": {"thought_signature": "S"}}
    details = [{"type": "reasoning.text", "text": "T", "signature": "s", "index": 0}]
    message = answer(
        delta(reasoning_details=details), delta(tool_calls=[call(0, "a", "Read", "{}", extra_content=extra)]), STOP
    )
    turns = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "r"}]},
    ]
    body = OpenAIChat().encode(as_request(ask(messages=turns)), ctx()).body
    assert body is not None
    sent = body["messages"][1]

    assert (details, extra) == (sent["reasoning_details"], sent["tool_calls"][0]["extra_content"])


# --- refusals, sources, sound ------------------------------------------------------------------------------------


def test_a_refusal_is_text() -> None:
    """The model's own words for not doing it are shown, and noted; only what a filter ends is a refusal."""
    notes: list[tuple[str, Any]] = []
    said = [delta(content=None, refusal="I can"), delta(refusal="not.")]
    message = answer(*said, STOP, notes=notes)
    filtered = answer(*said, {"choices": [{"delta": {}, "finish_reason": "content_filter"}]})

    assert (["I cannot."], "end_turn") == (blocks(message), message["stop_reason"])
    assert ["the model declined; its words are the text of the answer"] == [v for k, v in notes if k == "refusal"]
    assert (["I cannot."], "refusal") == (blocks(filtered), filtered["stop_reason"])
    notes.clear()
    assert ["x"] == blocks(answer(delta(content="x", refusal=""), STOP, notes=notes))
    assert ["usage"] == [key for key, _ in notes]


def annotation(url: str, **more: Any) -> JSON:
    return {"type": "url_citation", "url_citation": {"url": url, "title": "T", "content": "C", **more}}


def test_annotations_become_citations() -> None:
    """Sources that come before the text, with it, and in lists that each chunk repeats, are citations of the text."""
    top = {"citations": ["https://a", "https://b"], "search_results": [{"url": "https://b", "title": "B"}]}
    early = answer(delta(content="", annotations=[annotation("https://x")]), delta(content="t"), STOP)
    repeated = answer({**delta(content="t"), **top}, {**delta(content="u"), **top}, STOP)

    assert [("https://x", "T", "C")] == [
        (one["url"], one["title"], one["cited_text"]) for one in early["content"][0]["citations"]
    ]
    assert ["https://b", "https://a"] == [one["url"] for one in repeated["content"][0]["citations"]]
    assert "tu" == repeated["content"][0]["text"]


def test_sources_without_text_are_results_of_a_search() -> None:
    """Sources that no text can bear are shown as a search."""
    message = answer(delta(content="", annotations=[annotation("https://x")]), STOP)

    assert ["server_tool_use", "web_search_tool_result"] == [block["type"] for block in message["content"]]
    assert "https://x" == message["content"][1]["content"][0]["url"]


def test_a_client_that_asked_for_a_search_gets_results() -> None:
    """The results come as genuine blocks, with the question, and the text cites them."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    request = as_request(ask("what is new?", tools=[search]))
    message = answer(delta(content="t", annotations=[annotation("https://x")]), STOP, request=request)
    kinds = [block["type"] for block in message["content"]]
    first, second = (block for block in message["content"] if block["type"] != "text")

    assert {"server_tool_use", "web_search_tool_result", "text"} == set(kinds)
    assert ({"query": "what is new?"}, first["id"]) == (first["input"], second["tool_use_id"])
    assert "end_turn" == message["stop_reason"]


def test_other_annotations_are_noted() -> None:
    """What is no citation leaves a note."""
    notes: list[Any] = []
    answer(delta(content="x", annotations=[{"type": "file", "file": {"name": "a"}}]), STOP, notes=notes)

    assert any("annotation of type file" in value for _, value in notes)


def test_the_words_of_a_spoken_answer() -> None:
    """The transcript of an answer in sound is its text."""
    body = {"choices": [{"message": {"content": None, "audio": {"transcript": "hello"}}, "finish_reason": "stop"}]}

    assert ["hello"] == blocks(whole(body))


def test_every_event_is_given_at_once() -> None:
    """What a chunk brings leaves with it, and a block stops before the next one starts."""
    decoder = OpenAIChat().decoder(as_request(ask()), ctx(Options(tools=Tools())))
    chunks = [
        delta(content="a"),
        delta(tool_calls=[call(0, "1", "Read", "{}")]),
        delta(tool_calls=[call(1, "2", "Grep", "")]),
        STOP,
    ]
    given: list[list[Event]] = [list(decoder.feed(Chunk(chunk))) for chunk in chunks]

    assert isinstance(given[0][0], MessageStart)
    assert [
        ["MessageStart", "BlockStart", "BlockDelta"],
        ["BlockStop", "BlockStart", "BlockDelta"],
        ["BlockStop", "BlockStart"],
        ["BlockStop"],
    ] == [[type(event).__name__ for event in events] for events in given]
    assert ["MessageDelta", "MessageStop"] == [type(event).__name__ for event in decoder.flush()]
