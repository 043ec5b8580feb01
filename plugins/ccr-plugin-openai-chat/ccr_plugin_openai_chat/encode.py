"""The request body.

Fields are taken over one by one: what is not named here never reaches a provider, whatever the client invents next.
"""

from __future__ import annotations

import hashlib

from ccr_core import JSON, Context, Request, WireRequest, answer_schema, schema_in_words

from . import reasoning, tools
from .messages import messages
from .options import Options
from .schema import is_strict
from .urls import endpoint

READ = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "stream",
        "thinking",
        "output_config",
    }
)
"""The fields of a Messages API body that have a counterpart."""


def encode(request: Request, ctx: Context, options: Options) -> WireRequest:
    """``request`` for the target of ``ctx``; see :meth:`ccr_core.Dialect.encode`."""
    request.require_whole()
    source = request.body
    unread = sorted(source.keys() - READ)
    if unread:
        ctx.note("body", f"fields without a counterpart left out: {', '.join(unread)}")
    form, instruction = _format(request, ctx, options)
    body: JSON = {"model": ctx.target.model, "messages": messages(request, ctx, options, instruction)}
    body.update(tools.fields(request, ctx, options))
    body.update(_limits(source, ctx, options))
    body.update(form)
    body.update(reasoning.fields(request, ctx, options))
    if request.stream or options.force_stream:
        body["stream"] = True
        if options.stream_usage == "option":
            body["stream_options"] = {"include_usage": True}
    else:
        body["stream"] = False
    for name, value in options.body.items():
        held = body.get(name)
        # Objects are joined: a preset may add a key beside one that the request sets.
        body[name] = {**value, **held} if isinstance(held, dict) and isinstance(value, dict) else body.get(name, value)
    headers = {
        "content-type": "application/json",
        "accept": "text/event-stream" if body["stream"] else "application/json",
    }
    if request.hints.session and (options.session_field or options.session_header):
        session = _session_id(request.hints.session)
        if options.session_field:
            body.setdefault(options.session_field, session)
        if options.session_header:
            headers[options.session_header.lower()] = session
    for name in options.drop:
        if body.pop(name, None) is not None:
            ctx.note("body", f"{name} left out: the service does not take it")
    return WireRequest(url=endpoint(ctx.target.base_url), headers=headers, body=body)


def _session_id(session: str) -> str:
    """A stable id of the session that tells nothing else."""
    return hashlib.sha256(f"ccr {session}".encode()).hexdigest()[:32]


def _limits(source: JSON, ctx: Context, options: Options) -> JSON:
    body: JSON = {}
    wanted = source.get("max_tokens")
    if isinstance(wanted, int) and options.max_tokens_field != "none":
        most = min(limit for limit in (wanted, ctx.target.max_output, options.max_output) if limit is not None)
        if most < wanted:
            ctx.note("max_tokens", f"{wanted} lowered to the limit {most}")
        body[options.max_tokens_field] = most
    for name in ("temperature", "top_p"):
        if source.get(name) is not None:
            body[name] = source[name]
    if source.get("top_k") is not None:
        if options.top_k:
            body["top_k"] = source["top_k"]
        else:
            ctx.note("body", "top_k left out: the service does not take it")
    stop = [text for text in source.get("stop_sequences") or () if text]
    if len(stop) > options.stop_max:
        ctx.note("body", f"stop sequences above the limit of {options.stop_max} left out: {stop[options.stop_max :]}")
        stop = stop[: options.stop_max]
    if stop:
        body["stop"] = stop
    return body


def _format(request: Request, ctx: Context, options: Options) -> tuple[JSON, str]:
    """The field that asks for an answer of a certain form, and the words that do."""
    schema = answer_schema(request, ctx)
    if schema is None:
        return {}, ""
    if options.structured == "json_schema":
        wanted: JSON = {"name": "answer", "schema": schema}
        if is_strict(schema):
            wanted["strict"] = True
        return {"response_format": {"type": "json_schema", "json_schema": wanted}}, ""
    ctx.note("body", "the schema of the answer is only described in words: the service does not take it")
    words = schema_in_words(schema)
    return ({"response_format": {"type": "json_object"}} if options.structured == "json_object" else {}), words
