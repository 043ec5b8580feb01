"""The routing rule for new pictures: ``Router.image``.

New are the pictures that came after the model's last answer: pasted by the user, or read by a tool.  Pictures further
up in the conversation do not count: else one screenshot would keep a conversation on the vision model for good.

With ``forceUseImageAgent`` the router's own tool ``image-agent`` takes all pictures, so the rule declines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from ccr_core import JSON, Decision, Pass, Request, RouteContext, RuleSpec, blocks_of, hookimpl


@attrs.frozen
class Options:
    """Keys of the ``Router`` section: the route, ``provider,model[,level]``; empty is unset."""

    image: str | None = attrs.field(default=None, metadata={"route": True})


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """``Router.image``, if the newest messages hold a picture and the client does not ask for that model anyway."""
    options: Options = ctx.options
    if not options.image:
        return Pass("Router.image is not set")
    if _forced(ctx.config):
        return Pass("forceUseImageAgent leaves pictures to the tool image-agent")
    where = next(_pictures(request.messages), None)
    if where is None:
        return Pass("the newest messages hold no picture")
    wanted, asked = ctx.find(options.image), ctx.find(ctx.requested_model)
    if wanted and asked and (wanted.provider, wanted.model) == (asked.provider, asked.model):
        return Pass("the client itself asks for the model of Router.image")
    return Decision(options.image, f"a picture in {where}", scenario="image")


def _forced(config: Mapping[str, Any]) -> bool:
    """Whether the image agent shall take new pictures too, and is not switched off."""
    tools = config.get("server_tools")
    off = isinstance(tools, Mapping) and tools.get("image-agent") is False
    return config.get("forceUseImageAgent") is True and not off


def _pictures(messages: list[JSON]) -> Iterator[str]:
    """Where there are pictures among what came after the model's last answer, the newest first."""
    newest = len(messages)
    while newest and messages[newest - 1].get("role") == "assistant":
        newest -= 1  # the beginning of an answer, which the model is to go on with
    for message in reversed(messages[:newest]):
        if message.get("role") == "assistant":
            return
        for block in blocks_of(_list(message.get("content"))):
            kind = block.get("type")
            if kind == "image":
                yield "the newest user message"
            elif kind == "tool_result" and _holds_picture(block):
                yield "the newest tool result"


def _holds_picture(result: JSON) -> bool:
    return any(part.get("type") == "image" for part in blocks_of(_list(result.get("content"))))


def _list(content: Any) -> Any:
    """``content`` if it is blocks: text holds no pictures."""
    return content if isinstance(content, list) else ()


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``image``."""
    yield RuleSpec(
        name="image", decide=decide, options=Options, summary="Router.image, for requests with a new picture."
    )
