"""Events that differ in a few values are recognised without being parsed, and nothing else comes of it."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import Alike, Chunk, Piece, ProtocolError, SseParser
from ccr_core.alike import HELD, TRIES

TEXT = ("choices", 0, "delta", "content")


def event(text: Any = "a", end: str = "\n\n", ascii: bool = False, name: str = "", **more: Any) -> bytes:
    """A chunk with a piece of text."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    data = json.dumps({"id": "c", "model": "m", "choices": [choice], **more}, ensure_ascii=ascii)
    named = f"event: {name}{end[: len(end) // 2]}" if name else ""
    return f"{named}data: {data}{end}".encode()


def framing() -> Alike:
    """One for chunks that differ in their text and two other values."""
    return Alike(TEXT, ("number",), ("usage",))


def framed(reads: list[bytes]) -> list[Chunk]:
    """The chunks of ``reads``."""
    alike = framing()
    return [*(chunk for data in reads for chunk in alike.feed(data)), *alike.flush()]


def plainly(chunks: list[Chunk]) -> list[tuple[Any, str | None]]:
    """What is in ``chunks``."""
    return [(chunk.data, chunk.event) for chunk in chunks]


TEXTS = [
    "a",
    " b",
    '"quoted"',
    "\n\ndata: {}",
    "\\",
    "é漢🙂",
    "",
    '"}',
    '","content":"',
    None,
    5,
    ["x"],
    {"content": "y"},
]
EVENTS = [
    *(event(text) for text in TEXTS),
    *(event(text, ascii=True) for text in ("a", "é漢🙂")),
    *(event(text, "\r\n\r\n") for text in ("a", "b\n")),
    event(id="d"),
    event(usage={"prompt_tokens": 1}),
    event(usage={"prompt_tokens": 2, "details": [{"number": 1}]}),
    event(number=1),
    event(number=2.5, usage=None),
    event("b", number=3, usage={"number": 4}),
    event("c", number="}", usage="\\"),
    event(name="text"),
    event("b", name="text"),
    event("c", "\r\n\r\n", name="text", number=1),
    event("d", "\r\n\r\n", name="text", number=2),
    event("d", "\r\r"),
    event("e", "\n\r\n"),
    b'data: {"choices":[{"delta":{"content":"a","content":"b"}}]}\n\n',
    b'data: {"content":"a","choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data:{"choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[{"delta":\ndata: {"content":"a"}}]}\n\n',
    b'event: message\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"\xe6"}}]}\n\n',
    b'data: {"choices":[]}\n\n',
    b": nothing\n\n",
    b"\n",
    b"\r\n",
    b"data: [DONE]\n\n",
    b'data: {"choices":[]}',
]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(1, 4))), st.data())
def test_the_chunks_are_those_of_the_parser(runs: list[tuple[bytes, int]], data: st.DataObject) -> None:
    """Whatever the events are, and wherever the reads cut them."""
    whole = b"".join(event * times for event, times in runs)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    reads = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    parser = SseParser()
    try:
        expected = plainly([*parser.feed(whole), *parser.flush()])
    except ProtocolError:
        with pytest.raises(ProtocolError):
            plainly(framed(reads))
        return

    assert expected == plainly(framed(reads))


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("name", ["", "text"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_only_the_first_is_parsed(end: str, name: str, size: int) -> None:
    """Of events that are alike, in reads of one event, of several, and in reads that begin and end anywhere."""
    events = [event(f"piece {number}", end, name=name, number=number) for number in range(100)]
    whole = b"".join(events)
    step = size if size == 1000 else len(events[10]) * size
    reads = [whole[at : at + step] for at in range(0, len(whole), step)]

    chunks = framed(reads)

    assert [f"piece {number}" for number in range(100)] == [
        chunk.data["choices"][0]["delta"]["content"] for chunk in chunks
    ]
    assert sum(type(chunk) is not Piece for chunk in chunks) <= 16


def test_events_are_given_at_once() -> None:
    """A complete event does not wait for the next read, whether or not it is like those before it."""
    alike = framing()
    reads = [
        (event("a"), 1),
        (event("b") + event("c") + b'data: {"choices":[]}\n\n', 3),
        (event("d") + event("e")[:20], 1),
        (event("e")[20:], 1),
        (event("f", "\r\n\r\n"), 1),
    ]

    assert [count for _, count in reads] == [len(list(alike.feed(data))) for data, _ in reads]


def test_what_precedes_a_broken_event_is_given() -> None:
    """The failure comes after it."""
    alike = framing()
    list(alike.feed(event("a")))
    chunks = iter(alike.feed(event("b") + event("c") + b'data: {"broken\n\n'))

    assert ["b", "c"] == [next(chunks).data["choices"][0]["delta"]["content"] for _ in range(2)]
    with pytest.raises(ProtocolError):
        next(chunks)


def test_events_that_are_never_alike() -> None:
    """After a few patterns that nothing fitted, no more are made."""
    alike = framing()
    events = [event("a", other=number) for number in range(20)]
    made = set()
    for data in events:
        list(alike.feed(data))
        made.add(alike._pattern)

    assert TRIES == len(made - {None})


def test_a_long_event_is_not_kept_twice() -> None:
    """The parser, which has a limit, gets what is longer than a few reads."""
    alike = framing()
    list(alike.feed(event("a")))
    for _ in range(4):
        assert [] == list(alike.feed(b"x" * (HELD // 2)))

    assert not alike._held


def test_a_changed_piece_is_a_chunk() -> None:
    """Transformers may change what they get, as they change any other chunk."""
    piece = framed([event("a"), event("b")])[1]

    changed = attrs.evolve(piece, data={})

    assert (Piece, Chunk) == (type(piece), type(changed))
    assert ({}, None) == (changed.data, changed.event)


def test_values_stand_by_their_places() -> None:
    """In the order of the event, which the pattern tells."""
    data = b'data: {"number":%d,"choices":[{"delta":{"content":"%c"}}]}\n\n'
    chunks = framed([data % (1, b"a"), data % (2, b"b")])

    assert [2, "b"] == chunks[1].values
    assert (("number",), TEXT) == chunks[1].pattern.paths
