"""The sign-in ``antigravity`` with the real program, and a stand-in for Google."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from ccr_core import JSON
from ccr_core.testing import sse
from ccr_core.testing.loopback import Hit, Router, Terminal
from ccr_core.testing.signins import SAID, GoogleLogin, Story, check_accounts, check_callback, check_story


class Google(GoogleLogin):
    """Google's login service, and the service behind it.

    ``state`` is what ``loadCodeAssist`` says of an account.
    """

    provider: ClassVar[str] = "antigravity"
    model: ClassVar[str] = "claude-sonnet-4-6"
    scopes: ClassVar[tuple[str, ...]] = (*GoogleLogin.scopes, "cclog", "experimentsandconfigs")
    redirect: ClassVar[str] = r"http://localhost:\d+/oauth-callback"

    def __init__(self) -> None:
        super().__init__()
        self.state: JSON = {"cloudaicompanionProject": {"id": "my-project"}, "currentTier": {"id": "free-tier"}}
        self.work = 2
        self.routes |= {
            "POST /v1internal:loadCodeAssist": self.known(lambda hit: self.state),
            "POST /v1internal:onboardUser": self.known(self.onboard),
            "POST /v1internal:fetchAvailableModels": self.known(self.listed),
            "POST /v1internal:streamGenerateContent": self.models,
        }

    def options(self) -> JSON:
        """Every address is the stand-in's."""
        return {**super().options(), "redirect_port": 0, "setup_base": self.url, "second_host": ""}

    def onboard(self, hit: Hit) -> Any:
        """Setting an account up takes a while."""
        self.work -= 1
        return {"done": self.work <= 0, "response": {"cloudaicompanionProject": {"id": "made-project"}}}

    def listed(self, hit: Hit) -> Any:
        """Not all of them are for conversations."""
        return {"models": {self.model: {"displayName": "Sonnet", "maxTokens": 200000}, "tab_flash": {}}}

    def answered(self, hit: Hit) -> bytes:
        """In the envelope."""
        found = {"content": {"role": "model", "parts": [{"text": SAID}]}, "finishReason": "STOP"}
        return sse(json.dumps({"response": {"candidates": [found]}, "traceId": "trace-1"}))


@pytest.fixture
def vendor() -> Iterator[Google]:
    with Google() as made:
        yield made


def test_the_whole_story(tmp_path: Path, vendor: Google) -> None:
    """From the sign-in, with its project, to the end; requests go out in the service's envelope."""
    story = check_story(tmp_path, vendor)
    sent = vendor.sent[0]

    (loaded, *_) = vendor.at("/v1internal:loadCodeAssist")
    assert {"metadata": {"ideType": "ANTIGRAVITY"}} == loaded.json
    assert ({"alt": "sse"}, "text/event-stream") == (sent.query, sent.headers["accept"])
    envelope = sent.json
    assert {"model", "project", "requestId", "requestType", "request", "userAgent"} == set(envelope)
    assert (vendor.model, "my-project", "agent", "antigravity") == tuple(
        envelope[name] for name in ("model", "project", "requestType", "userAgent")
    )
    assert re.fullmatch(r"agent-[0-9a-f-]{36}", envelope["requestId"])
    assert re.fullmatch(r"-\d+", envelope["request"]["sessionId"])
    assert {"mode": "VALIDATED"} == envelope["request"]["toolConfig"]["functionCallingConfig"]
    assert len(vendor.sent) == len({hit.json["requestId"] for hit in vendor.sent})
    assert 1 == len({hit.json["request"]["sessionId"] for hit in vendor.sent})
    assert {} == vendor.refresh
    assert "tab_flash" not in "".join(story.texts)


def test_accounts(tmp_path: Path, vendor: Google) -> None:
    """Two accounts, then another provider."""
    check_accounts(tmp_path, vendor)


def test_the_callback(tmp_path: Path, vendor: Google) -> None:
    """Only Google's answer is taken."""
    check_callback(tmp_path, vendor)


def test_a_new_account(tmp_path: Path, vendor: Google) -> None:
    """It is set up before it is kept."""
    vendor.state = {"allowedTiers": [{"id": "free-tier", "isDefault": True}]}
    story = Story(tmp_path, vendor)
    story.configure()
    story.sign_in()

    assert "made-project" == story.account()["extra"]["project_id"]
    assert ["free-tier"] * 2 == [hit.json["tier_id"] for hit in vendor.at("/v1internal:onboardUser")]


def test_a_project_that_has_changed(tmp_path: Path, vendor: Google) -> None:
    """A project that the service does not know any more is asked for again, and the request goes out once more."""
    story = Story(tmp_path, vendor)
    story.configure()
    story.sign_in()
    vendor.state = {**vendor.state, "cloudaicompanionProject": {"id": "moved-project"}}
    gone = {"error": {"code": 404, "message": "Project my-project was not found.", "status": "NOT_FOUND"}}
    served = vendor.models
    vendor.routes["POST /v1internal:streamGenerateContent"] = lambda hit: (
        served(hit) if hit.json["project"] == "moved-project" else (404, gone)
    )
    with Router(tmp_path) as router:
        assert SAID in story.ask(router)[1]

    assert ["moved-project"] == [hit.json["project"] for hit in vendor.sent]
    assert "moved-project" == story.account()["extra"]["project_id"]


def test_pasted(tmp_path: Path, vendor: Google) -> None:
    """There is no page to copy from: without a browser the address of the page that fails is pasted."""
    story = Story(tmp_path, vendor)
    story.configure()
    with Terminal(tmp_path, "auth", "login", "antigravity", "--no-browser", "--accept-terms-risk") as terminal:
        back = vendor.agree(vendor.address(terminal))
        terminal.until("paste the address")
        terminal.type(back)
        terminal.until("signed in to antigravity")
        assert 0 == terminal.wait()

    assert "active" in story.run("auth", "status", "antigravity")


def test_the_second_host(tmp_path: Path, vendor: Google) -> None:
    """Where the first host has no capacity the second is asked, with the same request."""
    with Google() as other:
        story = Story(tmp_path, vendor)
        options = {**vendor.options(), "allow_custom_host": True, "second_host": urlsplit(other.url).netloc}
        story.configure(oauth={"antigravity": options})
        story.sign_in()
        other.access = vendor.access
        error = {"code": 503, "message": "No capacity available for model", "status": "UNAVAILABLE"}
        vendor.routes["POST /v1internal:streamGenerateContent"] = lambda hit: (503, {"error": error})
        with Router(tmp_path) as router:
            assert SAID in story.ask(router)[1]

        (first,) = vendor.at("/v1internal:streamGenerateContent")
        (second,) = other.sent
        assert first.json == second.json


def test_a_host_that_is_away(tmp_path: Path, vendor: Google) -> None:
    """Where the first host cannot be reached the second is asked."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        away = f"http://localhost:{taken.getsockname()[1]}"
    story = Story(tmp_path, vendor)
    options = {**vendor.options(), "allow_custom_host": True, "second_host": urlsplit(vendor.url).netloc}
    story.configure(oauth={"antigravity": options})
    story.sign_in()
    story.configure(oauth={"antigravity": {**options, "api_base": away}})
    with Router(tmp_path) as router:
        assert SAID in story.ask(router)[1]

    assert 1 == len(vendor.sent)


def test_a_closed_account(tmp_path: Path, vendor: Google) -> None:
    """An account that the vendor has closed is not used again, and its owner is told in the vendor's words."""
    words = "This service has been disabled in this account for violation of Terms of Service."
    story = Story(tmp_path, vendor)
    story.configure()
    story.sign_in()
    vendor.limits[vendor.person] = (403, {"error": {"code": 403, "message": words, "status": "PERMISSION_DENIED"}})
    with Router(tmp_path) as router:
        assert words in story.ask(router, 403)[1]
        asked = len(vendor.at("/v1internal:streamGenerateContent"))
        story.ask(router, 403)
        assert asked == len(vendor.at("/v1internal:streamGenerateContent"))

    assert words in story.run("auth", "status", "antigravity", code=1)


def test_no_secret(tmp_path: Path, vendor: Google) -> None:
    """Without the secret of the client nothing is sent, and the message says how to set it."""
    options = {name: value for name, value in vendor.options().items() if name != "client_secret"}
    story = Story(tmp_path, vendor)
    story.configure(oauth={"antigravity": options})

    told = story.run("auth", "login", "antigravity", "--accept-terms-risk", code=1)

    assert "CCR_ANTIGRAVITY_CLIENT_SECRET" in told
    assert [] == vendor.hits
