"""`ccr auth` as people run it, with a plugin made for these tests."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ccr_core.testing.loopback import Terminal, accounts, run, secrets_in

PLUGIN = '''
"""Signs in with what the user types."""
import attrs
from ccr_core import (
    Ask, Auth, AuthOptions, AuthSpec, Endpoint, OfferedModel, Token, Window, account_id, hookimpl, UpstreamError
)

class Typed(Auth):
    methods = ("token", "other")
    def login(self, wish):
        name = yield Ask("Name")
        secret = yield Ask("Token", secret=True)
        return Token(access=secret, refresh="refresh-" + secret, account=account_id(name), label=name)
    def refresh(self, token):
        yield from ()
        return attrs.evolve(token, access="renewed-secret", expires=None)
    def models(self, token):
        yield from ()
        return [OfferedModel(id="big", name="Big", levels=("low", "high"), context=200000, max_output=64000)]
    def usage(self, token):
        yield from ()
        return [Window(name="5 h", used=0.5, resets=1800000000.0)]
    def revoke(self, token):
        yield from ()
        if token.label == "unlucky":
            raise UpstreamError("the vendor is away")
        return "see the settings"

@hookimpl
def ccr_auth():
    common = dict(factory=Typed, base_url="https://x.example", hosts=("x.example",),
                  endpoints=(Endpoint(name="e", dialect="openai-chat", path="/chat"),))
    yield AuthSpec(name="typed", models=("big",), summary="Types a token.", **common)
    yield AuthSpec(name="typical", summary="Another.", **common)
    risk = "The vendor does not like this.\\nIt has closed accounts."
    yield AuthSpec(name="risky", risk=risk, summary="Risky.", **common)
'''

META = "Metadata-Version: 2.1\nName: ccr-plugin-typed\nVersion: 1.0\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home, and a folder of plugins beside it."""
    site = tmp_path / "site"
    info = site / "ccr_plugin_typed-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(META)
    (info / "entry_points.txt").write_text("[ccr]\ntyped = ccr_plugin_typed\n")
    (site / "ccr_plugin_typed.py").write_text(PLUGIN)
    made = tmp_path / "home"
    made.mkdir()
    return made


def env(home: Path, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(home.parent / "site"), "CCR_PLUGINS": "typed,store-file,openai-chat", **more}


def auth(home: Path, *args: str, **more: str) -> Any:
    return run(home, "auth", *args, **env(home, **more))


def sign_in(home: Path, name: str = "me", provider: str = "typed", *args: str) -> str:
    with Terminal(home, "auth", "login", provider, *args, **env(home)) as terminal:
        terminal.until("Name: ")
        terminal.type(name)
        terminal.until("Token: ")
        terminal.type("very-secret-token")
        terminal.until(f"signed in to {provider} as {name}")
        assert 0 == terminal.wait()
    return terminal.output


def test_without_a_provider(home: Path) -> None:
    """The services are listed."""
    done = auth(home, "login")

    assert (0, True, True) == (done.returncode, "usage: ccr auth login" in done.stdout, "Types a token." in done.stdout)
    assert 0 == auth(home).returncode


def test_unknown(home: Path) -> None:
    """A name that is not there is told with the nearest one and all that are."""
    for command in (("login", "typpd"), ("models", "typpd"), ("status", "typpd")):
        done = auth(home, *command)
        assert (1, True) == (done.returncode, 'no sign-in "typpd"; did you mean "typed"?' in done.stderr), done.stderr
    assert 2 == auth(home, "login", "typed", "--method", "magic").returncode
    assert "typed has no account nobody" in auth(home, "login", "typed", "--account", "nobody").stderr


def test_signing_in(home: Path) -> None:
    """What was typed in secret is not shown, a sample entry is, and the account is there."""
    shown = sign_in(home)

    assert '{ "name": "typed", "auth_type": "oauth", "oauth_provider": "typed", "models": ["big"] }' in shown
    assert [] == secrets_in(home, [shown], "very-secret-token")
    (record,) = accounts(home, "typed").values()
    assert ("very-secret-token", "me", None) == (record["access_token"], record["label"], record["consent"])


def test_no_sample_where_there_is_an_entry(home: Path) -> None:
    """Who has an entry needs none."""
    entry = {"name": "x", "auth_type": "oauth", "oauth_provider": "typed"}
    (home / "config.json").write_text(json.dumps({"Providers": [entry]}))

    assert "add this to Providers" not in sign_in(home)


def test_several_accounts(home: Path) -> None:
    """Another user is another account; the same one is not."""
    sign_in(home, "me")
    sign_in(home, "me")
    sign_in(home, "you")

    listed = json.loads(auth(home, "list", "--json").stdout)
    assert [("me", True), ("you", False)] == [(each["label"], each["default"]) for each in listed["accounts"]]
    assert str(home / "auth.json") == listed["store"]

    done = auth(home, "logout", "typed")
    assert (2, True) == (done.returncode, "several accounts" in done.stderr)
    first = listed["accounts"][0]["account"]
    assert f"signed out of typed (account {first})" in auth(home, "logout", "typed", "--account", first).stdout
    assert "see the settings" in auth(home, "logout", "typed", "--all").stderr
    assert "nobody is signed in to typed" in auth(home, "logout", "typed").stdout


def test_another_than_meant(home: Path) -> None:
    """Signing in to renew one account, as somebody else, keeps both."""
    sign_in(home, "me")
    (account,) = accounts(home, "typed")

    shown = sign_in(home, "you", "typed", "--account", account)

    assert f"another account than {account}" in shown
    assert 2 == len(accounts(home, "typed"))


def test_a_vendor_that_is_away(home: Path) -> None:
    """Signing out works without it."""
    sign_in(home, "unlucky")

    done = auth(home, "logout", "typed")

    assert (0, True, {}) == (done.returncode, "could not be told" in done.stderr, accounts(home, "typed"))


STATES = {
    "active": {"access_expires_at": int(time.time()) + 1000},
    "refreshable": {"access_expires_at": 1},
    "expired": {"access_expires_at": 1, "refresh_token": None},
    "needs_login": {"status": {"state": "needs_login", "reason": "gone"}},
    "disabled": {"status": {"state": "disabled", "reason": "the vendor has closed it"}},
    "cooling": {"status": {"state": "ok", "cooldown": {"*": int(time.time()) + 1000}}},
    "switched off": {"enabled": False},
}


@pytest.mark.parametrize("state", STATES)
def test_states(home: Path, state: str) -> None:
    """Each is told with what there is to do."""
    record = {"type": "oauth", "access_token": "very-secret-token", "refresh_token": "r-secret", "label": "me"}
    document = {
        "version": 2,
        "providers": {"typed": {"default": "a1", "accounts": {"a1": {**record, **STATES[state]}}}},
    }
    (home / "auth.json").write_text(json.dumps(document))

    done = auth(home, "status", "typed", "--json")
    (row,) = json.loads(done.stdout)["accounts"]
    shown = auth(home, "status", "typed")

    assert state == row["state"]
    assert (0 if state in ("active", "refreshable", "cooling") else 1) == done.returncode
    if state in ("needs_login", "expired"):
        assert "run: ccr auth login typed --account a1" in shown.stdout
    if state == "disabled":
        assert "the vendor has closed it" in shown.stdout
    if state == "cooling":
        assert "cooling down until 20" in shown.stdout
    assert [] == secrets_in(home, [done.stdout, shown.stdout], "very-secret-token", "r-secret")


def test_the_file_of_an_older_tool(home: Path) -> None:
    """Its accounts are listed, and its keys by their first characters."""
    old = {
        "typed": {"type": "oauth", "access": "very-secret-token", "refresh": "r-secret", "expires": 1},
        "x": {"type": "api", "key": "sk-12345678901234567890"},
    }
    (home / "auth.json").write_text(json.dumps(old))

    shown = auth(home, "list").stdout

    assert "refreshable" in shown
    assert "sk-12345…" in shown
    assert [] == secrets_in(home, [shown], "very-secret-token", "r-secret", "sk-123456")


def test_a_malformed_file(home: Path) -> None:
    """It is an error, and not that nobody has signed in."""
    (home / "auth.json").write_text("{")

    done = auth(home, "status")

    assert (1, True) == (done.returncode, "cannot be read" in done.stderr)


def test_models_and_usage(home: Path) -> None:
    """They are asked of the vendor, with a token that is renewed first where that is needed."""
    sign_in(home)
    (account,) = accounts(home, "typed")
    document = json.loads((home / "auth.json").read_text())
    document["providers"]["typed"]["accounts"][account]["access_expires_at"] = 1
    (home / "auth.json").write_text(json.dumps(document))

    shown = auth(home, "models", "typed").stdout

    assert ["big", "200,000", "64,000", "low", "high", "Big"] == shown.splitlines()[1].split()
    assert "renewed-secret" == accounts(home, "typed")[account]["access_token"]
    assert "5 h 50% used, until 2027-01-15" in auth(home, "status", "--usage", TZ="UTC").stdout
    done = auth(home, "models", "typed", "--account", "nobody")
    assert (1, True) == (done.returncode, "has no account nobody" in done.stderr)
    done = auth(home, "models", "typical")
    assert (1, True) == (done.returncode, "Run: ccr auth login typical" in done.stderr)


def test_risk(home: Path) -> None:
    """What the vendor says is shown; nobody can agree without being there, and a "no" is one."""
    done = auth(home, "login", "risky")
    assert (1, True) == (done.returncode, "It has closed accounts." in done.stderr)

    with Terminal(home, "auth", "login", "risky", **env(home)) as terminal:
        terminal.until('Type "yes"')
        terminal.type("no")
        assert 1 == terminal.wait()
    assert not (home / "auth.json").exists()


def test_consent(home: Path) -> None:
    """It is kept with the account, whichever way it was given."""
    with Terminal(home, "auth", "login", "risky", **env(home)) as terminal:
        terminal.until('Type "yes"')
        terminal.type("yes")
        terminal.until("Name: ")
        terminal.type("me")
        terminal.until("Token: ")
        terminal.type("very-secret-token")
        assert 0 == terminal.wait()
    sign_in(home, "you", "risky", "--accept-terms-risk")

    consents = [record["consent"] for record in accounts(home, "risky").values()]
    assert [1, 1] == [consent["version"] for consent in consents]
    assert "needs consent" not in auth(home, "status").stdout


def test_once_for_each_account(home: Path) -> None:
    """Whoever has agreed for an account is not asked again for it; another account that comes of it is not used."""
    sign_in(home, "me", "risky", "--accept-terms-risk")
    (account,) = accounts(home, "risky")
    before = accounts(home, "risky")[account]["consent"]

    shown = sign_in(home, "me", "risky", "--account", account)
    assert 'Type "yes"' not in shown
    assert before == accounts(home, "risky")[account]["consent"]

    shown = sign_in(home, "you", "risky", "--account", account)
    assert "another account" in shown
    assert "not used before its owner agrees" in shown
    assert [True, False] == [bool(record["consent"]) for record in accounts(home, "risky").values()]


def test_accounts_without_consent(home: Path) -> None:
    """They are there, and not used."""
    record = {"type": "oauth", "access_token": "a", "refresh_token": "r", "label": "me"}
    document = {"version": 2, "providers": {"risky": {"default": "a1", "accounts": {"a1": record}}}}
    (home / "auth.json").write_text(json.dumps(document))

    shown = auth(home, "status", "risky")
    models = auth(home, "models", "risky")

    assert (1, True) == (shown.returncode, "needs consent" in shown.stdout)
    assert (1, True) == (models.returncode, "agrees to the risk" in models.stderr)


@pytest.mark.parametrize(
    ("words", "expected"), [("ccr auth login typ", {"typed", "typical"}), ("ccr auth l", {"list", "login", "logout"})]
)
def test_completion(home: Path, words: str, expected: set[str]) -> None:
    """Names of commands and providers complete in the shell."""
    count = str(len(words.split()) - 1)
    done = run(home, **env(home, _CCR_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count))

    assert expected == {line.partition(",")[2] for line in done.stdout.split()}


def test_accounts_complete(home: Path) -> None:
    """So do the ids of accounts."""
    sign_in(home)
    (account,) = accounts(home, "typed")

    words = "ccr auth logout typed --account "
    done = run(home, **env(home, _CCR_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="5"))

    assert [f"plain,{account}"] == done.stdout.split()


def test_another_store(home: Path) -> None:
    """A store that is not installed is an error that names it; the file is not taken instead."""
    (home / "config.json").write_text('{"token_store": "vault"}')

    done = auth(home, "status")

    assert (1, True) == (done.returncode, 'no token store "vault"' in done.stderr)
