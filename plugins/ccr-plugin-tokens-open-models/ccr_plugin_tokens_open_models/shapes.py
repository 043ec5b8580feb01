"""How Gemini and open models see a request.

Open models see what their chat templates make of it: a few marks for each message, tools as JSON below instructions.
The numbers are from the templates that the makers publish, and from recorded usage where those leave it open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from ccr_core import JSON, Shape, json_text


@attrs.frozen(kw_only=True)
class Template:
    """Tokens of a chat template: around a request and a message, for tools as such, and around each call and result.

    ``unasked`` is the system prompt that it puts in where the request has none.
    """

    request: int
    message: int
    unasked: int = 0
    tools: int = 60
    tool: int = 6
    call: int = 12
    result: int = 4


TEMPLATES = (
    ("deepseek", r"v[4-9]", Template(request=82, message=1, tools=210, tool=12, call=34, result=12)),
    ("deepseek", r"distill", Template(request=2, message=1)),
    ("deepseek", r"", Template(request=2, message=1, tools=210, tool=12, call=34, result=12)),
    ("qwen", r"", Template(request=3, message=5, tools=95, call=16, result=8)),
    ("glm", r"", Template(request=4, message=1, tools=95, call=14, result=6)),
    ("kimi", r"", Template(request=3, message=4, tools=10, call=14, result=8)),
    ("llama", r"3\.[1-9]|3-[1-3]-|llama-?4", Template(request=5, message=5, unasked=25, tools=40)),
    ("llama", r"", Template(request=5, message=5, tools=40)),
    ("mistral", r"", Template(request=1, message=2, tools=2, call=8, result=6)),
)
"""The templates, by family and by what is in the model's name; the first that fits counts."""


def shape_of(family: str, model: str) -> Shape:
    """The shape of requests for ``model`` of a family."""
    if family == "gemini":
        return GeminiShape(model)
    found = next(made for name, pattern, made in TEMPLATES if name == family and re.search(pattern, model.lower()))
    return TemplateShape(model, found)


class TemplateShape(Shape):
    """A request as a chat template renders it.  What was thought before the last question is left out."""

    thinks = False

    def __init__(self, model: str, template: Template) -> None:
        super().__init__(model)
        self.template = template
        self.request, self.message, self.tool = template.request, template.message, template.tool
        self.call, self.result = template.call, template.result

    def parts(self, body: JSON) -> Iterator[str | int]:
        """The walk; a system prompt is a message, and where there is none there may be one unasked."""
        yield self.message if body.get("system") else self.template.unasked
        yield from super().parts(body)

    def tools(self, tools: list[JSON], body: JSON) -> Iterable[str | int]:
        """The instructions for tools."""
        return (self.template.tools,) if tools else ()


class GeminiShape(Shape):
    """A request to Gemini, which counts texts and little besides.

    Of a tool it counts names and descriptions; 2.5, and any version that must call one, counts all of the schema.
    """

    message = 0
    call = 0
    result = 0

    def __init__(self, model: str = "") -> None:
        super().__init__(model.lower())
        version = re.search(r"gemini-(\d+)(?:\.(\d+))?", self.model)
        self.version = (int(version[1]), int(version[2] or 0)) if version else (2, 0)
        self.message = int(self.version == (2, 5))
        self.tool = 3 if self.version < (3, 0) else 0
        self.whole = self.version == (2, 5)

    def parts(self, body: JSON) -> Iterator[str | int]:
        """The walk; a system prompt is a message."""
        if body.get("system"):
            yield self.message
        choice = body.get("tool_choice")
        self.whole = self.whole or (isinstance(choice, dict) and choice.get("type") in ("any", "tool"))
        yield from super().parts(body)

    def thinking(self, text: str) -> Iterable[str | int]:
        """Thought comes back sealed: how long it is, nobody can see."""
        return ()

    def calling(self, name: str, given: Any) -> Iterable[str | int]:
        """A call: names and values."""
        return (name, *_texts(given))

    def tool_parts(self, tool: JSON) -> Iterable[str | int]:
        """A declaration: names and descriptions, or all of it."""
        schema, name, said = tool.get("input_schema"), str(tool.get("name") or ""), str(tool.get("description") or "")
        if self.whole:
            return (json_text({"description": said, "name": name, "parameters": schema}),)
        return (self.tool, name, said, *_described(schema))

    def schema(self, schema: JSON) -> Iterable[str | int]:
        """The answer's schema: names and descriptions."""
        return (7, *_described(schema))

    def pixels(self, width: int, height: int) -> int:
        """Since Gemini 3 each picture costs the same; before, 258 for each tile (documentation of tokens)."""
        if self.version >= (3, 0):
            return 1120
        if max(width, height) <= 384:
            return 258
        side = max(256, min(768, math.floor(min(width, height) / 1.5)))
        return 258 * math.ceil(width / side) * math.ceil(height / side)

    def pages(self, pages: int) -> int:
        """A page is a picture of one size."""
        return pages * (560 if self.version >= (3, 0) else 258)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif value is not None:
        yield value if isinstance(value, str) else json_text(value)


def _described(schema: Any) -> Iterator[str]:
    """The names and descriptions in a schema, and the values it lists."""
    if isinstance(schema, list):
        for inner in schema:
            yield from _described(inner)
    if not isinstance(schema, dict):
        return
    for key, inner in schema.items():
        if key in ("description", "title", "const") and isinstance(inner, str):
            yield inner
        elif key == "enum":
            yield from _texts(inner)
        elif key in ("properties", "$defs") and isinstance(inner, dict):
            for name, each in inner.items():
                yield str(name)
                yield from _described(each)
        elif key in ("items", "anyOf", "allOf", "oneOf", "additionalProperties"):
            yield from _described(inner)
