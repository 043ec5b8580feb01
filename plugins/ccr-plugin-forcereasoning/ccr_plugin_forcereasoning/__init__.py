"""The transformer that makes models think that have no thinking of their own: they are told to, in a tag."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ccr_core import Context, Transformer, TransformerSpec, hookimpl


def _not_negative(options: Options, field: attrs.Attribute[Any], value: int) -> None:
    if value < 0:
        raise ValueError(f"{field.name} must not be negative, got {value}")


@attrs.frozen(kw_only=True)
class Options:
    """How much of it the model sees again."""

    keep: int = attrs.field(default=10, validator=_not_negative)
    """how many messages with thinking, counted from the last, the model gets back with it"""


def make(options: Options, ctx: Context) -> Transformer[Options]:
    """The transformer for one attempt."""
    from .step import ForceReasoning

    return ForceReasoning(options, ctx)


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``forcereasoning``."""
    yield TransformerSpec(
        name="forcereasoning",
        factory=make,
        options=Options,
        summary="Make a model think before it answers, by telling it to.",
    )
