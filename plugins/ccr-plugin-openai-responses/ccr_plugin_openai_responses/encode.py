"""The request body.

Fields are taken over one by one: what is not named here never reaches a provider, whatever the client invents next.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ccr_core import JSON, Context, Request, WireRequest, answer_schema, schema_in_words

from . import reasoning, tools
from .conversation import conversation
from .options import Options
from .schema import is_strict
from .urls import endpoint

READ = frozenset(
    {"model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "stream", "thinking"}
    | {"output_config", "speed"}
)
"""The fields of a Messages API body that have a counterpart."""


def encode(request: Request, ctx: Context, options: Options) -> WireRequest:
    """``request`` for the target of ``ctx``; see :meth:`ccr_core.Dialect.encode`."""
    request.require_whole()
    source = request.body
    unread = sorted(name for name in source.keys() - READ if source[name])
    if unread:
        ctx.note("body", f"fields without a counterpart left out: {', '.join(unread)}")
    form, added = _format(request, ctx, options)
    instructions, items = conversation(request, ctx, options, added)
    body: JSON = {"model": ctx.target.model}
    if instructions or options.instructions == "empty":
        body["instructions"] = instructions
    body["input"] = items
    body.update(tools.fields(request, ctx, options))
    thinking = reasoning.fields(request, ctx, options)
    body.update(_limits(source, ctx, options, "reasoning" in thinking))
    body.update(form)
    body.update(thinking)
    if options.include:
        body["include"] = list(dict.fromkeys([*body.get("include", ()), *options.include]))
    if source.get("speed") == "fast" and options.fast:
        body["service_tier"] = options.fast
    body["store"] = options.store
    body["stream"] = request.stream or options.force_stream
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if body["stream"] else "application/json",
    }
    session = _session(request)
    if session and options.session_field:
        body[options.session_field] = session
    if session and options.session_header:
        headers[options.session_header.lower()] = session
    for name, value in options.body.items():
        body[name] = _joined(body[name], value) if name in body else value
    for name in options.drop:
        if body.pop(name, None) is not None:
            ctx.note("body", f"{name} left out: the service does not take it")
    return WireRequest(url=endpoint(ctx.target.base_url), headers=headers, body=body)


def _joined(held: Any, more: Any) -> Any:
    """Objects and lists are joined: a preset may add to what the request itself says."""
    if isinstance(held, dict) and isinstance(more, dict):
        return {**more, **held}
    if isinstance(held, list) and isinstance(more, list):
        return [*held, *(one for one in more if one not in held)]
    return held


def _session(request: Request) -> str | None:
    """A stable id of the session that tells nothing else.

    Sub-agents have prompts of their own, so each has its own id: what shares one is kept on one machine there.
    """
    session, agent = request.hints.session, request.hints.agent_id
    return hashlib.sha256(f"ccr {session} {agent or ''}".encode()).hexdigest()[:32] if session else None


def _limits(source: JSON, ctx: Context, options: Options, thinks: bool) -> JSON:
    body: JSON = {}
    wanted = source.get("max_tokens")
    if isinstance(wanted, int):
        most = min(limit for limit in (wanted, ctx.target.max_output, options.max_output) if limit is not None)
        if most < wanted:
            ctx.note("max_tokens", f"{wanted} lowered to the limit {most}")
        if most < options.min_output:
            ctx.note("max_tokens", f"{most} raised to {options.min_output}, the least that the service takes")
        body["max_output_tokens"] = max(most, options.min_output)
    for name in ("temperature", "top_p"):
        if source.get(name) is None:
            continue
        if options.sampling == "always" or (options.sampling == "auto" and not thinks):
            body[name] = source[name]
        else:
            ctx.note("body", f"{name} left out: models that think do not take it")
    return body


def _format(request: Request, ctx: Context, options: Options) -> tuple[JSON, str]:
    """The field that asks for an answer of a certain form, and the words that do."""
    schema = answer_schema(request, ctx)
    if schema is None:
        return {}, ""
    if options.structured == "json_schema":
        wanted = {"type": "json_schema", "name": "answer", "schema": schema, "strict": is_strict(schema)}
        return {"text": {"format": wanted}}, ""
    ctx.note("body", "the schema of the answer is only described in words: the service does not take it")
    words = schema_in_words(schema)
    return ({"text": {"format": {"type": "json_object"}}} if options.structured == "json_object" else {}), words
