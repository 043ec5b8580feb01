"""The routing rule for long conversations: ``Router.longContext``.

A request is long if it is over a threshold, counted here or by the provider at the session's last answer, or if it
does not fit into the default model.  The request is counted only when that can matter.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ccr_core import JSON, Decision, Pass, Request, RouteContext, RuleSpec, hookimpl

THRESHOLD = 60_000
OF_THE_SESSION = 20_000
"""Counted tokens from which a request is taken for one of the session's main conversation.

Sub-agents and helper calls bear the session's id too, so what the provider reported last says nothing of a short one.
"""


@attrs.frozen
class Options:
    """Keys of the ``Router`` section: the route, ``provider,model[,level]`` (empty is unset), and a number of
    tokens."""

    long_context: str | None = attrs.field(default=None, metadata={"key": "longContext", "route": True})
    threshold: int | None = attrs.field(default=THRESHOLD, metadata={"key": "longContextThreshold"})

    def __attrs_post_init__(self) -> None:
        if self.threshold is not None and self.threshold < 0:
            raise ValueError("'longContextThreshold' must be 0 (always) or more")


def needs(options: Options) -> frozenset[str]:
    """The count, unless the answer does not hang on it."""
    return frozenset({"tokens"} if options.long_context and options.threshold != 0 else ())


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """``Router.longContext`` for a request over the threshold, or one that the default model cannot hold."""
    options: Options = ctx.options
    if not options.long_context:
        return Pass("Router.longContext is not set")
    limit = THRESHOLD if options.threshold is None else options.threshold
    tokens = ctx.tokens or 0
    last = _prompt(ctx.last_usage)
    if limit == 0:
        why = "Router.longContextThreshold is 0"
    elif tokens > limit:
        why = f"{tokens} tokens, more than {limit}"
    elif last > limit and tokens > OF_THE_SESSION:
        why = f"the session's last prompt had {last} tokens, more than {limit}"
    else:
        why = _misfit(request, ctx, tokens)
    if why:
        return Decision(options.long_context, why, scenario="longContext")
    return Pass(f"{tokens} tokens, not more than {limit}" + (f"; last time {last}" if last else ""))


def _prompt(usage: JSON | None) -> int:
    """The tokens of the prompt that ``usage`` reports: those that were cached are counted apart from the others."""
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(count for part in parts if isinstance(count := (usage or {}).get(part), int))


def _misfit(request: Request, ctx: RouteContext, tokens: int) -> str:
    """Why the default model cannot hold prompt and answer; empty if it can, or if nobody knows.

    Clients ask for as long an answer as *their* model could give (Claude Code: 128 000 tokens for all its newest
    names).  So the answer is never counted with more than half of the window: else a model with a window of that size
    would never be used.
    """
    default = ctx.router.get("default")
    route = ctx.find(default) if isinstance(default, str) else None
    window = ctx.window(route) if route else None
    if not route or not window:
        return ""
    long = ctx.find(str(ctx.options.long_context))
    there = ctx.window(long) if long else None
    asked = request.body.get("max_tokens")
    answer = min(asked if isinstance(asked, int) else 0, window // 2)
    if tokens + answer <= window or (there is not None and there <= window):
        return ""
    return f"{tokens} tokens and {answer} for the answer do not fit into the {window} of {route.provider},{route.model}"


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``long-context``."""
    yield RuleSpec(
        name="long-context",
        decide=decide,
        options=Options,
        needs=needs,
        summary="Router.longContext, for conversations over a threshold.",
    )
