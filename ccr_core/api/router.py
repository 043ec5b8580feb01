"""Routing: what is chosen for what and by which rules, what would happen to a request, and route tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import orjson

from ccr_core import entries, explain, routetests
from ccr_core.api.desk import Desk, placed
from ccr_core.api.masks import hidden, masked
from ccr_core.api.openapi import maybe, named
from ccr_core.api.operation import Call, Operation, Refused, refuse
from ccr_core.api.providers import ORDER
from ccr_core.api.transformers import OPTION
from ccr_core.config import Problems, join, keys_of, parse, structure
from ccr_core.errors import ConfigError
from ccr_core.messages import JSON
from ccr_core.options import options_of, takes_any
from ccr_core.projects import SHARED, standing
from ccr_core.routetests import Description
from ccr_core.routing import DEFAULT_RULES, LEVELS, find_route
from ccr_core.runtime import Runtime


@attrs.frozen(kw_only=True)
class Explain:
    """A request of the Messages API with its headers, or one that is described as in ``Router.tests``."""

    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = attrs.Factory(dict)
    describe: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class Tests:
    """Route tests to run instead of those of the configuration."""

    tests: tuple[Mapping[str, Any], ...] | None = None


def show(desk: Desk, call: Call) -> JSON:
    """Everything about routing."""
    draft, runtime = desk.present()
    config, registry = runtime.config, runtime.registry
    section = entries.router_key(config)
    owners = _owners(runtime)
    keys = entries.route_keys(registry)
    router = {"default": config.raw.get(section, {}).get("default"), **config.router.options}
    order = [rule.spec.name for rule in runtime.rules]
    scenarios, tables = [], []
    for key, is_table in keys.items():
        rule, summary = owners.get(key, ("default", "")) if key != "default" else _default(runtime)
        value = router.get(key)
        about = {"key": key, "path": [section, key], "rule": rule, "active": rule in order, "summary": summary}
        if is_table:
            given = value if isinstance(value, Mapping) else {}
            routes = {str(name): _route(runtime, text) for name, text in given.items()}
            tables.append({**about, "routes": routes})
        else:
            scenarios.append({**about, **_route(runtime, value)})
    return {
        "version": draft.version,
        "section": section,
        "scenarios": scenarios,
        "tables": tables,
        "rules": list(_rules(runtime, order)),
        "order": order,
        "own_order": config.router.rules is not None,
        "default_order": [name for name in DEFAULT_RULES if name in registry.rules],
        "fallback": {name: list(routes) for name, routes in config.fallback.items()},
        "tests": masked(list(config.router.options.get("tests") or ())),
        "projects": list(_projects(desk.app.home)),
        "levels": [level for level in ORDER if level in LEVELS],
        "default": config.router.default,
    }


def _default(runtime: Runtime) -> tuple[str, str]:
    rule = runtime.registry.rules.get("default")
    return "default", rule.value.summary if rule is not None else ""


def _owners(runtime: Runtime) -> dict[str, tuple[str, str]]:
    """Which rule a key of ``Router`` belongs to, and its summary."""
    return {
        key: (name, each.value.summary)
        for name, each in runtime.registry.rules.items()
        for key in (keys_of(each.value.options) if each.value.options else ())
    }


def _route(runtime: Runtime, value: Any) -> JSON:
    """A route as it is written, and as it is understood."""
    text = value if isinstance(value, str) and value else None
    found = find_route(text, runtime.models) if text is not None else None
    return {
        "value": text,
        "provider": found.provider if found is not None else None,
        "model": found.model if found is not None else None,
        "level": found.level if found is not None else None,
        "listed": found is not None and found.model in runtime.models[found.provider],
    }


def _rules(runtime: Runtime, order: list[str]) -> Iterator[JSON]:
    given = runtime.config.router.options
    for name, each in sorted(
        runtime.registry.rules.items(), key=lambda pair: (order.index(pair[0]) if pair[0] in order else 99, pair[0])
    ):
        spec = each.value
        options = options_of(spec.options)
        yield {
            "name": name,
            "active": name in order,
            "plugin": each.plugin.name,
            "summary": spec.summary,
            "options": options,
            "free": takes_any(spec.options),
            "values": masked({option["name"]: given[option["name"]] for option in options if option["name"] in given}),
        }


def _projects(folder: Path) -> Iterator[JSON]:
    """Routers of projects: files of repositories that were ever trusted, and those in ccr's own folder."""
    for file, state in standing(folder):
        yield {"path": str(file.parent), "file": str(file), "state": state, "router": _router_of(file)}
    for file in sorted(folder.glob("*/*.json")):
        if file.parent.name in ("presets", "run", "management", "logs") or not file.parent.name.startswith("-"):
            continue
        yield {"path": file.parent.name, "file": str(file), "state": "own", "router": _router_of(file)}


def _router_of(file: Path) -> Any:
    # .ccr.toml is TOML, although its name has no other ending.
    syntax = file.with_suffix(".toml") if file.name == SHARED else file
    try:
        found = parse(file.read_text("utf-8"), syntax).data.get("Router")
    except (ConfigError, OSError, ValueError):
        return {}
    return masked(found) if isinstance(found, Mapping) else {}


async def explained(desk: Desk, call: Call) -> JSON:
    """What would happen to a request; nothing is sent."""
    wanted: Explain = call.given
    if (wanted.body is None) == (wanted.describe is None):
        raise Refused("send one of body and describe")
    body, headers = wanted.body, {name.lower(): value for name, value in wanted.headers.items()}
    tokens = None
    if wanted.describe is not None:
        problems = Problems()
        description = structure(Description, wanted.describe, "describe", problems)
        if description is None:
            raise refuse(problems.items, end="it cannot be explained")
        body, headers = description.body(), {**description.headers(), **headers}
        tokens = description.tokens
    ingress = explain.messages_ingress(desk.runtime)
    result = await explain.explain_with(desk.app.engine, ingress, orjson.dumps(body), headers, tokens)
    return shown(desk, result)


def shown(desk: Desk, result: JSON) -> JSON:
    """An explanation without the secrets that the chain puts into a request."""
    told = {**result, **({"headers": masked({"headers": result["headers"]})["headers"]} if "headers" in result else {})}
    if "url" in told:
        told["url"] = hidden(told["url"])
    if "body" in told:
        told["body"] = masked(told["body"])
    for step in told.get("steps", ()):
        step["changed"] = [_masked_change(change) for change in step["changed"]]
    cleaned: JSON = desk.clean(told)
    return cleaned


def _masked_change(change: JSON) -> JSON:
    """A change of a step, with masks in place of secrets."""
    path = change["path"].split(".")
    found = {**change}
    for side in ("before", "after"):
        value: Any = {path[-1]: change[side]}
        value = {"headers": value} if path[0] == "headers" else value
        value = masked(value)
        found[side] = (value["headers"] if path[0] == "headers" else value)[path[-1]]
    return found


async def tested(desk: Desk, call: Call) -> JSON:
    """Run route tests; nothing is sent."""
    wanted: Tests = call.given
    runtime = desk.runtime
    config = runtime.config
    own = wanted.tests is None
    where = join(config.router.where, "tests") if own else "tests"
    problems = Problems()
    written = config.router.options.get("tests", []) if own else [dict(test) for test in wanted.tests or ()]
    rules = [rule.spec.name for rule in runtime.rules]
    tests = routetests.read(written, where, runtime.find, rules, problems)
    if problems.items:
        found = problems.items
        if own:
            draft = desk.draft()
            found = placed(ConfigError("", problems.items), draft.text, draft.path)
        raise refuse(found, end="no test was run")
    ingress = explain.messages_ingress(runtime)
    engine = desk.app.engine
    results = await routetests.run(
        tests, ingress.decode, lambda request, tokens: engine.route(runtime, request, tokens)
    )
    return {
        "ok": all(not result.wrong for result in results),
        "results": [json.loads(json.dumps(result.to_json(), default=str)) for result in results],
    }


ROUTE = {
    "value": maybe(str),
    "provider": maybe(str),
    "model": maybe(str),
    "level": maybe(str),
    "listed": bool,
}
ABOUT = {"key": str, "path": [str], "rule": str, "active": bool, "summary": str}

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/router",
        summary="Routes, rules, fallback lists, route tests and routers of projects.",
        answer=show,
        gives={
            "version": str,
            "section": str,
            "scenarios": [{**ABOUT, **ROUTE}],
            "tables": [{**ABOUT, "routes": {str: ROUTE}}],
            "rules": [
                {
                    "name": str,
                    "active": bool,
                    "plugin": str,
                    "summary": str,
                    "options": [named("option", OPTION)],
                    "free": bool,
                    "values": {str: object},
                }
            ],
            "order": [str],
            "own_order": bool,
            "default_order": [str],
            "fallback": {str: [str]},
            "tests": [object],
            "projects": [
                {"path": str, "file": str, "state": ("trusted", "changed", "gone", "own"), "router": {str: object}}
            ],
            "levels": [str],
            "default": maybe(str),
        },
    ),
    Operation(
        method="POST",
        path="/api/router/explain",
        summary="Say where a request would go, and why.",
        answer=explained,
        takes=Explain,
        gives={str: object},
    ),
    Operation(
        method="POST",
        path="/api/router/tests",
        summary="Run route tests.",
        answer=tested,
        takes=Tests,
        gives={
            "ok": bool,
            "results": [
                {
                    "name": str,
                    "where": str,
                    "ok": bool,
                    "wrong": [str],
                    "expected": {str: str},
                    "route": maybe(str),
                    "rule": maybe(str),
                    "scenario": maybe(str),
                    "why": str,
                    "rules": [object],
                }
            ],
        },
    ),
)
