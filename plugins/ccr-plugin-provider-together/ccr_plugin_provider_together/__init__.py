"""Presets for Together AI."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

CHAT = ProviderSpec(
    name="together",
    base_url="https://api.together.xyz/v1/chat/completions",
    key_env="TOGETHER_API_KEY",
    models=("openai/gpt-oss-120b",),
    hosts=("api.together.ai", "api-inference.together.ai"),
    options={
        "top_k": True,
        "models": {"*gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}}},
    },
    summary="Together AI",
)

MESSAGES = ProviderSpec(
    name="together-anthropic",
    base_url="https://api.together.ai",
    dialect="anthropic",
    key_style="bearer",
    key_env="TOGETHER_API_KEY",
    hosts=("api.together.xyz", "api-inference.together.ai"),
    options={"clean": True},
    summary="Together AI (Anthropic's format; for some models)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``together`` and ``together-anthropic``."""
    return [CHAT, MESSAGES]
