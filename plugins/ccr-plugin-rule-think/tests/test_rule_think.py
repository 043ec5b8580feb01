"""The rule ``think``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_rule_think as plugin
import pytest

from ccr_core import JSON, ConfigError, Decision, Pass, RuleSpec
from ccr_core.testing import RuleCase, ask, ask_rule, check_rule, claude_code_history, claude_code_request

ROUTER = {"think": "acme,big"}
PLAN = "A list of skills.\n\nPlan mode is active. The user indicated that they do not want you to execute yet."
STILL = "Plan mode still active (see full instructions earlier in conversation)."
EXITED = "## Exited Plan Mode\n\nYou have exited plan mode. You can now make edits."
ULTRA = 'It is Monday.\n\nThe user included the keyword "ultrathink", requesting deeper reasoning on this turn.'
ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "I see."}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "done"}]}


def case(body: JSON, model: str | None = None, **router: Any) -> RuleCase:
    return RuleCase(body=body, router={**ROUTER, **router}, model=model, scenario=model and "think")


def enabled(budget: int) -> JSON:
    return {"type": "enabled", "budget_tokens": budget}


def note(text: str) -> JSON:
    """What the client tells newer models."""
    return {"role": "system", "content": text}


def reminder(text: str, *more: str) -> JSON:
    """What the client tells older models."""
    texts = [f"<system-reminder>\n{text}\n</system-reminder>", *more]
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def talk(*messages: JSON) -> JSON:
    return claude_code_request(history=messages)


@pytest.fixture
def rule() -> RuleSpec:
    [rule] = plugin.ccr_rules()
    return rule


def test_effort(rule: RuleSpec) -> None:
    """The effort decides from the least one that the configuration names; ``never`` looks at none."""
    efforts = ("low", "medium", "high", "xhigh", "max")
    for place, least in enumerate(efforts):
        check_rule(
            rule,
            [
                case(
                    claude_code_request(output_config={"effort": effort}),
                    model="acme,big" if efforts.index(effort) >= place else None,
                    thinkEffort=least,
                )
                for effort in efforts
            ],
        )
    check_rule(
        rule,
        [
            case(claude_code_request(output_config={"effort": "max"}), thinkEffort="never"),
            case(claude_code_request(output_config={"effort": "max"}), model="acme,big"),
            case(claude_code_request(output_config={"effort": "high"})),
            case(claude_code_request(output_config={"effort": "beyond"})),
            case(claude_code_request(output_config="max")),
            case(ask(output_config={"effort": "max"}), model="acme,big"),
            case(claude_code_request(thinking={"type": "disabled"}, output_config={"effort": "max"})),
        ],
    )


def test_thinking(rule: RuleSpec) -> None:
    """What Claude Code always sends is no sign; a budget of one's own is."""
    check_rule(
        rule,
        [
            case(claude_code_request()),
            case(claude_code_request(thinking=...)),
            case(claude_code_request(thinking=None)),
            case(claude_code_request(thinking=enabled(31_999), output_config=...)),
            case(claude_code_request(thinking=enabled(10_000)), model="acme,big"),
            case(ask(thinking=enabled(1_024)), model="acme,big"),
            case(ask(thinking={"type": "enabled"}), model="acme,big"),
            case(ask(thinking={"type": "disabled"})),
            case(ask(thinking={"type": "adaptive"})),
            case(ask(thinking="enabled")),
            case(ask()),
        ],
    )


def test_plan_mode(rule: RuleSpec) -> None:
    """Plan mode lasts from the client's note that it began to the note that it ended, for both kinds of notes."""
    old = reminder(PLAN, "Plan it.")
    blocks = {"role": "system", "content": [{"type": "text", "text": PLAN}]}
    check_rule(
        rule,
        [
            case(talk(note(PLAN)), model="acme,big"),
            case(talk(blocks), model="acme,big"),
            case(talk(note(PLAN), ANSWER, RESULT), model="acme,big"),
            case(talk(note(PLAN), ANSWER, RESULT, note(STILL)), model="acme,big"),
            case(talk(old, ANSWER, RESULT), model="acme,big"),
            case(talk(note(PLAN), ANSWER, note(EXITED))),
            case(talk(old, ANSWER, reminder(EXITED, "Do it."))),
            case(talk(note(f"{PLAN}\n\n{EXITED}"))),
            case(talk(note(PLAN), ANSWER, note(EXITED), ANSWER, note(PLAN)), model="acme,big"),
            case(talk(note(PLAN)), thinkPlanMode=False),
            case({**talk(note(PLAN)), "thinking": {"type": "disabled"}}),
        ],
    )


def test_ultrathink(rule: RuleSpec) -> None:
    """The word counts for the turn in which the user wrote it, tool calls included, and not for the next."""
    check_rule(
        rule,
        [
            case(talk(note(ULTRA)), model="acme,big"),
            case(talk(note(ULTRA), ANSWER, RESULT), model="acme,big"),
            case(talk(ANSWER, reminder(ULTRA, "Ultrathink!"), ANSWER, RESULT), model="acme,big"),
            case(talk(note(ULTRA), ANSWER, {"role": "user", "content": "And now?"})),
            case(talk(ANSWER, reminder(ULTRA, "Ultrathink!"), ANSWER, reminder("Tabs.", "Go on."))),
            case(talk(note(ULTRA)), model="acme,big", thinkPlanMode=False),
        ],
    )


def test_talk_about_it(rule: RuleSpec) -> None:
    """Texts of users, models and tools that mention plan mode or the word are no signs."""
    said = {"role": "user", "content": [{"type": "text", "text": f"{PLAN}\n{ULTRA}"}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": PLAN}]}
    check_rule(
        rule,
        [
            case(talk(said)),
            case(talk({"role": "assistant", "content": PLAN})),
            case(talk(result)),
            case(talk(note("Use it when the Plan mode is active. The rest follows."))),
            case(claude_code_request(system=PLAN)),
            case(claude_code_request(history=claude_code_history())),
        ],
    )


@pytest.mark.parametrize("unset", ["", None])
def test_unset(rule: RuleSpec, unset: str | None) -> None:
    """Without a route nothing is sent there."""
    said = ask_rule(rule, case(claude_code_request(output_config={"effort": "max"}), think=unset))

    assert Pass("Router.think is not set") == said


def test_reasons(rule: RuleSpec) -> None:
    """The reason tells the sign, or what was looked for."""
    said = [
        ask_rule(rule, case(claude_code_request(output_config={"effort": "max"}))),
        ask_rule(rule, case(ask(thinking=enabled(2_000)))),
        ask_rule(rule, case(talk(note(PLAN)))),
        ask_rule(rule, case(talk(note(ULTRA)))),
        ask_rule(rule, case(claude_code_request())),
        ask_rule(rule, case(ask(), thinkPlanMode=False)),
        ask_rule(rule, case(ask(thinking={"type": "disabled"}))),
    ]

    assert [
        Decision("acme,big", "the effort is max", "think"),
        Decision("acme,big", "thinking is enabled with 2000 tokens", "think"),
        Decision("acme,big", "plan mode", "think"),
        Decision("acme,big", "the user wrote ultrathink", "think"),
        Pass("thinking is adaptive, the effort high; neither plan mode nor ultrathink"),
        Pass("thinking is not asked for; no ultrathink"),
        Pass("thinking is disabled"),
    ] == said


@pytest.mark.parametrize(("key", "value"), [("thinkEffort", "highest"), ("thinkEffort", ""), ("thinkPlanMode", "no")])
def test_wrong_options(rule: RuleSpec, key: str, value: str) -> None:
    """A value that means nothing is told at start, by its key."""
    with pytest.raises(ConfigError) as caught:
        ask_rule(rule, case(ask(), **{key: value}))

    assert key in caught.value.message
