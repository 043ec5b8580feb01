"""The counter ``huggingface``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ccr_plugin_tokens_huggingface as plugin
import pytest

from ccr_core import ConfigError, Counter
from ccr_core.testing import Make, ask, check_plugin, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, standins.ingress, standins.dialect, standins.rule]
TEXT = "hello hello world and more"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No files of this machine take part."""
    for name in ("CCR_HOME", "HF_HUB_CACHE", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def write(path: Path) -> Path:
    """A tokenizer that knows two words; the rest is one unknown token a word."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tokens = {"[UNK]": 0, "hello": 1, "world": 2, "<s>": 3}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    path.write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
                "padding": None,
                "added_tokens": [{"id": 3, "content": "<s>", **special}],
                "normalizer": None,
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": None,
                "decoder": None,
                "model": {"type": "WordLevel", "vocab": tokens, "unk_token": "[UNK]"},
            }
        )
    )
    return path


def count(text: str = TEXT, **options: Any) -> int:
    return plugin.counter(plugin.Options(**options)).count(text)


def test_the_plugin_keeps_the_rules() -> None:
    """The check that every plugin has to pass finds nothing."""
    check_plugin(plugin)


def test_file(tmp_path: Path) -> None:
    """A file counts, or the folder that it is in; nothing is cut off."""
    path = write(tmp_path / "tokenizer.json")

    assert [5, 5] == [count(file=path), count(file=tmp_path)]


@pytest.mark.parametrize(("text", "expected"), [("", 0), ("<s> hello", 4), ("hello \ud800 world", 3)])
def test_odd_texts(tmp_path: Path, text: str, expected: int) -> None:
    """A special token is text, and a lone surrogate is the replacement character."""
    assert expected == count(text, file=write(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize(
    "place",
    [
        "CCR_HOME/.huggingface/Acme_Big-1_5/tokenizer.json",
        "HF_HUB_CACHE/models--Acme--Big-1.5/snapshots/abc/tokenizer.json",
    ],
)
def test_models_that_are_here(tmp_path: Path, place: str) -> None:
    """A model of the hub is found where the older tool or the hub's programs have put it."""
    write(tmp_path / place)

    assert 5 == count(model="Acme/Big-1.5")


def test_a_model_is_no_path(tmp_path: Path) -> None:
    """Only ``file`` names a file, so that a look at the type of an option tells whether it reads one."""
    write(tmp_path / "mine.json")

    assert Counter().count(TEXT) == count(model=str(tmp_path / "mine.json"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "Acme/Big"}, "the tokenizer of Acme/Big is not on this machine and is not downloaded"),
        ({"file": Path("/nonexistent/tokenizer.json")}, "there is no /nonexistent/tokenizer.json"),
    ],
)
def test_models_that_are_not_here(caplog: pytest.LogCaptureFixture, options: Any, words: str) -> None:
    """Without a file counts are estimates, and the log says what is missing."""
    with caplog.at_level("WARNING"):
        counted = count(**options)

    assert Counter().count(TEXT) == counted
    assert [True] == [record.getMessage().startswith(words) for record in caplog.records]


def test_broken_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is no tokenizer costs an estimate, and one warning."""
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    made = plugin.counter(plugin.Options(file=path))

    with caplog.at_level("WARNING"):
        counts = [made.count(TEXT), made.count(TEXT)]

    assert ([Counter().count(TEXT)] * 2, 1) == (counts, len(caplog.records))


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The package is optional; the warning says how to get it."""
    path = write(tmp_path / "tokenizer.json")
    monkeypatch.setitem(sys.modules, "tokenizers", None)

    with caplog.at_level("WARNING"):
        counted = count(file=path)

    assert Counter().count(TEXT) == counted
    assert "ccr-plugin-tokens-huggingface[tokenizers]" in caplog.text


async def test_block(ccr: Make, tmp_path: Path) -> None:
    """The block of a provider chooses the counter; without file and model it is refused."""
    path = write(tmp_path / "tokenizer.json")
    block = {"default": {"type": "huggingface", "file": str(path)}}
    router = ccr(config(dialect="plain", tokenizer=block), plugins=PLUGINS)

    counts = [(await router.count_tokens(ask(text))).json["input_tokens"] for text in ("", TEXT)]

    assert 5 == counts[1] - counts[0]
    with pytest.raises(ConfigError, match=r"give file, the path of a tokenizer\.json, or model"):
        ccr(config(dialect="plain", tokenizer={"default": {"type": "huggingface"}}), plugins=PLUGINS)


async def test_block_of_the_older_tool(ccr: Make) -> None:
    """A block with a model that is not here loads, and counting works."""
    block = {"models": {"big": {"type": "huggingface", "model": "Acme/Big", "fallback": "cl100k_base"}}}
    router = ccr(config(dialect="plain", tokenizer=block), plugins=PLUGINS)

    assert (await router.count_tokens(ask(TEXT))).json["input_tokens"] > 0
