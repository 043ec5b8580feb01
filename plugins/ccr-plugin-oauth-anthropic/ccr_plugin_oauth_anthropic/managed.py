"""The sign-in ``anthropic-managed``: the router signs in to a Claude subscription and keeps the tokens.

Requests go out as Claude Code sent them; only the credential is the router's.  Nothing is made up to look like
another client: what Anthropic refuses is told in its own words.

Source of the protocol: addresses and answers as Claude Code shows them, autumn 2026.
"""

from __future__ import annotations

import random
import time
from datetime import datetime
from typing import Any, ClassVar

import attrs

from ccr_core import (
    JSON,
    AccountError,
    Ask,
    Auth,
    AuthError,
    AuthOptions,
    BrowserGrant,
    Call,
    CcrError,
    Flow,
    Headers,
    Limited,
    Now,
    OfferedModel,
    Token,
    UpstreamError,
    Window,
    WireReply,
    WireRequest,
    Wish,
    account_id,
    answer_of,
    browser_login,
    get_call,
    post_call,
    token_of,
    url_with,
)

from .step import OAUTH_BETA

WHAT = "Anthropic's login service"
YEAR = 365 * 86_400.0
LIMIT = "anthropic-ratelimit-unified"
JITTER = (1.0, 30.0)
"""By how many seconds an account rests longer than its limit lasts: at least, at most."""

_WINDOWS = {"5h": "5 hours", "7d": "7 days", "7d_oi": "7 days, one model family"}
_USAGE = {
    "five_hour": "5 hours",
    "seven_day": "7 days",
    "seven_day_opus": "7 days, Opus",
    "seven_day_sonnet": "7 days, Sonnet",
}


@attrs.frozen(kw_only=True)
class ManagedOptions(AuthOptions):
    """Settings of the sign-in ``anthropic-managed``.

    ``paste_url`` is Anthropic's page that shows a code, for machines without a browser.  ``beta`` is named in requests
    to the account's own addresses, which begin with ``account_base``.
    """

    client_id: str = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
    scopes: tuple[str, ...] = ("user:profile", "user:inference")
    authorize_url: str = "https://claude.ai/oauth/authorize"
    token_url: str = "https://platform.claude.com/v1/oauth/token"
    paste_url: str = "https://platform.claude.com/oauth/code/callback"
    redirect_port: int = 0
    account_base: str = "https://api.anthropic.com"
    beta: str = OAUTH_BETA


class Managed(Auth[ManagedOptions]):
    """A login with the browser, or a token of ``claude setup-token``."""

    methods: ClassVar[tuple[str, ...]] = ("browser", "token")

    def login(self, wish: Wish) -> Flow[Token]:
        """Sign in; the account is the person and the organisation."""
        if wish.method == "token":
            token: Token = yield from self._given()
            return token
        options = self.options

        def authorize(redirect_uri: str, challenge: str, state: str) -> str:
            return url_with(
                options.authorize_url,
                {
                    "code": "true",
                    "client_id": options.client_id,
                    "response_type": "code",
                    "redirect_uri": redirect_uri,
                    "scope": " ".join(options.scopes),
                    "code_challenge": challenge,
                    "code_challenge_method": "S256",
                    "state": state,
                },
            )

        grant: BrowserGrant = yield from browser_login(
            authorize, ports=(options.redirect_port, 0) if options.redirect_port else (0,), paste=options.paste_url
        )
        body = answer_of(
            (
                yield post_call(
                    options.token_url,
                    json={
                        "grant_type": "authorization_code",
                        "code": grant.code,
                        "redirect_uri": grant.redirect_uri,
                        "client_id": options.client_id,
                        "code_verifier": grant.verifier,
                        "state": grant.state,
                    },
                )
            ),
            WHAT,
        )
        token = token_of(body, (yield Now()), what=WHAT)
        profile: JSON = yield from self._profile(token)
        account = {**_part(profile, "account"), **_part(body, "account")}
        organization = {**_part(profile, "organization"), **_part(body, "organization")}
        person = str(account.get("uuid") or "")
        if not person:
            raise AuthError(f"{WHAT} did not say whose account this is")
        kept = {
            "organization_name": organization.get("name"),
            "rate_limit_tier": organization.get("rate_limit_tier"),
        }
        return attrs.evolve(
            token,
            account=account_id(person, str(organization.get("uuid") or "")),
            label=str(account.get("email_address") or account.get("email") or ""),
            data={name: value for name, value in kept.items() if value},
        )

    def _given(self) -> Flow[Token]:
        """A token that Anthropic's own program has made for the user: it holds for a year."""
        given: str = yield Ask("Paste the token that `claude setup-token` has printed:", secret=True)
        if not given.startswith("sk-ant-oat") or any(char.isspace() for char in given):
            raise AuthError("this is no token of claude setup-token; it begins with sk-ant-oat and has no blanks")
        now = yield Now()
        return Token(
            access=given,
            expires=now + YEAR,
            account=account_id("setup-token", given),
            label="setup-token",
            obtained=now,
            scopes=("user:inference",),
        )

    def _profile(self, token: Token) -> Flow[JSON]:
        reply: WireReply = yield self._get("/api/oauth/profile", token)
        return {} if reply.status == 403 else answer_of(reply, WHAT)

    def _get(self, path: str, token: Token) -> Call:
        """A ``GET`` of something that belongs to the account."""
        headers = {
            "authorization": f"Bearer {token.access}",
            "anthropic-beta": self.options.beta,
            "anthropic-version": "2023-06-01",
        }
        return get_call(f"{self.options.account_base}{path}", headers)

    def refresh(self, token: Token) -> Flow[Token]:
        """Renew the token; Anthropic gives a new refresh token each time."""
        if token.refresh is None:
            raise AccountError("a token of claude setup-token cannot be renewed; make another one and sign in again")
        body: JSON = {
            "grant_type": "refresh_token",
            "refresh_token": token.refresh,
            "client_id": self.options.client_id,
        }
        answer = answer_of((yield post_call(self.options.token_url, json=body)), WHAT)
        return token_of(answer, (yield Now()), token, what=WHAT)

    def revoke(self, token: Token) -> Flow[str]:
        """Anthropic has no address for that; the user can do it."""
        yield from ()
        return "to end the sign-in at Anthropic too, see https://claude.ai/settings"

    def models(self, token: Token) -> Flow[list[OfferedModel]]:
        """The models of the API."""
        body = answer_of((yield self._get("/v1/models?limit=1000", token)), "Anthropic")
        return [
            OfferedModel(id=str(each["id"]), name=str(each.get("display_name") or ""))
            for each in body.get("data") or ()
            if isinstance(each, dict) and each.get("id")
        ]

    def usage(self, token: Token) -> Flow[list[Window]]:
        """The limits of the plan."""
        body = answer_of((yield self._get("/api/oauth/usage", token)), "Anthropic")
        return [
            Window(name=name, used=float(body[key]["utilization"]) / 100, resets=_unix(body[key].get("resets_at")))
            for key, name in _USAGE.items()
            if isinstance(_part(body, key).get("utilization"), (int, float))
        ]

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """The token in the header."""
        if token is None:
            raise AuthError(f"nobody is signed in to {self.provider}. Run: ccr auth login {self.provider}")
        return attrs.evolve(wire, headers={**wire.headers, "authorization": f"Bearer {token.access}"})

    def observe(self, headers: Headers) -> list[Window]:
        """The limits that every answer tells."""
        found = []
        for key, name in _WINDOWS.items():
            used = _number(headers.get(f"{LIMIT}-{key}-utilization"))
            if used is not None:
                found.append(Window(name=name, used=used, resets=_number(headers.get(f"{LIMIT}-{key}-reset"))))
        return found

    def refused(self, reply: WireReply, error: UpstreamError) -> CcrError:
        """A limit of the plan lets the account rest, one of a model family only that model; the words stay."""
        headers = reply.headers
        if reply.status != 429 or "fast mode" in error.message.casefold():
            return error
        rejected = [key for key in _WINDOWS if headers.get(f"{LIMIT}-{key}-status") == "rejected"]
        if not rejected and headers.get(f"{LIMIT}-status") != "rejected":
            return error
        resets = [_number(headers.get(f"{LIMIT}-{key}-reset")) for key in rejected]
        resets.append(_number(headers.get(f"{LIMIT}-reset")) if not rejected else None)
        known = [each for each in resets if each is not None]
        # Not all who wait for a reset come back in the same moment.
        wait = max(known) - time.time() + random.uniform(*JITTER) if known else _number(headers.get("retry-after"))
        return Limited(error.message, wait, model_only=rejected == ["7d_oi"], headers=error.headers)


def _part(body: JSON, name: str) -> JSON:
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _unix(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return None
