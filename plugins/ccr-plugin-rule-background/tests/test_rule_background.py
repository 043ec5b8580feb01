"""The rule ``background``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_rule_background as plugin
import pytest

from ccr_core import JSON, Decision, Pass, RuleSpec
from ccr_core.testing import RuleCase, ask, ask_rule, check_rule, claude_code_headers, claude_code_request

ROUTER = {"background": "acme,small"}
HAIKU = "claude-haiku-4-5-20251001"
FORMAT = {"effort": "medium", "format": {"type": "json_schema", "schema": {"type": "object"}}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


def helper(**fields: Any) -> JSON:
    """A helper call: no tools, no thinking, JSON for an answer."""
    return claude_code_request(**{"model": "sonnet", "tools": ..., "thinking": ..., "output_config": FORMAT, **fields})


def case(body: JSON, hint: str | None = None, *, model: str | None = None, **more: Any) -> RuleCase:
    """``hint`` is the request class that the client tells."""
    headers = claude_code_headers(request_class=hint)
    given = {"router": ROUTER, "headers": headers, **more}
    return RuleCase(body=body, model=model, scenario=model and "background", **given)


@pytest.fixture
def rule() -> RuleSpec:
    [rule] = plugin.ccr_rules()
    return rule


def test_hints(rule: RuleSpec) -> None:
    """What the client says of its request is the first evidence, whatever the request looks like."""
    main = claude_code_request(model="sonnet")
    check_rule(
        rule,
        [
            case(helper(), "auxiliary", model="acme,small"),
            case(main, "auxiliary", model="acme,small"),
            case(main, "compaction", model="acme,small"),
            case(main, "main"),
            case(main, "subagent"),
            case(helper(), "main"),
        ],
    )


def test_names(rule: RuleSpec) -> None:
    """A haiku of Claude is meant to be cheap, with and without hints; other names are not."""
    check_rule(
        rule,
        [
            case(claude_code_request(model=HAIKU), model="acme,small"),
            case(claude_code_request(model="Claude-3-5-HAIKU"), "main", model="acme,small"),
            case(claude_code_request(model=HAIKU, subagent=True), "subagent", model="acme,small"),
            RuleCase(body=ask(model=HAIKU), router=ROUTER, model="acme,small"),
            case(claude_code_request(model="haiku-writer")),
            case(claude_code_request(model="claude-sonnet-4-5")),
        ],
    )


def test_shape(rule: RuleSpec) -> None:
    """Without hints only the whole shape of a helper call of Claude Code counts."""
    check_rule(
        rule,
        [
            case(helper(), model="acme,small"),
            case(helper(thinking={"type": "disabled"}), model="acme,small"),
            case(helper(tools=[]), model="acme,small"),
            case(helper(thinking={"type": "adaptive"})),
            case(helper(output_config={"effort": "high"})),
            case(helper(output_config=...)),
            case(helper(tools=[SEARCH])),
            case(helper(), headers={"user-agent": "python-httpx/0.28"}),
            case(helper(), headers={}),
            case(ask(model="sonnet", max_tokens=1)),
            case(claude_code_request(model="sonnet")),
        ],
    )


def test_web_search(rule: RuleSpec) -> None:
    """A search is left to its own rule if that has a route; else it is a helper call like others."""
    search = helper(tools=[SEARCH], output_config={"effort": "medium"})
    both = {**ROUTER, "webSearch": "acme,big"}
    check_rule(
        rule,
        [
            case(search, "auxiliary", router=both),
            case({**search, "model": HAIKU}, router=both),
            case(search, "auxiliary", model="acme,small"),
            case(search, "auxiliary", router={**ROUTER, "webSearch": ""}, model="acme,small"),
        ],
    )


@pytest.mark.parametrize("router", [{}, {"background": ""}, {"background": None}])
def test_unset(rule: RuleSpec, router: JSON) -> None:
    """Without a route nothing is sent there."""
    assert Pass("Router.background is not set") == ask_rule(rule, case(helper(), "auxiliary", router=router))


def test_reasons(rule: RuleSpec) -> None:
    """The reason tells the evidence."""
    main = claude_code_request(model="sonnet")
    said = [
        ask_rule(rule, case(main, "compaction")),
        ask_rule(rule, case(claude_code_request(model=HAIKU))),
        ask_rule(rule, case(helper())),
        ask_rule(rule, case(main, "main")),
        ask_rule(rule, case(main)),
    ]

    assert [
        Decision("acme,small", "the client calls the request compaction", "background"),
        Decision("acme,small", f"the client asks for {HAIKU}", "background"),
        Decision("acme,small", "a helper call, by its shape", "background"),
        Pass("the client calls the request main, and asks for no haiku model"),
        Pass("no haiku model, and not the shape of a helper call"),
    ] == said
