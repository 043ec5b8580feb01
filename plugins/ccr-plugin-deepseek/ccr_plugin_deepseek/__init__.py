"""The transformer for models of DeepSeek, at DeepSeek itself or elsewhere.

Source of the rules: DeepSeek's API reference, 2026.  While it thinks, the model wants its own ``reasoning_content``
back with every message of the conversation (empty where it is lost), and refuses to be told which tool to call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ccr_core import JSON, Request, Transformer, TransformerSpec, WireRequest, hookimpl


def _count(options: Options, field: attrs.Attribute[Any], value: int | str | None) -> None:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(f'{field.name} must be a number of tokens, got "{value}"')
    if value is not None and int(value) < 1:
        raise ValueError(f"{field.name} must be at least 1, got {value}")


@attrs.frozen(kw_only=True)
class Options:
    """What older models need."""

    max_tokens: int | str | None = attrs.field(default=None, validator=_count)
    """the most output tokens to ask for; models before V4 take 8192"""


class DeepSeek(Transformer[Options]):
    """Caps the answer if told to, and does not force tools on a model that thinks."""

    def on_request(self, request: Request) -> Request:
        """The request with at most the configured tokens."""
        asked = request.body.get("max_tokens")
        limit = self.options.max_tokens
        if limit is None or not isinstance(asked, int) or asked <= int(limit):
            return request
        return request.with_(max_tokens=int(limit))

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """The request without a demand for tools that a thinking model refuses."""
        body = wire.body or {}
        thinking = body.get("thinking")
        thinks = isinstance(thinking, dict) and thinking.get("type") == "enabled" and "messages" in body
        choice = body.get("tool_choice")
        forced = choice == "required" or (isinstance(choice, dict) and choice.get("type") == "function")
        if not (thinks and forced):
            return wire
        self.ctx.note("deepseek", "the model is free to call no tool: it cannot be forced to while it thinks")
        return attrs.evolve(wire, body={**body, "tool_choice": "auto"})


CHAT: JSON = {
    "reasoning": {
        "style": "thinking",
        "effort_too": True,
        "levels": ["low", "medium", "high", "max"],
        "replay": "required_empty",
        "replay_as": "reasoning_content",
    },
}
"""Options of the chat completions format."""


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``deepseek``."""
    yield TransformerSpec(
        name="deepseek",
        factory=DeepSeek,
        options=Options,
        dialect_options={"openai-chat": CHAT},
        summary="Ask for thinking, and give it back, as DeepSeek's models want it.",
    )
