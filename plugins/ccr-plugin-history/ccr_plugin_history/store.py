"""The file: its tables, opening it to write and to read, and bringing an older one up to date.

``requests`` has a row for each request, small enough that a hundred thousand are looked through in no time;
``details`` what is only shown of one request; ``bodies`` what was said, where that is kept.  ``seq`` and ``change``
come from one counter that only rises: ``change`` is new whenever a row is, so that a reader can ask what has changed
since.  ``writers`` has a sign of life of each process that writes: what a process had under way that is no
longer alive is lost.

SQLite in WAL mode: readers never wait, writers wait for each other, and a process that is killed leaves a sound file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from ccr_core import CcrError

STALE = 20.0
"""Seconds without a sign of life after which a process is taken for dead."""

CACHE_KB = 1024
"""Pages of the file that a writer keeps in memory."""

MIGRATIONS: list[str] = [
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('change', 0), ('lost', 0);
    CREATE TABLE writers (id TEXT PRIMARY KEY, pid INTEGER NOT NULL, beat REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE requests (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL, change INTEGER NOT NULL, writer TEXT, state TEXT NOT NULL,
        at REAL NOT NULL, path TEXT, requested TEXT, stream INTEGER, size INTEGER,
        session TEXT, agent_id TEXT, agent_type TEXT, parent_agent_id TEXT, class TEXT, project TEXT,
        provider TEXT, model TEXT, scenario TEXT, rule TEXT, why TEXT, attempts INTEGER,
        first REAL, duration REAL, status INTEGER, error_kind TEXT, error TEXT, stop_reason TEXT,
        input INTEGER, output INTEGER, cache_read INTEGER, cache_write INTEGER, reasoning INTEGER, counted INTEGER,
        cost REAL
    );
    CREATE INDEX requests_id ON requests (id);
    CREATE INDEX requests_change ON requests (change);
    CREATE INDEX requests_at ON requests (at);
    CREATE INDEX requests_model ON requests (model, at);
    CREATE INDEX requests_provider ON requests (provider, at);
    CREATE INDEX requests_session ON requests (session, at);
    CREATE INDEX requests_odd ON requests (at) WHERE state <> 'done';
    CREATE TABLE details (seq INTEGER PRIMARY KEY, explanation TEXT, tries TEXT, notes TEXT, usage TEXT);
    CREATE TABLE bodies (
        seq INTEGER NOT NULL, kind TEXT NOT NULL, attempt INTEGER NOT NULL, content TEXT NOT NULL,
        size INTEGER NOT NULL, cut INTEGER NOT NULL, PRIMARY KEY (seq, kind, attempt)
    ) WITHOUT ROWID;
    """,
]
"""How a file of version n becomes one of version n + 1; a new file has version 0."""


class NewerFile(CcrError):
    """The file was written by a newer version."""


def open_to_write(path: Path, busy: float = 2.0) -> sqlite3.Connection:
    """The file, made if it is not there, with the tables of this version; waits ``busy`` seconds for others."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        path.parent.chmod(0o700)
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if os.fstat(file).st_mode & 0o077 and hasattr(os, "fchmod"):
            os.fchmod(file, 0o600)
    finally:
        os.close(file)
    db = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        # Writing needs the ends of the tables only; with SQLite's 2 MB the cache just fills up, for 2 µs a row less.
        db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        db.execute("PRAGMA journal_size_limit = 8000000")
        migrate(db, path)
    except BaseException:
        db.close()
        raise
    return db


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the tables up to date; raise :class:`NewerFile` if they are of a newer version than this."""
    if version_of(db) == len(MIGRATIONS):
        return
    with writing(db):
        version = version_of(db)
        if version > len(MIGRATIONS):
            raise NewerFile(f"{path} was written by a newer ccr (version {version}); update ccr, or move the file away")
        for script in MIGRATIONS[version:]:
            for statement in script.split(";"):
                if statement.strip():
                    db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def version_of(db: sqlite3.Connection) -> int:
    """The version of the tables."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def writing(db: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of it, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The file as it is at this moment, read-only; ``None`` if there is none yet.

    Raises ``CcrError`` if it cannot be read.
    """
    if not path.exists():
        yield None
        return
    db = None
    try:
        db = _open_to_read(path)
        version = version_of(db)
        if version > len(MIGRATIONS):
            raise NewerFile(f"{path} was written by a newer ccr (version {version}); update ccr")
        if version < len(MIGRATIONS):
            # A reader that comes first after an update does what the router would do at its first request.
            db.close()
            open_to_write(path).close()
            db = _open_to_read(path)
        db.row_factory = sqlite3.Row
        db.execute("BEGIN")
        yield db
    except sqlite3.Error as error:
        raise CcrError(f"cannot read {path}: {error}") from error
    finally:
        if db is not None:
            db.close()


def _open_to_read(path: Path) -> sqlite3.Connection:
    where = path.resolve().as_uri()
    db = sqlite3.connect(f"{where}?mode=ro", uri=True, timeout=2.0, isolation_level=None, check_same_thread=False)
    try:
        version_of(db)
    except sqlite3.OperationalError:
        # In a folder that cannot be written, WAL's index cannot be made: the file is read as it lies there.
        db.close()
        db = sqlite3.connect(
            f"{where}?mode=ro&immutable=1", uri=True, timeout=2.0, isolation_level=None, check_same_thread=False
        )
    return db


def meta(db: sqlite3.Connection, key: str) -> int:
    """One of the counters."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else 0


def alive(db: sqlite3.Connection, now: float | None = None) -> set[str]:
    """The processes that gave a sign of life lately."""
    since = (time.time() if now is None else now) - STALE
    return {row[0] for row in db.execute("SELECT id FROM writers WHERE beat > ?", (since,))}


def clear(path: Path) -> int:
    """Remove all requests, and give the space back; how many there were."""
    if not path.exists():
        return 0
    try:
        db = open_to_write(path, busy=10.0)
        try:
            with writing(db):
                count = db.execute("DELETE FROM requests").rowcount
                db.execute("DELETE FROM details")
                db.execute("DELETE FROM bodies")
                db.execute("UPDATE meta SET value = 0 WHERE key = 'lost'")
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            db.close()
    except sqlite3.Error as error:
        raise CcrError(f"cannot clear {path}: {error}; try again") from error
    return int(count)
