"""Presets for Mistral: the API, and the address for keys of Codestral."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import ProviderSpec, hookimpl

_OPTIONS = {
    # Usage comes unasked, and a field that is not known is refused.
    "stream_usage": "never",
    "reasoning": {"replay_as": "parts"},
    "tools": {"choice_required": "any", "forced": "filter", "id_style": "alnum9"},
    "content": {
        "documents": "document_url",
        "prefill": "prefix",
        "inline_system": "user",
        # The service refuses a user message right after a tool message.
        "after_tool": "Noted.",
    },
}

CHAT = ProviderSpec(
    name="mistral",
    base_url="https://api.mistral.ai/v1/chat/completions",
    key_env="MISTRAL_API_KEY",
    models=("mistral-medium-latest", "mistral-large-latest", "mistral-small-latest", "codestral-latest"),
    options=_OPTIONS,
    summary="Mistral",
)

CODESTRAL = ProviderSpec(
    name="codestral",
    base_url="https://codestral.mistral.ai/v1/chat/completions",
    key_env="CODESTRAL_API_KEY",
    models=("codestral-latest",),
    options=_OPTIONS,
    summary="Codestral, with a key of its own",
)


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``mistral`` and ``codestral``."""
    return [CHAT, CODESTRAL]
