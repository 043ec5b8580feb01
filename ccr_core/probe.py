"""Trying a provider: one small real request, and what came of it.

The request goes through the provider's own chain, key and proxy, without any rule or fallback in between.  It is
streamed and offers a tool; if the provider refuses that, a second one without the tool is sent.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from ccr_core.auth import Call, OfferedModel
from ccr_core.dialect import WireRequest
from ccr_core.errors import AuthError, UpstreamError
from ccr_core.messages import JSON

if TYPE_CHECKING:
    from ccr_core.runtime import Provider, Runtime

QUESTION = 'Call the tool "report" with the word "pong".'
TOOL = {
    "name": "report",
    "description": "Report a word.",
    "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
}


def key_state(each: Provider) -> str:
    """What is known of a provider's key: ``set``, ``none needed``, ``missing``, ``sign-in``, or the unset variable."""
    if each.config.auth_type == "oauth":
        return f"sign-in {each.config.oauth_provider or each.name}"
    if each.spec is not None and each.spec.key_style == "none":
        return "none needed"
    if not each.keys:
        return "missing"
    first = each.config.api_key or ""
    if first.startswith("$"):  # a resolved reference is not seen any more
        return f"{first} is not set"
    return "set" if len(each.keys) == 1 else f"{len(each.keys)} keys"


async def attempt(runtime: Runtime, each: Provider, model: str | None = None, seconds: float = 60) -> JSON:
    """Send one small request to a model of ``each`` (its first if absent); what came of it, as plain data.

    ``status`` is that of the answer, ``first`` and ``duration`` are in seconds from the sending on, ``streaming`` and
    ``tools`` are a word or a sentence, ``error`` says what is wrong.
    """
    name = model or next(iter(each.models), None)
    if name is None:
        return _result(each, "?", error=f"{each.name} lists no model; name one")
    key = key_state(each)
    if key == "missing" or key.endswith(" is not set"):
        return _result(each, name, error=f"it has no key: {key}")
    return await _try(runtime, each, name, seconds)


async def _try(runtime: Runtime, each: Provider, model: str, seconds: float) -> dict[str, Any]:
    from ccr_core.upstream import HttpSender

    config = runtime.config
    sender = HttpSender(connect_seconds=config.limits.connect_s, proxy_url=config.proxy_url, no_proxy=config.no_proxy)
    try:
        async with asyncio.timeout(seconds):
            result = await _ask(runtime, each, model, sender, tools=True)
            if not result["ok"] and result["status"] in (400, 404, 422):
                second = await _ask(runtime, each, model, sender, tools=False)
                if second["ok"]:
                    return {**second, "tools": f"refused: {result['error']}"}
            return result
    except TimeoutError:
        return _result(each, model, error=f"no whole answer within {seconds:g} s")
    finally:
        await sender.aclose()


async def _ask(runtime: Runtime, each: Provider, model: str, sender: Any, *, tools: bool) -> dict[str, Any]:
    from ccr_core.config import Retry
    from ccr_core.engine import Engine
    from ccr_core.explain import messages_ingress

    only = attrs.evolve(
        runtime,
        rules=(_only(each, model),),
        server_tools=(),
        config=attrs.evolve(runtime.config, fallback={}, retry=Retry(attempts=0)),
    )
    body = {
        "model": model,
        "max_tokens": 1024,
        "stream": True,
        "messages": [{"role": "user", "content": QUESTION if tools else "Answer with the word pong."}],
        **({"tools": [TOOL]} if tools else {}),
    }
    client = _Reader()
    await Engine(only, sender).serve(messages_ingress(runtime), "/v1/messages", json.dumps(body).encode(), {}, client)
    return _judged(each, model, client, tools)


def _only(each: Provider, model: str) -> Any:
    """A rule that sends everything to one model."""
    from ccr_core.routing import Decision, Rule
    from ccr_core.spec import RuleSpec

    spec = RuleSpec(name="test", decide=lambda request, ctx: Decision(f"{each.name},{model}", "it is tested"))
    return Rule(spec, None, "ccr")


class _Reader:
    """The :class:`~ccr_core.exchange.Client` that notes what comes when."""

    def __init__(self) -> None:
        self.since = time.monotonic()
        self.status = 0
        self.times: list[float] = []
        self.data = b""

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.status = status

    async def write(self, data: bytes, last: bool = False) -> None:
        if data:
            self.times.append(time.monotonic() - self.since)
        self.data += data

    def sink(self, push: object, out: object) -> None:
        return None


def _judged(each: Provider, model: str, client: _Reader, tools: bool) -> dict[str, Any]:
    """What an answer of the Messages API says of its provider."""
    if client.status != 200:
        return _result(each, model, status=client.status, error=_message(client.data))
    events = []
    for line in client.data.decode(errors="replace").splitlines():
        if line.startswith("data:"):
            events.append(json.loads(line[5:]))
    failed = next((event["error"]["message"] for event in events if event["type"] == "error"), None)
    usage: dict[str, Any] = {}
    called = False
    for event in events:
        usage |= (event.get("message") or {}).get("usage") or event.get("usage") or {}
        called = called or (event.get("content_block") or {}).get("type") == "tool_use"
    pieces = len(client.times)
    return _result(
        each,
        model,
        status=client.status,
        error=failed or ("" if any(event["type"] == "message_stop" for event in events) else "the answer has no end"),
        first=client.times[0],
        duration=client.times[-1],
        streaming=f"yes, in {pieces} pieces" if pieces > 1 else "the answer came in one piece",
        tools="" if not tools else "called" if called else "offered, but not called",
        usage={key: value for key, value in usage.items() if value},
    )


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace")[:300]


def _result(each: Provider, model: str, **found: Any) -> dict[str, Any]:
    result = {
        "provider": each.name,
        "model": model,
        "ok": not found["error"],
        "error": "",
        "status": 0,
        "first": None,
        "duration": None,
        "streaming": "",
        "tools": "",
        "usage": {},
        **found,
    }
    return result


# --- what a service says that it has --------------------------------------------------------------------------


async def offered(runtime: Runtime, each: Provider, account: str | None = None) -> list[OfferedModel]:
    """The models that the service of ``each`` offers, as it says itself now.

    Services with a sign-in are asked in their own way; others for ``/models`` beside the address of the entry, which
    nearly all have.  Raises ``CcrError`` if there is no answer to be had.
    """
    from ccr_core.login import Http, quietly

    config = runtime.config
    http = Http(config.proxy_url, config.no_proxy)
    if each.accounts is not None:
        accounts = each.accounts
        keys = accounts.keys()
        key = next((key for key in keys if account in (None, key.id)), None)
        if key is None and account is not None:
            raise AuthError(f"{each.name} has no account {account}")
        key = await accounts.fresh(key)
        token: Any = key.token if key else None  # where requests go out without an account there is none
        return list(await asyncio.to_thread(quietly, accounts.auth.models(token), http))
    key = next(iter(each.keys), None)
    found: UpstreamError | None = None
    for url in _lists(each):
        wire = WireRequest(method="GET", url=url, headers={"accept": "application/json"}, key_style=_style(each))
        if _style(each) == "x-api-key":
            wire = attrs.evolve(wire, headers={**wire.headers, "anthropic-version": "2023-06-01"})
        signed = each.auth.apply(wire, key.token if key else None)
        reply = await asyncio.to_thread(http.call, Call(attrs.evolve(signed, key_style=None)))
        models = _models_in(reply.body) if reply.status == 200 else None
        if models is not None:
            return models
        status = reply.status if reply.status != 200 else 502
        found = found or UpstreamError(f"{url} gave no list of models (status {reply.status})", status)
    raise found or UpstreamError(f"{each.name} has no address to ask for its models")


def _style(each: Provider) -> str | None:
    spec = each.spec
    return (spec.key_style if spec is not None else None) or each.plan.dialect.key_style


def _lists(each: Provider) -> list[str]:
    """Where a service may list its models, by the address at which it is asked."""
    parts = urlsplit(each.plan.base_url or each.base_url)
    if parts.scheme not in ("http", "https"):
        return []
    path = parts.path.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/messages", "/responses", "/models"):
        path = path.removesuffix(ending)
    found = [f"{path}/models"] if path.endswith(("/v1", "/v1beta")) else [f"{path}/models", f"{path}/v1/models"]
    return [parts._replace(path=each, query=parts.query, fragment="").geturl() for each in found]


def _models_in(body: bytes) -> list[OfferedModel] | None:
    """The models in an answer of OpenAI's, Anthropic's or Google's form; ``None`` if it is none of these."""
    try:
        data = json.loads(body)
    except ValueError:
        return None
    items = data if isinstance(data, list) else next((data[key] for key in ("data", "models") if key in data), None)
    if not isinstance(items, list):
        return None
    models = []
    for item in items:
        entry = item if isinstance(item, dict) else {"id": item}
        name = next((entry[key] for key in ("id", "name", "model") if isinstance(entry.get(key), str)), None)
        if not name:
            continue
        window = next((entry[key] for key in _WINDOWS if isinstance(entry.get(key), int)), None)
        title = next((entry[key] for key in ("display_name", "displayName") if isinstance(entry.get(key), str)), "")
        limit = entry.get("outputTokenLimit")
        models.append(
            OfferedModel(
                id=name.removeprefix("models/"),
                name=title,
                context=window,
                max_output=limit if isinstance(limit, int) else None,
            )
        )
    return models


_WINDOWS = ("context_length", "context_window", "max_context_length", "max_model_len", "inputTokenLimit")
