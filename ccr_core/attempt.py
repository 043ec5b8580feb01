"""One attempt to have a request answered by one route: building what is sent, and the row of stages for what returns.

Nothing here waits: the engine sends and reads.  Code of plugins is called through :func:`guarded`, so that whatever
it raises carries its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs
import orjson

from ccr_core.dialect import Context, Dialect, Ingress, Outcome, WireReply, WireRequest, error_text
from ccr_core.errors import CcrError, PluginError, ProtocolError, RoutingError, UpstreamError
from ccr_core.events import Event
from ccr_core.messages import JSON, Request
from ccr_core.push import Pipe, Push, Stage
from ccr_core.routing import Route
from ccr_core.runtime import Provider, Runtime
from ccr_core.sequence import Sequencer
from ccr_core.transform import Chain

T = TypeVar("T")


def guarded(part: Dialect | Ingress, method: str, call: Callable[[], Any], plugin: str = "") -> Any:
    """Call code of a plugin; whatever it raises that is not ours becomes a ``PluginError`` with its name."""
    try:
        return call()
    except CcrError:
        raise
    except Exception as error:
        raise PluginError(plugin or type(part).__module__.partition(".")[0], part.name, method, error) from error


@attrs.frozen
class Way:
    """The way back for a client that streams: the pipe, and what the engine needs of its ends.

    Every write of the pipe holds whole events, so ``encoder`` may add one of its own between any two.  ``sequencer``
    is absent where the provider's bytes pass as they are.
    """

    pipe: Pipe
    encoder: Push[Event, bytes]
    sequencer: Sequencer | None


class Attempt:
    """One route, one request; used once.  ``outcome`` is filled while the answer comes in.

    ``named`` is the model's name for a client that streams, where that is not the provider's.
    """

    def __init__(
        self,
        runtime: Runtime,
        request: Request,
        route: Route,
        exchange_id: str,
        note: Callable[[str, Any], None],
        named: str | None = None,
    ) -> None:
        provider = runtime.providers.get(route.provider)
        if provider is None:
            raise RoutingError(f'no provider "{route.provider}"')
        self.provider: Provider = provider
        self.plan = provider.plan_for(route.model)
        self.ctx = Context(exchange_id=exchange_id, target=provider.target(route), note=note, answer_model=named)
        self.chain = Chain(self.plan.steps, self.ctx)
        self.outcome = Outcome()
        self._sent: WireRequest | None = None
        self.request = self.chain.on_request(request)
        self._wired = self.chain.wire_stages()
        self._steps = self.chain.stages()
        if self._wired and not self.request.stream:
            # Steps that read the provider's own chunks have one branch only: they always see a stream.
            self.request = self.request.with_(stream=True)

    # Out.

    def wire(self) -> WireRequest:
        """What will be sent, unsigned; every step has been applied."""
        self._sent = self.chain.on_wire_request(self.encoded())
        return self._sent

    def encoded(self) -> WireRequest:
        """What the dialect makes of the request, before the steps that change the wire request."""
        dialect = self.plan.dialect
        return self._with_headers(
            self._guarded("encode", lambda: _a(WireRequest, dialect.encode(self.request, self.ctx)))
        )

    def count_wire(self) -> WireRequest | None:
        """The question how large the request is, unsigned; ``None`` if this provider cannot be asked."""
        dialect = self.plan.dialect
        wire = self._guarded("encode_count", lambda: dialect.encode_count(self.request, self.ctx))
        return None if wire is None else self.chain.on_wire_request(self._with_headers(wire))

    def counted(self, data: bytes) -> int:
        """The number in the answer to :meth:`count_wire`."""
        body = self.json_answer(data)
        return self._guarded("decode_count", lambda: _a(int, self.plan.dialect.decode_count(body)))  # type: ignore[no-any-return]

    def _with_headers(self, wire: WireRequest) -> WireRequest:
        preset = self.provider.spec.headers if self.provider.spec else {}
        headers = {"content-type": "application/json", **preset, **wire.headers, **self.provider.config.headers}
        return wire.with_headers({name.lower(): value for name, value in headers.items()})

    def shed(self) -> None:
        """Let what was sent go: the answer streams, so it is not sent again."""
        if self._sent is not None:
            self._sent = None
            self.request = self.request.with_(messages=[], system=[], tools=[])

    # Back.

    def refusal(self, reply: WireReply) -> CcrError:
        """The exception for an answer that is not 2xx."""
        if 300 <= reply.status < 400:
            to = reply.headers.get("location", "")
            return UpstreamError(f"the provider redirects to {to!r}; put the final address into api_base_url")
        error: UpstreamError = self._guarded("decode_error", lambda: self.plan.dialect.decode_error(reply))
        return error

    def mended(self, error: CcrError, wire: WireRequest) -> WireRequest | None:
        """``wire`` without what the provider says it cannot read; ``None`` if the dialect knows nothing to change."""
        body = wire.body
        if not isinstance(error, UpstreamError) or body is None:
            return None
        changed = self._guarded("mend", lambda: self.plan.dialect.mend(error, body))
        return None if changed is None else attrs.evolve(wire, body=_a(dict, changed))

    def is_stream(self, headers: Mapping[str, str]) -> bool:
        """Whether an answer with these headers is a stream; without a telling type, whether one was asked for."""
        kind = headers.get("content-type", "").lower()
        if "stream" in kind:
            return True
        if "json" in kind or "html" in kind:
            return False
        # Some dialects always ask for a stream, however the client asks.
        body = self._sent.body if self._sent is not None else None
        return self.request.stream or bool(body and body.get("stream"))

    def way(self, ingress: Ingress, request: Request, streamed: bool) -> Way:
        """The way back to a client that streams: a relay if the bytes may pass as they are, else the full row.

        ``request`` is the client's own; ``streamed`` says whether the provider streams.
        """
        encoder: Push[Event, bytes] = guarded(ingress, "encoder", lambda: ingress.encoder(request))
        dialect = self.plan.dialect
        if streamed and self._untouched(ingress):
            relay = self._guarded("relay", lambda: dialect.relay(self.request, self.ctx, self.outcome))
            if relay is not None:
                stage = self._guarded("relay", lambda: Stage.of(relay, f"{dialect.name} relay", self.plan.plugin))
                return Way(Pipe([stage]), encoder, None)
        sequencer = Sequencer(self.outcome, self.ctx.answer_model)
        stages = [*(self._decoding() if streamed else ()), *self._steps, sequencer.into(encoder, ingress.name)]
        return Way(Pipe(stages), encoder, sequencer)

    def row(self, streamed: bool) -> Pipe:
        """The stages from the provider's bytes (or a whole answer's events) to lawful events."""
        decoding = self._decoding() if streamed else ()
        return Pipe([*decoding, *self._steps, Stage.of(Sequencer(self.outcome), "sequencer")])

    def push_body(self, data: bytes, pipe: Pipe) -> list[Any]:
        """Push the events of a whole answer through ``pipe``; what came out."""
        body = self.json_answer(data)
        dialect = self.plan.dialect
        events = self._guarded("decode_body", lambda: list(dialect.decode_body(body, self.request, self.ctx)))
        out: list[Any] = []
        for event in events:
            pipe.push(event, out)
        return out

    def passes_whole(self, ingress: Ingress, data: bytes) -> bool:
        """Whether a whole answer may go to the client as it is; reads what it says of itself into ``outcome``."""
        if not self._untouched(ingress):
            return False
        body = self.json_answer(data)
        passes: bool = self._guarded("read_body", lambda: self.plan.dialect.read_body(body, self.outcome))
        return passes

    def json_answer(self, data: bytes) -> JSON:
        """A whole answer's body; raise ``ProtocolError`` with its words if it is no JSON object."""
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            what = error_text(WireReply(status=200, body=data[:2000])) if data.strip() else "nothing"
            raise ProtocolError(f"{self.provider.name} answered with {what[:200]!r} instead of a JSON object")
        return body

    def _untouched(self, ingress: Ingress) -> bool:
        return not self._steps and not self._wired and ingress.name == self.plan.dialect.name

    def _decoding(self) -> list[Stage]:
        dialect, plugin = self.plan.dialect, self.plan.plugin
        framing = self._guarded("framing", lambda: Stage.of(dialect.framing(), "framing", plugin))
        decoder = self._guarded(
            "decoder", lambda: Stage.of(dialect.decoder(self.request, self.ctx), dialect.name, plugin)
        )
        return [framing, *self._wired, decoder]

    def _guarded(self, method: str, call: Callable[[], Any]) -> Any:
        return guarded(self.plan.dialect, method, call, self.plan.plugin)


def _a(kind: type[T], value: T) -> T:
    """``value`` if it is what a plugin promised, else ``TypeError``."""
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value
