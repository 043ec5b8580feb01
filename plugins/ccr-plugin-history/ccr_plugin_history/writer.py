"""Folding observations into rows, writing them, and removing what is too old or too much.

Everything here runs in the observer's own thread.  A step never raises: what cannot be written now is tried again with
the next step, and dropped and counted when too much of it waits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs
import orjson

from ccr_core import Answered, Arrived, Body, CcrError, Failed, Finished, Observation, Routed, Sent
from ccr_plugin_history import BEAT, IDLE, TICK, Options
from ccr_plugin_history.redact import bare, redact
from ccr_plugin_history.store import STALE, meta, open_to_write, writing

log = logging.getLogger("ccr.history")

HELD = 5000
"""The most rows that wait for a file that cannot be written."""

LONGEST = 2000
"""The most characters of an error's or a note's text."""

REPEATED = 300
"""The most characters of a text of which it is remembered how it is without secrets."""

STEP = 500
"""Rows that are removed in one transaction, so that nobody else waits long."""

TIDY = 60.0
"""Seconds between two looks for rows that are too old, too many, or of dead processes."""


_NUMBER = (int, float)


@attrs.define(eq=False)
class Row:
    """A request as it will be in the file.  ``seq`` is 0 until it is there."""

    id: str
    at: float
    seq: int = 0
    state: str = "running"
    path: str | None = None
    requested: str | None = None
    stream: bool | None = None
    size: int | None = None
    session: str | None = None
    agent_id: str | None = None
    agent_type: str | None = None
    parent_agent_id: str | None = None
    request_class: str | None = None
    project: str | None = None
    provider: str | None = None
    model: str | None = None
    scenario: str | None = None
    rule: str | None = None
    why: str | None = None
    attempts: int = 0
    first: float | None = None
    duration: float | None = None
    status: int | None = None
    error_kind: str | None = None
    error: str | None = None
    stop_reason: str | None = None
    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    counted: int | None = None
    cost: float | None = None
    explanation: bytes | None = None
    tries: list[list[Any]] = attrs.Factory(list)
    notes: Sequence[tuple[str, Any]] = ()
    usage: Mapping[str, Any] | None = None


APART = ("seq", "explanation", "tries", "notes", "usage")
FIELDS = tuple(field.name for field in attrs.fields(Row) if field.name not in APART)
COLUMNS = ("seq", "change", "writer", *("class" if name == "request_class" else name for name in FIELDS))
_values = attrgetter(*FIELDS)

DETAILS = ("seq", "explanation", "tries", "notes", "usage")
CHUNKS = (64, 16, 4, 1)
"""Rows of one statement.  Each row of ``executemany`` and each other statement lets go of the interpreter's lock once,
and has to get it back from a thread that is busy."""


class Writer:
    """Holds what is under way and writes what has changed."""

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path
        self._options = options
        self._id = secrets.token_hex(8)
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._open: dict[str, Row] = {}
        self._changed: dict[str, Row] = {}
        self._ended: OrderedDict[str, Row] = OrderedDict()
        self._bodies: list[tuple[Row, Body]] = []
        self._projects: OrderedDict[str, str] = OrderedDict()
        self._lost = 0
        self._failing = False
        self._tidied = 0.0
        self._left = False

    def step(self, batch: Iterable[Observation], dropped: Iterable[str] = (), *, last: bool = False) -> float:
        """Take in ``batch`` and write; give the seconds after which to step again even if nothing happens.

        ``dropped`` are requests whose end could not be taken in.
        """
        for observation in batch:
            try:
                self._fold(observation)
            except Exception:
                log.warning("%s cannot be kept", type(observation).__name__, exc_info=True)
        for id in dropped:
            self._lost += 1
            self._end(self._open.get(id), "lost")
        if last:
            for row in list(self._open.values()):
                self._end(row, "lost")
        try:
            self._write()
            self._failing = False
        except (sqlite3.Error, OSError, CcrError) as error:
            self._failed(error)
        except Exception:
            # Something that no file would take: it must not keep out what comes after it.
            log.warning("%d requests cannot be kept", len(self._changed), exc_info=True)
            self._lost += sum(row.state != "running" for row in self._changed.values())
            self._changed.clear()
            self._bodies.clear()
        if last:
            self._close()
        if self._failing:
            return TICK * 4
        return TICK if self._left or self._changed else BEAT if self._open else IDLE

    # Folding.

    def _fold(self, seen: Observation) -> None:
        if isinstance(seen, Arrived):
            self._arrived(seen)
        elif isinstance(seen, Finished):
            self._finished(seen)
        else:
            row = self._open.get(seen.id) or self._ended.get(seen.id)
            if row is None:
                return
            if isinstance(seen, Routed):
                _routed(row, seen)
            elif isinstance(seen, Sent):
                row.attempts = seen.attempt
                row.provider, row.model = seen.provider, seen.model
                row.tries.append([seen.attempt, seen.provider, seen.model, bare(seen.url), seen.at, None, None, None])
            elif isinstance(seen, Answered):
                if row.tries:
                    row.tries[-1][5:] = [seen.at, seen.status, _text(seen.error)]
            elif isinstance(seen, Body):
                self._bodies.append((row, seen))
            self._changed[row.id] = row

    def _arrived(self, seen: Arrived) -> None:
        row = Row(seen.id, seen.at)
        row.path, row.requested, row.stream, row.size = seen.path, seen.model, seen.stream, seen.size
        row.session, row.agent_id, row.agent_type = seen.session, seen.agent_id, seen.agent_type
        row.parent_agent_id, row.request_class = seen.parent_agent_id, seen.request_class
        self._open[row.id] = self._changed[row.id] = row

    def _finished(self, seen: Finished) -> None:
        row = self._open.get(seen.id)
        if row is None:
            row = Row(seen.id, seen.at - seen.duration)
            row.requested, row.stream = seen.requested, seen.stream
            row.session, row.agent_id, row.agent_type = seen.session, seen.agent_id, seen.agent_type
            row.parent_agent_id, row.request_class = seen.parent_agent_id, seen.request_class
            row.scenario, row.why, row.counted = seen.scenario or None, seen.why or None, seen.tokens
        row.status, row.attempts = seen.status or None, seen.attempts
        if seen.provider:
            row.provider, row.model = seen.provider, seen.model
        row.first, row.duration, row.stop_reason = seen.first, seen.duration, seen.stop_reason
        row.project = seen.project or row.project
        row.notes = seen.notes
        if seen.usage:
            row.usage = seen.usage
            row.input, row.output = _count(seen.usage, "input_tokens"), _count(seen.usage, "output_tokens")
            row.cache_read = _count(seen.usage, "cache_read_input_tokens")
            row.cache_write = _count(seen.usage, "cache_creation_input_tokens")
            row.reasoning = _reasoning(seen.usage)
            row.cost = seen.cost
        state = "done"
        if isinstance(seen, Failed):
            state = "left" if seen.status == 499 else "failed"
            row.error_kind, row.error = seen.kind, _text(seen.error)
            if seen.explanation and row.explanation is None:
                row.explanation = _answers(seen.explanation)
        self._end(row, state)

    def _end(self, row: Row | None, state: str) -> None:
        if row is None:
            return
        row.state = state
        self._open.pop(row.id, None)
        self._changed[row.id] = row
        if self._options.bodies:
            # The answer's body is told after the end.
            self._ended[row.id] = row
            if len(self._ended) > 1000:
                self._ended.popitem(last=False)

    # Writing.

    def _write(self) -> None:
        db = self._connected()
        now = time.time()
        rows, bodies = list(self._changed.values()), self._bodies
        if rows or self._open or self._lost:
            with writing(db):
                change = meta(db, "change")
                first = change
                given: dict[str, int] = {}
                for part in _parts(rows):
                    values: list[Any] = []
                    details: list[Any] = []
                    for row in part:
                        change += 1
                        seq = given[row.id] = row.seq or change
                        values += (seq, change, self._id, *_values(row))
                        details += (seq, *_details(row))
                    db.execute(_statement("requests", COLUMNS, len(part)), values)
                    db.execute(_statement("details", DETAILS, len(part)), details)
                db.executemany(
                    "INSERT OR REPLACE INTO bodies VALUES (?, ?, ?, ?, ?, ?)",
                    [(given[row.id], *_content(body)) for row, body in bodies if row.id in given],
                )
                self._share_projects(db, rows)
                if change != first:
                    db.execute("UPDATE meta SET value = ? WHERE key = 'change'", (change,))
                if self._lost:
                    db.execute("UPDATE meta SET value = value + ? WHERE key = 'lost'", (self._lost,))
                db.execute(
                    "INSERT INTO writers VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET beat = excluded.beat",
                    (self._id, os.getpid(), now),
                )
            for row in rows:
                row.seq = given[row.id]
            self._changed.clear()
            self._bodies = []
            self._lost = 0
        if self._left or now - self._tidied >= TIDY:
            self._tidied = now
            self._left = self._tidy(db, now)

    def _share_projects(self, db: sqlite3.Connection, rows: Iterable[Row]) -> None:
        """Give a session's earlier requests its project, which is not known at its beginning."""
        for row in rows:
            if row.project and row.session and self._projects.get(row.session) != row.project:
                self._projects[row.session] = row.project
                if len(self._projects) > 1000:
                    self._projects.popitem(last=False)
                db.execute(
                    "UPDATE requests SET project = ? WHERE session = ? AND project IS NULL", (row.project, row.session)
                )

    def _connected(self) -> sqlite3.Connection:
        """The open file; opened anew if somebody moved or removed it."""
        if self._db is not None:
            try:
                if os.stat(self.path).st_ino == self._inode:
                    return self._db
            except FileNotFoundError:
                pass
            self._close()
        db = open_to_write(self.path)
        self._find(db)
        self._inode = os.stat(self.path).st_ino
        self._tidied = 0.0
        self._db = db
        return db

    def _close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _find(self, db: sqlite3.Connection) -> None:
        """The file may be another one: what is held gets new rows unless its old ones are there."""
        for row in (*self._open.values(), *self._changed.values(), *self._ended.values()):
            if row.seq:
                found = db.execute("SELECT seq FROM requests WHERE id = ?", (row.id,)).fetchone()
                row.seq = found[0] if found else 0

    def _failed(self, error: Exception) -> None:
        """Say so once, keep what can be kept, and count the rest."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._set_aside()
            return
        if code not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL):
            self._close()
        if not self._failing:
            what = error.message if isinstance(error, CcrError) else f"cannot write {self.path}: {error}"
            log.warning("%s; requests go on, and their history is kept when it works again", what)
        self._failing = True
        for id, row in list(self._changed.items()):
            if len(self._changed) <= HELD:
                break
            del self._changed[id]
            self._lost += row.state != "running"
        del self._bodies[: max(0, len(self._bodies) - HELD // 10)]

    def _set_aside(self) -> None:
        """A file that is no database any more is kept under another name, and a new one is begun."""
        self._close()
        aside = self.path.with_name(f"{self.path.name}.broken")
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.replace(f"{self.path}{end}", f"{aside}{end}")
        log.warning("%s is damaged: it is kept as %s, and a new history begins", self.path, aside)

    # Removing.

    def _tidy(self, db: sqlite3.Connection, now: float) -> bool:
        """Remove a step's worth of what is too old or too much; whether there is more."""
        self._bury(db, now)
        old = db.execute(
            "SELECT seq FROM requests WHERE at < ? ORDER BY at LIMIT ?", (now - self._options.days * 86400, STEP)
        ).fetchall()
        if not old and self._size(db) > self._options.size_mb * 1e6:
            old = db.execute("SELECT seq FROM requests ORDER BY at LIMIT ?", (STEP,)).fetchall()
        if not old:
            return False
        with writing(db):
            db.executemany("DELETE FROM requests WHERE seq = ?", old)
            db.executemany("DELETE FROM details WHERE seq = ?", old)
            db.executemany("DELETE FROM bodies WHERE seq = ?", old)
        for _ in db.execute("PRAGMA incremental_vacuum(1000)"):
            pass
        return True

    def _size(self, db: sqlite3.Connection) -> int:
        pages, free, size = (
            int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _bury(self, db: sqlite3.Connection, now: float) -> None:
        """Mark what was under way in processes that are gone."""
        with writing(db):
            gone = db.execute(
                "SELECT seq FROM requests WHERE state <> 'done' AND state = 'running' AND writer <> ? "
                "AND writer NOT IN (SELECT id FROM writers WHERE beat > ?)",
                (self._id, now - STALE),
            ).fetchall()
            change = meta(db, "change")
            db.executemany(
                "UPDATE requests SET state = 'lost', change = ? WHERE seq = ?",
                [(change + place, seq) for place, (seq,) in enumerate(gone, start=1)],
            )
            if gone:
                db.execute("UPDATE meta SET value = ? WHERE key = 'change'", (change + len(gone),))
            db.execute("DELETE FROM writers WHERE beat < ?", (now - 3600,))


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """``rows`` in as few pieces as the sizes of statements allow."""
    start = 0
    for size in CHUNKS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


@lru_cache(maxsize=2 * len(CHUNKS))
def _statement(table: str, columns: Sequence[str], count: int) -> str:
    """Inserts ``count`` rows, or changes those that are there."""
    places = ", ".join(f"({', '.join('?' * len(columns))})" for _ in range(count))
    changes = ", ".join(f"{name} = {_new(table, name)}" for name in columns if name not in ("seq", "id", "at"))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {places} ON CONFLICT (seq) DO UPDATE SET {changes}"


def _new(table: str, name: str) -> str:
    """The project may have been told by a later request of the session; it stays."""
    return f"coalesce(excluded.{name}, {table}.{name})" if name == "project" else f"excluded.{name}"


def _routed(row: Row, seen: Routed) -> None:
    row.provider, row.model = seen.provider, seen.model
    row.scenario, row.rule, row.why, row.counted = seen.scenario, seen.rule, seen.why, seen.tokens
    row.project = seen.project
    row.explanation = _answers(seen.explanation)


def _answers(explanation: Iterable[Mapping[str, Any]]) -> bytes:
    return orjson.dumps([[answer["rule"], answer["state"], answer["why"]] for answer in explanation])


def _details(row: Row) -> tuple[str | None, ...]:
    explanation = row.explanation.decode("utf-8", "replace") if row.explanation is not None else None
    return explanation, _json(row.tries), _notes(row.notes), _json(row.usage)


def _json(value: Any) -> str | None:
    return orjson.dumps(value, default=str).decode() if value else None


def _notes(notes: Sequence[tuple[str, Any]]) -> str | None:
    if not notes:
        return None
    return orjson.dumps([[key, _plain(value)] for key, value in notes], default=str).decode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """A note's value without secrets: as it is if it is short, else the beginning of its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    try:
        text = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return _text(str(value))
    safe = redact(text)
    return orjson.loads(text) if safe == text and len(text) <= LONGEST else _text(safe)


def _text(text: str | None) -> str | None:
    if text is None:
        return None
    return _known(text) if len(text) <= REPEATED else _cut(text)


@lru_cache(maxsize=256)
def _known(text: str) -> str:
    """A text that comes again and again, as notes do: looking for keys in it takes longer than writing its row."""
    return _cut(text)


def _cut(text: str) -> str:
    safe = redact(text.encode("utf-8", "replace").decode())
    return safe if len(safe) <= LONGEST else f"{safe[:LONGEST]}… ({len(safe)} characters)"


def _content(body: Body) -> tuple[str, int, str, int, bool]:
    text = redact(body.content.decode("utf-8", "replace"))
    return body.kind, body.attempt or 0, text, body.size, body.size > len(body.content)


def _count(usage: Mapping[str, Any], key: str) -> int | None:
    value = usage.get(key)
    return int(value) if isinstance(value, _NUMBER) and not isinstance(value, bool) else None


def _reasoning(usage: Mapping[str, Any]) -> int | None:
    """Tokens of thinking, as the Messages API has them."""
    inner = usage.get("output_tokens_details")
    return _count(inner, "thinking_tokens") if isinstance(inner, dict) else None
