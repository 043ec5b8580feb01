"""A Responses request in canonical form, with what its answer needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ccr_core import JSON, Request


@attrs.frozen
class ToolName:
    """How a client names a tool: within a namespace, perhaps; ``custom``: its input is a text."""

    name: str
    namespace: str | None = None
    custom: bool = False


@attrs.frozen
class ResponsesRequest(Request):
    """A request that came in as Responses.

    ``names`` are the tools that the client names otherwise than the canonical request does, or whose input is a text.
    ``echo`` are fields of the request that the answer repeats.
    """

    names: Mapping[str, ToolName] = attrs.Factory(dict)
    echo: JSON = attrs.Factory(dict)
