"""Bytes to server-sent events and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ccr_core import Chunk, ProtocolError, SseParser
from ccr_core.sse import encode


def parse(*pieces: bytes) -> tuple[list[Chunk], str | None]:
    """What the pieces give, and the error if there is one."""
    parser = SseParser()
    got: list[Chunk] = []
    try:
        for piece in pieces:
            for chunk in parser.feed(piece):
                got.append(chunk)
        for chunk in parser.flush():
            got.append(chunk)
    except ProtocolError as error:
        return got, error.message
    return got, None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


LINES = st.lists(
    st.sampled_from(
        [
            'data: {"text": "grüße 你好 🎉"}',
            'data:{"a":1}',
            "data: [DONE]",
            'data: [{"a":',
            "data: 1}]",
            "data: plain",
            "data:",
            "data",
            'data: {"broken": ',
            "event: message_start",
            "event:ping",
            ": a comment",
            ":",
            "id: 7",
            "retry: 10",
            "",
            "",
            "",
        ]
    ),
    max_size=12,
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(LINES, ENDS, st.booleans(), st.lists(st.integers(0, 10_000), max_size=8))
def test_cuts_do_not_matter(lines: list[str], end: str, bom: bool, places: list[int]) -> None:
    """However the bytes are cut, in characters, line ends or the byte order mark, the events are the same."""
    data = (b"\xef\xbb\xbf" if bom else b"") + "".join(line + end for line in lines).encode()

    whole = parse(data)
    assert whole == parse(*cut(data, places))
    assert whole == parse(*(data[at : at + 1] for at in range(len(data))))


@given(st.lists(st.tuples(LINES, ENDS), max_size=4), st.lists(st.integers(0, 10_000), max_size=8))
def test_cuts_do_not_matter_with_mixed_line_ends(parts: list[tuple[list[str], str]], places: list[int]) -> None:
    """The same when the line ends change in the middle, and with lines that end in several of them."""
    data = "".join(line + end for lines, end in parts for line in lines).encode()

    assert parse(data) == parse(*cut(data, places))


@given(st.binary(max_size=60), st.lists(st.integers(0, 100), max_size=6))
@example(b"\xef\xbb", [1])
@example(b"data: x\r\r\n\n\rdata: y", [8, 9])
def test_cuts_do_not_matter_for_any_bytes(data: bytes, places: list[int]) -> None:
    """The same for bytes that are no events at all; nothing but ``ProtocolError`` is raised."""
    assert parse(data) == parse(*cut(data, places))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(end: str) -> None:
    """Lines end with LF, CR LF or CR; events with an empty line."""
    data = end.join(["event: a", 'data: {"n": 1}', "", 'data: {"n": 2}', "", ""]).encode()

    assert ([Chunk({"n": 1}, "a"), Chunk({"n": 2})], None) == parse(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xef\xbb\xbfdata: {}\n\n", [Chunk({})]),
        (b": OK\n\ndata: {}\n\n: bye\n\n", [Chunk({})]),
        (b": note\ndata: {}\n\n", [Chunk({})]),
        (b"id: 1\nretry: 5\ndata: {}\n\n", [Chunk({})]),
        (b"event: ping\n\n", []),
        (b'data: {"a":\ndata: 1}\n\n', [Chunk({"a": 1})]),
        (b"data: one\ndata:  two\n\n", [Chunk("one\n two")]),
        (b"data: [DONE]\n\n", [Chunk("[DONE]")]),
        (b"data:{}\n\n\n\n\ndata:{}\n\n", [Chunk({}), Chunk({})]),
        (b"event:  x \ndata: {}\n\n", [Chunk({}, "x")]),
        (b"data: 12\n\n", [Chunk("12")]),
        (b"", []),
        (b"\n\n\r\n", []),
    ],
    ids=[
        "byte order mark",
        "comments",
        "comment in an event",
        "other fields",
        "event without data",
        "JSON over two lines",
        "text over two lines",
        "DONE",
        "many empty lines",
        "name with blanks",
        "number stays text",
        "nothing",
        "empty lines only",
    ],
)
def test_forms(data: bytes, expected: list[Chunk]) -> None:
    """The forms that providers use."""
    assert (expected, None) == parse(data)


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n", b"\r"])
def test_last_event_without_empty_line(tail: bytes) -> None:
    """A whole event at the very end is given, though its empty line is missing."""
    assert ([Chunk({"a": 1}, "x")], None) == parse(b'event: x\ndata: {"a": 1}' + tail)


def test_cut_event_is_an_error() -> None:
    """An event that is cut in its JSON is refused, after those before it were given."""
    got, error = parse(b'data: {"a": 1}\n\ndata: {"a": ')

    assert [Chunk({"a": 1})] == got
    assert error is not None
    assert error.startswith("the provider sent an event that is not JSON (")


def test_events_before_a_broken_one_are_given() -> None:
    """Events that arrived in one read with a broken one are not lost."""
    got, error = parse(b'data: {"a": 1}\n\ndata: {nonsense}\n\ndata: {"a": 2}\n\n')

    assert [Chunk({"a": 1})] == got
    assert error is not None


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b'data: {"t": "\\ud83d"}\n\n', "\ufffd"), (b'data: {"t": "a\xf0\x9f"}\n\n', "a\ufffd")],
    ids=["escaped half of a pair", "bytes of half a character"],
)
def test_half_a_character(data: bytes, expected: str) -> None:
    """Half a character from the provider is replaced visibly; it does not end the answer."""
    assert ([Chunk({"t": expected})], None) == parse(data)


def test_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that never ends is refused, after those before it were given."""
    monkeypatch.setattr(SseParser, "LIMIT", 20)

    got, error = parse(b"data: {}\n\n", b"data: {}\n\ndata: " + b"x" * 20)

    assert [Chunk({}), Chunk({})] == got
    assert "an event of the provider is larger than 20 bytes" == error


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-9, 9) | st.text("\r\n :a")),
    st.none() | st.sampled_from(["ping", "message_start"]),
)
def test_encode_and_parse(data: dict[str, Any], event: str | None) -> None:
    """What is encoded comes back when it is parsed."""
    assert ([Chunk(data, event)], None) == parse(encode(data, event))
