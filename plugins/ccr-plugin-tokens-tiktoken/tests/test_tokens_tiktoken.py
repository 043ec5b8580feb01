"""The counter ``tiktoken``."""

from __future__ import annotations

from typing import Any

import ccr_plugin_tokens_tiktoken as plugin
import pytest

from ccr_core import ConfigError
from ccr_core.testing import Make, ask, check_plugin, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, standins.ingress, standins.dialect, standins.rule]
CODE = "def f():\n        return {'a': [1, 2, 3]}\n"


def test_the_plugin_keeps_the_rules() -> None:
    """The check that every plugin has to pass finds nothing."""
    check_plugin(plugin)


@pytest.mark.parametrize(
    ("encoding", "text", "expected"),
    [
        ("cl100k_base", "hello world", 2),
        ("o200k_base", "hello world", 2),
        ("o200k_base", "<|endoftext|>", 7),
        ("cl100k_base", "Größe, naïve, 漢字", 10),
        ("o200k_base", "Größe, naïve, 漢字", 9),
        ("o200k_harmony", "Größe, naïve, 漢字", 9),
        ("p50k_base", "hello world", 2),
    ],
)
def test_counts(encoding: str, text: str, expected: int) -> None:
    """The counts are those of the encodings."""
    assert expected == plugin.counter(plugin.Options(encoding=encoding)).count(text)


@pytest.mark.parametrize(("encoding", "warnings"), [("r50k_base", 1), ("cl100k_base", 0)])
def test_older_encodings(caplog: pytest.LogCaptureFixture, encoding: str, warnings: int) -> None:
    """Where another vocabulary counts, the log says so."""
    with caplog.at_level("WARNING"):
        plugin.counter(plugin.Options(encoding=encoding))

    assert warnings == len(caplog.records)


@pytest.mark.parametrize(("block", "expected"), [({}, 10), ({"encoding": "o200k_base"}, 9), ({"fallback": "x"}, 10)])
async def test_block(ccr: Make, block: dict[str, Any], expected: int) -> None:
    """A block of the older tool is read as it is, and its encoding counts."""
    router = ccr(config(dialect="plain", tokenizer={"default": {"type": "tiktoken", **block}}), plugins=PLUGINS)

    counts = [(await router.count_tokens(ask(text))).json["input_tokens"] for text in ("", "Größe, naïve, 漢字")]

    assert expected == counts[1] - counts[0]


async def test_unknown_encoding(ccr: Make) -> None:
    """A name that is none is an error with its place."""
    with pytest.raises(ConfigError, match=r"tokenizer\.default\.encoding"):
        ccr(config(dialect="plain", tokenizer={"default": {"type": "tiktoken", "encoding": "o300k"}}), plugins=PLUGINS)
