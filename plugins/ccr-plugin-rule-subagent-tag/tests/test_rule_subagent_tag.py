"""The rule ``subagent-tag``."""

from __future__ import annotations

import copy
from typing import Any

import ccr_plugin_rule_subagent_tag as plugin
import pytest

from ccr_core import Decision, Hints, Pass, Request, Route, RouteContext

TAG = "<CCR-SUBAGENT-MODEL>p,m</CCR-SUBAGENT-MODEL>"
MARK = {"cache_control": {"type": "ephemeral"}}
CONTEXT = RouteContext(
    options=None,
    router={},
    config={},
    hints=Hints(),
    requested_model="x,y",
    find=lambda text: Route(provider="p", model="m"),
)


def text(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def body(system: Any = None, content: Any = "hello", **more: Any) -> dict[str, Any]:
    given = {"model": "x,y", "messages": [{"role": "user", "content": content}], **more}
    return given if system is None else {**given, "system": system}


def decide(given: dict[str, Any]) -> Decision | Pass:
    """Ask the rule, and check that it left alone what it was given."""
    before = copy.deepcopy(given)
    said = plugin.decide(Request(given), CONTEXT)
    assert before == given
    return said


def test_hook() -> None:
    """The plugin offers exactly the rule that its README names."""
    assert ["subagent-tag"] == [spec.name for spec in plugin.ccr_rules()]


SYSTEM_3 = [text("a"), text("b"), text(f"{TAG}Be brief.", **MARK)]
LAST = [text("<reminder>"), text(f"{TAG} Look.", **MARK)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(body(f"{TAG}\nBe brief."), body("Be brief."), id="system text"),
        pytest.param(body(SYSTEM_3), body([*SYSTEM_3[:2], text("Be brief.", **MARK)]), id="third block"),
        pytest.param(body([text(f" \n\t{TAG}\n\nBe brief.")]), body([text("Be brief.")]), id="blanks"),
        pytest.param(body(content=f"{TAG}Look."), body(content="Look."), id="message text"),
        pytest.param(body(content=LAST), body(content=[LAST[0], text("Look.", **MARK)]), id="last block"),
        pytest.param(body([text(TAG), text("b")]), body([text("b")]), id="only a tag"),
        pytest.param(body(TAG), body(), id="whole system"),
        pytest.param(body("s", [text(f"{TAG}\n{TAG}Look.")]), body("s", [text("Look.")]), id="twice"),
    ],
)
def test_taken_and_stripped(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """The tag's model is taken from wherever clients put it, and the model does not see the tag."""
    said = decide(given)

    assert isinstance(said, Decision)
    assert said.request is not None
    assert ("p,m", expected) == (said.model, said.request.body)


def test_inner_blanks() -> None:
    """Blanks and line breaks inside the tag do not count."""
    said = decide(body("<CCR-SUBAGENT-MODEL>\n p,m \n</CCR-SUBAGENT-MODEL>x"))

    assert isinstance(said, Decision)
    assert "p,m" == said.model


def test_system_wins_and_both_are_stripped() -> None:
    """With a tag in the system prompt and one in the message, the system's wins and both go."""
    said = decide(body(f"{TAG}S", "<CCR-SUBAGENT-MODEL>q,n</CCR-SUBAGENT-MODEL>U"))

    assert isinstance(said, Decision)
    assert said.request is not None
    assert ("p,m", body("S", "U")) == (said.model, said.request.body)


def test_first_user_message_after_a_system_message() -> None:
    """A system message before the first user message does not hide its tag; later messages are left alone."""
    later = {"role": "user", "content": TAG}
    note = {"role": "system", "content": "note"}
    given = body(content=None, messages=[note, {"role": "user", "content": f"{TAG}Go"}, later])

    said = decide(given)

    assert isinstance(said, Decision)
    assert said.request is not None
    assert [note, {"role": "user", "content": "Go"}, later] == said.request.messages
    assert later is said.request.messages[2]


@pytest.mark.parametrize(
    "given",
    [
        body(f"Write {TAG} at the start of a file."),
        body([text(f"x{TAG}")]),
        body("<CCR-SUBAGENT-MODEL>p,m"),
        body(content=[{"type": "tool_result", "tool_use_id": "t", "content": TAG}]),
        body(content=[{"type": "image", "source": {}}]),
    ],
)
def test_text_about_tags_is_left_alone(given: dict[str, Any]) -> None:
    """Only a whole tag at the start of a text block counts; nothing else is changed."""
    assert Pass("no block of the prompt begins with a <CCR-SUBAGENT-MODEL> tag") == decide(given)


def test_empty_tag() -> None:
    """An empty tag chooses nothing, but the model does not see it either."""
    said = decide(body("<CCR-SUBAGENT-MODEL> </CCR-SUBAGENT-MODEL>Be brief."))

    assert Pass("the <CCR-SUBAGENT-MODEL> tag is empty", Request(body("Be brief."))) == said


def test_cheap_without_a_tag() -> None:
    """A request without a tag is not copied."""
    said = decide(body([text("x" * 100_000)], [text("y" * 100_000)]))

    assert said.request is None
