"""What plugins add to the server beside models, and where it stands.

A page is an ASGI application at and below a path.  It is made at its first request, and again after a reload.  One that
fails answers 500 with the plugin's name; it cannot hurt another, nor the model endpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from ccr_core.messages import JSON
from ccr_core.spec import PageSpec


class Running(Protocol):
    """The running router, as a page sees it."""

    home: Path
    """The directory in which ccr keeps its files."""

    def status(self) -> JSON:
        """What ``ccr status`` shows: version, providers, warnings, plugins, what cools down."""

    def models(self) -> list[JSON]:
        """What ``GET /v1/models`` lists."""

    def pages(self) -> Sequence[OfferedPage]:
        """All pages in use, this one among them."""


@attrs.frozen
class OfferedPage:
    """A page in use, its checked options, and who contributes it."""

    spec: PageSpec
    options: Any
    plugin: str

    def to_json(self) -> JSON:
        """As the web UI lists it."""
        spec = self.spec
        return {
            "name": spec.name,
            "title": spec.title,
            "path": spec.mount if spec.factory else None,
            "script": f"/ui/pages/{spec.name}/{spec.script}" if spec.files else None,
            "summary": spec.summary,
            "plugin": self.plugin,
        }


RESERVED = ("/v1", "/v1beta", "/preset", "/health", "/api/status", "/api/session", "/api/hello")
"""Where no page can be."""


def placed(pages: Sequence[OfferedPage], models: Sequence[str]) -> tuple[dict[str, OfferedPage], list[str]]:
    """Pages by where they are, and what is wrong with the others; ``models`` are the paths of model endpoints."""
    found: dict[str, OfferedPage] = {}
    faults: list[str] = []
    for page in pages:
        if page.spec.factory is None:
            continue
        mount = page.spec.mount
        taken = [path for path in (*models, *RESERVED) if path == mount or path.startswith(f"{mount}/")]
        taken += [path for path in RESERVED if mount.startswith(f"{path}/")]
        if not mount.startswith("/") or taken:
            faults.append(f"page {page.spec.name} ({page.plugin}) is off: it cannot be at {mount!r}")
        elif mount in found:
            faults.append(f"page {page.spec.name} ({page.plugin}) is off: {found[mount].plugin} is at {mount} already")
        else:
            found[mount] = page
    return found, faults
