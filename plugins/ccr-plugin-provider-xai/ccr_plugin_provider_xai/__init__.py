"""Presets for xAI: chat completions, and the Responses format that xAI itself prefers."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

CHAT = ProviderSpec(
    name="xai",
    base_url="https://api.x.ai/v1/chat/completions",
    key_env="XAI_API_KEY",
    hosts=("*.api.x.ai",),
    options={
        "max_tokens_field": "max_completion_tokens",
        "reasoning_tokens": "separate",
        # What it hides of its thoughts cannot be sent back in this format.
        "reasoning": {"replay": "none"},
        "tools": {"schema": "basic", "max_count": 200},
        "models": {
            "grok-3-mini*": {"drop": ["stop"], "reasoning": {"style": "reasoning_effort", "levels": ["low", "high"]}},
            "grok-[4-9]*": {"drop": ["stop"]},
            "grok-code*": {"drop": ["stop"]},
            "grok-4.3*": {
                "reasoning": {"style": "reasoning_effort", "levels": ["none", "low", "medium", "high"]},
            },
            "grok-4.5*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}},
            "grok-4.6*": {
                "reasoning": {
                    "style": "reasoning_effort",
                    "levels": ["low", "medium", "high", "xhigh"],
                    "can_disable": False,
                },
            },
        },
    },
    summary="xAI (chat completions)",
)

RESPONSES = ProviderSpec(
    name="xai-responses",
    base_url="https://api.x.ai/v1/responses",
    dialect="openai-responses",
    key_env="XAI_API_KEY",
    hosts=("*.api.x.ai",),
    options={
        "summary": "none",
        "schema": "basic",
        "max_tools": 200,
        "web_search": "web_search",
        "models": {
            # They think without being asked and refuse a level; what they thought has to go back all the same.
            "grok-4": {"levels": []},
            "grok-4-*": {"levels": []},
            "grok-4.20*": {"levels": []},
            "grok-code*": {"levels": []},
            "*non-reasoning*": {"thinking": False},
            "grok-4.5*": {"can_disable": False},
            "grok-4.6*": {"can_disable": False, "levels": ["low", "medium", "high", "xhigh"]},
        },
    },
    summary="xAI (Responses)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``xai`` and ``xai-responses``."""
    return [CHAT, RESPONSES]
