"""The examples of docs/testing.md, which are cut out of this file."""

from __future__ import annotations

from pathlib import Path

import attrs
import ccr_plugin_anthropic
import ccr_plugin_maxtoken
import ccr_plugin_openai_chat
import ccr_plugin_rule_default
import pytest

from ccr_core import Context, Decision, Pass, Request, RouteContext, RuleSpec, Transformer, TransformerSpec, hookimpl
from ccr_core.testing import (
    Call,
    Make,
    RuleCase,
    Trial,
    Upstream,
    ask,
    check_dialect,
    check_plugin,
    check_rule,
    check_stream,
    check_transformer,
    claude_code_headers,
    claude_code_request,
    config,
    context,
    expected,
    message,
    standins,
)
from ccr_core.testing.recordings import Recording, recordings
from ccr_core.testing.samples import text

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

RECORDINGS = Path(__file__).parents[1] / "recordings"
PLUGINS = [ccr_plugin_openai_chat, ccr_plugin_anthropic, ccr_plugin_rule_default]


async def test_tool_calls_come_back(ccr: Make, upstream: Upstream) -> None:
    """
    Two calls of the provider reach the client as two calls.
    """
    upstream.stream(RECORDINGS / "openai-chat/openai/prefect.complex-agent-run-in-flow.1", cut=7)

    answer = await ccr(config(), plugins=PLUGINS).messages(ask("what is the weather?", tools=["get_weather"]))

    assert [Call("get_weather", {"city": "Mexico City"}), Call("get_product_name", {})] == answer.calls
    assert "tool_use" == answer.stop_reason
    assert "big" == upstream.requests[0].json["model"]
    assert "acme,big" == answer.route


async def test_the_next_provider_answers(ccr: Make, upstream: Upstream) -> None:
    """
    After a refusal the fallback is asked, and the client notices nothing.
    """
    upstream.fail(529, "busy").then.reply({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]})

    router = ccr({**config(), "fallback": {"default": ["acme,small"]}}, plugins=PLUGINS)
    answer = await router.messages(ask())

    assert (200, "hi") == (answer.status, answer.text)
    assert ["big", "small"] == [request.json["model"] for request in answer.sent]
    assert "fallback" in dict(answer.notes)


async def test_a_cut_answer_is_an_error(ccr: Make, upstream: Upstream) -> None:
    """
    A connection that breaks is told to the client after what had come.
    """
    upstream.stream(RECORDINGS / "openai-chat/mistral/mistral-text.stream").drop_after(900)

    answer = await ccr(config(), plugins=PLUGINS).messages(ask())

    check_stream(answer.events, complete=False)
    assert answer.text.startswith("Hello")
    assert answer.error is not None


async def test_a_client_that_leaves(ccr: Make, upstream: Upstream) -> None:
    """
    When the client hangs up, the provider's connection is closed at once.
    """
    upstream.stream(RECORDINGS / "openai-chat/mistral/mistral-text.stream").hang_after(900)

    async with ccr(config(), plugins=PLUGINS).open(ask()) as stream:
        await stream.until("content_block_delta")
        await stream.hang_up()

    await upstream.requests[0].until_closed()


async def test_a_request_of_claude_code(ccr: Make) -> None:
    """
    Nothing that is for Claude Code alone goes to another provider.
    """
    router = ccr(config(), plugins=PLUGINS)

    why = await router.explain(claude_code_request("hi"), headers=claude_code_headers())

    assert "DeferredToolPlaceholder" not in str(why["body"])
    assert {"provider": "acme", "model": "big", "level": None} == why["route"]


def test_dialect() -> None:
    """
    Every recording of this format is read right, however it is cut.
    """
    [dialect] = ccr_plugin_openai_chat.ccr_dialects()

    check_dialect(dialect, recordings(RECORDINGS, "openai-chat"))


@pytest.mark.parametrize("recording", recordings(RECORDINGS, "openai-chat"), ids=str)
async def test_recording(ccr: Make, upstream: Upstream, recording: Recording) -> None:
    """
    What a provider said is what the client reads, streamed or not.
    """
    said = expected(recording)
    for stream in (True, False):
        upstream.stream(recording, cut=4096)
        answer = await ccr(config(), plugins=PLUGINS).messages(ask(stream=stream))
        if said.failure is None:
            assert [] == said.differences(answer.message)
        else:
            assert answer.error is not None


@attrs.frozen
class BriefOptions:
    """Options of `brief`."""

    words: int = 100


class Brief(Transformer[BriefOptions]):
    """Asks for short answers."""

    def on_request(self, request: Request) -> Request:
        order = {"type": "text", "text": f"Use at most {self.options.words} words."}
        return request.with_(system=[*request.system_blocks(), order])


BRIEF = TransformerSpec(name="brief", factory=Brief, options=BriefOptions, summary="Ask for short answers.")


def test_brief() -> None:
    """
    The order is the last block of the system prompt.
    """
    trial = Trial(BRIEF, {"words": 5})

    request = trial.request(ask(system="You are a poet."))

    assert ["You are a poet.", "Use at most 5 words."] == [block["text"] for block in request.system_blocks()]
    assert "hi" == trial.message(message(text("hi")))["content"][0]["text"]
    assert [] == trial.notes


def test_brief_keeps_the_rules() -> None:
    """
    It does what every transformer has to.
    """
    check_transformer(BRIEF)
    check_transformer(BRIEF, {"words": 5}, requests={"no system prompt": ask()})


async def test_brief_in_a_router(ccr: Make, upstream: Upstream) -> None:
    """
    The configuration names it, and the provider gets the order.
    """

    class Plugin:
        """What the module of the plugin would be."""

        @hookimpl
        def ccr_transformers(self) -> list[TransformerSpec]:
            return [BRIEF]

    upstream.reply(message(text("so")))
    router = ccr(
        config(dialect="plain", use=[["brief", {"words": 5}]]),
        plugins=[Plugin(), standins.ingress, standins.dialect, standins.rule],
    )

    answer = await router.messages(ask(stream=False))

    assert "so" == answer.text
    assert "Use at most 5 words." == upstream.requests[0].json["system"][0]["text"]


def night(request: Request, ctx: RouteContext) -> Decision | Pass:
    """Send what is not urgent to the local model."""
    if request.body.get("service_tier") != "flex":
        return Pass("it is urgent")
    return Decision("local,tiny", "it may wait")


NIGHT = RuleSpec(name="night", decide=night, summary="What may wait goes to the local model.")


def test_night() -> None:
    """
    Only what may wait is sent there.
    """
    check_rule(
        NIGHT,
        [
            RuleCase(body=ask(service_tier="flex"), model="local,tiny"),
            RuleCase(body=ask()),
        ],
    )


def test_plugin() -> None:
    """
    The package keeps to the rules.
    """
    check_plugin(ccr_plugin_maxtoken)


def test_contexts_are_at_hand() -> None:
    """
    What a dialect or a transformer gets can be made by hand too.
    """
    notes: list[tuple[str, object]] = []
    ctx: Context = context("big", notes=notes)
    ctx.note("dropped", "top_k")

    assert [("dropped", "top_k")] == notes
    assert ("acme", "big") == (ctx.target.provider, ctx.target.model)
