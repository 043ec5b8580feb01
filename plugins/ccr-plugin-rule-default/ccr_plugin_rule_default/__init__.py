"""The last routing rule: ``Router.default``, for whatever no other rule took.

Without a ``Router.default`` the first listed model of the first usable provider is taken, so that a configuration
that holds nothing but one provider works; the reason says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ccr_core import Decision, Pass, Request, RouteContext, RuleSpec, hookimpl


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """``Router.default``, else the first model of the first provider; pass if there is neither."""
    default = ctx.router.get("default", _table(ctx.config.get("Router")).get("default"))
    if isinstance(default, str) and default.strip():
        return Decision(default, "Router.default")
    if default not in (None, ""):
        return Pass(f"Router.default must be a text such as provider,model, got {type(default).__name__}")
    for model in _models(ctx.config.get("Providers")):
        if ctx.find(model) is not None:
            return Decision(model, "Router.default is not set; the first model of the first provider")
    return Pass("Router.default is not set, and no provider lists a model")


def _models(providers: Any) -> Iterator[str]:
    """Every listed model of the providers of a configuration as written, as ``provider,model``."""
    for provider in map(_table, providers if isinstance(providers, (list, tuple)) else ()):
        if provider.get("enabled", True):
            for model in provider.get("models") or ():
                # A model is a name, or a table with a name and what is known of it.
                yield f"{provider.get('name')},{model if isinstance(model, str) else _table(model).get('name')}"


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``default``."""
    yield RuleSpec(name="default", decide=decide, summary="Router.default, for whatever no other rule took.")
