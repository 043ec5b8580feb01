"""``ccr ui``: opens the web UI with a link that works once."""

from __future__ import annotations

import contextlib
import html
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from pathlib import Path

import click

from ccr_core.cli import process
from ccr_core.cli.output import emit, fail, note
from ccr_core.config import home
from ccr_core.errors import CcrError


@click.command(short_help="Open the web UI.")
@click.option("--no-browser", is_flag=True, help="Print the link, and open nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the link as JSON, and open nothing.")
def ui(no_browser: bool, as_json: bool) -> int:
    """Open the web UI in the browser; a router is started in the background if none runs.

    The link works once, within two minutes, and signs that browser tab in for twelve hours. On a machine without a
    browser, print it and forward the router's port to yours (ssh -L 3456:127.0.0.1:3456 …).

    \b
    Examples:
      ccr ui
      ccr ui --no-browser         print the link

    Exit code: 0 when the link is made, 1 when the router cannot start or has no web UI.
    """
    from ccr_core.access import LINK_SECONDS, Access

    folder = home()
    process.make_folder(folder)
    with process.starting(folder):
        standing = process.look(folder)
        if standing.run is None:
            from ccr_core.cli import firstrun

            firstrun.ensure(None)
            run = process.launch(folder, ())
            note(f"ccr is running at {run.url} (pid {run.pid})")
        elif standing.state == "stuck":
            return fail(f"a router runs (pid {standing.run.pid}) but does not answer; try: ccr restart")
        else:
            run = standing.run
    why = _refused(run.url)
    if why is not None:
        return fail(why)
    access = Access(folder)
    access.token()
    link = f"{run.url}/ui/#code={access.link()}"
    if as_json:
        emit({"url": link, "expires": int(time.time()) + LINK_SECONDS})
        return 0
    if not no_browser and _opened(folder / "management", link):
        print(f"the web UI is open at {run.url}/ui/")
        return 0
    print(link)
    return 0


def _refused(url: str) -> str | None:
    """Why the router shows no web UI; ``None`` if it does."""
    # No proxy of the environment stands between this and the router.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/ui/", timeout=10):
            return None
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return "the web UI is not installed; install it with: ccr plugins install ccr-plugin-ui"
        try:
            return str(json.load(error)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            return f"the router at {url} answered {error.code} for its web UI"
    except OSError as error:
        raise CcrError(f"the router at {url} does not answer: {error}") from error


def _opened(folder: Path, link: str) -> bool:
    """Whether a browser was told to open ``link``.

    The browser gets the name of a private file that leads there: other users of the machine see the arguments of
    processes, and whoever uses the link first is signed in.
    """
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    page = folder / f"link-{secrets.token_hex(8)}.html"
    address = html.escape(link, quote=True)
    text = (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={address}"><title>ccr</title>'
    )
    with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f'{text}<a href="{address}">ccr</a>\n')
    with contextlib.suppress(webbrowser.Error):
        return browser.open(page.as_uri())
    return False
