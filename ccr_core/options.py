"""Options for forms and for programs: what an attrs class takes, told from the class alone.

A plugin declares its options once, as an attrs class with types and defaults; here that becomes a list for a form
(:func:`options_of`) and a JSON Schema (:func:`schema_of`), so that the forms of a page need not know any plugin.  What
a class cannot say by types is said in the ``metadata`` of a field: ``key`` (its name in the file), ``route`` (it holds
a route), ``summary``, ``minimum``, ``maximum``, ``choices``, ``secret``.
"""

from __future__ import annotations

import ast
import enum
import functools
import inspect
import itertools
import operator
import re
import textwrap
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin

import attrs

from ccr_core.config import is_secret
from ccr_core.messages import JSON

_PLAIN: Mapping[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}
DEEP = 6
"""How deep classes in classes are followed; one may hold itself."""


def options_of(cls: Any, deep: int = DEEP) -> list[JSON]:
    """The options that an attrs class takes from a file, in order; empty for anything else, which takes any.

    Each is ``{name, type, required, default, choices, items, options, summary, minimum, maximum, secret, nullable}``.
    ``type`` is ``string``, ``integer``, ``number``, ``boolean``, ``choice``, ``list``, ``object``, ``route`` or
    ``any``; ``items`` is the option of each element of a list, or of each value of an object with free keys, and
    ``options`` are those of an object with known ones; ``default`` is what counts where nothing is written.
    """
    if not (isinstance(cls, type) and attrs.has(cls)):
        return []
    fields = attrs.fields(attrs.resolve_types(cls))
    words = _words(cls)
    return [
        _field(field, words.get(field.name, ""), deep) for field in fields if field.metadata.get("key", ...) is not None
    ]


def takes_any(options: Any) -> bool:
    """Whether these options have keys that nobody can list: anything is handed on as it is written."""
    return options is not None and not (isinstance(options, type) and attrs.has(options))


def _field(field: attrs.Attribute[Any], summary: str, deep: int) -> JSON:
    name = str(field.metadata.get("key", field.name))
    default = _default(field)
    option = {
        "name": name,
        **_kind(field.type, deep),
        "required": field.default is attrs.NOTHING,
        "default": default,
        "summary": str(field.metadata.get("summary") or summary),
        **dict.fromkeys(("minimum", "maximum")),
        **_limits(field.validator),
    }
    if option["type"] == "integer" and option.pop("exclusive", False) and option["minimum"] is not None:
        option["minimum"] += 1
    option.pop("exclusive", None)
    option["secret"] = bool(
        field.metadata.get("secret", is_secret(name) or (not field.repr and option["type"] == "string"))
    )
    if option["secret"]:
        option["default"] = None
    if field.metadata.get("route"):
        option |= {"items": {**_EMPTY, "type": "route"}} if option["type"] == "object" else {"type": "route"}
    if option["choices"] and option["type"] not in ("list", "object"):
        option["type"] = "choice"
    option |= {key: field.metadata[key] for key in ("minimum", "maximum") if key in field.metadata}
    if "choices" in field.metadata:
        option |= {"type": "choice", "choices": list(field.metadata["choices"])}
    return option


_EMPTY: JSON = {"type": "any", "choices": None, "items": None, "options": None, "nullable": False}


def _kind(kind: Any, deep: int) -> JSON:
    """Type, choices, items, inner options, and whether nothing (``null``) may be given."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        given = [part for part in inner if part is not type(None)]
        # A number may also be written as text, as a reference always is: for a form it is a number.
        strict = [part for part in given if part is not str] if {int, float} & set(given) else given
        found = _kind(strict[0], deep) if strict else dict(_EMPTY)
        return {**found, "nullable": len(given) < len(inner)}
    if origin is Literal:
        return {**_EMPTY, "type": "choice", "choices": list(inner)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {**_EMPTY, "type": "choice", "choices": [member.value for member in kind]}
    if kind in _PLAIN:
        return {**_EMPTY, "type": _PLAIN[kind]}
    shape = origin or kind
    if isinstance(shape, type) and attrs.has(shape):
        return {**_EMPTY, "type": "object", "options": options_of(shape, deep - 1) if deep > 0 else None}
    if isinstance(shape, type) and issubclass(shape, Mapping):
        return {**_EMPTY, "type": "object", "items": _kind(inner[1], deep - 1) if len(inner) > 1 else None}
    if isinstance(shape, type) and issubclass(shape, Sequence):
        return {**_EMPTY, "type": "list", "items": _kind(inner[0], deep - 1) if inner else None}
    return dict(_EMPTY)


def _default(field: attrs.Attribute[Any]) -> Any:
    """The default as plain data; ``None`` where there is none, or it cannot be written."""
    default: Any = field.default
    if default is attrs.NOTHING:
        return None
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        if default.takes_self:
            return None
        default = default.factory()
    return plain(default)


def plain(value: Any) -> Any:
    """A value of options as it would be written in a file."""
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if attrs.has(type(value)):
        return {
            str(field.metadata.get("key", field.name)): plain(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if field.metadata.get("key", ...) is not None
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return str(value)


def _limits(validator: Any) -> JSON:
    """What attrs' own validators say of a value."""
    found: JSON = {}
    for each in getattr(validator, "_validators", None) or [validator]:
        inner = getattr(each, "validator", None)
        if inner is not None:  # attrs.validators.optional
            found |= _limits(inner)
        bound, compare = getattr(each, "bound", None), getattr(each, "compare_func", None)
        if bound is not None and compare in (operator.ge, operator.gt):
            found |= {"minimum": bound, "exclusive": compare is operator.gt}
        elif bound is not None and compare in (operator.le, operator.lt):
            found["maximum"] = bound
        options = getattr(each, "options", None)
        if isinstance(options, range) and options.step == 1 and options:
            found |= {"minimum": options.start, "maximum": options.stop - 1}
        elif isinstance(options, list | tuple | set | frozenset):
            found["choices"] = sorted(options, key=str) if isinstance(options, set | frozenset) else list(options)
    return found


def docstrings(cls: type[Any]) -> dict[str, str]:
    """The texts below the fields of a class, as they stand in its source; nothing where there is no source."""
    try:
        body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]).body
    except (OSError, TypeError, SyntaxError):
        return {}
    texts = {}
    for field, below in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            texts[field.target.id] = inspect.cleandoc(str(below.value.value))
    return texts


@functools.cache
def _words(cls: type[Any]) -> Mapping[str, str]:
    """What is said of the fields of a class: below each, else in the docstrings of the class and its bases, where it
    is the first sentence that names the field."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        if attrs.has(base):
            for name, text in docstrings(base).items():
                found.setdefault(name, " ".join(text.replace("``", "").split()).rstrip("."))
    for base in cls.__mro__:
        text = " ".join((base.__doc__ or "").split())
        for sentence in re.split(r"(?<=[.;])\s+", text):
            for name in re.findall(r"``(\w+)``", sentence):
                found.setdefault(name, sentence.replace("``", "").removeprefix(f"{name}: ").rstrip(";."))
    return found


# --- JSON Schema ----------------------------------------------------------------------------------------------


def schema_of(kind: Any, deep: int = DEEP) -> JSON:
    """The JSON Schema of a type as :func:`ccr_core.config.structure` reads it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(part, deep) for part in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if kind is type(None):
        return {"type": "null"}
    shape = origin or kind
    if isinstance(shape, type) and attrs.has(shape):
        return class_schema(shape, deep - 1) if deep > 0 else {"type": "object"}
    if isinstance(shape, type) and issubclass(shape, Mapping):
        more = {"additionalProperties": schema_of(inner[1], deep - 1)} if len(inner) > 1 and inner[1] is not Any else {}
        return {"type": "object", **more}
    if isinstance(shape, type) and issubclass(shape, Sequence):
        return {"type": "array", **({"items": schema_of(inner[0], deep - 1)} if inner and inner[0] is not Any else {})}
    return {}


def class_schema(cls: Any, deep: int = DEEP) -> JSON:
    """The JSON Schema of an attrs class; whatever is no such class takes any object."""
    if not (isinstance(cls, type) and attrs.has(cls)):
        return {"type": "object"}
    words = _words(cls)
    properties: JSON = {}
    required = []
    for field in attrs.fields(attrs.resolve_types(cls)):
        key = field.metadata.get("key", field.name)
        if key is None:
            continue
        properties[key] = schema_of(field.type, deep)
        if words.get(field.name):
            properties[key]["description"] = words[field.name]
        default = _default(field)
        if default is not None and not is_secret(key):
            properties[key]["default"] = default
        if field.default is attrs.NOTHING:
            required.append(key)
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }
