"""Exchanges from end to end: route, send, stream back, try again, fall back.

The answer's whole way back, from the provider's bytes to the client's bytes, is one synchronous
:class:`~ccr_core.push.Pipe`; the loop here reads what has arrived, pushes it through, and sends what came out, so
that all events of one network read are converted in one go and written in one piece.

Nothing reaches the client before the first valid event of the provider, so that an error, an empty answer or a page
of HTML can still become a proper status, or be answered by another key or another provider.  After that a failure is
an ``error`` event.  When the client leaves, the connection to the provider is closed at once and nothing is tried
again.

Who is asked, in which order: the chosen route, then those of the fallback list; providers and keys that cool down
(:mod:`ccr_core.health`) come last.  A key that is limited or refused is followed by the provider's next key at once;
a failure that may pass is tried again only where no other route is left, after a short wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import random
import time
from collections import Counter as Counted
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import orjson

from ccr_core import observe
from ccr_core.attempt import Attempt, guarded
from ccr_core.auth import AccountError, Key, Limited
from ccr_core.config import Limits
from ccr_core.dialect import Ingress, Outcome, WireReply, WireRequest
from ccr_core.errors import (
    AuthError,
    CcrError,
    PluginError,
    ProtocolError,
    RequestError,
    RoutingError,
    Unreachable,
    UpstreamError,
    limits_of,
)
from ccr_core.events import Event, Ping, StreamError, assemble
from ccr_core.exchange import Client, Exchange, Overheard
from ccr_core.health import KEY_FAULTS, TRANSIENT, Health, retry_after
from ccr_core.learn import Learned
from ccr_core.memory import Memory
from ccr_core.messages import JSON, Headers, Request, compares_names, new_id, text_of
from ccr_core.patience import Patience
from ccr_core.projects import Projects
from ccr_core.push import Pipe, Push, Stage
from ccr_core.routing import Choice, Route, RouteContext, choose
from ccr_core.runtime import Provider, Runtime, View
from ccr_core.sequence import Sequencer
from ccr_core.servertool import Round, ServerTool, ToolCall, ToolContext, ToolResult
from ccr_core.tokens import Counter, Memo
from ccr_core.upstream import EmbeddedReply, Reply, Sender

log = logging.getLogger("ccr.engine")

SLICE = 0.005
"""Seconds of counting after which others get their turn."""

INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""What of a usage report is input; the first leaves cached tokens out."""

COUNT_S = 5.0
"""Seconds that a provider may take to count a request."""

FETCHED = 4 * 1024 * 1024
"""Bytes of a service's answer that a tool may read."""

ERROR_BODY = 1024 * 1024
"""Bytes of a refusal that are read."""


class Engine:
    """Serves exchanges with one runtime at a time; what lives longer than a runtime is kept here."""

    def __init__(self, runtime: Runtime, sender: Sender | None = None) -> None:
        self.runtime = runtime
        self.sender = sender
        self.memory = Memory()
        self.projects = Projects()
        self._memos: dict[str, Memo] = {}
        self._running: dict[Runtime, int] = {runtime: 0}
        self._warming: dict[Runtime, asyncio.Task[None]] = {}

    @property
    def health(self) -> Health:
        """Which providers and keys cool down."""
        return self.memory.health

    @property
    def learned(self) -> Learned:
        """What is known of providers' refusals."""
        return self.memory.learned

    def swap(self, runtime: Runtime) -> None:
        """Serve new exchanges with ``runtime``; those under way finish on theirs, whose observers then end.

        What was learned of a provider does not hold for one that has another address or other keys now.
        """
        old, self.runtime = self.runtime, runtime
        self._running.setdefault(runtime, 0)
        for name, provider in old.providers.items():
            now = runtime.providers.get(name)
            if now is None or (now.base_url, now.own_keys) != (provider.base_url, provider.own_keys):
                self.health.forget(name)
                self.learned.forget(name)
        # A counter that failed is made anew: what it lacked may be there now.
        self._memos = {name: memo for name, memo in self._memos.items() if not memo.failed}
        self._leave(old, 0)

    @contextlib.contextmanager
    def hold(self) -> Iterator[Runtime]:
        """Keep the runtime in use, and so its observers, while somebody beside this engine uses them."""
        runtime = self.runtime
        self._running[runtime] += 1
        try:
            yield runtime
        finally:
            self._leave(runtime)

    def _leave(self, runtime: Runtime, by: int = 1) -> None:
        self._running[runtime] -= by
        if runtime is not self.runtime and not self._running[runtime]:
            del self._running[runtime]
            self._warming.pop(runtime, None)
            runtime.watch.close()

    async def warm(self, runtime: Runtime) -> None:
        """Wait until the catalogues of ``runtime`` are read, which is done once and in a thread: it takes a while."""
        task = self._warming.get(runtime)
        if task is None:
            task = self._warming[runtime] = asyncio.create_task(asyncio.to_thread(runtime.warm))
        if not task.done():
            await asyncio.shield(task)

    # Routing.

    async def route(self, runtime: Runtime, request: Request, tokens: int | None = None) -> Choice:
        """Choose where ``request`` goes, and say why.  ``tokens`` is its size, where that need not be counted."""
        view = self._view(runtime, request)
        counted: int | None = None

        def context(options: Any, now: Request) -> RouteContext:
            return RouteContext(
                options=options,
                router=view.router,
                config=runtime.public,
                hints=now.hints,
                requested_model=now.model,
                find=runtime.find,
                tokens=tokens,
                last_usage=self.memory.usage(now.hints.session),
                window=runtime.window,
                count=lambda: self.count(runtime, now),
            )

        if tokens is None and view.counts:
            counted, tokens = await self._count(runtime, request)
        choice = await choose(view.rules, request, context)
        return choice if counted is None else attrs.evolve(choice, counted=counted)

    async def count(self, runtime: Runtime, request: Request) -> int:
        """The tokens of ``request``, counted for the model it names, else for the default route's.

        Long requests are counted in slices, so that others are served meanwhile.  What this model's provider reported
        for the session's earlier requests corrects the count.
        """
        return (await self._count(runtime, request))[1]

    def _counted_for(self, runtime: Runtime, request: Request) -> Route | None:
        """The route for whose model a request is counted, before it is known where it goes: the one that it names,
        else the default of its project or session."""
        named = runtime.find(request.model)
        if named is not None:
            return named
        default = self._view(runtime, request).router.get("default")
        return runtime.find(default) if isinstance(default, str) and default else None

    def _view(self, runtime: Runtime, request: Request) -> View:
        """The rules and the ``Router`` section as the session of ``request`` sees them."""
        session = request.hints.session
        return runtime.view(self.projects.overlay(session) if session else None)

    async def count_for_client(self, runtime: Runtime, request: Request) -> int:
        """The tokens of ``request`` for a client that asks: the provider's own count where the configuration wants
        that and it can be had, else ours."""
        if runtime.config.count_tokens == "upstream":
            exact = await self._count_upstream(runtime, request)
            if exact is not None:
                return exact
        return await self.count(runtime, request)

    async def _count_upstream(self, runtime: Runtime, request: Request) -> int | None:
        """What the provider says; ``None`` if it cannot be asked, or does not answer in time."""
        route = self._counted_for(runtime, request)
        if route is None or self.sender is None:
            return None
        provider = runtime.providers[route.provider]
        try:
            async with asyncio.timeout(COUNT_S):
                attempt = Attempt(runtime, request, route, new_id("count"), lambda key, value: None)
                wire = attempt.count_wire()
                if wire is None:
                    return None
                key = self._key(provider, route.model, request.hints.session, set())
                if provider.accounts is None:
                    wire = provider.auth.apply(wire, key.token if key else None)
                else:
                    wire = provider.accounts.signed(wire, await provider.accounts.fresh(key))
                reply = await self.sender.send(wire, orjson.dumps(wire.body))
                try:
                    data = await _read_all(reply, ERROR_BODY)
                finally:
                    reply.close()
            if not 200 <= reply.status < 300:
                raise attempt.refusal(WireReply(status=reply.status, headers=reply.headers, body=data))
            return attempt.counted(data)
        except TimeoutError:
            log.warning("%s did not count within %g s; counted here", route, COUNT_S)
        except CcrError as error:
            log.warning("%s did not count (%s: %s); counted here", route, error.status, error.message[:200])
        return None

    async def _count(self, runtime: Runtime, request: Request) -> tuple[int, int]:
        """The tokens as the counter has them, and corrected."""
        route = self._counted_for(runtime, request)
        tally = runtime.tally(request.model, route)
        memo = self._memos.get(tally.name)
        if memo is None:
            counter = tally.make()
            memo = self._memos[tally.name] = Memo(counter)
            memo.failed = tally.contributed is not None and type(counter) is Counter
        try:
            parts = memo.parts(request.body, route.model if route is not None else request.model)
        except RecursionError:
            raise RequestError("the request is nested too deeply") from None
        if memo.slow:
            total = await asyncio.to_thread(memo.count_parts, parts)
        else:
            total, since = 0, time.monotonic()
            for part in parts:
                total += part if isinstance(part, int) else memo.count(part)
                if time.monotonic() - since > SLICE:
                    await asyncio.sleep(0)
                    since = time.monotonic()
        ratio, _ = self.memory.ratio(request.hints.session, route)
        return total, round(total * ratio)

    # One exchange.

    async def serve(self, ingress: Ingress, path: str, body: bytes, headers: Headers, client: Client) -> None:
        """Answer one request to ``client``; raises nothing but cancellation, which means that the client left."""
        runtime = self.runtime
        try:
            request = guarded(ingress, "decode", functools.partial(ingress.decode, body, headers))
        except CcrError as error:
            await _refuse(ingress, error, client, {})
            return
        exchange = Exchange(request, runtime.watch, path, self.sender)
        for key, value in request.notes:
            exchange.note(key, value)
        del request  # nothing here may keep a long conversation while its answer streams
        self._running[runtime] += 1
        exchange.arrived(len(body))
        overheard = None
        if runtime.watch.wants(observe.Body):
            exchange.body("request", body, len(body))
            client = overheard = Overheard(client)
        del body
        try:
            await self._serve(runtime, exchange, ingress, client)
        except CcrError as error:
            self._finished(runtime, exchange, error)
            if exchange.status == 0:
                exchange.status = error.status
                await _refuse(ingress, error, client, _trace(exchange))
        except Exception as error:
            # Code of a plugin that nothing above has named, or our own mistake: the client gets an answer all the same.
            log.exception("%s failed", exchange.id)
            failure = CcrError(f"the router failed: {type(error).__name__}: {error}")
            self._finished(runtime, exchange, failure)
            if exchange.status:
                raise  # the server ends the connection: what has been sent must not look complete
            exchange.status = failure.status
            await _refuse(ingress, failure, client, _trace(exchange))
        except asyncio.CancelledError:
            exchange.status = 499
            gone = CcrError("the client left before the answer was complete")
            gone.status = 499
            self._finished(runtime, exchange, gone)
            raise
        else:
            self._finished(runtime, exchange)
        finally:
            if overheard is not None:
                exchange.body("answer", overheard.kept(), overheard.size)
            self._leave(runtime)

    def _finished(self, runtime: Runtime, exchange: Exchange, error: CcrError | None = None) -> None:
        """Tell observers of the end."""
        if runtime.watch.wants(observe.Finished if error is None else observe.Failed):
            exchange.project = self._project(exchange, look=True)
        exchange.finished(error)

    def _project(self, exchange: Exchange, *, look: bool = False) -> str | None:
        session = exchange.request.hints.session
        return self.projects.project(session, look=look) if session else None

    def _learn_usage(self, runtime: Runtime, exchange: Exchange) -> None:
        """Remember what the provider reported, and how far the count was off; before the answer's end is sent, so
        that it is known when the client asks again.

        A session's requests go to several models and differ in size, so what a helper call or another model tells
        must not correct the count of the conversation.
        """
        session, usage = exchange.request.hints.session, exchange.outcome.usage
        if not session or not usage:
            return
        counted = exchange.choice.counted if exchange.choice is not None else None
        answered = exchange.route
        route = self._counted_for(runtime, exchange.request) if counted else None
        if counted and route is not None and answered is not None:
            same = (answered.provider, answered.model) == (route.provider, route.model)
            reported = sum(usage.get(field) or 0 for field in INPUT)
            _, size = self.memory.ratio(session, route)
            if same and reported > max(1000, size / 2):
                self.memory.used(session, usage, route, min(2.0, max(0.5, reported / counted)), reported)
                return
        self.memory.used(session, usage)

    async def _serve(self, runtime: Runtime, exchange: Exchange, ingress: Ingress, client: Client) -> None:
        await self.warm(runtime)
        choice = await self.route(runtime, exchange.request)
        if runtime.watch.wants(observe.Routed):
            exchange.project = self._project(exchange)
        exchange.routed(choice)
        routes = self._in_order(runtime, exchange, [choice.route, *fallbacks(runtime, choice)])
        del choice
        first_error: CcrError | None = None
        for place, route in enumerate(routes):
            last = place + 1 == len(routes)
            try:
                await self._on_route(runtime, exchange, route, ingress, client, last)
                return
            except CcrError as error:
                if exchange.status:
                    raise
                first_error = first_error or error
                if last or not _elsewhere(runtime, error):
                    raise first_error from None
                exchange.note("fallback", f"{route} failed ({error.status}: {error.message[:200]})")
                log.info("%s: %s failed with %s, next is %s", exchange.id, route, error.status, routes[place + 1])

    def _in_order(self, runtime: Runtime, exchange: Exchange, routes: list[Route]) -> list[Route]:
        """``routes`` with those last whose provider, or whose every key, cools down."""
        if len(routes) == 1:
            return routes
        cooling = {route: self._cooling(runtime.providers[route.provider], route.model) for route in routes}
        ordered = sorted(routes, key=lambda route: cooling[route] > 0)
        if ordered[0] is not routes[0]:
            exchange.note("cooling", f"{routes[0].provider} cools down for {cooling[routes[0]]:.0f} s")
        return ordered

    def _cooling(self, provider: Provider, model: str) -> float:
        keys = [self._key_cooling(provider, key, model) for key in provider.keys]
        return max(self.health.cooling(provider.name), min(keys, default=0.0))

    def _key_cooling(self, provider: Provider, key: Key, model: str) -> float:
        cooling = self.health.cooling((provider.name, key.id))
        if provider.accounts is not None:
            of_model = self.health.cooling((provider.name, f"{key.id} {model}"))
            cooling = max(cooling, of_model, provider.accounts.cooling(key.id, model))
        return cooling

    async def _on_route(
        self, runtime: Runtime, exchange: Exchange, route: Route, ingress: Ingress, client: Client, last: bool
    ) -> None:
        """Try ``route`` with its keys; on the ``last`` one also again after a wait."""
        provider = runtime.providers[route.provider]
        policy = runtime.config.retry
        tried: set[str] = set()
        again = policy.attempts if last else 0
        waited = 0.0
        while True:
            key = self._key(provider, route.model, exchange.request.hints.session, tried)
            try:
                await self._attempt(runtime, exchange, route, key, ingress, client)
            except AccountError as error:
                if key is None or exchange.status:
                    raise
                tried.add(key.id)
                if all(other.id in tried for other in provider.keys):
                    raise
                exchange.note("key", f"{provider.name} {key.id} cannot be used; the next is tried ({error.message})")
            except UpstreamError as error:
                who = key.id if key else ""
                if isinstance(error, Limited) and error.model_only:
                    who = f"{who} {route.model}"
                self.memory.failed(provider.name, who, error)
                if exchange.status:
                    raise
                if error.status in KEY_FAULTS and key is not None:
                    tried.add(key.id)
                    if any(other.id not in tried for other in provider.keys):
                        exchange.note("key", f"{provider.name} {key.id} failed with {error.status}; the next is tried")
                        continue
                wait = _wait(error, policy.attempts - again)
                if error.status not in TRANSIENT or not again or waited + wait > policy.max_seconds:
                    raise
                again -= 1
                waited += wait
                exchange.note("retry", f"{route} failed ({error.status}: {error.message[:200]})")
                await asyncio.sleep(wait)
            else:
                self.memory.worked(provider.name, key.id if key else "")
                if provider.accounts is not None and key is not None:
                    self.memory.worked(provider.name, f"{key.id} {route.model}")
                    provider.accounts.worked(key, route.model)
                return

    def _key(self, provider: Provider, model: str, session: str | None, tried: set[str]) -> Key | None:
        """The key to use: the session's own while it is usable, since prompt caches belong to keys; else the next.

        Keys take turns by weight, accounts are used in their order.  Those that cool down are used only when no other
        is left.
        """
        every = provider.keys
        keys = [key for key in every if key.id not in tried] or list(every)
        if len(keys) <= 1:
            return keys[0] if keys else None
        usable = [key for key in keys if not self._key_cooling(provider, key, model)]
        if not usable:
            return min(keys, key=lambda key: self._key_cooling(provider, key, model))
        own = self.memory.key(provider.name, session)
        chosen = next((key for key in usable if key.id == own), None)
        if chosen is None and provider.accounts is not None:
            chosen = usable[0]
            self.memory.chose(provider.name, chosen, session)
        elif chosen is None:
            chosen = min(usable, key=lambda key: self.memory.turn(provider.name, key))
            self.memory.chose(provider.name, chosen, session, usable)
        return chosen

    async def _attempt(
        self, runtime: Runtime, exchange: Exchange, route: Route, key: Key | None, ingress: Ingress, client: Client
    ) -> None:
        request, tools = self._offer(runtime, exchange, route)
        named = _named(runtime, exchange.request)
        attempt = Attempt(runtime, request, route, exchange.id, exchange.note, named)
        exchange.outcome, exchange.prices = attempt.outcome, attempt.ctx.target.prices
        again = request if tools else None
        del request
        reply = await self._begin(runtime, exchange, attempt, route, key)
        try:
            if again is not None:
                await self._rounds(runtime, exchange, attempt, reply, again, tools, key, ingress, client)
            elif exchange.request.stream:
                await self._stream(runtime, exchange, attempt, reply, ingress, client)
            else:
                await self._whole(runtime, exchange, attempt, reply, ingress, client)
        finally:
            reply.close()

    async def _begin(
        self, runtime: Runtime, exchange: Exchange, attempt: Attempt, route: Route, key: Key | None
    ) -> Reply:
        """Send an attempt and wait for the head of its answer, for as long as the configuration allows."""
        own = attempt.provider.config.first_byte_s
        seconds = own or runtime.config.limits.first_byte_s or runtime.config.api_timeout_ms / 1000
        exchange.limits = {}
        try:
            async with asyncio.timeout(seconds):
                reply = await self._send(exchange, attempt, route, key)
        except TimeoutError:
            exchange.answered(0, "no answer in time")
            raise UpstreamError(f"{route.provider} did not answer within {seconds:g} s", 504) from None
        except UpstreamError as error:
            exchange.answered(error.status, error.message)
            raise
        exchange.answered(reply.status)
        exchange.limits = limits_of(reply.headers)
        return reply

    async def _send(self, exchange: Exchange, attempt: Attempt, route: Route, key: Key | None) -> Reply:
        """Send the attempt; once more if the provider refuses a parameter that the request can do without.

        It is also sent again, once, without what the dialect says a refusal is about.  With an account it is sent
        again, once, after a token that was refused is renewed or what belongs to the account has changed, and once
        if the sign-in's code knows what to change.
        """
        provider = attempt.provider
        accounts = provider.accounts
        wire = attempt.wire()
        amended = renewed = found = False
        refusal: UpstreamError | None = None
        before = self.learned.refusal(provider.name, route.model, attempt.request.messages)
        without = attempt.mended(before, wire) if before is not None else None
        mended = without is not None
        if without is not None:
            wire = without
            exchange.note("mended", "sent without thinking that was refused before")
        if accounts is not None:
            key = await accounts.fresh(key)
        while True:
            if wire.body is not None:
                body = self.learned.apply(provider.name, route.model, wire.body, exchange.note)
                if body is not wire.body:
                    wire = attrs.evolve(wire, body=body)
            exchange.sent(route, wire)
            if accounts is None:
                signed = provider.auth.apply(wire, key.token if key else None)
            else:
                signed = accounts.signed(wire, key)
            try:
                reply = await self._open(exchange, provider, signed)
            except Unreachable as failure:
                other = None if amended or accounts is None else provider.auth.amend(wire, WireReply(status=0))
                if other is None:
                    raise
                exchange.answered(failure.status, failure.message)
                exchange.note("amended", f"sent elsewhere: {failure.message[:200]}")
                wire, amended = other, True
                continue
            if accounts is not None and key is not None:
                accounts.observe(key, reply.headers)
            if 200 <= reply.status < 300:
                if refusal is not None:
                    self.learned.refused(provider.name, route.model, refusal, attempt.request.messages)
                return reply
            try:
                refused = WireReply(status=reply.status, headers=reply.headers, body=await _read_all(reply, ERROR_BODY))
            finally:
                reply.close()
            error = attempt.refusal(refused)
            if accounts is not None and key is not None:
                if refused.status == 401:
                    if renewed:
                        accounts.set_aside(key.id, AccountError(error.message))
                        raise error
                    exchange.answered(401, error.message)
                    key, renewed = await accounts.renew(key), True
                    continue
                again = None if found else await accounts.found_again(key, wire, refused)
                if again is not None:
                    exchange.answered(error.status, error.message)
                    exchange.note("amended", f"sent again for what the account has now: {error.message[:200]}")
                    key, found = again, True
                    continue
                error = accounts.refused(key, refused, error, route.model)
                other = None if amended else provider.auth.amend(wire, refused)
                if other is not None:
                    exchange.answered(error.status, error.message)
                    exchange.note("amended", f"sent again with a change: {error.message[:200]}")
                    wire, amended = other, True
                    continue
            learns = isinstance(error, UpstreamError) and wire.body is not None
            if not (learns and self.memory.learn(provider.name, route.model, error, wire.body)):  # type: ignore[arg-type]
                other = None if mended else attempt.mended(error, wire)
                if other is None:
                    raise error
                exchange.note("mended", f"sent again without what was refused: {error.message[:200]}")
                wire, mended, refusal = other, True, error if isinstance(error, UpstreamError) else None
            exchange.answered(error.status, error.message)

    async def _open(self, exchange: Exchange, provider: Provider, wire: WireRequest) -> Reply:
        if provider.spec is not None and provider.spec.embedded is not None:
            return EmbeddedReply(*await provider.spec.embedded(wire))
        return await _post(exchange, wire)

    async def _stream(
        self,
        runtime: Runtime,
        exchange: Exchange,
        attempt: Attempt,
        reply: Reply,
        ingress: Ingress,
        client: Client,
    ) -> None:
        streamed = attempt.is_stream(reply.headers)
        way = attempt.way(ingress, exchange.request, streamed)
        limits = runtime.config.limits
        push = way.pipe.push
        out: list[bytes] = []
        sink: Callable[[bytes], bool] | None = None
        ended: Callable[[], bool] | None = getattr(reply, "ended", None)

        async def ping() -> None:
            await self._ping(exchange, way.encoder, way.sequencer, ingress, client)

        try:
            if not streamed:
                out = attempt.push_body(await _read_whole(runtime, attempt, reply), way.pipe)
            with Patience(limits.ping_s) as patience:
                while streamed and (data := await self._next(limits, patience, attempt, reply, ping, sink)):
                    push(data, out)
                    # What came last waits for the end of the row: one write less for each answer.
                    if out and not (ended is not None and ended()):
                        written = b"".join(out)
                        out.clear()
                        await _write(exchange, client, ingress, written)
                        # From now on nothing has to be waited for, as long as the client takes it, and nothing is
                        # sent again.
                        sink = client.sink(push, out)
                        exchange.shed()
                        attempt.shed()
            way.pipe.end(out)
            self._learn_usage(runtime, exchange)
            await _write(exchange, client, ingress, b"".join(out), last=True)
        except CcrError as error:
            await self._broken(exchange, error, way.encoder, out, ingress, client)
            raise

    async def _next(
        self,
        limits: Limits,
        patience: Patience,
        attempt: Attempt,
        reply: Reply,
        ping: Callable[[], Awaitable[None]],
        sink: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """What has arrived; ``ping`` is called while the provider is silent, until it has been so for too long.

        With a ``sink`` that gets what arrives as long as it takes it, if the reply can do so; the rest is given here.
        """
        quiet = 0.0
        pour = getattr(reply, "pour", None) if sink is not None else None
        while True:
            try:
                if pour is not None:
                    patience.begin(reply.heard)  # type: ignore[attr-defined]
                    await pour(sink)
                patience.begin()
                data = await reply.read()
            except asyncio.CancelledError:
                if not patience.lost():
                    raise
                quiet += limits.ping_s
                if quiet >= limits.idle_s:
                    raise UpstreamError(f"{attempt.provider.name} was silent for {quiet:g} s", 504) from None
                pour = None
                await ping()
            else:
                patience.end()
                return data

    async def _ping(
        self,
        exchange: Exchange,
        encoder: Push[Event, bytes],
        sequencer: Sequencer | None,
        ingress: Ingress,
        client: Client,
    ) -> None:
        """Tell the client that a provider which has greeted lives, to keep it from giving up."""
        events: list[Event] = [*(sequencer.release() if sequencer else ()), Ping()]
        if exchange.status or len(events) > 1:
            data = b"".join(piece for event in events for piece in encoder.feed(event))
            await _write(exchange, client, ingress, data)

    async def _broken(
        self,
        exchange: Exchange,
        error: CcrError,
        encoder: Push[Event, bytes],
        out: list[bytes],
        ingress: Ingress,
        client: Client,
    ) -> None:
        """After a failure: what was finished before it still goes out, then the failure, and no lawful end."""
        exchange.outcome.error = error.message
        if exchange.status or out:
            out += encoder.feed(StreamError(error.kind, error.message))
            await _write(exchange, client, ingress, b"".join(out), last=True)

    async def _whole(
        self,
        runtime: Runtime,
        exchange: Exchange,
        attempt: Attempt,
        reply: Reply,
        ingress: Ingress,
        client: Client,
    ) -> None:
        data = await _read_whole(runtime, attempt, reply)
        named = _named(runtime, exchange.request)
        if attempt.is_stream(reply.headers) or named or not attempt.passes_whole(ingress, data):
            message = assemble(self._events(attempt, data, attempt.is_stream(reply.headers)))
            message["model"] = named or message["model"]
            data = guarded(ingress, "encode_message", lambda: ingress.encode_message(message, exchange.request))
        self._learn_usage(runtime, exchange)
        await _answer(exchange, client, data)

    # Tools that the router runs.

    def _offer(self, runtime: Runtime, exchange: Exchange, route: Route) -> tuple[Request, list[ServerTool[Any]]]:
        """The request with the tools that have a part in it, and these."""
        request, taking_part = exchange.request, []
        ctx = self._tool_context(runtime, exchange, route)
        for item in runtime.server_tools:
            try:
                tool = item.spec.factory(item.options, ctx)
                changed = tool.on_request(request)
            except CcrError:
                raise
            except Exception as error:
                raise PluginError(item.plugin, item.spec.name, "on_request", error) from error
            if changed is not None:
                request = changed
                taking_part.append(tool)
        return request, taking_part

    def _tool_context(self, runtime: Runtime, exchange: Exchange, route: Route) -> ToolContext:
        router = self._view(runtime, exchange.request).router

        async def ask(request: Request, text: str) -> JSON:
            other = runtime.find(text)
            if other is None:
                raise RoutingError(f'no provider for "{text}"')
            scenario = next((name for name, value in router.items() if value == text), "default")
            return await self._asked(runtime, exchange, request, [other, *_listed(runtime, scenario, other)])

        async def fetch(wire: WireRequest) -> WireReply:
            reply = await _post(exchange, wire)
            try:
                return WireReply(status=reply.status, headers=reply.headers, body=await _read_all(reply, FETCHED))
            finally:
                reply.close()

        return ToolContext(
            target=runtime.providers[route.provider].target(route),
            router=router,
            config=runtime.public,
            ask=ask,
            fetch=fetch,
            note=exchange.note,
        )

    async def _asked(self, runtime: Runtime, exchange: Exchange, request: Request, routes: list[Route]) -> JSON:
        """The whole answer of the first of ``routes`` that gives one; see :meth:`_in_order` for who is asked first."""
        first_error: CcrError | None = None
        for place, route in enumerate(ordered := self._in_order(runtime, exchange, routes)):
            try:
                return await self._answer_of(runtime, exchange, request, route)
            except CcrError as error:
                first_error = first_error or error
                if place + 1 == len(ordered) or not _elsewhere(runtime, error):
                    break
                exchange.note("fallback", f"{route} failed ({error.status}: {error.message[:200]})")
        assert first_error is not None
        raise first_error

    async def _answer_of(self, runtime: Runtime, exchange: Exchange, request: Request, route: Route) -> JSON:
        """A route's whole answer; its keys are tried one after the other where one is limited or refused."""
        provider = runtime.providers[route.provider]
        tried: set[str] = set()
        while True:
            key = self._key(provider, route.model, request.hints.session, tried)
            who = key.id if key is not None else ""
            attempt = Attempt(runtime, request, route, exchange.id, exchange.note)
            try:
                reply = await self._begin(runtime, exchange, attempt, route, key)
                try:
                    data = await _read_whole(runtime, attempt, reply)
                    message = assemble(self._events(attempt, data, attempt.is_stream(reply.headers)))
                finally:
                    reply.close()
            except UpstreamError as error:
                self.health.failed(provider.name, who, error)
                tried.add(who)
                if error.status in KEY_FAULTS and any(other.id not in tried for other in provider.keys):
                    exchange.note("key", f"{provider.name} {who} failed with {error.status}; the next is tried")
                    continue
                raise
            self.health.worked(provider.name, who)
            return message

    def _events(self, attempt: Attempt, data: bytes, streamed: bool) -> list[Event]:
        """The lawful events of an answer of which nothing was passed on while it came."""
        pipe = attempt.row(streamed)
        events: list[Event] = []
        if streamed:
            pipe.push(data, events)
        else:
            events = attempt.push_body(data, pipe)
        pipe.end(events)
        return events

    async def _rounds(
        self,
        runtime: Runtime,
        exchange: Exchange,
        attempt: Attempt,
        reply: Reply,
        request: Request,
        tools: list[ServerTool[Any]],
        key: Key | None,
        ingress: Ingress,
        client: Client,
    ) -> None:
        """Answer in rounds: run the calls that are the router's, go on with their results, join all into one answer."""
        streaming = exchange.request.stream
        route = exchange.route
        assert route is not None
        limits = runtime.config.limits
        outcome = exchange.outcome = Outcome()
        sequencer = Sequencer(outcome, _named(runtime, exchange.request))
        encoder: Push[Event, bytes] = guarded(ingress, "encoder", lambda: ingress.encoder(exchange.request))
        last_stage = [Stage.of(encoder, ingress.name)] if streaming else []
        back = Pipe([Stage.of(sequencer, "sequencer"), *last_stage])
        mine = {name: tool for tool in tools for name in tool.names()}
        out: list[Any] = []

        async def give(events: Iterable[Event]) -> None:
            for event in events:
                back.push(event, out)
            if streaming and out:
                data = b"".join(out)
                out.clear()
                await _write(exchange, client, ingress, data)

        async def ping() -> None:
            if streaming:
                await self._ping(exchange, encoder, sequencer, ingress, client)

        try:
            outputs = 0
            served: Counted[str] = Counted()
            for number in itertools.count():
                this = Round(number, frozenset(mine), outputs, served)
                streamed = attempt.is_stream(reply.headers)
                pipe = attempt.row(streamed)
                events: list[Event] = []
                if not streamed:
                    events = attempt.push_body(await _read_whole(runtime, attempt, reply), pipe)
                with Patience(limits.ping_s) as patience:
                    while streamed and (data := await self._next(limits, patience, attempt, reply, ping)):
                        try:
                            pipe.push(data, events)
                        finally:
                            await give(passed for event in events for passed in this.feed(event))
                            events.clear()
                pipe.end(events)
                await give(passed for event in events for passed in this.feed(event))
                if not this.calls:
                    await give(this.ending())
                    break
                results = await self._run(this.calls, mine, exchange, limits, ping)
                for result in results:
                    served.update(result.served)
                if this.others or number + 1 >= limits.tool_rounds:
                    if not this.others:
                        exchange.note("rounds", f"ended after {number + 1} rounds of the router's tools")
                    await give(this.ending(_shown(this.calls, results)))
                    break
                await give(this.showing(block for result in results for block in result.shown))
                request, outputs = this.follow_up(request, results), this.usage().get("output_tokens", 0)
                reply.close()
                attempt = Attempt(runtime, request, route, exchange.id, exchange.note)
                reply = await self._begin(runtime, exchange, attempt, route, key)
            back.end(out)
            self._learn_usage(runtime, exchange)
            if streaming:
                await _write(exchange, client, ingress, b"".join(out), last=True)
            else:
                message = assemble(out)
                data = guarded(ingress, "encode_message", lambda: ingress.encode_message(message, exchange.request))
                await _answer(exchange, client, data)
        except CcrError as error:
            if streaming:
                await self._broken(exchange, error, encoder, out, ingress, client)
            raise
        finally:
            reply.close()

    async def _run(
        self,
        calls: Sequence[ToolCall],
        mine: Mapping[str, ServerTool[Any]],
        exchange: Exchange,
        limits: Limits,
        ping: Callable[[], Awaitable[None]],
    ) -> list[ToolResult]:
        """Run the calls side by side, keeping the client informed that something happens."""

        async def run(call: ToolCall) -> ToolResult:
            try:
                result = await mine[call.name].run(call)
            except Exception as error:
                words = error.message if isinstance(error, CcrError) else f"{type(error).__name__}: {error}"
                log.warning("%s: the tool %s failed: %s", exchange.id, call.name, words)
                exchange.note("tool", f"{call.name} failed: {words[:200]}")
                return ToolResult(content=f"{call.name} failed: {words}", is_error=True)
            exchange.note("tool", f"{call.name} ran")
            return result

        tasks = [asyncio.create_task(run(call)) for call in calls]
        try:
            while (await asyncio.wait(tasks, timeout=limits.ping_s))[1]:
                await ping()
        finally:
            for task in tasks:
                task.cancel()
        return [task.result() for task in tasks]


def _shown(calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> Iterator[JSON]:
    """What the client sees of results that the model will not: they stay in the conversation as blocks of this turn."""
    for call, result in zip(calls, results, strict=True):
        if result.shown:
            yield from result.shown
        else:
            yield {"type": "text", "text": f"[{call.name}] {text_of(result.content)}"}


async def _answer(exchange: Exchange, client: Client, data: bytes) -> None:
    """A whole answer for the client."""
    exchange.streamed()
    exchange.status = 200
    await client.begin(200, {"content-type": "application/json", **_trace(exchange)})
    await client.write(data, last=True)


def _named(runtime: Runtime, request: Request) -> str | None:
    """What the answer calls its model, where that is not what the provider calls it."""
    wanted = runtime.config.answer_model
    return request.model or None if wanted == "requested" or (wanted == "auto" and compares_names(request)) else None


def fallbacks(runtime: Runtime, choice: Choice) -> list[Route]:
    """The routes to try when the chosen one fails: those of the scenario, else those of ``default``."""
    return _listed(runtime, choice.scenario, choice.route)


def _listed(runtime: Runtime, scenario: str, but: Route) -> list[Route]:
    lists = runtime.config.fallback
    named = lists[scenario] if scenario in lists else lists.get("default", ())
    routes = [route for text in named if (route := runtime.find(text)) is not None and route != but]
    return list(dict.fromkeys(routes))


def _elsewhere(runtime: Runtime, error: CcrError) -> bool:
    """Whether another provider may do better: not where the request itself is wrong, or code of a plugin failed."""
    if isinstance(error, (UpstreamError, AuthError)):
        return error.status in TRANSIENT | KEY_FAULTS or error.status in runtime.config.retry.also
    return False


def _wait(error: UpstreamError, times: int) -> float:
    """Seconds before the next try: what the provider says, else half a second doubled each time, jittered."""
    given = retry_after(error.headers)
    return given if given is not None else 0.5 * 2**times * random.uniform(0.5, 1.0)


async def _post(exchange: Exchange, wire: WireRequest) -> Reply:
    if exchange.sender is None:
        raise UpstreamError("this engine sends nothing")
    return await exchange.sender.send(wire, orjson.dumps(wire.body) if wire.body is not None else b"")


async def _read_whole(runtime: Runtime, attempt: Attempt, reply: Reply) -> bytes:
    """All of an answer of which nothing can be passed on before its end; for as long as the configuration allows."""
    try:
        async with asyncio.timeout(runtime.config.api_timeout_ms / 1000):
            return await _read_all(reply)
    except TimeoutError:
        raise UpstreamError(f"{attempt.provider.name} did not finish its answer in time", 504) from None


async def _read_all(reply: Reply, limit: int | None = None) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data := await reply.read():
        parts.append(data)
        size += len(data)
        if limit is not None and size > limit:
            break
    return b"".join(parts)


async def _write(exchange: Exchange, client: Client, ingress: Ingress, data: bytes, last: bool = False) -> None:
    if not exchange.status:
        if not data:
            raise ProtocolError("the provider's answer is empty")
        exchange.status = 200
        exchange.streamed()
        await client.begin(
            200,
            {
                "content-type": ingress.stream_type,
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                **_trace(exchange),
            },
        )
    if data or last:
        await client.write(data, last)


def _trace(exchange: Exchange) -> dict[str, str]:
    """The headers that tell a person what happened."""
    headers = {**exchange.limits, "request-id": exchange.id}
    if exchange.choice is not None:
        route = exchange.route or exchange.choice.route
        text = f"{route}; rule={exchange.choice.rule}; scenario={exchange.choice.scenario}"
        if exchange.attempts > 1:
            text += f"; attempts={exchange.attempts}"
        if not (text.isascii() and text.isprintable()):
            text = "".join(char if " " <= char <= "~" else "?" for char in text)
        headers["x-ccr-route"] = text
    return headers


async def _refuse(ingress: Ingress, error: CcrError, client: Client, trace: Mapping[str, str]) -> None:
    reply = ingress.encode_error(error)
    with contextlib.suppress(ConnectionError):
        await client.begin(reply.status, {**trace, **reply.headers})
        await client.write(reply.body, last=True)
