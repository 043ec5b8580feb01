"""The Anthropic Messages API: what clients speak, and what Anthropic and compatible providers speak.

The router's own canonical form is this format, so this plugin is mostly the identity.  What it adds is where the two
ends differ: a clear refusal of malformed requests, what only Anthropic itself may see or understands, the thinking of
other providers in the history, and answers that break the protocol.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ccr_core import Context, Dialect, Ingress, ProviderSpec, Transformer, TransformerSpec, WireRequest, hookimpl


@attrs.frozen
class StepOptions:
    """``UseBearer``: send the API key as ``Authorization: Bearer`` instead of ``x-api-key``."""

    use_bearer: bool = attrs.field(default=False, metadata={"key": "UseBearer"})


class Step(Transformer[StepOptions]):
    """The transformer ``anthropic``: changes nothing, but naming it selects the dialect ``anthropic``."""

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """With ``UseBearer``, say how the key is to be sent."""
        return attrs.evolve(wire, key_style="bearer") if self.options.use_bearer else wire


@hookimpl
def ccr_dialects() -> Iterable[Dialect]:
    """Offer the dialect ``anthropic``."""
    from ccr_plugin_anthropic.dialect import Anthropic

    yield Anthropic()


@hookimpl
def ccr_ingresses() -> Iterable[Ingress]:
    """Offer the ingress ``anthropic``."""
    from ccr_plugin_anthropic.ingress import AnthropicIngress

    yield AnthropicIngress()


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``anthropic``, under the capital letter of older configurations too."""
    yield TransformerSpec(
        name="anthropic",
        factory=Step,
        options=StepOptions,
        dialect="anthropic",
        aliases=("Anthropic",),
        summary="Speak the Anthropic Messages API to this provider.",
    )


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """Offer the preset ``anthropic``."""
    yield ProviderSpec(
        name="anthropic",
        base_url="https://api.anthropic.com",
        dialect="anthropic",
        key_env="ANTHROPIC_API_KEY",
        models=(
            "claude-sonnet-5-5",
            "claude-opus-5-5",
            "claude-haiku-5-5",
            "claude-sonnet-5",
            "claude-opus-5",
            "claude-opus-4-8",
            "claude-sonnet-4-6",
            "claude-haiku-4-5",
        ),
        hosts=("api.anthropic.com",),
        summary="Anthropic's own API, with a key of the Claude Console.",
    )
