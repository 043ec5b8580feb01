"""Tool schemas for services that know less of JSON Schema than the client uses.

There is a list of keywords that are *kept*; whatever is not on it is left out and named in a note, so that a keyword
nobody here has heard of cannot break a request.  What can be said otherwise is: a constant becomes an enumeration, a
limit that cannot be said becomes a remark in the description.
"""

from __future__ import annotations

import functools
from typing import Any

import orjson

from ccr_core import JSON

_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_ONES = frozenset({"items", "additionalProperties", "propertyNames", "not", "if", "then", "else", "contains"})
_LIMITS = frozenset(
    {"minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"multipleOf", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "default"}
)
_BASIC = frozenset({"type", "description", "title", "properties", "required", "items", "enum", "anyOf"})
KEPT: dict[str, frozenset[str]] = {
    "light": _BASIC | _MAPS | _LISTS | _ONES | _LIMITS | {"const", "$ref", "nullable", "dependentRequired"},
    "basic": _BASIC | {"additionalProperties", "$ref", "$defs"},
}
"""Level → the keywords that it keeps."""

_SILENT = frozenset({"$schema", "$id", "$comment", "$anchor", "$vocabulary", "examples", "deprecated"})
"""Keywords without a meaning for the model; leaving them out is not worth a note."""


def tool_schema(schema: Any, level: str, without: tuple[str, ...] = ()) -> tuple[JSON, tuple[str, ...]]:
    """``schema`` with the keywords of ``level`` except ``without``, and what was lost.  The result is shared."""
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}, ()
    if level == "none" and not without:
        return schema, ()
    # A conversation repeats its tools with every request; the work is done once for each.
    return _levelled(orjson.dumps(schema), level, without)


@functools.lru_cache(maxsize=1024)
def _levelled(raw: bytes, level: str, without: tuple[str, ...]) -> tuple[JSON, tuple[str, ...]]:
    lost: set[str] = set()
    kept = KEPT["light" if level == "none" else level] - set(without)
    result = _schema(orjson.loads(raw), kept, "", lost)
    result["type"] = "object"
    if not isinstance(result.get("properties"), dict):
        result["properties"] = {}
    return result, tuple(sorted(lost))


def _schema(node: Any, kept: frozenset[str], where: str, lost: set[str]) -> Any:
    if not isinstance(node, dict):
        return node
    node = _plainer(node, kept, where, lost)
    out: JSON = {}
    remarks: list[str] = []
    for name, value in node.items():
        here = f"{where}.{name}" if where else name
        if name not in kept:
            if name in _LIMITS:
                remarks.append(f"{name}: {value if isinstance(value, str) else orjson.dumps(value).decode()}")
                lost.add(f"{here} (kept as words)")
            elif name not in _SILENT:
                lost.add(here)
        elif name in _MAPS and isinstance(value, dict):
            out[name] = {key: _schema(part, kept, f"{here}.{key}", lost) for key, part in value.items()}
        elif name in _LISTS and isinstance(value, list):
            out[name] = [_schema(part, kept, here, lost) for part in value]
        elif name in _ONES:
            out[name] = _schema(value, kept, here, lost)
        else:
            out[name] = value
    if remarks:
        out["description"] = f"{out.get('description') or ''} ({'; '.join(remarks)})".lstrip()
    return out


def _plainer(node: JSON, kept: frozenset[str], where: str, lost: set[str]) -> JSON:
    """``node`` with the same meaning in plainer keywords, where it uses one that is not kept."""
    node = dict(node)
    while "allOf" in node and "allOf" not in kept:
        parts = node.pop("allOf")
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                node = _both(node, part, f"{where}.allOf" if where else "allOf", lost)
    if "const" in node and "const" not in kept:
        node["enum"] = [node.pop("const")]
    if "oneOf" in node and "oneOf" not in kept and "anyOf" not in node:
        node["anyOf"] = node.pop("oneOf")
    return node


def _both(one: JSON, other: JSON, where: str, lost: set[str]) -> JSON:
    """A schema that demands what both demand, as far as that can be said in one."""
    joined = {**other, **one}
    for name in one.keys() & other.keys():
        mine, yours = one[name], other[name]
        if name == "properties" and isinstance(mine, dict) and isinstance(yours, dict):
            joined[name] = {**yours, **mine}
        elif name in ("required", "allOf") and isinstance(mine, list) and isinstance(yours, list):
            joined[name] = [*mine, *(part for part in yours if part not in mine)]
        elif mine != yours and name not in _SILENT:
            lost.add(f"{where}.{name}")
    return joined


def is_strict(schema: Any) -> bool:
    """Whether ``schema`` is strict as OpenAI means it: closed objects all of whose properties are required."""
    if isinstance(schema, list):
        return all(is_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if properties is not None or schema.get("type") == "object":
        named = properties if isinstance(properties, dict) else {}
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != set(named):
            return False
        if not is_strict(list(named.values())):
            return False
    return all(is_strict(value) for name, value in schema.items() if name not in ("properties", "enum", "const"))
