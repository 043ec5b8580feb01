"""Masks: whatever a document holds, its secrets do not come out, and what comes back means what was there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core.api.masks import MASK, masked, masked_text, pairs, restored, restored_text, secrets
from ccr_core.config import Problems, parse
from ccr_core.config_edit import same

JSON5, TOML = Path("config.json"), Path("config.toml")

KEYS = ("name", "api_key", "token", "headers", "x-team", "models", "url", "password", "weight", "a \"b'")
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12),
    st.sampled_from(
        [
            "$NAME",
            "Bearer $NAME",
            "sk-abcdefghijklmnop1234",
            "https://u:pass-word@h.example/x?key=abc&y=1",
            'with "quotes" and \\ in it',
            "// no remark",
            "# no remark",
            "{ [ , : ] }",
            "line\nbreak",
        ]
    ),
)
VALUES: Any = st.recursive(
    st.one_of(TEXTS, st.integers(-9, 9), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5)


def no_masks(value: Any) -> bool:
    return MASK not in json.dumps(value)


@given(DOCUMENTS.filter(no_masks))
@settings(max_examples=150, deadline=None)
def test_a_masked_document_means_the_same(data: Any) -> None:
    """
    Sent back as it was shown, it is what it was, and nothing secret was shown.
    """
    shown = masked(data)
    problems = Problems()

    assert same(data, restored(shown, data, problems))
    assert [] == problems.items
    assert [] == list(secrets(shown))


@given(DOCUMENTS.filter(no_masks), st.sampled_from([None, 2, "\t"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_masked_text_means_the_same(data: Any, indent: Any, escaped: bool) -> None:
    """
    The text has the masks that the document has, and sent back it is the same, byte for byte.
    """
    text = json.dumps(data, indent=indent, ensure_ascii=escaped)

    shown = masked_text(text, JSON5)
    problems = Problems()
    back = restored_text(shown, text, JSON5, problems)

    assert same(masked(data), parse(shown, JSON5).data)
    assert [] == problems.items
    assert same(data, parse(back, JSON5).data)


@given(DOCUMENTS.filter(no_masks))
@settings(max_examples=100, deadline=None)
def test_a_masked_toml_text_means_the_same(data: Any) -> None:
    """
    In the other syntax, too.
    """
    text = tomli_w.dumps(data)

    shown = masked_text(text, TOML)
    problems = Problems()
    back = restored_text(shown, text, TOML, problems)

    assert same(masked(data), parse(shown, TOML).data)
    assert [] == problems.items
    assert same(data, parse(back, TOML).data)


@given(st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text_can_be_masked(text: str) -> None:
    """
    A broken file is shown as well as it goes, with as many lines.
    """
    for path in (JSON5, TOML):
        assert text.count("\n") == masked_text(text, path).count("\n")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"api_key": "very-secret-1", "x": ]', JSON5),
        ('{"api_key": ["very-secret-1", {"key": "very-secret-2"}], "x" 1}', JSON5),
        ("{api_key: 'very-secret-1', ", JSON5),
        ('{"headers": {"x-own": "very-secret-1"}, ]}', JSON5),
        ('{"api_key": "very-secret-1', JSON5),
        ("{} // token: very-secret-1", JSON5),
        ('{} /* "password": "very-secret-1" */', JSON5),
        ('api_key = "very-secret-1"\nx = = 1', TOML),
        ('api_key = [\n  "very-secret-1",\n  "very-secret-2"', TOML),
        ("[oauth.x.credentials]\nid = 'very-secret-1'\n]", TOML),
        ('a = {headers = {x-own = "very-secret-1"}', TOML),
        ('private_key = """\nvery-secret-1\n', TOML),
        ('# api_key = "very-secret-1"', TOML),
    ],
)
def test_secrets_of_broken_texts_are_hidden(text: str, path: Path) -> None:
    """
    What cannot be parsed is shown without its secrets, too.
    """
    assert "very-secret" not in masked_text(text, path)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ([{"name": "b"}, {"name": "a"}], [{"name": "a"}, {"name": "b"}], [1, 0]),
        ([{"name": "c"}, {"name": "b"}], [{"name": "a"}, {"name": "b"}], [0, 1]),
        ([{"name": "b"}], [{"name": "a"}, {"name": "b"}], [1]),
        ([{"name": "b"}, {"name": "new"}, {"name": "a"}], [{"name": "a"}, {"name": "b"}], [1, None, 0]),
        ([["y", {}], ["x", {}]], [["x", {}], ["y", {}]], [1, 0]),
        (["a", "n", "b"], ["a", "b"], [0, None, 1]),
    ],
)
def test_elements_are_known_by_their_names(new: Any, old: Any, expected: Any) -> None:
    """
    Or by where they are, as far as that is certain.
    """
    assert expected == pairs(new, old)
