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
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ccr_core.testing import sse
from ccr_core.testing.loopback import (
    Hit,
    Router,
    Terminal,
    Vendor,
    accounts,
    arguments,
    edit_account,
    fetch,
    run,
    secrets_in,
)

CODE = "authorization-code-very-secret"
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
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "msg_1", "delta": "hello"},
    {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hello"}],
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


class OpenAI(Vendor):
    """The login service and the Codex backend.  A refresh token works once."""

    def __init__(self) -> None:
        super().__init__()
        self.challenges: dict[str, str] = {}
        self.redirects: dict[str, str] = {}
        self.refresh: set[str] = set()
        self.valid: set[str] = set()
        self.used: list[str] = []
        self.issued = 0
        self.reused = 0
        self.device_pending = 1
        self.seconds = 864000
        self.refused: Any = None
        self.routes |= {
            "POST /oauth/token": self.token,
            "POST /oauth/revoke": self.revoke,
            "POST /api/accounts/deviceauth/usercode": lambda hit: {
                "device_auth_id": "dev-1",
                "user_code": "CODE-1",
                "interval": "0",
            },
            "POST /api/accounts/deviceauth/token": self.device,
            "POST /backend/responses": self.respond,
            "GET /backend/models": self.models,
        }

    def authorize(self, url: str) -> str:
        """What the vendor does when the user opens ``url`` and agrees: the address to which the browser is sent."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        expected = {
            "response_type": "code",
            "client_id": "app_EMoamEEZ73f0CkXaXp7hrann",
            "scope": "openid profile email offline_access",
            "code_challenge_method": "S256",
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "originator": "ccr",
        }
        assert expected == {name: query.get(name) for name in expected}
        self.challenges[CODE] = query["code_challenge"]
        self.redirects[CODE] = query["redirect_uri"]
        self.state = query["state"]
        return f"{query['redirect_uri']}?code={CODE}&state={query['state']}"

    def token(self, hit: Hit) -> Any:
        if "json" in hit.headers["content-type"]:
            sent = hit.json
            assert "refresh_token" == sent["grant_type"]
            if sent["refresh_token"] not in self.refresh:
                self.reused += sent["refresh_token"] in self.used
                return 401, {"error": {"code": "refresh_token_reused", "message": f"{sent['refresh_token']} was used"}}
            self.refresh.discard(sent["refresh_token"])
            self.used.append(sent["refresh_token"])
            return self.issue()
        sent = hit.form
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent["code_verifier"].encode()).digest()).rstrip(b"=")
        if (
            self.challenges.pop(sent["code"], "") != challenge.decode()
            or self.redirects[sent["code"]] != sent["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        return self.issue()

    def issue(self) -> Any:
        self.issued += 1
        refresh = f"rt-secret-{self.issued}"
        access = jwt({"exp": int(time.time()) + self.seconds, "n": self.issued})
        self.refresh.add(refresh)
        self.valid.add(f"Bearer {access}")
        said = {"chatgpt_account_id": "acc-1", "chatgpt_plan_type": "plus", "chatgpt_user_id": "u-1"}
        identity = jwt({"email": "me@example.com", CLAIM: said})
        return {"access_token": access, "refresh_token": refresh, "id_token": identity, "token_type": "Bearer"}

    def revoke(self, hit: Hit) -> Any:
        self.refresh.discard(hit.json["token"])
        return {}

    def device(self, hit: Hit) -> Any:
        assert {"device_auth_id": "dev-1", "user_code": "CODE-1"} == hit.json
        if self.device_pending:
            self.device_pending -= 1
            return 403, {"error": "pending"}
        verifier = "verifier-of-the-vendor-very-secret"
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        self.challenges[CODE] = digest
        self.redirects[CODE] = f"{self.url}/deviceauth/callback"
        return {"authorization_code": CODE, "code_challenge": digest, "code_verifier": verifier}

    def respond(self, hit: Hit) -> Any:
        if hit.headers.get("authorization") not in self.valid:
            return 401, {"detail": "invalid or expired token"}
        if self.refused is not None:
            return self.refused
        unknown = set(hit.json) - {
            "model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store",
            "stream", "include", "prompt_cache_key", "service_tier", "text", "client_metadata",
        }  # fmt: skip
        if unknown:
            return 400, {"detail": f"Unsupported parameter: {unknown.pop()}"}
        if hit.json.get("stream") is not True or hit.json.get("store") is not False or "instructions" not in hit.json:
            return 400, {"detail": "Stream must be set to true"}
        limits = {
            "x-codex-primary-used-percent": "40.5",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": "1800000000",
            "x-codex-secondary-used-percent": "7",
            "x-codex-secondary-window-minutes": "10080",
        }
        return 200, {"content-type": "text/event-stream", **limits}, ANSWER

    def models(self, hit: Hit) -> Any:
        assert hit.query["client_version"]
        levels = [{"effort": "low"}, {"effort": "high"}]
        listed = [
            {
                "slug": "gpt-5.5",
                "visibility": "list",
                "priority": 1,
                "context_window": 272000,
                "supported_reasoning_levels": levels,
            },
            {"slug": "hidden", "visibility": "hide"},
            {"slug": "for-pro", "visibility": "list", "available_in_plans": ["pro"]},
        ]
        return {"models": listed} if hit.headers.get("authorization") in self.valid else (401, {"error": "no"})


@pytest.fixture
def openai() -> Iterator[OpenAI]:
    with OpenAI() as vendor:
        yield vendor


def config(openai: OpenAI, url: str = "https://api.openai.com") -> dict[str, Any]:
    """The provider entry is that of older configurations, unchanged; only the addresses are the stand-in's."""
    return {
        "Providers": [
            {
                "name": "codex",
                "api_base_url": url,
                "auth_type": "oauth",
                "oauth_provider": "codex",
                "models": ["gpt-5.5"],
                **({"transformer": {"use": ["openai-responses"]}} if url.endswith("/responses") else {}),
            }
        ],
        "Router": {"default": "codex,gpt-5.5"},
        "retry": {"attempts": 0},
        "oauth": {
            "codex": {
                "issuer": openai.url,
                "api_base": f"{openai.url}/backend",
                "allow_custom_host": True,
                "redirect_ports": [0],
            }
        },
    }


def address(terminal: Terminal, openai: OpenAI) -> str:
    """The address that the terminal shows."""
    return terminal.until(rf"{openai.url}/oauth/authorize\?\S+")[0]


def sign_in(home: Path, openai: OpenAI, **more: Any) -> str:
    (home / "config.json").write_text(json.dumps({"PORT": 0, **config(openai, **more)}))
    with Terminal(home, "auth", "login", "codex") as terminal:
        back = openai.authorize(address(terminal, openai))
        visible = arguments(terminal.process)
        page = fetch(back)
        assert 200 == page[0], page
        terminal.until(r"signed in to codex as me@example.com \(plus\) \(account \w{8}\)")
        assert 0 == terminal.wait()
    return terminal.output + visible


def ask(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    system = [{"type": "text", "text": "x-anthropic-billing-header: cc=1"}, {"type": "text", "text": "Be brief."}]
    session = {"user_id": json.dumps({"session_id": "s-1"})}
    return {
        "model": "codex,gpt-5.5",
        "max_tokens": 100,
        "temperature": 1,
        "stream": True,
        "system": system,
        "metadata": session,
        "messages": messages,
        **fields,
    }


def test_the_whole_story(tmp_path: Path, openai: OpenAI) -> None:
    """Sign in with the browser, be answered, renew with rotation, hit the limit, lose the sign-in, sign out."""
    shown = sign_in(tmp_path, openai)
    (account,) = accounts(tmp_path, "codex")
    record = accounts(tmp_path, "codex")[account]
    assert ("acc-1", "plus") == (record["extra"]["account_id"], record["extra"]["plan"])
    listed = run(tmp_path, "auth", "models", "codex").stdout
    assert ("gpt-5.5" in listed, "hidden" in listed, "for-pro" in listed) == (True, False, False)

    with Router(tmp_path) as router:
        status, _, body = router.post(ask())
        assert (200, True) == (status, b"hello" in body), body
        (hit,) = openai.at("/backend/responses")
        assert ("acc-1", "ccr", "text/event-stream") == tuple(
            hit.headers[name] for name in ("chatgpt-account-id", "originator", "accept")
        )
        assert hit.headers["session_id"] == hit.json["prompt_cache_key"]
        assert "billing-header" not in json.dumps(hit.json)
        assert "" == hit.json["instructions"]
        assert {"type": "message", "role": "developer"}.items() <= hit.json["input"][0].items()

        # Whole answers are put together from the stream, which is all that the backend gives.
        status, _, body = router.post(ask(stream=False))
        assert "hello" == json.loads(body)["content"][0]["text"]

        # The backend does not know the token any more: one renewal, and the rotated token is kept.
        openai.valid.clear()
        status, _, _ = router.post(ask())
        assert (200, 2) == (status, openai.issued)
        assert "rt-secret-2" == accounts(tmp_path, "codex")[account]["refresh_token"]
        assert 1 == accounts(tmp_path, "codex")[account]["refresh_generation"]

        # It is about to end.
        edit_account(tmp_path, "codex", access_expires_at=int(time.time()) + 100)
        time.sleep(1.1)
        status, _, _ = router.post(ask())
        assert (200, 3) == (status, openai.issued)

        # The plan is used up: the reset that the vendor names.
        until = int(time.time()) + 7200
        openai.refused = (429, {"error": {"type": "usage_limit_reached", "message": "limit", "resets_at": until}})
        status, headers, body = router.post(ask())
        assert (429, True) == (status, 7100 < int(headers["retry-after"]) <= 7200)
        assert b"the ChatGPT plan is used up" in body
        wait(lambda: "cooling down until" in run(tmp_path, "auth", "status").stdout)
        stood = run(tmp_path, "auth", "status").stdout
        assert "5 h 40% used" in stood
        assert "7 d 7% used" in stood

        # The sign-in is revoked elsewhere.
        openai.refused = None
        openai.refresh.clear()
        openai.valid.clear()
        status, _, body = router.post(ask())
        assert (401, True) == (status, f"Run: ccr auth login codex --account {account}".encode() in body)
        tries = len(openai.at("/oauth/token"))
        assert 401 == router.post(ask())[0]
        assert tries == len(openai.at("/oauth/token"))

        shown += arguments(router.process)

        # Signing in again is enough, also for the router that runs.
        shown += sign_in(tmp_path, openai)
        time.sleep(1.1)
        assert 200 == router.post(ask())[0]
    gone = run(tmp_path, "auth", "logout", "codex")
    assert "signed out of codex" in gone.stdout
    assert set() == openai.refresh
    assert {} == accounts(tmp_path, "codex")

    texts = [shown.replace(openai.state, ""), router.log, listed, gone.stderr, body.decode()]
    assert [] == secrets_in(tmp_path, texts, "rt-secret", CODE, "eyJh.")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com",
        "https://chatgpt.com/backend-api/codex/responses",
        "https://chatgpt.com/backend-api/codex",
    ],
)
def test_older_configurations(tmp_path: Path, openai: OpenAI, url: str) -> None:
    """Each address that configurations have leads to the backend."""
    sign_in(tmp_path, openai, url=url)

    with Router(tmp_path) as router:
        status, _, body = router.post(ask())

    assert (200, True) == (status, b"hello" in body), body


def test_pasted(tmp_path: Path, openai: OpenAI) -> None:
    """Without a browser on this machine the address of the last page is pasted; another sign-in's is not taken."""
    (tmp_path / "config.json").write_text(json.dumps(config(openai)))
    with Terminal(tmp_path, "auth", "login", "codex", "--no-browser", "--method", "browser") as terminal:
        last = openai.authorize(address(terminal, openai))
        terminal.until("paste the address")
        terminal.type(last.replace(openai.state, "other"))
        terminal.until("belongs to another sign-in")
        terminal.type(last)
        terminal.until("signed in to codex")
        assert 0 == terminal.wait()


def test_with_a_code(tmp_path: Path, openai: OpenAI) -> None:
    """--no-browser signs in with a code."""
    (tmp_path / "config.json").write_text(json.dumps(config(openai)))
    with Terminal(tmp_path, "auth", "login", "codex", "--no-browser") as terminal:
        terminal.until(r"CODE-1")
        terminal.until(r"/codex/device")
        terminal.until("signed in to codex")
        assert 0 == terminal.wait()

    assert [] == secrets_in(tmp_path, [terminal.output], "verifier-of-the-vendor", CODE, "rt-secret")


def test_refused_by_the_user(tmp_path: Path, openai: OpenAI) -> None:
    """The vendor's refusal ends the sign-in, and a script in it stays text."""
    (tmp_path / "config.json").write_text(json.dumps(config(openai)))
    with Terminal(tmp_path, "auth", "login", "codex") as terminal:
        back = openai.authorize(address(terminal, openai)).replace(f"code={CODE}", "error=access_denied")
        page = fetch(f"{back}&error_description=%3Cscript%3Ealert(1)%3C/script%3E")
        terminal.until("the vendor refused")
        assert 1 == terminal.wait()

    assert b"<script" not in page[2]
    assert not (tmp_path / "auth.json").exists()


def wait(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


ROTATIONS = int(os.environ.get("CCR_TEST_ROTATIONS", "100"))
"""How often the token is renewed below; the whole rate of a month is 500."""


def test_many_rotations(tmp_path: Path, openai: OpenAI) -> None:
    """Two routers and a command share one file; a token that works once is renewed again and again, and never lost."""
    sign_in(tmp_path, openai)
    openai.seconds = 1
    edit_account(tmp_path, "codex", access_expires_at=0)
    statuses: list[int] = []
    told: list[str] = []
    lock = threading.Lock()

    def use(router: Router, times: int) -> None:
        for _ in range(times):
            status, _, _ = router.post(ask(stream=False))
            with lock:
                statuses.append(status)

    def list_models() -> None:
        while len(statuses) < ROTATIONS:
            told.append(run(tmp_path, "auth", "models", "codex").stdout)

    with Router(tmp_path, name="config.json") as one, Router(tmp_path, config(openai), name="other.json") as two:
        threads = [threading.Thread(target=use, args=(router, ROTATIONS // 4)) for router in (one, two, one, two)]
        threads.append(threading.Thread(target=list_models))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)

    assert {200} == set(statuses)
    assert all("gpt-5.5" in text for text in told)
    assert 0 == openai.reused
    assert len(openai.used) == openai.issued - 1 >= ROTATIONS // 4
    (record,) = accounts(tmp_path, "codex").values()
    assert {record["refresh_token"]} == openai.refresh
    assert openai.issued - 1 == record["refresh_generation"]


def test_killed_while_renewing(tmp_path: Path, openai: OpenAI) -> None:
    """A router that is killed at any moment leaves a file that can be read, and no lock."""
    sign_in(tmp_path, openai)
    openai.seconds = 1
    for attempt in range(3):
        edit_account(tmp_path, "codex", access_expires_at=0, refresh_token=min(openai.refresh))
        with Router(tmp_path) as router:
            thread = threading.Thread(target=lambda router=router: suppressed(router.post, ask()))
            thread.start()
            time.sleep(0.02 * attempt)
            router.process.kill()
            thread.join(30)
        assert 1 == len(accounts(tmp_path, "codex"))
        assert "codex" in run(tmp_path, "auth", "list").stdout


def suppressed(call: Any, *args: Any) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        call(*args)
