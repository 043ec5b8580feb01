"""Counting the tokens of a request: the walk over its parts, and the memo.

A counter counts a *string*.  What of a request is counted is decided here, once: system text, message text, tool
calls and results, thinking, tool definitions, and images and documents by a rule of thumb.  The memo is keyed by the
text, so that a conversation that grows by one message costs one message.
"""

from __future__ import annotations

import base64
import logging
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson

from ccr_core.messages import JSON

log = logging.getLogger("ccr.tokens")

IMAGE_TOKENS = 1600
"""Tokens of an image whose size is unknown: the most that the Messages API charges for one."""

DOCUMENT_TOKENS_PER_BYTE = 1 / 40
"""A rule of thumb for PDF bytes, for documents whose text is not read here."""


class Counter:
    """Counts the tokens of a text.  A ``slow`` one (it asks a service) is used in a thread."""

    name = "estimate"
    slow = False

    def count(self, text: str) -> int:
        """The number of tokens; never raises.  This one estimates from the length in bytes and characters."""
        wide = len(text.encode("utf-8", "replace")) - len(text)
        return round((len(text) - wide / 2) / 4.2 + wide / 2.4) if wide > 0 else round(len(text) / 4.2)

    def count_all(self, texts: Sequence[str]) -> Sequence[int]:
        """The number of tokens of each; a ``slow`` counter may ask for all of them at once."""
        return [self.count(text) for text in texts]


class Memo:
    """Remembers counts by text; the least recently used go first.

    ``size`` is the number of texts.  Only long texts are remembered: short ones are quicker to count.  If the counter
    raises, the log says so, and from then on counts are estimates.
    """

    def __init__(self, counter: Counter, size: int = 8192, shortest: int = 64) -> None:
        self._counter = counter
        self._size = size
        self._shortest = shortest
        self._known: OrderedDict[int, int] = OrderedDict()
        self.failed = False

    @property
    def slow(self) -> bool:
        """Whether counting waits for somebody else."""
        return self._counter.slow

    def count_part(self, part: str | int) -> int:
        """The count of one of :func:`parts_of`."""
        return part if isinstance(part, int) else self.count(part)

    def count_parts(self, parts: Iterable[str | int]) -> int:
        """The count of all ``parts``; those that are not known yet go to the counter together, short ones too."""
        total, new = 0, []
        for part in parts:
            known = part if isinstance(part, int) else self._known.get(hash((part, len(part))))
            if known is None:
                new.append(str(part))
            else:
                total += known
        if not new:
            return total
        texts = list(dict.fromkeys(new))
        counts = dict(zip(texts, self._count_all(texts), strict=True))
        for text, count in counts.items():
            self._known[hash((text, len(text)))] = count
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return total + sum(counts[text] for text in new)

    def _count_all(self, texts: list[str]) -> Sequence[int]:
        try:
            counts = self._counter.count_all(texts)
            if len(counts) != len(texts):
                raise ValueError(f"{len(counts)} counts of {len(texts)} texts")
            return counts
        except Exception:
            return [self._count_as_failed(text) for text in texts]

    def _count_as_failed(self, text: str) -> int:
        if not self.failed:
            log.warning("token counter %s failed; counts are estimates", self._counter.name, exc_info=True)
            self._counter, self.failed = Counter(), True
        return self._counter.count(text)

    def count(self, text: str) -> int:
        """The count of ``text``."""
        if len(text) < self._shortest:
            return self._count(text)
        # A 64-bit salted hash with the length: a clash would need some 2^32 texts, and costs a wrong estimate.
        digest = hash((text, len(text)))
        known = self._known.get(digest)
        if known is None:
            known = self._known[digest] = self._count(text)
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        else:
            # A slow counter's memo is used in several threads: another may just have dropped it.
            try:
                self._known.move_to_end(digest)
            except KeyError:
                pass
        return known

    def _count(self, text: str) -> int:
        try:
            return self._counter.count(text)
        except Exception:
            return self._count_as_failed(text)


def cut(text: str, size: int = 32 * 1024) -> Iterator[str]:
    """``text`` in pieces of at most ``size`` characters, cut before white space where there is some.

    For counting long texts bit by bit: vocabularies do not join a word with the white space before it to the last
    word, so cutting there changes no count.
    """
    start = 0
    while len(text) - start > size:
        end = start + size
        least = start + size // 2 + 1
        found = max(text.rfind(" ", least, end), text.rfind("\n", least, end))
        end = found if found > 0 else end
        yield text[start:end]
        start = end
    yield text[start:]


def count_request(body: JSON, count: Callable[[str], int]) -> int:
    """The tokens of a Messages API ``body`` (``system``, ``messages``, ``tools``), using ``count`` for each text."""
    return sum(part if isinstance(part, int) else count(part) for part in parts_of(body))


def parts_of(body: JSON) -> Iterator[str | int]:
    """What of a body is counted: texts, and numbers of tokens where there is no text to count."""
    yield from _content(body.get("system"))
    for message in body.get("messages") or ():
        if isinstance(message, dict):
            yield 3
            yield from _content(message.get("content"))
    for tool in body.get("tools") or ():
        if isinstance(tool, dict) and not tool.get("defer_loading"):
            yield 8
            yield _json({name: tool.get(name) for name in ("name", "description", "input_schema") if tool.get(name)})


def _content(content: Any) -> Iterator[str | int]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if isinstance(block, dict):
                yield from _block(block)


def _block(block: JSON) -> Iterable[str | int]:
    kind = block.get("type")
    if kind == "text":
        return (str(block.get("text") or ""),)
    if kind == "thinking":
        return (str(block.get("thinking") or ""),)
    if kind == "tool_use":
        return (str(block.get("name") or ""), _json(block.get("input") or {}), 12)
    if kind == "tool_result":
        return (*_content(block.get("content")), 12)
    if kind == "image":
        return (image_tokens(block.get("source")),)
    if kind == "document":
        return _document(block.get("source"))
    if kind == "redacted_thinking":
        return (len(str(block.get("data") or "")) // 8,)
    return (_json(block),)


def _document(source: Any) -> Iterable[str | int]:
    if not isinstance(source, dict):
        return (_json(source),)
    if source.get("type") == "text":
        return (str(source.get("data") or ""),)
    if source.get("type") == "content":
        return tuple(_content(source.get("content")))
    return (round(len(str(source.get("data") or "")) * 0.75 * DOCUMENT_TOKENS_PER_BYTE),)


def image_tokens(source: Any) -> int:
    """Tokens of an image: width x height / 750 after scaling to at most 1568 pixels, as Anthropic documents it."""
    if not isinstance(source, dict) or source.get("type") != "base64":
        return IMAGE_TOKENS
    size = _size(str(source.get("data") or ""))
    if size is None:
        return IMAGE_TOKENS
    scale = min(1.0, 1568 / max(size))
    return min(IMAGE_TOKENS, max(1, round(size[0] * scale * size[1] * scale / 750)))


def _size(data: str) -> tuple[int, int] | None:
    """Width and height of a PNG or GIF, from its first bytes; others are not looked into."""
    try:
        head = base64.b64decode(data[:64])
    except ValueError:
        return None
    if head.startswith(b"\x89PNG") and len(head) >= 24:
        width, height = struct.unpack(">II", head[16:24])
    elif head.startswith(b"GIF8") and len(head) >= 10:
        width, height = struct.unpack("<HH", head[6:10])
    else:
        return None
    return (width, height) if width and height else None


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
