"""Learning which parameters a provider refuses, from its own words.

When a 400 or 422 names a parameter that is not supported, or the most that ``max_tokens`` may be, the request is
corrected and sent once more, and the correction is remembered for that provider and model for some hours.  What the
request is about (``model``, ``messages``, ``tools`` and the like) is never touched.  Sans-IO; the clock is given.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import attrs

from ccr_core.errors import UpstreamError
from ccr_core.messages import JSON

PROTECTED = frozenset(
    {"model", "messages", "tools", "system", "input", "instructions", "contents", "stream", "request"}
)
"""Fields that are never dropped."""

HOURS = 6.0
"""How long a correction is remembered."""

_NAME = r"[`'\"]?([A-Za-z_][\w.]*)[`'\"]?"

_KIND = r"(?:parameter|argument|field|key|property|option)s?"

_REFUSED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:unsupported|unknown|unrecognized|unexpected|invalid|extra) (?:request |keyword )?{_KIND}"
        rf"(?: supplied| name)?:? {_NAME}",
        rf"{_KIND}:? {_NAME} (?:is|are) (?:not (?:supported|allowed|permitted|accepted)|unsupported|unknown)",
        rf"{_NAME}: extra inputs are not permitted",
        rf"{_NAME} is not supported (?:with|by|for|in)\b",
        rf"(?:does not|doesn't) support (?:the )?{_KIND}:? {_NAME}",
        rf"unknown name {_NAME}",
    )
)

_FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")

_MOST = re.compile(r"max_(?:completion_|output_)?tokens|(?:output|completion) tokens", re.IGNORECASE)
_LIMIT = re.compile(r"at most|maximum|exceed|<=|less than|range|limit|too large|up to", re.IGNORECASE)
_WINDOW = re.compile(r"context|prompt|input", re.IGNORECASE)


@attrs.frozen
class Correction:
    """One thing to do to a body: drop the field at ``path``, or lower it to ``most``."""

    path: tuple[str, ...]
    most: int | None = None

    def __str__(self) -> str:
        name = ".".join(self.path)
        return f"left out {name}" if self.most is None else f"lowered {name} to {self.most}"

    def apply(self, body: JSON) -> JSON:
        """``body`` corrected; the same object if there is nothing to correct."""
        return _apply(body, self.path, self.most)


def _apply(body: JSON, path: tuple[str, ...], most: int | None) -> JSON:
    head, *rest = path
    if head not in body:
        return body
    if rest:
        inner = body[head]
        changed = _apply(inner, tuple(rest), most) if isinstance(inner, dict) else inner
        if changed is inner:
            return body
        return {**body, head: changed} if changed else {key: value for key, value in body.items() if key != head}
    if most is None:
        return {key: value for key, value in body.items() if key != head}
    value = body[head]
    return {**body, head: most} if isinstance(value, int) and value > most else body


def correction(error: UpstreamError, body: JSON) -> Correction | None:
    """What ``error`` asks to be changed about ``body``; ``None`` if it names nothing that may be changed."""
    if error.status not in (400, 422):
        return None
    if _MOST.search(error.message) and _LIMIT.search(error.message) and not _WINDOW.search(error.message):
        # Of the numbers in the sentence, the limit is the largest below what was asked for.
        numbers = [int(number) for number in re.findall(r"\d{2,9}", error.message)]
        for field in _FIELDS:
            asked = body.get(field)
            most = max((number for number in numbers if isinstance(asked, int) and number < asked), default=None)
            if most is not None:
                return Correction((field,), most)
    for pattern in _REFUSED:
        for found in pattern.finditer(error.message):
            path = tuple(part for part in found[1].split(".") if part)
            if path and path[0] == "body":
                path = path[1:]
            made = Correction(path) if path else None
            if made is not None and path[0] not in PROTECTED and made.apply(body) is not body:
                return made
    return None


class Learned:
    """Corrections by provider and model, shared by all exchanges and kept over reloads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], dict[Correction, float]] = {}

    def apply(self, provider: str, model: str, body: JSON, note: Callable[[str, Any], None]) -> JSON:
        """``body`` with what is known of ``model`` applied; each change that matters is noted."""
        known = self._known.get((provider, model))
        if not known:
            return body
        now = self._clock()
        for made, until in list(known.items()):
            if until < now:
                del known[made]
                continue
            changed = made.apply(body)
            if changed is not body:
                note("learned", f"{made}: {provider} refused it")
                body = changed
        return body

    def learn(self, provider: str, model: str, error: UpstreamError, body: JSON) -> bool:
        """Remember what ``error`` refuses of ``body``; whether sending it again is worthwhile."""
        made = correction(error, body)
        if made is None:
            return False
        known = self._known.setdefault((provider, model), {})
        again = made not in known
        known[made] = self._clock() + HOURS * 3600
        return again

    def forget(self, provider: str) -> None:
        """The provider is another one now."""
        for who in [who for who in self._known if who[0] == provider]:
            del self._known[who]

    def report(self) -> list[dict[str, object]]:
        """What is remembered, for people."""
        now = self._clock()
        return [
            {"provider": provider, "model": model, "correction": str(made), "seconds": round(until - now)}
            for (provider, model), known in self._known.items()
            for made, until in known.items()
            if until > now
        ]
