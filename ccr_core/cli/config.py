"""``ccr config check``, ``path`` and ``show``."""

from __future__ import annotations

from pathlib import Path

import click

from ccr_core.cli.output import emit, fail, note
from ccr_core.errors import ConfigError

FILE = click.Path(path_type=Path)


@click.group(short_help="Check, find or show the configuration.")
def config() -> None:
    """Check, find or show the configuration.

    \b
    Examples:
      ccr config check
      ccr config show --json
    """


@config.command(short_help="Say whether the configuration can be used.")
@click.option("--config", "path", type=FILE, help="The configuration file to check.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(path: Path | None, as_json: bool) -> int:
    """Say whether the configuration can be used, with all its problems at once.

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
