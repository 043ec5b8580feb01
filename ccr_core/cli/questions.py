"""Asking the questions of a preset: on a terminal by prompts, elsewhere from what was given beforehand."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ccr_core.cli.edits import at_terminal
from ccr_core.cli.output import note
from ccr_core.config import read_text
from ccr_core.errors import CcrError
from ccr_core.installing import faults
from ccr_core.presets import Manifest


def given_answers(manifest: Manifest, words: Sequence[str], file: str | None) -> dict[str, Any]:
    """The answers of ``--set ID=VALUE`` and of a JSON file (``-``: standard input), in the types of their questions.

    A secret is refused on the command line, where others can see it; a reference to a variable is none.
    """
    answers: dict[str, Any] = {}
    if file is not None:
        try:
            answers = json.loads(sys.stdin.read() if file == "-" else read_text(Path(file)))
        except ValueError as error:
            raise CcrError(f"the answers are not JSON: {error}") from error
        if not isinstance(answers, dict):
            raise CcrError("the answers are no JSON object of ids and values")
    by_id = {question.id: question for question in manifest.questions}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise CcrError(f"{word!r}: write --set ID=VALUE")
        answers[name] = value
        if name in by_id and by_id[name].type == "password" and not value.startswith("$"):
            raise CcrError(
                f"{name} is a secret, and the command line can be seen by others: give it by --answers, or the name of"
                f" a variable: --set '{name}=$NAME'"
            )
    for name, value in answers.items():
        if name not in by_id:
            raise CcrError(f'there is no question "{name}"; there are: {", ".join(by_id) or "none"}')
        if isinstance(value, str):
            answers[name] = by_id[name].convert(value)
    return answers


def answered(manifest: Manifest, given: Mapping[str, Any]) -> dict[str, Any]:
    """All answers: those given, those kept in the manifest, and asked for on a terminal; else defaults.

    Raises ``CcrError`` if one that is needed is missing or wrong.
    """
    kept = manifest.values
    values = {**kept, **given}
    if at_terminal() and any(question.id not in given for question in manifest.questions):
        from ccr_core.cli.dialog import answer

        for question in manifest.ordered():
            if question.id not in given and question.visible(values):
                answer(manifest, question, values)
    settled = manifest.settled(values)
    _check(manifest, settled)
    return settled


def _check(manifest: Manifest, values: Mapping[str, Any]) -> None:
    wrong, odd = faults(manifest, values)
    for fault in odd.values():
        note(f"warning: {fault}")
    if wrong:
        told = [f"{fault} ({name})" for name, fault in wrong.items()]
        raise CcrError(f"{'; '.join(told)}; answer by --set ID=VALUE, by --answers FILE, or on a terminal")
