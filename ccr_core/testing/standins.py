"""The plainest ingress, dialect and rule, so that a plugin can be tried in a whole router without other plugins.

Pass what your plugin lacks: ``ccr(config, plugins=[my_plugin, standins.ingress, standins.rule])``.  They are no
models for plugins of your own: they neither check nor clean anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ccr_core.dialect import Context, Dialect, Ingress, WireReply, WireRequest
from ccr_core.errors import CcrError, ProtocolError, RequestError, UpstreamError
from ccr_core.events import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    StreamError,
    Unknown,
    explode,
)
from ccr_core.hookspecs import hookimpl
from ccr_core.messages import JSON, Headers, Request, hints_of, parse_body
from ccr_core.push import Push
from ccr_core.routing import Decision, Pass, RouteContext
from ccr_core.spec import RuleSpec
from ccr_core.sse import Chunk, encode
from ccr_core.testing.grammar import to_wire


class PlainIngress(Ingress):
    """The Messages API, for clients."""

    name = "anthropic"
    paths = ("/v1/messages",)
    count_paths = ("/v1/messages/count_tokens",)

    def decode(self, body: bytes, headers: Headers) -> Request:
        """Read the body."""
        data = parse_body(body)
        if not isinstance(data.get("model"), str) or not isinstance(data.get("messages"), list):
            raise RequestError("model and messages are needed")
        return Request(data, headers, hints_of(data, headers))

    def encoder(self, request: Request) -> Push[Event, bytes]:
        """One server-sent event for each event."""
        return _Encoder()

    def encode_message(self, message: JSON, request: Request) -> bytes:
        """The message as JSON."""
        return json.dumps(message).encode()

    def encode_error(self, error: CcrError) -> WireReply:
        """An error object; headers of the provider are kept."""
        body = {"type": "error", "error": {"type": error.kind, "message": error.message}}
        headers = {"content-type": "application/json", **(error.headers if isinstance(error, UpstreamError) else {})}
        return WireReply(status=error.status, headers=headers, body=json.dumps(body).encode())

    def encode_count(self, count: int) -> bytes:
        """The count as JSON."""
        return json.dumps({"input_tokens": count}).encode()


class _Encoder(Push[Event, bytes]):
    def feed(self, item: Event) -> Iterable[bytes]:
        return [encode(event, event["type"]) for event in to_wire([item])]


class PlainDialect(Dialect):
    """The Messages API, for providers; named ``plain``, so that answers are never passed on unread."""

    name = "plain"

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        """The request as it is, with the target's model."""
        return WireRequest(url=f"{ctx.target.base_url}/messages", body={**request.body, "model": ctx.target.model})

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        """One event for each chunk."""
        return _Decoder()

    def decode_body(self, body: JSON, request: Request, ctx: Context) -> Iterable[Event]:
        """The events of the message."""
        if body.get("type") == "error":
            yield StreamError(body["error"]["type"], body["error"]["message"])
        else:
            yield from explode(body)


class _Decoder(Push[Chunk, Event]):
    def __init__(self) -> None:
        self._complete = False

    def feed(self, item: Chunk) -> Iterable[Event]:
        data: Any = item.data
        if not isinstance(data, dict):
            raise ProtocolError(f"expected an event, got {data!r}")
        match data["type"]:
            case "message_start":
                message = data["message"]
                yield MessageStart(message["id"], message["model"], message["usage"])
            case "content_block_start":
                yield BlockStart(data["index"], data["content_block"])
            case "content_block_delta":
                yield BlockDelta(data["index"], data["delta"])
            case "content_block_stop":
                yield BlockStop(data["index"])
            case "message_delta":
                delta = data["delta"]
                extra = {name: delta[name] for name in delta if name not in ("stop_reason", "stop_sequence")}
                beside = {name: data[name] for name in data if name not in ("type", "delta", "usage")}
                usage = data.get("usage") or {}
                yield MessageDelta(delta["stop_reason"], delta.get("stop_sequence"), usage, extra, beside)
            case "message_stop":
                self._complete = True
                yield MessageStop()
            case "ping":
                yield Ping()
            case "error":
                yield StreamError(data["error"]["type"], data["error"]["message"])
            case kind:
                yield Unknown(kind, data)

    def flush(self) -> Iterable[Event]:
        if not self._complete:
            raise ProtocolError("the provider's stream ended without message_stop")
        return ()


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """Take the model that the client names as ``provider,model``, else ``Router.default``."""
    if ctx.find(request.model) is not None:
        return Decision(request.model, "the client names it")
    default = ctx.router.get("default") or ctx.config.get("Router", {}).get("default")
    return Decision(default, "Router.default") if default else Pass("Router.default is not set")


class _WithIngress:
    @hookimpl
    def ccr_ingresses(self) -> Iterable[Ingress]:
        return [PlainIngress()]


class _WithDialect:
    @hookimpl
    def ccr_dialects(self) -> Iterable[Dialect]:
        return [PlainDialect()]


class _WithRule:
    @hookimpl
    def ccr_rules(self) -> Iterable[RuleSpec]:
        return [RuleSpec(name="default", decide=decide, summary="What the client names, else Router.default.")]


ingress = _WithIngress()
"""A plugin that offers :class:`PlainIngress`."""

dialect = _WithDialect()
"""A plugin that offers :class:`PlainDialect`."""

rule = _WithRule()
"""A plugin that offers the rule ``default``: what the client names, else ``Router.default``."""
