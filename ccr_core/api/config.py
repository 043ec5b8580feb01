"""The configuration file: reading it masked, changing it by path, as a whole, or as text."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from ccr_core import config_edit
from ccr_core.api.desk import Desk, Draft, placed
from ccr_core.api.masks import masked, masked_text, restored, restored_text
from ccr_core.api.openapi import maybe, named
from ccr_core.api.operation import Call, Operation, Refused, told_problem
from ccr_core.config import Config, Key, Problem, Problems, join, top_level_keys
from ccr_core.config_edit import Change, Delete, Insert, Set
from ccr_core.errors import ConfigError
from ccr_core.messages import JSON
from ccr_core.options import class_schema, schema_of

PROBLEM = named("problem", {"path": str, "message": str, "line": maybe(int), "column": maybe(int)})
SAVED = {"version": str, "applied": bool, "reason": maybe(str), "warnings": [str]}
"""What every change answers."""


@attrs.frozen(kw_only=True)
class Step:
    """A change at one place: ``path`` are the keys that lead there."""

    op: Literal["set", "insert", "delete"]
    path: tuple[str | int, ...]
    value: Any = None


@attrs.frozen(kw_only=True)
class Patch:
    """Changes, made in order."""

    version: str
    changes: tuple[Step, ...]
    accept_host: bool = False


@attrs.frozen(kw_only=True)
class Whole:
    """The whole document, as it was read and then changed."""

    version: str
    config: Mapping[str, Any]
    accept_host: bool = False


@attrs.frozen(kw_only=True)
class Text:
    """The text of the file."""

    version: str
    text: str
    accept_host: bool = False


@attrs.frozen(kw_only=True)
class Check:
    """One of the three, to be looked at only."""

    text: str | None = None
    changes: tuple[Step, ...] | None = None
    config: Mapping[str, Any] | None = None
    accept_host: bool = False


def show(desk: Desk, call: Call) -> JSON:
    """The document as it is written; where it cannot be parsed, what is wrong."""
    draft = desk.draft()
    warnings: Sequence[str] = ()
    unknown: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    data: Any = None
    try:
        data = draft.document().data
        made = desk.made(draft.text, draft.path)
        warnings, unknown = made.runtime.warnings, made.config.unknown
    except ConfigError as error:
        problems = placed(error, draft.text, draft.path)
    return {
        "version": draft.version,
        "path": str(draft.path),
        "syntax": draft.syntax,
        "config": masked(data) if data is not None else None,
        "warnings": list(warnings),
        "unknown": list(unknown),
        "problems": [told_problem(each) for each in problems],
    }


async def patch(desk: Desk, call: Call) -> JSON:
    """Change single places."""
    wanted: Patch = call.given
    return await desk.save(wanted.version, lambda draft: stepped(draft, wanted.changes), wanted.accept_host)


async def put(desk: Desk, call: Call) -> JSON:
    """Write what differs from the document that was read."""
    wanted: Whole = call.given
    return await desk.save(wanted.version, lambda draft: rewritten(draft, wanted.config), wanted.accept_host)


def text(desk: Desk, call: Call) -> JSON:
    """The text of the file."""
    draft = desk.draft()
    return {"version": draft.version, "text": masked_text(draft.text, draft.path), "syntax": draft.syntax}


async def put_text(desk: Desk, call: Call) -> JSON:
    """Write the text of the file."""
    wanted: Text = call.given
    return await desk.save(wanted.version, lambda draft: retyped(draft, wanted.text), wanted.accept_host, wanted.text)


def check(desk: Desk, call: Call) -> JSON:
    """Look at a change without making it."""
    wanted: Check = call.given
    given = [name for name in ("text", "changes", "config") if getattr(wanted, name) is not None]
    if len(given) != 1:
        raise Refused("send one of text, changes and config")

    def change(draft: Draft) -> str:
        if wanted.text is not None:
            return retyped(draft, wanted.text)
        if wanted.changes is not None:
            return stepped(draft, wanted.changes)
        return rewritten(draft, wanted.config or {})

    try:
        _, made = desk.checked(desk.draft(), change, wanted.accept_host, wanted.text)
    except Refused as error:
        if error.status not in (400, 403):
            raise
        return {"problems": [told_problem(each) for each in error.problems], "warnings": [], **error.more}
    return {"problems": [], "warnings": list(made.runtime.warnings)}


def schema(desk: Desk, call: Call) -> JSON:
    """The form of the configuration."""
    from ccr_core.config import ApiKey, ModelInfo, ProviderConfig

    properties: JSON = {}
    for field in attrs.fields(attrs.resolve_types(Config)):
        for key in field.metadata.get("keys", ()):
            properties[key] = schema_of(field.type)
    uses: JSON = {
        "type": "array",
        "items": {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "maxItems": 2}]},
    }
    steps = {
        "type": "object",
        "properties": {"use": uses},
        "additionalProperties": {"type": "object", "properties": {"use": uses}, "additionalProperties": False},
    }
    provider = class_schema(ProviderConfig)
    key = {"anyOf": [{"type": "string"}, class_schema(ApiKey)]}
    provider["properties"] |= {
        "api_key": {"anyOf": [{"type": "string"}, {"type": "array", "items": key}]},
        "models": {"type": "array", "items": {"anyOf": [{"type": "string"}, class_schema(ModelInfo)]}},
        "transformer": steps,
    }
    router: JSON = {"default": {"type": "string"}, "rules": schema_of(list[str]), "tests": {"type": "array"}}
    for contributed in desk.registry.rules.values():
        router |= class_schema(contributed.value.options).get("properties", {}) if contributed.value.options else {}
    number = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    for name, kind, shape in (
        ("Providers", "providers", {"type": "array", "items": provider}),
        ("Router", "router", {"type": "object", "properties": router}),
        ("observers", "observers", _chosen(desk.registry.observers)),
        ("server_tools", "server_tools", _chosen(desk.registry.server_tools)),
    ):
        properties[name] = properties[kind] = shape
    properties |= {"transformer": steps, "PORT": number, "API_TIMEOUT_MS": number}
    for name in ("NO_PROXY", "no_proxy", "noProxy"):
        properties[name] = {"anyOf": [{"type": "string"}, schema_of(list[str])]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {key: properties[key] for key in top_level_keys()},
    }


def _chosen(offered: Mapping[str, Any]) -> JSON:
    return {
        "type": "object",
        "properties": {
            name: {"anyOf": [{"type": "boolean"}, class_schema(each.value.options)]} for name, each in offered.items()
        },
        "additionalProperties": False,
    }


# --- changes into text ----------------------------------------------------------------------------------------


def stepped(draft: Draft, steps: Sequence[Step]) -> str:
    """The text after single changes; a mask in a value means what is at its place at that moment."""
    data = copy.deepcopy(draft.data())
    changes: list[Change] = []
    problems = Problems()
    for number, step in enumerate(steps):
        if not step.path:
            problems.add(f"changes[{number}].path", "a change needs a path; PUT replaces the whole document")
            continue
        change: Change = Delete(step.path)
        if step.op != "delete":
            there = value_at(data, step.path) if step.op == "set" else None
            value = restored(step.value, there, problems, step.path)
            change = Set(step.path, value) if step.op == "set" else Insert(step.path, value)
        try:
            data = config_edit.apply(data, change)
        except ConfigError as error:
            problems.add(join("", *step.path), error.message)
            break
        changes.append(change)
    problems.raise_if_any(draft.path)
    return config_edit.changed(draft.text, changes, draft.path)


def rewritten(draft: Draft, config: Mapping[str, Any]) -> str:
    """The text with what differs in ``config`` written into it."""
    problems = Problems()
    before = draft.data()
    after = restored(dict(config), before, problems)
    problems.raise_if_any(draft.path)
    return config_edit.changed(draft.text, config_edit.diff(before, after), draft.path)


def retyped(draft: Draft, text: str) -> str:
    """A text that was typed, with its masks replaced."""
    problems = Problems()
    result = restored_text(text, draft.text, draft.path, problems)
    problems.raise_if_any(draft.path)
    return result


def value_at(data: Any, path: Sequence[Key]) -> Any:
    """The value at a path; ``None`` if there is none."""
    for key in path:
        if isinstance(data, Mapping) and isinstance(key, str):
            data = data.get(key)
        elif isinstance(data, list) and isinstance(key, int) and 0 <= key < len(data):
            data = data[key]
        else:
            return None
    return data


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/config",
        summary="The configuration as it is written, with masks in place of secrets.",
        answer=show,
        gives={
            "version": str,
            "path": str,
            "syntax": str,
            "config": maybe(object),
            "warnings": [str],
            "unknown": [str],
            "problems": [PROBLEM],
        },
    ),
    Operation(
        method="PATCH",
        path="/api/config",
        summary="Change single places of the configuration.",
        answer=patch,
        takes=Patch,
        gives=SAVED,
    ),
    Operation(
        method="PUT",
        path="/api/config",
        summary="Write what differs from the configuration that was read.",
        answer=put,
        takes=Whole,
        gives=SAVED,
    ),
    Operation(
        method="GET",
        path="/api/config/text",
        summary="The text of the configuration file, with masks in place of secrets.",
        answer=text,
        gives={"version": str, "text": str, "syntax": str},
    ),
    Operation(
        method="PUT",
        path="/api/config/text",
        summary="Write the text of the configuration file.",
        answer=put_text,
        takes=Text,
        gives=SAVED,
    ),
    Operation(
        method="POST",
        path="/api/config/check",
        summary="Say what is wrong with a change, and write nothing.",
        answer=check,
        takes=Check,
        gives={"problems": [PROBLEM], "warnings": [str]},
    ),
    Operation(
        method="GET",
        path="/api/config/schema",
        summary="The JSON Schema of the configuration.",
        answer=schema,
        gives=object,
    ),
)
