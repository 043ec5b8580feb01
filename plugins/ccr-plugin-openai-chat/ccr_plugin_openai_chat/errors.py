"""Refusals and failures, whatever their shape, as errors that the client understands.

Kept: the provider's words, the class of its status, and how long to wait.  Added: the words by which the client
recognises that the conversation is too long, so that it compacts it.  Removed: keys, markup, and anything beyond
2,000 characters.
"""

from __future__ import annotations

import html
import math
import re
import time
from collections.abc import Iterator
from typing import Any

import attrs
import orjson

from ccr_core import JSON, UpstreamError, WireReply, kind_of

from .overflow import too_long
from .waiting import wait_of

LIMIT = 2000
"""The most characters of a message."""


@attrs.frozen
class ReadError:
    """An error as read: ``status`` is that of the body, where it gives one."""

    kind: str
    message: str
    status: int
    final: bool = False
    """Whether trying again is of no use: the account has to be paid, or a quota waited for."""


# --- words -------------------------------------------------------------------------------------------------------

_SECRETS = re.compile(
    r"(?i)\bbearer\s+[^\s\"',;]{8,}"
    r"|\b(?:sk|pk|rk|gsk|xai|csk|nvapi|hf|fw|tgp|r8|ghp|gho|glpat|AKIA|AIza|ya29)[-_.]?[A-Za-z0-9][-_.*A-Za-z0-9]{7,}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|(?<=key=)[^\s&\"']{8,}"
)
_NAMED = re.compile(
    r"(?i)(\b(?:api[ _-]?key|token|secret)\b[^\n:=]{0,20}[:=]\s*[\"']?)([A-Za-z0-9][-_.*A-Za-z0-9]{15,})"
)


def redact(text: str) -> str:
    """``text`` without what looks like a key."""
    return _NAMED.sub(r"\1***", _SECRETS.sub("***", text))


def plain(text: str) -> str:
    """The words of an HTML page; text that is none is given back."""
    if not re.match(r"\s*<(?:!doctype|html|head|body|center|h1|title|\?xml)", text, re.IGNORECASE):
        return text
    text = re.sub(r"(?is)<(script|style|svg)\b.*?</\1\s*>|<!--.*?-->", " ", text)
    text = re.sub(r"(?i)</(?:title|h\d|p|div|center)>|<br\s*/?>|<hr\s*/?>", ". ", text)
    text = html.unescape(re.sub(r"<[^>]*>", " ", text))
    return re.sub(r"(?:\s*\.\s*)+(?=\.\s|$)|\s+(?=\.\s)", "", re.sub(r"\s+", " ", text)).strip(" .")


def _words(data: Any) -> str:
    """The sentence in an error body."""
    if isinstance(data, str):
        return data.strip()
    if isinstance(data, list):
        return "; ".join(filter(None, map(_words, data)))
    if not isinstance(data, dict):
        return ""
    if "loc" in data and "msg" in data:
        loc = data["loc"]
        where = ".".join(map(str, loc)) if isinstance(loc, list) else str(loc)
        return f"{where}: {data['msg']}"
    for name in ("error", "message", "Message", "detail", "status_msg", "error_message", "error_msg", "msg", "title"):
        text = _words(data.get(name))
        if text:
            return _with_details(text, data)
    base = data.get("base_resp")
    if isinstance(base, dict):
        return _words(base)
    return orjson.dumps(data).decode() if data else ""


def _with_details(text: str, data: JSON) -> str:
    param = data.get("param")
    if isinstance(param, str) and param and param not in text:
        text = f"{text} (param: {param})"
    metadata = data.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str) and raw.strip():
        try:
            inner = _words(orjson.loads(raw))
        except orjson.JSONDecodeError:
            inner = raw.strip()
        if inner and inner not in text:
            text = f"{text}: {inner}"
    failed = data.get("failed_generation")
    if isinstance(failed, str) and failed:
        text = f"{text}; the model wrote: {failed}"
    return text


# --- kinds -------------------------------------------------------------------------------------------------------

_TYPES = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "invalid_authentication_error": 401,
    "unauthenticated": 401,
    "insufficient_quota": 429,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_reached_error": 429,
    "exceeded_current_quota_error": 429,
    "requests": 429,
    "tokens": 429,
    "resource_exhausted": 429,
    "throttlingexception": 429,
    "engine_overloaded_error": 529,
    "overloaded_error": 529,
    "unavailable": 503,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "server_error": 500,
    "internal_server_error": 500,
    "api_error": 500,
    "1002": 429,
    "1039": 429,
    "1004": 401,
    "1008": 402,
    "2013": 400,
    "1302": 429,
    "1303": 429,
    "1305": 529,
    "20012": 404,
    "30001": 402,
    "50505": 503,
}
"""Words and codes that tell the kind of an error inside a stream, where there is no status."""

_UNPAID = frozenset(
    {
        "insufficient_quota",
        "billing_error",
        "exceeded_current_quota_error",
        "billing_hard_limit_reached",
        "arrearage",
        "accountoverdueerror",
        "insufficient_balance",
        "1113",
        "1313",
        "1304",
        "1308",
        "1309",
        "1310",
    }
)
"""Codes after which trying again is of no use, although some come with the status 429."""

_BAD_KEY = frozenset({"api_key_invalid", "invalid_api_key"})


def _codes(data: Any) -> Iterator[str]:
    """Everything in an error body that names its kind, in small letters, the most telling first."""
    if isinstance(data, list):
        for one in data[:1]:
            yield from _codes(one)
    if not isinstance(data, dict):
        return
    for name in ("code", "type", "status", "reason", "status_code", "error_type"):
        value = data.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            yield str(value).casefold()
    for name in ("error", "base_resp"):
        yield from _codes(data.get(name))
    for detail in data.get("details") or ():
        yield from _codes(detail)


def read_error(data: Any, status: int | None = None) -> ReadError:
    """What an error body says.  ``status`` is that of the reply; inside a stream there is none."""
    codes = list(_codes(data))
    if status is None:
        status = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) < 600), None)
        status = status or next((_TYPES[code] for code in codes if code in _TYPES), 500)
    final = not _UNPAID.isdisjoint(codes)
    if status == 400 and not _BAD_KEY.isdisjoint(codes):
        status = 401
    if status == 498:
        status = 529
    kind = "billing_error" if final and status in (402, 429) else kind_of(status)
    message = redact(_words(data))
    if status in (400, 413, 422, 500) and (longer := too_long(f"{message} {' '.join(codes)}")):
        return ReadError("invalid_request_error", _cut(f"{longer}: {message}"), 400)
    return ReadError(kind, _cut(message) or f"the provider answered with status {status} and no text", status, final)


def _cut(text: str) -> str:
    return text if len(text) <= LIMIT else f"{text[: LIMIT - 1]}…"


# --- a refusal ---------------------------------------------------------------------------------------------------


def decode_error(reply: WireReply, now: float | None = None) -> UpstreamError:
    """A refusal as an exception; ``now`` is the Unix time (that of the clock unless given)."""
    now = time.time() if now is None else now
    text = reply.body.decode("utf-8", "replace").strip()
    data: Any = text
    if text[:1] in ("{", "[", '"'):
        try:
            data = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            pass
    if isinstance(data, str):
        data = plain(data)
    error = read_error(data, reply.status)
    headers = dict(reply.headers)
    wait = wait_of(error.status, headers, data, error.message, now)
    if wait is not None:
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    elif "retry-after" in headers:
        del headers["retry-after"]
    if error.final:
        headers.setdefault("x-should-retry", "false")
    return UpstreamError(error.message, error.status, error.kind, headers)
