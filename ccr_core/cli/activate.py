"""``ccr activate`` (``ccr env``): shell code on standard output, everything for people on standard error."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping

import attrs
import click

from ccr_core.cli import process
from ccr_core.cli.environment import HEADERS, PAST_PROXY, SOMETIMES, configured, environment, with_key
from ccr_core.cli.output import note
from ccr_core.config import home


@attrs.frozen
class Shell:
    """How a family of shells sets and removes a variable of the environment."""

    set: Callable[[str, str], str]
    unset: Callable[[str], str]


def _in_quotes(text: str) -> str:
    """For fish: inside single quotes only the quote and the backslash are special."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _doubled(text: str) -> str:
    """For PowerShell: inside single quotes only the quotes are special, the typographic ones too, and are doubled."""
    return "'" + re.sub("['\u2018-\u201b]", lambda match: match[0] * 2, text) + "'"


SHELLS: Mapping[str, Shell] = {
    "posix": Shell(lambda name, value: f"export {name}={shlex.quote(value)}", lambda name: f"unset {name}"),
    "fish": Shell(lambda name, value: f"set -gx {name} {_in_quotes(value)};", lambda name: f"set -e {name};"),
    "powershell": Shell(
        lambda name, value: f"$env:{name} = {_doubled(value)}",
        lambda name: f"Remove-Item Env:{name} -ErrorAction SilentlyContinue",
    ),
}


@click.command(short_help="Print shell code that points Claude Code at the router.")
@click.option("--shell", type=click.Choice(list(SHELLS)), default="posix", show_default=True, help="For which shell.")
@click.option("--unset", is_flag=True, help="Print code that takes it all back.")
def activate(shell: str, unset: bool) -> int:
    """Print shell code that points Claude Code, and all that starts it, at the router.

    It sets the address, the key, NO_PROXY (added to what is there) and what tunes the client, and removes variables
    that would lead past the router. Nothing is started. What was removed cannot be taken back.

    \b
    Examples:
      eval "$(ccr activate)"                                          sh, bash, zsh
      ccr activate --shell fish | source                              fish
      ccr activate --shell powershell | Out-String | Invoke-Expression
      eval "$(ccr activate --unset)"

    Exit code: 0; 1 when the configuration cannot be read.
    """
    folder = home()
    config, url = configured(folder)
    given = environment(config, url)
    form = SHELLS[shell]
    if unset:
        lists = ("NO_PROXY", "no_proxy", HEADERS)
        names = dict.fromkeys((*given.names(), *SOMETIMES))
        lines = [_less(form, name) if name in lists else form.unset(name) for name in names]
    else:
        # All of them: what an earlier call has set must not pass for the user's own choice.
        lines = [form.set(name, value) for name, value in {**given.unless_set, **given.always}.items()]
        lines += [form.unset(name) for name in given.removed]
    print("\n".join(lines))
    if sys.stdout.isatty() and not unset:
        note('this only prints; to use it: eval "$(ccr activate)"')
    if not unset and process.look(folder).run is None:
        note("the router is not running; start it with: ccr start -d")
    return 0


def _less(form: Shell, name: str) -> str:
    """Take our addresses out of a list of hosts, our key out of a list of headers."""
    if name == HEADERS:
        headers = with_key(os.environ.get(name, ""), "")
        return form.set(name, headers) if headers else form.unset(name)
    entries = [entry for entry in os.environ.get(name, "").split(",") if entry and entry.strip() not in PAST_PROXY]
    return form.set(name, ",".join(entries)) if entries else form.unset(name)
