"""What most logins have in common, for the flows of plugins: PKCE, device codes, token answers, pasted addresses.

Like all flow code this opens no connection and reads no clock: the functions that are generators are meant for ``yield
from``.  Sources: RFC 6749 (OAuth 2.0), RFC 7636 (PKCE), RFC 8252 (native apps), RFC 8628 (device grant).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import attrs
import orjson

from ccr_core.auth import AccountError, AwaitCallback, Call, Flow, Listen, Now, OpenUrl, ShowCode, Sleep, Token
from ccr_core.dialect import WireReply, WireRequest, error_text
from ccr_core.errors import AuthError, RequestError, UpstreamError
from ccr_core.messages import JSON

FINAL = frozenset(
    {
        "invalid_grant",
        "refresh_token_expired",
        "refresh_token_invalidated",
        "refresh_token_reused",
        "unauthorized_client",
    }
)
"""Error codes of token endpoints after which the same refresh token will never work again."""

ASSUMED_SECONDS = 3600.0
"""How long a token is taken to hold if nothing says so."""


@attrs.frozen
class Pkce:
    """The pair of RFC 7636, method S256."""

    verifier: str = attrs.field(repr=False)

    @property
    def challenge(self) -> str:
        """What the authorization request shows."""
        return _base64(hashlib.sha256(self.verifier.encode("ascii")).digest())


def pkce() -> Pkce:
    """A fresh pair."""
    return Pkce(_base64(secrets.token_bytes(32)))


def new_state() -> str:
    """A fresh ``state``: 32 random bytes."""
    return _base64(secrets.token_bytes(32))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def account_id(*subject: str) -> str:
    """The id of an account, from what the vendor calls its owner: the same subject always has the same id."""
    return hashlib.sha256("|".join(subject).encode()).hexdigest()[:8]


def url_with(url: str, params: Mapping[str, str]) -> str:
    """``url`` with ``params`` added to its query."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"


def claims_of(jwt: str | None) -> JSON:
    """The payload of a JSON web token, or nothing.

    No signature is checked: it came straight from the vendor, and is only read for what it says of the account.
    """
    parts = (jwt or "").split(".")
    if len(parts) != 3:
        return {}
    try:
        payload = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def answer_of(reply: WireReply, what: str = "the login service") -> JSON:
    """The JSON object of a good answer.  An ``error`` inside a 200 is a refusal too.

    Raises ``AccountError`` for a refresh token that is dead, ``UpstreamError`` for what may pass (408, 429, 5xx), and
    ``AuthError`` for all else.
    """
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        body = None
    code = error_code_of(body)
    if 200 <= reply.status < 300 and isinstance(body, dict) and not code:
        return body
    words = error_text(reply)[:300]
    if isinstance(body, dict) and isinstance(body.get("error_description"), str):
        words = f"{code}: {body['error_description'][:300]}"
    if code in FINAL:
        raise AccountError(f"{what} does not accept this sign-in any more ({words})")
    if reply.status in (408, 429) or reply.status >= 500:
        raise UpstreamError(f"{what} answered with {reply.status}: {words}", reply.status, headers=reply.headers)
    if 200 <= reply.status < 300 and not code:
        raise AuthError(f"{what} answered with something that is no JSON object: {words[:100]!r}")
    raise AuthError(f"{what} refused: {words} (status {reply.status})")


def error_code_of(body: Any) -> str:
    """The error code in an answer: ``{"error": "x"}``, ``{"error": {"code": "x"}}`` or ``{"code": "x"}``."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    if isinstance(error, dict):
        error = error.get("code") or error.get("type") or error.get("message")
    return str(error or ("error" not in body and body.get("code")) or "")


def token_of(body: JSON, now: float, old: Token | None = None, *, what: str = "the login service") -> Token:
    """The token in the answer of a token endpoint; what it does not repeat is kept from ``old``."""
    access = body.get("access_token") or (old.access if old else None)
    if not isinstance(access, str) or not access:
        raise AuthError(f"{what} answered without an access token")
    seconds, said = body.get("expires_in"), claims_of(access).get("exp")
    if isinstance(seconds, (int, float, str)) and str(seconds).replace(".", "", 1).isdigit():
        expires = now + float(seconds)
    else:
        expires = float(said) if isinstance(said, (int, float)) else now + ASSUMED_SECONDS
    scope = body.get("scope")
    return Token(
        access=access,
        refresh=body.get("refresh_token") or (old.refresh if old else None),
        expires=expires,
        account=old.account if old else None,
        label=old.label if old else "",
        scopes=tuple(scope.split()) if isinstance(scope, str) else (old.scopes if old else ()),
        obtained=now,
        data=old.data if old else {},
    )


def get_call(url: str, headers: Mapping[str, str] | None = None) -> Call:
    """A ``GET`` that wants JSON."""
    return Call(WireRequest(method="GET", url=url, headers={"accept": "application/json", **(headers or {})}))


def post_call(
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    json: JSON | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call:
    """A ``POST`` of a form or of JSON that wants JSON."""
    return Call(
        WireRequest(method="POST", url=url, headers={"accept": "application/json", **(headers or {})}, body=json), form
    )


@attrs.frozen
class BrowserGrant:
    """What a browser login gives: the ``code`` to exchange, and what the exchange must repeat."""

    code: str = attrs.field(repr=False)
    redirect_uri: str
    verifier: str = attrs.field(repr=False)
    state: str = attrs.field(repr=False)


def browser_login(
    authorize: Callable[[str, str, str], str],
    *,
    path: str = "/callback",
    ports: tuple[int, ...] = (0,),
    host: str = "localhost",
    paste: str | None = None,
) -> Flow[BrowserGrant]:
    """Send the user to the vendor and wait for the code.

    ``authorize(redirect_uri, challenge, state)`` gives the address to open; see :class:`ccr_core.Listen` for the rest.
    """
    pair, state = pkce(), new_state()
    redirect_uri: str = yield Listen(state=state, path=path, ports=ports, host=host, paste=paste)
    yield OpenUrl(authorize(redirect_uri, pair.challenge, state))
    code: str = yield AwaitCallback()
    return BrowserGrant(code, redirect_uri, pair.verifier, state)


def device_login(
    device_url: str,
    token_url: str,
    params: Mapping[str, str],
    *,
    headers: Mapping[str, str] | None = None,
    what: str = "the login service",
) -> Flow[JSON]:
    """The device grant of RFC 8628; returns the answer that holds the token.

    ``params`` are those of the first request; ``client_id`` is repeated.  A vendor that answers refusals with status
    200 is understood.
    """
    first = answer_of((yield post_call(device_url, form=params, headers=headers)), what)
    url = str(first.get("verification_uri") or first.get("verification_url") or "")
    seconds = _number(first.get("expires_in"), 900.0)
    interval = _number(first.get("interval"), 5.0)
    yield ShowCode(url, str(first["user_code"]), seconds)
    grant = {
        "client_id": params["client_id"],
        "device_code": str(first["device_code"]),
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    }
    end = (yield Now()) + seconds
    while True:
        # A second more than asked for: the vendor measures too, and being early makes the wait longer.
        yield Sleep(interval + 1)
        try:
            reply: WireReply = yield post_call(token_url, form=grant, headers=headers)
            body = _json(reply)
            code = error_code_of(body)
            if code == "authorization_pending":
                pass
            elif code == "slow_down":
                interval = _number(body.get("interval"), interval + 5)
            elif code == "expired_token":
                raise AuthError("the code has expired; sign in again")
            elif code == "access_denied":
                raise AuthError("the sign-in was refused by the user")
            else:
                return answer_of(reply, what)
        except UpstreamError:
            pass  # the network, or the vendor for a moment
        if (yield Now()) >= end:
            raise AuthError("the code has expired; sign in again")


def _json(reply: WireReply) -> JSON:
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _number(value: Any, default: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


def read_pasted(text: str, state: str) -> str:
    """The code in what a user pasted: an address, its query, ``CODE#STATE`` or the bare code.

    A ``state`` that was pasted must be ours; without one the user's own hands are the proof.  Raises ``RequestError``
    for what cannot be used, and ``AuthError`` if the vendor has refused.
    """
    text = text.strip()
    fields: dict[str, str] = {}
    if "=" in text:
        parts = urlsplit(text if "?" in text or "#" in text else f"?{text}")
        for part in (parts.fragment, parts.query):
            fields |= {name: values[0] for name, values in parse_qs(part).items()}
    if fields.get("error"):
        raise AuthError(f"the vendor refused: {fields.get('error_description') or fields['error']}"[:400])
    code, given = fields.get("code", ""), fields.get("state")
    if not fields:
        code = unquote(text) if "%" in text else text
    if given is None and "#" in code:
        code, _, given = code.partition("#")
    if not code or any(char.isspace() for char in code):
        raise RequestError("there is no code in what was pasted; paste the whole address of the page")
    if given is not None and not hmac.compare_digest(given.encode(), state.encode()):
        raise RequestError("what was pasted belongs to another sign-in; use the address of this one")
    return code
