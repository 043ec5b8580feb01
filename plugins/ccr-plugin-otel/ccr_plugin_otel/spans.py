"""The spans: session → agents → exchanges → attempts.

All requests of a session are one trace, whose id is made of the session's: so they are joined across agents, processes
and restarts.  An agent's span lies under that of the agent that started it, else under the session's; it begins with
the first request and ends when none came for a while, for nobody tells that an agent has ended.  Under it each exchange
has a span, and under that each attempt, with the attributes that OpenTelemetry's conventions for generative AI name.
A span holds facts about a request: never prompts, answers, keys or texts of errors.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import attrs

from ccr_core import Answered, Arrived, Failed, Finished, Observation, Routed, Sent, __version__

log = logging.getLogger("ccr.otel")

AGENTS = 2000
"""The most spans of agents and sessions that are open at once."""

UNDER_WAY = 20_000
"""The most exchanges that are open at once."""

Who = tuple[str, str | None]
"""A session and an agent of it; ``None`` is the conversation itself."""


@attrs.define(eq=False)
class Exchange:
    """What is known so far of a request."""

    arrived: Arrived
    routed: Routed | None = None
    attempts: list[tuple[Sent, Answered | None]] = attrs.Factory(list)


@attrs.define(eq=False)
class Agent:
    """An agent or, as the root of the trace, a session; its span is made when it ends."""

    context: Any
    parent: Any
    start: float
    end: float
    type: str | None
    requests: int = 0


class Spans:
    """Makes spans of observations.  ``how`` is ``otlp`` or ``console``; both read the rest from the environment."""

    def __init__(self, how: str, idle_s: float) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        class Ids(RandomIdGenerator):
            """Gives ``trace`` and ``span`` once, where they are set, else random ids."""

            trace: int | None = None
            span: int | None = None

            def generate_trace_id(self) -> int:
                trace, self.trace = self.trace, None
                return trace or super().generate_trace_id()

            def generate_span_id(self) -> int:
                span, self.span = self.span, None
                return span or super().generate_span_id()

        sends: SpanExporter
        if how == "console":
            sends = ConsoleSpanExporter()
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            sends = OTLPSpanExporter()
        resource = Resource.create()
        if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "ccr", "service.version": __version__}))
        self._ids = Ids()
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(sends))
        self._tracer = self._provider.get_tracer("ccr", __version__)
        self._idle = idle_s
        self._open: OrderedDict[str, Exchange] = OrderedDict()
        self._agents: OrderedDict[Who, Agent] = OrderedDict()

    def take(self, seen: Observation) -> None:
        """Take an observation in; the end of an exchange makes its spans."""
        if isinstance(seen, Arrived):
            self._open[seen.id] = Exchange(seen)
            if len(self._open) > UNDER_WAY:
                self._open.popitem(last=False)
            return
        exchange = self._open.get(seen.id)
        if exchange is None:
            return
        if isinstance(seen, Routed):
            exchange.routed = seen
        elif isinstance(seen, Sent):
            exchange.attempts.append((seen, None))
        elif isinstance(seen, Answered) and exchange.attempts:
            exchange.attempts[-1] = (exchange.attempts[-1][0], seen)
        elif isinstance(seen, Finished):
            del self._open[seen.id]
            self._exchange(exchange, seen)

    def end_idle(self, now: float) -> None:
        """End the spans of agents and sessions that have made no request for a while."""
        working = {self._who(exchange.arrived) for exchange in self._open.values()}
        for who, agent in list(self._agents.items()):
            if now - agent.end > self._idle and who not in working:
                self._end(who)

    def close(self) -> None:
        """End every span, and send them."""
        for who in list(self._agents):
            self._end(who)
        self._provider.shutdown()

    # Agents and sessions.

    def _who(self, seen: Arrived) -> Who | None:
        return (seen.session, seen.agent_id) if seen.session else None

    def _agent(self, who: Who, at: float, type: str | None, parent: str | None) -> Agent:
        """The open span of an agent (or, without one, of the session)."""
        agent = self._agents.get(who)
        if agent is None:
            session, id = who
            over = None
            if id is not None:
                above = (session, parent if parent != id else None)
                # Of an agent that has made no request here nothing is known but its id.
                over = (self._agents.get(above) or self._agent((session, None), at, None, None)).context
            agent = self._agents[who] = Agent(self._context(session, over), over, at, at, type)
            if len(self._agents) > AGENTS:
                self._end(next(iter(self._agents)))
        self._agents.move_to_end(who)
        return agent

    def _context(self, session: str, over: Any) -> Any:
        """Ids for a span that is made later."""
        from opentelemetry.sdk.trace.sampling import Decision
        from opentelemetry.trace import SpanContext, TraceFlags

        trace = trace_id(session) if over is None else over.trace_id
        if over is None:
            decided = self._provider.sampler.should_sample(None, trace, "session").decision
            flags = TraceFlags(TraceFlags.SAMPLED if decided is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT)
        else:
            flags = over.trace_flags
        return SpanContext(trace, self._ids.generate_span_id(), is_remote=True, trace_flags=flags)

    def _end(self, who: Who) -> None:
        agent = self._agents.pop(who)
        session, id = who
        attributes: dict[str, Any] = {"gen_ai.conversation.id": session, "ccr.requests": agent.requests}
        name = "session"
        if id is not None:
            name = f"invoke_agent {agent.type}" if agent.type else "invoke_agent"
            attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.id": id}
            if agent.type:
                attributes["gen_ai.agent.name"] = agent.type
        self._ids.trace, self._ids.span = agent.context.trace_id, agent.context.span_id
        self._span(name, "internal", agent.parent, agent.start, attributes).end(_ns(agent.end))
        self._ids.trace = self._ids.span = None

    # Exchanges and attempts.

    def _exchange(self, exchange: Exchange, seen: Finished) -> None:
        arrived = exchange.arrived
        who = self._who(arrived)
        over = None
        if who is not None:
            agents = [self._agent(who, arrived.at, arrived.agent_type, arrived.parent_agent_id)]
            if who[1] is not None:
                agents.append(self._agent((who[0], None), arrived.at, None, None))
            for agent in agents:
                agent.end = max(agent.end, seen.at)
                agent.start = min(agent.start, arrived.at)
            agents[0].requests += 1
            over = agents[0].context
        span = self._span(f"POST {arrived.path}", "server", over, arrived.at, dict(_of_exchange(exchange, seen)))
        if seen.first is not None:
            span.add_event("first byte", timestamp=_ns(arrived.at + seen.first))
        _status(span, seen)
        for place, (sent, answered) in enumerate(exchange.attempts):
            last = place + 1 == len(exchange.attempts)
            end = seen.at if last else exchange.attempts[place + 1][0].at
            if answered is not None and not 200 <= answered.status < 300:
                end = answered.at
            attributes = dict(_of_attempt(sent, answered, seen, last))
            attempt = self._span(f"chat {sent.model}", "client", span.get_span_context(), sent.at, attributes)
            if "error.type" in attributes:
                _fail(attempt, attributes["error.type"])
            attempt.end(_ns(max(end, sent.at)))
        span.end(_ns(seen.at))

    def _span(self, name: str, kind: str, over: Any, start: float, attributes: dict[str, Any]) -> Any:
        from opentelemetry.context import Context
        from opentelemetry.trace import NonRecordingSpan, SpanKind, set_span_in_context

        context = Context() if over is None else set_span_in_context(NonRecordingSpan(over), Context())
        given = {name: value for name, value in attributes.items() if value is not None}
        return self._tracer.start_span(
            name, context, SpanKind[kind.upper()], given, start_time=_ns(start), record_exception=False
        )


def trace_id(session: str) -> int:
    """The id of a session's trace."""
    return int.from_bytes(hashlib.sha256(f"ccr session {session}".encode()).digest()[:16]) or 1


def _ns(at: float) -> int:
    return int(at * 1e9)


def _of_exchange(exchange: Exchange, seen: Finished) -> Iterator[tuple[str, Any]]:
    arrived, routed = exchange.arrived, exchange.routed
    yield from (
        ("http.request.method", "POST"),
        ("http.route", arrived.path),
        ("http.request.body.size", arrived.size),
        ("http.response.status_code", seen.status or None),
        ("gen_ai.conversation.id", arrived.session),
        ("gen_ai.agent.id", arrived.agent_id),
        ("gen_ai.agent.name", arrived.agent_type),
        ("ccr.request.id", arrived.id),
        ("ccr.request.class", arrived.request_class),
        ("ccr.agent.parent_id", arrived.parent_agent_id),
        ("ccr.requested_model", arrived.model),
        ("ccr.stream", arrived.stream),
        ("ccr.route", f"{seen.provider},{seen.model}" if seen.provider else None),
        ("ccr.scenario", seen.scenario or None),
        ("ccr.rule", routed.rule if routed is not None else None),
        ("ccr.why", routed.why if routed is not None else None),
        ("ccr.attempts", seen.attempts),
        ("ccr.cost", seen.cost),
        ("ccr.time_to_first_byte", seen.first),
        ("ccr.notes", [str(key) for key, _ in seen.notes] or None),
    )
    if isinstance(seen, Failed):
        yield "error.type", "client_left" if seen.status == 499 else seen.kind


def _of_attempt(sent: Sent, answered: Answered | None, seen: Finished, last: bool) -> Iterator[tuple[str, Any]]:
    url = urlsplit(sent.url)
    yield from (
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", sent.provider),
        ("gen_ai.request.model", sent.model),
        ("gen_ai.conversation.id", seen.session),
        ("server.address", url.hostname),
        ("server.port", url.port or (443 if url.scheme == "https" else 80)),
        ("ccr.attempt", sent.attempt),
    )
    if answered is not None:
        yield "http.response.status_code", answered.status or None
    if answered is None or not 200 <= answered.status < 300:
        yield "error.type", str(answered.status) if answered is not None and answered.status else "no_answer"
        return
    if not last:
        return
    if isinstance(seen, Failed):
        yield "error.type", "client_left" if seen.status == 499 else seen.kind
    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    plain, read, written, output = (_count(seen.usage.get(name)) for name in kinds)
    if plain is not None:
        # By the convention the input is all of it; ours leaves out what a cache had.
        yield "gen_ai.usage.input_tokens", plain + (read or 0) + (written or 0)
    yield "gen_ai.usage.output_tokens", output
    yield "gen_ai.usage.cache_read.input_tokens", read
    yield "gen_ai.usage.cache_creation.input_tokens", written
    yield "gen_ai.response.finish_reasons", [seen.stop_reason] if seen.stop_reason else None


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _status(span: Any, seen: Finished) -> None:
    if isinstance(seen, Failed) and seen.status != 499:
        _fail(span, seen.kind)


def _fail(span: Any, kind: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    if kind != "client_left":
        span.set_status(Status(StatusCode.ERROR, kind))
