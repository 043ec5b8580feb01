"""Antigravity: a sign-in with Google, with models of Google and of others, in an envelope of their own."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import AuthSpec, Dialect, Endpoint, Transformer, TransformerSpec, hookimpl

RISK = (
    "Google takes the use of this sign-in by other software for a violation of its terms of service; accounts have "
    "been suspended for it.\nUse an account that you can do without, or an API key."
)
"""What the vendor says against this use."""


@hookimpl
def ccr_dialects() -> Iterable[Dialect]:
    """The dialect ``antigravity``."""
    from .dialect import Antigravity

    return [Antigravity()]


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """The transformer ``antigravity``: it changes nothing, but naming it selects the dialect."""
    return [
        TransformerSpec(
            name="antigravity",
            factory=Transformer,
            dialect="antigravity",
            summary="Speak Antigravity's format to this provider.",
        )
    ]


@hookimpl
def ccr_auth() -> Iterable[AuthSpec]:
    """The sign-in ``antigravity``."""
    from .auth import AntigravityAuth, AntigravityOptions

    return [
        AuthSpec(
            name="antigravity",
            factory=AntigravityAuth,
            options=AntigravityOptions,
            base_url="https://daily-cloudcode-pa.googleapis.com",
            endpoints=(Endpoint(name="antigravity", dialect="antigravity", path="/v1internal"),),
            hosts=("daily-cloudcode-pa.googleapis.com", "cloudcode-pa.googleapis.com"),
            legacy=("*-cloudcode-pa.sandbox.googleapis.com", "generativelanguage.googleapis.com"),
            models=(
                "claude-opus-4-6-thinking",
                "claude-sonnet-4-6",
                "gemini-3.1-pro-low",
                "gemini-3.6-flash-high",
                "gemini-3-flash",
                "gemini-3.1-flash-lite",
            ),
            risk=RISK,
            summary="Antigravity, with a Google account: models of Google and others.",
        )
    ]
