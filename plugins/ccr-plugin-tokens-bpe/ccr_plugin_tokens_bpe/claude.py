"""How Claude sees a request, and how many tokens its vocabularies make of a text.

Neither is published.  The numbers here come from three sources: Anthropic's documentation (instructions for tools,
pictures), the usage in recorded answers (what is around messages, calls, results, schemas), and a comparison with an
independent reconstruction of the vocabularies over some thousand texts (:data:`OLD`, :data:`NEW`).  The README has the
table of what they come to.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from ccr_core import JSON, Shape, json_text


@attrs.frozen(kw_only=True)
class Weights:
    """Tokens of Claude for each token of o200k in a text, and for each character of a kind that is in it.

    Words cost Claude more where they have capitals or are joined by ``_``, and so do digits, line ends, marks, and the
    scripts other than Latin.  ``letter`` is for small ones: long words are cut into more pieces.
    """

    token: float
    capital: float
    digit: float
    joint: float
    line: float
    mark: float
    letter: float
    accent: float
    cyrillic: float
    kana: float
    han: float
    hangul: float


OLD = Weights(
    token=0.86,
    capital=0.11,
    digit=0.3,
    joint=1.08,
    line=0.75,
    mark=0.22,
    letter=0.04,
    accent=1.38,
    cyrillic=0.16,
    kana=0.18,
    han=0.5,
    hangul=0.76,
)
"""Claude 3 to Opus 4.6, Sonnet 4.6 and Haiku 4.5."""

NEW = Weights(
    token=0.67,
    capital=0.65,
    digit=0.43,
    joint=1.19,
    line=0.95,
    mark=0.45,
    letter=0.16,
    accent=2.29,
    cyrillic=0.21,
    kana=0.3,
    han=0.67,
    hangul=0.9,
)
"""Claude since Opus 4.7."""


def _classes() -> tuple[bytes, dict[str, int]]:
    """A table that turns each byte of UTF-8 into its kind, and the kinds; only first bytes of a character have one."""
    kinds = {
        "capital": range(0x41, 0x5B),
        "digit": range(0x30, 0x3A),
        "joint": (0x5F,),
        "line": (0x0A,),
        "mark": [byte for byte in range(0x21, 0x7F) if not chr(byte).isalnum() and byte != 0x5F],
        "letter": range(0x61, 0x7B),
        "accent": range(0xC2, 0xD0),
        "cyrillic": range(0xD0, 0xE0),
        "kana": (0xE3,),
        "han": range(0xE4, 0xEA),
        "hangul": range(0xEA, 0xEE),
    }
    table = bytearray(256)
    for number, found in enumerate(kinds.values(), 1):
        for byte in found:
            table[byte] = number
    return bytes(table), {name: number for number, name in enumerate(kinds, 1)}


_TABLE, _KINDS = _classes()
_ASCII = {
    name: number for name, number in _KINDS.items() if name in ("capital", "digit", "joint", "line", "mark", "letter")
}


def claude_tokens(text: str, tokens: int, weights: Weights) -> int:
    """The tokens that Claude makes of ``text``, of which o200k makes ``tokens``."""
    if not text:
        return 0
    kinds = text.encode("utf-8", "replace").translate(_TABLE)
    total = weights.token * tokens
    for name, number in (_ASCII if text.isascii() else _KINDS).items():
        total += getattr(weights, name) * kinds.count(number)
    return max(1, round(total))


TOOLS = (
    (r"opus-4[-.]?8", 290, 410),
    (r"opus-4[-.]?7", 675, 804),
    (r"(opus|sonnet)-4[-.]?6", 497, 589),
    (r"(opus|sonnet|haiku)-4[-.]?5", 496, 588),
    (r"(opus|sonnet)-4(?!\d)", 313, 315),
    (r"sonnet-5(?![-.]?\d)", 354, 474),
    (r"opus-5(?![-.]?\d)", 286, 406),
    (r"(3[-.]5-haiku|haiku-3[-.]5)", 264, 355),
    (r"3-opus", 530, 281),
    (r"3-sonnet", 159, 235),
    (r"3-haiku", 264, 340),
    (r"(3[-.][57]|(sonnet|haiku)-3)", 346, 313),
)
"""Tokens of the instructions for tools: where the model may choose (``auto``, ``none``), and where it must call one.
Documentation of tool use, "Pricing"; the first pattern that is in the model's name counts."""

TOOLS_OTHERWISE = (310, 430)
"""The same for models that are not in the table, which are newer ones (measured: 310, Sonnet 5.5)."""

SERVED = (
    ("web_search", 2170),
    ("web_fetch", 2170),
    ("code_execution", 1740),
    ("memory", 1069),
    ("computer", 735),
    ("text_editor", 700),
    ("bash", 245),
    ("tool_search_tool", 188),
)
"""Tokens of the definitions of Anthropic's own tools, by the beginning of their type (recorded answers; documentation
of bash, text editor and computer use)."""

SECOND_WEB = 62
"""Tokens of the second tool for the web: what is said of citations is said once."""

WEB_BEFORE = 1710
"""Tokens of the first tool for the web with models before Opus 4.5 and Sonnet 4.5."""

_OLDER = re.compile(r"claude-?(instant|v?2|3)|-4(?![-.]?[5-9](?!\d))|4[-.](0|1)(?!\d)|(opus|sonnet)-4$")
_KEEPS = re.compile(r"opus-4[-.]?[5-9]|sonnet-4[-.]?[6-9]|(opus|sonnet|haiku)-([5-9]|\d\d)|fable|mythos")


class ClaudeShape(Shape):
    """A request to Claude: each message, call and result in words of its own, and instructions with the first tool."""

    message = 3
    image_side = 1568
    image_most = 1568
    schema_around = 81
    argument = 16
    listed = 10
    page = 1557

    def __init__(self, model: str = "", new: bool = False) -> None:
        super().__init__(model.lower())
        self.new = new
        self.request = 3 if new else 4
        if re.search(r"opus-4[-.]?7", self.model):
            self.request = 8
        if new:
            self.image_side, self.image_most = 2576, 4784

    def parts(self, body: JSON) -> Iterator[str | int]:
        """The walk, with what an order to think adds."""
        if isinstance(body.get("thinking"), dict) and body["thinking"].get("type") == "enabled":
            yield 29
        yield from super().parts(body)

    def keeps_thinking(self, body: JSON) -> bool:
        """Models since Opus 4.5 and Sonnet 4.6 see what they thought; others do where the request says so."""
        edits = body.get("context_management")
        for edit in edits.get("edits") or () if isinstance(edits, dict) else ():
            if isinstance(edit, dict) and str(edit.get("type")).startswith("clear_thinking"):
                return edit.get("keep") == "all"
        return bool(_KEEPS.search(self.model))

    def thinking(self, text: str) -> Iterable[str | int]:
        """Thought, between marks."""
        return (text, 10)

    def calling(self, name: str, given: Any) -> Iterable[str | int]:
        """A call names its tool, then each argument with its value, a text as it is."""
        yield 23
        yield name
        for key, value in given.items() if isinstance(given, dict) else ():
            yield self.argument
            yield str(key)
            yield value if isinstance(value, str) else json_text(value)

    def resulting(self, content: Any) -> Iterable[str | int]:
        """A result; one of blocks has more around it than a text."""
        yield 16 + (self.listed if isinstance(content, list) else 0)
        yield from self.content(content)

    def block(self, block: JSON) -> Iterable[str | int]:
        """The kinds that only Claude has, besides the common ones."""
        kind = block.get("type")
        if kind == "tool_reference":
            return (20, str(block.get("tool_name") or ""))
        if kind == "tool_search_tool_result":
            return (19,)
        return super().block(block)

    def tools(self, tools: list[JSON], body: JSON) -> Iterable[str | int]:
        """The instructions, once, by model and by whether a call is wanted."""
        if not tools:
            return ()
        choice = body.get("tool_choice")
        must = isinstance(choice, dict) and choice.get("type") in ("any", "tool")
        web = [tool for tool in tools if str(tool.get("type")).startswith(("web_search", "web_fetch"))]
        return (self._instructions(must), self._web(len(web)))

    def _instructions(self, must: bool) -> int:
        for pattern, free, forced in TOOLS:
            if re.search(pattern, self.model):
                return forced if must else free
        return TOOLS_OTHERWISE[must]

    def _web(self, tools: int) -> int:
        if not tools:
            return 0
        first = WEB_BEFORE if _OLDER.search(self.model) else SERVED[0][1]
        return first + SECOND_WEB * (tools - 1)

    def tool_parts(self, tool: JSON) -> Iterable[str | int]:
        """A definition as JSON, or a known number for Anthropic's own tools."""
        kind = str(tool.get("type") or "custom")
        if kind.startswith(("web_search", "web_fetch")):
            return ()
        for begin, tokens in SERVED:
            if kind.startswith(begin):
                return (tokens,)
        said = tool.get("description") or ""
        shown = {"description": said, "name": tool.get("name"), "parameters": tool.get("input_schema")}
        return (9 if said else 5, json_text(shown))

    def schema(self, schema: JSON) -> Iterable[str | int]:
        """The answer's schema, in lines."""
        return (self.schema_around, json.dumps(schema, indent=2, ensure_ascii=False))

    def pixels(self, width: int, height: int) -> int:
        """A token for each 28 x 28 pixels, after scaling to what the model takes (documentation of vision)."""
        scale = min(1.0, self.image_side / max(width, height), 28 * math.sqrt(self.image_most / (width * height)))
        return min(self.image_most, math.ceil(width * scale / 28) * math.ceil(height * scale / 28))

    def document(self, source: Any) -> Iterable[str | int]:
        """A document, with its marks."""
        return (38, *super().document(source))

    def pages(self, pages: int) -> int:
        """A page is a picture of its own."""
        return pages * self.page
