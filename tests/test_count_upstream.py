"""Counts for clients that ask: the provider's own where it is wanted and can be had, else ours."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from toy import FakeReply, ToyDialect, ask, call, stream, toy_app, toy_plugin, whole

from ccr_core import Context, Request, UpstreamError, WireRequest
from ccr_core import engine as engine_module


class Counting(ToyDialect):
    """A provider that counts."""

    def encode_count(self, request: Request, ctx: Context) -> WireRequest | None:
        if ctx.target.model == "uncounted":
            return None
        return WireRequest(url=f"{ctx.target.base_url}count", body={"messages": request.messages})

    def decode_count(self, body: Any) -> int:
        return body["count"]  # type: ignore[no-any-return]


PLUGIN = toy_plugin(ccr_dialects=lambda: [Counting()])


async def counted(*replies: Any, model: str = "sonnet", wanted: str = "upstream") -> tuple[int, list[Any]]:
    """What the client is told, and what the provider was asked."""
    app, sender = toy_app(*replies, plugins=[PLUGIN], count_tokens=wanted)
    got = await call(app, "POST", "/toy/count", ask("hello there", model=model))
    assert 200 == got.status
    return got.json["tokens"], sender.sent


OURS = 6


async def test_the_provider_counts() -> None:
    """
    The question is signed and goes to the provider of the model, or of the default route.
    """
    tokens, [(wire, body)] = await counted(whole({"count": 4711}))

    assert 4711 == tokens
    assert ("http://toy.invalid/count", "Bearer key-of-toy") == (wire.url, wire.headers["authorization"])
    assert "hello there" in str(body["messages"])
    assert "content-type" in wire.headers


async def test_the_model_that_is_named() -> None:
    """
    With ``provider,model`` that provider is asked.
    """
    _, [(wire, _)] = await counted(whole({"count": 1}), model="spare,m")

    assert "http://spare.invalid/count" == wire.url


@pytest.mark.parametrize(("model", "wanted"), [("toy,uncounted", "upstream"), ("sonnet", "local")])
async def test_nobody_is_asked(model: str, wanted: str) -> None:
    """
    Where it is not wanted, or cannot be had, we count.
    """
    assert (OURS, []) == await counted(model=model, wanted=wanted)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (whole({"error": "slow down"}, 429), "429: slow down"),
        (UpstreamError("no connection"), "502: no connection"),
        (whole({"count": "many"}), "decode_count"),
        (whole({}), "decode_count"),
        (FakeReply(200, {}, [b"<html>"]), "instead of a JSON object"),
        (FakeReply(200, {}, [None]), "did not count within 0.05 s"),
    ],
)
async def test_failures(
    reply: Any, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    When the provider does not count, the client gets our count, and the log says why.
    """
    monkeypatch.setattr(engine_module, "COUNT_S", 0.05)

    with caplog.at_level(logging.WARNING, "ccr.engine"):
        tokens, _ = await counted(reply)

    assert OURS == tokens
    assert words in caplog.text


async def test_rules_do_not_wait_for_a_provider() -> None:
    """
    Only clients that ask are told the provider's count: routing counts here.
    """
    app, sender = toy_app(
        stream(b'data: {"text": "x"}\n\ndata: {"end": true}\n\n'), plugins=[PLUGIN], count_tokens="upstream"
    )

    await call(app, "POST", "/toy", ask("hi", stream=True))

    assert ["http://toy.invalid/"] == [wire.url for wire, _ in sender.sent]
