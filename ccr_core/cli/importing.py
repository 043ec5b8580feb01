"""``ccr import``: take over the folder of an older router.

Rules: nothing in the old folder is touched, and nothing in the new one is replaced; what cannot be taken over is named,
with what to do instead; the copy of the configuration is the old text, in which only JavaScript is set aside, as
remarks.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from ccr_core.cli import process
from ccr_core.cli.output import emit, fail, paint
from ccr_core.config import home
from ccr_core.errors import ConfigError

SCRIPTS = (".js", ".mjs", ".cjs", ".ts")
ASIDE = "config.imported.json"
"""Where the old configuration goes if there is one already."""
LEFT = {".claude-code-router.pid", "logs", "temp", ".huggingface", "plugins", "presets", "claude-code-router.log"}
OURS = {"run", "run.json", "start.lock", "users.lock", "plugins.lock", "service.env", "trusted.json", "config.toml"}
ROUTER_ADVICE = (
    'write a Python file with route(req, config), which gives "provider,model" or None, and name it in '
    "CUSTOM_ROUTER_PATH (docs/routing.md)"
)
TRANSFORMER_ADVICE = (
    "write a Python file with a subclass of ccr_core.Transformer and name it in transformers, or begin a package: "
    "ccr plugins new NAME (docs/writing-a-plugin.md)"
)


KNOWN = {
    "antigravity": 'sign in with "ccr auth login antigravity"; a provider with oauth_provider = "antigravity" needs no'
    " script",
    "chutesglm": "answers of GLM are read as they are; where thinking stands in the text, use extrathinktag",
    "claudecode": "Claude Code's own login works without a script, see docs/oauth.md",
    "codex": 'sign in with "ccr auth login codex"; a provider with oauth_provider = "codex" needs no script',
    "copilot": 'sign in with "ccr auth login copilot"; a provider with oauth_provider = "copilot" needs no script',
    "geminicli": 'sign in with "ccr auth login gemini"; a provider with oauth_provider = "gemini" needs no script',
    "qwencli": "ccr provider add qwen uses a key of DashScope; the login of Qwen's own program is not built in",
    "rovocli": "the login of Rovo's program is not built in; it would be a plugin: ccr plugins new rovo",
    "tokenspeed": "the plugin session-stats measures that by itself; the status line shows it",
}
"""What is there for scripts that people pass round, by the name of the file without its marks and ending."""


@functools.cache
def _built_in() -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The names of transformers and of services that plugins offer, by the letters and digits in them."""
    from ccr_core import plugins

    with contextlib.suppress(ConfigError):
        registry = plugins.load()
        return {_letters(name): name for name in registry.transformers}, {
            _letters(name): name for name in registry.providers
        }
    return {}, {}


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def in_place_of(path: str) -> str:
    """What to do instead of running a transformer in JavaScript."""
    letters = _letters(Path(path).stem)
    letters = re.sub(r"^(ccr|custom)|(custom)?transformer$|plugin$", "", letters) or letters
    transformers, services = _built_in()
    if letters in transformers:
        name = transformers[letters]
        return f'the built-in transformer of that name takes its place: "transformer": {{"use": ["{name}"]}}'
    if letters in KNOWN:
        return KNOWN[letters]
    if letters in services:
        name = services[letters]
        return f"ccr knows the service {name}, which may need no script: ccr provider add {name}"
    return TRANSFORMER_ADVICE


@attrs.frozen
class Line:
    """A line of the report: ``state`` is ``copied``, ``kept`` (there is one already), ``left`` (not needed), ``write``
    (has to be written anew) or ``look`` (the user should look at it)."""

    state: str
    what: str
    note: str = ""


@click.command("import", short_help="Take over the folder of an older router.")
@click.argument("old", type=click.Path(path_type=Path), metavar="FOLDER")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(old: Path, dry_run: bool, as_json: bool) -> int:
    """Take over the FOLDER of an older router: configuration, accounts, presets, projects.

    Nothing in FOLDER is changed, and nothing in ccr's own folder is replaced. Where FOLDER is ccr's own folder nothing
    is copied: configurations of the older tool are understood as they are, and the report says what is not. JavaScript
    is never run; the report says what to write in its place.

    \b
    Examples:
      ccr import ~/.claude-code-router --dry-run
      CCR_HOME=~/.ccr ccr import ~/.claude-code-router

    Exit code: 0 when the result can be used, 1 when it cannot yet, or FOLDER is none of an older router.
    """
    old, new = old.expanduser().absolute(), home().absolute()
    if not old.is_dir():
        return fail(f"there is no folder {old}")
    if not any((old / name).exists() for name in ("config.json", "auth.json", "presets")):
        return fail(f"{old} is not the folder of an older router: it has neither config.json nor auth.json nor presets")
    try:
        lines = list(take_over(old, new, dry_run=dry_run))
    except OSError as error:
        return fail(f"cannot go on: {error.filename}: {error.strerror or error}; what was copied so far stays")
    config = next((new / name for name in (ASIDE, "config.json") if (new / name).exists()), None)
    if dry_run or config is None:
        config = old / "config.json"
    problem, warnings = judge(config) if config.exists() else (None, ())
    usable = problem is None and not any(line.state == "write" for line in lines)
    if as_json:
        emit(
            {
                "ok": problem is None,
                "from": old,
                "to": new,
                "dry_run": dry_run,
                "report": [attrs.asdict(line) for line in lines],
                "problem": problem,
                "warnings": warnings,
            }
        )
        return int(problem is not None)
    colours = {"copied": "green", "write": "red", "look": "yellow"}
    for line in lines:
        state = f"{line.state:<6}"
        print(f"{paint(state, colours[line.state]) if line.state in colours else state}  {line.what}")
        if line.note:
            print(f"        {line.note}")
    for warning in warnings:
        print(f"warning: {warning}")
    if problem is not None:
        print(f"the configuration cannot be used yet: {problem}")
        return 1
    print(
        "what was taken over can be used" + ("" if usable else '; what is marked "write" is missing until you write it')
    )
    return 0


def take_over(old: Path, new: Path, *, dry_run: bool = False) -> Iterator[Line]:
    """Copy what can be taken over, and tell of each thing what was done."""
    same = old.resolve() == new.resolve()
    if not same and not dry_run:
        process.make_folder(new)
    if (old / "config.json").exists():
        yield from _configuration(old, new, same=same, dry_run=dry_run)
    if (old / "auth.json").exists():
        yield _file(old / "auth.json", new / "auth.json", same, dry_run, "the accounts", "ccr auth list")
    yield from _presets(old, new, same, dry_run)
    yield from _projects(old, new, same, dry_run)
    for path in _scripts(old / "plugins"):
        yield Line("write", str(path), f"JavaScript is not run: {in_place_of(str(path))}")
    pid = _running(old)
    if pid is not None and not same:
        yield Line("look", f"the older router runs (pid {pid})", f"both want the same port: kill {pid}")
    if (old / ".huggingface").is_dir():
        yield Line("left", str(old / ".huggingface"), "vocabularies are fetched again when they are needed")


def _file(source: Path, target: Path, same: bool, dry_run: bool, what: str, see: str) -> Line:
    if same:
        return Line("kept", f"{what} ({source})", "they are understood as they are")
    if target.exists():
        return Line("kept", f"{what} of {target}", f"{source} is not copied over it; see: {see}")
    if not dry_run:
        _copy(source, target)
    return Line("copied", f"{what}: {source} -> {target}")


def _copy(source: Path, target: Path, content: bytes | None = None) -> None:
    """Copy a file into one that only the user can read and that is not there yet."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = source.read_bytes() if content is None else content
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _configuration(old: Path, new: Path, *, same: bool, dry_run: bool) -> Iterator[Line]:
    from ccr_core.config import parse, read_text

    source = old / "config.json"
    try:
        text = read_text(source)
        raw = parse(text, source).data
    except ConfigError as error:
        yield Line("look", str(source), error.message)
        return
    scripts = list(javascript(raw))
    if same:
        yield Line("kept", f"the configuration ({source})", "it is understood as it is")
    else:
        there = any((new / name).exists() for name in ("config.json", "config.toml"))
        target = new / (ASIDE if there else "config.json")
        if target.exists():
            yield Line("kept", f"the configuration {target}", f"{source} is not copied over it")
        else:
            if not dry_run:
                _copy(source, target, without(text, raw, source).encode())
            aside = f'there is one already; use this one with: ccr start --config "{target}"' if there else ""
            yield Line("copied", f"the configuration: {source} -> {target}", aside)
    for key, path in scripts:
        advice = ROUTER_ADVICE if key == "CUSTOM_ROUTER_PATH" else in_place_of(path)
        yield Line("write", f"{key}: {path}", f"JavaScript is not run: {advice}")
    if not same:
        for key in ("CUSTOM_ROUTER_PATH", "REWRITE_SYSTEM_PROMPT"):
            value = raw.get(key)
            if isinstance(value, str) and value and not value.endswith(SCRIPTS) and not _absolute(value):
                yield Line(
                    "look", f"{key}: {value}", f"a relative path begins in the configuration's folder, now {new}"
                )


def _absolute(path: str) -> bool:
    return path.startswith(("/", "~", "$")) or Path(path).is_absolute()


def javascript(raw: Any) -> Iterator[tuple[str, str]]:
    """What of a configuration is JavaScript: key and path."""
    path = raw.get("CUSTOM_ROUTER_PATH")
    if isinstance(path, str) and path.endswith(SCRIPTS):
        yield "CUSTOM_ROUTER_PATH", path
    entries = raw.get("transformers")
    for place, entry in enumerate(entries if isinstance(entries, list) else ()):
        name = entry.get("path") if isinstance(entry, dict) else None
        if isinstance(name, str) and name.endswith(SCRIPTS):
            yield f"transformers[{place}]", name


def without(text: str, raw: dict[str, Any], path: Path) -> str:
    """The text of a configuration with its JavaScript set aside under keys that are remarks; all else as it was."""
    from ccr_core.config_edit import Change, Delete, Set, changed

    changes: list[Change] = []
    found = dict(javascript(raw))
    if "CUSTOM_ROUTER_PATH" in found:
        changes += [
            Set(("// CUSTOM_ROUTER_PATH (JavaScript)",), found["CUSTOM_ROUTER_PATH"]),
            Delete(("CUSTOM_ROUTER_PATH",)),
        ]
    places = [place for place in range(len(raw.get("transformers") or ())) if f"transformers[{place}]" in found]
    if places:
        entries = [raw["transformers"][place] for place in places]
        changes.append(Set(("// transformers (JavaScript)",), entries))
        changes += [Delete(("transformers", place)) for place in reversed(places)]
    return changed(text, changes, path) if changes else text


def _presets(old: Path, new: Path, same: bool, dry_run: bool) -> Iterator[Line]:
    folder = old / "presets"
    for source in sorted(folder.iterdir()) if folder.is_dir() else ():
        if source.name.startswith(".") or not (source / "manifest.json").exists():
            continue
        target = new / "presets" / source.name
        if same:
            yield Line("kept", f"the preset {source.name}", "see: ccr preset info " + source.name)
        elif target.exists():
            yield Line("kept", f"the preset {source.name} of {target}", f"{source} is not copied over it")
        else:
            if not dry_run:
                _copy_folder(source, target)
            yield Line("copied", f"the preset {source.name}: {source} -> {target}")
        for path in _scripts(source):
            advice = "a script of a status line runs with node as it is; a transformer has to be written in Python"
            yield Line("look", str(path), advice)


def _copy_folder(source: Path, target: Path) -> None:
    """Copy a folder without links, into one that only the user can read."""
    for folder, names, files in os.walk(source):
        names[:] = [name for name in names if not (Path(folder) / name).is_symlink() and name != "node_modules"]
        for name in files:
            path = Path(folder) / name
            if not path.is_symlink():
                _copy(path, target / path.relative_to(source))
                if os.access(path, os.X_OK):
                    (target / path.relative_to(source)).chmod(0o700)


def _projects(old: Path, new: Path, same: bool, dry_run: bool) -> Iterator[Line]:
    """Routers of projects and conversations: ``<folder>/config.json`` and ``<folder>/<session>.json``."""
    for folder in sorted(old.iterdir()):
        if folder.name in LEFT | OURS or folder.name.startswith(".") or not folder.is_dir():
            continue
        files = [path for path in sorted(folder.glob("*.json")) if path.is_file() and _is_router(path)]
        for source in files:
            yield _file(source, new / folder.name / source.name, same, dry_run, "a project's routes", str(source))


def _is_router(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()).get("Router"), dict)
    except (OSError, ValueError, AttributeError):
        return False


def _scripts(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        return ()
    return sorted(path for path in folder.rglob("*") if path.suffix in SCRIPTS and "node_modules" not in path.parts)


def _running(old: Path) -> int | None:
    """The number of the older router's process, if it runs."""
    try:
        pid = int((old / process.OLD_PID).read_text())
    except (OSError, ValueError):
        return None
    return pid if process.exists(pid) else None


def judge(path: Path) -> tuple[str | None, tuple[str, ...]]:
    """Why a configuration cannot be used (``None``: it can), and what it warns of.  JavaScript is set aside."""
    from ccr_core import plugins, runtime
    from ccr_core.config import from_document, parse, read_text

    try:
        text = read_text(path)
        text = without(text, parse(text, path).data, path)
        config = from_document(parse(text, path).data, source=path)
        registry = plugins.load(disabled=config.disabled_plugins)
        return None, runtime.build(config, registry, watch=False).warnings
    except ConfigError as error:
        return error.message, ()
