"""Thinking: how it is asked for, and how it gets back to the service that made it.

A thinking block of ours bears a sealed signature, which the client stores and replays untouched.  It says which
service and model the thought comes from, in which field it came, and holds what the service needs to recognise it:
signed or encrypted details, and signatures that belong to tool calls.  Thinking of any other origin is left out of
the request: as text it would only teach the model to imitate it.
"""

from __future__ import annotations

import re
from typing import Any

import attrs

from ccr_core import BUDGETS, JSON, LEVELS, AskedThinking, Context, Request, UpstreamError, seal, thinking_of, unseal

from .options import Options, Reasoning
from .urls import host

SEAL_LIMIT = 256 * 1024
"""The most characters of a signature; above it only the text of a thought is kept."""


def wish_of(request: Request, ctx: Context, options: Options) -> AskedThinking:
    """What ``request`` wants of the target of ``ctx``, as far as the service takes it together with the tools."""
    wish = thinking_of(request, ctx.target.level)
    reasoning = options.reasoning
    if reasoning.forced_tools or wish.on is False or not forces_tool(request) or not can_switch_off(reasoning):
        return wish
    return AskedThinking(False, "none")


def forces_tool(request: Request) -> bool:
    """Whether ``request`` demands that a tool be called."""
    choice = request.body.get("tool_choice")
    return isinstance(choice, dict) and choice.get("type") in ("any", "tool")


def can_switch_off(reasoning: Reasoning) -> bool:
    """Whether there is a way to say that the model is not to think."""
    named = reasoning.style != "reasoning_effort" or "none" in reasoning.levels
    return reasoning.can_disable and reasoning.style != "none" and named


def nearest(level: str, known: tuple[str, ...]) -> str:
    """The level of ``known`` that is nearest to ``level``, the lower of two.

    Only ``minimal`` may become ``none``: who wants thought is not to get none for want of a level.
    """
    if level in known or level not in LEVELS or not known:
        return level
    place = LEVELS.index(level)
    if level != "minimal":
        known = tuple(one for one in known if one != "none") or known
    return min(known, key=lambda one: (abs(LEVELS.index(one) - place), LEVELS.index(one)) if one in LEVELS else (99, 0))


def fields(request: Request, ctx: Context, options: Options) -> JSON:
    """The fields of the request body that ask for thinking."""
    wish = wish_of(request, ctx, options)
    reasoning = options.reasoning
    if wish.on is False and thinking_of(request, ctx.target.level).on:
        ctx.note("thinking", "switched off: the service cannot be made to call a tool while it thinks")
    if wish == AskedThinking():
        return {}
    style = reasoning.style
    if style == "none":
        if ctx.target.level and wish.level:
            return {"reasoning_effort": wish.level}
        if wish.on:
            ctx.note("thinking", "not asked for: the option reasoning.style says how, and is not set")
        return {}
    if wish.on is None and style not in ("reasoning_effort", "reasoning"):
        return {}
    if wish.on is False and not reasoning.can_disable:
        wish = AskedThinking(True, _lowest(reasoning))
        ctx.note("thinking", f"cannot be switched off; asked for the level {wish.level}")
    return _STYLES[style](wish, reasoning)


def _lowest(reasoning: Reasoning) -> str | None:
    levels = [level for level in reasoning.levels if level != "none"]
    return min(levels, key=lambda level: LEVELS.index(level) if level in LEVELS else 99) if levels else None


def _level(wish: AskedThinking, reasoning: Reasoning) -> str | None:
    if wish.level is None or (wish.level == "none" and "none" not in reasoning.levels):
        return _lowest(reasoning) if wish.on is False else None
    return nearest(wish.level, reasoning.levels)


def _budget(wish: AskedThinking, reasoning: Reasoning) -> int | None:
    budget = wish.budget if wish.budget is not None else BUDGETS.get(wish.level or "")
    if budget is None:
        return None
    return min(max(budget, reasoning.min_budget or 0), reasoning.max_budget or budget)


def _as_effort(wish: AskedThinking, reasoning: Reasoning) -> JSON:
    level = _level(wish, reasoning)
    return {"reasoning_effort": level} if level else {}


def _as_reasoning(wish: AskedThinking, reasoning: Reasoning) -> JSON:
    level = _level(wish, reasoning)
    if wish.on is False:
        return {"reasoning": {**reasoning.extra, "enabled": False}}
    if level:
        return {"reasoning": {**reasoning.extra, "effort": level}}
    if wish.budget:
        return {"reasoning": {**reasoning.extra, "max_tokens": _budget(wish, reasoning)}}
    return {"reasoning": {**reasoning.extra, "enabled": True}}


def _as_thinking(wish: AskedThinking, reasoning: Reasoning) -> JSON:
    body: JSON = {"thinking": {**reasoning.extra, "type": "enabled" if wish.on else "disabled"}}
    if reasoning.effort_too and wish.on:
        body.update(_as_effort(wish, reasoning))
    return body


def _as_enable(wish: AskedThinking, reasoning: Reasoning) -> JSON:
    body: JSON = {**reasoning.extra, "enable_thinking": bool(wish.on)}
    budget = _budget(wish, reasoning) if wish.on else None
    if budget:
        body["thinking_budget"] = budget
    if reasoning.effort_too and wish.on:
        body.update(_as_effort(wish, reasoning))
    return body


def _as_template(wish: AskedThinking, reasoning: Reasoning) -> JSON:
    body: JSON = {"chat_template_kwargs": {**reasoning.extra, "enable_thinking": bool(wish.on)}}
    if reasoning.effort_too and wish.on:
        body.update(_as_effort(wish, reasoning))
    return body


def _as_disable(wish: AskedThinking, reasoning: Reasoning) -> JSON:
    return {**reasoning.extra, "disable_reasoning": not wish.on}


_STYLES = {
    "reasoning_effort": _as_effort,
    "reasoning": _as_reasoning,
    "thinking": _as_thinking,
    "enable_thinking": _as_enable,
    "chat_template_kwargs": _as_template,
    "disable_reasoning": _as_disable,
}


def family(ctx: Context, options: Options) -> str:
    """Who may read thinking of this target again."""
    return options.reasoning.family or host(ctx.target.base_url) or "openai-chat"


def sealed(ctx: Context, options: Options, field: str, details: list[JSON], extra: JSON) -> str:
    """The signature of a thinking block: the ``field`` it came in, its ``details``, and ``extra`` by tool call id."""
    data: JSON = {"m": ctx.target.model, "f": field}
    if details:
        data["d"] = details
    if extra:
        data["x"] = extra
    signature = seal(family(ctx, options), data)
    if len(signature) > SEAL_LIMIT:
        ctx.note("thinking", f"its signed details are too large to keep ({len(signature)} characters)")
        signature = seal(family(ctx, options), {"m": ctx.target.model, "f": field})
    return signature


def merge_details(details: list[JSON], new: Any) -> None:
    """Add streamed ``reasoning_details`` to ``details``; pieces of one text become one entry, as in a whole answer."""
    for detail in new:
        if not isinstance(detail, dict):
            continue
        last = details[-1] if details else None
        name = {"reasoning.text": "text", "reasoning.summary": "summary"}.get(str(detail.get("type")))
        if (
            name
            and last is not None
            and last.get("type") == detail.get("type")
            and last.get("index") == detail.get("index")
            and not last.get("signature")
        ):
            details[-1] = {
                **last,
                **{key: value for key, value in detail.items() if value is not None},
                name: (last.get(name) or "") + (detail.get(name) or ""),
            }
        else:
            details.append(detail)


@attrs.define
class Thoughts:
    """What the thinking blocks of one assistant message hold for the service that is asked now."""

    text: str = ""
    field: str = ""
    details: list[JSON] = attrs.Factory(list)
    calls: JSON = attrs.Factory(dict)
    message: Any = None
    foreign: int = 0
    """How many blocks were of another origin."""


NO_THOUGHTS = Thoughts()


def thoughts_of(blocks: list[JSON], ctx: Context, options: Options) -> Thoughts:
    """Open the seals of ``blocks``, which hold thinking."""
    if not blocks:
        return NO_THOUGHTS
    found = Thoughts()
    texts: list[str] = []
    for block in blocks:
        opened = unseal(block.get("signature")) if block.get("type") == "thinking" else None
        if opened is None or opened[0] != family(ctx, options):
            found.foreign += 1
            continue
        data = opened[1]
        if data.get("m") == ctx.target.model:
            # What is signed or encrypted means something to the model that made it, and to no other.
            found.details += data.get("d") or ()
            extra = dict(data.get("x") or {})
            found.message = extra.pop("", None) or found.message
            found.calls.update(extra)
        if block.get("thinking"):
            texts.append(str(block["thinking"]))
        if data.get("f"):
            found.field = str(data["f"])
    found.text = "\n\n".join(texts)
    return found


def replay(message: JSON, thoughts: Thoughts, options: Options) -> JSON:
    """The assistant ``message`` (in the provider's format) with ``thoughts`` put back."""
    reasoning = options.reasoning
    way = reasoning.replay_as
    if way == "received":
        way = thoughts.field or "reasoning_content"  # type: ignore[assignment]
    text = thoughts.text
    if not text and not thoughts.details:
        if reasoning.replay != "required_empty":
            return message
        field = way if way in ("reasoning_content", "reasoning") else "reasoning_content"
        return {**message, field: reasoning.empty_text}
    content = message.get("content")
    if way == "reasoning_details":
        if thoughts.details:
            message = {**message, "reasoning_details": thoughts.details}
        return {**message, "reasoning": text} if text else message
    if not text:
        return message
    if way == "think_tags":
        tagged = f"<think>\n{text}\n</think>\n\n"
        if isinstance(content, list):
            return {**message, "content": [{"type": "text", "text": tagged}, *content]}
        return {**message, "content": tagged + (content or "")}
    if way == "parts":
        parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
        return {**message, "content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}, *parts]}
    return {**message, way: text}


_REFUSED = re.compile(r"(?i)signature|encrypted[ _](?:content|reasoning)|reasoning_details|'reasoning' was provided")


def without_signed(error: UpstreamError, body: JSON) -> JSON | None:
    """``body`` without what is signed or encrypted in its history, if ``error`` refuses that and there is some."""
    if error.status not in (400, 422) or not _REFUSED.search(error.message):
        return None
    messages = [_plain(message) for message in body["messages"]]
    return {**body, "messages": messages} if messages != body["messages"] else None


_SIGNED = ("reasoning_details", "extra_content")
_SKIP = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""What Google documents for calls whose signature is not to be had."""


def _plain(message: JSON) -> JSON:
    plain = {name: value for name, value in message.items() if name not in _SIGNED}
    if isinstance(plain.get("tool_calls"), list):
        plain["tool_calls"] = [_unsigned(call) for call in plain["tool_calls"]]
    return plain


def _unsigned(call: JSON) -> JSON:
    plain = {name: value for name, value in call.items() if name not in _SIGNED}
    if "google" in (call.get("extra_content") or {}):
        plain["extra_content"] = _SKIP
    return plain
