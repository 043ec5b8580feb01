"""The sign-in ``gemini`` with the real program, and a stand-in for Google."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ccr_core import JSON
from ccr_core.testing import signins, sse
from ccr_core.testing.bodies import SESSION
from ccr_core.testing.loopback import Hit, Router, Terminal, run
from ccr_core.testing.signins import BROWSER, SAID, GoogleLogin, Story, check_accounts, check_callback, check_story

INFO = "type.googleapis.com/google.rpc.ErrorInfo"
METADATA = {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}


class Google(GoogleLogin):
    """Google's login service, and Code Assist.

    ``state`` is what ``loadCodeAssist`` says of an account, ``projects`` are those that are served (all, if none).
    """

    provider: ClassVar[str] = "gemini"
    model: ClassVar[str] = "gemini-2.5-pro"
    redirect: ClassVar[str] = r"http://127\.0\.0\.1:\d+/oauth2callback|https://codeassist\.google\.com/authcode"

    def __init__(self) -> None:
        super().__init__()
        self.state: JSON = {"currentTier": {"id": "standard-tier"}, "cloudaicompanionProject": "my-project"}
        self.work = 1
        self.projects: set[str] | None = None
        self.routes |= {
            "POST /v1internal:loadCodeAssist": self.known(lambda hit: self.state),
            "POST /v1internal:onboardUser": self.known(self.onboard),
            "GET /v1internal/operations/1": self.known(self.onboard),
            "POST /v1internal:retrieveUserQuota": self.known(self.quota),
            "POST /v1internal:streamGenerateContent": self.generate,
        }

    def onboard(self, hit: Hit) -> Any:
        """Setting an account up takes a while."""
        self.work -= 1
        done = {"done": True, "response": {"cloudaicompanionProject": {"id": "made-project"}}}
        return {"name": "operations/1", **(done if self.work <= 0 else {"done": False})}

    def generate(self, hit: Hit) -> Any:
        """Only for a project that is served."""
        if self.projects is not None and hit.json["project"] not in self.projects:
            message = f"Permission denied on resource project {hit.json['project']}."
            return 403, {"error": {"code": 403, "message": message, "status": "PERMISSION_DENIED"}}
        return self.models(hit)

    def quota(self, hit: Hit) -> Any:
        """Of one model three quarters are used."""
        bucket = {"modelId": self.model, "tokenType": "REQUESTS", "remainingFraction": 0.25}
        return {"buckets": [bucket]} if hit.json == {"project": "my-project"} else (403, {"error": {"message": "no"}})

    def answered(self, hit: Hit) -> bytes:
        """In the envelope."""
        parts = [{"text": SAID}]
        return sse(
            json.dumps(
                {
                    "response": {
                        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
                        "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 2},
                    },
                    "traceId": "trace-1",
                }
            )
        )


@pytest.fixture
def vendor() -> Iterator[Google]:
    with Google() as made:
        yield made


def test_the_whole_story(tmp_path: Path, vendor: Google) -> None:
    """From the sign-in, with its project, to the end; requests go out in the envelope of Code Assist."""
    story = check_story(tmp_path, vendor)
    sent = vendor.sent[0]

    (loaded, *_) = vendor.at("/v1internal:loadCodeAssist")
    assert {"metadata": METADATA} == loaded.json
    assert {"alt": "sse"} == sent.query
    assert ("text/event-stream", True) == (sent.headers["accept"], sent.headers["user-agent"].startswith("ccr/"))
    envelope = sent.json
    assert {"model", "project", "user_prompt_id", "request"} == set(envelope)
    assert (vendor.model, "my-project") == (envelope["model"], envelope["project"])
    assert str(uuid.UUID(envelope["user_prompt_id"])) == envelope["user_prompt_id"]
    assert SESSION == envelope["request"]["session_id"]
    assert {"contents", "systemInstruction", "tools"} <= set(envelope["request"])
    # Signing out has taken the permission back at Google too.
    assert {} == vendor.refresh
    assert "cooling down until" in "".join(story.texts)


def test_accounts(tmp_path: Path, vendor: Google) -> None:
    """Two accounts, then another provider."""
    check_accounts(tmp_path, vendor)


def test_the_callback(tmp_path: Path, vendor: Google) -> None:
    """Only Google's answer is taken."""
    check_callback(tmp_path, vendor)


def test_a_new_account(tmp_path: Path, vendor: Google) -> None:
    """It is set up before it is kept, and its quota is shown."""
    vendor.state = {"allowedTiers": [{"id": "free-tier", "isDefault": True}]}
    story = Story(tmp_path, vendor)
    story.configure()
    story.sign_in()

    (asked,) = vendor.at("/v1internal:onboardUser")
    assert {"tierId": "free-tier", "metadata": METADATA} == asked.json
    assert ("made-project", "free-tier") == tuple(story.account()["extra"][name] for name in ("project_id", "tier"))


def test_the_quota(tmp_path: Path, vendor: Google) -> None:
    """What is used of each model is shown when it is asked for."""
    story = Story(tmp_path, vendor)
    story.configure()
    story.sign_in()

    assert f"{vendor.model} 75% used" in story.run("auth", "status", "gemini", "--usage")


def test_a_project_that_has_changed(tmp_path: Path, vendor: Google) -> None:
    """A project that is refused is asked for again: the client notices nothing, and the account has the new one."""
    story = Story(tmp_path, vendor)
    story.configure()
    story.sign_in()
    vendor.state = {**vendor.state, "cloudaicompanionProject": "moved-project"}
    vendor.projects = {"moved-project"}
    with Router(tmp_path) as router:
        assert SAID in story.ask(router)[1]
        assert SAID in story.ask(router)[1]

    asked = [hit.json["project"] for hit in vendor.at("/v1internal:streamGenerateContent")]
    assert ["my-project", "moved-project", "moved-project"] == asked
    assert "moved-project" == story.account()["extra"]["project_id"]


def test_an_api_that_is_off(tmp_path: Path, vendor: Google) -> None:
    """Where the API is not enabled in the project the client is told which, and how to enable it."""
    metadata = {"service": "cloudaicompanion.googleapis.com", "consumer": "projects/my-project"}
    details = [{"@type": INFO, "reason": "SERVICE_DISABLED", "metadata": metadata}]
    error = {"code": 403, "message": "It is off.", "status": "PERMISSION_DENIED", "details": details}
    story = Story(tmp_path, vendor)
    story.configure()
    story.sign_in()
    vendor.limits[vendor.person] = (403, {"error": error})
    with Router(tmp_path) as router:
        told = story.ask(router, 403)[1]

    assert "gcloud services enable cloudaicompanion.googleapis.com --project my-project" in told


def test_a_consumer(tmp_path: Path, vendor: Google) -> None:
    """An account that the service does not serve any more is told so, with what to use instead; nothing is kept."""
    words = "This client is no longer supported for individuals."
    vendor.state = {"ineligibleTiers": [{"reasonCode": "UNSUPPORTED_CLIENT", "reasonMessage": words}]}
    Story(tmp_path, vendor).configure()
    with Terminal(tmp_path, "auth", "login", "gemini", "--accept-terms-risk", **BROWSER) as terminal:
        vendor.sign_in(terminal)
        terminal.until(words.replace(".", r"\."))
        terminal.until("Use a Gemini API key")
        assert 1 == terminal.wait()

    assert not (tmp_path / "auth.json").exists()


def test_no_secret(tmp_path: Path, vendor: Google) -> None:
    """Without the secret of the client nothing is sent, and the message says where it is and how to set it."""
    options = {name: value for name, value in vendor.options().items() if name != "client_secret"}
    Story(tmp_path, vendor).configure(oauth={"gemini": options})
    done = run(tmp_path, "auth", "login", "gemini", "--accept-terms-risk", PATH=str(tmp_path))

    assert (1, True, []) == (done.returncode, "CCR_GEMINI_CLIENT_SECRET" in done.stderr, vendor.hits)


def test_pasted(tmp_path: Path, vendor: Google) -> None:
    """Without a browser Google's page shows the code, which may be copied as it stands in an address."""
    story = Story(tmp_path, vendor)
    story.configure()
    with Terminal(tmp_path, "auth", "login", "gemini", "--no-browser", "--accept-terms-risk") as terminal:
        back = vendor.agree(vendor.address(terminal))
        assert back.startswith("https://codeassist.google.com/authcode?")
        terminal.until("paste the address")
        terminal.type(signins.query_of(back)["code"].replace("-", "%2D", 1))
        terminal.until("signed in to gemini")
        assert 0 == terminal.wait()

    assert "active" in story.run("auth", "status", "gemini")
