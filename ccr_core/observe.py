"""Watching exchanges.  An observer cannot change, delay, hide or redirect anything.

Its result is ignored and its failure is logged once; after five failures in a row it is silent until the next
reload.  It receives one frozen value and must not block.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from ccr_core.messages import JSON

log = logging.getLogger("ccr.observe")


@attrs.frozen(kw_only=True)
class Arrived:
    """A request was read.  ``at`` is a Unix time in seconds, here and below."""

    id: str
    at: float
    path: str
    model: str
    stream: bool
    size: int
    session: str | None = None
    agent_id: str | None = None
    agent_type: str | None = None
    request_class: str | None = None


@attrs.frozen(kw_only=True)
class Routed:
    """A rule chose where it goes.  ``explanation`` lists every rule with its answer."""

    id: str
    at: float
    provider: str
    model: str
    scenario: str
    why: str
    tokens: int | None = None
    explanation: tuple[Mapping[str, Any], ...] = ()


@attrs.frozen(kw_only=True)
class Sent:
    """One attempt was sent to a provider."""

    id: str
    at: float
    attempt: int
    provider: str
    model: str
    url: str


@attrs.frozen(kw_only=True)
class Answered:
    """The provider answered an attempt with ``status`` (0: not at all; ``error`` says why)."""

    id: str
    at: float
    attempt: int
    status: int
    error: str | None = None


@attrs.frozen(kw_only=True)
class Streamed:
    """The first bytes of the answer went to the client."""

    id: str
    at: float


@attrs.frozen(kw_only=True)
class Finished:
    """The exchange ended; exactly one of these or :class:`Failed` per exchange.

    Times are seconds since it arrived: ``first`` to the first byte for the client, ``duration`` to the end.
    """

    id: str
    at: float
    status: int
    stream: bool
    requested: str
    provider: str
    model: str
    scenario: str
    why: str
    attempts: int
    duration: float
    first: float | None
    stop_reason: str | None
    usage: JSON
    tokens: int | None = None
    session: str | None = None
    agent_id: str | None = None
    agent_type: str | None = None
    request_class: str | None = None
    notes: tuple[tuple[str, Any], ...] = ()


@attrs.frozen(kw_only=True)
class Failed(Finished):
    """The exchange failed; ``error`` is what the client was told.  ``status`` 499: the client left."""

    kind: str
    error: str


Observation: TypeAlias = Arrived | Routed | Sent | Answered | Streamed | Finished | Failed


class Observer:
    """Something that watches.  Made once per runtime with its options."""

    def on(self, observation: Observation) -> None:
        """See one observation.  Must return at once: hand slow work to a thread of your own."""

    def close(self) -> None:
        """The runtime ends: write what is still held."""


class Watch:
    """The fence around observers."""

    LIMIT = 5

    def __init__(self, observers: Iterable[tuple[str, Observer, frozenset[type]]]) -> None:
        self._observers = list(observers)
        self._failures: dict[str, int] = {}
        self._by_type: dict[type, list[tuple[str, Observer]]] = {
            kind: [(name, observer) for name, observer, wants in self._observers if not wants or kind in wants]
            for kind in (Arrived, Routed, Sent, Answered, Streamed, Finished, Failed)
        }

    def wants(self, kind: type) -> bool:
        """Whether anybody looks at observations of ``kind``; if not, none need be made."""
        return bool(self._by_type[kind])

    def tell(self, observation: Observation) -> None:
        """Show ``observation`` to everyone who wants its kind; never raises."""
        for name, observer in self._by_type[type(observation)]:
            failures = self._failures.get(name, 0)
            if failures >= self.LIMIT:
                continue
            try:
                observer.on(observation)
            except Exception:
                self._failures[name] = failures + 1
                if failures == 0 or failures + 1 == self.LIMIT:
                    end = "; it is silent until the next reload" if failures + 1 == self.LIMIT else ""
                    log.warning("observer %s failed%s", name, end, exc_info=True)
            else:
                if failures:
                    self._failures[name] = 0

    def close(self) -> None:
        """End every observer; never raises."""
        for name, observer, _ in self._observers:
            try:
                observer.close()
            except Exception:
                log.warning("observer %s failed at its end", name, exc_info=True)
