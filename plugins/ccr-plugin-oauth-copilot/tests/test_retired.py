"""What becomes of requests to a service that is not there any more."""

from __future__ import annotations

from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_oauth_copilot
import ccr_plugin_openai_chat
import ccr_plugin_rule_default
import ccr_plugin_store_file
import pytest

from ccr_core.testing import Make, Upstream, claude_code_request, streamed

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [
    ccr_plugin_anthropic,
    ccr_plugin_oauth_copilot,
    ccr_plugin_openai_chat,
    ccr_plugin_rule_default,
    ccr_plugin_store_file,
]
ENTRIES = [
    {"name": "github-models"},
    {"name": "gh", "api_base_url": "https://models.github.ai/inference/chat/completions", "api_key": "ghp_1"},
    {"name": "gh", "api_base_url": "https://models.inference.ai.azure.com", "api_key": "ghp_1"},
]


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
async def test_github_models(ccr: Make, entry: dict[str, Any]) -> None:
    """The answer says since when, and what to use; nobody is asked."""
    document = {"Providers": [{**entry, "models": ["gpt-4o"]}], "Router": {"default": f"{entry['name']},gpt-4o"}}
    answer = await ccr(document, PLUGINS).messages(claude_code_request())

    assert (403, []) == (answer.status, answer.sent)
    assert answer.error is not None
    assert "retired on 2026-07-30" in answer.error["message"]
    assert "ccr auth login copilot" in answer.error["message"]


async def test_the_fallback(ccr: Make, upstream: Upstream) -> None:
    """Another route answers where there is one."""
    other = {"name": "other", "api_base_url": "https://other.example", "api_key": "k", "models": ["m"]}
    document = {
        "Providers": [{**ENTRIES[1], "models": ["gpt-4o"]}, {**other, "dialect": "anthropic"}],
        "Router": {"default": "gh,gpt-4o"},
        "fallback": {"default": ["other,m"]},
    }
    upstream.stream(streamed("Hello"))

    assert "Hello" == (await ccr(document, PLUGINS).messages(claude_code_request())).text
