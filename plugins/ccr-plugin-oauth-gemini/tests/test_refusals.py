"""What the refusals of Google's services mean for an account."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ccr_plugin_gemini import decode_error
from ccr_plugin_oauth_gemini import CodeAssistAuth, CodeAssistOptions, refused

from ccr_core import AccountError, Limited, Token, UpstreamError, WireReply

RETRY = "type.googleapis.com/google.rpc.RetryInfo"
INFO = "type.googleapis.com/google.rpc.ErrorInfo"
QUOTA = "type.googleapis.com/google.rpc.QuotaFailure"


def told(status: int, message: str = "no", *details: Any) -> Any:
    reply = WireReply(
        status=status,
        body=json.dumps({"error": {"code": status, "message": message, "details": list(details)}}).encode(),
    )
    return refused(reply, decode_error(reply))


@pytest.mark.parametrize(
    ("message", "details", "seconds"),
    [
        ("limit: 0", (), 3600),
        ("no", ({"@type": QUOTA, "violations": [{"quotaId": "RequestsPerDay"}]},), 3600),
        ("no", ({"@type": INFO, "reason": "QUOTA_EXHAUSTED", "metadata": {"quotaResetDelay": "1h16m0.6s"}},), 4561),
        ("no", ({"@type": INFO, "reason": "INSUFFICIENT_G1_CREDITS_BALANCE"},), 3600),
        ("no", ({"@type": INFO, "reason": "RATE_LIMIT_EXCEEDED"},), 3600),
        ("no", ({"@type": INFO, "reason": "RATE_LIMIT_EXCEEDED"}, {"@type": RETRY, "retryDelay": "34.07s"}), 34),
        ("no", ({"@type": RETRY, "retryDelay": "0.8s"},), 1),
        ("no", ({"@type": INFO, "reason": "X", "metadata": {"quota_limit": "RequestsPerMinute"}},), 60),
        ("Please retry in 12s", (), 12),
        ("Your quota will reset after 1h2m3s.", (), 3723),
    ],
)
def test_limits(message: str, details: tuple[Any, ...], seconds: int) -> None:
    """The model rests until the limit is restored; other models of the account are not affected."""
    found = told(429, message, *details)

    assert (Limited, True) == (type(found), found.model_only)
    assert str(seconds) == found.headers["retry-after"]


def test_a_limit_without_a_reason() -> None:
    """A bare 429 passes as it is."""
    found = told(429)

    assert (UpstreamError, 429) == (type(found), found.status)


@pytest.mark.parametrize("status", [429, 503])
def test_a_full_model(status: int) -> None:
    """A model without capacity is overloaded: nobody's quota is used up."""
    found = told(status, "No capacity available for model x", {"@type": INFO, "reason": "MODEL_CAPACITY_EXHAUSTED"})

    assert (UpstreamError, 529, "overloaded_error") == (type(found), found.status, found.kind)


@pytest.mark.parametrize(
    ("message", "details", "state"),
    [
        (
            "verify",
            (
                {
                    "@type": INFO,
                    "reason": "VALIDATION_REQUIRED",
                    "domain": "cloudcode-pa.googleapis.com",
                    "metadata": {"validation_url": "https://v.example/x"},
                },
            ),
            "validation_required",
        ),
        ("disabled in this account for violation of Terms of Service", (), "disabled"),
    ],
)
def test_forbidden(message: str, details: tuple[Any, ...], state: str) -> None:
    """The account is set aside, with the service's words and its link."""
    found = told(403, message, *details)

    assert (AccountError, state) == (type(found), found.state)
    if state == "validation_required":
        assert "verify (https://v.example/x)" == found.message


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (
            {"service": "cloudaicompanion.googleapis.com", "consumer": "projects/my-project"},
            "no (enable the API cloudaicompanion.googleapis.com in the project, at "
            "https://console.cloud.google.com/apis/library/cloudaicompanion.googleapis.com?project=my-project or by: "
            "gcloud services enable cloudaicompanion.googleapis.com --project my-project; then wait a few minutes)",
        ),
        (
            None,
            "no (enable the API cloudaicompanion.googleapis.com in the project, at "
            "https://console.cloud.google.com/apis/library/cloudaicompanion.googleapis.com or by: "
            "gcloud services enable cloudaicompanion.googleapis.com; then wait a few minutes)",
        ),
    ],
)
def test_an_api_that_is_off(metadata: Any, expected: str) -> None:
    """Where the API is not enabled in the project the message names both, and how to enable it."""
    found = told(403, "no", {"@type": INFO, "reason": "SERVICE_DISABLED", "metadata": metadata})

    assert (UpstreamError, 403, expected) == (type(found), found.status, found.message)


@pytest.mark.parametrize(
    ("status", "message", "reason", "expected"),
    [
        (403, "You lack a Gemini Code Assist license", "", True),
        (403, "Permission denied on resource project my-project.", "CONSUMER_INVALID", True),
        (404, "Project 'projects/My-Project' was not found.", "", True),
        (404, "Requested entity my-project was not found.", "", True),
        (404, "models/gemini-9 was not found.", "", False),
        (403, "verify", "VALIDATION_REQUIRED", False),
        (403, "disabled in this account for violation of Terms of Service", "", False),
        (400, "Project my-project is odd.", "", False),
    ],
)
def test_refusals_for_the_project(status: int, message: str, reason: str, expected: bool) -> None:
    """A refusal that may be for the project is told from one of the model and from one of the account."""
    error = {"code": status, "message": message, "details": [{"@type": INFO, "reason": reason}]}
    reply = WireReply(status=status, body=json.dumps({"error": error}).encode())
    auth = CodeAssistAuth(CodeAssistOptions(), "gemini")

    assert expected == auth.outdated(reply, Token(access="a", data={"project_id": "my-project"}))


def test_no_project_no_refusal_for_it() -> None:
    """Where no project is known there is none to look up again."""
    reply = WireReply(status=403, body=b'{"error": {"message": "no"}}')

    assert not CodeAssistAuth(CodeAssistOptions(), "gemini").outdated(reply, Token(access="a"))


def test_a_missing_licence() -> None:
    """A missing licence hints at the project."""
    found = told(403, "You lack a Gemini Code Assist license")

    assert (UpstreamError, 403) == (type(found), found.status)
    assert "is the right project configured" in found.message


@pytest.mark.parametrize("status", [400, 404, 500])
def test_all_else(status: int) -> None:
    """Other refusals pass as they are."""
    assert (UpstreamError, status) == (type(found := told(status)), found.status)
