"""The OpenAI chat completions format, as most providers speak it, and the preset for OpenAI itself."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import Dialect, ProviderSpec, hookimpl

from .dialect import OpenAIChat
from .options import Content, Options, Reasoning, Tools

__all__ = ["Content", "OpenAIChat", "Options", "Reasoning", "Tools"]

_THINKING = {
    "drop": ["temperature", "top_p"],
    "content": {"system_role": "developer"},
    "reasoning": {"style": "reasoning_effort", "can_disable": False},
}
"""Models that think: they refuse sampling fields and take their instructions as developer messages."""

OPENAI = ProviderSpec(
    name="openai",
    base_url="https://api.openai.com/v1/chat/completions",
    dialect="openai-chat",
    key_env="OPENAI_API_KEY",
    hosts=("api.openai.com", "*.api.openai.com"),
    options={
        "max_tokens_field": "max_completion_tokens",
        "session_field": "prompt_cache_key",
        "reasoning": {"replay": "none"},
        "tools": {"id_style": "max40", "max_count": 128},
        "content": {"documents": "file"},
        "models": {
            "o[0-9]*": _THINKING,
            "o1-mini*": {"content": {"system_role": "user"}, "reasoning": {"style": "none"}},
            "o1-preview*": {"content": {"system_role": "user"}, "reasoning": {"style": "none"}},
            "gpt-[5-9]*": {
                **_THINKING,
                "reasoning": {
                    "style": "reasoning_effort",
                    "levels": ["minimal", "low", "medium", "high"],
                    "can_disable": False,
                },
            },
            "gpt-5.[1-9]*": {"reasoning": {"levels": ["none", "low", "medium", "high", "xhigh"], "can_disable": True}},
            "gpt-[6-9]*": {"reasoning": {"levels": ["none", "low", "medium", "high", "xhigh"], "can_disable": True}},
            "gpt-*-chat*": {"reasoning": {"style": "none"}},
            "*-search-*": {"tools": {"web_search": "web_search_options"}},
        },
    },
    summary="OpenAI (chat completions)",
)


@hookimpl
def ccr_dialects() -> Iterable[Dialect]:
    """The dialect ``openai-chat``."""
    return [OpenAIChat()]


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The preset ``openai``."""
    return [OPENAI]
