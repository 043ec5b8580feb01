"""How long to wait before trying again, from the many places where services say so."""

from __future__ import annotations

import datetime
import email.utils
import math
import re
from collections.abc import Mapping
from typing import Any

_DURATION = re.compile(
    r"(?i)(\d+(?:\.\d+)?)\s*(ms|milliseconds?|h(?:ours?|rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?|d(?:ays?)?)(?![a-z])"
)
_AGAIN = re.compile(
    r"(?i)(?:try again|retry|wait|available|resets?)(?: again)?(?: in| after| for)?(?: about)?"
    r"\s+((?:\d+(?:\.\d+)?\s*[a-z]+[\s,and]*)+)"
)
_UNITS = {"ms": 0.001, "mi": 60.0, "h": 3600.0, "m": 60.0, "s": 1.0, "d": 86400.0}


def seconds_of(text: str, now: float) -> float | None:
    """A waiting time in seconds: a number, a Go duration (``6m0s``), a Unix time, or a date; ``None`` if it is none."""
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        pass
    else:
        if value > 1e11:
            value /= 1000
        value = value - now if value > 1e9 else value
        return value if math.isfinite(value) and value >= 0 else None
    total = _duration(text)
    if total is not None:
        return total
    return _date(text, now)


def _duration(text: str) -> float | None:
    found = _DURATION.findall(text)
    if not found or _DURATION.sub("", text).strip(" ,andAND"):
        return None
    return sum(float(number) * _unit(unit) for number, unit in found)


def _unit(unit: str) -> float:
    unit = unit.lower()
    if unit.startswith("mil"):
        unit = "ms"
    return _UNITS.get(unit[:2]) or _UNITS[unit[0]]


def _date(text: str, now: float) -> float | None:
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        try:
            when = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    return max(0.0, when.timestamp() - now)


def wait_of(status: int, headers: Mapping[str, str], data: Any, text: str, now: float) -> float | None:
    """How many seconds the provider asks to wait, from the first place that says so."""
    if "retry-after-ms" in headers:
        try:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        except ValueError:
            pass
    if "retry-after" in headers:
        given = seconds_of(headers["retry-after"], now)
        if given is not None:
            return given
    told = _retry_info(data)
    if told is not None:
        return told
    if status in (429, 503, 529):
        inner = data.get("error") if isinstance(data, dict) else None
        metadata = inner.get("metadata") if isinstance(inner, dict) else None
        more = metadata.get("headers") if isinstance(metadata, dict) else None
        lower = {str(name).lower(): str(value) for name, value in more.items()} if isinstance(more, dict) else {}
        found = _AGAIN.search(text)
        in_words = _leading_duration(found.group(1)) if found else None
        if in_words is not None:
            return in_words
        return _reset({**lower, **headers}, now)
    return None


def _leading_duration(text: str) -> float | None:
    """The duration at the start of ``text``, which may go on with other words."""
    total, end = None, 0
    for match in _DURATION.finditer(text):
        if text[end : match.start()].strip(" ,and"):
            break
        total = (total or 0.0) + float(match.group(1)) * _unit(match.group(2))
        end = match.end()
    return total


def _retry_info(data: Any) -> float | None:
    if isinstance(data, list):
        data = data[0] if data else None
    error = data.get("error") if isinstance(data, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str):
            return _duration(delay)
    return None


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """From ``x-ratelimit-reset-*``: the reset of what is used up, else the nearest."""
    prefix = "x-ratelimit-reset"
    resets = {
        name[len(prefix) :]: seconds
        for name, value in headers.items()
        if name.startswith(prefix) and (seconds := seconds_of(value, now)) is not None
    }
    used = [
        seconds for what, seconds in resets.items() if headers.get(f"x-ratelimit-remaining{what}", "").strip() == "0"
    ]
    return max(used) if used else min(resets.values(), default=None)
