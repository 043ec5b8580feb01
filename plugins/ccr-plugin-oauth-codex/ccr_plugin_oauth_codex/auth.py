"""Signing in with a ChatGPT plan, and signing requests to the Codex backend.

Source: the vendor's own open-source client and public clients of the backend, 2026.  Everything that ages is an option.
Refresh tokens can be used once; the core sees to it that nobody uses one twice.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from ccr_core import (
    JSON,
    AccountError,
    Auth,
    AuthError,
    AuthOptions,
    CcrError,
    Flow,
    Headers,
    Limited,
    Now,
    OfferedModel,
    ShowCode,
    Sleep,
    Token,
    UpstreamError,
    Window,
    WireReply,
    WireRequest,
    Wish,
    account_id,
    answer_of,
    browser_login,
    claims_of,
    error_text,
    get_call,
    loads,
    post_call,
    token_of,
    url_with,
)

CLAIM = "https://api.openai.com/auth"
"""The claim that says which workspace a token is for."""

DEVICE_SECONDS = 900.0
OLD_SECONDS = 7 * 24 * 3600.0
"""A token that is older is renewed although it still holds."""

_DAY = 24 * 3600


@attrs.frozen(kw_only=True)
class Options(AuthOptions):
    """``issuer`` is the login service; ``usage_url`` where a plan's limits are asked for."""

    client_id: str = "app_EMoamEEZ73f0CkXaXp7hrann"
    issuer: str = "https://auth.openai.com"
    scopes: str = "openid profile email offline_access"
    redirect_ports: tuple[int, ...] = (1455, 1457)
    originator: str = "ccr"
    user_agent: str | None = None
    client_version: str = "0.150.0"
    usage_url: str = "https://chatgpt.com/backend-api/wham/usage"
    extra_authorize_params: Mapping[str, str] = attrs.field(factory=dict)


class Codex(Auth[Options]):
    """A ChatGPT plan."""

    methods: ClassVar[tuple[str, ...]] = ("browser", "device")

    # Flows.

    def login(self, wish: Wish) -> Flow[Token]:
        """With the browser (authorization code and PKCE), or with a code on another machine."""
        if wish.method == "device":
            code, verifier, redirect_uri = yield from self._by_device()
        else:
            grant = yield from browser_login(
                lambda redirect, challenge, state: self._address(redirect, challenge, state, wish.another),
                path="/auth/callback",
                ports=self.options.redirect_ports,
            )
            code, verifier, redirect_uri = grant.code, grant.verifier, grant.redirect_uri
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self.options.client_id,
            "code_verifier": verifier,
        }
        body = answer_of((yield post_call(f"{self.options.issuer}/oauth/token", form=form)), "OpenAI")
        return _described(token_of(body, (yield Now()), what="OpenAI"), body)

    def refresh(self, token: Token) -> Flow[Token]:
        """Trade the refresh token for a new pair."""
        data = {
            "client_id": self.options.client_id,
            "grant_type": "refresh_token",
            "refresh_token": token.refresh or "",
        }
        body = answer_of((yield post_call(f"{self.options.issuer}/oauth/token", json=data)), "OpenAI")
        return _described(token_of(body, (yield Now()), token, what="OpenAI"), body)

    def fresh(self, token: Token, now: float) -> bool:
        """Until shortly before its end, and not longer than a week."""
        return super().fresh(token, now) and (token.obtained is None or now - token.obtained < OLD_SECONDS)

    def revoke(self, token: Token) -> Flow[str]:
        """End the refresh token."""
        if not token.refresh:
            return ""
        data = {"token": token.refresh, "token_type_hint": "refresh_token", "client_id": self.options.client_id}
        reply = yield post_call(f"{self.options.issuer}/oauth/revoke", json=data)
        if reply.status >= 300:
            raise UpstreamError(f"OpenAI answered with {reply.status}")
        return ""

    def models(self, token: Token) -> Flow[list[OfferedModel]]:
        """What the plan offers to this version of a client, in the vendor's order."""
        url = url_with(f"{self._base()}/models", {"client_version": self.options.client_version})
        body = answer_of((yield get_call(url, self._headers(token))), "the Codex backend")
        listed = [each for each in body.get("models") or () if isinstance(each, dict) and each.get("slug")]
        plan = token.data.get("plan")
        found = []
        for each in sorted(listed, key=lambda each: each.get("priority") or 0):
            plans = each.get("available_in_plans")
            if each.get("visibility", "list") != "list" or (plan and plans and plan not in plans):
                continue
            efforts = each.get("supported_reasoning_levels") or ()
            found.append(
                OfferedModel(
                    id=str(each["slug"]),
                    name=str(each.get("display_name") or ""),
                    levels=tuple(str(level["effort"]) for level in efforts if isinstance(level, dict)),
                    context=each.get("context_window"),
                    note=str(each.get("description") or "")[:80],
                )
            )
        return found

    def usage(self, token: Token) -> Flow[list[Window]]:
        """The plan's windows."""
        body = answer_of((yield get_call(self.options.usage_url, self._headers(token))), "the Codex backend")
        limits = body.get("rate_limit") or body.get("rate_limits") or {}
        found = []
        for place in ("primary", "secondary"):
            each = limits.get(f"{place}_window") or limits.get(place)
            if isinstance(each, dict) and isinstance(each.get("used_percent"), (int, float)):
                minutes = each.get("window_minutes") or (each.get("limit_window_seconds") or 0) / 60
                found.append(_window(each["used_percent"], minutes, each.get("reset_at"), place))
        return found

    def _address(self, redirect_uri: str, challenge: str, state: str, another: bool) -> str:
        options = self.options
        params = {
            "response_type": "code",
            "client_id": options.client_id,
            "redirect_uri": redirect_uri,
            "scope": options.scopes,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "state": state,
            "originator": options.originator,
            **({"prompt": "login"} if another else {}),
            **options.extra_authorize_params,
        }
        return url_with(f"{options.issuer}/oauth/authorize", params)

    def _by_device(self) -> Flow[tuple[str, str, str]]:
        """The vendor's own grant for devices: code, verifier (which the vendor makes), redirect URI."""
        base = f"{self.options.issuer}/api/accounts/deviceauth"
        reply: WireReply = yield post_call(f"{base}/usercode", json={"client_id": self.options.client_id})
        if reply.status == 404:
            raise AuthError("signing in with a code is not switched on for this workspace; use --method browser")
        first = answer_of(reply, "OpenAI")
        code = str(first.get("user_code") or first.get("usercode") or "")
        try:
            interval = float(first.get("interval") or 5)
        except ValueError:
            interval = 5.0
        yield ShowCode(f"{self.options.issuer}/codex/device", code, DEVICE_SECONDS)
        end = (yield Now()) + DEVICE_SECONDS
        while (yield Now()) < end:
            yield Sleep(interval + 1)
            try:
                wanted = {"device_auth_id": str(first["device_auth_id"]), "user_code": code}
                reply = yield post_call(f"{base}/token", json=wanted)
                if reply.status in (403, 404):
                    continue
                body = answer_of(reply, "OpenAI")
            except UpstreamError:
                continue
            redirect_uri = f"{self.options.issuer}/deviceauth/callback"
            return str(body["authorization_code"]), str(body["code_verifier"]), redirect_uri
        raise AuthError("the code has expired; sign in again")

    # Requests.

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        """Sign it for the account's workspace."""
        if token is None:
            raise AuthError("nobody is signed in to codex. Run: ccr auth login codex")
        return attrs.evolve(wire, headers={**wire.headers, "accept": "text/event-stream", **self._headers(token)})

    def observe(self, headers: Headers) -> Sequence[Window]:
        """The two windows of a plan, from ``x-codex-primary-…`` and ``x-codex-secondary-…``."""
        found = []
        for place in ("primary", "secondary"):
            start = f"x-codex-{place}-"
            try:
                used = float(headers[f"{start}used-percent"])
                minutes = float(headers.get(f"{start}window-minutes") or 0)
                resets = float(headers.get(f"{start}reset-at") or 0)
            except (KeyError, ValueError):
                continue
            found.append(_window(used, minutes, resets, place))
        return found

    def amend(self, wire: WireRequest, reply: WireReply) -> WireRequest | None:
        """Without thoughts that this account cannot read; with instructions of our own where none are refused."""
        if reply.status != 400 or wire.body is None:
            return None
        if b"invalid_encrypted_content" in reply.body:
            items = wire.body.get("input") or []
            kept = [item for item in items if not (isinstance(item, dict) and item.get("type") == "reasoning")]
            return attrs.evolve(wire, body={**wire.body, "input": kept}) if len(kept) < len(items) else None
        if b"nstructions are not valid" in reply.body:
            return attrs.evolve(wire, body={**wire.body, "instructions": "Follow the developer's instructions."})
        return None

    def refused(self, reply: WireReply, error: UpstreamError) -> CcrError:
        """Tell a plan that is used up, a model that is busy, and a page of the gatekeeper apart."""
        if reply.status in (403, 503) and "html" in reply.headers.get("content-type", ""):
            return UpstreamError("the gatekeeper of chatgpt.com (Cloudflare) refused the request; try again", 502)
        try:
            body = loads(reply.body)
        except ValueError:
            body = None
        found = body.get("error") if isinstance(body, dict) else None
        inner: JSON = found if isinstance(found, dict) else {}
        kind = inner.get("type") or inner.get("code")
        words = str(inner.get("message") or error_text(reply))
        if kind == "usage_limit_reached":
            seconds = _until(inner)
            at = (
                ""
                if seconds is None
                else time.strftime("; until %Y-%m-%d %H:%M", time.localtime(time.time() + seconds))
            )
            return Limited(f"the ChatGPT plan is used up: {words}{at}", seconds)
        if kind == "usage_not_included":
            return AccountError(f"this ChatGPT plan does not include Codex: {words}", "disabled")
        if "at capacity" in words:
            return UpstreamError(words, 529)
        return error

    def _headers(self, token: Token) -> dict[str, str]:
        options = self.options
        system = f"{platform.system()} {platform.release()}; {platform.machine()}"
        headers = {
            "authorization": f"Bearer {token.access}",
            "originator": options.originator,
            "user-agent": options.user_agent or f"{options.originator}/{options.client_version} ({system})",
        }
        account = token.data.get("account_id")
        if account:
            headers["chatgpt-account-id"] = str(account)
        if token.data.get("fedramp"):
            headers["x-openai-fedramp"] = "true"
        return headers

    def _base(self) -> str:
        return (self.options.api_base or "https://chatgpt.com/backend-api/codex").rstrip("/")


def _described(token: Token, body: JSON) -> Token:
    """``token`` with what it says of its owner."""
    identity = claims_of(body.get("id_token"))
    access = claims_of(token.access)
    account = _workspace(identity) or _workspace(access) or token.data.get("account_id")
    said = identity.get(CLAIM) or access.get(CLAIM) or {}
    email = identity.get("email")
    plan = said.get("chatgpt_plan_type") or token.data.get("plan")
    data = {**token.data}
    given = {
        "account_id": account,
        "plan": plan,
        "user_id": said.get("chatgpt_user_id"),
        "fedramp": said.get("chatgpt_account_is_fedramp"),
    }
    data |= {name: value for name, value in given.items() if value}
    label = token.label
    if email:
        label = f"{email} ({plan})" if plan else str(email)
    id = token.account or account_id(str(account or ""), str(email or identity.get("sub") or ""))
    return attrs.evolve(token, account=id, label=label, data=data)


def _workspace(claims: JSON) -> str | None:
    said = claims.get(CLAIM)
    inner: JSON = said if isinstance(said, dict) else {}
    organizations = claims.get("organizations") or inner.get("organizations") or [{}]
    first = organizations[0] if isinstance(organizations, list) and isinstance(organizations[0], dict) else {}
    found = claims.get("chatgpt_account_id") or inner.get("chatgpt_account_id") or first.get("id")
    return str(found) if found else None


def _until(error: JSON) -> float | None:
    """Seconds until a plan can be used again."""
    at, seconds = error.get("resets_at"), error.get("resets_in_seconds")
    if isinstance(at, (int, float)) and at > 0:
        return max(1.0, at - time.time())
    return float(seconds) if isinstance(seconds, (int, float)) else None


def _window(percent: float, minutes: float, resets: Any, place: str) -> Window:
    hours = minutes / 60
    name = place if not minutes else f"{hours / 24:g} d" if minutes * 60 >= _DAY else f"{hours:g} h"
    share = min(1.0, max(0.0, percent / 100))
    return Window(name=name, used=share, resets=float(resets) if isinstance(resets, (int, float)) and resets else None)
