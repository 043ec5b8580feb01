"""Bodies of requests for tests: short ones, and long ones of the shape that Claude Code sends.

All texts are made up; the shapes are those of observed requests (``docs/testing.md`` lists what is in them).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ccr_core.messages import JSON, Request, hints_of

SESSION = "5e551074-0000-4000-8000-000000000001"
"""The session id in :func:`claude_code_request` and :func:`claude_code_headers` unless another is given."""

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG of one pixel, base64."""


def ask(
    text: str = "hello",
    *,
    tools: Sequence[str | JSON] = (),
    stream: bool = True,
    model: str = "acme,big",
    **fields: Any,
) -> JSON:
    """A short request body: one user message.  ``tools`` are names or whole definitions; ``fields`` are added."""
    body: JSON = {"model": model, "max_tokens": 1024, "messages": [{"role": "user", "content": text}]}
    if tools:
        body["tools"] = [tool(given) if isinstance(given, str) else given for given in tools]
    if stream:
        body["stream"] = True
    return {**body, **fields}


def tool(name: str, description: str = "", **properties: JSON) -> JSON:
    """The definition of a tool; ``properties`` are JSON schemas, all required."""
    schema: JSON = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description or f"Does {name}.", "input_schema": schema}


def as_request(body: JSON, headers: Mapping[str, str] | None = None) -> Request:
    """``body`` as the canonical request that the Messages ingress makes of it."""
    headers = headers or {}
    return Request(body, headers, hints_of(body, headers))


def claude_code_headers(
    *, session: str = SESSION, request_class: str | None = None, agent_id: str | None = None
) -> dict[str, str]:
    """Headers as Claude Code sends them; ``request_class`` is the hint ``main``, ``subagent``, ``auxiliary`` …"""
    headers = {
        "accept": "application/json",
        "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
        "anthropic-dangerous-direct-browser-access": "true",
        "anthropic-version": "2023-06-01",
        "authorization": "Bearer test-token",
        "content-type": "application/json",
        "user-agent": "claude-cli/2.1.330 (external, sdk-cli)",
        "x-app": "cli",
        "x-claude-code-session-id": session,
        "x-stainless-lang": "js",
        "x-stainless-retry-count": "0",
        "x-stainless-timeout": "600",
    }
    if request_class is not None:
        headers["x-claude-code-request-class"] = request_class
    if agent_id is not None:
        headers["x-claude-code-agent-id"] = agent_id
    return headers


def claude_code_request(
    text: str = "Say what this project does.",
    *,
    model: str = "acme,big",
    stream: bool = True,
    history: Sequence[JSON] = (),
    subagent: bool = False,
    system: str | None = None,
    session: str = SESSION,
    **fields: Any,
) -> JSON:
    """The body of a main request of Claude Code for a model whose family it does not know.

    It has three system blocks (accounting line, identity, prompt) with cache marks, a user message that begins with
    reminders and ends with ``text``, a message with the role ``system``, tools among which one is only a placeholder
    for those that are deferred, adaptive thinking, and the session in ``metadata``.

    ``history`` are messages that follow; see :func:`claude_code_history`.  ``system`` replaces the long prompt,
    ``subagent`` marks a sub-agent's request.  ``fields`` are added; a value of ``...`` removes a field.
    """
    accounting = "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=sdk-cli;"
    accounting += " cc_is_subagent=true;" if subagent else ""
    ephemeral = {"type": "ephemeral"}
    opening: list[JSON] = [
        {"type": "text", "text": "<system-reminder>\nThe project notes: use tabs.\n</system-reminder>\n"},
        {"type": "text", "text": text},
    ]
    messages: list[JSON] = [
        {"role": "user", "content": opening},
        {"role": "system", "content": "# Environment\nWorking directory: /home/user/project\nPlatform: linux"},
        *history,
    ]
    last = messages[-1]
    content = last["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    messages[-1] = {**last, "content": [*blocks[:-1], {**blocks[-1], "cache_control": ephemeral}]}
    body: JSON = {
        "model": model,
        "messages": messages,
        "system": [
            {"type": "text", "text": accounting},
            {"type": "text", "text": "You are a coding assistant for the command line.", "cache_control": ephemeral},
            {"type": "text", "text": system or _PROMPT, "cache_control": ephemeral},
        ],
        "tools": claude_code_tools(),
        "metadata": {"user_id": json.dumps({"device_id": "0" * 64, "account_uuid": "", "session_id": session})},
        "max_tokens": 32000,
        "thinking": {"type": "adaptive", "display": "omitted" if subagent else "updates"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": stream,
        **fields,
    }
    return {name: value for name, value in body.items() if value is not ...}


_PROMPT = "\n".join(
    f"# Rule {number}\nPrefer the simple way; say what you did; ask before you delete something.\n"
    for number in range(1, 60)
)


def claude_code_tools() -> list[JSON]:
    """The tools of :func:`claude_code_request`, with what makes their schemas hard for other providers."""
    draft = "https://json-schema.org/draft/2020-12/schema"

    def define(name: str, properties: JSON, required: Sequence[str], **more: Any) -> JSON:
        schema = {
            "$schema": draft,
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
        }
        return {"name": name, "description": f"{name}: made-up description.\n" * 20, "input_schema": schema, **more}

    return [
        define(
            "Agent",
            {"prompt": {"type": "string"}, "model": {"type": "string", "enum": ["haiku", "sonnet", "opus"]}},
            ["prompt"],
        ),
        define(
            "Bash",
            {
                "command": {"type": "string"},
                "timeout": {"type": "number", "exclusiveMinimum": 0},
                "run_in_background": {"type": "boolean", "default": False},
            },
            ["command"],
        ),
        define(
            "Edit",
            {"file_path": {"type": "string"}, "old_string": {"type": "string"}, "new_string": {"type": "string"}},
            ["file_path", "old_string", "new_string"],
        ),
        define(
            "Read",
            {
                "file_path": {"type": "string"},
                "pages": {"type": "string", "pattern": "^[0-9]+(-[0-9]+)?$", "maxLength": 20},
                "limit": {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]},
            },
            ["file_path"],
        ),
        define(
            "Schedule",
            {
                "when": {"allOf": [{"type": "string", "format": "date-time"}]},
                "labels": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}},
                "kind": {"const": "once"},
            },
            ["when"],
        ),
        define("ToolSearch", {"query": {"type": "string"}}, ["query"]),
        define("DeferredToolPlaceholder", {}, [], defer_loading=True),
        define("Write", {"file_path": {"type": "string"}, "content": {"type": "string"}}, ["file_path", "content"]),
    ]


def claude_code_history() -> list[JSON]:
    """Messages with every kind of block that a conversation of Claude Code replays."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}

    def call(ident: str, name: str, **arguments: Any) -> JSON:
        return {"type": "tool_use", "id": ident, "name": name, "input": arguments}

    def result(ident: str, content: Any, **more: Any) -> JSON:
        return {"type": "tool_result", "tool_use_id": ident, "content": content, **more}

    return [
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Look first.", "signature": "c2lnbmF0dXJl"},
                {"type": "text", "text": "I look at two files."},
                call("toolu_01", "Read", file_path="/home/user/project/a.py"),
                call("toolu_02", "Read", file_path="/home/user/project/logo.png"),
            ],
        },
        {
            "role": "user",
            "content": [
                result("toolu_01", "print('grüße')"),
                result("toolu_02", [{"type": "text", "text": "a picture"}, image]),
                {"type": "text", "text": "<system-reminder>\nThe user opened a.py.\n</system-reminder>"},
            ],
        },
        {"role": "assistant", "content": [call("toolu_03", "ToolSearch", query="fetch")]},
        {
            "role": "user",
            "content": [result("toolu_03", [{"type": "tool_reference", "tool_name": "WebFetch"}])],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"},
                {
                    "type": "tool_use",
                    "id": "toolu_04",
                    "name": "Bash",
                    "input": {"__unparsedToolInput": {"raw": '{"command": "ls', "len": 15}},
                },
            ],
        },
        {"role": "user", "content": [result("toolu_04", "the arguments were no JSON", is_error=True)]},
        {"role": "system", "content": "The user has changed a.py."},
        {"role": "assistant", "content": "Here is a page."},
        {"role": "user", "content": [document, image, {"type": "text", "text": "And this?"}]},
        {"role": "user", "content": "Go on."},
    ]
