"""The page of the transformers says what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import attrs
import pytest

from ccr_core import Transformer, TransformerSpec

SCRIPT = Path(__file__).parents[1] / "docs" / "generate_transformers.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """The script that writes the page."""
    spec = importlib.util.spec_from_file_location("generate_transformers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_fresh(generator: ModuleType) -> None:
    """The page in the project is what the script would write now."""
    assert generator.page() == generator.PAGE.read_text("utf-8"), "run: python docs/generate_transformers.py"


def test_every_option_has_a_meaning(generator: ModuleType) -> None:
    """Nobody has to read the code to know what an option is for: its own text says so, or that of its class."""
    silent = []
    for _, spec in generator.offered():
        if spec.options is not None and attrs.has(spec.options):
            told = generator.docstrings(spec.options)
            for field in attrs.fields(spec.options):
                key = field.metadata.get("key", field.name)
                if field.name not in told and f"``{key}``" not in (spec.options.__doc__ or ""):
                    silent.append(f"{spec.name}: {key}")

    assert [] == silent


@attrs.frozen
class Options:
    """All kinds."""

    needed: int
    """one|two"""

    kind: Literal["a", "b"] | None = None
    """``x``
    and more"""

    names: tuple[str, ...] = ()
    """names"""


def test_a_section(generator: ModuleType) -> None:
    """A section has the transformer's other names, its format, each option, and what it sets."""
    spec = TransformerSpec(
        name="x",
        factory=Transformer,
        options=Options,
        dialect="plain",
        aliases=("y",),
        dialect_options={"plain": {"a": [1]}, "other": {}},
        summary="Does <x>.",
    )

    assert [
        "Does &lt;x>. From [p](../plugins/p/README.md).",
        "Other names: `y`.",
        "The provider is spoken to in the format `plain`.",
        "| option | type | default | meaning |\n"
        "| --- | --- | --- | --- |\n"
        "| `needed` | whole number | required | one\\|two |\n"
        '| `kind` | `"a"` or `"b"` |  | `x` and more |\n'
        "| `names` | list of text | `[]` | names |",
        "Options of the format `plain` that it sets unless told otherwise:",
        '```json\n{"a": [1]}\n```',
    ] == list(generator.section("p", spec))


def test_no_options(generator: ModuleType) -> None:
    """A transformer without options says so."""
    spec: Any = TransformerSpec(name="x", factory=Transformer, summary="Does x.")

    assert "It takes no options." == list(generator.section("p", spec))[-1]
