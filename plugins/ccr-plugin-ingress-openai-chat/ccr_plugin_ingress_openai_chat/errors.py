"""Errors in the shape of OpenAI's API: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import re

import orjson

from ccr_core import JSON, AuthError, CcrError, ConfigError, PluginError, RequestError, UpstreamError, WireReply

CODES = {
    "authentication_error": "invalid_api_key",
    "billing_error": "insufficient_quota",
    "not_found_error": "model_not_found",
    "rate_limit_error": "rate_limit_exceeded",
    "overloaded_error": "server_is_overloaded",
    "api_error": "server_error",
    "timeout_error": "server_error",
}
"""The code for a kind of error, where clients look at codes."""

_PLACE = re.compile(r"([a-z_]+(?:\[\d+\]|\.[a-z_]+)*): ")
_TOO_LONG = re.compile(r"(?i)prompt is too long|context (?:length|window)|maximum context")


def error_body(kind: str, message: str, *, place: bool = False) -> JSON:
    """The object under ``error``; with ``place`` the message may begin with the name of a field."""
    code = CODES.get(kind)
    if kind in ("invalid_request_error", "request_too_large") and _TOO_LONG.search(message):
        code = "context_length_exceeded"
    param = _PLACE.match(message) if place else None
    return {
        "message": message,
        "type": "server_error" if kind == "api_error" else kind,
        "param": param[1] if param else None,
        "code": code,
    }


def error_reply(error: CcrError) -> WireReply:
    """The answer that tells ``error``, with the provider's ``retry-after`` and request id.

    What only a person can cure is marked as not worth a retry: the SDKs would repeat a 500.
    """
    headers: dict[str, str] = {"content-type": "application/json"}
    if isinstance(error, UpstreamError):
        headers.update(error.headers)
    elif isinstance(error, (AuthError, ConfigError, PluginError)):
        headers["x-should-retry"] = "false"
    told = error_body(error.kind, error.message, place=isinstance(error, RequestError))
    return WireReply(status=error.status, headers=headers, body=orjson.dumps({"error": told}))
