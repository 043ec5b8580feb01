"""A chat completions request in canonical form, with what its answer needs to know of it."""

from __future__ import annotations

from typing import Any

import attrs

from ccr_core import Request


@attrs.frozen
class ChatRequest(Request):
    """A request that came in as chat completions.

    ``usage``: a streamed answer ends with the usage.  ``customs`` names the tools whose input is a text instead of a
    JSON object.  ``notes`` are remarks about what was left out or changed, as key and text.
    """

    usage: bool = False
    customs: frozenset[str] = frozenset()
    notes: tuple[tuple[str, Any], ...] = ()
