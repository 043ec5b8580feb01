"""Presets for Azure OpenAI and Foundry.  Their addresses hold the name of a resource, which the environment tells."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ccr_core import ProviderSpec, hookimpl

_THINKING: dict[str, Any] = {
    "drop": ["temperature", "top_p"],
    "content": {"system_role": "developer"},
    "reasoning": {"style": "reasoning_effort", "can_disable": False},
}
_LEVELS: dict[str, Any] = {"reasoning": {"levels": ["none", "low", "medium", "high", "xhigh"], "can_disable": True}}
_OPTIONS: dict[str, Any] = {
    "max_tokens_field": "max_completion_tokens",
    "session_field": "prompt_cache_key",
    "reasoning": {"replay": "none"},
    "tools": {"id_style": "max40", "max_count": 128},
    # A model's name is that of your deployment: these match as long as it begins like the model.
    "models": {
        "o[0-9]*": _THINKING,
        "gpt-[5-9]*": _THINKING,
        "gpt-5.[1-9]*": _LEVELS,
        "gpt-[6-9]*": _LEVELS,
        "gpt-*-chat*": {"reasoning": {"style": "none"}},
    },
}


def _chat_url(endpoint: str) -> str:
    """The base for ``AZURE_OPENAI_ENDPOINT``, which is written with the path or without; no host if it is not set."""
    endpoint = endpoint.rstrip("/") or "https://"
    return endpoint if "/openai" in endpoint else f"{endpoint}/openai/v1"


def _messages_url(resource: str) -> str:
    return f"https://{resource}.services.ai.azure.com/anthropic" if resource else "https:///anthropic"


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``azure`` and ``azure-anthropic``."""
    return [
        ProviderSpec(
            name="azure",
            base_url=_chat_url(os.environ.get("AZURE_OPENAI_ENDPOINT", "")),
            key_style="api-key",
            key_env="AZURE_OPENAI_API_KEY",
            hosts=("*.openai.azure.com", "*.services.ai.azure.com", "*.cognitiveservices.azure.com"),
            options=_OPTIONS,
            summary="Azure OpenAI (chat completions)",
        ),
        ProviderSpec(
            name="azure-anthropic",
            base_url=_messages_url(os.environ.get("ANTHROPIC_FOUNDRY_RESOURCE", "")),
            dialect="anthropic",
            key_env="ANTHROPIC_FOUNDRY_API_KEY",
            hosts=("*.services.ai.azure.com",),
            options={"clean": True, "fields": ["output_config"], "documents": True},
            summary="Claude in Azure's Foundry",
        ),
    ]
