"""``ccr preset`` and ``ccr install``: configurations to share and to switch between.

Rules: nothing is written before everything is known to work; what a preset may do with this machine and its keys is
said, and asked about, before it can; answers and files are for their owner only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ccr_core import installing, presets
from ccr_core.cli import process
from ccr_core.cli.edits import at_terminal
from ccr_core.cli.output import emit, facts, note, paint, printable, table
from ccr_core.config import Config, find, from_document, home, load, read_text
from ccr_core.errors import CcrError, ConfigError
from ccr_core.fetch import Fetched
from ccr_core.installing import changed, dangers, same_words, scripts_differ, staging, validate
from ccr_core.presets import FILE, Manifest

YES = click.option("-y", "--yes", is_flag=True, help="Agree to what the preset does, without a question.")
SET = click.option("--set", "words", multiple=True, metavar="ID=VALUE", help="Answer a question; repeatable.")
ANSWERS = click.option("--answers", metavar="FILE", help="A JSON object with answers; - is standard input.")


class Aliases(click.Group):
    """A group in which ``rm`` and ``remove`` are ``delete``."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, "delete" if cmd_name in ("rm", "remove") else cmd_name)


@click.group(cls=Aliases, short_help="Save, share and install whole configurations.")
def preset() -> None:
    """Save, share and install whole configurations.

    An installed preset has an address of its own in the running router, /preset/NAME, and "ccr NAME" runs Claude
    Code with it, with the arguments that follow, as ccr code does.

    \b
    Examples:
      ccr preset export mine
      ccr preset install ./mine.zip
      ccr mine "explain this project"
    """


@preset.command("list", short_help="List the installed presets.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> int:
    """List the installed presets.

    \b
    Example:
      ccr preset list

    Exit code: 0, also when there is none, or one of them cannot be read.
    """
    rows = []
    for name in presets.installed():
        try:
            found: Manifest | None = presets.read(presets.presets_folder() / name)
            problem = "; ".join(found.faults(found.values)) if found is not None else ""
        except ConfigError as error:
            found, problem = None, error.message
        data = found.metadata if found is not None else {}
        rows.append({"name": name, **{key: data.get(key) for key in METADATA_SHOWN}, "problem": problem or None})
    if as_json:
        emit(rows)
        return 0
    if not rows:
        note("no preset is installed; ccr preset export NAME makes one, ccr preset install SOURCE installs one")
        return 0
    table(
        ("NAME", "VERSION", "AUTHOR", "DESCRIPTION"),
        [
            (
                str(row["name"]),
                str(row["version"] or "-"),
                str(row["author"] or "-"),
                str(row["problem"] or row["description"] or "-"),
            )
            for row in rows
        ],
    )
    return 0


METADATA_SHOWN = ("version", "description", "author")


@preset.command(short_help="Show a preset.")
@click.argument("name", metavar="NAME|FOLDER")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(name: str, as_json: bool) -> int:
    """Show an installed preset, or one in a folder: what it is, what it asks, and what it does.

    \b
    Examples:
      ccr preset info mine
      ccr preset info ./some-folder

    Exit code: 0; 1 when there is no such preset, or it cannot be read.
    """
    found = _named(name)
    document = found.document()
    providers = [each for each in document.get("Providers") or () if isinstance(each, Mapping)]
    routes = {key: value for key, value in (document.get("Router") or {}).items() if isinstance(value, str)}
    missing = found.faults(found.values)
    checksum = found.data.get("checksum")
    changed = bool(checksum) and checksum != presets.digest(found.folder, found.data)
    does = dangers(found, document, None)
    if as_json:
        emit(
            {
                **found.metadata,
                "folder": found.folder,
                "providers": [each.get("name") for each in providers],
                "routes": routes,
                "questions": [
                    {"id": each.id, "type": each.type, "label": each.title, "required": each.required}
                    for each in found.questions
                ],
                "missing": missing,
                "does": does,
                "changed": changed,
            }
        )
        return 0
    data = found.metadata
    facts(
        [
            ("name", data.get("name") or found.name),
            ("version", data.get("version")),
            ("description", data.get("description")),
            ("author", data.get("author")),
            ("keywords", ", ".join(map(str, data.get("keywords") or ()))),
            ("from", data.get("source") or data.get("repository")),
            ("folder", found.folder),
            ("providers", f"{len(providers)}: {', '.join(str(each.get('name')) for each in providers)}"),
            ("routes", ", ".join(f"{key} {value}" for key, value in routes.items())),
            ("provider", document.get("provider")),
        ]
    )
    for question in found.questions:
        need = "needed" if question.required else "optional"
        prompt = f": {question.prompt}" if question.prompt else ""
        print(printable(f"asks       {question.title} ({question.id}, {need}){prompt}"))
    for each in does:
        print(printable(f"does       {each}"))
    for each in missing:
        note(f"note: {each}; ccr preset install {found.name} asks")
    if changed:
        note("note: its files were changed since it was installed")
    return 0


def _named(name: str) -> Manifest:
    if ("/" in name or "\\" in name or name in (".", "..")) and Path(name).expanduser().is_dir():
        return presets.read(Path(name).expanduser().resolve())
    presets.check_name(name)
    if not presets.exists(name):
        raise CcrError(f'there is no preset "{name}"; ccr preset list lists the installed ones')
    return presets.read(presets.presets_folder() / name)


@preset.command(short_help="Make a preset of the configuration.")
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), help="A new folder or .zip file for it, to give away.")
@click.option("--description", help="What it is.")
@click.option("--author", help="Who made it.")
@click.option("--tags", help="Keywords, separated by commas.")
@click.option("--include-sensitive", is_flag=True, help="Leave secrets in it. Do not give such a preset away.")
def export(
    name: str,
    output: Path | None,
    description: str | None,
    author: str | None,
    tags: str | None,
    include_sensitive: bool,
) -> int:
    """Make a preset of the configuration: providers, routes, transformers, status line, and the files they name.

    Keys and other texts that may be secret are replaced by questions, which are asked where the preset is installed;
    references such as $NAME stay. Address, key, proxy and logging of this router are left out. Without --output the
    preset is put with the installed ones.

    \b
    Examples:
      ccr preset export mine
      ccr preset export mine --output mine.zip --description "Cheap and fast" --tags cheap,fast

    Exit code: 0; 1 when there is one already, or nothing to export.
    """
    from ccr_core.cli.sanitise import sanitise
    from ccr_core.config import read

    presets.check_name(name)
    source = _main_path()
    if source is None:
        raise CcrError(f"there is no configuration in {home()} to export")
    target = output if output is not None else presets.presets_folder() / name
    if target.exists():
        raise CcrError(f"{target} exists already; choose another name, or remove it")
    if at_terminal():
        description = description if description is not None else click.prompt("description", default="", err=True)
        author = author if author is not None else click.prompt("author", default="", err=True)
        tags = tags if tags is not None else click.prompt("keywords, separated by commas", default="", err=True)
    clean = sanitise(read(source), secrets=include_sensitive)
    keywords = [word.strip() for word in (tags or "").split(",") if word.strip()]
    with staging(target.parent) as folder:
        copied = _take_files(clean.config, source.parent, folder)
        manifest = {
            "name": name,
            "version": "1.0.0",
            **{key: value for key, value in (("description", description), ("author", author)) if value},
            **({"keywords": keywords} if keywords else {}),
            **clean.config,
            **({"schema": clean.schema} if clean.schema else {}),
        }
        process.write_private(folder / FILE, json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        presets.read(folder)
        if target.suffix == ".zip":
            _pack(folder, target)
        else:
            os.rename(folder, target)
    print(f"the preset {name} is in {target}")
    providers = clean.config.get("Providers") or clean.config.get("providers") or []
    facts(
        [
            ("  providers", len(providers)),
            ("  routes", len(clean.config.get("Router") or {})),
            ("  questions", len(clean.schema) if not include_sensitive else ""),
            ("  files", ", ".join(copied)),
            ("  left out", ", ".join(clean.left_out)),
        ]
    )
    for question in clean.schema:
        print(f"  asks for {question['label']} ({question['id']})")
    if include_sensitive:
        note("warning: your keys are in it; keep it to yourself")
    elif copied:
        note("note: look through the files in it before you give it away; only the manifest was searched for secrets")
    return 0


def _take_files(config: dict[str, Any], base: Path, folder: Path) -> list[str]:
    """Copy the files that a configuration names into the preset, and name them from there."""
    copied: dict[Path, str] = {}
    for node, key in presets.files_in(config):
        path = (base / Path(node[key]).expanduser()).resolve()
        if not path.is_file():
            note(f"note: {node[key]} is named in the configuration, but is no file; it stays named")
            continue
        if path not in copied:
            inner, number = f"files/{path.name}", 2
            while inner in copied.values():
                inner, number = f"files/{path.stem}_{number}{path.suffix}", number + 1
            copied[path] = inner
            (folder / "files").mkdir(exist_ok=True, mode=0o700)
            shutil.copyfile(path, folder / inner)
            (folder / inner).chmod(0o700 if os.access(path, os.X_OK) else 0o600)
        node[key] = copied[path]
    return list(copied.values())


def _pack(folder: Path, target: Path) -> None:
    import zipfile

    with _new_file(target) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(presets.files(folder)):
            archive.write(folder / path, path.as_posix())


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Any]:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CcrError(f"cannot create {path}: {error.strerror or error}") from error
    with os.fdopen(descriptor, "wb") as stream:
        yield stream


@preset.command("install", short_help="Install a preset, or answer its questions anew.")
@click.argument("source", metavar="SOURCE|NAME")
@click.option("--name", help="Call it so, instead of what it is called where it comes from.")
@click.option("--replace", is_flag=True, help="Replace the installed one of this name; its answers are kept.")
@SET
@ANSWERS
@YES
def install_(
    source: str, name: str | None, replace: bool, words: tuple[str, ...], answers: str | None, yes: bool
) -> int:
    """Install a preset from a folder, a zip file or a Git repository; or answer the questions of an installed one anew.

    SOURCE is a path, the address of a .zip file, or that of a Git repository (#BRANCH may follow). For one of the
    marketplace see ccr install. What it does is shown, and asked about if it runs code, changes Claude Code's
    settings, reads variables, or sends keys to a host that your configuration does not use. Answers may be
    references such as $NAME; others are kept in the preset, for you alone.

    \b
    Examples:
      ccr preset install ./mine
      ccr preset install mine.zip --set key='$OPENROUTER_API_KEY' --yes
      ccr preset install https://github.com/someone/some-preset.git
      ccr preset install mine

    Exit code: 0; 1 when it cannot be used, an answer is missing, or you do not agree.
    """
    from ccr_core.fetch import fetch, is_address

    plain = not ("/" in source or "\\" in source or is_address(source) or source.endswith(".zip"))
    if plain and presets.exists(source):
        return _reconfigure(source, words, answers, yes)
    if plain:
        presets.check_name(source)
        raise CcrError(
            f'no preset "{source}" is installed; ccr install {source} gets it from the marketplace, ./{source} names a'
            " folder here"
        )
    proxy = _main_config().proxy_url
    return _install(lambda folder: fetch(source, folder, proxy), name, replace, words, answers, yes)


@click.command(short_help="Install a preset from the marketplace.")
@click.argument("name", required=False)
@click.option("--list", "listing", is_flag=True, help="List what the marketplace has.")
@click.option("--index", metavar="URL", help="The marketplace, instead of CCR_PRESET_INDEX or the public one.")
@click.option("--replace", is_flag=True, help="Replace the installed one of this name; its answers are kept.")
@SET
@ANSWERS
@YES
def install(
    name: str | None,
    listing: bool,
    index: str | None,
    replace: bool,
    words: tuple[str, ...],
    answers: str | None,
    yes: bool,
) -> int:
    """Install a preset from the marketplace, by its name.

    As ccr preset install, see there. A checksum in the marketplace's list must be right.

    \b
    Examples:
      ccr install --list
      ccr install some-preset

    Exit code: 0; 1 when there is no such preset, or it cannot be installed.
    """
    from ccr_core.fetch import from_market, market, pick

    if name is None and not listing:
        raise click.UsageError("name a preset, or --list", click.get_current_context())
    proxy = _main_config().proxy_url
    entries = market(index, proxy)
    if listing:
        table(
            ("NAME", "VERSION", "DESCRIPTION"),
            [
                (each.name, str(each.data.get("version") or "-"), str(each.data.get("description") or "-"))
                for each in entries
            ],
        )
        return 0
    assert name is not None
    entry = pick(entries, name)
    return _install(lambda folder: from_market(entry, folder, proxy), None, replace, words, answers, yes)


@preset.command(short_help="Remove an installed preset.")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> int:
    """Remove an installed preset, with its files and answers. "rm" and "remove" are the same.

    \b
    Example:
      ccr preset delete mine

    Exit code: 0; 1 when there is no such preset.
    """
    presets.check_name(name)
    folder = presets.presets_folder() / name
    if not folder.is_dir() or folder.is_symlink():
        raise CcrError(f'there is no preset "{name}"')
    if at_terminal() and not yes:
        click.confirm(f"Remove {folder}?", abort=True, err=True)
    installing.remove(name)
    print(f"the preset {name} is removed")
    return 0


# --- installing -----------------------------------------------------------------------------------------------


def _install(
    get: Callable[[Path], Fetched],
    name: str | None,
    replace: bool,
    words: tuple[str, ...],
    answers: str | None,
    yes: bool,
) -> int:
    with staging(presets.presets_folder()) as folder:
        fetched = get(folder)
        name = name or fetched.name
        presets.check_name(name)
        target = presets.presets_folder() / name
        if target.exists() and not replace:
            raise CcrError(
                f"there is a preset {name} already; --replace puts this one in its place, --name gives it another name,"
                f" ccr preset install {name} answers its questions anew"
            )
        old = presets.read(target) if replace and (target / FILE).is_file() else None
        for text in validate(folder):
            note(f"note: {text}")
        text = changed(folder / FILE, {"userValues": old.values} if old is not None else {"userValues": None})
        process.write_private(folder / FILE, text)
        found = _called(presets.read(folder), name)
        _settle(found, old, words, answers, yes)
        origin = {
            "source": fetched.source,
            "sourceType": fetched.kind,
            **({"repository": fetched.repository} if fetched.repository else {}),
            "checksum": presets.digest(folder, presets.read(folder).data),
        }
        process.write_private(folder / FILE, changed(folder / FILE, origin))
        if target.exists():
            os.rename(target, folder.parent / "old")
        os.rename(folder, target)
    print(f"the preset {name} is installed")
    _tell(name)
    return 0


def _reconfigure(name: str, words: tuple[str, ...], answers: str | None, yes: bool) -> int:
    folder = presets.presets_folder() / name
    with staging(folder.parent) as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        found = _called(presets.read(copy), name)
        if not found.questions:
            print(f"the preset {name} asks nothing")
            return 0
        _settle(found, presets.read(folder), words, answers, yes)
        process.write_private(folder / FILE, read_text(copy / FILE))
    print(f"the preset {name} is changed")
    _tell(name)
    return 0


def _called(found: Manifest, name: str) -> Manifest:
    import attrs

    return attrs.evolve(found, name=name)


def _settle(found: Manifest, old: Manifest | None, words: tuple[str, ...], answers: str | None, yes: bool) -> None:
    """Get the answers, check that the preset works with them, ask what has to be asked, and write them."""
    from ccr_core import namespaces, plugins
    from ccr_core.cli.questions import answered, given_answers
    from ccr_core.runtime import build

    main = _main_config()
    given = given_answers(found, words, answers)
    values = answered(found, given)
    process.write_private(found.path, changed(found.path, {"userValues": values or None}))
    ready = _called(presets.read(found.folder), found.name)
    document = ready.document()
    if not document.get("noServer"):
        config = namespaces.configuration(ready, main)
        runtime = build(config, plugins.load(disabled=main.disabled_plugins), watch=False)
        for warning in runtime.warnings:
            note(f"warning: {warning}")
    if old is not None:
        _show_difference(old.folder, ready.folder)
    does = dangers(ready, document, main)
    if old is not None:
        before = {same_words(each, old) for each in dangers(old, old.document(), main)}
        does = [each for each in does if same_words(each, ready) not in before or scripts_differ(old, ready)]
    if does:
        note(f"the preset {found.name}:")
        for each in does:
            note(f"  - {paint(each, 'yellow')}")
    if does and not yes:
        if not at_terminal():
            raise CcrError("nothing was installed: somebody has to agree to this; --yes does")
        click.confirm("Install it?", abort=True, err=True)


def _show_difference(old: Path, new: Path) -> None:
    """Print what is other in the new files, at most 200 lines; answers are not shown."""
    lines = installing.difference(old, new)
    for line in lines[:200]:
        note(paint(line, "green" if line[:1] == "+" else "red") if line[:1] in "+-" else line)
    if len(lines) > 200:
        note(f"… and {len(lines) - 200} more lines")


def _tell(name: str) -> None:
    """Say how the preset is used, and whether the running router serves it."""
    run = process.look(home()).run
    print(f'Claude Code with it: "ccr {name}"')
    if run is None or presets.read(presets.presets_folder() / name).document().get("noServer"):
        return
    key = _main_config().apikey
    found: Mapping[str, Any] = {}

    def served() -> bool:
        nonlocal found
        found = ((process.status(run, key) or {}).get("presets") or {}).get(name) or {}
        return bool(found)

    if not process.until(served, 5):
        note(f"the router at {run.url} does not serve it; ccr restart")
    elif found.get("problem"):
        note(f"the router at {run.url} cannot use it: {found['problem']}")
    else:
        note(f"the router serves it at {run.url}/preset/{name}")


def _main_path() -> Path | None:
    run = process.look(home()).run
    return Path(run.config) if run is not None and run.config is not None else find().path


def _main_config() -> Config:
    path = _main_path()
    return load(path) if path is not None else from_document({})
