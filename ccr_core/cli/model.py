"""``ccr model``: which models there are, and which one a route leads to.

The plain commands and the dialog (:mod:`ccr_core.cli.dialog`) make the same changes, with the functions here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ccr_core import entries
from ccr_core.cli.edits import Draft, at_terminal, draft, save
from ccr_core.cli.output import emit, note, paint, table
from ccr_core.config import did_you_mean
from ccr_core.config_edit import Change, Delete, Set
from ccr_core.entries import THRESHOLD
from ccr_core.errors import CcrError

if TYPE_CHECKING:
    from ccr_core.runtime import Provider


@click.group(short_help="Show and choose models.", invoke_without_command=True)
@click.pass_context
def model(ctx: click.Context) -> int | None:
    """Show and choose models.

    Without a command, on a terminal, a dialog shows the routes and lets you choose models, add models and
    providers, and try them. Changes keep the comments and the order of the configuration file, a copy of the former
    file is kept, and a running router uses them at once.

    \b
    Examples:
      ccr model
      ccr model list
      ccr model set default openrouter,anthropic/claude-sonnet-4
      ccr model set think codex,gpt-5.3-codex,high

    Exit code: 0; 1 when the configuration cannot be used; 2 without a terminal.
    """
    if ctx.invoked_subcommand is not None:
        return None
    if not at_terminal():
        raise click.UsageError("the dialog needs a terminal; without one: ccr model list, set, add, remove", ctx)
    from ccr_core.cli.dialog import run

    return run()


@model.command("list", short_help="List the routes and the models.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> int:
    """List the routes and the models.

    \b
    Examples:
      ccr model list
      ccr model list --json

    Exit code: 0; 1 when the configuration cannot be used.
    """
    now = draft()
    chosen = routes(now)
    if as_json:
        emit(describe(now))
        return 0
    show_routes(chosen)
    print()
    rows = [(name, each) for name, provider in now.runtime.providers.items() for each in provider.models or ("-",)]
    table(("PROVIDER", "MODEL"), rows)
    return 0


@model.command("set", short_help="Choose the model of a route.")
@click.argument("route")
@click.argument("target", metavar="PROVIDER,MODEL[,LEVEL]")
def set_(route: str, target: str) -> int:
    """Choose the model of a route.

    The routes are default, background, think, longContext, webSearch, image and those that plugins add; a route for
    a kind of sub-agent is written agentTypes.NAME. LEVEL is a level of reasoning: none, minimal, low, medium, high,
    xhigh, max or budget:TOKENS. "none" in place of PROVIDER,MODEL removes a route. longContextThreshold takes a
    number of tokens.

    \b
    Examples:
      ccr model set default deepseek,deepseek-flash
      ccr model set think codex,gpt-5.3-codex,high
      ccr model set longContextThreshold 100000
      ccr model set image none

    Exit code: 0; 1 when there is no such route or provider.
    """
    now = draft()
    change, text = setting(now, route, target)
    save(now, change)
    print(text)
    return 0


@model.command(short_help="Add a model to a provider.")
@click.argument("provider")
@click.argument("name", metavar="MODEL")
@click.option("--route", help="Also let this route lead to it.")
def add(provider: str, name: str, route: str | None) -> int:
    """Add a model to a provider.

    \b
    Examples:
      ccr model add openrouter qwen/qwen3-coder
      ccr model add ollama qwen3:8b --route background

    Exit code: 0; 1 when there is no such provider, or it has the model already.
    """
    now = draft()
    found = now.provider(provider)
    changes = adding(now, found, name)
    said = f"{found.name} has the model {name}"
    if route is not None:
        where = route_place(now, route)
        changes.append(Set((now.router_at(), *where), f"{found.name},{name}"))
        said += f"; {'.'.join(where)} leads to it"
    save(now, changes)
    print(said)
    return 0


@model.command(short_help="Remove a model from a provider.")
@click.argument("provider")
@click.argument("name", metavar="MODEL")
def remove(provider: str, name: str) -> int:
    """Remove a model from the list of a provider.

    A route that leads to it keeps working, because models that are not listed are passed on; it is named.

    \b
    Example:
      ccr model remove openrouter qwen/qwen3-coder

    Exit code: 0; 1 when there is no such provider or model.
    """
    now = draft()
    found = now.provider(provider)
    if name not in found.models:
        raise CcrError(f'{found.name} has no model "{name}"{did_you_mean(name, found.models)}')
    place = now.place(found)
    if found.config.models:
        save(now, [Delete((*place, "models", found.config.models.index(name)))])
    else:
        save(now, [Set((*place, "models"), [each for each in found.models if each != name])])
    print(f"{found.name} no longer has the model {name}")
    for key, value in routes(now).items():
        route = now.runtime.find(value)
        if route is not None and (route.provider, route.model) == (found.name, name):
            note(f"note: {key} still leads to it; ccr model set {key} PROVIDER,MODEL changes that")
    return 0


# --- what the dialog uses too ---------------------------------------------------------------------------------


def routes(now: Draft) -> dict[str, str]:
    """Every route that is set; see :func:`ccr_core.entries.routes`."""
    return entries.routes(now.config, now.registry)


def route_keys(now: Draft) -> dict[str, bool]:
    """The keys that hold routes; see :func:`ccr_core.entries.route_keys`."""
    return entries.route_keys(now.registry)


def show_routes(chosen: Mapping[str, str]) -> None:
    """Print the routes in two columns."""
    if not chosen:
        print("no route is set")
        return
    width = max(map(len, chosen))
    for name, target in chosen.items():
        print(f"{name:<{width}}  {paint(target, 'bold')}")


def route_place(now: Draft, text: str) -> tuple[str, ...]:
    """The keys, under ``Router``, of the route that ``text`` names; ``long-context`` is ``longContext`` too."""
    keys = route_keys(now)
    head, dot, rest = text.partition(".")
    name = next((key for key in keys if key.lower() == head.replace("-", "").replace("_", "").lower()), None)
    if name is None:
        raise CcrError(f'there is no route "{text}"{did_you_mean(head, keys)}; known: {", ".join(keys)}')
    if keys[name] != bool(dot and rest):
        raise CcrError(f"{name} holds a route for each name: write {name}.NAME" if keys[name] else f"{name} is a route")
    return (name, rest) if rest else (name,)


def setting(now: Draft, route: str, target: str) -> tuple[list[Change], str]:
    """The changes that let a route lead to ``target``, and what is then the case."""
    section = now.router_at()
    if route.replace("-", "").lower() == THRESHOLD.lower():
        if not target.isdecimal():
            raise CcrError(f'"{target}" is no number of tokens')
        return [Set((section, THRESHOLD), int(target))], f"{THRESHOLD} is {target}"
    place = route_place(now, route)
    name = ".".join(place)
    if target == "none":
        if name not in routes(now):
            raise CcrError(f"{name} is not set")
        return [Delete((section, *place))], f"{name} is not set any more"
    found = now.runtime.find(target)
    if found is None:
        known = ", ".join(now.runtime.providers) or "none"
        raise CcrError(f'"{target}" names no provider; write PROVIDER,MODEL; known providers: {known}')
    listed = now.runtime.providers[found.provider].models
    if listed and found.model not in listed:
        note(
            f"note: {found.provider} does not list {found.model}{did_you_mean(found.model, listed)}; it is used anyway"
        )
    text = ",".join(part for part in (found.provider, found.model, found.level) if part)
    return [Set((section, *place), text)], f"{name} is {text}"


def adding(now: Draft, provider: Provider, name: str) -> list[Change]:
    """The changes that add a model to a provider."""
    if not name.strip():
        raise CcrError("a model needs a name")
    if name in provider.models:
        raise CcrError(f"{provider.name} has the model {name} already")
    place = now.place(provider)
    if provider.config.models:
        return [Set((*place, "models", len(provider.config.models)), name)]
    return [Set((*place, "models"), [*provider.models, name])]


def targets(now: Draft) -> list[tuple[str, str]]:
    """Every model that is listed, as provider and model."""
    return [(name, each) for name, provider in now.runtime.providers.items() for each in provider.models]


def describe(now: Draft) -> dict[str, Any]:
    """The routes and models as plain data."""
    return {"routes": routes(now), "models": {name: list(each.models) for name, each in now.runtime.providers.items()}}
