"""Whatever a provider answers: what leaves a decoder is lawful, an error is one of ours, and an end has its mark.

The answers here are pages, noise, JSON of other shapes, good answers with something in them replaced, moved, or left
out, and things far too large.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from formats import ALL, DIALECTS, FOUR, PLUGINS, Format, configuration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccr_core import Event, StreamError, UpstreamError, WireReply
from ccr_core.sequence import Sequencer
from ccr_core.testing import (
    Decoded,
    Upstream,
    as_request,
    ask,
    check_stream,
    claude_code_request,
    decode,
    pieces,
)
from ccr_core.testing.pytest_plugin import Make
from ccr_core.testing.samples import text, thinking, tool_use

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

EACH = [pytest.param(each, id=each.dialect) for each in FOUR]
BOUND = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

PARTS = [thinking("Hm."), text("Well."), tool_use("Read", "toolu_1", file_path="a"), tool_use("Bash", "toolu_2")]
REQUEST = as_request(ask(tools=["Read", "Bash"]))

MARKS: dict[str, Callable[[bytes], bool]] = {
    "anthropic": lambda data: b"message_stop" in data or b"stop_reason" in data,
    "openai-chat": lambda data: b"[DONE]" in data or b"finish_reason" in data,
    "openai-responses": lambda data: b"response.completed" in data or b"response.incomplete" in data,
    "gemini": lambda data: b"finishReason" in data or b"blockReason" in data,
}
"""For each dialect, whether there can be an end mark in an answer."""


def check(one: Format, sequenced: list[Event], complete: bool | None) -> None:
    """Fail unless these events are lawful, but for what is passed on as the model or the provider wrote it."""
    try:
        check_stream(sequenced, complete=complete)
    except AssertionError as error:
        # Clients repair arguments, and say so to the model; a compatible service's own blocks pass as they are.
        if one.dialect != "anthropic" and "the arguments of a tool call were no JSON object" not in str(error):
            raise


def judge(one: Format, data: bytes, decoded: Decoded) -> None:
    """Fail unless the decoder behaved: see the module."""
    assert decoded.error is None or isinstance(decoded.error, UpstreamError), repr(decoded.error)
    failed = decoded.error is not None or any(isinstance(event, StreamError) for event in decoded.events)
    marked = MARKS[one.dialect](data)
    # What follows an end mark is refused, but the answer before it is whole.
    check(one, decoded.sequenced, None if failed and marked else not failed)
    assert failed or marked, "a normal end without an end mark"


words = st.sampled_from(["", "x", "[DONE]", "stop", "error", "message_stop", "text", "null", "\n", "ü🙂", "0", "{"])
odd = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything inside of ``value``."""
    found = [way]
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        found += places(inner, (*way, name))
    return found


def replaced(value: Any, way: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of ``value`` with what is at the end of ``way`` changed; ``...`` takes it out."""
    if not way:
        return change(value)
    out = dict(value) if isinstance(value, dict) else list(value)
    inner = replaced(out[way[0]], way[1:], change)
    if inner is ...:
        del out[way[0]]
    else:
        out[way[0]] = inner
    return out


def events(data: bytes) -> list[Any]:
    """The data of each event of a stream."""
    lines = [part.split(b"data: ", 1)[1] for part in data.strip().split(b"\n\n")]
    return [json.loads(line) if line[:1] == b"{" else line.decode() for line in lines]


def stream(given_events: list[Any]) -> bytes:
    """A stream of these events."""
    return b"".join(
        b"data: %b\n\n" % (one.encode() if isinstance(one, str) else json.dumps(one).encode()) for one in given_events
    )


@st.composite
def mutations(draw: st.DrawFn, good: list[Any]) -> list[Any]:
    """A good stream with a few things in it replaced, left out, doubled or moved."""
    out = list(good)
    for _ in range(draw(st.integers(1, 3))):
        if not out:
            break
        number = draw(st.integers(0, len(out) - 1))
        match draw(st.sampled_from(["replace", "replace", "remove", "drop", "double", "move", "insert"])):
            case "replace":
                out[number] = replaced(out[number], draw(st.sampled_from(places(out[number]))), lambda _: draw(odd))
            case "remove":
                way = draw(st.sampled_from(places(out[number])))
                out[number] = replaced(out[number], way, lambda _: ...) if way else {}
            case "drop":
                del out[number]
            case "double":
                out.insert(number, out[number])
            case "move":
                out.insert(draw(st.integers(0, len(out) - 1)), out.pop(number))
            case "insert":
                out.insert(number, draw(odd))
    return out


@pytest.mark.parametrize("one", EACH)
@BOUND
@given(data=st.data())
def test_good_streams_with_something_wrong(one: Format, data: st.DataObject) -> None:
    """A stream in which something is of another shape, missing, doubled or in the wrong place."""
    made = stream(data.draw(mutations(events(one.answer(PARTS)))))

    judge(one, made, decode(DIALECTS[one.dialect], [made], REQUEST, one.context()))


@pytest.mark.parametrize("one", EACH)
@BOUND
@given(noise=st.lists(odd, max_size=5), raw=st.binary(max_size=40), size=st.integers(1, 9))
def test_noise(one: Format, noise: list[Any], raw: bytes, size: int) -> None:
    """Events of any JSON, and bytes that are none."""
    for made in (stream(noise) + raw, raw, stream([events(one.answer(PARTS))[0]]) + raw):
        judge(one, made, decode(DIALECTS[one.dialect], pieces(made, size), REQUEST, one.context()))


@pytest.mark.parametrize("one", EACH)
@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"\n\n\n",
        b": keep-alive\n\n",
        b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
        b"data: <html>maintenance</html>\n\n",
        b"data:\n\ndata: \n\n",
        b"data: [DONE]\n\n",
        b"data: null\n\n",
        b"data: []\n\n",
        b"data: {}\n\n",
        b"data: [[]]\n\n",
        b'data: {"type": null}\n\n',
        b'event: error\ndata: {"error": {"message": "busy"}}\n\n',
        b"event: message_stop\ndata: {}\n\n",
        b'{"ok": true}',
        b"[" * 3000,
        b'data: {"a": ' + b"[" * 3000 + b"]" * 3000 + b"}\n\n",
        b"\xff\xfe\x00",
    ],
)
def test_pages_and_nothing(one: Format, page: bytes) -> None:
    """What is no stream of the format at all is never an answer."""
    for cut in (1, 4096):
        decoded = decode(DIALECTS[one.dialect], pieces(page, cut), REQUEST, one.context())
        failed = decoded.error is not None or any(isinstance(event, StreamError) for event in decoded.events)

        judge(one, b"", decoded)
        assert failed


@pytest.mark.parametrize("one", EACH)
def test_cut_anywhere(one: Format) -> None:
    """A good stream that is cut at any byte before its end mark fails, and says so."""
    whole = one.answer(PARTS)
    lengths = range(0, len(whole), 3)
    for length in lengths:
        made = whole[:length]

        judge(one, made, decode(DIALECTS[one.dialect], [made], REQUEST, one.context()))


@pytest.mark.parametrize("one", EACH)
def test_large_texts(one: Format) -> None:
    """A text of megabytes comes through whole, in one event or in many."""
    said = "x" * 3_000_000
    once = decode(DIALECTS[one.dialect], [one.answer([text(said)])], REQUEST, one.context())
    cut = decode(DIALECTS[one.dialect], pieces(one.answer([text(said)]), 65_536), REQUEST, one.context())

    assert [said, said] == [decoded.so_far["content"][0]["text"] for decoded in (once, cut)]


def whole_answers(one: Format) -> Any:
    """A whole answer of the format, to be spoiled."""
    made = events(one.answer(PARTS))
    if one.dialect == "openai-responses":
        return made[-1]["response"]
    if one.dialect == "gemini":
        said = [part for each in made[:-1] for part in each["candidates"][0]["content"]["parts"]]
        return {"candidates": [{"content": {"role": "model", "parts": said}, "finishReason": "STOP"}]}
    if one.dialect == "openai-chat":
        calls = [{"id": "c", "type": "function", "function": {"name": "Read", "arguments": "{}"}}]
        said = {"role": "assistant", "content": "Well.", "reasoning": "Hm.", "tool_calls": calls}
        return {"id": "c", "model": "m", "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
    return {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": PARTS} | {
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


@pytest.mark.parametrize("one", EACH)
@BOUND
@given(data=st.data())
def test_whole_answers_with_something_wrong(one: Format, data: st.DataObject) -> None:
    """A whole answer of another shape is read as far as it goes, or is an error of ours; it is never changed."""
    (body,) = data.draw(mutations([whole_answers(one)]).filter(lambda made: len(made) == 1))
    if not isinstance(body, dict):
        body = {"odd": body}
    # As it is read from the wire.
    body = orjson.loads(json.dumps(body))
    before = orjson.dumps(json.dumps(body))
    sequencer = Sequencer()
    out: list[Event] = []
    failed = False
    try:
        for event in DIALECTS[one.dialect].decode_body(body, REQUEST, one.context()):
            failed = failed or isinstance(event, StreamError)
            out += sequencer.feed(event)
        out += sequencer.flush()
    except UpstreamError:
        failed = True
    check(one, out, not failed)
    assert before == orjson.dumps(json.dumps(body))


@pytest.mark.parametrize("one", EACH)
@BOUND
@given(body=odd.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60), status=st.integers(300, 599))
def test_refusals_of_any_shape(one: Format, body: bytes, status: int) -> None:
    """A refusal is an error with words and a status that is an error's, whatever it holds."""
    wrapped = [body, b'{"error": ' + body + b"}", b'{"error": {"message": ' + body + b', "code": ' + body + b"}}"]
    for each in wrapped:
        headers = {"retry-after": body.decode("latin-1")[:20], "content-type": "text/html"}
        error = DIALECTS[one.dialect].decode_error(WireReply(status=status, headers=headers, body=each))

        assert isinstance(error, UpstreamError)
        assert 400 <= error.status <= 599 or status < 400
        assert 0 < len(error.message) <= 4000
        assert DIALECTS[one.dialect].mend(error, {"messages": [], "input": [], "contents": []}) is None


@pytest.mark.parametrize("stream_wanted", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("one", [pytest.param(each, id=each.name) for each in ALL])
@pytest.mark.parametrize(
    ("page", "kind"),
    [
        (b"<html><body>Sign in</body></html>", "text/html"),
        (b"", "application/json"),
        (b"null", "application/json"),
        (b'{"object": "list", "data": []}', "application/json"),
        (b"", "text/event-stream"),
        (b"data: {}\n\n", "text/event-stream"),
        (b"<html>", "text/event-stream"),
    ],
)
async def test_in_a_router(
    ccr: Make, upstream: Upstream, one: Format, stream_wanted: bool, page: bytes, kind: str
) -> None:
    """With status 200 and no answer in it, the client gets an error with a status and words, and no answer."""
    upstream.stream(page, headers={"content-type": kind})
    router = ccr(configuration(ALL), plugins=PLUGINS)

    answer = await router.messages(claude_code_request(model=one.route, stream=stream_wanted))

    assert answer.status >= 400
    assert answer.error is not None
    assert answer.error["message"]
