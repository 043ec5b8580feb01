"""Schemas: what is kept, what is said in another way, what is lost."""

from __future__ import annotations

from typing import Any

import pytest
from ccr_plugin_gemini.schema import OPENAPI, PLAIN, openapi, plain
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import JSON
from ccr_core.testing import claude_code_tools


def thing(**properties: Any) -> JSON:
    return {"type": "object", "properties": properties}


def one(schema: Any) -> JSON:
    """What becomes of ``schema`` as the schema of a property."""
    made: JSON = openapi(thing(a=schema, z={"type": "string"}))[0]["properties"]["a"]
    return made


def test_the_plain_form_keeps_json_schema() -> None:
    """Only editorial keywords go, in silence, and unknown ones, with a note."""
    schema = {
        "$schema": "s",
        "$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}, "x-y": 1}},
        "properties": {"a": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}], "default": None}, "$comment": True},
        "additionalProperties": False,
        "items": [{"x-z": 1}],
    }
    made, lost = plain(schema)

    assert {
        "$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}}},
        "properties": {"a": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}], "default": None}, "$comment": True},
        "additionalProperties": False,
        "items": [{}],
        "type": "object",
    } == made
    assert ("$defs.N.x-y", "items.x-z") == lost


@pytest.mark.parametrize("schema", [None, "x", {}, {"type": "string"}])
def test_tools_take_objects(schema: Any) -> None:
    """Whatever a tool says of its arguments, they are an object."""
    made, _ = plain(schema)

    assert ("object", {}) == (made["type"], made["properties"])
    assert "OBJECT" == openapi(schema)[0]["type"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "string", "format": "uri"}, {"type": "STRING", "description": "(format: uri)"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        (
            {"type": ["array", "string"], "items": {"type": "integer"}},
            {"anyOf": [{"type": "ARRAY", "items": {"type": "INTEGER"}}, {"type": "STRING"}]},
        ),
        ({"const": "x"}, {"type": "STRING", "enum": ["x"]}),
        ({"const": 3}, {"type": "INTEGER", "description": "(one of: 3)"}),
        ({"enum": ["a", None]}, {"type": "STRING", "enum": ["a"], "nullable": True}),
        ({"type": "integer", "enum": [1, 2]}, {"type": "INTEGER", "description": "(one of: 1, 2)"}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "STRING", "nullable": True}),
        ({"oneOf": [{"type": "string"}, {"type": "boolean"}]}, {"anyOf": [{"type": "STRING"}, {"type": "BOOLEAN"}]}),
        ({"allOf": [{"type": "string"}, {"minLength": 2}]}, {"type": "STRING", "minLength": 2}),
        (
            {"type": "number", "exclusiveMinimum": 0, "description": "d"},
            {"type": "NUMBER", "description": "d (exclusiveMinimum: 0)"},
        ),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        ({"items": {"type": "integer"}}, {"type": "ARRAY", "items": {"type": "INTEGER"}}),
        (
            {"properties": {"b": {"type": "null"}}},
            {"type": "OBJECT", "properties": {"b": {"type": "STRING", "nullable": True}}},
        ),
        (
            {
                "anyOf": [{"type": "string"}, {"type": "integer", "description": "e"}, {"type": "null"}],
                "description": "d",
            },
            {
                "anyOf": [
                    {"type": "STRING", "description": "d", "nullable": True},
                    {"type": "INTEGER", "description": "e", "nullable": True},
                ]
            },
        ),
        ({"anyOf": [{"type": "null"}]}, {"type": "STRING", "nullable": True}),
        ({}, {"type": "STRING"}),
        (True, {"type": "STRING"}),
        ({"type": "object", "required": ["no"], "additionalProperties": False}, {"type": "OBJECT"}),
        (
            {"prefixItems": [{"type": "string"}, {"type": "integer"}]},
            {"type": "ARRAY", "items": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}},
        ),
    ],
)
def test_the_smaller_language(schema: JSON, expected: JSON) -> None:
    """Each keyword is said as the service's own language can say it."""
    assert expected == one(schema)


def test_branches_at_the_root() -> None:
    """A function takes one object: the properties of all branches, or of the object that the branches narrow."""
    narrow = {**thing(a={"type": "string"}), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    wide = {"anyOf": [thing(a={"type": "string"}), thing(b={"type": "integer"})]}

    assert ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, ("anyOf",)) == openapi(narrow)
    both = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}, "b": {"type": "INTEGER"}}}
    assert (both, ("anyOf (its branches joined)",)) == openapi(wide)


def test_references() -> None:
    """References are put in; one that leads back into itself, or nowhere, becomes an object with a name."""
    node = {"type": "object", "description": "a node", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {
        **thing(a={"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}, b={"$ref": "#/nowhere/X"}),
        "$defs": {"Node": node},
    }
    made, lost = openapi(schema)

    nothing = {"type": "OBJECT", "description": "a node"}
    first = {"type": "OBJECT", "description": "a node", "properties": {"next": nothing}, "nullable": True}
    assert {"a": first, "b": {"type": "OBJECT", "description": "X"}} == made["properties"]
    assert (
        "properties.a.properties.next.$ref #/$defs/Node (refers to itself)",
        "properties.b.$ref #/nowhere/X (not found)",
    ) == lost


def test_a_chain_of_references_that_never_ends() -> None:
    """Also a schema that consists of nothing but references to itself comes to an end."""
    schema = {**thing(a={"$ref": "#/$defs/A"}), "$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}}}

    assert {"type": "OBJECT", "description": "A"} == openapi(schema)[0]["properties"]["a"]


def test_what_is_lost_is_named() -> None:
    """Keywords without a counterpart are named with their place; editorial ones are not worth it."""
    schema = {**thing(a={"type": "string", "not": {"enum": ["x"]}, "$comment": "c"}), "$schema": "s", "if": {}}

    assert ("if", "properties.a.not") == openapi(schema)[1]
    assert ("properties.a.multipleOf (kept as words)",) == openapi(thing(a={"type": "number", "multipleOf": 2}))[1]


def test_the_tools_of_claude_code() -> None:
    """The hardest schemas of the client are taken by the service's own library."""
    for tool in claude_code_tools():
        made, _ = openapi(tool["input_schema"])
        types.Schema.model_validate(made)


names = st.sampled_from(["a", "b", "c"])
leaves: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([{"type": "string"}, {"type": ["integer", "null"]}, {"const": 1}, {"enum": ["x", 2]}, {}, True]),
    st.builds(lambda kind: {"type": kind}, st.sampled_from(["array", "object", "null", "boolean"])),
    st.sampled_from([{"$ref": "#/$defs/D"}, {"$ref": "#/none"}]),
)
schemas: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda parts, required, more: {
                "type": "object",
                "properties": parts,
                "required": required,
                "additionalProperties": more,
            },
            st.dictionaries(names, inner, max_size=3),
            st.lists(names, max_size=2),
            inner,
        ),
        st.builds(lambda part: {"type": "array", "items": part, "minItems": 1}, inner),
        st.builds(
            lambda word, parts: {word: parts, "description": "d"},
            st.sampled_from(["anyOf", "oneOf", "allOf", "prefixItems"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        st.builds(lambda part: {"type": "string", "not": part, "x-odd": 1, "format": "uuid"}, inner),
    ),
    max_leaves=12,
)


def keywords(schema: Any) -> set[str]:
    """The keywords in ``schema``."""
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for name, value in schema.items():
        parts = value.values() if name in ("properties", "$defs") else value if isinstance(value, list) else [value]
        for part in parts:
            if name != "enum":
                found |= keywords(part)
    return found


@settings(max_examples=200, deadline=None)
@given(schemas, schemas)
def test_only_what_is_allowed_is_sent(schema: Any, definition: Any) -> None:
    """Whatever the schema, each form holds its own keywords only, and the service's library takes the smaller one."""
    root = {"type": "object", "properties": {"p": schema}, "$defs": {"D": definition}}
    made, _ = openapi(root)

    assert set() == keywords(made) - OPENAPI
    assert set() == keywords(plain(root)[0]) - PLAIN
    types.Schema.model_validate(made)


def test_values_of_a_single_branch() -> None:
    """A branch that stands alone is taken for the whole, and its values are no less texts only."""
    made, _ = openapi({"type": "object", "properties": {"p": {"anyOf": [{"enum": ["x", 2]}, {"type": "null"}]}}})

    expected = {"type": "STRING", "description": "(one of: x, 2)", "nullable": True}
    assert expected == made["properties"]["p"]
