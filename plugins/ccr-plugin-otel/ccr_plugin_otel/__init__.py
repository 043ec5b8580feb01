"""Traces by OpenTelemetry: an observer that makes spans of requests and sends them where the environment says.

Where no ``OTEL_…`` variable names a receiver the observer does nothing and loads nothing.  Else a thread of its own
makes the spans, and the SDK sends them in batches; no request waits for either.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ccr_core import (
    Answered,
    Arrived,
    Failed,
    Finished,
    Observation,
    Observer,
    ObserverSpec,
    Routed,
    Sent,
    hookimpl,
)

log = logging.getLogger("ccr.otel")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
QUEUE = 20_000
"""The most observations that wait to be made into spans; what comes beyond is left out of the traces."""

LOOK_SECONDS = 5.0
CLOSE_SECONDS = 3.0


@attrs.frozen
class Options:
    """``idle_s``: seconds without a request after which the span of an agent or a session ends."""

    idle_s: float = attrs.field(default=300.0, validator=attrs.validators.gt(0))


def exporter(environ: Mapping[str, str]) -> str | None:
    """How spans are sent: ``otlp``, ``console``, or ``None``: not at all, as nobody said where."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    chosen = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not chosen:
        return "otlp" if any(environ.get(name) for name in ENDPOINTS) else None
    if chosen == "none":
        return None
    if chosen not in ("otlp", "console"):
        log.warning("OTEL_TRACES_EXPORTER is %r; this package knows otlp, console and none: no traces are sent", chosen)
        return None
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        log.warning("OTEL_EXPORTER_OTLP_PROTOCOL is %r; traces are sent as http/protobuf", protocol)
    return chosen


class Tracing(Observer):
    """Hands observations to the thread that makes spans of them."""

    def __init__(self, options: Options, home: Any) -> None:
        self._options = options
        self._how = exporter(os.environ)
        self._queue: queue.SimpleQueue[Observation | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def on(self, observation: Observation) -> None:
        """Take an observation; return at once."""
        if self._how is None or self._closed or self._queue.qsize() >= QUEUE:
            return
        self._queue.put(observation)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ccr-otel", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End all spans and send what is left, for a bounded time."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                log.warning("could not send all traces within %s seconds", CLOSE_SECONDS)

    def _run(self) -> None:
        from ccr_plugin_otel.spans import Spans

        spans = Spans(self._how or "otlp", self._options.idle_s)
        looked = time.monotonic()
        while True:
            try:
                observation = self._queue.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                pass
            else:
                if observation is None:
                    spans.close()
                    return
                try:
                    spans.take(observation)
                except Exception:
                    log.warning("no span could be made of %s", type(observation).__name__, exc_info=True)
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                spans.end_idle(time.time())


@hookimpl
def ccr_observers() -> Iterable[ObserverSpec]:
    """Offer the observer ``otel``."""
    yield ObserverSpec(
        name="otel",
        factory=Tracing,
        options=Options,
        wants=frozenset({Arrived, Routed, Sent, Answered, Finished, Failed}),
        summary="Traces of requests, sent where the OTEL_ variables of the environment say.",
    )
