"""Claude models on Vertex AI: the Messages API without the model's name in the body, and with fewer betas.

Source: Google's page "Use Claude models", Anthropic's page "Claude on Vertex AI".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import attrs
import orjson
from ccr_plugin_anthropic.dialect import Anthropic, AnthropicOptions

from ccr_core import JSON, Context, Request, Target, UpstreamError, WireReply, WireRequest

from .gemini import model_url

VERSION = "vertex-2023-10-16"

BETAS = (
    "claude-code-20250219",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "effort-2025-11-24",
    "fine-grained-tool-streaming-2025-05-14",
    "interleaved-thinking-2025-05-14",
    "token-efficient-tools-2025-02-19",
    "tool-search-tool-2025-10-19",
)
"""The betas that the service knows; it refuses requests that name another."""

_BY_BETA = {
    "container": "code-execution-",
    "context_management": "context-management-",
    "mcp_servers": "mcp-client-",
    "speed": "fast-mode-",
}
"""Fields that need a beta, with the beginning of its name."""

_COUNTED = frozenset({"anthropic_version", "messages", "system", "thinking", "tool_choice", "tools"})
"""The fields of a request that are counted."""

_ABSENT = ("web_fetch", "code_execution", "mcp_toolset")
"""How the types of tools begin that the service does not run."""


@attrs.frozen(kw_only=True)
class ClaudeOptions(AnthropicOptions):
    """As for the dialect ``anthropic``; ``betas`` are those that the service knows, ``version`` goes into the body."""

    first_party: bool | None = False
    betas: tuple[str, ...] = BETAS
    web_search: bool | None = True
    version: str = VERSION


class VertexClaude(Anthropic):
    """``…/publishers/anthropic/models/{model}:rawPredict`` and ``:streamRawPredict``."""

    name: ClassVar[str] = "vertex-claude"
    options: ClassVar[type[AnthropicOptions] | None] = ClaudeOptions
    endpoints: ClassVar[tuple[str, ...]] = ()
    key_style: ClassVar[str] = "bearer"

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        """The Messages request as the service takes it; what it does not take is left out with a note."""
        options = ctx.target.options if isinstance(ctx.target.options, ClaudeOptions) else ClaudeOptions()
        ctx = attrs.evolve(ctx, target=attrs.evolve(ctx.target, options=options))
        wire = super().encode(request, ctx)
        headers = {name: value for name, value in wire.headers.items() if name != "anthropic-version"}
        named = [beta for beta in headers.pop("anthropic-beta", "").split(",") if beta]
        betas = [beta for beta in named if beta in options.betas]
        if betas:
            headers["anthropic-beta"] = ",".join(betas)
        lost = [beta for beta in named if beta not in betas]
        body = {name: value for name, value in (wire.body or {}).items() if name != "model"}
        for field, beta in _BY_BETA.items():
            if field in body and not any(name.startswith(beta) for name in betas):
                del body[field]
                lost.append(field)
        if body.get("tools"):
            body["tools"] = list(_tools(body["tools"], lost))
            if not body["tools"]:
                del body["tools"]
                body.pop("tool_choice", None)
        body["messages"] = [_without_urls(message, lost) for message in body["messages"]]
        if lost:
            ctx.note("vertex", f"left out: {', '.join(dict.fromkeys(lost))}")
        method = "streamRawPredict" if request.stream else "rawPredict"
        return attrs.evolve(
            wire,
            url=model_url(ctx.target.base_url, "anthropic", ctx.target.model, method),
            headers=headers,
            body={"anthropic_version": options.version, **body},
        )

    def encode_count(self, request: Request, ctx: Context) -> WireRequest | None:
        """The model ``count-tokens``, asked for the one that is in the body; an option switches it off."""
        if isinstance(ctx.target.options, ClaudeOptions) and ctx.target.options.count_tokens is False:
            return None
        wire = self.encode(request, ctx)
        body = {name: value for name, value in (wire.body or {}).items() if name in _COUNTED}
        return attrs.evolve(
            wire,
            url=model_url(ctx.target.base_url, "anthropic", "count-tokens", "rawPredict"),
            body={**body, "model": ctx.target.model},
        )

    def searches(self, target: Target) -> bool:
        """The service runs ``web_search``, unless an option says otherwise."""
        options = target.options if isinstance(target.options, AnthropicOptions) else ClaudeOptions()
        return options.web_search is not False

    def decode_error(self, reply: WireReply) -> UpstreamError:
        """A refusal of Claude, or of Google's service in front of it."""
        try:
            body = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            body = None
        first = body[0] if isinstance(body, list) and body else body
        error = first.get("error") if isinstance(first, dict) else None
        if isinstance(error, dict) and ("status" in error or isinstance(error.get("code"), int)):
            from ccr_plugin_gemini import decode_error

            return decode_error(reply)
        return super().decode_error(reply)


def _tools(tools: list[JSON], lost: list[str]) -> Iterator[JSON]:
    for tool in tools:
        if str(tool.get("type") or "").startswith(_ABSENT):
            lost.append(f"server tool {tool.get('name') or tool['type']}")
        elif "strict" in tool:
            lost.append("strict")
            yield {name: value for name, value in tool.items() if name != "strict"}
        else:
            yield tool


def _without_urls(message: JSON, lost: list[str]) -> JSON:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    blocks = [_block(block, lost) for block in content]
    changed = any(new is not old for new, old in zip(blocks, content, strict=True))
    return {**message, "content": blocks} if changed else message


def _block(block: Any, lost: list[str]) -> Any:
    """``block``, with words in place of what is only an address: the service fetches nothing."""
    if not isinstance(block, dict):
        return block
    source = block.get("source")
    if block.get("type") in ("image", "document") and isinstance(source, dict) and source.get("type") == "url":
        lost.append(f"{block['type']} by address")
        return {"type": "text", "text": f"[{block['type']} at {source.get('url')}, which was not fetched]"}
    inner = block.get("content")
    if block.get("type") == "tool_result" and isinstance(inner, list):
        blocks = [_block(one, lost) for one in inner]
        if any(new is not old for new, old in zip(blocks, inner, strict=True)):
            return {**block, "content": blocks}
    return block
