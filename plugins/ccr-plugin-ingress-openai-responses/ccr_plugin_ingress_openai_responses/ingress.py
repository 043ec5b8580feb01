"""The Responses API towards clients.

The name is not that of the dialect ``openai-responses`` on purpose: answers of such providers are never passed on as
they are, since thinking, names and ids are bound to the provider and to the request that was made for it.
"""

from __future__ import annotations

from typing import ClassVar

import orjson
from ccr_plugin_ingress_openai_chat.errors import error_reply

from ccr_core import JSON, CcrError, Event, Headers, Ingress, Push, Request, WireReply, parse_body

from .decode import decode
from .encode import Encoder, whole


class Responses(Ingress):
    """Responses as Codex and OpenAI's SDKs speak them."""

    name: ClassVar[str] = "responses"
    paths: ClassVar[tuple[str, ...]] = ("/v1/responses",)
    count_paths: ClassVar[tuple[str, ...]] = ("/v1/responses/input_tokens",)

    def decode(self, body: bytes, headers: Headers) -> Request:
        """The request in canonical form; ``RequestError`` (400) with the place of what is wrong or cannot be had."""
        return decode(parse_body(body), headers)

    def encoder(self, request: Request) -> Push[Event, bytes]:
        """An encoder that writes the events of a response."""
        return Encoder(request)

    def encode_message(self, message: JSON, request: Request) -> bytes:
        """The message as a response."""
        return whole(message, request)

    def encode_error(self, error: CcrError) -> WireReply:
        """The error in OpenAI's form."""
        return error_reply(error)

    def encode_count(self, count: int) -> bytes:
        """The answer of ``input_tokens``."""
        return orjson.dumps({"object": "response.input_tokens", "input_tokens": count})
