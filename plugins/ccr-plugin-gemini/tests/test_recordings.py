"""Every recorded answer gives what it says: text, thinking, calls, stop reason, usage, however it is cut."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ccr_plugin_gemini import Gemini, Options

from ccr_core import JSON, Context, Event, ProtocolError, Request, Target, WireReply, assemble
from ccr_core.testing import as_request, ask, check_dialect, check_stream, decode, expected, recordings, steady_ids

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
ALL = recordings.recordings(ROOT, "gemini")
GOOD = [one for one in ALL if not one.failed]
STREAMS = [one for one in GOOD if one.stream]


def ctx(model: str = "gemini-3-flash-preview") -> Context:
    target = Target(provider="acme", model=model, base_url="https://api.example", options=Options())
    return Context(exchange_id="test", target=target)


def request() -> Request:
    return as_request(ask(tools=["Read"], thinking={"type": "adaptive"}))


def streamed(parts: Iterable[bytes]) -> list[Event]:
    """What becomes of a stream that arrives in ``parts``."""
    with steady_ids():
        decoded = decode(Gemini(), parts, request(), ctx())
    if decoded.error is not None:
        raise decoded.error
    return decoded.sequenced


def whole(body: Any) -> JSON:
    """The message that a whole answer becomes."""
    return assemble(Gemini().decode_body(body, request(), ctx()))


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def case(name: str) -> recordings.Recording:
    (found,) = (one for one in ALL if name in one.name)
    return found


def test_there_are_27_recordings() -> None:
    """The tests below run over all that there is."""
    assert 27 == len(ALL)


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_an_answer_gives_what_it_says(recording: recordings.Recording) -> None:
    """Streamed or whole, the message means what the recording says, and the stream is lawful."""
    if recording.stream:
        events = streamed([recording.response])
        check_stream(events)
        message = assemble(events)
    else:
        message = whole(json.loads(recording.response))

    assert [] == expected(recording).differences(message)


@pytest.mark.parametrize("recording", STREAMS, ids=str)
def test_a_stream_means_the_same_as_the_whole_answer(recording: recordings.Recording) -> None:
    """What a streamed answer amounts to, given whole, means the same."""
    assert [] == expected(recording).differences(whole(recordings.whole(recording).body))


@pytest.mark.parametrize("recording", STREAMS, ids=str)
def test_the_cuts_do_not_matter(recording: recordings.Recording) -> None:
    """A stream gives the same events however its bytes arrive."""
    data = recording.response
    places = sorted(random.Random(recording.name).sample(range(1, len(data)), 40))
    at_random = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    whole_events = streamed([data])

    for parts in (cut(data, 1), cut(data, 7), cut(data, 4096), at_random):
        assert whole_events == streamed(parts)


@pytest.mark.parametrize("recording", STREAMS, ids=str)
def test_a_stream_that_is_cut_off_is_no_answer(recording: recordings.Recording) -> None:
    """Without its finish reason a stream ends in an error, wherever it breaks off."""
    before = recording.response[: recording.response.rindex(b"data:", 0, recording.response.index(b'"finishReason"'))]
    places = random.Random(recording.name).sample(range(len(before) + 1), min(12, len(before)))

    for size in [*places, len(before)]:
        with pytest.raises(ProtocolError):
            streamed([before[:size]])


def test_a_stream_that_came_as_one_list_is_read() -> None:
    """Without server-sent events the service answers with a list of chunks."""
    recording = case("model-web-search-tool-stream")

    assert [] == expected(recording).differences(whole(list(recording.events())))


@pytest.mark.parametrize(
    ("name", "status", "kind", "words"),
    [
        ("google-429-retry-info", 429, "rate_limit_error", "You exceeded your current quota"),
        ("model-name-suggestion", 404, "not_found_error", "models/gemini-3.6-flahs is not found"),
    ],
)
def test_a_refusal_keeps_status_and_words(name: str, status: int, kind: str, words: str) -> None:
    """The recorded refusals keep their status, get the kind that goes with it, and say what the service said."""
    recording = case(name)
    error = Gemini().decode_error(WireReply(status=recording.status, body=recording.response))

    assert (status, kind) == (error.status, error.kind)
    assert words in error.message


def test_the_dialect_passes_the_checks_of_the_test_kit() -> None:
    """The checks that every dialect has to pass find nothing."""
    check_dialect(Gemini(), ALL)


# --- back to the service ---------------------------------------------------------------------------------------


def answered(recording: recordings.Recording) -> list[JSON]:
    """The parts that the service sent, pieces of one text joined; the two kinds of text that say nothing left out."""
    parts: list[JSON] = []
    for part in recordings.whole(recording).body["candidates"][0].get("content", {}).get("parts", ()):
        last = parts[-1] if parts else {}
        if "text" in part and "text" in last and bool(part.get("thought")) == bool(last.get("thought")):
            if not part["text"] and part.get("thoughtSignature"):
                parts.append(part)
            else:
                parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
        elif part != {"text": ""}:
            parts.append(part)
    return parts


@pytest.mark.parametrize("recording", [one for one in GOOD if answered(one)], ids=str)
def test_an_answer_goes_back_as_it_came(recording: recordings.Recording) -> None:
    """An answer that the client replays is, for the service, the content that it sent, signature for signature."""
    events = streamed([recording.response]) if recording.stream else None
    message = assemble(events) if events else whole(json.loads(recording.response))
    content = [block for block in message["content"] if block["type"] not in ("mcp_tool_use", "mcp_tool_result")]
    ids = [block["id"] for block in content if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": ident, "content": "done"} for ident in ids]
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [*results, {"type": "text", "text": "go on"}]},
    ]
    body = Gemini().encode(as_request(ask(messages=turns)), ctx()).body
    assert body is not None

    sent = body["contents"][1]["parts"]
    shown = ("[web search", "[the tool", "[web_fetch", "[code")
    said = [part for part in sent if not str(part.get("text", "")).startswith(shown)]
    for part in said:
        if "functionCall" in part:
            assert part["functionCall"].pop("id") in ids
        if part.get("thoughtSignature") == "skip_thought_signature_validator":
            # The model of this test insists on a signature, that of the recording did not give one.
            assert "functionCall" in part
            del part["thoughtSignature"]
    theirs = answered(recording)
    for part in theirs:
        if "functionCall" in part:
            part["functionCall"].pop("id", None)
            part["functionCall"].setdefault("args", {})
    assert theirs == said
    assert ["functionResponse"] * len(ids) == [next(iter(part)) for part in body["contents"][2]["parts"][:-1]]
