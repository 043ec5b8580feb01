"""Id and secret of the client, as the vendor publishes them in the source of its own command-line program.

If that program is installed on this machine, it is its owner who has them; they are read there, and never kept.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

_ID = re.compile(r"OAUTH_CLIENT_ID\s*=\s*['\"]([\w.-]+\.apps\.googleusercontent\.com)['\"]")
_SECRET = re.compile(r"OAUTH_CLIENT_SECRET\s*=\s*['\"]([\w-]{10,})['\"]")

_CORE = "@google/gemini-cli-core/dist/src/code_assist/oauth2.js"
_PLACES = (f"node_modules/{_CORE}", f"../../{_CORE}", "dist/src/code_assist/oauth2.js")
_BUNDLE = "bundle/*.js"

LARGEST = 32 * 1024 * 1024
"""Bytes of a file that is read."""


def pairs() -> Iterator[tuple[str, str]]:
    """Id and secret in each file of an installed Gemini CLI that has both."""
    for folder in _folders():
        files = [folder / place for place in _PLACES]
        files += sorted(folder.glob(_BUNDLE))
        for file in files:
            try:
                if file.stat().st_size > LARGEST:
                    continue
                text = file.read_text("utf-8", "replace")
            except OSError:
                continue
            client, secret = _ID.search(text), _SECRET.search(text)
            if client and secret:
                yield client[1], secret[1]


def _folders() -> Iterator[Path]:
    """Where the program's package may be: around the program itself, and where npm keeps global packages."""
    program = shutil.which("gemini")
    roots = []
    if program:
        real = Path(os.path.realpath(program))
        yield from (parent for parent in real.parents if parent.name == "gemini-cli")
        roots += [Path(program).parent / "../lib/node_modules", Path(program).parent / "node_modules"]
    if prefix := os.environ.get("NPM_CONFIG_PREFIX"):
        roots.append(Path(prefix) / "lib/node_modules")
    for root in roots:
        folder = root / "@google/gemini-cli"
        if folder.is_dir():
            yield folder
