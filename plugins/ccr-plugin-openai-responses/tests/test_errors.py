"""Refusals of every shape, and how long they ask to wait."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from ccr_plugin_openai_responses import Responses
from ccr_plugin_openai_responses.errors import decode_error, too_long

from ccr_core import UpstreamError, WireReply

NOW = 1_800_000_000.0


def refused(status: int, body: Any, headers: Mapping[str, str] | None = None) -> UpstreamError:
    """What becomes of a refusal; ``body`` is JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_error(WireReply(status=status, headers=headers or {}, body=data), NOW)


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, {"error": {"message": "Bad.", "type": "x", "param": None}}, "invalid_request_error", "Bad."),
        (401, {"error": {"message": "Who?", "code": "invalid_api_key"}}, "authentication_error", "Who?"),
        (403, {"code": "forbidden", "error": "No credits."}, "permission_error", "No credits."),
        (404, {"detail": "Not Found"}, "not_found_error", "Not Found"),
        (400, {"detail": "Unsupported parameter: top_p"}, "invalid_request_error", "Unsupported parameter: top_p"),
        (400, {"detail": [{"loc": ["body", "input"], "msg": "required"}]}, "invalid_request_error", "required"),
        (429, {"error": {"message": "Slow.", "code": "rate_limit_exceeded"}}, "rate_limit_error", "Slow."),
        (429, {"error": {"message": "Pay.", "code": "insufficient_quota"}}, "billing_error", "Pay."),
        (500, {"error": {"message": "Oh.", "type": "server_error"}}, "api_error", "Oh."),
        (503, [{"error": {"message": "Busy."}}], "overloaded_error", "Busy."),
        (400, b"plain words", "invalid_request_error", "plain words"),
        (502, b"", "api_error", "the provider answered with status 502 and no text"),
        (
            403,
            b"<!DOCTYPE html><html><head><style>x{}</style><title>Stop</title></head><body>Go and wait</body></html>",
            "permission_error",
            "Stop Go and wait",
        ),
    ],
)
def test_shapes(status: int, body: Any, kind: str, words: str) -> None:
    """Every shape keeps its words and status, without markup."""
    error = refused(status, body)

    assert (status, kind) == (error.status, error.kind)
    assert words in error.message
    assert "<" not in error.message


@pytest.mark.parametrize(
    ("param", "message", "added"),
    [
        ("include", "Encrypted content is not supported with this model.", " (unsupported parameter: include)"),
        (
            "reasoning.summary",
            "Your organization must be verified to generate reasoning summaries.",
            " (unsupported parameter: reasoning.summary)",
        ),
        ("input[0].id", "Unknown value.", " (param: input[0].id)"),
        ("input", "This file type is not supported.", " (param: input)"),
        ("top_p", "Unsupported parameter: 'top_p' is not supported with this model.", ""),
    ],
)
def test_the_field_that_is_refused_is_named(param: str, message: str, added: str) -> None:
    """In the words by which the engine knows what it can leave out, if the request can do without."""
    assert message + added == refused(400, {"error": {"message": message, "param": param}}).message


def test_the_dialect_decodes_errors_so() -> None:
    """The method of the dialect is the function that is tested here."""
    error = Responses().decode_error(WireReply(status=429, headers={"retry-after": "3"}, body=b'{"detail": "slow"}'))

    assert ("slow", "3") == (error.message, error.headers["retry-after"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Your input exceeds the context window of this model.", "prompt is too long"),
        (
            "This model's maximum prompt length is 131,072 but the request contains 140000 tokens.",
            "prompt is too long: 140000 tokens > 131072 maximum",
        ),
    ],
)
def test_a_conversation_that_is_too_long(text: str, expected: str) -> None:
    """Told in the client's words, with the numbers where there are some, and then in the provider's."""
    for status in (400, 413, 422, 500):
        error = refused(status, {"error": {"message": text, "code": "context_length_exceeded"}})
        assert (400, "invalid_request_error", f"{expected}: {text}") == (error.status, error.kind, error.message)
    assert expected == too_long(text)


@pytest.mark.parametrize(
    "secret",
    ["sk-proj-abcdefghijklmnop", "xai-ABCDEFGHIJKLMNOP", "Bearer abcdefghijkl", "eyJhbGciOiJIUzI1.eyJzdWIiOiIx.sig"],
)
def test_keys_are_removed(secret: str) -> None:
    """A refusal of a key likes to repeat it."""
    error = refused(401, {"error": {"message": f"Incorrect key: {secret}. See the page."}})

    assert "Incorrect key: ***" in error.message
    assert "See the page." in error.message


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({}, "Slow.", None),
        ({"retry-after": "7"}, "Slow.", "7"),
        ({"retry-after": "0.2"}, "Slow.", "1"),
        ({"retry-after": "7", "retry-after-ms": "1500"}, "Slow.", "2"),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:09 GMT"}, "Slow.", "9"),
        ({"retry-after": "soon"}, "Slow.", None),
        ({}, "Rate limit reached. Please try again in 1m2.5s. Visit us.", "63"),
        ({}, "Please try again in 20ms.", "1"),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, "Slow.", "360"),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12"}, "Slow.", "12"),
        ({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "6m0s"}, "Slow.", None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], message: str, expected: str | None) -> None:
    """From the first place that says so, as whole seconds."""
    error = refused(429, {"error": {"message": message}}, headers)

    assert expected == error.headers.get("retry-after")


def test_the_end_of_a_limit_of_the_subscription() -> None:
    """The ChatGPT backend tells it in the body."""
    body = {"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached"}}
    error = refused(429, {"error": {**body["error"], "resets_in_seconds": 3600}})

    assert ("3600", "rate_limit_error") == (error.headers["retry-after"], error.kind)


def test_trying_again_is_of_no_use_without_money() -> None:
    """The client is told so; otherwise what the provider says of it passes."""
    unpaid = refused(429, {"error": {"message": "Pay.", "code": "insufficient_quota"}})
    other = refused(500, {"error": {"message": "Oh."}}, {"x-should-retry": "true", "x-request-id": "r"})

    assert "false" == unpaid.headers["x-should-retry"]
    assert {"x-should-retry": "true", "x-request-id": "r"} == other.headers


def test_long_words_are_cut() -> None:
    """Whole pages are of no use to anybody."""
    assert 2000 == len(refused(400, {"error": {"message": "x" * 5000}}).message)
