"""Thinking that comes inside the text, between ``<think>`` and ``</think>``, with the tags cut anywhere."""

from __future__ import annotations

OPEN = "<think>"
CLOSE = "</think>"


class ThinkTags:
    """Splits streamed text into thinking and text, as long as :attr:`active`.

    ``inside``: the text begins as thinking, with or without the opening tag.

    Only a tag at the very start counts: later on it is something that the model writes about.  Blanks around the
    tags belong to neither side.
    """

    def __init__(self, inside: bool = False) -> None:
        self.active = True
        """Whether more text has to be looked at; once false, all text is text."""
        self._opened = inside
        self._inside = False
        self._fresh = False
        self._held = ""
        self._closed = False

    def feed(self, text: str) -> tuple[str, str]:
        """Take ``text``; give what is thinking and what is text by now."""
        if self._closed:
            return "", self._after(text)
        text = self._held + text
        self._held = ""
        if not self._inside:
            bare = text.lstrip()
            if not bare.startswith(OPEN):
                if OPEN.startswith(bare):
                    self._held = text
                    return "", ""
                if not self._opened:
                    self.active = False
                    return "", text
            self._inside = self._fresh = True
            text = bare.removeprefix(OPEN)
        if self._fresh:
            text = text.lstrip()
            self._fresh = not text
        end = text.find(CLOSE)
        if end >= 0:
            self._closed = True
            return text[:end].rstrip(), self._after(text[end + len(CLOSE) :])
        keep = len(text.rstrip()) if not (tail := _begun(text)) else len(text[: len(text) - tail].rstrip())
        self._held = text[keep:]
        return text[:keep], ""

    def _after(self, text: str) -> str:
        """Text after the closing tag, without the blanks at its start."""
        text = text.lstrip()
        self.active = not text
        return text

    def flush(self) -> tuple[str, str]:
        """No more text will come."""
        held, self._held = self._held, ""
        self.active = False
        return (held.rstrip(), "") if self._inside or self._opened else ("", held)


def _begun(text: str) -> int:
    """How many characters at the end of ``text`` may be the start of the closing tag."""
    for size in range(min(len(CLOSE) - 1, len(text)), 0, -1):
        if CLOSE.startswith(text[-size:]):
            return size
    return 0
