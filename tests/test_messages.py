"""The canonical request and its parts."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import (
    Hints,
    Request,
    RequestError,
    blocks_of,
    hints_of,
    loads,
    map_blocks,
    new_id,
    parse_body,
    seal,
    text_of,
    unseal,
    walk_blocks,
)

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
)


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@given(JSON)
def test_loads(value: Any) -> None:
    """JSON is parsed, from bytes and from text."""
    assert value == loads(json.dumps(value))
    assert value == loads(json.dumps(value, ensure_ascii=False).encode())


@given(st.text(st.characters(), max_size=10))
def test_loads_any_text(words: str) -> None:
    """Half a character, escaped or not, becomes U+FFFD; whole ones stay; what comes out can be sent."""
    got = loads(json.dumps({"a": [words]}))

    expected = words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert {"a": [expected]} == got
    got["a"][0].encode()


def test_loads_half_a_character_as_a_key() -> None:
    """Keys are treated like values."""
    assert {"\ufffd": "ok"} == loads(b'{"\\ud83d": "ok"}')


@pytest.mark.parametrize("data", [b"", b"{", b"{'a': 1}", b"\xff", b'{"a": NaN}', b'{"a": Infinity}', b"[" * 100_000])
def test_body_that_is_not_json(data: bytes) -> None:
    """A body that is not JSON is refused with the reason; Python's extensions are not JSON."""
    with pytest.raises(RequestError, match=r"^the request body is not JSON: ") as caught:
        parse_body(data)

    assert (400, "invalid_request_error") == (caught.value.status, caught.value.kind)


@pytest.mark.parametrize(("data", "got"), [(b"[]", "list"), (b'"a"', "str"), (b"null", "NoneType"), (b"1", "int")])
def test_body_that_is_no_object(data: bytes, got: str) -> None:
    """A body of another kind is refused, and the message says what it is."""
    with pytest.raises(RequestError, match=f"must be a JSON object, got {got}"):
        parse_body(data)


def test_numbers_beside_half_a_character() -> None:
    """Numbers beyond 64 bits are read the same way in both parsers: as floats, which can be sent."""
    plain, mended = loads(b'{"n": 123456789012345678901}'), loads(b'{"n": 123456789012345678901, "t": "\\ud83d"}')

    assert [1.2345678901234568e20] * 2 == [plain["n"], mended["n"]]


def test_with() -> None:
    """A changed copy shares the rest; ``...`` removes a field; the original stays."""
    request = Request({"model": "a", "messages": [], "top_k": 1}, {"h": "v"}, Hints(session="s"), "other")

    changed = request.with_(model="b", top_k=..., absent=...)

    assert Request({"model": "b", "messages": []}, {"h": "v"}, Hints(session="s"), "other") == changed
    assert {"model": "a", "messages": [], "top_k": 1} == request.body
    assert request.messages is changed.messages


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        (None, False),
        ({"type": "enabled", "budget_tokens": 1}, True),
        ({"type": "adaptive"}, True),
        ({"type": "disabled"}, False),
        ({}, False),
        (True, False),
    ],
)
def test_thinking(thinking: Any, expected: bool) -> None:
    """Thinking is asked for with ``enabled`` and ``adaptive``, not with ``disabled``."""
    assert expected is Request({"thinking": thinking}).thinking


@pytest.mark.parametrize(("stream", "expected"), [(True, True), (False, False), (None, False), ("yes", False)])
def test_stream(stream: Any, expected: bool) -> None:
    """Only ``true`` asks for a stream."""
    assert expected is Request({"stream": stream}).stream


def test_absent_parts() -> None:
    """What a request does not have is empty."""
    request = Request({})

    assert ("", [], [], False, False) == (
        request.model,
        request.tools,
        request.system_blocks(),
        request.stream,
        request.thinking,
    )


@pytest.mark.parametrize(
    ("system", "expected"),
    [("be brief", [text("be brief")]), ("", []), (None, []), ([text("a"), text("b")], [text("a"), text("b")])],
)
def test_system_blocks(system: Any, expected: list[dict[str, Any]]) -> None:
    """The system prompt is blocks, whichever way it was written."""
    assert expected == Request({"system": system}).system_blocks()


NEW = json.dumps({"device_id": "d", "account_uuid": "", "session_id": "body-id"})


@pytest.mark.parametrize(
    ("user", "headers", "expected"),
    [
        (NEW, {}, "body-id"),
        (NEW, {"x-claude-code-session-id": "header-id"}, "header-id"),
        ("user_abc_account__session_old-id", {}, "old-id"),
        ("user_abc", {}, None),
        ("{broken", {}, None),
        ('{"session_id": 5}', {}, None),
        ("{}", {}, None),
        (7, {}, None),
        (None, {}, None),
    ],
)
def test_session(user: Any, headers: dict[str, str], expected: str | None) -> None:
    """The session is read from the header, the new or the old form of the user id; else it is unknown."""
    assert expected == hints_of({"metadata": {"user_id": user}}, headers).session


@pytest.mark.parametrize("metadata", [None, "x", [], {}])
def test_malformed_metadata(metadata: Any) -> None:
    """Malformed metadata is treated as absent."""
    assert Hints() == hints_of({"metadata": metadata}, {})


def test_hints() -> None:
    """Each hint header has its field."""
    headers = {
        "x-claude-code-session-id": "s",
        "x-claude-code-request-class": "subagent",
        "x-claude-code-agent-type": "Explore",
        "x-claude-code-agent-id": "a1",
        "x-claude-code-parent-agent-id": "a0",
        "x-claude-code-compaction": "manual",
    }

    assert Hints(
        session="s",
        request_class="subagent",
        agent_type="Explore",
        agent_id="a1",
        parent_agent_id="a0",
        compaction="manual",
    ) == hints_of({}, headers)


@pytest.mark.parametrize(
    ("content", "blocks", "words"),
    [
        ("hi", [text("hi")], "hi"),
        ("", [], ""),
        (None, [], ""),
        ([text("a"), {"type": "image"}, text("b")], [text("a"), {"type": "image"}, text("b")], "a\nb"),
        ([text("a"), "stray"], [text("a")], "a"),
    ],
)
def test_content(content: Any, blocks: list[dict[str, Any]], words: str) -> None:
    """Content is blocks or text, whichever way it was written; what is no block is left out."""
    assert (blocks, words) == (blocks_of(content), text_of(content))


def test_map_blocks() -> None:
    """Blocks are changed and removed in copies; messages without a changed block are shared."""
    messages = [
        {"role": "user", "content": "plain"},
        {"role": "user", "content": [text("a"), text("drop"), text("b")]},
        {"role": "assistant", "content": [text("a")]},
    ]
    before = copy.deepcopy(messages)
    changes = {"drop": None, "b": text("B")}

    got = map_blocks(messages, lambda block: changes.get(block["text"], block))

    assert [messages[0], {"role": "user", "content": [text("a"), text("B")]}, messages[2]] == got
    assert messages[2] is got[2]
    assert before == messages


def test_walk_blocks() -> None:
    """The walk finds blocks of the system prompt, of messages, and inside tool results."""
    result = {"type": "tool_result", "content": [text("inner")]}
    request = Request({"system": "s", "messages": [{"content": "m"}, {"content": [result, text("after")]}]})

    assert [text("s"), text("m"), result, text("inner"), text("after")] == list(walk_blocks(request))


def test_new_id() -> None:
    """Ids begin with what they are for, and do not repeat."""
    made = {new_id("toolu") for _ in range(100)}

    assert 100 == len(made)
    assert all(name.startswith("toolu_") for name in made)


@given(st.from_regex(r"[a-z.-]{1,10}", fullmatch=True), st.dictionaries(WORDS, WORDS | st.integers(-9, 9), max_size=3))
def test_seal(family: str, data: dict[str, Any]) -> None:
    """What is sealed into a signature comes out again; a signature is plain ASCII without blanks."""
    signature = seal(family, data)

    assert (family, data) == unseal(signature)
    assert signature.isascii()
    assert " " not in signature


@given(st.none() | st.integers() | st.text(st.characters(), max_size=20) | st.text(max_size=20).map("ccr1.a.".__add__))
def test_unseal_others(signature: Any) -> None:
    """Other signatures, and whatever else stands in their place, are nobody's."""
    assert unseal(signature) is None
