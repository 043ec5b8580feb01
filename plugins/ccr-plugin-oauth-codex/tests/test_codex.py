"""The parts of the Codex sign-in, without a network."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ccr_plugin_oauth_codex
import pytest
from ccr_plugin_oauth_codex import Codex, Options, Step

from ccr_core import (
    AccountError,
    AuthError,
    AwaitCallback,
    Call,
    Limited,
    Listen,
    OpenUrl,
    ShowCode,
    Sleep,
    Token,
    UpstreamError,
    WireReply,
    WireRequest,
    Wish,
)
from ccr_core.testing import check_plugin, context, replay

NOW = 1_700_000_000.0
CLAIM = "https://api.openai.com/auth"


def jwt(payload: Any) -> str:
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return f"h.{part}.s"


def tokens(identity: Any = None, **more: Any) -> Any:
    identity = identity or {"email": "me@example.com", CLAIM: {"chatgpt_account_id": "acc", "chatgpt_plan_type": "pro"}}
    return {"access_token": jwt({"exp": NOW + 864000}), "refresh_token": "r-1", "id_token": jwt(identity), **more}


def scheme(**options: Any) -> Codex:
    return Codex(Options(**options), "codex")


OLD = Token(
    access="a", refresh="r-0", account="id", label="me (pro)", obtained=NOW, data={"account_id": "acc", "plan": "pro"}
)


def test_the_package() -> None:
    """It is as plugins must be."""
    check_plugin(ccr_plugin_oauth_codex, Path(__file__).parents[1])


def test_browser() -> None:
    """The registered ports and path; the code is exchanged as a form with what it was asked with."""
    made, asked = replay(scheme().login(Wish()), ["code-1", tokens()])
    listen, opened, _, call = asked

    assert [Listen, OpenUrl, AwaitCallback, Call] == [type(each) for each in asked]
    assert ((1455, 1457), "/auth/callback", "localhost") == (listen.ports, listen.path, listen.host)  # type: ignore[union-attr]
    query = parse_qs(urlsplit(opened.url).query)  # type: ignore[union-attr]
    assert ["http://localhost:1455/auth/callback"] == query["redirect_uri"]
    assert "prompt" not in query
    form = call.form  # type: ignore[union-attr]
    assert ("code-1", "http://localhost:1455/auth/callback") == (form["code"], form["redirect_uri"])
    assert (NOW + 864000, "me@example.com (pro)", "acc") == (made.expires, made.label, made.data["account_id"])


def test_another_account() -> None:
    """For a second account the vendor asks who it is."""
    _, asked = replay(scheme().login(Wish(another=True)), ["code-1", tokens()])

    assert "prompt=login" in asked[1].url  # type: ignore[union-attr]


def test_device() -> None:
    """The vendor's own grant: 403 and 404 mean later, and the verifier is the vendor's."""
    first = {"device_auth_id": "d", "usercode": "AB", "interval": "5"}
    granted = {"authorization_code": "c", "code_challenge": "x", "code_verifier": "v"}

    made, asked = replay(scheme().login(Wish(method="device")), [first, (403, {}), (404, {}), granted, tokens()])

    assert [Call, ShowCode, Sleep, Call, Sleep, Call, Sleep, Call, Call] == [type(each) for each in asked]
    form = asked[-1].form  # type: ignore[union-attr]
    assert ("v", "https://auth.openai.com/deviceauth/callback") == (form["code_verifier"], form["redirect_uri"])
    assert made.account


def test_device_is_off() -> None:
    """A workspace without it says so, and how else to sign in."""
    with pytest.raises(AuthError, match="--method browser"):
        replay(scheme().login(Wish(method="device")), [(404, {})])


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"chatgpt_account_id": "top", CLAIM: {"chatgpt_account_id": "inner"}}, "top"),
        ({CLAIM: {"chatgpt_account_id": "inner"}}, "inner"),
        ({"organizations": [{"id": "org"}]}, "org"),
        ({"email": "x"}, None),
    ],
)
def test_workspaces(identity: Any, expected: str | None) -> None:
    """The workspace is looked for in each of its places."""
    made, _ = replay(scheme().login(Wish()), ["c", tokens(identity)])

    assert expected == made.data.get("account_id")


def test_two_workspaces_are_two_accounts() -> None:
    """One mail address may own several."""
    ids = set()
    for name in ("one", "two"):
        made, _ = replay(scheme().login(Wish()), ["c", tokens({"email": "x", CLAIM: {"chatgpt_account_id": name}})])
        ids.add(made.account)

    assert 2 == len(ids)


def test_refresh() -> None:
    """JSON; what is not repeated is kept, also who it is."""
    made, asked = replay(scheme().refresh(OLD), [{"access_token": jwt({"exp": NOW + 10})}])

    assert {"grant_type", "client_id", "refresh_token"} == set(asked[0].wire.body)  # type: ignore[union-attr]
    assert ("r-0", "id", "me (pro)", NOW + 10) == (made.refresh, made.account, made.label, made.expires)
    assert OLD.data == made.data


@pytest.mark.parametrize("code", ["refresh_token_reused", "refresh_token_expired", "refresh_token_invalidated"])
@pytest.mark.parametrize(
    "shape", [lambda code: {"error": {"code": code}}, lambda code: {"error": code}, lambda code: {"code": code}]
)
def test_dead(code: str, shape: Any) -> None:
    """Each way to say that it is over."""
    with pytest.raises(AccountError):
        replay(scheme().refresh(OLD), [(401, shape(code))])


def test_fresh() -> None:
    """A token that is a week old is renewed although it holds."""
    week = 7 * 24 * 3600

    assert scheme().fresh(OLD, NOW + week - 1)
    assert not scheme().fresh(OLD, NOW + week + 1)


def refused(status: int, body: Any, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return scheme().refused(WireReply(status=status, headers=headers, body=data), UpstreamError("words", status))


def test_refusals() -> None:
    """What a refusal means for the account and for the client."""
    at = time.time() + 500
    used = refused(429, {"error": {"type": "usage_limit_reached", "message": "limit", "resets_at": at}})
    assert isinstance(used, Limited)
    assert 490 < int(used.headers["retry-after"]) <= 500
    used = refused(429, {"error": {"type": "usage_limit_reached", "resets_in_seconds": 60}})
    assert "60" == used.headers["retry-after"]
    outside = refused(429, {"error": {"type": "usage_not_included", "message": "free"}})
    assert (AccountError, "disabled") == (type(outside), outside.state)
    assert 529 == refused(400, {"error": {"message": "Selected model is at capacity."}}).status
    page = refused(403, b"<html>Just a moment</html>", **{"content-type": "text/html; charset=UTF-8"})
    assert (502, True) == (page.status, "Cloudflare" in page.message)
    assert "words" == refused(400, {"detail": "Unsupported parameter: x"}).message


def test_windows() -> None:
    """Both windows, named by their length; a broken header is no window."""
    windows = scheme().observe(
        {
            "x-codex-primary-used-percent": "12.5",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": "1700000000",
            "x-codex-secondary-used-percent": "130",
            "x-codex-secondary-window-minutes": "10080",
        }
    )

    assert [("5 h", 0.125, NOW), ("7 d", 1.0, None)] == [(each.name, each.used, each.resets) for each in windows]
    assert [] == list(scheme().observe({"x-codex-primary-used-percent": "?"}))


def test_amending() -> None:
    """Thoughts that cannot be read go, once; nothing else changes."""
    thought, said = {"type": "reasoning", "encrypted_content": "x"}, {"type": "message", "role": "user"}
    wire = WireRequest(url="u", body={"model": "m", "input": [said, thought, said]})
    reply = WireReply(status=400, body=b'{"error":{"code":"invalid_encrypted_content"}}')

    again = scheme().amend(wire, reply)

    assert again is not None
    assert {"model": "m", "input": [said, said]} == again.body
    assert scheme().amend(again, reply) is None
    assert scheme().amend(wire, WireReply(status=500, body=reply.body)) is None


def test_the_step() -> None:
    """Only what the backend takes goes out, and what is left out is noted."""
    notes: list[Any] = []
    ctx = context(notes=notes)
    body = {
        "model": "m",
        "input": [],
        "max_output_tokens": 5,
        "parallel_tool_calls": True,
        "stream": False,
        "stop": ["x"],
    }

    sent = Step(None, ctx).on_wire_request(WireRequest(url="u", body=body)).body

    assert {"model": "m", "input": [], "instructions": "", "stream": True, "store": False} == sent
    assert [("codex.fields", "left out max_output_tokens, stop: the backend refuses them")] == notes


def test_nobody() -> None:
    """Without an account there is no request."""
    with pytest.raises(AuthError, match="ccr auth login codex"):
        scheme().apply(WireRequest(url="u"), None)
