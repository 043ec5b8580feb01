"""``ccr code``: run Claude Code through the router.

Rules: the arguments reach the client as they are, in order, never through a shell; the environment reaches it twice,
as its own (for what it starts) and in a settings file (which wins over the user's settings); the file holds the
router's key, so it is private and lives as long as the client; the exit code is the client's.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import click

from ccr_core.cli import process
from ccr_core.cli.environment import HEADERS, Environment, configured, environment, with_key
from ccr_core.cli.output import fail
from ccr_core.config import Config, home, mask
from ccr_core.errors import CcrError

NOT_FOUND = 127
INSTALL = "npm install -g @anthropic-ai/claude-code"


class Verbatim(click.Command):
    """A command whose arguments are nobody's business but the client's; only a lone ``--help`` is ours."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args in (["--help"], ["-h"]):
            return super().parse_args(ctx, args)
        ctx.params["args"] = tuple(args)
        return []


@click.command(cls=Verbatim, short_help="Run Claude Code through the router.")
@click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[--print-env] [CLIENT ARGUMENTS]...")
def code(args: tuple[str, ...]) -> int:
    """Run Claude Code through the router, with the arguments that follow.

    The router is started if none runs; one that was started so ends with its last user. Arguments reach the client
    unchanged and in order; your own --settings are kept and completed. CLAUDE_PATH, in the configuration or the
    environment, names another program than "claude".

    With --print-env as first argument nothing is run: the client's environment is printed (a key is not shown).
    For the client's own help: claude --help.

    \b
    Examples:
      ccr code
      ccr code "explain this project"
      ccr code -p "list the open tasks" --model openrouter,some/model
      git diff | ccr code -p "review this"

    Exit code: that of the client; 127 when it is not installed, 1 when the router cannot start.
    """
    return launch(args)


def of_preset(name: str) -> click.Command:
    """The command ``ccr <preset>``: as ``ccr code``, with the preset's models, settings and status line."""

    @click.command(cls=Verbatim, name=name, short_help=f"Run Claude Code with the preset {name}.")
    @click.argument("args", nargs=-1, type=click.UNPROCESSED, metavar="[--print-env] [CLIENT ARGUMENTS]...")
    def command(args: tuple[str, ...]) -> int:
        return launch(args, name)

    command.help = f"Run Claude Code with the preset {name}, as ccr code does; ccr preset info {name} describes it."
    return command


@attrs.frozen(kw_only=True)
class Chosen:
    """What a preset changes for the client: configuration, settings, and maybe a way past the router."""

    config: Config
    settings: Mapping[str, Any]
    past: tuple[str, str] | None = None
    """Address and key of the provider that the client speaks to by itself (``noServer``)."""


def chosen(name: str, main: Config) -> Chosen:
    """What the preset ``name`` says; ``ConfigError`` if it cannot be used."""
    from ccr_core import namespaces, presets

    manifest = presets.read(presets.presets_folder() / name)
    document = manifest.document()
    settings = document.get("claudeCodeSettings")
    config = namespaces.configuration(manifest, main)
    past = None
    if document.get("noServer") is True:
        wanted = document.get("provider")
        entry = (
            next((each for each in main.providers if each.name == wanted), None) if isinstance(wanted, str) else None
        )
        entry = entry or next(iter(config.providers), None)
        if entry is None or not entry.api_base_url or not entry.api_key:
            raise CcrError(f"the preset {name} needs no router, but names no provider with an address and a key")
        past = (entry.api_base_url.removesuffix("/").removesuffix("/v1/messages").removesuffix("/"), entry.api_key)
    return Chosen(config=config, settings=settings if isinstance(settings, Mapping) else {}, past=past)


def launch(args: tuple[str, ...], preset: str | None = None) -> int:
    """Run the client, with a preset if one is named; its exit code."""
    folder = home()
    if args[:1] == ("--print-env",):
        return _print_env(folder, preset)
    process.make_folder(folder)
    with process.using(folder) as user:
        if process.look(folder).run is None:
            from ccr_core.cli import firstrun

            firstrun.ensure(None)
        config, _ = configured(folder)
        plan = chosen(preset, config) if preset is not None else Chosen(config=config, settings={})
        config = plan.config
        program = shutil.which(os.path.expanduser(config.claude_path))
        if program is None:
            return fail(
                f'Claude Code was not found ("{config.claude_path}"); install it with: {INSTALL}\n'
                "  or set CLAUDE_PATH, in the configuration or the environment, to where it is",
                NOT_FOUND,
            )
        own, rest = split_settings(args)
        given = _given(plan, "" if plan.past else _router(folder).url, preset)
        settings = with_status_line(merged(given, _both(plan.settings, own)), config, preset)
        with _settings_file(folder, settings) as path:
            env = {name: value for name, value in os.environ.items() if name not in given.removed}
            return _run(
                [program, "--settings", str(path), *rest],
                {**env, **given.chosen(env)},
                keep=user,
                no_input=config.non_interactive and sys.stdin.isatty(),
            )


def _given(plan: Chosen, url: str, preset: str | None) -> Environment:
    """The environment of the client: of the router at ``url``, of a preset there, or of a preset's provider itself."""
    if plan.past is not None:
        return environment(plan.config, plan.past[0], token=plan.past[1])
    return environment(plan.config, f"{url}/preset/{quote(preset)}" if preset is not None else url)


def _both(settings: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a preset with those of the user over them."""
    env = {**(settings.get("env") or {}), **own.get("env", {})}
    return {**settings, **own, **({"env": env} if env else {})}


def _router(folder: Path) -> process.Run:
    """The running router; one is started if there is none."""
    with process.starting(folder):
        standing = process.look(folder)
        if standing.run is None:
            return process.launch(folder, (), auto=True)
    if standing.state == "stuck":
        raise CcrError(f"a router runs (pid {standing.run.pid}) but does not answer at {standing.run.url}; ccr restart")
    return standing.run


def split_settings(args: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The user's own ``--settings`` (a file or JSON text; of several the last counts), and the other arguments."""
    rest: list[str] = []
    value: str | None = None
    words = iter(args)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word.startswith("--settings="):
            value = word.partition("=")[2]
        elif word == "--settings":
            following = next(words, None)
            if following is None:
                rest.append(word)  # the client says what is missing
            else:
                value = following
        else:
            rest.append(word)
    return ({} if value is None else _read_settings(value)), rest


def _read_settings(value: str) -> dict[str, Any]:
    try:
        text = value if value.lstrip().startswith("{") else Path(value).expanduser().read_text()
        settings = json.loads(text)
    except OSError as error:
        raise CcrError(f"cannot read the settings {value}: {error.strerror or error}") from error
    except ValueError as error:
        raise CcrError(f"the settings {value} are not JSON: {error}") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("env", {}), dict):
        raise CcrError(f"the settings {value} are no JSON object (with an object env, if any)")
    return settings


def merged(given: Environment, own: Mapping[str, Any], env: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The settings for the client: the user's own ones, with our environment in them.

    What makes the connection is ours; in everything else the user's settings win.  The variables to remove are set to
    nothing, because settings files cannot remove what another settings file sets.
    """
    theirs = own.get("env", {})
    variables = {**given.chosen(env), **theirs, **given.always, **dict.fromkeys(given.removed, "")}
    if HEADERS in given.always and theirs.get(HEADERS):
        ours = given.always[HEADERS].rpartition("x-ccr-key: ")[2]
        variables[HEADERS] = with_key(str(theirs[HEADERS]), ours)
    return {**own, "env": variables}


def with_status_line(settings: Mapping[str, Any], config: Config, preset: str | None = None) -> dict[str, Any]:
    """The settings with ccr's status line, if the configuration shows one and the user's settings have none."""
    if not (config.status_line or {}).get("enabled") or "statusLine" in settings:
        return dict(settings)
    from ccr_core.cli.statusline_command import entry

    return {**settings, "statusLine": entry(preset)}


@contextlib.contextmanager
def _settings_file(folder: Path, settings: Mapping[str, Any]) -> Iterator[Path]:
    """A private file with ``settings``, there as long as the client runs."""
    for old in folder.glob("client-*.json"):
        pid = old.stem.partition("-")[2]
        if pid.isdigit() and not process.exists(int(pid)):
            old.unlink(missing_ok=True)
    path = folder / f"client-{os.getpid()}.json"
    process.write_private(path, json.dumps(settings))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _run(command: Sequence[str], env: Mapping[str, str], *, keep: int, no_input: bool) -> int:
    """Run the client and give back its exit code (128 + number if a signal ended it), passing signals on."""
    kept = (keep,) if os.name == "posix" else ()
    try:
        child = subprocess.Popen(command, env=env, pass_fds=kept, stdin=subprocess.DEVNULL if no_input else None)
    except OSError as error:
        return fail(f"cannot run {command[0]}: {error.strerror or error}", NOT_FOUND)

    def pass_on(number: int, _: object) -> None:
        # Ctrl-C reaches the client by itself, as it is in the same group: here it only must not end us before it.
        if number != signal.SIGINT:
            child.send_signal(number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), pass_on)
    ended = child.wait()
    return ended if ended >= 0 else 128 - ended


def _print_env(folder: Path, preset: str | None = None) -> int:
    config, url = configured(folder)
    plan = chosen(preset, config) if preset is not None else Chosen(config=config, settings={})
    given = _given(plan, url, preset)
    shown = given.chosen(os.environ)
    if config.apikey or plan.past:
        key = plan.past[1] if plan.past else config.apikey or ""
        hidden = mask({"key": key})["key"]
        shown = {
            name: value.replace(f"x-ccr-key: {key}", f"x-ccr-key: {hidden}") for name, value in mask(shown).items()
        }
    for name, value in sorted(shown.items()):
        print(f"{name}={value}")
    for name in given.removed:
        print(f"unset {name}")
    return 0
