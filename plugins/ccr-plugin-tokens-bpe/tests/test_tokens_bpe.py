"""The counters with byte-pair vocabularies."""

from __future__ import annotations

import base64
import logging
import struct
import subprocess
import sys
from typing import Any

import ccr_plugin_tokens_bpe as plugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import Counter, count_request

KINDS = {kind.name: kind for kind in plugin.COUNTERS}


def counter(name: str) -> plugin.BpeCounter:
    return plugin.BpeCounter(KINDS[name])


def test_hook() -> None:
    """The plugin offers exactly the counters that its README names."""
    specs = list(plugin.ccr_token_counters())

    assert ["bpe", "bpe-openai", "bpe-gpt-oss", "bpe-cl100k", "bpe-claude", "bpe-claude-new"] == [
        spec.name for spec in specs
    ]
    assert [spec.name for spec in specs] == [spec.factory().name for spec in specs]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("bpe", "", 0),
        ("bpe", "hello world", 2),
        ("bpe", "<|endoftext|>", 7),
        ("bpe-cl100k", "hello world", 2),
        ("bpe-claude", "hello world, how do you do?", 8),
        ("bpe-claude-new", "hello world, how do you do?", 9),
    ],
)
def test_counts(name: str, text: str, expected: int) -> None:
    """Known counts; a special token is text, and Claude's are weighed."""
    assert expected == counter(name).count(text)


@given(st.text(st.characters(), max_size=200))
def test_never_raises(text: str) -> None:
    """Any text has a count, lone surrogates included, and it is never more than its bytes."""
    assert 0 <= counter("bpe").count(text) <= len(text.encode("utf-8", "replace"))


def test_large_text_is_not_refused() -> None:
    """A megabyte without a blank is counted too."""
    assert 125_000 == counter("bpe").count("a" * 1_000_000)


def test_missing_library(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without the library counts are estimates, and one warning says so."""
    monkeypatch.setitem(sys.modules, "rs_bpe", None)
    monkeypatch.setitem(sys.modules, "rs_bpe.bpe", None)
    plugin.vocabulary.cache_clear()
    made = counter("bpe-claude")

    with caplog.at_level(logging.WARNING, "ccr.tokens-bpe"):
        counts = [made.count("hello " * 50), made.count("hello " * 50)]

    assert [Counter().count("hello " * 50)] * 2 == counts
    assert 1 == len(caplog.records)


class Panic(BaseException):
    """Like the panic of a Rust library, which is no ``Exception``."""


def test_panic(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A library that panics at a text costs an estimate, not the request."""

    def broken(text: str) -> int:
        raise Panic(text)

    monkeypatch.setattr(plugin, "vocabulary", lambda name: broken)
    with caplog.at_level(logging.WARNING, "ccr.tokens-bpe"):
        got = counter("bpe").count("hello " * 50)

    assert Counter().count("hello " * 50) == got


def test_loaded_at_the_first_count() -> None:
    """Loading the plugin and making its counters does not load a vocabulary."""
    code = (
        "import sys, ccr_plugin_tokens_bpe as p; made = [s.factory() for s in p.ccr_token_counters()];"
        "assert not [m for m in sys.modules if m.startswith('rs_bpe')];"
        "made[0].count('x'); assert 'rs_bpe.bpe' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# --- how much Claude makes of a text ------------------------------------------------------------------------

TEXTS = {
    "prose": "The router reads the request, asks each rule in turn, and sends what came out to the provider it chose. "
    * 5,
    "code": """
for place, route in enumerate(routes):
    last = place + 1 == len(routes)
    try:
        await self.send(exchange, route, last)
        return
    except UpstreamError as error:
        log.info("%s failed with %s, next is %s", route, error.status, routes[place + 1])
"""
    * 3,
    "json": '{"name": "Read", "input": {"file_path": "/src/app/main.py", "limit": 200}, "note": "first lines"}, ' * 5,
    "chinese": "路由器读取请求 依次询问每条规则 然后把结果发送给它选择的提供者。" * 5,
}


@pytest.mark.parametrize(
    ("kind", "old", "new"), [("prose", 116, 151), ("code", 256, 288), ("json", 186, 226), ("chinese", 166, 165)]
)
def test_claude(kind: str, old: int, new: int) -> None:
    """
    Of a text as much is made as by a reconstruction of Claude's vocabularies, within 15 %.
    """
    text = TEXTS[kind]
    assert pytest.approx(old, rel=0.15) == counter("bpe-claude").count(text)
    assert pytest.approx(new, rel=0.15) == counter("bpe-claude-new").count(text)


# --- what is around texts -----------------------------------------------------------------------------------

USER = {"role": "user", "content": "x"}
CALL = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": "v", "b": [1]}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "r"}
TOOL = {"name": "n", "input_schema": {"type": "object"}}


def counted(name: str, model: str, *messages: dict[str, Any], **body: Any) -> int:
    """The tokens of a body of which each text is one token."""
    body = {"messages": list(messages or (USER,)), **body}
    return count_request(body, lambda text: 1 if text else 0, counter(name).shape(model))


def more(model: str, *messages: dict[str, Any], **body: Any) -> int:
    """What a body to Claude has more than a plain one."""
    return counted("bpe-claude", model, *messages, **body) - counted("bpe-claude", model)


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        ("bpe-claude", "claude-sonnet-4-5", 4 + 3 + 1),
        ("bpe-claude-new", "claude-opus-4-8", 3 + 3 + 1),
        ("bpe-claude-new", "claude-opus-4-7", 8 + 3 + 1),
        ("bpe-openai", "gpt-4o", 3 + 4 + 1),
        ("bpe-gpt-oss", "gpt-oss-120b", 61 + 4 + 1),
        ("bpe", "unknown", 3 + 1),
    ],
)
def test_a_plain_request(name: str, model: str, expected: int) -> None:
    """Around one message each family has its own marks."""
    assert expected == counted(name, model)


@pytest.mark.parametrize(
    ("model", "free", "forced"),
    [
        ("claude-opus-4-8", 290, 410),
        ("claude-opus-4-7", 675, 804),
        ("anthropic.claude-opus-4-6-v1:0", 497, 589),
        ("anthropic/claude-sonnet-4.6", 497, 589),
        ("claude-haiku-4-5-20251001", 496, 588),
        ("claude-opus-4-1-20250805", 313, 315),
        ("claude-sonnet-4-20250514", 313, 315),
        ("claude-sonnet-4@20250514", 313, 315),
        ("claude-sonnet-5", 354, 474),
        ("claude-opus-5", 286, 406),
        ("claude-sonnet-5-5", 310, 430),
        ("claude-fable-5", 310, 430),
        ("claude-3-5-haiku-20241022", 264, 355),
        ("claude-3-7-sonnet", 346, 313),
    ],
)
def test_instructions_for_tools(model: str, free: int, forced: int) -> None:
    """The first tool brings instructions, by model and by whether the model must call one."""
    shown = 5 + 1
    assert [free + shown, free + shown, forced + shown, forced + shown] == [
        more(model, tools=[TOOL], tool_choice=choice)
        for choice in (None, {"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "n"})
    ]
    assert free + 2 * shown + 4 == more(model, tools=[TOOL, {**TOOL, "description": "d"}])
    assert 0 == more(model, tools=[], tool_choice={"type": "none"})


@pytest.mark.parametrize(
    ("model", "kinds", "expected"),
    [
        ("claude-sonnet-4-5", ["web_search_20250305"], 496 + 2170),
        ("claude-sonnet-4-5", ["web_search_20250305", "web_fetch_20250910"], 496 + 2170 + 62),
        ("claude-sonnet-4-0", ["web_search_20250305"], 313 + 1710),
        ("claude-sonnet-4-6", ["code_execution_20260120"], 497 + 1740),
        ("claude-sonnet-4-5", ["memory_20250818"], 496 + 1069),
        ("claude-sonnet-4-6", ["tool_search_tool_bm25_20251119"], 497 + 188),
    ],
)
def test_server_tools(model: str, kinds: list[str], expected: int) -> None:
    """Anthropic's own tools have definitions of a known size; what is said of citations is said once."""
    assert expected == more(model, tools=[{"type": kind, "name": kind[:10]} for kind in kinds])


def test_calls_and_results() -> None:
    """A call names each argument; a result of blocks has more around it than a text."""
    called = ({"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT]})
    listed = {**RESULT, "content": [{"type": "text", "text": "r"}]}

    assert 3 + 23 + 1 + 2 * (16 + 2) + 3 + 16 + 1 == more("claude-sonnet-4-5", USER, *called)
    assert 10 == more("claude-sonnet-4-5", {"role": "user", "content": [listed]}) - more(
        "claude-sonnet-4-5", {"role": "user", "content": [RESULT]}
    )


@pytest.mark.parametrize(
    ("model", "body", "kept"),
    [
        ("claude-sonnet-4-5", {}, False),
        ("claude-haiku-4-5", {}, False),
        ("claude-opus-4-5", {}, True),
        ("claude-sonnet-4-6", {}, True),
        ("claude-opus-4-1", {}, False),
        ("claude-sonnet-5", {}, True),
        (
            "claude-sonnet-4-5",
            {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}},
            True,
        ),
        (
            "claude-opus-4-5",
            {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": {"value": 1}}]}},
            False,
        ),
        ("claude-opus-4-5", {"context_management": {"edits": "odd"}}, True),
    ],
)
def test_thinking_of_earlier_turns(model: str, body: dict[str, Any], kept: bool) -> None:
    """Whether it is seen depends on the model, and on what the request says."""
    answer = {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "a"}]}

    assert (3 + 1 + 3 + 1 + (11 if kept else 0)) == more(model, USER, answer, USER, **body)


def test_thinking_on() -> None:
    """An order to think with a budget adds some words; an adaptive one does not."""
    assert 29 == more("claude-sonnet-4-5", thinking={"type": "enabled", "budget_tokens": 1024})
    assert 0 == more("claude-sonnet-4-6", thinking={"type": "adaptive"})


def picture(width: int, height: int) -> dict[str, Any]:
    data = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08" * 20
    return {"type": "base64", "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    ("name", "model", "size", "expected"),
    [
        ("bpe-claude", "claude-sonnet-4-5", (280, 281), 10 * 11),
        ("bpe-claude", "claude-sonnet-4-5", (1920, 1080), 1560),
        ("bpe-claude-new", "claude-opus-4-8", (1920, 1080), 2691),
        ("bpe-claude-new", "claude-opus-4-8", (3840, 2160), 4784),
        ("bpe-openai", "gpt-4o", (512, 512), 85 + 170),
        ("bpe-openai", "gpt-4o", (2048, 4096), 85 + 170 * 6),
        ("bpe-openai", "gpt-4o-mini", (512, 512), 2833 + 5667),
        ("bpe-openai", "gpt-5", (512, 512), 70 + 140),
        ("bpe-openai", "openai/o3", (512, 512), 75 + 150),
        ("bpe-openai", "gpt-4.1-mini", (1024, 1024), 1659),
        ("bpe-openai", "o4-mini", (32, 32), 2),
    ],
)
def test_pictures(name: str, model: str, size: tuple[int, int], expected: int) -> None:
    """Pictures cost by their pixels, as the documentation of each maker has it; its own examples are among these."""
    assert pytest.approx(expected, rel=0.01) == counter(name).shape(model).image(picture(*size))


def test_documents() -> None:
    """A text has marks around it; a page is a picture, with its text."""
    data = base64.b64encode(b"%PDF-1.4 /Type /Page " + b"/Type /Page ").decode()
    texts, pages = {"type": "text", "data": "t"}, {"type": "base64", "data": data}

    assert [38 + 1, 38 + 2 * 1557] == [
        more("claude-sonnet-4-5", {"role": "user", "content": [{"type": "document", "source": source}]}) + 1
        for source in (texts, pages)
    ]


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["a", "b"]},
        "at": {"type": "array", "items": {"type": "integer"}, "description": "where"},
        "by": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "as": {"type": ["string", "number"]},
        "in": {"type": "object", "properties": {"x": {"const": 1}}},
        "odd": 5,
    },
    "required": ["kind"],
}


def test_declarations() -> None:
    """OpenAI's models see tools as types."""
    from ccr_plugin_tokens_bpe.openai import declaration

    assert [
        "// Does it.",
        "// Well.",
        "type do = (_: {",
        'kind: "a" | "b",',
        "// where",
        "at?: number[],",
        "by?: string | null,",
        "as?: string | number,",
        "in?: {",
        "x?: 1,",
        "},",
        "odd?: any,",
        "}) => any;",
    ] == declaration({"name": "do", "description": " Does it.\n   Well.\n", "input_schema": SCHEMA}).split("\n")[:-2]
    assert "type do = () => any;\n\n" == declaration({"name": "do", "input_schema": {"type": "object"}})


def test_a_schema_that_refers_to_itself() -> None:
    """However deep a schema is, its declaration ends."""
    from ccr_plugin_tokens_bpe.openai import declaration

    schema: dict[str, Any] = {}
    schema.update(type="array", items=schema)
    assert declaration({"name": "n", "input_schema": {"properties": {"a": schema}}}).endswith("[],\n}) => any;\n\n")


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("gpt-4o", {"system": "s"}, 4 + 1),
        ("gpt-4o", {"tools": [TOOL]}, 1 + 1),
        ("gpt-5.5", {"tools": [TOOL]}, 18 + 1 + 1),
        ("gpt-4o", {"output_config": {"format": {"schema": {"type": "object"}}}}, 65 + 1),
    ],
)
def test_openai(model: str, body: dict[str, Any], expected: int) -> None:
    """A system prompt is a message; tools stand in a namespace; a schema is a type."""
    assert expected == counted("bpe-openai", model, **body) - counted("bpe-openai", model)


def test_sealed_thought_is_not_counted() -> None:
    """What OpenAI's models thought comes back sealed, if at all."""
    thoughts = [{"type": "thinking", "thinking": "t"}, {"type": "redacted_thinking", "data": "x" * 80}]

    assert 3 + 4 == counted("bpe-openai", "gpt-5", {"role": "assistant", "content": thoughts})
