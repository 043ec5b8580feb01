"""Recorded answers and requests of Anthropic, through the ingress and the dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from ccr_plugin_anthropic.dialect import Anthropic
from ccr_plugin_anthropic.ingress import AnthropicIngress
from pydantic import TypeAdapter

from ccr_core import JSON, Context, Request, Target, WireReply, assemble
from ccr_core.testing import check_dialect, check_ingress, decode, recordings
from ccr_core.testing.recordings import Recording, read_sse

ALL = recordings.recordings(Path(__file__).parents[3] / "tests" / "recordings", "anthropic")
STREAMED = [one for one in ALL if one.stream and not one.failed]
WHOLE = [one for one in ALL if not one.stream and not one.failed]
ASKED = [one for one in ALL if one.request is not None]

EVENT: TypeAdapter[object] = TypeAdapter(BetaRawMessageStreamEvent)
MESSAGE: TypeAdapter[object] = TypeAdapter(BetaMessage)


def ctx(model: str, base_url: str = "https://api.anthropic.com") -> Context:
    """The context of an attempt at Anthropic."""
    return Context(exchange_id="1", target=Target(provider="anthropic", model=model, base_url=base_url))


def test_dialect() -> None:
    """Every recorded answer means what it says, streamed and whole, at any cut, passed on and decoded."""
    assert 31 == len(ALL)
    check_dialect(Anthropic(), ALL)


def test_ingress() -> None:
    """Every recorded request is taken; every kind of answer is told so that it reads back to itself."""
    assert 19 == len(ASKED)
    check_ingress(AnthropicIngress(), Anthropic(), bodies=[one.request for one in ASKED if one.request], exact=True)


def spread(events: list[JSON]) -> Iterator[JSON]:
    """``events`` with arguments that stand in a block's start in a delta, where every client reads them."""
    held = None
    for event in events:
        block = event.get("content_block") or {}
        if block.get("input"):
            held = orjson.dumps(block["input"]).decode()
            yield {**event, "content_block": {**block, "input": {}}}
            continue
        if held is not None:
            delta = {"type": "input_json_delta", "partial_json": held}
            yield {"type": "content_block_delta", "index": event["index"], "delta": delta}
            held = None
        yield event


@pytest.mark.parametrize("recording", STREAMED, ids=str)
def test_decoded_and_encoded_a_stream_is_the_same(recording: Recording) -> None:
    """Through decoder, Sequencer and encoder every event keeps every field, and the SDK's types accept them."""
    decoded = decode(Anthropic(), [recording.response], Request({}), ctx(recording.model))
    encoder = AnthropicIngress().encoder(Request({}))

    data = b"".join(piece for event in decoded.sequenced for piece in encoder.feed(event))

    def events(stream: bytes) -> list[JSON]:
        return [event for event in read_sse(stream) if event["type"] != "ping"]

    assert list(spread(events(recording.response))) == events(data)
    assert data.count(b"event: ") == data.count(b"\ndata: ") == data.count(b"\n\n")
    for event in events(data):
        usage = event.get("usage") or {}
        # The published types demand a figure here that two recordings lack.
        if "web_fetch_requests" in (usage.get("server_tool_use") or {"web_fetch_requests": 0}):
            EVENT.validate_python(event)


@pytest.mark.parametrize("recording", WHOLE, ids=str)
def test_decoded_and_assembled_a_message_is_the_same(recording: Recording) -> None:
    """A whole answer keeps every field on the way through the events, and the SDK's types accept it."""
    body = json.loads(recording.response)

    message = assemble(Anthropic().decode_body(body, Request({}), ctx(recording.model)))

    assert body == message
    MESSAGE.validate_json(AnthropicIngress().encode_message(message, Request({})))


@pytest.mark.parametrize("recording", STREAMED, ids=str)
def test_cut_after_any_event(recording: Recording) -> None:
    """A stream that lacks its last event is an error, decoded or passed on."""
    events = recording.response.split(b"\n\n")
    stop = next(place for place, event in enumerate(events) if event.startswith(b"event: message_stop"))
    for size in {0, 1, 2, stop // 2, stop - 1, stop}:
        part = b"".join(event + b"\n\n" for event in events[:size])

        error = decode(Anthropic(), [part], Request({}), ctx(recording.model)).error

        assert "ProtocolError" == type(error).__name__


@pytest.mark.parametrize("recording", ASKED, ids=str)
def test_requests_keep_every_field(recording: Recording) -> None:
    """Towards Anthropic a request goes out as it came, but for the model."""
    assert recording.request is not None
    request = AnthropicIngress().decode(json.dumps(recording.request).encode(), {})

    wire = Anthropic().encode(request, ctx(recording.model))

    assert {**recording.request, "model": recording.model} == wire.body


def test_refusal() -> None:
    """The recorded refusal keeps status, kind, words and request id."""
    (recording,) = [one for one in ALL if one.failed]

    error = Anthropic().decode_error(
        WireReply(status=recording.status, headers=recording.headers, body=recording.response)
    )

    assert (404, "not_found_error", "model: claude-sonet-4-5") == (error.status, error.kind, error.message)
    assert {"request-id": "req_011CdufXo8Y2LVfY2veyuQWG"} == error.headers
