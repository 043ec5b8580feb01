"""``ccr doctor``: gather the facts, run the checks of the plugins, show what they find.

The facts are gathered so that each is there also where another cannot be had: a broken configuration does not hide a
broken plugin.  The checks themselves are contributions (hook ``ccr_checks``).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import click

from ccr_core import __version__
from ccr_core.checks import CheckContext, Finding, ProviderFacts
from ccr_core.cli import process
from ccr_core.cli.output import emit, fail, paint
from ccr_core.config import did_you_mean, find, home, mask
from ccr_core.errors import CcrError, ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from ccr_core.config import Config
    from ccr_core.plugins import Registry

MARKS = {"ok": ("ok", "green"), "note": ("note", "dim"), "warning": ("warning", "yellow"), "error": ("error", "red")}


@click.command(short_help="Look for what keeps ccr from working, and say what mends it.")
@click.argument("names", nargs=-1, metavar="[CHECK]...")
@click.option("--network", is_flag=True, help="Also open a connection to each provider (nothing is sent).")
@click.option("-q", "--quiet", is_flag=True, help="Leave out what is fine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(names: tuple[str, ...], network: bool, quiet: bool, as_json: bool) -> int:
    """Look for what keeps ccr from working, and say what mends it.

    Configuration, variables, keys and accounts, the port and who has it, the running router, plugins, Claude Code and
    its settings, proxies and permissions. Plugins may bring further checks. Nothing is changed. With names of checks
    only those are run.

    \b
    Examples:
      ccr doctor
      ccr doctor --network
      ccr doctor configuration keys
      ccr doctor --json | python -m json.tool

    Exit code: 0 when nothing is wrong (there may be warnings), 1 when something is.
    """
    with contextlib.redirect_stdout(sys.stderr):  # a plugin that prints must not spoil the output
        ctx, registry = facts(network=network)
        checks = registry.checks if registry is not None else {}
        unknown = [name for name in names if name not in checks]
        if unknown:
            near = did_you_mean(unknown[0], checks)
            return fail(f'there is no check "{unknown[0]}"{near}; known: {", ".join(checks)}', 2)
        results = [
            (name, finding)
            for name, check in checks.items()
            if not names or name in names
            for finding in run(check.value.run, ctx, f"{name} of {check.plugin}")
        ]
    if not checks:
        results.append(
            ("checks", Finding(level="error", text="no checks are installed", mend="pip install ccr-plugin-checks"))
        )
    broken = any(finding.level == "error" for _, finding in results)
    if as_json:
        emit({"ok": not broken, "findings": [{"check": name, **attrs.asdict(finding)} for name, finding in results]})
        return int(broken)
    width = max(len(name) for name, _ in results) if results else 0
    for name, finding in results:
        if quiet and finding.level == "ok":
            continue
        mark, colour = MARKS[finding.level]
        print(f"{name:<{width}}  {paint(f'{mark:<7}', colour)}  {finding.text}")
        if finding.mend:
            print(f"{'':<{width}}           {paint(f'-> {finding.mend}', 'bold')}")
    counts = {level: sum(finding.level == level for _, finding in results) for level in ("error", "warning")}
    print(f"{counts['error']} error(s), {counts['warning']} warning(s)")
    return int(broken)


def run(check: Any, ctx: CheckContext, who: str) -> list[Finding]:
    """What a check finds; one that raises is itself a finding."""
    found: list[Finding] = []
    try:
        for finding in check(ctx):
            if not isinstance(finding, Finding):
                raise TypeError(f"it gave {finding!r}, expected Finding")
            found.append(finding)
    except Exception as error:
        found.append(Finding(level="error", text=f"the check {who} failed: {type(error).__name__}: {error}"))
    return found


def facts(env: Mapping[str, str] = os.environ, *, network: bool = False) -> tuple[CheckContext, Registry | None]:
    """The facts for the checks, and the plugins, as far as both can be had."""
    from ccr_core import config as configuration
    from ccr_core import runtime
    from ccr_core.cli.plugins import disabled_anyway, load_all

    folder = home()
    path = find().path
    config: Config | None = None
    problem: str | None = None
    warnings: tuple[str, ...] = ()
    providers: Iterable[ProviderFacts] = ()
    accounts: dict[str, dict[str, Any]] = {}
    accounts_problem = None
    raw: Any = {}
    if path is not None:
        try:
            raw = mask(configuration.read(path))
            config = configuration.load(path)
        except ConfigError as error:
            problem = error.message
    found, registry, conflict = load_all(config.disabled_plugins if config is not None else disabled_anyway())
    if registry is None:
        registry = _checks_only()
        problem = problem or conflict
    elif config is not None:
        try:
            built = runtime.build(config, registry, watch=False)
            warnings = built.warnings
            providers = [_provider(provider) for provider in built.providers.values()]
        except ConfigError as error:
            problem = error.message
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        accounts, accounts_problem = _accounts(config, registry)
    lock, lock_problem = _lock(folder, config)
    standing = process.look(folder)
    at = standing.run
    host = config.host if config is not None and config.apikey else "127.0.0.1"
    port = config.port if config is not None else 3456
    with contextlib.suppress(CcrError):
        port = process.service_port(port)
    ctx = CheckContext(
        home=str(folder),
        cwd=os.getcwd(),
        environ=dict(env),
        version=__version__,
        config=raw,
        config_path=None if path is None else str(path),
        problem=problem,
        warnings=warnings,
        unresolved=tuple((each.path, each.name) for each in config.unresolved) if config is not None else (),
        providers=tuple(providers),
        router={"state": standing.state, **({"url": at.url, **attrs.asdict(at)} if at is not None else {})},
        url=at.url if at is not None else process.url_of(host, port),
        blocked=process.blocked(host, port) if at is None and port else None,
        plugins=tuple(plugin.to_json() for plugin in found),
        lock=lock,
        lock_problem=lock_problem,
        accounts=accounts,
        accounts_problem=accounts_problem,
        client=config.claude_path if config is not None else env.get("CLAUDE_PATH") or "claude",
        proxy=config.proxy_url if config is not None else None,
        no_proxy=config.no_proxy if config is not None else (),
        network=network,
    )
    return ctx, registry


def _lock(folder: Path, config: Config | None) -> tuple[tuple[dict[str, Any], ...], str | None]:
    """What differs from ``plugins.lock``, or why it cannot be told; nothing where nobody uses that file."""
    from ccr_core.cli import packages
    from ccr_core.cli.plugins import disabled_anyway

    if (config is None or config.plugins_lock == "off") and not (folder / packages.LOCK).exists():
        return (), None
    try:
        disabled = config.disabled_plugins if config is not None else disabled_anyway()
        return tuple(each.to_json() for each in packages.differences(folder, disabled)), None
    except CcrError as error:
        return (), error.message


def _checks_only() -> Registry | None:
    """Where two plugins exclude each other: those that come with ccr, which hold the checks."""
    from ccr_core.plugins import load

    with contextlib.suppress(ConfigError):
        return load(environ={"CCR_PLUGINS": "checks"})
    return None


def _provider(provider: Any) -> ProviderFacts:
    spec = provider.spec
    embedded = (spec is not None and spec.embedded is not None) or provider.base_url.startswith("embedded:")
    return ProviderFacts(
        name=provider.name,
        url=provider.plan.base_url or provider.base_url,
        has_key=bool(provider.keys) or (spec is not None and spec.key_style == "none"),
        embedded=embedded,
        oauth=provider.config.oauth_provider if provider.config.auth_type == "oauth" else None,
        key_env=spec.key_env if spec is not None else None,
        models=tuple(provider.models),
    )


def _accounts(config: Config, registry: Registry) -> tuple[dict[str, dict[str, Any]], str | None]:
    """The accounts without their secrets, or why they cannot be read."""
    from ccr_core.config import Problems
    from ccr_core.runtime import make_store
    from ccr_core.tokenstore import SECRETS

    store = make_store(config, registry, Problems())
    if store is None:
        return {}, None
    try:
        stored = store.read()
    except CcrError as error:
        return {}, error.message
    return {
        provider: {
            name: {
                **{key: value for key, value in account.items() if key not in SECRETS},
                "refreshable": bool(account.get("refresh_token")),
            }
            for name, account in part.get("accounts", {}).items()
        }
        for provider, part in stored.items()
        if isinstance(part, dict)
    }, None
