"""The code blocks of the documentation, for the tests that run and compare them.

A block may be marked by an HTML comment on the line above its fence, which readers do not see:

* ``<!-- file: NAME -->`` the block is the whole text of that file of the example package;
* ``<!-- plugin: NAME -->`` the block is a complete plugin module;
* ``<!-- from: PATH -->`` the block is an excerpt, as it stands, of that file of the project;
* ``<!-- help: COMMAND -->`` the block is the output of ``ccr COMMAND --help`` (tied elsewhere);
* ``<!-- json: COMMAND -->`` the block is the shape of what ``COMMAND --json`` prints (tests/shapes.py reads it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))

_MARK = re.compile(r"<!-- (\w+): (.+?) -->")
_FENCE = re.compile(r" *(`{3,})([\w.+-]*)(.*)")


@attrs.frozen
class Block:
    """A fenced block: where it begins, its language, its text, and its mark, if it has one."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""
    about: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order; a longer fence may hold shorter ones."""
    lines = page.read_text("utf-8").splitlines()
    at = 0
    while at < len(lines):
        opening = _FENCE.fullmatch(lines[at])
        if opening is None:
            at += 1
            continue
        fence, language, _ = opening.groups()
        end = next(
            (place for place in range(at + 1, len(lines)) if lines[place].strip() == fence),
            len(lines),
        )
        indent = len(lines[at]) - len(lines[at].lstrip())
        text = "".join(
            f"{line[indent:] if line[:indent].isspace() or not indent else line}\n" for line in lines[at + 1 : end]
        )
        mark = _MARK.fullmatch(lines[at - 1].strip()) if at else None
        yield Block(page, at + 1, language, text, mark[1] if mark else "", mark[2] if mark else "")
        at = end + 1


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    text = page.read_text("utf-8")
    return re.sub(r"^( *)(`{3,}).*?^\1\2 *$", "", text, flags=re.S | re.M)
