"""Vertex AI with the real program: credentials as they lie on a machine, and a stand-in for Google."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ccr_core import JSON
from ccr_core.testing import sse, streamed
from ccr_core.testing.loopback import Hit, Router, run
from ccr_core.testing.signins import ELSEWHERE, SAID, LoginService, Story

KEY = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
GCLOUD = ".config/gcloud/application_default_credentials.json"
PLACE = "/v1/projects/my-project/locations/us-central1/publishers/google/models/gemini-2.5-pro:streamGenerateContent"
EAST = "/v1/projects/my-project/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-6:streamRawPredict"


class Google(LoginService):
    """Google's login service for programs, its token exchange, and Vertex AI."""

    provider: ClassVar[str] = "vertex"
    model: ClassVar[str] = "gemini-2.5-pro"

    def __init__(self) -> None:
        super().__init__()
        self.revoked = False
        self.routes |= {f"POST {PLACE}": self.models, f"POST {EAST}": self.models, "POST /sts": self.token}

    def options(self) -> JSON:
        """Where models are; where tokens are is in the credentials."""
        return {"api_base": self.url, "project": "my-project"}

    def token(self, hit: Hit) -> Any:
        """A token for whatever proof is sent."""
        proof = [hit.form[name] for name in ("assertion", "refresh_token", "subject_token") if name in hit.form]
        self.secrets.update(proof)
        if self.revoked or len(proof) != 1:
            return 400, {"error": "invalid_grant", "error_description": "revoked"}
        self.renewed += 1
        return self.issue("machine", new=False)

    def access_token(self, number: int) -> str:
        """As Google writes them."""
        return f"ya29.{number}-very-secret"

    def answered(self, hit: Hit) -> bytes:
        """In the format of the model."""
        if hit.path == EAST:
            return streamed(SAID)
        found = {"content": {"role": "model", "parts": [{"text": SAID}]}, "finishReason": "STOP"}
        return sse(json.dumps({"candidates": [found]}))

    def limited(self, seconds: float) -> Any:
        """The quota is used up."""
        error = {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED"}
        return 429, {"error": {**error, "details": [{"retryDelay": f"{seconds:g}s"}]}}


@pytest.fixture
def google() -> Iterator[Google]:
    with Google() as made:
        yield made


def service_account(google: Google) -> JSON:
    """The key file of a service account."""
    google.secrets.update(line for line in KEY.splitlines() if "-----" not in line)
    account = {"client_email": "me@my-project.iam.gserviceaccount.com", "private_key": KEY, "project_id": "my-project"}
    return {"type": "service_account", **account, "token_uri": google.url + google.token_path}


def user(google: Google) -> JSON:
    """What ``gcloud auth application-default login`` leaves behind."""
    client = {"client_id": "c", "client_secret": "client-very-secret", "refresh_token": "1//very-secret"}
    google.secrets.update(("client-very-secret", "1//very-secret"))
    return {"type": "authorized_user", **client, "token_uri": google.url + google.token_path}


def workload(google: Google) -> JSON:
    """A machine outside of Google Cloud."""
    source = {"file": "subject.txt"}
    return {
        "type": "external_account",
        "audience": "//iam",
        "token_url": f"{google.url}/sts",
        "credential_source": source,
    }


def place(story: Story, credentials: Mapping[str, Any]) -> None:
    """Put credentials where Google's own programs look for them."""
    file = story.home / GCLOUD
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(credentials))
    (story.home / "subject.txt").write_text("subject-very-secret\n")


@pytest.mark.parametrize("kind", [service_account, user, workload])
def test_the_whole_story(tmp_path: Path, google: Google, kind: Any) -> None:
    """Tokens are got by themselves, once, anew after a refusal and before their end; a used-up quota falls back."""
    story = Story(tmp_path, google)
    place(story, kind(google))
    story.configure(fallback={"default": ["other,big"]})
    assert "needs no sign-in" in story.run("auth", "login", "vertex")
    with Router(tmp_path) as router:
        for _ in range(2):
            assert SAID in story.ask(router)[1]
        assert 1 == google.renewed

        google.forget()
        google.seconds = 1
        assert SAID in story.ask(router)[1]
        assert 2 == google.renewed

        # The last one is about to end.
        assert SAID in story.ask(router)[1]
        assert 3 == google.renewed

        google.limits["machine"] = google.limited(7200)
        headers, text = story.ask(router)
        assert (True, True) == (ELSEWHERE in text, headers["x-ccr-route"].startswith("other,big"))
    story.ended(router)

    (sent, *_) = google.sent
    assert (PLACE, {"alt": "sse"}) == (sent.path, sent.query)
    assert {"contents", "systemInstruction", "tools"} <= set(sent.json)
    # Nothing is kept.
    assert not (tmp_path / "auth.json").exists()
    (tmp_path / GCLOUD).unlink()
    (tmp_path / "subject.txt").unlink()
    assert [] == story.leaks()


def test_claude(tmp_path: Path, google: Google) -> None:
    """Claude models are asked in their own format, at their own place, with the same credentials."""
    story = Story(tmp_path, google)
    place(story, service_account(google))
    entry = {"name": "vertex", "auth_type": "oauth", "oauth_provider": "vertex", "models": ["claude-sonnet-4-6"]}
    story.configure(Providers=[entry], Router={"default": "vertex,claude-sonnet-4-6", "rules": ["default"]})
    with Router(tmp_path) as router:
        assert SAID in story.ask(router)[1]

    (sent,) = google.sent
    assert (EAST, "vertex-2023-10-16", False) == (sent.path, sent.json["anthropic_version"], "model" in sent.json)


def test_revoked(tmp_path: Path, google: Google) -> None:
    """A login of gcloud that was taken back is told with the command that helps."""
    story = Story(tmp_path, google)
    place(story, user(google))
    story.configure()
    google.revoked = True
    with Router(tmp_path) as router:
        _, text = story.ask(router, 401)
        assert "gcloud auth application-default login" in text

        # And works again as soon as there is another.
        google.revoked = False
        assert SAID in story.ask(router)[1]
    story.ended(router)
    (tmp_path / GCLOUD).unlink()

    assert [] == story.leaks()


def test_no_credentials(tmp_path: Path, google: Google) -> None:
    """Where there are none the answer says how to get some, and the command that lists models too."""
    story = Story(tmp_path, google)
    story.configure()
    with Router(tmp_path) as router:
        assert "GOOGLE_APPLICATION_CREDENTIALS" in story.ask(router, 401)[1]
    done = run(tmp_path, "auth", "models", "vertex")

    assert (1, True) == (done.returncode, "GOOGLE_APPLICATION_CREDENTIALS" in done.stderr)
