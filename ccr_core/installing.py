"""Installing presets: what is checked of one, what it would do, and how its files get into place.

Nothing of a preset is in place before all of it is known to work: its files lie in a hidden folder beside those that
are installed, and are renamed in one step.  What it may do with this machine and its keys is told by :func:`dangers`;
who agrees to it is the business of the command line and of the management API.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ccr_core import presets
from ccr_core.config import Config, mask, parse, read_text
from ccr_core.errors import CcrError
from ccr_core.presets import FILE, Manifest, Question

_REFERENCE = re.compile(r"\$\{([^}]+)\}|\$([A-Z_][A-Z0-9_]*)")


@contextlib.contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """A new hidden folder beside the target, gone at the end unless it was renamed."""
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        outer = Path(tempfile.mkdtemp(prefix=".preset-", dir=parent))
    except OSError as error:
        raise CcrError(f"cannot write in {parent}: {error.strerror or error}") from error
    try:
        folder = outer / "preset"
        folder.mkdir(mode=0o700)
        yield folder
    except OSError as error:
        raise CcrError(f"cannot write in {parent}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(outer, ignore_errors=True)


def validate(folder: Path) -> list[str]:
    """Raise ``CcrError`` for a manifest that cannot be a preset; gives what is odd about it."""
    odd = []
    data = presets.read(folder).data
    if not isinstance(data.get("name"), str) or not data["name"]:
        raise CcrError(f"{FILE} has no name")
    template: Mapping[str, Any] = data.get("template") or {}
    for place, each in enumerate(data.get("Providers") or template.get("Providers") or ()):
        if not isinstance(each, Mapping) or not each.get("name"):
            raise CcrError(f"{FILE}: Providers[{place}] has no name")
        if not each.get("models"):
            odd.append(f"its provider {each['name']} lists no models")
    if not data.get("version"):
        odd.append("it has no version")
    return odd


def faults(manifest: Manifest, values: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """What is wrong with the answers to the questions that are asked, by their ids: what must, and what may be."""
    wrong: dict[str, str] = {}
    odd: dict[str, str] = {}
    for question in manifest.ordered():
        if question.visible(values):
            fault = question.fault(values.get(question.id)) or _unknown(manifest, question, values)
            if fault is not None:
                (wrong if question.required else odd)[question.id] = fault
    return wrong, odd


def _unknown(manifest: Manifest, question: Question, values: Mapping[str, Any]) -> str | None:
    """Whether something was chosen that is no choice."""
    if question.type not in ("select", "multiselect"):
        return None
    choices = [option.value for option in manifest.options(question, values) if not option.disabled]
    value = values.get(question.id)
    chosen = value if isinstance(value, list) else [value]
    if not choices or not value or all(each in choices for each in chosen):
        return None
    return f"{question.title} must be one of {', '.join(map(str, choices))}"


def same_words(text: str, preset: Manifest) -> str:
    return text.replace(str(preset.folder), "")


def scripts_differ(old: Manifest, new: Manifest) -> bool:
    def content(each: Manifest) -> dict[str, bytes]:
        inner = [path for path in presets.files(each.folder) if str(path) != FILE]
        return {path.as_posix(): (each.folder / path).read_bytes() for path in inner}

    return content(old) != content(new)


def dangers(found: Manifest, document: Mapping[str, Any], main: Config | None) -> list[str]:
    """What a preset does that somebody should know of before it can, as parts of sentences.

    With ``main``, hosts to which that configuration sends keys already are left out.
    """
    does: list[str] = []
    scripts = dict.fromkeys(Path(node[key]) for node, key in presets.files_in(document))
    for path in scripts:
        inside = path.resolve().is_relative_to(found.folder.resolve())
        shown = path.relative_to(found.folder) if path.is_relative_to(found.folder) else path
        if document.get("REWRITE_SYSTEM_PROMPT") == str(path):
            if not inside:
                does.append(f"sends the text of {path} to the model")
        else:
            does.append(f"runs the code in {shown}" + ("" if inside else ", which is outside of the preset"))
    settings = document.get("claudeCodeSettings")
    if isinstance(settings, Mapping):
        more = [key for key in settings if key != "env"]
        if more:
            does.append(f"changes Claude Code's settings, which can run programs: {', '.join(more)}")
        env = settings.get("env")
        if isinstance(env, Mapping) and env:
            does.append(f"sets variables of Claude Code: {', '.join(map(str, env))}")
            does += [f"may let Claude Code itself speak to {host}" for host in sorted(hosts(env))]
    known = hosts(main.raw) if main is not None else set()
    sent = {key: value for key, value in document.items() if key not in ("StatusLine", "claudeCodeSettings")}
    for host in sorted(hosts(sent) - known):
        does.append(f"sends requests, and the keys given for them, to {host}")
    own = {key: value for key, value in found.config.items() if key != "StatusLine"}
    written = _texts([own, found.data.get("template")])
    names = sorted({match[1] or match[2] for text in written for match in _REFERENCE.finditer(text)})
    if names:
        does.append(f"reads from the environment: {', '.join(names)}")
    return does


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def hosts(value: Any) -> set[str]:
    """The hosts of all addresses in a configuration, but those of this machine."""
    found = set()
    for text in _texts(value):
        for address in re.findall(r"[a-z][a-z0-9+.-]*://[^\s\"']+", text):
            with contextlib.suppress(ValueError):
                found.add((urlsplit(address).hostname or "").lower())
    return found - {"", "localhost", "127.0.0.1", "::1"}


def difference(old: Path, new: Path) -> list[str]:
    """What is other in the new files, as lines with ``+`` and ``-``; answers and secrets are not in it."""
    import difflib

    lines: list[str] = []
    for path in sorted({*presets.files(old), *presets.files(new)}):
        one, other = (_shown(folder / path) for folder in (old, new))
        lines += difflib.unified_diff(one, other, f"installed/{path}", f"new/{path}", lineterm="")
    return lines


def _shown(path: Path) -> list[str]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError):
        return ["(no text)"]
    if path.name == FILE:
        data = parse(text, path).data
        text = json.dumps(
            mask({key: value for key, value in data.items() if key not in ("userValues", "checksum", *presets.ORIGIN)}),
            indent=2,
            ensure_ascii=False,
        )
    return text.splitlines()


def changed(path: Path, values: Mapping[str, Any]) -> str:
    """The text of a manifest with these keys set, or without those that are ``None``; the rest as it is written."""
    from ccr_core.config_edit import Change, Delete, Set
    from ccr_core.config_edit import changed as changed_text

    text = read_text(path)
    present = parse(text, path).data
    changes: list[Change] = [
        Delete((key,)) if value is None else Set((key,), value)
        for key, value in values.items()
        if value is not None or key in present
    ]
    return changed_text(text, changes, path)


def remove(name: str, folder: Path | None = None) -> None:
    """Remove an installed preset, in one step, so that nobody meets half of it; ``CcrError`` if there is none."""
    presets.check_name(name)
    place = presets.presets_folder(folder) / name
    if not place.is_dir() or place.is_symlink():
        raise CcrError(f'there is no preset "{name}"')
    aside = Path(tempfile.mkdtemp(prefix=".gone-", dir=place.parent))
    os.rename(place, aside / name)
    shutil.rmtree(aside)
