"""Which providers and keys had better not be asked just now.  Sans-IO; the clock is given.

A *key* cools down when the provider limits or refuses it; a *provider* when it fails several times in a row.  Nobody
is ever refused for that: whoever cools down is asked last.  The next success forgets everything.

==================  =======  ==================================================================
failure             cools    for
==================  =======  ==================================================================
429                 key      what ``retry-after`` says, else 15 s, doubled each time, at most 10 minutes
401, 402, 403       key      5 minutes, doubled each time, at most an hour
5xx, 408, 409, …    provider from the third in a row: 10 s, doubled each time, at most 5 minutes
==================  =======  ==================================================================
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Hashable, Iterator, Mapping

import attrs

from ccr_core.errors import UpstreamError

KEY_FAULTS = frozenset({401, 402, 403, 429})
"""Statuses that speak of the key, not of the provider."""

TRANSIENT = frozenset({408, 409, 425, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""

LONGEST = 24 * 3600.0
"""The longest that a provider's own ``retry-after`` is followed, in seconds."""


@attrs.define
class _State:
    failures: int = 0
    until: float = 0.0
    why: str = ""


class Health:
    """What is known of providers and keys; shared by all exchanges and kept over reloads.

    ``who`` is a provider's name, or a tuple of it and the id of a key.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[Hashable, _State] = {}

    def cooling(self, who: Hashable) -> float:
        """Seconds until ``who`` should be asked again; 0 if that is now."""
        state = self._states.get(who)
        return max(0.0, state.until - self._clock()) if state is not None else 0.0

    def worked(self, provider: str, key: str) -> bool:
        """An answer came; whether there was something to forget."""
        if not self._states:
            return False
        of_provider, of_key = self._states.pop(provider, None), self._states.pop((provider, key), None)
        return of_provider is not None or of_key is not None

    def failed(self, provider: str, key: str, error: UpstreamError) -> None:
        """An attempt failed."""
        if error.status in KEY_FAULTS:
            given = retry_after(error.headers) if error.status == 429 else None
            first, most = (15.0, 600.0) if error.status == 429 else (300.0, 3600.0)
            self._cool((provider, key), error, first, most, given)
        elif error.status in TRANSIENT:
            self._cool(provider, error, 10.0, 300.0, retry_after(error.headers), free=2)

    def _cool(
        self, who: Hashable, error: UpstreamError, first: float, most: float, given: float | None, free: int = 0
    ) -> None:
        state = self._states.setdefault(who, _State())
        state.failures += 1
        state.why = f"{error.status}: {error.message[:200]}"
        times = state.failures - free
        if times > 0 or given is not None:
            seconds = min(given, LONGEST) if given is not None else min(first * 2 ** (times - 1), most)
            state.until = max(state.until, self._clock() + seconds)

    def states(self) -> Iterator[tuple[Hashable, int, float, str]]:
        """All that is known: who, failures in a row, the moment until which it cools down, and why."""
        for who, state in self._states.items():
            yield who, state.failures, state.until, state.why

    def take(self, who: Hashable, failures: int, until: float, why: str) -> None:
        """Know of ``who`` what :meth:`states` gave elsewhere."""
        self._states[who] = _State(failures, until, why)

    def forget(self, provider: str) -> None:
        """The provider is another one now, or has other keys."""
        for who in [who for who in self._states if who == provider or (isinstance(who, tuple) and who[0] == provider)]:
            del self._states[who]

    def report(self) -> list[dict[str, object]]:
        """Who cools down, for how long and why, for people."""
        return [
            {
                "provider": who if isinstance(who, str) else who[0],
                "key": None if isinstance(who, str) else who[1],
                "seconds": round(self.cooling(who), 1),
                "why": state.why,
            }
            for who, state in self._states.items()
            if isinstance(who, (str, tuple)) and self.cooling(who) > 0
        ]


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (RFC 9110: seconds or a date); ``None`` if unsaid."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            return max(0.0, float(text) * unit)
        except ValueError:
            pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
