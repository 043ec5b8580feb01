"""One exchange from end to end: route, build, send, stream back, fall back.

The answer's whole way back, from the provider's bytes to the client's bytes, is one synchronous
:class:`~ccr_core.push.Pipe`; the loop here reads what has arrived, pushes it through, and sends what came out, so
that all events of one network read are converted in one go and written in one piece.

Nothing reaches the client before the first valid event of the provider, so that an error, an empty answer or a page
of HTML can still become a proper status, or be answered by another provider.  After that a failure is an ``error``
event.  When the client leaves, the connection to the provider is closed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import attrs
import orjson

from ccr_core.dialect import Context, Dialect, Ingress, Outcome, WireReply, WireRequest, error_text
from ccr_core.errors import CcrError, PluginError, ProtocolError, RequestError, RoutingError, UpstreamError
from ccr_core.events import Event, Ping, StreamError, assemble
from ccr_core.exchange import Exchange
from ccr_core.messages import JSON, Headers, Request
from ccr_core.push import Pipe, Push, Stage
from ccr_core.routing import Choice, Route, RouteContext, choose
from ccr_core.runtime import Plan, Provider, Runtime
from ccr_core.sequence import Sequencer
from ccr_core.tokens import count_request
from ccr_core.transform import Chain
from ccr_core.upstream import EmbeddedReply, Reply, Sender

log = logging.getLogger("ccr.engine")

T = TypeVar("T")

SESSIONS = 1000
"""Sessions whose last usage is remembered."""

ERROR_BODY = 1024 * 1024
"""Bytes of a refusal that are read."""

RETRIED = frozenset({401, 403, 408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which another provider may do better; the others are about the request itself."""


class Client(Protocol):
    """Whoever sent the request."""

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of the answer."""
        ...

    async def write(self, data: bytes, last: bool = False) -> None:
        """Send more of the body; waits while the client cannot take it."""
        ...


@attrs.frozen
class _Answer:
    """A reply that promises to be an answer, and how it will be read."""

    reply: Reply
    plan: Plan
    request: Request
    ctx: Context
    chain: Chain
    streamed: bool


class Engine:
    """Serves exchanges with one runtime at a time; what lives longer than a runtime is kept here."""

    def __init__(self, runtime: Runtime, sender: Sender) -> None:
        self.runtime = runtime
        self.sender = sender
        self._usage: OrderedDict[str, JSON] = OrderedDict()

    # Routing.

    async def route(self, runtime: Runtime, request: Request) -> Choice:
        """Choose where ``request`` goes, and say why."""
        config = runtime.config
        router = {**config.router.options, **({"default": config.router.default} if config.router.default else {})}
        tokens: int | None = None

        def context(options: Any, now: Request) -> RouteContext:
            return RouteContext(
                options=options,
                router=router,
                config=runtime.public,
                hints=now.hints,
                requested_model=now.model,
                find=runtime.find,
                tokens=tokens,
                last_usage=self._usage.get(now.hints.session or ""),
                window=lambda route: _window(runtime, route),
            )

        if any(_needs_tokens(rule) for rule in runtime.rules):
            tokens = self.count(runtime, request)
        return await choose(runtime.rules, request, context)

    def count(self, runtime: Runtime, request: Request) -> int:
        """The tokens of ``request``, counted for the model it names, else for the default route's."""
        route = runtime.find(request.model) or (
            runtime.find(runtime.config.router.default) if runtime.config.router.default else None
        )
        memo = runtime.counter(route.model if route else request.model)
        try:
            return count_request(request.body, memo.count)
        except RecursionError:
            raise RequestError("the request is nested too deeply") from None

    # One exchange.

    async def serve(self, ingress: Ingress, path: str, body: bytes, headers: Headers, client: Client) -> None:
        """Answer one request to ``client``; raises nothing but cancellation, which means that the client left."""
        runtime = self.runtime
        try:
            request = _guard(ingress, "decode", lambda: ingress.decode(body, headers))
        except CcrError as error:
            await _refuse(ingress, error, client, {})
            return
        exchange = Exchange(request, runtime.watch, path)
        exchange.arrived(len(body))
        try:
            await self._serve(runtime, exchange, ingress, client)
        except CcrError as error:
            exchange.finished(error)
            if exchange.status == 0:
                exchange.status = error.status
                await _refuse(ingress, error, client, _trace(exchange))
        except Exception as error:
            # Code of a plugin that nothing above has named, or our own mistake: the client gets an answer all the same.
            log.exception("%s failed", exchange.id)
            failure = CcrError(f"the router failed: {type(error).__name__}: {error}")
            exchange.finished(failure)
            if exchange.status:
                raise  # the server ends the connection: what has been sent must not look complete
            exchange.status = failure.status
            await _refuse(ingress, failure, client, _trace(exchange))
        except asyncio.CancelledError:
            exchange.status = 499
            gone = CcrError("the client left before the answer was complete")
            gone.status = 499
            exchange.finished(gone)
            raise
        else:
            if request.hints.session and exchange.outcome.usage:
                self._usage[request.hints.session] = exchange.outcome.usage
                self._usage.move_to_end(request.hints.session)
                if len(self._usage) > SESSIONS:
                    self._usage.popitem(last=False)
            exchange.finished()

    async def _serve(self, runtime: Runtime, exchange: Exchange, ingress: Ingress, client: Client) -> None:
        choice = await self.route(runtime, exchange.request)
        exchange.routed(choice)
        exchange.request = choice.request
        routes = [choice.route, *_fallbacks(runtime, choice)]
        first_error: CcrError | None = None
        for place, route in enumerate(routes):
            try:
                await self._attempt(runtime, exchange, route, ingress, client)
                return
            except CcrError as error:
                first_error = first_error or error
                more = place + 1 < len(routes)
                if exchange.status or not more or error.status not in RETRIED or isinstance(error, PluginError):
                    raise first_error if not exchange.status else error from None
                exchange.note("fallback", f"{route} failed ({error.status}: {error.message[:200]})")
                log.info(
                    "%s: %s failed with %s, falling back to %s", exchange.id, route, error.status, routes[place + 1]
                )

    async def _attempt(
        self, runtime: Runtime, exchange: Exchange, route: Route, ingress: Ingress, client: Client
    ) -> None:
        exchange.outcome = Outcome()
        limits = runtime.config.limits
        seconds = limits.first_byte_s or runtime.config.api_timeout_ms / 1000
        try:
            async with asyncio.timeout(seconds):
                answer = await self._send(runtime, exchange, route)
        except TimeoutError:
            exchange.answered(0, "no answer in time")
            raise UpstreamError(f"{route.provider} did not answer within {seconds:g} s", 504) from None
        except UpstreamError as error:
            exchange.answered(error.status, error.message)
            raise
        exchange.answered(answer.reply.status)
        try:
            if exchange.request.stream:
                await self._stream(runtime, exchange, answer, ingress, client)
            else:
                await self._whole(runtime, exchange, answer, ingress, client)
        finally:
            answer.reply.close()

    async def _send(self, runtime: Runtime, exchange: Exchange, route: Route) -> _Answer:
        provider = runtime.providers.get(route.provider)
        if provider is None:
            raise RoutingError(f'no provider "{route.provider}"')
        plan = provider.plan_for(route.model)
        ctx = Context(exchange_id=exchange.id, target=provider.target(route), note=exchange.note)
        chain = Chain(plan.steps, ctx)
        request = chain.on_request(exchange.request)
        if not request.stream and chain.wire_stages():
            # Steps that read the provider's own chunks have one branch only: they always see a stream.
            request = request.with_(stream=True)
        wire = _encode(plan, provider, request, ctx, chain)
        body = orjson.dumps(wire.body) if wire.body is not None else b""
        exchange.sent(route, wire.url)
        reply: Reply
        if provider.spec is not None and provider.spec.embedded is not None:
            reply = EmbeddedReply(*await provider.spec.embedded(wire))
        else:
            reply = await self.sender.send(wire, body)
        try:
            if not 200 <= reply.status < 300:
                whole = WireReply(status=reply.status, headers=reply.headers, body=await _read_all(reply, ERROR_BODY))
                raise _refusal(plan, whole)
            return _Answer(reply, plan, request, ctx, chain, _is_stream(reply.headers, request.stream))
        except BaseException:
            reply.close()
            raise

    async def _stream(
        self, runtime: Runtime, exchange: Exchange, answer: _Answer, ingress: Ingress, client: Client
    ) -> None:
        pipe, sequencer, encoder = _pipe(exchange, answer, ingress)
        ping_seconds, idle_seconds = runtime.config.limits.ping_s, runtime.config.limits.idle_s
        reply = answer.reply
        out: list[bytes] = []
        quiet = 0.0
        try:
            if not answer.streamed:
                out = _events_of_body(await _read_all(reply), answer, pipe)
                pipe.end(out)
                await _write(exchange, client, ingress, b"".join(out), last=True)
                return
            while True:
                try:
                    async with asyncio.timeout(ping_seconds):
                        data = await reply.read()
                except TimeoutError:
                    quiet += ping_seconds
                    if quiet >= idle_seconds:
                        raise UpstreamError(f"{answer.ctx.target.provider} was silent for {quiet:g} s", 504) from None
                    # A provider that has greeted is alive: the client is told so, and kept from giving up.
                    events = [*(sequencer.release() if sequencer else ()), Ping()]
                    if exchange.status or len(events) > 1:
                        await _write(
                            exchange,
                            client,
                            ingress,
                            b"".join(piece for event in events for piece in encoder.feed(event)),
                        )
                    continue
                quiet = 0.0
                if not data:
                    break
                pipe.push(data, out)
                if out:
                    written = b"".join(out)
                    out.clear()
                    await _write(exchange, client, ingress, written)
            pipe.end(out)
            await _write(exchange, client, ingress, b"".join(out), last=True)
        except CcrError as error:
            if not exchange.status and not out:
                raise
            # What was finished before the failure still goes out, then the failure, and no lawful end.
            exchange.outcome.error = error.message
            out += encoder.feed(StreamError(error.kind, error.message))
            await _write(exchange, client, ingress, b"".join(out), last=True)
            raise

    async def _whole(
        self, runtime: Runtime, exchange: Exchange, answer: _Answer, ingress: Ingress, client: Client
    ) -> None:
        try:
            async with asyncio.timeout(runtime.config.api_timeout_ms / 1000):
                data = await _read_all(answer.reply)
        except TimeoutError:
            raise UpstreamError(f"{answer.ctx.target.provider} did not finish its answer in time", 504) from None
        stages = answer.chain.stages()
        if not answer.streamed and _relays(ingress, answer, stages):
            body = _json_answer(data, answer)
            if not isinstance(body.get("content"), list):
                raise ProtocolError(f"the provider's answer is not a message: {data[:200]!r}")
            exchange.outcome.id, exchange.outcome.model = str(body.get("id") or ""), str(body.get("model") or "")
            exchange.outcome.usage = body.get("usage") or {}
            exchange.outcome.stop_reason = body.get("stop_reason")
            exchange.outcome.complete = True
        else:
            sequencer = Stage.of(Sequencer(exchange.outcome), "sequencer")
            events: list[Event] = []
            if answer.streamed:
                decoding = _decoding(answer)
                pipe = Pipe([*decoding, *stages, sequencer])
                pipe.push(data, events)
            else:
                pipe = Pipe([*stages, sequencer])
                events = _events_of_body(data, answer, pipe)
            pipe.end(events)
            message = assemble(events)
            data = _guard(ingress, "encode_message", lambda: ingress.encode_message(message, exchange.request))
        exchange.streamed()
        exchange.status = 200
        await client.begin(200, {"content-type": "application/json", **_trace(exchange)})
        await client.write(data, last=True)

    # Explanation.

    async def explain(self, ingress: Ingress, body: bytes, headers: Headers) -> JSON:
        """What would happen to a request, without sending anything; see :func:`explain`."""
        runtime = self.runtime
        request = ingress.decode(body, headers)
        notes: list[JSON] = []
        result: JSON = {"requested": request.model}
        try:
            choice = await self.route(runtime, request)
        except RoutingError as error:
            return {**result, "rules": [answer.to_json() for answer in error.answers], "error": error.message}
        route = choice.route
        result |= {
            "route": {"provider": route.provider, "model": route.model, "level": route.level},
            "scenario": choice.scenario,
            "rule": choice.rule,
            "why": choice.why,
            "tokens": choice.tokens,
            "rules": [answer.to_json() for answer in choice.answers],
            "fallbacks": [str(route) for route in _fallbacks(runtime, choice)],
        }
        provider = runtime.providers[route.provider]
        plan = provider.plan_for(route.model)
        ctx = Context(
            exchange_id="explain",
            target=provider.target(route),
            note=lambda key, value: notes.append({"key": key, "value": value}),
        )
        steps: list[JSON] = []
        now = choice.request
        made = [(step, Chain([step], ctx)) for step in plan.steps]
        for step, chain in made:
            changed = chain.on_request(now)
            steps.append(_step(step, "request", now.body, changed.body))
            now = changed
        wire = _encode_only(plan, provider, now, ctx)
        for step, chain in made:
            changed_wire = chain.on_wire_request(wire)
            if changed_wire is not wire:
                before = {"url": wire.url, "headers": dict(wire.headers), "body": wire.body}
                after = {"url": changed_wire.url, "headers": dict(changed_wire.headers), "body": changed_wire.body}
                steps.append(_step(step, "wire request", before, after))
            wire = changed_wire
        returning = [step.spec.name for step, chain in reversed(made) if chain.stages() or chain.wire_stages()]
        return result | {
            "dialect": plan.dialect.name,
            "steps": steps,
            "returning": returning,
            "url": wire.url,
            "headers": dict(wire.headers),
            "body": wire.body,
            "notes": notes,
        }


def _needs_tokens(rule: Any) -> bool:
    needs = rule.spec.needs
    try:
        return "tokens" in (needs(rule.options) if callable(needs) else needs)
    except Exception:
        log.warning("rule %s (plugin %s) failed in needs", rule.spec.name, rule.plugin, exc_info=True)
        return False


def _window(runtime: Runtime, route: Route) -> int | None:
    provider = runtime.providers.get(route.provider)
    info = provider.config.model_info.get(route.model) if provider else None
    return info.context if info else None


def _fallbacks(runtime: Runtime, choice: Choice) -> list[Route]:
    """The routes to try when the chosen one fails: those of the scenario, else those of ``default``."""
    lists = runtime.config.fallback
    routes = [runtime.find(text) for text in lists.get(choice.scenario) or lists.get("default") or ()]
    return [route for route in routes if route is not None and route != choice.route]


def _encode(plan: Plan, provider: Provider, request: Request, ctx: Context, chain: Chain) -> WireRequest:
    wire = chain.on_wire_request(_encode_only(plan, provider, request, ctx))
    signed: WireRequest = provider.auth.apply(wire, provider.token)
    return signed


def _encode_only(plan: Plan, provider: Provider, request: Request, ctx: Context) -> WireRequest:
    dialect = plan.dialect
    wire: WireRequest = _guard(dialect, "encode", lambda: _a(WireRequest, dialect.encode(request, ctx)), plan.plugin)
    preset = provider.spec.headers if provider.spec else {}
    headers = {"content-type": "application/json", **preset, **wire.headers, **provider.config.headers}
    return attrs.evolve(wire, headers={name.lower(): value for name, value in headers.items()})


def _guard(part: Dialect | Ingress, method: str, call: Any, plugin: str = "") -> Any:
    """Call code of a plugin; whatever it raises that is not ours becomes a ``PluginError`` with its name."""
    try:
        return call()
    except CcrError:
        raise
    except Exception as error:
        raise PluginError(plugin or type(part).__module__.partition(".")[0], part.name, method, error) from error


def _a(kind: type[T], value: T) -> T:
    """``value`` if it is what a plugin promised, else ``TypeError``."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value


def _refusal(plan: Plan, reply: WireReply) -> CcrError:
    if 300 <= reply.status < 400:
        to = reply.headers.get("location", "")
        return UpstreamError(f"the provider redirects to {to!r}; put the final address into api_base_url")
    error: UpstreamError = _guard(plan.dialect, "decode_error", lambda: plan.dialect.decode_error(reply), plan.plugin)
    return error


def _is_stream(headers: Mapping[str, str], asked: bool) -> bool:
    kind = headers.get("content-type", "").lower()
    if "stream" in kind:
        return True
    return False if "json" in kind or "html" in kind else asked


def _relays(ingress: Ingress, answer: _Answer, stages: Sequence[Stage]) -> bool:
    """Whether the provider's bytes may go to the client as they are."""
    return not stages and not answer.chain.wire_stages() and ingress.name == answer.plan.dialect.name


def _decoding(answer: _Answer) -> list[Stage]:
    dialect, plugin = answer.plan.dialect, answer.plan.plugin
    framing = _guard(dialect, "framing", lambda: Stage.of(dialect.framing(), "framing", plugin), plugin)
    decoder = _guard(
        dialect,
        "decoder",
        lambda: Stage.of(dialect.decoder(answer.request, answer.ctx), dialect.name, plugin),
        plugin,
    )
    return [framing, *answer.chain.wire_stages(), decoder]


def _pipe(exchange: Exchange, answer: _Answer, ingress: Ingress) -> tuple[Pipe, Sequencer | None, Push[Event, bytes]]:
    """The way back for a client that streams: a relay if the bytes may pass as they are, else the full row.

    Either gives whole events only, so the encoder that comes with it may add one of its own between any two writes.
    """
    encoder: Push[Event, bytes] = _guard(ingress, "encoder", lambda: ingress.encoder(exchange.request))
    dialect, stages = answer.plan.dialect, answer.chain.stages()
    if answer.streamed and _relays(ingress, answer, stages):
        relay = _guard(
            dialect, "relay", lambda: dialect.relay(answer.request, answer.ctx, exchange.outcome), answer.plan.plugin
        )
        if relay is not None:
            return Pipe([Stage.of(relay, f"{dialect.name} relay", answer.plan.plugin)]), None, encoder
    sequencer = Sequencer(exchange.outcome)
    row = [
        *(_decoding(answer) if answer.streamed else ()),
        *stages,
        Stage.of(sequencer, "sequencer"),
        Stage.of(encoder, ingress.name),
    ]
    return Pipe(row), sequencer, encoder


def _json_answer(data: bytes, answer: _Answer) -> JSON:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        what = error_text(WireReply(status=200, body=data[:2000])) if data.strip() else "nothing"
        raise ProtocolError(f"{answer.ctx.target.provider} answered with {what[:200]!r} instead of a JSON object")
    return body


def _events_of_body(data: bytes, answer: _Answer, pipe: Pipe) -> list[Any]:
    """A whole answer's events, pushed through ``pipe``."""
    dialect = answer.plan.dialect
    body = _json_answer(data, answer)
    out: list[Any] = []
    events = _guard(
        dialect,
        "decode_body",
        lambda: list(dialect.decode_body(body, answer.request, answer.ctx)),
        answer.plan.plugin,
    )
    for event in events:
        pipe.push(event, out)
    return out


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
    headers = {"request-id": exchange.id}
    if exchange.choice is not None:
        route = exchange.route or exchange.choice.route
        text = f"{route}; rule={exchange.choice.rule}; scenario={exchange.choice.scenario}"
        if exchange.attempts > 1:
            text += f"; attempts={exchange.attempts}"
        headers["x-ccr-route"] = "".join(char if " " <= char <= "~" else "?" for char in text)
    return headers


async def _refuse(ingress: Ingress, error: CcrError, client: Client, trace: Mapping[str, str]) -> None:
    reply = ingress.encode_error(error)
    with contextlib.suppress(ConnectionError):
        await client.begin(reply.status, {**trace, **reply.headers})
        await client.write(reply.body, last=True)


def _step(step: Any, stage: str, before: Any, after: Any) -> JSON:
    return {
        "name": step.spec.name,
        "plugin": step.plugin,
        "where": step.where,
        "stage": stage,
        "changed": difference(before, after),
    }


def difference(before: Any, after: Any, path: str = "") -> list[JSON]:
    """What changed between two JSON values: ``{"path", "before", "after"}`` for each place, long values cut."""
    if before is after or before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            change
            for key in {**before, **after}
            for change in difference(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            change
            for place, (old, new) in enumerate(zip(before, after, strict=True))
            for change in difference(old, new, f"{path}[{place}]")
        ]
    return [{"path": path, "before": _short(before), "after": _short(after)}]


def _short(value: Any) -> Any:
    text = orjson.dumps(value, default=str).decode()
    return value if len(text) <= 300 else text[:300] + "…"


async def explain(runtime: Runtime, body: JSON, headers: Headers) -> JSON:
    """What would happen to a Messages API request ``body``: every rule's answer, the chain, what each step changed.

    Sends nothing.  The result has ``route``, ``rules``, ``steps``, ``dialect``, ``url``, ``headers``, ``body`` (as it
    would be sent, unsigned) and ``notes``; or ``error`` when no rule chooses a model.
    """
    ingress = next((item.value for item in runtime.ingresses if item.value.name == "anthropic"), None)
    if ingress is None:
        raise RoutingError("no plugin offers the ingress anthropic; install ccr-plugin-anthropic")
    return await Engine(runtime, _NoSender()).explain(ingress, orjson.dumps(body), headers)


class _NoSender:
    async def send(self, wire: WireRequest, body: bytes) -> Reply:
        raise UpstreamError("nothing is sent while explaining")

    async def aclose(self) -> None:
        pass
