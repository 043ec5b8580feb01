"""``ccr config check`` (``validate``), ``test``, ``path``, ``show`` and ``edit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ccr_core.cli.output import emit, fail, note, paint, table
from ccr_core.errors import ConfigError

if TYPE_CHECKING:
    from ccr_core.routetests import Result

FILE = click.Path(path_type=Path)


class Aliases(click.Group):
    """A group in which ``validate`` is ``check``."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, "check" if cmd_name == "validate" else cmd_name)


@click.group(cls=Aliases, short_help="Check, test, find, show or edit the configuration.")
def config() -> None:
    """Check, test, find, show or edit the configuration.

    \b
    Examples:
      ccr config check
      ccr config test
      ccr config edit
    """


@config.command(short_help="Say whether the configuration can be used.")
@click.option("--config", "path", type=FILE, help="The configuration file to check.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(path: Path | None, as_json: bool) -> int:
    """Say whether the configuration can be used, with all its problems at once. "validate" is the same.

    Plugins are loaded, as they check their own options. Nothing is started or written.

    \b
    Examples:
      ccr config check
      ccr config check --config ./new.toml --json

    Exit code: 0 it can be used (there may be warnings), 1 it cannot, or there is none.
    """
    from ccr_core import config as configuration
    from ccr_core import plugins, runtime

    source = configuration.find(path).path
    try:
        loaded = configuration.load(path)
        warnings = runtime.build(loaded, plugins.load(disabled=loaded.disabled_plugins), watch=False).warnings
    except ConfigError as error:
        if as_json:
            emit({"ok": False, "path": source, "error": error.message, "warnings": []})
            return 1
        return fail(error.message)
    if as_json:
        emit({"ok": True, "path": source, "error": None, "warnings": warnings})
        return 0
    for warning in warnings:
        note(f"warning: {warning}")
    print(f"{source} can be used")
    return 0


@config.command(short_help="Run the configuration's route tests.")
@click.option("--config", "path", type=FILE, help="The configuration file to test.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def test(path: Path | None, as_json: bool) -> int:
    """Run the route tests of the configuration: Router.tests.

    Each describes a request and says where it must go. The real rules are asked; nothing is sent. For a test that
    fails every rule's answer is shown.

    \b
    Examples:
      ccr config test
      ccr config test --config ./new.toml --json

    Exit code: 0 all are as expected, 1 one is not, or there are none, or the configuration cannot be used.
    """
    results = _tested(path)
    failed = [result for result in results if result.wrong]
    if as_json:
        passed = len(results) - len(failed)
        emit({"ok": not failed, "passed": passed, "failed": len(failed), "tests": [each.to_json() for each in results]})
        return 1 if failed else 0
    rows = [
        ("fails" if each.wrong else "passes", each.test.name, str(each.route or "nowhere"), _why(each))
        for each in results
    ]
    table(("RESULT", "TEST", "GOES TO", "BECAUSE"), rows)
    for each in failed:
        print(f"\n{paint(each.test.name, 'bold')} ({each.test.where})")
        for text in each.wrong:
            print(f"  {paint(text, 'red')}")
        for answer in each.answers:
            print(f"  {answer.state:<9} {answer.rule}: {answer.why}")
    if failed:
        return fail(f"{len(failed)} of {len(results)} route tests failed")
    note(f"all {len(results)} route tests pass" if len(results) > 1 else "the route test passes")
    return 0


def _why(result: Result) -> str:
    return f"{result.rule}: {result.why}" if result.rule else result.why


def _tested(path: Path | None) -> Sequence[Result]:
    import asyncio

    from ccr_core import config as configuration
    from ccr_core import plugins, routetests, runtime
    from ccr_core.engine import Engine
    from ccr_core.explain import messages_ingress

    loaded = configuration.load(path)
    made = runtime.build(loaded, plugins.load(disabled=loaded.disabled_plugins), watch=False)
    where = configuration.join(loaded.router.where, "tests")
    problems = configuration.Problems()
    written = loaded.router.options.get("tests", [])
    tests = routetests.read(written, where, made.find, [rule.spec.name for rule in made.rules], problems)
    problems.raise_if_any(loaded.source)
    if not tests:
        raise ConfigError("there are no route tests; write Router.tests, see docs/configuration.md")
    engine = Engine(made)
    ingress = messages_ingress(made)
    return asyncio.run(
        routetests.run(tests, ingress.decode, lambda request, tokens: engine.route(made, request, tokens))
    )


@config.command(short_help="Print which file is the configuration.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def path(as_json: bool) -> int:
    """Print which file is the configuration.

    A file beside it that is not read is named on standard error.

    \b
    Examples:
      ccr config path
      $EDITOR "$(ccr config path)"

    Exit code: 0; 1 when there is none.
    """
    from ccr_core.config import NAMES, find, home

    found = find()
    if as_json:
        emit({"path": found.path, "not_read": found.ignored, "folder": home()})
        return 0 if found.path else 1
    for other in found.ignored:
        note(f"{other} is not read")
    if found.path is None:
        return fail(f"there is no configuration: neither {' nor '.join(NAMES)} exists in {home()}")
    print(found.path)
    return 0


@config.command(short_help="Print the configuration without its secrets.")
@click.option("--config", "path", type=FILE, help="The configuration file to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, whatever the file's own syntax.")
def show(path: Path | None, as_json: bool) -> int:
    """Print the configuration without its secrets.

    It is shown as written: references such as $KEY stay, other secrets are cut to a few letters, comments are left
    out.

    \b
    Examples:
      ccr config show
      ccr config show --json

    Exit code: 0; 1 when there is none or it cannot be read.
    """
    from ccr_core import config as configuration

    source = configuration.find(path).path
    if source is None:
        raise ConfigError(f"there is no configuration in {configuration.home()}; ccr start writes one")
    shown = configuration.mask(configuration.read(source))
    if source.suffix == ".toml" and not as_json:
        import tomli_w

        print(tomli_w.dumps(shown), end="")
    else:
        emit(shown)
    return 0


@config.command(short_help="Open the configuration in your editor, and check it.")
@click.option("--config", "path", type=FILE, help="The configuration file to edit.")
def edit(path: Path | None) -> int:
    """Open the configuration in your editor (VISUAL, EDITOR), and check it when the editor has ended.

    Without a configuration a first one is written. A running router takes up what can be used, and keeps what it has
    otherwise.

    \b
    Examples:
      ccr config edit
      EDITOR="code --wait" ccr config edit

    Exit code: 0 it can be used, 1 it cannot, or the editor failed; 2 without a terminal.
    """
    import os
    import shlex
    import shutil
    import subprocess

    from ccr_core.cli import firstrun
    from ccr_core.cli.edits import at_terminal

    if not at_terminal():
        raise click.UsageError(
            "an editor needs a terminal; ccr config path prints where the file is", click.get_current_context()
        )
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    words = shlex.split(chosen) if chosen else [next(filter(shutil.which, ("sensible-editor", "nano", "vi")), "vi")]
    program = shutil.which(words[0]) if words else None
    if program is None:
        return fail(f'there is no editor "{" ".join(words)}"; name one in EDITOR')
    file = firstrun.ensure(path)
    before = file.read_bytes() if file.exists() else b""
    code = subprocess.run([program, *words[1:], str(file)], check=False).returncode
    if code != 0:
        return fail(f"{words[0]} ended with exit code {code}; the configuration was not looked at")
    if file.exists() and file.read_bytes() == before:
        note(f"{file} is as it was")
    result: int = check.callback(path, False)  # type: ignore[misc]
    return result
