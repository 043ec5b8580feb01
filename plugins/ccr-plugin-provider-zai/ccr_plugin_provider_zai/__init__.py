"""Presets for the GLM models of Zhipu: Z.ai, its coding plan, and the service in China."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ccr_core import ProviderSpec, hookimpl

MODELS = ("glm-5.3", "glm-5.3-flash", "glm-5.2", "glm-4.7", "glm-4.5-air")

_KEEPING: dict[str, Any] = {"extra": {"clear_thinking": False}}
"""Thoughts of earlier turns stay with the model, as the client means it."""

_OPTIONS: dict[str, Any] = {
    "reasoning": {"style": "thinking", "replay": "always", "replay_as": "reasoning_content"},
    "tools": {"choice_required": "auto", "forced": "filter", "web_search": "glm"},
    "models": {
        "glm-4.[6-9]*": {"body": {"tool_stream": True}},
        "glm-4.[7-9]*": {"reasoning": _KEEPING},
        "glm-[5-9]*": {"body": {"tool_stream": True}, "reasoning": _KEEPING},
        "glm-5.2*": {"reasoning": {"effort_too": True, "levels": ["high", "max"]}},
        "glm-5.3*": {"reasoning": {"effort_too": True, "levels": ["low", "high", "max"], "can_disable": False}},
        "glm-*": {"content": {"images": "none"}},
        "glm-*[0-9]v*": {"content": {"images": "url"}},
    },
}


def _chat(name: str, base_url: str, key_env: str, summary: str) -> ProviderSpec:
    return ProviderSpec(name=name, base_url=base_url, key_env=key_env, models=MODELS, options=_OPTIONS, summary=summary)


def _messages(name: str, base_url: str, key_env: str, summary: str) -> ProviderSpec:
    return ProviderSpec(
        name=name,
        base_url=base_url,
        dialect="anthropic",
        key_style="bearer",
        key_env=key_env,
        models=MODELS,
        options={"clean": True},
        summary=summary,
    )


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``zai``, ``zai-coding``, ``zai-anthropic``, ``zhipu``, ``zhipu-coding`` and ``zhipu-anthropic``."""
    return [
        _chat("zai", "https://api.z.ai/api/paas/v4/chat/completions", "ZAI_API_KEY", "Z.ai"),
        _chat(
            "zai-coding", "https://api.z.ai/api/coding/paas/v4/chat/completions", "ZAI_API_KEY", "Z.ai's coding plan"
        ),
        _messages("zai-anthropic", "https://api.z.ai/api/anthropic", "ZAI_API_KEY", "Z.ai (Anthropic's format)"),
        _chat("zhipu", "https://open.bigmodel.cn/api/paas/v4/chat/completions", "ZHIPUAI_API_KEY", "Zhipu in China"),
        _chat(
            "zhipu-coding",
            "https://open.bigmodel.cn/api/coding/paas/v4/chat/completions",
            "ZHIPUAI_API_KEY",
            "Zhipu's coding plan in China",
        ),
        _messages(
            "zhipu-anthropic",
            "https://open.bigmodel.cn/api/anthropic",
            "ZHIPUAI_API_KEY",
            "Zhipu in China (Anthropic's format)",
        ),
    ]
