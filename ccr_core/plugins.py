"""Finding plugins, loading them, and collecting what they offer, so that one broken plugin hurts nobody else.

pluggy registers and validates the implementations; :func:`collect` is the only code that calls them.  It loops over
them itself, because pluggy's own call stops at the first exception and does not say whose it was.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs
import pluggy

from ccr_core import hookspecs
from ccr_core.dialect import Dialect, Ingress
from ccr_core.errors import ConfigError
from ccr_core.messages import JSON
from ccr_core.spec import (
    AuthSpec,
    CatalogueSpec,
    CheckSpec,
    CounterSpec,
    ObserverSpec,
    PageSpec,
    ProviderSpec,
    RuleSpec,
    ServerToolSpec,
    TokenStoreSpec,
    TransformerSpec,
)

log = logging.getLogger("ccr.plugins")

GROUP = "ccr"

HOOKS: Mapping[str, type[Any]] = {
    "ccr_dialects": Dialect,
    "ccr_ingresses": Ingress,
    "ccr_providers": ProviderSpec,
    "ccr_transformers": TransformerSpec,
    "ccr_rules": RuleSpec,
    "ccr_token_counters": CounterSpec,
    "ccr_catalogues": CatalogueSpec,
    "ccr_observers": ObserverSpec,
    "ccr_server_tools": ServerToolSpec,
    "ccr_checks": CheckSpec,
    "ccr_auth": AuthSpec,
    "ccr_token_stores": TokenStoreSpec,
    "ccr_pages": PageSpec,
}
"""Hook → what its implementations give."""

V = TypeVar("V")


@attrs.define
class Plugin:
    """A plugin and how it fares: ``state`` is ``active``, ``disabled`` or ``failed`` (``reason`` says why)."""

    name: str
    distribution: str
    version: str
    state: str = "active"
    reason: str = ""
    offers: dict[str, list[str]] = attrs.Factory(dict)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip()

    def to_json(self) -> JSON:
        """As plain data, for listings."""
        return attrs.asdict(self)


@attrs.frozen
class Contributed(Generic[V]):
    """A value and the plugin that offers it."""

    value: V
    plugin: Plugin


class Registry:
    """All that the loaded plugins offer, by kind and name."""

    def __init__(self, plugins: Sequence[Plugin], values: Mapping[str, Mapping[str, Contributed[Any]]]) -> None:
        self.plugins = tuple(plugins)
        self.dialects: Mapping[str, Contributed[Dialect]] = values["ccr_dialects"]
        self.ingresses: Mapping[str, Contributed[Ingress]] = values["ccr_ingresses"]
        self.providers: Mapping[str, Contributed[ProviderSpec]] = values["ccr_providers"]
        self.transformers: Mapping[str, Contributed[TransformerSpec]] = values["ccr_transformers"]
        self.rules: Mapping[str, Contributed[RuleSpec]] = values["ccr_rules"]
        self.counters: Mapping[str, Contributed[CounterSpec]] = values["ccr_token_counters"]
        self.server_tools: Mapping[str, Contributed[ServerToolSpec]] = values["ccr_server_tools"]
        self.catalogues: Mapping[str, Contributed[CatalogueSpec]] = values["ccr_catalogues"]
        self.observers: Mapping[str, Contributed[ObserverSpec]] = values["ccr_observers"]
        self.checks: Mapping[str, Contributed[CheckSpec]] = values["ccr_checks"]
        self.auth: Mapping[str, Contributed[AuthSpec]] = values["ccr_auth"]
        self.token_stores: Mapping[str, Contributed[TokenStoreSpec]] = values["ccr_token_stores"]
        self.pages: Mapping[str, Contributed[PageSpec]] = values["ccr_pages"]

    def failed(self) -> str:
        """A sentence on the plugins that failed, to be added to an error about a missing name; empty if none did."""
        return "".join(f"; plugin {p} failed: {p.reason}" for p in self.plugins if p.state == "failed")


def load(
    modules: Iterable[Any] | None = None,
    *,
    disabled: Iterable[str] = (),
    environ: Mapping[str, str] = os.environ,
    conflicts: list[str] | None = None,
) -> Registry:
    """Load plugins and collect what they offer.

    ``modules`` are given modules or objects (tests); otherwise all entry points of the group ``ccr`` are used, or
    those that the variable ``CCR_PLUGINS`` names (comma-separated; empty: none).  Raises ``ConfigError`` when two
    plugins offer the same name; with ``conflicts``, a list, that is noted there instead and the first one counts.
    """
    manager = pluggy.PluginManager("ccr")
    manager.add_hookspecs(hookspecs)
    plugins: dict[str, Plugin] = {}
    found = discover(environ, frozenset(disabled)) if modules is None else map(_given, modules)
    for plugin, source in found:
        # Two distributions may choose the same name for their entry point, so that is not a key.
        key = str(len(plugins))
        plugins[key] = plugin
        if plugin.state == "active":
            # Not told by its type: packages that bring their own importlib_metadata give entry points of another class.
            _register(manager, key, plugin, source, installed=modules is None)
    return collect(manager, plugins, conflicts)


def discover(environ: Mapping[str, str], disabled: frozenset[str]) -> Iterable[tuple[Plugin, Any]]:
    """The installed plugins, not yet imported; a name is disabled by plugin name or by distribution.

    With each comes its entry point, or ``None`` for a name in ``CCR_PLUGINS`` that is not installed.
    """
    only = environ.get("CCR_PLUGINS")
    names = None if only is None else {name.strip() for name in only.split(",") if name.strip()}
    missing = set(names or ())
    for point in sorted(_points(), key=lambda point: point.name):
        dist = point.dist
        plugin = Plugin(point.name, (dist and dist.name) or "?", (dist and dist.version) or "")
        aliases = {plugin.name, plugin.distribution}
        missing -= aliases
        if names is not None and not names & aliases:
            plugin.state, plugin.reason = "disabled", "not named in CCR_PLUGINS"
        elif aliases & disabled:
            plugin.state, plugin.reason = "disabled", "named in disabled_plugins"
        yield plugin, point
    for name in sorted(missing):
        yield Plugin(name, name, "", "failed", "named in CCR_PLUGINS, but not installed"), None


def _points() -> Iterable[importlib.metadata.EntryPoint]:
    try:
        return importlib.metadata.entry_points(group=GROUP)
    except Exception:
        # One distribution with broken metadata, of whatever kind, makes that call fail; each is read alone then.
        points: dict[tuple[str, str], importlib.metadata.EntryPoint] = {}
        for dist in importlib.metadata.distributions():
            try:
                for point in dist.entry_points.select(group=GROUP):
                    points.setdefault((dist.name, point.name), point)
            except Exception as error:
                log.warning("the metadata of an installed distribution is broken (%s): %s", error, dist)
        return points.values()


def _given(source: Any) -> tuple[Plugin, Any]:
    name = getattr(source, "__name__", None) or type(source).__name__
    return Plugin(name, name.replace("_", "-"), ""), source


def _register(manager: pluggy.PluginManager, key: str, plugin: Plugin, source: Any, *, installed: bool) -> None:
    try:
        module = source.load() if installed else source
        for name in dir(module):
            function = getattr(module, name)
            marked = getattr(function, "ccr_impl", None)
            if marked and name not in HOOKS:
                raise TypeError(f"unknown hook {name}; known: {', '.join(HOOKS)}")
            if not marked and name in HOOKS and callable(function):
                raise TypeError(f"{name} is not marked with @ccr_core.hookimpl")
        manager.register(module, name=key)
    except (Exception, SystemExit) as error:
        plugin.state, plugin.reason = "failed", _reason(error)


def collect(
    manager: pluggy.PluginManager, plugins: Mapping[str, Plugin], conflicts: list[str] | None = None
) -> Registry:
    """Call every implementation of every hook, each on its own; a plugin that raises is failed as a whole.

    The keys of ``plugins`` are the names under which they are registered with ``manager``.
    """
    offered: list[tuple[str, str, Contributed[Any]]] = []
    for hook, expected in HOOKS.items():
        for impl in getattr(manager.hook, hook).get_hookimpls():
            plugin = plugins[impl.plugin_name]
            if plugin.state == "failed":
                continue
            try:
                # Listed inside the try: an implementation written with yield fails late.
                values = list(impl.function())
                for value in values:
                    if not isinstance(value, expected):
                        raise TypeError(f"{hook} gave {value!r}, expected {expected.__name__}")
                    if not isinstance(value.name, str) or not value.name:
                        raise TypeError(f"{hook} gave {value!r} with the name {value.name!r}, expected a text")
            except (Exception, SystemExit) as error:
                plugin.state, plugin.reason = "failed", f"{hook}: {_reason(error)}"
                continue
            offered += [(hook, value.name, Contributed(value, plugin)) for value in values]
    result: dict[str, dict[str, Contributed[Any]]] = {hook: {} for hook in HOOKS}
    for hook, name, contributed in offered:
        if contributed.plugin.state == "failed":
            continue
        first = result[hook].setdefault(name, contributed)
        if first is not contributed:
            conflict = (
                f'{_noun(hook)} "{name}" is offered by both {first.plugin} and '
                f'{contributed.plugin}; disable one: disabled_plugins = ["{contributed.plugin.name}"]'
            )
            if conflicts is None:
                raise ConfigError(conflict)
            conflicts.append(conflict)
        contributed.plugin.offers.setdefault(hook, []).append(name)
    return Registry(tuple(plugins.values()), result)


def _noun(hook: str) -> str:
    """What one of a hook's values is called: ``ccr_token_counters`` gives ``token counter``."""
    noun = hook.removeprefix("ccr_").replace("_", " ")
    return noun.removesuffix("es") if noun.endswith("sses") else noun.removesuffix("s")


def _reason(error: BaseException) -> str:
    """One line: what happened, and the innermost place of it (the import machinery and this file left out)."""
    at = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file != __file__ and not file.startswith("<frozen") and f"{os.sep}pluggy{os.sep}" not in file:
            at = f" ({os.path.basename(file)}:{line})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{at}"


def described(plugin: Plugin, registry: Registry) -> list[JSON]:
    """Each thing that a plugin offers: kind, name, summary and options."""
    from ccr_core.config import keys_of

    result = []
    for hook, names in plugin.offers.items():
        table_of = {"ccr_token_counters": "counters"}.get(hook, hook.removeprefix("ccr_"))
        for name in names:
            value = getattr(registry, table_of)[name].value
            options = getattr(value, "options", None)
            result.append(
                {
                    "kind": _noun(hook),
                    "name": name,
                    "summary": getattr(value, "summary", None) or (type(value).__doc__ or "").partition("\n")[0],
                    "options": list(keys_of(options)) if isinstance(options, type) else [],
                }
            )
    return result
