"""How large a picture or a PDF is, read from its bytes: providers charge for pixels and pages, not for bytes.

Only headers are read of pictures.  Of a PDF the pages are counted, and roughly the letters on them; nothing is rendered
and nothing of it is trusted: sizes are bounded, and what cannot be read is ``None``.  Results are remembered by digest,
since a conversation carries its pictures along.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

REMEMBERED = 512
"""Pictures and documents whose measure is remembered."""

HEAD = 1024
"""Bytes of a picture that nearly always hold its size."""

LONG_HEAD = 256 * 1024
"""Bytes of a JPEG that are looked through; what comes before its size may be a whole small picture."""

INFLATED = 16 * 1024 * 1024
"""Bytes of a PDF that are unpacked in all; what comes after is not read."""

_known: OrderedDict[tuple[str, int, int], Any] = OrderedDict()


@attrs.frozen
class Pages:
    """A PDF: how many pages, and about how many letters are on all of them."""

    pages: int
    letters: int


def picture_size(data: str) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG, GIF or WebP in base64; ``None`` if it is none of these."""
    return _remembered("picture", data, _picture)


def pdf_pages(data: str) -> Pages | None:
    """The pages of a PDF in base64; ``None`` if it is none, or cannot be read."""
    return _remembered("pdf", data, _pdf)


def _remembered(kind: str, data: str, read: Callable[[str], T]) -> T:
    key = (kind, hash(data), len(data))
    if key in _known:
        found: T = _known[key]
        return found
    found = _known[key] = read(data)
    if len(_known) > REMEMBERED:
        _known.popitem(last=False)
    return found


def _decoded(data: str, size: int) -> bytes:
    try:
        return base64.b64decode(data[: -(-size // 3) * 4])
    except ValueError:
        return b""


def _picture(data: str) -> tuple[int, int] | None:
    head = _decoded(data, HEAD)
    size: tuple[int, ...] | None = None
    if head.startswith(b"\x89PNG") and len(head) >= 24:
        size = struct.unpack(">II", head[16:24])
    elif head.startswith(b"GIF8") and len(head) >= 10:
        size = struct.unpack("<HH", head[6:10])
    elif head.startswith(b"RIFF") and head[8:12] == b"WEBP" and len(head) >= 30:
        size = _webp(head)
    elif head.startswith(b"\xff\xd8"):
        size = _jpeg(head) or _jpeg(_decoded(data, LONG_HEAD))
    return (size[0], size[1]) if size and size[0] > 0 and size[1] > 0 else None


def _webp(head: bytes) -> tuple[int, int] | None:
    """The three kinds of WebP: lossy, lossless, extended (RFC 9649)."""
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    return None


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """The size from the start of frame (ITU T.81: markers C0 to CF without C4, C8, CC)."""
    at = 2
    while at + 9 <= len(head):
        if head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + int(struct.unpack(">H", head[at + 2 : at + 4])[0])
    return None


_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_STREAM = re.compile(rb"stream\r?\n")
_SHOWN = re.compile(rb"\(((?:[^()\\]|\\.)*)\)|<([0-9A-Fa-f\s]*)>")
_TEXT = re.compile(rb"BT\b(.*?)\bET\b", re.DOTALL)


def _pdf(data: str) -> Pages | None:
    """Pages are objects of the type ``Page``, in the open or in streams; letters are what text operators show."""
    raw = _decoded(data, len(data))
    if b"%PDF" not in raw[:1024]:
        return None
    pages, letters = len(_PAGE.findall(raw)), 0
    for stream in _streams(raw):
        pages += len(_PAGE.findall(stream))
        for text in _TEXT.findall(stream):
            # A hexadecimal string has four digits a letter where fonts are embedded in part, as they nearly always are.
            letters += sum(len(plain) + len(digits) // 4 for plain, digits in _SHOWN.findall(text))
    return Pages(pages, letters) if pages else None


def _streams(raw: bytes) -> Iterator[bytes]:
    left = INFLATED
    for found in _STREAM.finditer(raw):
        if left <= 0:
            return
        unpack = zlib.decompressobj()
        try:
            stream = unpack.decompress(raw[found.end() : found.end() + INFLATED], left)
        except zlib.error:
            continue
        left -= len(stream)
        yield stream
