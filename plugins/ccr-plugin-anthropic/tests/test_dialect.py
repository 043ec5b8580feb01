"""Requests as providers get them: address, headers, what is left out for whom, and their refusals."""

from __future__ import annotations

import json
from typing import Any

import attrs
import ccr_plugin_anthropic as plugin
import pytest
from ccr_plugin_anthropic.dialect import Anthropic, AnthropicOptions, is_first_party

from ccr_core import JSON, ApiKey, Context, Headers, Request, Target, Token, WireReply, WireRequest
from ccr_core.testing import ask, check_plugin, claude_code_headers, claude_code_history, claude_code_request

FIRST = "https://api.anthropic.com"
OTHER = "https://api.example/anthropic"


def encode(
    body: JSON,
    base_url: str = FIRST,
    model: str = "claude-sonnet-5",
    headers: Headers | None = None,
    ingress: str = "anthropic",
    **target: Any,
) -> tuple[WireRequest, list[Any]]:
    """The request that goes out, and the notes."""
    notes: list[Any] = []
    ctx = Context(
        exchange_id="1",
        target=Target(provider="p", model=model, base_url=base_url, **target),
        note=lambda key, value: notes.append(value),
    )
    before = json.dumps(body)
    wire = Anthropic().encode(Request(body, headers or {}, ingress=ingress), ctx)
    assert before == json.dumps(body)
    return wire, notes


def body_of(*args: Any, **named: Any) -> JSON:
    """The body that goes out."""
    body = encode(*args, **named)[0].body
    assert body is not None
    return body


def test_plugin() -> None:
    """The plugin keeps the rules of plugins."""
    check_plugin(plugin)


def test_hooks() -> None:
    """What the plugin offers."""
    (dialect,), (ingress,) = plugin.ccr_dialects(), plugin.ccr_ingresses()
    (provider,), (step,) = plugin.ccr_providers(), plugin.ccr_transformers()

    assert ("anthropic", "x-api-key", AnthropicOptions) == (dialect.name, dialect.key_style, dialect.options)
    assert "anthropic" == ingress.name
    assert ("anthropic", FIRST, "anthropic", "ANTHROPIC_API_KEY") == (
        provider.name,
        provider.base_url,
        provider.dialect,
        provider.key_env,
    )
    assert ("anthropic", "anthropic", ("Anthropic",)) == (step.name, step.dialect, step.aliases)


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/messages?beta=true", "https://api.anthropic.com/v1/messages?beta=true"),
        ("https://api.example/v1/messages?beta=true", "https://api.example/v1/messages"),
        ("https://api.example/v1/messages?beta=true&version=1", "https://api.example/v1/messages?version=1"),
        ("https://api.example/anthropic", "https://api.example/anthropic/v1/messages"),
        ("https://api.example/apps/anthropic/v1/", "https://api.example/apps/anthropic/v1/messages"),
        ("https://api.example/x/messages", "https://api.example/x/messages"),
        ("http://localhost:11434", "http://localhost:11434/v1/messages"),
        ("embedded:echo", "embedded:echo"),
    ],
)
def test_url(base_url: str, expected: str) -> None:
    """The address for whatever form of it people write."""
    assert expected == encode(ask(), base_url)[0].url


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://api.anthropic.com/v1", True),
        ("https://anthropic.com", True),
        ("https://api.anthropic.com.example/v1", False),
        ("https://notanthropic.com", False),
        ("https://api.example/anthropic.com", False),
        ("embedded:echo", False),
    ],
)
def test_first_party(base_url: str, expected: bool) -> None:
    """Only hosts of Anthropic are Anthropic."""
    assert expected is is_first_party(base_url)


def test_headers_for_anthropic() -> None:
    """Anthropic gets what the client says of itself, and neither its credentials nor its connection's headers."""
    headers = {**claude_code_headers(), "x-api-key": "k", "host": "h", "cookie": "c", "anthropic-version": "2026-10-21"}

    sent = dict(encode(claude_code_request(), headers=headers)[0].headers)

    assert {
        "content-type": "application/json",
        "anthropic-version": "2026-10-21",
        "anthropic-beta": headers["anthropic-beta"],
        "anthropic-dangerous-direct-browser-access": "true",
        "user-agent": headers["user-agent"],
        "x-app": "cli",
        "x-claude-code-session-id": headers["x-claude-code-session-id"],
        "x-stainless-lang": "js",
        "x-stainless-retry-count": "0",
        "x-stainless-timeout": "600",
    } == sent


def test_headers_for_others() -> None:
    """Others get version and betas only; with ``clean`` the version that all of them know."""
    headers = {**claude_code_headers(), "anthropic-version": "2026-10-21"}

    sent = dict(encode(ask(), OTHER, headers=headers)[0].headers)
    cleaned = dict(encode(ask(), OTHER, headers=headers, options=AnthropicOptions(clean=True))[0].headers)

    assert {
        "content-type": "application/json",
        "anthropic-version": "2026-10-21",
        "anthropic-beta": headers["anthropic-beta"],
    } == sent
    assert {"content-type": "application/json", "anthropic-version": "2023-06-01"} == cleaned


def test_headers_of_other_clients() -> None:
    """What a client of another format says in its headers means nothing here."""
    headers = {"anthropic-beta": "x", "anthropic-version": "y", "user-agent": "z"}

    sent = encode(ask(), headers=headers, ingress="openai-chat")[0].headers

    assert {"content-type": "application/json", "anthropic-version": "2023-06-01"} == sent


def test_betas_in_the_body() -> None:
    """Beta names in the body, which the API refuses there, join those of the header."""
    wire, _ = encode(ask(betas=["b", "c"]), headers={"anthropic-beta": "a, b"})

    assert ("a,b,c", False) == (wire.headers["anthropic-beta"], "betas" in (wire.body or {}))


def test_open_towards_anthropic() -> None:
    """To Anthropic everything goes, known or not."""
    body = {**claude_code_request(history=claude_code_history()), "safeguards": [{"a": 1}], "x_new": {"y": 1}}

    assert ({**body, "model": "claude-sonnet-5"}, []) == (body_of(body), encode(body)[1])


def test_private_data_stays_here() -> None:
    """What describes the machine goes to nobody but Anthropic, and its betas stay with it."""
    body = {**claude_code_request(), "safeguards": [{"paths": ["/home/user"]}]}
    headers = {"anthropic-beta": "a-1,dangerous-tool-use-2026-09-03,afk-mode-2026-01-31,b-2"}

    wire, notes = encode(body, OTHER, headers=headers)

    assert {name: value for name, value in body.items() if name != "safeguards"} | {
        "model": "claude-sonnet-5",
        "system": body["system"][1:],
    } == wire.body
    assert "a-1,b-2" == wire.headers["anthropic-beta"]
    assert [
        "left out safeguards: it describes the user's machine",
        "left out the client's accounting line",
    ] == notes


@pytest.mark.parametrize("given", [True, False])
def test_first_party_by_option(given: bool) -> None:
    """The option says who is Anthropic where the host does not."""
    body = {**ask(), "safeguards": []}

    sent = body_of(body, OTHER if given else FIRST, options=AnthropicOptions(first_party=given))

    assert given is ("safeguards" in sent)


@pytest.mark.parametrize(
    ("asked", "model", "target", "expected"),
    [
        (100, "claude-sonnet-5", {}, 100),
        (None, "claude-sonnet-5", {}, 32_000),
        (None, "claude-3-5-haiku-20241022", {}, 8192),
        (None, "claude-3-haiku-20240307", {}, 4096),
        (None, "glm-5", {}, 32_000),
        (None, "glm-5", {"options": AnthropicOptions(max_tokens=5)}, 5),
        (None, "glm-5", {"max_output": 4000}, 4000),
        (64_000, "glm-5", {"max_output": 8192}, 8192),
        (100, "glm-5", {"max_output": 8192}, 100),
    ],
)
def test_max_tokens(asked: int | None, model: str, target: JSON, expected: int) -> None:
    """The API demands a limit; one that is given stands unless the model cannot give so much, which is noted."""
    body = {name: value for name, value in ask(max_tokens=asked).items() if value is not None}

    wire, notes = encode(body, model=model, **target)

    assert expected == (wire.body or {})["max_tokens"]
    assert ([f"lowered from {asked} to {expected}"] if asked and asked > expected else []) == notes


def test_system_messages_for_older_models() -> None:
    """A model that does not take messages with the role ``system`` gets their words in the user's."""
    body = claude_code_request()

    wire, notes = encode(body, model="claude-sonnet-4-5")

    assert wire.body is not None
    assert ["user"] == [message["role"] for message in wire.body["messages"]]
    assert wire.body["messages"][0]["content"][:2] == body["messages"][0]["content"]
    assert "Working directory" in wire.body["messages"][0]["content"][2]["text"]
    assert any(note.startswith("moved system messages") for note in notes)


def test_placeholder_is_for_claude_only() -> None:
    """The placeholder of tools that can be loaded reaches no other model."""

    def names(model: str, base_url: str) -> set[str]:
        return {tool["name"] for tool in body_of(claude_code_request(), base_url, model=model)["tools"]}

    missing = names("claude-opus-5", OTHER) - names("glm-5", OTHER)

    assert {"DeferredToolPlaceholder"} == missing
    assert names("claude-opus-5", OTHER) == names("anything-new", FIRST)


def test_use_bearer() -> None:
    """The transformer's option sends the key as a bearer token instead."""
    (spec,) = plugin.ccr_transformers()
    ctx = Context(exchange_id="1", target=Target(provider="p", model="m", base_url=OTHER))
    key = ApiKey("x-api-key", "p")
    sent = {}
    for use_bearer in (False, True):
        step = spec.factory(plugin.StepOptions(use_bearer=use_bearer), ctx)
        wire = key.apply(step.on_wire_request(WireRequest(url="u")), Token(access="secret"))
        sent[use_bearer] = dict(wire.headers)

    assert {False: {"x-api-key": "secret"}, True: {"authorization": "Bearer secret"}} == sent
    assert ["UseBearer"] == [field.metadata["key"] for field in attrs.fields(plugin.StepOptions)]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            529,
            b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}',
            (529, "overloaded_error", "busy"),
        ),
        (400, b'{"type":"error","error":{"type":"billing_error","message":"pay"}}', (400, "billing_error", "pay")),
        (429, b'{"error":{"type":"1302","message":"slow"}}', (429, "rate_limit_error", "slow")),
        (401, b'{"detail":"who?"}', (401, "authentication_error", "who?")),
        (418, b"tea", (418, "invalid_request_error", "tea")),
        (302, b"there", (502, "api_error", "there")),
    ],
)
def test_refusals(status: int, body: bytes, expected: tuple[int, str, str]) -> None:
    """A refusal keeps status, kind and words, whatever its shape."""
    error = Anthropic().decode_error(WireReply(status=status, body=body))

    assert expected == (error.status, error.kind, error.message)


def test_refusals_keep_their_headers() -> None:
    """What tells a client when to try again is kept, the rest is not."""
    told = {"retry-after": "7", "x-should-retry": "false", "request-id": "req_h"}
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"},"request_id":"req_b"}'

    with_header = Anthropic().decode_error(WireReply(status=429, headers={**told, "server": "x"}, body=body))
    without = Anthropic().decode_error(WireReply(status=429, body=body))

    assert (told, {"request-id": "req_b"}) == (with_header.headers, without.headers)


def test_the_accounting_line_is_for_anthropic_only() -> None:
    """Claude Code's accounting line goes to Anthropic, and to nobody else, also where everything else passes."""
    own, _ = encode(claude_code_request())
    foreign, notes = encode(claude_code_request(), OTHER)
    plain, _ = encode(ask(system="x-anthropic-billing-header: and a prompt"), OTHER)

    assert own.body is not None
    assert foreign.body is not None
    assert plain.body is not None
    assert own.body["system"][1:] == foreign.body["system"]
    assert "left out the client's accounting line" in notes
    assert "x-anthropic-billing-header: and a prompt" == plain.body["system"]
