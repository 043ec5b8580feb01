"""Plugins: how they fare and what they offer, and the pages that they add.  Nothing here changes what is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ccr_core.api.desk import Desk
from ccr_core.api.masks import masked
from ccr_core.api.openapi import maybe, named
from ccr_core.api.operation import Call, Operation
from ccr_core.api.transformers import OPTION
from ccr_core.messages import JSON
from ccr_core.options import options_of, takes_any
from ccr_core.plugins import HOOKS, described
from ccr_core.runtime import Runtime, used

SWITCHED = {"ccr_observers": "observers", "ccr_server_tools": "server_tools", "ccr_pages": "pages"}
"""Hooks whose values a section of the configuration gives options, or switches off."""


def show(desk: Desk, call: Call) -> JSON:
    """Every plugin that was found."""
    draft, runtime = desk.present()
    registry = runtime.registry
    in_use = used(runtime)
    rows = [
        {
            **plugin.to_json(),
            "used": plugin.name in in_use,
            "hooks": [hook for hook in HOOKS if hook in plugin.offers],
            "offers": [
                {**each, **_options(runtime, hook, each["name"])}
                for hook, each in zip(
                    (hook for hook, names in plugin.offers.items() for _ in names),
                    described(plugin, registry),
                    strict=True,
                )
            ],
        }
        for plugin in registry.plugins
    ]
    return {"version": draft.version, "plugins": rows}


def _options(runtime: Runtime, hook: str, name: str) -> JSON:
    """The options of an offer as a form, and what the configuration says of it."""
    table = {"ccr_token_counters": "counters"}.get(hook, hook.removeprefix("ccr_"))
    spec = getattr(runtime.registry, table)[name].value
    options = getattr(spec, "options", None)
    section = SWITCHED.get(hook)
    about: JSON = {"options": options_of(options), "free": takes_any(options), "path": None, "on": None, "values": None}
    if section is None:
        return about
    given: Any = (runtime.config.raw.get(section) or {}).get(name)
    return {
        **about,
        "path": [section, name],
        "on": given is not False and (given is not None or _default(runtime, hook, spec)),
        "values": masked(dict(given)) if isinstance(given, Mapping) else None,
    }


def _default(runtime: Runtime, hook: str, spec: Any) -> bool:
    return bool(spec.default and (hook != "ccr_observers" or runtime.config.log))


def pages(desk: Desk, call: Call) -> JSON:
    """The pages in use."""
    return {"pages": [page.to_json() for page in desk.app.pages()]}


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/plugins",
        summary="The plugins, how they fare, and what they offer.",
        answer=show,
        gives={
            "version": str,
            "plugins": [
                {
                    "name": str,
                    "distribution": str,
                    "version": str,
                    "state": ("active", "disabled", "failed"),
                    "reason": str,
                    "used": bool,
                    "hooks": [str],
                    "offers": [
                        {
                            "kind": str,
                            "name": str,
                            "summary": str,
                            "options": [named("option", OPTION)],
                            "free": bool,
                            "path": maybe([str]),
                            "on": maybe(bool),
                            "values": maybe({str: object}),
                        }
                    ],
                }
            ],
        },
    ),
    Operation(
        method="GET",
        path="/api/pages",
        summary="The pages that plugins add to the web UI.",
        answer=pages,
        gives={
            "pages": [
                {
                    "name": str,
                    "title": str,
                    "path": maybe(str),
                    "script": maybe(str),
                    "summary": str,
                    "plugin": str,
                }
            ]
        },
    ),
)
