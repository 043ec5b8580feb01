"""The older tool, written for Node, as a peer of the start-up figures: where it is, and how to install it.

    uv run python -m tests.bench.node        # from npm, into .cache/peers of the repository

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
FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "peers" / f"claude-code-router-{VERSION}"


def program() -> Path | None:
    """The installed program; none if it is not there."""
    path = FOLDER / "node_modules" / ".bin" / "ccr"
    return path if path.exists() else None


def install() -> Path:
    """Install it; gives the program.  ``SystemExit`` if npm is not there or fails."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("error: npm is not on PATH; it comes with Node.js")
    FOLDER.mkdir(parents=True, exist_ok=True)
    words = [npm, "install", "--prefix", str(FOLDER), "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run([*words, f"{PACKAGE}@{VERSION}"], check=False)
    found = program()
    if done.returncode or found is None:
        sys.exit(f"error: npm did not install {PACKAGE} {VERSION} into {FOLDER}")
    return found


if __name__ == "__main__":
    print(program() or install())
