"""What a refusal of Google's services means for the account and for the model that was asked.

Source: the classification in the vendor's own command-line program (Apache-2.0), autumn 2026.  The words stay the
service's own, as the dialect has read them.
"""

from __future__ import annotations

import re
from typing import Any

from ccr_core import JSON, AccountError, CcrError, Limited, UpstreamError, WireReply, loads

HOUR = 3600.0
"""How long a model rests whose quota is used up, if nothing says when it is restored."""

SOON = 300.0
"""A wait up to this many seconds is no end of a quota."""

API = "cloudaicompanion.googleapis.com"
"""What has to be switched on in a project before Code Assist serves it."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_AGAIN = re.compile(r"(?i)(?:retry in|reset after|try again in)\s+((?:\d+(?:\.\d+)?(?:ms|h|m|s)\s*)+)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def refused(reply: WireReply, error: UpstreamError) -> CcrError:
    """``error``, or what it means: ``Limited``, ``AccountError``, or an overloaded model."""
    body = _error(reply.body)
    details = [detail for detail in body.get("details") or () if isinstance(detail, dict)]
    reasons = {str(detail["reason"]) for detail in details if detail.get("reason")}
    words = error.message
    if reply.status == 403:
        return _forbidden(reasons, words, error, details)
    if reply.status not in (429, 499, 503):
        return error
    wait = _wait(details, words)
    if "MODEL_CAPACITY_EXHAUSTED" in reasons or "no capacity available" in words.casefold():
        headers = {"retry-after": str(max(1, round(wait)))} if wait is not None else {}
        return UpstreamError(words, 529, "overloaded_error", headers)
    if reply.status != 429:
        return error
    quotas = " ".join(_quotas(details))
    spent = (
        not {"QUOTA_EXHAUSTED", "INSUFFICIENT_G1_CREDITS_BALANCE"}.isdisjoint(reasons)
        or "limit: 0" in words
        or "PerDay" in quotas
        or "Daily" in quotas
        or ("RATE_LIMIT_EXCEEDED" in reasons and wait is None)
        or (wait is not None and wait > SOON)
    )
    if spent:
        return Limited(words, HOUR if wait is None else wait, model_only=True)
    if wait is None and "PerMinute" in quotas:
        wait = 60.0
    return Limited(words, wait, model_only=True) if wait is not None else error


def of_project(reply: WireReply, project: str) -> bool:
    """Whether a refusal may mean that ``project`` is gone, or that the account may not use it (any more)."""
    if reply.status not in (403, 404):
        return False
    error = _error(reply.body)
    words = str(error.get("message") or "").casefold()
    if reply.status == 404:  # else it is the model that is not there
        return "project" in words or project.casefold() in words
    reasons = {str(each.get("reason")) for each in error.get("details") or () if isinstance(each, dict)}
    return "VALIDATION_REQUIRED" not in reasons and "violation of " not in words


def _forbidden(reasons: set[str], words: str, error: UpstreamError, details: list[JSON]) -> CcrError:
    low = words.casefold()
    if "VALIDATION_REQUIRED" in reasons:
        # The dialect has put the link beside the words.
        return AccountError(words, "validation_required")
    if "violation of terms of service" in low or "violation of the terms of service" in low:
        return AccountError(words, "disabled")
    if "SERVICE_DISABLED" in reasons:
        return UpstreamError(f"{words} {_enable(details)}", 403, error.kind, error.headers)
    if "lack a gemini code assist license" in low:
        return UpstreamError(f"{words} (is the right project configured?)", 403, error.kind, error.headers)
    return error


def _enable(details: list[JSON]) -> str:
    """What the owner of a project does to switch the service on that is off in it."""
    metadata: JSON = next((each["metadata"] for each in details if isinstance(each.get("metadata"), dict)), {})
    service = str(metadata.get("service") or API)
    project = str(metadata.get("consumer") or "").removeprefix("projects/")
    page = f"https://console.cloud.google.com/apis/library/{service}{f'?project={project}' if project else ''}"
    command = f"gcloud services enable {service}{f' --project {project}' if project else ''}"
    return f"(enable the API {service} in the project, at {page} or by: {command}; then wait a few minutes)"


def _error(data: bytes) -> JSON:
    try:
        found: Any = loads(data)
    except ValueError:
        return {}
    if isinstance(found, list) and found:
        found = found[0]
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def _quotas(details: list[JSON]) -> list[str]:
    found = [
        str(violation.get("quotaId") or "")
        for detail in details
        for violation in detail.get("violations") or ()
        if isinstance(violation, dict)
    ]
    return found + [str((detail.get("metadata") or {}).get("quota_limit") or "") for detail in details]


def _wait(details: list[JSON], words: str) -> float | None:
    for detail in details:
        metadata = detail.get("metadata")
        for given in (
            detail.get("retryDelay"),
            metadata.get("quotaResetDelay") if isinstance(metadata, dict) else None,
        ):
            if isinstance(given, str) and (found := _DURATION.findall(given)):
                return sum(float(number) * _UNITS[unit] for number, unit in found)
    again = _AGAIN.search(words)
    if again is None:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(again[1]))
