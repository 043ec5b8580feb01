"""Writes the table in ``docs/providers.md`` from the presets themselves: ``python docs/generate_providers.py``.

What stands around the table is written by hand.  ``tests/test_providers.py`` fails when the table is stale.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ccr_core import ProviderSpec
from ccr_core.plugins import Contributed, load
from ccr_core.testing import entry_module

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "providers.md"
OWN = ("AZURE_OPENAI_ENDPOINT", "ANTHROPIC_FOUNDRY_RESOURCE", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Variables by which addresses of presets differ from place to place."""

HEAD = "| preset | address | key | format | what it is |\n| --- | --- | --- | --- | --- |\n"


def presets() -> Iterator[tuple[Path, Contributed[ProviderSpec]]]:
    """Every preset of the plugins here, with the folder of its plugin, by the names of the folders."""
    for folder in sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml")):
        for contributed in load([entry_module(folder)]).providers.values():
            yield folder, contributed


def address(spec: ProviderSpec) -> str:
    """The address as people know it: without what the format adds."""
    if spec.embedded or spec.base_url.startswith("embedded"):
        return "inside the router"
    parts = urlsplit(spec.base_url)
    if not parts.hostname:
        return "your own"
    return f"`{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/chat/completions').removesuffix('/responses')}`"


def page() -> str:
    """The text of the page, with the table as it should be; what stands around the table is written by hand."""
    before, head, after = PAGE.read_text("utf-8").partition(HEAD)
    assert head, f"{PAGE.name} has lost the head of its table"
    kept = {name: os.environ.pop(name) for name in OWN if name in os.environ}
    try:
        return "".join([before, head, *map(row, presets()), after[after.index("\n\n") + 1 :]])
    finally:
        os.environ.update(kept)


def row(preset: tuple[Path, Contributed[ProviderSpec]]) -> str:
    """The line of one preset."""
    folder, spec = preset[0], preset[1].value
    key = f"`{spec.key_env}`" if spec.key_env else "none"
    about = spec.summary.rstrip(".") + (" (probed)" if spec.probe else "")
    link = f"[`{spec.name}`](../plugins/{folder.name}/README.md)"
    return f"| {link} | {address(spec)} | {key} | `{spec.dialect}` | {about} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
