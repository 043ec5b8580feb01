"""Tool schemas, simplified to what a service knows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_openai_chat.schema import ALLOWED, is_strict, tool_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core.testing import claude_code_tools

FULL: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "properties": {
        "a": {"type": "string", "pattern": "^x", "description": "An a."},
        "b": {"const": 1},
        "c": {"oneOf": [{"type": "string"}, {"type": "null"}]},
        "d": {"type": ["string", "null"]},
        "e": {"$ref": "#/$defs/E"},
        "f": {"allOf": [{"type": "object", "properties": {"x": {"type": "string"}}}, {"required": ["x"]}]},
        "g": {"type": "array", "items": [{"type": "string"}, {"type": "number"}]},
        "h": {"type": "string", "anyOf": [{"minLength": 1}, {"enum": ["q"]}]},
        "type": {"type": "string"},
    },
    "x-vendor": True,
    "$defs": {"E": {"type": "object", "properties": {"next": {"$ref": "#/$defs/E"}}}},
}


def keywords(schema: Any) -> set[str]:
    """All keywords in a schema; names of properties are none."""
    if isinstance(schema, list):
        return set().union(*map(keywords, schema))
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for name, value in schema.items():
        if name in ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas"):
            found |= set().union(*map(keywords, value.values()))
        elif name not in ("enum", "const", "default", "required"):
            found |= keywords(value)
    return found


def test_none_changes_nothing() -> None:
    """At the level ``none`` the schema is sent as it is."""
    assert (FULL, ()) == tool_schema(FULL, "none")


@pytest.mark.parametrize("level", ["light", "inline-refs", "mfjs", "basic"])
def test_only_allowed_keywords_are_left(level: str) -> None:
    """Whatever is not on the list of a level is gone, and the root is an object with properties."""
    schema, lost = tool_schema(FULL, level)

    assert set() == keywords(schema) - ALLOWED[level]
    assert ("object", dict) == (schema["type"], type(schema["properties"]))
    assert "x-vendor" in lost
    assert set(FULL["properties"]) == set(schema["properties"])


def test_light_keeps_the_meaning_whole() -> None:
    """Only editorial keywords go."""
    schema, lost = tool_schema(FULL, "light")

    assert {**{key: FULL[key] for key in ("properties", "$defs")}, "type": "object"} == schema
    assert ("x-vendor",) == lost


def test_references_are_written_out() -> None:
    """A reference becomes what it refers to; one that refers to itself is cut, with a note."""
    schema, lost = tool_schema(FULL, "inline-refs")

    assert {"type": "object", "properties": {"next": {"type": "object"}}} == schema["properties"]["e"]
    assert any("refers to itself" in one for one in lost)
    assert any("not found" in one for one in tool_schema({"properties": {"a": {"$ref": "#/nowhere"}}}, "basic")[1])


def test_basic_says_it_in_other_words() -> None:
    """What has no keyword left is said otherwise where that is possible."""
    properties = tool_schema(FULL, "basic")[0]["properties"]

    assert {"type": "string", "description": "An a. (pattern: ^x)"} == properties["a"]
    assert {"enum": [1]} == properties["b"]
    assert {"anyOf": [{"type": "string"}, {"type": "null"}]} == properties["c"] == properties["d"]
    assert {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]} == properties["f"]
    assert {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "number"}]}} == properties["g"]


def test_the_moonshot_flavour() -> None:
    """Tuples are ``prefixItems``, and a type beside branches stands in the branches."""
    properties = tool_schema(FULL, "mfjs")[0]["properties"]

    assert {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]} == properties["g"]
    assert {"anyOf": [{"type": "string", "minLength": 1}, {"type": "string", "enum": ["q"]}]} == properties["h"]


@pytest.mark.parametrize("schema", [None, {}, {"type": "string"}, "x", {"properties": None}])
def test_odd_schemas_become_objects(schema: Any) -> None:
    """A tool without a usable schema takes an object."""
    made = tool_schema(schema, "light")[0]

    assert ("object", dict) == (made["type"], type(made["properties"]))


@pytest.mark.parametrize("level", ["light", "inline-refs", "mfjs", "basic"])
def test_the_tools_of_claude_code(level: str) -> None:
    """Their schemas come through with all properties and requirements."""
    for tool in claude_code_tools():
        schema = tool["input_schema"]
        made = tool_schema(schema, level)[0]

        assert (set(schema["properties"]), schema["required"]) == (set(made["properties"]), made["required"])


leaves = st.sampled_from(
    [{"type": "string"}, {"const": 3}, {"type": ["integer", "null"]}, {"format": "uri", "type": "string"}, True, {}]
)
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda p: {"type": "object", "properties": p}, st.dictionaries(st.sampled_from("abc"), inner)),
        st.builds(lambda i: {"type": "array", "items": i}, inner),
        st.builds(
            lambda name, parts: {name: parts}, st.sampled_from(["anyOf", "oneOf", "allOf"]), st.lists(inner, max_size=3)
        ),
        st.builds(lambda i: {"type": "object", "additionalProperties": i, "x-other": 1}, inner),
        st.just({"$ref": "#"}),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(schemas, st.sampled_from(["light", "inline-refs", "mfjs", "basic"]))
def test_any_schema_comes_out_allowed_and_stays_so(schema: Any, level: str) -> None:
    """The result holds allowed keywords only, the input is as before, and a second pass changes nothing."""
    before = json.dumps(schema)
    made, _ = tool_schema(schema, level)

    assert set() == keywords(made) - ALLOWED[level]
    assert before == json.dumps(schema)
    assert made == tool_schema(made, level)[0]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}, True),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "object"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            False,
        ),
        ({"type": "array", "items": {"type": "object"}}, False),
        ({"anyOf": [{"type": "object"}]}, False),
    ],
)
def test_strict_schemas(schema: Any, expected: bool) -> None:
    """Strict means closed objects with nothing optional, at every depth."""
    assert expected is is_strict(schema)
