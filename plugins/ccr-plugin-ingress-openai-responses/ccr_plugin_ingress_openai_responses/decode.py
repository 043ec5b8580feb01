"""A Responses request to a canonical one.

The router keeps nothing between requests, so whatever refers to something stored is refused.  What would change the
answer and cannot be had is refused too, with the place; what only tunes or accounts for it is left out and noted.
Source of the shapes: OpenAI's API reference and observed requests of Codex, 2026.
"""

from __future__ import annotations

from typing import Any

from ccr_plugin_ingress_openai_chat.decode import JSON_ONLY, hints_with_session, level_of, thinking_fields, typed

from ccr_core import JSON, Headers, RequestError, parse_arguments

from .content import blocks_of_content
from .request import ResponsesRequest
from .thoughts import thinking_of
from .tools import Tools, flat_name

_ECHO = (
    "metadata",
    "temperature",
    "top_p",
    "max_output_tokens",
    "parallel_tool_calls",
    "tool_choice",
    "reasoning",
    "text",
    "user",
    "safety_identifier",
    "prompt_cache_key",
)
"""The fields that the answer repeats."""

_READ = frozenset(
    {
        *_ECHO,
        "model",
        "input",
        "instructions",
        "stream",
        "stream_options",
        "tools",
        "include",
        "previous_response_id",
        "conversation",
        "background",
        "prompt",
        "top_logprobs",
        "client_metadata",
    }
) - {"metadata"}
"""The fields that are read here.  Others are left out and noted, unless they ask for nothing."""

_NOTHING: tuple[Any, ...] = (None, 0, 0.0, False, "", [], {}, "auto", "default", "disabled")
"""Values by which a field that is left out asks for nothing."""

_STORED = {
    "previous_response_id": "send the whole conversation in input",
    "conversation": "send the whole conversation in input",
    "prompt": "send the text in instructions and input",
}
"""Fields that refer to something stored, and what to do instead."""

_HOSTED = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_list_tools",
        "mcp_call",
    }
)
"""Items for what a service has run itself.  Their outcome is in the text that follows them."""


def decode(body: JSON, headers: Headers) -> ResponsesRequest:
    """``body`` as a canonical request; ``RequestError`` (400) with the place of what is wrong or cannot be had."""
    _refuse(body)
    notes: list[tuple[str, Any]] = []
    canonical: JSON = {}
    if body.get("model") is not None:
        canonical["model"] = typed(body["model"], str, "model", "a string")
    conversation = _Conversation(notes)
    conversation.read(body.get("instructions"), body.get("input"))
    form, instruction = _format(body.get("text"))
    if instruction:
        conversation.system.append({"type": "text", "text": instruction})
    canonical["messages"] = conversation.finished()
    if conversation.system:
        canonical["system"] = conversation.system
    canonical.update(_limits(body))
    tools = Tools(notes)
    tools.read(body.get("tools"))
    choice = tools.choice(body.get("tool_choice"), body.get("parallel_tool_calls"))
    if tools.tools:
        canonical["tools"] = tools.tools
        if choice:
            canonical["tool_choice"] = choice
    canonical.update(_thinking(body, form, choice.get("type") in ("any", "tool"), notes))
    user = body.get("safety_identifier") or body.get("user")
    if user is not None:
        canonical["metadata"] = {"user_id": typed(user, str, "user", "a string")}
    if typed(body.get("stream"), bool | None, "stream", "true or false"):
        canonical["stream"] = True
    left = sorted(name for name, value in body.items() if name not in _READ and value not in _NOTHING)
    if left:
        notes.append(("responses", f"fields without a counterpart left out: {', '.join(left)}"))
    return ResponsesRequest(
        canonical,
        headers,
        hints_with_session(canonical, headers, body.get("prompt_cache_key")),
        "responses",
        names=tools.names,
        echo={name: body[name] for name in _ECHO if body.get(name) is not None},
        notes=tuple(notes),
    )


def _refuse(body: JSON) -> None:
    """Raise ``RequestError`` for a wish that cannot be granted and would be missed in the answer."""
    for name, instead in _STORED.items():
        if body.get(name) is not None:
            raise RequestError(f"{name}: this router keeps nothing between requests; {instead}")
    if body.get("background"):
        raise RequestError("background: answers are given at once, they cannot be fetched later")
    if body.get("top_logprobs"):
        raise RequestError("top_logprobs: are not available through this router")


def _limits(body: JSON) -> JSON:
    fields: JSON = {}
    tokens = typed(body.get("max_output_tokens"), int | None, "max_output_tokens", "a whole number")
    if tokens is not None:
        if tokens < 1:
            raise RequestError("max_output_tokens: must be at least 1")
        fields["max_tokens"] = tokens
    for name in ("temperature", "top_p"):
        value = typed(body.get(name), float | int | None, name, "a number")
        if value is not None:
            fields[name] = value
    return fields


def _format(text: Any) -> tuple[JSON | None, str]:
    """The output format, and the instruction where there is only that."""
    given = (typed(text, dict | None, "text", "an object") or {}).get("format")
    if given is None:
        return None, ""
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None, ""
    if kind == "json_object":
        return None, JSON_ONLY
    if kind != "json_schema":
        raise RequestError(f'text.format.type: must be "text", "json_object" or "json_schema", got {kind!r}')
    if not isinstance(given.get("schema"), dict):
        raise RequestError("text.format.schema: must be an object")
    return {"type": "json_schema", "schema": given["schema"]}, ""


def _thinking(body: JSON, form: JSON | None, forced: bool, notes: list[tuple[str, Any]]) -> JSON:
    """The fields ``thinking`` and ``output_config``."""
    config: JSON = {"format": form} if form else {}
    thinking: JSON = {}
    given = typed(body.get("reasoning"), dict | None, "reasoning", "an object") or {}
    effort = given.get("effort")
    if effort == "none":
        thinking = {"type": "disabled"}
    elif effort is not None:
        config["effort"] = level_of(effort, "reasoning.effort", notes)
        shown = (given.get("summary") or given.get("generate_summary")) not in (None, "none")
        thinking = {"type": "adaptive", "display": "summarized" if shown else "omitted"}
    verbosity = (body.get("text") or {}).get("verbosity")
    if verbosity not in (None, "medium"):
        notes.append(("responses", f"text.verbosity left out: {verbosity}"))
    return thinking_fields(thinking, config, forced, notes)


class _Conversation:
    """The messages made so far, and the system prompt: what is said before the first other message.

    An answer is several items (thinking, text, calls), which are one message here; so are the results of its calls.
    """

    def __init__(self, notes: list[tuple[str, Any]]) -> None:
        self.system: list[JSON] = []
        self._notes = notes
        self._messages: list[JSON] = []
        self._open = ""
        """What may still be added to the last message: ``answer``, ``results``, or nothing."""
        self._foreign = 0
        self._hosted: list[str] = []

    def read(self, instructions: Any, given: Any) -> None:
        if not isinstance(instructions, str | None):
            raise RequestError("instructions: must be a string")
        if instructions:
            self.system.append({"type": "text", "text": instructions})
        if isinstance(given, str):
            self._add("user", blocks_of_content(given, "input"))
            return
        if given is None:
            raise RequestError("input: is required")
        if not isinstance(given, list):
            raise RequestError("input: must be a string or a list of items")
        for place, item in enumerate(given):
            where = f"input[{place}]"
            if not isinstance(item, dict):
                raise RequestError(f"{where}: must be an object")
            self._item(item, where)
        if self._foreign:
            self._notes.append(("thinking", f"{self._foreign} reasoning items are encrypted by another service"))
        if self._hosted:
            self._notes.append(("responses", f"items left out: {', '.join(dict.fromkeys(self._hosted))}"))

    def finished(self) -> list[JSON]:
        if not self._messages:
            # Only instructions: the Messages API wants a message, and an answer to them is what is asked for.
            if not self.system:
                raise RequestError("input: must hold at least one message that is not empty")
            self._add("user", self.system)
            self.system = []
        return self._messages

    def _add(self, role: str, blocks: list[JSON], still: str = "") -> None:
        """Add ``blocks``, to the last message if it is ``still`` of that kind."""
        if not blocks:
            return
        if still and still == self._open:
            self._messages[-1]["content"] += blocks
        else:
            self._messages.append({"role": role, "content": blocks})
        self._open = still

    def _item(self, item: JSON, where: str) -> None:
        kind = item.get("type", "message")
        if kind == "message":
            self._message(item, where)
        elif kind in ("function_call", "custom_tool_call"):
            self._add("assistant", [_call(item, where, kind == "custom_tool_call")], "answer")
        elif kind in ("function_call_output", "custom_tool_call_output"):
            output = item.get("output")
            told = output if isinstance(output, str) else blocks_of_content(output, f"{where}.output")
            call = typed(item.get("call_id"), str, f"{where}.call_id", "a string")
            self._add("user", [{"type": "tool_result", "tool_use_id": call, "content": told}], "results")
        elif kind == "reasoning":
            block, foreign = thinking_of(item)
            self._foreign += foreign
            self._add("assistant", [block] if block else [], "answer")
        elif kind in _HOSTED:
            self._hosted.append(kind)
        elif kind == "item_reference":
            raise RequestError(f"{where}: this router keeps nothing between requests; send the item itself")
        else:
            raise RequestError(f'{where}.type: items of type "{kind}" are not supported by this router')

    def _message(self, item: JSON, where: str) -> None:
        role = item.get("role")
        if role not in ("system", "developer", "user", "assistant"):
            raise RequestError(f'{where}.role: must be "system", "developer", "user" or "assistant"')
        blocks = blocks_of_content(item.get("content"), f"{where}.content", media=role == "user")
        if role == "user":
            self._add("user", blocks)
        elif role == "assistant":
            self._add("assistant", blocks, "answer")
        elif self._messages:
            self._add("system", blocks)
        else:
            self.system += blocks


def _call(item: JSON, where: str, custom: bool) -> JSON:
    name = typed(item.get("name"), str, f"{where}.name", "a string")
    field = "input" if custom else "arguments"
    given = typed(item.get(field), str | None, f"{where}.{field}", "a string") or ""
    return {
        "type": "tool_use",
        "id": typed(item.get("call_id"), str, f"{where}.call_id", "a string"),
        "name": flat_name(name, item.get("namespace")),
        "input": {"input": given} if custom else parse_arguments(given),
    }
