"""What an engine knows from one exchange to the next, in a form that several processes can share.

Rules:

* a change that comes of something which only this process has seen (an answer, a choice) is told as an *update*: a
  JSON array of a name and values.  ``hear`` makes the same change for an update of another process, and tells nothing;
* an update says what happened, not what became of it, so that two which cross add up: two failures are two;
* moments are those of the monotonic clock, which the processes of one machine have in common;
* there is at most one update for a key that is chosen and one for an answer, and none for what streams between.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from ccr_core.auth import Key
from ccr_core.errors import UpstreamError
from ccr_core.health import KEY_FAULTS, TRANSIENT, Health, retry_after
from ccr_core.learn import Correction, Learned, correction
from ccr_core.messages import JSON
from ccr_core.routing import Route

log = logging.getLogger("ccr.memory")

SESSIONS = 1000
"""Sessions whose last usage, calibration and key are remembered."""

Update: TypeAlias = list[Any]


class Memory:
    """Cool-downs, corrections, the usage of sessions, and the keys that they use; ``tell`` gets the updates."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.health = Health(clock)
        self.learned = Learned(clock)
        self.tell: Callable[[Update], None] | None = None
        self._usage: OrderedDict[str, JSON] = OrderedDict()
        self._ratios: OrderedDict[tuple[str, Route], tuple[float, int]] = OrderedDict()
        self._keys: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        self._turn: dict[tuple[str, str], float] = {}

    # What is known.

    def usage(self, session: str | None) -> JSON | None:
        """What the provider reported for the session's last answer."""
        return self._usage.get(session) if session else None

    def ratio(self, session: str | None, route: Route | None) -> tuple[float, int]:
        """How far counts were off for this session and model, and the size of the prompt that told; 1 if unknown."""
        return self._ratios.get((session, route), (1.0, 0)) if session and route else (1.0, 0)

    def key(self, provider: str, session: str | None) -> str | None:
        """The id of the key that the session uses."""
        found = self._keys.get((provider, session)) if session else None
        return found[1] if found is not None else None

    def turn(self, provider: str, key: Key) -> float:
        """How much of its share a key has had; the one with the least is next."""
        return self._turn.get((provider, key.id), 0.0)

    # What happens.

    def failed(self, provider: str, key: str, error: UpstreamError) -> None:
        """An attempt failed."""
        self.health.failed(provider, key, error)
        if self.tell is not None and (error.status in KEY_FAULTS or error.status in TRANSIENT):
            self.tell(["failed", provider, key, error.status, error.message[:200], retry_after(error.headers)])

    def worked(self, provider: str, key: str) -> None:
        """An answer came."""
        if self.health.worked(provider, key) and self.tell is not None:
            self.tell(["worked", provider, key])

    def learn(self, provider: str, model: str, error: UpstreamError, body: JSON) -> bool:
        """Remember what ``error`` refuses of ``body``; whether sending it again is worthwhile."""
        made = correction(error, body)
        if made is None:
            return False
        if self.tell is not None:
            self.tell(["learned", provider, model, made.path, made.most])
        return self.learned.remember(provider, model, made)

    def used(self, session: str, usage: JSON, route: Route | None = None, ratio: float = 1.0, size: int = 0) -> None:
        """An answer of the session ended; with a ``route``, its usage also tells how far the count was off."""
        self._used(session, usage, route, ratio, size)
        if self.tell is not None:
            self.tell(["used", session, usage, *(_words(route) if route else (None, None, None)), ratio, size])

    def chose(self, provider: str, key: Key, session: str | None, usable: Sequence[Key] = ()) -> None:
        """A key was chosen; where keys take turns, among the ``usable`` ones."""
        step = value = 0.0
        if usable:
            # A key that was away does not have to catch up on all the turns it missed.
            least = min(self.turn(provider, other) for other in usable)
            step = 1 / key.weight
            value = self._turn[provider, key.id] = max(self.turn(provider, key), least) + step
        now = self._clock()
        if session:
            _remember(self._keys, (provider, session), (now, key.id))
        if self.tell is not None and (session or usable):
            self.tell(["chose", provider, key.id, session, now, step, value])

    # What happens elsewhere.

    def hear(self, update: Update) -> None:
        """Make the change that another process has told; never raises."""
        try:
            name, *values = update
            _HEARD[name](self, *values)
        except (KeyError, TypeError, ValueError, IndexError):
            log.warning("an update that nobody understands is left out: %.200r", update, exc_info=True)

    def updates(self) -> Iterator[Update]:
        """Updates after which a fresh memory knows what this one knows."""
        for who, failures, until, why in self.health.states():
            yield ["state", who, failures, until, why]
        for provider, model, made, until in self.learned.corrections():
            yield ["learned", provider, model, made.path, made.most, until]
        for session, usage in self._usage.items():
            yield ["used", session, usage, None, None, None, 1.0, 0]
        for (session, route), (ratio, size) in self._ratios.items():
            yield ["ratio", session, *_words(route), ratio, size]
        for (provider, session), (since, key) in self._keys.items():
            yield ["chose", provider, key, session, since, 0, 0]
        for (provider, key), value in self._turn.items():
            yield ["chose", provider, key, None, 0, 0, value]

    def _hear_failed(self, provider: str, key: str, status: int, message: str, wait: float | None) -> None:
        headers = {} if wait is None else {"retry-after": str(wait)}
        self.health.failed(provider, key, UpstreamError(message, status, headers=headers))

    def _hear_worked(self, provider: str, key: str) -> None:
        self.health.worked(provider, key)

    def _hear_state(self, who: str | list[str], failures: int, until: float, why: str) -> None:
        self.health.take(who if isinstance(who, str) else tuple(who), failures, until, why)

    def _hear_learned(
        self, provider: str, model: str, path: list[str], most: int | None, until: float | None = None
    ) -> None:
        self.learned.remember(provider, model, Correction(tuple(path), most), until)

    def _hear_used(
        self, session: str, usage: JSON, provider: str, model: str, level: str | None, ratio: float, size: int
    ) -> None:
        self._used(session, usage, _route(provider, model, level) if provider else None, ratio, size)

    def _hear_ratio(self, session: str, provider: str, model: str, level: str | None, ratio: float, size: int) -> None:
        _remember(self._ratios, (session, _route(provider, model, level)), (ratio, size))

    def _hear_chose(
        self, provider: str, key: str, session: str | None, since: float, step: float, value: float
    ) -> None:
        if value:
            self._turn[provider, key] = max(self._turn.get((provider, key), 0.0) + step, value)
        # Two processes may choose for one session at the same moment: both end with the later choice.
        if session and (since, key) > self._keys.get((provider, session), (0.0, "")):
            _remember(self._keys, (provider, session), (since, key))

    def _used(self, session: str, usage: JSON, route: Route | None, ratio: float, size: int) -> None:
        _remember(self._usage, session, usage)
        if route is not None:
            _remember(self._ratios, (session, route), (ratio, size))


_HEARD: dict[str, Callable[..., None]] = {
    "failed": Memory._hear_failed,
    "worked": Memory._hear_worked,
    "state": Memory._hear_state,
    "learned": Memory._hear_learned,
    "used": Memory._hear_used,
    "ratio": Memory._hear_ratio,
    "chose": Memory._hear_chose,
}


def _route(provider: str, model: str, level: str | None) -> Route:
    return Route(provider=provider, model=model, level=level)


def _words(route: Route) -> tuple[str, str, str | None]:
    return route.provider, route.model, route.level


def _remember(known: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > SESSIONS:
        known.popitem(last=False)
