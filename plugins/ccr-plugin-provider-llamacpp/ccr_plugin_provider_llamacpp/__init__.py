"""Presets for ``llama-server`` of llama.cpp."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

_TEMPLATE = {"reasoning": {"style": "chat_template_kwargs"}}

CHAT = ProviderSpec(
    name="llamacpp",
    base_url="http://localhost:8080/v1/chat/completions",
    key_style="none",
    options={
        "top_k": True,
        # tool_choice is taken as a word only.
        "tools": {"forced": "filter"},
        "content": {"images": "inline"},
        "models": {
            "*qwen3*": _TEMPLATE,
            "*glm*": _TEMPLATE,
            "*gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}},
        },
    },
    probe="http://localhost:8080/v1/models",
    summary="llama.cpp's server on this machine",
)

MESSAGES = ProviderSpec(
    name="llamacpp-anthropic",
    base_url="http://localhost:8080",
    dialect="anthropic",
    key_style="none",
    options={"clean": True},
    summary="llama.cpp's server on this machine (Anthropic's format)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``llamacpp`` and ``llamacpp-anthropic``."""
    return [CHAT, MESSAGES]
