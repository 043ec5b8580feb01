"""The checks of ``ccr doctor`` that come with ccr.

Each is a function from facts (:class:`ccr_core.CheckContext`) to findings.  Rules: a finding names the thing and says
what mends it, with a command where there is one; a check that has nothing to look at says nothing; no secret is shown;
nothing leaves this machine unless ``--network`` allows it, and then nothing but the opening of a connection.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ccr_core import CheckContext, CheckSpec, Finding, hookimpl

INSTALL = "npm install -g @anthropic-ai/claude-code"
PAST_THE_ROUTER = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
MANAGED = ("/etc/claude-code/managed-settings.json", "/Library/Application Support/ClaudeCode/managed-settings.json")
OLDEST_CLIENT = (2, 0, 0)
"""Clients before this one were never tried with the router."""
SECONDS = 5.0
SOON = 24 * 3600
PRIVATE = ("config.json", "config.toml", "auth.json", "run.json", "statusline-undo.json")
PRIVATE_GLOBS = ("config.*.bak", "presets/*/manifest.json", "logs/*", "run/sessions/*")


def ok(text: str) -> Finding:
    """It was looked at, and is fine."""
    return Finding(level="ok", text=text)


def note(text: str, mend: str = "") -> Finding:
    """Worth knowing."""
    return Finding(level="note", text=text, mend=mend)


def warning(text: str, mend: str = "") -> Finding:
    """It may surprise."""
    return Finding(level="warning", text=text, mend=mend)


def error(text: str, mend: str = "") -> Finding:
    """It does not work."""
    return Finding(level="error", text=text, mend=mend)


def configuration(ctx: CheckContext) -> Iterator[Finding]:
    """There is a configuration, it can be used, and it says what was meant."""
    if ctx.config_path is None and ctx.problem is None:
        yield note("there is no configuration yet; the first start writes one", "ccr start -d")
        return
    if ctx.problem is not None:
        path = ctx.config_path or ctx.home
        yield error(f"the configuration cannot be used: {ctx.problem}", f"mend {path}, then: ccr config check")
        return
    for text in ctx.warnings:
        if not any(f"variable {name} is not set" in text for _, name in ctx.unresolved):
            yield warning(text, "ccr config check")
    yield ok(f"{ctx.config_path} can be used")


def variables(ctx: CheckContext) -> Iterator[Finding]:
    """Every variable that the configuration refers to is set."""
    for path, name in ctx.unresolved:
        yield error(f"{path} refers to the environment variable {name}, which is not set", f"export {name}=…")


def keys(ctx: CheckContext) -> Iterator[Finding]:
    """Every provider has a key, or an account."""
    for provider in ctx.providers:
        if provider.embedded or provider.has_key:
            continue
        if provider.oauth:
            yield error(f"{provider.name} has no account that is signed in", f"ccr auth login {provider.oauth}")
        else:
            where = f"; it is usually in {provider.key_env}" if provider.key_env else ""
            mend = (
                f"export {provider.key_env}=…"
                if provider.key_env
                else f"ccr config check, then set api_key of {provider.name}"
            )
            yield error(f"{provider.name} has no key, so its requests will be refused{where}", mend)
    if ctx.providers:
        yield ok(f"{len(ctx.providers)} provider(s): {', '.join(provider.name for provider in ctx.providers)}")
    elif ctx.config_path and not ctx.problem:
        yield error("no provider is configured, so no request can be answered", "ccr provider add")


def router(ctx: CheckContext) -> Iterator[Finding]:
    """The router runs in this version, or could."""
    state = ctx.router.get("state")
    if state == "stuck":
        yield error(
            f"the router's process {ctx.router.get('pid')} exists but does not answer", "ccr stop, then: ccr start -d"
        )
    elif state == "running":
        version = ctx.router.get("version")
        yield ok(f"the router runs at {ctx.router.get('url')} (pid {ctx.router.get('pid')}, version {version})")
        if version != ctx.version:
            yield warning(f"the running router is version {version}, this is {ctx.version}", "ccr restart")
        for failed in ctx.router.get("failed") or ():
            yield warning(
                f"the running router does without {failed.get('name')}: {failed.get('reason')}", "ccr restart"
            )
    else:
        yield note("the router does not run", "ccr start -d")


def port(ctx: CheckContext) -> Iterator[Finding]:
    """Nobody else has the router's port."""
    if ctx.blocked is not None:
        yield error(
            ctx.blocked.partition(";")[0], "stop that program, or choose another port: ccr start -d --port 4000"
        )
    elif ctx.router.get("state") == "stopped":
        yield ok(f"{ctx.url} is free")


def plugins(ctx: CheckContext) -> Iterator[Finding]:
    """No plugin has failed, and all are as plugins.lock has them."""
    failed = [plugin for plugin in ctx.plugins if plugin.get("state") == "failed"]
    for plugin in failed:
        named = f"{plugin.get('distribution')} {plugin.get('version')}".strip()
        yield error(f"plugin {named} failed: {plugin.get('reason')}", f"ccr plugins disable {plugin.get('name')}")
    mode = ctx.config.get("plugins_lock")
    if ctx.lock_problem is not None:
        yield (error if mode == "enforce" else warning)(ctx.lock_problem)
    for row in ctx.lock:
        text = f"{row['distribution']} is not as plugins.lock has it: {row['state']}"
        if mode == "enforce":
            yield error(f"{text}; so the router does not start", "ccr plugins audit, then: ccr plugins audit --accept")
        elif mode == "warn" or row["state"] != "not noted":
            yield warning(text, "ccr plugins audit, then: ccr plugins audit --accept")
        else:
            yield note(text, "ccr plugins audit --accept")
    if ctx.plugins and not failed:
        yield ok(f"{sum(plugin.get('state') == 'active' for plugin in ctx.plugins)} plugins are active")


def accounts(ctx: CheckContext) -> Iterator[Finding]:
    """The accounts that are signed in can be used."""
    if ctx.accounts_problem:
        yield error(ctx.accounts_problem, "ccr auth list")
    now = time.time()
    for provider, found in ctx.accounts.items():
        for name, account in found.items():
            who = f"the account {account.get('label') or name} of {provider}"
            again = f"ccr auth login {provider}"
            status = account.get("status")
            state = status.get("state") if isinstance(status, dict) else None
            if state not in (None, "ok"):
                why = f" ({status['reason']})" if isinstance(status, dict) and status.get("reason") else ""
                yield error(f"{who} is {state}{why}", again)
                continue
            expires = account.get("access_expires_at")
            if not isinstance(expires, int | float) or account.get("refreshable"):
                yield ok(f"{who} is signed in")
            elif expires <= now:
                yield error(f"the token of {who} has expired, and cannot be renewed", again)
            elif expires - now < SOON:
                yield warning(f"the token of {who} expires within a day, and cannot be renewed", again)
            else:
                yield ok(f"{who} is signed in")


def environment(ctx: CheckContext) -> Iterator[Finding]:
    """Nothing in the environment leads Claude Code past the router, or to it with two credentials."""
    for name in PAST_THE_ROUTER:
        if ctx.environ.get(name) not in (None, "", "0", "false"):
            yield warning(
                f"{name} is set: a claude that is not started by ccr code goes past the router", f"unset {name}"
            )
    base = ctx.environ.get("ANTHROPIC_BASE_URL", "")
    here = bool(base) and base.rstrip("/").startswith(ctx.url.rstrip("/"))
    if base and not here:
        yield warning(
            f"ANTHROPIC_BASE_URL is {_clean(base)}, which is not the router; ccr code sets its own",
            'unset ANTHROPIC_BASE_URL, or: eval "$(ccr activate)"',
        )
    given = [name for name in CREDENTIALS if ctx.environ.get(name)]
    if len(given) > 1:
        which = given[0] if given[0] != "ANTHROPIC_AUTH_TOKEN" else given[1]
        yield warning(
            f"{' and '.join(given)} are both set; a claude that is not started by ccr code sends both", f"unset {which}"
        )


def settings(ctx: CheckContext) -> Iterator[Finding]:
    """Nothing in Claude Code's settings leads it past the router."""
    folder = ctx.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(ctx.environ.get("HOME", ""), ".claude")
    names = [os.path.join(folder, "settings.json")]
    names += [os.path.join(ctx.cwd, ".claude", name) for name in ("settings.json", "settings.local.json")]
    for path in dict.fromkeys([*names, *MANAGED]):
        try:
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as problem:
            yield warning(f"{path} cannot be read, so Claude Code may ignore it: {problem}", f"mend {path}")
            continue
        yield from _settings(path, data if isinstance(data, dict) else {}, ctx)


def _settings(path: str, data: Mapping[str, Any], ctx: CheckContext) -> Iterator[Finding]:
    env = data.get("env")
    env = env if isinstance(env, dict) else {}
    over = " Managed settings win over those of ccr code." if path in MANAGED else ""
    level = error if over else warning
    if "apiKeyHelper" in data:
        yield level(
            f"{path} has apiKeyHelper: its key goes to the router in place of ccr's own.{over}",
            f"remove apiKeyHelper from {path}",
        )
    base = env.get("ANTHROPIC_BASE_URL")
    if isinstance(base, str) and base and not base.startswith(ctx.url.rstrip("/")):
        yield level(
            f"{path} sets ANTHROPIC_BASE_URL to {_clean(base)}, which is not the router.{over}",
            f"remove it from env in {path}",
        )
    for name in (*PAST_THE_ROUTER, *CREDENTIALS):
        if env.get(name) not in (None, "", "0"):
            yield level(f"{path} sets {name}.{over}", f"remove {name} from env in {path}")
    if data.get("forceLoginMethod"):
        yield level(
            f"{path} has forceLoginMethod: Claude Code may insist on a login.{over}",
            f"remove forceLoginMethod from {path}",
        )


def proxy(ctx: CheckContext) -> Iterator[Finding]:
    """Requests to the router go past the proxy, and those of the router through it."""
    named = {
        name: ctx.environ[name]
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")
        if ctx.environ.get(name)
    }
    past = ",".join(ctx.environ.get(name, "") for name in ("NO_PROXY", "no_proxy")).split(",")
    if named and not {"127.0.0.1", "*"} & {entry.strip() for entry in past}:
        text = (
            f"{next(iter(named))} is set and NO_PROXY does not name 127.0.0.1: a claude that is not started by ccr "
            "code asks the proxy for the router"
        )
        yield warning(text, 'eval "$(ccr activate)"')
    if ctx.proxy:
        parts = urlsplit(ctx.proxy)
        if parts.scheme not in ("http", "https", "socks5", "socks5h") or not parts.hostname:
            yield error(
                f"the configured proxy {_clean(ctx.proxy)} is no http, https or socks5 address",
                "mend PROXY_URL in the configuration",
            )
        else:
            yield ok(f"the router asks providers through {_clean(ctx.proxy)}")
    elif named and ctx.config_path:
        yield note(
            f"{next(iter(named))} is set; the router itself uses a proxy only if PROXY_URL is configured",
            "PROXY_URL in the configuration",
        )


def _clean(url: str) -> str:
    """An address without user and password."""
    return re.sub(r"(://)[^/@]*@", r"\1…@", url)


def client(ctx: CheckContext) -> Iterator[Finding]:
    """Claude Code is installed, in a version that was tried."""
    path = shutil.which(os.path.expanduser(ctx.client), path=ctx.environ.get("PATH"))
    if path is None:
        yield error(f'Claude Code was not found ("{ctx.client}")', f"{INSTALL}, or set CLAUDE_PATH")
        return
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            env=dict(ctx.environ),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        yield error(f"{path} --version does not work: {problem}", INSTALL)
        return
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    if done.returncode or found is None:
        yield error(f"{path} --version does not work (exit code {done.returncode})", INSTALL)
    elif tuple(map(int, found.groups())) < OLDEST_CLIENT:
        yield warning(
            f"{path} is version {found[0]}, which is older than any that was tried with the router", "claude update"
        )
    else:
        yield ok(f"Claude Code {found[0]} ({path})")


def permissions(ctx: CheckContext) -> Iterator[Finding]:
    """Only you can read ccr's files, and you can write them."""
    home = Path(ctx.home)
    if os.name != "posix" or not home.exists():
        return
    try:
        mode = stat.S_IMODE(home.stat().st_mode)
        if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
            yield error(f"{home} cannot be read and written", f"chmod u+rwx {shlex.quote(str(home))}")
            return
        files = [home / name for name in PRIVATE]
        files += [path for pattern in PRIVATE_GLOBS for path in sorted(home.glob(pattern))]
        shared = [path for path in files if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    except OSError as problem:
        yield error(f"{home} cannot be looked at: {problem.strerror or problem}", f"ls -la {shlex.quote(str(home))}")
        return
    if mode & 0o022:
        yield error(f"others can write in {home}", f"chmod go-rwx {shlex.quote(str(home))}")
    for path in shared:
        level = error if path.name in ("auth.json",) else warning
        yield level(f"others can read {path}", f"chmod go-rwx {shlex.quote(str(path))}")
    if not shared and not mode & 0o022:
        yield ok(f"what is in {home} is yours alone")


def network(ctx: CheckContext) -> Iterator[Finding]:
    """Every provider can be reached, with a certificate that is trusted.  Only with ``--network``."""
    if not ctx.network:
        return
    for provider in ctx.providers:
        if provider.embedded:
            continue
        parts = urlsplit(provider.url)
        place = parts.port or (80 if parts.scheme == "http" else 443)
        if not parts.hostname:
            yield error(f"the address of {provider.name} has no host: {_clean(provider.url)}", "ccr config check")
            continue
        if ctx.proxy and not any(fnmatch.fnmatch(parts.hostname, entry.lstrip(".")) for entry in ctx.no_proxy):
            through = urlsplit(ctx.proxy)
            problem = reach(through.hostname or "", through.port or 8080, None)
            text = f"{provider.name} is asked through the proxy {_clean(ctx.proxy)}"
            yield (
                error(f"{text}, which cannot be reached: {problem}", "mend PROXY_URL in the configuration")
                if problem
                else ok(f"{text}, which answers")
            )
            continue
        problem = reach(parts.hostname, place, parts.hostname if parts.scheme != "http" else None)
        if problem is None:
            yield ok(f"{provider.name} can be reached at {parts.hostname}")
        else:
            yield error(
                f"{provider.name} cannot be reached at {parts.hostname}:{place}: {problem}",
                f"ccr provider test {provider.name}",
            )


def reach(host: str, place: int, name: str | None) -> str | None:
    """Why no connection can be opened, with TLS for the host ``name`` if that is given; ``None`` if one can."""
    try:
        with socket.create_connection((host, place), SECONDS) as connection:
            if name is not None:
                with ssl.create_default_context().wrap_socket(connection, server_hostname=name):
                    pass
    except ssl.SSLCertVerificationError as problem:
        return f"its certificate is not trusted ({problem.verify_message})"
    except ssl.SSLError as problem:
        return f"TLS does not work ({problem.reason or problem})"
    except OSError as problem:
        return str(problem.strerror or problem)
    return None


@hookimpl
def ccr_checks() -> Iterable[CheckSpec]:
    """Offer the checks, in the order in which they are shown."""
    for name, run in (
        ("configuration", configuration),
        ("variables", variables),
        ("keys", keys),
        ("accounts", accounts),
        ("router", router),
        ("port", port),
        ("plugins", plugins),
        ("client", client),
        ("environment", environment),
        ("settings", settings),
        ("proxy", proxy),
        ("permissions", permissions),
        ("network", network),
    ):
        yield CheckSpec(name=name, run=run, summary=(run.__doc__ or "").split(".")[0] + ".")
