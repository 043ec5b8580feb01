"""An observer that appends one JSON line per exchange to ``logs/requests.jsonl`` in the directory of ccr.

Rules of this module:

* whoever tells it something never waits: lines are made and written by a thread of its own, and what the bounded
  queue cannot take is counted, not kept;
* the disk is never anybody's problem: a failure is logged once and the lines that it cost are counted; the count is
  written (``{"lost": n}``) as soon as writing works again, so the file never has a silent gap;
* a line holds facts about an exchange, never bodies, headers or keys, and the file is for its owner only.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import orjson

from ccr_core import Failed, Finished, Observation, Observer, ObserverSpec, alone, hookimpl

log = logging.getLogger("ccr.request-log")

QUEUE = 4096
"""The most exchanges that wait to be written."""

GATHER_SECONDS = 0.25
"""How long nothing is written after something was."""

CLOSE_SECONDS = 3.0
"""How long the end waits for the last lines; a disk that hangs must not hang the router."""

LONGEST = 500
"""The most characters of one note or error text in a line."""

_KEYS = re.compile(
    r"((?:bearer |basic |(?:(?<!\w)|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4}))"
    r"(?:sk|pk|rk|gsk|xai|nvapi|hf|ghp|gho|ghu|github_pat|glpat|AIza|ya29)[-_.]?)[A-Za-z0-9]{0,2})[A-Za-z0-9+/_.~=-]{12,}",
    re.IGNORECASE,
)
"""Forms of keys and tokens, which providers like to repeat in their refusals, also as JSON with its escapes."""


@attrs.frozen
class Options:
    """``max_mb``: size at which the file is put aside; ``keep``: how many files that were put aside are kept."""

    max_mb: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    keep: int = attrs.field(default=3, validator=attrs.validators.ge(0))


class RequestLog(Observer):
    """Writes the lines.  The thread starts with the first exchange and ends with :meth:`close`."""

    def __init__(self, options: Options, home: Any) -> None:
        self.path = Path(home) / "logs" / "requests.jsonl"
        self._options = options
        self._queue: deque[Finished] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._closed = False
        self._hurry = threading.Event()
        self._writing = False
        self._lost = 0
        self._failing = False

    def on(self, observation: Observation) -> None:
        """Take the end of an exchange; return at once."""
        if not isinstance(observation, Finished):
            return
        if self._closed or len(self._queue) >= QUEUE:
            with self._wake:
                self._lost += 1
            return
        self._queue.append(observation)
        # A thread that does not sleep looks again before it does; the lock costs more than all the rest here.
        if self._asleep:
            self._rouse()

    def _rouse(self) -> None:
        with self._wake:
            self._asleep = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ccr-request-log", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def settle(self, seconds: float) -> bool:
        """Wait until all that was told so far is written or lost; whether that was so within ``seconds``."""
        self._hurry.set()
        with self._wake:
            return self._wake.wait_for(lambda: not self._queue and not self._writing, seconds)

    def close(self) -> None:
        """Write what still waits, and end."""
        with self._wake:
            self._closed = True
            self._hurry.set()
            thread = self._thread
            self._wake.notify_all()
        if thread is not None:
            thread.join(CLOSE_SECONDS)
            if thread.is_alive():
                log.warning("could not finish %s within %s seconds", self.path, CLOSE_SECONDS)

    def _run(self) -> None:
        unreported = 0
        while True:
            with self._wake:
                self._lost += unreported
                self._writing = False
                self._wake.notify_all()
                if unreported and self._closed:
                    return
                while not self._queue and not self._closed:
                    self._asleep = True
                    self._wake.wait()
                batch = [self._queue.popleft() for _ in range(len(self._queue))]
                lost, self._lost = self._lost, 0
                if not batch and not lost:
                    return
                self._writing = True
                if not self._closed:
                    self._hurry.clear()
            unreported = self._write(batch, lost)
            # What comes meanwhile is written together: under load that is one write for very many exchanges.
            self._hurry.wait(GATHER_SECONDS)

    def _write(self, batch: list[Finished], lost: int) -> int:
        """Append ``batch``; give how many exchanges are still to be reported as lost."""
        # One after the other into one place: hundreds of small pieces held at once leave as many holes in the memory.
        lines = bytearray()
        for observation in batch:
            try:
                lines += line(observation)
            except Exception:
                log.warning("an exchange could not be written as a line", exc_info=True)
                lost += 1
        if lost:
            lines += b'{"time":"%b","lost":%d}\n' % (_time(datetime.now(UTC)).encode(), lost)
        try:
            self._append(lines)
        except Exception as error:
            if not self._failing:
                log.warning("cannot write %s: %s; requests are not logged until it works again", self.path, error)
            self._failing = True
            return len(batch) + lost
        self._failing = False
        return 0

    def _append(self, data: bytearray) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(self.path.parent):
            self._append_alone(data)

    def _append_alone(self, data: bytearray) -> None:
        # Opened each time: a file that somebody moved or removed is simply begun anew.
        file = self._open()
        try:
            size = os.fstat(file).st_size
            if size and size + len(data) > self._options.max_mb * 1_000_000:
                os.close(file)
                file = -1
                self._rotate()
                file = self._open()
                size = os.fstat(file).st_size
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[os.write(file, rest) :]
            except OSError:
                # A full disk may have taken half a line.
                if os.fstat(file).st_size == size + len(data) - len(rest):
                    os.ftruncate(file, size)
                raise
        finally:
            if file >= 0:
                os.close(file)

    def _open(self) -> int:
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        if os.fstat(file).st_mode & 0o077 and hasattr(os, "fchmod"):
            os.fchmod(file, 0o600)
        return file

    def _rotate(self) -> None:
        """``requests.jsonl`` becomes ``requests.jsonl.1``, that becomes ``.2`` and so on; the oldest goes."""
        keep = self._options.keep
        if keep == 0:
            self.path.unlink(missing_ok=True)
            return
        for number in range(keep - 1, 0, -1):
            aside = self.path.with_name(f"{self.path.name}.{number}")
            if aside.exists():
                aside.replace(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.replace(self.path.with_name(f"{self.path.name}.1"))


def line(seen: Finished) -> bytes:
    """The line for one exchange: JSON with a line break.  Fields that are unknown are ``null``, not left out."""
    fields: dict[str, Any] = {
        "time": _time(datetime.fromtimestamp(seen.at, UTC)),
        "id": seen.id,
        "status": seen.status,
        "route": _known(f"{seen.provider},{seen.model}") if seen.provider else None,
        "scenario": _known(seen.scenario),
        "why": _known(seen.why),
        "requested": _known(seen.requested),
        "stream": seen.stream,
        "tokens": seen.tokens,
        "usage": _safe(seen.usage),
        "stop_reason": _known(seen.stop_reason),
        "attempts": seen.attempts,
        "first": None if seen.first is None else round(seen.first, 4),
        "duration": round(seen.duration, 4),
        "session": _known(seen.session),
        "agent_id": _known(seen.agent_id),
        "agent_type": _known(seen.agent_type),
        "request_class": _known(seen.request_class),
        "notes": [[_known(key), _note(value)] for key, value in seen.notes],
        "error": {"kind": seen.kind, "message": _safe(_short(seen.error))} if isinstance(seen, Failed) else None,
    }
    try:
        return orjson.dumps(fields, default=_odd, option=_AS_TEXT)
    except TypeError:
        # Half characters, numbers beyond 64 bits and keys that are no texts: the slower one takes them.
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=_odd)
        return text.encode("utf-8", "replace") + b"\n"


_AS_TEXT = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def _safe(value: Any) -> Any:
    """``value`` without what looks like a key, in every text that it has inside."""
    if isinstance(value, str):
        return _KEYS.sub(r"\1…", value)
    if isinstance(value, dict):
        return {_known(key) if isinstance(key, str) else key: _safe(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(inner) for inner in value]
    return value


@lru_cache(maxsize=512)
def _known(text: str | None) -> Any:
    """What :func:`_safe` makes of a text that comes again and again: looking takes longer than all else of a line."""
    return _safe(text)


def _note(value: Any) -> Any:
    """The value of a note; what requests drop or change is mostly the same from one to the next."""
    return _known(value) if isinstance(value, str) and len(value) <= LONGEST else _safe(_short(value))


def _odd(value: Any) -> Any:
    """A value that JSON has not, as text."""
    return _safe(str(value))


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= LONGEST:
        return value
    return f"{text[:LONGEST]}… ({len(text)} characters)"


@hookimpl
def ccr_observers() -> Iterable[ObserverSpec]:
    """Offer the observer ``request-log``."""
    yield ObserverSpec(
        name="request-log",
        factory=RequestLog,
        options=Options,
        wants=frozenset({Finished, Failed}),
        summary="One JSON line per request in logs/requests.jsonl.",
    )
