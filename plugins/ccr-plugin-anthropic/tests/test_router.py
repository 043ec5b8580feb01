"""The plugin in a whole router: what reaches the provider, and what comes back to the client."""

from __future__ import annotations

import json
from pathlib import Path

import ccr_plugin_anthropic
import ccr_plugin_rule_default
import pytest

from ccr_core.testing import Upstream, ask, claude_code_headers, claude_code_request, config, recordings
from ccr_core.testing.pytest_plugin import Make
from ccr_core.testing.recordings import Recording

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [ccr_plugin_anthropic, ccr_plugin_rule_default]
RECORDED = recordings.recordings(Path(__file__).parents[3] / "tests" / "recordings", "anthropic")
STREAMED = [one for one in RECORDED if one.stream]
WHOLE = [one for one in RECORDED if not one.stream]
CONFIG = config("anthropic", ["claude-opus-5"], api_base_url="https://api.anthropic.com", dialect="anthropic")


@pytest.mark.parametrize("recording", STREAMED, ids=str)
async def test_a_stream_is_passed_on(ccr: Make, upstream: Upstream, recording: Recording) -> None:
    """From Anthropic to a client of Anthropic's every byte passes, and the log has the figures."""
    upstream.stream(recording, cut=777)

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(claude_code_request(), headers=claude_code_headers())

    assert (200, recording.response) == (answer.status, answer.body)
    assert answer.finished is not None
    assert answer.usage["output_tokens"] == answer.finished.usage["output_tokens"]
    assert answer.stop_reason == answer.finished.stop_reason


@pytest.mark.parametrize("recording", WHOLE, ids=str)
async def test_a_message_is_passed_on(ccr: Make, upstream: Upstream, recording: Recording) -> None:
    """A whole answer, or a refusal, has all its fields at the client."""
    upstream.stream(recording)

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask(stream=False))

    assert recording.status == answer.status
    told = json.loads(recording.response)
    assert told == answer.json


async def test_the_way_out(ccr: Make, upstream: Upstream) -> None:
    """Anthropic gets the client's request with its own model and key, and not the client's credentials."""
    upstream.stream(STREAMED[0])
    body, headers = claude_code_request(), claude_code_headers()

    await ccr(CONFIG, plugins=PLUGINS).messages(body, headers=headers, path="/v1/messages?beta=true")

    (sent,) = upstream.requests
    assert {**body, "model": "claude-opus-5"} == sent.json
    assert ("sk-test", headers["anthropic-beta"]) == (sent.headers["x-api-key"], sent.headers["anthropic-beta"])
    assert "authorization" not in sent.headers


async def test_use_bearer(ccr: Make, upstream: Upstream) -> None:
    """The transformer selects the dialect, and its option the way in which the key is sent."""
    upstream.stream(STREAMED[0])
    document = config(use=[["Anthropic", {"UseBearer": True}]])

    await ccr(document, plugins=PLUGINS).messages(ask())

    (sent,) = upstream.requests
    assert ("https://api.example/v1/messages", "Bearer sk-test") == (sent.url, sent.headers["authorization"])
    assert "x-api-key" not in sent.headers


async def test_a_stream_without_event_lines(ccr: Make, upstream: Upstream) -> None:
    """A provider that leaves out the names of events is readable all the same."""
    data = b"\n".join(line for line in STREAMED[0].response.split(b"\n") if not line.startswith(b"event:"))
    upstream.stream(data, cut=100)

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask())

    assert answer.complete
    assert all(event.type for event in answer.events)


async def test_a_cut_stream(ccr: Make, upstream: Upstream) -> None:
    """A stream that breaks off, or ends too early, ends with an error behind a whole event."""
    data = STREAMED[0].response
    for broken in (data[: len(data) // 2], data[: data.index(b"event: message_stop")]):
        upstream.stream(broken)

        answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask())

        assert (False, "error") == (answer.complete, answer.events[-1].type)


async def test_a_refusal(ccr: Make, upstream: Upstream) -> None:
    """The client sees the provider's own status, words and advice."""
    upstream.fail(429, "slow down", retry_after=3, headers={"x-should-retry": "true", "request-id": "req_1"})

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask())

    assert (429, {"type": "rate_limit_error", "message": "slow down"}) == (answer.status, answer.error)
    assert ("3", "true", "req_1") == tuple(answer.headers[n] for n in ("retry-after", "x-should-retry", "request-id"))


async def test_a_bad_request(ccr: Make) -> None:
    """What is wrong with a request the client is told in the API's own form."""
    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask(messages=[]))

    assert 400 == answer.status
    assert {"type": "invalid_request_error", "message": "messages: at least one message is required"} == answer.error


async def test_count(ccr: Make) -> None:
    """Counting needs neither ``max_tokens`` nor the provider."""
    body = {"model": "x", "messages": [{"role": "user", "content": "how long is this?"}], "tools": []}

    answer = await ccr(CONFIG, plugins=PLUGINS).count_tokens(body)

    assert 200 == answer.status
    assert answer.json["input_tokens"] > 0
