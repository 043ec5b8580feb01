"""``ccr plugins``: see, switch, install and begin plugins.  All of it must work above all when a plugin does not."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ccr_core.cli.output import emit, facts, fail, note, table
from ccr_core.errors import CcrError, ConfigError

if TYPE_CHECKING:
    from ccr_core.config import Config
    from ccr_core.plugins import Plugin, Registry


@click.group(short_help="List, switch, install and begin plugins.")
def plugins() -> None:
    """List, switch, install and begin plugins.

    \b
    Examples:
      ccr plugins list
      ccr plugins disable web-search
      ccr plugins new my-rule --kind rule
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


@plugins.command(short_help="Show one plugin: where it is from, what it offers, and whether it is used.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> int:
    """Show one plugin: where it is from, what it offers, and whether it is used.

    NAME is that of the plugin or of its distribution.

    \b
    Examples:
      ccr plugins show request-log
      ccr plugins show ccr-plugin-echo --json

    Exit code: 0; 1 when there is no such plugin.
    """
    from ccr_core.plugins import described

    config, _ = _config()
    with contextlib.redirect_stdout(sys.stderr):
        found, registry, _ = load_all(config.disabled_plugins if config is not None else disabled_anyway())
        used = _used(config, registry) if config is not None and registry is not None else None
    plugin = _find(name, found)
    details = {
        **plugin.to_json(),
        "used": None if used is None else plugin.name in used,
        "summary": "",
        "homepage": "",
        "requires": [],
        "offered": described(plugin, registry) if registry is not None else [],
    }
    from importlib import metadata

    with contextlib.suppress(metadata.PackageNotFoundError):
        about = metadata.metadata(plugin.distribution)
        urls = [line.partition(",")[2].strip() for line in about.get_all("Project-URL") or ()]
        details |= {
            "summary": about.json.get("summary", ""),
            "homepage": about.json.get("home_page", "") or (urls[0] if urls else ""),
            "requires": metadata.requires(plugin.distribution) or [],
        }
    if as_json:
        emit(details)
        return 0
    mark = {None: "?", True: "yes", False: "no"}[details["used"]]
    facts(
        [
            ("plugin", plugin.name),
            ("distribution", f"{plugin.distribution} {plugin.version}"),
            ("about", details["summary"]),
            ("homepage", details["homepage"]),
            ("requires", ", ".join(details["requires"])),
            ("state", plugin.state + (f": {plugin.reason}" if plugin.reason else "")),
            ("used", mark if plugin.state == "active" else ""),
        ]
    )
    for each in details["offered"]:
        print(f"{each['kind']} {each['name']}: {each['summary'] or '(no summary)'}")
        if each["options"]:
            print(f"  options: {', '.join(each['options'])}")
    return 0


def _find(name: str, found: list[Plugin]) -> Plugin:
    plugin = next((each for each in found if name in (each.name, each.distribution)), None)
    if plugin is None:
        from ccr_core.config import did_you_mean

        known = [each.name for each in found]
        raise CcrError(f'there is no plugin "{name}"{did_you_mean(name, known)}; ccr plugins list shows them')
    return plugin


@plugins.command(short_help="Use a plugin again that was disabled.")
@click.argument("names", nargs=-1, required=True)
def enable(names: tuple[str, ...]) -> int:
    """Use a plugin again that was disabled.

    It is taken out of disabled_plugins in the configuration, whose other text stays as it is; a running router takes
    that up by itself.

    \b
    Example:
      ccr plugins enable web-search

    Exit code: 0; 1 when there is no such plugin, or the configuration cannot be changed.
    """
    return _switch(names, on=True)


@plugins.command(short_help="Leave a plugin out, without removing it.")
@click.argument("names", nargs=-1, required=True)
def disable(names: tuple[str, ...]) -> int:
    """Leave a plugin out, without removing it.

    It is named in disabled_plugins in the configuration, whose other text stays as it is; a running router takes that
    up by itself. What is disabled is not even imported.

    \b
    Example:
      ccr plugins disable web-search request-log

    Exit code: 0; 1 when there is no such plugin, or the configuration cannot be changed.
    """
    return _switch(names, on=False)


def _switch(names: tuple[str, ...], *, on: bool) -> int:
    from ccr_core import config as configuration
    from ccr_core.config_edit import Delete, Set, edit
    from ccr_core.plugins import discover

    path = configuration.find().path
    if path is None:
        raise CcrError(f"there is no configuration in {configuration.home()}; ccr start writes one")
    raw = configuration.read(path)
    listed = raw.get("disabled_plugins") or []
    if not isinstance(listed, list):
        raise CcrError(f"disabled_plugins in {path} is no list; mend it first")
    installed = [plugin for plugin, _ in discover({}, frozenset())]
    wanted = list(listed)
    for name in names:
        if on and name in wanted and all(name not in (each.name, each.distribution) for each in installed):
            wanted.remove(name)  # of something that is no longer installed
            continue
        plugin = _find(name, installed)
        wanted = [each for each in wanted if each not in (plugin.name, plugin.distribution)]
        if not on:
            wanted.append(plugin.name)
    if wanted == listed:
        print(f"nothing to do: {', '.join(names)} {'is not' if on else 'is'} disabled")
        return 0
    edit(path, [Set(("disabled_plugins",), wanted) if wanted else Delete(("disabled_plugins",))])
    print(f"{', '.join(names)} {'is no longer' if on else 'is now'} disabled in {path}")
    try:
        from ccr_core import plugins as loading
        from ccr_core import runtime

        config = configuration.load(path)
        runtime.build(config, loading.load(disabled=config.disabled_plugins), watch=False)
    except ConfigError as error:
        note(f"warning: the configuration cannot be used like this, and a running router goes on as before:\n{error}")
    return 0


@plugins.command(short_help="Install a plugin into the environment of ccr.")
@click.argument("requirements", nargs=-1, required=True, metavar="REQUIREMENT...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only print the command that would be run.")
def install(requirements: tuple[str, ...], yes: bool, dry_run: bool) -> int:
    """Install a plugin into the environment of ccr.

    A REQUIREMENT is whatever pip understands: a name, a name with a version, a folder, an archive, an address. The
    environment is that of this ccr, a virtual environment, a tool of uv or of pipx; nothing is installed into the
    system's Python. What the plugin brings is shown, and noted in plugins.lock in ccr's folder with its version and a
    digest of its files, see "ccr plugins audit".

    A plugin is a program: it runs with your rights and sees your requests and keys.

    \b
    Examples:
      ccr plugins install ccr-plugin-example
      ccr plugins install ./my-plugin --yes

    Exit code: 0; 1 when it could not be installed, or is no plugin.
    """
    from ccr_core.cli import packages
    from ccr_core.config import home

    if any(word.startswith("-") for word in requirements):
        return fail("options for the installer cannot be given here", 2)
    place = packages.place()
    if place.kind == "system":
        return fail(
            f"this ccr is installed in the system's Python ({place.prefix}); install ccr as a tool of uv or pipx or in "
            "a virtual environment, and plugins beside it"
        )
    words = packages.command(place.install(requirements), place.python)
    if dry_run:
        print(shlex.join(words))
        return 0
    noted = packages.read_lock(home())
    before = packages.installed()
    note(f"{', '.join(requirements)} goes into {place.prefix} ({place.kind}); a plugin runs with your rights")
    if not _agreed("install it?", yes):
        return fail("nothing was installed; --yes does it without asking")
    if packages.run(words) != 0:
        return fail(f"the installer failed: {shlex.join(words)}")
    after = packages.installed()
    changed = [each for name, each in after.items() if before.get(name) != each]
    if not changed:
        note("no plugin has come or changed; was it installed already, or is it none?")
        return 0 if _present(requirements, after) else 1
    packages.write_lock(home(), {**noted, **{each.name: packages.note_of(each) for each in changed}})
    _brought([name for each in changed for name in each.plugins])
    if place.kind == "uv tool":
        note(
            f'a later "uv tool upgrade" keeps it if you name it: uv tool install {place.name} --with {requirements[0]}'
        )
    note("a running router takes it up with: ccr restart")
    return 0


def _agreed(question: str, yes: bool) -> bool:
    return yes or (sys.stdin.isatty() and click.confirm(question, err=True))


def _present(requirements: tuple[str, ...], found: dict[str, Any]) -> bool:
    from ccr_core.cli.packages import normal

    return any(normal(re.split(r"[<>=!~\[; ]", word)[0]) in found for word in requirements)


def _brought(names: list[str]) -> None:
    """Show what newly installed plugins offer, as a fresh interpreter finds them."""
    import json
    import subprocess

    words = [sys.executable, "-P", "-m", "ccr_core.cli", "plugins", "list", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        rows = {row["name"]: row for row in json.loads(done.stdout)["plugins"]}
    except (ValueError, KeyError):
        note(done.stderr.rstrip())
        return
    for name in names:
        row = rows.get(name)
        if row is None:
            print(f"{name}: commands only, see ccr --help")
            continue
        state = row["state"] + (f": {row['reason']}" if row["reason"] else "")
        print(f"{name} ({row['distribution']} {row['version']}) is {state}")
        if row["offers"]:
            print(f"  {_offers(row['offers'])}")


@plugins.command(short_help="Remove an installed plugin.")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only print the command that would be run.")
def remove(name: str, yes: bool, dry_run: bool) -> int:
    """Remove an installed plugin.

    Plugins that ccr itself is made of are only disabled, never removed.

    \b
    Example:
      ccr plugins remove ccr-plugin-example

    Exit code: 0; 1 when there is no such plugin, or it could not be removed.
    """
    from ccr_core.cli import packages
    from ccr_core.config import home

    found = packages.installed()
    wanted = packages.normal(name)
    each = found.get(wanted) or next((each for each in found.values() if name in each.plugins), None)
    if each is None:
        return fail(f'there is no plugin "{name}"; ccr plugins list shows them')
    if each.name in packages.own():
        return fail(f"{each.name} is part of ccr; leave it out with: ccr plugins disable {each.plugins[0]}")
    place = packages.place()
    words = packages.command(place.remove(each.name), place.python)
    if dry_run:
        print(shlex.join(words))
        return 0
    if place.kind == "system":
        return fail(f"this ccr is installed in the system's Python; remove it there: {shlex.join(words)}")
    if not _agreed(f"remove {each.name} {each.version}?", yes):
        return fail("nothing was removed; --yes does it without asking")
    if packages.run(words) != 0:
        return fail(f"the installer failed: {shlex.join(words)}")
    noted = packages.read_lock(home())
    if noted.pop(each.name, None) is not None:
        packages.write_lock(home(), noted)
    print(f"{each.name} {each.version} is removed; a running router goes on with it until: ccr restart")
    return 0


@plugins.command(short_help="Compare the installed plugins with what was noted.")
@click.option("--accept", is_flag=True, help="Note what is installed now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(accept: bool, as_json: bool) -> int:
    """Compare the installed plugins with what was noted.

    "ccr plugins install" notes version and SHA-256 of the files of each plugin in plugins.lock. This names those that
    are changed, missing, of another version, or not noted; plugins that ccr is made of need no note. What is installed
    in place (pip install -e) cannot be compared. With plugins_lock: "enforce" in the configuration the router does not
    start while something differs; with "warn" it says so.

    \b
    Examples:
      ccr plugins audit
      ccr plugins audit && ccr start -d
      ccr plugins audit --accept

    Exit code: 0 when all is as noted, 1 when something is not.
    """
    from ccr_core.cli import packages
    from ccr_core.config import home

    found = packages.installed()
    if accept:
        others = {name: packages.note_of(each) for name, each in found.items() if name not in packages.own()}
        packages.write_lock(home(), others)
        print(f"{len(others)} plugin(s) noted in {home() / packages.LOCK}")
        return 0
    differences = packages.compare(packages.read_lock(home()), found)
    wrong = any(each.wrong for each in differences)
    if as_json:
        emit({"ok": not wrong, "plugins": [each.to_json() for each in differences]})
        return int(wrong)
    if not differences:
        print("only plugins that ccr is made of are installed")
        return 0
    table(
        ("DISTRIBUTION", "STATE", "VERSION", "NOTED"),
        [(each.name, each.state, each.version or "-", each.noted or "-") for each in differences],
    )
    if wrong:
        note("if that is as it should be: ccr plugins audit --accept")
    return int(wrong)


@plugins.command(short_help="Begin a plugin: a package whose tests pass.")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(("transformer", "rule", "provider")), default="transformer", show_default=True
)
@click.option("--summary", help="One sentence on what it does.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where; ./ccr-plugin-NAME unless given.")
def new(name: str, kind: str, summary: str | None, folder: Path | None) -> int:
    """Begin a plugin: a package whose tests pass.

    It is complete and does next to nothing; the page "Writing a plugin" says how to go on.

    \b
    Examples:
      ccr plugins new plain-quotes
      ccr plugins new night --kind rule --summary "A local model at night."
      ccr plugins install ./ccr-plugin-night

    Exit code: 0; 1 when the folder is there already or the name cannot be one.
    """
    from ccr_core.cli import scaffold

    name = scaffold.check_name(name)
    folder = folder or Path(f"ccr-plugin-{name}")
    scaffold.write(folder, scaffold.files(name, kind, summary or f"The {kind} {name}."))
    print(f"{folder} is there; next:")
    for step in (f"cd {shlex.quote(str(folder))}", "pip install -e '.[testing]'", "pytest", "ccr plugins list"):
        print(f"  {step}")
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
    from ccr_core.plugins import load

    conflicts: list[str] = []
    registry = load(disabled=tuple(disabled), conflicts=conflicts)
    if conflicts:
        # No common result: nobody shall work with half of it.
        return list(registry.plugins), None, conflicts[0]
    return list(registry.plugins), registry, None


def _used(config: Config, registry: Registry) -> set[str] | None:
    """Names of the plugins of which the configuration uses something; ``None`` if it cannot be used itself."""
    from ccr_core.runtime import build, used

    try:
        return used(build(config, registry, watch=False))
    except Exception:  # also what a plugin's own checks raise: the list must not fail
        return None
