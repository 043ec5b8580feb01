"""Watching exchanges.  An observer cannot change, delay, hide or redirect anything.

Its result is ignored and its failure is logged once; after five failures in a row it is silent until the next
reload.  It receives one frozen value and must not block.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from ccr_core.catalogue import Prices
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
    parent_agent_id: str | None = None


@attrs.frozen(kw_only=True)
class Routed:
    """The rule ``rule`` chose where it goes.  ``explanation`` lists every rule with its answer.

    ``project`` is the folder in which the client works, where the session's transcript tells it, else the name of the
    folder in which the client keeps that.
    """

    id: str
    at: float
    provider: str
    model: str
    scenario: str
    why: str
    tokens: int | None = None
    explanation: tuple[Mapping[str, Any], ...] = ()
    rule: str = ""
    project: str | None = None


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
    ``prices`` are those of the model that answered, where they are known.
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
    parent_agent_id: str | None = None
    project: str | None = None
    prices: Prices | None = None

    @property
    def cost(self) -> float | None:
        """US dollars: what the provider says, else the tokens at their prices; ``None``: not known."""
        said = self.usage.get("cost")
        if isinstance(said, int | float) and not isinstance(said, bool):
            return float(said)
        return self.prices.cost(self.usage) if self.prices is not None else None


@attrs.frozen(kw_only=True)
class Failed(Finished):
    """The exchange failed; ``error`` is what the client was told.  ``status`` 499: the client left.

    ``explanation`` is given where no rule chose a model, and so nothing was :class:`Routed`.
    """

    kind: str
    error: str
    explanation: tuple[Mapping[str, Any], ...] = ()


@attrs.frozen(kw_only=True)
class Body:
    """What was said, told only to those who name this class in ``wants``.

    ``kind`` is ``request`` (as the client sent it), ``sent`` (as an attempt goes to the provider, unsigned) or
    ``answer`` (what the client gets; told when it ends, also after :class:`Finished`).  ``size`` is the whole size in
    bytes; of long answers ``content`` is only the beginning.
    """

    id: str
    at: float
    kind: str
    content: bytes
    size: int
    attempt: int | None = None


Observation: TypeAlias = Arrived | Routed | Sent | Answered | Streamed | Finished | Failed | Body


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
        self._by_type: dict[type, list[tuple[str, Callable[[Observation], None]]]] = {
            kind: [(name, observer.on) for name, observer, wants in self._observers if not wants or kind in wants]
            for kind in (Arrived, Routed, Sent, Answered, Streamed, Finished, Failed)
        }
        # Keeping bodies costs memory and time, so nobody gets them who does not ask for them by name.
        self._by_type[Body] = [(name, observer.on) for name, observer, wants in self._observers if Body in wants]

    def wants(self, kind: type) -> bool:
        """Whether anybody looks at observations of ``kind``; if not, none need be made."""
        return bool(self._by_type[kind])

    def tell(self, observation: Observation) -> None:
        """Show ``observation`` to everyone who wants its kind; never raises."""
        for name, on in self._by_type[type(observation)]:
            try:
                on(observation)
            except Exception:
                self._failed(name)
            else:
                # Empty but for an observer that fails: this is passed some twenty times in a request.
                if self._failures:
                    self._failures.pop(name, None)

    def _failed(self, name: str) -> None:
        """Say that an observer failed, and show it nothing more if it did so too often."""
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        silent = failures == self.LIMIT
        if failures == 1 or silent:
            end = "; it is silent until the next reload" if silent else ""
            log.warning("observer %s failed%s", name, end, exc_info=True)
        if silent:
            del self._failures[name]
            for kind, told in self._by_type.items():
                self._by_type[kind] = [each for each in told if each[0] != name]

    def close(self) -> None:
        """End every observer; never raises."""
        for name, observer, _ in self._observers:
            try:
                observer.close()
            except Exception:
                log.warning("observer %s failed at its end", name, exc_info=True)
