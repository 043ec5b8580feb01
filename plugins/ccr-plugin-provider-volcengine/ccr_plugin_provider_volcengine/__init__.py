"""Presets for Volcengine Ark: pay as you go, and the coding plan with its own keys."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

_THINKING = {"reasoning": {"style": "thinking"}}
_OPTIONS = {
    # Which models think is known by name only; an endpoint id (ep-…) says nothing, and is left to its default.
    "models": {
        "doubao-seed-*": _THINKING,
        "ark-code-*": _THINKING,
        "deepseek-v3-[1-9]*": _THINKING,
        "deepseek-v[4-9]*": _THINKING,
        "glm-[4-9]*": _THINKING,
        "kimi-k2[-.][5-9]*": _THINKING,
    }
}

CHAT = ProviderSpec(
    name="volcengine",
    base_url="https://ark.cn-beijing.volces.com/api/v3/chat/completions",
    key_env="ARK_API_KEY",
    hosts=("ark.*.volces.com", "ark.*.bytepluses.com"),
    options=_OPTIONS,
    summary="Volcengine Ark",
)

PLAN = ProviderSpec(
    name="volcengine-coding",
    base_url="https://ark.cn-beijing.volces.com/api/coding/v3/chat/completions",
    key_env="ARK_API_KEY",
    models=("ark-code-latest",),
    options=_OPTIONS,
    summary="Volcengine Ark's coding plan",
)

PLAN_MESSAGES = ProviderSpec(
    name="volcengine-coding-anthropic",
    base_url="https://ark.cn-beijing.volces.com/api/coding",
    dialect="anthropic",
    key_style="bearer",
    key_env="ARK_API_KEY",
    models=("ark-code-latest",),
    options={"clean": True},
    summary="Volcengine Ark's coding plan (Anthropic's format)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``volcengine``, ``volcengine-coding`` and ``volcengine-coding-anthropic``."""
    return [CHAT, PLAN, PLAN_MESSAGES]
