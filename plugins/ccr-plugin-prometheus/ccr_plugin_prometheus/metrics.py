"""The metrics themselves.

Clients may name any model, so the number of combinations of labels is limited: beyond the limit all are ``other``.
One process counts into plain numbers.  With ``PROMETHEUS_MULTIPROC_DIR`` several workers share a folder, into which
the client library writes each count, and any of them shows the sums of all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ccr_core import Answered, Failed, Finished, Sent, __version__
from ccr_plugin_prometheus.tally import Count, Family, Series, Spread

if TYPE_CHECKING:
    from ccr_plugin_prometheus import Counting

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
RATES = (1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
KINDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}
ROUTE = ("provider", "model")
UNDER_WAY = ("ccr_requests_in_progress", "Requests under way.")
_NUMBER = (int, float)


class Metrics:
    """One set of metrics.

    ``limit`` is the most combinations of labels of each; ``shared``: workers add their counts up; ``behind`` are
    observers that may have seen what is not counted yet.
    """

    def __init__(self, limit: int = 500) -> None:
        self.limit = limit
        self.shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self.behind: WeakSet[Counting] = WeakSet()
        self._families: list[Family] = []
        self._requests = self._counter(
            "ccr_requests", "Requests that ended, by what the client got.", (*ROUTE, "scenario", "status", "outcome")
        )
        self._attempts = self._counter(
            "ccr_attempts", "Attempts that providers answered (0: not at all).", (*ROUTE, "status")
        )
        self._tokens = self._counter("ccr_tokens", "Tokens as providers reported them.", (*ROUTE, "kind"))
        self._cost = self._counter("ccr_cost_dollars", "Cost of answers whose price is known, in US dollars.", ROUTE)
        self._unpriced = self._counter("ccr_requests_unpriced", "Answers whose price is not known.", ROUTE)
        self._first = self._histogram(
            "ccr_first_byte_seconds", "From arrival to the first byte for the client.", SECONDS
        )
        self._duration = self._histogram("ccr_request_duration_seconds", "From arrival to the end.", SECONDS)
        self._rate = self._histogram("ccr_output_tokens_per_second", "Speed of streamed answers.", RATES)
        self._under_way: Any = Count()
        if self.shared:
            from prometheus_client import Gauge

            self._under_way = Gauge(*UNDER_WAY, registry=None, multiprocess_mode="livesum")

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Series:
        if self.shared:
            from prometheus_client import Counter

            return Series(Counter(name, text, labels, registry=None).labels, lambda: self.limit)
        series = Series(lambda *_: Count(), lambda: self.limit)
        self._families.append(Family("counter", name, text, labels, series))
        return series

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...]) -> Series:
        if self.shared:
            from prometheus_client import Histogram

            return Series(Histogram(name, text, ROUTE, registry=None, buckets=bounds).labels, lambda: self.limit)
        series = Series(lambda *_: Spread(bounds), lambda: self.limit)
        self._families.append(Family("histogram", name, text, ROUTE, series))
        return series

    def under_way(self, change: int) -> None:
        """Count requests that came (or, below 0, went)."""
        self._under_way.inc(change)

    def attempt(self, sent: Sent, answered: Answered) -> None:
        """Count an attempt."""
        self._attempts[sent.provider, sent.model, str(answered.status)].inc()

    def finished(self, seen: Finished) -> None:
        """Count the end of a request."""
        route = provider, model = seen.provider or "none", seen.model or "none"
        outcome = "ok" if not isinstance(seen, Failed) else "left" if seen.status == 499 else "failed"
        self._requests[provider, model, seen.scenario or "none", str(seen.status), outcome].inc()
        self._duration[route].observe(seen.duration)
        if seen.first is not None:
            self._first[route].observe(seen.first)
        reported = False
        for kind, key in KINDS.items():
            count = seen.usage.get(key)
            if isinstance(count, _NUMBER) and not isinstance(count, bool) and count >= 0:
                reported = True
                self._tokens[provider, model, kind].inc(count)
        cost = seen.cost
        if cost is not None and cost >= 0:
            self._cost[route].inc(cost)
        elif reported or outcome == "ok":
            self._unpriced[route].inc()
        output = seen.usage.get("output_tokens")
        took = seen.duration - (seen.first or 0.0)
        if seen.stream and isinstance(output, int) and output > 0 and took > seen.duration / 10:
            self._rate[route].observe(output / took)

    def text(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and text of all metrics, in the format that ``accept`` asks for."""
        for observer in list(self.behind):
            observer.count()
        from prometheus_client import CollectorRegistry, Gauge
        from prometheus_client.exposition import choose_encoder

        registry = CollectorRegistry()
        if self.shared:
            from prometheus_client.multiprocess import MultiProcessCollector

            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        else:
            for family in self._families:
                registry.register(family)
            Gauge(*UNDER_WAY, registry=registry).set(self._under_way.value)
            Gauge("ccr_info", "The version that runs.", ("version",), registry=registry).labels(__version__).set(1)
        encode, kind = choose_encoder(accept)
        return kind, encode(registry)
