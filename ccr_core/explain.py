"""What would happen to a request: every rule's answer, the chain, what each step changes.  Sends nothing."""

from __future__ import annotations

from typing import Any

import orjson

from ccr_core.attempt import Attempt
from ccr_core.dialect import Ingress
from ccr_core.engine import Engine, fallbacks
from ccr_core.errors import RoutingError
from ccr_core.messages import JSON, Headers
from ccr_core.routing import Choice
from ccr_core.runtime import Runtime
from ccr_core.transform import Chain, Step


async def explain(runtime: Runtime, body: JSON, headers: Headers) -> JSON:
    """What would happen to a Messages API request ``body``.

    The result has ``route``, ``rules``, ``steps``, ``dialect``, ``url``, ``headers``, ``body`` (as it would be sent,
    unsigned) and ``notes``; or ``rules`` and ``error`` when no rule chooses a model.
    """
    return await explain_with(Engine(runtime), messages_ingress(runtime), orjson.dumps(body), headers)


def messages_ingress(runtime: Runtime) -> Ingress:
    """The client format of the Messages API; raises ``RoutingError`` if no plugin offers it."""
    for contributed in runtime.ingresses:
        if contributed.value.name == "anthropic":
            return contributed.value
    raise RoutingError("no plugin offers the ingress anthropic; install ccr-plugin-anthropic")


async def explain_with(
    engine: Engine, ingress: Ingress, body: bytes, headers: Headers, tokens: int | None = None
) -> JSON:
    """The same for a running ``engine`` and any client format.  ``tokens``: the size, where it need not be counted."""
    runtime = engine.runtime
    request = ingress.decode(body, headers)
    result: JSON = {"requested": request.model}
    try:
        choice = await engine.route(runtime, request, tokens)
    except RoutingError as error:
        return {**result, "rules": [answer.to_json() for answer in error.answers], "error": error.message}
    result |= {
        "route": {"provider": choice.route.provider, "model": choice.route.model, "level": choice.route.level},
        "scenario": choice.scenario,
        "rule": choice.rule,
        "why": choice.why,
        "tokens": choice.tokens,
        "rules": [answer.to_json() for answer in choice.answers],
        "fallbacks": [str(route) for route in fallbacks(runtime, choice)],
    }
    return result | _sending(runtime, choice)


def _sending(runtime: Runtime, choice: Choice) -> JSON:
    """The chain, step by step, and what would be sent."""
    notes: list[JSON] = [{"key": key, "value": value} for key, value in choice.request.notes]
    attempt = Attempt(
        runtime, choice.request, choice.route, "explain", lambda key, value: notes.append({"key": key, "value": value})
    )
    ctx, steps = attempt.ctx, attempt.plan.steps
    notes.clear()
    shown: list[JSON] = []
    now = choice.request
    made = [(step, Chain([step], ctx)) for step in steps]
    for step, chain in made:
        changed = chain.on_request(now)
        shown.append(_step(step, "request", now.body, changed.body))
        now = changed
    wire = attempt.encoded()
    for step, chain in made:
        changed_wire = chain.on_wire_request(wire)
        if changed_wire is not wire:
            before = {"url": wire.url, "headers": dict(wire.headers), "body": wire.body}
            after = {"url": changed_wire.url, "headers": dict(changed_wire.headers), "body": changed_wire.body}
            shown.append(_step(step, "wire request", before, after))
        wire = changed_wire
    return {
        "preset": attempt.provider.spec.name if attempt.provider.spec else None,
        "dialect": attempt.plan.dialect.name,
        "steps": shown,
        "returning": [step.spec.name for step, chain in reversed(made) if chain.stages() or chain.wire_stages()],
        "url": wire.url,
        "headers": dict(wire.headers),
        "body": wire.body,
        "notes": notes,
    }


def _step(step: Step, stage: str, before: Any, after: Any) -> JSON:
    return {
        "name": step.spec.name,
        "plugin": step.plugin,
        "where": step.where,
        "stage": stage,
        "changed": difference(before, after),
    }


def difference(before: Any, after: Any, path: str = "") -> list[JSON]:
    """What changed between two JSON values: ``{"path", "before", "after"}`` for each place, long values cut."""
    if before is after or before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            change
            for key in {**before, **after}
            for change in difference(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            change
            for place, (old, new) in enumerate(zip(before, after, strict=True))
            for change in difference(old, new, f"{path}[{place}]")
        ]
    return [{"path": path, "before": _short(before), "after": _short(after)}]


def _short(value: Any) -> Any:
    text = orjson.dumps(value, default=str).decode()
    return value if len(text) <= 300 else text[:300] + "…"
