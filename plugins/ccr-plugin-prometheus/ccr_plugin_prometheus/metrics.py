"""The metrics themselves.

Clients may name any model, so the number of combinations of labels is limited: beyond the limit all are ``other``.
With ``PROMETHEUS_MULTIPROC_DIR`` several workers share a folder, and any of them shows the sums of all.
"""

from __future__ import annotations

import os
from typing import Any

from ccr_core import Answered, Failed, Finished, Sent, __version__

SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
RATES = (1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
KINDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}
ROUTE = ("provider", "model")


class Metrics:
    """One set of metrics, in a registry of its own.  ``limit`` is the most combinations of labels of each."""

    def __init__(self, limit: int = 500) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.limit = limit
        self.registry = CollectorRegistry()
        self._seen: dict[Any, dict[tuple[str, ...], Any]] = {}

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Any:
            return Counter(name, text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Any:
            return Histogram(name, text, ROUTE, registry=self.registry, buckets=buckets)

        self._requests = counter(
            "ccr_requests", "Requests that ended, by what the client got.", (*ROUTE, "scenario", "status", "outcome")
        )
        self._attempts = counter(
            "ccr_attempts", "Attempts that providers answered (0: not at all).", (*ROUTE, "status")
        )
        self._tokens = counter("ccr_tokens", "Tokens as providers reported them.", (*ROUTE, "kind"))
        self._cost = counter("ccr_cost_dollars", "Cost of answers whose price is known, in US dollars.", ROUTE)
        self._unpriced = counter("ccr_requests_unpriced", "Answers whose price is not known.", ROUTE)
        self._first = histogram("ccr_first_byte_seconds", "From arrival to the first byte for the client.", SECONDS)
        self._duration = histogram("ccr_request_duration_seconds", "From arrival to the end.", SECONDS)
        self._rate = histogram("ccr_output_tokens_per_second", "Speed of streamed answers.", RATES)
        self._under_way = Gauge(
            "ccr_requests_in_progress",
            "Requests under way.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            info = Gauge("ccr_info", "The version that runs.", ("version",), registry=self.registry)
            info.labels(__version__).set(1)

    def under_way(self, change: int) -> None:
        """Count requests that came (or, below 0, went)."""
        self._under_way.inc(change)

    def attempt(self, sent: Sent, answered: Answered) -> None:
        """Count an attempt."""
        self._of(self._attempts, sent.provider, sent.model, str(answered.status)).inc()

    def finished(self, seen: Finished) -> None:
        """Count the end of a request."""
        route = (seen.provider or "none", seen.model or "none")
        outcome = "ok" if not isinstance(seen, Failed) else "left" if seen.status == 499 else "failed"
        self._of(self._requests, *route, seen.scenario or "none", str(seen.status), outcome).inc()
        self._of(self._duration, *route).observe(seen.duration)
        if seen.first is not None:
            self._of(self._first, *route).observe(seen.first)
        reported = False
        for kind, key in KINDS.items():
            count = seen.usage.get(key)
            if isinstance(count, int | float) and not isinstance(count, bool) and count >= 0:
                reported = True
                self._of(self._tokens, *route, kind).inc(count)
        cost = seen.cost
        if cost is not None and cost >= 0:
            self._of(self._cost, *route).inc(cost)
        elif reported or outcome == "ok":
            self._of(self._unpriced, *route).inc()
        output = seen.usage.get("output_tokens")
        took = seen.duration - (seen.first or 0.0)
        if seen.stream and isinstance(output, int) and output > 0 and took > seen.duration / 10:
            self._of(self._rate, *route).observe(output / took)

    def _of(self, metric: Any, *labels: str) -> Any:
        """The child of ``metric`` for ``labels``; beyond the limit that of ``other``."""
        children = self._seen.setdefault(metric, {})
        child = children.get(labels)
        if child is None:
            # Besides the limit there is always room for those called other.
            if len(children) >= self.limit and labels[0] != "other":
                return self._of(metric, "other", "other", *labels[2:])
            child = children[labels] = metric.labels(*labels)
        return child

    def text(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and text of all metrics, in the format that ``accept`` asks for."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        registry = self.registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        encode, kind = choose_encoder(accept)
        return kind, encode(registry)
