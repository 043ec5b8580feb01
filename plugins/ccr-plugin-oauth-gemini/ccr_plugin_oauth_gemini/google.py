"""Signing in with a Google account, as an installed application does.

Source of the protocol: Google's page "OAuth 2.0 for mobile and desktop apps", RFC 8252.  A refresh token stays the
same when it is used.  The service insists on a client secret although that of an installed application is none; this
project ships none, see :meth:`GoogleAuth.client`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar, TypeVar

import attrs

from ccr_core import (
    JSON,
    Auth,
    AuthError,
    AuthOptions,
    BrowserGrant,
    Call,
    Flow,
    Now,
    Token,
    UpstreamError,
    WireReply,
    Wish,
    account_id,
    answer_of,
    browser_login,
    get_call,
    post_call,
    token_of,
    url_with,
)
from ccr_core import __version__ as VERSION

WHAT = "Google's login service"


@attrs.frozen(kw_only=True)
class GoogleOptions(AuthOptions):
    """Settings of a sign-in with Google.

    ``scopes`` are asked for at the sign-in.  ``redirect_port`` is where the browser comes back to (0: any).
    ``login_hint`` is the mail address that Google's page shows first.  ``user_agent`` is sent with every request.
    """

    client_id: str | None = None
    client_secret: str | None = attrs.field(default=None, repr=False)
    scopes: tuple[str, ...] = (
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/userinfo.email",
        "https://www.googleapis.com/auth/userinfo.profile",
    )
    authorize_url: str = "https://accounts.google.com/o/oauth2/v2/auth"
    token_url: str = "https://oauth2.googleapis.com/token"
    revoke_url: str = "https://oauth2.googleapis.com/revoke"
    userinfo_url: str = "https://www.googleapis.com/oauth2/v2/userinfo"
    redirect_port: int = 0
    login_hint: str | None = None
    user_agent: str = f"ccr/{VERSION}"


O = TypeVar("O", bound=GoogleOptions)  # noqa: E741 - the options of a sign-in


class GoogleAuth(Auth[O]):
    """A Google account.  What it opens is a subclass's: :meth:`owned` finds it out after each sign-in."""

    redirect_path: ClassVar[str] = "/oauth2callback"
    redirect_host: ClassVar[str] = "127.0.0.1"
    paste: ClassVar[str | None] = None
    """A page of the vendor that shows the code, for machines without a browser."""

    environment: ClassVar[str] = ""
    """What the names of the variables for id and secret of the client begin with: ``CCR_GEMINI_CLIENT``."""

    default_client: ClassVar[str] = ""
    """The id of the client, unless options or environment say otherwise."""

    def client(self) -> tuple[str, str]:
        """Id and secret of the client; raise ``AuthError`` saying how to set what is missing.

        From the options (``oauth.<name>.client_id``, ``client_secret``), else the environment, else :meth:`found`.
        """
        name, env = self.provider, self.environment
        client = self.options.client_id or os.environ.get(f"{env}_ID") or self.default_client
        secret = self.options.client_secret or os.environ.get(f"{env}_SECRET")
        for other, found in () if secret else self.found():
            if other == client:
                secret = found
                break
        if not client or not secret:
            what = "client secret" if client else "client id and secret"
            raise AuthError(
                f"{name} needs the {what} of the application that signs in, and none is shipped with this software. "
                f"Set {env}_ID and {env}_SECRET, or oauth.{name}.client_id and client_secret. {self.where()}".strip()
            )
        return client, secret

    def found(self) -> Iterator[tuple[str, str]]:
        """Pairs of id and secret that are on this machine for the asking."""
        yield from ()

    def where(self) -> str:
        """For people: where id and secret can be had."""
        return ""

    def login(self, wish: Wish) -> Flow[Token]:
        """Sign in with the browser; where there is none, with a code that the vendor's page shows."""
        client, secret = self.client()
        options = self.options

        def authorize(redirect_uri: str, challenge: str, state: str) -> str:
            params = {
                "client_id": client,
                "response_type": "code",
                "redirect_uri": redirect_uri,
                "scope": " ".join(options.scopes),
                "access_type": "offline",
                "prompt": "select_account consent" if wish.another else "consent",
                "state": state,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
            return url_with(
                options.authorize_url, {**params, **({"login_hint": options.login_hint} if options.login_hint else {})}
            )

        grant: BrowserGrant = yield from browser_login(
            authorize,
            path=self.redirect_path,
            ports=(options.redirect_port, 0) if options.redirect_port else (0,),
            host=self.redirect_host,
            paste=self.paste,
        )
        form = {
            "grant_type": "authorization_code",
            "code": grant.code,
            "client_id": client,
            "client_secret": secret,
            "redirect_uri": grant.redirect_uri,
            "code_verifier": grant.verifier,
        }
        body = answer_of((yield post_call(options.token_url, form=form)), WHAT)
        token = token_of(body, (yield Now()), what=WHAT)
        missing = [scope for scope in options.scopes if scope.endswith("/cloud-platform") and scope not in token.scopes]
        if token.scopes and missing:
            raise AuthError("the permission for Google Cloud was not given; sign in again and leave its box ticked")
        if token.refresh is None:
            raise AuthError(f"{WHAT} gave no refresh token; remove the application's access to your account and retry")
        me = answer_of((yield get_call(options.userinfo_url, bearer(token))), WHAT)
        email = str(me.get("email") or me.get("id") or "")
        if not email:
            raise AuthError(f"{WHAT} did not say whose account this is")
        token = attrs.evolve(token, label=email)
        data: JSON = yield from self.owned(token, quiet=False)
        subject = (email, str(data.get("project_id") or ""))
        return attrs.evolve(token, account=account_id(*subject), data=data)

    def owned(self, token: Token, *, quiet: bool) -> Flow[JSON]:
        """What belongs to the account, for ``Token.data``; with ``quiet`` nobody can be asked."""
        yield from ()
        return dict(token.data)

    def stale(self, token: Token, now: float) -> bool:
        """Whether :meth:`owned` is to be asked again when the token is renewed."""
        return False

    def refresh(self, token: Token) -> Flow[Token]:
        """Renew the token, and find out again what belongs to the account where that is old.

        A token that has not ended is renewed after a refusal, for which what was known may be the reason.
        """
        client, secret = self.client()
        form = {
            "grant_type": "refresh_token",
            "refresh_token": token.refresh or "",
            "client_id": client,
            "client_secret": secret,
        }
        body = answer_of((yield post_call(self.options.token_url, form=form)), WHAT)
        now = yield Now()
        made = token_of(body, now, token, what=WHAT)
        if self.stale(made, now) or self.fresh(token, now):
            try:
                made = attrs.evolve(made, data=(yield from self.owned(made, quiet=True)))
            except UpstreamError:
                pass  # what was known still holds; the next renewal asks again
        return made

    def revoke(self, token: Token) -> Flow[str]:
        """Take the permission back; Google ends the refresh token with it."""
        reply: WireReply = yield post_call(self.options.revoke_url, form={"token": token.refresh or token.access})
        return "" if reply.status == 200 else "see https://myaccount.google.com/connections for what still has access"

    def call(self, url: str, body: JSON, token: Token) -> Call:
        """A ``POST`` of JSON in the name of the account."""
        return post_call(url, json=body, headers={**bearer(token), "user-agent": self.options.user_agent})


def bearer(token: Token) -> dict[str, str]:
    """The header that carries ``token``."""
    return {"authorization": f"Bearer {token.access}"}
