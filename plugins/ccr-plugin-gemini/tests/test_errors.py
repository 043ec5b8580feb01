"""Refusals: words, kinds, waiting times."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_gemini import decode_error

from ccr_core import JSON, UpstreamError, WireReply

RPC = "type.googleapis.com/google.rpc."


def refused(status: int, message: str, *details: JSON, name: str = "", **headers: str) -> UpstreamError:
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    return decode_error(WireReply(status=status, headers=given, body=json.dumps({"error": error}).encode()))


def info(reason: str, **metadata: str) -> JSON:
    return {"@type": f"{RPC}ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def retry(delay: str) -> JSON:
    return {"@type": f"{RPC}RetryInfo", "retryDelay": delay}


def quota(ident: str) -> JSON:
    return {"@type": f"{RPC}QuotaFailure", "violations": [{"quotaId": ident}]}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
def test_status_and_words_stay(status: int, kind: str) -> None:
    """A refusal keeps its status and words."""
    error = refused(status, "so it is")

    assert (status, kind, "so it is") == (error.status, error.kind, error.message)


@pytest.mark.parametrize(
    ("message", "details"),
    [
        ("API key not valid. Please pass a valid API key.", []),
        ("API key expired. Please renew the API key.", [info("API_KEY_INVALID")]),
    ],
)
def test_a_wrong_key(message: str, details: list[JSON]) -> None:
    """A key that is not valid is a matter of authentication, although the service says 400."""
    error = refused(400, message, *details)

    assert (401, "authentication_error", message) == (error.status, error.kind, error.message)


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (retry("34.4s"), "35"),
        (retry("0.2s"), "1"),
        (info("RATE_LIMIT_EXCEEDED", quotaResetDelay="373.8ms"), "1"),
        (info("RATE_LIMIT_EXCEEDED", quotaResetDelay="1h16m0.6s"), "4561"),
    ],
)
def test_how_long_to_wait(delay: JSON, seconds: str) -> None:
    """The waiting time is told in whole seconds, in the place where clients look for it."""
    assert seconds == refused(429, "wait", delay).headers["retry-after"]


def test_waiting_in_words_and_headers() -> None:
    """Without a detail the words say it, and a header comes before all."""
    assert "13" == refused(429, "Quota used up. Please retry in 12.5s.").headers["retry-after"]
    assert "3723" == refused(429, "Your quota will reset after 1h2m3s.").headers["retry-after"]
    assert "5" == refused(429, "retry in 9s", retry("8s"), retry_after="5").headers["retry-after"]
    assert "retry-after" not in refused(429, "wait").headers
    assert "retry-after" not in refused(400, "retry in 9s").headers


@pytest.mark.parametrize(
    ("message", "details", "final"),
    [
        ("quota", [quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), retry("9s")], True),
        ("quota", [quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")], False),
        ("Quota exceeded for metric, limit: 0, model: gemini-3-pro", [], True),
        ("quota", [info("QUOTA_EXHAUSTED")], True),
        ("quota", [info("RATE_LIMIT_EXCEEDED")], False),
    ],
)
def test_quotas_that_are_used_up(message: str, details: list[JSON], final: bool) -> None:
    """A quota of the day will not be there again in a minute; the client is told not to try."""
    assert ("false" if final else None) == refused(429, message, *details).headers.get("x-should-retry")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            "prompt is too long: 1200000 tokens > 1048576 maximum: The input",
        ),
        (
            "The input token count exceeds the maximum number of tokens allowed 1048576.",
            "prompt is too long: The input token count exceeds",
        ),
        (
            "Unable to submit request because the input token count is 33000 but model only supports up to 32768.",
            "prompt is too long: 33000 tokens > 32768 maximum: Unable",
        ),
    ],
)
def test_a_conversation_that_is_too_long(message: str, expected: str) -> None:
    """It is said in the words by which the client knows, with the numbers where the service gives them."""
    error = refused(400, message)

    assert (400, "invalid_request_error") == (error.status, error.kind)
    assert error.message.startswith(expected)
    assert message in error.message


def test_a_request_that_is_too_large() -> None:
    """Too many bytes are another matter than too many tokens."""
    error = refused(400, "Request payload size exceeds the limit: 20971520 bytes.")

    assert (413, "request_too_large") == (error.status, error.kind)


def test_links_that_help() -> None:
    """The address at which a person can put things right is part of the message."""
    link = {"@type": f"{RPC}Help", "links": [{"description": "x", "url": "https://help.example"}]}
    assert "verify (https://help.example)" == refused(403, "verify", link).message
    other = info("SERVICE_DISABLED", activationUrl="https://enable.example")
    assert "disabled (https://enable.example)" == refused(403, "disabled", other).message
    assert "see https://enable.example" == refused(403, "see https://enable.example", other).message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'[{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}]', "bad"),
        (b'{"error": {"message": "{\\"error\\": {\\"message\\": \\"inner\\"}}"}}', "inner"),
        (b'{"error": {"status": "INVALID_ARGUMENT"}}', "INVALID_ARGUMENT"),
        (b'{"error": "bad"}', "bad"),
        (b'{"message": "bad"}', "bad"),
        (b"<html><head><style>x</style></head><body><h1>Bad&nbsp;Gateway</h1></body></html>", "Bad Gateway"),
        (b"plain words", "plain words"),
        (b"", "the provider answered with status 400 and no text"),
        (b"{broken", "{broken"),
    ],
)
def test_shapes(body: bytes, words: str) -> None:
    """Whatever the shape, the words are found."""
    assert words == decode_error(WireReply(status=400, body=body)).message


def test_keys_are_removed() -> None:
    """A message that repeats the key does not tell it."""
    error: Any = refused(400, "key AIzaSyA1234567890abc in https://h/x?key=sEcret1&a=b, Bearer ya29.a0AfH6SMBx1234")

    assert "key *** in https://h/x?key=***&a=b, ***" == error.message


def test_long_messages_are_cut() -> None:
    """A message has at most 2,000 characters."""
    assert 2000 == len(refused(400, "x" * 3000).message)
