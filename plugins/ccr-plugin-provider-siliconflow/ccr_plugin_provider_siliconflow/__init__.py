"""Presets for SiliconFlow: the service in China and the international one, which have keys of their own."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

_THINKING = {"reasoning": {"style": "enable_thinking"}}
_EFFORT = {"reasoning": {"style": "enable_thinking", "effort_too": True, "levels": ["high", "max"]}}
_PLAIN = {"reasoning": {"style": "none"}}
_OPTIONS = {
    "reasoning": {"min_budget": 128, "max_budget": 32768},
    # A model that cannot be told whether to think refuses the field.
    "models": {
        "*qwen3-*": _THINKING,
        "*glm-4.[5-9]*": _THINKING,
        "*glm-5*": _EFFORT,
        "*deepseek-v3.[1-9]*": _THINKING,
        "*deepseek-v4*": _EFFORT,
        "*coder*": _PLAIN,
        "*instruct*": _PLAIN,
        "*-thinking*": _PLAIN,
    },
}


def _presets(name: str, host: str, summary: str) -> Iterable[ProviderSpec]:
    yield ProviderSpec(
        name=name,
        base_url=f"https://{host}/v1/chat/completions",
        key_env="SILICONFLOW_API_KEY",
        options=_OPTIONS,
        summary=summary,
    )
    yield ProviderSpec(
        name=f"{name}-anthropic",
        base_url=f"https://{host}",
        dialect="anthropic",
        key_style="bearer",
        key_env="SILICONFLOW_API_KEY",
        options={"clean": True},
        summary=f"{summary} (Anthropic's format)",
    )


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``siliconflow`` and ``siliconflow-intl``, and the same with ``-anthropic``."""
    return [
        *_presets("siliconflow", "api.siliconflow.cn", "SiliconFlow in China"),
        *_presets("siliconflow-intl", "api.siliconflow.com", "SiliconFlow, international"),
    ]
