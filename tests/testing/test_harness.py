"""The router in a test: what it shows of an answer, and what the scripted provider can do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ccr_core import ConfigError, Request, Transformer, TransformerSpec, hookimpl
from ccr_core.testing import (
    Call,
    Harness,
    Make,
    Recording,
    Upstream,
    ask,
    check_stream,
    claude_code_headers,
    claude_code_request,
    config,
    expected,
    message,
    sse,
    standins,
    to_wire,
)
from ccr_core.testing.recordings import recordings
from ccr_core.testing.samples import text, thinking, tool_use

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

ROOT = Path(__file__).parents[1] / "recordings"
TEXT = Recording.load(ROOT / "anthropic/anthropic/anthropic-text.stream", ROOT)
PLUGINS = [standins.ingress, standins.dialect, standins.rule]
CONFIG = config(dialect="plain")


@pytest.mark.parametrize("recording", recordings(ROOT, "anthropic"), ids=str)
async def test_a_recording_goes_through_a_whole_router(ccr: Make, upstream: Upstream, recording: Recording) -> None:
    """
    Asked for as a stream and whole, each recording comes out with its meaning.
    """
    router = ccr(CONFIG, plugins=PLUGINS)
    said = expected(recording)
    for stream in (True, False):
        upstream.stream(recording, cut=97)

        answer = await router.messages(ask(stream=stream))

        if said.failure is not None:
            assert answer.error is not None
            assert [] == said.failure.differences(answer.error["message"], answer.status)
            continue
        assert answer.complete
        assert [] == said.differences(answer.message)
        if stream:
            check_stream(answer.events)


async def test_an_answer_has_all_its_parts(ccr: Make, upstream: Upstream) -> None:
    """
    Text, thinking, calls, usage, route and what was sent can be asserted on.
    """
    upstream.reply(
        message(thinking("hm"), text("hi "), tool_use("Read", n=1), text("there"), stop_reason="tool_use"),
        headers={"X-Extra": "1"},
    )

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask("look", stream=False, model="ACME,small"))

    assert (200, "hi there", "hm", "tool_use") == (answer.status, answer.text, answer.thinking, answer.stop_reason)
    assert [Call("Read", {"n": 1})] == answer.calls
    assert ["toolu_1"] == [block["id"] for block in answer.tool_uses]
    assert {"input_tokens": 12, "output_tokens": 34} == answer.usage
    assert ("acme,small", "default") == (answer.route, answer.rule)
    assert None is answer.error
    assert "application/json" == answer.headers["content-type"]
    assert ["small"] == [request.json["model"] for request in answer.sent]
    assert upstream.requests == answer.sent
    assert ("POST", "https://api.example/v1/messages", "Bearer sk-test") == (
        upstream.requests[0].method,
        upstream.requests[0].url,
        upstream.requests[0].headers["authorization"],
    )


class Notes(Transformer[None]):
    """Leaves a note."""

    def on_request(self, request: Request) -> Request:
        """Note it."""
        self.ctx.note("seen", request.model)
        return request


class WithNotes:
    @hookimpl
    def ccr_transformers(self) -> Iterable[TransformerSpec]:
        return [TransformerSpec(name="notes", factory=Notes, summary="Notes.")]


async def test_notes_belong_to_their_answer(ccr: Make, upstream: Upstream) -> None:
    """
    Two answers at the same time have their own notes and their own requests.
    """
    router = ccr(config(dialect="plain", use=["notes"]), plugins=[*PLUGINS, WithNotes()])
    upstream.stream(TEXT, cut=200).then.stream(TEXT, cut=50)

    answers = await asyncio.gather(*(router.messages(ask(model=f"acme,{name}")) for name in ("big", "small")))

    assert [[("seen", "acme,big")], [("seen", "acme,small")]] == [answer.notes for answer in answers]
    assert [["big"], ["small"]] == [[sent.json["model"] for sent in answer.sent] for answer in answers]


async def test_increments_come_as_they_are_sent(ccr: Make, upstream: Upstream) -> None:
    """
    An event is there before the provider has finished, and bears its time.
    """
    upstream.stream(TEXT, cut=400, pause=0.005)

    async with ccr(CONFIG, plugins=PLUGINS).open(ask()) as stream:
        first = await stream.until("content_block_delta")
        seen = len(stream.increments)
        assert not stream.complete
        await stream.finish()

    assert 0 < seen < len(stream.increments)
    assert first.at < stream.events[-1].at
    assert stream.complete
    assert [event.type for event in stream.events] == [event async for event in _types(stream)]


async def _types(stream: Any) -> Any:
    async for event in stream:
        yield event.type


async def test_hanging_up_closes_the_upstream(ccr: Make, upstream: Upstream) -> None:
    """
    A client that leaves in the middle is noticed at once.
    """
    upstream.stream(TEXT).hang_after(1500)

    async with ccr(CONFIG, plugins=PLUGINS).open(ask()) as stream:
        await stream.until("content_block_delta")
        assert not upstream.requests[0].closed
        await stream.hang_up()

    await upstream.requests[0].until_closed()
    assert stream.finished is not None
    assert 499 == stream.finished.status
    assert "Hello" in stream.text


async def test_leaving_the_block_hangs_up(ccr: Make, upstream: Upstream) -> None:
    """
    A provider that never answers does not hold a test.
    """
    upstream.hang()

    async with ccr(CONFIG, plugins=PLUGINS).open(ask()):
        await asyncio.sleep(0.01)

    assert upstream.requests[0].closed


async def test_a_dropped_connection_is_an_error(ccr: Make, upstream: Upstream) -> None:
    """
    What had come is delivered, then the error, and no end.
    """
    upstream.stream(TEXT, cut=64).drop_after(1500)

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask())

    assert (200, False) == (answer.status, answer.complete)
    assert answer.error is not None
    assert "Hello" in answer.text
    check_stream(answer.events, complete=False)


async def test_a_refusal_keeps_its_headers(ccr: Make, upstream: Upstream) -> None:
    """
    Status, words and retry-after arrive.
    """
    upstream.fail(429, "slow down", retry_after=2)

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask())

    assert (429, "2") == (answer.status, answer.headers["retry-after"])
    assert {"type": "rate_limit_error", "message": "slow down"} == answer.error
    assert {} == answer.message


async def test_an_unreachable_provider_is_a_bad_gateway(ccr: Make, upstream: Upstream) -> None:
    """
    ``refuse`` is a connection that does not come about.
    """
    upstream.refuse()

    assert 502 == (await ccr(CONFIG, plugins=PLUGINS).messages(ask())).status


async def test_events_can_be_written_in_the_test(ccr: Make, upstream: Upstream) -> None:
    """
    A short stream needs no recording: ``sse`` makes bytes of events.
    """
    upstream.stream(sse({"type": "message_start", "message": {**message(), "content": []}}, *_ending()))

    answer = await ccr(CONFIG, plugins=PLUGINS).messages(ask())

    assert ("end_turn", "") == (answer.stop_reason, answer.text)
    assert b'data: [DONE]\n\ndata: {"a": "\xc3\xbc"}\n\n' == sse("[DONE]", {"a": "ü"})


def _ending() -> list[dict[str, Any]]:
    return [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ]


async def test_the_other_paths_answer_too(ccr: Make) -> None:
    """
    Counting, listing models and explaining send nothing.
    """
    router = ccr(CONFIG, plugins=PLUGINS)
    body = claude_code_request()

    counted = await router.count_tokens(body)
    models = await router.get("/v1/models?limit=1000")
    head = await router.get("/api/hello", method="HEAD")
    why = await router.explain(body, headers=claude_code_headers())
    lost = await router.get("/nowhere")

    assert counted.json["input_tokens"] > 1000
    assert ["acme,big", "acme,small"] == [model["id"] for model in models.json["data"] if "claude" not in model["id"]]
    assert [200, 200, 404] == [models.status, head.status, lost.status]
    assert {"provider": "acme", "model": "big", "level": None} == why["route"]
    assert "big" == why["body"]["model"]


async def test_a_bad_configuration_is_refused_as_at_start(ccr: Make) -> None:
    """
    The harness hides no problem of the configuration, nor a plugin that fails.
    """

    class Broken:
        @hookimpl
        def ccr_dialects(self) -> Iterable[Any]:
            raise ValueError("no")

    with pytest.raises(ConfigError, match='no transformer "nope"'):
        ccr(config(dialect="plain", use=["nope"]), plugins=PLUGINS)
    with pytest.raises(AssertionError, match="Broken failed: ccr_dialects: ValueError: no"):
        ccr(CONFIG, plugins=[*PLUGINS, Broken()])


async def test_an_unexpected_request_fails_the_test(ccr: Make) -> None:
    """
    A request for which nothing is queued is reported at the end, and so is an answer that nobody fetched.
    """
    upstream = Upstream()
    router = Harness(CONFIG, PLUGINS, upstream)
    answer = await router.messages(ask())
    upstream.reply({}).then.fail(500)
    await router.aclose()

    assert answer.error is not None
    with pytest.raises(AssertionError) as raised:
        upstream.verify()
    assert "unexpected request: number 1, POST https://api.example/v1/messages" in str(raised.value)
    assert "nobody fetched the reply with status 200" in str(raised.value)
    assert "nobody fetched the reply with status 500" in str(raised.value)


def test_an_answer_must_be_queued_before_it_can_break() -> None:
    """
    ``drop_after`` is about the answer that was queued last.
    """
    with pytest.raises(AssertionError, match="queue an answer first"):
        Upstream().drop_after(5)


async def test_a_recording_can_be_named_by_its_folder(ccr: Make, upstream: Upstream) -> None:
    """
    A folder brings status and content type with it; a file is a stream.
    """
    folder = ROOT / "anthropic/anthropic/model-name-suggestions.model-name-suggestion-anthropic-.0"
    upstream.stream(folder).then.stream(str(ROOT / TEXT.name / "response.sse"))
    router = ccr(CONFIG, plugins=PLUGINS)

    assert 404 == (await router.messages(ask(stream=False))).status
    assert (await router.messages(ask())).text.startswith("Hello!")


async def test_an_event_must_bear_the_type_of_its_data(ccr: Make, upstream: Upstream) -> None:
    """
    Clients go by the ``event:`` line, so one that says something else is a fault.
    """

    class Liar(standins.PlainIngress):
        def encoder(self, request: Request) -> Any:
            inner = super().encoder(request)

            class Encoder(type(inner)):  # type: ignore[misc]
                def feed(self, item: Any) -> Any:
                    return [part.replace(b"event: message_stop", b"event: ping") for part in super().feed(item)]

            return Encoder()

    class WithLiar:
        @hookimpl
        def ccr_ingresses(self) -> list[Any]:
            return [Liar()]

    upstream.stream(TEXT)
    answer = await ccr(CONFIG, plugins=[WithLiar(), standins.dialect, standins.rule]).messages(ask())

    with pytest.raises(AssertionError, match="the event 'ping' has data of the type 'message_stop'"):
        _ = answer.events


def test_the_claude_code_body_has_the_shape_of_the_real_one() -> None:
    """
    Three system blocks, a system message after the user's, a placeholder tool, three cache marks, the session in JSON.
    """
    body = claude_code_request("the task", subagent=True, tools=...)
    whole = claude_code_request()

    assert ["text"] * 3 == [block["type"] for block in body["system"]]
    assert "cc_is_subagent=true;" in body["system"][0]["text"]
    assert ["user", "system"] == [entry["role"] for entry in body["messages"]]
    assert "the task" == body["messages"][0]["content"][-1]["text"]
    assert "tools" not in body
    assert ["DeferredToolPlaceholder"] == [tool["name"] for tool in whole["tools"] if tool.get("defer_loading")]
    assert 3 == str(whole).count("cache_control")
    assert 10_000 < len(str(whole))
    assert list(to_wire([{"type": "ping"}])) == [{"type": "ping"}]
