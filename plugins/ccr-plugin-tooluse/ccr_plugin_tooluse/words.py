"""Reads the words out of ``{"response": "…"}`` while it arrives, so that the last answer of a task streams too.

Nothing of the arguments is lost: what is not of the agreed form is given as it came, after the words if there are any.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

_HEAD = re.compile(r'\s*\{\s*"response"\s*:\s*"')
_HEAD_BARE = '{"response":"'
_PLAIN = re.compile(r'[^"\\]+')
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Words:
    """The words of one call.  ``lost``: the arguments were not of the agreed form."""

    def __init__(self) -> None:
        self.started = False
        """For the user of the class: whether any words have been given."""
        self.lost = False
        self._state: Literal["head", "inside", "closed", "other"] = "head"
        self._held = ""
        self._all: list[str] = []

    def feed(self, text: str) -> str:
        """Take more of the arguments; give the words in them."""
        self._all.append(text)
        self._held += text
        if self._state == "head":
            head = _HEAD.match(self._held)
            if head is not None:
                self._held = self._held[head.end() :]
                self._state = "inside"
            elif not _HEAD_BARE.startswith(re.sub(r"\s", "", self._held)):
                self._state = "other"
        return self._inside() if self._state == "inside" else ""

    def _inside(self) -> str:
        """The words in what is held, up to the closing quote or half an escape."""
        held, at = self._held, 0
        words: list[str] = []
        while at < len(held):
            plain = _PLAIN.match(held, at)
            if plain:
                words.append(plain.group())
                at = plain.end()
            elif held[at] == '"':
                self._state = "closed"
                break
            else:
                character, size = _escape(held, at)
                if not size:
                    break
                words.append(character)
                at += size
        self._held = held[at:]
        return "".join(words)

    def whole(self, arguments: Any) -> str:
        """Take all arguments at once; give the words in them."""
        self._state = "closed"
        self._held = '"}'
        words = arguments.get("response") if isinstance(arguments, dict) else None
        if not isinstance(words, str):
            self.lost = bool(arguments)
            return _compact(arguments) if arguments else ""
        return words + self._beside(arguments)

    def flush(self) -> str:
        """No more will come: give the rest."""
        text = "".join(self._all)
        if self._state == "inside" or not text.strip():
            # The call was cut off; half an escape at its end says nothing.
            return ""
        try:
            arguments = json.loads(text, strict=False)
        except ValueError:
            arguments = None
        if self._state == "closed":
            if isinstance(arguments, dict):
                return self._beside(arguments)
            if re.fullmatch(r'"\s*\}?\s*', self._held):
                return ""
            self.lost = True
            return self._held
        if isinstance(arguments, dict):
            return self.whole(arguments)
        self.lost = True
        return text

    def _beside(self, arguments: dict[str, Any]) -> str:
        """What stands beside the words."""
        rest = {name: value for name, value in arguments.items() if name != "response"}
        if not rest:
            return ""
        self.lost = True
        return f"\n\n{_compact(rest)}"


def _escape(text: str, at: int) -> tuple[str, int]:
    """The character that the escape at ``at`` means, and the escape's length: 0 if more text is needed.

    What is no escape stands for itself; half of a surrogate pair becomes U+FFFD, for it is no character.
    """
    kind = text[at + 1 : at + 2]
    if kind != "u":
        return _ESCAPES.get(kind, f"\\{kind}"), 2 if kind else 0
    code = _code(text, at)
    if code is None:
        return "", 0
    if code < 0:
        return "\\u", 2
    if not 0xD800 <= code < 0xDC00:
        return ("\ufffd" if 0xDC00 <= code < 0xE000 else chr(code)), 6
    following = text[at + 6 : at + 8]
    if following != "\\u":
        return ("", 0) if "\\u".startswith(following) else ("\ufffd", 6)
    low = _code(text, at + 6)
    if low is None:
        return "", 0
    if 0xDC00 <= low < 0xE000:
        return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), 12
    return "\ufffd", 6


def _code(text: str, at: int) -> int | None:
    """The number of the ``\\uXXXX`` at ``at``; -1 if it is none, ``None`` if more text is needed."""
    digits = text[at + 2 : at + 6]
    if _HEX.match(digits):
        return int(digits, 16)
    return None if len(digits) < 4 and all(digit in "0123456789abcdefABCDEF" for digit in digits) else -1


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
