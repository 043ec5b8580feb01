"""Requests: from Responses to the canonical form."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ccr_plugin_ingress_openai_responses.decode import JSON_ONLY
from ccr_plugin_ingress_openai_responses.ingress import Responses
from ccr_plugin_ingress_openai_responses.request import ResponsesRequest, ToolName

from ccr_core import JSON, RequestError

USER: JSON = {"role": "user", "content": "Hello."}
TEXT: JSON = {"type": "text", "text": "Hello."}
BASH: JSON = {"type": "function", "name": "Bash", "parameters": {"type": "object", "properties": {}}}


def decode(headers: dict[str, str] | None = None, **fields: Any) -> ResponsesRequest:
    """The request that a body becomes."""
    body = {"model": "acme,big", "input": [USER], **fields}
    request = Responses().decode(json.dumps(body).encode(), headers or {})
    assert isinstance(request, ResponsesRequest)
    return request


def messages(*given: JSON) -> list[JSON]:
    """The messages that items become."""
    return decode(input=given).messages


def test_a_short_request() -> None:
    """The least that a client sends becomes the least that there is, with no field that was not asked for."""
    request = decode(input="Hello.")

    assert {"model": "acme,big", "messages": [{"role": "user", "content": [TEXT]}]} == request.body
    assert ("responses", False, (), {}) == (request.ingress, request.stream, request.notes, request.echo)


def test_a_request_without_model() -> None:
    """A request that names no model is left to the rules."""
    assert "" == decode(model=None).model


def test_instructions() -> None:
    """Instructions and what developers say first are the system prompt; what is said later stays in its place."""
    request = decode(
        instructions="One.",
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Two."}]},
            USER,
            {"role": "system", "content": "Three."},
        ],
    )

    assert ["One.", "Two."] == [block["text"] for block in request.body["system"]]
    assert ["user", "system"] == [message["role"] for message in request.messages]


def test_only_instructions() -> None:
    """A request of instructions only is still answered: they become the message."""
    request = decode(instructions="Say hello.", input=[])

    assert [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}] == request.messages
    assert "system" not in request.body


def test_the_items_of_an_answer() -> None:
    """Thinking, text and calls of one answer are one message, in their order; so are the results."""
    encrypted = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "ccr.sig"},
        {"type": "reasoning", "summary": [], "encrypted_content": "ccr-hidden.data"},
    ]
    got = messages(
        USER,
        *encrypted,
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "a", "name": "Bash", "arguments": '{"command": "ls"}'},
        {"type": "function_call", "call_id": "b", "name": "close", "namespace": "agents", "arguments": ""},
        {"type": "function_call", "call_id": "c", "name": "get", "namespace": "mcp__web__", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "d", "name": "Patch", "input": "*** Begin"},
        {"type": "function_call_output", "call_id": "a", "output": "x"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "y"}]},
        {"type": "function_call_output", "call_id": "c", "output": ""},
        {"type": "custom_tool_call_output", "call_id": "d", "output": "z"},
        {"role": "user", "content": "And now?"},
    )

    assert [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
                {"type": "redacted_thinking", "data": "data"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "a", "name": "Bash", "input": {"command": "ls"}},
                {"type": "tool_use", "id": "b", "name": "agents__close", "input": {}},
                {"type": "tool_use", "id": "c", "name": "mcp__web__get", "input": {}},
                {"type": "tool_use", "id": "d", "name": "Patch", "input": {"input": "*** Begin"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "x"},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "y"}]},
                {"type": "tool_result", "tool_use_id": "c", "content": ""},
                {"type": "tool_result", "tool_use_id": "d", "content": "z"},
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    ] == got[1:]


def test_results_of_two_answers_stay_apart() -> None:
    """Results belong to the answer before them."""
    turn: list[JSON] = [
        {"type": "function_call", "call_id": "a", "name": "Bash", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "x"},
    ]

    got = messages(USER, *turn, *turn)

    assert ["user", "assistant", "user", "assistant", "user"] == [message["role"] for message in got]


def test_thinking_of_another_service() -> None:
    """What another service has encrypted is left out and noted; its summary has no signature."""
    summary = [{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "So."}]
    foreign = {"type": "reasoning", "encrypted_content": "gAAAA"}
    raw = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Raw."}]}
    request = decode(input=[USER, {**foreign, "summary": summary}, {**foreign, "summary": []}, raw])

    assert [
        {"type": "thinking", "thinking": "Hm.\n\nSo.", "signature": ""},
        {"type": "thinking", "thinking": "Raw.", "signature": ""},
    ] == request.messages[1]["content"]
    assert {"thinking": "2 reasoning items are encrypted by another service"} == dict(request.notes)


def test_hosted_calls_are_left_out() -> None:
    """What a service ran itself is told by the text behind it; a note says that the item is left out."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    request = decode(input=[USER, search, search, {"role": "assistant", "content": "Found."}, USER])

    assert ["user", "assistant", "user"] == [message["role"] for message in request.messages]
    assert {"responses": "items left out: web_search_call"} == dict(request.notes)


def test_media() -> None:
    """Images, PDFs and texts come in as data or addresses, and keep their names."""
    text = base64.b64encode("grüße".encode()).decode()
    (message,) = messages(
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
                {"type": "input_image", "image_url": "https://h/a.png"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
                {"type": "input_file", "file_data": "JVBERi0=", "filename": "b.pdf"},
                {"type": "input_file", "file_url": "https://h/c.pdf"},
                {"type": "input_file", "file_data": f"data:text/csv;base64,{text}"},
            ],
        }
    )

    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    assert [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "image", "source": {"type": "url", "url": "https://h/a.png"}},
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "document", "source": pdf, "title": "b.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://h/c.pdf"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "grüße"}},
    ] == message["content"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_output_tokens": 5}, {"max_tokens": 5}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"stream": True}, {"stream": True}),
        ({"user": "u1", "safety_identifier": "s1"}, {"metadata": {"user_id": "s1"}}),
        (
            {"reasoning": {"effort": "high", "summary": "auto"}},
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
        ),
        (
            {"reasoning": {"effort": "low"}},
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
        ),
        ({"reasoning": {"effort": "none"}}, {"thinking": {"type": "disabled"}}),
        ({"reasoning": {"effort": None, "summary": "auto"}}, {}),
        ({"text": {"format": {"type": "text"}, "verbosity": "medium"}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"system": [{"type": "text", "text": JSON_ONLY}]}),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}}},
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
        (
            {
                "tools": [
                    {
                        "type": "web_search",
                        "filters": {"allowed_domains": ["h"]},
                        "user_location": {"type": "approximate", "city": "Rome", "region": None},
                    }
                ],
                "tool_choice": {"type": "web_search"},
            },
            {
                "tools": [
                    {
                        "type": "web_search_20250305",
                        "name": "web_search",
                        "allowed_domains": ["h"],
                        "user_location": {"type": "approximate", "city": "Rome"},
                    }
                ],
                "tool_choice": {"type": "tool", "name": "web_search"},
            },
        ),
    ],
)
def test_a_field(fields: JSON, expected: JSON) -> None:
    """Each field that has a counterpart becomes it, and nothing else."""
    request = decode(**fields)

    assert () == request.notes
    assert expected == {name: value for name, value in request.body.items() if name not in ("model", "messages")}


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, True, None),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "function", "name": "Bash"}, None, {"type": "tool", "name": "Bash"}),
        ({"type": "function", "name": "get", "namespace": "web"}, None, {"type": "tool", "name": "web__get"}),
        ({"type": "custom", "name": "Patch"}, None, {"type": "tool", "name": "Patch"}),
    ],
)
def test_the_choice_among_tools(choice: Any, parallel: bool | None, expected: JSON | None) -> None:
    """Which tool must be called, and whether several may be."""
    web = {"type": "namespace", "name": "web", "tools": [{"type": "function", "name": "get"}]}
    tools = [BASH, {"type": "custom", "name": "Patch"}, web]
    body = decode(tools=tools, tool_choice=choice, parallel_tool_calls=parallel).body

    assert expected == body.get("tool_choice")


def test_allowed_tools() -> None:
    """Tools that are listed and not allowed are not offered."""
    other = {"type": "function", "name": "Other"}

    body = decode(tools=[BASH, other], tool_choice={"type": "allowed_tools", "mode": "required", "tools": [other]}).body

    assert (["Other"], {"type": "any"}) == ([tool["name"] for tool in body["tools"]], body["tool_choice"])


def test_names_of_tools() -> None:
    """Tools in a namespace and those whose input is a text are remembered as the client names them."""
    form = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    request = decode(
        tools=[
            BASH,
            {"type": "custom", "name": "Patch", "description": "Patches.", "format": form},
            {
                "type": "namespace",
                "name": "mcp__web__",
                "tools": [
                    {"type": "function", "name": "get", "defer_loading": True},
                    {"type": "custom", "name": "put"},
                ],
            },
        ]
    )

    assert ["Bash", "Patch", "mcp__web__get", "mcp__web__put"] == [tool["name"] for tool in request.tools]
    assert {
        "Patch": ToolName("Patch", None, True),
        "mcp__web__get": ToolName("get", "mcp__web__"),
        "mcp__web__put": ToolName("put", "mcp__web__", True),
    } == request.names
    assert "lark grammar:\nstart: WORD" in request.tools[1]["description"]


def test_hosted_tools_are_left_out() -> None:
    """Tools that only OpenAI runs are left out, and so is a search that must not reach the web."""
    request = decode(tools=[BASH, {"type": "image_generation"}, {"type": "web_search", "external_web_access": False}])

    assert ["Bash"] == [tool["name"] for tool in request.tools]
    assert {"tools": "hosted tools left out: image_generation, web_search without access to the web"} == dict(
        request.notes
    )


def test_thinking_and_a_forced_call() -> None:
    """The Messages API refuses the two together, so the level goes alone, and a note says so."""
    request = decode(tools=[BASH], tool_choice="required", reasoning={"effort": "high"})

    assert "thinking" not in request.body
    assert {"effort": "high"} == request.body["output_config"]
    assert ["thinking"] == [key for key, _ in request.notes]


def test_notes() -> None:
    """What has no counterpart is named in a note; what asks for nothing is not."""
    request = decode(
        store=False,
        include=["reasoning.encrypted_content"],
        truncation="disabled",
        service_tier="auto",
        max_tool_calls=3,
        metadata={"a": "b"},
        text={"verbosity": "low"},
        reasoning={"effort": "minimal", "summary": "auto"},
    )

    assert [
        ("thinking", "the level minimal became low, the lowest of the Messages API"),
        ("responses", "text.verbosity left out: low"),
        ("responses", "fields without a counterpart left out: max_tool_calls, metadata"),
    ] == [*request.notes]
    assert {"metadata", "text", "reasoning"} == request.echo.keys()


@pytest.mark.parametrize(
    ("headers", "fields", "expected"),
    [
        ({"session-id": "a", "thread-id": "t"}, {"prompt_cache_key": "b"}, "a"),
        ({"session_id": "a"}, {}, "a"),
        ({"conversation_id": "a"}, {}, "a"),
        ({}, {"prompt_cache_key": "b"}, "b"),
        ({}, {"user": "somebody"}, None),
    ],
)
def test_the_session(headers: dict[str, str], fields: JSON, expected: str | None) -> None:
    """The conversation is known by what the client calls it; a person is no conversation."""
    assert expected == decode(headers, **fields).hints.session


def item(**fields: Any) -> JSON:
    return {"input": [fields]}


def part(**fields: Any) -> JSON:
    return item(role="user", content=[fields])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": 5}, "model: must be a string"),
        ({"input": None}, "input: is required"),
        ({"input": []}, "input: must hold at least one message"),
        ({"input": 5}, "input: must be a string or a list of items"),
        ({"input": [5]}, "input[0]: must be an object"),
        ({"instructions": 5}, "instructions: must be a string"),
        ({"previous_response_id": "resp_1"}, "previous_response_id: this router keeps nothing between requests"),
        ({"conversation": "conv_1"}, "conversation: this router keeps nothing"),
        ({"prompt": {"id": "p"}}, "prompt: this router keeps nothing"),
        ({"background": True}, "background: answers are given at once"),
        ({"top_logprobs": 2}, "top_logprobs: "),
        (item(role="robot", content=""), "input[0].role: "),
        (item(type="item_reference", id="x"), "input[0]: this router keeps nothing between requests"),
        (item(type="compaction", encrypted_content="x"), 'input[0].type: items of type "compaction"'),
        (item(type="function_call", name="a", arguments="{}"), "input[0].call_id: must be a string"),
        (item(type="function_call", call_id="a", arguments="{}"), "input[0].name: must be a string"),
        (item(type="function_call", call_id="a", name="b", arguments={}), "input[0].arguments: must be a string"),
        (item(type="function_call_output", output="x"), "input[0].call_id: must be a string"),
        (item(type="function_call_output", call_id="a", output=5), "input[0].output: must be a string or a list"),
        (item(role="developer", content=[{"type": "input_image", "image_url": "https://h"}]), "not supported here"),
        (part(type="input_audio"), 'input[0].content[0].type: parts of type "input_audio"'),
        (part(type="input_text"), "input[0].content[0].text: must be a string"),
        (part(type="input_image", file_id="f"), "input[0].content[0].image_url: is required"),
        (part(type="input_image", image_url="file:///etc/passwd"), "must be an http, https or data URL"),
        (part(type="input_file", file_id="f"), "input[0].content[0].file_data: is required"),
        (part(type="input_file", file_data="data:video/mp4;base64,AA"), 'files of type "video/mp4"'),
        ({"stream": "yes"}, "stream: must be true or false"),
        ({"max_output_tokens": 0}, "max_output_tokens: must be at least 1"),
        ({"temperature": "hot"}, "temperature: must be a number"),
        ({"tools": 5}, "tools: must be a list"),
        ({"tools": [{}]}, "tools[0].type: must be a string"),
        ({"tools": [{"type": "function"}]}, "tools[0].name: must be a string"),
        ({"tools": [{"type": "namespace", "name": "a"}]}, "tools[0].tools: must be a list"),
        ({"tools": [{"type": "namespace", "name": "a", "tools": [{"type": "function"}]}]}, "tools[0].tools[0].name: "),
        ({"tools": [{"type": "function", "name": "a", "parameters": []}]}, "tools[0].parameters: must be an object"),
        ({"tool_choice": "some"}, "tool_choice: must be"),
        ({"tool_choice": {"type": "function", "name": "No"}}, 'there is no tool "No"'),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice: must name"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls: must be true or false"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort: must be one of none, minimal"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type: "),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema: must be an object"),
        ({"text": 5}, "text: must be an object"),
        ({"user": 5}, "user: must be a string"),
    ],
)
def test_a_wrong_request(fields: JSON, words: str) -> None:
    """What is wrong is refused, and the message begins with its place."""
    with pytest.raises(RequestError) as caught:
        decode(**fields)

    assert 400 == caught.value.status
    assert words in caught.value.message
