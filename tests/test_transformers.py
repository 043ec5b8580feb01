"""Every transformer that the older tool knew is there, and each has its package, its laws and its place in the docs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ccr_plugin_store_file
import pytest
from formats import MODULES as FORMATS
from test_chains import CONTRIBUTED, OFFERING, OPTIONS, SPECS

from ccr_core import ConfigError
from ccr_core.config import from_document
from ccr_core.plugins import load
from ccr_core.runtime import build
from ccr_core.testing import check_transformer, config, standins

ROOT = Path(__file__).parents[1]

NAMES = {
    *("anthropic", "deepseek", "gemini", "openrouter", "groq", "cerebras", "vercel", "maxtoken"),
    *("maxcompletiontokens", "tooluse", "reasoning", "forcereasoning", "extrathinktag", "sampling", "enhancetool"),
    *("cleancache", "customparams", "streamoptions", "openai-responses"),
    *("vertex-gemini", "vertex-claude", "vertex-openai"),
}
"""Names of the transformers that need no further package."""

TRIED = [
    pytest.param(name, options, id=f"{name}-{number}")
    for name in sorted(NAMES)
    for number, options in enumerate(OPTIONS.get(name, [{}]))
]


def test_all_are_there() -> None:
    """Nothing that a configuration of the older tool may name is missing."""
    assert set() == NAMES - SPECS.keys()


@pytest.mark.parametrize(("name", "options"), TRIED)
def test_each_keeps_the_laws(name: str, options: dict[str, Any]) -> None:
    """Input stays as it was, any chunking gives the same message, unrelated events pass."""
    check_transformer(SPECS[name], options or None)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_has_its_place_in_the_docs(name: str) -> None:
    """The README of its package names it, and the page of transformers has its section with every option."""
    package = CONTRIBUTED[name].plugin.name.replace("_", "-")
    page = (ROOT / "docs" / "transformers.md").read_text("utf-8")

    assert f"`{name}`" in (ROOT / "plugins" / package / "README.md").read_text("utf-8")
    assert 1 == page.count(f"\n## `{name}`\n") + page.count(f"\n## {name}\n")


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("written", [str.upper, str.title])
def test_names_may_be_written_in_any_case(name: str, written: Any) -> None:
    """``DeepSeek`` is ``deepseek``, with options or without."""
    options = OPTIONS.get(name, [{}])[0]
    document = config(use=[[written(name), options]], dialect=SPECS[name].dialect or "openai-chat")
    if SPECS[name].auth == "vertex":
        document["oauth"] = {"vertex": {"allow_custom_host": True}}
    registry = load([*dict.fromkeys([*OFFERING, *FORMATS]), ccr_plugin_store_file, standins.rule])

    try:
        runtime = build(from_document(document), registry)
    except ConfigError as error:
        raise AssertionError(f"{written(name)} is not known: {error}") from None

    assert name in [step.spec.name for step in runtime.providers["acme"].plan_for("big").steps]
