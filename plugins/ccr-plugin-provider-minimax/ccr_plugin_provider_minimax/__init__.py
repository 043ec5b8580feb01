"""Presets for MiniMax: the international service and the one in China, which have keys of their own."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

MODELS = ("MiniMax-M3", "MiniMax-M2.7")

_OPTIONS = {
    # Thoughts in a field of their own, instead of tags in the text; all of them are wanted back.
    "body": {"reasoning_split": True},
    "reasoning": {"replay": "always"},
    "models": {"minimax-m2*": {"content": {"images": "none"}}},
}


def _presets(name: str, host: str, summary: str) -> Iterable[ProviderSpec]:
    yield ProviderSpec(
        name=name,
        base_url=f"https://{host}/v1/chat/completions",
        key_env="MINIMAX_API_KEY",
        models=MODELS,
        options=_OPTIONS,
        summary=summary,
    )
    yield ProviderSpec(
        name=f"{name}-anthropic",
        base_url=f"https://{host}/anthropic",
        dialect="anthropic",
        key_env="MINIMAX_API_KEY",
        models=MODELS,
        options={"clean": True},
        summary=f"{summary} (Anthropic's format, which MiniMax recommends)",
    )


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``minimax`` and ``minimax-cn``, and the same with ``-anthropic``."""
    return [
        *_presets("minimax", "api.minimax.io", "MiniMax, international"),
        *_presets("minimax-cn", "api.minimaxi.com", "MiniMax in China"),
    ]
