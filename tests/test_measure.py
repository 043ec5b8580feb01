"""How large pictures and PDFs are, from their bytes."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import measure
from ccr_core.measure import Pages, pdf_pages, picture_size


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"\x08" * 20


def jpeg(width: int, height: int, before: int = 0, marker: int = 0xC0) -> bytes:
    """A JPEG whose size comes after so many bytes of application data, in segments."""
    data = b"\xff\xd8"
    while before > 0:
        part = min(before, 65_000)
        data += b"\xff\xe1" + struct.pack(">H", part + 2) + b"\x00" * part
        before -= part
    return data + b"\xff" + bytes([marker]) + struct.pack(">HBHH", 17, 8, height, width) + b"\x03" * 20


def webp(kind: bytes, data: bytes) -> bytes:
    return b"RIFF" + b"\x00" * 4 + b"WEBP" + kind + b"\x00" * 4 + data + b"\x00" * 20


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(640, 480), (640, 480)),
        (b"GIF89a" + struct.pack("<HH", 640, 480) + b"\x00" * 20, (640, 480)),
        (jpeg(640, 480), (640, 480)),
        (jpeg(640, 480, marker=0xC2), (640, 480)),
        (jpeg(640, 480, before=100_000), (640, 480)),
        (webp(b"VP8 ", b"\x00" * 3 + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480)), (640, 480)),
        (webp(b"VP8L", b"\x2f" + (639 | 479 << 14).to_bytes(4, "little")), (640, 480)),
        (webp(b"VP8X", b"\x00" * 4 + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")), (640, 480)),
        (webp(b"XXXX", b""), None),
        (png(0, 480), None),
        (jpeg(640, 480, before=measure.LONG_HEAD * 2), None),
        (b"\xff\xd8\xff", None),
        (b"\xff\xd8" + b"\x00" * 20, None),
        (b"BM" + b"\x00" * 40, None),
        (b"", None),
    ],
)
def test_pictures(data: bytes, expected: tuple[int, int] | None) -> None:
    """The four kinds that providers take say their size; others, and broken ones, say nothing."""
    assert expected == picture_size(text(data))


def stream(content: bytes, packed: bool = True) -> bytes:
    return b"<<>>\nstream\n" + (zlib.compress(content) if packed else content) + b"\nendstream\n"


PAGE = b"1 0 obj << /Type /Page /Parent 2 0 R >> endobj\n"
PAGES = b"2 0 obj << /Type /Pages /Kids [] >> endobj\n"
WORDS = b"BT /F1 12 Tf (Hello \\(you\\)) Tj <00480065006c> Tj ET (not shown)"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"%PDF-1.4\n" + PAGES + PAGE, Pages(1, 0)),
        (b"%PDF-1.4\n" + PAGES + PAGE * 3 + stream(WORDS), Pages(3, len(r"Hello \(you\)") + 3)),
        (b"%PDF-1.5\n" + stream(b"<</Type/Page>> <</Type/Page/X 1>> <</Type/Pages>>"), Pages(2, 0)),
        (b"%PDF-1.4\n" + PAGE + stream(b"\xff\xfe broken", packed=False), Pages(1, 0)),
        (b"%PDF-1.4\n" + PAGES, None),
        (b"no document", None),
        (b"", None),
    ],
)
def test_pdfs(data: bytes, expected: Pages | None) -> None:
    """Pages are counted in the open and in packed objects, letters where they are shown."""
    assert expected == pdf_pages(text(data))


def test_bombs_are_left_alone() -> None:
    """Of what unpacks to more than is read, the rest is not looked at."""
    bomb = stream(b" " * (measure.INFLATED + 100) + b"/Type /Page ")

    assert Pages(1, 0) == pdf_pages(text(b"%PDF-1.4\n" + PAGE + bomb + stream(b"/Type /Page ")))


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"RIFF....WEBPVP8X", b"%PDF-1", b""]),
)
def test_never_raises(data: bytes, head: bytes) -> None:
    """Whatever the bytes are, there is a size or there is none."""
    for measured in (picture_size, pdf_pages):
        measured(text(head + data))
        measured((head + data).decode("latin-1"))


def test_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that a conversation carries along is read once."""
    data = text(png(123, 456))
    assert (123, 456) == picture_size(data)
    monkeypatch.setattr(measure, "_picture", None)

    assert (123, 456) == picture_size(data + "")
    assert (123, 456) == picture_size("".join(data))
