"""Signing in over the API: with a browser, by pasting, with a code; accounts and their models."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_store_file
import httpx
import pytest
from api_client import Client

from ccr_core import (
    Ask,
    Auth,
    AuthError,
    AuthOptions,
    AuthSpec,
    AwaitCallback,
    Endpoint,
    Flow,
    Listen,
    OfferedModel,
    OpenUrl,
    Say,
    ShowCode,
    Token,
    Window,
    WireRequest,
    Wish,
    hookimpl,
)
from ccr_core.plugins import Registry
from ccr_core.plugins import load as load_plugins

STATE = "state-of-the-toy-vendor"


class Toy(Auth[AuthOptions]):
    """A vendor whose logins need no network."""

    methods = ("browser", "device")

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        return wire

    def login(self, wish: Wish) -> Flow[Token]:
        if wish.method == "device":
            yield ShowCode("https://vendor.example/device", "AB-12", 60)
            name = yield Ask("Which project?", secret=True)
            if name == "none":
                raise AuthError("the vendor says no")
            return Token(access=f"access-secret-{name}", account="dev", label="device@x.example")
        uri = yield Listen(state=STATE)
        yield Say("A page opens.")
        yield OpenUrl(f"https://vendor.example/auth?redirect={uri}&headless={wish.headless}&another={wish.another}")
        code = yield AwaitCallback(20)
        access = f"access-secret-{code}"
        return Token(access=access, refresh="refresh-secret", account=f"acc-{code}", label="me@x.example")

    def revoke(self, token: Token) -> Flow[str]:
        yield from ()
        return "remove it in your settings, too"

    def models(self, token: Token) -> Flow[list[OfferedModel]]:
        yield from ()
        return [OfferedModel(id="m1"), OfferedModel(id="m2", name="Second", levels=("low", "high"), context=1000)]

    def usage(self, token: Token) -> Flow[list[Window]]:
        yield from ()
        return [Window(name="week", used=0.25)]


SPEC = AuthSpec(
    name="toy",
    factory=Toy,
    base_url="https://api.vendor.example",
    endpoints=(Endpoint(name="chat", dialect="openai-chat", path="/chat/completions"),),
    hosts=("api.vendor.example",),
    models=("m1",),
)


@hookimpl
def ccr_auth() -> list[AuthSpec]:
    return [SPEC, attrs.evolve(SPEC, name="risky", risk="The vendor forbids it.")]


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Few plugins, one of them the toy sign-in."""
    toy = SimpleNamespace(__name__="toy_sign_in", ccr_auth=ccr_auth)
    found = load_plugins([ccr_plugin_anthropic, ccr_plugin_openai_chat, ccr_plugin_store_file, toy])
    assert ["active"] * 4 == [plugin.state for plugin in found.plugins], found.plugins
    return found


@pytest.fixture
def written() -> str:
    return """{
      // used with an account
      "Providers": [{"name": "sub", "auth_type": "oauth", "oauth_provider": "toy", "models": ["m1"]}],
      "LOG": false,
    }"""


@pytest.fixture(autouse=True)
def more_secrets(client: Client) -> None:
    client.secrets += ["access-secret", "refresh-secret", STATE]


async def until(client: Client, login: Any, state: str) -> Any:
    async with asyncio.timeout(10):
        while login["state"] != state:
            await asyncio.sleep(0.02)
            login = await client.get(f"/api/auth/logins/{login['id']}")
    return login


def redirect_in(login: Any) -> tuple[str, dict[str, str]]:
    query = {key: values[0] for key, values in parse_qs(urlsplit(login["url"]).query).items()}
    return query["redirect"], query


async def sign_in(client: Client, code: str = "1", **body: Any) -> Any:
    login = await client.ask("POST", "/api/auth/login/toy", body)
    uri, _ = redirect_in(login)
    async with httpx.AsyncClient(trust_env=False) as browser:
        assert 200 == (await browser.get(uri, params={"code": code, "state": STATE})).status_code
    return await until(client, login, "done")


def stored(client: Client) -> Any:
    return json.loads((client.path.parent / "auth.json").read_text())["providers"]


async def test_the_ways_to_sign_in_are_listed(client: Client) -> None:
    """
    With what the vendor says against it, the methods, and who uses them.
    """
    got = await client.get("/api/auth/providers")

    rows = {row["name"]: row for row in got["providers"]}
    assert (None, ["browser", "device"], ["sub"], []) == tuple(
        rows["toy"][key] for key in ("risk", "flows", "used_by", "accounts")
    )
    assert "The vendor forbids it." == rows["risky"]["risk"]


async def test_a_login_with_the_browser(client: Client) -> None:
    """
    The address is shown, the browser comes back, and the account is kept and told without its token.
    """
    login = await client.ask("POST", "/api/auth/login/toy", {})
    assert ("open", True, "A page opens.", None) == tuple(login[key] for key in ("state", "paste", "message", "code"))
    uri, query = redirect_in(login)
    assert ("False", "False") == (query["headless"], query["another"])

    async with httpx.AsyncClient(trust_env=False) as browser:
        await browser.get(uri, params={"code": "1", "state": STATE})
    done = await until(client, login, "done")

    assert "acc-1" == done["account"]
    assert "access-secret-1" == stored(client)["toy"]["accounts"]["acc-1"]["access_token"]
    (account,) = (await client.get("/api/auth/status/toy"))["accounts"]
    assert ("acc-1", "me@x.example", "active", True) == tuple(
        account[key] for key in ("account", "label", "state", "default")
    )
    (row,) = (await client.get("/api/providers"))["providers"]
    assert ["acc-1"] == [each["account"] for each in row["auth"]["accounts"]]


async def test_the_address_can_be_pasted(client: Client) -> None:
    """
    A wrong one is told, and the login goes on waiting.
    """
    login = await client.ask("POST", "/api/auth/login/toy", {"elsewhere": True, "method": "browser"})
    path = f"/api/auth/logins/{login['id']}"

    wrong = await client.ask("POST", path, {"answer": "https://x.example/?code=2&state=wrong"})
    async with asyncio.timeout(10):
        while len(wrong["notes"]) < 2:
            wrong = await client.get(path)
    await client.ask("POST", path, {"answer": f"http://localhost/callback?code=2&state={STATE}"})
    done = await until(client, login, "done")

    assert "open" == wrong["state"]
    assert "acc-2" == done["account"]


async def test_a_login_with_a_code_and_a_question(client: Client) -> None:
    """
    Code and address are shown, the question is asked, the answer passed on.
    """
    login = await client.ask("POST", "/api/auth/login/toy", {"elsewhere": True})
    login = await until(client, login, "question")
    assert ("AB-12", "https://vendor.example/device", "Which project?", True) == tuple(
        login[key] for key in ("code", "url", "question", "secret")
    )

    await client.ask("POST", f"/api/auth/logins/{login['id']}", {"answer": "mine"})
    done = await until(client, login, "done")

    assert ("dev", None) == (done["account"], done["question"])
    error = await client.ask("POST", f"/api/auth/logins/{login['id']}", {"answer": "more"}, 409)
    assert "does not wait" in error["error"]["message"]


async def test_a_login_that_fails_says_why(client: Client) -> None:
    """
    In the vendor's words.
    """
    login = await client.ask("POST", "/api/auth/login/toy", {"method": "device"})
    login = await until(client, login, "question")
    await client.http.post(f"/api/auth/logins/{login['id']}", json={"answer": "none"})

    got = await until(client, login, "failed")

    assert "the vendor says no" in got["message"]


async def test_a_second_login_ends_the_first(client: Client) -> None:
    """
    The page with the first one is told that it is gone.
    """
    first = await client.ask("POST", "/api/auth/login/toy", {})
    second = await client.ask("POST", "/api/auth/login/toy", {})

    await client.ask("GET", f"/api/auth/logins/{first['id']}", status=404)
    assert "open" == (await client.get(f"/api/auth/logins/{second['id']}"))["state"]
    assert "failed" == (await client.ask("DELETE", f"/api/auth/logins/{second['id']}"))["state"]


async def test_a_risk_has_to_be_agreed_to(client: Client) -> None:
    """
    The words of the vendor come with the refusal; the agreement is kept with the account.
    """
    error = (await client.ask("POST", "/api/auth/login/risky", {}, 400))["error"]
    assert ("The vendor forbids it.", True) == (error["risk"], error["consent"])

    login = await client.ask("POST", "/api/auth/login/risky", {"consent": True, "method": "device"})
    login = await until(client, login, "question")
    await client.ask("POST", f"/api/auth/logins/{login['id']}", {"answer": "x"})
    await until(client, login, "done")

    assert stored(client)["risky"]["accounts"]["dev"]["consent"]["at"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/auth/login/nobody", {}, 404),
        ("/api/auth/login/toy", {"method": "magic"}, 400),
        ("/api/auth/login/toy", {"account": "x"}, 404),
        ("/api/auth/login/toy", {"acount": "x"}, 400),
        ("/api/auth/logins/nothing", {"answer": "x"}, 404),
        ("/api/auth/logout/toy", {}, 404),
    ],
)
async def test_what_is_wrong_is_said(client: Client, path: str, body: Any, status: int) -> None:
    """
    And nothing begins.
    """
    await client.ask("POST", path, body, status)

    assert not (client.path.parent / "auth.json").exists()


async def test_signing_out(client: Client) -> None:
    """
    One of several has to be named; what the vendor wants to be done besides is told.
    """
    await sign_in(client, "1")
    await sign_in(client, "2")

    error = (await client.ask("POST", "/api/auth/logout/toy", {}, 400))["error"]
    gone = await client.ask("POST", "/api/auth/logout/toy", {"account": "acc-1"})

    assert "acc-1, acc-2" in error["message"]
    assert (["acc-1"], ["remove it in your settings, too"]) == (gone["accounts"], gone["notes"])
    assert ["acc-2"] == list(stored(client)["toy"]["accounts"])


async def test_limits_are_asked_of_the_vendor(client: Client) -> None:
    """
    Only if that is wanted.
    """
    await sign_in(client)

    seen = await client.get("/api/auth/status/toy")
    asked = await client.get("/api/auth/status/toy", params={"usage": "true"})

    assert [] == seen["accounts"][0]["windows"]
    assert [{"name": "week", "used": 0.25, "resets": None}] == asked["accounts"][0]["windows"]


async def test_models_of_an_account(client: Client) -> None:
    """
    Those of the vendor, with those marked that are configured; without an account the reason is told.
    """
    error = (await client.ask("GET", "/api/auth/models/toy", status=400))["error"]
    await sign_in(client)
    got = await client.get("/api/auth/models/toy")

    assert "ccr auth login toy" in error["message"]
    assert [("m1", True), ("m2", False)] == [(model["id"], model["known"]) for model in got["models"]]
    assert ["low", "high"] == got["models"][1]["levels"]


async def test_new_models_are_added_to_the_configuration(client: Client) -> None:
    """
    Behind those that are there; the rest of the file stays.
    """
    await sign_in(client)

    got = await client.ask("POST", "/api/oauth/sync-models/sub", {"version": await client.version()})
    again = await client.ask("POST", "/api/oauth/sync-models/sub", {"version": got["version"]})

    assert (["m2"], 2, []) == (got["added"], got["total"], again["added"])
    assert ("m1", "m2") == client.app.engine.runtime.config.providers[0].models
    assert "// used with an account" in client.text
