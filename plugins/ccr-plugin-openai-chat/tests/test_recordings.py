"""Every recorded answer gives what it says: text, thinking, calls, stop reason, usage, however it is cut.

The oracle below reads the JSON of a recording in the plainest way and shares no code with the decoder.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from ccr_plugin_openai_chat import OpenAIChat, Options

from ccr_core import (
    Context,
    Event,
    ProtocolError,
    Request,
    StreamError,
    Target,
    UpstreamError,
    WireReply,
    assemble,
)
from ccr_core.testing import check_dialect, decode, recordings, steady_ids

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
ALL = recordings.recordings(ROOT, "openai-chat")
GOOD = [one for one in ALL if not one.failed and "error" not in one.features]
STREAMS = [one for one in GOOD if one.stream]


@attrs.define
class Said:
    """What a recording says."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, Any]] = attrs.Factory(list)
    stop: str = "end_turn"
    usage: dict[str, int] = attrs.Factory(dict)


def chunks_of(recording: recordings.Recording) -> Iterator[dict[str, Any]]:
    """The JSON objects in a recording."""
    if not recording.stream:
        yield json.loads(recording.response)
        return
    for line in recording.response.decode().splitlines():
        if line.startswith("data:") and "[DONE]" not in line:
            yield json.loads(line[5:])


def said_by(recording: recordings.Recording) -> Said:
    """The oracle."""
    said = Said()
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    finish = ""
    for chunk in chunks_of(recording):
        for choice in chunk.get("choices", []):
            message = choice.get("delta") or choice.get("message") or {}
            finish = finish or choice.get("finish_reason") or ""
            content = message.get("content") or ""
            parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for part in parts:
                if part["type"] == "thinking":
                    said.thinking += "".join(piece["text"] for piece in part["thinking"])
                else:
                    said.text += part["text"]
            detailed = [
                detail.get("text") or detail.get("summary") or "" for detail in message.get("reasoning_details") or ()
            ]
            said.thinking += message.get("reasoning_content") or message.get("reasoning") or "".join(detailed)
            for place, call in enumerate(message.get("tool_calls") or ()):
                index = call.get("index", place)
                names[index] = names.get(index) or call["function"].get("name") or ""
                arguments[index] = arguments.get(index, "") + (call["function"].get("arguments") or "")
        usage = chunk.get("usage") or chunk.get("x_groq", {}).get("usage")
        if usage:
            details = usage.get("prompt_tokens_details") or {}
            cached = details.get("cached_tokens") or 0
            said.usage = {
                "input_tokens": usage["prompt_tokens"] - cached,
                "output_tokens": usage["completion_tokens"],
                "cache_read_input_tokens": cached,
            }
    tagged = re.match(r"<think>(.*?)(</think>|$)", said.text, re.DOTALL)
    if tagged:
        said.thinking, said.text = tagged[1].strip(), said.text[tagged.end() :].lstrip()
    said.calls = [(names[index], json.loads(arguments[index] or "{}")) for index in names]
    said.stop = "max_tokens" if finish == "length" else "tool_use" if said.calls else "end_turn"
    return said


def meant_by(message: dict[str, Any]) -> Said:
    """What a message of the Messages API says, in the same terms."""
    blocks = message["content"]
    return Said(
        text="".join(block["text"] for block in blocks if block["type"] == "text"),
        thinking="".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        calls=[(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
        stop=message["stop_reason"],
        usage={
            name: message["usage"].get(name, 0) for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")
        }
        if message["usage"].get("input_tokens")
        else {},
    )


def ctx() -> Context:
    target = Target(provider="acme", model="big", base_url="https://api.example/v1", options=Options())
    return Context(exchange_id="test", target=target)


def request() -> Request:
    return Request({"model": "big", "messages": [{"role": "user", "content": "hello"}]})


def streamed(parts: Iterable[bytes]) -> list[Event]:
    """What becomes of a stream that arrives in ``parts``."""
    decoded = decode(OpenAIChat(), parts, request(), ctx())
    if decoded.error is not None:
        raise decoded.error
    return decoded.sequenced


def whole(body: Any) -> list[Event]:
    """What becomes of a whole answer."""
    return list(OpenAIChat().decode_body(body, request(), ctx()))


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def test_there_are_42_recordings() -> None:
    """The tests below run over all that there is."""
    assert 42 == len(ALL)


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_an_answer_gives_what_it_says(recording: recordings.Recording) -> None:
    """Text, thinking, calls, stop reason and usage are those of the recording."""
    events = streamed([recording.response]) if recording.stream else whole(json.loads(recording.response))

    assert said_by(recording) == meant_by(assemble(events))


@pytest.mark.parametrize("recording", STREAMS, ids=str)
def test_the_cuts_do_not_matter(recording: recordings.Recording) -> None:
    """A stream gives the same events however its bytes arrive."""
    data = recording.response[:20_000] + recording.response[-8_000:] if len(recording.response) > 28_000 else None
    if data is not None:
        # Of a long stream the head and the tail, joined between two events.
        head = recording.response[: recording.response.rindex(b"\n\n", 0, 20_000) + 2]
        tail = recording.response[recording.response.index(b"\n\n", len(recording.response) - 8_000) + 2 :]
        data = head + tail
    data = data or recording.response
    randomly = random.Random(recording.name)
    places = sorted(randomly.sample(range(1, len(data)), min(40, len(data) - 1)))
    at_random = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    with steady_ids():
        expected = streamed([data])

    for parts in (cut(data, 1), cut(data, 7), cut(data, 4096), at_random):
        with steady_ids():
            assert expected == streamed(parts)


@pytest.mark.parametrize("recording", STREAMS, ids=str)
def test_a_stream_that_is_cut_off_is_no_answer(recording: recordings.Recording) -> None:
    """Without its end mark a stream ends in an error, wherever it breaks off."""
    ends = [match.start() for match in re.finditer(rb'"finish_reason":\s?"\w|\[DONE\]', recording.response)]
    before = recording.response[: recording.response.rindex(b"data:", 0, ends[0])]
    places = random.Random(recording.name).sample(range(len(before) + 1), min(12, len(before)))

    for size in [*places, len(before)]:
        with pytest.raises(ProtocolError):
            streamed([before[:size]])


def test_an_error_inside_a_stream_stays_an_error() -> None:
    """What came before the error is given; then the provider's words and status."""
    (recording,) = (one for one in ALL if "error_midstream" in one.features)
    dialect = OpenAIChat()
    decoder = dialect.decoder(request(), ctx())
    events = [event for chunk in dialect.framing().feed(recording.response) for event in decoder.feed(chunk)]
    deltas = [event.delta for event in events if hasattr(event, "delta")]

    assert "maybe" == "".join(delta.get("text", "") for delta in deltas)
    assert (
        StreamError("invalid_request_error", "Tool choice is required, but model did not call a tool", 400)
        == events[-1]
    )
    with pytest.raises(UpstreamError, match="model did not call a tool"):
        streamed([recording.response])


@pytest.mark.parametrize(
    ("name", "status", "kind", "words"),
    [
        ("groq.tool-regular-error.0", 404, "not_found_error", "The model `non-existent` does not exist"),
        ("openai.o1-mini-system-role-developer-.0", 400, "invalid_request_error", "does not support 'developer'"),
        ("openrouter.errors-raised.0", 429, "rate_limit_error", "is temporarily rate-limited upstream"),
    ],
)
def test_a_refusal_keeps_status_and_words(name: str, status: int, kind: str, words: str) -> None:
    """The recorded refusals keep their status, get the kind that goes with it, and say what the provider said."""
    (recording,) = (one for one in ALL if one.name.endswith(name))
    error = OpenAIChat().decode_error(WireReply(status=recording.status, body=recording.response))

    assert (status, kind) == (error.status, error.kind)
    assert words in error.message


def test_the_dialect_passes_the_checks_of_the_test_kit() -> None:
    """The checks that every dialect has to pass find nothing."""
    check_dialect(OpenAIChat(), [one for one in ALL if "error_midstream" not in one.features])
