"""Reading the history: a page of requests, what has changed since, one request, sums, and an overview.

Each function opens the file for itself, reads one consistent state of it, and gives plain data in the form that the
README documents.  Lists go in pages by ``(at, seq)``, which the indexes have, so that the hundredth page costs what the
first does.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import orjson

from ccr_core import JSON, RequestError
from ccr_plugin_history.store import alive, meta, reading

LIMIT = 200
"""The most requests of one page."""

GROUPS = 1000
"""The most groups of one answer."""

SAMPLE = 20_000
"""The most requests from which percentiles are taken: the newest ones."""

QUARTER = "CAST(at / 900 AS INTEGER)"
"""Quarters of an hour, of which local hours and days are made: clocks differ by whole ones."""

TIMES: Mapping[str, str] = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H"}

KEYS: Mapping[str, str] = {
    "day": QUARTER,
    "hour": QUARTER,
    "model": "provider || ',' || model",
    "provider": "provider",
    "session": "session",
    "agent": "COALESCE(agent_type, agent_id)",
    "project": "project",
    "scenario": "scenario",
    "class": "class",
}
"""What sums can be made by."""

TOKENS = ("input", "output", "cache_read", "cache_write", "reasoning")
ENDED = "state <> 'done' AND state <> 'running'"
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

SUMS = ", ".join(
    [
        "count(*) AS requests",
        f"sum({ENDED}) AS errors",
        *(f"sum({kind}) AS {kind}" for kind in TOKENS),
        "sum(cost) AS cost",
        "sum(cost IS NULL AND (state = 'done' OR input IS NOT NULL)) AS unpriced",
        "sum(duration) AS duration",
        "max(at) AS last",
    ]
)


@attrs.frozen(kw_only=True)
class Filter:
    """Which requests are meant; ``None``: all.  ``since`` and ``until`` are Unix times."""

    session: str | None = None
    provider: str | None = None
    model: str | None = None
    requested: str | None = None
    project: str | None = None
    scenario: str | None = None
    rule: str | None = None
    request_class: str | None = attrs.field(default=None, metadata={"key": "class"})
    agent: str | None = None
    status: str | None = None
    since: float | None = None
    until: float | None = None

    def where(self) -> tuple[list[str], list[Any]]:
        """The conditions and their values; raise ``RequestError`` for a status that there is not."""
        terms: list[str] = []
        values: list[Any] = []
        provider, model = self.provider, self.model
        if model is not None and provider is None and "," in model:
            provider, _, model = model.partition(",")
        plain = {
            "session": self.session,
            "provider": provider,
            "model": model,
            "requested": self.requested,
            "project": self.project,
            "scenario": self.scenario,
            "rule": self.rule,
            "class": self.request_class,
        }
        for column, value in plain.items():
            if value is not None:
                terms.append(f"{column} = ?")
                values.append(value)
        if self.agent == "main":
            terms.append("agent_id IS NULL AND agent_type IS NULL")
        elif self.agent is not None:
            terms.append("(agent_id = ? OR agent_type = ?)")
            values += [self.agent, self.agent]
        for term, moment in (("at >= ?", self.since), ("at < ?", self.until)):
            if moment is not None:
                terms.append(term)
                values.append(moment)
        if self.status is not None:
            terms.append(self._state())
        return terms, values

    def _state(self) -> str:
        known = {"ok": "state = 'done'", "error": ENDED, "running": "state <> 'done' AND state = 'running'"}
        if self.status in known:
            return known[self.status]
        if self.status is not None and self.status.isdecimal() and len(self.status) == 3:
            return f"status = {int(self.status)}"
        raise RequestError(f'there is no status "{self.status}"; say ok, error, running, or a number such as 429')


def moment(text: str, now: float | None = None) -> float:
    """A Unix time from Unix seconds, an ISO time (local unless it says otherwise), or an age such as ``2h``."""
    text = text.strip()
    now = time.time() if now is None else now
    age = _AGE.fullmatch(text)
    try:
        if age is not None:
            return now - float(age[1]) * _UNITS[age[2]]
        if re.fullmatch(r"\d{9,12}(\.\d+)?", text):
            return float(text)
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise RequestError(
            f'"{text}" is no time; write 90s, 15m, 2h, 7d, 2026-11-22, 2026-11-22T14:00, or Unix seconds'
        ) from None


def _terms(parts: Iterable[str]) -> str:
    joined = " AND ".join(parts)
    return f" WHERE {joined}" if joined else ""


# --- lists ------------------------------------------------------------------------------------------------------


def page_sql(wanted: Filter, before: tuple[float, int] | None, limit: int) -> tuple[str, list[Any]]:
    """The statement for a page, newest first."""
    terms, values = wanted.where()
    if before is not None:
        terms.append("(at, seq) < (?, ?)")
        values += before
    return f"SELECT * FROM requests{_terms(terms)} ORDER BY at DESC, seq DESC LIMIT ?", [*values, limit]


def page(path: Path, wanted: Filter, before: str | None = None, limit: int = 50) -> JSON:
    """Requests, newest first: ``{"requests", "before", "after", "more", "lost"}``."""
    limit = _limited(limit)
    sql, values = page_sql(wanted, _place(before), limit + 1)
    with reading(path) as db:
        if db is None:
            return {"requests": [], "before": None, "after": "0", "more": False, "lost": 0}
        rows = db.execute(sql, values).fetchall()
        living = alive(db)
        more = len(rows) > limit
        rows = rows[:limit]
        return {
            "requests": [_request(row, living) for row in rows],
            "before": f"{rows[-1]['at']!r}~{rows[-1]['seq']}" if more else None,
            "after": str(meta(db, "change")),
            "more": more,
            "lost": meta(db, "lost"),
        }


def changes_sql(wanted: Filter, after: int, limit: int) -> tuple[str, list[Any]]:
    """The statement for what is new or has changed, oldest change first."""
    terms, values = wanted.where()
    # The plus keeps the filters from choosing the index: few rows have changed, whatever they are.
    terms = [f"+{term}" if re.match(r"[a-z_]+ (=|>=|<) \?", term) else term for term in terms]
    return f"SELECT * FROM requests{_terms(['change > ?', *terms])} ORDER BY change LIMIT ?", [after, *values, limit]


def changes(path: Path, wanted: Filter, after: str, limit: int = LIMIT) -> JSON:
    """What is new or has changed since ``after``, oldest change first: the same form, without ``before``."""
    if not after.isdecimal() or len(after) > 18:
        raise RequestError(f'"{after[:40]}" is no cursor; take the "after" of an answer')
    limit = _limited(limit)
    with reading(path) as db:
        if db is None:
            return {"requests": [], "before": None, "after": "0", "more": False, "lost": 0}
        # A cursor from a file that is gone: in the one that took its place all is new.
        since = int(after) if int(after) <= meta(db, "change") else 0
        sql, values = changes_sql(wanted, since, limit + 1)
        rows = db.execute(sql, values).fetchall()
        living = alive(db)
        more = len(rows) > limit
        rows = rows[:limit]
        return {
            "requests": [_request(row, living) for row in rows],
            "before": None,
            "after": str(rows[-1]["change"] if more else meta(db, "change")),
            "more": more,
            "lost": meta(db, "lost"),
        }


def _limited(limit: int) -> int:
    if not 1 <= limit <= LIMIT:
        raise RequestError(f"limit must be 1 to {LIMIT}, not {limit}")
    return limit


def _place(before: str | None) -> tuple[float, int] | None:
    if before is None:
        return None
    at, found, seq = before.partition("~")
    try:
        if not found or len(seq) > 18:
            raise ValueError
        return float(at), int(seq)
    except ValueError:
        raise RequestError(f'"{before[:40]}" is no cursor; take the "before" of an answer') from None


def _request(row: sqlite3.Row, living: set[str]) -> JSON:
    state = row["state"]
    if state == "running" and row["writer"] not in living:
        state = "lost"
    error = None
    if state == "lost":
        error = {"kind": "lost", "message": "the router ended before the request did"}
    elif row["error"] is not None:
        error = {"kind": row["error_kind"], "message": row["error"]}
    return {
        "id": row["id"],
        "at": row["at"],
        "state": state,
        "path": row["path"],
        "requested": row["requested"],
        "stream": bool(row["stream"]),
        "size": row["size"],
        "provider": row["provider"],
        "model": row["model"],
        "scenario": row["scenario"],
        "rule": row["rule"],
        "why": row["why"],
        "status": row["status"],
        "error": error,
        "stop_reason": row["stop_reason"],
        "attempts": row["attempts"],
        "first": row["first"],
        "duration": row["duration"],
        "tokens_per_second": rate(row["output"], row["first"], row["duration"], bool(row["stream"])),
        "tokens": {**{kind: row[kind] for kind in TOKENS}, "counted": row["counted"]},
        "cost": row["cost"],
        "session": row["session"],
        "agent_id": row["agent_id"],
        "agent_type": row["agent_type"],
        "parent_agent_id": row["parent_agent_id"],
        "class": row["class"],
        "project": row["project"],
    }


def rate(output: int | None, first: float | None, duration: float | None, stream: bool) -> float | None:
    """Output tokens per second; by the whole time where the answer came in one piece."""
    if not output or not duration:
        return None
    took = duration - (first or 0.0) if stream else duration
    return round(output / (took if took > duration / 10 else duration), 1)


# --- one request ------------------------------------------------------------------------------------------------


def one(path: Path, id: str) -> JSON:
    """All that is known of a request; raise ``RequestError`` (404) if there is none, (409) if several fit."""
    with reading(path) as db:
        row = None if db is None else _found(db, id)
        if db is None or row is None:
            raise RequestError(f'there is no request "{id}" in the history', 404)
        living = alive(db)
        details = db.execute("SELECT * FROM details WHERE seq = ?", (row["seq"],)).fetchone()
        bodies = db.execute("SELECT * FROM bodies WHERE seq = ? ORDER BY attempt, kind DESC", (row["seq"],)).fetchall()
    result = _request(row, living)
    kept: dict[str, Any] = {
        name: orjson.loads(details[name]) if details is not None and details[name] else []
        for name in ("explanation", "tries", "notes", "usage")
    }
    names = ("attempt", "provider", "model", "url", "sent", "answered", "status", "error")
    result |= {
        "explanation": [dict(zip(("rule", "state", "why"), answer, strict=True)) for answer in kept["explanation"]],
        "tries": [dict(zip(names, attempt, strict=True)) for attempt in kept["tries"]],
        "notes": [{"key": key, "value": value} for key, value in kept["notes"]],
        "usage": kept["usage"] or {},
    }
    order = {"request": 0, "sent": 1, "answer": 2}
    result["bodies"] = [
        {
            "kind": body["kind"],
            "attempt": body["attempt"] or None,
            "content": body["content"],
            "size": body["size"],
            "cut": bool(body["cut"]),
        }
        for body in sorted(bodies, key=lambda body: (order.get(body["kind"], 3), body["attempt"]))
    ]
    result["timeline"] = timeline(result)
    return result


def _found(db: sqlite3.Connection, id: str) -> sqlite3.Row | None:
    exact: sqlite3.Row | None = db.execute("SELECT * FROM requests WHERE id = ?", (id,)).fetchone()
    if exact is not None or not re.fullmatch(r"\w{3,}", id):
        return exact
    pattern = id.replace("_", "\\_")
    found = db.execute(
        "SELECT id FROM requests WHERE id LIKE ? ESCAPE '\\' OR id LIKE ? ESCAPE '\\' LIMIT 6",
        (f"{pattern}%", f"%{pattern}"),
    ).fetchall()
    if len(found) > 1:
        raise RequestError(f"several requests fit {id}: {', '.join(row['id'] for row in found[:5])}", 409)
    return db.execute("SELECT * FROM requests WHERE id = ?", (found[0]["id"],)).fetchone() if found else None


def timeline(request: Mapping[str, Any]) -> list[JSON]:
    """What happened when, from the fields of a request: ``{"at", "offset", "what", "text"}``."""
    at = request["at"]
    steps: list[tuple[float, str, str]] = [(at, "arrived", f"{request['requested'] or '?'}{_size(request['size'])}")]
    tries = request["tries"]
    if request["why"] is not None:
        # Nothing waits between the choice and the first attempt.
        chosen = tries[0] if tries else request
        text = f"{chosen['provider']},{chosen['model']} ({request['scenario']}): {request['why']}"
        steps.append((tries[0]["sent"] if tries else at, "routed", text))
    for attempt in tries:
        steps.append((attempt["sent"], "sent", f"to {attempt['provider']},{attempt['model']} at {attempt['url']}"))
        if attempt["answered"] is not None:
            text = str(attempt["status"] or "no answer")
            steps.append((attempt["answered"], "answered", f"{text}: {attempt['error']}" if attempt["error"] else text))
    if request["first"] is not None:
        steps.append((at + request["first"], "first", "the first bytes went to the client"))
    steps.sort(key=lambda step: step[0])
    if request["state"] == "lost":
        steps.append((steps[-1][0], "lost", request["error"]["message"]))
    elif request["duration"] is not None:
        end = at + request["duration"]
        if request["error"] is not None:
            steps.append((end, "failed", f"{request['status']}: {request['error']['message']}"))
        else:
            steps.append((end, "finished", f"{request['status']}, {request['stop_reason'] or 'no stop reason'}"))
    return [
        {"at": when, "offset": round(max(0.0, when - at), 6), "what": what, "text": text} for when, what, text in steps
    ]


def _size(size: int | None) -> str:
    return f", {size} bytes" if size is not None else ""


# --- sums -------------------------------------------------------------------------------------------------------


def usage(path: Path, by: str, wanted: Filter) -> JSON:
    """Sums by one of :data:`KEYS`: ``{"by", "since", "until", "groups", "total"}``."""
    if by not in KEYS:
        raise RequestError(f'there are no sums by "{by}"; by is one of {", ".join(KEYS)}')
    result: JSON = {"by": by, "since": wanted.since, "until": wanted.until, "groups": [], "total": _sums(None)}
    with reading(path) as db:
        if db is not None:
            result["groups"] = _groups(db, by, wanted)
            terms, values = wanted.where()
            result["total"] = _sums(db.execute(f"SELECT {SUMS} FROM requests{_terms(terms)}", values).fetchone())
    return result


def _groups(db: sqlite3.Connection, by: str, wanted: Filter) -> list[JSON]:
    terms, values = wanted.where()
    sql = f"SELECT {KEYS[by]} AS key, {SUMS} FROM requests{_terms(terms)} GROUP BY key"
    if by in TIMES:
        rows = db.execute(f"{sql} ORDER BY key DESC", values)
        return _in_time(TIMES[by], ({"key": row["key"], **_sums(row)} for row in rows))[-GROUPS:]
    rows = db.execute(f"{sql} ORDER BY cost DESC NULLS LAST, requests DESC LIMIT {GROUPS}", values)
    return [{"key": row["key"], **_sums(row)} for row in rows]


def _in_time(form: str, quarters: Iterable[JSON]) -> list[JSON]:
    """Groups of quarters of an hour put together by their local time, oldest first."""
    groups: dict[str, JSON] = {}
    for group in quarters:
        _add(groups, _local(group["key"], form), group)
    return [groups[key] for key in sorted(groups)]


@lru_cache(maxsize=8192)
def _local(quarter: int, form: str) -> str:
    return datetime.fromtimestamp(quarter * 900).strftime(form)


def _add(groups: dict[Any, JSON], key: str | None, sums: Mapping[str, Any]) -> None:
    """Add ``sums`` to the group ``key``."""
    group = groups.get(key)
    if group is None:
        groups[key] = {**sums, "tokens": dict(sums["tokens"]), "key": key}
        return
    for name in ("requests", "errors", "unpriced", "duration"):
        group[name] += sums[name]
    for kind, count in sums["tokens"].items():
        group["tokens"][kind] += count
    if sums["cost"] is not None:
        group["cost"] = (group["cost"] or 0.0) + sums["cost"]
    group["last"] = max(group["last"], sums["last"])


def _sums(row: sqlite3.Row | None) -> JSON:
    def of(name: str) -> Any:
        return row[name] if row is not None else None

    return {
        "requests": of("requests") or 0,
        "errors": of("errors") or 0,
        "tokens": {kind: of(kind) or 0 for kind in TOKENS},
        "cost": of("cost"),
        "unpriced": of("unpriced") or 0,
        "duration": of("duration") or 0.0,
        "last": of("last"),
    }


def overview(path: Path, days: int = 30, now: float | None = None) -> JSON:
    """The last hour, the last day, series by hour and by day, and models; see the README."""
    if not 1 <= days <= 366:
        raise RequestError(f"days must be 1 to 366, not {days}")
    now = time.time() if now is None else now
    # By the calendar: a day may have 23 or 25 hours.
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    since = (today - timedelta(days=days - 1)).timestamp()
    with reading(path) as db:
        result: JSON = {"at": now, "running": 0, "lost": 0 if db is None else meta(db, "lost")}
        routes: list[tuple[str | None, JSON]] = []
        if db is not None:
            living = alive(db, now)
            under_way = db.execute("SELECT writer FROM requests WHERE state <> 'done' AND state = 'running'")
            result["running"] = sum(row["writer"] in living for row in under_way)
            sql = (
                f"SELECT {QUARTER} AS key, {KEYS['model']} AS route, {SUMS} FROM requests WHERE at >= ? "
                "GROUP BY key, route"
            )
            rows = db.execute(sql, (min(since, now - 86400),))
            routes = [(row["route"], {"key": row["key"], **_sums(row)}) for row in rows]
        for name, seconds in (("hour", 3600.0), ("day", 86400.0)):
            result[name] = _summary(db, now - seconds)
    first_hour, first_day = int((now - 86400) // 900), int(since // 900)
    shown = [part for part in routes if part[1]["key"] >= first_day]
    result["hours"] = _series("hour", [part for part in routes if part[1]["key"] >= first_hour])
    result["days"] = _series("day", shown)
    result["models"] = _by_route(shown)
    return result


def _series(by: str, parts: Iterable[tuple[str | None, JSON]]) -> list[JSON]:
    """Groups by time, each with its models; ``parts`` are models and their sums in a quarter of an hour."""
    inside: dict[str, list[tuple[str | None, JSON]]] = {}
    for part in parts:
        inside.setdefault(_local(part[1]["key"], TIMES[by]), []).append(part)
    series = []
    for key in sorted(inside):
        total: dict[Any, JSON] = {}
        for _, sums in inside[key]:
            _add(total, key, sums)
        series.append({**total[key], "models": _by_route(inside[key])})
    return series


def _by_route(parts: Iterable[tuple[str | None, JSON]]) -> list[JSON]:
    """Groups by model, as :func:`usage` sorts them."""
    groups: dict[str | None, JSON] = {}
    for route, sums in parts:
        _add(groups, route, sums)
    return sorted(
        groups.values(), key=lambda group: (group["cost"] is None, -(group["cost"] or 0.0), -group["requests"])
    )


def _summary(db: sqlite3.Connection | None, since: float) -> JSON:
    sums = None
    seen: Sequence[sqlite3.Row] = ()
    if db is not None:
        sums = db.execute(f"SELECT {SUMS} FROM requests WHERE at >= ?", (since,)).fetchone()
        seen = db.execute(
            "SELECT first, duration, output, stream FROM requests WHERE at >= ? AND state = 'done' "
            "ORDER BY at DESC LIMIT ?",
            (since, SAMPLE),
        ).fetchall()
    rates = [rate(row["output"], row["first"], row["duration"], bool(row["stream"])) for row in seen]
    known = sorted(each for each in rates if each is not None)
    figures = _sums(sums)
    del figures["duration"]
    return {
        **figures,
        "tokens_per_second": known[len(known) // 2] if known else None,
        "first": _percentiles(row["first"] for row in seen),
        "duration": _percentiles(row["duration"] for row in seen),
    }


def _percentiles(values: Iterable[float | None]) -> JSON:
    known = sorted(value for value in values if value is not None)
    return {
        f"p{part}": known[min(len(known) - 1, len(known) * part // 100)] if known else None for part in (50, 90, 99)
    }
