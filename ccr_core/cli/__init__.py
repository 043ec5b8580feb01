"""The command line ``ccr``.

Rule: a command imports what it needs and nothing else.  This module imports only ``sys``; the version is answered
before anything is imported; the table of commands (:mod:`ccr_core.cli.group`) names modules and loads the one that is
run.  Nothing here imports plugins, and only ``start``, ``explain``, ``config check`` and ``plugins list`` load them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

VERSION_WORDS = ("--version", "-v", "version")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``ccr`` with the arguments ``argv`` (those of the process if absent) and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if len(args) == 1 and args[0] in VERSION_WORDS:
        from ccr_core import __version__

        print(f"claude-code-router version: {__version__}")
        return 0
    if args[:1] == ["statusline"] and len(args) <= 2 and not any(word.startswith("-") for word in args):
        # Claude Code asks for this line after each turn: nothing else may be imported.
        from ccr_core.cli import statusline

        return statusline.main(args[1:])
    if args[:1] == ["__complete"]:
        from ccr_core.cli.completion import complete

        return complete(args[1:])
    from ccr_core.cli.group import run

    return run(args)
