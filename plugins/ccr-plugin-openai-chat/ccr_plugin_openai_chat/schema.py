"""Tool schemas for services that know less of JSON Schema than the client uses.

Each level has a list of the keywords that it *keeps*; whatever is not on the list is left out and named in a note,
so that a keyword nobody here has heard of cannot break a request.  Meaning is kept where there is another way to say
it: a constant becomes an enumeration, a limit that cannot be said becomes a remark in the description.
"""

from __future__ import annotations

import functools
from typing import Any

import orjson

from ccr_core import JSON

_EDITORIAL = frozenset({"$schema", "$id", "$comment", "$anchor", "$dynamicAnchor", "$vocabulary", "examples"})
"""Keywords without a meaning for the model; leaving them out is not worth a note."""

_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE = frozenset(
    {
        "items",
        "additionalProperties",
        "propertyNames",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "unevaluatedProperties",
        "unevaluatedItems",
    }
)
_LIMITS = frozenset(
    {
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "default",
    }
)
_CORE = frozenset({"type", "description", "title", "properties", "required", "items", "enum", "anyOf"})
_LIGHT = (
    _CORE
    | _MAPS
    | _LISTS
    | _SINGLE
    | _LIMITS
    | {"const", "$ref", "nullable", "dependentRequired", "deprecated", "readOnly", "writeOnly", "minContains"}
    | {"maxContains", "contentEncoding", "contentMediaType"}
)
_REFS = frozenset({"$ref", "$defs", "definitions"})

ALLOWED: dict[str, frozenset[str]] = {
    "light": _LIGHT,
    "inline-refs": _LIGHT - _REFS,
    "mfjs": (_CORE | _LIMITS | _REFS | {"additionalProperties", "prefixItems", "const"}) - {"multipleOf"},
    "basic": _CORE | {"additionalProperties"},
}
"""Level → the keywords that it keeps."""


def tool_schema(schema: Any, level: str) -> tuple[JSON, tuple[str, ...]]:
    """``schema`` for a service of ``level``, and what was lost.  The result is shared: do not change it."""
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}, ()
    if level == "none":
        return schema, ()
    # A conversation repeats its tools with every request; the work is done once for each.
    return _levelled(orjson.dumps(schema), level)


@functools.lru_cache(maxsize=1024)
def _levelled(raw: bytes, level: str) -> tuple[JSON, tuple[str, ...]]:
    schema = orjson.loads(raw)
    levelling = _Levelling(schema, level)
    result = levelling.schema(schema, "")
    if not isinstance(result, dict):
        result = {}
    if result.get("type") != "object":
        result = {**result, "type": "object"}
    if not isinstance(result.get("properties"), dict):
        result = {**result, "properties": {}}
    return result, tuple(sorted(levelling.lost))


class _Levelling:
    """One pass over one schema."""

    def __init__(self, root: JSON, level: str) -> None:
        self.root = root
        self.level = level
        self.allowed = ALLOWED[level]
        self.refs = "$ref" in self.allowed
        self.lost: set[str] = set()
        self._inside: list[str] = []

    def schema(self, node: Any, where: str) -> Any:
        """``node``, which is a schema, with its parts."""
        if not isinstance(node, dict):
            return node if self.level == "light" or isinstance(node, bool) else {}
        ref = node.get("$ref")
        if not self.refs and isinstance(ref, str):
            return self._inlined(node, ref, where)
        if self.level in ("mfjs", "basic"):
            node = self._plainer(node, where)
        out: JSON = {}
        remarks: list[str] = []
        for name, value in node.items():
            here = f"{where}.{name}" if where else name
            if name not in self.allowed:
                if name in _LIMITS:
                    remarks.append(f"{name}: {_text(value)}")
                    self.lost.add(f"{here} (kept as words)")
                elif name not in _EDITORIAL and name not in _REFS:
                    self.lost.add(here)
            elif name in _MAPS and isinstance(value, dict):
                out[name] = {key: self.schema(part, f"{here}.{key}") for key, part in value.items()}
            elif name in _LISTS and isinstance(value, list):
                out[name] = [self.schema(part, here) for part in value]
            elif name in _SINGLE:
                out[name] = value if isinstance(value, bool) else self.schema(value, here)
            else:
                out[name] = value
        if remarks:
            out["description"] = " ".join(filter(None, (out.get("description"), f"({'; '.join(remarks)})")))
        return out

    def _inlined(self, node: JSON, ref: str, where: str) -> Any:
        target = _resolve(self.root, ref)
        if target is None or ref in self._inside:
            self.lost.add(f"{where or 'root'}.$ref {ref} ({'not found' if target is None else 'refers to itself'})")
            return {name: value for name, value in node.items() if name == "description"} | (
                {"type": "object"} if isinstance(target, dict) and target.get("type") == "object" else {}
            )
        self._inside.append(ref)
        try:
            beside = {name: value for name, value in node.items() if name != "$ref"}
            return self.schema({**target, **beside}, where)
        finally:
            self._inside.pop()

    def _plainer(self, node: JSON, where: str) -> JSON:
        """``node`` with the same meaning in plainer keywords."""
        node = dict(node)
        if "const" in node and "const" not in self.allowed:
            node.setdefault("enum", [node.pop("const")])
        if "oneOf" in node and "anyOf" not in node:
            node["anyOf"] = node.pop("oneOf")
        if isinstance(node.get("allOf"), list):
            for part in node.pop("allOf"):
                node = _both(node, part) if isinstance(part, dict) else node
        items = node.get("items")
        if isinstance(items, list):
            if self.level == "mfjs":
                node["prefixItems"] = node.pop("items")
            else:
                node["items"] = {"anyOf": items} if items else {}
                self.lost.add(f"{where}.items (order of a tuple)" if where else "items (order of a tuple)")
        kind = node.get("type")
        if isinstance(kind, list) and "anyOf" not in node and self.level == "basic":
            del node["type"]
            node["anyOf"] = [{"type": one} for one in kind]
        elif where and kind is not None and isinstance(node.get("anyOf"), list):
            # A type beside the branches has to stand in each of them; the root has to say that it is an object.
            del node["type"]
            node["anyOf"] = [
                part
                if not isinstance(part, dict) or part.keys() & {"type", "$ref", "anyOf"}
                else {"type": kind, **part}
                for part in node["anyOf"]
            ]
        return node


def _both(one: JSON, other: JSON) -> JSON:
    """A schema that demands what both demand, as far as that can be said by joining them."""
    joined = {**other, **one}
    for name in ("properties", "$defs"):
        if isinstance(one.get(name), dict) and isinstance(other.get(name), dict):
            joined[name] = {**other[name], **one[name]}
    if isinstance(one.get("required"), list) and isinstance(other.get("required"), list):
        joined["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return joined


def _resolve(root: JSON, ref: str) -> JSON | None:
    if not ref.startswith("#"):
        return None
    node: Any = root
    for part in ref[1:].split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        node = node.get(part) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def is_strict(schema: Any) -> bool:
    """Whether ``schema`` is strict as OpenAI means it: closed objects whose properties are all required."""
    if isinstance(schema, list):
        return all(is_strict(part) for part in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != set(properties):
            return False
        if not all(map(is_strict, properties.values())):
            return False
    return all(is_strict(value) for name, value in schema.items() if name != "properties")
