"""The request body.

Fields are taken over one by one: what is not named here never reaches the service, whatever the client invents next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ccr_core import JSON, Context, Request, answer_schema, schema_in_words

from . import thinking, tools
from .contents import contents
from .families import Family
from .options import Options
from .schema import openapi, plain

READ = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k"}
    | {"stop_sequences", "stream", "thinking", "output_config"}
)
"""The fields of a Messages API body that have a counterpart."""

STOP_MAX = 5
CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY")


def body(request: Request, ctx: Context, options: Options, family: Family, maker: str) -> JSON:
    """The body for a model of ``family``; ``maker`` is who may read sealed thinking."""
    unread = sorted(request.body.keys() - READ)
    if unread:
        ctx.note("body", f"fields without a counterpart left out: {', '.join(unread)}")
    offered = tools.fields(request, ctx, options.tools, family)
    form, instruction = _format(request, ctx, options, family, bool(offered.get("tools")))
    said, system = contents(request, ctx, options, family, maker, instruction)
    out: JSON = {"contents": said}
    if system:
        out["systemInstruction"] = {"parts": system}
    out.update(offered)
    generation = {**_limits(request, ctx, options, family), **form}
    if generation:
        out["generationConfig"] = generation
    if options.safety != "default":
        out["safetySettings"] = [
            {"category": f"HARM_CATEGORY_{category}", "threshold": options.safety} for category in CATEGORIES
        ]
    out = _joined(options.body, out)
    for name in options.drop:
        holder = out if name in out else out.get("generationConfig", {})
        if holder.pop(name, None) is not None:
            ctx.note("body", f"{name} left out: the service does not take it")
    return out


def _joined(more: Mapping[str, Any], out: JSON) -> JSON:
    """``out`` with what it lacks of ``more``."""
    for name, value in more.items():
        held = out.get(name)
        if isinstance(held, dict) and isinstance(value, Mapping):
            out[name] = _joined(value, dict(held))
        elif name not in out:
            out[name] = value
    return out


def _limits(request: Request, ctx: Context, options: Options, family: Family) -> JSON:
    source = request.body
    out: JSON = {}
    wanted = source.get("max_tokens")
    most: int | None = None
    if isinstance(wanted, int) and options.limit_field:
        most = min(limit for limit in (wanted, ctx.target.max_output, options.max_output) if limit is not None)
        if most < wanted:
            ctx.note("max_tokens", f"{wanted} lowered to the limit {most}")
    config, room = thinking.config(request, ctx, options.thinking, family, most)
    if most is not None:
        out["maxOutputTokens"] = most + room
    temperature = source.get("temperature")
    if temperature is not None and family.generation >= 3 and temperature != 1:
        ctx.note("body", f"temperature {temperature} left out: the model is made for 1")
    elif temperature is not None:
        out["temperature"] = temperature
    for name, here in (("top_p", "topP"), ("top_k", "topK")):
        if source.get(name) is not None:
            out[here] = source[name]
    stop = [text for text in source.get("stop_sequences") or () if text]
    if len(stop) > STOP_MAX:
        ctx.note("body", f"stop sequences above the limit of {STOP_MAX} left out: {stop[STOP_MAX:]}")
    if stop:
        out["stopSequences"] = stop[:STOP_MAX]
    if config:
        out["thinkingConfig"] = config
    return out


def _format(request: Request, ctx: Context, options: Options, family: Family, tooled: bool) -> tuple[JSON, str]:
    """The fields that ask for an answer of a certain form, and the words that do."""
    schema = answer_schema(request, ctx)
    if schema is None:
        return {}, ""
    way = options.structured
    if way == "auto":
        # Older models refuse a form of the answer together with tools, and know only their own schema language.
        way = "words" if tooled and not family.mixes else "openapi" if 0 < family.generation < 2.5 else "json-schema"
    if way == "words":
        ctx.note("body", "the schema of the answer is only described in words: the model does not take it with tools")
        return {}, schema_in_words(schema)
    made, lost = (openapi if way == "openapi" else plain)(schema)
    if lost:
        ctx.note("schema", f"output format: simplified: {', '.join(lost)}")
    field = "responseSchema" if way == "openapi" else "responseJsonSchema"
    return {"responseMimeType": "application/json", field: made}, ""
