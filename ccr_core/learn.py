"""Learning which parameters a provider refuses, from its own words.

When a 400 or 422 names a parameter that is not supported, or the most that ``max_tokens`` may be, the request is
corrected and sent once more, and the correction is remembered for that provider and model for some hours.  What the
request is about (``model``, ``messages``, ``tools`` and the like) is never touched.

Thinking that was signed for somebody else, and that the dialect took out of a refused request, is remembered too, by
its seals: clients send it again with every turn.  Sans-IO; the clock is given.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
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

SEALS = 4096
"""Seals of refused thinking that are remembered."""

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
        rf"unknown name {_NAME}(?! at )",
        rf"extra inputs are not permitted, field: {_NAME}",
        rf"{_KIND} not supported (?:on|by|with|for|in) [^:]{{1,60}}: {_NAME}",
        rf"(?:does not|doesn't) support the {_NAME} {_KIND}",
        rf"unsupported value: {_NAME} does not support",
        rf"invalid {_NAME}: only \S+ (?:is|are) allowed",
        rf"{_NAME} may only be set to",
        rf"{_NAME}: input tag \S+ found using",
        rf"[`'\"]\w+[`'\"] and {_NAME} cannot both be",
    )
)

_PLACED = re.compile(rf"unknown name {_NAME} at ['\"]([\w.]+)", re.IGNORECASE)
"""Google's way to name a field: by itself, and the place in its own spelling (``generation_config``)."""

_NO_THINKING = re.compile(
    r"(?:does not|doesn't) support (?:thinking|reasoning)\b|thinking(?: level| budget)? is not (?:supported|enabled)"
    r"|reasoning is not (?:supported|enabled)",
    re.IGNORECASE,
)

_THINKING = (
    ("reasoning_effort",),
    ("thinking",),
    ("reasoning",),
    ("enable_thinking",),
    ("think",),
    ("generationConfig", "thinkingConfig"),
)
"""Where a body asks for thinking."""

_INNER = {"effort": ("output_config", "effort")}
"""Fields that services name without their place."""

_FIELDS = (
    ("max_tokens",),
    ("max_completion_tokens",),
    ("max_output_tokens",),
    ("generationConfig", "maxOutputTokens"),
)

_MOST = re.compile(r"max_?(?:completion_?|output_?)?tokens|(?:output|completion) tokens", re.IGNORECASE)
_LIMIT = re.compile(r"at most|maximum|exceed|<=|less than|range|limit|too large|up to", re.IGNORECASE)
_WINDOW = re.compile(r"context|prompt|input", re.IGNORECASE)
_PLAIN_LIMIT = re.compile(
    r"max_\w*tokens[`'\"]? must be (?:less than or equal to|at most|<=) [`'\"]?\d+", re.IGNORECASE
)
"""A limit that stands by itself, whatever is said of the context in the same breath."""


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
    said = plain[0] if (plain := _PLAIN_LIMIT.search(error.message)) else error.message
    if plain or (_MOST.search(said) and _LIMIT.search(said) and not _WINDOW.search(said)):
        # Of the numbers in the sentence, the limit is the largest below what was asked for.
        numbers = [int(number) - bool(out) for number, out in re.findall(r"(\d{2,9})( \(exclusive\))?", said)]
        for field in _FIELDS:
            asked = _value(body, field)
            most = max((number for number in numbers if isinstance(asked, int) and number < asked), default=None)
            if most is not None:
                return Correction(field, most)
    for name, place in _PLACED.findall(error.message):
        inner = Correction((*map(_camel, place.split(".")), name))
        if inner.path[0] not in PROTECTED and inner.apply(body) is not body:
            return inner
    if _NO_THINKING.search(error.message):
        return next((made for made in map(Correction, _THINKING) if made.apply(body) is not body), None)
    for pattern in _REFUSED:
        for found in pattern.finditer(error.message):
            path = tuple(part for part in found[1].split(".") if part)
            if path and path[0] == "body":
                path = path[1:]
            path = _INNER.get(path[0], path) if len(path) == 1 and path[0] not in body else path
            made = Correction(path) if path else None
            if made is not None and path[0] not in PROTECTED and made.apply(body) is not body:
                return made
    return None


def _value(body: JSON, path: tuple[str, ...]) -> Any:
    inner: Any = body
    for name in path:
        inner = inner.get(name) if isinstance(inner, dict) else None
    return inner


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _seals(messages: Sequence[JSON]) -> Iterator[int]:
    """Digests of what seals the thinking in ``messages``: signatures, and data that only the provider can read."""
    for message in messages:
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict) and block.get("type") in ("thinking", "redacted_thinking"):
                seal = block.get("signature") or block.get("data")
                if isinstance(seal, str) and seal:
                    yield hash(seal)


class Learned:
    """Corrections by provider and model, shared by all exchanges and kept over reloads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], dict[Correction, float]] = {}
        self._seals: OrderedDict[tuple[str, str, int], tuple[UpstreamError, float]] = OrderedDict()

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
        return made is not None and self.remember(provider, model, made)

    def remember(self, provider: str, model: str, made: Correction, until: float | None = None) -> bool:
        """Apply ``made`` from now on, for some hours or to a moment of the clock; whether that is news."""
        known = self._known.setdefault((provider, model), {})
        news = made not in known
        known[made] = self._clock() + HOURS * 3600 if until is None else until
        return news

    def corrections(self) -> Iterator[tuple[str, str, Correction, float]]:
        """All that is remembered: provider, model, correction, and the moment until which."""
        for (provider, model), known in self._known.items():
            for made, until in known.items():
                yield provider, model, made, until

    def refused(self, provider: str, model: str, error: UpstreamError, messages: Sequence[JSON]) -> None:
        """Remember that ``error`` was about the thinking in ``messages``, and that without it they were answered."""
        for seal in _seals(messages):
            self._seals[provider, model, seal] = (error, self._clock() + HOURS * 3600)
            if len(self._seals) > SEALS:
                self._seals.popitem(last=False)

    def refusal(self, provider: str, model: str, messages: Sequence[JSON]) -> UpstreamError | None:
        """What was said of thinking that ``messages`` hold once more; ``None`` if none of it was refused lately."""
        if not self._seals:
            return None
        now = self._clock()
        for seal in _seals(messages):
            error, until = self._seals.get((provider, model, seal), (None, 0.0))
            if error is not None and until > now:
                return error
        return None

    def forget(self, provider: str) -> None:
        """The provider is another one now."""
        for key in [key for key in self._seals if key[0] == provider]:
            del self._seals[key]
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
