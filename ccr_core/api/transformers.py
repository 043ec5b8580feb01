"""Transformers: those of plugins and of the user's own files, with the options that a form may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ccr_core.api.desk import Desk
from ccr_core.api.masks import masked
from ccr_core.api.openapi import maybe, named
from ccr_core.api.operation import Call, Operation
from ccr_core.config import Problems, TransformerUse, join
from ccr_core.custom import load_transformers
from ccr_core.messages import JSON
from ccr_core.options import options_of, takes_any
from ccr_core.plugins import Contributed
from ccr_core.runtime import Runtime
from ccr_core.spec import TransformerSpec

OPTION = {
    "name": str,
    "type": ("string", "integer", "number", "boolean", "choice", "list", "object", "route", "any"),
    "required": bool,
    "default": object,
    "choices": maybe([object]),
    "items": maybe(object),
    "options": maybe([object]),
    "nullable": bool,
    "summary": str,
    "minimum": maybe(float),
    "maximum": maybe(float),
    "secret": bool,
}
"""An option, as :func:`ccr_core.options.options_of` tells it."""

ABOUT = {
    "name": str,
    "aliases": [str],
    "plugin": str,
    "distribution": str,
    "version": str,
    "summary": str,
    "dialect": maybe(str),
    "sign_in": maybe(str),
    "options": [named("option", OPTION)],
    "free": bool,
}


def show(desk: Desk, call: Call) -> JSON:
    """All transformers, and where the configuration uses them."""
    draft, runtime = desk.present()
    offered = runtime.registry.transformers.values()
    return {
        "version": draft.version,
        "transformers": [about(each) for each in sorted(offered, key=lambda each: each.value.name)],
        "custom": _custom(desk, runtime),
        "used": list(_used(runtime)),
    }


def about(each: Contributed[TransformerSpec]) -> JSON:
    """What is known of a transformer; ``free``: it takes options that nobody can list."""
    spec, plugin = each.value, each.plugin
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "plugin": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "summary": spec.summary,
        "dialect": spec.dialect,
        "sign_in": spec.auth,
        "options": options_of(spec.options),
        "free": takes_any(spec.options),
    }


def _custom(desk: Desk, runtime: Runtime) -> list[JSON]:
    """The user's own files.  They are run once for each state of the configuration, as each reload does."""
    config = runtime.config
    known = desk.kept.get("custom")
    if known is None or known[0] is not runtime:
        problems = Problems()
        known = desk.kept["custom"] = (runtime, load_transformers(config.transformers, problems), problems.items)
    _, found, faults = known
    written = config.raw.get("transformers") or ()
    rows = []
    for index, (entry, raw) in enumerate(zip(config.transformers, written, strict=False)):
        where = join("transformers", index)
        mine: list[Any] = []
        for contributed, custom in found.values():
            if custom is entry and contributed not in mine:
                mine.append(contributed)
        rows.append(
            {
                "index": index,
                "path": str(raw.get("path")),
                "name": entry.name,
                "values": masked(dict(raw.get("options") or {})),
                "transformers": [about(each) for each in mine],
                "error": next((fault.message for fault in faults if fault.path.startswith(where)), None),
            }
        )
    return rows


def _used(runtime: Runtime) -> Iterator[JSON]:
    config = runtime.config
    yield from _steps(config.transformer, None)
    for entry in config.providers:
        yield from _steps(entry.transformer, entry.name)


def _steps(use: TransformerUse, provider: str | None) -> Iterator[JSON]:
    for model, steps in [(None, use.use), *use.models.items()]:
        for step in steps:
            yield {"name": step.name, "where": step.where, "provider": provider, "model": model}


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/transformers",
        summary="The transformers with their options, and where they are used.",
        answer=show,
        gives={
            "version": str,
            "transformers": [named("transformer", ABOUT)],
            "custom": [
                {
                    "index": int,
                    "path": str,
                    "name": maybe(str),
                    "values": {str: object},
                    "transformers": [named("transformer", ABOUT)],
                    "error": maybe(str),
                }
            ],
            "used": [{"name": str, "where": str, "provider": maybe(str), "model": maybe(str)}],
        },
    ),
)
