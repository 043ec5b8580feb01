"""What a request asks of a model, as every format reads it."""

from __future__ import annotations

from typing import Any

import pytest

from ccr_core import (
    BUDGETS,
    FOREIGN_THINKING,
    LEVELS,
    AskedThinking,
    CallIds,
    Context,
    Request,
    Target,
    answer_schema,
    as_error,
    described,
    is_server_tool,
    level_of,
    long_names,
    offered_tools,
    result_text,
    schema_in_words,
    short_name,
    thinking_of,
    wants_search,
)


def request(**body: Any) -> Request:
    return Request(body, {}, ingress="anthropic")


class Notes(list[tuple[str, Any]]):
    """What a dialect noted."""

    def context(self) -> Context:
        target = Target(provider="p", model="m", base_url="http://x")
        return Context(exchange_id="e", target=target, note=lambda key, value: self.append((key, value)))


ADAPTIVE = {"thinking": {"type": "adaptive"}}


@pytest.mark.parametrize(
    ("level", "body", "asked"),
    [
        (None, {}, AskedThinking()),
        (None, ADAPTIVE, AskedThinking(True)),
        (None, {**ADAPTIVE, "output_config": {"effort": "high"}}, AskedThinking(True, "high")),
        (None, {"output_config": {"effort": "low"}}, AskedThinking(None, "low")),
        (None, {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, AskedThinking(False, "none")),
        (None, {"thinking": {"type": "enabled", "budget_tokens": 9000}}, AskedThinking(True, "high", 9000)),
        (None, {"thinking": {"type": "adaptive", "display": "omitted"}}, AskedThinking(True, shown=False)),
        (None, {"thinking": "yes", "output_config": 5}, AskedThinking()),
        ("medium", {"thinking": {"type": "disabled"}}, AskedThinking(True, "medium")),
        ("none", ADAPTIVE, AskedThinking(False, "none")),
        ("budget:8192", {}, AskedThinking(True, "medium", 8192)),
        ("budget:0", ADAPTIVE, AskedThinking(False, "none", 0)),
        ("budget:many", {}, AskedThinking(False, "none", 0)),
    ],
)
def test_thinking(level: str | None, body: dict[str, Any], asked: AskedThinking) -> None:
    """The route's level wins; a budget and a level say the same thing."""
    assert asked == thinking_of(request(**body), level)


def test_a_budget_stands_for_the_level_that_has_room_for_it() -> None:
    """And the budget of a level for that level, up to the one above which there is none but the last."""
    assert list(LEVELS[:6]) == [level_of(BUDGETS[level]) for level in LEVELS[:6]]
    assert ["minimal", "low", "xhigh"] == [level_of(1), level_of(513), level_of(10**6)]


READ = {"name": "Read", "input_schema": {}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
TOOL_SEARCH = {"type": "tool_search_tool_regex_20251119", "name": "find"}
DEFERRED = {"name": "mcp__x", "defer_loading": True}


def calls(name: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": name, "input": {}}]}


def refers(name: str) -> dict[str, Any]:
    told = [{"type": "tool_reference", "tool_name": name}]
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": told}]}


@pytest.mark.parametrize(
    ("messages", "forced", "names"),
    [
        ([], "", ["Read"]),
        ([calls("mcp__x")], "", ["Read", "mcp__x"]),
        ([refers("mcp__x")], "", ["Read", "mcp__x"]),
        ([refers("mcp__y")], "", ["Read"]),
        ([], "mcp__x", ["Read", "mcp__x"]),
    ],
)
def test_deferred_tools_are_shown_once_they_are_known(messages: list[Any], forced: str, names: list[str]) -> None:
    """By a call, by what the search for tools gave, or because one must be called."""
    tools = [READ, SEARCH, {"name": "DeferredToolPlaceholder"}, DEFERRED]
    notes = Notes()

    assert names == [
        tool["name"] for tool in offered_tools(request(tools=tools, messages=messages), notes.context(), forced)
    ]
    assert [] == notes


def test_where_nobody_searches_tools_all_are_shown() -> None:
    """A deferred tool that cannot be found would be lost; a note says so."""
    notes = Notes()
    asked = request(tools=[READ, TOOL_SEARCH, DEFERRED], messages=[])

    assert [READ, DEFERRED] == list(offered_tools(asked, notes.context()))
    assert [("tools", "all deferred tools are offered: the service has no tool search")] == notes


def test_server_tools() -> None:
    """They are told by their type."""
    assert [False, False, True] == [is_server_tool(tool) for tool in (READ, {"type": "custom"}, SEARCH)]
    assert [False, True] == [wants_search(request(tools=tools)) for tools in ([READ], [READ, SEARCH])]


@pytest.mark.parametrize("name", ["Read", "a.b", "ä" * 10, "x" * 64, "x" * 65, "mcp__server__tool with spaces"])
def test_names_of_tools_find_back(name: str) -> None:
    """Whatever a service gets is of its alphabet and length, and leads to the tool again."""
    short = short_name(name, 64)
    ways = long_names(request(tools=[{"name": name}]), lambda text: short_name(text, 64))

    assert short.isascii()
    assert "." not in short
    assert len(short) <= 64
    assert name == ways.get(short, short)


def test_names_that_differ_late_stay_different() -> None:
    """Cutting must not make one of two."""
    assert short_name("x" * 80 + "a", 64) != short_name("x" * 80 + "b", 64)
    assert "a.b" == short_name("a.b", 64, "a-z.")


def test_the_form_of_the_answer() -> None:
    """A schema is given as it is; what is no schema is noted."""
    notes = Notes()
    schema = {"type": "object"}
    wanted = [
        answer_schema(request(output_config=config), notes.context())
        for config in ({"format": {"type": "json_schema", "schema": schema}}, {"format": {"type": "xml"}}, {}, None)
    ]

    assert [schema, None, None, None] == wanted
    assert [("body", "unknown output format left out: xml")] == notes
    assert schema_in_words(schema).endswith('{"type":"object"}')


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"content": "a"}, "a"),
        ({"content": ""}, ""),
        ({"content": [{"type": "text", "text": "a"}]}, "a"),
        ({"content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}, None),
        ({"content": "a", "cache_control": {"type": "ephemeral"}}, None),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, None),
        ({"content": [{"type": "image", "text": "a"}]}, None),
        ({"content": [{"type": "text"}]}, None),
        ({"content": ["a"]}, None),
        ({"content": []}, None),
        ({}, None),
    ],
)
def test_results_of_one_text(block: dict[str, Any], text: str | None) -> None:
    """Whatever is more or less than one unmarked text is left to the dialect."""
    assert text == result_text(block)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no file", "Error: no file"),
        ("", "Error: "),
        ("Error: no file", "Error: no file"),
        ("\n ERROR no file", "\n ERROR no file"),
        ("<tool_use_error>no</tool_use_error>", "<tool_use_error>no</tool_use_error>"),
    ],
)
def test_errors_say_that_they_are(text: str, told: str) -> None:
    """And say it once."""
    assert told == as_error(text)


@pytest.mark.parametrize(
    ("block", "text", "lost"),
    [
        ({"type": "text", "text": "hi"}, "hi", {}),
        ({"type": "tool_reference", "tool_name": "a"}, "The tool A is now available.", {}),
        ({"type": "compaction", "content": "so far"}, "so far", {}),
        ({"type": "thinking", "thinking": "hm", "signature": "s"}, "", {FOREIGN_THINKING: 1}),
        (
            {"type": "search_result", "title": "T", "source": "http://x", "content": [{"type": "text", "text": "c"}]},
            "T (http://x)\nc",
            {},
        ),
        (
            {"type": "web_search_tool_result", "content": [{"title": "T", "url": "u"}]},
            "[web search results:]\n- T: u",
            {"web_search_tool_result blocks written as text": 1},
        ),
        ({"type": "new", "x": 1}, '[new: {"x":1}]', {"new blocks written as text": 1}),
    ],
)
def test_blocks_without_a_word_become_text(block: dict[str, Any], text: str, lost: dict[str, int]) -> None:
    """What is lost by it is counted."""
    counted: dict[str, int] = {}

    assert text == described(block, str.upper, counted)
    assert lost == counted


def test_ids_of_calls() -> None:
    """The service's id stays unless it stands in the conversation already, in this answer or before it."""
    said = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "call_0", "name": "Bash", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": "call_1"}]},
        {"role": "assistant", "content": "call_2"},
    ]
    ids = CallIds(request(messages=said))

    kept = [ids.fresh(given) for given in ("call_1", "call_2")]
    other = [ids.fresh(given) for given in ("call_0", "call_1", "", "")]

    assert ["call_1", "call_2"] == kept
    assert (4, [True] * 4) == (len({*other}), [ident.startswith("toolu_") for ident in other])
