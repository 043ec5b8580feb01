"""The Gemini format in Antigravity's envelope, for models of Google and of others.

What differs between models goes by the beginning of their names: ``claude-`` and ``gemini-``.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any, ClassVar

import attrs
from ccr_plugin_gemini import Family, Options, family_of
from ccr_plugin_oauth_gemini import CodeAssist

from ccr_core import JSON, Context, Request, Target, UpstreamError, text_of

FILLER = "unused_argument"
"""A property that is added where a schema must have one, and taken out of calls again."""

CLAUDE_OUTPUT = 64_000
CLAUDE_BUDGET = 1024

_TIER = re.compile(r"^gemini-3.*-(minimal|low|medium|high)$")


class Antigravity(CodeAssist):
    """Antigravity: ``{model, userAgent, requestType, project, requestId, request}`` out, ``{response}`` back."""

    name: ClassVar[str] = "antigravity"
    endpoints: ClassVar[tuple[str, ...]] = ()
    maker: ClassVar[str] = "antigravity"

    def model(self, ctx: Context) -> str:
        """The name without the prefix of older configurations."""
        return ctx.target.model.removeprefix("antigravity-")

    def family(self, ctx: Context) -> Family:
        """What is known of the model; some have their level in the name."""
        name = self.model(ctx)
        if name.startswith("claude-"):
            return Family(thinking="budget", min_budget=CLAUDE_BUDGET, max_budget=CLAUDE_OUTPUT - 1, dynamic=False)
        found, tier = family_of(name), _TIER.match(name)
        return attrs.evolve(found, thinking="level", levels=(tier[1],)) if tier else found

    def settings(self, ctx: Context) -> Options:
        """The options, as the model needs them."""
        options = super().settings(ctx)
        tools = attrs.evolve(options.tools, schema="openapi")
        if self.model(ctx).startswith("claude-"):
            return attrs.evolve(
                options,
                max_output=min(options.max_output or CLAUDE_OUTPUT, CLAUDE_OUTPUT),
                tools=attrs.evolve(tools, auto_mode="VALIDATED", files="nested", search=False, fetch=False, code=False),
                thinking=attrs.evolve(options.thinking, missing="none"),
            )
        return attrs.evolve(options, limit_field=not self.model(ctx).startswith("gemini-"), tools=tools)

    def searches(self, target: Target) -> bool:
        """Google's models search the web."""
        return target.model.removeprefix("antigravity-").startswith("gemini-") and super().searches(target)

    def wrap(self, body: JSON, request: Request, ctx: Context) -> JSON:
        """The envelope."""
        model = self.model(ctx)
        inner = {name: value for name, value in body.items() if name != "safetySettings"}
        if "systemInstruction" in inner:
            inner["systemInstruction"] = {"role": "user", **inner["systemInstruction"]}
        if model.startswith("claude-"):
            _fit_claude(inner)
        inner["sessionId"] = session_id(request)
        tools = inner.get("tools") or ()
        search = bool(tools) and all(set(tool) == {"googleSearch"} for tool in tools)
        return {
            "model": model,
            "userAgent": "antigravity",
            "requestType": "web_search" if search else "agent",
            "requestId": f"agent-{uuid.uuid5(uuid.NAMESPACE_OID, f'{ctx.exchange_id} {model}')}",
            "request": inner,
        }

    def unwrap(self, data: JSON) -> JSON:
        """What is in the envelope, calls without the property that was added."""
        inner = super().unwrap(data)
        for candidate in inner.get("candidates") or ():
            content = candidate.get("content") if isinstance(candidate, dict) else None
            for part in (content.get("parts") if isinstance(content, dict) else None) or ():
                call = part.get("functionCall") if isinstance(part, dict) else None
                if isinstance(call, dict) and isinstance(call.get("args"), dict):
                    # The chunk is ours alone: it was parsed for this decoder.
                    call["args"] = _emptied(call["args"])
        return inner

    def mend(self, error: UpstreamError, body: JSON) -> JSON | None:
        """As for the plain format; Claude models take no value in place of a signature, so their thoughts go."""
        inner = body.get("request")
        if not str(body.get("model")).startswith("claude-") or not isinstance(inner, dict):
            return super().mend(error, body)
        if error.status != 400 or "signature" not in error.message.casefold():
            return None
        said = [
            {**content, "parts": [part for part in content["parts"] if not part.get("thought")]}
            for content in inner["contents"]
        ]
        said = [content for content in said if content["parts"]]
        return {**body, "request": {**inner, "contents": said}} if said != inner["contents"] else None


def session_id(request: Request) -> str:
    """A number that stays the same for a conversation."""
    first = next((message for message in request.messages if message.get("role") == "user"), {})
    known = request.hints.session or text_of(first.get("content"))
    number = int.from_bytes(hashlib.sha256(known.encode("utf-8", "replace")).digest()[:8]) >> 1
    return f"-{number or 1}"


def _fit_claude(inner: JSON) -> None:
    """Change ``inner`` into what Claude models take: their thinking, and schemas with a required property."""
    generation = inner.get("generationConfig") or {}
    budget = (generation.get("thinkingConfig") or {}).get("thinkingBudget")
    most = generation.get("maxOutputTokens")
    if "thinkingConfig" in generation and (
        not isinstance(budget, int) or budget < CLAUDE_BUDGET or (isinstance(most, int) and budget >= most)
    ):
        kept = {name: value for name, value in generation.items() if name != "thinkingConfig"}
        inner["generationConfig"] = kept
    # A thought that cannot be checked is refused, unlike with Google's own models.
    said = [
        {**content, "parts": [part for part in content["parts"] if not part.get("thought") or _signed(part)]}
        for content in inner["contents"]
    ]
    inner["contents"] = [content for content in said if content["parts"]]
    tools = []
    for tool in inner.get("tools") or ():
        if "functionDeclarations" in tool:
            declared = [
                {**each, "parameters": _filled(each.get("parameters") or {"type": "OBJECT"})}
                for each in tool["functionDeclarations"]
            ]
            tool = {**tool, "functionDeclarations": declared}
        tools.append(tool)
    if tools:
        inner["tools"] = tools


def _signed(part: JSON) -> bool:
    return bool(part.get("thoughtSignature"))


def _filled(schema: Any) -> Any:
    """``schema`` in which every object has a required property."""
    if not isinstance(schema, dict):
        return schema
    out = dict(schema)
    if isinstance(out.get("properties"), dict):
        out["properties"] = {name: _filled(each) for name, each in out["properties"].items()}
    if "items" in out:
        out["items"] = _filled(out["items"])
    if isinstance(out.get("anyOf"), list):
        out["anyOf"] = [_filled(each) for each in out["anyOf"]]
    if str(out.get("type")).upper() == "OBJECT" and not out.get("required"):
        filler = {"type": "BOOLEAN", "description": "Always true; it has no meaning."}
        out["properties"] = {**(out.get("properties") or {}), FILLER: filler}
        out["required"] = [FILLER]
    return out


def _emptied(value: Any) -> Any:
    """``value`` without what :func:`_filled` has made the model say."""
    if isinstance(value, dict):
        return {name: _emptied(each) for name, each in value.items() if name != FILLER}
    if isinstance(value, list):
        return [_emptied(each) for each in value]
    return value
