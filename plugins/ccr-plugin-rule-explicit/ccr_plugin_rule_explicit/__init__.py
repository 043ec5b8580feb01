"""The routing rule for a model that the client names itself: ``provider,model``.

This is what ``/model provider,model`` of Claude Code, an agent file or an SDK sends as ``model``.
"""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import Decision, Pass, Request, RouteContext, RuleSpec, hookimpl


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """The client's own choice, if its model is written ``provider,model[,level]`` or ``provider/model[,level]``.

    A comma occurs in no name of a model that a client knows by itself.  So a text with a comma is a decision even
    if its provider is unknown: routing then refuses it by name, where passing would send the conversation to another
    model without a word.  A slash is a part of many such names, so there the provider must be known.  The name of a
    route of the configuration (``default``, ``background``, ``think`` …) is a choice too.
    """
    model = request.model.strip()
    if ctx.find(model) is not None:
        return Decision(model, "the client names provider and model")
    for name, route in ctx.router.items():
        if name.casefold() == model.casefold() and isinstance(route, str) and ctx.find(route) is not None:
            return Decision(route, f"the client names the route {name}", scenario=name)
    if "," in model:
        return Decision(model, f'the client asked for "{model}"')
    if "/" in model:
        return Pass(f'"{model.partition("/")[0]}" in "{model}" is no provider of the configuration')
    return Pass(f'"{model}" names no provider' if model else "the client names no model")


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``explicit``."""
    yield RuleSpec(
        name="explicit", decide=decide, summary="The provider and model that the client names: provider,model."
    )
