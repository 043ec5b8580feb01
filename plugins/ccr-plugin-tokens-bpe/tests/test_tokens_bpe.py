"""The counters with byte-pair vocabularies."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import ccr_plugin_tokens_bpe as plugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccr_core import Counter, count_request

RECORDINGS = Path(__file__).parents[3] / "tests" / "recordings"
KINDS = {kind.name: kind for kind in plugin.COUNTERS}


def counter(name: str) -> plugin.BpeCounter:
    return plugin.BpeCounter(KINDS[name])


def test_hook() -> None:
    """The plugin offers exactly the counters that its README names."""
    specs = list(plugin.ccr_token_counters())

    assert ["bpe", "bpe-cl100k", "bpe-claude", "bpe-claude-new"] == [spec.name for spec in specs]
    assert [spec.name for spec in specs] == [spec.factory().name for spec in specs]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("bpe", "", 0),
        ("bpe", "hello world", 2),
        ("bpe", "<|endoftext|>", 7),
        ("bpe-cl100k", "hello world", 2),
        ("bpe-claude", "hello world, how do you do?", 9),
        ("bpe-claude-new", "hello world, how do you do?", 11),
    ],
)
def test_counts(name: str, text: str, expected: int) -> None:
    """Known counts; a special token is text, and the factor applies."""
    assert expected == counter(name).count(text)


@given(st.text(st.characters(), max_size=200))
def test_never_raises(text: str) -> None:
    """Any text has a count, lone surrogates included, and it is never more than its bytes."""
    assert 0 <= counter("bpe").count(text) <= len(text.encode("utf-8", "replace"))


def test_large_text_is_not_refused() -> None:
    """A megabyte without a blank is counted too."""
    assert 125_000 == counter("bpe").count("a" * 1_000_000)


def test_missing_library(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without the library counts are estimates, and one warning says so."""
    monkeypatch.setitem(sys.modules, "rs_bpe", None)
    monkeypatch.setitem(sys.modules, "rs_bpe.bpe", None)
    plugin.vocabulary.cache_clear()
    made = counter("bpe-claude")

    with caplog.at_level(logging.WARNING, "ccr.tokens-bpe"):
        counts = [made.count("hello " * 50), made.count("hello " * 50)]

    assert [Counter().count("hello " * 50)] * 2 == counts
    assert 1 == len(caplog.records)


class Panic(BaseException):
    """Like the panic of a Rust library, which is no ``Exception``."""


def test_panic(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A library that panics at a text costs an estimate, not the request."""

    def broken(text: str) -> int:
        raise Panic(text)

    monkeypatch.setattr(plugin, "vocabulary", lambda name: broken)
    with caplog.at_level(logging.WARNING, "ccr.tokens-bpe"):
        got = counter("bpe").count("hello " * 50)

    assert Counter().count("hello " * 50) == got


def test_loaded_at_the_first_count() -> None:
    """Loading the plugin and making its counters does not load a vocabulary."""
    code = (
        "import sys, ccr_plugin_tokens_bpe as p; made = [s.factory() for s in p.ccr_token_counters()];"
        "assert not [m for m in sys.modules if m.startswith('rs_bpe')];"
        "made[0].count('x'); assert 'rs_bpe.bpe' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def recorded(case: str) -> tuple[dict[str, Any], int]:
    """The request of a recording, and what the provider counted."""
    folder = RECORDINGS / case
    usage: dict[str, Any] = {}
    if (folder / "response.json").exists():
        usage = json.loads((folder / "response.json").read_text())["usage"]
    else:
        for line in (folder / "response.sse").read_text().splitlines():
            if line.startswith("data: {"):
                usage = {**usage, **(json.loads(line[6:]).get("usage") or {})}
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "prompt_tokens")
    return json.loads((folder / "request.json").read_text()), sum(usage.get(name) or 0 for name in names)


@pytest.mark.parametrize(
    ("name", "case", "error"),
    [
        ("bpe-claude", "anthropic/bedrock/anthropic.cache-bedrock-real-api.1", 0.03),
        ("bpe-claude", "anthropic/anthropic/anthropic.model-thinking-part.1", 0.03),
        ("bpe-claude", "openai-chat/openrouter/cache.openrouter-cache-streaming-e2e.0", 0.05),
        (
            "bpe-claude-new",
            "anthropic/anthropic/anthropic-mid-conversation-system.inline-system-prompt-cache-prefix-is-reused.1",
            0.03,
        ),
    ],
)
def test_measured(name: str, case: str, error: float) -> None:
    """Recorded requests of text alone are counted as the provider did, within the error that the README states."""
    request, expected = recorded(case)

    assert pytest.approx(expected, rel=error) == count_request(request, counter(name).count)
