"""Install axe-core, with which the tests in a browser look for faults of accessibility.

It comes from npm as that is set up on the machine, into a folder of its own (`.cache/axe`); its install scripts do not
run. A second run finds it in place and asks nobody:

    python tests/e2e/install_axe.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "4"
FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "axe"
SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
COMMAND = "python tests/e2e/install_axe.py"


def main() -> int:
    """Install it unless it is there; the exit code."""
    if not SCRIPT.is_file():
        npm = shutil.which("npm")
        if npm is None:
            print(f"error: npm was not found: install Node with npm, then run `{COMMAND}`", file=sys.stderr)
            return 1
        FOLDER.mkdir(parents=True, exist_ok=True)
        flags = ("--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
        subprocess.run(
            [npm, "install", "--prefix", str(FOLDER), *flags, f"axe-core@{VERSION}"], check=True, timeout=600
        )
    print(f"axe-core at {SCRIPT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
