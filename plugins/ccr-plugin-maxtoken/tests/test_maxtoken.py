"""The transformer ``maxtoken``."""

from __future__ import annotations

import copy
from typing import Any

import ccr_plugin_maxtoken as plugin
import pytest

from ccr_core import Context, Request, Target


def run(body: dict[str, Any], limit: int | str) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The body after the transformer, and its notes; what it was given must stay as it was."""
    notes: list[tuple[str, Any]] = []
    target = Target(provider="p", model="m", base_url="http://localhost")
    ctx = Context(exchange_id="1", target=target, note=lambda key, value: notes.append((key, value)))
    before = copy.deepcopy(body)
    got = plugin.MaxToken(plugin.Options(max_tokens=limit), ctx).on_request(Request(body))
    assert before == body
    return got.body, notes


def test_hook() -> None:
    """The plugin offers exactly the transformer that its README names."""
    assert [("maxtoken", plugin.Options)] == [(spec.name, spec.options) for spec in plugin.ccr_transformers()]


@pytest.mark.parametrize(
    ("asked", "limit", "expected"),
    [
        ({"max_tokens": 32000}, 16384, {"max_tokens": 16384}),
        ({"max_tokens": 100}, 16384, {"max_tokens": 100}),
        ({"max_tokens": 16384}, 16384, {"max_tokens": 16384}),
        ({}, 16384, {"max_tokens": 16384}),
        ({"max_tokens": 32000}, "16384", {"max_tokens": 16384}),
    ],
    ids=["larger", "smaller", "equal", "absent", "digits in quotes"],
)
def test_limit(asked: dict[str, Any], limit: int | str, expected: dict[str, Any]) -> None:
    """No request asks for more than the limit, and one that gives none gets it."""
    body, notes = run(asked, limit)

    assert (expected, []) == (body, notes)


def test_thinking_budget_fits() -> None:
    """A thinking budget is lowered with the limit, visibly, and keeps its other fields."""
    body, notes = run(
        {"max_tokens": 32000, "thinking": {"type": "enabled", "budget_tokens": 31999, "display": "updates"}}, 8192
    )

    assert {"type": "enabled", "budget_tokens": 8191, "display": "updates"} == body["thinking"]
    assert [("maxtoken.thinking", "thinking budget lowered from 31999 to 8191 tokens")] == notes


def test_no_room_for_thinking() -> None:
    """A limit below the least budget switches thinking off, visibly."""
    body, notes = run({"max_tokens": 32000, "thinking": {"type": "enabled", "budget_tokens": 2000}}, 1024)

    assert {"type": "disabled"} == body["thinking"]
    assert ["maxtoken.thinking"] == [key for key, _ in notes]


@pytest.mark.parametrize(
    "thinking", [{"type": "adaptive"}, {"type": "disabled"}, {"type": "enabled", "budget_tokens": 1024}]
)
def test_thinking_that_fits_is_left_alone(thinking: dict[str, Any]) -> None:
    """Thinking without a budget, or with one below the limit, stays."""
    body, notes = run({"max_tokens": 32000, "thinking": thinking}, 8192)

    assert (thinking, []) == (body["thinking"], notes)


@pytest.mark.parametrize("limit", [0, -1, "-1", "65k", ""])
def test_options(limit: int | str) -> None:
    """A limit that is no positive number is refused."""
    with pytest.raises(ValueError, match="max_tokens must be"):
        plugin.Options(max_tokens=limit)
