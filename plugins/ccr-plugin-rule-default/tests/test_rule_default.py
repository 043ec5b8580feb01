"""The rule ``default``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_rule_default as plugin

from ccr_core import Decision, Hints, Pass, Request, Route, RouteContext


def context(router: dict[str, Any], providers: Any = (), **config: Any) -> RouteContext:
    def find(text: str) -> Route | None:
        provider, _, model = text.partition(",")
        known = {entry["name"] for entry in providers if "name" in entry}
        return Route(provider=provider, model=model) if provider in known else None

    return RouteContext(
        options=None,
        router=router,
        config={"Providers": providers, **config},
        hints=Hints(),
        requested_model="x",
        find=find,
    )


REQUEST = Request({"model": "x", "messages": []})


def test_hook() -> None:
    """The plugin offers exactly the rule that its README names."""
    assert ["default"] == [spec.name for spec in plugin.ccr_rules()]


def test_router_default() -> None:
    """``Router.default`` is taken as it is written, level and all."""
    got = plugin.decide(REQUEST, context({"default": "p,m,high"}))

    assert Decision("p,m,high", "Router.default") == got


def test_router_default_of_the_configuration() -> None:
    """The effective ``Router`` section wins; one that says nothing of a default leaves that of the configuration."""
    section = {"default": "p,m"}

    got = [plugin.decide(REQUEST, context(router, Router=section)) for router in ({}, {"default": "q,n"})]

    assert [Decision("p,m", "Router.default"), Decision("q,n", "Router.default")] == got


def test_unknown_provider_is_not_replaced() -> None:
    """A default that names an unknown provider stays the decision, so that routing reports it."""
    got = plugin.decide(REQUEST, context({"default": "typo,m"}, [{"name": "p", "models": ["m"]}]))

    assert isinstance(got, Decision)
    assert "typo,m" == got.model


def test_without_default_the_first_model() -> None:
    """Without a default the first listed model of the first usable provider serves, and the reason says so."""
    providers = [
        {"name": "off", "models": ["a"], "enabled": False},
        {"name": "empty", "models": []},
        {"models": ["nameless"]},
        {"name": "p", "models": [{"name": "m", "context": 1000}, "n"]},
    ]

    got = plugin.decide(REQUEST, context({"default": ""}, providers))

    assert Decision("p,m", "Router.default is not set; the first model of the first provider") == got


def test_nothing_to_choose() -> None:
    """Without a default and without a model the rule declines with the reason."""
    got = plugin.decide(REQUEST, context({}))

    assert Pass("Router.default is not set, and no provider lists a model") == got


def test_wrong_type() -> None:
    """A default that is no text (from a project's file) is declined, not guessed at."""
    got = plugin.decide(REQUEST, context({"default": ["p,m"]}, [{"name": "p", "models": ["m"]}]))

    assert Pass("Router.default must be a text such as provider,model, got list") == got
