"""Requests reduced to what compatible services know."""

from __future__ import annotations

import json
from typing import Any

from ccr_plugin_anthropic.clean import FIELDS, fold_system
from ccr_plugin_anthropic.dialect import Anthropic, AnthropicOptions

from ccr_core import JSON, Context, Request, Target
from ccr_core.testing import ask, claude_code_headers, claude_code_history, claude_code_request

MARK = {"type": "ephemeral"}


def clean(body: JSON, headers: dict[str, str] | None = None, **options: Any) -> tuple[JSON, dict[str, str], str]:
    """Body and headers as a compatible service gets them, and what was noted."""
    notes: list[str] = []
    target = Target(
        provider="p", model="glm-5", base_url="https://api.example/v1", options=AnthropicOptions(clean=True, **options)
    )
    before = json.dumps(body)
    ctx = Context(exchange_id="1", target=target, note=lambda key, value: notes.append(value))
    wire = Anthropic().encode(Request(body, headers or {}), ctx)
    assert before == json.dumps(body)
    assert wire.body is not None
    return wire.body, dict(wire.headers), "; ".join(notes)


def message(*content: JSON, role: str = "user") -> JSON:
    """A request whose message has ``content``."""
    return ask(messages=[{"role": role, "content": list(content)}, {"role": "user", "content": "go on"}])


def content(*blocks: JSON, **options: Any) -> list[JSON]:
    """What is left of the content of a message."""
    return clean(message(*blocks), **options)[0]["messages"][0]["content"]  # type: ignore[no-any-return]


def test_a_request_of_claude_code() -> None:
    """Of a whole conversation only known fields, roles, blocks and tools are left, and the rest is named."""
    body = claude_code_request(history=claude_code_history())

    sent, headers, noted = clean(body, claude_code_headers())

    assert set(sent) <= FIELDS
    assert {"user", "assistant"} == {one["role"] for one in sent["messages"]}
    assert {frozenset({"role", "content"})} == {frozenset(one) for one in sent["messages"]}
    blocks = [block for one in sent["messages"] if isinstance(one["content"], list) for block in one["content"]]
    assert {"text", "image", "tool_use", "tool_result", "thinking"} == {block["type"] for block in blocks}
    assert {"type": "adaptive"} == sent["thinking"]
    assert ["You are", "# Rule "] == [block["text"][:7] for block in sent["system"]]
    assert {"name", "description", "input_schema"} == {field for tool in sent["tools"] for field in tool}
    assert "DeferredToolPlaceholder" not in {tool["name"] for tool in sent["tools"]}
    assert "anthropic-beta" not in headers
    for name in (
        "metadata",
        "context_management",
        "output_config",
        "thinking.display",
        "billing line",
        "document block",
    ):
        assert name in noted
    assert "beta names" in noted


def test_what_the_provider_takes_besides() -> None:
    """Fields, betas and documents that the options name are sent."""
    body = {**claude_code_request(), "betas": ["x-1"]}

    sent, headers, _ = clean(body, claude_code_headers(), fields=("output_config", "metadata"), betas=("x-1",))

    assert (body["output_config"], body["metadata"]) == (sent["output_config"], sent["metadata"])
    assert "x-1" == headers["anthropic-beta"]


def test_a_plain_request_stays() -> None:
    """What every service knows is not touched, and nothing is noted."""
    body = ask(
        tools=["x"],
        tool_choice={"type": "tool", "name": "x"},
        system="be brief",
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        stop_sequences=["x"],
    )

    sent, _, noted = clean(body)

    assert ({**body, "model": "glm-5"}, "") == (sent, noted)


def test_server_tools() -> None:
    """Tools that run at Anthropic go, and a choice of them; what is left of others is what all know."""
    own = {"type": "custom", "name": "x", "description": "d", "input_schema": {"type": "object"}, "strict": True}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}

    sent, _, noted = clean(
        ask(tools=[{**own, "cache_control": MARK}, search], tool_choice={"type": "tool", "name": "web_search"})
    )
    without, _, _ = clean(ask(tools=[search], tool_choice={"type": "auto"}))

    assert [{"name": "x", "description": "d", "input_schema": {"type": "object"}, "cache_control": MARK}] == sent[
        "tools"
    ]
    assert "tool_choice" not in sent
    assert "server tool web_search, tool_choice web_search" in noted
    assert set() == {"tools", "tool_choice"} & without.keys()


def test_blocks_in_words() -> None:
    """Blocks that others do not know are put into words where that means something, and left out where not."""
    given: list[JSON] = [
        {"type": "text", "text": "a", "citations": [], "cache_control": MARK},
        {"type": "text", "text": ""},
        {"type": "search_result", "title": "T", "source": "u", "content": [{"type": "text", "text": "found"}]},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"title": "T", "url": "u"}]},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"type": "error"}},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
        {"type": "mcp_tool_result", "tool_use_id": "m", "content": [{"type": "text", "text": "r"}]},
        {"type": "compaction", "content": "so far"},
        {"type": "container_upload", "file_id": "f"},
        {"type": "redacted_thinking", "data": "x"},
    ]

    sent, _, noted = clean(message(*given))

    assert [
        {"type": "text", "text": "a", "cache_control": MARK},
        {"type": "text", "text": "T (u)\nfound"},
        {"type": "text", "text": "Results of a web search:\n- T: u"},
        {"type": "text", "text": '[used web_search: {"query":"q"}]'},
        {"type": "text", "text": "Result of a tool:\nr"},
        {"type": "text", "text": "so far"},
    ] == sent["messages"][0]["content"]
    assert "container_upload block, redacted_thinking block" in noted


def test_documents() -> None:
    """Documents whose text is at hand are sent as text; others by name; all as they are where they can be read."""
    pdf = {"type": "document", "title": "P", "source": {"type": "base64", "media_type": "application/pdf", "data": "x"}}
    plain = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}
    parts = {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "part"}]}}

    assert ["[P (application/pdf) cannot be read here]", "document:\nwords", "document:\npart"] == [
        block["text"] for block in content(pdf, plain, parts)
    ]
    assert [pdf, plain] == content(pdf, plain, documents=True)


def test_results() -> None:
    """Inside results of tools the same holds, and no result is empty."""
    image = {"type": "image", "source": {"type": "url", "url": "u"}}

    def result(inside: Any) -> Any:
        return content({"type": "tool_result", "tool_use_id": "t", "content": inside, "is_error": True, "x": 1})[0]

    assert {"type": "tool_result", "tool_use_id": "t", "content": "plain", "is_error": True} == result("plain")
    assert [image] == result([image])["content"]
    assert [{"type": "text", "text": "The tool WebFetch can now be called."}] == result(
        [{"type": "tool_reference", "tool_name": "WebFetch"}]
    )["content"]
    assert "(no output)" == result([{"type": "container_upload"}])["content"]


def test_messages_are_never_empty() -> None:
    """A message of which nothing is left goes, visibly."""
    sent, _, noted = clean(message({"type": "redacted_thinking", "data": "x"}, role="assistant"))

    assert ["user"] == [one["role"] for one in sent["messages"]]
    assert "empty message" in noted


SYSTEM = {"role": "system", "content": "note"}
NOTE = {"type": "text", "text": "<system-reminder>\nnote\n</system-reminder>"}


def test_system_behind_the_users_words() -> None:
    """A system message goes to the end of the user message before it, with its cache mark."""
    marked = {"role": "system", "content": [{"type": "text", "text": "note", "cache_control": MARK}]}

    assert [{"role": "user", "content": [{"type": "text", "text": "hi"}, NOTE, {**NOTE, "cache_control": MARK}]}] == (
        fold_system([{"role": "user", "content": "hi"}, SYSTEM, marked])
    )


def test_system_behind_an_answer() -> None:
    """Behind an answer it goes into the next user message, but not before results of tools."""
    answer = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "x", "input": {}}]}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
    words = {"type": "text", "text": "words"}

    folded = fold_system([answer, SYSTEM, {"role": "user", "content": [result, words]}])

    assert [answer, {"role": "user", "content": [result, NOTE, words]}] == folded


def test_system_at_the_ends() -> None:
    """At the very beginning it joins the first user message; behind the last answer it is one of its own."""
    answer = {"role": "assistant", "content": "yes"}

    assert [
        {"role": "user", "content": [NOTE, {"type": "text", "text": "hi"}]},
        answer,
        {"role": "user", "content": [NOTE]},
    ] == fold_system([SYSTEM, {"role": "user", "content": "hi"}, answer, SYSTEM])


def test_nothing_to_fold() -> None:
    """Conversations without system messages stay as they are."""
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]

    assert messages == fold_system(messages)
