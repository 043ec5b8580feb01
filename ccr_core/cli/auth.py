"""``ccr auth``: signing in to services, and looking at the accounts.

The conversation of a login is the plugin's (:mod:`ccr_core.auth`); here is the one who is asked: the terminal.  What
the user has to read goes to standard error, results to standard output.  No token is ever printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from ccr_core.cli.output import emit, fail, note, paint, table
from ccr_core.errors import CcrError
from ccr_core.login import Front

if TYPE_CHECKING:
    from ccr_core.signins import SignIns

PASTE_AFTER = 15.0
"""Seconds after which the terminal offers that the address is pasted."""


def _place() -> SignIns:
    """Configuration, plugins and store, as the commands need them."""
    from ccr_core.config import find, from_document, load
    from ccr_core.plugins import load as load_plugins
    from ccr_core.signins import SignIns

    config = load() if find().path is not None else from_document({})
    with contextlib.redirect_stdout(sys.stderr):
        registry = load_plugins(disabled=config.disabled_plugins)
    return SignIns(config, registry)


def _complete_provider(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    try:
        return [name for name in _place().specs() if name.startswith(incomplete)]
    except CcrError:
        return []


def _complete_account(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    try:
        found = _place().stored(ctx.params.get("provider"))
    except CcrError:
        return []
    return [account.id for account in found if account.id.startswith(incomplete)]


def _provider(required: bool) -> Callable[[Any], Any]:
    return click.argument("provider", required=required, shell_complete=_complete_provider)


_account = click.option("--account", shell_complete=_complete_account, help="The account, by the id that list shows.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(short_help="Sign in with subscriptions.", invoke_without_command=True)
@click.pass_context
def auth(ctx: click.Context) -> None:
    """Sign in with subscriptions instead of API keys, and look at the accounts.

    \b
    Examples:
      ccr auth login copilot
      ccr auth status
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


@auth.command(short_help="Sign in.")
@_provider(False)
@_account
@click.option("--method", help="How to sign in, where there are several ways (browser, device).")
@click.option("--no-browser", is_flag=True, help="Open no browser; what it shows can be pasted here.")
@click.option("--accept-terms-risk", is_flag=True, help="Agree to what the vendor says against this use.")
def login(
    provider: str | None, account: str | None, method: str | None, no_browser: bool, accept_terms_risk: bool
) -> int:
    """Sign in to a service.

    The address to open is always printed. On a machine without a browser, sign in with a code where that is offered
    (--no-browser chooses it), or paste the address of the last page of your browser, even if that page shows an
    error. Signing in again renews an account; another user's sign-in adds one.

    \b
    Examples:
      ccr auth login                          list the services
      ccr auth login copilot
      ccr auth login codex --no-browser
      ccr auth login codex --account 3f9c2a1b

    "anthropic" passes on the login that Claude Code itself has, and needs none; "anthropic-managed" signs in to a
    Claude subscription, after you agree to what Anthropic says against it.

    Exit code: 0 when you are signed in, or nothing is to be done; 1 otherwise.
    """
    place = _place()
    if provider is None:
        print("usage: ccr auth login PROVIDER")
        table(("PROVIDER", "WHAT"), [(name, spec.summary) for name, spec in place.specs().items()])
        return 0
    spec, scheme = place.spec(provider), place.auth(provider)
    if method is not None and method not in scheme.methods:
        return fail(f"{provider} has no method {method}; it has {', '.join(scheme.methods)}", 2)
    if not spec.interactive and not scheme.methods:
        others = [name for name in place.specs() if name.startswith(f"{provider}-")]
        print(f"{provider} needs no sign-in{f' (but there is {others[0]}, which is another way)' if others else ''}")
        return 0
    known = {each.id: each for each in place.stored(provider)}
    if account is not None and account not in known:
        return fail(f"{provider} has no account {account}; without --account another one is added")
    # It is agreed to once, for each account.
    before = account is not None and known[account].consented and not accept_terms_risk
    if spec.risk and not before and not accept_terms_risk and not _agrees(provider, spec.risk):
        return fail(f"not signed in to {provider}; read the above, and use --accept-terms-risk if you want it")
    from ccr_core.auth import Wish
    from ccr_core.login import converse
    from ccr_core.tokenstore import save_login

    headless = no_browser or not _has_browser()
    if method is None and no_browser and "device" in scheme.methods:
        method = "device"
    wish = Wish(
        method=method or (scheme.methods[0] if scheme.methods else ""),
        headless=headless,
        another=bool(known) and account is None,
    )
    token = asyncio.run(converse(scheme.login(wish), Terminal(headless), place.http()))
    made = save_login(place.store, provider, token, time.time(), consent=bool(spec.risk) and not before)
    if account is not None and made != account:
        note(f"note: this is another account than {account}, which is as it was")
        if before and not (made in known and known[made].consented):
            note(f"note: it is not used before its owner agrees to the risk. Run: ccr auth login {provider}")
    print(f"signed in to {provider}{f' as {token.label}' if token.label else ''} (account {made})")
    if token.expires is not None:
        print(f"valid until {_time(token.expires)}{', renewed by itself' if token.refresh else ''}")
    if not any(
        entry.auth_type == "oauth" and (entry.oauth_provider or entry.name) == provider
        for entry in place.config.providers
    ):
        models = ", ".join(f'"{model}"' for model in spec.models[:2]) or '"…"'
        print("to use it, add this to Providers in the configuration (ccr auth models lists the models):")
        print(
            f'  {{ "name": "{provider}", "auth_type": "oauth", "oauth_provider": "{provider}", "models": [{models}] }}'
        )
    return 0


@auth.command(short_help="Sign out.")
@_provider(True)
@_account
@click.option("--all", "everyone", is_flag=True, help="All accounts of the provider.")
def logout(provider: str, account: str | None, everyone: bool) -> int:
    """Forget an account, and tell the vendor where it takes that.

    \b
    Examples:
      ccr auth logout copilot
      ccr auth logout codex --account 3f9c2a1b

    Exit code: 0, also when nobody was signed in.
    """
    place = _place()
    found = [each for each in place.stored(provider) if account in (None, each.id)]
    if not found:
        print(f"nobody is signed in to {provider}" + (f" as {account}" if account else ""))
        return 0
    if len(found) > 1 and not everyone:
        ids = ", ".join(each.id for each in found)
        return fail(f"{provider} has several accounts ({ids}); name one with --account, or all with --all", 2)
    for each in found:
        told = place.sign_out(each)
        if told:
            note(told)
        print(f"signed out of {provider} (account {each.id})")
    return 0


@auth.command("list", short_help="List the accounts.")
@_json
def list_(as_json: bool) -> int:
    """List the accounts.

    \b
    Examples:
      ccr auth list
      ccr auth list --json

    Exit code: 0, also when there is none.
    """
    place = _place()
    rows = place.rows()
    if as_json:
        emit({"accounts": rows, "store": place.store.where()})
        return 0
    _print(rows)
    return 0


@auth.command(short_help="Say how the accounts fare.")
@_provider(False)
@_account
@click.option("--usage", is_flag=True, help="Ask the vendor for the limits, instead of showing what was last seen.")
@_json
def status(provider: str | None, account: str | None, usage: bool, as_json: bool) -> int:
    """Say how the accounts fare: active, refreshable (renewed at its next use), cooling down, or what is to be done.

    \b
    Examples:
      ccr auth status
      ccr auth status codex --usage
      ccr auth status --json

    Exit code: 0; with a provider 1 if none of its accounts can be used.
    """
    place = _place()
    if provider is not None and provider not in place.store.read():
        place.spec(provider)  # or it is misspelt
    rows = [row for row in place.rows(provider) if account in (None, row["account"])]
    if usage:
        for row in rows:
            if row["type"] == "oauth" and row["provider"] in place.specs():
                row["windows"] = asyncio.run(_usage(place, row["provider"], row["account"]))
    usable = any(row["state"] in ("active", "refreshable", "cooling", "key") for row in rows)
    if as_json:
        emit({"accounts": rows, "store": place.store.where()})
    else:
        _print(rows, provider)
        for row in rows:
            for window in row["windows"]:
                resets = f", until {_time(window['resets'])}" if window["resets"] else ""
                print(f"{row['provider']} {row['account']}: {window['name']} {window['used']:.0%} used{resets}")
            for model, until in row["cooling_models"].items():
                print(f"{row['provider']} {row['account']}: {model} cooling down until {_time(until)}")
            if row["todo"]:
                print(f"{row['provider']} {row['account']}: {row['todo']}")
    return 1 if provider is not None and not usable else 0


@auth.command(short_help="List the models of an account.")
@_provider(True)
@_account
@_json
def models(provider: str, account: str | None, as_json: bool) -> int:
    """List the models that an account may use, as the vendor gives them now.

    \b
    Examples:
      ccr auth models copilot
      ccr auth models codex --json

    Exit code: 0; 1 when there is no account, or the vendor does not tell.
    """
    import attrs

    place = _place()
    found = asyncio.run(place.ask(provider, account, lambda scheme, token: scheme.models(token)))
    if as_json:
        emit({"provider": provider, "models": [attrs.asdict(model) for model in found]})
        return 0
    rows = [
        (
            model.id,
            f"{model.context:,}" if model.context else "",
            f"{model.max_output:,}" if model.max_output else "",
            " ".join(model.levels),
            model.note or (model.name if model.name != model.id else ""),
        )
        for model in found
    ]
    table(("MODEL", "CONTEXT", "OUTPUT", "LEVELS", "NOTE"), rows)
    return 0


async def _usage(place: SignIns, provider: str, account: str) -> list[dict[str, Any]]:
    import attrs

    try:
        found = await place.ask(provider, account, lambda scheme, token: scheme.usage(token))
    except CcrError as error:
        note(f"note: {provider} {account}: {error.message}")
        return []
    return [attrs.asdict(window) for window in found]


_COLOURS: Mapping[str, str] = {"active": "green", "refreshable": "green", "cooling": "yellow", "needs_login": "red"}


def _print(rows: list[dict[str, Any]], provider: str | None = None) -> None:
    if not rows:
        print(f"nobody is signed in; sign in with: ccr auth login {provider or 'PROVIDER'}")
        return
    shown = []
    for row in rows:
        state = row["state"].replace("_", " ")
        if row["state"] == "cooling":
            state = f"cooling down until {_time(row['cooling_until'])}"
        expires = _time(row["expires"]) if row["expires"] else ""
        shown.append((row["provider"], row["account"], state, expires, row["label"]))
    table(("PROVIDER", "ACCOUNT", "STATE", "EXPIRES", "WHO"), shown)


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _agrees(provider: str, risk: str) -> bool:
    """Show what the vendor says, and ask; nobody can agree who is not there."""
    note(f"{paint('Before you sign in', 'bold')} to {provider}:")
    note(risk)
    if not sys.stdin.isatty():
        return False
    print('Type "yes" to go on: ', end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _has_browser(env: Mapping[str, str] = os.environ) -> bool:
    """Whether a browser on this machine can be opened for the user."""
    if env.get("NO_BROWSER") or env.get("CI") or env.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))


class Terminal(Front):
    """The user at the terminal."""

    def __init__(self, headless: bool) -> None:
        self.headless = headless

    def say(self, text: str) -> None:
        """Print it."""
        note(text)

    def open_url(self, url: str) -> None:
        """Print it, and open a browser where there is one."""
        note(f"Open this address in your browser:\n\n  {url}\n")
        self._browse(url)

    def show_code(self, url: str, code: str, seconds: float) -> None:
        """Print both."""
        note(f"Open this address in your browser and type the code {paint(code, 'bold')}:\n\n  {url}\n")
        note(f"The code holds for {seconds / 60:.0f} minutes. Waiting …")
        self._browse(url)

    def _browse(self, url: str) -> None:
        if self.headless:
            return
        import webbrowser

        # Some of them wait until the browser ends.
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    async def ask(self, text: str, secret: bool) -> str:
        """Ask on standard error; a secret is not shown."""
        if secret and sys.stdin.isatty():
            import getpass

            return await asyncio.to_thread(getpass.getpass, f"{text}: ", sys.stderr)
        print(f"{text}: ", end="", file=sys.stderr, flush=True)
        return await self._line()

    async def pasted(self) -> str:
        """Offer pasting: at once without a browser, else after a while."""
        if not self.headless:
            await asyncio.sleep(PASTE_AFTER)
        note("If the browser is on another machine, paste the address of its last page here (even of an error page),")
        note("or let it reach this one: ssh -L PORT:127.0.0.1:PORT, with the port in the address above.")
        while True:
            line = await self._line()
            if line.strip():
                return line

    async def _line(self) -> str:
        loop = asyncio.get_running_loop()
        line: asyncio.Future[str] = loop.create_future()
        descriptor = sys.stdin.fileno()
        parts: list[bytes] = []

        def ready() -> None:
            data = os.read(descriptor, 65536)
            parts.append(data)
            if not data:
                loop.remove_reader(descriptor)  # nobody is there; the browser may still come
            elif b"\n" in data and not line.done():
                line.set_result(b"".join(parts).decode("utf-8", "replace"))

        try:
            loop.add_reader(descriptor, ready)
        except (OSError, NotImplementedError):
            if sys.platform == "win32":
                return await asyncio.to_thread(sys.stdin.readline)
            return await line  # such as /dev/null: nothing will ever come
        try:
            return await line
        finally:
            loop.remove_reader(descriptor)
