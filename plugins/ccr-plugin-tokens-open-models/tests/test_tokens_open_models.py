"""The counters for Gemini and open models."""

from __future__ import annotations

import base64
import logging
import struct
import subprocess
import sys
from typing import Any

import ccr_plugin_tokens_open_models as plugin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import Counter, count_request

KINDS = {kind.name: kind for kind in plugin.COUNTERS}


def counter(name: str) -> plugin.VocabularyCounter:
    return plugin.VocabularyCounter(KINDS[name])


def test_hook() -> None:
    """The plugin offers exactly the counters that its README names."""
    specs = list(plugin.ccr_token_counters())

    assert ["gemini", "deepseek", "qwen", "glm", "kimi", "llama", "mistral"] == [spec.name for spec in specs]
    assert [spec.name for spec in specs] == [spec.factory().name for spec in specs]


@pytest.mark.parametrize("name", list(KINDS))
def test_counts(name: str) -> None:
    """Each vocabulary counts words; a special token is text, and a long text without a blank is counted too."""
    made = counter(name)

    assert 0 == made.count("")
    assert 2 == made.count("hello world")
    assert made.count("<|endoftext|><|im_start|><bos></s>") > 4
    assert 0 < made.count("a" * 100_000) <= 100_000


@settings(max_examples=30)
@given(st.text(st.characters(), max_size=200))
def test_never_raises(text: str) -> None:
    """Any text has a count, lone surrogates included, and it is never more than its bytes."""
    assert 0 <= counter("deepseek").count(text) <= len(text.encode("utf-8", "replace"))


def test_missing_library(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without the library counts are estimates, and one warning says so."""
    monkeypatch.setitem(sys.modules, "splintr", None)
    plugin.vocabulary.cache_clear()
    made = counter("qwen")

    with caplog.at_level(logging.WARNING, "ccr.tokens-open-models"):
        counts = [made.count("hello " * 50), made.count("hello " * 50)]

    assert [Counter().count("hello " * 50)] * 2 == counts
    assert 1 == len(caplog.records)


class Panic(BaseException):
    """Like the panic of a Rust library, which is no ``Exception``."""


def test_panic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that panics at a text costs an estimate, not the request."""

    def broken(text: str) -> int:
        raise Panic(text)

    monkeypatch.setattr(plugin, "vocabulary", lambda name: broken)

    assert Counter().count("hello " * 50) == counter("glm").count("hello " * 50)


def test_loaded_at_the_first_count() -> None:
    """Loading the plugin and making its counters does not load a vocabulary."""
    code = (
        "import sys, ccr_plugin_tokens_open_models as p; made = [s.factory() for s in p.ccr_token_counters()];"
        "assert 'splintr' not in sys.modules; made[1].count('x'); assert 'splintr' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def counted(name: str, model: str, **body: Any) -> int:
    """The tokens of a body of which each text is one token."""
    return count_request(body, lambda text: 1 if text else 0, counter(name).shape(model))


USER = {"role": "user", "content": "x"}
TOOL = {"name": "n", "description": "d", "input_schema": {"properties": {"a": {"description": "e", "type": "string"}}}}


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("gemini-2.0-flash", {}, 1),
        ("gemini-2.0-flash", {"system": "s"}, 2),
        ("gemini-2.5-pro", {}, 2),
        ("gemini-2.5-pro", {"system": "s"}, 4),
        ("google/gemini-3-pro", {"system": "s"}, 2),
        ("gemini-2.0-flash", {"tools": [TOOL]}, 1 + 3 + 4),
        ("gemini-3-flash", {"tools": [TOOL]}, 1 + 4),
        ("gemini-3-flash", {"tools": [TOOL], "tool_choice": {"type": "any"}}, 1 + 1),
        ("gemini-2.5-pro", {"tools": [TOOL]}, 2 + 1),
        ("gemini-3-flash", {"output_config": {"format": {"schema": {"title": "t", "enum": ["a", "b"]}}}}, 1 + 7 + 3),
    ],
)
def test_gemini(model: str, body: dict[str, Any], expected: int) -> None:
    """Gemini counts texts; 2.5 has marks around messages, and it and forced calls count all of a tool."""
    assert expected == counted("gemini", model, messages=[USER], **body)


def test_gemini_calls() -> None:
    """A call counts its names and values, a result its text; thought is sealed and counts nothing."""
    call = {"type": "tool_use", "name": "n", "input": {"a": ["b", {"c": 1}], "d": None}}
    thought = {"type": "thinking", "thinking": "t"}
    result = {"type": "tool_result", "content": "r"}
    messages = [USER, {"role": "assistant", "content": [thought, call]}, {"role": "user", "content": [result]}]

    assert 1 + len(["n", "a", "b", "c", "1", "d"]) + 1 == counted("gemini", "gemini-3-pro", messages=messages)


@pytest.mark.parametrize(
    ("model", "size", "expected"),
    [
        ("gemini-2.5-pro", (384, 384), 258),
        ("gemini-2.5-pro", (960, 540), 258 * 3 * 2),
        ("gemini-2.0-flash", (3000, 4000), 258 * 4 * 6),
        ("gemini-3-pro", (3000, 4000), 1120),
    ],
)
def test_gemini_pictures(model: str, size: tuple[int, int], expected: int) -> None:
    """Pictures count by tiles before Gemini 3, then all the same."""
    data = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", *size) + b"\x08" * 20
    source = {"type": "base64", "data": base64.b64encode(data).decode()}

    assert expected == counter("gemini").shape(model).image(source)


@pytest.mark.parametrize(
    ("name", "model", "body", "expected"),
    [
        ("deepseek", "deepseek-chat", {}, 2 + 1 + 1),
        ("deepseek", "deepseek-v4-flash", {}, 82 + 1 + 1),
        ("deepseek", "deepseek-chat", {"tools": [TOOL]}, 4 + 210 + 12 + 1),
        ("llama", "meta-llama/Llama-3.3-70B-Instruct", {}, 5 + 25 + 5 + 1),
        ("llama", "llama3.1-8b", {"system": "s"}, 5 + 5 + 1 + 5 + 1),
        ("llama", "llama3-8b", {}, 5 + 5 + 1),
        ("mistral", "magistral-medium", {}, 1 + 2 + 1),
        ("glm", "glm-4.7", {}, 4 + 1 + 1),
        ("qwen", "qwen3-coder", {"system": "s"}, 3 + 5 + 1 + 5 + 1),
        ("kimi", "kimi-k2", {}, 3 + 4 + 1),
    ],
)
def test_templates(name: str, model: str, body: dict[str, Any], expected: int) -> None:
    """Chat templates put marks around messages, instructions before tools, and sometimes a system prompt."""
    assert expected == counted(name, model, messages=[USER], **body)


def test_every_family_has_a_shape() -> None:
    """Whatever the model is called, a family's counter has a shape for it."""
    assert all(counter(name).shape("anything").model == "anything" for name in KINDS)
