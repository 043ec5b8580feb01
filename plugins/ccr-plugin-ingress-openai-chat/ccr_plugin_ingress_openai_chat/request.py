"""A chat completions request in canonical form, with what its answer needs to know of it."""

from __future__ import annotations

import attrs

from ccr_core import Request


@attrs.frozen
class ChatRequest(Request):
    """A request that came in as chat completions.

    ``usage``: a streamed answer ends with the usage.  ``customs`` names the tools whose input is a text instead of a
    JSON object.
    """

    usage: bool = False
    customs: frozenset[str] = frozenset()
