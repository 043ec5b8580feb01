"""A router on a loopback port, for clients that open real connections."""

from __future__ import annotations

from collections.abc import Iterator

import ccr_plugin_anthropic
import ccr_plugin_echo
import ccr_plugin_gemini
import ccr_plugin_ingress_openai_responses
import ccr_plugin_openai_chat
import ccr_plugin_openai_responses
import ccr_plugin_rule_default
import ccr_plugin_rule_explicit
import openai
import pytest

from ccr_core.testing import Served, Upstream, serving

DIALECTS = ("anthropic", "openai-chat", "openai-responses", "gemini")
PLUGINS = [
    ccr_plugin_anthropic,
    ccr_plugin_echo,
    ccr_plugin_gemini,
    ccr_plugin_ingress_openai_responses,
    ccr_plugin_openai_chat,
    ccr_plugin_openai_responses,
    ccr_plugin_rule_default,
    ccr_plugin_rule_explicit,
]


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """The router with a provider of each dialect, named after it, and ``echo``."""
    providers = [
        {
            "name": dialect,
            "api_base_url": f"https://{dialect}.example/v1",
            "api_key": "sk-test",
            "models": ["big"],
            "dialect": dialect,
        }
        for dialect in DIALECTS
    ]
    with serving({"Providers": [*providers, {"name": "echo"}], "Router": {"default": "echo,echo"}}, PLUGINS) as made:
        yield made


@pytest.fixture
def provider(served: Served) -> Iterator[Upstream]:
    """The provider that the router reaches in this test."""
    served.line.upstream = Upstream()
    yield served.line.upstream
    served.line.upstream.verify()


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK, which does not try again."""
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused", max_retries=0, timeout=20) as made:
        yield made
