"""The counter ``tiktoken`` of ``tokenizer`` blocks: OpenAI's encodings by their names, without downloads.

The package tiktoken fetches its vocabularies when they are first used; here they are those of
``ccr-plugin-tokens-bpe``, which come with a package.  The two that present models have are exact.  For the older ones
the nearest stands in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import attrs
from ccr_plugin_tokens_bpe import BpeCounter, Kind

from ccr_core import Counter, CounterSpec, hookimpl

log = logging.getLogger("ccr.tokens-tiktoken")

EXACT: Mapping[str, str] = {
    "cl100k_base": "cl100k_base",
    "o200k_base": "o200k_base",
    "o200k_harmony": "o200k_base",
}
"""Encodings and their vocabularies; ``o200k_harmony`` differs in special tokens only, which are text here."""

NEAREST: Mapping[str, str] = {
    "gpt2": "cl100k_base",
    "p50k_base": "cl100k_base",
    "p50k_edit": "cl100k_base",
    "r50k_base": "cl100k_base",
}
"""Encodings of models that are gone, and what stands in for them."""


@attrs.frozen(kw_only=True)
class Options:
    """The encoding's name."""

    encoding: str = attrs.field(default="cl100k_base", validator=attrs.validators.in_(sorted({**EXACT, **NEAREST})))


def counter(options: Options) -> Counter:
    """The counter for an encoding; the log says so where it is not exact."""
    vocabulary = EXACT.get(options.encoding)
    if vocabulary is None:
        vocabulary = NEAREST[options.encoding]
        log.warning("there is no vocabulary %s here; %s counts in its place", options.encoding, vocabulary)
    return BpeCounter(Kind(f"tiktoken {options.encoding}", vocabulary, ()))


@hookimpl
def ccr_token_counters() -> Iterable[CounterSpec]:
    """Offer the counter ``tiktoken``."""
    yield CounterSpec(
        name="tiktoken",
        factory=counter,
        models=(),
        options=Options,
        summary="OpenAI's encodings by name, for tokenizer blocks; offline.",
    )
