"""The description of the API for programs: OpenAPI 3.1, made of the table of operations.

The shape of an answer is written as an example in types: ``{"name": str, "models": [str]}`` is an object with these two
members; ``maybe(str)`` may be ``null``; ``{str: int}`` is an object with free keys; ``object`` is anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ccr_core import __version__
from ccr_core.messages import JSON
from ccr_core.options import class_schema

if TYPE_CHECKING:
    from ccr_core.api.desk import Desk
    from ccr_core.api.operation import Call, Operation

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


@attrs.frozen
class maybe:
    """A shape, or ``null``: not known."""

    shape: Any


@attrs.frozen
class named:
    """A shape that the documentation explains once, under a name."""

    name: str
    shape: Any


def schema(shape: Any) -> JSON:
    """The JSON Schema of a shape."""
    if isinstance(shape, named):
        return schema(shape.shape)
    if isinstance(shape, maybe):
        return {"anyOf": [schema(shape.shape), {"type": "null"}]}
    if isinstance(shape, Mapping):
        if set(shape) == {str}:
            return {"type": "object", "additionalProperties": schema(shape[str])}
        properties = {str(key): schema(item) for key, item in shape.items()}
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    if isinstance(shape, list):
        return {"type": "array", "items": schema(shape[0])}
    if isinstance(shape, tuple):
        return {"enum": list(shape)}
    return {"type": _TYPES[shape]} if shape in _TYPES else {}


def shown(desk: Desk, call: Call) -> JSON:
    """The document of this router."""
    from ccr_core.api import operations

    return document(operations())


def document(operations: Sequence[Operation]) -> JSON:
    """The OpenAPI document of a table."""
    paths: JSON = {}
    for operation in operations:
        entry: JSON = {
            "operationId": _identifier(operation),
            "summary": operation.summary,
            "tags": [operation.path.split("/")[2]],
            "responses": {
                "200": {
                    "description": "The answer.",
                    "content": {"application/json": {"schema": schema(operation.gives)}},
                },
                "default": {
                    "description": "What is wrong.",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                },
            },
        }
        names = [part[1:-1].partition(":")[0] for part in operation.path.split("/") if part.startswith("{")]
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ] + [
            {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
            for name, text in operation.query.items()
        ]
        if parameters:
            entry["parameters"] = parameters
        if operation.takes is not None or operation.media != ("application/json",) or operation.bare:
            body = class_schema(operation.takes) if operation.takes is not None else {"type": "object"}
            entry["requestBody"] = {
                "required": True,
                "content": {
                    media: {"schema": body if media == "application/json" else {}} for media in operation.media
                },
            }
        paths.setdefault(operation.path, {})[operation.method.lower()] = entry
    problem = schema({"path": str, "message": str, "line": maybe(int), "column": maybe(int)})
    return {
        "openapi": "3.1.0",
        "info": {"title": "ccr management API", "version": __version__},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["type", "error"],
                    "properties": {
                        "type": {"const": "error"},
                        "error": {
                            "type": "object",
                            "required": ["type", "message"],
                            "properties": {
                                "type": {"type": "string"},
                                "message": {"type": "string"},
                                "problems": {"type": "array", "items": problem},
                            },
                        },
                    },
                }
            },
        },
    }


def text(shape: Any) -> str:
    """A shape as people read it: ``{name, models: [{id, title}], key?}``, where ``?`` is "or null"."""
    if isinstance(shape, named):
        return shape.name
    if isinstance(shape, maybe):
        return f"{text(shape.shape)}?" if not isinstance(shape.shape, type) else "?"
    if isinstance(shape, Mapping):
        if set(shape) == {str}:
            inner = text(shape[str])
            return f"{{…: {inner}}}" if inner else "{…}"
        return "{" + ", ".join(_member(str(key), text(item)) for key, item in shape.items()) + "}"
    if isinstance(shape, list):
        return f"[{text(shape[0]) or '…'}]"
    if isinstance(shape, tuple):
        return " | ".join(f'"{each}"' for each in shape)
    return ""


def _member(key: str, inner: str) -> str:
    if inner.startswith("?") or not inner:
        return f"{key}{inner}"
    return f"{key}?: {inner[:-1]}" if inner.endswith("?") else f"{key}: {inner}"


def _identifier(operation: Operation) -> str:
    words = [word.strip("{}") for word in operation.path.replace("-", "_").split("/")[2:]]
    return "_".join([operation.method.lower(), *words]).replace(".", "_").replace(":path", "")
