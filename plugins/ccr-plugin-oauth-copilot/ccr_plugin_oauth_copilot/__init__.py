"""GitHub Copilot: a sign-in with a device code, a short-lived token, and an endpoint for each model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from ccr_core import AuthSpec, Endpoint, Headers, ProviderSpec, TransformerSpec, WireRequest, hookimpl

from .auth import Copilot, Options
from .step import Step

__all__ = ["Copilot", "Options", "Step"]

_STEP = ("copilot",)


@hookimpl
def ccr_auth() -> Iterable[AuthSpec]:
    """The sign-in ``copilot``."""
    return [
        AuthSpec(
            name="copilot",
            factory=Copilot,
            options=Options,
            base_url="https://api.githubcopilot.com",
            endpoints=(
                # Claude models may split a whole answer over several choices; streams do not.
                Endpoint(
                    name="chat",
                    dialect="openai-chat",
                    path="/chat/completions",
                    options={"force_stream": True},
                    transformers=_STEP,
                ),
                Endpoint(name="responses", dialect="openai-responses", path="/responses", transformers=_STEP),
                Endpoint(
                    name="messages",
                    dialect="anthropic",
                    path="/v1/messages",
                    options={"clean": True, "documents": True, "fields": ["output_config"]},
                    transformers=_STEP,
                ),
            ),
            hosts=("*.githubcopilot.com", "copilot-api.*.ghe.com"),
            models=("gpt-5.4", "claude-sonnet-4.6"),
            summary="GitHub Copilot, with a device code.",
        )
    ]


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The preset ``github-models``, which only says that there is no such service any more."""

    async def answer(wire: WireRequest) -> tuple[int, Headers, AsyncIterator[bytes]]:
        from .retired import answer

        return await answer(wire)

    return [
        ProviderSpec(
            name="github-models",
            base_url="embedded:github-models",
            key_style="none",
            hosts=("models.github.ai", "models.inference.ai.azure.com"),
            embedded=answer,
            summary="GitHub Models, which was retired: says what to use instead",
        )
    ]


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """The transformer ``copilot``."""
    return [
        TransformerSpec(name="copilot", factory=Step, summary="Say who begins a request to Copilot; used by itself.")
    ]
