"""What reaches a terminal: text of others gives it no orders."""

from __future__ import annotations

import pytest

from ccr_core import printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\tcells\nand a line, ä, 漢", "two\tcells\nand a line, ä, 漢"),
        ("\x1b]0;title\x07", "\\u001b]0;title\\u0007"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("a\rb\x7f\x9b31m", "a\\u000db\\u007f\\u009b31m"),
        ("\u202eright to left\u2069", "\\u202eright to left\\u2069"),
    ],
)
def test_written_out(text: str, expected: str) -> None:
    """Lines and tabs stay; all that makes a terminal do something is written out, colours too."""
    assert expected == printable(text)


def test_painted() -> None:
    """Of what is painted the colours stay, and only those."""
    assert "\x1b[31mno\x1b[0m\\u001b[8m\\u001b[7;5m" == printable("\x1b[31mno\x1b[0m\x1b[8m\x1b[7;5m", painted=True)
