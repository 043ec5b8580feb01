"""Shapes of JSON as the pages write them, and whether a value has one.

A shape is written as in TypeScript: ``string``, ``number``, ``integer``, ``boolean``, ``null``, ``any``, ``"literal"``,
``A | B``, ``A[]``, ``{ key: A, optional?: B, [name]: C }`` (any other key), and remarks behind ``//``.  An object has
all keys that are not optional, and no other ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doc_blocks import ROOT, blocks

Shape = Callable[[Any, str], list[str]]
"""What is wrong with a value at a place; nothing if it has the shape."""

_TOKEN = re.compile(r'\s+|//[^\n]*|,|;|("(?:[^"\\]|\\.)*")|(\[\]|[{}\[\]?:|()])|([A-Za-z_][\w-]*)|(.)')
_SCALARS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "any": lambda value: True,
}


def shape(text: str) -> Shape:
    """The shape that a text describes; ``ValueError`` if it describes none."""
    tokens = [found for match in _TOKEN.finditer(text) if (found := match[1] or match[2] or match[3] or match[4])]
    parsed, rest = _either(tokens)
    if rest:
        raise ValueError(f"what is {' '.join(rest[:5])}?")
    return parsed


def _either(tokens: list[str]) -> tuple[Shape, list[str]]:
    shapes = []
    if tokens[:1] == ["|"]:
        tokens = tokens[1:]
    while True:
        parsed, tokens = _single(tokens)
        while tokens[:1] == ["[]"]:
            parsed, tokens = _list_of(parsed), tokens[1:]
        shapes.append(parsed)
        if tokens[:1] != ["|"]:
            break
        tokens = tokens[1:]

    def either(value: Any, where: str) -> list[str]:
        faults = [each(value, where) for each in shapes]
        return (
            []
            if [] in faults
            else min(faults, key=lambda found: (found[0].startswith(f"{where}: expected"), len(found)))
        )

    return (either if len(shapes) > 1 else shapes[0]), tokens


def _single(tokens: list[str]) -> tuple[Shape, list[str]]:
    token, rest = (tokens[0], tokens[1:]) if tokens else ("", [])
    if token == "{":
        return _object(rest)
    if token == "(":
        inner, rest = _either(rest)
        if rest[:1] != [")"]:
            raise ValueError("a ) is missing")
        return inner, rest[1:]
    if token.startswith('"'):
        literal = json.loads(token)
        return lambda value, where: [] if value == literal else [f"{where}: expected {token}, got {value!r}"], rest
    if token in _SCALARS:
        fits = _SCALARS[token]
        return lambda value, where: [] if fits(value) else [f"{where}: expected {token}, got {value!r}"], rest
    raise ValueError(f"what is {token!r}?")


def _list_of(inner: Shape) -> Shape:
    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, list):
            return [f"{where}: expected a list, got {value!r}"]
        return [fault for place, item in enumerate(value) for fault in inner(item, f"{where}[{place}]")]

    return check


def _object(tokens: list[str]) -> tuple[Shape, list[str]]:
    members: dict[str, Shape] = {}
    needed: list[str] = []
    others: Shape | None = None
    while tokens[:1] != ["}"]:
        if not tokens:
            raise ValueError("a } is missing")
        key, tokens = tokens[0], tokens[1:]
        if key == "[":
            if tokens[1:3] != ["]", ":"]:
                raise ValueError("write [name]: shape")
            others, tokens = _either(tokens[3:])
            continue
        key = json.loads(key) if key.startswith('"') else key
        optional = tokens[:1] == ["?"]
        tokens = tokens[1:] if optional else tokens
        if tokens[:1] != [":"]:
            raise ValueError(f"a : is missing behind {key}")
        members[key], tokens = _either(tokens[1:])
        if not optional:
            needed.append(key)

    def check(value: Any, where: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{where}: expected an object, got {value!r}"]
        faults = [f"{where}.{key} is missing" for key in needed if key not in value]
        for key, item in value.items():
            inner = members.get(key, others)
            faults += [f"{where}.{key} is not in the page"] if inner is None else inner(item, f"{where}.{key}")
        return faults

    return check, tokens[1:]


def documented(page: Path = ROOT / "docs" / "cli.md") -> dict[str, Shape]:
    """The shapes of a page, by the command that prints them."""
    return {block.about: shape(block.text) for block in blocks(page) if block.mark == "json"}
