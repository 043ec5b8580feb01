"""The rule ``image``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_rule_image as plugin
import pytest

from ccr_core import JSON, Decision, Pass, RuleSpec
from ccr_core.testing import RuleCase, ask, ask_rule, check_rule, claude_code_history, claude_code_request

ROUTER = {"image": "acme,big"}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
TEXT = {"type": "text", "text": "What is this?"}
NOTE = {"role": "system", "content": "The user opened a.png."}
ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}


def user(*content: JSON) -> JSON:
    return {"role": "user", "content": list(content)}


def result(*content: JSON) -> JSON:
    return {"type": "tool_result", "tool_use_id": "t1", "content": list(content)}


def case(*messages: JSON, model: str | None = None, asked: str = "sonnet", **more: Any) -> RuleCase:
    given = {"router": ROUTER, **more}
    return RuleCase(body=ask(model=asked, messages=list(messages)), model=model, scenario=model and "image", **given)


@pytest.fixture
def rule() -> RuleSpec:
    [rule] = plugin.ccr_rules()
    return rule


def test_new_pictures(rule: RuleSpec) -> None:
    """A picture counts from the model's last answer on, wherever clients put it."""
    check_rule(
        rule,
        [
            case(user(PICTURE, TEXT), model="acme,big"),
            case(user(result(TEXT, PICTURE)), model="acme,big"),
            case(user(result({"type": "text", "text": "x"}), result(PICTURE), TEXT), model="acme,big"),
            case(user(PICTURE), user(TEXT), model="acme,big"),
            case(user(PICTURE, TEXT), NOTE, model="acme,big"),
            case(user(TEXT), ANSWER, user(result(PICTURE)), NOTE, model="acme,big"),
            case(user(PICTURE), {"role": "assistant", "content": "It shows"}, model="acme,big"),
            RuleCase(
                body=claude_code_request(history=claude_code_history(), model="sonnet"), router=ROUTER, model="acme,big"
            ),
        ],
    )


def test_old_pictures(rule: RuleSpec) -> None:
    """A picture that has been answered does not keep the conversation on the model that can see."""
    check_rule(
        rule,
        [
            case(user(PICTURE), ANSWER, user(TEXT)),
            case(user(result(PICTURE)), ANSWER, {"role": "user", "content": "And now?"}),
            case(user(PICTURE), ANSWER, user(TEXT), {"role": "assistant", "content": "It"}),
            case(user(TEXT)),
            case({"role": "assistant", "content": [PICTURE]}),
            RuleCase(body=claude_code_request(), router=ROUTER),
        ],
    )


def test_declines(rule: RuleSpec) -> None:
    """Without a route, and where the client asks for that very model, there is nothing to decide."""
    picture = user(PICTURE)
    check_rule(
        rule,
        [
            case(picture, router={"image": ""}),
            case(picture, router={}),
            case(picture, asked=" ACME , Big "),
            case(picture, asked="acme/big"),
            case(picture, asked="acme,small", model="acme,big"),
            case(picture, asked="acme,big", router={"image": "acme,big,high"}),
        ],
    )


def test_forced_image_agent(rule: RuleSpec) -> None:
    """The image agent gets new pictures if the configuration wants that, unless it is switched off there."""
    forced = {"forceUseImageAgent": True}
    check_rule(
        rule,
        [
            case(user(PICTURE), config=forced),
            case(user(PICTURE), config={"forceUseImageAgent": False}, model="acme,big"),
            case(user(PICTURE), config={**forced, "server_tools": {"image-agent": False}}, model="acme,big"),
            case(user(PICTURE), config={**forced, "server_tools": {"image-agent": {}}}),
        ],
    )
    assert Pass("forceUseImageAgent leaves pictures to the tool image-agent") == ask_rule(
        rule, case(user(PICTURE), config=forced)
    )


def test_reasons(rule: RuleSpec) -> None:
    """The reason tells where the picture is, or why there is no decision."""
    said = [
        ask_rule(rule, case(user(PICTURE))),
        ask_rule(rule, case(user(result(PICTURE)))),
        ask_rule(rule, case(user(TEXT))),
        ask_rule(rule, case(user(PICTURE), asked="acme,big")),
        ask_rule(rule, case(user(PICTURE), router={})),
    ]

    assert [
        Decision("acme,big", "a picture in the newest user message", "image"),
        Decision("acme,big", "a picture in the newest tool result", "image"),
        Pass("the newest messages hold no picture"),
        Pass("the client itself asks for the model of Router.image"),
        Pass("Router.image is not set"),
    ] == said
