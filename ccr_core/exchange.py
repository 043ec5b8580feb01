"""All that is known about one request while it is served, and what observers are told of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
import orjson

from ccr_core import observe
from ccr_core.catalogue import Prices
from ccr_core.dialect import Outcome, WireRequest
from ccr_core.errors import CcrError, RoutingError
from ccr_core.messages import Headers, Request
from ccr_core.routing import Choice, Route
from ccr_core.upstream import Sender

KEPT = 1024 * 1024
"""Bytes of an answer that are kept for observers who ask for bodies."""


class Client(Protocol):
    """Whoever sent the request."""

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of the answer."""
        ...

    async def write(self, data: bytes, last: bool = False) -> None:
        """Send more of the body; waits while the client cannot take it."""
        ...

    def sink(self, push: Callable[[bytes, list[bytes]], None], out: list[bytes]) -> Callable[[bytes], bool] | None:
        """A function for what arrives; ``None`` if this client must always be waited for.

        It gives what it gets to ``push``, and sends what is in ``out`` then at once, in one piece.  It gives false
        when the client takes no more for now: then :meth:`write` must be used, which waits.
        """
        ...


class Overheard:
    """A client whose answer is also kept, up to :data:`KEPT` bytes; ``size`` counts all of it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._parts: list[bytes] = []
        self.size = 0

    async def begin(self, status: int, headers: Headers) -> None:
        await self._client.begin(status, headers)

    async def write(self, data: bytes, last: bool = False) -> None:
        self._keep(data)
        await self._client.write(data, last)

    def sink(self, push: Callable[[bytes, list[bytes]], None], out: list[bytes]) -> Callable[[bytes], bool] | None:
        def overheard(data: bytes, out: list[bytes]) -> None:
            push(data, out)
            for piece in out:
                self._keep(piece)

        return self._client.sink(overheard, out)

    def _keep(self, data: bytes) -> None:
        if self.size < KEPT:
            self._parts.append(data[: KEPT - self.size])
        self.size += len(data)

    def kept(self) -> bytes:
        """The beginning of what the client got."""
        return b"".join(self._parts)


def exchange_id(at: float) -> str:
    """The id of an exchange that begins at ``at``, in seconds since 1970; unique, not secret.

    It begins with the second, so that ids rise: whoever keeps many of them in an index appends to it.  With ids in no
    order each touches another page of the index: a third of what it costs to keep a request.
    """
    return f"req_{int(at):08x}{random.getrandbits(64):016x}"


@attrs.define(eq=False)
class Exchange:
    """One request on its way.  Belongs to one task; changes as the request gets on."""

    request: Request
    watch: observe.Watch
    path: str = ""
    sender: Sender | None = None
    at: float = attrs.Factory(time.time)
    id: str = attrs.Factory(lambda self: exchange_id(self.at), takes_self=True)
    begun: float = attrs.Factory(time.monotonic)
    choice: Choice | None = None
    route: Route | None = None
    attempts: int = 0
    first: float | None = None
    status: int = 0
    limits: Mapping[str, str] = attrs.Factory(dict)
    """Headers of the last answer that tell the client of its limits."""

    outcome: Outcome = attrs.Factory(Outcome)
    notes: list[tuple[str, Any]] = attrs.Factory(list)
    project: str | None = None
    prices: Prices | None = None

    def note(self, key: str, value: Any) -> None:
        """Leave a remark, once: transformers and dialects say so what they dropped or changed."""
        if (key, value) not in self.notes:
            self.notes.append((key, value))

    def shed(self) -> None:
        """Let the conversation go, which is not needed any more once the answer streams; what identifies it stays."""
        if self.request.messages:
            self.request = self.request.with_(messages=[], system=[], tools=[])
            if self.choice is not None:
                self.choice = attrs.evolve(self.choice, request=self.request)

    def arrived(self, size: int) -> None:
        """Tell observers that the request is here; ``size`` is that of its body in bytes."""
        if self.watch.wants(observe.Arrived):
            hints = self.request.hints
            self.watch.tell(
                observe.Arrived(
                    id=self.id,
                    at=self.at,
                    path=self.path,
                    model=self.request.model,
                    stream=self.request.stream,
                    size=size,
                    session=hints.session,
                    agent_id=hints.agent_id,
                    agent_type=hints.agent_type,
                    request_class=hints.request_class,
                    parent_agent_id=hints.parent_agent_id,
                )
            )

    def routed(self, choice: Choice) -> None:
        """Keep the choice and tell observers."""
        self.request = choice.request
        self.choice = choice
        if self.watch.wants(observe.Routed):
            self.watch.tell(
                observe.Routed(
                    id=self.id,
                    at=time.time(),
                    provider=choice.route.provider,
                    model=choice.route.model,
                    scenario=choice.scenario,
                    why=choice.why,
                    tokens=choice.tokens,
                    explanation=tuple([answer.to_json() for answer in choice.answers]),
                    rule=choice.rule,
                    project=self.project,
                )
            )

    def sent(self, route: Route, wire: WireRequest) -> None:
        """An attempt goes out; ``wire`` is not signed yet."""
        self.route = route
        self.attempts += 1
        if self.watch.wants(observe.Sent):
            self.watch.tell(
                observe.Sent(
                    id=self.id,
                    at=time.time(),
                    attempt=self.attempts,
                    provider=route.provider,
                    model=route.model,
                    url=wire.url,
                )
            )
        if self.watch.wants(observe.Body):
            data = b"" if wire.body is None else orjson.dumps(wire.body)
            self.body("sent", data, len(data), self.attempts)

    def body(self, kind: str, content: bytes, size: int, attempt: int | None = None) -> None:
        """Tell observers what was said; only for those who ask for it."""
        self.watch.tell(
            observe.Body(id=self.id, at=time.time(), kind=kind, content=content, size=size, attempt=attempt)
        )

    def answered(self, status: int, error: str | None = None) -> None:
        """The attempt was answered, or failed."""
        if self.watch.wants(observe.Answered):
            self.watch.tell(
                observe.Answered(id=self.id, at=time.time(), attempt=self.attempts, status=status, error=error)
            )

    def streamed(self) -> None:
        """The first bytes of the answer go to the client."""
        self.first = time.monotonic() - self.begun
        if self.watch.wants(observe.Streamed):
            self.watch.tell(observe.Streamed(id=self.id, at=time.time()))

    def finished(self, error: CcrError | None = None) -> None:
        """The exchange is over: well, or with ``error``."""
        kind = observe.Finished if error is None else observe.Failed
        if not self.watch.wants(kind):
            return
        request, route, choice, outcome = self.request, self.route, self.choice, self.outcome
        hints = request.hints
        finished = observe.Finished(
            id=self.id,
            at=time.time(),
            status=self.status or (error.status if error else 0),
            stream=request.stream,
            requested=request.model,
            provider=route.provider if route else "",
            model=route.model if route else "",
            scenario=choice.scenario if choice else "",
            why=choice.why if choice else "",
            attempts=self.attempts,
            duration=time.monotonic() - self.begun,
            first=self.first,
            stop_reason=outcome.stop_reason,
            usage=outcome.usage,
            tokens=choice.tokens if choice else None,
            session=hints.session,
            agent_id=hints.agent_id,
            agent_type=hints.agent_type,
            request_class=hints.request_class,
            notes=tuple(self.notes),
            parent_agent_id=hints.parent_agent_id,
            project=self.project,
            prices=self.prices,
        )
        self.watch.tell(finished if error is None else _failed(finished, error))


def _failed(finished: observe.Finished, error: CcrError) -> observe.Failed:
    """The end ``finished``, as that of an exchange that failed with ``error``."""
    answers = error.answers if isinstance(error, RoutingError) else ()
    return observe.Failed(
        **attrs.asdict(finished, recurse=False),
        kind=error.kind,
        error=error.message,
        explanation=tuple(answer.to_json() for answer in answers),
    )
