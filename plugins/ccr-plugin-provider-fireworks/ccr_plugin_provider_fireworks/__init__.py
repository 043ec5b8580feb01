"""Presets for Fireworks AI."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

_EFFORT = {"reasoning": {"style": "reasoning_effort", "levels": ["none", "low", "medium", "high"]}}

CHAT = ProviderSpec(
    name="fireworks",
    base_url="https://api.fireworks.ai/inference/v1/chat/completions",
    key_env="FIREWORKS_API_KEY",
    models=("accounts/fireworks/models/gpt-oss-120b",),
    hosts=("*.api.fireworks.ai",),
    options={
        # Long answers are given as streams only.
        "force_stream": True,
        # Otherwise a conversation that is too long is cut in silence, instead of being compacted by the client.
        "body": {"context_length_exceeded_behavior": "error"},
        "session_header": "x-session-affinity",
        "top_k": True,
        "models": {
            "*glm-*": _EFFORT,
            "*deepseek-v*": _EFFORT,
            "*gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}},
        },
    },
    summary="Fireworks AI",
)

MESSAGES = ProviderSpec(
    name="fireworks-anthropic",
    base_url="https://api.fireworks.ai/inference",
    dialect="anthropic",
    key_style="bearer",
    key_env="FIREWORKS_API_KEY",
    models=CHAT.models,
    hosts=("*.api.fireworks.ai",),
    options={"clean": True},
    summary="Fireworks AI (Anthropic's format)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``fireworks`` and ``fireworks-anthropic``."""
    return [CHAT, MESSAGES]
