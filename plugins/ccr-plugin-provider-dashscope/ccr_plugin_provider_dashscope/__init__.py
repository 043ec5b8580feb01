"""Presets for DashScope, Alibaba's service of Qwen.

Keys belong to a region, so each region has its preset; those of the coding plan belong to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


PLAN = "sk-sp-"
"""How the keys of the coding plan begin."""


def _of_plan(key: str) -> str | None:
    if not key.startswith(PLAN):
        return None
    return "this is a key of the coding plan, which is not for this address; use the preset dashscope-coding"


def _presets(
    name: str,
    host: str,
    summary: str,
    *hosts: str,
    path: str = "/compatible-mode/v1",
    advice: Callable[[str], str | None] | None = _of_plan,
) -> Iterable[ProviderSpec]:
    yield ProviderSpec(
        name=name,
        base_url=f"https://{host}{path}/chat/completions",
        key_advice=advice,
        key_env="DASHSCOPE_API_KEY",
        models=MODELS,
        hosts=hosts,
        options=_OPTIONS,
        summary=summary,
    )
    yield ProviderSpec(
        name=f"{name}-anthropic",
        base_url=f"https://{host}/apps/anthropic",
        key_advice=advice,
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
    """The presets ``dashscope``, ``-intl``, ``-us`` and ``-coding``, each also with ``-anthropic``, and ``qwen``."""
    beijing, *others = _presets(
        "dashscope",
        "dashscope.aliyuncs.com",
        "DashScope (Qwen) in Beijing",
        "*.dashscope.aliyuncs.com",
        "*.maas.aliyuncs.com",
    )
    return [
        # Before those whose pattern of hosts is wide enough for it.
        *_presets(
            "dashscope-coding",
            "coding.dashscope.aliyuncs.com",
            "DashScope's coding plan",
            path="/v1",
            advice=None,
        ),
        beijing,
        *others,
        *_presets("dashscope-intl", "dashscope-intl.aliyuncs.com", "DashScope (Qwen) in Singapore"),
        *_presets("dashscope-us", "dashscope-us.aliyuncs.com", "DashScope (Qwen) in the United States"),
        attrs.evolve(beijing, name="qwen", summary="Another name of dashscope"),
    ]
