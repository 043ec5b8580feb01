"""How OpenAI's models see a request: marks around messages, and tools as declarations in TypeScript.

The marks are from OpenAI's cookbook on counting tokens; that tools are shown as TypeScript shows in recorded usage,
to a few tokens.  Pictures are counted by tiles or patches, as the documentation of vision has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ccr_core import JSON, Shape, json_text

TILES = (
    (r"4o-mini", 2833, 5667),
    (r"^gpt-5(?!\.)|gpt-5-chat", 70, 140),
    (r"^o[13]", 75, 150),
)
"""Tokens of a picture as such, and of each tile of 512 x 512 pixels, for models that count by tiles."""

TILES_OTHERWISE = (85, 170)

PATCHES = (
    (r"(4\.1|5)-mini|5\.\d-mini", 1.62),
    (r"(4\.1|5)-nano|5\.\d-nano", 2.46),
    (r"o4-mini", 1.72),
    (r"gpt-5\.[2-9]", 1.0),
)
"""Tokens of each patch of 32 x 32 pixels, for models that count by patches."""

MOST_PATCHES = 1536
"""Patches of the largest picture."""

NEWER_TOOLS = 18
"""Tokens that tools bring besides their declarations since GPT-5.5 (recorded usage)."""


class OpenAiShape(Shape):
    """A request to a model of OpenAI."""

    request = 3
    message = 4
    call = 7
    result = 0
    tool = 0
    system = 4

    def __init__(self, model: str = "") -> None:
        super().__init__(model.lower().rpartition("/")[2])

    def parts(self, body: JSON) -> Iterator[str | int]:
        """The walk; a system prompt is a message."""
        if body.get("system"):
            yield self.system
        yield from super().parts(body)

    def thinking(self, text: str) -> Iterable[str | int]:
        """Thought of earlier turns comes back sealed, if at all: how long it is, nobody can see."""
        return ()

    def block(self, block: JSON) -> Iterable[str | int]:
        """Sealed thought counts nothing."""
        return () if block.get("type") == "redacted_thinking" else super().block(block)

    def tools(self, tools: list[JSON], body: JSON) -> Iterable[str | int]:
        """What stands around the declarations."""
        if not tools:
            return ()
        more = NEWER_TOOLS if re.search(r"gpt-(5\.[5-9]|[6-9])", self.model) else 0
        return (more, "# Tools\n\n## functions\n\nnamespace functions {\n\n} // namespace functions")

    def tool_parts(self, tool: JSON) -> Iterable[str | int]:
        """A tool as a type; the result is counted like any text."""
        return (declaration(tool),)

    def schema(self, schema: JSON) -> Iterable[str | int]:
        """The answer's schema, as a type below some words."""
        return (65, _type(schema, 0))

    def pixels(self, width: int, height: int) -> int:
        """Tiles or patches, by model."""
        for pattern, factor in PATCHES:
            if re.search(pattern, self.model):
                fit = min(1.0, math.sqrt(32 * 32 * MOST_PATCHES / (width * height)))
                patches = math.ceil(width * fit / 32) * math.ceil(height * fit / 32)
                return math.ceil(min(patches, MOST_PATCHES) * factor)
        fit = min(1.0, 2048 / max(width, height))
        fit *= min(1.0, 768 / (min(width, height) * fit))
        tiles = math.ceil(width * fit / 512) * math.ceil(height * fit / 512)
        base, each = next((found[1:] for found in TILES if re.search(found[0], self.model)), TILES_OTHERWISE)
        return base + each * tiles

    def pages(self, pages: int) -> int:
        """A page is shown as a picture of letter size."""
        return pages * self.pixels(816, 1056)


class HarmonyShape(OpenAiShape):
    """A request to gpt-oss, whose format brings a prompt of its own with the date and the channels."""

    request = 61
    system = 0


def declaration(tool: JSON) -> str:
    """The tool as a declaration in TypeScript."""
    said = tool.get("description")
    lines = [f"// {line.strip()}" for line in said.strip().split("\n")] if isinstance(said, str) and said else []
    schema = tool.get("input_schema")
    taken = f"_: {_type(schema, 0)}" if isinstance(schema, dict) and schema.get("properties") else ""
    return "\n".join((*lines, f"type {tool.get('name')} = ({taken}) => any;\n\n"))


def _type(schema: Any, depth: int) -> str:
    """A schema as a type; what has no form in TypeScript is ``any``."""
    if not isinstance(schema, dict) or depth > 20:
        return "any"
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return " | ".join(_type(choice, depth + 1) for choice in schema[key])
    if isinstance(schema.get("enum"), list):
        return " | ".join(map(json_text, schema["enum"]))
    if "const" in schema:
        return json_text(schema["const"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_type({**schema, "type": each}, depth + 1) for each in kind)
    if kind == "array":
        return f"{_type(schema.get('items'), depth + 1)}[]"
    if kind == "object" or isinstance(schema.get("properties"), dict):
        return "\n".join(("{", *_fields(schema, depth), "}"))
    return {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}.get(
        str(kind), "any"
    )


def _fields(schema: JSON, depth: int) -> Iterator[str]:
    properties, required = schema.get("properties"), schema.get("required")
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        if isinstance(inner, dict) and isinstance(inner.get("description"), str):
            yield f"// {inner['description']}"
        must = isinstance(required, list) and name in required
        yield f"{name}{'' if must else '?'}: {_type(inner, depth + 1)},"
