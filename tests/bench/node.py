"""The older tool, written for Node, as a peer of the start-up figures: where it is, and how to install it.

    uv run python -m tests.bench.node        # two versions, from npm, into .cache/peers of the repository

It is measured where it is installed and left out where it is not; nothing is installed by measuring.  npm's install
scripts do not run, and each of its commands gets a private home.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "@musistudio/claude-code-router"
VERSION = "2.0.0"
ROUTER_VERSION = "1.0.73"
"""The version whose routing is measured: the last of the line whose configuration is read here, too."""


def folder(version: str) -> Path:
    """Where a version lives."""
    return Path(__file__).resolve().parents[2] / ".cache" / "peers" / f"claude-code-router-{version}"


def program(version: str = VERSION) -> Path | None:
    """The installed program; none if it is not there."""
    path = folder(version) / "node_modules" / ".bin" / "ccr"
    return path if path.exists() else None


def install(version: str = VERSION) -> Path:
    """Install it; gives the program.  ``SystemExit`` if npm is not there or fails."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("error: npm is not on PATH; it comes with Node.js")
    place = folder(version)
    place.mkdir(parents=True, exist_ok=True)
    words = [npm, "install", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run([*words, f"{PACKAGE}@{version}"], check=False)
    found = program(version)
    if done.returncode or found is None:
        sys.exit(f"error: npm did not install {PACKAGE} {version} into {place}")
    return found


if __name__ == "__main__":
    for wanted in (VERSION, ROUTER_VERSION):
        print(program(wanted) or install(wanted))
