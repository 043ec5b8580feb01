"""Install the two Claude Code clients that the end-to-end tests drive.

Why two: people run the newest client, and people who stay on Node 20 run the newest one that their Node
installs; the two send requests of different shape. Rules: clients come from npm as it is set up on the
machine; they live in a folder of their own (`.cache/clients/` in the repository, or what `CCR_TEST_CLIENTS`
names), never in the machine's global packages; npm's install scripts do not run. Both packages carry a
self-contained native program as an optional dependency, which is what is started: the Node version in
`engines` only decides *which* client that is.

Run with any Python 3.11 (standard library only); a second run finds everything in place and asks nobody:

    python tests/e2e/install_clients.py            # install what is missing
    python tests/e2e/install_clients.py --update   # look for newer clients first
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "@anthropic-ai/claude-code"
OLD_NODE = 20
LABELS = ("newest", "node20")
COMMAND = "python tests/e2e/install_clients.py"


class ClientsError(Exception):
    """The clients are not there, or could not be installed; the text says what to do."""


@dataclass(frozen=True)
class Client:
    """One installed Claude Code: its label in test names, its version and the program to start."""

    label: str
    version: str
    program: Path


def folder() -> Path:
    """Where the clients live: `CCR_TEST_CLIENTS`, or `.cache/clients` in the repository."""
    named = os.environ.get("CCR_TEST_CLIENTS")
    return Path(named).absolute() if named else Path(__file__).resolve().parents[2] / ".cache" / "clients"


def installed(root: Path) -> dict[str, Client]:
    """The clients found under `root`, by label; raises ClientsError when one is missing. Starts nothing."""
    index = root / "clients.json"
    try:
        versions = json.loads(index.read_text())
        clients = {label: Client(label, versions[label], _program(root / versions[label])) for label in LABELS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClientsError(f"Claude Code is not installed in {root}: run `{COMMAND}`") from error
    return clients


def missing() -> str:
    """Why the clients cannot be used; empty when they can."""
    try:
        installed(folder())
    except ClientsError as error:
        return str(error)
    return ""


def install(root: Path, *, update: bool = False) -> dict[str, Client]:
    """Install both clients under `root` and return them; with everything there and no `update` it only looks.

    Raises ClientsError with npm's own words when npm is missing or fails.
    """
    if not update:
        try:
            return installed(root)
        except ClientsError:
            pass
    root.mkdir(parents=True, exist_ok=True)
    wanted = choose_versions(_published())
    for version in wanted.values():
        if not _is_there(root / version):
            _install_one(root, version)
    index = root / "clients.json"
    fresh = index.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(wanted, indent=1) + "\n")
    fresh.replace(index)
    return installed(root)


def choose_versions(published: Sequence[dict[str, Any]]) -> dict[str, str]:
    """From all published versions (`version`, `engines`) the newest, and the newest that Node 20 installs.

    Pre-releases do not count. Raises ClientsError when there is no such version.
    """
    numbered = sorted(
        (tuple(int(part) for part in entry["version"].split(".")), entry)
        for entry in published
        if re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])
    )
    releases = [entry for _, entry in numbered]
    for_old = [e for e in releases if accepts((e.get("engines") or {}).get("node", "*"), OLD_NODE)]
    if not for_old:
        raise ClientsError(f"no published version of {PACKAGE} installs on Node {OLD_NODE}")
    return {"newest": releases[-1]["version"], "node20": for_old[-1]["version"]}


def accepts(engines: str, major: int) -> bool:
    """Whether an `engines.node` range admits the latest Node of `major` (ranges as npm packages write them).

    Raises ClientsError for a range of a form that is not known here: guessing would install the wrong client.
    """
    # All parts are read before any is judged: an unknown form must be an error wherever it stands.
    alternatives = [[_comparator(part, major) for part in text.split()] for text in engines.split("||")]
    return any(all(parts) for parts in alternatives)


def _comparator(text: str, major: int) -> bool:
    if text in ("*", "x"):
        return True
    found = re.fullmatch(r"(>=|<=|>|<|\^|~|=|)v?(\d+)(?:\.(?:\d+|x|\*)){0,2}", text)
    if found is None:
        raise ClientsError(f"cannot read the Node range {text!r} of {PACKAGE}: teach it to `accepts`")
    sign, number = found[1], int(found[2])
    if sign in (">=", ">"):
        return major >= number
    if sign in ("<=", "<"):
        return major < number or (sign == "<=" and major == number)
    return major == number


def _published() -> list[dict[str, Any]]:
    found = json.loads(_npm("view", f"{PACKAGE}@>=0.0.1", "version", "engines", "--json"))
    return found if isinstance(found, list) else [found]


def _install_one(root: Path, version: str) -> None:
    building = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=root))
    try:
        _npm(
            *("install", "--prefix", str(building), "--no-save", "--no-package-lock", "--ignore-scripts"),
            *("--no-audit", "--no-fund", "--engine-strict=false", "--include=optional"),
            f"{PACKAGE}@{version}",
        )
        said = _start_once(_program(building))
        if not said.startswith(version):
            raise ClientsError(f"Claude Code {version} was installed, but its program says {said!r}")
        shutil.rmtree(root / version, ignore_errors=True)
        building.rename(root / version)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _is_there(place: Path) -> bool:
    try:
        _program(place)
    except ClientsError:
        return False
    return True


def _program(place: Path) -> Path:
    """The native program inside an install folder; npm chose the platform's package."""
    found = sorted((place / "node_modules" / "@anthropic-ai").glob("claude-code-*/claude*"))
    programs = [path for path in found if path.name in ("claude", "claude.exe")]
    if not programs:
        raise ClientsError(f"there is no native Claude Code program in {place}: run `{COMMAND}`")
    return programs[0]


def _start_once(program: Path) -> str:
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, "TERM": "dumb", "DISABLE_AUTOUPDATER": "1"}
        run = subprocess.run(
            [str(program), "--version"],
            env=env,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if run.returncode:
        raise ClientsError(f"{program} --version failed with {run.returncode}: {(run.stderr or run.stdout).strip()}")
    return run.stdout.strip()


def _npm(*arguments: str) -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise ClientsError(f"npm was not found: install Node {OLD_NODE} or newer with npm, then run `{COMMAND}`")
    try:
        run = subprocess.run(
            [npm, *arguments],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ClientsError(f"npm {arguments[0]} took more than {error.timeout:.0f} s: try again") from error
    if run.returncode:
        words = "\n".join((run.stderr or run.stdout).strip().splitlines()[-15:])
        raise ClientsError(f"npm {arguments[0]} {arguments[-1]} failed with {run.returncode}:\n{words}")
    return run.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description="Install the Claude Code clients of the end-to-end tests.")
    parser.add_argument("--update", action="store_true", help="look for newer versions even if all is there")
    options = parser.parse_args()
    try:
        clients = install(folder(), update=options.update)
    except ClientsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for client in clients.values():
        print(f"{client.label}: Claude Code {client.version} at {client.program}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
