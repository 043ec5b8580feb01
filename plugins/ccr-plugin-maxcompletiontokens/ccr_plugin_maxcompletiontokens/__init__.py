"""The transformer for services that know the limit of an answer only by its newer name."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import Transformer, TransformerSpec, hookimpl


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``maxcompletiontokens``."""
    yield TransformerSpec(
        name="maxcompletiontokens",
        factory=Transformer,
        dialect_options={"openai-chat": {"max_tokens_field": "max_completion_tokens"}},
        summary="Send max_tokens as max_completion_tokens.",
    )
