"""Routers of projects and sessions, laid over the one of the configuration key by key.

A session belongs to the project in whose folder Claude Code keeps its transcript
(``~/.claude/projects/<folder>/<session>.jsonl``).  From general to special:

1. ``[Router]`` of a ``.ccr.toml`` in the repository, only while the user trusts that very text (``ccr trust``),
2. ``Router`` of ``<home>/<folder>/config.json``,
3. ``Router`` of ``<home>/<folder>/<session>.json``.

The files are looked at for every request and read again when they change.  The id of a session is used in a path, so
what is not made of letters, digits and hyphens is nobody's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
import tomllib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ccr_core.config import home, parse

log = logging.getLogger("ccr.projects")

SHARED = ".ccr.toml"
"""The file that a repository may bring."""

TRUSTED = "trusted.json"
"""The file in ccr's folder that says which of them the user trusts."""

_SESSION = re.compile(r"[A-Za-z0-9-]+")
_MISSING_SECONDS = 3.0
"""How long a session that was not found is not looked for by requests."""
_SOON_SECONDS = 0.25
"""The same at a request's end: a short task is over in less than the above."""
_KEPT = 1000


class Projects:
    """Finds and reads the routers of projects."""

    def __init__(self, folder: Path | None = None, transcripts: Path | None = None) -> None:
        self._home = folder or home()
        self._transcripts = transcripts or Path.home() / ".claude" / "projects"
        self._folders: OrderedDict[str, str] = OrderedDict()
        self._missing: OrderedDict[str, float] = OrderedDict()
        self._roots: dict[str, Path | None] = {}
        self._read: dict[Path, tuple[Any, Mapping[str, Any]]] = {}

    def overlay(self, session: str) -> Mapping[str, Any]:
        """The keys of ``Router`` that a session's project sets; empty for most."""
        if not _SESSION.fullmatch(session):
            return {}
        folder = self._folder(session)
        if folder is None:
            return {}
        own = self._home / folder
        merged: dict[str, Any] = {}
        shared = self._shared(folder, session)
        for router in (
            self._trusted(shared) if shared is not None else {},
            self._router(own / "config.json"),
            self._router(own / f"{session}.json"),
        ):
            merged.update(router)
        return merged

    def project(self, session: str, *, look: bool = False) -> str | None:
        """Where a session works: the folder, where a transcript tells it, else the name of the transcripts' folder.

        Known once :meth:`overlay` has found the session, and this looks at no file; with ``look`` it does so for one
        that was not found, whose transcript may have come meanwhile.
        """
        folder = self._folders.get(session)
        if folder is None and look and session in self._missing:
            folder = self._folder(session, _SOON_SECONDS)
            if folder is not None:
                self._shared(folder, session)  # finds the folder in which it works
        return None if folder is None else str(self._roots.get(folder) or folder)

    def _folder(self, session: str, patience: float = _MISSING_SECONDS) -> str | None:
        known = self._folders.get(session)
        if known is not None:
            return known
        # A new conversation's transcript is written after its first request: not found now is not found for ever.
        if time.monotonic() < self._missing.get(session, -patience) + patience:
            return None
        found = None
        try:
            with os.scandir(self._transcripts) as entries:
                for entry in entries:
                    if os.path.exists(os.path.join(entry.path, f"{session}.jsonl")):
                        found = entry.name
                        break
        except OSError:
            pass
        if found is None:
            self._missing[session] = time.monotonic()
            _trim(self._missing)
        else:
            self._folders[session] = found
            _trim(self._folders)
        return found

    def _router(self, path: Path) -> Mapping[str, Any]:
        """``Router`` of a JSON file; empty if there is none, or if it is broken (which is logged)."""
        return self._cached(path, lambda text: _table(parse(text, path).data))

    def _trusted(self, path: Path) -> Mapping[str, Any]:
        def read(text: str) -> Mapping[str, Any]:
            if not is_trusted(path, text, self._home):
                log.info("%s is not used: ccr trust %s", path, path.parent)
                return {}
            return _table(tomllib.loads(text))

        return self._cached(path, read, self._home / TRUSTED)

    def _cached(self, path: Path, read: Any, beside: Path | None = None) -> Mapping[str, Any]:
        try:
            stat = os.stat(path)
        except OSError:
            return {}
        stamp: Any = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if beside is not None and beside.exists():
            stamp = (stamp, os.stat(beside).st_mtime_ns)
        known = self._read.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        router: Mapping[str, Any] = {}
        try:
            router = read(path.read_text("utf-8"))
        except Exception as error:
            log.warning("%s is not used: %s", path, error)
        self._read[path] = (stamp, router)
        return router

    def _shared(self, folder: str, session: str) -> Path | None:
        """The ``.ccr.toml`` of the repository in which the session works."""
        if folder not in self._roots:
            cwd = _directory(self._transcripts / folder / f"{session}.jsonl")
            if cwd is None:
                return None
            self._roots[folder] = cwd
        cwd = self._roots[folder]
        return shared_file(cwd) if cwd is not None else None


def shared_file(folder: Path) -> Path | None:
    """The ``.ccr.toml`` of the repository that ``folder`` is in; ``None`` if it has none."""
    for place in (folder, *folder.parents):
        if (place / SHARED).is_file():
            return place / SHARED
        if (place / ".git").exists():
            break
    return None


def _directory(transcript: Path) -> Path | None:
    """The working directory that a transcript names in one of its first lines."""
    try:
        with open(transcript, "rb") as lines:
            for line in lines.readlines(256 * 1024):
                if b'"cwd"' in line:
                    entry = json.loads(line)
                    cwd = entry.get("cwd") if isinstance(entry, dict) else None
                    if isinstance(cwd, str) and os.path.isabs(cwd):
                        return Path(cwd)
    except (OSError, ValueError):
        pass
    return None


def _table(data: Mapping[str, Any]) -> Mapping[str, Any]:
    router = data.get("Router", {})
    if not isinstance(router, Mapping):
        raise ValueError("Router must be a table")
    return {str(key): value for key, value in router.items()}


def _trim(known: OrderedDict[str, Any]) -> None:
    if len(known) > _KEPT:
        known.popitem(last=False)


def digest(text: str) -> str:
    """What a trusted text is remembered by."""
    return hashlib.sha256(text.encode()).hexdigest()


def trusted(folder: Path | None = None) -> dict[str, str]:
    """The files that the user trusts: path → digest of the text that was trusted."""
    try:
        data = json.loads(((folder or home()) / TRUSTED).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}


def is_trusted(path: Path, text: str, folder: Path | None = None) -> bool:
    """Whether the user trusts ``text`` as the content of ``path``; any change of it ends the trust."""
    return trusted(folder).get(str(path.resolve())) == digest(text)


def standing(folder: Path | None = None) -> list[tuple[Path, str]]:
    """The files that were ever trusted, in order, and how each stands: ``trusted``, ``changed`` or ``gone``."""
    found = []
    for name, known in sorted(trusted(folder).items()):
        try:
            state = "trusted" if digest(Path(name).read_text("utf-8")) == known else "changed"
        except (OSError, ValueError):
            state = "gone"
        found.append((Path(name), state))
    return found
