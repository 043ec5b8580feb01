"""Thinking: how much of it a model is asked for, and whose thinking it gets to see again.

Two scales meet here: levels (``low`` … ``max``, as in ``output_config.effort`` and in routes) and token budgets.  The
conversion is made only when the route asks for a level, or when the model is known not to take what the client sent.

Thinking blocks in the history carry a signature of the service that made them.  Anthropic refuses a request with a
signature that is not its own, so blocks of other services are taken out before they get there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from ccr_core import JSON, Context, RequestError, UpstreamError, unseal
from ccr_plugin_anthropic.models import Claude, claude

LEAST_BUDGET = 1024
"""The smallest thinking budget that the API takes."""

_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 63_999}
_ASCENDING = ("low", "medium", "high", "xhigh", "max")

_DUMMY = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,}|\d+", re.IGNORECASE)
"""Signatures that compatible services make up: a UUID, a hash, a time.  Anthropic's are base64 of a message."""


def level_of(budget: int) -> str:
    """The level that is nearest to a ``budget`` of thinking tokens."""
    for level, most in (("low", 1024), ("medium", 8192), ("high", 24_576), ("xhigh", 32_768)):
        if budget <= most:
            return level
    return "max"


def fit_thinking(body: JSON, ctx: Context, first_party: bool) -> JSON:
    """``body`` with thinking as the route asks for and the model takes; ``body`` itself where nothing is to change."""
    model = claude(ctx.target.model)
    if ctx.target.level:
        return _with_level(body, ctx.target.level, model, ctx, first_party)
    if model is None:
        return body
    asked = body.get("thinking") or {}
    kind = asked.get("type")
    if kind in ("enabled", "adaptive") and not model.thinks:
        ctx.note("anthropic.thinking", f"thinking left out: {ctx.target.model} has none")
        return without_effort(without_thinking(body, None), model, ctx)
    if kind == "adaptive" and not model.adaptive:
        effort = (body.get("output_config") or {}).get("effort")
        return _with_level(body, effort if isinstance(effort, str) else "high", model, ctx, first_party)
    if kind == "enabled" and not model.budgets:
        budget = asked.get("budget_tokens")
        level = f"budget:{budget}" if isinstance(budget, int) else "high"
        return _with_level(body, level, model, ctx, first_party, weak=True)
    return without_effort(body, model, ctx)


def _with_level(
    body: JSON, level: str, model: Claude | None, ctx: Context, first_party: bool, weak: bool = False
) -> JSON:
    """``body`` thinking at ``level``; with ``weak`` an effort that the client gave stands."""
    silent = model is not None and not model.thinks
    if level == "none":
        return without_thinking(body, None if silent else {"type": "disabled"})
    level, budget = _scales(level)
    if silent or (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        why = f"{ctx.target.model} has none" if silent else "the request forces a tool call"
        ctx.note("anthropic.thinking", f"no thinking at level {level}: {why}")
        return without_effort(without_thinking(body, None), model, ctx)
    asked = body.get("thinking") or {}
    thinking: JSON = {"display": asked["display"]} if "display" in asked else {}
    if (model is None and first_party) or (model is not None and model.adaptive):
        thinking["type"] = "adaptive"
    else:
        most = int(body["max_tokens"]) - 1
        if most < LEAST_BUDGET:
            ctx.note("anthropic.thinking", f"no thinking at level {level}: max_tokens is {most + 1}")
            return without_effort(without_thinking(body, None), model, ctx)
        thinking |= {"type": "enabled", "budget_tokens": max(LEAST_BUDGET, min(budget, most))}
    body = {**body, "thinking": thinking}
    if model is None or model.effort:
        config = body.get("output_config") or {}
        if not (weak and config.get("effort")):
            effort = _nearest(level, model.efforts if model else _ASCENDING)
            body["output_config"] = {**config, "effort": effort}
    else:
        body = without_effort(body, model, ctx)
    return _with_plain_sampling(body, ctx)


def _scales(level: str) -> tuple[str, int]:
    """A level of the route as level and budget."""
    if level.startswith("budget:"):
        number = level.removeprefix("budget:")
        if not number.isdecimal() or int(number) < 1:
            raise RequestError(f'the reasoning level "{level}" has no number of tokens; write for example budget:8192')
        return level_of(int(number)), int(number)
    if level not in _BUDGETS:
        raise RequestError(f'there is no reasoning level "{level}"; there are none, {", ".join(_BUDGETS)}')
    return "low" if level == "minimal" else level, _BUDGETS[level]


def _with_plain_sampling(body: JSON, ctx: Context) -> JSON:
    """``body`` without sampling parameters that the API refuses together with thinking."""
    refused = {
        "temperature": body.get("temperature") not in (None, 1),
        "top_k": body.get("top_k") is not None,
        "top_p": (body.get("top_p") or 1) < 0.95,
    }
    for name, is_refused in refused.items():
        if is_refused:
            ctx.note("anthropic.thinking", f"{name} left out: it does not go with thinking")
            body = _without(body, name)
    return body


def fit_budget(body: JSON, ctx: Context) -> JSON:
    """``body`` with a thinking budget below ``max_tokens``, which the API demands."""
    asked = body.get("thinking")
    budget = asked.get("budget_tokens") if isinstance(asked, dict) and asked.get("type") == "enabled" else None
    if not isinstance(asked, dict) or not isinstance(budget, int) or budget < body["max_tokens"]:
        return body
    fitting = int(body["max_tokens"]) - 1
    if fitting < LEAST_BUDGET:
        ctx.note("anthropic.thinking", f"thinking left out: its budget does not fit into {fitting + 1} tokens")
        return without_thinking(body, None)
    ctx.note("anthropic.thinking", f"thinking budget lowered from {budget} to {fitting}")
    return {**body, "thinking": {**asked, "budget_tokens": fitting}}


def _nearest(level: str, known: tuple[str, ...]) -> str:
    """The level itself if it is known, else the next lower one."""
    fitting = [name for name in known if _ASCENDING.index(name) <= _ASCENDING.index(level)]
    return fitting[-1] if fitting else known[0]


def without_thinking(body: JSON, instead: JSON | None) -> JSON:
    """``body`` that does not ask for thinking, nor for edits of the context that need it."""
    body = _without(body, "thinking") if instead is None else {**body, "thinking": instead}
    management = body.get("context_management")
    edits = management.get("edits") if isinstance(management, dict) else None
    if isinstance(management, dict) and isinstance(edits, list):
        kept = [edit for edit in edits if not str(edit.get("type", "")).startswith("clear_thinking")]
        if not kept:
            return _without(body, "context_management")
        if len(kept) < len(edits):
            return {**body, "context_management": {**management, "edits": kept}}
    return body


def without_effort(body: JSON, model: Claude | None, ctx: Context) -> JSON:
    """``body`` without an effort that ``model`` is known to refuse."""
    config = body.get("output_config")
    if model is None or model.effort or not isinstance(config, dict) or "effort" not in config:
        return body
    ctx.note("anthropic.thinking", f"effort left out: {ctx.target.model} does not take it")
    rest = _without(config, "effort")
    return {**body, "output_config": rest} if rest else _without(body, "output_config")


def _without(body: JSON, name: str) -> JSON:
    return {key: value for key, value in body.items() if key != name}


def readable(block: JSON, claude_reads: bool, known_other: bool = False) -> JSON | None:
    """A content ``block`` as its receiver can read it; ``None`` for thinking that it cannot.

    What the router has sealed for another family of providers is foreign everywhere.  Towards Claude thinking
    without a signature, or with one of those that compatible services make up, is foreign too; compatible services
    want their own back as they gave it.  Claude's is foreign to a service that is ``known_other``; of any other it
    is not known whether Claude is behind it under some name.
    """
    if block.get("type") != "thinking":
        return block
    signature = block.get("signature")
    sealed = unseal(signature)
    if sealed is not None:
        family, data = sealed
        if not family.startswith("anthropic"):
            return None
        return {**block, "signature": data["signature"]} if "signature" in data else block
    if claude_reads and (not isinstance(signature, str) or not signature or _DUMMY.fullmatch(signature)):
        return None
    return None if known_other and not claude_reads and is_claudes(signature) else block


def is_claudes(signature: object) -> bool:
    """Whether ``signature`` has the form of Anthropic's: base64 of a message whose first field (2) fills it but for a
    few bytes (recordings of 2025 and 2026)."""
    if not isinstance(signature, str) or len(signature) < 12 or signature[0] != "E":
        return False
    try:
        head = base64.b64decode(signature[:8], validate=True)
    except ValueError:
        return False
    length = shift = 0
    for place, byte in enumerate(head[1:], 2):
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            whole = len(signature.rstrip("=")) * 3 // 4
            return 0 <= whole - place - length <= 8
    return False


def without_foreign(body: JSON, ctx: Context, claude_reads: bool, known_other: bool = False) -> JSON:
    """``body`` without foreign thinking in its history; see :func:`readable`.

    A message of which nothing is left goes altogether.  If the answer that calls tools, to which the request brings
    the results, loses its thinking, a request with a budget would be refused: that one is then made without.
    """
    body, removed, unled = _read(body, lambda block: readable(block, claude_reads, known_other))
    if removed:
        ctx.note("anthropic.thinking", f"left out {removed} thinking blocks of other providers from the history")
    if claude_reads and unled and (body.get("thinking") or {}).get("type") == "enabled":
        ctx.note("anthropic.thinking", "thinking switched off: the tool calls under way came from another provider")
        body = without_thinking(body, {"type": "disabled"})
    return body


def without_refused(error: UpstreamError, body: JSON) -> JSON | None:
    """``body`` without any thinking in its history, if ``error`` refuses a signature and there is some."""
    if error.status != 400 or not _REFUSED.search(error.message):
        return None
    body, removed, unled = _read(body, lambda block: None if str(block.get("type")) in _THOUGHTS else block)
    if unled and (body.get("thinking") or {}).get("type") == "enabled":
        body = without_thinking(body, {"type": "disabled"})
    return body if removed else None


_REFUSED = re.compile(r"(?i)signature.{0,40}thinking|thinking.{0,40}signature|redacted_thinking.{0,40}data")
"""What the API says of thinking that was signed for another account or with another key, or was changed."""

_THOUGHTS = ("thinking", "redacted_thinking")


def _thoughts(content: list[JSON], reading: Callable[[JSON], JSON | None]) -> list[JSON]:
    """``content`` with its thoughts as ``reading`` gives them; itself where they stay."""
    changed = False
    kept = []
    for block in content:
        if block.get("type") in _THOUGHTS:
            new = reading(block)
            changed = changed or new is not block
            if new is None:
                continue
            block = new
        kept.append(block)
    return kept if changed else content


def _read(body: JSON, reading: Callable[[JSON], JSON | None]) -> tuple[JSON, int, bool]:
    """``body`` with the thoughts in its answers as ``reading`` gives them; how many went; whether calls under way lost
    the thinking before them.  Messages of which nothing is left go.  Other blocks are not read."""
    removed = 0
    unled = changed = False
    messages = []
    for message in body["messages"]:
        content = message.get("content")
        if message.get("role") == "assistant":
            unled = False
            kept = _thoughts(content, reading) if isinstance(content, list) else content
            if kept is not content:
                changed = True
                message = {**message, "content": kept}
                if len(kept) < len(content):
                    removed += len(content) - len(kept)
                    if not kept:
                        continue
                    leads = str(kept[0].get("type")).endswith("thinking")
                    unled = not leads and any(block.get("type") == "tool_use" for block in kept)
        messages.append(message)
    # Where nothing changed there was nothing that calls could have lost.
    return ({**body, "messages": messages}, removed, unled) if changed else (body, 0, False)
