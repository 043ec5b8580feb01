"""The rule ``web-search``."""

from __future__ import annotations

import ccr_plugin_rule_web_search as plugin
import pytest

from ccr_core import Decision, Pass, RuleSpec
from ccr_core.testing import RuleCase, ask, ask_rule, check_rule, claude_code_request

ROUTER = {"webSearch": "acme,big,high"}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


@pytest.fixture
def rule() -> RuleSpec:
    [rule] = plugin.ccr_rules()
    return rule


def test_rule(rule: RuleSpec) -> None:
    """A search of any version counts wherever it stands among the tools; tools of other types do not."""
    later = {"type": "web_search_20990101", "name": "web_search"}
    check_rule(
        rule,
        [
            RuleCase(body=ask(tools=[SEARCH]), router=ROUTER, model="acme,big,high", scenario="webSearch"),
            RuleCase(body=ask(tools=["Read", later]), router=ROUTER, model="acme,big,high"),
            RuleCase(body=ask(tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}]), router=ROUTER),
            RuleCase(body=ask(tools=[{"type": None, "name": "x"}, {"type": 7, "name": "y"}]), router=ROUTER),
            RuleCase(body=ask(tools=["WebSearch", "web_search"]), router=ROUTER),
            RuleCase(body=claude_code_request(), router=ROUTER),
            RuleCase(body=ask(tools=[SEARCH]), router={"webSearch": ""}),
            RuleCase(body=ask(tools=[SEARCH]), router={"webSearch": None}),
        ],
    )


def test_reasons(rule: RuleSpec) -> None:
    """The reason names the tool's type, or what is missing."""
    said = [
        ask_rule(rule, RuleCase(body=ask(tools=[SEARCH]), router=ROUTER)),
        ask_rule(rule, RuleCase(router=ROUTER)),
        ask_rule(rule, RuleCase(body=ask(tools=[SEARCH]))),
    ]

    assert [
        Decision("acme,big,high", "a tool of the type web_search_20250305", "webSearch"),
        Pass("no tool is a web search"),
        Pass("Router.webSearch is not set"),
    ] == said
