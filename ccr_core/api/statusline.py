"""The status line: what is configured, what can be in it, and how it would look.

A preview looks nothing up and runs no script: its values are examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import attrs

from ccr_core.api.desk import Desk
from ccr_core.api.masks import masked
from ccr_core.api.openapi import maybe
from ccr_core.api.operation import Call, Operation, Refused
from ccr_core.cli import statusline as line
from ccr_core.messages import JSON

THEMES = ("default", "powerline", "simple", "full", "router")
EXAMPLES: Mapping[str, str] = {
    "workDirName": "my-project",
    "gitBranch": "main",
    "model": "deepseek-flash",
    "inputTokens": "12.3k",
    "outputTokens": "456",
    "totalInputTokens": "230.5k",
    "totalOutputTokens": "8.1k",
    "contextPercent": "42",
    "contextWindowSize": "200k",
    "tokenSpeed": "64",
    "isStreaming": "streaming",
    "streamingIndicator": "[Streaming]",
    "timeToFirstToken": "850ms",
    "cost": "$0.42",
    "duration": "12m5s",
    "linesAdded": "120",
    "linesRemoved": "30",
    "netLines": "90",
    "version": "2.1.0",
    "sessionId": "1a2b3c4d",
    "route": "deepseek,deepseek-flash",
    "provider": "deepseek",
    "scenario": "default",
    "tokensPerSecond": "64",
    "requestCost": "0.31¢",
    "sessionCost": "$0.12",
    "sessionRequests": "17",
}
"""A value for each variable."""


@attrs.frozen(kw_only=True)
class Preview:
    """A ``StatusLine`` block, and which of its styles to show (its own ``currentStyle`` if absent)."""

    config: Mapping[str, Any] = attrs.Factory(dict)
    style: str | None = None


class Examples(line.Variables):
    """Variables whose values are examples."""

    def __init__(self) -> None:
        super().__init__({}, dict)

    def get(self, name: str) -> str:
        """The example."""
        return EXAMPLES.get(name, "")


def show(desk: Desk, call: Call) -> JSON:
    """What is configured, and what there is to choose from."""
    draft, runtime = desk.present()
    raw = runtime.config.raw.get("StatusLine")
    config = raw if isinstance(raw, Mapping) else {}
    return {
        "version": draft.version,
        "enabled": config.get("enabled") is True,
        "style": str(config.get("currentStyle") or "default"),
        "config": masked(dict(config)),
        "themes": {name: line.theme_named(name) or [] for name in THEMES},
        "variables": [{"name": name, "example": EXAMPLES.get(name, "")} for name in line.NAMES],
        "colors": {name: _hex(rgb) for name, rgb in line.RGB.items()},
        "most": line.MOST,
    }


def preview(desk: Desk, call: Call) -> JSON:
    """How a status line would look, as text for a terminal and as pieces for a page."""
    wanted: Preview = call.given
    config = {**wanted.config, **({"currentStyle": wanted.style} if wanted.style else {})}
    style, modules = line.chosen([config])
    modules = [_harmless(module) for module in modules]
    if len(modules) > 100:
        raise Refused("a status line has at most 100 modules")
    variables = Examples()
    powerline = style == "powerline"
    write = line.powerline if powerline else line.plain
    spans = _blocks(modules, variables) if powerline else _words(modules, variables)
    return {"style": style, "ansi": write(modules, variables), "spans": list(spans)}


def _harmless(module: Mapping[str, Any]) -> dict[str, Any]:
    """A module that runs nothing: a script is shown by its name."""
    if module.get("type") != "script":
        return dict(module)
    name = PurePath(str(module.get("scriptPath") or "script")).name
    return {**module, "type": "text", "text": f"<{re.sub('[{}]', '', name)}>"}


def _words(modules: Sequence[Mapping[str, Any]], variables: line.Variables) -> Iterator[JSON]:
    first = True
    for module in modules:
        text = line.contents(module, variables)
        if text:
            if not first:
                yield {"text": " ", "color": None, "background": None}
            first = False
            yield {"text": text, "color": _colour(module, "color"), "background": _colour(module, "background")}


def _blocks(modules: Sequence[Mapping[str, Any]], variables: line.Variables) -> Iterator[JSON]:
    shown = [(text, module) for module in modules[: line.MOST] if (text := line.contents(module, variables))]
    grounds = [_colour(module, "background") or _hex(line.UNKNOWN_BACKGROUND) for _, module in shown]
    grounds = [
        ground if module.get("background") else _hex(line.RGB["bright_blue"])
        for ground, (_, module) in zip(grounds, shown, strict=True)
    ]
    for place, (text, module) in enumerate(shown):
        front = _colour(module, "color") or _hex(line.RGB["white"])
        yield {"text": f" {text} ", "color": front, "background": grounds[place]}
        if place + 1 < len(shown):
            yield {"text": line.SEPARATOR, "color": grounds[place], "background": grounds[place + 1]}


def _colour(module: Mapping[str, Any], key: str) -> str | None:
    """A colour of a module as ``#rrggbb``."""
    value = module.get(key)
    rgb = line.rgb(value) if isinstance(value, str) and value else None
    return _hex(rgb) if rgb is not None else None


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


MODULE = {str: object}

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/statusline",
        summary="The status line that is configured, and what can be in it.",
        answer=show,
        gives={
            "version": str,
            "enabled": bool,
            "style": str,
            "config": {str: object},
            "themes": {str: [MODULE]},
            "variables": [{"name": str, "example": str}],
            "colors": {str: str},
            "most": int,
        },
    ),
    Operation(
        method="POST",
        path="/api/statusline/preview",
        summary="How a status line would look, with examples in place of values; scripts are not run.",
        answer=preview,
        takes=Preview,
        gives={
            "style": str,
            "ansi": str,
            "spans": [{"text": str, "color": maybe(str), "background": maybe(str)}],
        },
    ),
)
