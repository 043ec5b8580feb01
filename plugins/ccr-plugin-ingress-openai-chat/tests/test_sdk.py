"""OpenAI's own SDK against a router, with every kind of provider behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ccr_core import JSON
from ccr_core.testing import Upstream, recordings
from ccr_core.testing.recordings import Expected, Recording, expected

RECORDED = recordings.recordings(Path(__file__).parents[3] / "tests" / "recordings")
GOOD = [one for one in RECORDED if expected(one).failure is None]
BROKEN = [one for one in RECORDED if expected(one).failure is not None]
FINISH = {"tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}
ASK: JSON = {"messages": [{"role": "user", "content": "Go on."}]}


def tools(recording: Recording) -> JSON:
    """The tools that a recording calls, as this client offers them."""
    names = sorted({call.name for call in expected(recording).calls})
    made = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in names]
    return {"tools": made} if made else {}


@attrs.define
class Folded:
    """What a client gathers from chunks."""

    message: JSON = attrs.Factory(lambda: {"content": [], "usage": {}})
    finish: str | None = None
    text: str = ""
    thinking: str = ""
    calls: list[JSON] = attrs.Factory(list)
    usage: JSON = attrs.Factory(dict)

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Take the next chunk."""
        if chunk.usage:
            self.usage = chunk.usage.model_dump()
        for choice in chunk.choices:
            self.finish = choice.finish_reason or self.finish
            self.text += choice.delta.content or ""
            self.thinking += (choice.delta.model_extra or {}).get("reasoning_content") or ""
            for call in choice.delta.tool_calls or ():
                if call.index == len(self.calls):
                    assert call.function is not None
                    assert call.id
                    self.calls.append({"name": call.function.name, "arguments": ""})
                assert call.function is not None
                self.calls[call.index]["arguments"] += call.function.arguments or ""


def folded(completion: ChatCompletion) -> Folded:
    """A whole answer, as if it had been gathered."""
    (choice,) = completion.choices
    made = Folded(finish=choice.finish_reason, text=choice.message.content or "")
    made.thinking = (choice.message.model_extra or {}).get("reasoning_content") or ""
    for call in choice.message.tool_calls or ():
        assert call.type == "function"
        made.calls.append({"name": call.function.name, "arguments": call.function.arguments})
    made.usage = completion.usage.model_dump() if completion.usage else {}
    return made


def differences(says: Expected, got: Folded) -> list[str]:
    """How what the client got differs from what the provider said."""
    details = got.usage.get("prompt_tokens_details") or {}
    cached, written = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
    message = {
        "content": [
            {"type": "thinking", "thinking": got.thinking},
            {"type": "text", "text": got.text},
            *({"type": "tool_use", "name": one["name"], "input": json.loads(one["arguments"])} for one in got.calls),
        ],
        "usage": {
            "input_tokens": got.usage["prompt_tokens"] - cached - written,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": written,
            "output_tokens": got.usage["completion_tokens"],
        },
    }
    finish = [] if says.stop_reason is None else [FINISH.get(says.stop_reason, "stop")]
    wrong = [f"finish_reason: {got.finish}, expected {finish}"] if finish and got.finish not in finish else []
    return wrong + attrs.evolve(says, stop_reason=None).differences(message)


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_a_stream(client: openai.OpenAI, provider: Upstream, recording: Recording) -> None:
    """What any provider has said comes out of a stream, with its figures."""
    provider.stream(recording, cut=700)
    got = Folded()

    with client.chat.completions.create(
        model=f"{recording.dialect},big",
        stream=True,
        stream_options={"include_usage": True},
        **ASK,
        **tools(recording),
    ) as stream:
        for chunk in stream:
            got.add(chunk)

    assert [] == differences(expected(recording), got)


@pytest.mark.parametrize("recording", GOOD, ids=str)
def test_a_whole_answer(client: openai.OpenAI, provider: Upstream, recording: Recording) -> None:
    """What any provider has said comes out of a whole answer, with its figures."""
    provider.stream(recording, cut=700)

    completion = client.chat.completions.create(model=f"{recording.dialect}/big", **ASK, **tools(recording))

    assert [] == differences(expected(recording), folded(completion))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("recording", BROKEN, ids=str)
def test_a_failure(client: openai.OpenAI, provider: Upstream, recording: Recording, stream: bool) -> None:
    """A refusal keeps its status and words; a failure in mid-stream is an error, and never a finished answer."""
    provider.stream(recording)
    failure = expected(recording).failure
    assert failure is not None
    got = Folded()

    with pytest.raises(openai.APIError) as caught:
        gather(client, got, f"{recording.dialect},big", "Go on.", stream)

    assert got.finish is None
    assert any(word in caught.value.message for word in failure.words)
    if recording.failed:
        assert isinstance(caught.value, openai.APIStatusError)
        assert recording.status == caught.value.status_code


def gather(client: openai.OpenAI, got: Folded, model: str, prompt: str, stream: bool) -> None:
    """Ask, and put into ``got`` whatever comes."""
    messages: Any = [{"role": "user", "content": prompt}]
    if not stream:
        client.chat.completions.create(model=model, messages=messages)
        return
    with client.chat.completions.create(model=model, messages=messages, stream=True) as chunks:
        for chunk in chunks:
            got.add(chunk)


# --- conversations with the echo model ---------------------------------------------------------------------------


SHELL = {
    "type": "function",
    "function": {"name": "Bash", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}},
}


def test_a_conversation_with_tools(client: openai.OpenAI) -> None:
    """The messages that the SDK gives, sent back as they are, are a conversation that goes on; thinking comes back."""
    prompt = 'think First.\nsay I look.\ncall Bash {"command": "ls"}\ncall Bash {"command": "pwd"}\nthen\nsay Done.'
    messages: list[Any] = [{"role": "system", "content": "Be short."}, {"role": "user", "content": prompt}]

    first = client.chat.completions.create(model="echo,echo", messages=messages, tools=[SHELL], reasoning_effort="high")  # type: ignore[list-item]
    answer = first.choices[0].message
    messages.append(answer)
    for call in answer.tool_calls or ():
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "ok"})
    second = client.chat.completions.create(
        model="echo,echo", messages=messages, tools=[SHELL], reasoning_effort="high"
    )  # type: ignore[list-item]

    assert ("I look.", "tool_calls") == (answer.content, first.choices[0].finish_reason)
    assert ["ls", "pwd"] == [json.loads(call.function.arguments)["command"] for call in answer.tool_calls or ()]
    assert answer.model_extra is not None
    assert "First." == answer.model_extra["reasoning_content"]
    assert ("Done.", "stop") == (second.choices[0].message.content, second.choices[0].finish_reason)


def test_thinking_goes_back_to_its_provider(client: openai.OpenAI, provider: Upstream) -> None:
    """A signature that a provider gave comes back to it, through the client, with the text that it belongs to."""
    said = [
        {"type": "thinking", "thinking": "Hm.", "signature": "RXFRQg=="},
        {"type": "redacted_thinking", "data": "aGlkZGVu"},
        {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}},
    ]
    answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "big", "stop_reason": "tool_use"}
    provider.reply({**answer, "content": said, "usage": {"input_tokens": 1, "output_tokens": 1}})
    provider.reply({**answer, "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}})
    messages: list[Any] = [{"role": "user", "content": "Look."}]
    fields: JSON = {"model": "anthropic,big", "messages": messages, "tools": [SHELL], "reasoning_effort": "high"}

    first = client.chat.completions.create(**fields)
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": "toolu_1", "content": "ok"}]
    client.chat.completions.create(**fields)

    assert said == provider.requests[1].json["messages"][1]["content"]


def test_the_streaming_helper(client: openai.OpenAI) -> None:
    """The SDK's own gathering of chunks gives the whole answer, with thinking and its carrier as one entry."""
    prompt = 'think Well.\nsay Hello.\ncall Bash {"command": "ls"}'
    with client.chat.completions.stream(
        model="echo,echo",
        messages=[{"role": "user", "content": prompt}],
        tools=[SHELL],  # type: ignore[list-item]
        reasoning_effort="low",
        stream_options={"include_usage": True},
    ) as stream:
        for _ in stream:
            pass
        completion = stream.get_final_completion()

    (choice,) = completion.choices
    (call,) = choice.message.tool_calls or ()
    extra = choice.message.model_extra or {}
    assert ("Hello.", "Well.") == (choice.message.content, extra["reasoning_content"])
    assert ['{"command":"ls"}'] == [call.function.arguments]
    assert [("reasoning.text", 5, "ccr")] == [
        (one["type"], one["length"], one["format"]) for one in extra["reasoning_details"]
    ]
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


def test_a_parsed_answer(client: openai.OpenAI) -> None:
    """A schema for the answer is honoured, and the SDK reads the answer by it."""
    form = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    completion = client.chat.completions.create(
        model="echo,echo",
        messages=[{"role": "user", "content": "A number."}],
        response_format={"type": "json_schema", "json_schema": {"name": "number", "schema": form}},
    )

    content = completion.choices[0].message.content
    assert content is not None
    assert {"n"} == json.loads(content).keys()


@pytest.mark.parametrize("model", ["default", "gpt-4o", ""])
def test_any_other_model_is_routed(client: openai.OpenAI, model: str) -> None:
    """A model that names no provider is routed by the rules."""
    completion = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "say Here."}]
    )

    assert "Here." == completion.parse().choices[0].message.content
    assert completion.headers["x-ccr-route"].startswith("echo,echo; ")


def test_an_unknown_provider(client: openai.OpenAI) -> None:
    """A model of a provider that there is not is not found, in OpenAI's words."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody,big", **ASK)

    assert ("model_not_found", "not_found_error") == (caught.value.code, caught.value.type)
    assert "nobody,big" in caught.value.message


def test_a_wrong_request(client: openai.OpenAI) -> None:
    """What is wrong with a request is said with its place, which the SDK shows as ``param``."""
    messages: Any = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="echo,echo", messages=messages)

    assert "messages[0].content[0].type" == caught.value.param
    assert "input_audio" in caught.value.message


def test_waiting_and_trying_again(client: openai.OpenAI) -> None:
    """The SDK learns from a refusal how long to wait."""
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(
            model="echo,echo", messages=[{"role": "user", "content": "fail 429 retry-after 7 slowly"}]
        )

    assert ("7", "rate_limit_exceeded") == (caught.value.response.headers["retry-after"], caught.value.code)


@pytest.mark.parametrize("line", ["error overloaded_error too busy", "cut"])
def test_a_broken_stream(client: openai.OpenAI, line: str) -> None:
    """A stream that breaks raises in the SDK after what had been said; it does not end as if it were complete."""
    got = Folded()

    with pytest.raises(openai.APIError):
        gather(client, got, "echo,echo", f"say Well begun.\n{line}", True)

    assert got.finish is None
    assert got.text
    assert "Well begun.".startswith(got.text)


def test_the_models(client: openai.OpenAI) -> None:
    """The SDK lists the models of the router, by the names under which it takes them."""
    assert {"echo,echo", "anthropic,big", "gemini,big"} <= {model.id for model in client.models.list()}
