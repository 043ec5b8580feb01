"""Entries of providers, and routes to them, as changes of a configuration file.

What the command line and the management API write is made here, with no more in it than is needed; who writes it, and
checks the result first, is their business.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from ccr_core.config import Config, did_you_mean
from ccr_core.config_edit import Change, Set
from ccr_core.errors import CcrError

if TYPE_CHECKING:
    from ccr_core.plugins import Registry

FIRST = ("default", "background", "think", "longContext", "webSearch", "image")
"""The routes in the order in which people know them."""

THRESHOLD = "longContextThreshold"


def providers_key(config: Config) -> str:
    """The key of the list of providers as the file spells it."""
    return "providers" if "providers" in config.raw and "Providers" not in config.raw else "Providers"


def router_key(config: Config) -> str:
    """The key of the routes as the file spells it."""
    return "router" if "router" in config.raw and "Router" not in config.raw else "Router"


def append(config: Config, provider: Mapping[str, Any]) -> Set:
    """The change that adds an entry behind the other providers."""
    key = providers_key(config)
    present = config.raw.get(key)
    if not present:
        return Set((key,), [dict(provider)])
    return Set((key, len(present)), dict(provider))


def check_name(config: Config, name: str, path: Path | None = None) -> None:
    """Raise ``CcrError`` if a new provider cannot have this name."""
    if not name.strip() or "," in name:
        raise CcrError(f'"{name}" cannot be the name of a provider: it is empty, or has a comma in it')
    taken = next((each for each in config.providers if each.name.lower() == name.lower()), None)
    if taken is not None:
        of = f" of {path}" if path is not None else ""
        raise CcrError(f"there is a provider {taken.name} already, at {taken.where}{of}")


def entry_for(
    registry: Registry,
    name: str,
    *,
    preset: str | None = None,
    url: str | None = None,
    key_env: str | None = None,
    key: str | None = None,
    models: tuple[str, ...] = (),
    dialect: str | None = None,
    oauth: str | None = None,
    transformers: tuple[str, ...] = (),
    hints: tuple[str, str] = ("", ""),
) -> dict[str, Any]:
    """The entry of a new provider, with no more in it than is needed; ``CcrError`` if something is missing.

    ``preset`` is the service that it is, where its name does not say so.  ``hints`` are added to the errors about a
    missing address and missing models: how they are given.
    """
    known = registry.providers.get(preset or name)
    spec = known.value if known is not None else None
    if preset is not None and spec is None:
        raise CcrError(f'no plugin knows a service "{preset}"{did_you_mean(preset, registry.providers)}')
    sign_in = registry.auth.get(oauth) if oauth is not None else None
    if oauth is not None and sign_in is None:
        near = did_you_mean(oauth, registry.auth)
        raise CcrError(f'there is no sign-in "{oauth}"{near}; known: {", ".join(registry.auth) or "none"}')
    if sum((key_env is not None, key is not None, oauth is not None)) > 1:
        raise CcrError("give one of --key-env, --key and --oauth")
    entry: dict[str, Any] = {"name": name}
    if url is None and spec is None:
        if sign_in is None:
            near = did_you_mean(name, registry.providers)
            raise CcrError(f'no plugin knows a service "{name}"{near}; give its address with --url')
        url = sign_in.value.base_url
    if url is None and spec is not None and preset not in (None, name):
        url = spec.base_url  # the name does not tell the service: the address does
    if url is not None:
        if "://" not in url:
            raise CcrError(f'"{url}" is no address; it begins with https:// or http://')
        entry["api_base_url"] = url
    if oauth is not None:
        entry |= {"auth_type": "oauth", "oauth_provider": oauth}
        models = models or (sign_in.value.models if sign_in is not None else ())
    elif key is not None:
        entry["api_key"] = key
    elif key_env is not None:
        entry["api_key"] = f"${{{key_env.strip('${}')}}}" if not key_env.isupper() else f"${key_env}"
    elif spec is not None and spec.key_env:
        entry["api_key"] = f"${spec.key_env}"
    if models:
        entry["models"] = list(models)
    elif spec is None or not spec.models:
        raise CcrError(f"give at least one model of {name}{hints[1]}")
    if dialect:
        entry["dialect"] = dialect
    if transformers:
        entry["transformer"] = {"use": list(transformers)}
    return entry


def appended(
    config: Config, registry: Registry, entry: Mapping[str, Any], as_default: bool
) -> tuple[list[Change], str | None]:
    """The changes that add an entry, and the default route if they set one: when asked to, or if there is none."""
    changes: list[Change] = [append(config, entry)]
    if not as_default and config.router.default:
        return changes, None
    preset = registry.providers.get(entry["name"])
    models = entry.get("models") or (preset.value.models if preset is not None else ())
    route = f"{entry['name']},{models[0]}"
    return [*changes, Set((router_key(config), "default"), route)], route


def route_keys(registry: Registry) -> dict[str, bool]:
    """The keys of ``Router`` that hold routes, and whether a key holds a table of them."""
    keys: dict[str, bool] = dict.fromkeys(FIRST, False)
    for contributed in registry.rules.values():
        for field in attrs.fields(contributed.value.options) if contributed.value.options else ():
            if field.metadata.get("route"):
                keys[field.metadata.get("key", field.name)] = "Mapping" in str(field.type)
    return keys


def routes(config: Config, registry: Registry) -> dict[str, str]:
    """Every route that is set, by its name; ``agentTypes.NAME`` for one in a table."""
    router = config.router
    found: dict[str, str] = {}
    if router.default:
        found["default"] = router.default
    for key in [*FIRST[1:], *(key for key in route_keys(registry) if key not in FIRST)]:
        value = router.options.get(key)
        if isinstance(value, str):
            found[key] = value
        elif isinstance(value, Mapping):
            found |= {f"{key}.{name}": text for name, text in value.items() if isinstance(text, str)}
    return found
