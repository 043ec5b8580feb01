"""What Copilot wants to know of a request: who begins it, and whether there are pictures in it.

A request that the user begins is billed, one by which the agent goes on is not.  What is said must be what happened,
so only the last message and the client's own hints decide.  Source: public clients of the service, 2026.
"""

from __future__ import annotations

import uuid
from typing import Any

import attrs

from ccr_core import Context, Request, Transformer, WireRequest, blocks_of, walk_blocks

_REMINDER = "<system-reminder>"


class Step(Transformer[Any]):
    """Sets ``x-initiator``, ``copilot-vision-request`` and ``x-request-id``."""

    def __init__(self, options: Any, ctx: Context) -> None:
        super().__init__(options, ctx)
        self._headers: dict[str, str] = {}

    def on_request(self, request: Request) -> Request:
        """Look at the request; it stays as it is."""
        self._headers = {"x-initiator": initiator(request), "x-request-id": str(uuid.uuid4())}
        if any(block.get("type") == "image" for block in walk_blocks(request)):
            self._headers["copilot-vision-request"] = "true"
        return request

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """Add the headers."""
        return attrs.evolve(wire, headers={**self._headers, **wire.headers})


def initiator(request: Request) -> str:
    """``user`` if the user has just said something, else ``agent``."""
    hints = request.hints
    if hints.agent_id or hints.compaction or hints.request_class not in (None, "main"):
        return "agent"
    # Newer clients tell what they have to tell in messages of their own, behind the user's.
    last = next((message for message in reversed(request.messages) if message.get("role") != "system"), {})
    if last.get("role") != "user":
        return "agent"
    blocks = blocks_of(last.get("content"))
    said = [block for block in blocks if block.get("type") != "tool_result"]
    results = len(blocks) > len(said)
    if results and all(str(block.get("text") or "").lstrip().startswith(_REMINDER) for block in said):
        return "agent"
    return "user" if said else "agent"
