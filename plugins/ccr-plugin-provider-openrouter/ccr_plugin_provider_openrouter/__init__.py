"""Presets for OpenRouter: one key for the models of many makers."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

CHAT = ProviderSpec(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1/chat/completions",
    key_env="OPENROUTER_API_KEY",
    models=("openrouter/auto",),
    hosts=("*.openrouter.ai",),
    headers={"x-title": "ccr"},
    options={
        "body": {"usage": {"include": True}},
        "reasoning": {
            "style": "reasoning",
            "levels": ["minimal", "low", "medium", "high", "xhigh"],
            # Signed and encrypted thoughts are in the details, and are demanded back as they came.
            "replay": "always",
            "replay_as": "reasoning_details",
        },
        "tools": {"web_search": "openrouter"},
        "content": {"documents": "file_or_url"},
        # Only these two makers know cache marks.
        "models": {"*claude*": {"cache_marks": 4}, "google/*": {"cache_marks": 4}},
    },
    summary="OpenRouter (chat completions)",
)

MESSAGES = ProviderSpec(
    name="openrouter-anthropic",
    base_url="https://openrouter.ai/api",
    dialect="anthropic",
    key_style="bearer",
    key_env="OPENROUTER_API_KEY",
    headers={"x-title": "ccr"},
    options={"clean": True, "fields": ["output_config"], "documents": True},
    summary="OpenRouter (Anthropic's format; for models of Anthropic)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``openrouter`` and ``openrouter-anthropic``."""
    return [CHAT, MESSAGES]
