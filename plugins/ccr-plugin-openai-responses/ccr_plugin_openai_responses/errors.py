"""Refusals and failures, whatever their shape, as errors that the client understands.

Kept: the provider's words, the class of its status, and how long to wait.  Added: the words by which the client
recognises that the conversation is too long, so that it compacts it.  Removed: keys, markup, and anything beyond
2,000 characters.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Iterator
from typing import Any

import attrs
import orjson

from ccr_core import UpstreamError, WireReply, error_text, kind_of

STATUSES = {
    "insufficient_quota": 429,
    "billing_hard_limit_reached": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "usage_limit_reached": 429,
    "too_many_requests": 429,
    "requests": 429,
    "tokens": 429,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "insufficient_permissions": 403,
    "bio_policy": 403,
    "misalignment_policy_violation": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "deploymentnotfound": 404,
    "server_is_overloaded": 529,
    "slow_down": 529,
    "overloaded_error": 529,
    "service_unavailable_error": 503,
    "vector_store_timeout": 504,
    "timeout_error": 504,
    "server_error": 500,
    "internal_error": 500,
    "api_error": 500,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
}
"""Codes and types that tell the status of a failure inside a stream, where there is none."""

_UNPAID = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "usage_not_included"})
"""Codes after which trying again is of no use, although they come with the status 429."""

_SECRET = re.compile(
    r"(?i)\bbearer\s+[^\s\"',;]{8,}|\b(?:sk|xai|gsk|key)-[-_.*A-Za-z0-9]{8,}|\beyJ[-_A-Za-z0-9]{10,}\.[-_.A-Za-z0-9]+"
)
_LONG = re.compile(
    r"(?i)context_length_exceeded|model_max_prompt_tokens_exceeded|maximum (?:context|prompt) length|context window"
    r"|(?:prompt|input) (?:is )?too long|exceeds? the (?:model'?s )?(?:maximum )?context|too many (?:input )?tokens"
)
_OPTIONAL = frozenset(
    {"include", "reasoning", "text", "temperature", "top_p", "store", "service_tier", "prompt_cache_key"}
    | {"parallel_tool_calls", "max_output_tokens"}
)
"""Fields without which a request still asks for the same."""

_UNSUPPORTED = re.compile(r"(?i)\bunsupported\b|\bnot supported\b|\bmust be verified\b")
_AGAIN = re.compile(r"(?i)(?:try|retry)\w* (?:again )?(?:in|after) ((?:[\d.]+ ?(?:ms|[dhms])[a-z]*[ ,]*)+)")
_SPAN = re.compile(r"([\d.]+) ?(ms|[dhms])")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@attrs.frozen
class ReadError:
    """An error as read.  ``final``: trying again is of no use."""

    kind: str
    message: str
    status: int
    final: bool = False


def read_error(data: Any, status: int | None = None) -> ReadError:
    """What an error body says.  ``status`` is that of the reply; inside a stream there is none."""
    codes = list(_codes(data))
    if status is None:
        status = next((int(code) for code in codes if code.isdecimal() and 400 <= int(code) < 600), None)
        status = status or next((STATUSES[code] for code in codes if code in STATUSES), 500)
    final = not _UNPAID.isdisjoint(codes)
    kind = "billing_error" if final and status in (402, 429) else kind_of(status)
    message = _words(data, status)
    if status in (400, 413, 422, 500) and _LONG.search(f"{message} {' '.join(codes)}"):
        status, kind, message = 400, kind_of(400), f"{too_long(message)}: {message}"
    return ReadError(kind, message, status, final)


def too_long(text: str) -> str:
    """The words by which Claude Code knows that it has to compact, with the numbers of ``text`` if it has them."""
    numbers = sorted({int(re.sub(r"[,_]", "", found)) for found in re.findall(r"\d[\d,_]*\d", text)})
    large = [number for number in numbers if number >= 512]
    return f"prompt is too long: {large[-1]} tokens > {large[-2]} maximum" if len(large) > 1 else "prompt is too long"


def _codes(data: Any) -> Iterator[str]:
    """Everything in an error body that names its kind, in small letters, the most telling first."""
    if isinstance(data, list):
        data = data[0] if data else None
    if not isinstance(data, dict):
        return
    for name in ("code", "type", "status"):
        if isinstance(data.get(name), (str, int)):
            yield str(data[name]).casefold()
    for name in ("error", "detail"):
        yield from _codes(data.get(name))


def _words(data: Any, status: int) -> str:
    body = data.encode() if isinstance(data, str) else orjson.dumps(data)
    text = error_text(WireReply(status=status, body=body))
    error = data.get("error") if isinstance(data, dict) else None
    named = error.get("param") if isinstance(error, dict) else None
    if isinstance(named, str) and named and named not in text:
        # The engine leaves out what is called an unsupported parameter, and asks again.
        optional = named.partition(".")[0] in _OPTIONAL and _UNSUPPORTED.search(text)
        what = "unsupported parameter" if status == 400 and optional else "param"
        text = f"{text} ({what}: {named})"
    return _SECRET.sub("***", text)[:2000] or f"the provider answered with status {status} and no text"


def decode_error(reply: WireReply, now: float | None = None) -> UpstreamError:
    """A refusal as an exception; ``now`` is the Unix time (that of the clock unless given)."""
    data: Any = reply.body.decode("utf-8", "replace").strip()
    if data[:1] in ("{", "["):
        try:
            data = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            pass
    error = read_error(data, reply.status)
    headers = dict(reply.headers)
    wait = _wait(headers, data, error, time.time() if now is None else now)
    headers.pop("retry-after", None)
    if wait is not None:
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    if error.final:
        headers.setdefault("x-should-retry", "false")
    return UpstreamError(error.message, error.status, error.kind, headers)


def _wait(headers: dict[str, str], data: Any, error: ReadError, now: float) -> float | None:
    """How many seconds the provider asks to wait, from the first place that says so."""
    if (seconds := _number(headers.get("retry-after-ms"))) is not None:
        return seconds / 1000
    if "retry-after" in headers:
        given = headers["retry-after"]
        if (seconds := _number(given)) is not None:
            return seconds
        try:
            return max(0.0, email.utils.parsedate_to_datetime(given).timestamp() - now)
        except ValueError:
            pass
    if error.status not in (429, 503, 529):
        return None
    # The ChatGPT backend says when a limit of the subscription ends.
    inner = data.get("error") if isinstance(data, dict) else None
    seconds = _number(inner.get("resets_in_seconds")) if isinstance(inner, dict) else None
    if seconds is not None:
        return seconds
    if found := _AGAIN.search(error.message):
        return _span(found.group(1))
    for what in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{what}") == "0" and (reset := headers.get(f"x-ratelimit-reset-{what}")):
            return _number(reset) if _number(reset) is not None else _span(reset)
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _span(text: str) -> float | None:
    found = _SPAN.findall(text)
    return sum(float(number) * _UNITS[unit] for number, unit in found) if found else None
