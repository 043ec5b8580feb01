"""Changing the configuration from the command line.

Rules: what is written has been put together with the plugins first, so that a running router never meets a
configuration that it cannot use; everything else in the file stays as its owner wrote it, and a copy is kept
(:mod:`ccr_core.config_edit`); whether the running router has taken the change up is asked, not assumed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from ccr_core import config_edit, entries
from ccr_core.cli import process
from ccr_core.cli.output import note
from ccr_core.config import Config, find, from_document, home, load, parse, parse_path, proxy_change, read_text
from ccr_core.config_edit import Change, Set
from ccr_core.errors import CcrError, ConfigError

if TYPE_CHECKING:
    from ccr_core.plugins import Registry
    from ccr_core.runtime import Provider, Runtime

SECONDS = 5.0
"""How long a running router is given to take a change up: it looks at its files once a second."""


@attrs.frozen(kw_only=True)
class Draft:
    """The configuration as it is, put together with the plugins, for a command that is about to change it."""

    path: Path
    version: str
    config: Config
    registry: Registry
    runtime: Runtime

    def provider(self, name: str) -> Provider:
        """A provider by its name, in any case of letters; ``CcrError`` with the known ones if there is none."""
        known = self.runtime.providers
        found = known.get(name) or next((each for key, each in known.items() if key.lower() == name.lower()), None)
        if found is None:
            raise CcrError(f'there is no provider "{name}"; known: {", ".join(known) or "none"}')
        return found

    def place(self, provider: Provider) -> tuple[str | int, ...]:
        """Where the entry of a provider is in the file."""
        return parse_path(provider.config.where)

    def providers_at(self) -> str:
        """The key of the list of providers as the file spells it."""
        return entries.providers_key(self.config)

    def router_at(self) -> str:
        """The key of the routes as the file spells it."""
        return entries.router_key(self.config)

    def append(self, provider: Mapping[str, Any]) -> Set:
        """The change that adds an entry behind the other providers."""
        return entries.append(self.config, provider)


def draft(create: bool = False) -> Draft:
    """The configuration that the running router uses, else the one in ccr's folder.

    With ``create`` a first one is written if there is none, as ``ccr start`` does.  Raises ``ConfigError`` if there
    is none, or it cannot be used as it is.
    """
    from ccr_core import plugins
    from ccr_core.runtime import build

    path = _path()
    if path is None and create:
        from ccr_core.cli import firstrun

        path = firstrun.ensure(None)
    if path is None:
        raise ConfigError(f"there is no configuration in {home()}; ccr start writes a first one")
    version = config_edit.version(path)
    config = load(path)
    registry = plugins.load(disabled=config.disabled_plugins)
    runtime = build(config, registry, watch=False)
    return Draft(path=path, version=version, config=config, registry=registry, runtime=runtime)


def _path() -> Path | None:
    run = process.look(home()).run
    if run is not None and run.config is not None:
        return Path(run.config)
    return find().path


def save(before: Draft, changes: Sequence[Change]) -> Config:
    """Check and write ``changes``, and say what comes of it on standard error; gives the new configuration.

    Raises ``ConfigError``, with the file as it was, if the result could not be used.
    """
    from ccr_core import plugins
    from ccr_core.runtime import build

    text = config_edit.changed(read_text(before.path), changes, before.path)
    try:
        after = from_document(parse(text, before.path).data, source=before.path)
        runtime = build(after, plugins.load(disabled=after.disabled_plugins), watch=False)
    except ConfigError as error:
        # The lines of these problems are those of a file that is not written.
        raise ConfigError(f"nothing was written, because the result could not be used:\n{error.message}") from error
    config_edit.edit(before.path, changes, before.version)
    for warning in runtime.warnings:
        if warning not in before.runtime.warnings:
            note(f"warning: {warning}")
    if proxy := proxy_change(before.config.proxy_url, after.proxy_url):
        note(f"warning: {proxy}")
    note(f"{before.path} is changed (a copy of the former is beside it); {taken_up(before, after)}")
    return after


def taken_up(before: Draft, after: Config) -> str:
    """What a running router makes of the change, as the end of a sentence."""
    run = process.look(home()).run
    if run is None:
        return "no router runs, the next start uses it"
    key = before.config.apikey
    found: Mapping[str, Any] = {}

    def done() -> bool:
        nonlocal found
        answer = process.status(run, after.apikey) or process.status(run, key)
        found = (answer or {}).get("reload") or {}
        return not found or bool(found.get("problem")) or (found.get("last") or 0) * 1e9 >= modified

    modified = before.path.stat().st_mtime_ns
    if not process.until(done, SECONDS) or not found:
        return f"the router at {run.url} did not say that it uses it; see ccr status"
    if found["problem"]:
        return f"the router at {run.url} does not use it: {found['problem']}"
    return f"the router at {run.url} uses it already"


def secret(what: str) -> str:
    """A secret: typed without echo on a terminal, else the first line of standard input."""
    asked = sys.stdin.isatty()
    value = str(click.prompt(what, hide_input=True, err=True)) if asked else sys.stdin.readline().strip()
    if not value:
        raise CcrError(f"standard input holds no {what}; give it as its first line")
    return value


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()
