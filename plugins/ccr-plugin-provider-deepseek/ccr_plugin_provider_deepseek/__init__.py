"""Presets for DeepSeek's own service."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

MODELS = ("deepseek-v4-pro", "deepseek-flash")

CHAT = ProviderSpec(
    name="deepseek",
    base_url="https://api.deepseek.com/chat/completions",
    key_env="DEEPSEEK_API_KEY",
    models=MODELS,
    options={
        "structured": "json_object",
        "reasoning": {
            "style": "thinking",
            "effort_too": True,
            "levels": ["low", "medium", "high", "max"],
            # While it thinks, each of its earlier messages must bring its thoughts, if only an empty text.
            "replay": "required_empty",
            "replay_as": "reasoning_content",
            "forced_tools": False,
        },
        "content": {"images": "none"},
        "models": {"*vision*": {"content": {"images": "url"}}, "*-vl*": {"content": {"images": "url"}}},
    },
    summary="DeepSeek (chat completions)",
)

MESSAGES = ProviderSpec(
    name="deepseek-anthropic",
    base_url="https://api.deepseek.com/anthropic",
    dialect="anthropic",
    key_env="DEEPSEEK_API_KEY",
    models=MODELS,
    options={"clean": True, "fields": ["output_config"]},
    summary="DeepSeek (Anthropic's format)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``deepseek`` and ``deepseek-anthropic``."""
    return [CHAT, MESSAGES]
