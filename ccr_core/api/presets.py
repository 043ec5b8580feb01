"""Presets: those that are installed, their questions, and installing others in two steps.

What is fetched lies in a hidden folder until it is installed or too old.  It is shown with what it would do, and each
of these things has to be agreed to; a preset that brings code, or settings of Claude Code that can run programs, is
not installed from here at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from ccr_core import config_edit, fetch, installing, namespaces, presets
from ccr_core.api.config import PROBLEM
from ccr_core.api.desk import Desk, refused
from ccr_core.api.masks import MASK, Place, hidden, masked, restored
from ccr_core.api.openapi import maybe, named
from ccr_core.api.operation import JSON_TYPE, Call, Operation, Refused, refuse
from ccr_core.config import Problem, Problems, is_secret
from ccr_core.errors import ConfigError
from ccr_core.messages import JSON
from ccr_core.presets import FILE, Manifest, Question
from ccr_core.runtime import build

KEPT_SECONDS = 3600.0
"""How long something that was fetched waits to be installed."""

FETCHED = ".fetched-"
ZIPS = ("application/zip", "application/octet-stream")

_SAFE = re.compile(
    r"ANTHROPIC_\w+|DISABLE_\w+|MAX_\w+|API_TIMEOUT_MS|BASH_(?:DEFAULT|MAX)_\w+"
    r"|CLAUDE_CODE_(?:MAX|DISABLE|ENABLE|SUBAGENT_MODEL|USE|SKIP|EFFORT)\w*"
)
"""Variables of Claude Code that choose models and limits; others can name programs to run."""


@attrs.frozen(kw_only=True)
class Apply:
    """Answers by the ids of their questions (``secrets`` is what older programs call them)."""

    values: Mapping[str, Any] = attrs.Factory(dict)
    secrets: Mapping[str, Any] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class Fetch:
    """Where a preset is: the address of a zip file or of a Git repository, ``owner/repo`` of GitHub, or a name of the
    marketplace."""

    source: str | None = None
    preset_name: str | None = attrs.field(default=None, metadata={"key": "presetName"})
    repo: str | None = None
    name: str | None = None


@attrs.frozen(kw_only=True)
class Install:
    """What was fetched, the answers, and the ids of all that it would do and that is agreed to."""

    id: str
    values: Mapping[str, Any] = attrs.Factory(dict)
    accept: tuple[str, ...] = ()
    name: str | None = None
    replace: bool = False


# --- looking --------------------------------------------------------------------------------------------------


def _folder(desk: Desk) -> Path:
    return presets.presets_folder(desk.app.home)


def _installed(desk: Desk, name: str) -> Manifest:
    try:
        presets.check_name(name)
    except ConfigError:
        raise Refused(f"there is no preset {name!r}", 404) from None
    if not presets.exists(name, desk.app.home):
        raise Refused(f"there is no preset {name!r}", 404)
    return presets.read(_folder(desk) / name)


def listed(desk: Desk, call: Call) -> JSON:
    """Every installed preset, also one that cannot be read."""
    rows = []
    for name in presets.installed(desk.app.home):
        space = desk.app.presets.spaces.get(name)
        try:
            found: Manifest | None = presets.read(_folder(desk) / name)
            problem = space.problem if space is not None else None
        except ConfigError as error:
            found, problem = None, error.message
        data = found.metadata if found is not None else {}
        rows.append(
            {
                "name": name,
                "title": str(data.get("name") or name),
                **{key: _text(data.get(key)) for key in ("version", "description", "author", "homepage", "license")},
                "keywords": [str(word) for word in data.get("keywords") or ()],
                "source": hidden(_text(data.get("source")) or "") or None,
                "questions": len(found.questions) if found is not None else 0,
                "missing": found.faults(found.values) if found is not None else [],
                "problem": problem,
                "served": space is not None and space.engine is not None,
                "path": f"/preset/{name}",
            }
        )
    return {"presets": rows}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def market(desk: Desk, call: Call) -> JSON:
    """What the marketplace has."""
    there = set(presets.installed(desk.app.home))
    rows = [
        {
            "id": each.id,
            "name": each.name,
            **{key: _text(each.data.get(key)) for key in ("version", "description", "author")},
            "keywords": [str(word) for word in each.data.get("keywords") or () if isinstance(word, str)],
            "repository": _text(each.data.get("repo")),
            "installed": each.name in there,
        }
        for each in fetch.market(None, desk.runtime.config.proxy_url)
    ]
    return {"presets": rows}


def show(desk: Desk, call: Call) -> JSON:
    """One preset with its questions and answers."""
    found = _installed(desk, call.path["name"])
    space = desk.app.presets.spaces.get(found.name)
    checksum = found.data.get("checksum")
    return {
        "name": found.name,
        "metadata": masked(found.metadata),
        "config": _document(found),
        "questions": _questions(found, found.values),
        "values": _values(found),
        "files": [path.as_posix() for path in presets.files(found.folder)],
        "dangers": _dangers(desk, found),
        "changed": bool(checksum) and checksum != presets.digest(found.folder, found.data),
        "problem": space.problem if space is not None else None,
        "served": space is not None and space.engine is not None,
        "path": f"/preset/{found.name}",
    }


def _document(found: Manifest, values: Mapping[str, Any] | None = None) -> Any:
    """The configuration of a preset with masks, wherever a secret answer may have got to."""
    shown = masked(found.document(values))
    answers = found.values if values is None else values
    told = {str(answers[each.id]) for each in found.questions if _is_secret(each) and answers.get(each.id)}
    hide = [text for text in told if hidden(text, Place(secret=True)) == MASK]

    def without(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: without(item) for key, item in value.items()}
        if isinstance(value, list):
            return [without(item) for item in value]
        if isinstance(value, str):
            for text in hide:
                value = value.replace(text, MASK)
        return value

    return without(shown)


def _is_secret(question: Question) -> bool:
    return question.type == "password" or is_secret(question.id)


def _values(found: Manifest) -> JSON:
    """The answers that are kept, with masks in place of secrets."""
    by_id = {question.id: question for question in found.questions}
    return {
        key: _masked_value(value, key in by_id and _is_secret(by_id[key]), key) for key, value in found.values.items()
    }


def _masked_value(value: Any, secret: bool, key: str) -> Any:
    # A name that is a path into the configuration tells by its last key.
    place = Place(secret or is_secret(re.split(r"[.\[]", key)[-1]))
    return masked(value, place)


def _questions(found: Manifest, values: Mapping[str, Any]) -> list[JSON]:
    """The questions in the order in which they are asked."""
    settled = found.settled(values)
    return [
        {
            "id": each.id,
            "type": each.type,
            "label": each.title,
            "prompt": each.prompt,
            "required": each.required,
            "default": None if _is_secret(each) and not str(each.default or "").startswith("$") else each.default,
            "placeholder": each.placeholder,
            "options": [attrs.asdict(option) for option in found.options(each, settled)],
            "visible": each.visible(settled),
            "when": [attrs.asdict(condition) for condition in each.when],
            "depends": list(each.depends_on),
            "minimum": each.min,
            "maximum": each.max,
            "pattern": each.validator,
            "secret": _is_secret(each),
        }
        for each in found.ordered()
    ]


def _dangers(desk: Desk, found: Manifest) -> list[JSON]:
    """What a preset would do, each with an id to agree to it; ``refused``: not from here."""
    document = found.document()
    code = _code(found, document)
    rows = [{"text": text, "refused": True} for text in code]
    for text in installing.dangers(found, document, desk.runtime.config):
        if text not in code:
            rows.append({"text": text, "refused": _is_code(text)})
    return [{"id": _identity(str(row["text"]), found), **row} for row in rows]


def _is_code(text: str) -> bool:
    return text.startswith(("runs the code", "changes Claude Code's settings", "sends the text of"))


def _code(found: Manifest, document: Mapping[str, Any]) -> list[str]:
    """What can run programs, besides what :func:`ccr_core.installing.dangers` tells."""
    settings = document.get("claudeCodeSettings")
    env = settings.get("env") if isinstance(settings, Mapping) else None
    names = [name for name in env if not _SAFE.fullmatch(str(name))] if isinstance(env, Mapping) else []
    rewrites = [str(node[key]) for node, key in presets.files_in(dict(document)) if key == "REWRITE_SYSTEM_PROMPT"]
    return [
        *([f"sets variables of Claude Code that can name programs: {', '.join(map(str, names))}"] if names else []),
        *(f"changes what the model is told, with the file {Path(path).name}" for path in rewrites),
    ]


def _identity(text: str, found: Manifest) -> str:
    return hashlib.sha256(installing.same_words(text, found).encode()).hexdigest()[:16]


# --- answering ------------------------------------------------------------------------------------------------


async def apply(desk: Desk, call: Call) -> JSON:
    """Keep new answers of an installed preset, and serve it with them."""
    wanted: Apply = call.given
    result = await asyncio.to_thread(_apply, desk, call.path["name"], {**wanted.secrets, **wanted.values})
    await desk.app.presets.look()
    return {**result, **_served(desk, call.path["name"])}


def _apply(desk: Desk, name: str, values: Mapping[str, Any]) -> JSON:
    found = _installed(desk, name)
    settled = _settled(found, values)
    text = installing.changed(found.path, {"userValues": settled or None})
    with installing.staging(_folder(desk)) as copy:
        shutil.copytree(found.folder, copy, dirs_exist_ok=True)
        config_edit.write_whole(copy / FILE, text)
        ready = attrs.evolve(presets.read(copy), name=name)
        before = {_identity(each["text"], found) for each in _dangers(desk, found)}
        fresh = [each for each in _dangers(desk, ready) if each["refused"] and each["id"] not in before]
        if fresh:
            problems = [Problem("values", each["text"]) for each in fresh]
            raise refuse(problems, 403, end=f"answer on the command line: ccr preset install {name}")
        warnings = _checked(desk, ready)
    config_edit.write_whole(found.path, text)
    return {"ok": True, "problems": [], "warnings": warnings}


def _settled(found: Manifest, values: Mapping[str, Any]) -> dict[str, Any]:
    """All answers: those given, in the types of their questions and with masks meaning what is kept, else those kept,
    else defaults."""
    by_id = {question.id: question for question in found.questions}
    problems = Problems()
    kept = found.values
    answers = dict(kept)
    for key, value in values.items():
        question = by_id.get(key)
        if question is None:
            if key in kept and value == _masked_value(kept[key], False, key):
                continue
            problems.unknown("values", key, by_id, "question")
            continue
        shown = _masked_value(kept[key], _is_secret(question), key) if key in kept else None
        if key in kept and value == shown:
            continue
        value = restored(value, None, problems, ("values", key))
        try:
            answers[key] = (
                question.convert(value) if isinstance(value, str) and question.type != "multiselect" else value
            )
        except ConfigError as error:
            problems.add(f"values.{key}", error.message)
        if value is None:
            answers.pop(key, None)
    settled = found.settled(answers)
    if not problems.items:
        wrong, _ = installing.faults(found, settled)
        for key, fault in wrong.items():
            problems.add(f"values.{key}", fault)
    if problems.items:
        raise refuse(problems.items)
    return settled


def _checked(desk: Desk, ready: Manifest) -> list[str]:
    """Put a preset together with the plugins; gives warnings, raises with what keeps it from working.

    Its options may hold the paths that those of the configuration hold, and those of the same preset in service.
    """
    space = desk.app.presets.spaces.get(ready.name)
    served = space.engine.runtime.paths if space is not None and space.engine is not None else frozenset[str]()
    if ready.document().get("noServer"):
        return []
    try:
        config = namespaces.configuration(ready, desk.runtime.config)
        known = desk.runtime.paths | served
        return list(build(config, desk.registry, watch=False, paths=known).warnings)
    except ConfigError as error:
        raise refused(error, "a preset that chooses files to read is installed with: ccr preset install") from None


def _served(desk: Desk, name: str) -> JSON:
    space = desk.app.presets.spaces.get(name)
    return {
        "served": space is not None and space.engine is not None,
        "problem": space.problem if space is not None else None,
    }


# --- installing -----------------------------------------------------------------------------------------------


def fetched(desk: Desk, call: Call) -> JSON:
    """Get a preset from where it is, or from the body, look through it, and show it."""
    _sweep(desk)
    identity = secrets.token_hex(12)
    outer = _folder(desk) / f"{FETCHED}{identity}"
    folder = outer / "preset"
    try:
        folder.mkdir(parents=True, mode=0o700)
        if call.given is None:
            name = _file_name(call.query.get("name", "")) or "preset"
            fetch.unpack(call.data, folder, f"{name}.zip")
            origin = fetch.Fetched(name=name, source=f"{name}.zip", kind="local")
        else:
            origin = _get(desk, call.given, folder)
        odd = installing.validate(folder)
        text = installing.changed(folder / FILE, {"userValues": None})  # answers of somebody else
        config_edit.write_whole(folder / FILE, text)
        found = presets.read(folder)
        name = _wanted_name(call, origin.name, found)
        config_edit.write_whole(outer / "origin.json", json.dumps({**attrs.asdict(origin), "name": name}))
    except BaseException:
        shutil.rmtree(outer, ignore_errors=True)
        raise
    there = presets.exists(name, desk.app.home)
    old = presets.read(_folder(desk) / name) if there else None
    return {
        "id": identity,
        "name": name,
        "metadata": masked(found.metadata),
        "config": _document(found, {}),
        "questions": _questions(found, old.values if old is not None else {}),
        "values": _values(old) if old is not None else {},
        "dangers": _dangers(desk, attrs.evolve(found, name=name)),
        "files": [path.as_posix() for path in presets.files(folder)],
        "difference": [hidden(line) for line in installing.difference(old.folder, folder)[:2000]] if old else [],
        "installed": there,
        "warnings": odd,
    }


def _wanted_name(call: Call, origin: str, found: Manifest) -> str:
    wanted = call.given.name if call.given is not None else call.query.get("name")
    for name in (wanted, origin, str(found.metadata.get("name") or "")):
        try:
            presets.check_name(name or "")
            return str(name)
        except ConfigError:
            continue
    return "preset"


def _file_name(text: str) -> str:
    try:
        presets.check_name(text)
    except ConfigError:
        return ""
    return text


def _get(desk: Desk, wanted: Fetch, folder: Path) -> fetch.Fetched:
    proxy = desk.runtime.config.proxy_url
    source = (wanted.source or wanted.repo or wanted.preset_name or wanted.name or "").strip()
    if not source:
        raise Refused("send source, presetName or repo, or a zip file as the body")
    if wanted.repo or (wanted.source and re.fullmatch(r"[\w-]+/[\w.-]+", source)):
        return fetch.fetch(f"https://github.com/{fetch.github(source)}.git", folder, proxy)
    if fetch.is_address(source) or "://" in source:
        parts = urlsplit(source.removeprefix("git+"))
        local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        if parts.scheme != "https" and not local:
            raise Refused(f"{hidden(source)} is not fetched: only https:// is; ccr preset install takes others", 403)
        return fetch.fetch(source, folder, proxy)
    if "/" in source or "\\" in source or source.startswith((".", "~")):
        raise Refused("folders and files of this machine are installed with: ccr preset install PATH", 403)
    return fetch.from_market(fetch.pick(fetch.market(None, proxy), source), folder, proxy)


def _sweep(desk: Desk) -> None:
    """Remove what was fetched and never installed."""
    now = time.time()
    for path in _folder(desk).glob(f"{FETCHED}*"):
        try:
            if now - path.lstat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue


async def install(desk: Desk, call: Call) -> JSON:
    """Put what was fetched in place, with answers, and serve it."""
    result: JSON = await asyncio.to_thread(_install, desk, call.given)
    await desk.app.presets.look()
    return {**result, **_served(desk, result["name"])}


def _install(desk: Desk, wanted: Install) -> JSON:
    if not re.fullmatch(r"[0-9a-f]{24}", wanted.id):
        raise Refused("there is no such preset any more; fetch it again", 404)
    outer = _folder(desk) / f"{FETCHED}{wanted.id}"
    folder = outer / "preset"
    try:
        origin = json.loads((outer / "origin.json").read_text())
    except (OSError, ValueError):
        raise Refused("there is no such preset any more; fetch it again", 404) from None
    name = wanted.name or origin["name"]
    presets.check_name(name)
    target = _folder(desk) / name
    old = presets.read(target) if (target / FILE).is_file() else None
    if target.exists() and not wanted.replace:
        raise Refused(f"there is a preset {name} already; send replace, or another name", 409, presetName=name)
    found = attrs.evolve(presets.read(folder), name=name)
    if old is not None:
        found = attrs.evolve(found, data={**found.data, "userValues": old.values})
    values = _settled(found, wanted.values)
    config_edit.write_whole(folder / FILE, installing.changed(folder / FILE, {"userValues": values or None}))
    ready = attrs.evolve(presets.read(folder), name=name)
    dangers = _dangers(desk, ready)
    code = [Problem("", each["text"]) for each in dangers if each["refused"]]
    if code:
        command = f"ccr install {name}" if origin["kind"] == "registry" else f"ccr preset install {origin['source']}"
        raise refuse(code, 403, end=f"a preset that does this is installed with: {command}", command=command)
    before = {each["id"] for each in _dangers(desk, old)} if old is not None else set()
    open_ = [each for each in dangers if each["id"] not in {*wanted.accept, *before}]
    if open_:
        problems = [Problem("accept", each["text"]) for each in open_]
        raise refuse(problems, end="agree to these with their ids", dangers=dangers)
    warnings = _checked(desk, ready)
    noted = {
        "source": origin["source"],
        "sourceType": origin["kind"],
        **({"repository": origin["repository"]} if origin["repository"] else {}),
        "checksum": presets.digest(folder, ready.data),
    }
    config_edit.write_whole(folder / FILE, installing.changed(folder / FILE, noted))
    if target.exists():
        os.rename(target, outer / "old")
    os.rename(folder, target)
    shutil.rmtree(outer, ignore_errors=True)
    return {"name": name, "path": f"/preset/{name}", "warnings": warnings}


async def remove(desk: Desk, call: Call) -> JSON:
    """Remove an installed preset."""
    found = await asyncio.to_thread(_installed, desk, call.path["name"])
    await asyncio.to_thread(installing.remove, found.name, desk.app.home)
    await desk.app.presets.look()
    return {"name": found.name}


QUESTION = {
    "id": str,
    "type": presets.TYPES,
    "label": str,
    "prompt": str,
    "required": bool,
    "default": object,
    "placeholder": str,
    "options": [{"label": str, "value": object, "description": str, "disabled": bool}],
    "visible": bool,
    "when": [{"field": str, "operator": presets.OPERATORS, "value": object}],
    "depends": [str],
    "minimum": maybe(float),
    "maximum": maybe(float),
    "pattern": maybe(str),
    "secret": bool,
}
DANGER = named("danger", {"id": str, "text": str, "refused": bool})
SERVED = {"served": bool, "problem": maybe(str)}

OPERATIONS = (
    Operation(
        method="GET",
        path="/api/presets",
        summary="The installed presets.",
        answer=listed,
        gives={
            "presets": [
                {
                    "name": str,
                    "title": str,
                    "version": maybe(str),
                    "description": maybe(str),
                    "author": maybe(str),
                    "homepage": maybe(str),
                    "license": maybe(str),
                    "keywords": [str],
                    "source": maybe(str),
                    "questions": int,
                    "missing": [str],
                    "problem": maybe(str),
                    "served": bool,
                    "path": str,
                }
            ]
        },
    ),
    Operation(
        method="GET",
        path="/api/presets/market",
        summary="The presets of the marketplace.",
        answer=market,
        gives={
            "presets": [
                {
                    "id": str,
                    "name": str,
                    "version": maybe(str),
                    "description": maybe(str),
                    "author": maybe(str),
                    "keywords": [str],
                    "repository": maybe(str),
                    "installed": bool,
                }
            ]
        },
    ),
    Operation(
        method="POST",
        path="/api/presets/fetch",
        summary="Get a preset and look at it; nothing is installed yet.",
        answer=fetched,
        takes=Fetch,
        media=(JSON_TYPE, *ZIPS),
        limit=fetch.MOST_DOWNLOAD,
        query={"name": "what to call a preset that is sent as a zip file"},
        gives={
            "id": str,
            "name": str,
            "metadata": {str: object},
            "config": {str: object},
            "questions": [named("question", QUESTION)],
            "values": {str: object},
            "dangers": [DANGER],
            "files": [str],
            "difference": [str],
            "installed": bool,
            "warnings": [str],
        },
    ),
    Operation(
        method="POST",
        path="/api/presets/install",
        summary="Install what was fetched.",
        answer=install,
        takes=Install,
        gives={"name": str, "path": str, "warnings": [str], **SERVED},
    ),
    Operation(
        method="GET",
        path="/api/presets/{name}",
        summary="An installed preset with its questions and answers.",
        answer=show,
        gives={
            "name": str,
            "metadata": {str: object},
            "config": {str: object},
            "questions": [named("question", QUESTION)],
            "values": {str: object},
            "files": [str],
            "dangers": [DANGER],
            "changed": bool,
            "path": str,
            **SERVED,
        },
    ),
    Operation(
        method="POST",
        path="/api/presets/{name}/apply",
        summary="Answer the questions of an installed preset.",
        answer=apply,
        takes=Apply,
        gives={"ok": bool, "problems": [PROBLEM], "warnings": [str], **SERVED},
    ),
    Operation(
        method="DELETE",
        path="/api/presets/{name}",
        summary="Remove an installed preset.",
        answer=remove,
        gives={"name": str},
    ),
)
