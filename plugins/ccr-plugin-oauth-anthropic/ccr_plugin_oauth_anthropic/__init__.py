"""Claude subscriptions: the client's own login is passed through, or, as an opt-in, the router signs in itself.

The first keeps nothing: the credential of each request goes on to Anthropic with it, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import AuthSpec, Endpoint, TransformerSpec, hookimpl

from .managed import Managed, ManagedOptions
from .passing import Passing, PassingOptions
from .step import Login, LoginOptions

__all__ = ["Login", "LoginOptions", "Managed", "ManagedOptions", "Passing", "PassingOptions"]

BASE = "https://api.anthropic.com"
HOSTS = ("api.anthropic.com",)
MODELS = ("claude-sonnet-5", "claude-opus-5", "claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5-20251001")

RISK = (
    "Anthropic does not permit third-party products to offer Claude logins or to send requests through subscription "
    "credentials; it may refuse them or charge extra usage.\n"
    'The sign-in "anthropic" needs none of this: it passes Claude Code\'s own login through and keeps nothing.'
)
"""What the vendor says against a login of the router's own."""


@hookimpl
def ccr_auth() -> Iterable[AuthSpec]:
    """The sign-ins ``anthropic`` and ``anthropic-managed``."""
    return [
        AuthSpec(
            name="anthropic",
            factory=Passing,
            options=PassingOptions,
            base_url=BASE,
            endpoints=(
                Endpoint(name="messages", dialect="anthropic", path="/v1/messages", transformers=("anthropic-login",)),
            ),
            hosts=HOSTS,
            models=MODELS,
            interactive=False,
            summary="Claude, with the login that Claude Code itself has; nothing to sign in to.",
        ),
        AuthSpec(
            name="anthropic-managed",
            factory=Managed,
            options=ManagedOptions,
            base_url=BASE,
            endpoints=(
                Endpoint(
                    name="messages",
                    dialect="anthropic",
                    path="/v1/messages",
                    transformers=(("anthropic-login", {"managed": True}),),
                ),
            ),
            hosts=HOSTS,
            models=MODELS,
            risk=RISK,
            summary="Claude, with a login of the router's own; Anthropic does not permit it.",
        ),
    ]


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """The transformer ``anthropic-login``."""
    return [
        TransformerSpec(
            name="anthropic-login",
            factory=Login,
            options=LoginOptions,
            summary="Carry the client's own login to Anthropic; used by itself.",
        )
    ]
