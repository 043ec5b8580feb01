"""Models by their names, levels and budgets of thinking, and whose thinking a provider gets to see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_anthropic.dialect import Anthropic
from ccr_plugin_anthropic.models import Claude, claude
from ccr_plugin_anthropic.thinking import is_claudes, readable

from ccr_core import JSON, Context, Request, RequestError, Target, seal
from ccr_core.testing import ask

FIRST = "https://api.anthropic.com"
OTHER = "https://api.example/v1"
SIGNED = "EvMCCkYICxgCKkCHP2cSuEdcJK/0rFwqES/ecn+VbG9uZyBlbm91Z2ggdG8gYmUgcmVhbA=="


def encode(body: JSON, model: str, base_url: str = FIRST, **target: Any) -> tuple[JSON, list[Any]]:
    """The body that goes out, and the notes."""
    notes: list[Any] = []
    ctx = Context(
        exchange_id="1",
        target=Target(provider="p", model=model, base_url=base_url, **target),
        note=lambda key, value: notes.append(value),
    )
    before = json.dumps(body)
    wire = Anthropic().encode(Request(body), ctx)
    assert before == json.dumps(body)
    assert wire.body is not None
    return wire.body, notes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("claude-3-haiku-20240307", Claude("haiku", (3, 0))),
        ("claude-3-5-sonnet-20241022", Claude("sonnet", (3, 5))),
        ("claude-3.7-sonnet", Claude("sonnet", (3, 7))),
        ("claude-sonnet-4-20250514", Claude("sonnet", (4, 0))),
        ("claude-sonnet-4-0", Claude("sonnet", (4, 0))),
        ("claude-opus-4-1-20250805", Claude("opus", (4, 1))),
        ("anthropic/claude-sonnet-4.5", Claude("sonnet", (4, 5))),
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", Claude("haiku", (4, 5))),
        ("claude-sonnet-4@20250514", Claude("sonnet", (4, 0))),
        ("Claude-Opus-5", Claude("opus", (5, 0))),
        ("claude-opus-5-5", Claude("opus", (5, 5))),
        ("claude-fable-5[1m]", Claude("fable", (5, 0))),
        ("claude-sonnet", None),
        ("claude-next-7", None),
        ("glm-5", None),
    ],
)
def test_names(name: str, expected: Claude | None) -> None:
    """Family and version, in every spelling of a name."""
    assert expected == claude(name)


ADAPTIVE = {"type": "adaptive", "display": "updates"}


def enabled(budget: int, **more: Any) -> JSON:
    """Thinking with a budget."""
    return {"type": "enabled", "budget_tokens": budget, **more}


def asked(body: JSON) -> tuple[Any, Any]:
    """Thinking and effort in a body."""
    return body.get("thinking"), (body.get("output_config") or {}).get("effort")


@pytest.mark.parametrize(
    ("level", "model", "expected"),
    [
        ("high", "claude-opus-5", (ADAPTIVE, "high")),
        ("minimal", "claude-opus-5", (ADAPTIVE, "low")),
        ("xhigh", "claude-opus-4-7", (ADAPTIVE, "xhigh")),
        ("xhigh", "claude-opus-4-6", (ADAPTIVE, "high")),
        ("max", "claude-sonnet-4-6", (ADAPTIVE, "max")),
        ("budget:20000", "claude-opus-5", (ADAPTIVE, "high")),
        ("budget:100000", "claude-opus-5", (ADAPTIVE, "max")),
        ("low", "claude-sonnet-4-5", (enabled(1024, display="updates"), None)),
        ("medium", "claude-sonnet-4-5", (enabled(8192, display="updates"), None)),
        ("max", "claude-sonnet-4-5", (enabled(31_999, display="updates"), None)),
        ("budget:5000", "claude-3-7-sonnet", (enabled(5000, display="updates"), None)),
        ("budget:5", "claude-3-7-sonnet", (enabled(1024, display="updates"), None)),
        ("medium", "claude-opus-4-5", (enabled(8192, display="updates"), "medium")),
        ("none", "claude-opus-5", ({"type": "disabled"}, "medium")),
        ("none", "claude-3-5-haiku", (None, "medium")),
        ("high", "claude-3-5-haiku", (None, None)),
        ("high", "something-new", (ADAPTIVE, "high")),
    ],
)
def test_level_of_the_route(level: str, model: str, expected: tuple[Any, Any]) -> None:
    """A level that the route gives beats what the client asked for, in the form that the model takes."""
    body = ask(max_tokens=32_000, thinking=ADAPTIVE, output_config={"effort": "medium"})

    assert expected == asked(encode(body, model, level=level)[0])


def test_level_for_other_services() -> None:
    """Services that are not Anthropic know budgets; those that know levels get the level too."""
    assert (enabled(8192), "medium") == asked(encode(ask(max_tokens=32_000), "glm-5", OTHER, level="medium")[0])


@pytest.mark.parametrize("level", ["huge", "budget:", "budget:x", "budget:0"])
def test_unknown_levels(level: str) -> None:
    """A level that does not exist is refused with those that do."""
    with pytest.raises(RequestError, match="reasoning level"):
        encode(ask(), "claude-opus-5", level=level)


@pytest.mark.parametrize(
    ("given", "model", "expected"),
    [
        # What the model takes, or is not known to refuse, stays.
        ((ADAPTIVE, "high"), "claude-opus-5", (ADAPTIVE, "high")),
        ((ADAPTIVE, "high"), "glm-5", (ADAPTIVE, "high")),
        ((enabled(2000), None), "claude-sonnet-4-5", (enabled(2000), None)),
        ((enabled(2000), None), "claude-opus-4-6", (enabled(2000), None)),
        (({"type": "disabled"}, None), "claude-opus-5", ({"type": "disabled"}, None)),
        ((None, None), "claude-opus-5", (None, None)),
        # What it is known to refuse is converted.
        ((ADAPTIVE, "medium"), "claude-sonnet-4-5", (enabled(8192, display="updates"), None)),
        ((ADAPTIVE, None), "claude-haiku-4-5", (enabled(24_576, display="updates"), None)),
        ((enabled(2000, display="x"), None), "claude-opus-4-7", ({"type": "adaptive", "display": "x"}, "medium")),
        ((enabled(2000), "max"), "claude-sonnet-5", ({"type": "adaptive"}, "max")),
        ((ADAPTIVE, "high"), "claude-3-5-haiku", (None, None)),
        (({"type": "disabled"}, "low"), "claude-haiku-4-5", ({"type": "disabled"}, None)),
    ],
)
def test_without_a_level(given: tuple[Any, Any], model: str, expected: tuple[Any, Any]) -> None:
    """Without a level only what the model is known to refuse is changed, and that is noted where it is lost."""
    thinking, effort = given
    body = ask(max_tokens=32_000, thinking=thinking, output_config={"effort": effort} if effort else None)

    sent, notes = encode(body, model)

    assert expected == asked(sent)
    assert bool(effort and not expected[1]) is any("effort" in note for note in notes)


def test_budget_below_max_tokens() -> None:
    """A budget that does not fit is lowered; where none fits there is no thinking, nor what depends on it."""
    edits = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}, {"type": "clear_tool_uses_20250919"}]}
    body = ask(thinking=enabled(5000), context_management=edits)

    fitting, notes = encode({**body, "max_tokens": 3000}, "claude-sonnet-4-5")
    capped, _ = encode({**body, "max_tokens": 9000}, "claude-sonnet-4-5", max_output=2000)
    without, _ = encode({**body, "max_tokens": 1024}, "claude-sonnet-4-5")

    assert enabled(1999) == capped["thinking"]
    assert (enabled(2999), ["thinking budget lowered from 5000 to 2999"]) == (fitting["thinking"], notes)
    assert edits == fitting["context_management"]
    assert "thinking" not in without
    assert {"edits": [{"type": "clear_tool_uses_20250919"}]} == without["context_management"]


def test_no_room_to_think() -> None:
    """A probe with one token does not think, whatever the route says."""
    sent, notes = encode(ask(max_tokens=1), "claude-sonnet-4-5", level="high")

    assert (False, ["no thinking at level high: max_tokens is 1"]) == ("thinking" in sent, notes)


def test_forced_tools_exclude_thinking() -> None:
    """The API refuses thinking with a forced tool: the tool wins, visibly."""
    sent, notes = encode(ask(tools=["x"], tool_choice={"type": "any"}), "claude-opus-5", level="high")

    assert (False, ["no thinking at level high: the request forces a tool call"]) == ("thinking" in sent, notes)


def test_sampling_does_not_go_with_thinking() -> None:
    """Sampling parameters that the API refuses beside thinking go when a level brings it, visibly."""
    body = ask(temperature=0.2, top_p=0.5, top_k=5)

    sent, notes = encode(body, "claude-opus-5", level="low")
    plain, _ = encode(body, "claude-opus-5")
    kept, _ = encode(ask(temperature=1, top_p=0.99), "claude-opus-5", level="low")

    assert set() == {"temperature", "top_p", "top_k"} & sent.keys()
    assert 3 == len(notes)
    assert {"temperature", "top_p", "top_k"} <= plain.keys()
    assert {"temperature", "top_p"} <= kept.keys()


# Whose thinking.


def history(signature: Any, *more: JSON, results: bool = False, **fields: Any) -> JSON:
    """A conversation whose answer thought with ``signature``."""
    thought = {"type": "thinking", "thinking": "hm"} | ({} if signature is ... else {"signature": signature})
    last = [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}] if results else "go on"
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [thought, *more]},
        {"role": "user", "content": last},
    ]
    return ask(max_tokens=32_000, messages=messages, **fields)


def kinds(body: JSON) -> list[list[str]]:
    """The kinds of the blocks of the answers in a body."""
    return [[block["type"] for block in one["content"]] for one in body["messages"] if one["role"] == "assistant"]


TEXT = {"type": "text", "text": "so"}
CALL = {"type": "tool_use", "id": "t", "name": "x", "input": {}}
FOREIGN = [
    "",
    ...,
    None,
    seal("openai", {"x": 1}),
    seal("echo", {"v": 1}),
    "4f6c1c0e-8b7e-4d3a-9f0e-2b1a5c7d9e11",
    "a" * 64,
    "1764000000000",
]


@pytest.mark.parametrize("signature", FOREIGN, ids=str)
def test_foreign_thinking(signature: Any) -> None:
    """Thinking that others made does not reach Claude; the words beside it do, and it is noted."""
    sent, notes = encode(history(signature, TEXT), "claude-opus-5")

    assert [["text"]] == kinds(sent)
    assert ["left out 1 thinking blocks of other providers from the history"] == notes


@pytest.mark.parametrize("signature", [SIGNED, "c2ln", seal("anthropic-vertex", {"v": 1})])
def test_own_thinking(signature: str) -> None:
    """Thinking that Anthropic signed passes untouched."""
    body = history(signature, TEXT)

    sent, notes = encode(body, "claude-opus-5")

    assert (body["messages"], []) == (sent["messages"], notes)


def test_hidden_thinking_passes() -> None:
    """Thinking that only Anthropic can read passes."""
    assert [["redacted_thinking", "text"]] == kinds(
        encode(
            ask(
                messages=[
                    {"role": "user", "content": "x"},
                    {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, TEXT]},
                    {"role": "user", "content": "y"},
                ]
            ),
            "claude-opus-5",
        )[0]
    )


def test_sealed_for_anthropic() -> None:
    """A signature of Anthropic that the router had to seal is given back as it was."""
    body = history(seal("anthropic", {"signature": SIGNED}), TEXT)

    sent, notes = encode(body, "claude-opus-5")

    assert (SIGNED, []) == (sent["messages"][1]["content"][0]["signature"], notes)


def test_others_get_their_own_back() -> None:
    """Compatible services want back what they gave, whatever its signature; sealed blocks are not theirs."""
    for signature in ("", "a" * 64, SIGNED):
        assert [["thinking", "text"]] == kinds(encode(history(signature, TEXT), "glm-5", OTHER)[0])
    assert [["text"]] == kinds(encode(history(seal("openai", {}), TEXT), "glm-5", OTHER)[0])


def test_claude_elsewhere_is_claude() -> None:
    """A Claude model at another service refuses foreign thinking as well."""
    assert [["text"]] == kinds(encode(history("", TEXT), "anthropic/claude-opus-5", OTHER)[0])


def test_nothing_left() -> None:
    """An answer that was foreign thinking only goes altogether: an empty list of content is refused."""
    sent, _ = encode(history(""), "claude-opus-5")

    assert ["user", "user"] == [message["role"] for message in sent["messages"]]


@pytest.mark.parametrize(
    ("fields", "results", "expected"),
    [
        ({"thinking": enabled(2000)}, True, {"type": "disabled"}),
        ({"thinking": enabled(2000)}, False, enabled(2000)),
        ({"thinking": ADAPTIVE}, True, enabled(24_576, display="updates")),
    ],
)
def test_calls_under_way(fields: JSON, results: bool, expected: JSON) -> None:
    """With a budget, the answer whose calls are under way must begin with thinking; if it cannot, thinking is off."""
    management = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    body = history("", CALL if results else TEXT, results=results, context_management=management, **fields)

    sent, _ = encode(body, "claude-sonnet-4-5")

    off = sent["thinking"] == {"type": "disabled"}
    assert off is (results and True)
    assert off is ("context_management" not in sent)
    assert off or expected == sent["thinking"]


def test_calls_under_way_with_adaptive_thinking() -> None:
    """Adaptive thinking does not demand that answers begin with it."""
    sent, _ = encode(history("", CALL, results=True, thinking=ADAPTIVE), "claude-opus-5")

    assert (ADAPTIVE, [["tool_use"]]) == (sent["thinking"], kinds(sent))


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("EvABCmcIDxABGAIqQFM/jYu4" + "A" * 304, True),
        ("Eq8CCkYICxgCKkDdadQOXMzN" + "A" * 388, True),
        ("Eq8CCkYICxgCKkDdadQOXMzN", False),
        ("E0123456789abcdef0123456789abcdef", False),
        ("c2lnbmF0dXJl", False),
        ("E", False),
        ("Eß000000000000", False),
        (None, False),
    ],
)
def test_the_form_of_claudes_signatures(signature: object, expected: bool) -> None:
    """They are told from others by a length that they hold; two recorded ones begin as here."""
    assert expected is is_claudes(signature)


def test_a_service_known_to_be_another_gets_none_of_claudes_thinking() -> None:
    """A compatible service may be Claude under some name; with the option ``clean`` it is known to be another."""
    block = {"type": "thinking", "thinking": "Hm.", "signature": "EvABCmcIDxABGAIqQFM/jYu4" + "A" * 304}

    assert block == readable(block, False)
    assert block == readable(block, True, True)
    assert readable(block, False, True) is None
