"""What a refusal of Google's services means for the account and for the model that was asked.

Source: the classification in the vendor's own command-line program (Apache-2.0), autumn 2026.  The words stay the
service's own, as the dialect has read them.
"""

from __future__ import annotations

from typing import Any

from ccr_plugin_gemini import Details

from ccr_core import AccountError, CcrError, Limited, UpstreamError, WireReply, loads

HOUR = 3600.0
"""How long a model rests whose quota is used up, if nothing says when it is restored."""

SOON = 300.0
"""A wait up to this many seconds is no end of a quota."""

API = "cloudaicompanion.googleapis.com"
"""What has to be switched on in a project before Code Assist serves it."""


def refused(reply: WireReply, error: UpstreamError) -> CcrError:
    """``error``, or what it means: ``Limited``, ``AccountError``, or an overloaded model."""
    details = Details.of(_data(reply))
    reasons, words = details.reasons, error.message
    if reply.status == 403:
        return _forbidden(details, words, error)
    if reply.status not in (429, 499, 503):
        return error
    wait = details.wait(words)
    if "MODEL_CAPACITY_EXHAUSTED" in reasons or "no capacity available" in words.casefold():
        headers = {"retry-after": str(max(1, round(wait)))} if wait is not None else {}
        return UpstreamError(words, 529, "overloaded_error", headers)
    if reply.status != 429:
        return error
    spent = (
        not {"QUOTA_EXHAUSTED", "INSUFFICIENT_G1_CREDITS_BALANCE"}.isdisjoint(reasons)
        or "limit: 0" in words
        or details.daily()
        or ("RATE_LIMIT_EXCEEDED" in reasons and wait is None)
        or (wait is not None and wait > SOON)
    )
    if spent:
        return Limited(words, HOUR if wait is None else wait, model_only=True)
    if wait is None and any("PerMinute" in quota for quota in details.quotas()):
        wait = 60.0
    return Limited(words, wait, model_only=True) if wait is not None else error


def of_project(reply: WireReply, project: str) -> bool:
    """Whether a refusal may mean that ``project`` is gone, or that the account may not use it (any more)."""
    if reply.status not in (403, 404):
        return False
    words = reply.body.decode("utf-8", "replace").casefold()
    if reply.status == 404:  # else it is the model that is not there
        return "project" in words or project.casefold() in words
    return "VALIDATION_REQUIRED" not in Details.of(_data(reply)).reasons and "violation of " not in words


def _forbidden(details: Details, words: str, error: UpstreamError) -> CcrError:
    reasons = details.reasons
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


def _enable(details: Details) -> str:
    """What the owner of a project does to switch the service on that is off in it."""
    metadata = next(details.metadata(), {})
    service = str(metadata.get("service") or API)
    project = str(metadata.get("consumer") or "").removeprefix("projects/")
    page = f"https://console.cloud.google.com/apis/library/{service}{f'?project={project}' if project else ''}"
    command = f"gcloud services enable {service}{f' --project {project}' if project else ''}"
    return f"(enable the API {service} in the project, at {page} or by: {command}; then wait a few minutes)"


def _data(reply: WireReply) -> Any:
    try:
        return loads(reply.body)
    except ValueError:
        return None
