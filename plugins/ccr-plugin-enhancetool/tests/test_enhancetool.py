"""The transformer ``enhancetool``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_enhancetool as plugin
import ccr_plugin_openai_chat
import orjson
import pytest
from ccr_plugin_enhancetool.repair import repaired
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    StreamError,
)
from ccr_core.testing import Call, Make, Trial, Upstream, ask, check_plugin, check_transformer, config, sse, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.rule]
(SPEC,) = plugin.ccr_transformers()


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(SPEC)


BROKEN = {
    "comma too many": ('{"a": 1,}', {"a": 1}),
    "single quotes": ("{'a': 'it is'}", {"a": "it is"}),
    "names without quotes": ("{a: 1, b: [2]}", {"a": 1, "b": [2]}),
    "a comment": ('{"a": 1 /* one */}', {"a": 1}),
    "brace too few": ('{"a": {"b": 1}', {"a": {"b": 1}}),
    "comma too few": ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
    "words of Python": ('{"a": True, "b": None}', {"a": True, "b": None}),
    "inside a string": ('"{\\"a\\": 1}"', {"a": 1}),
    "in a fence": ('```json\n{"a": 1}\n```', {"a": 1}),
    "a line break in a string": ('{"a": "x\ny"}', {"a": "x\ny"}),
    "a brace too many": ('{"a": 1}}', {"a": 1}),
    "braces only": ("{}}", {}),
}


@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_repair(text: str, expected: Any) -> None:
    """The usual mistakes of models are mended."""
    made = repaired(text)
    assert made is not None
    assert expected == orjson.loads(made)


@pytest.mark.parametrize("text", ["ls -l", "[1, 2]", "42", "null", '"text"', "{", "NaN", "\\"])
def test_no_object(text: str) -> None:
    """What is no object is not made into one, except for braces that mean an empty one."""
    assert (None if text != "{" else "{}") == repaired(text)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.recursive(st.text() | st.integers(0, 99), st.lists), max_size=4))
def test_what_is_right_stays(value: dict[str, Any]) -> None:
    """A JSON object passes byte for byte, and nothing is noted."""
    text = orjson.dumps(value).decode()
    trial = Trial(SPEC)

    out = trial.events(called(text))

    assert [text] == [event.delta["partial_json"] for event in out if isinstance(event, BlockDelta)]
    assert [] == trial.notes


def called(*texts: str, reason: str | None = "tool_use", stop: bool = True) -> list[Event]:
    """The events of an answer with a call for each of ``texts``, one after the other."""
    events: list[Event] = [MessageStart("m", "big")]
    for key, text in enumerate(texts):
        events.append(BlockStart(key, {"type": "tool_use", "id": f"t{key}", "name": "Write", "input": {}}))
        events += [BlockDelta(key, {"type": "input_json_delta", "partial_json": letter}) for letter in text]
        if stop or key + 1 < len(texts):
            events.append(BlockStop(key))
    return [*events, MessageDelta(reason), MessageStop()]


def test_in_one_piece() -> None:
    """Broken arguments come out mended in one delta, and the note names the tool."""
    trial = Trial(SPEC)

    out = trial.events(called('{"a": 1,}'))

    assert ['{"a":1}'] == [event.delta["partial_json"] for event in out if isinstance(event, BlockDelta)]
    assert [("enhancetool", "the arguments of Write were repaired")] == trial.notes


def test_every_call() -> None:
    """Each of several calls is mended, also if their pieces are mixed."""
    in_a_row = called("{a: 1}", "{b: 2}")
    begin, *rest, delta, stop = in_a_row
    starts = [event for event in rest if isinstance(event, BlockStart)]
    pieces = [[event for event in rest if isinstance(event, BlockDelta) and event.key == key] for key in (0, 1)]
    mixed = [event for pair in zip(*pieces, strict=True) for event in pair]

    for events in (in_a_row, [begin, *starts, *mixed, BlockStop(0), BlockStop(1), delta, stop]):
        assert [{"a": 1}, {"b": 2}] == [block["input"] for block in Trial(SPEC).message(events)["content"]]


@pytest.mark.parametrize("stop", [True, False], ids=["stopped", "left open"])
def test_cut_by_the_limit(stop: bool) -> None:
    """A call that the length limit cut off stays as it is, for half a file must not be written; others are mended."""
    trial = Trial(SPEC)
    cut = '{"content": "half of'

    content = trial.message(called("{a: 1}", cut, reason="max_tokens", stop=stop))["content"]

    assert {"a": 1} == content[0]["input"]
    assert {"__unparsedToolInput": {"raw": cut, "len": len(cut)}} == content[1]["input"]


def test_what_cannot_be_mended_stays() -> None:
    """Arguments that are no object reach the client as they are, with a note."""
    trial = Trial(SPEC)

    content = trial.message(called("ls -l"))["content"]

    assert {"__unparsedToolInput": {"raw": "ls -l", "len": 5}} == content[0]["input"]
    assert [("enhancetool", "the arguments of Write cannot be repaired: ls -l")] == trial.notes


@pytest.mark.parametrize("reason", ["tool_use", "end_turn", "stop_sequence", "refusal", None])
def test_whatever_the_stop_reason(reason: str | None) -> None:
    """No stop reason loses the arguments."""
    assert {"a": 1} == Trial(SPEC).message(called("{a: 1}", reason=reason))["content"][0]["input"]


@pytest.mark.parametrize("last", [StreamError("api_error", "x"), None], ids=["error", "cut"])
def test_cut_off(last: Any) -> None:
    """When the answer breaks off, the arguments so far are given as they came, and no end."""
    *events, _, _, _ = called('{"a": 1')

    out = Trial(SPEC).events([*events, *([last] if last else [])])

    assert ['{"a": 1'] == [event.delta["partial_json"] for event in out if isinstance(event, BlockDelta)]
    assert [] == [event for event in out if isinstance(event, BlockStop | MessageStop)]


def test_no_arguments() -> None:
    """A call without arguments has none afterwards, and arguments that come with the start stay."""
    start = BlockStart("k", {"type": "tool_use", "id": "1", "name": "n", "input": {"a": 1}})

    got = Trial(SPEC).message([MessageStart("m", "b"), start, BlockStop("k"), *called("")[1:]])["content"]

    assert [{"a": 1}, {}] == [block["input"] for block in got]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_in_a_router(ccr: Make, upstream: Upstream, stream: bool) -> None:
    """Both kinds of answers are mended."""
    calls = [
        {"index": at, "id": f"c{at}", "function": {"name": "Bash", "arguments": f"{{'command': '{words}'}}"}}
        for at, words in enumerate(("ls", "pwd"))
    ]
    if stream:
        end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
        upstream.stream(sse({"choices": [{"delta": {"tool_calls": calls}}]}, end, "[DONE]"))
    else:
        upstream.reply({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]})

    answer = await ccr(config(use=["enhancetool"]), plugins=PLUGINS).messages(ask(tools=["Bash"], stream=stream))

    assert [Call("Bash", {"command": "ls"}), Call("Bash", {"command": "pwd"})] == answer.calls
