"""Whether a sign-in holds with the real program: a vendor to sign in to, and the stories that it must survive.

A test of a plugin extends :class:`LoginService` by what is its vendor's own, and hands it to :func:`check_story`,
:func:`check_accounts` and :func:`check_callback`: ``ccr auth login`` runs in a terminal, a router with the vendor's
addresses in its configuration answers requests like Claude Code's, and nothing secret may be seen anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs

from ccr_core.messages import JSON
from ccr_core.testing.bodies import claude_code_headers, claude_code_request
from ccr_core.testing.loopback import (
    LIMIT,
    Answer,
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
from ccr_core.testing.upstream import streamed

SAID, ELSEWHERE = "Hello from the vendor.", "Hello from elsewhere."
"""What the vendor's models say, and what the model says to which a story falls back."""

FIRST, SECOND = "me@example.com", "you@example.com"
"""Who signs in."""

BROWSER = {"NO_BROWSER": "", "DISPLAY": ":0", "BROWSER": "true"}
"""The environment of a user with a browser on this machine: a program that does nothing, since the test fetches."""

STREAM = {"content-type": "text/event-stream"}


def query_of(url: str) -> dict[str, str]:
    """The query of an address; of a repeated name the first value."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


class LoginService(Vendor):
    """A vendor with a login in the browser (authorization code and PKCE) and models for those who have signed in.

    ``person`` is who signs in next.  ``access`` and ``refresh`` are the tokens that are taken, with whose they are.
    ``limits`` is what a person is refused with.  ``sent`` are the requests to models that were let in, and ``secrets``
    all that nobody else may see.
    """

    provider: ClassVar[str] = ""
    """The sign-in's name."""

    model: ClassVar[str] = ""
    listed_as: ClassVar[str] = ""
    """The model's name in the vendor's list, where it is another."""

    risky: ClassVar[bool] = False
    """Whether the user has to agree to a risk."""

    rotates: ClassVar[bool] = True
    """Whether a refresh token works once."""

    authorize_path: ClassVar[str] = "/authorize"
    token_path: ClassVar[str] = "/token"

    def __init__(self) -> None:
        super().__init__()
        self.person = FIRST
        self.access: dict[str, str] = {}
        self.refresh: dict[str, str] = {}
        self.limits: dict[str, Answer] = {}
        self.sent: list[Hit] = []
        self.secrets: set[str] = set()
        self.states: set[str] = set()
        self.spent: list[str] = []
        self.issued = self.renewed = self.reused = 0
        self.seconds = 3600.0
        self._open: dict[str, tuple[str, dict[str, str]]] = {}
        self.routes[f"POST {self.token_path}"] = self.token

    # What a test says of its vendor.

    def options(self) -> JSON:
        """The options of the sign-in that lead it here."""
        raise NotImplementedError

    def entry(self) -> JSON:
        """What the provider entry has beside its name, sign-in and models."""
        return {}

    def answered(self, hit: Hit) -> bytes:
        """The stream with which a model says :data:`SAID`."""
        raise NotImplementedError

    def limited(self, seconds: float) -> Answer:
        """The refusal of a person whose plan is used up for so long."""
        raise NotImplementedError

    def asked_for(self, query: Mapping[str, str]) -> None:
        """Look at what the vendor's page is asked for; fails if it would not do."""

    def described(self, body: JSON, person: str) -> JSON:
        """The answer of the token endpoint, with what the vendor adds to it."""
        return body

    def access_token(self, number: int) -> str:
        """A token of the vendor's form."""
        return f"access-{number}-very-secret"

    def dead(self, refresh: str) -> Answer:
        """The answer to a refresh token that is not taken any more."""
        return 400, {"error": "invalid_grant", "error_description": f"{refresh} has been revoked"}

    # What it does.

    def agree(self, address: str) -> str:
        """What happens when the user opens ``address`` and agrees: the address to which the browser is sent."""
        query = query_of(address)
        assert ("code", "S256") == (query["response_type"], query["code_challenge_method"])
        self.asked_for(query)
        code = f"code-{len(self._open)}-very-secret"
        self._open[code] = (self.person, query)
        self.secrets.add(code)
        self.states.add(query["state"])
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def address(self, terminal: Terminal) -> str:
        """The address that the terminal shows."""
        return terminal.until(rf"{re.escape(self.url + self.authorize_path)}\?\S+")[0]

    def sign_in(self, terminal: Terminal) -> None:
        """The user does what the terminal says."""
        page = fetch(self.agree(self.address(terminal)))
        assert 200 == page[0], page

    def token(self, hit: Hit) -> Answer:
        """The token endpoint: a code is taken once, with its verifier and from where it was asked for."""
        given = hit.json if "json" in hit.headers["content-type"] else hit.form
        if given["grant_type"] == "refresh_token":
            return self.renew(given["refresh_token"])
        self.secrets.add(given["code_verifier"])
        person, query = self._open.get(given["code"], ("", {}))
        digest = hashlib.sha256(given["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (challenge, given["redirect_uri"]) != (query.get("code_challenge"), query.get("redirect_uri")):
            return 400, {"error": "invalid_grant"}
        self._open[given["code"]] = ("", {})
        return self.issue(person)

    def renew(self, refresh: str) -> Answer:
        """Another token for a refresh token."""
        person = self.refresh.get(refresh)
        if person is None:
            self.reused += refresh in self.spent
            return self.dead(refresh)
        self.renewed += 1
        if self.rotates:
            del self.refresh[refresh]
            self.spent.append(refresh)
        return self.issue(person, new=self.rotates)

    def issue(self, person: str, *, new: bool = True) -> JSON:
        """Tokens for a person."""
        self.issued += 1
        access = self.access_token(self.issued)
        self.access[access] = person
        self.secrets.add(access)
        body: JSON = {"access_token": access, "token_type": "Bearer", "expires_in": self.seconds}
        if new:
            body["refresh_token"] = f"refresh-{self.issued}-very-secret"
            self.refresh[body["refresh_token"]] = person
            self.secrets.add(body["refresh_token"])
        return self.described(body, person)

    def who(self, hit: Hit) -> str | None:
        """Whose token a request bears, if it is taken."""
        return self.access.get(hit.headers.get("authorization", "").partition(" ")[2])

    def known(self, answer: Callable[[Hit], Answer]) -> Callable[[Hit], Answer]:
        """A route for those who have signed in."""
        return lambda hit: answer(hit) if self.who(hit) is not None else (401, {"error": {"message": "who is this?"}})

    def models(self, hit: Hit) -> Answer:
        """The route of the models."""
        who = self.who(hit)
        if who is None:
            token = hit.headers.get("authorization", "")
            return 401, {"error": {"message": f"{token} is not known", "type": "authentication_error"}}
        if who in self.limits:
            return self.limits[who]
        self.sent.append(hit)
        return 200, {**STREAM, **self.told()}, self.answered(hit)

    def told(self) -> dict[str, str]:
        """Further headers of an answer."""
        return {}

    def forget(self) -> None:
        """No token that was given out is taken any more; they can be renewed."""
        self.access.clear()

    def take_back(self) -> None:
        """All sign-ins are revoked."""
        self.access.clear()
        self.refresh.clear()

    def renewals(self) -> int:
        """How often a renewal was asked for, in vain or not."""
        return len(self.at(self.token_path))


class GoogleLogin(LoginService):
    """Google's login service: it keeps a refresh token as it is, tells whose account it is, and what was allowed.

    ``scopes`` are the last words of those that are to be asked for.
    """

    risky: ClassVar[bool] = True
    rotates: ClassVar[bool] = False
    scopes: ClassVar[tuple[str, ...]] = ("cloud-platform", "userinfo.email", "userinfo.profile")
    redirect: ClassVar[str] = ""
    """What the address to which the browser comes back has to match."""

    def __init__(self) -> None:
        super().__init__()
        self.routes |= {
            "POST /revoke": self.revoke,
            "GET /me": self.known(lambda hit: {"email": self.who(hit), "id": "1"}),
        }

    def options(self) -> JSON:
        """Every address is the stand-in's; a subclass adds those of its service."""
        return {
            "client_secret": "installed-app",
            "authorize_url": self.url + self.authorize_path,
            "token_url": self.url + self.token_path,
            "revoke_url": f"{self.url}/revoke",
            "userinfo_url": f"{self.url}/me",
            "api_base": self.url,
        }

    def scope(self) -> str:
        """All scopes."""
        return " ".join(f"https://www.googleapis.com/auth/{name}" for name in self.scopes)

    def asked_for(self, query: Mapping[str, str]) -> None:
        """All scopes, and a refresh token."""
        wanted = {"scope": self.scope(), "access_type": "offline"}
        assert wanted == {name: query.get(name) for name in wanted}
        assert "consent" in query["prompt"].split()
        assert re.fullmatch(self.redirect, query["redirect_uri"])

    def token(self, hit: Hit) -> Answer:
        """Forms only, with the secret of the client."""
        assert hit.headers["content-type"].startswith("application/x-www-form-urlencoded")
        if hit.form.get("client_secret") != "installed-app":
            return 401, {"error": "invalid_client"}
        return super().token(hit)

    def described(self, body: JSON, person: str) -> JSON:
        """What was allowed."""
        return {**body, "scope": self.scope()}

    def access_token(self, number: int) -> str:
        """As Google writes them."""
        return f"ya29.{number}-very-secret"

    def revoke(self, hit: Hit) -> Answer:
        """The end of a refresh token."""
        return {} if self.refresh.pop(hit.form["token"], None) else (400, {"error": "invalid_token"})

    def limited(self, seconds: float) -> Answer:
        """The quota of the model."""
        info = "type.googleapis.com/google.rpc.ErrorInfo"
        details = [{"@type": info, "reason": "QUOTA_EXHAUSTED", "metadata": {"quotaResetDelay": f"{seconds:g}s"}}]
        error = {"code": 429, "message": "You have used up your quota.", "status": "RESOURCE_EXHAUSTED"}
        return 429, {"error": {**error, "details": details}}


@attrs.define
class Story:
    """A user with a home folder, and a vendor; ``texts`` is all that was shown or could be seen."""

    home: Path
    vendor: LoginService
    texts: list[str] = attrs.Factory(list)

    def configure(self, **more: Any) -> JSON:
        """Write the configuration; ``more`` is added to it."""
        name, model = self.vendor.provider, self.vendor.model
        entry = {"name": name, "auth_type": "oauth", "oauth_provider": name, "models": [model], **self.vendor.entry()}
        other = {
            "name": "other",
            "api_base_url": f"{self.vendor.url}/elsewhere/v1/messages",
            "api_key": "sk-other",
            "models": ["big"],
            "transformer": {"use": ["anthropic"]},
        }
        self.vendor.routes["POST /elsewhere/v1/messages"] = lambda hit: (200, STREAM, streamed(ELSEWHERE))
        config = {
            "PORT": 0,
            "Providers": [entry, other],
            "Router": {"default": f"{name},{model}"},
            "retry": {"attempts": 0},
            "oauth": {name: {**self.vendor.options(), "allow_custom_host": True}},
            **more,
        }
        (self.home / "config.json").write_text(json.dumps(config))
        return config

    def sign_in(self, *args: str) -> str:
        """Sign in at a terminal; gives the account's id."""
        vendor = self.vendor
        with Terminal(self.home, "auth", "login", vendor.provider, *args, **BROWSER) as terminal:
            if vendor.risky:
                terminal.until('Type "yes" to go on: ')
                terminal.type("yes")
            vendor.sign_in(terminal)
            self.texts.append(arguments(terminal.process))
            found = terminal.until(rf"signed in to {vendor.provider} as \S.*\(account (\w{{8}})\)")
            assert 0 == terminal.wait()
        self.texts.append(terminal.output)
        return found[1]

    def run(self, *args: str, code: int = 0) -> str:
        """Run ``ccr`` without a terminal; gives all that it printed."""
        done = run(self.home, *args)
        self.texts += [done.stdout, done.stderr]
        assert code == done.returncode, (args, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def ask(self, router: Router, expected: int = 200, **fields: Any) -> tuple[dict[str, str], str]:
        """Send a request like Claude Code's; gives headers and text of the answer."""
        body = claude_code_request(model=f"{self.vendor.provider},{self.vendor.model}", **fields)
        status, headers, data = router.post(body, **claude_code_headers())
        text = data.decode()
        self.texts.append(text)
        assert expected == status, (status, text)
        return headers, text

    def account(self) -> JSON:
        """The only account, as it is kept."""
        (record,) = accounts(self.home, self.vendor.provider).values()
        found: JSON = record
        return found

    def ended(self, router: Router) -> None:
        """Look at what a router that has ended has shown: accounts are named by their ids."""
        assert [] == secrets_in(self.home, [router.log], FIRST, SECOND)
        self.texts.append(router.log)

    def leaks(self) -> list[str]:
        """Which secrets can be seen; the state of a login only where it is not part of the address to open."""
        shown = [re.sub(r"https?://\S+", "", text) for text in self.texts]
        return secrets_in(self.home, self.texts, *self.vendor.secrets) + secrets_in(
            self.home, shown, *self.vendor.states
        )


def check_story(home: Path, vendor: LoginService) -> Story:
    """One account from its sign-in to its end.

    It is used, renewed after a refusal and before its end, rests when its plan is used up, is revoked by the vendor,
    signed in again while the router runs, and signed out.
    """
    story, name = Story(home, vendor), vendor.provider
    story.configure()
    account = story.sign_in()
    assert 0o600 == (home / "auth.json").stat().st_mode & 0o777
    assert "active" in story.run("auth", "status", name)
    assert account in story.run("auth", "list")
    assert (vendor.listed_as or vendor.model) in story.run("auth", "models", name)
    with Router(home) as router:
        assert SAID in story.ask(router)[1]

        # The vendor forgets the token: it is renewed once, and the request sent again.
        vendor.forget()
        before = vendor.renewed
        assert SAID in story.ask(router)[1]
        assert before + 1 == vendor.renewed

        # It is about to end: it is renewed before the request.
        edit_account(home, name, access_expires_at=int(time.time()) + 60)
        _past_the_look()
        assert SAID in story.ask(router)[1]
        assert (before + 2, 0) == (vendor.renewed, vendor.reused)
        assert story.account()["refresh_token"] in vendor.refresh
        assert vendor.who(vendor.sent[-1]) == vendor.access[story.account()["access_token"]]

        # The plan is used up.
        vendor.limits[FIRST] = vendor.limited(7200)
        headers, _ = story.ask(router, 429)
        # A sign-in may add up to half a minute, so that not all clients come back in the same moment.
        assert 7000 < int(headers["retry-after"]) <= 7231, headers
        eventually(lambda: "cooling down until" in story.run("auth", "status"))

        # The owner has revoked it: the client is told the command that helps, and the vendor is not asked again.
        vendor.limits.clear()
        vendor.take_back()
        _, text = story.ask(router, 401)
        assert f"Run: ccr auth login {name} --account {account}" in text, text
        before = vendor.renewals()
        story.ask(router, 401)
        assert before == vendor.renewals()
        assert "needs login" in story.run("auth", "status", name, code=1)

        # Signing in again is enough, also for the router that runs.
        assert account == story.sign_in()
        _past_the_look()
        assert SAID in story.ask(router)[1]
        story.texts.append(arguments(router.process))
    story.ended(router)
    assert f"signed out of {name}" in story.run("auth", "logout", name)
    assert {} == accounts(home, name)
    assert "nobody is signed in" in story.run("auth", "status")
    assert [] == story.leaks()
    return story


def check_accounts(home: Path, vendor: LoginService) -> Story:
    """Two accounts: one is used until its plan is used up, then the other, then the route of ``fallback``."""
    story, name = Story(home, vendor), vendor.provider
    story.configure(fallback={"default": ["other,big"]})
    first = story.sign_in()
    vendor.person = SECOND
    second = story.sign_in()
    assert {first, second} == set(accounts(home, name))
    with Router(home) as router:
        for _ in range(2):
            assert SAID in story.ask(router)[1]
            assert FIRST == vendor.who(vendor.sent[-1])

        vendor.limits[FIRST] = vendor.limited(7200)
        for _ in range(2):
            assert SAID in story.ask(router)[1]
            assert SECOND == vendor.who(vendor.sent[-1])

        vendor.limits[SECOND] = vendor.limited(7200)
        for _ in range(2):
            headers, text = story.ask(router)
            assert ELSEWHERE in text
            assert headers["x-ccr-route"].startswith("other,big")
    story.ended(router)
    assert "several accounts" in story.run("auth", "logout", name, code=2)
    story.run("auth", "logout", name, "--account", first)
    assert {second} == set(accounts(home, name))
    assert [] == story.leaks()
    return story


HOSTILE: Mapping[str, tuple[str, dict[str, str], int]] = {
    "no state": ("{path}?code={code}", {}, 400),
    "a wrong state": ("{path}?code={code}&state=wrong", {}, 400),
    "a state of another alphabet": ("{path}?code={code}&state=%C3%A9%00", {}, 400),
    "no code": ("{path}?state={state}", {}, 400),
    "a refusal with a script": ("{path}?error=x&error_description=%3Cscript%3Ealert(1)%3C/script%3E", {}, 400),
    "another path": ("/?code={code}&state={state}", {}, 404),
    "a path below": ("{path}/x?code={code}&state={state}", {}, 404),
    "a foreign name": ("{path}?code={code}&state={state}", {"Host": "evil.example"}, 404),
    "a page that wants to end it": ("/cancel", {"Origin": "https://evil.example"}, 404),
}
"""What may come to the callback that is not the vendor's answer: path and query, headers, and what it gets."""


def check_callback(home: Path, vendor: LoginService) -> Story:
    """What comes to the callback and is not the vendor's answer gets nothing and breaks nothing; nor does a second."""
    story = Story(home, vendor)
    story.configure()
    with Terminal(home, "auth", "login", vendor.provider, "--accept-terms-risk", **BROWSER) as terminal:
        back = vendor.agree(vendor.address(terminal))
        parts, query = urlsplit(back), query_of(back)
        base = f"{parts.scheme}://{parts.netloc}"
        for what, (target, headers, status) in HOSTILE.items():
            page = fetch(base + target.format(path=parts.path, **query), **headers)
            assert status == page[0], what
            assert not re.search(rb"<script|very-secret|" + query["state"].encode(), page[2]), what
        page = fetch(back)
        assert (200, b"very-secret" in page[2]) == (200, False), page
        terminal.until(f"signed in to {vendor.provider}")
        assert 0 == terminal.wait()
    story.texts.append(terminal.output)
    try:
        again = fetch(back)
    except OSError:
        pass
    else:
        raise AssertionError(f"the callback still answers: {again}")
    assert 1 == len(vendor.at(vendor.token_path))
    assert [] == story.leaks()
    return story


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def _past_the_look() -> None:
    """A router looks at the file once a second."""
    time.sleep(1.1)
