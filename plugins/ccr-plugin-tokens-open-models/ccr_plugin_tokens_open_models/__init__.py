"""Token counters with the vocabularies that makers of models have published, which are part of the library.

Gemini counts with the vocabulary of Gemma.  The others are open models: their vocabularies are exact, and so is what
their chat templates put around messages, where a host uses the maker's own.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Iterable

import attrs

from ccr_core import Counter, CounterSpec, Shape, hookimpl

log = logging.getLogger("ccr.tokens-open-models")


@attrs.frozen
class Kind:
    """A counter that is offered: its vocabulary in the library, and the models that it is for."""

    name: str
    vocabulary: str
    models: tuple[str, ...]
    summary: str


COUNTERS = (
    Kind("gemini", "gemma3", ("*gemini*", "*gemma*"), "Gemini and Gemma, with Gemma's vocabulary."),
    Kind("deepseek", "deepseek_v3", ("*deepseek*",), "DeepSeek since V3."),
    Kind("qwen", "qwen3", ("*qwen*", "*qwq*"), "Qwen 2 and 3."),
    Kind("glm", "glm4", ("*glm-*", "*chatglm*"), "GLM 4 and later."),
    Kind("kimi", "kimi_k2", ("*kimi*", "*moonshot*"), "Kimi K2."),
    Kind("llama", "llama3", ("*llama-3*", "*llama3*", "*llama-4*", "*llama4*"), "Llama 3 and later."),
    Kind(
        "mistral",
        "mistral_v3",
        ("*mistral*", "*mixtral*", "*magistral*", "*codestral*", "*devstral*", "*ministral*", "*pixtral*"),
        "Mistral since NeMo.",
    ),
)
"""What is offered."""


class VocabularyCounter(Counter):
    """Counts with a vocabulary of the library; it is loaded at the first count.  Special tokens in a text are text."""

    def __init__(self, kind: Kind) -> None:
        self.name = kind.name
        self._kind = kind
        self._tokens: Callable[[str], int] | None = None

    def count(self, text: str) -> int:
        """The number of tokens; an estimate from the length if the vocabulary fails.  Never raises."""
        try:
            tokens = self._tokens or self._load()
            try:
                return tokens(text)
            except UnicodeEncodeError:
                # A lone surrogate, from text that was cut in the middle of a character.
                return tokens(text.encode("utf-8", "replace").decode())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic of the library is no Exception
            log.warning("the counter %s failed; this count is an estimate", self.name, exc_info=True)
            return super().count(text)

    def shape(self, model: str) -> Shape:
        """How the family's requests add up."""
        from ccr_plugin_tokens_open_models.shapes import shape_of

        return shape_of(self._kind.name, model)

    def _load(self) -> Callable[[str], int]:
        try:
            self._tokens = vocabulary(self._kind.vocabulary)
        except Exception as error:
            log.warning("no vocabulary %s (%s); counts are estimates", self._kind.vocabulary, error)
            self._tokens = super().count
        return self._tokens


@functools.cache
def vocabulary(name: str) -> Callable[[str], int]:
    """The counting function of a vocabulary.  Takes 0.05 to 0.3 s, and 20 to 50 MB of memory, the first time."""
    made = importlib.import_module("splintr").Tokenizer.from_pretrained(name)
    return lambda text: len(made.encode_ordinary(text))


@hookimpl
def ccr_token_counters() -> Iterable[CounterSpec]:
    """Offer the counters of :data:`COUNTERS`."""
    for kind in COUNTERS:
        yield CounterSpec(
            name=kind.name,
            factory=functools.partial(VocabularyCounter, kind),
            models=kind.models,
            summary=kind.summary,
        )
