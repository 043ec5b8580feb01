"""Metrics for Prometheus: an observer that counts, and the page ``/metrics`` that shows what was counted.

The counters belong to the process: they outlive reloads, and the page shows what all observers of this package have
counted.  Counting is done in plain numbers: ``prometheus-client`` is loaded with the first look at the page, or, where
several workers add up what they count through it, with the first request.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

from ccr_core import (
    Answered,
    Arrived,
    Failed,
    Finished,
    Observation,
    Observer,
    ObserverSpec,
    PageSpec,
    Running,
    Sent,
    hookimpl,
)

if TYPE_CHECKING:
    from ccr_plugin_prometheus.metrics import Metrics

log = logging.getLogger("ccr.prometheus")

WAITING = 128
"""The most observations, four for a request, that wait to be counted; where workers share their counts none does."""

_shared: list[Metrics] = []


@attrs.frozen
class Options:
    """``labels``: the most different combinations of labels that a metric has; what comes beyond is ``other``."""

    labels: int = attrs.field(default=500, validator=attrs.validators.ge(1))


def counted(labels: int | None = None) -> Metrics:
    """The metrics of this process, made at their first use; ``labels`` changes their limit."""
    if not _shared:
        from ccr_plugin_prometheus.metrics import Metrics

        _shared.append(Metrics())
    if labels is not None:
        _shared[0].limit = labels
    return _shared[0]


class Counting(Observer):
    """Counts.  Its requests under way are its own, so that those of a runtime that ends are taken back."""

    def __init__(self, options: Options, home: Any) -> None:
        self._options = options
        self._waiting: deque[Observation] = deque()
        self._metrics: Metrics | None = None
        self._most = 0
        self._open: set[str] = set()
        self._sent: dict[str, Sent] = {}

    def on(self, observation: Observation) -> None:
        """Take an observation, which is counted with others: alone it takes several times as long."""
        self._waiting.append(observation)
        if len(self._waiting) > self._most:
            self.count()

    def count(self) -> None:
        """Count what waits; whoever shows the metrics asks for it."""
        metrics = self._metrics
        if metrics is None:
            metrics = self._metrics = counted(self._options.labels)
            metrics.behind.add(self)
            self._most = 0 if metrics.shared else WAITING
        while self._waiting:
            observation = self._waiting.popleft()
            try:
                self._count(metrics, observation)
            except Exception:
                log.warning("%s cannot be counted", type(observation).__name__, exc_info=True)

    def _count(self, metrics: Metrics, observation: Observation) -> None:
        if isinstance(observation, Arrived):
            self._open.add(observation.id)
            metrics.under_way(1)
        elif isinstance(observation, Sent):
            self._sent[observation.id] = observation
        elif isinstance(observation, Answered):
            sent = self._sent.pop(observation.id, None)
            if sent is not None:
                metrics.attempt(sent, observation)
        elif isinstance(observation, Finished):
            self._sent.pop(observation.id, None)
            if observation.id in self._open:
                self._open.remove(observation.id)
                metrics.under_way(-1)
            metrics.finished(observation)

    def close(self) -> None:
        """Count what waits, and take back what is still under way."""
        if self._metrics is not None:
            self.count()
            self._metrics.under_way(-len(self._open))
        self._open.clear()


def page(options: None, router: Running) -> Any:
    """The application behind ``/metrics``."""
    shown = counted()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        kind, body = shown.text(accept)
        headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    return app


@hookimpl
def ccr_observers() -> Iterable[ObserverSpec]:
    """Offer the observer ``prometheus``."""
    yield ObserverSpec(
        name="prometheus",
        factory=Counting,
        options=Options,
        wants=frozenset({Arrived, Sent, Answered, Finished, Failed}),
        summary="Counts requests, tokens, cost and times for Prometheus.",
    )


@hookimpl
def ccr_pages() -> Iterable[PageSpec]:
    """Offer the page ``prometheus``, with the router's key where it has one."""
    yield PageSpec(
        name="prometheus",
        factory=page,
        path="/metrics",
        access="key",
        summary="Metrics of this router, for Prometheus.",
    )
