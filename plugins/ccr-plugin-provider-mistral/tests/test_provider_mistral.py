"""The presets of the package ``provider-mistral``, in a whole router."""

from __future__ import annotations

import itertools
import json
import re

import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_provider_mistral
import ccr_plugin_rule_default

from ccr_core import JSON
from ccr_core.testing import Upstream, claude_code_history, claude_code_request
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [
    ccr_plugin_anthropic,
    ccr_plugin_openai_chat,
    ccr_plugin_rule_default,
    ccr_plugin_provider_mistral,
]


async def sent(ccr: Make, upstream: Upstream, route: str, body: JSON) -> tuple[str, dict[str, str], JSON]:
    """URL, headers and body that reach the service, with nothing configured but the name of the preset."""
    document = {"Providers": [{"name": route.partition(",")[0], "api_key": "sk-test"}], "Router": {"default": route}}
    upstream.fail(400)
    await ccr(document, plugins=PLUGINS).messages(body)
    (received,) = upstream.requests
    return received.url, dict(received.headers), received.json


FIELDS = {"model", "messages", "tools", "tool_choice", "max_tokens", "stream"}
"""What may be in the body of these requests: unknown fields are refused."""


async def test_a_conversation(ccr: Make, upstream: Upstream) -> None:
    """Only known fields, ids of nine characters, no user message right after a tool's, and PDFs as such."""
    url, headers, got = await sent(
        ccr, upstream, "mistral,mistral-medium-latest", claude_code_request(history=claude_code_history())
    )
    messages = got["messages"]
    roles = [message["role"] for message in messages]
    ids = [call["id"] for message in messages for call in message.get("tool_calls", ())]

    assert ("https://api.mistral.ai/v1/chat/completions", "Bearer sk-test") == (url, headers["authorization"])
    assert set() == set(got) - FIELDS
    assert [] == [ident for ident in ids if not re.fullmatch("[a-zA-Z0-9]{9}", ident)]
    assert ids == [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert ("tool", "user") not in list(itertools.pairwise(roles))
    assert ["system"] == [role for role in roles if role == "system"]
    assert "document_url" in json.dumps(got)


async def test_a_forced_tool(ccr: Make, upstream: Upstream) -> None:
    """It is the only one, and some tool must be called."""
    body = claude_code_request(tool_choice={"type": "tool", "name": "Bash"})
    _, _, got = await sent(ccr, upstream, "mistral,mistral-medium-latest", body)

    assert (["Bash"], "any") == ([tool["function"]["name"] for tool in got["tools"]], got["tool_choice"])


async def test_an_answer_that_the_client_began(ccr: Make, upstream: Upstream) -> None:
    """It is continued."""
    body = claude_code_request(history=[{"role": "assistant", "content": [{"type": "text", "text": "{"}]}])
    _, _, got = await sent(ccr, upstream, "mistral,mistral-medium-latest", body)

    assert {"role": "assistant", "content": "{", "prefix": True} == got["messages"][-1]


async def test_codestral(ccr: Make, upstream: Upstream) -> None:
    """Its keys have an address of their own."""
    url, _, _ = await sent(ccr, upstream, "codestral,codestral-latest", claude_code_request())

    assert "https://codestral.mistral.ai/v1/chat/completions" == url
