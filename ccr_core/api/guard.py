"""What the management API refuses, whoever asks: code, and keys for somebody else.

The person at the browser may choose among what is there.  What is run on this machine is chosen by its owner, in the
file or with the command line: a path to code that is not in the configuration already is refused, and so is switching
on a plugin.  A key that stays in its place while the address beside it changes goes to a new host only if that is
said, or the key is given again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from ccr_core.api.masks import Place, hidden, pairs
from ccr_core.config import Key, Problem, join
from ccr_core.runtime import Provider, Runtime

OWNER = "set it in the file itself, which ccr config path names"
PROGRAMS = ("CLAUDE_PATH", "CUSTOM_ROUTER_PATH", "REWRITE_SYSTEM_PROMPT")
"""Keys whose value is a program, code, or a file that is sent away."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"']+", re.I)


@attrs.frozen
class HostProblem(Problem):
    """A problem that is none any more if the new host is accepted."""


# --- code -----------------------------------------------------------------------------------------------------


def denied(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Problem]:
    """Everything in ``after`` that would run code which ``before`` does not."""
    problems = [
        Problem(key, f"a path to code or to a file cannot be set here; {OWNER}")
        for key in PROGRAMS
        if after.get(key) and after[key] != before.get(key)
    ]
    for kind, noun in ((_files, "a file with a transformer"), (_scripts, "a script"), (_modules, "a module")):
        known = Counter(value for _, value in kind(before))
        for path, value in kind(after):
            if not known[value]:
                problems.append(Problem(join("", *path), f"{noun} cannot be added here; {OWNER}"))
            known[value] -= 1
    if _store(after) not in (None, _store(before)):
        problems.append(Problem("token_store.path", f"where accounts are kept is not set here; {OWNER}"))
    off, still = (set(map(str, _list(each.get("disabled_plugins")))) for each in (before, after))
    problems += [
        Problem("disabled_plugins", f"switching a plugin on loads its code; run: ccr plugins enable {name}")
        for name in sorted(off - still)
    ]
    if _remote(after) and not _remote(before):
        problems.append(Problem("management.remote", f"who may manage the router is not set here; {OWNER}"))
    if STRICT.get(after.get("plugins_lock"), 0) < STRICT.get(before.get("plugins_lock"), 0):
        problems.append(Problem("plugins_lock", f"the check of plugins is not loosened here; {OWNER}"))
    return problems


STRICT: Mapping[Any, int] = {"warn": 1, "enforce": 2}


def _remote(document: Mapping[str, Any]) -> bool:
    management = document.get("management")
    return bool(isinstance(management, Mapping) and management.get("remote"))


def _store(document: Mapping[str, Any]) -> Any:
    """The file of the accounts, where one is named."""
    store = document.get("token_store")
    return store.get("path") if isinstance(store, Mapping) else None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _files(document: Mapping[str, Any]) -> Iterator[tuple[tuple[Key, ...], str]]:
    for index, entry in enumerate(_list(document.get("transformers"))):
        path = entry.get("path") if isinstance(entry, Mapping) else entry
        yield ("transformers", index, "path"), str(path)


def _scripts(document: Mapping[str, Any]) -> Iterator[tuple[tuple[Key, ...], str]]:
    def walk(node: Any, path: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], str]]:
        if isinstance(node, Mapping):
            for key, item in node.items():
                if key == "scriptPath" and item:
                    yield (*path, key), str(item)
                else:
                    yield from walk(item, (*path, key))
        elif isinstance(node, list):
            for index, item in enumerate(node):
                yield from walk(item, (*path, index))

    yield from walk(document.get("StatusLine"), ("StatusLine",))


def _modules(document: Mapping[str, Any]) -> Iterator[tuple[tuple[Key, ...], str]]:
    for name in ("plugins", "Plugins"):
        for index, entry in enumerate(_list(document.get(name))):
            for key in ("path", "module", "file", "package") if isinstance(entry, Mapping) else ():
                if entry.get(key):
                    yield (name, index, key), str(entry[key])


# --- keys and hosts -------------------------------------------------------------------------------------------


def new_hosts(before: Mapping[str, Any], after: Mapping[str, Any], old: Runtime, new: Runtime) -> list[Problem]:
    """Each part of ``after`` whose key stayed while it got a host that it did not have."""
    problems: list[Problem] = []
    for path, one, other in _parts(before, after):
        is_provider = path[0] in ("Providers", "providers")
        was = old.providers.get(str(one.get("name"))) if is_provider and isinstance(one, Mapping) else None
        now = new.providers.get(str(other.get("name"))) if is_provider and isinstance(other, Mapping) else None
        fresh = sorted((_hosts(other) | _hosts_of(now)) - _hosts(one) - _hosts_of(was))
        if fresh and _keeps(path, one, other, was):
            place = join("", *path, "api_base_url") if is_provider else join("", *path)
            name = str(other.get("name")) if is_provider else path[-1]
            text = f"the key of {name} would be sent to {', '.join(fresh)}; give the key again, or send accept_host"
            problems.append(HostProblem(place, text))
    return problems


def _parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[tuple[Key, ...], Any, Any]]:
    """What belongs together, addresses and keys: place, and what it was and is."""
    for key, value in after.items():
        was = before.get(key)
        if key in ("Providers", "providers"):
            # The list may be written under its other name now.
            was = was if was is not None else before.get("providers" if key == "Providers" else "Providers")
            entries, olds = _list(value), _list(was)
            for index, (entry, other) in enumerate(zip(entries, pairs(entries, olds), strict=True)):
                if other is not None and isinstance(entry, Mapping) and isinstance(olds[other], Mapping):
                    yield (key, index), olds[other], entry
        elif isinstance(value, Mapping) and isinstance(was, Mapping):
            for name, part in value.items():
                if name in was:
                    yield (key, name), was[name], part
                elif key == "oauth":
                    yield (key, name), {}, part
        elif key == "oauth" and isinstance(value, Mapping):
            yield from (((key, name), {}, part) for name, part in value.items())
        elif was is not None:
            yield (key,), was, value


def _keeps(path: tuple[Key, ...], one: Any, other: Any, was: Provider | None) -> bool:
    """Whether a part has a key that it had before, here or elsewhere."""
    if path[0] == "oauth":
        return True  # the accounts are kept in a file of their own
    place = Place()
    for key in path:
        place = place.inside(key)
    held = set(_keys(one, place))
    if held & set(_keys(other, place)):
        return True
    if was is None or (was.spec is not None and was.spec.key_style == "none"):
        return False
    # A key that the entry does not name: an account, or the variable of its preset.
    return not _own_key(other) and bool(was.accounts is not None or was.keys)


def _own_key(entry: Any) -> bool:
    return isinstance(entry, Mapping) and bool(entry.get("api_key"))


def _keys(value: Any, place: Place) -> Iterator[str]:
    """Secrets, and references in the place of secrets."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _keys(item, place.inside(key))
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item, place)
    elif isinstance(value, str) and value and (place.secret or hidden(value, place) != value):
        yield value


def _hosts(value: Any, named: bool = False) -> set[str]:
    """Hosts and ports of all addresses in a part; ``named``: its texts are hosts themselves."""
    if isinstance(value, Mapping):
        return {
            host
            for key, item in value.items()
            for host in _hosts(item, isinstance(key, str) and key.lower().endswith("host"))
        }
    if isinstance(value, list):
        return {host for item in value for host in _hosts(item)}
    if not isinstance(value, str):
        return set()
    if named:
        return {value.lower()}
    found = set()
    for address in _ADDRESS.findall(value):
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            continue
        host = (parts.hostname or "").lower()
        if host:
            # Plain HTTP is another place, although its name is the same: others can read along.
            port = port or (80 if parts.scheme.lower() == "http" else 443)
            found.add(host if port == 443 else f"{host}:{port}")
    return found


def _hosts_of(provider: Provider | None) -> set[str]:
    """Where the requests of a provider go."""
    if provider is None:
        return set()
    plans = (provider.plan, *provider.plans.values(), *provider.endpoints.values())
    return _hosts([provider.base_url, *(plan.base_url for plan in plans if plan.base_url)])
