"""The simplest value that a JSON schema allows, as far as such schemas are used for tools and answers."""

from __future__ import annotations

from typing import Any

from ccr_core import JSON

_DEPTH = 8


def instance(schema: JSON, root: JSON | None = None, depth: int = 0) -> Any:
    """A value that fits ``schema``: required properties only, first choices, smallest numbers, ``true``.

    ``root`` is the document in which ``$ref`` is looked up.  Patterns and formats are not honoured.
    """
    root = schema if root is None else root
    if depth > _DEPTH or not isinstance(schema, dict):
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    if "$ref" in schema:
        return instance(_resolve(str(schema["$ref"]), root), root, depth + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return instance(schema[name][0], root, depth + 1)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        names = schema.get("required") or ()
        return {name: instance(properties.get(name) or {"type": "string"}, root, depth + 1) for name in names}
    if kind == "array":
        return [instance(schema.get("items") or {}, root, depth + 1) for _ in range(schema.get("minItems") or 0)]
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    if kind == "boolean":
        return True
    if kind == "string":
        text = "echo".ljust(schema.get("minLength") or 0, "o")
        return text[: schema["maxLength"]] if isinstance(schema.get("maxLength"), int) else text
    return None


def _resolve(ref: str, root: JSON) -> JSON:
    """What ``ref``, such as ``#/$defs/place``, points to; an empty schema if it points nowhere."""
    found: Any = root
    for part in ref.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
