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

from ccr_core import Counter, CounterSpec, Shape, hookimpl

log = logging.getLogger("ccr.tokens-bpe")


@attrs.frozen
class Kind:
    """A counter that is offered: its vocabulary, the models that it is for, and the family whose requests it counts."""

    name: str
    vocabulary: str
    models: tuple[str, ...]
    family: str = "openai"
    summary: str = ""


COUNTERS = (
    Kind("bpe", "o200k_base", ("*",), "", "OpenAI's vocabulary o200k, for models whose own is not known."),
    Kind(
        "bpe-openai",
        "o200k_base",
        ("*gpt-4o*", "*gpt-4.*", "*gpt-5*", "*chatgpt*", "*codex*", "o[1-9]", "o[1-9]-*", "*/o[1-9]", "*/o[1-9]-*"),
        summary="OpenAI's models since GPT-4o.",
    ),
    Kind("bpe-gpt-oss", "o200k_base", ("*gpt-oss*",), "harmony", "OpenAI's open models."),
    Kind(
        "bpe-cl100k",
        "cl100k_base",
        ("*gpt-3.5*", "*gpt-4", "*gpt-4-*"),
        summary="OpenAI's vocabulary cl100k: GPT-3.5 and GPT-4.",
    ),
    Kind("bpe-claude", "o200k_base", ("*claude*",), "claude", "An estimate for Claude up to Opus 4.6."),
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
        "claude-new",
        "An estimate for Claude since Opus 4.7, which makes more tokens of a text.",
    ),
)
"""What is offered."""


class BpeCounter(Counter):
    """Counts with a byte-pair vocabulary.  Special tokens such as ``<|endoftext|>`` are text like any other."""

    def __init__(self, kind: Kind) -> None:
        self.name = kind.name
        self._kind = kind
        self._tokens: Callable[[str], int] | None = None
        self._weigh: Callable[[str, int], int] | None = None

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
        return number if self._weigh is None else self._weigh(text, number)

    def shape(self, model: str) -> Shape:
        """How requests of the family add up."""
        return shape_of(self._kind.family, model)

    def _load(self) -> Callable[[str], int]:
        try:
            self._tokens = vocabulary(self._kind.vocabulary)
            self._weigh = weigher(self._kind.family)
        except Exception as error:
            log.warning("no vocabulary %s (%s); counts are estimates", self._kind.vocabulary, error)
            self._tokens = super().count
        return self._tokens


def shape_of(family: str, model: str) -> Shape:
    """The shape of requests for ``model`` of a family."""
    if family.startswith("claude"):
        from ccr_plugin_tokens_bpe.claude import ClaudeShape

        return ClaudeShape(model, new=family == "claude-new")
    if family == "harmony":
        from ccr_plugin_tokens_bpe.openai import HarmonyShape

        return HarmonyShape(model)
    if family == "openai":
        from ccr_plugin_tokens_bpe.openai import OpenAiShape

        return OpenAiShape(model)
    return Shape(model)


def weigher(family: str) -> Callable[[str, int], int] | None:
    """What makes a family's tokens of a text and its tokens of o200k; ``None`` where they are the same."""
    if not family.startswith("claude"):
        return None
    from ccr_plugin_tokens_bpe.claude import NEW, OLD, claude_tokens

    return functools.partial(claude_tokens, weights=NEW if family == "claude-new" else OLD)


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
