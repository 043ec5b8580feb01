"""OpenAI's own SDK against a router, with every kind of provider behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import openai
import pytest
from openai.types.responses import Response

from ccr_core import JSON
from ccr_core.testing import Upstream, recordings
from ccr_core.testing.recordings import Expected, Recording, expected

RECORDED = recordings.recordings(Path(__file__).parents[3] / "tests" / "recordings")
GOOD = [one for one in RECORDED if expected(one).failure is None]
BROKEN = [one for one in RECORDED if expected(one).failure is not None]
REASONS = {"max_tokens": "max_output_tokens", "refusal": "content_filter"}


def tools(recording: Recording) -> JSON:
    """The tools that a recording calls, as this client offers them."""
    names = sorted({call.name for call in expected(recording).calls})
    made = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in names]
    return {"tools": made} if made else {}


def differences(says: Expected, got: Response) -> list[str]:
    """How what the client got differs from what the provider said."""
    content: list[JSON] = []
    for item in got.output:
        if item.type == "message":
            parts = [part for part in item.content if part.type == "output_text"]
            content += [{"type": "text", "text": part.text} for part in parts]
        elif item.type == "reasoning":
            content += [{"type": "thinking", "thinking": part.text} for part in item.summary]
        elif item.type == "function_call":
            content.append({"type": "tool_use", "name": item.name, "input": json.loads(item.arguments)})
    assert got.usage is not None
    details = got.usage.input_tokens_details
    cached, written = details.cached_tokens, (details.model_extra or {}).get("cache_write_tokens", 0)
    written = getattr(details, "cache_write_tokens", written) or 0
    message = {
        "content": content,
        "usage": {
            "input_tokens": got.usage.input_tokens - cached - written,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": written,
            "output_tokens": got.usage.output_tokens,
        },
    }
    wrong = []
    if says.stop_reason is not None:
        reason = got.incomplete_details.reason if got.incomplete_details else None
        if reason != REASONS.get(says.stop_reason):
            wrong.append(f"incomplete: {reason}, expected {REASONS.get(says.stop_reason)}")
    return wrong + attrs.evolve(says, stop_reason=None).differences(message)


def streamed(client: openai.OpenAI, **fields: Any) -> tuple[list[Any], Response | None]:
    """The events of a stream, and the response that it ends with."""
    events = []
    with client.responses.create(stream=True, **fields) as stream:
        for event in stream:
            events.append(event)
    last = events[-1]
    return events, last.response if last.type in ("response.completed", "response.incomplete") else None


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_a_stream(client: openai.OpenAI, provider: Upstream, recording: Recording) -> None:
    """What any provider has said comes out of a stream, in its deltas and in its end, with its figures."""
    provider.stream(recording, cut=700)

    events, response = streamed(client, model=f"{recording.dialect},big", input="Go on.", **tools(recording))

    assert response is not None
    assert [] == differences(expected(recording), response)
    assert response.output_text == "".join(one.delta for one in events if one.type == "response.output_text.delta")


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_a_whole_answer(client: openai.OpenAI, provider: Upstream, recording: Recording) -> None:
    """What any provider has said comes out of a whole answer, with its figures."""
    provider.stream(recording, cut=700)

    response = client.responses.create(model=f"{recording.dialect}/big", input="Go on.", **tools(recording))

    assert [] == differences(expected(recording), response)


@pytest.mark.parametrize("recording", BROKEN, ids=str)
def test_a_failure(client: openai.OpenAI, provider: Upstream, recording: Recording) -> None:
    """A refusal keeps its status and words; a stream that failed ends as failed, with the provider's words."""
    provider.stream(recording)
    failure = expected(recording).failure
    assert failure is not None

    try:
        events, response = streamed(client, model=f"{recording.dialect},big", input="Go on.")
    except openai.APIStatusError as error:
        message, status = error.message, error.status_code
    else:
        assert response is None
        message, status = events[-1].response.error.message, None

    assert any(word in message for word in failure.words)
    if recording.failed:
        assert recording.status == status


@pytest.mark.parametrize("recording", BROKEN, ids=str)
def test_a_failure_without_a_stream(client: openai.OpenAI, provider: Upstream, recording: Recording) -> None:
    """Whoever asked for a whole answer gets a refusal, however late the provider failed."""
    provider.stream(recording)
    failure = expected(recording).failure
    assert failure is not None

    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model=f"{recording.dialect},big", input="Go on.")

    assert any(word in caught.value.message for word in failure.words)


# --- conversations with the echo model ---------------------------------------------------------------------------


SHELL: JSON = {
    "type": "function",
    "name": "Bash",
    "parameters": {"type": "object", "properties": {"command": {"type": "string"}}},
}
THINK: JSON = {"reasoning": {"effort": "high", "summary": "auto"}}


@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation_with_tools(client: openai.OpenAI, stream: bool) -> None:
    """The items that the SDK gives, sent back as they are, are a conversation that goes on."""
    prompt = 'think First.\nsay I look.\ncall Bash {"command": "ls"}\ncall Bash {"command": "pwd"}\nthen\nsay Done.'
    history: list[Any] = [{"role": "user", "content": prompt}]

    def ask() -> Response:
        fields: JSON = {"model": "echo,echo", "input": history, "tools": [SHELL], **THINK}
        if not stream:
            made: Response = client.responses.create(**fields)
            return made
        _, response = streamed(client, **fields)
        assert response is not None
        return response

    first = ask()
    history += first.output
    calls = [item for item in first.output if item.type == "function_call"]
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": "ok"} for call in calls]
    second = ask()

    assert ["reasoning", "message", "function_call", "function_call"] == [item.type for item in first.output]
    assert ["ls", "pwd"] == [json.loads(call.arguments)["command"] for call in calls]
    assert ("I look.", "Done.") == (first.output_text, second.output_text)


def test_thinking_goes_back_to_its_provider(client: openai.OpenAI, provider: Upstream) -> None:
    """A signature that a provider gave comes back to it, through the client, with the text and in its place."""
    said = [
        {"type": "thinking", "thinking": "Hm.", "signature": "RXFRQg=="},
        {"type": "redacted_thinking", "data": "aGlkZGVu"},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
    ]
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "big", "stop_reason": "tool_use"}
    provider.reply({**answer, "content": said, "usage": {"input_tokens": 1, "output_tokens": 1}})
    provider.reply({**answer, "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}})
    history: list[Any] = [{"role": "user", "content": "Look."}]

    first = client.responses.create(model="anthropic,big", input=history, tools=[SHELL], **THINK)  # type: ignore[list-item]
    history += [*first.output, {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"}]
    client.responses.create(model="anthropic,big", input=history, tools=[SHELL], **THINK)  # type: ignore[list-item]

    assert said == provider.requests[1].json["messages"][1]["content"]


def test_the_streaming_helper(client: openai.OpenAI) -> None:
    """The SDK's own gathering of events, which checks their order, gives the whole answer."""
    prompt = 'think Well.\nsay Hello.\ncall Bash {"command": "ls"}'
    with client.responses.stream(model="echo,echo", input=prompt, tools=[SHELL], **THINK) as stream:  # type: ignore[list-item]
        for _ in stream:
            pass
        response = stream.get_final_response()

    assert ["reasoning", "message", "function_call"] == [item.type for item in response.output]
    assert "Hello." == response.output_text


def test_a_parsed_answer(client: openai.OpenAI) -> None:
    """A schema for the answer is honoured, and the SDK reads the answer by it."""
    form = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    response = client.responses.create(
        model="echo,echo", input="A number.", text={"format": {"type": "json_schema", "name": "number", "schema": form}}
    )

    assert {"n"} == json.loads(response.output_text).keys()


def test_a_custom_tool(client: openai.OpenAI) -> None:
    """A tool whose input is a text is called with a text."""
    response = client.responses.create(
        model="echo,echo", input='call Patch {"input": "*** Begin"}', tools=[{"type": "custom", "name": "Patch"}]
    )

    (call,) = response.output
    assert call.type == "custom_tool_call"
    assert ("Patch", "*** Begin") == (call.name, call.input)


def test_an_answer_that_is_too_short(client: openai.OpenAI) -> None:
    """A limit makes the answer incomplete, and says so."""
    response = client.responses.create(model="echo,echo", input="words 50", max_output_tokens=3)

    assert response.incomplete_details is not None
    assert ("incomplete", "max_output_tokens") == (response.status, response.incomplete_details.reason)


@pytest.mark.parametrize("model", ["default", "gpt-5.1-codex"])
def test_any_other_model_is_routed(client: openai.OpenAI, model: str) -> None:
    """A model that names no provider is routed by the rules."""
    response = client.responses.with_raw_response.create(model=model, input="say Here.")

    assert "Here." == response.parse().output_text
    assert response.headers["x-ccr-route"].startswith("echo,echo; ")


def test_a_count(client: openai.OpenAI) -> None:
    """The SDK counts the tokens of a request."""
    few = client.responses.input_tokens.count(model="echo,echo", input="a b")
    many = client.responses.input_tokens.count(model="echo,echo", input="a b " * 100)

    assert 0 < few.input_tokens < many.input_tokens


def test_a_wrong_request(client: openai.OpenAI) -> None:
    """What cannot be had is said with its place, which the SDK shows as ``param``."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="echo,echo", input="Hi", previous_response_id="resp_1")

    assert "previous_response_id" == caught.value.param


def test_nothing_is_stored(client: openai.OpenAI) -> None:
    """An answer cannot be fetched again, and the refusal says that there is no such thing here."""
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


@pytest.mark.parametrize("line", ["error overloaded_error too busy", "cut"])
def test_a_broken_stream(client: openai.OpenAI, line: str) -> None:
    """A stream that breaks ends as failed after what had been said; it does not end as if it were complete."""
    events, response = streamed(client, model="echo,echo", input=f"say Well begun.\n{line}")

    assert response is None
    assert "response.failed" == events[-1].type
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said
    assert "Well begun.".startswith(said)
