"""Tool schemas for those who know less of JSON Schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_openai_responses.schema import KEPT, is_strict, tool_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import JSON

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def of(properties: JSON, **more: Any) -> JSON:
    return {"type": "object", "properties": properties, **more}


@pytest.mark.parametrize("schema", [None, [], "x", {}, {"type": "object"}, {"$schema": DRAFT}])
def test_every_schema_is_an_object_with_properties(schema: Any) -> None:
    """The service demands that."""
    assert ({"type": "object", "properties": {}}, ()) == tool_schema(schema, "light")


def test_light_keeps_what_means_something() -> None:
    """Editorial keywords go in silence, unknown ones with a note; the rest stays."""
    inner = {"type": "string", "pattern": "^a", "const": "abc", "x-vendor": 1}
    schema = of({"a": inner}, required=["a"], additionalProperties=False, **{"$schema": DRAFT, "$id": "x"})
    kept = {name: value for name, value in inner.items() if name != "x-vendor"}

    assert (of({"a": kept}, required=["a"], additionalProperties=False), ("properties.a.x-vendor",)) == tool_schema(
        schema, "light"
    )


def test_none_changes_nothing() -> None:
    """The schema is the same object."""
    schema = {"anything": 1}

    assert schema is tool_schema(schema, "none")[0]


def test_basic_says_it_otherwise() -> None:
    """Constants become enumerations, limits words, alternatives and conjunctions plainer ones."""
    schema = of(
        {
            "a": {"const": "x"},
            "b": {"type": "integer", "minimum": 1, "description": "How many."},
            "c": {"oneOf": [{"type": "string"}, {"type": "null"}]},
            "d": {"allOf": [of({"e": {"type": "string"}}, required=["e"]), of({"f": {}}, required=["f"])]},
        }
    )
    expected = of(
        {
            "a": {"enum": ["x"]},
            "b": {"type": "integer", "description": "How many. (minimum: 1)"},
            "c": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "d": of({"e": {"type": "string"}, "f": {}}, required=["e", "f"]),
        }
    )

    assert (expected, ("properties.b.minimum (kept as words)",)) == tool_schema(schema, "basic")


def test_what_cannot_be_joined_is_noted() -> None:
    """Conjunctions inside each other are joined; of two demands in one keyword the outer stays."""
    inner = {"type": "string", "allOf": [{"enum": ["a"]}, {"enum": ["b"]}]}
    made, lost = tool_schema(of({"x": {"allOf": [inner], "description": "X."}}), "basic")

    assert of({"x": {"type": "string", "enum": ["a"], "description": "X."}}) == made
    assert ("properties.x.allOf.enum",) == lost


def test_without_some_keywords() -> None:
    """What one service refuses besides."""
    schema = of({"a": {"type": "string", "minLength": 2, "format": "date"}})
    made, lost = tool_schema(schema, "none", ("minLength",))

    assert of({"a": {"type": "string", "format": "date", "description": "(minLength: 2)"}}) == made
    assert ("properties.a.minLength (kept as words)",) == lost


def test_names_of_properties_are_no_keywords() -> None:
    """A property may be called like a keyword that is not kept."""
    schema = of({"$schema": {"type": "string"}, "minimum": {"type": "number"}})

    assert (schema, ()) == tool_schema(schema, "basic")


KEYWORDS = sorted(
    KEPT["light"] | {"$schema", "x-odd", "unevaluatedProperties", "examples"} - {"properties", "type", "description"}
)
schemas: Any = st.recursive(
    st.fixed_dictionaries({"type": st.sampled_from(["string", "integer", "object"])}),
    lambda inner: st.one_of(
        st.dictionaries(
            st.sampled_from(KEYWORDS), st.one_of(inner, st.integers(-9, 9), st.lists(inner, max_size=2)), max_size=3
        ),
        st.builds(of, st.dictionaries(st.sampled_from("abc"), inner, max_size=2)),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(schemas, st.sampled_from(["light", "basic"]))
def test_only_kept_keywords_come_out(schema: JSON, level: str) -> None:
    """Whatever goes in: it is not changed, and a second time makes no difference."""
    before = json.dumps(schema)
    made, _ = tool_schema(schema, level)

    def check(node: Any) -> None:
        if isinstance(node, dict):
            assert node.keys() <= KEPT[level]
            for part in (node.get("properties") or {}).values() if isinstance(node.get("properties"), dict) else ():
                check(part)
            check(node.get("items"))

    check(made)
    assert before == json.dumps(schema)
    assert (made, ()) == tool_schema(made, level)


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "string"}, True),
        (of({}, additionalProperties=False), True),
        (of({}), False),
        ({"type": "object"}, False),
        ({"properties": {"a": {}}}, False),
        (of({"a": {}}, additionalProperties=False), False),
        (of({"a": {}}, additionalProperties=False, required=["a"]), True),
        (of({"a": of({"b": {}})}, additionalProperties=False, required=["a"]), False),
        ({"type": "array", "items": of({})}, False),
        ({"anyOf": [of({}, additionalProperties=False), of({})]}, False),
        ({"enum": [{"type": "object"}]}, True),
    ],
)
def test_what_is_strict(schema: JSON, strict: bool) -> None:
    """Closed objects all of whose properties are required, all the way down."""
    assert strict is is_strict(schema)
