"""Thinking: how it is asked for, and how it gets back to the service that made it.

A service hides the thinking of its models and gives a summary and the thinking itself in encrypted form; or it shows
the thinking as text.  Either comes as an item of its own, and the model wants the item back, unchanged and in its
place.  So a thinking block of ours bears a sealed signature that holds what the text does not say; the client stores
and replays it.  Thinking of any other origin is left out of a request: as text it would only teach the model to
imitate it.
"""

from __future__ import annotations

import re
from typing import Any

from ccr_core import JSON, LEVELS, Context, Request, UpstreamError, seal, thinking_of, unseal

from .options import Options
from .urls import host

SEAL_LIMIT = 256 * 1024
"""The most characters of a signature; above it only the text of a thought is kept."""


def nearest(level: str, known: tuple[str, ...]) -> str:
    """The level of ``known`` that is nearest to ``level``, the lower of two; a word nobody knows stays."""
    if level in known or level not in LEVELS:
        return level
    places = [LEVELS.index(one) for one in known if one in LEVELS]
    place = LEVELS.index(level)
    return LEVELS[min(places, key=lambda one: (abs(one - place), one))] if places else level


def fields(request: Request, ctx: Context, options: Options) -> JSON:
    """The fields of the request body that ask for thinking."""
    wish = thinking_of(request, ctx.target.level)
    if not options.thinking:
        if wish.on:
            ctx.note("thinking", f"not asked for: {ctx.target.model} is not known to think (option thinking)")
        return {}
    body: JSON = {}
    if options.encrypted:
        body["include"] = ["reasoning.encrypted_content"]
    reasoning: JSON = {}
    level = wish.level
    if level and not options.levels:
        ctx.note("thinking", f"{ctx.target.model} takes no level of thinking; {level} left out")
        level = None
    elif wish.on is False and not (options.can_disable and "none" in options.levels):
        level = nearest("none", tuple(one for one in options.levels if one != "none"))
        ctx.note("thinking", f"cannot be switched off; asked for the level {level}")
    if level:
        reasoning["effort"] = nearest(level, options.levels)
    shown = (request.body.get("thinking") or {}).get("display") != "omitted"
    if wish.on and shown and options.summary != "none":
        reasoning["summary"] = options.summary
    if reasoning:
        body["reasoning"] = reasoning
    return body


# --- provenance --------------------------------------------------------------------------------------------------


def family(ctx: Context, options: Options) -> str:
    """Who may read thinking of this target again."""
    return f"openai-responses.{options.family or host(ctx.target.base_url)}"


def keeps(item: JSON, options: Options) -> bool:
    """Whether ``item`` holds something that must go back, besides its text."""
    return bool(item.get("encrypted_content") or (options.store and item.get("id")))


def sealed(item: JSON, shown: str, ctx: Context, options: Options) -> str:
    """The signature for a thinking block that stands for ``item``.

    ``shown`` says what its text is: a ``summary``, the thinking itself (``content``), or nothing (empty).
    """
    data: JSON = {"m": ctx.target.model, "t": item.get("type"), "s": shown}
    if item.get("encrypted_content"):
        data["e"] = item["encrypted_content"]
    if item.get("id") and (options.store or shown == "content"):
        data["i"] = item["id"]
    signature = seal(family(ctx, options), data)
    if len(signature) > SEAL_LIMIT:
        ctx.note("thinking", f"its encrypted form is too large to keep ({len(signature)} characters)")
        del data["e"]
        signature = seal(family(ctx, options), data)
    return signature


def item_of(block: JSON, ctx: Context, options: Options) -> JSON | None:
    """The item that a thinking ``block`` stands for; ``None`` if it is of no use to this service and model."""
    opened = unseal(block.get("signature"))
    if opened is None or opened[0] != family(ctx, options):
        return None
    data: dict[str, Any] = opened[1]
    encrypted, kind, shown, ident = (data.get(name) for name in ("e", "t", "s", "i"))
    if encrypted and data.get("m") != ctx.target.model:
        # Only the model that made it is known to be able to read it.
        encrypted = ident = None
    if kind == "compaction":
        return {"type": kind, "encrypted_content": encrypted} if encrypted else None
    text = str(block.get("thinking") or "")
    item: JSON = {"type": "reasoning", "summary": []}
    if ident and (options.store or not encrypted):
        item["id"] = ident
    if encrypted:
        item["encrypted_content"] = encrypted
    if text and shown == "content":
        item["content"] = [{"type": "reasoning_text", "text": text}]
    elif text and shown == "summary":
        item["summary"] = [{"type": "summary_text", "text": text}]
    # A summary by itself says nothing to the model, and the service would look in vain for the rest.
    return item if encrypted or "content" in item or (options.store and "id" in item) else None


# --- thoughts that are refused -----------------------------------------------------------------------------------

_UNREADABLE = re.compile(
    r"(?i)encrypted[ _]content|type 'reasoning' was provided without|Item with id 'rs_|item 'rs_[^']*' not found"
)
"""What a service says of thoughts of another account or organisation, of old ones, and of ones torn from their item."""


def without_thoughts(error: UpstreamError, body: JSON) -> JSON | None:
    """``body`` without thoughts, if ``error`` refuses them and there are any.

    What a service shows of its thoughts as text can be read by anyone, and stays.
    """
    if error.status not in (400, 404, 422) or not _UNREADABLE.search(error.message):
        return None
    kept: list[JSON] = []
    changed = False
    for item in body.get("input") or ():
        if item.get("type") in ("reasoning", "compaction"):
            changed = changed or "encrypted_content" in item or "id" in item
            if not item.get("content"):
                continue
            item = {name: value for name, value in item.items() if name not in ("encrypted_content", "id")}
        kept.append(item)
    return {**body, "input": kept} if changed else None
