"""Counting a request."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import Counter, Shape, count_request
from ccr_core.shape import IMAGE_TOKENS, LETTERS_PER_PAGE, PAGE_TOKENS
from ccr_core.tokens import Memo

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=10,
)


class Letters(Counter):
    """One token per letter, so that sums are easy to read; remembers what it counted."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def count(self, text: str) -> int:
        self.seen.append(text)
        return len(text)


def count(**body: Any) -> int:
    return count_request(body, Letters().count)


def content(*blocks: dict[str, Any]) -> int:
    """The tokens of blocks, without those of the message around them."""
    return count(messages=[{"role": "user", "content": list(blocks)}]) - count(messages=[{"role": "user"}])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, 0),
        ({"system": "abc"}, 3),
        ({"system": [{"type": "text", "text": "abc"}, {"type": "text", "text": "de"}]}, 5),
        ({"messages": [{"role": "user", "content": "abc"}]}, 3 + 3),
        ({"messages": [{"role": "user", "content": "abc"}, {"role": "system", "content": "de"}]}, 6 + 5),
        ({"tools": [{"name": "n", "description": "d", "input_schema": {}}]}, 8 + len('{"name":"n","description":"d"}')),
        ({"tools": [{"name": "n", "input_schema": {"a": 1}, "cache_control": {}}]}, 8 + 35),
        ({"tools": [{"name": "n", "defer_loading": True}]}, 0),
        ({"metadata": {"user_id": "x" * 100}}, 0),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}}}, len('{"a":1}')),
    ],
)
def test_parts(body: dict[str, Any], expected: int) -> None:
    """System prompt, messages and tools are counted; fields that the model does not see are not."""
    assert expected == count_request(body, Letters().count)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "text", "text": "abc"}, 3),
        ({"type": "text"}, 0),
        ({"type": "thinking", "thinking": "abc", "signature": "x" * 1000}, 3),
        ({"type": "redacted_thinking", "data": "x" * 80}, 10),
        ({"type": "tool_use", "id": "t", "name": "abc", "input": {"a": 1}}, 3 + 7 + 12),
        ({"type": "tool_use", "id": "t", "name": "abc"}, 3 + 2 + 12),
        ({"type": "tool_result", "tool_use_id": "t", "content": "abc"}, 3 + 12),
        ({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "abc"}]}, 3 + 12),
        ({"type": "tool_result", "tool_use_id": "t"}, 12),
        ({"type": "image", "source": {"type": "url", "url": "x"}}, IMAGE_TOKENS),
        ({"type": "image"}, IMAGE_TOKENS),
        ({"type": "document", "source": {"type": "text", "data": "abc"}}, 3),
        ({"type": "document", "source": {"type": "content", "content": "abc"}}, 3),
        ({"type": "document", "source": {"type": "base64", "data": "x" * LETTERS_PER_PAGE}}, 2 * PAGE_TOKENS),
        ({"type": "document", "source": {"type": "url", "url": "x"}}, PAGE_TOKENS),
        ({"type": "tool_reference", "tool_name": "abc"}, 3),
        ({"type": "server_tool_use", "id": "t", "name": "abc", "input": {"a": 1}}, 3 + 7 + 12),
        ({"type": "search_result", "a": 1}, len('{"type":"search_result","a":1}')),
    ],
)
def test_blocks(block: dict[str, Any], expected: int) -> None:
    """Each kind of block counts what the model sees of it; an unknown kind counts as its JSON."""
    assert expected == content(block)


def test_images_inside_tool_results_are_not_text() -> None:
    """An image in a tool's result counts as an image, not as the letters of its base64."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "A" * 100_000}}

    assert IMAGE_TOKENS + 12 == content({"type": "tool_result", "tool_use_id": "t", "content": [image]})


class Asked(Shape):
    """A family whose models do not see what they thought before the last question."""

    thinks = False


def turn(*blocks: dict[str, Any], role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def test_thinking_of_earlier_turns() -> None:
    """Where a family leaves it out, thinking counts only since the last question, and a tool's result is none."""
    thought, call = {"type": "thinking", "thinking": "abc"}, {"type": "tool_use", "name": "n", "input": {}}
    asked = {"role": "user", "content": "q"}
    result = turn({"type": "tool_result", "tool_use_id": "t", "content": "r"}, role="user")
    old, now = turn(thought, {"type": "text", "text": "a"}), turn(thought, call)

    def counted(shape: Shape) -> int:
        return count_request({"messages": [asked, old, asked, now, result]}, len, shape)

    assert (len("abc"), 0) == (counted(Shape()) - counted(Asked()), counted(Asked()) - counted(Shape()) + len("abc"))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_result", "content": [{"type": "tool_reference", "tool_name": "n"}]},
        {
            "type": "tool_search_tool_result",
            "content": {"tool_references": [{"type": "tool_reference", "tool_name": "n"}]},
        },
    ],
)
def test_deferred_tools_count_once_loaded(block: dict[str, Any]) -> None:
    """A deferred tool counts nothing until a result refers to it."""
    tool = {"name": "n", "description": "d", "defer_loading": True}
    with_tool = count(messages=[turn(block, role="user")], tools=[tool])

    assert 8 + len('{"name":"n","description":"d"}') == with_tool - count(messages=[turn(block, role="user")])


@given(st.dictionaries(st.sampled_from(["system", "messages", "tools", "output_config", "thinking"]), JSON))
def test_never_raises_for_odd_parts(body: dict[str, Any]) -> None:
    """Parts of a wrong shape count something or nothing."""
    assert count_request(body, Letters().count) >= 0


@given(
    st.sampled_from(["text", "thinking", "tool_use", "tool_result", "image", "document", "redacted_thinking", "x"]),
    st.dictionaries(st.sampled_from(["text", "thinking", "input", "content", "source", "data", "name"]), JSON),
)
def test_never_raises_for_odd_blocks(kind: str, fields: dict[str, Any]) -> None:
    """Blocks of a wrong shape count something or nothing."""
    assert content({**fields, "type": kind}) >= 0


def png(width: int, height: int) -> dict[str, Any]:
    data = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08" * 100
    return {"type": "base64", "data": base64.b64encode(data).decode()}


def gif(width: int, height: int) -> dict[str, Any]:
    data = b"GIF89a" + struct.pack("<HH", width, height) + b"\x00" * 100
    return {"type": "base64", "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (png(750, 100), 100),
        (gif(750, 100), 100),
        (png(1, 1), 1),
        (png(3136, 300), round(1568 * 150 / 750)),
        (png(10_000, 10_000), IMAGE_TOKENS),
        (png(0, 10), IMAGE_TOKENS),
        ({"type": "base64", "data": "/9j/4AAQSkZJRg=="}, IMAGE_TOKENS),
        ({"type": "base64", "data": "no base64 ü"}, IMAGE_TOKENS),
        ({"type": "base64", "data": ""}, IMAGE_TOKENS),
        ({"type": "base64"}, IMAGE_TOKENS),
        ({"type": "url"}, IMAGE_TOKENS),
    ],
)
def test_images(source: dict[str, Any], expected: int) -> None:
    """An image counts by its size where that is known, at most as much as any image."""
    assert expected == Shape().image(source)


@given(st.text(st.characters()))
def test_the_estimate(text: str) -> None:
    """The estimate has a value for any text, between nothing and one token per character and a quarter."""
    assert 0 <= Counter().count(text) <= len(text) * 1.25 + 1


@pytest.mark.parametrize(
    ("text", "low", "high"), [("hello world, how are you? " * 100, 500, 800), ("你好世界" * 100, 250, 450)]
)
def test_the_estimate_is_near(text: str, low: int, high: int) -> None:
    """The estimate is of the right size for English and for Chinese."""
    assert low <= Counter().count(text) <= high


def test_memo() -> None:
    """A text is counted once, long or short; short ones are forgotten together when there are too many."""
    letters = Letters()
    memo = Memo(letters, size=2, shortest=5)
    texts = ("longer", "longer", "tiny", "tiny", "a", "tiny", "b", "tiny")

    assert [len(text) for text in texts] == [memo.count(text) for text in texts]
    assert ["longer", "tiny", "a", "b", "tiny"] == letters.seen


class Together(Counter):
    """Counts all texts of a request at once, and remembers what it was asked."""

    slow = True

    def __init__(self, counts: Any = None) -> None:
        self.asked: list[list[str]] = []
        self.counts = counts

    def count_all(self, texts: Sequence[str]) -> Sequence[int]:
        self.asked.append(list(texts))
        if isinstance(self.counts, Exception):
            raise self.counts
        return [len(text) for text in texts] if self.counts is None else self.counts


def test_memo_asks_for_all_new_parts_at_once() -> None:
    """
    What is known is not asked for again, short or long, and a text that occurs twice is asked for once.
    """
    counter = Together()
    memo = Memo(counter, size=3)

    counts = [memo.count_parts(parts) for parts in (["a", 5, "bb", "a"], ["a", "bb"], ["a", "ccc"], [7])]
    memo.count_parts(["dddd"])
    memo.count_parts(["a"])

    assert [9, 3, 4, 7] == counts
    assert [["a", "bb"], ["ccc"], ["dddd"], ["a"]] == counter.asked


@pytest.mark.parametrize("counts", [OSError("down"), [1]])
def test_memo_estimates_where_all_at_once_fails(counts: Any, caplog: pytest.LogCaptureFixture) -> None:
    """
    A counter that raises, or gives too few numbers, is replaced by the estimate; the log says so once.
    """
    memo = Memo(Together(counts))

    with caplog.at_level("WARNING"):
        got = [memo.count_parts(["hello " * 9, "x"]), memo.count_parts(["hello " * 8])]

    assert [sum(Counter().count(text) for text in ("hello " * 9, "x")), Counter().count("hello " * 8)] == got
    assert (True, 1) == (memo.failed, len(caplog.records))


def test_memo_forgets_the_least_recent() -> None:
    """Of more texts than it holds, those that were not asked for lately go."""
    letters = Letters()
    memo = Memo(letters, size=2, shortest=0)
    for text in ("a", "bb", "a", "ccc", "a", "bb"):
        memo.count(text)

    assert ["a", "bb", "ccc", "bb"] == letters.seen


def test_a_growing_conversation_costs_its_new_message() -> None:
    """Of a conversation that grew by a message only the message is counted."""
    letters = Letters()
    memo = Memo(letters)
    old = [{"role": "user", "content": "old " * 50}]
    count_request({"system": "system " * 50, "messages": old}, memo.count)
    letters.seen.clear()

    count_request({"system": "system " * 50, "messages": [*old, {"role": "user", "content": "new " * 50}]}, memo.count)

    assert ["new " * 50] == letters.seen
