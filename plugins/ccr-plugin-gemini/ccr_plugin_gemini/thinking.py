"""Thinking: how it is asked for, and how thoughts and signatures get back to the model that made them.

Gemini signs its thoughts.  A signature comes on a part (a text, a call, at times an empty text at the end), and must
go back on the same part; newer models refuse a call that lacks it.  The client keeps no such field, but it stores
thinking blocks and replays them untouched.  So every signature travels in the sealed ``signature`` of a thinking
block: that of the thought before the part, or one made for it, with an empty text.

What a seal holds (all but ``m`` optional):

=====  ==============================================================================
``m``  the model; signatures mean nothing to another
``t``  the signature of the thought itself
``n``  that of the next part, a text or a file
``p``  that of the text before
``e``  signatures that came on empty texts
``c``  those of calls: id → signature
``r``  parts that have no block of their own (work of Google's tools), as they came
``i``  ids of the blocks that show the client what is in ``r``
=====  ==============================================================================
"""

from __future__ import annotations

import re
from typing import Any

import attrs

from ccr_core import BUDGETS, JSON, LEVELS, AskedThinking, Context, Request, UpstreamError, seal, thinking_of, unseal

from .families import Family
from .options import Thinking

SKIP = "skip_thought_signature_validator"
"""The documented signature for calls that the model did not make itself."""

SEAL_LIMIT = 256 * 1024
"""The most characters of a sealed signature."""


def config(request: Request, ctx: Context, options: Thinking, family: Family, limit: int | None) -> tuple[JSON, int]:
    """``thinkingConfig``, and by how many tokens the ``limit`` of the answer must be raised for it."""
    wish = thinking_of(request, ctx.target.level)
    style = options.style if options.style != "auto" else family.thinking
    if style == "none":
        if wish.on:
            ctx.note("thinking", f"not asked for: {ctx.target.model} is not known to think (option thinking.style)")
        return {}, 0
    small = limit is not None and limit <= options.room
    if wish.on is None and small:
        # The thoughts would use up the limit before there is an answer.
        wish = AskedThinking(False, "none")
    if wish == AskedThinking():
        return {}, 0
    out: JSON = {"includeThoughts": True} if wish.on and wish.shown else {}
    if style == "level":
        level = _nearest(wish.level, options.levels or family.levels) if wish.level else None
        if level:
            out["thinkingLevel"] = level
    else:
        budget = _budget(wish, ctx, options, family, limit)
        if budget is not None:
            out["thinkingBudget"] = budget
    never = family.can_stop is False and wish.on is False
    if never and not small:
        ctx.note("thinking", f"{ctx.target.model} cannot stop thinking; asked for the least of it")
    if not (small and family.can_stop is False):
        return out, 0
    ctx.note("max_tokens", f"raised by {options.room}: {ctx.target.model} cannot stop thinking, which counts here")
    return out, options.room


def _nearest(level: str, known: tuple[str, ...]) -> str | None:
    if not known or level in known:
        return level if known else None
    place = LEVELS.index(level) if level in LEVELS else LEVELS.index("medium")
    ranked = [one for one in known if one in LEVELS]
    return min(ranked, key=lambda one: (abs(LEVELS.index(one) - place), LEVELS.index(one)), default=known[0])


def _budget(wish: AskedThinking, ctx: Context, options: Thinking, family: Family, limit: int | None) -> int | None:
    least = options.min_budget if options.min_budget is not None else family.min_budget
    most = options.max_budget if options.max_budget is not None else family.max_budget
    if wish.on is False:
        return 0 if family.can_stop else least
    wanted = wish.budget if wish.budget is not None else BUDGETS.get(wish.level or "")
    if wanted is None:
        return -1 if family.dynamic else None
    if wanted == 0 and family.can_stop:
        return 0
    budget = min(max(wanted, least), most)
    if limit is not None and budget >= limit:
        # Thinking counts as part of the answer here, so it must leave some of the limit.
        lower = max(least, limit // 2)
        if lower < budget:
            ctx.note("thinking", f"budget of {budget} lowered to {lower}: the answer may have {limit} tokens in all")
        budget = min(budget, lower)
    return budget


def sealed(ctx: Context, maker: str, data: JSON) -> str:
    """The signature of a thinking block that holds ``data``."""
    model = {"m": ctx.target.model}
    signature = seal(maker, model | data)
    if len(signature) > SEAL_LIMIT:
        ctx.note("thinking", f"signatures too large to keep ({len(signature)} characters) left out")
        signature = seal(maker, model)
    return signature


@attrs.define
class Thoughts:
    """What the thinking blocks of one assistant message hold for the model that is asked now."""

    seals: dict[int, JSON] = attrs.Factory(dict)
    """By the place of the block: the seal."""

    calls: dict[str, str] = attrs.Factory(dict)
    shown: set[str] = attrs.Factory(set)
    """Ids of blocks that only repeat what is in a seal."""

    foreign: int = 0
    """How many blocks were of another origin."""


def thoughts_of(blocks: list[JSON], ctx: Context, maker: str, options: Thinking) -> Thoughts:
    """Open the seals of the thinking among ``blocks``."""
    found = Thoughts()
    for place, block in enumerate(blocks):
        if block.get("type") not in ("thinking", "redacted_thinking"):
            continue
        opened = unseal(block.get("signature"))
        if opened is None or opened[0] != maker or opened[1].get("m") != ctx.target.model:
            found.foreign += 1
            continue
        data: Any = opened[1]
        if options.replay == "none":
            continue
        found.seals[place] = data
        found.calls.update(data.get("c") or {})
        found.shown.update(data.get("i") or ())
    return found


_REFUSED = re.compile(r"(?i)thought[ _]?signature")


def without_signatures(error: UpstreamError, body: JSON) -> JSON | None:
    """``body`` with no signature but the documented one on calls, if ``error`` refuses one and that is a change."""
    if error.status != 400 or not _REFUSED.search(error.message):
        return None
    contents = [{**content, "parts": _unsigned(content["parts"])} for content in body["contents"]]
    return {**body, "contents": contents} if contents != body["contents"] else None


def _unsigned(parts: list[JSON]) -> list[JSON]:
    """``parts`` in which the first of calls made at once says that its signature is to be skipped."""
    out: list[JSON] = []
    for part in parts:
        kept = {name: value for name, value in part.items() if name != "thoughtSignature"}
        if "functionCall" in part and not (out and "functionCall" in out[-1]):
            kept["thoughtSignature"] = SKIP
        if part.get("thoughtSignature") and part.get("text") == "":
            continue
        out.append(kept)
    return out
