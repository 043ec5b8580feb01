"""The OpenAI Responses format, as OpenAI, Azure, xAI, the ChatGPT backend and local servers speak it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ccr_core import Dialect, Transformer, TransformerSpec, hookimpl

from .dialect import Responses
from .options import Options

__all__ = ["Options", "Responses", "Step"]


class Step(Transformer[Any]):
    """The transformer ``openai-responses``: changes nothing, but naming it selects the dialect of that name."""


@hookimpl
def ccr_dialects() -> Iterable[Dialect]:
    """The dialect ``openai-responses``."""
    return [Responses()]


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """The transformer ``openai-responses``."""
    return [
        TransformerSpec(
            name="openai-responses",
            factory=Step,
            dialect="openai-responses",
            summary="Speak the OpenAI Responses format to this provider.",
        )
    ]
