"""The transformer ``extrathinktag``, and the scanner that others use too."""

from __future__ import annotations

import re
from typing import Any

import ccr_plugin_extrathinktag as plugin
import pytest
from ccr_plugin_extrathinktag.scan import TagScanner
from ccr_plugin_extrathinktag.split import Splitter
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import (
    BlockDelta,
    BlockStart,
    BlockStop,
    ConfigError,
    MessageDelta,
    MessageStart,
    MessageStop,
    StreamError,
    unseal,
)
from ccr_core.testing import Trial, check_plugin, check_transformer, message
from ccr_core.testing.samples import text, tool_use

(SPEC,) = plugin.ccr_transformers()

CASES = {
    "at the start": ("<think>\na\nb\n</think>\n\nc", [("thinking", "a\nb"), ("text", "c")]),
    "blanks first": ("\n <think>a</think>c", [("thinking", "a"), ("text", "c")]),
    "after a line": ("Well.\n<think>a</think>\nc", [("text", "Well.\n"), ("thinking", "a"), ("text", "c")]),
    "in a sentence": ("The <think> tag</think>", [("text", "The <think> tag</think>")]),
    "a second time": ("<think>a</think>b\n<think>c</think>", [("thinking", "a"), ("text", "b\n<think>c</think>")]),
    "nothing in it": ("<think>\n\n</think>\n\nc", [("text", "c")]),
    "only thinking": ("<think>a</think>", [("thinking", "a")]),
    "never closed": ("<think>a </thin", [("thinking", "a </thin")]),
    "almost a tag": ("<thin air\n<think\n<", [("text", "<thin air\n<think\n<")]),
    "closed without opening": ("a</think>b", [("text", "a</think>b")]),
    "almost closed": ("<think>a</ think></thinkb</think> c", [("thinking", "a</ think></thinkb"), ("text", "c")]),
    "blanks of all kinds first": (" \r\n\x0b\n\u2003\n<think>a</think>c", [("thinking", "a"), ("text", "c")]),
    "blanks only": (" \n ", [("text", " \n ")]),
    "other letters": ("<think>ü漢🙂</think>🙂", [("thinking", "ü漢🙂"), ("text", "🙂")]),
}


def scanned(pieces: list[str]) -> list[tuple[str, str]]:
    """What the scanner makes of ``pieces``, pieces of the same kind joined."""
    scanner = TagScanner("think")
    out: list[tuple[str, str]] = []
    for piece in [*pieces, None]:
        for kind, part in scanner.flush() if piece is None else scanner.feed(piece):
            assert part
            if out and out[-1][0] == kind:
                out[-1] = (kind, out[-1][1] + part)
            else:
                out.append((kind, part))
    return out


@pytest.mark.parametrize(("given_text", "expected"), CASES.values(), ids=CASES.keys())
def test_scanner(given_text: str, expected: list[tuple[str, str]]) -> None:
    """Tags are found whole, letter by letter, and cut in two at any place."""
    assert expected == scanned([given_text])
    assert expected == scanned(list(given_text))
    for at in range(len(given_text)):
        assert expected == scanned([given_text[:at], given_text[at:]])


PARTS = ["<think>", "</think>", "<", "</", "think>", "a", "é ", "\n", "  ", "\r\n"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS)), st.data())
def test_no_text_is_lost(parts: list[str], data: st.DataObject) -> None:
    """Any text, cut anywhere, comes out whole but for one pair of tags and the blanks around them."""
    whole = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    out = scanned(pieces)

    assert scanned([whole]) == out
    tag = re.search(r"^[ \t]*<think>", whole, re.M)
    left = whole[: tag.start()] + whole[tag.end() :].replace("</think>", "", 1) if tag else whole
    assert "".join(left.split()) == "".join("".join(part for _, part in out).split())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*PARTS, "a\n", "b \t", "\nc"]).filter(bool), min_size=1))
def test_the_short_way_is_the_same(pieces: list[str]) -> None:
    """Pieces that the splitter passes on without the scanner leave the answer as the scanner alone would make it."""
    splitter = Splitter("think", "", lambda key, value: None)
    events = [
        event
        for item in [BlockStart(0, {"type": "text", "text": ""}), *(_delta(piece) for piece in pieces), BlockStop(0)]
        for event in splitter.feed(item)
    ]

    given_parts: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, BlockDelta) and event.delta["type"] != "signature_delta":
            kind = event.delta["type"].removesuffix("_delta")
            if given_parts and given_parts[-1][0] == kind:
                given_parts[-1] = (kind, given_parts[-1][1] + event.delta[kind])
            else:
                given_parts.append((kind, event.delta[kind]))
    assert scanned(pieces) == given_parts


def _delta(piece: str) -> BlockDelta:
    return BlockDelta(0, {"type": "text_delta", "text": piece})


def test_text_does_not_wait() -> None:
    """Text that cannot be a tag any more is given at once."""
    scanner = TagScanner("think")

    assert [[("text", "Hello")], [("text", " <th")], [("text", "\n")], [], [("text", "<x")]] == [
        list(scanner.feed(piece)) for piece in ("Hello", " <th", "\n", "<", "x")
    ]


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin and transformer has to pass find nothing."""
    check_plugin(plugin)
    check_transformer(
        SPEC,
        messages={
            **{name: message(text(given_text)) for name, (given_text, _) in CASES.items()},
            "thoughts between calls": message(
                text("<think>a</think>b"), tool_use("Read", n=1), text("x\n<think>c</think>d"), tool_use("Read", "t2")
            ),
        },
    )


def test_blocks() -> None:
    """A text block becomes text, thinking with a signature of its own, and text; other blocks stay."""
    got = Trial(SPEC).message(message(text("a\n<think>b</think>c"), tool_use("Read", n=1)))

    kinds = [(block["type"], block.get("text") or block.get("thinking")) for block in got["content"]]
    assert [("text", "a\n"), ("thinking", "b"), ("text", "c"), ("tool_use", None)] == kinds
    assert ("extrathinktag", {"m": "big"}) == unseal(got["content"][1]["signature"])


def test_another_tag() -> None:
    """The tag can be chosen."""
    got = Trial(SPEC, {"tag": "thought"}).message(message(text("<thought>b</thought><think>c</think>")))

    assert ["b", "<think>c</think>"] == [block.get("thinking") or block["text"] for block in got["content"]]


@pytest.mark.parametrize("tag", ["<think>", "", "a b"])
def test_bad_tag(tag: str) -> None:
    """A tag is a name without brackets."""
    with pytest.raises(ConfigError, match="must be a name without brackets"):
        Trial(SPEC, {"tag": tag})


def test_never_closed() -> None:
    """Thinking without an end is thinking to the end, and is noted."""
    trial = Trial(SPEC)

    assert ["b c"] == [block["thinking"] for block in trial.message(message(text("<think>b c")))["content"]]
    assert [("thinking", "the model opened <think> and never closed it")] == trial.notes


def test_citations_stay_with_the_text() -> None:
    """A citation that comes before or within the thinking belongs to the text after it."""
    citation = {"type": "citations_delta", "citation": {"url": "u"}}
    events = [
        MessageStart("m", "big"),
        BlockStart("t", {"type": "text", "text": ""}),
        BlockDelta("t", citation),
        BlockDelta("t", {"type": "text_delta", "text": "<think>a"}),
        BlockDelta("t", citation),
        BlockDelta("t", {"type": "text_delta", "text": "</think>b"}),
        BlockDelta("t", citation),
        BlockStop("t"),
        MessageDelta("end_turn"),
        MessageStop(),
    ]

    content = Trial(SPEC).message(events)["content"]

    assert ["thinking", "text"] == [block["type"] for block in content]
    assert ("b", [{"url": "u"}] * 3) == (content[1]["text"], content[1]["citations"])


@pytest.mark.parametrize(
    "last", [MessageDelta("end_turn"), StreamError("api_error", "x"), None], ids=["end", "error", "cut"]
)
def test_what_waits_is_given(last: Any) -> None:
    """Text that waits for more is given before the end, before an error, and when the answer is cut off."""
    events: list[Any] = [MessageStart("m", "big"), BlockDelta("t", {"type": "text_delta", "text": "a\n<thi"})]

    out = Trial(SPEC).events([*events, *([last] if last else [])])

    told = [event.delta["text"] for event in out if isinstance(event, BlockDelta)]
    assert "a\n<thi" == "".join(told)
    assert last is None or last == out[-1]


def test_a_key_used_again() -> None:
    """A block whose key is used again before it stopped is ended, with its text."""

    def said(key: str, words: str) -> BlockDelta:
        return BlockDelta(key, {"type": "text_delta", "text": words})

    start = BlockStart("t", {"type": "text", "text": ""})
    events = [
        MessageStart("m", "big"),
        start,
        said("t", "a\n<"),
        start,
        said("t", "<think>b</think>c"),
        BlockStart("t", {"type": "tool_use", "id": "1", "name": "n", "input": {}}),
        MessageDelta("tool_use"),
        MessageStop(),
    ]

    content = Trial(SPEC).message(events)["content"]

    assert ["text", "thinking", "text", "tool_use"] == [block["type"] for block in content]
    assert ["a\n<", "b", "c"] == [block.get("text") or block.get("thinking") for block in content[:3]]
