"""The Messages API as the router speaks it to Anthropic and to compatible services.

Towards Anthropic the request passes as an open list: fields and beta names that nobody here knows go along.  Towards
others it does so too, less what is private; the option ``clean`` reduces it to what compatible services know.

Source of the rules: Anthropic's API reference and observed requests of Claude Code, 2026.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import attrs
import orjson

from ccr_core import (
    JSON,
    Chunk,
    Context,
    Dialect,
    Event,
    Outcome,
    ProtocolError,
    Push,
    Request,
    Target,
    UpstreamError,
    WireReply,
    WireRequest,
    error_text,
    kind_of,
)
from ccr_plugin_anthropic.clean import PLACEHOLDER, clean, fold_system, is_accounting
from ccr_plugin_anthropic.decode import KINDS, Decoder, decode_message
from ccr_plugin_anthropic.marks import limit_marks
from ccr_plugin_anthropic.models import claude
from ccr_plugin_anthropic.relay import Relay
from ccr_plugin_anthropic.search import without_foreign_searches
from ccr_plugin_anthropic.thinking import fit_budget, fit_thinking, without_foreign, without_refused

VERSION = "2023-06-01"
"""The version of the API for clients that name none."""

_SAFEGUARD_BETAS = ("dangerous-tool-use-", "afk-mode-")
"""Beta names that come with the field ``safeguards``."""

_COUNTED = frozenset(
    {
        *("model", "messages", "system", "tools", "tool_choice", "thinking", "cache_control"),
        *("compaction", "context_management", "mcp_servers", "output_config", "speed"),
    }
)
"""The fields that ``count_tokens`` takes (SDK of Anthropic, 2026)."""

_CLIENT_HEADERS = ("x-claude-code-", "x-stainless-")
_CLIENT_HEADER = frozenset({"user-agent", "x-app", "anthropic-dangerous-direct-browser-access", "x-client-request-id"})
"""What a client says of itself to Anthropic, and to nobody else."""


@attrs.frozen(kw_only=True)
class AnthropicOptions:
    """How a provider differs from Anthropic.

    ``first_party``: it is Anthropic itself (if not given: its host is in ``anthropic.com``).  ``clean``: send only
    what compatible services know, besides the top-level ``fields`` and the ``betas`` (exact names) listed here.
    ``documents``: with ``clean``, it reads ``document`` blocks.  ``web_search``: it runs that tool itself, and
    ``count_tokens``: it counts requests (if not given: Anthropic does).  ``max_tokens``: for requests that give none.
    """

    first_party: bool | None = None
    clean: bool = False
    fields: tuple[str, ...] = ()
    betas: tuple[str, ...] = ()
    documents: bool = False
    web_search: bool | None = None
    count_tokens: bool | None = None
    max_tokens: int | None = None


class Anthropic(Dialect):
    """The Messages API towards providers."""

    name: ClassVar[str] = "anthropic"
    options: ClassVar[type[AnthropicOptions] | None] = AnthropicOptions
    endpoints: ClassVar[tuple[str, ...]] = ("/messages", "/anthropic")
    key_style: ClassVar[str] = "x-api-key"

    def encode(self, request: Request, ctx: Context) -> WireRequest:
        """The request with the target's model, in as much as this provider may see and can understand of it."""
        target = ctx.target
        options: AnthropicOptions = target.options or AnthropicOptions()
        first_party = _first_party(target)
        if not first_party:
            request.require_whole()
        body = {**request.body, "model": target.model}
        betas = _betas(request, body)
        if not first_party and "safeguards" in body:
            # It describes the machine: paths, rules, what its owner allows.
            del body["safeguards"]
            betas = [beta for beta in betas if not beta.startswith(_SAFEGUARD_BETAS)]
            ctx.note("anthropic.private", "left out safeguards: it describes the user's machine")
        system = body.get("system")
        if not first_party and not options.clean and isinstance(system, list) and any(map(is_accounting, system)):
            body["system"] = [block for block in system if not is_accounting(block)]
            ctx.note("anthropic.private", "left out the client's accounting line")
        model = claude(target.model)
        asked = body.get("max_tokens")
        tokens = asked or options.max_tokens or (model.max_tokens if model else 32_000)
        body["max_tokens"] = min(tokens, target.max_output or tokens)
        if asked and body["max_tokens"] < asked:
            ctx.note("anthropic.max_tokens", f"lowered from {asked} to {target.max_output}")
        body = fit_budget(fit_thinking(body, ctx, first_party), ctx)
        body = without_foreign(body, ctx, first_party or model is not None, options.clean)
        body = without_foreign_searches(body, ctx, first_party or model is not None)
        if options.clean:
            body = clean(body, ctx, options.fields, options.documents, bool(options.web_search))
            unknown = [beta for beta in betas if beta not in options.betas]
            betas = [beta for beta in betas if beta in options.betas]
            if unknown:
                ctx.note("anthropic.clean", f"left out beta names: {', '.join(unknown)}")
        elif model is None and not first_party and any(tool.get("name") == PLACEHOLDER for tool in request.tools):
            # It stands for tools that only Claude knows to ask for; others would call it.
            body["tools"] = [tool for tool in request.tools if tool.get("name") != PLACEHOLDER]
            ctx.note("anthropic.tools", f"left out {PLACEHOLDER}: {target.model} cannot load tools")
        elif model is not None and not model.system_messages and _has_system(body):
            ctx.note("anthropic.system", f"moved system messages into the user's: {target.model} takes none")
            body["messages"] = fold_system(body["messages"])
        body = limit_marks(body, ctx)
        headers = {"content-type": "application/json", "anthropic-version": VERSION}
        if request.ingress == "anthropic" and not options.clean:
            headers["anthropic-version"] = request.headers.get("anthropic-version") or VERSION
        if betas:
            headers["anthropic-beta"] = ",".join(betas)
        if first_party and request.ingress == "anthropic":
            for name, value in request.headers.items():
                if name in _CLIENT_HEADER or name.startswith(_CLIENT_HEADERS):
                    headers[name] = value
        return WireRequest(url=messages_url(target.base_url, first_party), headers=headers, body=body)

    def encode_count(self, request: Request, ctx: Context) -> WireRequest | None:
        """``POST …/messages/count_tokens`` with what that takes; ``None`` for services that may not have it."""
        options: AnthropicOptions = ctx.target.options or AnthropicOptions()
        counts = _first_party(ctx.target) if options.count_tokens is None else options.count_tokens
        if not counts:
            return None
        wire = self.encode(request, ctx)
        parts = urlsplit(wire.url)
        body = {name: value for name, value in (wire.body or {}).items() if name in _COUNTED}
        return attrs.evolve(wire, url=urlunsplit(parts._replace(path=f"{parts.path}/count_tokens")), body=body)

    def decode_count(self, body: JSON) -> int:
        """``input_tokens``."""
        count = body.get("input_tokens")
        if not isinstance(count, int):
            raise ProtocolError("the answer has no input_tokens")
        return count

    def searches(self, target: Target) -> bool:
        """Whether the service runs the tool ``web_search`` itself: Anthropic does, others where an option says so."""
        options: AnthropicOptions = target.options or AnthropicOptions()
        return _first_party(target) if options.web_search is None else options.web_search

    def decoder(self, request: Request, ctx: Context) -> Push[Chunk, Event]:
        """A decoder for one streamed answer."""
        return Decoder(ctx)

    def decode_body(self, body: JSON, request: Request, ctx: Context) -> Iterable[Event]:
        """The events of a whole message; ``UpstreamError`` if it is an error after all."""
        return decode_message(body)

    def relay(self, request: Request, ctx: Context, outcome: Outcome) -> Push[bytes, bytes]:
        """A stage that passes the stream on untouched, and reads it from the side."""
        return Relay(outcome, ctx.answer_model)

    def read_body(self, body: JSON, outcome: Outcome) -> bool:
        """A whole message passes as it is; what has no content is refused."""
        if not isinstance(body.get("content"), list):
            return False
        outcome.id, outcome.model = str(body.get("id") or ""), str(body.get("model") or "")
        outcome.usage = body.get("usage") or {}
        outcome.stop_reason = body.get("stop_reason")
        outcome.complete = True
        return True

    def mend(self, error: UpstreamError, body: JSON) -> JSON | None:
        """``body`` without thinking whose signature the service refuses."""
        return without_refused(error, body)

    def decode_error(self, reply: WireReply) -> UpstreamError:
        """The refusal with the provider's words, kind, status, ``retry-after`` and request id."""
        try:
            data = orjson.loads(reply.body)
        except orjson.JSONDecodeError:
            data = None
        data = data if isinstance(data, dict) else {}
        inner = data.get("error")
        kind = inner.get("type") if isinstance(inner, dict) else None
        status = reply.status if 400 <= reply.status <= 599 else 502
        headers = dict(reply.headers)
        if isinstance(data.get("request_id"), str):
            headers.setdefault("request-id", data["request_id"])
        details = inner.get("details") if isinstance(inner, dict) else None
        return UpstreamError(
            error_text(reply),
            status,
            kind if kind in KINDS else kind_of(status),
            headers,
            details if isinstance(details, dict) else None,
        )


def _first_party(target: Target) -> bool:
    options: AnthropicOptions = target.options or AnthropicOptions()
    return is_first_party(target.base_url) if options.first_party is None else options.first_party


@functools.lru_cache(maxsize=256)
def is_first_party(base_url: str) -> bool:
    """Whether ``base_url`` belongs to Anthropic itself."""
    host = urlsplit(base_url).hostname or ""
    return host == "anthropic.com" or host.endswith(".anthropic.com")


@functools.lru_cache(maxsize=256)
def messages_url(base_url: str, first_party: bool) -> str:
    """The full URL for a base as people write it: with the path up to ``/messages``, up to ``/v1``, or before that.

    The query is kept, except ``beta=true`` towards others than Anthropic.
    """
    scheme, host, path, query, _ = urlsplit(base_url)
    if scheme == "embedded":
        return base_url
    path = path.rstrip("/")
    if not path.endswith("/messages"):
        path += "/messages" if path.endswith("/v1") else "/v1/messages"
    if query and not first_party:
        query = urlencode([pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "beta"])
    return urlunsplit((scheme, host, path, query, ""))


def _betas(request: Request, body: JSON) -> list[str]:
    """The beta names of a request: those of the header, and those that SDKs put into the body by mistake.

    They are taken out of ``body``, where the API refuses them.
    """
    names = request.headers.get("anthropic-beta", "").split(",") if request.ingress == "anthropic" else []
    given = body.pop("betas", None)
    if isinstance(given, list):
        names += [name for name in given if isinstance(name, str)]
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


def _has_system(body: JSON) -> bool:
    return any(message.get("role") == "system" for message in body["messages"])
