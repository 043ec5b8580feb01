"""Vertex AI: Gemini, Claude and open models with Google Cloud credentials, as they lie on the machine."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import AuthSpec, Dialect, Endpoint, ProviderSpec, Transformer, TransformerSpec, hookimpl

from .auth import PLACE, OpenOptions, Vertex, VertexOptions, located, own_account

__all__ = ["OpenOptions", "Vertex", "VertexOptions"]


@hookimpl
def ccr_dialects() -> Iterable[Dialect]:
    """The dialects ``vertex-gemini`` and ``vertex-claude``."""
    from .claude import VertexClaude
    from .gemini import VertexGemini

    return [VertexGemini(), VertexClaude()]


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The preset ``vertex-express``: an API key, which belongs to no project and no location."""
    return [
        ProviderSpec(
            name="vertex-express",
            base_url="https://aiplatform.googleapis.com/v1",
            dialect="vertex-gemini",
            key_style="x-goog-api-key",
            key_env="GOOGLE_API_KEY",
            models=("gemini-3.1-pro-preview", "gemini-2.5-pro", "gemini-2.5-flash"),
            summary="Vertex AI in express mode: Gemini models with an API key",
        )
    ]


@hookimpl
def ccr_auth() -> Iterable[AuthSpec]:
    """The sign-in ``vertex``: there is nothing to sign in to."""
    return [
        AuthSpec(
            name="vertex",
            factory=Vertex,
            options=VertexOptions,
            base_url="https://aiplatform.googleapis.com",
            endpoints=(
                Endpoint(name="gemini", dialect="vertex-gemini", path=PLACE),
                Endpoint(name="claude", dialect="vertex-claude", path=PLACE),
                Endpoint(name="open", dialect="openai-chat", path=f"{PLACE}/endpoints/openapi/chat/completions"),
            ),
            hosts=("aiplatform.googleapis.com", "*-aiplatform.googleapis.com", "aiplatform.*.rep.googleapis.com"),
            models=("gemini-3.1-pro-preview", "gemini-2.5-pro", "gemini-2.5-flash", "claude-sonnet-4-6"),
            interactive=False,
            summary="Vertex AI, with the Google Cloud credentials of this machine.",
            address_options=located,
        )
    ]


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """The transformers ``vertex-gemini``, ``vertex-claude`` and ``vertex-openai``: they select the format."""
    return [
        TransformerSpec(
            name="vertex-gemini",
            factory=Transformer,
            dialect="vertex-gemini",
            auth="vertex",
            summary="Speak to Gemini models on Vertex AI.",
        ),
        TransformerSpec(
            name="vertex-claude",
            factory=Transformer,
            dialect="vertex-claude",
            auth="vertex",
            summary="Speak to Claude models on Vertex AI.",
        ),
        TransformerSpec(
            name="vertex-openai",
            factory=Transformer,
            options=OpenOptions,
            dialect="openai-chat",
            auth="vertex",
            auth_options=own_account,
            summary="Speak to open models on Vertex AI in OpenAI's format.",
        ),
    ]
