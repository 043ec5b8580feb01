"""The routing rule for a tag in the prompt: ``<CCR-SUBAGENT-MODEL>provider,model</CCR-SUBAGENT-MODEL>``.

A tag counts only at the start of a block of text (after blanks): a prompt that merely talks about tags is left
alone, and looking costs a few characters per block, not a search of the prompt.

Observed with Claude Code: a tag at the start of an agent file begins the third block of ``system`` (the second when
the accounting line is switched off), one in the prompt of the Agent tool begins the last text block of the first
user message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ccr_core import JSON, Decision, Pass, Request, RouteContext, RuleSpec, hookimpl

_TAGS = re.compile(r"\s*(?:<CCR-SUBAGENT-MODEL>[^<]*</CCR-SUBAGENT-MODEL>\s*)+")
_TAG = re.compile(r"<CCR-SUBAGENT-MODEL>([^<]*)</CCR-SUBAGENT-MODEL>")


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """The model of the first tag; the tags are taken out of the request whether or not they are used."""
    found: list[str] = []
    changes: JSON = {}
    system = request.body.get("system")
    stripped = _strip(system, found)
    if stripped is not system:
        changes["system"] = stripped or ...
    messages = request.body.get("messages") or []
    for place, message in enumerate(messages):
        if message.get("role") == "user":
            content = message.get("content")
            stripped = _strip(content, found)
            if stripped is not content:
                message = {**message, "content": stripped}
                changes["messages"] = [*messages[:place], message, *messages[place + 1 :]]
            break
    changed = request.with_(**changes) if changes else None
    models = [model for tag in found if (model := tag.strip())]
    if models:
        return Decision(models[0], "the prompt's <CCR-SUBAGENT-MODEL> tag", request=changed)
    if found:
        return Pass("the <CCR-SUBAGENT-MODEL> tag is empty", changed)
    return Pass("no block of the prompt begins with a <CCR-SUBAGENT-MODEL> tag")


def _strip(content: Any, found: list[str]) -> Any:
    """``content`` without its tags, whose texts are added to ``found``; itself if there are none."""
    if isinstance(content, str):
        text = _strip_text(content, found)
        return content if text is None else text
    if not isinstance(content, list):
        return content
    blocks: list[Any] | None = None
    for place, block in enumerate(content):
        if isinstance(block, dict) and block.get("type") == "text" and isinstance(block.get("text"), str):
            text = _strip_text(block["text"], found)
            if text is not None:
                blocks = list(content) if blocks is None else blocks
                # Services refuse blocks without text, so a block that held nothing but tags goes.
                blocks[place] = {**block, "text": text} if text else None
    return content if blocks is None else [block for block in blocks if block is not None]


def _strip_text(text: str, found: list[str]) -> str | None:
    tags = _TAGS.match(text)
    if tags is None:
        return None
    found += _TAG.findall(tags[0])
    return text[tags.end() :]


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``subagent-tag``."""
    yield RuleSpec(
        name="subagent-tag",
        decide=decide,
        always=True,
        summary="The model in a <CCR-SUBAGENT-MODEL> tag at the start of a prompt.",
    )
