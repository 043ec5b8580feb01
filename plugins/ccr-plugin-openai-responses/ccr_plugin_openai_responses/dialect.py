"""The dialect as the core sees it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

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

from .options import Options, for_model

TEXT = ("delta",)
"""Where an event has its text."""


class Responses(Dialect):
    """Responses: ``POST …/responses``, answered whole or as a stream of named events."""

    name: ClassVar[str] = "openai-responses"
    options: ClassVar[type[Any] | None] = Options
    endpoints: ClassVar[tuple[str, ...]] = ("/responses",)

    def framing(self) -> Push[bytes, Chunk]:
        """Server-sent events, most of which differ in their number, their text, and one that hides its length."""
        return Alike(TEXT, ("sequence_number",), ("obfuscation",))

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        """``request`` as a request for a response."""
        from .encode import encode

        return encode(request, ctx, _options(ctx.target))

    def searches(self, target: Target) -> bool:
        """Whether a wish for web search can be passed on to the service."""
        return _options(target).web_search != "none"

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        """A decoder for one stream of events."""
        from .decode import Decoder

        return Decoder(request, ctx, _options(ctx.target))

    def decode_body(self, body: JSON, request: Request, ctx: Context) -> Iterable[Event]:
        """The events of a whole response."""
        from .decode import decode_body

        return decode_body(body, request, ctx, _options(ctx.target))

    def mend(self, error: UpstreamError, body: JSON) -> JSON | None:
        """``body`` without the thoughts that the service cannot decrypt, or does not find."""
        from .reasoning import without_thoughts

        return without_thoughts(error, body)

    def decode_error(self, reply: WireReply) -> UpstreamError:
        """A refusal; see :mod:`ccr_plugin_openai_responses.errors`."""
        from .errors import decode_error

        return decode_error(reply)


_DEFAULT = Options()


def _options(target: Target) -> Options:
    options = target.options
    return for_model(options if isinstance(options, Options) else _DEFAULT, target.model)
