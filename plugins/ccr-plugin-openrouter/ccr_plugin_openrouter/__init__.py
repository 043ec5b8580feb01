"""The transformer for OpenRouter, with its routing options.

Source of the rules: OpenRouter's API reference, 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ccr_core import JSON, Transformer, TransformerSpec, WireRequest, hookimpl


class OpenRouter(Transformer[Mapping[str, Any]]):
    """Puts the configured fields into the body; the rest is options of the dialect."""

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """The request with the configured fields, which replace its own."""
        if wire.body is None or not self.options:
            return wire
        return attrs.evolve(wire, body={**wire.body, **self.options})


_ALWAYS: JSON = {"reasoning": {"can_disable": False}}
"""For models that always think: OpenRouter refuses to switch their thinking off."""

CHAT: JSON = {
    "reasoning": {
        "style": "reasoning",
        "levels": ["minimal", "low", "medium", "high", "xhigh"],
        "replay": "always",
    },
    "tools": {"web_search": "openrouter"},
    "content": {"documents": "file_or_url"},
    "body": {"usage": {"include": True}},
    "models": {
        "*claude*": {"cache_marks": 4},
        "*gpt-oss*": _ALWAYS,
        "openai/o[0-9]*": _ALWAYS,
        "openai/gpt-5": _ALWAYS,
        "openai/gpt-5-*": _ALWAYS,
        "google/gemini-*-pro*": _ALWAYS,
        "deepseek/deepseek-r1*": _ALWAYS,
        "minimax/minimax-m*": _ALWAYS,
        "x-ai/grok-4": _ALWAYS,
        "*-thinking*": _ALWAYS,
    },
}
"""Options of the chat completions format."""


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``openrouter``."""
    yield TransformerSpec(
        name="openrouter",
        factory=OpenRouter,
        options=Mapping[str, Any],
        dialect_options={"openai-chat": CHAT},
        summary="Speak to OpenRouter: thinking, caching, web search, routing options.",
    )
