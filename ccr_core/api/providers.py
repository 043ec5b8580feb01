"""Providers: what they are and how they fare, adding, changing, ordering, trying them, and their models."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from ccr_core import config_edit, entries, probe
from ccr_core.api.config import SAVED
from ccr_core.api.desk import Desk, Draft
from ccr_core.api.masks import hidden, masked, restored
from ccr_core.api.openapi import maybe, named
from ccr_core.api.operation import Call, Operation, Refused, refuse
from ccr_core.catalogue import ModelFacts, Subject
from ccr_core.config import Config, Problem, Problems, ProviderConfig, join, parse_path
from ccr_core.config_edit import Change, Delete, Set
from ccr_core.messages import JSON
from ccr_core.routing import LEVELS, find_route
from ccr_core.runtime import Provider, Runtime

ABSENT: Any = ...

RATES = dict.fromkeys(("input", "output", "cache_read", "cache_write", "cache_write_1h"), maybe(float))
PRICES = maybe(named("prices", RATES))
FACTS = {"title": str, "window": maybe(int), "output": maybe(int), "prices": PRICES, "levels": maybe([str])}
ORDER = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@attrs.frozen(kw_only=True)
class New:
    """A provider to add: a service that is known (``preset``, or ``sign_in`` with an account), or any other.

    ``api_key`` is the key or, better, a reference such as ``$NAME``.
    """

    version: str
    name: str | None = None
    preset: str | None = None
    sign_in: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    models: tuple[str, ...] = ()
    dialect: str | None = None
    transformers: tuple[str, ...] = ()
    as_default: bool = False


@attrs.frozen(kw_only=True)
class Changed:
    """What is to be changed of a provider; ``null`` removes a key.  The values are those of the configuration."""

    version: str
    name: str | None = None
    base_url: Any = ABSENT
    api_key: Any = ABSENT
    models: Any = ABSENT
    enabled: Any = ABSENT
    transformer: Any = ABSENT
    dialect: Any = ABSENT
    options: Any = ABSENT
    headers: Any = ABSENT
    tokenizer: Any = ABSENT
    auth_type: Any = ABSENT
    oauth_provider: Any = ABSENT
    accept_host: bool = False


@attrs.frozen(kw_only=True)
class Gone:
    """``drop_routes``: also remove the routes that lead to it, instead of refusing."""

    version: str
    drop_routes: bool = False


@attrs.frozen(kw_only=True)
class Ordered:
    """All providers, in their new order."""

    version: str
    names: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Trial:
    """Which model to ask (the first one if absent), and how many seconds to wait."""

    model: str | None = None
    seconds: float = attrs.field(default=60, validator=[attrs.validators.ge(1), attrs.validators.le(600)])


@attrs.frozen(kw_only=True)
class Nothing:
    """An empty body."""


# --- looking --------------------------------------------------------------------------------------------------


def listed(desk: Desk, call: Call) -> JSON:
    """All entries, also those that are switched off."""
    draft, runtime = desk.present()
    cooling = desk.app.engine.health.report()
    raw = runtime.config.raw.get(entries.providers_key(runtime.config)) or ()
    rows = []
    for index, (entry, written) in enumerate(zip(runtime.config.providers, raw, strict=False)):
        provider = runtime.providers.get(entry.name)
        rows.append(_row(runtime, entry, provider, index, written, cooling))
    return {"version": draft.version, "providers": rows}


def _row(
    runtime: Runtime,
    entry: ProviderConfig,
    provider: Provider | None,
    index: int,
    written: Mapping[str, Any],
    cooling: list[dict[str, object]],
) -> JSON:
    address = provider.base_url if provider is not None else entry.api_base_url or ""
    models = provider.models if provider is not None else entry.models
    steps: list[JSON] = []
    if provider is not None:
        steps += [{"name": step.spec.name, "model": None, "where": step.where} for step in provider.plan.steps]
        for model, plan in provider.plans.items():
            own = [step for step in plan.steps if step not in provider.plan.steps]
            steps += [{"name": step.spec.name, "model": model, "where": step.where} for step in own]
    return {
        "name": entry.name,
        "index": index,
        "where": entry.where,
        "enabled": entry.enabled,
        "base_url": hidden(address),
        "host": host_of(address),
        "dialect": provider.plan.dialect.name if provider is not None else entry.dialect,
        "preset": provider.spec.name if provider is not None and provider.spec is not None else None,
        "key": _key(provider, written),
        "auth": _auth(provider),
        "models": [{"id": model, **facts(runtime, provider, model)} for model in models],
        "transformers": steps,
        "cooling": [item for item in cooling if item["provider"] == entry.name],
        "warnings": [text for text in runtime.warnings if text.startswith((f"{entry.where}:", f"{entry.where}."))],
        "entry": masked(dict(written)),
    }


def _key(provider: Provider | None, written: Mapping[str, Any]) -> JSON:
    """What is known of a key without showing it: ``set``, ``unset`` (a variable), ``missing``, ``none`` (needed),
    ``account``."""
    given = written.get("api_key")
    first = given[0] if isinstance(given, list) and given else given
    first = first.get("key") if isinstance(first, Mapping) else first
    count = len(given) if isinstance(given, list) else int(bool(given))
    spec = provider.spec if provider is not None else None
    if provider is not None and provider.accounts is not None:
        return {"state": "account", "source": provider.accounts.spec.name, "count": len(provider.keys)}
    if isinstance(first, str) and first.startswith("$"):
        unset = not os.environ.get(first.strip("${}"))
        return {"state": "unset" if unset else "set", "source": first, "count": count}
    if first:
        return {"state": "set", "source": "configuration", "count": count}
    if spec is not None and spec.key_style == "none":
        return {"state": "none", "source": None, "count": 0}
    if provider is not None and provider.keys:
        return {"state": "set", "source": f"${spec.key_env}" if spec is not None else None, "count": 1}
    return {"state": "missing", "source": None, "count": 0}


def _auth(provider: Provider | None) -> JSON | None:
    from ccr_core.accounts import described

    if provider is None or provider.accounts is None:
        return None
    accounts = provider.accounts
    now = time.time()
    return {
        "sign_in": accounts.spec.name,
        "accounts": [described(account, accounts.spec, now) for account in accounts.accounts()],
    }


def host_of(url: str) -> str:
    """The host of an address, with its port if it has an unusual one."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return ""


def facts(runtime: Runtime, provider: Provider | None, model: str) -> JSON:
    """What is known of a model; ``levels`` are those of reasoning that it takes, where they are known."""
    known = provider.facts(model) if provider is not None else ModelFacts()
    return {
        "title": known.title or model,
        "window": known.context,
        "output": known.max_output,
        "prices": attrs.asdict(known.prices) if known.prices is not None else None,
        "levels": _levels(provider, model),
    }


def _levels(provider: Provider | None, model: str) -> list[str] | None:
    """The levels that the dialect's options name for a model."""
    if provider is None:
        return None
    options = provider.plan_for(model).options
    for holder in (options, getattr(options, "reasoning", None), getattr(options, "thinking", None)):
        found = getattr(holder, "levels", None)
        if isinstance(found, tuple) and found and all(isinstance(level, str) for level in found):
            return [level for level in ORDER if level in found] + [level for level in found if level not in ORDER]
    return None


def presets(desk: Desk, call: Call) -> JSON:
    """The services that need only be named, and those that are used with an account."""
    registry = desk.registry
    used = {provider.spec.name for provider in desk.runtime.providers.values() if provider.spec is not None}
    rows: list[JSON] = [
        {
            "name": spec.name,
            "summary": spec.summary,
            "base_url": spec.base_url if host_of(spec.base_url) else None,
            "host": host_of(spec.base_url),
            "dialect": spec.dialect,
            "key_env": spec.key_env,
            "key_set": bool(spec.key_env and os.environ.get(spec.key_env)),
            "needs_key": spec.key_style != "none" and spec.embedded is None,
            "models": list(spec.models),
            "sign_in": None,
            "configured": spec.name in used,
            "plugin": each.plugin.name,
        }
        for each in registry.providers.values()
        for spec in (each.value,)
    ]
    rows += [
        {
            "name": spec.name,
            "summary": spec.summary,
            "base_url": spec.base_url,
            "host": host_of(spec.base_url),
            "dialect": spec.endpoints[0].dialect if spec.endpoints else None,
            "key_env": None,
            "key_set": False,
            "needs_key": False,
            "models": list(spec.models),
            "sign_in": spec.name,
            "configured": spec.name in used,
            "plugin": each.plugin.name,
        }
        for each in registry.auth.values()
        for spec in (each.value,)
    ]
    return {"presets": sorted(rows, key=lambda row: (row["sign_in"] is not None, row["name"]))}


def models(desk: Desk, call: Call) -> JSON:
    """Every model that a route may name: those of the configuration, and others that presets know."""
    runtime = desk.runtime
    rows = []
    for name, provider in runtime.providers.items():
        known = provider.models
        others = provider.spec.models if provider.spec is not None else ()
        for model in dict.fromkeys((*known, *others)):
            told = facts(runtime, provider, model)
            rows.append(
                {
                    "value": f"{name},{model}",
                    "label": f"{told['title']} ({name})",
                    "provider": name,
                    "model": model,
                    **{key: told[key] for key in ("window", "output", "prices", "levels")},
                    "default_level": None,
                    "configured": model in known,
                }
            )
    return {"models": rows, "levels": [level for level in ORDER if level in LEVELS]}


# --- changing -------------------------------------------------------------------------------------------------


async def add(desk: Desk, call: Call) -> JSON:
    """Add a provider behind the others."""
    wanted: New = call.given
    name = wanted.name or wanted.preset or wanted.sign_in or (host_of(wanted.base_url or "").partition(":")[0])

    def change(draft: Draft) -> str:
        config = desk.made(draft.text, draft.path).config
        entries.check_name(config, name)
        entry = entries.entry_for(
            desk.registry,
            name,
            preset=wanted.preset,
            url=wanted.base_url,
            key=wanted.api_key or None,
            models=wanted.models,
            dialect=wanted.dialect,
            oauth=wanted.sign_in,
            transformers=wanted.transformers,
        )
        problems = Problems()
        restored(entry, None, problems, ("Providers", len(config.providers)))
        problems.raise_if_any(draft.path)
        changes, _ = entries.appended(config, desk.registry, entry, wanted.as_default)
        return config_edit.changed(draft.text, changes, draft.path)

    return {**await desk.save(wanted.version, change), "name": name}


async def edit(desk: Desk, call: Call) -> JSON:
    """Change keys of a provider; routes follow a new name."""
    wanted: Changed = call.given

    def change(draft: Draft) -> str:
        config = desk.made(draft.text, draft.path).config
        entry = entry_named(config, call.path["name"])
        place = parse_path(entry.where)
        raw = _written(config, entry)
        changes: list[Change] = []
        problems = Problems()
        given = {key: value for key, value in attrs.asdict(wanted, recurse=False).items() if value is not ABSENT}
        for key in ("version", "accept_host", "name"):
            given.pop(key)
        for key, value in given.items():
            key = "api_base_url" if key == "base_url" else key
            if value is None:
                changes += [Delete((*place, key))] if key in raw else []
            else:
                changes.append(Set((*place, key), restored(value, raw.get(key), problems, (*place, key))))
        problems.raise_if_any(draft.path)
        if wanted.name is not None and wanted.name != entry.name:
            if wanted.name.lower() != entry.name.lower():
                entries.check_name(config, wanted.name)
            changes.append(Set((*place, "name"), wanted.name))
            changes += [Set(path, route) for path, route in _renamed(config, entry.name, wanted.name)]
        return config_edit.changed(draft.text, changes, draft.path)

    return {**await desk.save(wanted.version, change, wanted.accept_host), "name": wanted.name or call.path["name"]}


async def remove(desk: Desk, call: Call) -> JSON:
    """Remove a provider that no route leads to, or its routes with it."""
    wanted: Gone = call.given

    def change(draft: Draft) -> str:
        config = desk.made(draft.text, draft.path).config
        entry = entry_named(config, call.path["name"])
        used = [path for path, _, _ in _routes_to(config, entry.name)]
        if used and not wanted.drop_routes:
            text = f"this route leads to {entry.name}; change it first, or send drop_routes"
            raise refuse([Problem(join("", *path), text) for path in used], drop_routes=True)
        # From the end, so that what comes before keeps its place.
        changes: list[Change] = [Delete(path) for path in reversed(used)]
        changes.append(Delete(parse_path(entry.where)))
        return config_edit.changed(draft.text, changes, draft.path)

    return await desk.save(wanted.version, change)


async def order(desk: Desk, call: Call) -> JSON:
    """Put the providers into another order, each with its remarks."""
    wanted: Ordered = call.given

    def change(draft: Draft) -> str:
        config = desk.made(draft.text, draft.path).config
        names = [entry.name for entry in config.providers]
        if sorted(names) != sorted(wanted.names):
            raise refuse([Problem("names", f"expected each of these once: {', '.join(names)}")])
        moves = [names.index(name) for name in wanted.names]
        if moves == sorted(moves):
            return draft.text
        return config_edit.reordered(draft.text, draft.path, entries.providers_key(config), moves)

    return await desk.save(wanted.version, change)


def entry_named(config: Config, name: str) -> ProviderConfig:
    """The entry with this name, in any case of letters."""
    found = [entry for entry in config.providers if entry.name == name]
    found += [entry for entry in config.providers if entry.name.lower() == name.lower()]
    if not found:
        known = ", ".join(entry.name for entry in config.providers) or "none"
        raise Refused(f"there is no provider {name!r}; there are: {known}", 404)
    return found[0]


def _written(config: Config, entry: ProviderConfig) -> Mapping[str, Any]:
    key, index = parse_path(entry.where)
    found: Mapping[str, Any] = config.raw[str(key)][int(index)]
    return found


def _routes_to(config: Config, name: str) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Each route of the configuration that leads to a provider: place, text, and what follows the name."""
    known = {entry.name: entry.models for entry in config.providers}

    def leads(text: Any) -> str | None:
        route = find_route(text, known) if isinstance(text, str) else None
        return text[len(text.partition("," if "," in text else "/")[0]) :] if route and route.provider == name else None

    section = entries.router_key(config)
    for key, value in (config.raw.get(section) or {}).items():
        for path, text in (
            [((section, key, inner), item) for inner, item in value.items()]
            if isinstance(value, Mapping)
            else [((section, key), value)]
        ):
            rest = leads(text)
            if rest is not None:
                yield path, text, rest
    for scenario, texts in (config.raw.get("fallback") or {}).items():
        for index, text in enumerate(texts if isinstance(texts, list) else ()):
            rest = leads(text)
            if rest is not None:
                yield ("fallback", scenario, index), text, rest


def _renamed(config: Config, old: str, new: str) -> list[tuple[tuple[str | int, ...], str]]:
    return [(path, f"{new}{rest}") for path, _, rest in _routes_to(config, old)]


# --- asking the service ---------------------------------------------------------------------------------------


async def test(desk: Desk, call: Call) -> JSON:
    """Send one small real request; it costs a few tokens."""
    wanted: Trial = call.given
    provider = desk.provider(call.path["name"])
    result = await probe.attempt(desk.runtime, provider, wanted.model, wanted.seconds)
    told: JSON = desk.clean({**result, "error": result["error"] or None, "status": result["status"] or None})
    return told


async def discover(desk: Desk, call: Call) -> JSON:
    """Ask the service for its models."""
    runtime = desk.runtime
    provider = desk.provider(call.path["name"])
    found = await probe.offered(runtime, provider)
    return {"models": [offered(provider, model) for model in found]}


def offered(provider: Provider, model: Any) -> JSON:
    """A model as a service offers it."""
    preset = provider.spec.name if provider.spec is not None else None
    known = provider.known.of(
        Subject(provider=provider.name, model=model.id, base_url=provider.base_url, preset=preset)
    )
    return {
        "id": model.id,
        "title": model.name or known.title or model.id,
        "known": model.id in provider.models,
        "window": model.context or known.context,
        "output": model.max_output or known.max_output,
        "prices": attrs.asdict(known.prices) if known.prices is not None else None,
        "levels": list(model.levels) or None,
        "note": model.note,
    }


OFFERED = {"id": str, "known": bool, "note": str, **FACTS}
NAMED = {**SAVED, "name": str}

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/providers",
        summary="The providers: address, key, models, transformers, and how they fare.",
        answer=listed,
        gives={
            "version": str,
            "providers": [
                {
                    "name": str,
                    "index": int,
                    "where": str,
                    "enabled": bool,
                    "base_url": str,
                    "host": str,
                    "dialect": maybe(str),
                    "preset": maybe(str),
                    "key": {
                        "state": ("set", "unset", "missing", "none", "account"),
                        "source": maybe(str),
                        "count": int,
                    },
                    "auth": maybe({"sign_in": str, "accounts": [object]}),
                    "models": [named("model", {"id": str, **FACTS})],
                    "transformers": [{"name": str, "model": maybe(str), "where": str}],
                    "cooling": [{"provider": str, "key": maybe(str), "seconds": float, "why": str}],
                    "warnings": [str],
                    "entry": object,
                }
            ],
        },
    ),
    Operation(
        method="GET",
        path="/api/provider-presets",
        summary="The services that need only be named.",
        answer=presets,
        gives={
            "presets": [
                {
                    "name": str,
                    "summary": str,
                    "base_url": maybe(str),
                    "host": str,
                    "dialect": maybe(str),
                    "key_env": maybe(str),
                    "key_set": bool,
                    "needs_key": bool,
                    "models": [str],
                    "sign_in": maybe(str),
                    "configured": bool,
                    "plugin": str,
                }
            ]
        },
    ),
    Operation(
        method="POST",
        path="/api/providers",
        summary="Add a provider.",
        answer=add,
        takes=New,
        gives=NAMED,
    ),
    Operation(
        method="PUT",
        path="/api/providers/order",
        summary="Put the providers into another order.",
        answer=order,
        takes=Ordered,
        gives=SAVED,
    ),
    Operation(
        method="PATCH",
        path="/api/providers/{name}",
        summary="Change keys of a provider; routes follow a new name.",
        answer=edit,
        takes=Changed,
        gives=NAMED,
    ),
    Operation(
        method="DELETE",
        path="/api/providers/{name}",
        summary="Remove a provider.",
        answer=remove,
        takes=Gone,
        gives=SAVED,
    ),
    Operation(
        method="POST",
        path="/api/providers/{name}/test",
        summary="Send a provider one small real request.",
        answer=test,
        takes=Trial,
        gives={
            "provider": str,
            "model": str,
            "ok": bool,
            "error": maybe(str),
            "status": maybe(int),
            "first": maybe(float),
            "duration": maybe(float),
            "streaming": str,
            "tools": str,
            "usage": {str: object},
        },
    ),
    Operation(
        method="POST",
        path="/api/providers/{name}/discover",
        summary="Ask a provider for its models.",
        answer=discover,
        takes=Nothing,
        gives={"models": [OFFERED]},
    ),
    Operation(
        method="GET",
        path="/api/models",
        summary="Every model that a route may name.",
        answer=models,
        gives={
            "models": [
                {
                    "value": str,
                    "label": str,
                    "provider": str,
                    "model": str,
                    "window": maybe(int),
                    "output": maybe(int),
                    "prices": PRICES,
                    "levels": maybe([str]),
                    "default_level": maybe(str),
                    "configured": bool,
                }
            ],
            "levels": [str],
        },
    ),
)
