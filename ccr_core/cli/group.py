"""The table of commands, and the click group that loads only the one that is run.

Own commands come first.  Commands of plugins are entry points of the group ``ccr.commands`` (``name =
"module:command"``, a click command); they are looked for only when a word is not ours, and named, without being
imported, in the help.
"""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Mapping, Sequence

import click

from ccr_core.cli.output import fail, note
from ccr_core.errors import CcrError

GROUP = "ccr.commands"

COMMANDS: Mapping[str, tuple[str, str]] = {
    "start": ("start:start", "Start the router."),
    "stop": ("start:stop", "Stop the router."),
    "restart": ("start:restart", "Stop the router, then start it in the background."),
    "status": ("status:status", "Say whether the router runs, and where."),
    "code": ("code:code", "Run Claude Code through the router."),
    "model": ("model:model", "Show and choose models."),
    "provider": ("provider:provider", "Add, remove, list and try providers."),
    "preset": ("preset:preset", "Save, share and install whole configurations."),
    "install": ("preset:install", "Install a preset from the marketplace."),
    "ui": ("ui:ui", "Open the web UI."),
    "activate": ("activate:activate", "Print shell code that points Claude Code at the router."),
    "env": ("activate:activate", "The same as activate."),
    "auth": ("auth:auth", "Sign in with subscriptions."),
    "explain": ("explain:explain", "Say where a request would go, and why."),
    "config": ("config:config", "Check, test, find, show or edit the configuration."),
    "trust": ("trust:trust", "Let a repository's .ccr.toml choose models."),
    "plugins": ("plugins:plugins", "List, switch, install and begin plugins."),
    "plugin": ("plugins:plugins", "The same as plugins."),
    "doctor": ("doctor:doctor", "Look for what keeps ccr from working, and say what mends it."),
    "import": ("importing:import_", "Take over the folder of an older router."),
    "service": ("service:service", "Run the router as a service that starts with your session."),
    "logs": ("logs:logs", "Show the requests, or the router's output."),
    "completion": ("completion:completion", "Print shell code that completes words of ccr."),
    "statusline": ("statusline_command:statusline", "Print Claude Code's status line."),
}
"""Name → where it is (module of this package, attribute) and its line in the help."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
ELSEWHERE = ("help", "version")
"""Words that are answered without a command of their own."""


class UnknownCommand(click.UsageError):
    """The first word is no command; exit code 2."""


class Commands(click.Group):
    """The group ``ccr``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *(name for name in contributed() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(f"ccr_core.cli.{module}"), attribute)
            return command
        return command_of(cmd_name) or _of_preset(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = self.get_command(ctx, args[0])
        if command is None:
            raise UnknownCommand(f'there is no command "{args[0]}"{_near(args[0])}; ccr --help lists them')
        return args[0], command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, summary) for name, (_, summary) in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
        others = [(name, f"From {origin}.") for name, origin in contributed().items() if name not in COMMANDS]
        if others:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(others)


@click.group(cls=Commands, context_settings=CONTEXT, invoke_without_command=True)
@click.option("--no-plugins", is_flag=True, help="Leave out all plugins that did not come with ccr.")
@click.option("-v", "--version", is_flag=True, help="Print the version.")
@click.pass_context
def group(ctx: click.Context, no_plugins: bool, version: bool) -> int | None:
    """A local router between Claude Code and the models you choose.

    \b
    Begin with:
      ccr start      start the router (the first start writes a configuration)
      ccr code       run Claude Code through it

    "ccr COMMAND --help" explains a command, with examples.
    """
    if no_plugins:
        only_own_plugins()
    if version:
        from ccr_core.cli import main

        ctx.exit(main(["version"]))
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
        return 1
    return None


def only_own_plugins() -> None:
    """Leave out plugins that are not in ccr's own extra ``standard``, in this process and those that it starts."""
    import importlib.metadata
    import re

    # Requirements look like: ccr-plugin-echo; extra == "standard"
    wanted = [line for line in importlib.metadata.requires("ccr-core") or () if '"standard"' in line.replace("'", '"')]
    names = [match[0] for line in wanted if (match := re.match(r"[\w.-]+", line))]
    os.environ["CCR_PLUGINS"] = ",".join(names)


def contributed() -> dict[str, str]:
    """Name and distribution of each command that plugins bring; nothing is imported."""
    from importlib.metadata import entry_points

    return {point.name: point.dist.name if point.dist else "?" for point in entry_points(group=GROUP)}


def command_of(name: str) -> click.Command | None:
    """The command ``name`` of a plugin; ``None`` if no plugin brings one.

    Raises ``CcrError`` if it cannot be loaded.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=name):
        origin = point.dist.name if point.dist else point.value
        try:
            command = point.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise CcrError(f"the command {name} of {origin} cannot be loaded: {reason}") from error
        if not isinstance(command, click.Command):
            raise CcrError(f"the command {name} of {origin} is no click command but {type(command).__name__}")
        return command
    return None


def _of_preset(name: str) -> click.Command | None:
    """The command ``ccr <preset>``, if a preset of this name is installed; commands of the same name come first."""
    from ccr_core.presets import exists

    if not exists(name):
        return None
    from ccr_core.cli.code import of_preset

    return of_preset(name)


def _near(word: str) -> str:
    from ccr_core.presets import installed

    known = [*COMMANDS, *ELSEWHERE, *contributed(), *installed()]
    near = difflib.get_close_matches(word, known, 3, 0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def run(args: Sequence[str]) -> int:
    """Run ``ccr`` with ``args``; returns the exit code: 0 fine, 1 failed, 2 wrongly used, 130 interrupted."""
    args = list(args)
    if args[:1] == ["help"]:
        args = [*args[1:], "--help"]
    try:
        result = group.main(args, prog_name="ccr", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        note(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            note(error.ctx.get_usage())
        return fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except CcrError as error:
        return fail(error.message)
    except Exception as error:
        import traceback

        # Only the innermost calls: what went wrong, not how this program is built.
        note("".join(traceback.format_exception(error, limit=-4, chain=False)).rstrip())
        return fail(f"this is a fault of ccr or of a plugin: {type(error).__name__}: {error}")
    return result if isinstance(result, int) else 0
