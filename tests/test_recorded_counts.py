"""How near counts come to what providers reported: every recorded request that carries usage, in all four formats.

Each is counted as the router counts it before anything is reported.  It has to be within 5 %, and a small one within
four tokens.  Left out are those of which the provider counted something that is not in the request, or nothing
that can be known of it; each rule of :data:`BEYOND` says by which property, and none names a recording.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from ccr_core import JSON, Request, RequestError, hints_of
from ccr_core.config import from_document
from ccr_core.engine import Engine
from ccr_core.plugins import load
from ccr_core.runtime import build

ROOT = Path(__file__).parent / "recordings"
REGISTRY = load()
INGRESSES = {found.value.name: found.value for found in REGISTRY.ingresses.values()}
CLIENT = {"anthropic": "anthropic", "openai-chat": "chat-completions", "openai-responses": "responses"}

REL = 0.05
LEAST = 4
"""Tokens by which a request of under eighty may be off."""


@attrs.frozen
class Recorded:
    """A recorded request, what is known of it, and the input tokens that the provider reported."""

    name: str
    dialect: str
    meta: JSON
    request: JSON
    answer: str
    reported: int

    @property
    def model(self) -> str:
        return str(self.meta["model"])

    def find(self, key: str) -> Iterator[Any]:
        """The values of ``key`` anywhere in the request."""
        return _find(self.request, key)

    @property
    def texts(self) -> list[str]:
        """The texts of the request."""
        return [text for key in ("text", "content") for text in self.find(key) if isinstance(text, str)]


def _find(value: Any, key: str) -> Iterator[Any]:
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        if name == key:
            yield inner
        yield from _find(inner, key)


def _shortened(it: Recorded) -> bool:
    return bool(it.meta.get("request_placeholders"))


def _addressed(it: Recorded) -> bool:
    places = [*it.find("url"), *it.find("file_data"), *it.find("image_url"), *it.find("file_uri")]
    return any(isinstance(place, str) and place.startswith("http") for place in places)


def _served(it: Recorded) -> bool:
    return it.dialect in ("openai-chat", "openai-responses") and any(
        tool.get("type") not in ("function", "custom") for tool in it.request.get("tools") or ()
    )


def _sealed(it: Recorded) -> bool:
    return it.dialect != "anthropic" and any(
        value for key in ("encrypted_content", "thoughtSignature") for value in it.find(key)
    )


def _cut(it: Recorded) -> bool:
    return any("<think>" in text for text in it.texts)


def _read_elsewhere(it: Recorded) -> bool:
    return it.meta["provider"] == "openrouter" and any(it.find("file_data"))


def _no_language(it: Recorded) -> bool:
    words = [word for text in it.texts for word in text.split()]
    return "claude" in it.model and (
        any(len(word) > 60 for word in words) or (60 < len(words) < 1000 and len(words) > 10 * len(set(words)))
    )


def _first_months(it: Recorded) -> bool:
    at = re.search(r'"created_at": ?(\d+)', it.answer)
    return it.dialect == "openai-responses" and at is not None and int(at[1]) < 1_746_057_600


BEYOND: Mapping[str, Callable[[Recorded], bool]] = {
    "a picture, sound or film was replaced when the request was recorded": _shortened,
    "something is named by its address only, and counted by what is there": _addressed,
    "a tool that OpenAI or OpenRouter runs: what it found is counted too": _served,
    "thought comes back sealed: how long it is, only the provider can see": _sealed,
    "thought in the text of an answer, which the host cuts away": _cut,
    "a file that the host reads by means of its own": _read_elsewhere,
    "a short text of no language (a key, one sentence over and over): Claude's vocabulary is not known": _no_language,
    "the Responses API until May 2025, which reported 200 tokens that nothing in the request explains": _first_months,
}


def everything() -> Iterator[Recorded]:
    """All recorded requests that were answered with usage."""
    for path in sorted(ROOT.rglob("request.json")):
        folder = path.parent
        meta = json.loads((folder / "meta.json").read_bytes())
        whole = folder / "response.json"
        answer = (whole if whole.exists() else folder / "response.sse").read_text("utf-8", "replace")
        reported = reported_in(answer, whole.exists(), meta["dialect"])
        if meta["status"] == 200 and reported:
            yield Recorded(folder.name, meta["dialect"], meta, json.loads(path.read_bytes()), answer, reported)


def reported_in(answer: str, whole: bool, dialect: str) -> int:
    """The input tokens in an answer, cached ones included: Anthropic's at its beginning, others' at the end."""
    lines = [answer] if whole else [line[5:] for line in answer.splitlines() if line.startswith("data: {")]
    found = [reported for line in lines if (reported := _input(json.loads(line)))]
    return (found[0] if dialect == "anthropic" else found[-1]) if found else 0


def _input(data: JSON) -> int:
    inner = next((data[key] for key in ("message", "response", "x_groq") if isinstance(data.get(key), dict)), data)
    usage = inner.get("usage") or data.get("usage") or data.get("usageMetadata") or {}
    own = usage.get("prompt_tokens") or usage.get("promptTokenCount")
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return own or sum(usage.get(name) or 0 for name in names)


def canonical(it: Recorded) -> JSON:
    """The request as the router has it."""
    if it.dialect == "gemini":
        return from_gemini(it.request)
    return dict(INGRESSES[CLIENT[it.dialect]].decode(json.dumps(it.request).encode(), {}).body)


def from_gemini(request: JSON) -> JSON:
    """What a request to Gemini was made of."""
    body: JSON = {
        "system": [
            {"type": "text", "text": part["text"]} for part in request.get("systemInstruction", {}).get("parts", ())
        ],
        "messages": [
            {
                "role": "assistant" if content.get("role") == "model" else "user",
                "content": [_gemini_block(part) for part in content["parts"]],
            }
            for content in request["contents"]
        ],
        "tools": [
            {"name": made["name"], "description": made.get("description"), "input_schema": _gemini_schema(made)}
            for tool in request.get("tools", ())
            for made in tool.get("functionDeclarations", ())
        ],
    }
    if request.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode") == "ANY":
        body["tool_choice"] = {"type": "any"}
    schema = request.get("generationConfig", {}).get("responseJsonSchema")
    return {**body, "output_config": {"format": {"type": "json_schema", "schema": schema}}} if schema else body


def _gemini_schema(made: JSON) -> JSON:
    keys = ("parameters", "parametersJsonSchema", "parameters_json_schema")
    return next((made[key] for key in keys if key in made), {})  # type: ignore[no-any-return]


def _gemini_block(part: JSON) -> JSON:
    if "functionCall" in part:
        call = part["functionCall"]
        return {"type": "tool_use", "id": "t", "name": call["name"], "input": call.get("args") or {}}
    if "functionResponse" in part:
        return {"type": "tool_result", "tool_use_id": "t", "content": json.dumps(part["functionResponse"]["response"])}
    if "inlineData" in part:
        data = base64.b64decode(part["inlineData"]["data"]).decode()
        return {"type": "document", "source": {"type": "text", "data": data}}
    return {"type": "text", "text": part["text"]}


def why_not(it: Recorded) -> str | None:
    """Why a recording is left out; ``None`` if it is not."""
    return next((why for why, applies in BEYOND.items() if applies(it)), None)


ALL = tuple(everything())
COMPARED = [it for it in ALL if why_not(it) is None]


async def counted(body: JSON, model: str) -> int:
    """What the router counts for ``model`` before anything is reported."""
    entry = {"name": "p", "api_base_url": "http://p.invalid/v1/messages", "api_key": "k", "models": [model]}
    made = build(from_document({"Providers": [entry], "Router": {"default": f"p,{model}"}}, {}), REGISTRY, watch=False)
    body = {**body, "model": model}
    return await Engine(made).count(made, Request(body, {}, hints_of(body, {})))


@pytest.mark.parametrize("it", [pytest.param(it, id=f"{it.dialect}-{it.name}") for it in COMPARED])
async def test_recorded_requests(it: Recorded) -> None:
    """
    A request is counted within 5 % of what its provider reported, a small one within four tokens.
    """
    assert pytest.approx(it.reported, rel=REL, abs=LEAST) == await counted(canonical(it), it.model)


def test_most_are_compared() -> None:
    """
    Rules leave out some: of each format most are compared, and of Anthropic's nearly all.
    """
    assert {"anthropic": 16, "gemini": 15, "openai-chat": 20, "openai-responses": 7} == {
        dialect: sum(it.dialect == dialect for it in COMPARED) for dialect in sorted({it.dialect for it in ALL})
    }


@pytest.mark.parametrize("why", list(BEYOND))
def test_every_rule_is_needed(why: str) -> None:
    """
    No rule leaves out what no other would have left out already: each is needed for a recording.
    """
    others = [applies for name, applies in BEYOND.items() if name != why]
    assert [it.name for it in ALL if BEYOND[why](it) and not any(applies(it) for applies in others)]


async def test_what_is_left_out_cannot_be_counted() -> None:
    """
    What the rules leave out is mostly counted wrong; it is not a way to be rid of what is right.
    """
    right = 0
    left_out = [it for it in ALL if why_not(it) is not None]
    for it in left_out:
        try:
            number = await counted(canonical(it), it.model)
        except (RequestError, UnicodeDecodeError):
            continue
        right += abs(number - it.reported) <= max(REL * it.reported, LEAST)
    assert right <= len(left_out) // 8
