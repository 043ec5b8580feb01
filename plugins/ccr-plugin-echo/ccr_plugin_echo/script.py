"""What the user asks the echo model to do: its directives, one on each line.

A line that is no directive is not read when others are.  A line ``then`` ends a step: the next step is done when the
results of the tools that the step before it called have come back.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import attrs
import orjson

from ccr_core import JSON, blocks_of

LONGEST_PAUSE = 600.0
MOST_WORDS = 100_000


@attrs.frozen
class Say:
    """Answer this text."""

    text: str


@attrs.frozen
class Think:
    """Think this, if the request asks for thinking."""

    text: str


@attrs.frozen
class Call:
    """Call a tool."""

    name: str
    arguments: JSON


@attrs.frozen
class Pause:
    """Be silent for so many seconds."""

    seconds: float


@attrs.frozen
class Fail:
    """Refuse the request with a status, before anything is answered."""

    status: int
    message: str
    retry_after: str | None = None


@attrs.frozen
class Break:
    """Break off the answer: with an error of this kind, or without a word (``kind`` empty)."""

    kind: str
    message: str = ""


Directive: TypeAlias = Say | Think | Call | Pause | Fail | Break

_CALL = re.compile(r"call\s+([\w.-]{1,128})\s*(\{.*)?$")
_FAIL = re.compile(r"fail\s+([45]\d\d)(?:\s+retry-after[= ](\d+(?:\.\d+)?))?(?:\s+(.+))?$")
_BREAK = re.compile(r"error\s+(\w+_error)(?:\s+(.+))?$")


def parse(text: str) -> list[list[Directive]]:
    """The steps that ``text`` asks for; empty if it holds no directive."""
    steps: list[list[Directive]] = [[]]
    for line in text.splitlines():
        line = line.strip()
        if line == "then":
            steps.append([])
            continue
        directive = _directive(line)
        if directive is not None:
            steps[-1].append(directive)
    return [step for step in steps if step]


def _directive(line: str) -> Directive | None:
    word, _, rest = line.partition(" ")
    rest = rest.strip()
    if word == "say" and rest:
        return Say(rest)
    if word == "think" and rest:
        return Think(rest)
    if word == "words" and rest.isdecimal():
        return Say(" ".join(f"word{number}" for number in range(1, min(int(rest), MOST_WORDS) + 1)))
    if word == "pause":
        return _pause(rest)
    if line == "cut":
        return Break("")
    if found := _CALL.match(line):
        return _call(found[1], found[2])
    if found := _FAIL.match(line):
        return Fail(int(found[1]), found[3] or f"the echo model was told to fail with {found[1]}", found[2])
    if found := _BREAK.match(line):
        return Break(found[1], found[2] or "the echo model was told to break off")
    return None


def _pause(rest: str) -> Pause | None:
    try:
        seconds = float(rest)
    except ValueError:
        return None
    return Pause(min(seconds, LONGEST_PAUSE)) if seconds >= 0 else None


def _call(name: str, arguments: str | None) -> Directive:
    try:
        value = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError as error:
        return Say(f"I cannot call {name}: its arguments are not JSON ({error}).")
    return Call(name, value)


@attrs.frozen
class Turn:
    """What there is to do: the user's words, and what has come back since they were said.

    ``done`` counts the answers given since.  ``results`` are the tool results in the last message.
    """

    text: str
    steps: list[list[Directive]]
    done: int
    results: list[JSON]
    attachments: tuple[str, ...]

    @property
    def step(self) -> list[Directive]:
        """The step that is next; empty if there is none."""
        return self.steps[self.done] if self.done < len(self.steps) else []


def read(messages: list[JSON]) -> Turn:
    """What the conversation asks of the model now."""
    last = next((message for message in reversed(messages) if message.get("role") == "user"), {})
    blocks = blocks_of(last.get("content"))
    results = [block for block in blocks if block.get("type") == "tool_result"]
    attachments = tuple(str(block["type"]) for block in blocks if block.get("type") in ("image", "document"))
    done = 0
    for message in reversed(messages):
        role = message.get("role")
        if role == "assistant":
            done += 1
        if role != "user":
            continue
        text = said(message)
        steps = parse(text)
        answers = any(block.get("type") == "tool_result" for block in blocks_of(message.get("content")))
        # Words behind the results of tools are new orders only if they are directives; else the old ones stand.
        if text and (steps or not answers):
            return Turn(text, steps, done, results, attachments)
    return Turn("", [], done, results, attachments)


def said(message: JSON) -> str:
    """The user's own words in a message: its last text that is not a reminder of the client."""
    texts = [str(block.get("text") or "") for block in blocks_of(message.get("content")) if block.get("type") == "text"]
    own = [text.strip() for text in texts if text.strip() and not text.lstrip().startswith("<system-reminder>")]
    return own[-1] if own else ""
