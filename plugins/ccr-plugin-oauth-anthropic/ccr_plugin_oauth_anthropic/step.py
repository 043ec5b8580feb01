"""What a request needs on its way to Anthropic with a subscription: the client's login, and the name of a beta."""

from __future__ import annotations

import attrs

from ccr_core import Context, Request, RequestError, Transformer, WireRequest

OAUTH_BETA = "oauth-2025-04-20"
"""The beta without which the API takes no subscription logins."""

GENUINE = "claude-cli/"
"""How Claude Code's ``user-agent`` begins."""


@attrs.frozen(kw_only=True)
class Carried(WireRequest):
    """A request with the login of the client that sent it.

    It is no header yet, so that nothing that shows requests shows it; the sign-in makes it one at the very end, when
    it is certain where the request goes.
    """

    login: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class LoginOptions:
    """``managed``: the login is the router's own, so the client's is not carried, and must not be missed.

    ``beta`` is named in every request.
    """

    managed: bool = False
    beta: str = OAUTH_BETA


class Login(Transformer[LoginOptions]):
    """Carries the client's login; with ``managed`` it makes sure that the client is Claude Code."""

    def __init__(self, options: LoginOptions, ctx: Context) -> None:
        super().__init__(options, ctx)
        self._login = ""

    def on_request(self, request: Request) -> Request:
        """See what the client presents."""
        if not self.options.managed:
            self._login = request.headers.get("authorization", "")
        elif request.ingress != "anthropic" or not request.headers.get("user-agent", "").startswith(GENUINE):
            raise RequestError(
                "a Claude subscription is for requests of Claude Code, and this one comes from another client; "
                "use an API key for it (provider anthropic)"
            )
        return request

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """Take the login along, and name the beta, second as Claude Code does."""
        betas = [beta for beta in wire.headers.get("anthropic-beta", "").split(",") if beta]
        if self.options.beta and self.options.beta not in betas:
            betas.insert(1, self.options.beta)
        return Carried(
            method=wire.method,
            url=wire.url,
            headers={**wire.headers, "anthropic-beta": ",".join(betas)} if betas else wire.headers,
            body=wire.body,
            login=self._login,
        )
