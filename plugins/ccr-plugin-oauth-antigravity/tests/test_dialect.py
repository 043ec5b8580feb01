"""The envelope, and what differs between the models behind it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from ccr_plugin_oauth_antigravity.dialect import FILLER, Antigravity

from ccr_core import JSON, Context, Target, UpstreamError, hints_of, seal
from ccr_core.testing import as_request, ask, check_dialect

CLAUDE = "claude-opus-4-6-thinking"
GEMINI = "gemini-3.1-pro-low"


def ctx(model: str = CLAUDE) -> Context:
    base = "https://daily-cloudcode-pa.googleapis.com/v1internal"
    return Context(exchange_id="t", target=Target(provider="p", model=model, base_url=base))


def sent(model: str, body: JSON | None = None, session: str | None = None) -> Any:
    body = body or ask()
    request = as_request(body)
    if session:
        headers = {"x-claude-code-session-id": session}
        request = attrs.evolve(request, headers=headers, hints=hints_of(body, headers))
    made = Antigravity().encode(request, ctx(model)).body
    assert made is not None
    return made


def test_dialect() -> None:
    """The dialect keeps the rules of dialects."""
    check_dialect(Antigravity(), [])


@pytest.mark.parametrize("model", ["antigravity-claude-sonnet-4-6", "claude-sonnet-4-6"])
def test_the_envelope(model: str) -> None:
    """The envelope names the model, itself and the request; the project comes with the account."""
    made = sent(model, {**ask(), "system": "be short"}, "s-1")

    assert ("claude-sonnet-4-6", "antigravity", "agent") == (made["model"], made["userAgent"], made["requestType"])
    assert made["requestId"].startswith("agent-")
    assert {"role": "user", "parts": [{"text": "be short"}]} == made["request"]["systemInstruction"]


def test_sessions() -> None:
    """A conversation has a negative number of 63 bits: that of its session, else of its first words."""
    numbers = [
        sent(GEMINI, ask(text), session)["request"]["sessionId"]
        for text, session in [("a", "s-1"), ("b", "s-1"), ("a", "s-2"), ("a", None), ("a", None), ("b", None)]
    ]

    assert numbers[0] == numbers[1]
    assert numbers[3] == numbers[4]
    assert 4 == len(set(numbers))
    for number in numbers:
        assert -(2**63) < int(number) < 0


def test_limits_of_answers() -> None:
    """Claude models get a limit, lowered to what they take; Gemini models get none."""
    assert 64_000 == sent(CLAUDE, {**ask(), "max_tokens": 99_000})["request"]["generationConfig"]["maxOutputTokens"]
    assert "maxOutputTokens" not in sent(GEMINI)["request"].get("generationConfig", {})


@pytest.mark.parametrize(
    ("thinking", "limit", "config"),
    [
        ({"type": "enabled", "budget_tokens": 4096}, 32000, {"includeThoughts": True, "thinkingBudget": 4096}),
        ({"type": "enabled", "budget_tokens": 4096}, 4000, {"includeThoughts": True, "thinkingBudget": 2000}),
        ({"type": "enabled", "budget_tokens": 4096}, 900, None),
        ({"type": "disabled"}, 32000, None),
    ],
)
def test_thinking_of_claude(thinking: Any, limit: int, config: Any) -> None:
    """A budget is at least 1024 and below the limit, or there is no thinking."""
    made = sent(CLAUDE, {**ask(), "max_tokens": limit, "thinking": thinking})

    assert config == made["request"]["generationConfig"].get("thinkingConfig")


def test_a_level_in_the_name() -> None:
    """A model with its level in the name is asked for that one."""
    body = {**ask(), "thinking": {"type": "enabled", "budget_tokens": 30000}}

    assert {"includeThoughts": True, "thinkingLevel": "low"} == sent(GEMINI, body)["request"]["generationConfig"][
        "thinkingConfig"
    ]


ITEM = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOLS = [
    {"name": "Now", "description": "d", "input_schema": {"type": "object", "properties": {}}},
    {
        "name": "Add",
        "description": "d",
        "input_schema": {
            "type": "object",
            "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}
            },
            "required": ["list"],
        },
    },
]


def test_schemas_for_claude() -> None:
    """Every object requires something, and calls keep to their schemas."""
    made = sent(CLAUDE, ask(tools=TOOLS))["request"]
    now, add = (each["parameters"] for each in made["tools"][0]["functionDeclarations"])

    assert [FILLER] == now["required"]
    assert ["list"] == add["required"]
    assert [FILLER] == add["properties"]["list"]["items"]["required"]
    assert {"mode": "VALIDATED"} == made["toolConfig"]["functionCallingConfig"]


def test_schemas_for_gemini() -> None:
    """Gemini models get the schemas as they are."""
    now, _ = sent(GEMINI, ask(tools=TOOLS))["request"]["tools"][0]["functionDeclarations"]

    assert "parameters" not in now


def test_calls_without_the_filler() -> None:
    """What was added to a schema is taken out of the calls."""
    args = {FILLER: True, "list": [{FILLER: True, "a": "x"}]}
    part = {"functionCall": {"name": "Add", "args": args, "id": "1"}}
    body = {"response": {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}}
    events = list(Antigravity().decode_body(body, as_request(ask(tools=TOOLS)), ctx()))

    assert any('{"list":[{"a":"x"}]}' in repr(event) for event in events)
    assert all(FILLER not in repr(event) for event in events)


def test_thoughts_of_claude() -> None:
    """Thoughts in the history go out with their signature, and not without one."""

    def block(data: JSON) -> JSON:
        return {"type": "thinking", "thinking": "hm", "signature": seal("antigravity", {"m": CLAUDE, **data})}

    body = {
        **ask(),
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [block({"t": "sig"}), block({}), {"type": "text", "text": "b"}]},
            {"role": "user", "content": "c"},
        ],
    }

    assert [{"text": "hm", "thought": True, "thoughtSignature": "sig"}, {"text": "b"}] == sent(CLAUDE, body)["request"][
        "contents"
    ][1]["parts"]


def test_mending() -> None:
    """Where a signature is refused the thoughts of Claude go; what needs no change is not sent again."""
    error = UpstreamError("Invalid `signature` in `thinking` block", 400)
    parts = [{"text": "hm", "thought": True, "thoughtSignature": "s"}, {"text": "b"}]
    body = {"model": CLAUDE, "request": {"contents": [{"role": "model", "parts": parts}]}}
    mended = Antigravity().mend(error, body)

    assert {"model": CLAUDE, "request": {"contents": [{"role": "model", "parts": parts[1:]}]}} == mended
    assert mended is not None
    assert Antigravity().mend(error, mended) is None
    assert Antigravity().mend(UpstreamError("other", 400), body) is None


def test_calls_of_others() -> None:
    """A call that lacks a signature gets the documented value for Gemini models, and nothing for Claude."""
    body = {
        **ask(tools=TOOLS),
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Now", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
        ],
    }

    assert "thoughtSignature" not in sent(CLAUDE, body)["request"]["contents"][1]["parts"][0]
    assert "thoughtSignature" in sent(GEMINI, body)["request"]["contents"][1]["parts"][0]


def test_web_search() -> None:
    """A search is a request of its own kind, for models that search."""
    body = ask(tools=[{"type": "web_search_20250305", "name": "web_search"}])

    assert ("web_search", [{"googleSearch": {}}]) == (
        (made := sent("gemini-3-flash", body))["requestType"],
        made["request"]["tools"],
    )
    assert [True, False] == [Antigravity().searches(ctx(model).target) for model in ("gemini-3-flash", CLAUDE)]
