"""The rule ``rewrite-prompt``."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import ccr_plugin_rule_rewrite_prompt as plugin
import pytest

from ccr_core import JSON, Pass, RuleSpec
from ccr_core.testing import (
    Make,
    RuleCase,
    Upstream,
    ask,
    ask_rule,
    check_plugin,
    check_rule,
    config,
    samples,
    standins,
)

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

OLD = "You are an agent.\n<env>first</env>\n<env>\nPlatform: linux\n</env>\nToday is Monday."
NEW = "You are an agent.\n\n# Environment\n - Platform: linux\n"


@pytest.fixture
def rule() -> RuleSpec:
    [rule] = plugin.ccr_rules()
    return rule


@pytest.fixture
def prompt(tmp_path: Path) -> Path:
    file = tmp_path / "prompt.md"
    file.write_text("Be mine.\n", "utf-8")
    return file


def case(system: Any, path: Path | str, headers: Any = None) -> RuleCase:
    given = {"REWRITE_SYSTEM_PROMPT": str(path)} if path else {}
    return RuleCase(body=ask(system=system), config=given, headers=headers or {})


def changed(rule: RuleSpec, system: Any, path: Path) -> Any:
    """The system prompt that the rule makes."""
    said = ask_rule(rule, case(system, path))
    return said.request.body["system"] if said.request is not None else None


def blocks(*texts: str) -> list[JSON]:
    return [samples.text(text) for text in texts]


def test_the_plugin_keeps_the_rules(rule: RuleSpec, prompt: Path) -> None:
    """The checks that every plugin and rule has to pass find nothing."""
    check_plugin(plugin)
    check_rule(rule, [case(blocks("a", OLD), prompt), case(blocks("a"), ""), case(None, prompt)])


def test_what_stays(rule: RuleSpec, prompt: Path) -> None:
    """The description of the environment stays, in whichever form and block it is; other blocks do too."""
    assert blocks("id", "Be mine.\n<env>\nPlatform: linux\n</env>\nToday is Monday.") == changed(
        rule, blocks("id", OLD), prompt
    )
    assert blocks("bill", "id", "Be mine.\n# Environment\n - Platform: linux\n") == changed(
        rule, blocks("bill", "id", NEW), prompt
    )
    assert blocks("Be mine.\n# Environment\n - Platform: linux\n") == changed(rule, NEW, prompt)


def test_marks_stay(rule: RuleSpec, prompt: Path) -> None:
    """A mark for the prompt cache stays on its block."""
    [block] = changed(rule, [{**samples.text(NEW), "cache_control": {"type": "ephemeral"}}], prompt)

    assert {"type": "ephemeral"} == block["cache_control"]


@pytest.mark.parametrize(
    ("system", "why"),
    [
        (None, "no system block describes the environment"),
        (blocks("Summarise this.", "an # Environment in a line"), "no system block describes the environment"),
        (blocks("x; cc_is_subagent=true;", NEW), "the prompt is a sub-agent's"),
    ],
)
def test_other_prompts(rule: RuleSpec, prompt: Path, system: Any, why: str) -> None:
    """What is not the prompt of a conversation of Claude Code is left alone."""
    assert Pass(why) == ask_rule(rule, case(system, prompt))


def test_sub_agents_by_their_header(rule: RuleSpec, prompt: Path) -> None:
    """A sub-agent is known by its id as well."""
    said = ask_rule(rule, case(blocks(NEW), prompt, {"x-claude-code-agent-id": "a1"}))

    assert Pass("the prompt is a sub-agent's") == said


def test_not_set(rule: RuleSpec) -> None:
    """Without the key nothing happens."""
    assert Pass("REWRITE_SYSTEM_PROMPT is not set") == ask_rule(rule, case(blocks(NEW), ""))
    assert rule.check is not None
    assert [] == list(rule.check(None, {}))


def test_a_changed_file_counts(rule: RuleSpec, prompt: Path) -> None:
    """The file is read again when it has changed."""
    changed(rule, blocks(NEW), prompt)
    prompt.write_text("Be other.\n", "utf-8")
    os.utime(prompt, ns=(1, 1))

    assert changed(rule, blocks(NEW), prompt)[0]["text"].startswith("Be other.\n# Env")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read(
    rule: RuleSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    """The prompt stays; the explanation says why, the log does once, and so does the start."""
    file = tmp_path / "missing.md"
    if content is not None:
        file.write_bytes(content)
    assert rule.check is not None

    with caplog.at_level(logging.WARNING):
        said = [ask_rule(rule, case(blocks(NEW), file)) for _ in range(3)]
        warnings = list(rule.check(None, {"REWRITE_SYSTEM_PROMPT": str(file)}))

    assert [None] * 3 == [answer.request for answer in said]
    assert f"the prompt stays: cannot read {file}" in said[0].why  # type: ignore[union-attr]
    assert (1, 1) == (len(caplog.records), len(warnings))
    assert str(file) in warnings[0]


def test_an_empty_file(rule: RuleSpec, prompt: Path) -> None:
    """A prompt without a word is told at start."""
    prompt.write_text("\n")
    assert rule.check is not None

    assert "is empty" in next(iter(rule.check(None, {"REWRITE_SYSTEM_PROMPT": str(prompt)})))


async def test_in_a_router(ccr: Make, upstream: Upstream, prompt: Path) -> None:
    """The changed prompt is what the provider gets, whoever chooses the model; a missing file stops nothing."""
    plugins = [plugin, standins.ingress, standins.dialect, standins.rule]
    for path in (prompt, prompt.parent / "gone.md"):
        upstream.reply(samples.message(samples.text("ok")))
        router = ccr({**config(dialect="plain"), "REWRITE_SYSTEM_PROMPT": str(path)}, plugins=plugins)
        got = await router.messages(ask(system=blocks("id", NEW), stream=False))
        assert 200 == got.status

    first, second = (received.json["system"][1]["text"][:8] for received in upstream.requests)
    assert ("Be mine.", "You are ") == (first, second)
    assert any("gone.md" in warning for warning in router.runtime.warnings)


async def test_relative_paths(ccr: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path from the file is relative to the file."""
    from ccr_core.config import load

    (tmp_path / "config.json").write_text('{"REWRITE_SYSTEM_PROMPT": "mine.md", "Providers": []}')
    loaded = load(tmp_path / "config.json")

    assert tmp_path / "mine.md" == loaded.rewrite_system_prompt
