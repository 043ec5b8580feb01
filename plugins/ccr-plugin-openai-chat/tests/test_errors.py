"""Refusals: words, kinds, and how long to wait."""

from __future__ import annotations

import email.utils
import json
from typing import Any

import pytest
from ccr_plugin_openai_chat.errors import decode_error

from ccr_core import UpstreamError, WireReply

NOW = 1_800_000_000.0


def refused(body: Any, status: int = 400, **headers: str) -> UpstreamError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lower = {name.replace("_", "-"): value for name, value in headers.items()}
    return decode_error(WireReply(status=status, headers=lower, body=data), NOW)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "M", "type": "t", "code": "c", "param": None}}, "M"),
        ({"error": {"message": "bad value", "param": "temperature"}}, "bad value (param: temperature)"),
        ({"error": "M"}, "M"),
        ({"message": "M", "type": "t", "code": 1, "object": "error"}, "M"),
        ({"code": "InvalidParameter", "message": "M", "request_id": "r"}, "M"),
        ({"code": 20012, "message": "M", "data": None}, "M"),
        ({"detail": "M"}, "M"),
        ({"detail": [{"loc": ["body", "x"], "msg": "extra", "type": "extra_forbidden"}]}, "body.x: extra"),
        ([{"error": {"code": 400, "message": "M", "status": "INVALID_ARGUMENT", "details": []}}], "M"),
        ({"error": {"code": "1302", "message": "M"}}, "M"),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "M"}}, "M"),
        ({"Message": "M"}, "M"),
        ({"code": "x", "error": "M"}, "M"),
        ({"base_resp": {"status_code": 2013, "status_msg": "M"}}, "M"),
        (b"M", "M"),
        (b'"M"', "M"),
        (b'{"broken', '{"broken'),
        (
            b"<html><head><title>502 Bad Gateway</title><style>a{}</style></head><body><hr>nginx</body></html>",
            "502 Bad Gateway. nginx",
        ),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error":{"message":"inner"}}'}}},
            "Provider returned error: inner",
        ),
        (b"", "the provider answered with status 418 and no text"),
        ({}, "the provider answered with status 418 and no text"),
        ({"odd": 1}, '{"odd":1}'),
    ],
)
def test_words(body: Any, expected: str) -> None:
    """The provider's sentence is found in every shape of body."""
    assert expected == refused(body, 418).message


@pytest.mark.parametrize(
    ("status", "body", "kind", "expected"),
    [
        (400, {}, "invalid_request_error", 400),
        (401, {}, "authentication_error", 401),
        (402, {}, "billing_error", 402),
        (403, {}, "permission_error", 403),
        (404, {}, "not_found_error", 404),
        (413, {}, "request_too_large", 413),
        (422, {}, "invalid_request_error", 422),
        (429, {}, "rate_limit_error", 429),
        (498, {}, "overloaded_error", 529),
        (500, {}, "api_error", 500),
        (503, {}, "overloaded_error", 503),
        (504, {}, "timeout_error", 504),
        (400, {"error": {"message": "x", "details": [{"reason": "API_KEY_INVALID"}]}}, "authentication_error", 401),
        (429, {"error": {"message": "x", "code": "insufficient_quota"}}, "billing_error", 429),
        (429, {"error": {"message": "x", "code": "1113"}}, "billing_error", 429),
    ],
)
def test_kinds(status: int, body: Any, kind: str, expected: int) -> None:
    """Each status has its kind; some codes say more than the status."""
    error = refused(body, status)

    assert (kind, expected) == (error.kind, error.status)


def test_an_unpaid_bill_is_not_tried_again() -> None:
    """Where trying again is of no use, the client is told not to."""
    assert "false" == refused({"error": {"code": "insufficient_quota", "message": "x"}}, 429).headers["x-should-retry"]
    assert "x-should-retry" not in refused({"error": {"code": "rate_limit_exceeded", "message": "x"}}, 429).headers


LENGTH = "This model's maximum context length is 8192 tokens. However, "


def says(message: str, **more: Any) -> Any:
    """An error body in OpenAI's shape."""
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("body", "front"),
    [
        (
            says(f"{LENGTH}your messages resulted in 9,001 tokens.", code="context_length_exceeded"),
            "prompt is too long: 9001 tokens > 8192 maximum",
        ),
        (
            says(f"{LENGTH}you requested 10000 tokens (2000 in the messages, 8000 in the completion)."),
            "input length and `max_tokens` exceed context limit: 2000 + 8000 > 8192",
        ),
        (
            says(f"{LENGTH}you requested about 9500 tokens (9000 of text input, 500 in the output)."),
            "prompt is too long: 9000 tokens > 8192 maximum",
        ),
        (
            says("request (20000 tokens) exceeds the available context size (16384 tokens)", code=400),
            "prompt is too long: 20000 tokens > 16384 maximum",
        ),
        (
            [says("The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).")],
            "prompt is too long: 1100000 tokens > 1048576 maximum",
        ),
        ({"message": "Range of input length should be [1, 30720]"}, "prompt is too long"),
        (says("Too big.", code="context_length_exceeded"), "prompt is too long"),
        ({"error": "Input is too long for requested model."}, "prompt is too long"),
        (
            says("input length and `max_tokens` exceed context limit: 199000 + 32000 > 200000"),
            "input length and `max_tokens` exceed context limit: 199000 + 32000 > 200000",
        ),
    ],
)
def test_a_conversation_that_is_too_long(body: Any, front: str) -> None:
    """The words that the client knows come first, with the numbers where they are known; the provider's follow."""
    error = refused(body, 400)
    own = refused(body, 418).message

    assert f"{front}: {own}" == error.message
    assert (400, "invalid_request_error") == (error.status, error.kind)


@pytest.mark.parametrize(
    "words", ["max_tokens must be at most 8192", "Range of max_tokens should be [1, 8192]", "unknown field"]
)
def test_other_refusals_are_left_alone(words: str) -> None:
    """What does not speak of the context is not reworded."""
    assert words == refused({"error": {"message": words}}).message


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghijklmnop",
        "sk-abc********wxyz",
        "gsk_abcdefgh12345678",
        "AIzaSyA1234567890abcdef",
        "xai-abcdefgh12345678",
    ],
)
def test_keys_are_not_repeated(secret: str) -> None:
    """A provider that quotes the key does not make us quote it too."""
    messages = [
        refused({"error": {"message": f"Incorrect API key provided: {secret}. Find yours."}}, 401).message,
        refused(f"no access with Bearer {secret}".encode(), 401).message,
    ]

    assert not any(secret[8:] in message for message in messages)
    assert messages[0].endswith("Find yours.")
    assert "token: ***" in refused({"error": "bad token: 0123456789abcdef0123456789"}).message


def test_long_answers_are_cut() -> None:
    """At most 2,000 characters of a provider's words are kept."""
    assert 2000 == len(refused({"error": "x" * 5000}).message)


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        (429, {"retry_after": "7"}, {}, "7"),
        (429, {"retry_after": "1.2"}, {}, "2"),
        (429, {"retry_after_ms": "2500"}, {}, "3"),
        (429, {"retry_after_ms": "20", "retry_after": "9"}, {}, "1"),
        (429, {"retry_after": email.utils.formatdate(NOW + 30, usegmt=True)}, {}, "30"),
        (429, {"x_ratelimit_reset_tokens": "6m0s"}, {}, "360"),
        (429, {"x_ratelimit_reset_tokens": "1m2.5s"}, {}, "63"),
        (429, {"x_ratelimit_reset_tokens": "20ms"}, {}, "1"),
        (429, {"x_ratelimit_reset_requests": "8h", "x_ratelimit_reset_tokens": "7s"}, {}, "7"),
        (
            429,
            {
                "x_ratelimit_reset_requests": "8h",
                "x_ratelimit_remaining_requests": "0",
                "x_ratelimit_reset_tokens": "7s",
            },
            {},
            "28800",
        ),
        (429, {"x_ratelimit_reset": str(int((NOW + 12) * 1000))}, {}, "12"),
        (429, {"x_ratelimit_reset": str(int(NOW + 12))}, {}, "12"),
        (429, {"x_ratelimit_reset_tokens": "2027-01-15T08:00:05Z"}, {}, "5"),
        (429, {}, {"error": {"message": "Please try again in 7.66s. Visit us."}}, "8"),
        (429, {}, {"error": {"message": "Please try again in 1m2s."}}, "62"),
        (429, {}, {"error": {"message": "try again in 20 ms"}}, "1"),
        (429, {}, {"error": {"message": "retry after 5 minutes and think"}}, "300"),
        (429, {}, [{"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "34.07s"}]}}], "35"),
        (
            429,
            {},
            {"error": {"message": "x", "metadata": {"headers": {"X-RateLimit-Reset": str(int((NOW + 9) * 1000))}}}},
            "9",
        ),
        (503, {}, {"error": {"message": "overloaded"}}, None),
        (400, {"x_ratelimit_reset_tokens": "6m0s"}, {}, None),
        (429, {"retry_after": "soon"}, {}, None),
    ],
)
def test_how_long_to_wait(status: int, headers: dict[str, str], body: Any, expected: str | None) -> None:
    """Each form of a waiting time becomes ``retry-after`` in whole seconds."""
    assert expected == refused(body, status, **headers).headers.get("retry-after")


def test_headers_for_the_client_are_kept() -> None:
    """Ids of the request pass; other headers do not."""
    error = refused({}, 500, x_request_id="r", server="nginx")

    assert {"x-request-id": "r"} == error.headers
