"""The preset for Cerebras."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

CHAT = ProviderSpec(
    name="cerebras",
    base_url="https://api.cerebras.ai/v1/chat/completions",
    key_env="CEREBRAS_API_KEY",
    models=("gpt-oss-120b",),
    options={
        # What is asked for is taken from the rate limit before the model runs, used or not.
        "max_tokens_field": "max_completion_tokens",
        "max_output": 16384,
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
                },
            },
            "*glm*": {
                "reasoning": {"style": "disable_reasoning", "replay": "tool_loop", "replay_as": "think_tags"},
            },
        },
    },
    summary="Cerebras",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The preset ``cerebras``."""
    return [CHAT]
