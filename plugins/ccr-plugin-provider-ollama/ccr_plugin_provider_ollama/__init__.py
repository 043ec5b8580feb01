"""Presets for Ollama: the server of this machine, and the cloud of the same maker."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

_OPTIONS = {
    # tool_choice is ignored: offering only the one tool is the nearest thing.
    "tools": {"choice_required": "auto", "forced": "filter", "parallel_flag": False},
    "content": {"images": "inline"},
    # A model that cannot think refuses a request that asks for it; those that can do it unasked.
    "models": {"gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}}},
}

LOCAL = ProviderSpec(
    name="ollama",
    base_url="http://localhost:11434/v1/chat/completions",
    key_style="none",
    hosts=("*:11434",),
    options=_OPTIONS,
    probe="http://localhost:11434/api/tags",
    summary="Ollama on this machine",
)

LOCAL_MESSAGES = ProviderSpec(
    name="ollama-anthropic",
    base_url="http://localhost:11434",
    dialect="anthropic",
    key_style="none",
    hosts=("*:11434",),
    options={"clean": True},
    summary="Ollama on this machine (Anthropic's format, from 0.14 on)",
)

CLOUD = ProviderSpec(
    name="ollama-cloud",
    base_url="https://ollama.com/v1/chat/completions",
    key_env="OLLAMA_API_KEY",
    options=_OPTIONS,
    summary="Ollama's cloud",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``ollama``, ``ollama-anthropic`` and ``ollama-cloud``."""
    return [LOCAL, LOCAL_MESSAGES, CLOUD]
