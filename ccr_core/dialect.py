"""The two ends of an exchange: what a client speaks (:class:`Ingress`) and what a provider speaks (:class:`Dialect`).

Both are stateless; the state of one stream lives in the decoder or encoder that they make for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ClassVar

import attrs
import orjson

from ccr_core.catalogue import Prices
from ccr_core.errors import CcrError, ProtocolError, UpstreamError, kind_of
from ccr_core.events import Event
from ccr_core.messages import JSON, Headers, Request
from ccr_core.push import Push
from ccr_core.sse import Chunk, SseParser


@attrs.frozen(kw_only=True)
class Target:
    """Where one attempt goes.

    ``base_url`` is as the configuration has it; the dialect makes the full URL.  ``options`` is an instance of the
    dialect's ``options`` class, filled from the provider's preset and the configuration.  ``level`` is the reasoning
    level that the route asks for.  ``searches``: the provider searches the web itself where a request asks for it.
    ``prices`` are the model's, where they are known.
    """

    provider: str
    model: str
    base_url: str
    options: Any = None
    level: str | None = None
    max_output: int | None = None
    context: int | None = None
    searches: bool = False
    prices: Prices | None = None


def _no_note(key: str, value: Any) -> None:
    """Forget a note (for tests that do not look)."""


@attrs.frozen(kw_only=True)
class Context:
    """What a dialect or transformer may know of the attempt it works for.

    ``note(key, value)`` leaves a visible remark on the exchange: whatever is dropped or changed in meaning is noted.
    ``answer_model`` is what the answer must call its model, where that is not what the provider calls it; the
    Sequencer sees to it, so only a :meth:`Dialect.relay` has to.
    """

    exchange_id: str
    target: Target
    note: Callable[[str, Any], None] = _no_note
    answer_model: str | None = None


@attrs.frozen(kw_only=True)
class WireRequest:
    """A request as it will be sent to a provider.

    ``body`` is a JSON object, or ``None`` for none.  ``key_style`` says how an API key is sent where it is not the
    provider's usual way; see :data:`ccr_core.auth.KEY_STYLES`.
    """

    method: str = "POST"
    url: str
    headers: Headers = attrs.Factory(dict)
    body: JSON | None = None
    key_style: str | None = None

    def with_headers(self, headers: Headers) -> WireRequest:
        """This request with other headers."""
        # What ``attrs.evolve`` does takes five times as long, and each request goes through here several times.
        return WireRequest(method=self.method, url=self.url, headers=headers, body=self.body, key_style=self.key_style)


@attrs.frozen(kw_only=True)
class WireReply:
    """A whole HTTP answer: one of a provider's, or one for a client."""

    status: int
    headers: Headers = attrs.Factory(dict)
    body: bytes = b""


@attrs.define
class Outcome:
    """What an answer says of itself, kept for the log and for routing; filled while it streams."""

    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    usage: JSON = attrs.Factory(dict)
    error: str | None = None
    complete: bool = False


class Dialect:
    """A format in which the router speaks to providers.

    Override :meth:`encode`, :meth:`decoder` and :meth:`decode_body`; the rest has defaults.
    """

    name: ClassVar[str]
    options: ClassVar[type[Any] | None] = None
    """An attrs class of options that a preset or a provider entry may set (``options`` in the configuration)."""

    endpoints: ClassVar[tuple[str, ...]] = ()
    """Ends of URL paths (``"/messages"``) by which a provider entry is known to speak this dialect."""

    key_style: ClassVar[str] = "bearer"
    """How an API key is sent unless the preset says otherwise; see :class:`ccr_core.auth.ApiKey`."""

    def framing(self) -> Push[bytes, Chunk]:
        """The stage that turns the bytes of a streamed answer into chunks; server-sent events unless overridden."""
        return SseParser()

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        """``request`` as this provider wants it.  What cannot be mapped is noted (``ctx.note``) or refused."""
        raise NotImplementedError

    def encode_count(self, request: Request, ctx: Context) -> WireRequest | None:
        """The question how many tokens ``request`` has; ``None`` if this provider cannot be asked."""
        return None

    def decode_count(self, body: JSON) -> int:
        """The number in the answer to :meth:`encode_count`."""
        raise NotImplementedError

    def searches(self, target: Target) -> bool:
        """Whether ``target`` runs a ``web_search`` tool of the request itself; where not, the router may do so."""
        return False

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        """A decoder for one streamed answer.

        It emits ``MessageStart`` at the first valid chunk, stops each block before it starts the next where it can,
        and raises ``ProtocolError`` in ``flush`` unless it has seen the provider's end mark.
        """
        raise NotImplementedError

    def decode_body(self, body: JSON, request: Request, ctx: Context) -> Iterable[Event]:
        """The events of a whole (not streamed) answer."""
        raise NotImplementedError

    def relay(self, request: Request, ctx: Context, outcome: Outcome) -> Push[bytes, bytes] | None:
        """A stage that passes a stream of this dialect on as it is, to a client that speaks the same; or ``None``.

        It reads what it needs into ``outcome`` from the side, gives nothing before the first valid event, raises
        ``UpstreamError`` if that is an error, and ``ProtocolError`` in ``flush`` unless it has seen the end mark.
        Where ``ctx`` has an ``answer_model`` it calls the model so, and changes nothing else.
        """
        return None

    def read_body(self, body: JSON, outcome: Outcome) -> bool:
        """Whether a whole answer may pass as it is to a client that speaks the same; fills ``outcome`` if so."""
        return False

    def mend(self, error: UpstreamError, body: JSON) -> JSON | None:
        """A copy of ``body`` without what ``error`` says the provider cannot read, to be sent once more, or ``None``.

        It is for refusals that name no field which the request can do without: thinking, mostly, that was encrypted
        or signed for another account or with a key that is gone, and that the client replays with every turn.
        ``body`` is what was sent.  If it is answered then, the same ``error`` is given again with later requests that
        hold the same thinking, before they are sent.
        """
        return None

    def decode_error(self, reply: WireReply) -> UpstreamError:
        """A provider's refusal as an exception that keeps its status class, its words and its ``retry-after``.

        The default reads the shapes that most services use: ``{"error": {"message"}}``, ``{"error": "…"}``,
        ``{"message"}``, ``{"detail"}``, a list of one of them, or plain text.
        """
        return UpstreamError(error_text(reply), reply.status, kind_of(reply.status), reply.headers)


class Ingress:
    """A format that clients speak, and the paths on which they do."""

    name: ClassVar[str]
    paths: ClassVar[tuple[str, ...]]
    count_paths: ClassVar[tuple[str, ...]] = ()
    """Paths that ask how many tokens a request has, instead of an answer to it."""

    stream_type: ClassVar[str] = "text/event-stream"

    def decode(self, body: bytes, headers: Headers) -> Request:
        """The client's request in canonical form; raise ``RequestError`` saying what is wrong with it."""
        raise NotImplementedError

    def encoder(self, request: Request) -> Push[Event, bytes]:
        """An encoder for one streamed answer; it takes ``Ping`` and ``StreamError`` at any time.

        It may have a method ``delta(index, delta) -> bytes``, which then gets the pieces of blocks, the commonest
        events by far, without an event being made for each: what ``feed(BlockDelta(index, delta))`` would give.
        """
        raise NotImplementedError

    def encode_message(self, message: JSON, request: Request) -> bytes:
        """A whole answer as this client wants it."""
        raise NotImplementedError

    def encode_error(self, error: CcrError) -> WireReply:
        """An error as this client wants it, when nothing has been sent yet."""
        raise NotImplementedError

    def encode_count(self, count: int) -> bytes:
        """The answer on a count path."""
        raise NotImplementedError


def error_text(reply: WireReply) -> str:
    """The provider's own words in a refusal, at most 2,000 characters; never empty."""
    text = reply.body.decode("utf-8", "replace").strip()
    try:
        data = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        data = None
    if isinstance(data, list) and data:
        data = data[0]
    while isinstance(data, dict):
        inner = next((data[name] for name in ("error", "message", "Message", "detail") if data.get(name)), None)
        if inner is None:
            break
        data = inner
    if isinstance(data, str):
        text = data
    elif isinstance(data, (dict, list)):
        text = orjson.dumps(data).decode()
    if text[:1] == "<":
        # A page of some gateway: its words without its markup.
        text = "a page: " + " ".join(re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]*>", " ", text).split())
    return text[:2000] or f"the provider answered with status {reply.status} and no text"


class reading:
    """Take what goes wrong in the block for the fault of ``data``, which a provider sent.

    Decoders use it where they read more than the commonest chunks: no code foresees every shape of JSON, and an
    answer of another shape is a ``ProtocolError`` with what was sent, which can be tried again elsewhere.
    """

    __slots__ = ("_data",)

    def __init__(self, data: Any) -> None:
        self._data = data

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; raise ``ProtocolError`` for an error that a value of another type causes."""
        if isinstance(error, (TypeError, ValueError, LookupError, AttributeError)):
            what = self._data if isinstance(self._data, str) else repr(self._data)
            raise ProtocolError(f"the provider's answer has an odd shape ({error}): {what[:300]}") from error
