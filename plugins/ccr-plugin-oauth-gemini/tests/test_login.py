"""The sign-in, replayed: what is asked of Google, in which order, and what each answer leads to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import pytest
from ccr_plugin_oauth_gemini import CodeAssistAuth, CodeAssistOptions

from ccr_core import AccountError, Ask, AuthError, Call, Listen, OpenUrl, Sleep, Token, UpstreamError, Wish
from ccr_core.testing import replay

NOW = 1_700_000_000.0
SCOPES = " ".join(CodeAssistOptions().scopes)
GRANTED = {"access_token": "ya29.one", "expires_in": 3599, "refresh_token": "1//r", "scope": SCOPES}
ME = {"email": "me@example.com", "id": "1"}
READY = {"currentTier": {"id": "standard-tier"}, "cloudaicompanionProject": "my-project"}
OLD = Token(access="ya29.old", refresh="1//r", expires=NOW, account="a", data={"project_id": "p", "tier": "t"})
FRESH = attrs.evolve(OLD, data={**OLD.data, "project_checked_at": NOW - 60})


def auth(**options: Any) -> CodeAssistAuth:
    return CodeAssistAuth(CodeAssistOptions(**{"client_secret": "s-1", **options}), "gemini")


def calls(asked: list[Any]) -> list[Call]:
    return [each for each in asked if isinstance(each, Call)]


def body_of(call: Call) -> dict[str, Any]:
    assert call.wire.body is not None
    return call.wire.body


def test_the_address_to_open() -> None:
    """Google's page is asked for what a refresh token needs, with a fresh state and a challenge."""
    _, asked = replay(auth(login_hint="me@example.com").login(Wish()), ["c-1", GRANTED, ME, READY])
    listen, page = asked[0], asked[1]
    assert isinstance(listen, Listen)
    assert isinstance(page, OpenUrl)
    query = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}

    assert page.url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert ("127.0.0.1", "/oauth2callback", "https://codeassist.google.com/authcode") == (
        listen.host,
        listen.path,
        listen.paste,
    )
    assert ("offline", "consent", "S256", "me@example.com") == (
        query["access_type"],
        query["prompt"],
        query["code_challenge_method"],
        query["login_hint"],
    )
    assert listen.state == query["state"]


def test_another_account() -> None:
    """For a second account Google's page lets its user choose."""
    _, asked = replay(auth().login(Wish(another=True)), ["c-1", GRANTED, ME, READY])
    page = asked[1]
    assert isinstance(page, OpenUrl)

    assert "prompt=select_account+consent" in page.url


def test_a_licence() -> None:
    """With a licence the project is the one that the service names, and the account has its owner's address."""
    token, asked = replay(auth().login(Wish()), ["c-1", GRANTED, ME, READY])
    exchange = calls(asked)[0]

    assert {"project_id": "my-project", "tier": "standard-tier", "project_checked_at": NOW} == token.data
    assert ("ya29.one", "1//r", NOW + 3599, "me@example.com") == (
        token.access,
        token.refresh,
        token.expires,
        token.label,
    )
    assert 8 == len(token.account or "")
    assert exchange.form is not None
    assert ("c-1", "s-1", "authorization_code") == tuple(
        exchange.form[name] for name in ("code", "client_secret", "grant_type")
    )
    assert {
        "metadata": {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}
    } == body_of(calls(asked)[2])


def test_a_configured_project() -> None:
    """The project of the configuration is named to the service."""
    _, asked = replay(auth(project_id="mine").login(Wish()), ["c-1", GRANTED, ME, READY])

    assert ("mine", "mine") == (
        body_of(calls(asked)[2])["cloudaicompanionProject"],
        body_of(calls(asked)[2])["metadata"]["duetProject"],
    )


def test_a_new_account_is_set_up() -> None:
    """The default tier is taken, and the work waited for; the project is the one that comes out."""
    load = {"allowedTiers": [{"id": "x"}, {"id": "standard-tier", "isDefault": True}]}
    done = {"done": True, "response": {"cloudaicompanionProject": {"id": "made"}}}
    token, asked = replay(
        auth(project_id="mine").login(Wish()),
        ["c-1", GRANTED, ME, load, {"name": "operations/1", "done": False}, {"name": "operations/1"}, done],
    )

    assert ("made", "standard-tier") == (token.data["project_id"], token.data["tier"])
    assert "mine" == body_of(calls(asked)[3])["cloudaicompanionProject"]
    assert [5, 5] == [each.seconds for each in asked if isinstance(each, Sleep)]
    assert "https://cloudcode-pa.googleapis.com/v1internal/operations/1" == calls(asked)[-1].wire.url


def test_the_free_tier_takes_no_project() -> None:
    """For the free tier no project is named, or the service refuses."""
    load = {"allowedTiers": [{"id": "free-tier", "isDefault": True}]}
    done = {"done": True, "response": {"cloudaicompanionProject": {"id": "made"}}}
    _, asked = replay(auth(project_id="mine").login(Wish()), ["c-1", GRANTED, ME, load, done])

    assert "cloudaicompanionProject" not in body_of(calls(asked)[3])


def test_setting_up_takes_too_long() -> None:
    """After the time that is allowed the login ends."""
    load = {"allowedTiers": [{"id": "free-tier", "isDefault": True}]}
    with pytest.raises(UpstreamError, match="in time"):
        replay(auth(onboard_seconds=8).login(Wish()), ["c-1", GRANTED, ME, load, *[{"name": "o"}] * 3])


def test_refused_consumers() -> None:
    """An account that the service does not serve any more is told so in its words, with what to use instead."""
    load = {"ineligibleTiers": [{"reasonCode": "UNSUPPORTED_CLIENT", "reasonMessage": "No longer for individuals."}]}
    with pytest.raises(AuthError, match=r"No longer for individuals\. Use a Gemini API key"):
        replay(auth().login(Wish()), ["c-1", GRANTED, ME, load])


@pytest.mark.parametrize(
    "load",
    [
        {"currentTier": {"id": "standard-tier"}},
        {"allowedTiers": [{"id": "s", "isDefault": True, "userDefinedCloudaicompanionProject": True}]},
    ],
)
def test_no_project(load: Any) -> None:
    """A licence without a project needs one to be named."""
    with pytest.raises(AuthError, match=r"set oauth\.gemini\.project_id or GOOGLE_CLOUD_PROJECT"):
        replay(auth().login(Wish()), ["c-1", GRANTED, ME, load])


def test_a_project_behind_a_perimeter() -> None:
    """Where service controls hide the account's state, it is taken for a licence of the configured project."""
    refusal = {"error": {"message": "no", "details": [{"reason": "SECURITY_POLICY_VIOLATED"}]}}
    token, _ = replay(auth(project_id="mine").login(Wish()), ["c-1", GRANTED, ME, (403, refusal)])

    assert ("mine", "standard-tier") == (token.data["project_id"], token.data["tier"])


def test_validation() -> None:
    """Where Google wants to see the owner, the address is opened, and the question is asked again afterwards."""
    block = {
        "ineligibleTiers": [
            {"reasonCode": "VALIDATION_REQUIRED", "reasonMessage": "Verify.", "validationUrl": "https://v.example/x"}
        ]
    }
    token, asked = replay(auth().login(Wish()), ["c-1", GRANTED, ME, block, "", READY])

    assert "my-project" == token.data["project_id"]
    assert ["https://v.example/x"] == [each.url for each in asked if isinstance(each, OpenUrl)][1:]
    assert 1 == sum(isinstance(each, Ask) for each in asked)


def test_an_unticked_permission() -> None:
    """A sign-in without the permission that is needed ends with the reason."""
    scopes = "https://www.googleapis.com/auth/userinfo.email"
    with pytest.raises(AuthError, match="leave its box ticked"):
        replay(auth().login(Wish()), ["c-1", {**GRANTED, "scope": scopes}])


@pytest.mark.parametrize("project", ["123456", "0"])
def test_a_project_number(project: str) -> None:
    """A number is no id of a project."""
    with pytest.raises(AuthError, match="is a number"):
        replay(auth(project_id=project).login(Wish()), ["c-1", GRANTED, ME])


# --- the client --------------------------------------------------------------------------------------------------


def test_no_secret() -> None:
    """Without a secret nothing is sent, and the message says where it is and how to set it."""
    with pytest.raises(AuthError, match=r"CCR_GEMINI_CLIENT_ID and CCR_GEMINI_CLIENT_SECRET.*gemini-cli") as caught:
        replay(auth(client_secret=None).login(Wish()))

    assert "client secret" in caught.value.message


def test_the_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Id and secret may stand in the environment."""
    monkeypatch.setenv("CCR_GEMINI_CLIENT_ID", "id-2")
    monkeypatch.setenv("CCR_GEMINI_CLIENT_SECRET", "s-2")

    assert ("id-2", "s-2") == auth(client_secret=None).client()


@pytest.mark.parametrize("client", [None, "other.apps.googleusercontent.com"])
def test_the_secret_of_the_vendors_program(tmp_path: Path, client: str | None) -> None:
    """The installed program of the vendor gives the pair, if it is the same client."""
    folder = tmp_path / "lib/node_modules/@google/gemini-cli"
    source = folder / "node_modules/@google/gemini-cli-core/dist/src/code_assist/oauth2.js"
    source.parent.mkdir(parents=True)
    source.write_text(
        f"const OAUTH_CLIENT_ID = '{CodeAssistAuth.default_client}';\nconst OAUTH_CLIENT_SECRET = 'not-a-secret-1';\n"
    )
    program = folder / "dist/index.js"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gemini").symlink_to(program)
    made = auth(client_secret=None, client_id=client)

    if client is None:
        assert (CodeAssistAuth.default_client, "not-a-secret-1") == made.client()
    else:
        with pytest.raises(AuthError, match="client secret"):
            made.client()


# --- renewing ----------------------------------------------------------------------------------------------------


def test_refresh() -> None:
    """A renewal keeps the refresh token and the project."""
    token, asked = replay(auth().refresh(FRESH), [{"access_token": "ya29.two", "expires_in": 3599}], now=NOW)

    assert ("ya29.two", "1//r", FRESH.data) == (token.access, token.refresh, token.data)
    assert {
        "grant_type": "refresh_token",
        "refresh_token": "1//r",
        "client_id": CodeAssistAuth.default_client,
        "client_secret": "s-1",
    } == calls(asked)[0].form


def test_the_project_is_looked_up_again() -> None:
    """Once a day, and for accounts of the older tool, the project is asked for along with the renewal."""
    token, _ = replay(auth().refresh(OLD), [{"access_token": "ya29.two"}, READY], now=NOW)

    assert ("my-project", NOW) == (token.data["project_id"], token.data["project_checked_at"])


def test_the_project_cannot_be_looked_up() -> None:
    """A renewal does not fail because the project cannot be asked for just now."""
    token, _ = replay(auth().refresh(OLD), [{"access_token": "ya29.two"}, (503, {})], now=NOW)

    assert ("ya29.two", OLD.data) == (token.access, token.data)


def test_a_revoked_sign_in() -> None:
    """A refresh token that was taken back is dead."""
    answer = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
    with pytest.raises(AccountError, match="expired or revoked") as caught:
        replay(auth().refresh(FRESH), [(400, answer)])

    assert "needs_login" == caught.value.state


def test_revoke() -> None:
    """Signing out takes the permission back."""
    told, asked = replay(auth().revoke(OLD), [{}])

    assert "" == told
    assert {"token": "1//r"} == calls(asked)[0].form


def test_models_and_usage() -> None:
    """The quota says which models there are, and how much of each is used."""
    buckets = {
        "buckets": [
            {"modelId": "gemini-2.5-pro", "remainingFraction": 0.25, "resetTime": "2026-11-22T12:00:00Z"},
            {"modelId": "gemini-2.5-pro", "remainingFraction": 0.75, "resetTime": "2026-11-22T13:00:00Z"},
            {"modelId": "gemini-3-flash", "remainingFraction": 1},
        ]
    }
    models, _ = replay(auth().models(FRESH), [buckets])
    windows, asked = replay(auth().usage(FRESH), [buckets])

    assert ["gemini-2.5-pro", "gemini-3-flash"] == [model.id for model in models]
    assert [("gemini-2.5-pro", 0.25, 1795352400.0), ("gemini-3-flash", 0, None)] == [
        (window.name, window.used, window.resets) for window in windows
    ]
    assert {"project": "p"} == body_of(calls(asked)[0])
    assert "ya29.old" not in json.dumps([window.name for window in windows])
