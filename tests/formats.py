"""The formats of providers for tests over all of them: how to reach each, who judges its bodies, what it answers.

A format here is a dialect at one service; two services of one dialect count as two, for what one has signed or
encrypted is nothing to the other.
"""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import anthropic.types.beta.message_create_params as anthropic_params
import attrs
import openai.types.chat.completion_create_params as chat_params
import openai.types.responses.response_create_params as responses_params
from google.genai import types
from pydantic import TypeAdapter

from ccr_core import JSON, Context, Dialect, Target, explode
from ccr_core.config import Problems, structure
from ccr_core.plugins import load
from ccr_core.testing import message, sse, standins, to_wire

NAMES = ("anthropic", "openai-chat", "openai-responses", "gemini", "vertex")
MODULES: list[ModuleType] = [importlib.import_module(f"ccr_plugin_{name.replace('-', '_')}") for name in NAMES]
PLUGINS: list[Any] = [*MODULES, standins.rule]
DIALECTS: dict[str, Dialect] = {name: found.value for name, found in load(MODULES).dialects.items()}


@attrs.frozen(kw_only=True)
class Format:
    """A dialect at a service.  ``secret`` is what it signs or encrypts its thoughts with.

    Services of one ``family`` read each other's thoughts; most are a family of their own.
    """

    name: str
    dialect: str
    url: str
    model: str
    secret: str
    options: JSON = attrs.Factory(dict)
    family: str = attrs.Factory(lambda self: self.name, takes_self=True)

    def __str__(self) -> str:
        return self.name

    @property
    def entry(self) -> JSON:
        """Its entry in a configuration."""
        return {
            "name": self.name,
            "api_base_url": self.url,
            "api_key": "sk-test",
            "models": [self.model],
            "dialect": self.dialect,
            "options": self.options,
        }

    @property
    def route(self) -> str:
        """Its model, as a client names it."""
        return f"{self.name},{self.model}"

    def context(self, notes: list[tuple[str, Any]] | None = None) -> Context:
        """The context of an attempt with it, as the engine makes it."""
        gathered = notes if notes is not None else []
        kind, problems = DIALECTS[self.dialect].options, Problems()
        options = structure(kind, self.options, "options", problems) if kind is not None else None
        problems.raise_if_any(None)
        target = Target(provider=self.name, model=self.model, base_url=self.url, options=options)
        return Context(exchange_id="test", target=target, note=lambda key, value: gathered.append((key, value)))

    def accept(self, body: JSON) -> None:
        """Raise a ``ValidationError`` if the provider's own package does not know such a body."""
        _ACCEPT[self.dialect](json.loads(json.dumps(body)))

    def answer(self, parts: Sequence[JSON]) -> bytes:
        """A streamed answer made of ``parts``: blocks of the Messages API, without signatures."""
        return sse(*_ANSWER[self.dialect](list(parts), self))


def configuration(formats: Sequence[Format]) -> JSON:
    """A configuration that has all of ``formats``; the first is the default."""
    return {"Providers": [each.entry for each in formats], "Router": {"default": formats[0].route}}


# --- who accepts what --------------------------------------------------------------------------------------------

_GEMINI: dict[str, Any] = {
    "contents": types.Content,
    "systemInstruction": types.Content,
    "tools": types.Tool,
    "toolConfig": types.ToolConfig,
    "generationConfig": types.GenerationConfig,
    "safetySettings": types.SafetySetting,
}
_CHAT: TypeAdapter[Any] = TypeAdapter(chat_params.CompletionCreateParams)
_RESPONSES: TypeAdapter[Any] = TypeAdapter(responses_params.ResponseCreateParams)
_MESSAGES: TypeAdapter[Any] = TypeAdapter(anthropic_params.MessageCreateParams)


def _read(value: Any) -> Any:
    """``value`` with its lazy iterables read, so that everything in it is judged."""
    if isinstance(value, Mapping):
        return {name: _read(inner) for name, inner in value.items()}
    return [_read(one) for one in value] if not isinstance(value, str | bytes) and hasattr(value, "__iter__") else value


def _accept_responses(body: JSON) -> None:
    for item in body["input"]:
        if item["type"] == "reasoning":
            # The package wants an id for each thought; the service must not get one that it has not stored.
            item.setdefault("id", "rs_1")
    _read(_RESPONSES.validate_python(body))


def _accept_gemini(body: JSON) -> None:
    assert body.keys() <= _GEMINI.keys()
    for name, value in body.items():
        for one in value if isinstance(value, list) else [value]:
            _GEMINI[name].model_validate(one)


def _accept_vertex(body: JSON) -> None:
    # Where the model is in the address a version stands in the body.
    assert "model" not in body
    assert body.pop("anthropic_version") == "vertex-2023-10-16"
    _read(_MESSAGES.validate_python({**body, "model": VERTEX_CLAUDE.model}))


_ACCEPT: dict[str, Callable[[JSON], object]] = {
    "openai-chat": lambda body: _read(_CHAT.validate_python(body)),
    "openai-responses": _accept_responses,
    "anthropic": lambda body: _read(_MESSAGES.validate_python(body)),
    "gemini": _accept_gemini,
    "vertex-claude": _accept_vertex,
    "vertex-gemini": _accept_gemini,
}


# --- what they answer --------------------------------------------------------------------------------------------


def _anthropic(parts: list[JSON], one: Format) -> list[JSON | str]:
    signed = [{**part, "signature": one.secret} if part["type"] == "thinking" else part for part in parts]
    stop = "tool_use" if any(part["type"] == "tool_use" for part in parts) else "end_turn"
    return list(to_wire(explode(message(*signed, stop_reason=stop))))


def _chat(parts: list[JSON], one: Format) -> list[JSON | str]:
    deltas: list[JSON] = [{"role": "assistant", "content": ""}]
    calls = 0
    for part in parts:
        if part["type"] == "text":
            deltas += [{"content": part["text"][:3]}, {"content": part["text"][3:]}]
        elif part["type"] == "thinking":
            detail = {"type": "reasoning.text", "text": part["thinking"], "index": 0, "signature": one.secret}
            deltas.append({"reasoning": part["thinking"], "reasoning_details": [detail]})
        else:
            function = {"name": part["name"], "arguments": json.dumps(part["input"])}
            deltas.append(
                {"tool_calls": [{"index": calls, "id": part["id"], "type": "function", "function": function}]}
            )
            calls += 1
    chunks: list[JSON | str] = [{"id": "c", "model": one.model, "choices": [{"index": 0, "delta": d}]} for d in deltas]
    end = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 2}
    return [*chunks, {"id": "c", "choices": [end]}, {"id": "c", "choices": [], "usage": usage}, "[DONE]"]


def _responses(parts: list[JSON], one: Format) -> list[JSON | str]:
    output: list[JSON] = []
    for number, part in enumerate(parts):
        if part["type"] == "text":
            content = [{"type": "output_text", "text": part["text"], "annotations": []}]
            output.append({"type": "message", "id": f"msg_{number}", "role": "assistant", "content": content})
        elif part["type"] == "thinking":
            summary = [{"type": "summary_text", "text": part["thinking"]}]
            item = {"type": "reasoning", "id": f"rs_{number}", "summary": summary, "encrypted_content": one.secret}
            output.append(item)
        else:
            said = {"call_id": part["id"], "name": part["name"], "arguments": json.dumps(part["input"])}
            output.append({"type": "function_call", "id": f"fc_{number}", **said})
    events: list[JSON | str] = [{"type": "response.created", "response": {"id": "r", "model": one.model}}]
    for place, item in enumerate(output):
        empty = {**item, "content": [], "summary": [], "arguments": ""}
        events.append({"type": "response.output_item.added", "output_index": place, "item": empty})
        if item["type"] == "message":
            delta = {"output_index": place, "content_index": 0, "delta": item["content"][0]["text"]}
            events.append({"type": "response.output_text.delta", **delta})
        events.append({"type": "response.output_item.done", "output_index": place, "item": item})
    usage = {"input_tokens": 9, "output_tokens": 2}
    response = {"id": "r", "model": one.model, "status": "completed", "output": output, "usage": usage}
    return [*events, {"type": "response.completed", "response": response}]


def _gemini(parts: list[JSON], one: Format) -> list[JSON | str]:
    said: list[JSON] = []
    for part in parts:
        if part["type"] == "text":
            said.append({"text": part["text"]})
        elif part["type"] == "thinking":
            said.append({"text": part["thinking"], "thought": True})
        else:
            call: JSON = {"functionCall": {"id": part["id"], "name": part["name"], "args": part["input"]}}
            after = said and "functionCall" in said[-1]
            said.append(call if after else {**call, "thoughtSignature": one.secret})
    if said and "functionCall" not in said[-1]:
        said.append({"text": "", "thoughtSignature": one.secret})
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 2}
    chunks: list[JSON | str] = [
        {"candidates": [{"content": {"role": "model", "parts": [part]}}], "modelVersion": one.model} for part in said
    ]
    return [*chunks, {"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage}]


_ANSWER: dict[str, Callable[[list[JSON], Format], list[JSON | str]]] = {
    "anthropic": _anthropic,
    "openai-chat": _chat,
    "openai-responses": _responses,
    "gemini": _gemini,
    "vertex-claude": _anthropic,
    "vertex-gemini": _gemini,
}

# --- the services ------------------------------------------------------------------------------------------------

_THINKS = {"style": "reasoning", "replay": "always", "replay_as": "received"}

CLAUDE = Format(
    name="claude",
    dialect="anthropic",
    url="https://api.anthropic.com/v1/messages",
    model="claude-sonnet-4-5",
    secret=base64.b64encode(b"\x12\x40" + b"claude" * 10 + b"\0\0\0\0\x18\x01").decode(),
)
CHAT = Format(
    name="chat",
    dialect="openai-chat",
    url="https://chat.example/v1",
    model="thinker",
    secret="chatSECRETchat",
    options={"reasoning": _THINKS},
)
OTHER_CHAT = Format(
    name="other-chat",
    dialect="openai-chat",
    url="https://other.example/v1",
    model="thinker",
    secret="otherSECRETother",
    options={"reasoning": _THINKS},
)
RESPONSES = Format(
    name="responses",
    dialect="openai-responses",
    url="https://api.openai.com/v1/responses",
    model="gpt-5.2",
    secret="gAAAAresponsesSECRETresponses",
)
GEMINI = Format(
    name="gemini",
    dialect="gemini",
    url="https://generativelanguage.googleapis.com/v1beta",
    model="gemini-3-flash-preview",
    secret="geminiSECRETgemini00",
)
COMPATIBLE = Format(
    name="compatible",
    dialect="anthropic",
    url="https://compatible.example/anthropic",
    model="glm-4.7",
    secret="0123456789abcdef0123456789abcdef",
    options={"clean": True},
)

VERTEX_CLAUDE = Format(
    name="vertex-claude",
    dialect="vertex-claude",
    url="https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5",
    model="claude-sonnet-4-6",
    secret=base64.b64encode(b"\x12\x40" + b"vertex" * 10 + b"\0\0\0\0\x18\x01").decode(),
    family="claude",
)
VERTEX_GEMINI = Format(
    name="vertex-gemini",
    dialect="vertex-gemini",
    url="https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1",
    model="gemini-3-flash-preview",
    secret="vertexSECRETgemini00",
)

FOUR = (CLAUDE, CHAT, RESPONSES, GEMINI)
"""One of each dialect."""

ALL = (*FOUR, OTHER_CHAT, COMPATIBLE, VERTEX_CLAUDE, VERTEX_GEMINI)
