"""The Gemini format in the envelope of Code Assist."""

from __future__ import annotations

import re
import uuid
from typing import Any, ClassVar

from ccr_plugin_gemini import Gemini

from ccr_core import JSON, Context, Request, UpstreamError, blocks_of

_METHOD = re.compile(r":\w+(?:\?.*)?$")


class CodeAssist(Gemini):
    """Code Assist: ``{model, project, user_prompt_id, request}`` out, ``{response, traceId}`` back.

    The project is the account's, and filled in when the request is signed.
    """

    name: ClassVar[str] = "code-assist"
    endpoints: ClassVar[tuple[str, ...]] = ("/v1internal",)
    key_style: ClassVar[str] = "bearer"
    maker: ClassVar[str] = "code-assist"

    def url(self, ctx: Context, stream: bool) -> str:
        """``{base}:{method}``; a base that names a method already has it replaced."""
        base = _METHOD.sub("", ctx.target.base_url).rstrip("/")
        return f"{base}:streamGenerateContent?alt=sse" if stream else f"{base}:generateContent"

    def wrap(self, body: JSON, request: Request, ctx: Context) -> JSON:
        """The envelope."""
        session = request.hints.session
        inner = {**body, "session_id": session} if session else body
        return {"model": self.model(ctx), "user_prompt_id": prompt_id(request, ctx), "request": inner}

    def unwrap(self, data: JSON) -> JSON:
        """What is in the envelope; its ``traceId`` stands for the id of the answer."""
        inner: Any = data.get("response")
        if type(inner) is not dict:
            return data
        if "responseId" not in inner and data.get("traceId"):
            return {**inner, "responseId": data["traceId"]}
        return inner

    def mend(self, error: UpstreamError, body: JSON) -> JSON | None:
        """See :class:`ccr_plugin_gemini.Gemini`; what it mends is in the envelope."""
        inner = body.get("request")
        changed = super().mend(error, inner) if isinstance(inner, dict) else None
        return None if changed is None else {**body, "request": changed}


def prompt_id(request: Request, ctx: Context) -> str:
    """An id that stays the same while one prompt of the user is worked on."""
    session = request.hints.session
    if session is None:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, ctx.exchange_id))
    prompts = sum(
        any(block.get("type") != "tool_result" for block in blocks_of(message.get("content")))
        for message in request.messages
        if message.get("role") == "user"
    )
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{session} {prompts}"))
