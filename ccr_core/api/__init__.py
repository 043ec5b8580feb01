"""The management API: looking at the running router and changing its configuration over HTTP (docs/api.md).

Imported at the first request below ``/api``.  Its rules: secrets go in and never come out; a change takes the version
that it read, is checked as a whole before it is written, and lists every problem with its place; nothing here loads
code, installs packages or changes from where code is loaded.  Who may enter was decided before
(:mod:`ccr_core.access`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from ccr_core.server import App


def routes(app: App) -> list[BaseRoute]:
    """Everything below ``/api/`` but what every router answers (session, status)."""
    return []
