"""The rule ``long-context``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_rule_long_context as plugin
import pytest

from ccr_core import ConfigError, Decision, Pass, RuleSpec
from ccr_core.testing import RuleCase, ask, ask_rule, check_rule

PROVIDERS = {"acme": ["big", "small"]}
ROUTER = {"default": "acme,small", "longContext": "acme,big,low"}


def case(
    tokens: int | None,
    *,
    model: str | None = None,
    usage: dict[str, Any] | None = None,
    max_tokens: Any = 1024,
    windows: dict[str, int] | None = None,
    **router: Any,
) -> RuleCase:
    return RuleCase(
        body=ask(max_tokens=max_tokens),
        router={**ROUTER, **router},
        tokens=tokens,
        last_usage=usage,
        windows=windows or {},
        providers=PROVIDERS,
        model=model,
        scenario=model and "longContext",
    )


@pytest.fixture
def rule() -> RuleSpec:
    [rule] = plugin.ccr_rules()
    return rule


LONG = "acme,big,low"


def test_threshold(rule: RuleSpec) -> None:
    """More than the threshold is long, the threshold itself is not; 0 makes everything long."""
    check_rule(
        rule,
        [
            case(60_001, model=LONG),
            case(60_000),
            case(101, model=LONG, longContextThreshold=100),
            case(60_001, longContextThreshold=100_000),
            case(60_001, model=LONG, longContextThreshold=None),
            case(None, model=LONG, longContextThreshold=0),
            case(None),
        ],
    )


def test_last_usage(rule: RuleSpec) -> None:
    """What the provider counted last counts, cached tokens too, unless the request is a short one beside it."""
    cached = {"input_tokens": 10, "cache_read_input_tokens": 59_000, "cache_creation_input_tokens": 1_000}
    check_rule(
        rule,
        [
            case(20_001, model=LONG, usage={"input_tokens": 60_001}),
            case(20_001, model=LONG, usage=cached),
            case(20_001, usage={**cached, "cache_read_input_tokens": 58_000}),
            case(20_000, usage=cached),
            case(20_001, usage={"output_tokens": 70_000}),
            case(20_001, usage={"input_tokens": None, "cache_read_input_tokens": "70000"}),
            case(20_001, usage={}),
        ],
    )


def test_fit(rule: RuleSpec) -> None:
    """What the default model's window cannot hold is long; an answer is set aside, of at most half the window."""
    small = {"acme,small": 40_000}
    check_rule(
        rule,
        [
            case(30_000, model=LONG, windows=small, max_tokens=10_001),
            case(30_000, windows=small, max_tokens=10_000),
            case(20_001, model=LONG, windows=small, max_tokens=128_000),
            case(20_000, windows=small, max_tokens=128_000),
            case(40_001, model=LONG, windows=small, max_tokens=None),
            case(30_000, model=LONG, windows={**small, "acme,big": 40_001}, max_tokens=10_001),
            case(30_000, windows={**small, "acme,big": 40_000}, max_tokens=10_001),
            case(30_000, windows={"acme,big": 40_000}, max_tokens=10_001),
            case(30_000, windows=small, max_tokens=10_001, default=None),
            case(30_000, windows=small, max_tokens=10_001, default="typo,x"),
        ],
    )


@pytest.mark.parametrize("unset", ["", None])
def test_unset(rule: RuleSpec, unset: str | None) -> None:
    """Without a route nothing is long, and nothing is counted."""
    said = ask_rule(rule, case(1_000_000, longContext=unset, longContextThreshold=0))

    assert Pass("Router.longContext is not set") == said
    assert frozenset() == plugin.needs(plugin.Options(long_context=unset))


def test_counts_only_when_it_matters() -> None:
    """The count is wanted for a threshold, not where everything is long."""
    needs = [plugin.needs(plugin.Options(long_context="p,m", threshold=limit)) for limit in (60_000, 0, None)]

    assert [{"tokens"}, set(), {"tokens"}] == [set(needed) for needed in needs]


def test_reasons(rule: RuleSpec) -> None:
    """The reason tells the numbers."""
    said = [
        ask_rule(rule, case(70_000)),
        ask_rule(rule, case(30_000, usage={"input_tokens": 65_000})),
        ask_rule(rule, case(30_000, windows={"acme,small": 32_000}, max_tokens=8_000)),
        ask_rule(rule, case(70, longContextThreshold=0)),
        ask_rule(rule, case(70)),
        ask_rule(rule, case(70, usage={"input_tokens": 65_000})),
    ]

    assert [
        Decision(LONG, "70000 tokens, more than 60000", "longContext"),
        Decision(LONG, "the session's last prompt had 65000 tokens, more than 60000", "longContext"),
        Decision(LONG, "30000 tokens and 8000 for the answer do not fit into the 32000 of acme,small", "longContext"),
        Decision(LONG, "Router.longContextThreshold is 0", "longContext"),
        Pass("70 tokens, not more than 60000"),
        Pass("70 tokens, not more than 60000; last time 65000"),
    ] == said


@pytest.mark.parametrize("value", ["60k", "60000", 0.5, True, -1])
def test_wrong_thresholds(rule: RuleSpec, value: Any) -> None:
    """A threshold that is no number of tokens is told at start, by its key."""
    with pytest.raises(ConfigError) as caught:
        ask_rule(rule, case(1, longContextThreshold=value))

    assert "longContextThreshold" in caught.value.message
