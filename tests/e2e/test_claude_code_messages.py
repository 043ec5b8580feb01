"""Real Claude Code through `ccr start` over a provider that speaks Anthropic Messages itself."""

from __future__ import annotations

import pytest
from rig import Rig
from scripted import Break, Call, Fail, Say

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("rig", ["messages"], indirect=True)]


def test_conversation_with_tools_passes_unchanged(rig: Rig) -> None:
    """Text, thinking with its signature and tool calls pass both ways; only address, model and key are the router's."""
    rig.play(
        [
            Say(
                thinking="I look first.",
                text="Looking. 🦊",
                calls=[
                    Call(name="Bash", arguments={"command": "echo left-$((1+1))"}),
                    Call(name="Bash", arguments={"command": "echo right-$((2+2))"}),
                ],
            ),
            Say(text="Both done.", input_tokens=3456, output_tokens=78),
        ]
    )
    run = rig.claude("Do both.", model="up,m2")
    assert run.answer == "Both done."
    assert run.thinking == ["I look first."]
    first, second = rig.upstream.requests
    assert [request.path for request in (first, second)] == ["/v1/messages"] * 2
    assert [request.model for request in (first, second)] == ["m2" if rig.routed else "up,m2"] * 2
    assert [second.results[call] for call in second.calls] == ["left-2", "right-4"]
    thought = [block for turn in second.body["messages"] for block in turn["content"] if "signature" in block]
    # 2.1.197 sends thinking back only if the answer's `model` is the name it asked for, so it gets that name.
    assert [(block["thinking"], block["signature"]) for block in thought] == [("I look first.", "c2lnbmVk")]
    assert first.body["system"][-1]["cache_control"]["type"] == "ephemeral"
    assert first.headers["anthropic-version"] == "2023-06-01"
    assert "claude-code-20250219" in first.headers["anthropic-beta"]
    if rig.routed:
        assert "k" in (first.headers.get("x-api-key"), first.headers.get("authorization", "").removeprefix("Bearer "))
        assert "dummy" not in str(first.headers)


def test_broken_answer_is_repeated(rig: Rig) -> None:
    """A stream that ends without its end mark is repeated, not taken for whole."""
    rig.play(lambda request: Break(how="end", text="The beg") if request.number == 1 else Say(text="The whole."))
    assert rig.claude("Answer.").answer == "The whole."


def test_overload_keeps_status_and_words(rig: Rig) -> None:
    """Anthropic's own errors arrive as they are."""
    rig.play(lambda _: Fail(status=529, message="Overloaded, says up"))
    run = rig.claude("Answer.", env={"CLAUDE_CODE_MAX_RETRIES": "1"})
    assert "529" in run.error
    assert "Overloaded, says up" in run.error
