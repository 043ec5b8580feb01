"""Presets for Amazon Bedrock with an API key: what it offers without signed requests.  The address holds the region."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from ccr_core import ProviderSpec, hookimpl

_OPTIONS: dict[str, Any] = {
    "models": {
        "*gpt-oss*": {"reasoning": {"style": "reasoning_effort", "can_disable": False}},
        "openai.gpt-[5-9]*": {
            "max_tokens_field": "max_completion_tokens",
            "drop": ["temperature", "top_p"],
            "reasoning": {"style": "reasoning_effort", "can_disable": False, "replay": "none"},
        },
    }
}


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The presets ``bedrock`` and ``bedrock-anthropic``, for the region that the environment names."""
    return [
        ProviderSpec(
            name="bedrock",
            base_url=f"https://bedrock-mantle.{_region()}.api.aws/v1/chat/completions",
            key_env="AWS_BEARER_TOKEN_BEDROCK",
            hosts=("bedrock-mantle.*.api.aws", "bedrock-runtime.*.amazonaws.com"),
            options=_OPTIONS,
            summary="Amazon Bedrock (chat completions)",
        ),
        ProviderSpec(
            name="bedrock-anthropic",
            base_url=f"https://bedrock-mantle.{_region()}.api.aws/anthropic",
            dialect="anthropic",
            key_style="bearer",
            key_env="AWS_BEARER_TOKEN_BEDROCK",
            hosts=("bedrock-mantle.*.api.aws",),
            options={"clean": True, "fields": ["output_config"], "documents": True},
            summary="Claude on Amazon Bedrock",
        ),
    ]
