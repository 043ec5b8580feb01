"""The rule ``explicit``, with the core's own resolution of names."""

from __future__ import annotations

import ccr_plugin_rule_explicit as plugin
import pytest

from ccr_core import Decision, Hints, Pass, Request, Route, RouteContext, RoutingError
from ccr_core.routing import Rule, choose, find_route

PROVIDERS = {"OpenRouter": ["anthropic/claude-sonnet-4", "a,b"], "local": ["qwen:7b"]}

ROUTER = {"default": "local,qwen:7b", "think": "OpenRouter,a,b", "longContextThreshold": 9, "webSearch": "gone,x"}


def context(request: Request) -> RouteContext:
    return RouteContext(
        options=None,
        router=ROUTER,
        config={},
        hints=Hints(),
        requested_model=request.model,
        find=lambda text: find_route(text, PROVIDERS),
    )


def decide(model: str) -> Decision | Pass:
    request = Request({"model": model, "messages": []})
    return plugin.decide(request, context(request))


async def route(model: str) -> Route:
    rules = [Rule(spec, None, "test") for spec in plugin.ccr_rules()]
    request = Request({"model": model, "messages": []})
    choice = await choose(rules, request, lambda options, request: context(request))
    return choice.route


def test_hook() -> None:
    """The plugin offers exactly the rule that its README names."""
    assert ["explicit"] == [spec.name for spec in plugin.ccr_rules()]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("local,qwen:7b", "local,qwen:7b"),
        (" Local , QWEN:7b ", "local,qwen:7b"),
        ("local/qwen:7b", "local,qwen:7b"),
        ("openrouter,anthropic/claude-sonnet-4,high", "OpenRouter,anthropic/claude-sonnet-4,high"),
        ("openrouter/anthropic/claude-sonnet-4", "OpenRouter,anthropic/claude-sonnet-4"),
        ("openrouter/anthropic/claude-sonnet-4,high", "OpenRouter,anthropic/claude-sonnet-4,high"),
        ("openrouter,a,b", "OpenRouter,a,b"),
        ("local,unlisted,budget:2048", "local,unlisted,budget:2048"),
        ("local,Unlisted/Model", "local,Unlisted/Model"),
    ],
)
async def test_named(model: str, expected: str) -> None:
    """What the client names is taken, in the configuration's spelling where it is listed there."""
    assert expected == str(await route(model))


async def test_unknown_provider_with_comma_is_refused() -> None:
    """A misspelt provider is an error that names it; the request does not go to another model."""
    with pytest.raises(RoutingError) as caught:
        await route("opnrouter,some-model")

    assert 404 == caught.value.status
    assert caught.value.message.startswith('no provider for "opnrouter,some-model" (rule explicit: ')


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("claude-sonnet-4-5", '"claude-sonnet-4-5" names no provider'),
        ("vendor/model", '"vendor" in "vendor/model" is no provider of the configuration'),
        ("", "the client names no model"),
    ],
)
def test_declines(model: str, why: str) -> None:
    """A name without a provider is left to the next rule, with the reason."""
    assert Pass(why) == decide(model)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("default", "local,qwen:7b"), ("Think", "OpenRouter,a,b"), (" think ", "OpenRouter,a,b")],
)
def test_the_name_of_a_route(model: str, expected: str) -> None:
    """A client may name a route of the configuration; its scenario, and so its fallbacks, are those of that route."""
    decision = decide(model)

    assert isinstance(decision, Decision)
    assert (expected, model.strip().lower()) == (decision.model, decision.scenario)


@pytest.mark.parametrize("model", ["longContextThreshold", "webSearch", "image"])
def test_what_is_no_route(model: str) -> None:
    """A key that is no route, or leads nowhere, is a name like any other."""
    assert isinstance(decide(model), Pass)
