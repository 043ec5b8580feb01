"""The transformer that sets sampling parameters, whatever the client asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ccr_core import JSON, Request, Transformer, TransformerSpec, WireRequest, hookimpl


def _number(options: Options, field: attrs.Attribute[Any], value: float | str | None) -> None:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            raise ValueError(f'{field.name} must be a number, got "{value}"') from None


def _count(options: Options, field: attrs.Attribute[Any], value: int | str | None) -> None:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(f'{field.name} must be a whole number, got "{value}"')
    if value is not None and int(value) < 1:
        raise ValueError(f"{field.name} must be at least 1, got {value}")


@attrs.frozen(kw_only=True)
class Options:
    """What is set; digits in quotes are taken too, for older editors saved them so."""

    max_tokens: int | str | None = attrs.field(default=None, validator=_count)
    """the most output tokens to ask for; a smaller number of the client stays"""

    temperature: float | str | None = attrs.field(default=None, validator=_number)
    """set in every request"""

    top_p: float | str | None = attrs.field(default=None, validator=_number)
    """set in every request"""

    top_k: int | str | None = attrs.field(default=None, validator=_count)
    """set in every request"""

    repetition_penalty: float | str | None = attrs.field(default=None, validator=_number)
    """set in every request in the chat completions format; others do not know it"""


class Sampling(Transformer[Options]):
    """Caps ``max_tokens`` and sets the rest."""

    def on_request(self, request: Request) -> Request:
        """The request with the configured parameters."""
        options = self.options
        changes: JSON = {}
        if options.max_tokens is not None:
            asked = request.body.get("max_tokens")
            if isinstance(asked, int) and asked > int(options.max_tokens):
                changes["max_tokens"] = int(options.max_tokens)
        if options.temperature is not None:
            changes["temperature"] = float(options.temperature)
        if options.top_p is not None:
            changes["top_p"] = float(options.top_p)
        if options.top_k is not None:
            changes["top_k"] = int(options.top_k)
        return request.with_(**changes) if changes else request

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """The same request; says so if it has no place for what the configuration wants."""
        if self.options.repetition_penalty is not None and "repetition_penalty" not in (wire.body or {}):
            self.ctx.note("sampling", "repetition_penalty left out: this format does not have it")
        return wire


def dialect_options(options: Options) -> Mapping[str, Mapping[str, Any]]:
    """What the chat completions format must let pass: the Messages API has no repetition penalty, others no top_k."""
    chat: JSON = {}
    if options.top_k is not None:
        chat["top_k"] = True
    if options.repetition_penalty is not None:
        chat["body"] = {"repetition_penalty": float(options.repetition_penalty)}
    return {"openai-chat": chat}


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``sampling``."""
    yield TransformerSpec(
        name="sampling",
        factory=Sampling,
        options=Options,
        dialect_options=dialect_options,
        summary="Set temperature and other sampling parameters.",
    )
