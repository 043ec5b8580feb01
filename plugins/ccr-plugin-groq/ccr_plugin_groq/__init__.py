"""The transformer for Groq.

Source of the rules: Groq's API reference, 2026.  Cache marks, ``$schema`` and ``top_k``, which Groq refuses, do not
leave the dialect anyway; tool calls keep the ids that Groq gives them.
"""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import JSON, Transformer, TransformerSpec, hookimpl

CHAT: JSON = {
    "max_tokens_field": "max_completion_tokens",
    "reasoning": {"replay": "none"},
    "tools": {"max_count": 128},
    "models": {
        "*gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False, "replay": "tool_loop"}},
        "*qwen3*": {
            "reasoning": {"style": "reasoning_effort", "levels": ["none", "default"]},
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
        factory=Transformer,
        dialect_options={"openai-chat": CHAT},
        summary="Speak to Groq: thinking, and no fields that it refuses.",
    )
