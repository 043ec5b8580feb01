"""``ccr plugins list``: it must work above all when a plugin does not."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ccr_core.cli.output import emit, note, table
from ccr_core.errors import CcrError, ConfigError

if TYPE_CHECKING:
    from ccr_core.config import Config
    from ccr_core.plugins import Plugin, Registry


@click.group(short_help="List the plugins.")
def plugins() -> None:
    """List the plugins.

    \b
    Example:
      ccr plugins list
    """


@plugins.command("list", short_help="List the plugins, how they fare, and what they offer.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> int:
    """List the plugins, how they fare, and what they offer.

    A plugin is active, disabled or failed, with the reason. "used" says whether the configuration uses something of
    it ("?" when there is no configuration that could tell).

    \b
    Examples:
      ccr plugins list
      ccr plugins list --json
      CCR_PLUGINS=echo,anthropic ccr plugins list

    Exit code: 0, also when plugins have failed.
    """
    config, problem = _config()
    disabled = config.disabled_plugins if config is not None else disabled_anyway()
    # A plugin that prints while it is imported must not spoil the output.
    with contextlib.redirect_stdout(sys.stderr):
        found, registry, conflict = load_all(disabled)
        used = _used(config, registry) if config is not None and registry is not None else None
    rows = [{**plugin.to_json(), "used": None if used is None else plugin.name in used} for plugin in found]
    if as_json:
        emit({"plugins": rows, "conflict": conflict, "configuration": problem})
        return 0
    for row in rows:
        # An unusable plugin has nothing to be used.
        row["mark"] = "-" if row["state"] != "active" else {None: "?", True: "yes", False: "no"}[row["used"]]
    table(
        ("NAME", "DISTRIBUTION", "VERSION", "STATE", "USED", "OFFERS"),
        [
            (row["name"], row["distribution"], row["version"], row["state"], row["mark"], _offers(row["offers"]))
            for row in rows
        ],
    )
    for row in rows:
        if row["reason"]:
            print(f"{row['name']} is {row['state']}: {row['reason']}")
    for text in filter(None, (conflict, problem)):
        note(f"note: {text}")
    return 0


def _offers(offers: dict[str, list[str]]) -> str:
    kinds = {hook.removeprefix("ccr_").replace("_", " "): names for hook, names in offers.items()}
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())


def _config() -> tuple[Config | None, str | None]:
    """The configuration, or why there is none."""
    from ccr_core import config as configuration

    try:
        return configuration.load(), None
    except ConfigError as error:
        return None, error.message


def disabled_anyway() -> tuple[str, ...]:
    """What a configuration that is otherwise unusable says about disabled plugins."""
    from ccr_core import config as configuration

    with contextlib.suppress(CcrError):
        path = configuration.find().path
        names = configuration.read(path).get("disabled_plugins") if path else None
        if isinstance(names, list):
            return tuple(name for name in names if isinstance(name, str))
    return ()


def load_all(disabled: Iterable[str]) -> tuple[list[Plugin], Registry | None, str | None]:
    """The plugins, all that they offer, and what keeps them from working together."""
    from ccr_core.plugins import discover, load

    disabled = tuple(disabled)
    try:
        registry = load(disabled=disabled)
        return list(registry.plugins), registry, None
    except ConfigError as error:
        conflict = error.message
    # Two plugins offer the same name: no common result, so each by itself.
    result = []
    for plugin, _ in discover(os.environ, frozenset(disabled)):
        if plugin.state == "active":
            with contextlib.suppress(ConfigError):
                alone = load(environ={"CCR_PLUGINS": plugin.name})
                plugin = next(each for each in alone.plugins if each.name == plugin.name)
        result.append(plugin)
    return result, None, conflict


def _used(config: Config, registry: Registry) -> set[str] | None:
    """Names of the plugins of which the configuration uses something; ``None`` if it cannot be used itself."""
    from ccr_core.runtime import build

    watched = [
        each.value
        for name, each in registry.observers.items()
        if config.observers.get(name, each.value.default and config.log) is not False
    ]
    try:
        runtime = build(config, registry, watch=False)
    except Exception:  # also what a plugin's own checks raise: the list must not fail
        return None
    plans = [plan for provider in runtime.providers.values() for plan in (provider.plan, *provider.plans.values())]
    in_use: list[Any] = [
        *(plan.dialect for plan in plans),
        *(step.spec for plan in plans for step in plan.steps),
        *(provider.spec for provider in runtime.providers.values()),
        *(rule.spec for rule in runtime.rules),
        *(each.value for each in runtime.ingresses),
        *(each.value for each in registry.counters.values()),
        *watched,
    ]
    identities = {id(value) for value in in_use}
    kinds = (
        registry.dialects,
        registry.ingresses,
        registry.providers,
        registry.transformers,
        registry.rules,
        registry.counters,
        registry.observers,
    )
    offered: list[Any] = [each for kind in kinds for each in kind.values()]
    return {each.plugin.name for each in offered if id(each.value) in identities}
