"""Presets for the server of LM Studio."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

CHAT = ProviderSpec(
    name="lmstudio",
    base_url="http://localhost:1234/v1/chat/completions",
    key_style="none",
    hosts=("*:1234",),
    options={
        # tool_choice is taken as a word only.
        "tools": {"forced": "filter", "parallel_flag": False},
        "content": {"images": "inline"},
        "models": {"*gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}}},
    },
    probe="http://localhost:1234/v1/models",
    summary="LM Studio on this machine",
)

MESSAGES = ProviderSpec(
    name="lmstudio-anthropic",
    base_url="http://localhost:1234",
    dialect="anthropic",
    key_style="none",
    hosts=("*:1234",),
    options={"clean": True},
    summary="LM Studio on this machine (Anthropic's format)",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``lmstudio`` and ``lmstudio-anthropic``."""
    return [CHAT, MESSAGES]
