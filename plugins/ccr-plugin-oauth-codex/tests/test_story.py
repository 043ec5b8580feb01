"""The whole story, with the real program in a terminal and a stand-in for OpenAI on this machine.

The stand-in is written after the vendor's open-source client; its addresses are set in the configuration.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ccr_core import JSON
from ccr_core.testing import sse
from ccr_core.testing.loopback import Hit, Router, Terminal, accounts, edit_account, fetch, run
from ccr_core.testing.signins import BROWSER, SAID, LoginService, Story, check_accounts, check_callback, check_story

CLAIM = "https://api.openai.com/auth"


def jwt(payload: Any) -> str:
    part = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return f"eyJh.{part}.sig"


ANSWER = sse(
    {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5.5", "status": "in_progress"}},
    {"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 1}}},
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []},
    },
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "msg_1", "delta": SAID},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": SAID}],
        },
    },
    {
        "type": "response.completed",
        "response": {
            "id": "resp_1",
            "model": "gpt-5.5",
            "status": "completed",
            "output": [],
            "usage": {"input_tokens": 5, "output_tokens": 1},
        },
    },
)


FIELDS = frozenset(
    {
        "model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store",
        "stream", "include", "prompt_cache_key", "service_tier", "text", "client_metadata",
    }
)  # fmt: skip
"""What the backend takes; anything else is refused."""


class OpenAI(LoginService):
    """The login service and the Codex backend."""

    provider: ClassVar[str] = "codex"
    model: ClassVar[str] = "gpt-5.5"
    authorize_path: ClassVar[str] = "/oauth/authorize"
    token_path: ClassVar[str] = "/oauth/token"

    def __init__(self) -> None:
        super().__init__()
        self.device_pending = 1
        self.routes |= {
            "POST /oauth/revoke": lambda hit: {"revoked": self.refresh.pop(hit.json["token"], None)},
            "POST /api/accounts/deviceauth/usercode": lambda hit: {
                "device_auth_id": "dev-1",
                "user_code": "CODE-1",
                "interval": "0",
            },
            "POST /api/accounts/deviceauth/token": self.device,
            "POST /backend/responses": self.models,
            "GET /backend/models": self.known(self.listed),
        }

    def options(self) -> JSON:
        """Every address is the stand-in's."""
        return {"issuer": self.url, "api_base": f"{self.url}/backend", "redirect_ports": [0]}

    def entry(self) -> JSON:
        """As in older configurations."""
        return {"api_base_url": "https://api.openai.com"}

    def asked_for(self, query: Mapping[str, str]) -> None:
        """As the vendor's own client asks, but in our name."""
        expected = {
            "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
            "scope": "openid profile email offline_access",
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "originator": "ccr",
        }
        assert expected == {name: query.get(name) for name in expected}

    def token(self, hit: Hit) -> Any:
        """Codes in forms, renewals in JSON."""
        renewal = "json" in hit.headers["content-type"]
        grant = (hit.json if renewal else hit.form)["grant_type"]
        assert grant == ("refresh_token" if renewal else "authorization_code")
        return super().token(hit)

    def dead(self, refresh: str) -> Any:
        """The vendor's own code; it quotes what it got."""
        return 401, {"error": {"code": "refresh_token_reused", "message": f"{refresh} was used"}}

    def access_token(self, number: int) -> str:
        """It says itself until when it holds."""
        return jwt({"exp": int(time.time() + self.seconds), "n": number})

    def described(self, body: JSON, person: str) -> JSON:
        """Who it is stands in another token."""
        said = {"chatgpt_account_id": "acc-1", "chatgpt_plan_type": "plus", "chatgpt_user_id": "u-1"}
        del body["expires_in"]
        return {**body, "id_token": jwt({"email": person, CLAIM: said})}

    def device(self, hit: Hit) -> Any:
        """The code that the user types; the verifier is the vendor's."""
        assert {"device_auth_id": "dev-1", "user_code": "CODE-1"} == hit.json
        if self.device_pending:
            self.device_pending -= 1
            return 403, {"error": "pending"}
        code, verifier = "device-code-very-secret", "verifier-of-the-vendor-very-secret"
        self.secrets |= {code, verifier}
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        redirect_uri = f"{self.url}/deviceauth/callback"
        self._open[code] = (self.person, {"code_challenge": digest, "redirect_uri": redirect_uri})
        return {"authorization_code": code, "code_challenge": digest, "code_verifier": verifier}

    def models(self, hit: Hit) -> Any:
        """What the backend does not know is refused."""
        unknown = set(hit.json) - FIELDS
        if unknown:
            return 400, {"detail": f"Unsupported parameter: {unknown.pop()}"}
        if hit.json.get("stream") is not True or hit.json.get("store") is not False or "instructions" not in hit.json:
            return 400, {"detail": "Stream must be set to true"}
        return super().models(hit)

    def answered(self, hit: Hit) -> bytes:
        """Responses, with an empty list of what came."""
        return ANSWER

    def told(self) -> dict[str, str]:
        """The windows of the plan, and cookies of the gatekeeper and of others."""
        visit = f"visit-{len(self.sent)}-very-secret"
        self.secrets.add(visit)
        return {
            "x-codex-primary-used-percent": "40.5",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": "1800000000",
            "x-codex-secondary-used-percent": "7",
            "x-codex-secondary-window-minutes": "10080",
            "set-cookie": f"__cf_bm={visit}; path=/; Secure, session=mine; HttpOnly",
        }

    def limited(self, seconds: float) -> Any:
        """The vendor names the time."""
        error = {"type": "usage_limit_reached", "message": "limit", "resets_at": int(time.time() + seconds)}
        return 429, {"error": error}

    def listed(self, hit: Hit) -> Any:
        """Models, some of them not for this user."""
        assert hit.query["client_version"]
        first = {
            "slug": "gpt-5.5",
            "visibility": "list",
            "priority": 1,
            "context_window": 272000,
            "supported_reasoning_levels": [{"effort": "low"}, {"effort": "high"}],
        }
        hidden = {"slug": "hidden", "visibility": "hide"}
        return {"models": [first, hidden, {"slug": "for-pro", "visibility": "list", "available_in_plans": ["pro"]}]}


@pytest.fixture
def openai() -> Iterator[OpenAI]:
    with OpenAI() as vendor:
        yield vendor


def test_the_whole_story(tmp_path: Path, openai: OpenAI) -> None:
    """From the sign-in to the end; requests keep to what the backend takes."""
    story = check_story(tmp_path, openai)
    sent = openai.sent[0]

    assert ("acc-1", "ccr", "text/event-stream") == tuple(
        sent.headers[name] for name in ("chatgpt-account-id", "originator", "accept")
    )
    assert sent.headers["session_id"] == sent.json["prompt_cache_key"]
    assert "billing-header" not in json.dumps(sent.json)
    assert "" == sent.json["instructions"]
    assert {"type": "message", "role": "developer"}.items() <= sent.json["input"][0].items()
    # The gatekeeper's cookie comes back, and no other.
    assert [None, "__cf_bm=visit-1-very-secret", "__cf_bm=visit-2-very-secret"] == [
        hit.headers.get("cookie") for hit in openai.sent[:3]
    ]
    # Signing out has ended the refresh token at the vendor too.
    assert {} == openai.refresh
    texts = "".join(story.texts)
    assert "the ChatGPT plan is used up" in texts
    assert "hidden" not in texts
    assert "for-pro" not in texts


def test_accounts(tmp_path: Path, openai: OpenAI) -> None:
    """Two accounts, then another provider."""
    check_accounts(tmp_path, openai)


def test_the_callback(tmp_path: Path, openai: OpenAI) -> None:
    """Only OpenAI's answer is taken."""
    check_callback(tmp_path, openai)


def test_what_is_kept(tmp_path: Path, openai: OpenAI) -> None:
    """Workspace and plan are kept with the account; windows of the plan are shown; rotations are counted."""
    story = Story(tmp_path, openai)
    story.configure()
    story.sign_in()
    assert ("acc-1", "plus") == tuple(story.account()["extra"][name] for name in ("account_id", "plan"))

    with Router(tmp_path) as router:
        # Whole answers are put together from the stream, which is all that the backend gives.
        _, text = story.ask(router, stream=False)
        assert SAID == json.loads(text)["content"][0]["text"]
        openai.forget()
        story.ask(router)

    assert 1 == story.account()["refresh_generation"]
    stood = story.run("auth", "status")
    assert "5 h 40% used" in stood
    assert "7 d 7% used" in stood


@pytest.mark.parametrize("url", ["https://chatgpt.com/backend-api/codex/responses", "https://chatgpt.com"])
def test_older_configurations(tmp_path: Path, openai: OpenAI, url: str) -> None:
    """Each address that configurations have leads to the backend."""
    entry = {"name": "codex", "api_base_url": url, "auth_type": "oauth", "oauth_provider": "codex"}
    use = {"transformer": {"use": ["openai-responses"]}} if url.endswith("/responses") else {}
    story = Story(tmp_path, openai)
    story.configure(Providers=[{**entry, **use, "models": [openai.model]}])
    story.sign_in()

    with Router(tmp_path) as router:
        assert SAID in story.ask(router)[1]


def test_pasted(tmp_path: Path, openai: OpenAI) -> None:
    """Without a browser on this machine the address of the last page is pasted; another sign-in's is not taken."""
    Story(tmp_path, openai).configure()
    with Terminal(tmp_path, "auth", "login", "codex", "--no-browser", "--method", "browser") as terminal:
        last = openai.agree(openai.address(terminal))
        terminal.until("paste the address")
        terminal.type(last.replace("state=", "state=other"))
        terminal.until("belongs to another sign-in")
        terminal.type(last)
        terminal.until("signed in to codex")
        assert 0 == terminal.wait()


def test_with_a_code(tmp_path: Path, openai: OpenAI) -> None:
    """--no-browser signs in with a code."""
    story = Story(tmp_path, openai)
    story.configure()
    with Terminal(tmp_path, "auth", "login", "codex", "--no-browser") as terminal:
        terminal.until(r"CODE-1")
        terminal.until(r"/codex/device")
        terminal.until("signed in to codex")
        assert 0 == terminal.wait()
    story.texts.append(terminal.output)

    assert [] == story.leaks()


def test_refused_by_the_user(tmp_path: Path, openai: OpenAI) -> None:
    """The vendor's refusal ends the sign-in, and a script in it stays text."""
    Story(tmp_path, openai).configure()
    with Terminal(tmp_path, "auth", "login", "codex", **BROWSER) as terminal:
        back = openai.agree(openai.address(terminal)).replace("code=", "error=")
        page = fetch(f"{back}&error_description=%3Cscript%3Ealert(1)%3C/script%3E")
        terminal.until("the vendor refused")
        assert 1 == terminal.wait()

    assert b"<script" not in page[2]
    assert not (tmp_path / "auth.json").exists()


ROTATIONS = int(os.environ.get("CCR_TEST_ROTATIONS", "500"))
"""How often the token is renewed below."""


def test_many_rotations(tmp_path: Path, openai: OpenAI) -> None:
    """Two routers and a command share one file; a token that works once is renewed again and again, and never lost."""
    story = Story(tmp_path, openai)
    config = story.configure()
    story.sign_in()
    openai.seconds = 1
    edit_account(tmp_path, "codex", access_expires_at=0)
    answers: list[str] = []
    told: list[str] = []

    def use(router: Router) -> None:
        while openai.renewed < ROTATIONS:
            _, text = story.ask(router, stream=False)
            answers.append(text)

    def list_models() -> None:
        while any(thread.is_alive() for thread in threads[:-1]):
            told.append(run(tmp_path, "auth", "models", "codex").stdout)
            time.sleep(1)

    with Router(tmp_path) as one, Router(tmp_path, config, name="other.json") as two:
        threads = [threading.Thread(target=use, args=(router,)) for router in (one, two, one, two)]
        threads.append(threading.Thread(target=list_models))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)

    assert all(SAID in text for text in answers)
    assert (True, True) == (bool(told), all("gpt-5.5" in text for text in told))
    assert 0 == openai.reused
    assert len(openai.spent) == openai.issued - 1 >= ROTATIONS
    record = story.account()
    assert {record["refresh_token"]} == set(openai.refresh)
    assert openai.issued - 1 == record["refresh_generation"]


def test_killed_while_renewing(tmp_path: Path, openai: OpenAI) -> None:
    """A router that is killed at any moment leaves a file that can be read, and no lock."""
    story = Story(tmp_path, openai)
    story.configure()
    story.sign_in()
    openai.seconds = 1
    for attempt in range(3):
        edit_account(tmp_path, "codex", access_expires_at=0, refresh_token=min(openai.refresh))
        with Router(tmp_path) as router:
            thread = threading.Thread(target=lambda router=router: suppressed(story.ask, router))
            thread.start()
            time.sleep(0.02 * attempt)
            router.process.kill()
            thread.join(30)
        assert 1 == len(accounts(tmp_path, "codex"))
        assert "codex" in run(tmp_path, "auth", "list").stdout


def suppressed(call: Any, *args: Any) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        call(*args)
