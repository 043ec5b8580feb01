"""The transformer that lowers ``max_tokens`` to what a model accepts.

A client asks for as much as *its* model can give (Claude Code: 32,000 or 128,000); many other models refuse a request
that asks for more than they can.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ccr_core import JSON, Request, Transformer, TransformerSpec, hookimpl

LEAST_BUDGET = 1024
"""The smallest thinking budget that the Messages API takes."""


def _positive(options: Options, field: attrs.Attribute[Any], value: int | str) -> None:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(f'max_tokens must be a number of tokens, got "{value}"')
    if int(value) < 1:
        raise ValueError(f"max_tokens must be at least 1, got {value}")


@attrs.frozen
class Options:
    """``max_tokens``: the most that is asked for.  Digits in quotes are taken too: older editors saved them so."""

    max_tokens: int | str = attrs.field(validator=_positive)


class MaxToken(Transformer[Options]):
    """Caps ``max_tokens``; sets it where the client gives none, so that the limit holds in every case."""

    def on_request(self, request: Request) -> Request:
        """The request with at most the configured tokens, and a thinking budget that fits into them."""
        limit = int(self.options.max_tokens)
        asked = request.body.get("max_tokens")
        if isinstance(asked, int) and asked <= limit:
            return request
        changes: JSON = {"max_tokens": limit}
        thinking = request.body.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        if isinstance(thinking, dict) and isinstance(budget, int) and budget >= limit:
            # The Messages API refuses a budget that is not below max_tokens.
            if limit > LEAST_BUDGET:
                changes["thinking"] = {**thinking, "budget_tokens": limit - 1}
                self.ctx.note("maxtoken.thinking", f"thinking budget lowered from {budget} to {limit - 1} tokens")
            else:
                changes["thinking"] = {"type": "disabled"}
                self.ctx.note(
                    "maxtoken.thinking", f"thinking switched off: its budget does not fit into {limit} tokens"
                )
        return request.with_(**changes)


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``maxtoken``."""
    yield TransformerSpec(
        name="maxtoken", factory=MaxToken, options=Options, summary="Lower max_tokens to what the model accepts."
    )
