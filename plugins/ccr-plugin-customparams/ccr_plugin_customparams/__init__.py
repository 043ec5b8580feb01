"""The transformer that adds fields of the user's own to the request, in the provider's format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ccr_core import JSON, Transformer, TransformerSpec, WireRequest, hookimpl


class CustomParams(Transformer[Mapping[str, Any]]):
    """Adds what is missing, joins objects, and leaves everything else that the request says."""

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """The request with the configured fields; a field that it keeps as it was is noted."""
        if wire.body is None or not self.options:
            return wire
        body = dict(wire.body)
        for name, value in self.options.items():
            held = body.get(name)
            if name not in body:
                body[name] = value
            elif isinstance(held, dict) and isinstance(value, Mapping):
                body[name] = _joined(held, value)
            elif held != value:
                self.ctx.note("customparams", f"{name} not set: the request has its own value for it")
        return attrs.evolve(wire, body=body)


def _joined(held: JSON, added: Mapping[str, Any]) -> JSON:
    """``held`` with ``added``, which wins, object by object."""
    joined = dict(held)
    for name, value in added.items():
        inner = joined.get(name)
        joined[name] = _joined(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return joined


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``customparams``."""
    yield TransformerSpec(
        name="customparams",
        factory=CustomParams,
        options=Mapping[str, Any],
        summary="Add any fields to the request that is sent.",
    )
