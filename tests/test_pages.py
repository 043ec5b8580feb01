"""What plugins add to the server: where it stands, who may see it, and what happens when it fails."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from toy import Got, call, toy_app, toy_plugin

from ccr_core import PageSpec, Running
from ccr_core.config import Management
from ccr_core.server import App


@attrs.frozen
class Options:
    word: str = "hello"


def answering(options: Options, router: Running) -> Any:
    """An application that says where it was asked, and what it was sent."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        said = {"word": options.word, "path": scope["path"], "root": scope["root_path"], "body": len(body)}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    return app


def failing(options: Any, router: Running) -> Any:
    raise KeyError("secret of the page")


def page(name: str = "one", factory: Any = answering, **fields: Any) -> PageSpec:
    return PageSpec(name=name, factory=factory, options=Options, **fields)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CCR_HOME", str(tmp_path))
    return tmp_path


def served(*pages: PageSpec, **changes: Any) -> App:
    return toy_app(plugins=[toy_plugin(ccr_pages=lambda: list(pages))], **changes)[0]


def managing(app: App) -> dict[str, str]:
    return {"authorization": f"Bearer {app.access.token()}"}


def said(got: Got) -> Mapping[str, Any]:
    assert 200 == got.status, got.body
    found: Mapping[str, Any] = json.loads(got.body)
    return found


async def test_a_page_answers_at_its_place_and_below() -> None:
    """It knows where it stands, and has its options."""
    app = served(page(path="/one", access="open"), pages={"one": {"word": "good day"}})

    for path in ("/one", "/one/", "/one/a/b"):
        assert {"word": "good day", "path": path, "root": "/one", "body": 0} == said(await call(app, "GET", path))
    assert 404 == (await call(app, "GET", "/onesie")).status


async def test_of_two_places_the_longer_one_counts() -> None:
    """A page may stand below another."""
    app = served(page(path="/one", access="open"), page("two", path="/one/two", access="open"))

    assert "/one/two" == said(await call(app, "GET", "/one/two/three"))["root"]
    assert "/one" == said(await call(app, "GET", "/one/three"))["root"]


async def test_without_a_place_it_is_below_the_management_api() -> None:
    """And so wants a management token."""
    app = served(page())

    assert 401 == (await call(app, "GET", "/api/pages/one/x")).status
    assert "/api/pages/one" == said(await call(app, "GET", "/api/pages/one/x", headers=managing(app)))["root"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1", "/toy", "/api/status", "/preset/x", "/api/session/x", "one"])
async def test_a_page_cannot_take_a_place_that_is_not_its_own(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is off, and the log says so."""
    app = served(page(path=path, access="open"))

    assert ["page one (toy-plugin) is off"] == [text[:28] for text in caplog.messages]
    assert [] == app.pages()
    assert 200 == (await call(app, "GET", "/health")).status


async def test_of_two_pages_at_one_place_the_first_stays(caplog: pytest.LogCaptureFixture) -> None:
    """The log names both."""
    app = served(page(path="/x", access="open"), page("two", path="/x/", access="open"))

    assert ["one"] == [each.spec.name for each in app.pages()]
    assert ["page two (toy-plugin) is off: toy-plugin is at /x already"] == caplog.messages


async def test_a_page_that_fails_says_whose_it_is() -> None:
    """A 500 with the plugin's name and nothing of the error's text; models go on."""
    app = served(page(factory=failing, path="/bad", access="open"))
    got = await call(app, "GET", "/bad")

    assert 500 == got.status
    assert b"the page one of toy-plugin failed: KeyError" in got.body
    assert b"secret of the page" not in got.body
    assert 200 == (await call(app, "GET", "/health")).status


async def test_a_page_can_be_switched_off() -> None:
    """By its name."""
    assert 404 == (await call(served(page(path="/one", access="open"), pages={"one": False}), "GET", "/one")).status


@pytest.mark.parametrize("path", ["/one", "/api/session", "/api/anything"])
async def test_management_can_be_switched_off(path: str) -> None:
    """Nothing of it answers then, with any token."""
    app = served(page(path="/one", access="open"), management=Management(enabled=False))

    assert 403 == (await call(app, "POST", path, b"{}", {**managing(app), "content-type": "application/json"})).status


@pytest.mark.parametrize(("remote", "status"), [(False, 403), (True, 200)])
@pytest.mark.parametrize("access", ["manage", "open"])
async def test_beyond_this_computer_management_is_off_unless_asked_for(remote: bool, status: int, access: Any) -> None:
    """A router that others reach shows no UI to them; a page for the router's key stays."""
    pages = page(path="/one", access=access), page("two", path="/two", access="key")
    app = served(*pages, host="0.0.0.0", apikey="k", management=Management(remote=remote))
    headers = {**managing(app), "host": "router.example"}

    assert status == (await call(app, "GET", "/one", headers=headers)).status
    assert 401 == (await call(app, "GET", "/two", headers=headers)).status
    assert 200 == (await call(app, "GET", "/two", headers={"x-api-key": "k", "host": "router.example"})).status


async def test_the_routers_key_opens_no_management() -> None:
    """The key of the model endpoints is for models."""
    app = served(page(), apikey="k")

    for path in ("/api/pages/one", "/api/config", "/api/session"):
        assert 401 == (await call(app, "GET", path, headers={"x-api-key": "k", "authorization": "Bearer k"})).status
    assert 200 == (await call(app, "GET", "/api/status", headers=managing(app))).status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 200),
        ({"content-type": "application/json; charset=utf-8", "sec-fetch-site": "same-origin"}, 200),
        ({"content-type": "application/json", "sec-fetch-site": "same-site"}, 403),
        ({"content-type": "application/json", "sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "application/json", "origin": "http://evil.example"}, 403),
        ({"content-type": "application/json", "host": "evil.example"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({}, 415),
    ],
)
async def test_other_pages_of_the_browser_change_nothing(headers: dict[str, str], status: int) -> None:
    """Even with a token, what a foreign page can make a browser send is refused."""
    app = served(page())
    got = await call(app, "POST", "/api/pages/one", b"{}", {**managing(app), "content-length": "2", **headers})

    assert status == got.status


async def test_a_body_beyond_the_limit_is_refused() -> None:
    """Pages read no more than the model endpoints."""
    app = served(page(path="/one", access="open"))
    app._body_limit = 10

    assert 413 == (await call(app, "POST", "/one", b"x" * 11, {"content-type": "application/json"})).status


async def test_a_link_becomes_a_session() -> None:
    """Signing in, using it, signing out."""
    app = served(page())
    code = json.dumps({"code": app.access.link()}).encode()
    json_type = {"content-type": "application/json"}
    token = said(await call(app, "POST", "/api/session", code, json_type))["token"]
    bearer = {"authorization": f"Bearer {token}"}

    assert 401 == (await call(app, "POST", "/api/session", code, json_type)).status
    for odd, status in ((b"[" * 2000 + b"]" * 2000, 400), (b" " * 5000, 413)):
        assert status == (await call(app, "POST", "/api/session", odd, json_type)).status
    assert 200 == (await call(app, "GET", "/api/pages/one", headers=bearer)).status
    assert said(await call(app, "GET", "/api/session", headers=bearer))["expires"] > 0
    assert {} == said(await call(app, "DELETE", "/api/session", headers=bearer))
    assert 401 == (await call(app, "GET", "/api/pages/one", headers=bearer)).status


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"code": 5}', b'{"token": null}', b"{}"])
async def test_a_strange_sign_in_is_refused(body: bytes) -> None:
    """With a status of its own, and never an exception."""
    got = await call(served(), "POST", "/api/session", body, {"content-type": "application/json"})

    assert got.status in (400, 401)


async def test_too_many_wrong_sign_ins() -> None:
    """The answer says when to come back."""
    app = served()
    wrong = [
        await call(app, "POST", "/api/session", b'{"code": "x"}', {"content-type": "application/json"})
        for _ in "x" * 11
    ]

    assert [401] * 10 + [429] == [got.status for got in wrong]
    assert 0 < int(wrong[-1].headers["retry-after"]) <= 61


async def test_after_a_reload_pages_are_those_of_the_new_configuration() -> None:
    """With new options, or gone."""
    app = served(page(path="/one", access="open"))
    assert "hello" == said(await call(app, "GET", "/one"))["word"]

    app.swap(served(page(path="/one", access="open"), pages={"one": {"word": "anew"}}).engine.runtime)
    assert "anew" == said(await call(app, "GET", "/one"))["word"]

    app.swap(served().engine.runtime)
    assert 404 == (await call(app, "GET", "/one")).status
