"""Which words of a provider are understood, and what is done about them."""

from __future__ import annotations

from typing import Any

import pytest

from ccr_core import UpstreamError
from ccr_core.learn import HOURS, PROTECTED, SEALS, Correction, Learned, correction

BODY = {
    "model": "m",
    "messages": [],
    "tools": [],
    "max_tokens": 32000,
    "temperature": 1,
    "top_k": 5,
    "parallel_tool_calls": True,
    "stream_options": {"include_usage": True},
    "reasoning": {"effort": "high", "summary": "auto"},
    "output_config": {"effort": "high"},
    "generationConfig": {
        "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True},
    },
}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Unsupported parameter: 'temperature' is not supported with this model.", "left out temperature"),
        ("Unrecognized request argument supplied: top_k", "left out top_k"),
        ("Unknown parameter: 'reasoning.summary'.", "left out reasoning.summary"),
        ("property 'parallel_tool_calls' is unsupported", "left out parallel_tool_calls"),
        ("stream_options: Extra inputs are not permitted", "left out stream_options"),
        ("body.top_k: Extra inputs are not permitted", "left out top_k"),
        ("`temperature` is not supported with this model", "left out temperature"),
        ('Invalid JSON payload received. Unknown name "top_k": Cannot find field.', "left out top_k"),
        (
            "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens",
            "lowered max_tokens to 8192",
        ),
        ("Range of max_tokens should be [1, 8192]", "lowered max_tokens to 8192"),
        (
            "max_tokens is too large: 32000. This model supports at most 16384 completion tokens",
            "lowered max_tokens to 16384",
        ),
        ("`max_tokens` must be less than or equal to `8192`", "lowered max_tokens to 8192"),
        ("max_tokens must not exceed 4096", "lowered max_tokens to 4096"),
        (
            "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the"
            " `context_window` for this model",
            "lowered max_tokens to 8192",
        ),
        (
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is"
            " supported.",
            "left out temperature",
        ),
        ("Argument not supported on this model: top_k", "left out top_k"),
        ("Extra inputs are not permitted, field: 'top_k', value: 5", "left out top_k"),
        ("invalid temperature: only 1 is allowed for this model", "left out temperature"),
        ("`temperature` may only be set to 1 when thinking is enabled.", "left out temperature"),
        ("`temperature` and `top_k` cannot both be specified for this model.", "left out top_k"),
        ("This model does not support the effort parameter.", "left out output_config.effort"),
        ('"gemma3" does not support thinking', "left out reasoning"),
        (
            "Unknown name \"thinkingLevel\" at 'generation_config.thinking_config': Cannot find field.",
            "left out generationConfig.thinkingConfig.thinkingLevel",
        ),
    ],
)
def test_what_is_understood(message: str, expected: str) -> None:
    """
    The words of many services lead to the one right correction.
    """
    assert expected == str(correction(UpstreamError(message, 400), BODY))


def test_a_limit_inside_of_an_object() -> None:
    """
    Google's limits are one above what may be asked for, and its field has another place.
    """
    words = "a maxOutputTokens value of 100000 but the supported range is from 1 (inclusive) to 65537 (exclusive)"

    made = correction(UpstreamError(words, 400), {"generationConfig": {"maxOutputTokens": 100000, "topK": 1}})

    assert Correction(("generationConfig", "maxOutputTokens"), 65536) == made


@pytest.mark.parametrize(
    "message",
    [
        "messages.1.role: Input should be 'user' or 'assistant'",
        "Unsupported parameter: 'messages'",
        "Unknown parameter: 'tools'",
        "model: Extra inputs are not permitted",
        "Unsupported parameter: 'not_there'",
        "something is wrong",
        "max_tokens must be at least 16",
        "prompt is too long: 300000 tokens > 200000 maximum",
        "Unknown name \"x\" at 'contents[0].parts': Cannot find field.",
        "Extra inputs are not permitted, field: 'messages[0].name'",
        "Range of max_tokens should be [1, 64000]",
        "",
    ],
)
def test_what_is_left_alone(message: str) -> None:
    """
    What the request is about, what is not there, and what names nothing: no correction.
    """
    assert correction(UpstreamError(message, 400), BODY) is None


@pytest.mark.parametrize("status", [401, 404, 413, 429, 500])
def test_only_refusals_of_the_request_teach(status: int) -> None:
    """
    Other failures say nothing about parameters.
    """
    assert correction(UpstreamError("Unsupported parameter: 'temperature'", status), BODY) is None


def test_nothing_protected_is_ever_dropped() -> None:
    """
    Whatever the words, the request keeps what it is about.
    """
    for name in PROTECTED:
        body = {name: "x", "extra": 1}
        assert correction(UpstreamError(f"Unsupported parameter: '{name}'", 400), body) is None


def test_body_is_not_changed_in_place() -> None:
    """
    A correction makes a copy of the way down, and an emptied table goes.
    """
    before = {**BODY, "reasoning": {"summary": "auto"}}

    after = Correction(("reasoning", "summary")).apply(before)

    assert {"summary": "auto"} == before["reasoning"]
    assert "reasoning" not in after


def test_learned_corrections_are_applied_noted_and_expire() -> None:
    """
    Learned for one provider and model, told each time, forgotten after some hours.
    """
    now = 0.0
    learned = Learned(lambda: now)
    error = UpstreamError("Unsupported parameter: 'temperature'", 400)
    notes: list[Any] = []

    assert learned.learn("p", "m", error, BODY)
    assert not learned.learn("p", "m", error, BODY)
    assert "temperature" not in learned.apply("p", "m", BODY, lambda key, value: notes.append((key, value)))
    assert BODY is learned.apply("p", "other", BODY, lambda key, value: None)
    assert [("learned", "left out temperature: p refused it")] == notes
    assert ["left out temperature"] == [entry["correction"] for entry in learned.report()]

    now = HOURS * 3600 + 1
    assert "temperature" in learned.apply("p", "m", BODY, lambda key, value: None)
    assert [] == learned.report()


def thought(*seals: str) -> list[dict[str, Any]]:
    """A conversation whose answers hold thinking with these seals."""
    blocks = [{"type": "thinking", "thinking": "t", "signature": seal} for seal in seals]
    return [{"role": "user", "content": "q"}, {"role": "assistant", "content": blocks}]


def test_refused_thinking_is_remembered() -> None:
    """Thinking that was refused is known again by its seal: for that provider and model, and for some hours."""
    now = [0.0]
    learned, error = Learned(lambda: now[0]), UpstreamError("bad signature", 400)
    redacted = [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "c"}]}]
    learned.refused("p", "m", error, [*thought("a", "b"), *redacted])

    again = [thought("x", "b"), redacted, thought("x"), thought(""), [{"role": "assistant", "content": "a"}]]
    assert [error, error, None, None, None] == [learned.refusal("p", "m", messages) for messages in again]
    assert [None, None] == [learned.refusal("p", "n", thought("a")), learned.refusal("q", "m", thought("a"))]

    now[0] = HOURS * 3600 + 1
    assert None is learned.refusal("p", "m", thought("a"))


def test_another_provider_has_refused_nothing() -> None:
    """What a provider refused does not hold for one that took its place."""
    learned, error = Learned(), UpstreamError("bad signature", 400)
    for provider in ("p", "q"):
        learned.refused(provider, "m", error, thought("a"))
    learned.forget("p")

    assert [None, error] == [learned.refusal(provider, "m", thought("a")) for provider in ("p", "q")]


def test_refused_thinking_is_bounded() -> None:
    """The oldest seals are forgotten."""
    learned, error = Learned(), UpstreamError("bad signature", 400)
    learned.refused("p", "m", error, thought(*map(str, range(SEALS + 1))))

    assert [None, error] == [learned.refusal("p", "m", thought(seal)) for seal in ("0", "1")]
