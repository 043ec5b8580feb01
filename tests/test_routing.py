"""Rules in an order, and the explanation of a choice."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import Decision, Hints, Pass, Request, Route, RouteContext, RoutingError
from ccr_core.routing import DEFAULT_RULES, LEVELS, Answer, Rule, choose, find_route
from ccr_core.spec import RuleSpec

PROVIDERS = {
    "OpenRouter": ["anthropic/claude-sonnet-4", "a,b", "a", "Qwen:Free"],
    "local": ["m"],
    "Local": ["other"],
    "empty": [],
}


def rule(name: str, decide: Callable[..., Any], options: Any = None) -> Rule:
    return Rule(RuleSpec(name=name, decide=decide), options, f"plugin-{name}")


def context(options: Any, request: Request) -> RouteContext:
    return RouteContext(
        options=options,
        router={},
        config={},
        hints=Hints(),
        requested_model=request.model,
        find=lambda text: find_route(text, PROVIDERS),
        tokens=len(str(request.body)),
    )


REQUEST = Request({"model": "claude", "messages": []})


def passes(request: Request, ctx: RouteContext) -> Pass:
    return Pass("not mine")


def decides(request: Request, ctx: RouteContext) -> Decision:
    return Decision("local,m", "because", "think")


async def test_the_first_decision_wins() -> None:
    """The first rule that decides wins; those before say why they did not, those after are not asked."""

    def never(request: Request, ctx: RouteContext) -> Decision:
        raise AssertionError("asked after the decision")

    choice = await choose([rule("a", passes), rule("b", decides), rule("c", never)], REQUEST, context)

    assert (Route(provider="local", model="m"), "b", "think", "because") == (
        choice.route,
        choice.rule,
        choice.scenario,
        choice.why,
    )
    assert (
        Answer(rule="a", state="passed", why="not mine"),
        Answer(rule="b", state="decided", why="local,m: because"),
        Answer(rule="c", state="not asked", why="b decided"),
    ) == choice.answers
    assert "local,m; rule=b; because" == str(choice)
    assert {"rule": "a", "state": "passed", "why": "not mine"} == choice.answers[0].to_json()


async def test_coroutines() -> None:
    """A rule may be a coroutine function."""

    async def decide(request: Request, ctx: RouteContext) -> Decision:
        return Decision("local,m", "async")

    assert "async" == (await choose([rule("a", decide)], REQUEST, context)).why


async def test_options() -> None:
    """Each rule gets its own options."""

    def decide(request: Request, ctx: RouteContext) -> Decision:
        return Decision(ctx.options, "from the options")

    choice = await choose([rule("a", passes, "x"), rule("b", decide, "local,m")], REQUEST, context)

    assert "local,m" == str(choice.route)


def fails(request: Request, ctx: RouteContext) -> Decision:
    raise ValueError("broken")


async def fails_later(request: Request, ctx: RouteContext) -> Decision:
    raise RoutingError("broken")


@pytest.mark.parametrize(
    ("decide", "why"),
    [
        (fails, "ValueError: broken"),
        (fails_later, "RoutingError: broken"),
        (lambda request, ctx: None, "TypeError: expected a Decision or a Pass, got None"),
        (lambda request, ctx: "local,m", "TypeError: expected a Decision or a Pass, got 'local,m'"),
        (lambda request, ctx: Decision(None, "x"), "TypeError: expected a text as the model of a Decision, got None"),
        (lambda request: Pass("x"), "TypeError: "),
    ],
    ids=["raises", "raises later", "gives nothing", "gives a text", "decides for nothing", "wrong arguments"],
)
async def test_a_failing_rule(decide: Any, why: str) -> None:
    """A rule that fails, in whatever way, is recorded with the reason, and routing goes on."""
    choice = await choose([rule("bad", decide), rule("good", decides)], REQUEST, context)

    assert ("bad", "failed") == (choice.answers[0].rule, choice.answers[0].state)
    assert choice.answers[0].why.startswith(why)
    assert "good" == choice.rule


async def test_a_changed_request_that_is_none() -> None:
    """A rule that gives a body in place of a request has failed; the request stays."""
    bad = rule("bad", lambda request, ctx: Pass("x", {"model": "m"}))  # type: ignore[arg-type]

    choice = await choose([bad, rule("good", decides)], REQUEST, context)

    assert "failed" == choice.answers[0].state
    assert REQUEST is choice.request


async def test_a_context_that_fails() -> None:
    """A failure in making what a rule needs is that rule's failure."""

    def contexts(options: Any, request: Request) -> RouteContext:
        if options == "counts":
            raise RuntimeError("no counter")
        return context(options, request)

    choice = await choose([rule("a", passes, "counts"), rule("b", decides)], REQUEST, contexts)

    assert Answer(rule="a", state="failed", why="RuntimeError: no counter") == choice.answers[0]


async def test_changed_requests() -> None:
    """A request that a rule changed, deciding or not, is what the next rules see and what is sent."""
    before = copy.deepcopy(REQUEST)
    seen: list[Any] = []

    def strips(request: Request, ctx: RouteContext) -> Pass:
        return Pass("stripped", request.with_(tag="gone"))

    def looks(request: Request, ctx: RouteContext) -> Decision:
        seen.append(request.body["tag"])
        return Decision("local,m", "x", request=request.with_(more=1))

    choice = await choose([rule("a", strips), rule("b", looks)], REQUEST, context)

    assert ["gone"] == seen
    assert {**REQUEST.body, "tag": "gone", "more": 1} == choice.request.body
    assert len(str(choice.request.body)) == choice.tokens
    assert before == REQUEST


async def test_no_decision() -> None:
    """If no rule decides, the message has every rule's reason and what to set."""
    with pytest.raises(RoutingError) as caught:
        await choose([rule("a", passes), rule("b", fails)], REQUEST, context)

    expected = "no rule chose a model (a: not mine; b: ValueError: broken); set Router.default in the configuration"
    assert expected == caught.value.message


async def test_unknown_provider() -> None:
    """A decision for an unknown provider is an error that names it; it does not go to another model."""
    unknown = rule("a", lambda request, ctx: Decision("typo,m", "from Router.think"))

    with pytest.raises(RoutingError) as caught:
        await choose([unknown, rule("b", decides)], REQUEST, context)

    assert caught.value.message.startswith('no provider for "typo,m" (rule a: from Router.think); ')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("local,m", "local,m"),
        ("LOCAL,m", "local,m"),
        (" local , m ", "local,m"),
        ("local,M", "local,m"),
        ("Local,other", "Local,other"),
        ("local,unlisted", "local,unlisted"),
        ("empty,x:y/z", "empty,x:y/z"),
        ("openrouter,anthropic/claude-sonnet-4", "OpenRouter,anthropic/claude-sonnet-4"),
        ("openrouter,A,B", "OpenRouter,a,b"),
        ("openrouter,qwen:free,HIGH", "OpenRouter,Qwen:Free,high"),
        ("openrouter,a,odd", "OpenRouter,a,odd"),
        ("local,unlisted,high", "local,unlisted,high"),
        ("local,unlisted,Budget:8192", "local,unlisted,budget:8192"),
        ("local/m", "local,m"),
        ("local/m,high", "local,m,high"),
        ("openrouter/anthropic/claude-sonnet-4", "OpenRouter,anthropic/claude-sonnet-4"),
        ("local,a/b", "local,a/b"),
    ],
)
def test_find_route(text: str, expected: str) -> None:
    """A route is found in every way of writing it, in the configuration's spelling."""
    assert expected == str(find_route(text, PROVIDERS))


def test_commas_of_a_model_are_kept() -> None:
    """What follows an unlisted model is a level only if it is one; else it belongs to the name."""
    assert Route(provider="local", model="x,y,z") == find_route("local,x,y,z", PROVIDERS)
    assert Route(provider="local", model="x,y", level="low") == find_route("local,x,y,low", PROVIDERS)
    assert Route(provider="OpenRouter", model="a,b") == find_route("openrouter,a,b", PROVIDERS)
    assert Route(provider="local", model=",high") == find_route("local,,high", PROVIDERS)


@pytest.mark.parametrize(
    "text", ["", ",", "m", "typo,m", "typo/m", "local,", "local/", "local, ", ",m", "claude-sonnet-4"]
)
def test_find_no_route(text: str) -> None:
    """What names no known provider, or no model, is no route."""
    assert None is find_route(text, PROVIDERS)


@given(
    st.sampled_from(sorted(PROVIDERS)),
    st.from_regex(r"[a-zA-Z0-9:./-]{1,8}", fullmatch=True),
    st.none() | st.sampled_from(sorted(LEVELS)),
)
def test_a_route_can_be_written(provider: str, model: str, level: str | None) -> None:
    """A route's text finds the route again."""
    route = find_route(f"{provider},{model}" + (f",{level}" if level else ""), PROVIDERS)

    assert route is not None
    assert route == find_route(str(route), PROVIDERS)
    assert (provider, level) == (route.provider, route.level)


def test_default_order() -> None:
    """The tag stands before the explicit model, and the default stands last."""
    assert DEFAULT_RULES.index("subagent-tag") < DEFAULT_RULES.index("explicit")
    assert "default" == DEFAULT_RULES[-1]
    assert len(set(DEFAULT_RULES)) == len(DEFAULT_RULES)


async def test_a_rule_that_is_always_asked() -> None:
    """A rule marked so is asked after the decision too: its changed request counts, its decision does not."""

    def strips(request: Request, ctx: RouteContext) -> Decision:
        return Decision("local,other", "the tag", request=request.with_(stripped=True))

    late = Rule(RuleSpec(name="tag", decide=strips, always=True), None, "plugin-tag")

    choice = await choose([rule("a", decides), late], REQUEST, context)

    assert ("a", True) == (choice.rule, choice.request.body["stripped"])
    assert "a decided; its change of the request counts" == choice.answers[1].why
