"""Finds one tagged passage in text that arrives in pieces cut anywhere.

Two rules: no text is ever left out, except blanks around the tags; and no text waits longer than it takes to see that
it is no tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

Piece: TypeAlias = tuple[Literal["text", "thinking"], str]

BLANKS = " \t"
"""What may stand before the opening tag in its line."""


class TagScanner:
    """Splits the text of one block at ``<tag>`` and ``</tag>``.

    The opening tag counts where a line begins with it: in the middle of a sentence it is something that the model
    writes about.  It counts once; after the closing tag all is text.  What is opened and never closed is thinking to
    the end (``open`` then stays true).
    """

    def __init__(self, tag: str) -> None:
        self._opening = f"<{tag}>"
        self._closing = f"</{tag}>"
        self._pattern = re.compile(rf"^[{BLANKS}]*{re.escape(self._opening)}", re.M)
        self._state: Literal["before", "inside", "after"] = "before"
        self._held = ""
        self.line = True
        """Whether the next character begins a line."""
        self._said = False
        """Whether text has been given."""
        self._bare = True
        """Whether only blanks have followed the last tag."""
        self.passing = False
        """Whether text is given as it is, as text, and changes nothing here but :attr:`line`, if it holds no ``<`` and
        does not end in blanks (:data:`BLANKS`) with which a line begins."""

    @property
    def open(self) -> bool:
        """Whether the text is inside of the tags now."""
        return self._state == "inside"

    def feed(self, text: str) -> Iterator[Piece]:
        """Take more text; give what is decided by now."""
        self.passing = False
        if self._state == "before":
            yield from self._before(text)
            self.passing = self._state == "before" and self._said and not self._held
        elif self._state == "inside":
            yield from self._inside(text)
        else:
            yield from self._after(text)

    def flush(self) -> Iterator[Piece]:
        """No more text will come."""
        held, self._held = self._held, ""
        if self._state == "before" and held:
            yield "text", held
        elif self._state == "inside" and held.strip():
            yield "thinking", held.rstrip()

    def _before(self, text: str) -> Iterator[Piece]:
        if not (self.line or self._held or "\n" in text):
            if text:
                yield "text", text
            return
        text = self._held + text
        self._held = ""
        for match in self._pattern.finditer(text):
            if match.start() == 0 and not self.line:
                continue
            before = text[: match.start()]
            if before.strip() or (before and self._said):
                yield "text", before
            self._state = "inside"
            yield from self._inside(text[match.end() :])
            return
        start = text.rfind("\n") + 1
        waits = (start > 0 or self.line) and self._opening.startswith(text[start:].lstrip(BLANKS))
        keep = start if waits else len(text)
        if not self._said and not text[:keep].strip():
            # Blanks before the very first tag: they are given with the text if there is none.
            keep = 0
        self._held = text[keep:]
        if keep:
            self._said = True
            self.line = text[keep - 1] == "\n"
            yield "text", text[:keep]

    def _inside(self, text: str) -> Iterator[Piece]:
        text = self._held + text
        self._held = ""
        if self._bare:
            text = text.lstrip()
            if not text:
                return
        end = text.find(self._closing)
        if end >= 0:
            thought = text[:end].rstrip()
            if thought:
                yield "thinking", thought
            self._state, self._bare = "after", True
            yield from self._after(text[end + len(self._closing) :])
            return
        keep = len(text[: len(text) - self._begun(text)].rstrip())
        self._held = text[keep:]
        if keep:
            self._bare = False
            yield "thinking", text[:keep]

    def _begun(self, text: str) -> int:
        """How many characters at the end of ``text`` may be the start of the closing tag."""
        for size in range(min(len(self._closing) - 1, len(text)), 0, -1):
            if self._closing.startswith(text[-size:]):
                return size
        return 0

    def _after(self, text: str) -> Iterator[Piece]:
        if self._bare:
            text = text.lstrip()
        if text:
            self._bare = False
            yield "text", text
