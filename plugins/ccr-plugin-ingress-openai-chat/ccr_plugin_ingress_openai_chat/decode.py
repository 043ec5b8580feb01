"""A chat completions request to a canonical one.

What would change the answer and cannot be had is refused, with the place; what only tunes or accounts for it is left
out and noted.  Source of the shapes: OpenAI's API reference, 2026, and the fields that compatible servers added.
"""

from __future__ import annotations

from typing import Any

import attrs

from ccr_core import JSON, Headers, Hints, RequestError, hints_of, parse_arguments
from ccr_core import LEVELS as ALL_LEVELS

from .content import blocks_of_content
from .request import ChatRequest
from .thoughts import thinking_blocks
from .tools import choice_of, tools_of

SESSION_HEADERS = ("session-id", "session_id", "conversation_id", "x-session-id")
"""Headers in which clients name their conversation."""

LEVELS = ALL_LEVELS[1:]
"""Levels of ``reasoning_effort`` besides ``none``."""

_READ = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "n",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "reasoning",
        "response_format",
        "web_search_options",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "logprobs",
        "top_logprobs",
        "modalities",
        "audio",
        "functions",
        "function_call",
    }
)
"""The fields that are read here.  Others are left out and noted, unless they ask for nothing."""

_NOTHING: tuple[Any, ...] = (None, 0, 0.0, False, "", [], {}, "auto", "default")
"""Values by which a field that is left out asks for nothing."""

JSON_ONLY = "Answer with one valid JSON object and nothing else: no prose, no code fence."
"""What the format ``json_object`` becomes, for which the Messages API has no field."""


def decode(body: JSON, headers: Headers) -> ChatRequest:
    """``body`` as a canonical request; ``RequestError`` (400) with the place of what is wrong or cannot be had."""
    _refuse(body)
    notes: list[tuple[str, Any]] = []
    canonical: JSON = {}
    model = body.get("model")
    if model is not None:
        canonical["model"] = typed(model, str, "model", "a string")
    conversation = _Conversation(notes)
    conversation.read(body.get("messages"))
    form, instruction = _format(body.get("response_format"))
    if instruction:
        conversation.system.append({"type": "text", "text": instruction})
    canonical["messages"] = conversation.finished()
    if conversation.system:
        canonical["system"] = conversation.system
    canonical.update(_limits(body))
    tools, customs = tools_of(body.get("tools"), body.get("web_search_options"), notes)
    choice, tools = choice_of(body.get("tool_choice"), body.get("parallel_tool_calls"), tools)
    if tools:
        canonical["tools"] = tools
        if choice:
            canonical["tool_choice"] = choice
    forced = bool(choice) and choice["type"] in ("any", "tool")
    canonical.update(_thinking(body, form, forced, notes))
    user = body.get("safety_identifier") or body.get("user")
    if user is not None:
        canonical["metadata"] = {"user_id": typed(user, str, "user", "a string")}
    if typed(body.get("stream"), bool | None, "stream", "true or false"):
        canonical["stream"] = True
    options = typed(body.get("stream_options"), dict | None, "stream_options", "an object") or {}
    left = sorted(name for name, value in body.items() if name not in _READ and value not in _NOTHING)
    if left:
        notes.append(("chat-completions", f"fields without a counterpart left out: {', '.join(left)}"))
    return ChatRequest(
        canonical,
        headers,
        hints_with_session(canonical, headers, body.get("prompt_cache_key")),
        "chat-completions",
        usage=options.get("include_usage") is True,
        customs=customs,
        notes=tuple(notes),
    )


def hints_with_session(canonical: JSON, headers: Headers, cache_key: Any) -> Hints:
    """What the client says of the request; its conversation is named by a header, else by the key of its cache."""
    hints = hints_of(canonical, headers)
    session = next((headers[name] for name in SESSION_HEADERS if headers.get(name)), cache_key)
    return attrs.evolve(hints, session=session) if isinstance(session, str) and session else hints


def _refuse(body: JSON) -> None:
    """Raise ``RequestError`` for a wish that cannot be granted and would be missed in the answer."""
    n = body.get("n")
    if n not in (None, 1):
        raise RequestError("n: only one choice is made for a request; send n requests instead")
    if body.get("logprobs"):
        raise RequestError("logprobs: are not available through this router")
    modalities = body.get("modalities")
    if body.get("audio") is not None or (isinstance(modalities, list) and "audio" in modalities):
        raise RequestError("modalities: only text can be answered")
    for name in ("functions", "function_call"):
        if body.get(name) is not None:
            raise RequestError(f"{name}: is not supported; use tools and tool_choice, which replaced it")


def typed(value: Any, kind: Any, where: str, what: str) -> Any:
    """``value`` if it is of ``kind``; a bool is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind in (int, int | None, float | int | None)):
        raise RequestError(f"{where}: must be {what}")
    return value


def _limits(body: JSON) -> JSON:
    fields: JSON = {}
    for name in ("max_completion_tokens", "max_tokens"):
        tokens = typed(body.get(name), int | None, name, "a whole number")
        if tokens is not None and tokens < 1:
            raise RequestError(f"{name}: must be at least 1")
        if tokens is not None:
            fields.setdefault("max_tokens", tokens)
    for name in ("temperature", "top_p", "top_k"):
        value = typed(body.get(name), float | int | None, name, "a number")
        if value is not None:
            fields[name] = value
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise RequestError("stop: must be a string or a list of strings")
    stops = [text for text in stops if text]
    if stops:
        fields["stop_sequences"] = stops
    return fields


def _format(given: Any) -> tuple[JSON | None, str]:
    """The output format, and the instruction where there is only that."""
    if given is None:
        return None, ""
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None, ""
    if kind == "json_object":
        return None, JSON_ONLY
    if kind != "json_schema":
        raise RequestError(f'response_format.type: must be "text", "json_object" or "json_schema", got {kind!r}')
    wanted = given.get("json_schema")
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(schema, dict):
        raise RequestError("response_format.json_schema.schema: must be an object")
    return {"type": "json_schema", "schema": schema}, ""


def _thinking(body: JSON, form: JSON | None, forced: bool, notes: list[tuple[str, Any]]) -> JSON:
    """The fields ``thinking`` and ``output_config``."""
    config: JSON = {"format": form} if form else {}
    thinking: JSON = {}
    given = typed(body.get("reasoning"), dict | None, "reasoning", "an object") or {}
    where = "reasoning_effort" if body.get("reasoning_effort") is not None else "reasoning.effort"
    effort = body.get("reasoning_effort")
    effort = given.get("effort") if effort is None else effort
    budget = given.get("max_tokens")
    if effort == "none" or given.get("enabled") is False:
        thinking = {"type": "disabled"}
    elif effort is not None:
        config["effort"] = level_of(effort, where, notes)
        thinking = {"type": "adaptive", "display": "summarized"}
    elif isinstance(budget, int) and not isinstance(budget, bool) and budget > 0:
        thinking = {"type": "enabled", "budget_tokens": max(budget, 1024)}
    elif given.get("enabled") is True:
        thinking = {"type": "adaptive", "display": "summarized"}
    return thinking_fields(thinking, config, forced, notes)


def level_of(effort: Any, where: str, notes: list[tuple[str, Any]]) -> str:
    """The effort of the Messages API for the one at ``where``."""
    if effort not in LEVELS:
        raise RequestError(f"{where}: must be one of none, {', '.join(LEVELS)}")
    if effort == "minimal":
        notes.append(("thinking", "the level minimal became low, the lowest of the Messages API"))
        return "low"
    return str(effort)


def thinking_fields(thinking: JSON, config: JSON, forced: bool, notes: list[tuple[str, Any]]) -> JSON:
    """``thinking`` and ``output_config`` as fields of the request; ``forced``: it forces a tool call."""
    if forced and thinking.get("type") in ("adaptive", "enabled"):
        # The Messages API refuses thinking together with a forced call; the level alone it takes.
        thinking = {}
        notes.append(("thinking", "not asked for, since the request forces a tool call"))
    fields: JSON = {"thinking": thinking} if thinking else {}
    return {**fields, "output_config": config} if config else fields


class _Conversation:
    """The messages made so far, and the system prompt: what is said before the first other message."""

    def __init__(self, notes: list[tuple[str, Any]]) -> None:
        self.system: list[JSON] = []
        self._notes = notes
        self._messages: list[JSON] = []
        self._results: list[JSON] | None = None
        """The results in the last message, if it holds nothing else."""

    def read(self, messages: Any) -> None:
        if messages is None:
            raise RequestError("messages: is required")
        if not isinstance(messages, list) or not messages:
            raise RequestError("messages: must be a list with at least one message")
        for place, message in enumerate(messages):
            where = f"messages[{place}]"
            if not isinstance(message, dict):
                raise RequestError(f"{where}: must be an object")
            role = message.get("role")
            if role in ("system", "developer"):
                self._system(blocks_of_content(message.get("content"), f"{where}.content", media=False))
            elif role == "user":
                self._add("user", blocks_of_content(message.get("content"), f"{where}.content"))
                if message.get("name"):
                    self._notes.append(("chat-completions", f"{where}.name left out"))
            elif role == "assistant":
                self._add("assistant", self._assistant(message, where))
            elif role == "tool":
                self._result(message, where)
            else:
                raise RequestError(f'{where}.role: must be "system", "developer", "user", "assistant" or "tool"')

    def finished(self) -> list[JSON]:
        if not self._messages:
            # Only instructions: the Messages API wants a message, and an answer to them is what is asked for.
            if not self.system:
                raise RequestError("messages: must hold at least one message that is not empty")
            self._add("user", self.system)
            self.system = []
        return self._messages

    def _system(self, blocks: list[JSON]) -> None:
        if self._messages:
            self._add("system", blocks)
        else:
            self.system += blocks

    def _add(self, role: str, blocks: list[JSON]) -> None:
        if blocks:
            self._messages.append({"role": role, "content": blocks})
            self._results = None

    def _assistant(self, message: JSON, where: str) -> list[JSON]:
        if message.get("audio") is not None or message.get("function_call") is not None:
            name = "audio" if message.get("audio") is not None else "function_call"
            raise RequestError(f"{where}.{name}: is not supported")
        blocks = thinking_blocks(message)
        blocks += blocks_of_content(message.get("content"), f"{where}.content", media=False)
        blocks += blocks_of_content(message.get("refusal"), f"{where}.refusal", media=False)
        calls = typed(message.get("tool_calls"), list | None, f"{where}.tool_calls", "a list") or []
        return blocks + [_call(call, f"{where}.tool_calls[{place}]") for place, call in enumerate(calls)]

    def _result(self, message: JSON, where: str) -> None:
        call = message.get("tool_call_id")
        if not isinstance(call, str) or not call:
            raise RequestError(f"{where}.tool_call_id: must be a string")
        content = message.get("content")
        told = content if isinstance(content, str) else blocks_of_content(content, f"{where}.content")
        result = {"type": "tool_result", "tool_use_id": call, "content": told}
        if self._results is None:
            self._add("user", [result])
            self._results = self._messages[-1]["content"]
        else:
            # The results of one answer's calls belong into one message.
            self._results.append(result)


def _call(call: Any, where: str) -> JSON:
    if not isinstance(call, dict):
        raise RequestError(f"{where}: must be an object")
    kind = "custom" if call.get("type") == "custom" else "function"
    said = call.get(kind)
    name = said.get("name") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(name, str):
        raise RequestError(f"{where}.{kind}.name: must be a string")
    if not isinstance(call.get("id"), str) or not call["id"]:
        raise RequestError(f"{where}.id: must be a string")
    given = said.get("input" if kind == "custom" else "arguments")
    if given is not None and not isinstance(given, str):
        raise RequestError(f"{where}.{kind}.{'input' if kind == 'custom' else 'arguments'}: must be a string")
    made = {"input": given or ""} if kind == "custom" else parse_arguments(given or "")
    return {"type": "tool_use", "id": call["id"], "name": name, "input": made}
