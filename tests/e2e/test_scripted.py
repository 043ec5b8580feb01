"""The scripted provider itself, by plain HTTP: what the other tests rely on."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from scripted import Break, Call, Fail, Say, Upstream, chat_faults

HELLO = [{"role": "user", "content": "hello"}]


def ask(upstream: Upstream, path: str, **body: Any) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Status, headers and body of one request; raises what the connection raises."""
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=10)
    try:
        connection.request("POST", path, json.dumps({"model": "m1", "messages": HELLO, **body}))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def chunks(raw: bytes) -> list[Any]:
    """The data of an OpenAI stream."""
    return [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: {")]


CALLS = [Call(name="A", arguments={"text": "long enough to be cut"}), Call(name="B", arguments={"n": [1, 2, 3, 4]})]


def test_chat_stream_interleaves_calls() -> None:
    """Argument pieces of two calls come in turn, and each call's pieces make its arguments."""
    with Upstream([Say(calls=CALLS)]) as upstream:
        _, _, raw = ask(upstream, "/v1/chat/completions", stream=True)
    deltas = [call for chunk in chunks(raw) for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    order = [delta["index"] for delta in deltas if "id" not in delta]
    assert order[:4] == [0, 1, 0, 1]
    joined = ["".join(d["function"]["arguments"] for d in deltas if d["index"] == index) for index in (0, 1)]
    assert [json.loads(text) for text in joined] == [dict(call.arguments) for call in CALLS]
    assert raw.endswith(b"data: [DONE]\n\n")


def test_usage_comes_in_a_last_chunk_when_asked_for() -> None:
    """As at OpenAI: usage only with `include_usage`, in a chunk without choices."""
    with Upstream([Say(text="hi"), Say(text="hi", input_tokens=5, output_tokens=6)]) as upstream:
        _, _, without = ask(upstream, "/v1/chat/completions", stream=True)
        _, _, raw = ask(upstream, "/v1/chat/completions", stream=True, stream_options={"include_usage": True})
    assert [chunk for chunk in chunks(without) if "usage" in chunk] == []
    last = chunks(raw)[-1]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 11)


def test_messages_whole_answer() -> None:
    """The same reply in the Anthropic format, not streamed."""
    with Upstream([Say(text="hi", thinking="hm", calls=CALLS[:1])]) as upstream:
        _, _, raw = ask(upstream, "/v1/messages")
    message = json.loads(raw)
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use"]
    assert message["stop_reason"] == "tool_use"


def test_failure_has_status_words_and_wait() -> None:
    """A failure carries `retry-after` in seconds and the message."""
    with Upstream([Fail(status=429, message="slow down", retry_after=7)]) as upstream:
        status, headers, raw = ask(upstream, "/v1/chat/completions")
    assert (status, headers["retry-after"], json.loads(raw)["error"]["message"]) == (429, "7", "slow down")


def test_reset_and_clean_end_differ() -> None:
    """A reset is an error of the connection; a clean end is only a missing end mark."""
    with Upstream([Break(how="end", text="abc"), Break(how="reset", text="abc"), Break(how="reset")]) as upstream:
        _, _, raw = ask(upstream, "/v1/chat/completions", stream=True)
        for _ in range(2):
            with pytest.raises((ConnectionResetError, http.client.HTTPException)):
                ask(upstream, "/v1/chat/completions", stream=True)
    assert b"abc" in raw
    assert b"[DONE]" not in raw
    assert b'"finish_reason": "stop"' not in raw


def test_script_that_ends_too_early_is_a_problem() -> None:
    """A request more than the script has replies is noted."""
    with Upstream([Say(text="one")]) as upstream:
        ask(upstream, "/v1/chat/completions")
        ask(upstream, "/v1/chat/completions")
    assert ["request 2" in problem for problem in upstream.problems] == [True]


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


CALLED = message(
    "assistant", None, tool_calls=[{"id": "c", "type": "function", "function": {"name": "A", "arguments": "{}"}}]
)
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"messages": HELLO, "context_management": {}}, "unknown field context_management"),
        ({"messages": [message("user", [{"type": "text", "text": "x", "cache_control": {}}])]}, "cache_control"),
        ({"messages": [message("user", [{"type": "image", "source": {}}])]}, "type 'image'"),
        ({"messages": [CALLED, message("user", "x")]}, "before the results"),
        ({"messages": [CALLED]}, "no results for"),
        ({"messages": [message("tool", "x", tool_call_id="z")]}, "nobody called"),
        ({"messages": [CALLED, message("tool", [PICTURE], tool_call_id="c")]}, "tool content of type 'image_url'"),
        ({"messages": HELLO, "tools": [{"name": "A"}]}, "unknown shape"),
        ({"messages": HELLO, "tools": []}, "empty list of tools"),
        (
            {"messages": HELLO, "tools": [{"type": "function", "function": {"name": "DeferredToolPlaceholder"}}]},
            "placeholder",
        ),
    ],
)
def test_strictness(body: dict[str, Any], fault: str) -> None:
    """What a strict service refuses is found."""
    assert [text for text in chat_faults(body) if fault in text] != []


def test_lawful_request_has_no_faults() -> None:
    """An ordinary request with system text, picture, call and result is lawful."""
    body = {
        "model": "m1",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            message("system", "s"),
            message("user", [{"type": "text", "text": "x"}, PICTURE]),
            CALLED,
            message("tool", "r", tool_call_id="c"),
            message("system", "more"),
        ],
        "tools": [{"type": "function", "function": {"name": "A", "description": "", "parameters": {"type": "object"}}}],
    }
    assert chat_faults(body) == []
