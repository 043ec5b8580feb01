"""Token counters with OpenAI's byte-pair vocabularies, which are part of the library: nothing is downloaded.

For OpenAI's models the counts are exact.  Others have vocabularies of their own; where their makers do not publish
them, a factor stands for the difference (see :data:`COUNTERS`).  A vocabulary is loaded at the first count.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Iterable

import attrs

from ccr_core import Counter, CounterSpec, hookimpl

log = logging.getLogger("ccr.tokens-bpe")


@attrs.frozen
class Kind:
    """A counter that is offered: its vocabulary, the models that it is for, and their tokens per token of it."""

    name: str
    vocabulary: str
    models: tuple[str, ...]
    factor: float = 1.0
    summary: str = ""


COUNTERS = (
    Kind("bpe", "o200k_base", ("*",), summary="OpenAI's vocabulary o200k: exact for its models since GPT-4o."),
    Kind(
        "bpe-cl100k",
        "cl100k_base",
        ("*gpt-3.5*", "*gpt-4", "*gpt-4-*"),
        summary="OpenAI's vocabulary cl100k: GPT-3.5 and GPT-4.",
    ),
    Kind("bpe-claude", "o200k_base", ("*claude*",), 1.15, "An estimate for Claude, from measured answers."),
    Kind(
        "bpe-claude-new",
        "o200k_base",
        (
            "*claude*opus-4[-.][789]*",
            "*claude*opus-5*",
            "*claude*sonnet-5*",
            "*claude*haiku-5*",
            "*claude*fable*",
            "*claude*mythos*",
        ),
        1.4,
        "An estimate for Claude since Opus 4.7, which makes more tokens of a text.",
    ),
)
"""What is offered.  The factors were measured (see the README); Anthropic gives about 1.3 between the two generations
of Claude (documentation of token counting)."""


class BpeCounter(Counter):
    """Counts with a byte-pair vocabulary.  Special tokens such as ``<|endoftext|>`` are text like any other."""

    def __init__(self, kind: Kind) -> None:
        self.name = kind.name
        self._kind = kind
        self._tokens: Callable[[str], int] | None = None

    def count(self, text: str) -> int:
        """The number of tokens; an estimate from the length if the vocabulary fails.  Never raises."""
        try:
            tokens = self._tokens or self._load()
            try:
                number = tokens(text)
            except UnicodeEncodeError:
                # A lone surrogate, from text that was cut in the middle of a character.
                number = tokens(text.encode("utf-8", "replace").decode())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic of the library is no Exception
            log.warning("the counter %s failed; this count is an estimate", self.name, exc_info=True)
            return super().count(text)
        return number if self._kind.factor == 1 else round(number * self._kind.factor)

    def _load(self) -> Callable[[str], int]:
        try:
            self._tokens = vocabulary(self._kind.vocabulary)
        except Exception as error:
            log.warning("no vocabulary %s (%s); counts are estimates", self._kind.vocabulary, error)
            self._tokens = super().count
            self._kind = attrs.evolve(self._kind, factor=1.0)
        return self._tokens


@functools.cache
def vocabulary(name: str) -> Callable[[str], int]:
    """The counting function of a vocabulary.  Takes about 0.1 s, and 30 MB of memory, the first time."""
    count: Callable[[str], int] = getattr(importlib.import_module("rs_bpe.bpe").openai, name)().count
    return count


@hookimpl
def ccr_token_counters() -> Iterable[CounterSpec]:
    """Offer the counters of :data:`COUNTERS`."""
    for kind in COUNTERS:
        yield CounterSpec(
            name=kind.name, factory=functools.partial(BpeCounter, kind), models=kind.models, summary=kind.summary
        )
