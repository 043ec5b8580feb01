"""The dialect as the core sees it, and as services that wrap the format build on it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from ccr_core import (
    JSON,
    Alike,
    Chunk,
    Context,
    Dialect,
    Event,
    Push,
    Request,
    Target,
    UpstreamError,
    WireReply,
    WireRequest,
)

from .options import Options

if TYPE_CHECKING:
    from .families import Family

_DEFAULT = Options()


TEXT = ("candidates", 0, "content", "parts", 0, "text")
"""Where a chunk has its text."""

USAGE = ("usageMetadata",)
"""Where it has the counts of tokens."""


class Gemini(Dialect):
    """The Gemini API: ``POST …/models/{model}:generateContent``, answered whole or as server-sent chunks.

    A service that sends the same requests to another place, or in an envelope, overrides :meth:`url`,
    :meth:`headers`, :meth:`wrap` and :meth:`unwrap`; one whose models are called otherwise, or are others,
    :meth:`model` and :meth:`family`.  One with other habits makes its ``options`` a subclass of
    :class:`~ccr_plugin_gemini.Options` with other defaults.
    """

    name: ClassVar[str] = "gemini"
    options: ClassVar[type[Any] | None] = Options
    endpoints: ClassVar[tuple[str, ...]] = ("/v1beta", "/v1beta/models", ":generateContent", ":streamGenerateContent")
    key_style: ClassVar[str] = "x-goog-api-key"

    maker: ClassVar[str] = "gemini"
    """Who may read the sealed thinking again: services that share it can read each other's signatures."""

    # --- what a service may do otherwise -----------------------------------------------------------------------

    def model(self, ctx: Context) -> str:
        """The name of the model as this service has it."""
        return ctx.target.model

    def family(self, ctx: Context) -> Family:
        """What is known of the model."""
        from .families import family_of

        return family_of(self.model(ctx))

    def url(self, ctx: Context, stream: bool) -> str:
        """Where a request goes."""
        from .urls import endpoint

        return endpoint(ctx.target.base_url, self.model(ctx), stream)

    def headers(self, request: Request, ctx: Context) -> dict[str, str]:
        """The headers of a request, names in lower case."""
        return {
            "content-type": "application/json",
            "accept": "text/event-stream" if request.stream else "application/json",
        }

    def wrap(self, body: JSON, request: Request, ctx: Context) -> JSON:
        """The body to be sent, made of the ``body`` in this format."""
        return body

    def unwrap(self, data: JSON) -> JSON:
        """The answer, or piece of it, that is in ``data`` as received."""
        return data

    def settings(self, ctx: Context) -> Options:
        """The options that apply to this attempt."""
        options = ctx.target.options
        if isinstance(options, Options):
            return options
        return self.options() if self.options is not None else _DEFAULT

    def framing(self) -> Push[bytes, Chunk]:
        """Server-sent events, most of which differ in their text and the count of its tokens."""
        return Alike(TEXT, USAGE)

    # --- the dialect -------------------------------------------------------------------------------------------

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        """``request`` in the Gemini format."""
        request.require_whole()
        from .encode import body

        made = body(request, ctx, self.settings(ctx), self.family(ctx), self.maker)
        return WireRequest(
            url=self.url(ctx, request.stream),
            headers=self.headers(request, ctx),
            body=self.wrap(made, request, ctx),
        )

    def searches(self, target: Target) -> bool:
        """Whether a wish for web search becomes ``googleSearch``."""
        return self.settings(Context(exchange_id="", target=target)).tools.search

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        """A decoder for one stream of chunks."""
        from .decode import Decoder

        return Decoder(self, request, ctx)

    def decode_body(self, body: Any, request: Request, ctx: Context) -> Iterable[Event]:
        """The events of a whole answer; a list is taken for a stream that came as one JSON array."""
        from .decode import decode_body

        return decode_body(self, body, request, ctx)

    def mend(self, error: UpstreamError, body: JSON) -> JSON | None:
        """``body`` without signatures of thoughts that the service refuses."""
        from .thinking import without_signatures

        return without_signatures(error, body)

    def decode_error(self, reply: WireReply) -> UpstreamError:
        """A refusal; see :mod:`ccr_plugin_gemini.errors`."""
        from .errors import decode_error

        return decode_error(reply)
