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

TEXT = ("choices", 0, "delta", "content")
"""Where a chunk has its text."""


class OpenAIChat(Dialect):
    """Chat completions: ``POST …/chat/completions``, answered whole or as server-sent chunks."""

    name: ClassVar[str] = "openai-chat"
    options: ClassVar[type[Any] | None] = Options
    endpoints: ClassVar[tuple[str, ...]] = ("/chat/completions", "/v1beta/openai")
    """The second is the base of Google's, whose host otherwise speaks another format."""

    def framing(self) -> Push[bytes, Chunk]:
        """Server-sent events, most of which differ in their text, and with OpenAI in a text that hides its length."""
        return Alike(TEXT, ("obfuscation",))

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        """``request`` as a chat completion request."""
        from .encode import encode

        return encode(request, ctx, _options(ctx.target))

    def searches(self, target: Target) -> bool:
        """Whether a wish for web search can be passed on to the service."""
        return _options(target).tools.web_search != "none"

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        """A decoder for one stream of chunks."""
        from .decode import Decoder

        return Decoder(request, ctx, _options(ctx.target))

    def decode_body(self, body: JSON, request: Request, ctx: Context) -> Iterable[Event]:
        """The events of a whole chat completion."""
        from .decode import decode_body

        return decode_body(body, request, ctx, _options(ctx.target))

    def mend(self, error: UpstreamError, body: JSON) -> JSON | None:
        """``body`` without signed and encrypted thinking that the service, or the one behind it, refuses."""
        from .reasoning import without_signed

        return without_signed(error, body)

    def decode_error(self, reply: WireReply) -> UpstreamError:
        """A refusal; see :mod:`ccr_plugin_openai_chat.errors`."""
        from .errors import decode_error

        return decode_error(reply)


_DEFAULT = Options()


def _options(target: Target) -> Options:
    options = target.options
    return for_model(options if isinstance(options, Options) else _DEFAULT, target.model)
