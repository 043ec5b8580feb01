"""Presets for DashScope, Alibaba's service of Qwen.  Keys belong to a region, so each region has its preset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ccr_core import ProviderSpec, hookimpl

MODELS = ("qwen3-coder-plus", "qwen-plus", "qwen-max")

_OPTIONS: dict[str, Any] = {
    # Some models think in streams only; what comes is put together for a client that does not stream.
    "force_stream": True,
    "reasoning": {"style": "enable_thinking", "forced_tools": False},
    "tools": {"web_search": "enable_search"},
    "models": {
        "qwen3-coder*": {
            "reasoning": {"style": "none"},
            "tools": {"schema": "inline-refs", "choice_required": "auto", "forced": "filter"},
        },
    },
}


def _presets(name: str, host: str, summary: str, *hosts: str) -> Iterable[ProviderSpec]:
    yield ProviderSpec(
        name=name,
        base_url=f"https://{host}/compatible-mode/v1/chat/completions",
        key_env="DASHSCOPE_API_KEY",
        models=MODELS,
        hosts=hosts,
        options=_OPTIONS,
        summary=summary,
    )
    yield ProviderSpec(
        name=f"{name}-anthropic",
        base_url=f"https://{host}/apps/anthropic",
        dialect="anthropic",
        key_style="bearer",
        key_env="DASHSCOPE_API_KEY",
        models=MODELS,
        hosts=hosts,
        options={"clean": True},
        summary=f"{summary} (Anthropic's format)",
    )


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``dashscope``, ``-intl`` and ``-us``, each also with ``-anthropic``, and ``qwen``."""
    beijing, *others = _presets(
        "dashscope",
        "dashscope.aliyuncs.com",
        "DashScope (Qwen) in Beijing",
        "*.dashscope.aliyuncs.com",
        "*.maas.aliyuncs.com",
    )
    return [
        beijing,
        *others,
        *_presets("dashscope-intl", "dashscope-intl.aliyuncs.com", "DashScope (Qwen) in Singapore"),
        *_presets("dashscope-us", "dashscope-us.aliyuncs.com", "DashScope (Qwen) in the United States"),
        attrs.evolve(beijing, name="qwen", summary="Another name of dashscope"),
    ]
