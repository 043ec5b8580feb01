"""The rule ``agent-type``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_rule_agent_type as plugin
import pytest

from ccr_core import ConfigError, Decision, Pass, RuleSpec
from ccr_core.testing import RuleCase, ask, ask_rule, check_rule, claude_code_headers, claude_code_request

TYPES = {"Explore": "acme,small", "Plan": "", "custom": "acme,big,high", "*": "other,tiny"}
PROVIDERS = {"acme": ["big", "small"], "other": ["tiny"]}


@pytest.fixture
def rule() -> RuleSpec:
    [rule] = plugin.ccr_rules()
    return rule


def case(kind: str | None = None, *, model: str | None = None, types: Any = TYPES, **hints: Any) -> RuleCase:
    headers = claude_code_headers(**hints)
    if kind is not None:
        headers["x-claude-code-agent-type"] = kind
    return RuleCase(
        body=claude_code_request(), headers=headers, router={"agentTypes": types}, providers=PROVIDERS, model=model
    )


def test_rule(rule: RuleSpec) -> None:
    """The kind's own route wins over that of the others; what is no sub-agent's is left alone."""
    marked = claude_code_request(subagent=True)
    talk = claude_code_request(system="A sub-agent has cc_is_subagent=true in its first block.")
    check_rule(
        rule,
        [
            case("Explore", model="acme,small", request_class="subagent", agent_id="a1"),
            case("explore", model="acme,small"),
            case("custom", model="acme,big,high", request_class="subagent"),
            case("general-purpose", model="other,tiny", request_class="subagent"),
            case("Plan", request_class="subagent"),
            case("Plan", types={"Explore": "acme,small"}),
            case(model="other,tiny", request_class="subagent"),
            case(model="other,tiny", agent_id="a1"),
            case(request_class="main"),
            case(request_class="auxiliary"),
            RuleCase(body=marked, router={"agentTypes": TYPES}, providers=PROVIDERS, model="other,tiny"),
            RuleCase(body=talk, router={"agentTypes": TYPES}, providers=PROVIDERS),
            case("Explore", types={}),
            case("Explore", types=None),
            case("Explore", types={"Explore": None, "*": "other,tiny"}),
        ],
    )


def test_reasons(rule: RuleSpec) -> None:
    """The reason tells the kind and the entry that was taken."""
    said = [
        ask_rule(rule, case("explore")),
        ask_rule(rule, case(agent_id="a1")),
        ask_rule(rule, case("Plan")),
        ask_rule(rule, case("Plan", types={"Explore": "acme,small"})),
        ask_rule(rule, RuleCase(body=ask(), router={"agentTypes": TYPES})),
        ask_rule(rule, RuleCase(body=ask())),
    ]

    assert [
        Decision("acme,small", 'a sub-agent of the type explore; Router.agentTypes has "Explore"', "agentTypes"),
        Decision("other,tiny", 'a sub-agent of unknown type; Router.agentTypes has "*"', "agentTypes"),
        Pass("a sub-agent of the type Plan, which Router.agentTypes leaves alone"),
        Pass("a sub-agent of the type Plan, which Router.agentTypes does not name"),
        Pass("the request is no sub-agent's"),
        Pass("Router.agentTypes is not set"),
    ] == said


def test_a_table_is_wanted(rule: RuleSpec) -> None:
    """A route instead of a table is a mistake that is told at start."""
    with pytest.raises(ConfigError) as caught:
        ask_rule(rule, case("Explore", types="acme,small"))

    assert "agentTypes" in caught.value.message
    assert "expected an object" in caught.value.message
