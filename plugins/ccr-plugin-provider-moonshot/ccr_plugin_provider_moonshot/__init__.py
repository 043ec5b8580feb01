"""Presets for Moonshot, the maker of Kimi: international, China, and the coding subscription, each with its keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ccr_core import ProviderSpec, hookimpl

MODELS = ("kimi-k3", "kimi-k2.7-code", "kimi-k2.6")

_DEMANDING: dict[str, Any] = {"replay": "required_empty", "replay_as": "reasoning_content", "empty_text": " "}
"""Models that think refuse their own earlier messages with calls unless these bring thoughts."""

_FIXED = ["temperature", "top_p"]
"""Models that think take one value of each, and refuse others."""

_OPTIONS: dict[str, Any] = {
    "reasoning": {"forced_tools": False},
    "tools": {"schema": "mfjs"},
    "content": {"images": "inline"},
    "models": {
        "kimi-k2-thinking*": {"drop": _FIXED, "reasoning": _DEMANDING},
        "kimi-k2.[5-9]*": {"drop": _FIXED, "reasoning": {**_DEMANDING, "style": "thinking"}},
        "kimi-k2.[6-9]*": {"reasoning": {"extra": {"keep": "all"}}},
        "kimi-k2.7-code*": {"reasoning": {"can_disable": False}},
        "kimi-k[3-9]*": {
            "drop": _FIXED,
            "reasoning": {
                **_DEMANDING,
                "style": "reasoning_effort",
                "levels": ["low", "high", "max"],
                "can_disable": False,
            },
        },
    },
}


def _presets(
    name: str, chat: str, messages: str, key_env: str, models: tuple[str, ...], summary: str
) -> Iterable[ProviderSpec]:
    yield ProviderSpec(name=name, base_url=chat, key_env=key_env, models=models, options=_OPTIONS, summary=summary)
    yield ProviderSpec(
        name=f"{name}-anthropic",
        base_url=messages,
        dialect="anthropic",
        key_style="bearer",
        key_env=key_env,
        models=models,
        options={"clean": True, "fields": ["output_config"]},
        summary=f"{summary} (Anthropic's format)",
    )


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``moonshot``, ``moonshot-cn`` and ``kimi-coding``, and the same with ``-anthropic``."""
    return [
        *_presets(
            "moonshot",
            "https://api.moonshot.ai/v1/chat/completions",
            "https://api.moonshot.ai/anthropic",
            "MOONSHOT_API_KEY",
            MODELS,
            "Moonshot (Kimi), international",
        ),
        *_presets(
            "moonshot-cn",
            "https://api.moonshot.cn/v1/chat/completions",
            "https://api.moonshot.cn/anthropic",
            "MOONSHOT_API_KEY",
            MODELS,
            "Moonshot (Kimi) in China",
        ),
        *_presets(
            "kimi-coding",
            "https://api.kimi.com/coding/v1/chat/completions",
            "https://api.kimi.com/coding",
            "KIMI_API_KEY",
            (),
            "Kimi's coding subscription",
        ),
    ]
