"""The preset for Groq."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

CHAT = ProviderSpec(
    name="groq",
    base_url="https://api.groq.com/openai/v1/chat/completions",
    key_env="GROQ_API_KEY",
    models=("openai/gpt-oss-120b", "openai/gpt-oss-20b"),
    options={
        "max_tokens_field": "max_completion_tokens",
        "reasoning": {"replay": "none"},
        "tools": {"max_count": 128},
        "models": {
            "*gpt-oss*": {
                "reasoning": {"style": "reasoning_effort", "can_disable": False, "replay": "tool_loop"},
            },
            # Together with tools, thoughts must come in a field of their own.
            "*qwen3*": {
                "body": {"reasoning_format": "parsed"},
                "reasoning": {"style": "reasoning_effort", "levels": ["none", "default"]},
            },
            "*deepseek-r1*": {"body": {"reasoning_format": "parsed"}},
        },
    },
    summary="Groq",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The preset ``groq``."""
    return [CHAT]
