"""The routing rule for kinds of sub-agents: ``Router.agentTypes``.

Claude Code tells the kind of a sub-agent in a hint header: ``general-purpose``, ``Explore``, ``Plan`` and so on for
its own, the one word ``custom`` for all that come from agent files.  Without hint headers a sub-agent still shows by
its agent id (a header of its own) and by a mark in the first system block; then its kind is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from ccr_core import Decision, Pass, Request, RouteContext, RuleSpec, hookimpl

_MARK = "cc_is_subagent=true"
OTHERS = "*"
"""The entry for every sub-agent without an entry of its own."""


@attrs.frozen
class Options:
    """Keys of the ``Router`` section: a route for each kind of sub-agent; an empty one leaves it to other rules."""

    agent_types: Mapping[str, str | None] | None = attrs.field(
        default=None, metadata={"key": "agentTypes", "route": True}
    )


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """The route of the sub-agent's kind, else that of ``*``; pass for requests that are no sub-agent's."""
    options: Options = ctx.options
    if not options.agent_types:
        return Pass("Router.agentTypes is not set")
    hints = ctx.hints
    kind = hints.agent_type
    if kind is None and hints.request_class != "subagent" and hints.agent_id is None and not _marked(request):
        return Pass("the request is no sub-agent's")
    named = f"a sub-agent of the type {kind}" if kind else "a sub-agent of unknown type"
    for name in (kind, OTHERS):
        entry = _entry(options.agent_types, name)
        if entry is not None:
            route = options.agent_types[entry]
            if not route:
                return Pass(f"{named}, which Router.agentTypes leaves alone")
            return Decision(route, f'{named}; Router.agentTypes has "{entry}"', scenario="agentTypes")
    return Pass(f"{named}, which Router.agentTypes does not name")


def _entry(types: Mapping[str, str | None], name: str | None) -> str | None:
    """The key of ``types`` that is ``name``, exactly or else without regard to case."""
    if name is None or name in types:
        return name
    return next((key for key in types if key.casefold() == name.casefold()), None)


def _marked(request: Request) -> bool:
    """Whether the accounting line, always the first system block where there is one, tells of a sub-agent."""
    first = next(iter(request.system_blocks()), None)
    text = first.get("text") if isinstance(first, dict) else None
    # The line has some 80 characters; a prompt that talks about the mark is not meant.
    return isinstance(text, str) and len(text) < 500 and _MARK in text


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``agent-type``."""
    yield RuleSpec(
        name="agent-type", decide=decide, options=Options, summary="Router.agentTypes, a route per kind of sub-agent."
    )
