"""JSON schemas for a service that knows less of them than the client uses.

Each of the two forms has a list of the keywords that it *keeps*; whatever is not on it is left out and named in a
note, so that a keyword nobody here has heard of cannot break a request.  Meaning is kept where there is another way
to say it, at least as words in the description.

``parametersJsonSchema`` takes nearly all of JSON Schema.  ``parameters`` is the service's own ``Schema`` message, in
the manner of OpenAPI 3.0: types in capitals, no references, text values in enumerations, ``nullable`` for null.
"""

from __future__ import annotations

import functools
from typing import Any

import orjson

from ccr_core import JSON

_EDITORIAL = frozenset(
    {"$schema", "$id", "$comment", "$anchor", "$dynamicAnchor", "$vocabulary", "examples", "deprecated", "readOnly"}
    | {"writeOnly", "contentEncoding", "contentMediaType"}
)
"""Keywords without a meaning for the model; leaving them out is not worth a note."""

_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SINGLE = frozenset(
    {"items", "additionalProperties", "propertyNames", "not", "if", "then", "else", "contains"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_LIMITS = frozenset(
    {"minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"multipleOf", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "default"}
)
_OTHERS = frozenset(
    {"type", "title", "description", "required", "enum", "const", "$ref", "nullable", "propertyOrdering"}
    | {"dependentRequired", "minContains", "maxContains"}
)

PLAIN = _MAPS | _LISTS | _SINGLE | _LIMITS | _OTHERS
"""What ``parametersJsonSchema`` and ``responseJsonSchema`` keep."""

OPENAPI = frozenset(
    {"type", "format", "title", "description", "nullable", "enum", "items", "minItems", "maxItems", "properties"}
    | {"required", "propertyOrdering", "minProperties", "maxProperties", "minimum", "maximum", "minLength"}
    | {"maxLength", "pattern", "anyOf", "default"}
)
"""What ``parameters`` and ``responseSchema`` keep."""

_FORMATS = {
    "STRING": {"enum", "date-time"},
    "NUMBER": {"float", "double"},
    "INTEGER": {"int32", "int64"},
}
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object"})
_SILENT = _EDITORIAL | {"additionalProperties", "$defs", "definitions"}


def plain(schema: Any) -> tuple[JSON, tuple[str, ...]]:
    """``schema`` as JSON Schema, and what was lost.  The result is shared: do not change it."""
    return _done(orjson.dumps(schema), False) if isinstance(schema, dict) else (dict(_EMPTY), ())


def openapi(schema: Any) -> tuple[JSON, tuple[str, ...]]:
    """``schema`` in the service's own language, and what was lost.  The result is shared: do not change it."""
    return _done(orjson.dumps(schema), True) if isinstance(schema, dict) else ({"type": "OBJECT"}, ())


_EMPTY: JSON = {"type": "object", "properties": {}}


@functools.lru_cache(maxsize=1024)
def _done(raw: bytes, strict: bool) -> tuple[JSON, tuple[str, ...]]:
    # A conversation repeats its tools with every request; the work is done once for each.
    root = orjson.loads(raw)
    lost: set[str] = set()
    if strict:
        out = _rooted(_Strict(root, lost).schema(root, ""), lost)
    else:
        out = _kept(root, "", lost)
        if out.get("type") != "object":
            out = {**out, "type": "object"}
        if not isinstance(out.get("properties"), dict):
            out = {**out, "properties": {}}
    return out, tuple(sorted(lost))


def _kept(node: Any, where: str, lost: set[str]) -> Any:
    """``node`` with the keywords of :data:`PLAIN` only."""
    if not isinstance(node, dict):
        return node
    out: JSON = {}
    for name, value in node.items():
        here = f"{where}.{name}" if where else name
        if name in _MAPS and isinstance(value, dict):
            out[name] = {key: _kept(part, f"{here}.{key}", lost) for key, part in value.items()}
        elif name in _LISTS and isinstance(value, list):
            out[name] = [_kept(part, here, lost) for part in value]
        elif name in _SINGLE:
            out[name] = (
                [_kept(part, here, lost) for part in value] if isinstance(value, list) else _kept(value, here, lost)
            )
        elif name in PLAIN:
            out[name] = value
        elif name not in _EDITORIAL:
            lost.add(here)
    return out


def _rooted(schema: JSON, lost: set[str]) -> JSON:
    """``schema`` as that of a function's arguments, which are one object."""
    branches = schema.get("anyOf")
    if isinstance(branches, list):
        lost.add("anyOf (its branches joined)")
        properties: JSON = {}
        for branch in branches:
            properties = {**(branch.get("properties") or {}), **properties}
        return {"type": "OBJECT", "properties": properties} if properties else {"type": "OBJECT"}
    return schema if schema.get("type") == "OBJECT" else {"type": "OBJECT"}


class _Strict:
    """One pass over one schema, to the language of ``parameters``."""

    def __init__(self, root: JSON, lost: set[str]) -> None:
        self._root = root
        self._lost = lost
        self._inside: list[str] = []

    def schema(self, node: Any, where: str) -> JSON:
        """``node`` and its parts."""
        if not isinstance(node, dict):
            node = {}
        ref = node.get("$ref")
        if isinstance(ref, str):
            return self._inlined(node, ref, where)
        node = self._merged(node)
        remarks: list[str] = []
        self._values(node, remarks)
        self._kinds(node)
        # A single branch may have brought some.
        self._values(node, remarks)
        if isinstance(node.get("$ref"), str):
            return self._inlined(node, node["$ref"], where)
        if "anyOf" in node and node.keys() & {"properties", "items"}:
            # The branches only say what else must hold of the one type, which cannot be said.
            del node["anyOf"]
            self._lost.add(f"{where}.anyOf" if where else "anyOf")
        out: JSON = {}
        kind = str(node.get("type") or "").upper()
        for name, value in node.items():
            here = f"{where}.{name}" if where else name
            if name == "type":
                out["type"] = kind
            elif name == "format" and value not in _FORMATS.get(kind, ()):
                remarks.append(f"format: {value}")
            elif name == "properties" and isinstance(value, dict):
                out[name] = {key: self.schema(part, f"{here}.{key}") for key, part in value.items()}
            elif name == "items":
                out[name] = self.schema(value, here)
            elif name == "anyOf":
                out[name] = [self.schema(part, here) for part in value]
            elif name in OPENAPI:
                out[name] = value
            elif name in _LIMITS:
                remarks.append(f"{name}: {_text(value)}")
                self._lost.add(f"{here} (kept as words)")
            elif name not in _SILENT or (name == "additionalProperties" and isinstance(value, dict) and value):
                self._lost.add(here)
        if kind == "ARRAY" and "items" not in out:
            out["items"] = self.schema({}, f"{where}.items" if where else "items")
        if "type" not in out and "anyOf" not in out and where:
            out["type"] = "STRING"
            self._lost.add(f"{where} (of any type, taken for text)")
        if isinstance(out.get("required"), list):
            out["required"] = [name for name in out["required"] if name in out.get("properties", {})]
            if not out["required"]:
                del out["required"]
        if remarks:
            out["description"] = " ".join(filter(None, (out.get("description"), f"({'; '.join(remarks)})")))
        if "anyOf" not in out:
            return out
        # The service suffers nothing beside ``anyOf``: what is there goes into the branches.
        branches = out.pop("anyOf")
        out.pop("type", None)
        return {"anyOf": [{**out, **branch} for branch in branches]}

    def _inlined(self, node: JSON, ref: str, where: str) -> JSON:
        target = _resolve(self._root, ref)
        if target is None or ref in self._inside:
            why = "not found" if target is None else "refers to itself"
            self._lost.add(f"{where or 'root'}.$ref {ref} ({why})")
            words = node.get("description") or (target or {}).get("description") or ref.rpartition("/")[2]
            return {"type": "OBJECT", "description": str(words)}
        self._inside.append(ref)
        try:
            return self.schema({**target, **{name: value for name, value in node.items() if name != "$ref"}}, where)
        finally:
            self._inside.pop()

    def _merged(self, node: JSON) -> JSON:
        """A copy of ``node`` in which the parts of ``allOf`` are joined, and ``oneOf`` is ``anyOf``."""
        node = dict(node)
        for part in node.pop("allOf", None) or ():
            if not isinstance(part, dict):
                continue
            for name, value in part.items():
                mine = node.get(name)
                if isinstance(mine, dict) and isinstance(value, dict):
                    node[name] = {**value, **mine}
                elif name == "required" and isinstance(mine, list):
                    node[name] = list(dict.fromkeys([*mine, *value]))
                else:
                    node.setdefault(name, value)
        if isinstance(node.get("oneOf"), list) and "anyOf" not in node:
            node["anyOf"] = node.pop("oneOf")
        if isinstance(node.get("prefixItems"), list) or isinstance(node.get("items"), list):
            parts = node.pop("prefixItems", None) or node.get("items") or []
            node["items"] = {"anyOf": [part for part in parts if isinstance(part, dict)]}
            self._lost.add("order of a tuple")
        return node

    def _values(self, node: JSON, remarks: list[str]) -> None:
        """Say constants and enumerations as texts, others in words."""
        if "const" in node:
            node.setdefault("enum", [node.pop("const")])
        values = node.get("enum")
        if not isinstance(values, list):
            return
        if None in values:
            node["nullable"] = True
            values = [value for value in values if value is not None]
        if values and all(isinstance(value, str) for value in values):
            node["enum"] = values
            node["type"] = "string"
            return
        del node["enum"]
        remarks.append(f"one of: {', '.join(map(_text, values))}")
        if "type" not in node and values:
            node["type"] = _type_of(values[0])

    def _kinds(self, node: JSON) -> None:
        """One type, with ``nullable`` for null, or branches."""
        kinds = node.get("type")
        if isinstance(kinds, list):
            if "null" in kinds:
                node["nullable"] = True
            kinds = [kind for kind in kinds if kind in _TYPES]
            if len(kinds) == 1:
                node["type"] = kinds[0]
            else:
                del node["type"]
                if kinds and "anyOf" not in node:
                    own = {name: node.pop(name) for name in ("items", "properties", "required") if name in node}
                    node["anyOf"] = [
                        {"type": kind, **{name: own[name] for name in own if (name == "items") == (kind == "array")}}
                        if kind in ("array", "object")
                        else {"type": kind}
                        for kind in kinds
                    ]
        branches = node.get("anyOf")
        if isinstance(branches, list):
            real = [part for part in branches if not (isinstance(part, dict) and part.get("type") == "null")]
            if len(real) < len(branches):
                node["nullable"] = True
            node["anyOf"] = real
            if not real:
                del node["anyOf"]
            elif len(real) == 1 and isinstance(real[0], dict):
                del node["anyOf"]
                mine = dict(node)
                node.clear()
                node.update({**self._merged(real[0]), **mine})
                self._kinds(node)
        if "type" not in node and "anyOf" not in node:
            if "properties" in node:
                node["type"] = "object"
            elif "items" in node:
                node["type"] = "array"
        if node.get("type") == "null":
            node["type"] = "string"
            node["nullable"] = True


def _resolve(root: JSON, ref: str) -> JSON | None:
    """What a reference inside ``root`` refers to."""
    if not ref.startswith("#"):
        return None
    node: Any = root
    for part in ref[1:].split("/")[1:]:
        node = node.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def _type_of(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "string")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
