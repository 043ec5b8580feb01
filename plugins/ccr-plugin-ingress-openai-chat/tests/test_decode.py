"""Requests: from chat completions to the canonical form."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ccr_plugin_ingress_openai_chat.decode import JSON_ONLY
from ccr_plugin_ingress_openai_chat.ingress import ChatCompletions
from ccr_plugin_ingress_openai_chat.request import ChatRequest

from ccr_core import JSON, RequestError

USER: JSON = {"role": "user", "content": "Hello."}
TEXT: JSON = {"type": "text", "text": "Hello."}
BASH: JSON = {"type": "function", "function": {"name": "Bash", "parameters": {"type": "object", "properties": {}}}}


def decode(headers: dict[str, str] | None = None, **fields: Any) -> ChatRequest:
    """The request that a body becomes."""
    body = {"model": "acme,big", "messages": [USER], **fields}
    request = ChatCompletions().decode(json.dumps(body).encode(), headers or {})
    assert isinstance(request, ChatRequest)
    return request


def messages(*given: JSON) -> list[JSON]:
    """The messages that messages become."""
    return decode(messages=given).messages


def assistant(*blocks: JSON) -> JSON:
    return {"role": "assistant", "content": list(blocks)}


def test_a_short_request() -> None:
    """The least that a client sends becomes the least that there is, with no field that was not asked for."""
    request = decode()

    assert {"model": "acme,big", "messages": [{"role": "user", "content": [TEXT]}]} == request.body
    assert ("chat-completions", False, False, ()) == (request.ingress, request.stream, request.usage, request.notes)


def test_a_request_without_model() -> None:
    """A request that names no model is left to the rules."""
    assert "" == decode(model=None).model


def test_instructions() -> None:
    """What is said first is the system prompt; what is said later stays in its place."""
    request = decode(
        messages=[
            {"role": "system", "content": "One."},
            {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
            USER,
            {"role": "developer", "content": "Three."},
        ]
    )

    assert [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}] == request.body["system"]
    assert ["user", "system"] == [message["role"] for message in request.messages]


def test_only_instructions() -> None:
    """A request of instructions only is still answered: they become the message."""
    request = decode(messages=[{"role": "system", "content": "Say hello."}])

    assert [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}] == request.messages
    assert "system" not in request.body


def test_tools_in_the_conversation() -> None:
    """Calls and results keep their ids; the results of one answer are one message, in which errors of JSON survive."""
    calls = [
        {"id": "a", "type": "function", "function": {"name": "Bash", "arguments": '{"command": "ls"}'}},
        {"id": "b", "type": "function", "function": {"name": "Bash", "arguments": '{"command": "l'}},
        {"id": "c", "type": "custom", "custom": {"name": "Patch", "input": "*** Begin"}},
    ]
    got = messages(
        USER,
        {"role": "assistant", "content": "I look.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "y"}]},
        {"role": "tool", "tool_call_id": "c", "content": ""},
        {"role": "user", "content": "And now?"},
    )

    raw = {"raw": '{"command": "l', "len": 14}
    assert [
        assistant(
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "a", "name": "Bash", "input": {"command": "ls"}},
            {"type": "tool_use", "id": "b", "name": "Bash", "input": {"__unparsedToolInput": raw}},
            {"type": "tool_use", "id": "c", "name": "Patch", "input": {"input": "*** Begin"}},
        ),
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "x"},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "y"}]},
                {"type": "tool_result", "tool_use_id": "c", "content": ""},
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ] == got[1:]


def test_results_of_two_answers_stay_apart() -> None:
    """Results belong to the answer before them."""
    call = {"id": "a", "type": "function", "function": {"name": "Bash", "arguments": ""}}
    result = {"role": "tool", "tool_call_id": "a", "content": "x"}
    turn: list[JSON] = [{"role": "assistant", "tool_calls": [call]}, result]

    got = messages(USER, *turn, *turn)

    assert ["user", "assistant", "user", "assistant", "user"] == [message["role"] for message in got]
    assert {} == got[1]["content"][0]["input"]


def test_media() -> None:
    """Images, PDFs and texts come in as data or addresses, and keep their names."""
    text = base64.b64encode("grüße".encode()).decode()
    (message,) = messages(
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://h/a.png"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
                {"type": "file", "file": {"file_data": "JVBERi0=", "filename": "b.pdf"}},
                {"type": "file", "file": {"file_data": f"data:text/csv;charset=utf-8;base64,{text}"}},
                {"type": "file", "file": {"file_data": "data:image/gif;base64,AAAA", "filename": "c.gif"}},
            ],
        }
    )

    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://h/a.png"}},
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "document", "source": pdf, "title": "b.pdf"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "grüße"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "AAAA"}},
    ] == message["content"]


def test_an_image_in_a_result() -> None:
    """A tool may answer with an image."""
    image = {"type": "image_url", "image_url": {"url": "https://h/a.png"}}
    got = messages(USER, {"role": "tool", "tool_call_id": "a", "content": [image]})

    assert "image" == got[1]["content"][0]["content"][0]["type"]


def test_empty_messages_are_left_out() -> None:
    """Messages that say nothing are left out: other services refuse them."""
    got = messages({"role": "user", "content": ""}, USER, {"role": "assistant", "content": None})

    assert [{"role": "user", "content": [TEXT]}] == got


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"stop": "a"}, {"stop_sequences": ["a"]}),
        ({"stop": ["a", "", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stop": None}, {}),
        ({"stream": True}, {"stream": True}),
        ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"user": "u1", "safety_identifier": "s1"}, {"metadata": {"user_id": "s1"}}),
        (
            {"reasoning_effort": "high"},
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
        ),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": {"enabled": False}}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": {"enabled": True}}, {"thinking": {"type": "adaptive", "display": "summarized"}}),
        ({"reasoning": {"max_tokens": 4000}}, {"thinking": {"type": "enabled", "budget_tokens": 4000}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"system": [{"type": "text", "text": JSON_ONLY}]}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
        (
            {"web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": "Rome"}}}},
            {
                "tools": [
                    {
                        "type": "web_search_20250305",
                        "name": "web_search",
                        "user_location": {"type": "approximate", "city": "Rome"},
                    }
                ]
            },
        ),
    ],
)
def test_a_field(fields: JSON, expected: JSON) -> None:
    """Each field that has a counterpart becomes it, and nothing else."""
    body = decode(**fields).body

    assert expected == {name: value for name, value in body.items() if name not in ("model", "messages")}


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "Bash"}}, None, {"type": "tool", "name": "Bash"}),
        ({"type": "custom", "custom": {"name": "Patch"}}, None, {"type": "tool", "name": "Patch"}),
    ],
)
def test_the_choice_among_tools(choice: Any, parallel: bool | None, expected: JSON | None) -> None:
    """Which tool must be called, and whether several may be."""
    patch = {"type": "custom", "custom": {"name": "Patch"}}
    body = decode(tools=[BASH, patch], tool_choice=choice, parallel_tool_calls=parallel).body

    assert expected == body.get("tool_choice")


def test_allowed_tools() -> None:
    """Tools that are listed and not allowed are not offered."""
    other = {"type": "function", "function": {"name": "Other"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "Other"}}]}

    body = decode(tools=[BASH, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}).body

    assert (["Other"], {"type": "any"}) == ([tool["name"] for tool in body["tools"]], body["tool_choice"])


def test_custom_tools() -> None:
    """A tool whose input is a text becomes one with a single field, and tells its grammar in words."""
    form = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: WORD"}}
    request = decode(tools=[{"type": "custom", "custom": {"name": "Patch", "description": "Patches.", "format": form}}])

    (tool,) = request.tools
    assert (["input"], frozenset({"Patch"})) == (tool["input_schema"]["required"], request.customs)
    assert tool["description"].startswith("Patches.")
    assert "lark grammar:\nstart: WORD" in tool["description"]


def test_thinking_and_a_forced_call() -> None:
    """The Messages API refuses the two together, so the level goes alone, and a note says so."""
    request = decode(tools=[BASH], tool_choice="required", reasoning_effort="high")

    assert "thinking" not in request.body
    assert {"effort": "high"} == request.body["output_config"]
    assert ["thinking"] == [key for key, _ in request.notes]


def test_notes() -> None:
    """What has no counterpart is named in a note; what asks for nothing is not."""
    request = decode(
        seed=7,
        logit_bias={},
        frequency_penalty=0,
        presence_penalty=0.5,
        store=False,
        service_tier="auto",
        reasoning_effort="minimal",
        tools=[{"type": "function", "function": {"name": "Bash", "strict": True}}],
    )

    assert {
        "chat-completions": "fields without a counterpart left out: presence_penalty, seed",
        "thinking": "the level minimal became low, the lowest of the Messages API",
        "tools": "strict is a wish only, for: Bash",
    } == dict(request.notes)


@pytest.mark.parametrize(
    ("headers", "fields", "expected"),
    [
        ({"session-id": "a"}, {"prompt_cache_key": "b"}, "a"),
        ({"session_id": "a"}, {}, "a"),
        ({"conversation_id": "a"}, {}, "a"),
        ({}, {"prompt_cache_key": "b"}, "b"),
        ({"x-claude-code-session-id": "c"}, {}, "c"),
        ({}, {"user": "somebody"}, None),
        ({}, {"prompt_cache_key": 7}, None),
    ],
)
def test_the_session(headers: dict[str, str], fields: JSON, expected: str | None) -> None:
    """The conversation is known by what the client calls it; a person is no conversation."""
    assert expected == decode(headers, **fields).hints.session


def test_thinking_comes_back() -> None:
    """Thinking that the client sends back is what it was, block by block; hidden thinking too."""
    details = [
        {"type": "reasoning.text", "signature": "s1", "length": 3, "format": "ccr", "index": 0},
        {"type": "reasoning.encrypted", "data": "hidden", "format": "ccr", "index": 1},
        {"type": "reasoning.text", "signature": "s2", "length": 0, "format": "ccr", "index": 2},
        {"type": "reasoning.text", "signature": "s3", "length": 2, "format": "ccr", "index": 3},
    ]
    said = {"role": "assistant", "content": "4", "reasoning_content": "abcde", "reasoning_details": details}

    assert [
        {"type": "thinking", "thinking": "abc", "signature": "s1"},
        {"type": "redacted_thinking", "data": "hidden"},
        {"type": "thinking", "thinking": "", "signature": "s2"},
        {"type": "thinking", "thinking": "de", "signature": "s3"},
        {"type": "text", "text": "4"},
    ] == messages(USER, said)[1]["content"]


@pytest.mark.parametrize(
    "details",
    [
        None,
        [{"type": "reasoning.text", "signature": "of another service", "format": "anthropic-claude-v1"}],
        [
            {"type": "reasoning.text", "signature": "s1", "length": 3, "format": "ccr"},
            {"type": "reasoning.text", "signature": "s2", "length": 3, "format": "ccr"},
        ],
        [
            {"type": "reasoning.text", "signature": "s1", "format": "ccr"},
            {"type": "reasoning.text", "signature": "s2", "length": 6, "format": "ccr"},
        ],
    ],
)
def test_thinking_of_unknown_origin(details: Any) -> None:
    """Thinking that is foreign, or was changed, has no signature: nobody is told that it is theirs."""
    said = {"role": "assistant", "content": "4", "reasoning_content": "abcde", "reasoning_details": details}

    first, _ = messages(USER, said)[1]["content"]

    assert {"type": "thinking", "thinking": "abcde", "signature": ""} == first


def part(**fields: Any) -> JSON:
    return {"messages": [{"role": "user", "content": [fields]}]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": 5}, "model: must be a string"),
        ({"messages": None}, "messages: is required"),
        ({"messages": []}, "messages: must be a list with at least one message"),
        ({"messages": [5]}, "messages[0]: must be an object"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages: must hold at least one message"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role: "),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content: must be a string or a list"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id: "),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "messages[0].audio: "),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages[0].tool_calls: must be a list"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function.name: "),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a"}}]}]},
            "messages[0].tool_calls[0].id: ",
        ),
        (
            {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://h"}}]}]},
            'messages[0].content[0].type: parts of type "image_url" are not supported here',
        ),
        (part(type="input_audio"), 'messages[0].content[0].type: parts of type "input_audio"'),
        (part(type="text"), "messages[0].content[0].text: must be a string"),
        (part(type="image_url", image_url={}), "messages[0].content[0].image_url.url: must be a string"),
        (part(type="image_url", image_url={"url": "file:///etc/passwd"}), "must be an http, https or data URL"),
        (part(type="image_url", image_url={"url": "data:image/png,raw"}), "a data URL must be base64"),
        (part(type="file", file={"file_id": "f"}), "messages[0].content[0].file.file_data: is required"),
        (part(type="file", file={"file_data": "data:video/mp4;base64,AA"}), 'files of type "video/mp4"'),
        (part(type="file", file={"file_data": "data:text/plain;base64,/w=="}), "is not UTF-8 text"),
        ({"stream": "yes"}, "stream: must be true or false"),
        ({"stream_options": 1}, "stream_options: must be an object"),
        ({"max_tokens": 0}, "max_tokens: must be at least 1"),
        ({"max_tokens": True}, "max_tokens: must be a whole number"),
        ({"temperature": "hot"}, "temperature: must be a number"),
        ({"stop": 5}, "stop: must be"),
        ({"n": 2}, "n: only one choice"),
        ({"logprobs": True}, "logprobs: "),
        ({"modalities": ["text", "audio"]}, "modalities: "),
        ({"functions": []}, "functions: is not supported; use tools"),
        ({"tools": 5}, "tools: must be a list"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type: "),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name: "),
        ({"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]}, "function.parameters: "),
        ({"tool_choice": "some"}, "tool_choice: must be"),
        ({"tool_choice": {"type": "function", "function": {"name": "No"}}}, 'there is no tool "No"'),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls: must be true or false"),
        ({"reasoning_effort": "huge"}, "reasoning_effort: must be one of none, minimal"),
        ({"response_format": {"type": "yaml"}}, "response_format.type: "),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema: "),
        ({"web_search_options": True}, "web_search_options: must be an object"),
        ({"user": 5}, "user: must be a string"),
    ],
)
def test_a_wrong_request(fields: JSON, words: str) -> None:
    """What is wrong is refused, and the message begins with its place."""
    with pytest.raises(RequestError) as caught:
        decode(**fields)

    assert 400 == caught.value.status
    assert words in caught.value.message
