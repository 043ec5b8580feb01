"""The chat completions API towards clients.

The name is not that of the dialect ``openai-chat`` on purpose: answers of such providers are never passed on as they
are, since names and ids of tools were changed on the way out, and services differ in what OpenAI's clients cannot read.
"""

from __future__ import annotations

from typing import ClassVar

from ccr_core import JSON, CcrError, Event, Headers, Ingress, Push, Request, WireReply, parse_body

from .decode import decode
from .encode import Encoder, whole
from .errors import error_reply


class ChatCompletions(Ingress):
    """Chat completions as OpenAI's SDKs speak them."""

    name: ClassVar[str] = "chat-completions"
    paths: ClassVar[tuple[str, ...]] = ("/v1/chat/completions",)

    def decode(self, body: bytes, headers: Headers) -> Request:
        """The request in canonical form; ``RequestError`` (400) with the place of what is wrong or cannot be had."""
        return decode(parse_body(body), headers)

    def encoder(self, request: Request) -> Push[Event, bytes]:
        """An encoder that writes chunks, and ``[DONE]`` at the end of a complete answer."""
        return Encoder(request)

    def encode_message(self, message: JSON, request: Request) -> bytes:
        """The message as a chat completion."""
        return whole(message, request)

    def encode_error(self, error: CcrError) -> WireReply:
        """The error in OpenAI's form."""
        return error_reply(error)
