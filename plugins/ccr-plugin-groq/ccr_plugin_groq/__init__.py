"""The transformer for Groq.

Source of the rules: Groq's API reference, 2026.  Cache marks, ``$schema`` and ``top_k``, which Groq refuses, do not
leave the dialect anyway; tool calls keep the ids that Groq gives them.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ccr_core import JSON, Transformer, TransformerSpec, WireRequest, hookimpl


class Groq(Transformer[None]):
    """Says in Groq's words how hard a model of the Qwen family shall think."""

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """The request; Qwen models know only ``none`` and ``default``, not a level."""
        body = wire.body or {}
        level = body.get("reasoning_effort")
        if level in (None, "none", "default") or "qwen" not in self.ctx.target.model.casefold():
            return wire
        return attrs.evolve(wire, body={**body, "reasoning_effort": "default"})


CHAT: JSON = {
    "cache_marks": 0,
    "top_k": False,
    "tools": {"schema": "light"},
    "models": {
        "*gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}},
        "*qwen3*": {
            "reasoning": {"style": "reasoning_effort", "levels": ["none", "low", "medium", "high"]},
            "body": {"reasoning_format": "parsed"},
        },
        "*deepseek-r1*": {"body": {"reasoning_format": "parsed"}},
    },
}
"""Options of the chat completions format."""


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``groq``."""
    yield TransformerSpec(
        name="groq",
        factory=Groq,
        dialect_options={"openai-chat": CHAT},
        summary="Speak to Groq: thinking, and no fields that it refuses.",
    )
