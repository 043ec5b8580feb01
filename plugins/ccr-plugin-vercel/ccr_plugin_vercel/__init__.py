"""The transformer for the Vercel AI Gateway, with its routing options.

Source of the rules: the gateway's documentation, 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ccr_core import JSON, Transformer, TransformerSpec, WireRequest, hookimpl


class Vercel(Transformer[Mapping[str, Any]]):
    """Puts the configured fields into the body; the rest is options of the dialect."""

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """The request with the configured fields, which replace its own."""
        if wire.body is None or not self.options:
            return wire
        return attrs.evolve(wire, body={**wire.body, **self.options})


CHAT: JSON = {
    "reasoning": {
        "style": "reasoning",
        "levels": ["minimal", "low", "medium", "high", "xhigh"],
        "replay": "always",
    },
    "content": {"documents": "file"},
    "models": {"*claude*": {"cache_marks": 4}},
}
"""Options of the chat completions format."""


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``vercel``."""
    yield TransformerSpec(
        name="vercel",
        factory=Vercel,
        options=Mapping[str, Any],
        dialect_options={"openai-chat": CHAT},
        summary="Speak to the Vercel AI Gateway: thinking, caching, routing options.",
    )
