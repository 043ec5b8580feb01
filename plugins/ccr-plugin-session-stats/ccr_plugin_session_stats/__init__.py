"""An observer that keeps one small file of measurements for each session, which ``ccr statusline`` reads.

Rules of this module:

* whoever tells it something never waits: files are written by a thread of its own, and what came meanwhile is written
  together;
* the file ``run/sessions/<session>.json`` is replaced whole, so that a reader sees the old or the new one, and is for
  its owner only; sums go on from what is in it, also after a restart;
* a cost is given where the provider reports it, or the configuration or a catalogue has a price: nothing is guessed;
* the file holds facts about exchanges, never prompts or answers.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from ccr_core import Arrived, Failed, Finished, Observation, Observer, ObserverSpec, Prices, alone, hookimpl

log = logging.getLogger("ccr.session-stats")

WAITING = 4096
"""The most observations that wait to be written; more are counted as requests only in the log of requests."""

GATHER_SECONDS = 0.25
"""How long nothing is written after something was."""

CLOSE_SECONDS = 2.0
KEPT = 200
"""The most files that are kept, whatever their age."""

TOKENS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_NUMBER = (int, float)

_WRITING = threading.Lock()
"""Held while a file is read, changed and replaced: at a reload two observers live side by side."""


@attrs.frozen
class Price:
    """USD for a million tokens; the fields for caches are as in ``ccr_core.Prices`` unless given."""

    input: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    output: float = attrs.field(default=0.0, validator=attrs.validators.ge(0))
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None

    def of(self, usage: Mapping[str, Any]) -> float:
        """What an answer with this ``usage`` costs, in USD."""
        return Prices(**attrs.asdict(self)).cost(usage) or 0.0


@attrs.frozen
class Options:
    """``prices`` by ``provider,model`` or model, as globs (the first that fits counts); ``keep_days``: how long the
    file of a session stays after its last request."""

    prices: Mapping[str, Price] = attrs.field(factory=dict)
    keep_days: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))


def number(data: Mapping[str, Any], key: str) -> float:
    """A number of a JSON object; 0 if there is none."""
    value = data.get(key)
    return value if isinstance(value, _NUMBER) and not isinstance(value, bool) else 0


def file_name(session: str) -> str:
    """The file of a session: its id, or a digest of it where that would be no plain name."""
    plain = re.fullmatch(r"[A-Za-z0-9_-]{1,100}", session)
    return f"{session if plain else hashlib.sha256(session.encode()).hexdigest()[:32]}.json"


class SessionStats(Observer):
    """Keeps the files.  The thread starts with the first request of a session and ends with :meth:`close`."""

    def __init__(self, options: Options, home: Any) -> None:
        self.folder = Path(home) / "run" / "sessions"
        self._options = options
        self._waiting: deque[Arrived | Finished] = deque()
        self._open: dict[str, set[str]] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._closed = False
        self._hurry = threading.Event()
        self._writing = False
        self._failing = False

    def on(self, observation: Observation) -> None:
        """Take the begin or the end of an exchange; return at once."""
        if not isinstance(observation, (Arrived, Finished)) or not observation.session:
            return
        if self._closed or len(self._waiting) >= WAITING:
            return
        self._waiting.append(observation)
        # A thread that does not sleep looks again before it does; the lock costs more than all the rest here.
        if self._asleep:
            self._rouse()

    def _rouse(self) -> None:
        with self._wake:
            self._asleep = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ccr-session-stats", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def settle(self, seconds: float) -> bool:
        """Wait until all that was told so far is written; whether that was so within ``seconds``."""
        self._hurry.set()
        with self._wake:
            return self._wake.wait_for(lambda: not self._waiting and not self._writing, seconds)

    def close(self) -> None:
        """Write what still waits, and end."""
        with self._wake:
            self._closed = True
            self._hurry.set()
            thread = self._thread
            self._wake.notify_all()
        if thread is not None:
            thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._writing = False
                self._wake.notify_all()
                while not self._waiting and not self._closed:
                    self._asleep = True
                    self._wake.wait()
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                if not batch:
                    return
                self._writing = True
                if not self._closed:
                    self._hurry.clear()
            by_session: dict[str, list[Arrived | Finished]] = {}
            for observation in batch:
                by_session.setdefault(observation.session or "", []).append(observation)
            for session, seen in by_session.items():
                try:
                    self._update(session, seen)
                    self._failing = False
                except Exception as error:
                    if not self._failing:
                        log.warning("cannot write %s: %s; the status line shows old figures", self.folder, error)
                    self._failing = True
            # What comes meanwhile is written together: under load that is one write for very many exchanges.
            self._hurry.wait(GATHER_SECONDS)

    def _update(self, session: str, seen: Iterable[Arrived | Finished]) -> None:
        running = self._open.setdefault(session, set())
        # No Path: each new one enters its name into the interpreter's table of names, which grows by that.
        path = os.path.join(self.folder, file_name(session))
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _WRITING, alone(self.folder):
            data = read(path)
            if not data:
                self._prune()
            ended: list[Finished] = []
            for observation in seen:
                if isinstance(observation, Finished):
                    running.discard(observation.id)
                    ended.append(observation)
                elif observation.stream and is_main(observation):
                    running.add(observation.id)
            add(data, ended, self._options.prices)
            streams = {pid: count for pid, count in _streams(data).items() if pid != str(os.getpid()) and lives(pid)}
            if running:
                streams[str(os.getpid())] = len(running)
            data |= {"version": 1, "session": session, "updated": time.time(), "streaming": bool(streams)}
            data["streams"] = streams
            write(path, data)
        if not running:
            del self._open[session]

    def _prune(self) -> None:
        """Remove files of sessions that were not heard of for long, and the oldest of too many."""
        files = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError):
                files.append((path.stat().st_mtime, path))
        oldest = time.time() - self._options.keep_days * 86400
        for position, (changed, path) in enumerate(sorted(files, reverse=True)):
            if position >= KEPT - 1 or changed < oldest:
                path.unlink(missing_ok=True)


def lives(pid: str) -> bool:
    """Whether another worker that had an answer on its way still exists."""
    if os.name != "posix":
        return False
    try:
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return False
    return True


def _streams(data: Mapping[str, Any]) -> dict[str, int]:
    """How many answers are on their way, by the number of the process that has them."""
    found = data.get("streams")
    return found if isinstance(found, dict) else {}


def is_main(seen: Arrived | Finished) -> bool:
    """Whether a request is of the conversation itself, not of a sub-agent or a helper."""
    return seen.agent_id is None and seen.request_class in (None, "main")


def add(data: dict[str, Any], ended: Iterable[Finished], prices: Mapping[str, Price]) -> None:
    """Put finished exchanges into the contents of a session's file."""
    counts = dict.fromkeys((*TOKENS, "requests", "failed", "unpriced"), 0)
    total_cost = 0.0
    last: Finished | None = None
    for seen in ended:
        failed = isinstance(seen, Failed)
        usage = _usage(seen)
        for key in TOKENS:
            counts[key] += int(number(usage, key))
        cost = _cost(seen, prices)
        counts["requests"] += 1
        if failed:
            counts["failed"] += 1
        elif cost is None:
            counts["unpriced"] += 1
        total_cost += cost or 0
        if not failed and is_main(seen):
            last = seen
    if not counts["requests"]:
        return
    total = data.setdefault("total", {})
    for key, count in counts.items():
        total[key] = int(number(total, key)) + count
    total["cost"] = round(number(total, "cost") + total_cost, 8)
    if last is not None:
        data["last"] = _shown(last, _cost(last, prices))


def _shown(seen: Finished, cost: float | None) -> dict[str, Any]:
    """What the status line shows of one exchange."""
    took = seen.duration - (seen.first or 0) if seen.stream else seen.duration
    usage = _usage(seen)
    tokens = {key: int(number(usage, key)) for key in TOKENS}
    return {
        "at": seen.at,
        "route": _route(seen),
        "provider": seen.provider,
        "model": seen.model,
        "requested": seen.requested,
        "scenario": seen.scenario,
        "why": seen.why,
        "stream": seen.stream,
        **tokens,
        "ttft_ms": None if seen.first is None else round(seen.first * 1000),
        "duration_ms": round(seen.duration * 1000),
        "tokens_per_second": round(tokens["output_tokens"] / took, 1) if took > 0 else None,
        "cost": None if cost is None else round(cost, 8),
    }


def _usage(seen: Finished) -> Mapping[str, Any]:
    return seen.usage if isinstance(seen.usage, Mapping) else {}


def _route(seen: Finished) -> str:
    return f"{seen.provider},{seen.model}"


def _cost(seen: Finished, prices: Mapping[str, Price]) -> float | None:
    """USD: what the provider says, else by the configured price, else by the catalogue; ``None``: not known."""
    said = _usage(seen).get("cost")
    if isinstance(said, _NUMBER) and not isinstance(said, bool):
        return float(said)
    for pattern, price in prices.items():
        if any(fnmatch.fnmatchcase(name, pattern) for name in (_route(seen), seen.model)):
            return price.of(seen.usage)
    return seen.cost


def read(path: str) -> dict[str, Any]:
    """The contents of a session's file; empty if there is none that can be understood."""
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) and isinstance(data.get("total", {}), dict) else {}


def write(path: str, data: Mapping[str, Any]) -> None:
    """Replace a session's file in one step; mode 0600.  Only for whoever holds the folder's lock."""
    name = f"{path}.new"
    # Not `dump`, which writes piece by piece, and leaves cycles to the collector.
    text = json.dumps(data, separators=(",", ":")).encode()
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)
        with open(descriptor, "wb") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@hookimpl
def ccr_observers() -> Iterable[ObserverSpec]:
    """Offer the observer ``session-stats``."""
    yield ObserverSpec(
        name="session-stats",
        factory=SessionStats,
        options=Options,
        wants=frozenset({Arrived, Finished, Failed}),
        summary="Measurements of each session, for the status line.",
    )
