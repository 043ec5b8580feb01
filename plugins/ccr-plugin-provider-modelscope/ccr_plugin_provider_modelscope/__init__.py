"""Presets for ModelScope, which offers open models with a daily quota."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

_PLAIN = {"reasoning": {"style": "none"}}

CHAT = ProviderSpec(
    name="modelscope",
    base_url="https://api-inference.modelscope.cn/v1/chat/completions",
    key_env="MODELSCOPE_API_KEY",
    models=("Qwen/Qwen3-Coder-480B-A35B-Instruct",),
    options={
        "max_output": 65536,
        # Models that may think or not do so in streams only.
        "force_stream": True,
        "reasoning": {"style": "enable_thinking"},
        "models": {"*coder*": _PLAIN, "*instruct*": _PLAIN, "*-thinking*": _PLAIN},
    },
    summary="ModelScope",
)

MESSAGES = ProviderSpec(
    name="modelscope-anthropic",
    base_url="https://api-inference.modelscope.cn",
    dialect="anthropic",
    key_style="bearer",
    key_env="MODELSCOPE_API_KEY",
    models=CHAT.models,
    options={"clean": True},
    summary="ModelScope (Anthropic's format)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``modelscope`` and ``modelscope-anthropic``."""
    return [CHAT, MESSAGES]
