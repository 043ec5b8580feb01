"""What the Codex backend takes: it refuses a request with a single field that it does not know.

Source: the vendor's own open-source client and public clients of the backend, 2026.
"""

from __future__ import annotations

from typing import Any

import attrs

from ccr_core import Transformer, WireRequest

FIELDS = frozenset(
    {
        "client_metadata",
        "include",
        "input",
        "instructions",
        "model",
        "parallel_tool_calls",
        "prompt_cache_key",
        "reasoning",
        "service_tier",
        "store",
        "stream",
        "text",
        "tool_choice",
        "tools",
    }
)
"""The fields that the backend takes."""


class Step(Transformer[Any]):
    """Keeps to :data:`FIELDS`, and sets what must be there."""

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """The request as the backend takes it."""
        body = wire.body or {}
        dropped = sorted(name for name in body if name not in FIELDS)
        if dropped:
            self.ctx.note("codex.fields", f"left out {', '.join(dropped)}: the backend refuses them")
        kept = {name: value for name, value in body.items() if name in FIELDS}
        kept = {"instructions": "", **kept, "stream": True, "store": False}
        if not kept.get("tools"):
            kept.pop("parallel_tool_calls", None)
            kept.pop("tool_choice", None)
        if kept.get("service_tier") not in (None, "priority"):
            del kept["service_tier"]
        return attrs.evolve(wire, body=kept)
