"""The routing rule for web searches: ``Router.webSearch``.

Only some services search by themselves, so a request that offers the server's own search tool needs a route of its
own.  Observed with Claude Code: its tool WebSearch sends a request with exactly one tool, of the type
``web_search_20250305``, under the name of the main model.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ccr_core import Decision, Pass, Request, RouteContext, RuleSpec, hookimpl


@attrs.frozen
class Options:
    """Keys of the ``Router`` section: the route, ``provider,model[,level]``; empty is unset."""

    web_search: str | None = attrs.field(default=None, metadata={"key": "webSearch", "route": True})


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """``Router.webSearch``, if a tool's ``type`` begins with ``web_search``."""
    options: Options = ctx.options
    if not options.web_search:
        return Pass("Router.webSearch is not set")
    for tool in request.tools:
        kind = tool.get("type")
        if isinstance(kind, str) and kind.startswith("web_search"):
            return Decision(options.web_search, f"a tool of the type {kind}", scenario="webSearch")
    return Pass("no tool is a web search")


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``web-search``."""
    yield RuleSpec(
        name="web-search", decide=decide, options=Options, summary="Router.webSearch, for requests that search the web."
    )
