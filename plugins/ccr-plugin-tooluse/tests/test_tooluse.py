"""The transformer ``tooluse``."""

from __future__ import annotations

import json
from typing import Any

import ccr_plugin_openai_chat
import ccr_plugin_tooluse as plugin
import pytest
from ccr_plugin_tooluse.words import Words
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import BlockDelta, BlockStart, BlockStop, MessageDelta, MessageStart, MessageStop, StreamError
from ccr_core.testing import (
    Call,
    Make,
    Trial,
    Upstream,
    ask,
    check_plugin,
    check_transformer,
    config,
    message,
    sse,
    standins,
)
from ccr_core.testing.samples import text, tool_use

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, ccr_plugin_openai_chat, standins.ingress, standins.rule]
(SPEC,) = plugin.ccr_transformers()


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(
        SPEC,
        requests={"tools": ask(tools=["Read"])},
        messages={
            "exit": message(text("a"), tool_use("ExitTool", response='Grüße 🙂\n"all"'), stop_reason="tool_use"),
            "exit and a call": message(
                tool_use("Read", n=1), tool_use("ExitTool", "toolu_2", response="b"), stop_reason="tool_use"
            ),
            "exit without words": message(tool_use("ExitTool"), stop_reason="tool_use"),
            "exit with more": message(tool_use("ExitTool", response="a", other=[1]), stop_reason="tool_use"),
            "exit otherwise": message(tool_use("ExitTool", answer="a"), stop_reason="tool_use"),
        },
    )


# --- the request --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", [None, "Be brief.", [text("Be brief.")]], ids=["none", "text", "blocks"])
def test_demand(system: Any) -> None:
    """A call is demanded, the tool for the end is offered last, and the model is told so after its own prompt."""
    body = ask(tools=["Read"], **({"system": system} if system else {}))

    got = Trial(SPEC).request(body).body

    assert ["Read", "ExitTool"] == [tool["name"] for tool in got["tools"]]
    assert {"type": "any"} == got["tool_choice"]
    assert [*(["Be brief."] if system else []), plugin.SAYING] == [block["text"] for block in got["system"]]


def test_one_call_at_a_time() -> None:
    """The client's wish for one call at a time stays."""
    choice = {"type": "auto", "disable_parallel_tool_use": True}

    got = Trial(SPEC).request(ask(tools=["Read"], tool_choice=choice)).body

    assert {"type": "any", "disable_parallel_tool_use": True} == got["tool_choice"]


@pytest.mark.parametrize(
    "body",
    [
        ask(),
        ask(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        ask(tools=["Read"], tool_choice={"type": "tool", "name": "Read"}),
        ask(tools=["Read"], tool_choice={"type": "any"}),
        ask(tools=["Read"], tool_choice={"type": "none"}),
        ask(tools=["ExitTool"]),
    ],
    ids=["no tools", "server tools only", "one forced", "some forced", "none allowed", "the same name"],
)
def test_left_alone(body: dict[str, Any]) -> None:
    """A request that has no tools, or says itself what to call, is left alone, and so is its answer."""
    trial = Trial(SPEC)

    assert body is trial.request(body).body
    answer = message(tool_use("ExitTool", response="x"), stop_reason="tool_use")
    assert answer == trial.message(answer)


# --- the answer ---------------------------------------------------------------------------------------------


def asked() -> Trial:
    """An attempt whose request had tools."""
    trial = Trial(SPEC)
    trial.request(ask(tools=["Read"]))
    return trial


def exited(*pieces: str, reason: str | None = "tool_use", **start: Any) -> list[Any]:
    """The events of an answer with one call of the exit tool."""
    call = {"type": "tool_use", "id": "1", "name": "ExitTool", "input": {}, **start}
    deltas = [BlockDelta("k", {"type": "input_json_delta", "partial_json": piece}) for piece in pieces]
    return [MessageStart("m", "b"), BlockStart("k", call), *deltas, BlockStop("k"), MessageDelta(reason), MessageStop()]


def test_words_become_text() -> None:
    """The call becomes text, and the answer ends as one that has only text."""
    got = asked().message(exited('{"response": "Done."}'))

    assert ([text("Done.")], "end_turn") == (got["content"], got["stop_reason"])


def test_words_stream() -> None:
    """Words reach the client as they come, not at the end."""
    out = asked().events(exited('{"resp', 'onse": "On', "e, t", 'wo."}'))

    assert ["On", "e, t", "wo."] == [event.delta["text"] for event in out if isinstance(event, BlockDelta)]
    assert [BlockStart("k", text("")), BlockStop("k")] == [e for e in out if isinstance(e, BlockStart | BlockStop)]


def test_arguments_in_the_start() -> None:
    """A decoder may give the arguments with the start of the call."""
    got = asked().message(exited(input={"response": "Done."}))

    assert [text("Done.")] == got["content"]


def test_other_calls() -> None:
    """With another call beside it the answer still ends with a call, whatever the order."""
    exit_call, call = tool_use("ExitTool", response="Done."), tool_use("Read", "toolu_2", n=1)

    for content in ([exit_call, call], [call, exit_call]):
        got = asked().message(message(*content, stop_reason="tool_use"))
        assert "tool_use" == got["stop_reason"]
        assert [text("Done.") if block is exit_call else call for block in content] == got["content"]


def test_several_exits() -> None:
    """Each call of the exit tool becomes a text."""
    calls = [tool_use("ExitTool", f"t{words}", response=words) for words in "ab"]

    assert [text("a"), text("b")] == asked().message(message(*calls, stop_reason="tool_use"))["content"]


def test_cut_by_the_limit() -> None:
    """Words that the length limit cut off are given as far as they came, with the reason."""
    got = asked().message(exited('{"response": "half \\u00', reason="max_tokens"))

    assert ([text("half ")], "max_tokens") == (got["content"], got["stop_reason"])


@pytest.mark.parametrize("last", [StreamError("api_error", "x"), None], ids=["error", "cut"])
def test_cut_off(last: Any) -> None:
    """When the answer breaks off, the words so far are given, and no end."""
    start, call, delta, *_ = exited('{"respons')

    out = asked().events([start, call, delta, *([last] if last else [])])

    assert ['{"respons'] == [event.delta["text"] for event in out if isinstance(event, BlockDelta)]
    assert [] == [event for event in out if isinstance(event, MessageStop)]


ODD = {
    "no words": ("{}", ""),
    "no arguments": ("", ""),
    "empty words": ('{"response": ""}', ""),
    "another name": ('{"answer": "a"}', '{"answer": "a"}'),
    "more arguments": ('{"response": "a", "other": 1}', 'a\n\n{"other": 1}'),
    "another order": ('{"other": 1, "response": "a"}', 'a\n\n{"other": 1}'),
    "no text": ('{"response": ["a"]}', '{"response": ["a"]}'),
    "plain words": ("All done.", "All done."),
    "quotes inside": ('{"response": "say "hi" now"}', 'say "hi" now"}'),
    "line breaks": ('{ "response" : "a\nb" }', "a\nb"),
    "all escapes": (r'{"response": "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}', '"\\/\b\f\n\r\té😀'),
    "half a pair": (r'{"response": "\ud83d, \ude00\ud83d\u0041"}', "\ufffd, \ufffd\ufffdA"),
    "no escapes": (r'{"response": "C:\work\user\up"}', r"C:\work\user\up"),
    "no end": ('{"response": "a', "a"),
    "brace missing": ('{"response": "a"', "a"),
}


@pytest.mark.parametrize(("arguments", "expected"), ODD.values(), ids=ODD.keys())
def test_words(arguments: str, expected: str) -> None:
    """Words come out whole however the arguments are cut, and nothing that the model wrote is lost."""
    for size in (1, 2, 5, 1000):
        words = Words()
        pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
        assert expected == "".join([*map(words.feed, pieces), words.flush()])


@settings(max_examples=200, deadline=None)
@given(st.text(), st.booleans(), st.integers(1, 9))
def test_any_words(said: str, ascii_only: bool, size: int) -> None:
    """Any words come out as they were said."""
    arguments = json.dumps({"response": said}, ensure_ascii=ascii_only)
    words = Words()

    out = [words.feed(arguments[at : at + size]) for at in range(0, len(arguments), size)]

    assert said == "".join([*out, words.flush()])
    assert not words.lost


def test_not_as_agreed() -> None:
    """Arguments that are not of the agreed form are noted."""
    trial = asked()

    trial.message(exited('{"answer": "a"}'))

    assert [("tooluse", "the call of ExitTool was not as agreed; its arguments are the answer's text")] == trial.notes


# --- in a router --------------------------------------------------------------------------------------------


def calls(*given: tuple[str, Any]) -> list[dict[str, Any]]:
    """Tool calls as chat completions have them."""
    return [
        {
            "index": at,
            "id": f"c{at}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for at, (name, arguments) in enumerate(given)
    ]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_end_of_a_task(ccr: Make, upstream: Upstream, stream: bool) -> None:
    """The service is asked for a call, answers with the exit tool, and the client sees a plain answer."""
    made = calls(("ExitTool", {"response": "All done."}))
    if stream:
        end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
        upstream.stream(sse({"choices": [{"delta": {"tool_calls": made}}]}, end, "[DONE]"), cut=5)
    else:
        upstream.reply({"choices": [{"message": {"tool_calls": made}, "finish_reason": "tool_calls"}]})

    answer = await ccr(config(use=["tooluse"]), plugins=PLUGINS).messages(ask(tools=["Read"], stream=stream))

    sent = upstream.requests[0].json
    assert ("required", ["Read", "ExitTool"]) == (
        sent["tool_choice"],
        [tool["function"]["name"] for tool in sent["tools"]],
    )
    assert ("All done.", [], "end_turn") == (answer.text, answer.calls, answer.stop_reason)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_work_goes_on(ccr: Make, upstream: Upstream, stream: bool) -> None:
    """Calls of the client's tools pass."""
    made = calls(("Read", {"n": 1}), ("ExitTool", {"response": "I read."}))
    if stream:
        end = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
        upstream.stream(sse({"choices": [{"delta": {"tool_calls": made}}]}, end, "[DONE]"))
    else:
        upstream.reply({"choices": [{"message": {"tool_calls": made}, "finish_reason": "tool_calls"}]})

    answer = await ccr(config(use=["tooluse"]), plugins=PLUGINS).messages(ask(tools=["Read"], stream=stream))

    assert ("I read.", [Call("Read", {"n": 1})], "tool_use") == (answer.text, answer.calls, answer.stop_reason)
