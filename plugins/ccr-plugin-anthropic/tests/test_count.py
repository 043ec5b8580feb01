"""Counting by the service itself."""

from __future__ import annotations

from typing import Any

import ccr_plugin_anthropic
import pytest
from ccr_plugin_anthropic.dialect import Anthropic, AnthropicOptions

from ccr_core import Context, ProtocolError, Target, WireRequest
from ccr_core.testing import Make, Upstream, as_request, ask, config, standins

pytest_plugins = ["ccr_core.testing.pytest_plugin"]


def question(url: str, body: Any = None, **options: Any) -> WireRequest | None:
    target = Target(provider="a", model="claude-sonnet-4-5", base_url=url, options=AnthropicOptions(**options))
    given = as_request(body or ask(), {"anthropic-beta": "some-beta-2026-01-01"})
    return Anthropic().encode_count(given, Context(exchange_id="t", target=target))


def test_what_is_sent() -> None:
    """All that has tokens, with the betas, to the address for counting; nothing of how to answer."""
    tools = [{"name": "Read", "input_schema": {"type": "object"}}]
    thinking = {"type": "enabled", "budget_tokens": 2000}
    body = ask(tools=tools, system="Be brief.", thinking=thinking, temperature=1, metadata={"user_id": "u"})
    wire = question("https://api.anthropic.com/v1/messages?beta=true", {**body, "max_tokens": 32_000})

    assert wire is not None
    assert wire.url == "https://api.anthropic.com/v1/messages/count_tokens?beta=true"
    assert wire.headers["anthropic-beta"] == "some-beta-2026-01-01"
    assert wire.body == {
        "model": "claude-sonnet-4-5",
        "messages": body["messages"],
        "tools": tools,
        "system": "Be brief.",
        "thinking": thinking,
    }


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("https://api.anthropic.com", {}, True),
        ("https://api.anthropic.com", {"count_tokens": False}, False),
        ("https://api.z.example/anthropic", {}, False),
        ("https://api.z.example/anthropic", {"count_tokens": True}, True),
    ],
)
def test_who_counts(url: str, options: Any, expected: bool) -> None:
    """Anthropic counts, others where the configuration says so."""
    assert expected == (question(url, **options) is not None)


def test_answers() -> None:
    """The number, or a protocol error."""
    assert 7 == Anthropic().decode_count({"input_tokens": 7})
    with pytest.raises(ProtocolError, match="no input_tokens"):
        Anthropic().decode_count({"tokens": 7})


async def test_in_a_router(ccr: Make, upstream: Upstream) -> None:
    """Claude Code's question is answered with Anthropic's count."""
    upstream.reply({"input_tokens": 4711})
    entry = config("anthropic", ("claude-sonnet-4-5",), api_base_url="https://api.anthropic.com", dialect="anthropic")
    router = ccr({**entry, "count_tokens": "upstream"}, plugins=[ccr_plugin_anthropic, standins.rule])

    got = await router.count_tokens(ask(model="claude-sonnet-4-5"))

    assert {"input_tokens": 4711} == got.json
    [sent] = upstream.requests
    assert ("https://api.anthropic.com/v1/messages/count_tokens", "sk-test") == (sent.url, sent.headers["x-api-key"])
