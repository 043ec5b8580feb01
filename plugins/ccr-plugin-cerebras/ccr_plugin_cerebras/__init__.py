"""The transformer for Cerebras.

Source of the rules: Cerebras' API reference, 2026.  The limiter of the service reserves as many tokens as a request
asks for before it runs, so that a large limit uses up a minute's tokens at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ccr_core import Transformer, TransformerSpec, hookimpl


def _count(options: Options, field: attrs.Attribute[Any], value: int | str) -> None:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(f'{field.name} must be a number of tokens, got "{value}"')
    if int(value) < 1:
        raise ValueError(f"{field.name} must be at least 1, got {value}")


@attrs.frozen(kw_only=True)
class Options:
    """How much is asked for."""

    max_tokens: int | str = attrs.field(default=16384, validator=_count)
    """the most output tokens to ask for; the service reserves them before it answers"""


def dialect_options(options: Options) -> Mapping[str, Mapping[str, Any]]:
    """Options of the chat completions format."""
    return {
        "openai-chat": {
            "max_tokens_field": "max_completion_tokens",
            "max_output": int(options.max_tokens),
            "reasoning": {"replay": "none"},
            "tools": {"parallel_flag": False},
            "content": {"images": "none"},
            "models": {
                "*gpt-oss*": {
                    "reasoning": {
                        "style": "reasoning_effort",
                        "can_disable": False,
                        "replay": "tool_loop",
                        "replay_as": "reasoning",
                    }
                },
                "*glm*": {
                    "reasoning": {"style": "disable_reasoning", "replay": "tool_loop", "replay_as": "think_tags"}
                },
            },
        }
    }


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``cerebras``."""
    yield TransformerSpec(
        name="cerebras",
        factory=Transformer,
        options=Options,
        dialect_options=dialect_options,
        summary="Speak to Cerebras: thinking, and no more tokens than its limiter likes.",
    )
