"""The sign-in ``anthropic-managed`` with the real program, and a stand-in for Anthropic."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ccr_core import JSON
from ccr_core.testing import claude_code_headers, claude_code_request, signins, streamed
from ccr_core.testing.loopback import Hit, Router, Terminal, run
from ccr_core.testing.signins import SAID, LoginService, Story, check_accounts, check_callback, check_story


class Anthropic(LoginService):
    """The login service, which takes and gives JSON, and the API."""

    provider: ClassVar[str] = "anthropic-managed"
    model: ClassVar[str] = "claude-sonnet-5"
    risky: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.routes |= {
            "GET /api/oauth/profile": self.known(lambda hit: self.profile(str(self.who(hit)))),
            "GET /api/oauth/usage": self.known(lambda hit: {"five_hour": {"utilization": 42.0}}),
            "GET /v1/models": self.known(lambda hit: {"data": [{"id": self.model, "display_name": "Sonnet 5"}]}),
            "POST /v1/messages": self.models,
        }

    def options(self) -> JSON:
        """Every address is the stand-in's."""
        urls = {"authorize_url": self.url + self.authorize_path, "token_url": self.url + self.token_path}
        return {**urls, "account_base": self.url, "api_base": self.url, "paste_url": f"{self.url}/page"}

    def entry(self) -> JSON:
        """It stands for Anthropic's own host."""
        return {"options": {"first_party": True}}

    def asked_for(self, query: Mapping[str, str]) -> None:
        """The scopes of a subscription, for the public client."""
        expected = {
            "code": "true",
            "client_id": "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
            "scope": "user:profile user:inference",
        }
        assert expected == {name: query.get(name) for name in expected}

    def token(self, hit: Hit) -> Any:
        """JSON only; the state is repeated."""
        assert hit.headers["content-type"].startswith("application/json")
        given = hit.json
        if given["grant_type"] == "authorization_code" and given.get("state") not in self.states:
            return 400, {"error": "invalid_request"}
        return super().token(hit)

    def described(self, body: JSON, person: str) -> JSON:
        """Whose account it is."""
        return {**body, "scope": "user:profile user:inference", **self.profile(person)}

    def profile(self, person: str) -> JSON:
        """A person with an organisation."""
        return {
            "account": {"uuid": f"u-{person}", "email_address": person},
            "organization": {"uuid": "o-1", "name": "Mine", "rate_limit_tier": "max_20x"},
        }

    def access_token(self, number: int) -> str:
        """As Anthropic writes them."""
        return f"sk-ant-oat01-{number}-very-secret"

    def answered(self, hit: Hit) -> bytes:
        """The Messages API."""
        return streamed(SAID)

    def told(self) -> dict[str, str]:
        """The limits of the plan stand in every answer."""
        return {"anthropic-ratelimit-unified-5h-utilization": "0.25", "anthropic-ratelimit-unified-status": "allowed"}

    def limited(self, seconds: float) -> Any:
        """The window of five hours is used up."""
        reset = {"anthropic-ratelimit-unified-5h-status": "rejected"}
        reset["anthropic-ratelimit-unified-5h-reset"] = str(int(time.time() + seconds))
        body = b'{"type":"error","error":{"type":"rate_limit_error","message":"You have hit your limit."}}'
        return 429, {"content-type": "application/json", **reset}, body


@pytest.fixture
def vendor() -> Iterator[Anthropic]:
    with Anthropic() as made:
        yield made


def test_the_whole_story(tmp_path: Path, vendor: Anthropic) -> None:
    """From the sign-in to the end; requests go out as Claude Code sent them, but for the credential and the model."""
    check_story(tmp_path, vendor)
    sent = vendor.sent[0]
    given = claude_code_request(model=f"{vendor.provider},{vendor.model}")

    assert "/v1/messages" == sent.path
    assert {**given, "model": vendor.model} == sent.json
    kept = ("user-agent", "x-app", "anthropic-version", "x-claude-code-session-id", "x-stainless-lang")
    assert {name: claude_code_headers()[name] for name in kept} == {name: sent.headers.get(name) for name in kept}
    betas = claude_code_headers()["anthropic-beta"].split(",")
    assert [betas[0], "oauth-2025-04-20", *betas[1:]] == sent.headers["anthropic-beta"].split(",")
    assert "x-api-key" not in sent.headers


def test_accounts(tmp_path: Path, vendor: Anthropic) -> None:
    """Two accounts, then another provider."""
    check_accounts(tmp_path, vendor)


def test_the_callback(tmp_path: Path, vendor: Anthropic) -> None:
    """Only Anthropic's answer is taken."""
    check_callback(tmp_path, vendor)


def test_limits_are_shown(tmp_path: Path, vendor: Anthropic) -> None:
    """What answers say of the plan, and what the vendor says when it is asked, is in the status."""
    story = Story(tmp_path, vendor)
    story.configure()
    story.sign_in()
    with Router(tmp_path) as router:
        story.ask(router)
        signins.eventually(lambda: "5 hours 25% used" in story.run("auth", "status"))

    assert "5 hours 42% used" in story.run("auth", "status", vendor.provider, "--usage")


@pytest.mark.parametrize("answer", ["no", "", "y"])
def test_who_does_not_agree(tmp_path: Path, vendor: Anthropic, answer: str) -> None:
    """Without a whole "yes" nothing is sent and nothing kept."""
    Story(tmp_path, vendor).configure()
    with Terminal(tmp_path, "auth", "login", vendor.provider) as terminal:
        terminal.until("does not permit third-party products")
        terminal.until('Type "yes" to go on: ')
        terminal.type(answer)
        terminal.until("--accept-terms-risk")
        assert 1 == terminal.wait()

    assert ([], False) == (vendor.hits, (tmp_path / "auth.json").exists())


def test_a_page_to_copy_from(tmp_path: Path, vendor: Anthropic) -> None:
    """Without a browser on this machine the vendor's page shows a code with the state; another's is not taken."""
    story = Story(tmp_path, vendor)
    story.configure()
    with Terminal(tmp_path, "auth", "login", vendor.provider, "--no-browser", "--accept-terms-risk") as terminal:
        back = vendor.agree(vendor.address(terminal))
        assert back.startswith(f"{vendor.url}/page?")
        query = signins.query_of(back)
        terminal.until("paste the address")
        terminal.type(f"{query['code']}#another")
        terminal.until("belongs to another sign-in")
        terminal.type(f"{query['code']}#{query['state']}")
        terminal.until(f"signed in to {vendor.provider}")
        assert 0 == terminal.wait()


def test_a_token_for_a_year(tmp_path: Path, vendor: Anthropic) -> None:
    """``--method token`` takes what the vendor's program has printed, does not show it, and tells when it is over."""
    story = Story(tmp_path, vendor)
    story.configure()
    token = "sk-ant-oat01-year-very-secret"
    vendor.access[token] = "me"
    vendor.secrets.add(token)
    with Terminal(tmp_path, "auth", "login", vendor.provider, "--method", "token") as terminal:
        terminal.until('Type "yes" to go on: ')
        terminal.type("yes")
        terminal.until("setup-token")
        terminal.type(token)
        terminal.until(f"signed in to {vendor.provider}")
        assert 0 == terminal.wait()
    story.texts.append(terminal.output)
    with Router(tmp_path) as router:
        assert SAID in story.ask(router)[1]
        vendor.take_back()
        assert "Run: ccr auth login anthropic-managed" in story.ask(router, 401)[1]
    story.ended(router)

    assert [] == story.leaks()


def test_nothing_to_sign_in_to(tmp_path: Path) -> None:
    """The usual way needs no sign-in; the other one is named."""
    done = run(tmp_path, "auth", "login", "anthropic")

    assert (0, "") == (done.returncode, done.stderr)
    assert "needs no sign-in (but there is anthropic-managed" in done.stdout
