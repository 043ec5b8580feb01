"""Choosing a provider and a model: rules in an order, and the explanation of each choice.

A rule is a function ``decide(request, ctx) -> Decision | Pass`` (or a coroutine function).  The first that decides
wins.  One that declines says why, and one that fails is recorded as having declined: routing goes on, and the
failure is visible in the explanation.  Rules never change what they are given; to strip a tag from the prompt a
rule returns a changed ``request`` in its answer.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ccr_core.errors import RoutingError
from ccr_core.messages import JSON, Hints, Request

if TYPE_CHECKING:
    from ccr_core.spec import RuleSpec

log = logging.getLogger("ccr.routing")

DEFAULT_RULES: tuple[str, ...] = (
    "rewrite-prompt",
    "custom-router",
    "subagent-tag",
    "explicit",
    "image",
    "long-context",
    "background",
    "web-search",
    "think",
    "agent-type",
    "default",
)
"""The order of rules unless ``Router.rules`` gives another.  Those that are not installed are left out."""


@attrs.frozen(kw_only=True)
class Route:
    """Where a request goes: canonical names of provider and model, and the reasoning level asked for, if any."""

    provider: str
    model: str
    level: str | None = None

    def __str__(self) -> str:
        return f"{self.provider},{self.model}" + (f",{self.level}" if self.level else "")


@attrs.frozen
class Decision:
    """A rule decides.  ``model`` is written ``provider,model[,level]``; ``why`` is for people.

    ``scenario`` names the route of the configuration that was taken (``background``, ``think`` …), which selects
    the fallback list.  ``request`` replaces the request when given.
    """

    model: str
    why: str
    scenario: str = "default"
    request: Request | None = None


@attrs.frozen
class Pass:
    """A rule declines, and says why.  ``request`` replaces the request when given (a stripped tag)."""

    why: str
    request: Request | None = None


@attrs.frozen(kw_only=True)
class RouteContext:
    """What a rule may know.

    ``options`` is the rule's own, ``router`` the effective ``Router`` section (project and session settings merged
    in), ``config`` the whole configuration as plain data without secrets.  ``tokens`` is the counted size of the
    request when a rule ``needs`` it; ``await count()`` counts it now.  ``last_usage`` is what the provider reported
    for the session's last answer.
    ``find`` turns a text such as ``provider,model`` into a route, or ``None`` if the provider is not known.
    """

    options: Any
    router: Mapping[str, Any]
    config: Mapping[str, Any]
    hints: Hints
    requested_model: str
    find: Callable[[str], Route | None]
    tokens: int | None = None
    last_usage: JSON | None = None
    window: Callable[[Route], int | None] = lambda route: None
    count: Callable[[], Awaitable[int]] | None = None


@attrs.frozen
class Rule:
    """A rule in its place: the spec, its checked options, and who contributes it."""

    spec: RuleSpec
    options: Any
    plugin: str


@attrs.frozen(kw_only=True)
class Answer:
    """One line of an explanation: a rule and its ``state``: ``decided``, ``passed``, ``failed`` or ``not asked``."""

    rule: str
    state: str
    why: str

    def to_json(self) -> JSON:
        """As plain data."""
        return {"rule": self.rule, "state": self.state, "why": self.why}


@functools.lru_cache(maxsize=256)
def _not_asked(rule: str, winner: str) -> Answer:
    """Most of an explanation, and the same for each request: made once."""
    return Answer(rule=rule, state="not asked", why=f"{winner} decided")


@attrs.frozen(kw_only=True)
class Choice:
    """The result of routing: the route, why, and every rule's answer.

    ``counted`` is what the counter gave, before what the provider reported corrected it to ``tokens``.
    """

    route: Route
    request: Request
    rule: str
    scenario: str
    why: str
    answers: tuple[Answer, ...]
    tokens: int | None = None
    counted: int | None = None

    def __str__(self) -> str:
        return f"{self.route}; rule={self.rule}; {self.why}"


async def choose(
    rules: Sequence[Rule],
    request: Request,
    context: Callable[[Any, Request], RouteContext],
) -> Choice:
    """Ask ``rules`` in order; the first decision wins.

    ``context(options, request)`` makes what each rule gets.  Raises ``RoutingError`` if none decides, or if the one
    that does names an unknown provider.
    """
    answers: list[Answer] = []
    won: tuple[Rule, Decision] | None = None
    ctx: RouteContext | None = None
    of: Request | None = None
    for rule in rules:
        name = rule.spec.name
        if won is not None and not rule.spec.always:
            answers.append(_not_asked(name, won[0].spec.name))
            continue
        try:
            # Most rules have no options, and are told the same.
            if ctx is None or of is not request or ctx.options is not rule.options:
                ctx, of = context(rule.options, request), request
            said: Any = rule.spec.decide(request, ctx)
            if not isinstance(said, (Decision, Pass)) and inspect.isawaitable(said):
                said = await said
            if not isinstance(said, (Decision, Pass)) or not isinstance(said.request, (Request, type(None))):
                raise TypeError(f"expected a Decision or a Pass, got {said!r}")
            if isinstance(said, Decision) and not isinstance(said.model, str):
                raise TypeError(f"expected a text as the model of a Decision, got {said.model!r}")
        except Exception as error:
            log.warning("rule %s (plugin %s) failed", name, rule.plugin, exc_info=True)
            answers.append(Answer(rule=name, state="failed", why=f"{type(error).__name__}: {error}"))
            continue
        if said.request is not None:
            request = said.request
        if won is not None:
            stripped = "; its change of the request counts" if said.request is not None else ""
            answers.append(Answer(rule=name, state="passed", why=f"{won[0].spec.name} decided{stripped}"))
        elif isinstance(said, Decision):
            won = (rule, said)
            answers.append(Answer(rule=name, state="decided", why=f"{said.model}: {said.why}"))
        else:
            answers.append(Answer(rule=name, state="passed", why=said.why))
    if won is None:
        reasons = "; ".join(f"{answer.rule}: {answer.why}" for answer in answers)
        raise RoutingError(f"no rule chose a model ({reasons}); set Router.default in the configuration", answers)
    rule, decision = won
    if ctx is None or of is not request:
        ctx = context(rule.options, request)
    route = ctx.find(decision.model)
    if route is None:
        raise RoutingError(
            f'no provider for "{decision.model}" (rule {rule.spec.name}: {decision.why}); '
            "name it as provider,model with a provider of the configuration",
            answers,
        )
    return Choice(
        route=route,
        request=request,
        rule=rule.spec.name,
        scenario=decision.scenario,
        why=decision.why,
        answers=tuple(answers),
        tokens=ctx.tokens,
    )


def find_route(text: str, providers: Mapping[str, Sequence[str]]) -> Route | None:
    """The route that ``text`` names: ``provider,model[,level]`` or ``provider/model[,level]``.

    ``providers`` maps names to their listed models.  Names are matched without regard to case and surrounding
    blanks and come back in canonical spelling; a model that is not listed passes as written, commas kept.  A last
    part after a listed model is the reasoning level.  ``None`` if the provider is not known.
    """
    for separator in ",/":
        head, found, rest = text.partition(separator)
        provider = _spelled(head, providers) if found else None
        if provider is not None:
            break
    else:
        return None
    rest = rest.strip()
    if not rest:
        return None
    models = providers[provider]
    listed = _spelled(rest, models)
    if listed is not None:
        return Route(provider=provider, model=listed)
    model, _, level = (part.strip() for part in rest.rpartition(","))
    level = level.lower()
    if model and level:
        listed = _spelled(model, models)
        if listed is not None or level in LEVELS or level.startswith("budget:"):
            return Route(provider=provider, model=listed or model, level=level)
    return Route(provider=provider, model=rest)


def _spelled(name: str, names: Collection[str]) -> str | None:
    """``name`` as it is spelled in ``names``: exactly, or else without regard to case and surrounding blanks."""
    name = name.strip()
    if name in names:
        return name
    fold = name.casefold()
    return next((other for other in names if other.casefold() == fold), None)


LEVELS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
"""Reasoning levels that a route may end with, besides ``budget:<tokens>``."""
