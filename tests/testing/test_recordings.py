"""The oracle agrees with what the recordings say of themselves, and can tell a wrong message from a right one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from ccr_core.testing import Call, Expected, Failure, Recording, expected, whole
from ccr_core.testing.recordings import fold_anthropic, is_end, read_sse, recordings

ROOT = Path(__file__).parents[1] / "recordings"
ALL = recordings(ROOT)


def one(name: str) -> Recording:
    found = [recording for recording in ALL if recording.name.endswith(name)]
    assert 1 == len(found)
    return found[0]


def test_every_recording_is_read() -> None:
    """
    All 131 recordings of the four dialects are found, and those of one dialect when it is named.
    """
    assert 131 == len(ALL)
    assert {"anthropic": 31, "openai-chat": 42, "openai-responses": 31, "gemini": 27} == {
        dialect: len(recordings(ROOT, dialect))
        for dialect in ("anthropic", "openai-chat", "openai-responses", "gemini")
    }


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    """
    Tests over no recordings at all would prove nothing.
    """
    with pytest.raises(LookupError, match="no recordings of gemini"):
        recordings(tmp_path, "gemini")


@pytest.mark.parametrize("recording", ALL, ids=str)
def test_the_oracle_finds_what_the_features_name(recording: Recording) -> None:
    """
    Text, thinking, tool calls and errors are found where the recording's own list of features has them.
    """
    features = recording.features
    hidden = {"redacted_thinking", "reasoning.encrypted"} & features and not {"reasoning.summary"} & features
    said = expected(recording)
    # The publisher counts an unclosed <think> as text too.
    unclosed = recording.name.endswith("huggingface.max-completion-tokens.0")

    assert ("text" in features and not unclosed) == bool(said.text.strip())
    assert ("thinking" in features and not hidden) == bool(said.thinking)
    assert ("tool_use" in features) == bool(said.calls)
    assert ("error" in features) == (said.failure is not None)
    assert ("cache" in features) == any(
        figure for field, figures in said.usage.items() if field.startswith("cache") for figure in figures
    )


def test_partial_arguments_of_gemini_are_put_together() -> None:
    """
    Arguments that come piece by piece, each with a path, become one object.
    """
    said = expected(one("missing-terminal-function-call.stream"))
    apple = {"action": "add", "description": "Fresh red apple", "itemid": "apple_001", "price": 0.5}
    banana = {"action": "add", "description": "Ripe yellow banana", "itemid": "banana_001", "price": 0.3}

    assert (Call("writeItems", {"operations": [apple, banana]}),) == said.calls


def test_thinking_in_tags_is_thinking() -> None:
    """
    What stands between think tags at the beginning is thinking, without the white space around the tags.
    """
    said = expected(one("groq.model-thinking-part-iter.0"))

    assert said.thinking.startswith("Okay, so I want to make")
    assert said.text.startswith("To make Uruguayan alfajores")
    assert [] == said.differences(_message(said))
    assert [] == said.differences(_message(attrs.evolve(said, texts=("\n\n", said.text))))


def test_cached_tokens_are_left_out_of_the_input() -> None:
    """
    The Messages API counts cached tokens apart; the other formats count them in.
    """
    usage = expected(one("openai-responses.model-web-search-tool-stream.0")).usage

    assert {"input_tokens": (1143,), "output_tokens": (582,), "cache_read_input_tokens": (8320,)} == usage


def test_an_error_in_mid_stream_keeps_what_came_before() -> None:
    """
    The text before a failure is expected, and the provider's words.
    """
    said = expected(one("groq.tool-use-failed-error-streaming-with-text.0"))

    assert "maybe" == said.text
    assert Failure(words=("Tool choice is required, but model did not call a tool",)) == said.failure
    assert None is said.stop_reason


def test_a_streamed_responses_answer_is_its_final_response() -> None:
    """
    The whole answer is the one that the last event carries.
    """
    body = whole(one("openai-responses.stream.0")).body

    assert ("completed", ["function_call"]) == (body["status"], [item["type"] for item in body["output"]])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"texts": ("something else",)}, "text: expected 'something else', got 'Reading it.'"),
        ({"thoughts": ("hm",)}, "thinking: expected 'hm', got ''"),
        ({"calls": ()}, "tool calls: expected [], got [Call(name='read_file', input={'path': 'a.txt'})]"),
        ({"stop_reason": "end_turn"}, "stop_reason: expected 'end_turn', got 'tool_use'"),
        ({"usage": {"output_tokens": (5, 7, 5)}}, "usage.output_tokens: expected 5 or 7, got 0"),
    ],
)
def test_differences_are_told(change: dict[str, Any], complaint: str) -> None:
    """
    Each difference of meaning is one line that names what was expected and what was found.
    """
    said = expected(one("anthropic-fallback-tool-call.stream"))

    assert [] == said.differences(_message(said))
    assert [complaint] == attrs.evolve(said, **change).differences(_message(said))


def test_an_open_answer_may_hold_more() -> None:
    """
    Where a format has things that the Messages API has not, more text and calls are no difference; less is.
    """
    said = expected(one("openai-custom-tool.1.stream"))
    more = _message(Expected(texts=("a note",), calls=(Call("write_sql", {"input": "SELECT 1"}),), usage=said.usage))

    assert said.open
    assert [] == said.differences(more)


def test_failures_are_compared_by_words_and_status() -> None:
    """
    An error has to keep the provider's words and status.
    """
    failure = expected(one("openrouter.errors-raised.0")).failure
    assert failure is not None

    assert [] == failure.differences("429: Provider returned error", 429)
    assert 2 == len(failure.differences("oh no", 500))


def test_folding_keeps_what_came_of_an_open_block() -> None:
    """
    A stream that was cut makes the message that it had got to.
    """
    events = list(one("anthropic-text.stream").events())
    text = fold_anthropic(events).body["content"][0]["text"]

    assert text.startswith(fold_anthropic(events[:5]).body["content"][0]["text"])
    assert "" != fold_anthropic(events[:5]).body["content"][0]["text"]


def test_events_are_read_with_any_line_ends() -> None:
    """
    Comments are left out, CR LF is a line end, text that is no JSON stays text.
    """
    data = b': hello\r\n\r\nevent: x\r\ndata: {"a": "\xc3\xbc"}\r\n\r\ndata: [DONE]\r\n\r\n'

    assert [{"a": "ü"}, "[DONE]"] == list(read_sse(data))


@pytest.mark.parametrize("recording", [r for r in ALL if r.stream and not expected(r).failure], ids=str)
def test_every_complete_stream_has_its_end_mark(recording: Recording) -> None:
    """
    The end mark of each format is in each complete stream, and not in its first event.
    """
    events = list(recording.events())

    assert any(is_end(recording.dialect, event) for event in events)
    assert len(events) == 1 or not is_end(recording.dialect, events[0])


def test_unknown_dialects_are_refused() -> None:
    """
    The oracle says so when it does not know a format.
    """
    strange = attrs.evolve(one("anthropic-text.stream"), dialect="cohere")

    with pytest.raises(LookupError, match="cohere"):
        expected(strange)
    with pytest.raises(LookupError, match="is_end="):
        is_end("cohere", {})


def _message(said: Expected) -> Any:
    content = [
        *({"type": "thinking", "thinking": text} for text in said.thoughts),
        *({"type": "text", "text": text} for text in said.texts),
        *({"type": "tool_use", "name": call.name, "input": call.input} for call in said.calls),
    ]
    usage = {field: figures[0] for field, figures in said.usage.items()}
    return json.loads(json.dumps({"content": content, "stop_reason": said.stop_reason, "usage": usage}))
