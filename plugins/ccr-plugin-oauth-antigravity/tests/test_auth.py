"""The sign-in, replayed: the project of an account, its models and limits, and what is sent again."""

from __future__ import annotations

import time
from typing import Any

import attrs
import pytest
from ccr_plugin_oauth_antigravity.auth import AntigravityAuth, AntigravityOptions

from ccr_core import AuthError, Call, Listen, OpenUrl, Sleep, Token, WireReply, WireRequest, Wish
from ccr_core.testing import replay

NOW = 1_700_000_000.0
SCOPES = " ".join(AntigravityOptions().scopes)
GRANTED = {"access_token": "ya29.one", "expires_in": 3599, "refresh_token": "1//r", "scope": SCOPES}
ME = {"email": "me@example.com"}
TOKEN = Token(access="ya29.one", refresh="1//r", account="a", data={"project_id": "p"})


def auth(**options: Any) -> AntigravityAuth:
    return AntigravityAuth(AntigravityOptions(**{"client_secret": "s-1", **options}), "antigravity")


def calls(asked: list[Any]) -> list[Call]:
    return [each for each in asked if isinstance(each, Call)]


@pytest.mark.parametrize(
    "load",
    [
        {"cloudaicompanionProject": "mine", "currentTier": {"id": "free-tier"}},
        {"cloudaicompanionProject": {"id": "mine"}, "paidTier": {"id": "free-tier"}},
        {"projectId": "mine", "currentTier": {"id": "free-tier"}},
    ],
)
def test_login(load: Any) -> None:
    """The page is asked for two more permissions, at the usual port; the project is what the service says."""
    token, asked = replay(auth().login(Wish()), ["c-1", GRANTED, ME, load], now=NOW)
    listen, page = asked[0], asked[1]
    assert isinstance(listen, Listen)
    assert isinstance(page, OpenUrl)
    setup = calls(asked)[-1].wire

    assert ("localhost", "/oauth-callback", (51121, 0), None) == (
        listen.host,
        listen.path,
        listen.ports,
        listen.paste,
    )
    assert "auth%2Fcclog" in page.url
    assert {"project_id": "mine", "project_checked_at": NOW, "tier": "free-tier"} == token.data
    assert (
        "https://cloudcode-pa.googleapis.com/v1internal:loadCodeAssist",
        {"metadata": {"ideType": "ANTIGRAVITY"}},
    ) == (
        setup.url,
        setup.body,
    )


def test_numbers_for_names() -> None:
    """A service that does not know the name is told the number."""
    _, asked = replay(auth().login(Wish()), ["c-1", GRANTED, ME, (400, {}), {"projectId": "mine"}])

    assert {"metadata": {"ideType": 9, "platform": 2, "pluginType": 2}} == calls(asked)[-1].wire.body


def test_a_new_account() -> None:
    """An account without a project is set up, with patience."""
    load = {"allowedTiers": [{"id": "x"}, {"id": "free-tier", "isDefault": True}]}
    done = {"done": True, "response": {"cloudaicompanionProject": {"id": "made"}}}
    token, asked = replay(auth().login(Wish()), ["c-1", GRANTED, ME, load, {"done": False}, done])

    assert "made" == token.data["project_id"]
    assert [2] == [each.seconds for each in asked if isinstance(each, Sleep)]
    assert {
        "tier_id": "free-tier",
        "metadata": {"ide_type": "ANTIGRAVITY", "ide_version": "2.9.0", "ide_name": "antigravity"},
    } == calls(asked)[-1].wire.body


def test_no_project() -> None:
    """An account that gets no project is not eligible; none is made up."""
    with pytest.raises(AuthError, match="not eligible"):
        replay(auth().login(Wish()), ["c-1", GRANTED, ME, {}, *[{"done": False}] * 5])


def test_no_secret() -> None:
    """Without a secret nothing is sent, and the message says how to set it."""
    with pytest.raises(AuthError, match="CCR_ANTIGRAVITY_CLIENT_ID and CCR_ANTIGRAVITY_CLIENT_SECRET"):
        replay(auth(client_secret=None).login(Wish()))


def test_an_account_of_the_older_tool() -> None:
    """An imported account keeps its project until it is asked for again."""
    token, _ = replay(auth().refresh(TOKEN), [{"access_token": "ya29.two"}, {"projectId": "now"}], now=NOW)

    assert ("ya29.two", "now") == (token.access, token.data["project_id"])


def test_models() -> None:
    """Models that are not for conversations are left out."""
    found = {
        "models": {
            "claude-sonnet-4-6": {"displayName": "Sonnet", "maxTokens": 200000, "maxOutputTokens": 64000},
            "chat_1": {},
            "tab_flash": {},
        }
    }
    models, _ = replay(auth().models(TOKEN), [found])

    assert [("claude-sonnet-4-6", "Sonnet", 200000, 64000)] == [
        (model.id, model.name, model.context, model.max_output) for model in models
    ]


def test_usage() -> None:
    """The limits go by groups of models and by spans of time."""
    answer = {
        "groups": [
            {
                "displayName": "Claude",
                "buckets": [{"window": "5h", "remainingFraction": 0.75, "resetTime": "2026-11-22T12:00:00Z"}],
            }
        ]
    }
    windows, _ = replay(auth().usage(TOKEN), [answer])

    assert [("Claude 5h", 0.25, 1795348800.0)] == [(each.name, each.used, each.resets) for each in windows]


WIRE = WireRequest(
    url="https://daily-cloudcode-pa.googleapis.com/v1internal:streamGenerateContent?alt=sse", body={"request": {}}
)


FULL = WireReply(status=503, body=b'{"error":{"message":"No capacity available for model"}}')


@pytest.mark.parametrize("reply", [WireReply(status=429), FULL, WireReply(status=0)])
def test_the_second_host(reply: WireReply) -> None:
    """Where the first host cannot be reached or has nothing left the second is asked, and after it none."""
    other = auth().amend(WIRE, reply)
    assert other is not None

    assert "https://cloudcode-pa.googleapis.com/v1internal:streamGenerateContent?alt=sse" == other.url
    assert auth().amend(other, reply) is None
    assert auth(second_host="").amend(WIRE, reply) is None


@pytest.mark.parametrize("status", [400, 403, 500, 503])
def test_no_second_host(status: int) -> None:
    """Other refusals would be the same there."""
    assert auth().amend(WIRE, WireReply(status=status, body=b'{"error":{"message":"no"}}')) is None


def test_an_account_without_a_project() -> None:
    """A request is not sent without a project."""
    with pytest.raises(AuthError, match="ccr auth login antigravity"):
        auth().apply(WIRE, attrs.evolve(TOKEN, data={}))


def test_fresh() -> None:
    """A token is renewed five minutes before its end."""
    now = time.time()

    assert [True, False] == [auth().fresh(attrs.evolve(TOKEN, expires=now + left), now) for left in (400, 200)]
