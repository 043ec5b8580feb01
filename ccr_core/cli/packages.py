"""Plugins as installed packages: in which environment, by which installer, and what was installed.

Rules: packages go into the environment that this ``ccr`` runs in, by the program that made it (pip, uv or pipx), and
nothing is installed into an environment of the system.  The lock file ``plugins.lock`` in ccr's folder notes each
installed plugin with its version and a digest of its files; ``ccr plugins audit`` compares, and so does a start where
the configuration's ``plugins_lock`` says so, before anything of a plugin is imported.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ccr_core.errors import CcrError, ConfigError

LOCK = "plugins.lock"
GROUPS = ("ccr", "ccr.commands")
"""The groups of entry points that make a distribution one with plugins (named here, so that pluggy is not loaded)."""

Run = Callable[[Sequence[str]], int]
"""Runs a command, shows its output to the user, and gives its exit code."""


def run(words: Sequence[str]) -> int:
    """Run an installer; what it says goes to standard error."""
    return subprocess.run(list(words), stdout=sys.stderr, check=False).returncode


@attrs.frozen
class Place:
    """An environment of Python: ``kind`` is ``venv``, ``uv tool``, ``pipx`` or ``system``; ``name`` the tool's own."""

    kind: str
    prefix: Path
    python: str
    name: str = ""

    def install(self, requirements: Iterable[str]) -> list[str]:
        """The command that installs packages here."""
        if self.kind == "pipx":
            return ["pipx", "inject", self.name, *requirements]
        return [*self._pip(), "install", *requirements]

    def remove(self, distribution: str) -> list[str]:
        """The command that removes a package from here."""
        if self.kind == "pipx":
            return ["pipx", "uninject", self.name, distribution]
        pip = self._pip()
        return [*pip, "uninstall", *([] if pip[0].endswith("uv") else ["--yes"]), distribution]

    def _pip(self) -> list[str]:
        uv = shutil.which("uv")
        if self.kind != "uv tool" and importlib.util.find_spec("pip") is not None:
            return [self.python, "-m", "pip", "--disable-pip-version-check"]
        if uv is not None:
            # The subcommand precedes the option.
            return [uv, "pip"]
        raise CcrError(f"{self.prefix} has no pip and there is no uv; install one of them: python -m ensurepip")


def place(prefix: Path | None = None) -> Place:
    """The environment that this ``ccr`` runs in."""
    prefix = Path(sys.prefix) if prefix is None else prefix
    python = sys.executable
    if (prefix / "uv-receipt.toml").exists():
        return Place("uv tool", prefix, python, prefix.name)
    if (prefix / "pipx_metadata.json").exists():
        return Place("pipx", prefix, python, prefix.name)
    if (prefix / "pyvenv.cfg").exists():
        return Place("venv", prefix, python)
    return Place("system", prefix, python)


def command(words: list[str], python: str) -> list[str]:
    """The words, with the environment named where the installer is uv's, which needs to be told."""
    if len(words) > 2 and words[0].endswith("uv") and words[1] == "pip":
        return [*words[:3], "--python", python, *words[3:]]
    return words


def normal(name: str) -> str:
    """A distribution's name in its canonical spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


@attrs.frozen
class Installed:
    """A distribution with plugins: its digest is of all its files (``None``: installed in place, so it may change)."""

    name: str
    version: str
    digest: str | None
    plugins: tuple[str, ...]
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the lock file notes it."""
        return {"version": self.version, "sha256": self.digest, "source": self.source}


def installed(skip: Container[str] = ()) -> dict[str, Installed]:
    """The installed distributions with entry points of ours, by canonical name.  Nothing of them is imported.

    The files of those in ``skip`` are not read: they come without a digest.
    """
    importlib.invalidate_caches()
    found: dict[str, Installed] = {}
    for dist in importlib.metadata.distributions():
        try:
            points = [point for point in dist.entry_points if point.group in GROUPS]
            if not points:
                continue
            direct = json.loads(dist.read_text("direct_url.json") or "{}")
            name = normal(dist.name)
            if name in found:  # the first on the path counts
                continue
            in_place = name in skip or bool(direct.get("dir_info", {}).get("editable"))
            found[name] = Installed(
                name,
                dist.version,
                None if in_place else digest(dist),
                tuple(sorted({point.name for point in points})),
                _without_credentials(str(direct.get("url", ""))),
            )
        except Exception:  # broken metadata: ccr plugins list names them
            continue
    return found


def _without_credentials(url: str) -> str:
    return re.sub(r"://[^/@]*@", "://", url)


def digest(dist: importlib.metadata.Distribution) -> str:
    """SHA-256 over path and contents of all files of a distribution, in order; what Python makes itself is left out."""
    total = hashlib.sha256()
    made = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
    for path in sorted(dist.files or (), key=str):
        if path.suffix == ".pyc" or (path.name in made and path.parent.name.endswith(".dist-info")):
            continue
        if ".." in path.parts:  # scripts, whose first line names this environment
            continue
        try:
            content = Path(str(dist.locate_file(path))).read_bytes()
        except OSError:
            content = b"missing"
        total.update(f"{path}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def own() -> frozenset[str]:
    """Canonical names of the distributions that ccr itself is made of."""
    try:
        wanted = importlib.metadata.requires("ccr-core") or []
    except importlib.metadata.PackageNotFoundError:
        wanted = []
    names = [match[0] for line in wanted if "standard" in line and (match := re.match(r"[\w.-]+", line))]
    return frozenset({"ccr-core", *map(normal, names)})


# --- the lock file ----------------------------------------------------------------------------------------------


def read_lock(folder: Path) -> dict[str, dict[str, Any]]:
    """What is noted, by canonical name; ``CcrError`` if the file is there and cannot be read."""
    path = folder / LOCK
    try:
        data = json.loads(path.read_bytes())
        plugins = data["plugins"]
        if not isinstance(plugins, dict) or not all(isinstance(each, dict) for each in plugins.values()):
            raise TypeError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CcrError(f"cannot read {path}; mend it, or remove it and run: ccr plugins audit --accept") from error
    return plugins


def write_lock(folder: Path, noted: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what is noted, in one step."""
    from ccr_core.cli.process import make_folder, write_private

    make_folder(folder)
    write_private(folder / LOCK, json.dumps({"version": 1, "plugins": dict(sorted(noted.items()))}, indent=2) + "\n")


def note_of(found: Installed) -> dict[str, Any]:
    """The entry for an installed distribution."""
    return {**found.to_json(), "noted": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


@attrs.frozen
class Difference:
    """What the lock file and the environment say of a distribution: ``state`` is ``same``, ``changed``, ``other
    version``, ``missing``, ``not noted`` or ``in place``."""

    name: str
    state: str
    version: str
    noted: str = ""

    def __str__(self) -> str:
        match self.state:
            case "other version":
                return f"version {self.version}, but {self.noted} was noted"
            case "missing":
                return f"version {self.noted} was noted, but it is not installed"
            case "not noted":
                return f"version {self.version} is installed, but was not noted"
            case "changed":
                return f"files of version {self.version} were changed since they were noted"
        return f"version {self.version} is as it was noted" + (" (in place)" if self.state == "in place" else "")

    def to_json(self) -> dict[str, Any]:
        """As plain data, for listings."""
        return {
            "distribution": self.name,
            "state": self.state,
            "version": self.version,
            "noted": self.noted or None,
        }

    @property
    def wrong(self) -> bool:
        """Whether somebody should look."""
        return self.state in ("changed", "other version", "missing", "not noted")


def compare(noted: Mapping[str, Mapping[str, Any]], found: Mapping[str, Installed]) -> list[Difference]:
    """Each distribution that is noted, or installed and not ccr's own."""
    result = []
    for name in sorted({*noted, *(set(found) - own())}):
        there, entry = found.get(name), noted.get(name)
        then = str(entry.get("version", "")) if entry is not None else ""
        if there is None:
            result.append(Difference(name, "missing", "", then))
        elif entry is None:
            result.append(Difference(name, "not noted", there.version))
        elif there.version != then:
            result.append(Difference(name, "other version", there.version, then))
        elif there.digest is None:
            result.append(Difference(name, "in place", there.version, then))
        else:
            state = "same" if there.digest == entry.get("sha256") else "changed"
            result.append(Difference(name, state, there.version, then))
    return result


def differences(
    folder: Path, disabled: Iterable[str] = (), environ: Mapping[str, str] = os.environ
) -> tuple[Difference, ...]:
    """What is not as ``plugins.lock`` has it, among the plugins that would be loaded.

    Left out are distributions of which every plugin is in ``disabled`` (by its name or the distribution's), or not
    chosen by ``CCR_PLUGINS``: they are not imported.  ``CcrError`` if the lock file cannot be read.
    """
    found = installed(skip=own())
    out = {normal(name) for name in disabled}
    chosen = environ.get("CCR_PLUGINS")
    only = None if chosen is None else {normal(name.strip()) for name in chosen.split(",") if name.strip()}

    def loaded(each: Difference) -> bool:
        there = found.get(each.name)
        points = {normal(name) for name in there.plugins} if there is not None else set()
        if each.name in out or (points and points <= out):
            return False
        return only is None or bool(only & {each.name, *points})

    return tuple(each for each in compare(read_lock(folder), found) if each.wrong and loaded(each))


def enforce(folder: Path, mode: str, disabled: Iterable[str]) -> None:
    """Do what ``plugins_lock`` says: nothing (``off``), a warning, or ``ConfigError`` where something differs."""
    if mode == "off":
        return
    wrong = differences(folder, disabled)
    if not wrong:
        return
    rows = "\n".join(f"  {each.name}: {each}" for each in wrong)
    text = f"the installed plugins are not those of {folder / LOCK}:\n{rows}\n"
    step = "look at them with: ccr plugins audit; if all is as it should be: ccr plugins audit --accept"
    if mode == "enforce":
        raise ConfigError(f'{text}plugins_lock is "enforce", so they are not used; {step}')
    from ccr_core.cli.output import note

    note(f"warning: {text}{step}")
