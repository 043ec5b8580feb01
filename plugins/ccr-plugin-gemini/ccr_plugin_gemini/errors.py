"""Refusals and failures in the shape of Google's services, as errors that the client understands.

Kept: the service's words, the class of its status, and how long to wait.  Added: the words by which the client
recognises that the conversation is too long, links that help, and whether trying again is of any use.  Removed: keys,
markup, and anything beyond 2,000 characters.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from typing import Any

import attrs
import orjson

from ccr_core import JSON, UpstreamError, WireReply, kind_of

LIMIT = 2000
"""The most characters of a message."""

_STATUSES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The canonical codes of Google's services, and the HTTP status that goes with each."""

_FINAL = frozenset({"QUOTA_EXHAUSTED", "INSUFFICIENT_G1_CREDITS_BALANCE", "BILLING_DISABLED"})
"""Reasons after which trying again soon is of no use."""

_SECRETS = re.compile(r"\b(?:AIza|ya29\.|AQ\.)[-\w.]{8,}|(?i:\bbearer\s+[^\s\"',;]{8,})|(?<=[?&]key=)[^\s&\"']+")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_AGAIN = re.compile(r"(?i)(?:retry in|reset after|try again in)\s+((?:\d+(?:\.\d+)?(?:ms|h|m|s)\s*)+)")
_OVERFLOW = re.compile(
    r"(?i)(?:input )?token count(?: of (?:the )?\w+)?(?: is)?(?:\s*\(?(\d+)\)?)?.*?"
    r"(?:exceeds the maximum number of tokens(?: allowed)?|only supports up to)\s*\(?(\d+)?"
)
_LARGE = re.compile(r"(?i)request payload size exceeds the limit")


@attrs.frozen
class ReadError:
    """An error as read.  ``wait`` is in seconds; ``final``: trying again soon is of no use."""

    kind: str
    message: str
    status: int
    wait: float | None = None
    final: bool = False


@attrs.frozen
class Details:
    """What Google's services say of an error beside its words, each detail as it came."""

    rows: tuple[JSON, ...] = ()

    @classmethod
    def of(cls, data: Any) -> Details:
        """The details in the body of a refusal, which has none if it is of another shape."""
        return cls(tuple(detail for detail in _error(data).get("details") or () if isinstance(detail, dict)))

    @property
    def reasons(self) -> frozenset[str]:
        """Why, in single words such as ``QUOTA_EXHAUSTED``."""
        return frozenset(str(row["reason"]) for row in self.rows if row.get("reason"))

    def metadata(self) -> Iterator[JSON]:
        """What is added to the reasons."""
        return (row["metadata"] for row in self.rows if isinstance(row.get("metadata"), dict))

    def quotas(self) -> Iterator[str]:
        """The names of the quotas that were reached."""
        for row in self.rows:
            for violation in row.get("violations") or ():
                if isinstance(violation, dict):
                    yield str(violation.get("quotaId") or "")
        yield from (str(each.get("quota_limit") or "") for each in self.metadata())

    def daily(self) -> bool:
        """Whether a quota of a whole day was reached."""
        return any("PerDay" in quota or "Daily" in quota for quota in self.quotas())

    def wait(self, words: str) -> float | None:
        """How many seconds to wait, by the details or else by the ``words`` of the error."""
        for row in self.rows:
            metadata = row.get("metadata")
            for given in (
                row.get("retryDelay"),
                metadata.get("quotaResetDelay") if isinstance(metadata, dict) else None,
            ):
                seconds = _seconds(given) if isinstance(given, str) else None
                if seconds is not None:
                    return seconds
        found = _AGAIN.search(words)
        return _seconds(found[1]) if found else None

    def links(self) -> Iterator[str]:
        """Addresses at which a person can put things right."""
        for row in self.rows:
            for link in row.get("links") or ():
                if isinstance(link, dict) and link.get("url"):
                    yield str(link["url"])
                    return
            metadata = row.get("metadata")
            if isinstance(metadata, dict):
                found = (
                    metadata.get("validation_url") or metadata.get("validation_link") or metadata.get("activationUrl")
                )
                if found:
                    yield str(found)


def read_error(data: Any, status: int | None = None) -> ReadError:
    """What an error body says.  ``status`` is that of the reply; inside a stream there is none."""
    error = _error(data)
    details = Details.of(data)
    if status is None:
        code = error.get("code")
        name = str(error.get("status") or "")
        status = code if isinstance(code, int) and 400 <= code < 600 else _STATUSES.get(name, 500)
    words = _SECRETS.sub("***", _words(error, data))
    if status == 400 and ("API_KEY_INVALID" in details.reasons or "API key not valid" in words):
        status = 401
    kind = kind_of(status)
    if status in (400, 413, 500) and (found := _OVERFLOW.search(words)):
        numbers = f": {found[1]} tokens > {found[2]} maximum" if found[1] and found[2] else ""
        words, status, kind = f"prompt is too long{numbers}: {words}", 400, "invalid_request_error"
    elif status == 400 and _LARGE.search(words):
        status, kind = 413, "request_too_large"
    for link in details.links():
        if link not in words:
            words = f"{words} ({link})"
    final = status in (429, 403) and (not _FINAL.isdisjoint(details.reasons) or "limit: 0" in words or details.daily())
    if len(words) > LIMIT:
        words = f"{words[: LIMIT - 1]}…"
    words = words or f"the provider answered with status {status} and no text"
    return ReadError(kind, words, status, details.wait(words) if status >= 429 else None, final)


def decode_error(reply: WireReply) -> UpstreamError:
    """A refusal as an exception."""
    data: Any = reply.body.decode("utf-8", "replace").strip()
    if data[:1] in ("{", "[", '"'):
        try:
            data = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            pass
    error = read_error(data, reply.status)
    headers = dict(reply.headers)
    if "retry-after" not in headers and error.wait is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.wait)))
    if error.final:
        headers.setdefault("x-should-retry", "false")
    return UpstreamError(error.message, error.status, error.kind, headers)


def _error(data: Any) -> JSON:
    """The object that describes the error; a stream without server-sent events is a list of one."""
    if isinstance(data, list) and data:
        data = data[0]
    error = data.get("error") if isinstance(data, dict) else None
    if isinstance(error, dict):
        return error
    return data if isinstance(data, dict) and ("message" in data or "details" in data) else {}


def _words(error: JSON, data: Any) -> str:
    message = error.get("message")
    if isinstance(message, str) and message.strip():
        try:
            inner = orjson.loads(message) if message.lstrip().startswith("{") else None
        except orjson.JSONDecodeError:
            inner = None
        return _words(_error(inner), inner) if isinstance(inner, dict) else message.strip()
    if isinstance(data, str):
        return _plain(data)
    if isinstance(data, dict) and isinstance(data.get("error"), str):
        return str(data["error"])
    name = error.get("status")
    return str(name) if name else orjson.dumps(data).decode() if data else ""


def _plain(text: str) -> str:
    """The words of an HTML page; other text as it is."""
    if not re.match(r"\s*<", text):
        return text
    text = re.sub(r"(?is)<(script|style|svg)\b.*?</\1\s*>|<!--.*?-->|<[^>]*>", " ", text)
    return re.sub(r"\s+", " ", html.unescape(text)).strip()


def _seconds(text: str) -> float | None:
    """A duration such as ``34.4s``, ``373.8ms`` or ``1h16m0.6s`` in seconds."""
    found = _DURATION.findall(text)
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    return sum(float(number) * units[unit] for number, unit in found) if found else None
