"""The plugin as a whole: what it offers, its options, its URLs, and the way through a whole router."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_anthropic
import ccr_plugin_gemini
import ccr_plugin_rule_default
import pytest
from ccr_plugin_gemini import Gemini, Options, family_of
from ccr_plugin_gemini.urls import endpoint

from ccr_core import JSON, Context, Request, Target, assemble
from ccr_core.testing import (
    Make,
    Upstream,
    as_request,
    ask,
    check_plugin,
    check_stream,
    claude_code_request,
    config,
    expected,
    recordings,
    sse,
)
from ccr_core.testing.recordings import Recording

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

ROOT = Path(__file__).parents[3] / "tests" / "recordings"
HOST = "https://generativelanguage.googleapis.com"


def test_the_plugin_keeps_the_rules() -> None:
    """The checks that every plugin has to pass find nothing."""
    check_plugin(ccr_plugin_gemini)


def test_public_names_resolve() -> None:
    """Each name that the package lists is there, and others are not."""
    for name in ccr_plugin_gemini.__all__:
        assert getattr(ccr_plugin_gemini, name).__name__.lower() == name.lower()
    with pytest.raises(AttributeError, match="nothing"):
        _ = ccr_plugin_gemini.nothing


@pytest.mark.parametrize(
    ("base", "path"),
    [
        (HOST, "/v1beta/models/m"),
        (f"{HOST}/", "/v1beta/models/m"),
        (f"{HOST}/v1beta", "/v1beta/models/m"),
        (f"{HOST}/v1beta/", "/v1beta/models/m"),
        (f"{HOST}/v1/", "/v1/models/m"),
        (f"{HOST}/v1beta/models", "/v1beta/models/m"),
        (f"{HOST}/v1beta/models/", "/v1beta/models/m"),
        (f"{HOST}/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", "/v1beta/models/m"),
        (f"{HOST}/v1beta/models/gemini-2.5-pro:generateContent", "/v1beta/models/m"),
        ("generativelanguage.googleapis.com", "/v1beta/models/m"),
        (f"{HOST}/gateway/google", "/gateway/google/v1beta/models/m"),
    ],
)
def test_urls(base: str, path: str) -> None:
    """Every form of base URL that people paste leads to the endpoint, and streams come as server-sent events."""
    assert f"{HOST}{path}:generateContent" == endpoint(base, "m", False)
    assert f"{HOST}{path}:streamGenerateContent?alt=sse" == endpoint(base, "m", True)


def test_urls_of_odd_models() -> None:
    """A model may have its own place, the query is kept, and what a URL cannot hold is escaped."""
    assert "https://h/v1beta/tunedModels/x:generateContent" == endpoint("https://h", "tunedModels/x", False)
    assert "https://h/v1beta/models/x:generateContent" == endpoint("https://h", "models/x", False)
    assert "https://h/v1beta/models/a%20b:generateContent?q=1" == endpoint("https://h?q=1", "a b", False)


@pytest.mark.parametrize(
    ("model", "generation", "thinking", "can_stop"),
    [
        ("gemini-2.5-pro", 2.5, "budget", False),
        ("gemini-2.5-flash-preview-09-2025", 2.5, "budget", True),
        ("models/gemini-2.5-flash-lite", 2.5, "budget", True),
        ("gemini-3-pro-preview", 3, "level", False),
        ("gemini-3.1-pro-low", 3.1, "level", False),
        ("gemini-3.7-flash", 3.7, "level", False),
        ("gemini-flash-latest", 3, "level", False),
        ("gemini-2.0-flash", 2, "none", True),
        ("gemini-2.5-flash-image", 2.5, "none", True),
        ("gemma-3-27b-it", 0, "none", True),
        ("claude-opus-4-6", 0, "none", True),
    ],
)
def test_families(model: str, generation: float, thinking: str, can_stop: bool) -> None:
    """What is known of a model is known by its name."""
    family = family_of(model)

    assert (generation, thinking, can_stop) == (family.generation, family.thinking, family.can_stop)


@pytest.mark.parametrize("section", ["", "thinking", "tools"])
def test_the_readme_has_every_option_with_its_default(section: str) -> None:
    """The tables of the README are those of the classes."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    cls: Any = type(getattr(Options(), section)) if section else Options
    start = readme.index(f"### `{section}`" if section else "## Options")
    table = readme[start : readme.find("\n##", start + 5)]
    rows = {
        name: row
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }

    assert {field.name for field in attrs.fields(cls)} == rows.keys()
    for field in attrs.fields(cls):
        if isinstance(field.default, (str, bool, int)):
            assert f"`{json.dumps(field.default)}`" == rows[field.name].split("|")[2].strip()


# --- a service that wraps the format -----------------------------------------------------------------------------


class Wrapped(Gemini):
    """A service with an envelope, as the documentation shows."""

    name = "wrapped-gemini"
    maker = "wrapped"

    def url(self, ctx: Context, stream: bool) -> str:
        return f"{ctx.target.base_url}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"

    def wrap(self, body: JSON, request: Request, ctx: Context) -> JSON:
        return {"model": self.model(ctx), "request": body}

    def unwrap(self, data: JSON) -> JSON:
        inner: JSON = data.get("response", data)
        return inner


def test_a_service_may_wrap_the_format() -> None:
    """A subclass sends the body in an envelope to its own place, and reads answers out of theirs."""
    target = Target(provider="p", model="gemini-2.5-pro", base_url="https://h/v1internal")
    ctx = Context(exchange_id="t", target=target)
    wire = Wrapped().encode(as_request(ask()), ctx)
    answer = {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}
    message = assemble(Wrapped().decode_body({"response": answer}, as_request(ask()), ctx))

    assert "https://h/v1internal:streamGenerateContent?alt=sse" == wire.url
    assert wire.body is not None
    assert ["model", "request"] == list(wire.body)
    assert [{"role": "user", "parts": [{"text": "hello"}]}] == wire.body["request"]["contents"]
    assert [{"type": "text", "text": "hi"}] == message["content"]


# --- a whole router ----------------------------------------------------------------------------------------------

PLUGINS: list[Any] = [ccr_plugin_anthropic, ccr_plugin_gemini, ccr_plugin_rule_default]


def configured(**fields: Any) -> JSON:
    """A configuration with the Gemini API as most people write it."""
    made = config("google", ["gemini-2.5-flash"])
    made["Providers"][0].update({"api_base_url": f"{HOST}/v1beta/models/", **fields})
    made["Router"]["default"] = f"google,{made['Providers'][0]['models'][0]}"
    return made


RECORDED = recordings.recordings(ROOT, "gemini")
MODEL = "google,gemini-2.5-flash"


@pytest.mark.parametrize("recording", [one for one in RECORDED if not one.failed], ids=str)
@pytest.mark.parametrize("stream", [True, False])
async def test_through_a_router(ccr: Make, upstream: Upstream, recording: Recording, stream: bool) -> None:
    """Streamed or not, a client gets what the service said, however the service said it."""
    upstream.stream(recording, cut=1234)

    answer = await ccr(configured(), plugins=PLUGINS).messages(ask(model=MODEL, stream=stream, tools=["Read"]))

    assert 200 == answer.status
    assert [] == expected(recording).differences(answer.message)
    if stream:
        check_stream(answer.events)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_way_out(ccr: Make, upstream: Upstream, stream: bool) -> None:
    """The key goes where it belongs, and the wish for a stream into the URL."""
    upstream.reply({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]})

    answer = await ccr(configured(), plugins=PLUGINS).messages(ask(model=MODEL, stream=stream))

    (sent,) = upstream.requests
    action = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert f"{HOST}/v1beta/models/gemini-2.5-flash:{action}" == sent.url
    assert "sk-test" == sent.headers["x-goog-api-key"]
    assert "authorization" not in sent.headers
    assert "hi" == answer.text


async def test_the_transformer_selects_the_dialect(ccr: Make, upstream: Upstream) -> None:
    """On a host that is not known, ``use: ["gemini"]`` is what makes the router speak Gemini."""
    upstream.reply({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]})
    settings = configured(api_base_url="https://gateway.example", transformer={"use": ["gemini"]})

    answer = await ccr(settings, plugins=PLUGINS).messages(ask(model=MODEL, stream=False))

    (sent,) = upstream.requests
    assert "hi" == answer.text
    assert "https://gateway.example/v1beta/models/gemini-2.5-flash:generateContent" == sent.url


async def test_an_empty_answer_is_an_error_with_a_status(ccr: Make, upstream: Upstream) -> None:
    """An answer without content is refused before anything was sent, so that it can be tried again."""
    upstream.stream(sse({"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]}))

    answer = await ccr(configured(), plugins=PLUGINS).messages(ask(model=MODEL))

    assert 500 == answer.status
    assert {"type": "api_error", "message": "the provider gave an empty answer"} == answer.error


async def test_a_refusal_through_a_router(ccr: Make, upstream: Upstream) -> None:
    """The client is told how long to wait."""
    (recording,) = (one for one in RECORDED if "retry-info" in one.name)
    upstream.stream(recording)

    answer = await ccr(configured(), plugins=PLUGINS).messages(ask(model=MODEL))

    assert (429, "35") == (answer.status, answer.headers["retry-after"])


async def test_the_next_turn_returns_the_signature(ccr: Make, upstream: Upstream) -> None:
    """What the client got and replays makes the content that the service sent, with its signature."""
    (recording,) = (one for one in RECORDED if "native-output-with-function-tools-stream.0" in one.name)
    upstream.stream(recording).reply({"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]})
    router = ccr(configured(models=["gemini-3-flash-preview"]), plugins=PLUGINS)
    asked = claude_code_request(model="google,gemini-3-flash-preview")

    first = await router.messages(asked)
    (call,) = first.tool_uses
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"], "content": "Mexico"}]}
    turns = [*asked["messages"], {"role": "assistant", "content": first.content}, result]
    await router.messages({**asked, "messages": turns})

    theirs = recordings.whole(recording).body["candidates"][0]["content"]["parts"][0]
    answer = {"id": "96c1su3s", "name": "get_user_country", "response": {"output": "Mexico"}}
    assert [
        {"role": "model", "parts": [theirs]},
        {"role": "user", "parts": [{"functionResponse": answer}]},
    ] == upstream.requests[1].json["contents"][1:]
