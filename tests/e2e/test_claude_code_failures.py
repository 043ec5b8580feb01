"""Real Claude Code through `ccr start` when the provider fails: never a cut answer that looks whole.

What may happen after a failure is a repeated request and the whole answer, or an error with the provider's
words; who repeats, router or client, is not said here.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from rig import Rig
from scripted import Break, Call, Fail, Received, Reply, Say

pytestmark = pytest.mark.e2e

WHOLE = "The whole answer, from its beginning to its end: 4711."
CUT = "The whole answer, from its begi"
WRITE = Call(name="Write", arguments={"file_path": "cut.txt", "content": "one two three four five six seven"})

BROKEN = {
    "error after text": Break(how="error", text=CUT),
    "error first": Break(how="error"),
    "error in a call": Break(how="error", call=WRITE),
    "reset before the answer": Break(how="reset"),
    "reset after text": Break(how="reset", text=CUT),
    "reset in a call": Break(how="reset", call=WRITE),
    "end after text": Break(how="end", text=CUT),
    "end in a call": Break(how="end", call=WRITE),
    "empty stream": Break(how="end"),
    "page instead of an answer": Break(how="html"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_broken_answer_is_repeated(rig: Rig, broken: Break) -> None:
    """After one broken answer the run ends with the whole one, and no half tool call is carried out."""
    rig.play(lambda request: broken if request.number == 1 else Say(text=WHOLE))
    run = rig.claude("Answer.")
    assert run.answer == WHOLE
    assert rig.upstream.requests[-1].results == {}
    assert not (rig.project / "cut.txt").exists()


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_answer_that_always_breaks_is_an_error(rig: Rig, broken: Break) -> None:
    """When every answer breaks the run ends with an error, never with the part that arrived."""
    rig.play(lambda _: broken)
    run = rig.claude("Answer.", env={"CLAUDE_CODE_MAX_RETRIES": "1"})
    assert run.error != ""
    assert run.error.strip() != CUT
    if broken.how == "error":
        assert broken.message in run.error
    assert not (rig.project / "cut.txt").exists()
    assert len(rig.upstream.requests) <= 12


def test_broken_answer_after_a_tool_call(rig: Rig) -> None:
    """A break in a later turn repeats that turn only: the tool before it runs once."""

    def script(request: Received) -> Reply:
        if request.number == 1:
            return Say(calls=[Call(name="Bash", arguments={"command": "echo run >> runs.txt"})])
        return Break(how="end", text=CUT) if request.number == 2 else Say(text=WHOLE)

    rig.play(script)
    assert rig.claude("Answer.").answer == WHOLE
    assert (rig.project / "runs.txt").read_text() == "run\n"


def test_rate_limit_is_waited_for(rig: Rig) -> None:
    """A 429 with `retry-after` is repeated after that time, not before, and then succeeds."""
    rig.play([Fail(status=429, message="too many tokens per minute", retry_after=3), Say(text=WHOLE)])
    assert rig.claude("Answer.").answer == WHOLE
    first, second = rig.upstream.requests
    assert second.at - first.at >= 2.9


def test_rate_limit_without_end_is_an_error(rig: Rig) -> None:
    """A 429 that stays ends the run with the provider's words; every repetition waits as told."""
    rig.play(lambda _: Fail(status=429, message="too many tokens per minute", retry_after=1))
    run = rig.claude("Answer.", env={"CLAUDE_CODE_MAX_RETRIES": "1"})
    assert "too many tokens per minute" in run.error
    assert "429" in run.error
    times = [request.at for request in rig.upstream.requests]
    assert 2 <= len(times) <= 6
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.9


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "tool 'Agent' has a schema that m1 does not take"),
        (500, "the graphics card is on fire"),
        (503, "no capacity for m1 in this region"),
    ],
)
def test_refusal_keeps_the_provider_words(rig: Rig, status: int, message: str) -> None:
    """A provider's error reaches the person with its status and its words."""
    rig.play(lambda _: Fail(status=status, message=message))
    run = rig.claude("Answer.", env={"CLAUDE_CODE_MAX_RETRIES": "1"})
    assert message in run.error
    assert str(status) in run.error


def test_wrong_provider_key_is_told(rig: Rig) -> None:
    """A key that the provider refuses ends in an error about authentication."""
    rig.play(lambda _: Fail(status=401, message="your key for up was revoked"))
    run = rig.claude("Answer.", env={"CLAUDE_CODE_MAX_RETRIES": "0"})
    assert "your key for up was revoked" in run.error


def test_context_overflow_is_recognised(rig: Rig) -> None:
    """A provider's words for a prompt that is too long are ones that both clients understand."""
    words = (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 50123 tokens."
        " Please reduce the length of the messages."
    )
    rig.play(lambda _: Fail(status=400, message=words))
    run = rig.claude("Answer.", env={"CLAUDE_CODE_MAX_RETRIES": "1"})
    assert "prompt is too long" in run.error.lower()
