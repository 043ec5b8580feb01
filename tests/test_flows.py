"""The building blocks of logins, replayed."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from ccr_core import (
    AccountError,
    AuthError,
    AwaitCallback,
    Call,
    Flow,
    Listen,
    OpenUrl,
    RequestError,
    ShowCode,
    Sleep,
    Token,
    UpstreamError,
    WireReply,
    account_id,
    answer_of,
    browser_login,
    claims_of,
    device_login,
    pkce,
    token_of,
    url_with,
)
from ccr_core.flows import read_pasted
from ccr_core.testing import replay

DEVICE = {"device_code": "d-1", "user_code": "AB-12", "verification_uri": "https://v.example/device", "interval": 5}
PENDING = {"error": "authorization_pending"}
GRANTED = {"access_token": "t-1", "expires_in": 60}


def device() -> Flow[Any]:
    return device_login("https://v.example/code", "https://v.example/token", {"client_id": "c", "scope": "s"})


def reply(body: Any, status: int = 200) -> WireReply:
    return WireReply(status=status, body=json.dumps(body).encode())


def jwt(payload: Any) -> str:
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return f"h.{part}.s"


def test_the_user_takes_a_while() -> None:
    """The code is shown, and asked for until the user has typed it."""
    body, asked = replay(device(), [DEVICE, PENDING, GRANTED])

    assert GRANTED == body
    assert [Call, ShowCode, Sleep, Call, Sleep, Call] == [type(each) for each in asked]
    assert ShowCode("https://v.example/device", "AB-12") == asked[1]
    assert {
        "client_id": "c",
        "device_code": "d-1",
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
    } == asked[3].form  # type: ignore[union-attr]


@pytest.mark.parametrize(("said", "next_wait"), [({"interval": 20}, 21), ({}, 11)])
def test_slow_down(said: Any, next_wait: float) -> None:
    """After ``slow_down`` every wait is longer, as the vendor says or by five seconds."""
    _, asked = replay(device(), [DEVICE, {"error": "slow_down", **said}, PENDING, GRANTED])

    assert [6, next_wait, next_wait] == [each.seconds for each in asked if isinstance(each, Sleep)]


@pytest.mark.parametrize("trouble", [UpstreamError("no network"), (503, {"message": "later"})])
def test_trouble_on_the_way(trouble: Any) -> None:
    """A network that fails for a moment does not end the login."""
    body, _ = replay(device(), [DEVICE, trouble, GRANTED])

    assert GRANTED == body


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"error": "expired_token"}, "expired"),
        ({"error": "access_denied"}, "refused by the user"),
        ({"error": "device_flow_disabled"}, "device_flow_disabled"),
        ({"error": "incorrect_client_credentials"}, "incorrect_client_credentials"),
    ],
)
def test_device_refusals(said: Any, words: str) -> None:
    """A refusal ends the login with its reason."""
    with pytest.raises(AuthError, match=words):
        replay(device(), [DEVICE, said])


def test_a_code_that_nobody_types() -> None:
    """The login ends with the code."""
    with pytest.raises(AuthError, match="expired"):
        replay(device(), [{**DEVICE, "expires_in": 10}, PENDING, PENDING])


def test_browser_login() -> None:
    """The address to open has what the vendor must repeat; the code comes back with what the exchange needs."""

    def authorize(redirect_uri: str, challenge: str, state: str) -> str:
        return url_with("https://v.example/go", {"r": redirect_uri, "c": challenge, "s": state})

    grant, asked = replay(browser_login(authorize, path="/cb", ports=(1455, 1457)), ["code-1"])

    assert [Listen, OpenUrl, AwaitCallback] == [type(each) for each in asked]
    assert ("code-1", "http://localhost:1455/cb") == (grant.code, grant.redirect_uri)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(grant.verifier.encode()).digest()).rstrip(b"=").decode()
    assert f"c={challenge}&s={grant.state}" in asked[1].url  # type: ignore[union-attr]


def test_pairs_differ() -> None:
    """Each login has its own pair, and shows it to nobody."""
    one, two = pkce(), pkce()

    assert one.verifier != two.verifier
    assert 43 == len(one.verifier)
    assert one.verifier not in repr(one)


OURS = "state-1"


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:1455/auth/callback?code=c-1&state=state-1",
        "localhost:1455/auth/callback?state=state-1&code=c-1",
        "?code=c-1&state=state-1",
        "code=c-1&state=state-1",
        "http://localhost/cb#code=c-1&state=state-1",
        "c-1#state-1",
        "  c-1\n",
    ],
)
def test_pasted(text: str) -> None:
    """Whatever part of the address is pasted, the code is found."""
    assert "c-1" == read_pasted(text, OURS)


def test_pasted_and_escaped() -> None:
    """A code that is escaped as in an address is unescaped, once."""
    assert "4/0A-x" == read_pasted("4%2F0A-x", OURS)


@pytest.mark.parametrize(
    "text", ["http://localhost/cb?code=c&state=other", "c-1#other", "", "two words", "state=state-1"]
)
def test_pasted_wrongly(text: str) -> None:
    """Another login's answer, or no code at all, is told and can be tried again."""
    with pytest.raises(RequestError):
        read_pasted(text, OURS)


def test_pasted_refusal() -> None:
    """The vendor's refusal ends the login with its words."""
    with pytest.raises(AuthError, match="not today"):
        read_pasted("http://localhost/cb?error=access_denied&error_description=not+today&state=state-1", OURS)


@pytest.mark.parametrize(
    "body",
    [
        {"error": "invalid_grant", "error_description": "expired or revoked"},
        {"error": {"code": "refresh_token_reused"}},
        {"code": "refresh_token_expired"},
    ],
)
def test_dead_tokens(body: Any) -> None:
    """What will never work again is told apart, in each of the shapes in use."""
    with pytest.raises(AccountError) as caught:
        answer_of(reply(body, 400))

    assert ("needs_login", 401) == (caught.value.state, caught.value.status)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass(status: int) -> None:
    """A service in trouble says nothing about the token; its waiting time is kept."""
    with pytest.raises(UpstreamError) as caught:
        answer_of(WireReply(status=status, headers={"retry-after": "7"}, body=b"{}"))

    assert (status, "7") == (caught.value.status, caught.value.headers["retry-after"])


def test_an_error_in_a_good_answer() -> None:
    """Status 200 with an error is a refusal."""
    with pytest.raises(AuthError, match="bad_verification_code: it is old"):
        answer_of(reply({"error": "bad_verification_code", "error_description": "it is old"}))


def test_expiry() -> None:
    """The end of a token is what the answer says, else what the token says, else an hour."""
    assert 160 == token_of({"access_token": "a", "expires_in": 60}, 100).expires
    assert 160 == token_of({"access_token": "a", "expires_in": "60"}, 100).expires
    assert 555 == token_of({"access_token": jwt({"exp": 555})}, 100).expires
    assert 3700 == token_of({"access_token": "a"}, 100).expires


def test_what_is_not_repeated_is_kept() -> None:
    """A vendor that gives no new refresh token means the old one; an empty one too."""
    old = Token(access="a", refresh="r", account="id", label="me", scopes=("s",), data={"x": 1})

    new = token_of({"access_token": "b", "refresh_token": "", "expires_in": 60}, 100, old)

    assert ("b", "r", "id", "me", ("s",), {"x": 1}) == (
        new.access,
        new.refresh,
        new.account,
        new.label,
        new.scopes,
        new.data,
    )
    assert "r2" == token_of({"access_token": "b", "refresh_token": "r2"}, 100, old).refresh


@pytest.mark.parametrize("text", [None, "", "a.b", "a.!.c", jwt([1])])
def test_claims_of_no_token(text: str | None) -> None:
    """What is no JSON web token claims nothing."""
    assert {} == claims_of(text)


def test_account_ids() -> None:
    """The same owner has the same id, which can be part of a file's name."""
    assert account_id("me", "host") == account_id("me", "host")
    assert account_id("me", "host") != account_id("me", "other")
    assert account_id("me").isalnum()


def test_replay_insists() -> None:
    """A reply too many, or too few, fails the test."""
    with pytest.raises(AssertionError, match="nobody asked for 1"):
        replay(device(), [DEVICE, GRANTED, GRANTED])
    with pytest.raises(AssertionError, match="there is no reply"):
        replay(device(), [DEVICE])
