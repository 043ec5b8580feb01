"""Signing requests to a provider: API keys here, other schemes in plugins.  Sans-IO.

A scheme turns a request and a token into a signed request.  Where tokens come from and how they are renewed is the
business of the scheme's own flows.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import attrs

from ccr_core.dialect import WireRequest
from ccr_core.errors import AuthError, ConfigError

O = TypeVar("O")  # noqa: E741 - the options of a scheme

KEY_STYLES: dict[str, tuple[str, str]] = {
    "bearer": ("authorization", "Bearer {}"),
    "x-api-key": ("x-api-key", "{}"),
    "api-key": ("api-key", "{}"),
    "x-goog-api-key": ("x-goog-api-key", "{}"),
}
"""How services take an API key: style → header and form of its value."""


@attrs.frozen(kw_only=True)
class Token:
    """A credential.  ``expires`` is a Unix time in seconds, or ``None`` for never; ``data`` is the scheme's own."""

    access: str = attrs.field(repr=False)
    refresh: str | None = attrs.field(default=None, repr=False)
    expires: float | None = None
    account: str | None = None
    data: dict[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Key:
    """One of a provider's credentials.  ``id`` is for people and never secret; ``weight`` is its share of turns."""

    id: str
    token: Token
    weight: float = 1.0


class Auth(Generic[O]):
    """A way to sign requests."""

    def __init__(self, options: O, provider: str) -> None:
        self.options = options
        self.provider = provider

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """``wire`` signed with ``token``; raise ``AuthError`` naming the command that helps if there is none."""
        raise NotImplementedError


class ApiKey(Auth[str]):
    """An API key in a header; ``options`` is one of :data:`KEY_STYLES`."""

    def __init__(self, options: str, provider: str) -> None:
        super().__init__(options, provider)
        if options not in KEY_STYLES:
            raise ConfigError(f"unknown key style {options!r}; known: {', '.join(KEY_STYLES)}")

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """Send the key; no header at all for an empty key, as local servers want it."""
        if token is None:
            raise AuthError(f"no API key for {self.provider}; set its api_key in the configuration")
        if not token.access:
            return wire
        if not token.access.isascii() or not token.access.isprintable() or " " in token.access:
            raise AuthError(f"the API key of {self.provider} has characters that no key has; check its api_key")
        header, form = KEY_STYLES[wire.key_style or self.options]
        if header in wire.headers:
            return wire
        return attrs.evolve(wire, headers={**wire.headers, header: form.format(token.access)})
