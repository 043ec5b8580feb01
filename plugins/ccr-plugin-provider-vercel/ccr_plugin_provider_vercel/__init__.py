"""Presets for Vercel's AI Gateway: one key for the models of many makers."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

CHAT = ProviderSpec(
    name="vercel",
    base_url="https://ai-gateway.vercel.sh/v1/chat/completions",
    key_env="AI_GATEWAY_API_KEY",
    options={
        "reasoning": {
            "style": "reasoning",
            "levels": ["minimal", "low", "medium", "high", "xhigh"],
            # Signed and encrypted thoughts are in the details, and go back as they came.
            "replay": "always",
            "replay_as": "reasoning_details",
        },
        "content": {"images": "inline"},
        "models": {"anthropic/*": {"cache_marks": 4}},
    },
    summary="Vercel AI Gateway (chat completions)",
)

MESSAGES = ProviderSpec(
    name="vercel-anthropic",
    base_url="https://ai-gateway.vercel.sh",
    dialect="anthropic",
    key_style="bearer",
    key_env="AI_GATEWAY_API_KEY",
    options={"clean": True, "fields": ["output_config"], "documents": True},
    summary="Vercel AI Gateway (Anthropic's format)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``vercel`` and ``vercel-anthropic``."""
    return [CHAT, MESSAGES]
