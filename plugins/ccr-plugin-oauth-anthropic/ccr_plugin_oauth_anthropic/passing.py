"""The sign-in ``anthropic``: every client brings its own login, as it would to Anthropic itself.

Claude Code sends its subscription's token to ``ANTHROPIC_BASE_URL`` if it is given no other credential; gateways
document this.  The token is used for the request that it came with, and neither kept, logged nor sent elsewhere.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from ccr_core import Auth, AuthError, AuthOptions, Token, WireRequest

from .step import Carried


@attrs.frozen(kw_only=True)
class PassingOptions(AuthOptions):
    """Settings of the sign-in ``anthropic``.

    ``prefixes`` are how a login of Anthropic's begins: anything else that a client presents, such as the key of this
    router, is not meant for Anthropic and is not sent there.
    """

    prefixes: tuple[str, ...] = ("sk-ant-oat",)


class Passing(Auth[PassingOptions]):
    """Passes the client's own login on."""

    methods: ClassVar[tuple[str, ...]] = ()

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """``wire`` with the login that the client sent with it."""
        scheme, _, given = (wire.login if isinstance(wire, Carried) else "").partition(" ")
        if (
            not isinstance(wire, Carried)
            or scheme.lower() != "bearer"
            or not given.strip().startswith(self.options.prefixes)
        ):
            raise AuthError(
                f"{self.provider} uses the client's own Claude login, and this client sent none. Sign in with /login "
                "in Claude Code, and start it with ccr code, or with ANTHROPIC_BASE_URL but without "
                "ANTHROPIC_AUTH_TOKEN and ANTHROPIC_API_KEY (if the router has an APIKEY: "
                "ANTHROPIC_CUSTOM_HEADERS='x-ccr-key: …')"
            )
        return attrs.evolve(wire, headers={**wire.headers, "authorization": f"Bearer {given.strip()}"}, login="")
