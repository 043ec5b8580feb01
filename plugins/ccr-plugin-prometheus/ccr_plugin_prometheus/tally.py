"""Counting that costs a request next to nothing: plain numbers, which only a scrape turns into what Prometheus reads.

They have the methods of the client library's counters and histograms, so that either can be counted into.  Whoever
counts and whoever reads is the router's event loop: nothing here is locked.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import Metric

Sample = tuple[str, dict[str, str], float]
"""The end of a sample's name, the labels that it has besides its metric's, and its value."""


class Count:
    """A number that goes up (or, where it stands for what is under way, down)."""

    __slots__ = ("created", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self.created = time.time()

    def inc(self, amount: float = 1) -> None:
        """Add ``amount``."""
        self.value += amount

    def samples(self) -> Iterator[Sample]:
        """What a scrape sees."""
        yield "_total", {}, self.value


class Spread:
    """How values are spread over ``bounds``, each of which counts what is not above it."""

    __slots__ = ("bounds", "counts", "created", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.created = time.time()

    def observe(self, value: float) -> None:
        """Count ``value``."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def samples(self) -> Iterator[Sample]:
        """What a scrape sees: each bound with all that is not above it, their number and their sum."""
        for bound, count in zip((*self.bounds, float("inf")), accumulate(self.counts), strict=True):
            yield "_bucket", {"le": "+Inf" if bound == float("inf") else str(bound)}, float(count)
        yield "_count", {}, float(sum(self.counts))
        yield "_sum", {}, self.sum


class Series(dict[tuple[str, ...], Any]):
    """What is counted of one metric, by its labels: whatever is asked for is there.

    ``make`` makes it at its first use; beyond ``limit()`` of them it is that of the labels ``other``.
    """

    def __init__(self, make: Callable[..., Any], limit: Callable[[], int]) -> None:
        super().__init__()
        self._make = make
        self._limit = limit

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        # Besides the limit there is always room for those called other.
        if len(self) >= self._limit() and labels[0] != "other":
            return self["other", "other", *labels[2:]]
        found = self[labels] = self._make(*labels)
        return found


class Family:
    """A metric of counts or spreads, for a registry of the client library."""

    def __init__(self, kind: str, name: str, text: str, labels: Sequence[str], series: Series) -> None:
        self._told = (name, text, kind)
        self._labels = labels
        self._series = series

    def collect(self) -> Iterable[Metric]:
        """All samples, as the library's own metrics give them."""
        from prometheus_client import Metric

        metric = Metric(*self._told)
        begun = os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "").lower() not in ("true", "1", "t")
        for values, counted in self._series.items():
            labels = dict(zip(self._labels, values, strict=True))
            for end, more, value in counted.samples():
                metric.add_sample(metric.name + end, {**labels, **more}, value)
            if begun:
                metric.add_sample(f"{metric.name}_created", labels, counted.created)
        yield metric
