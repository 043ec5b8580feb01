"""The routing rule for what need not be done by the main model: ``Router.background``.

What clients say and show, as observed with Claude Code:

* with hint headers each request names its class; helper calls (prompt hooks, titles, the web-search sub-request) are
  ``auxiliary``, the summary of a conversation ``compaction``;
* helper calls bear the *main* model's name, unless the user has set a name for the small model; so a name alone
  tells of ``/model haiku``, of sub-agents that are to be small, and of older clients' own choice of haiku;
* without hint headers helper calls show by their shape: no tools, no thinking, an answer in JSON for the program.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ccr_core import Decision, Pass, Request, RouteContext, RuleSpec, hookimpl

CLASSES = ("auxiliary", "compaction")


@attrs.frozen
class Options:
    """Keys of the ``Router`` section: the route, ``provider,model[,level]``; empty is unset."""

    background: str | None = attrs.field(default=None, metadata={"route": True})


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """``Router.background`` for helper calls and for haiku names; web searches are left to their own rule."""
    options: Options = ctx.options
    if not options.background:
        return Pass("Router.background is not set")
    if ctx.router.get("webSearch") and _searches(request):
        return Pass("a web search, for which there is Router.webSearch")
    said = ctx.hints.request_class
    if said in CLASSES:
        return Decision(options.background, f"the client calls the request {said}", scenario="background")
    name = ctx.requested_model
    if "claude" in name.lower() and "haiku" in name.lower():
        return Decision(options.background, f"the client asks for {name}", scenario="background")
    if said is not None:
        return Pass(f"the client calls the request {said}, and asks for no haiku model")
    if _is_helper(request):
        return Decision(options.background, "a helper call, by its shape", scenario="background")
    return Pass("no haiku model, and not the shape of a helper call")


def _searches(request: Request) -> bool:
    return any(str(tool.get("type", "")).startswith("web_search") for tool in request.tools)


def _is_helper(request: Request) -> bool:
    """Whether this looks like a helper call of Claude Code.

    The wish for JSON is what sets it apart from an application that talks without tools; the client's name, from
    programs that ask for JSON as their main business.
    """
    wanted = request.body.get("output_config")
    return (
        request.headers.get("user-agent", "").startswith("claude-cli/")
        and not request.tools
        and not request.thinking
        and isinstance(wanted, dict)
        and wanted.get("format") is not None
    )


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``background``."""
    yield RuleSpec(
        name="background",
        decide=decide,
        options=Options,
        summary="Router.background, for helper calls and haiku models.",
    )
