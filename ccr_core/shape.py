"""What of a request is counted: the walk over its parts.

A provider does not see a request as it is written.  Tools, calls and results are rendered in words of its own, tools
bring instructions with them, pictures cost by their pixels.  A :class:`Shape` knows this for a family of models; the
walk and its forgiveness of odd parts are the same for all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from ccr_core.measure import pdf_pages, picture_size
from ccr_core.messages import JSON

IMAGE_TOKENS = 1600
"""Tokens of a picture whose size is unknown."""

PAGE_TOKENS = 1600
"""Tokens of a page of a PDF, besides its text."""

LETTERS_PER_PAGE = 80_000
"""Letters of base64 that stand for a page where a PDF cannot be read."""

LETTERS_PER_TOKEN = 4
"""Letters of a PDF's text that make a token."""


class Shape:
    """How the tokens of a request for one model add up.

    This one is nobody's in particular.  A family overrides the numbers, and the methods that it does otherwise; each
    gives *parts*: texts to be counted, and numbers of tokens where there is no text.  Parts may be of any form, and no
    method raises for one that is odd.
    """

    request: int = 0
    """Tokens around every request."""

    message: int = 3
    """Tokens around every message."""

    tool: int = 8
    """Tokens around the definition of a tool."""

    call: int = 12
    """Tokens around the call of a tool."""

    result: int = 12
    """Tokens around what a tool gave."""

    thinks: bool = True
    """Whether the model sees what it thought in earlier turns."""

    def __init__(self, model: str = "") -> None:
        self.model = model

    def parts(self, body: JSON) -> Iterator[str | int]:
        """All parts of a Messages API ``body``."""
        yield self.request
        yield from self.content(body.get("system"))
        messages = [message for message in _list(body.get("messages")) if isinstance(message, dict)]
        asked = 0 if self.keeps_thinking(body) else _last_question(messages)
        loaded: set[str] = set()
        for place, message in enumerate(messages):
            yield self.message
            content = message.get("content")
            if isinstance(content, list):
                loaded.update(_references(content))
                if place < asked:
                    content = [block for block in content if not _is_thought(block)]
            yield from self.content(content)
        tools = [tool for tool in _list(body.get("tools")) if isinstance(tool, dict)]
        yield from self.tools(tools, body)
        for tool in tools:
            if not tool.get("defer_loading") or _text(tool.get("name")) in loaded:
                yield from self.tool_parts(tool)
        schema = _inner(body, "output_config", "format", "schema")
        if isinstance(schema, dict):
            yield from self.schema(schema)

    def keeps_thinking(self, body: JSON) -> bool:
        """Whether thinking of earlier turns, before the last question, is seen by the model."""
        return self.thinks

    def content(self, content: Any) -> Iterator[str | int]:
        """A message's or a result's content: a text or a list of blocks."""
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            for block in content:
                if isinstance(block, dict):
                    yield from self.block(block)

    def block(self, block: JSON) -> Iterable[str | int]:
        """One block; an unknown kind counts as its JSON."""
        kind = block.get("type")
        if kind == "text":
            return (_text(block.get("text")),)
        if kind == "thinking":
            return self.thinking(_text(block.get("thinking")))
        if kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            return self.calling(_text(block.get("name")), block.get("input") or {})
        if kind == "tool_result":
            return self.resulting(block.get("content"))
        if kind == "image":
            return (self.image(block.get("source")),)
        if kind == "document":
            return self.document(block.get("source"))
        if kind == "redacted_thinking":
            return (len(_text(block.get("data"))) // 8,)
        if kind == "tool_reference":
            return (_text(block.get("tool_name")),)
        return (json_text(block),)

    def thinking(self, text: str) -> Iterable[str | int]:
        """What the model thought before."""
        return (text,)

    def calling(self, name: str, given: Any) -> Iterable[str | int]:
        """A call of a tool."""
        return (name, json_text(given), self.call)

    def resulting(self, content: Any) -> Iterable[str | int]:
        """What a tool gave."""
        return (*self.content(content), self.result)

    def tools(self, tools: list[JSON], body: JSON) -> Iterable[str | int]:
        """What comes with tools as such; ``tools`` are all of the request's, and there may be none."""
        return ()

    def tool_parts(self, tool: JSON) -> Iterable[str | int]:
        """The definition of one tool that the model sees."""
        said = {name: tool.get(name) for name in ("name", "description", "input_schema") if tool.get(name)}
        return (self.tool, json_text(said))

    def schema(self, schema: JSON) -> Iterable[str | int]:
        """The schema that the answer has to follow."""
        return (json_text(schema),)

    def image(self, source: Any) -> int:
        """A picture: by its pixels where they are known, else as a large one."""
        size = picture_size(_text(source.get("data"))) if _is(source, "base64") else None
        return IMAGE_TOKENS if size is None else self.pixels(*size)

    def pixels(self, width: int, height: int) -> int:
        """A picture of so many pixels: one token for each 750, after scaling to at most 1568 a side."""
        scale = min(1.0, 1568 / max(width, height))
        return min(IMAGE_TOKENS, max(1, round(width * scale * height * scale / 750)))

    def document(self, source: Any) -> Iterable[str | int]:
        """A document: its text, or its pages."""
        if _is(source, "text"):
            return (_text(source.get("data")),)
        if _is(source, "content"):
            return tuple(self.content(source.get("content")))
        data = _text(source.get("data")) if _is(source, "base64") else ""
        found = pdf_pages(data)
        if found is None:
            return (self.pages(1 + len(data) // LETTERS_PER_PAGE),)
        return (self.pages(found.pages) + found.letters // LETTERS_PER_TOKEN,)

    def pages(self, pages: int) -> int:
        """So many pages of a PDF, without their text."""
        return pages * PAGE_TOKENS


def json_text(value: Any) -> str:
    """``value`` as JSON without blanks."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a lone surrogate, or something that no request holds
        return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is(source: Any, kind: str) -> bool:
    return isinstance(source, dict) and source.get("type") == kind


def _is_thought(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in ("thinking", "redacted_thinking")


def _inner(body: Mapping[str, Any], *path: str) -> Any:
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _last_question(messages: list[JSON]) -> int:
    """The place of the last message of the user that is no tool's result: thinking after it is of this turn."""
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        content = message.get("content")
        if message.get("role") == "user" and not (
            isinstance(content, list)
            and any(isinstance(block, dict) and block.get("type") == "tool_result" for block in content)
        ):
            return place
    return 0


def _references(content: list[Any]) -> Iterator[str]:
    """The names of deferred tools that have been loaded."""
    for block in content:
        if not isinstance(block, dict) or block.get("type") not in ("tool_result", "tool_search_tool_result"):
            continue
        inner = block.get("content")
        for item in inner if isinstance(inner, list) else _list(_inner(block, "content", "tool_references")):
            if isinstance(item, dict) and item.get("type") == "tool_reference":
                yield _text(item.get("tool_name"))
