"""The web page of the router at ``/ui/``: what it does, and how it is configured.

This module only names the page; :mod:`ccr_plugin_ui.site` serves its files, which are in the folder ``web``.  They are
plain modules of JavaScript and one style sheet, as a browser takes them: there is no build.  All that they show and
change goes through the management API (docs/api.md), with a session of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ccr_core import PageSpec, Running, hookimpl


def _site(options: Any, router: Running) -> Any:
    from ccr_plugin_ui.site import Site

    return Site(router)


@hookimpl
def ccr_pages() -> Iterable[PageSpec]:
    """Offer the page ``ui``: files only, so it needs no key; what they ask for does."""
    yield PageSpec(name="ui", factory=_site, path="/ui", access="open", summary="The web UI.")
