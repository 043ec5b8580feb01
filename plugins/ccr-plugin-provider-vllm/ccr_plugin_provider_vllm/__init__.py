"""Presets for the server of vLLM."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

_TEMPLATE = {"reasoning": {"style": "chat_template_kwargs"}}

CHAT = ProviderSpec(
    name="vllm",
    base_url="http://localhost:8000/v1/chat/completions",
    key_style="none",
    options={
        "top_k": True,
        "models": {
            "*qwen3*": _TEMPLATE,
            "*glm*": _TEMPLATE,
            "*gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}},
        },
    },
    probe="http://localhost:8000/v1/models",
    summary="vLLM on this machine",
)

MESSAGES = ProviderSpec(
    name="vllm-anthropic",
    base_url="http://localhost:8000",
    dialect="anthropic",
    key_style="none",
    options={"clean": True},
    summary="vLLM on this machine (Anthropic's format)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``vllm`` and ``vllm-anthropic``."""
    return [CHAT, MESSAGES]
