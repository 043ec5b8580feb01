"""Accounts in a router: which one is used, and how its token stays alive.

The vendor is a flow that talks to a function, so that each test says what it answers.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
from toy import FakeSender, ask, call, calling, stream, toy_config, toy_plugin, toy_registry, whole

from ccr_core import (
    AccountError,
    Auth,
    AuthError,
    AuthOptions,
    AuthSpec,
    Call,
    ConfigError,
    Endpoint,
    FileStore,
    Flow,
    Limited,
    Now,
    Token,
    TokenStoreSpec,
    UpstreamError,
    Window,
    WireReply,
    WireRequest,
    answer_of,
    post_call,
    token_of,
)
from ccr_core.accounts import Accounts, accounts_of, allowed, legacy
from ccr_core.auth import Key
from ccr_core.config import ProviderConfig
from ccr_core.errors import Unreachable
from ccr_core.login import Http
from ccr_core.runtime import build
from ccr_core.server import App, create_app
from ccr_core.tokenstore import save_login

NOW = 1_700_000_000.0
OK = stream(b'data: {"text": "hi"}\n\ndata: {"end": true}\n\n')


def good() -> Any:
    return stream(b'data: {"text": "hi"}\n\ndata: {"end": true}\n\n')


class Scheme(Auth[AuthOptions]):
    """Refreshes by one call; reads a limit from a header; knows two endpoints."""

    def refresh(self, token: Token) -> Flow[Token]:
        reply = yield post_call("http://vendor.invalid/token", form={"refresh_token": token.refresh or ""})
        return token_of(answer_of(reply), (yield Now()), token)

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        access = token.access if token is not None else "nobody"
        return attrs.evolve(wire, headers={**wire.headers, "authorization": f"Bearer {access}"})

    def endpoint(self, model: str, token: Token | None) -> str | None:
        return "two" if model == "m2" else None

    def observe(self, headers: Any) -> Any:
        return [Window(name="5 h", used=float(headers["x-used"]))] if "x-used" in headers else []

    def amend(self, wire: WireRequest, reply: WireReply) -> WireRequest | None:
        return attrs.evolve(wire, body={**(wire.body or {}), "amended": True}) if self.amends(reply) else None

    def amends(self, reply: WireReply) -> bool:
        return b"amend" in reply.body or (reply.status == 0 and self.options.headers.get("x-two") == "hosts")

    def refused(self, reply: WireReply, error: UpstreamError) -> Any:
        if b"used up" in reply.body:
            return Limited("used up", 900, model_only=b"model" in reply.body)
        if b"closed" in reply.body:
            return AccountError("the vendor has closed it", "disabled")
        return error


SPEC = AuthSpec(
    name="sub",
    factory=Scheme,
    base_url="https://api.sub.example",
    endpoints=(Endpoint(name="one", dialect="toy", path="/one"), Endpoint(name="two", dialect="toy", path="/two")),
    hosts=("*.sub.example",),
    legacy=("old.example",),
    models=("m", "m2"),
)


class Vendor:
    """A token endpoint that rotates: each refresh token works once."""

    def __init__(self) -> None:
        self.calls = 0
        self.valid = {"r-0"}
        self.reused = 0
        self.asked = threading.Event()
        self.gate: threading.Event | None = None
        self.before: Callable[[], Any] = lambda: None

    def http(self, proxy: str | None = None) -> Any:
        vendor = self

        class Fake(Http):
            def call(self, call: Call) -> WireReply:
                return vendor.answer((call.form or {})["refresh_token"])

        return Fake()

    def answer(self, refresh: str) -> WireReply:
        self.calls += 1
        self.asked.set()
        said = self.before()
        if isinstance(said, Exception):
            raise said
        if said is not None:
            return reply(*said)
        if self.gate is not None:
            assert self.gate.wait(10)
        if refresh not in self.valid:
            self.reused += 1
            return reply(400, {"error": "invalid_grant"})
        self.valid.discard(refresh)
        self.valid.add(f"r-{self.calls}")
        return reply(200, {"access_token": f"a-{self.calls}", "refresh_token": f"r-{self.calls}", "expires_in": 3600})


def reply(status: int, body: Any, **headers: str) -> WireReply:
    return WireReply(status=status, headers=headers, body=json.dumps(body).encode())


class Clock:
    def __init__(self) -> None:
        self.now = NOW
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@attrs.define
class World:
    store: FileStore
    vendor: Vendor
    clock: Clock
    spec: AuthSpec = SPEC

    def accounts(self) -> Accounts:
        scheme = self.spec.factory(AuthOptions(), "sub")
        return Accounts(self.spec, scheme, self.store, http=self.vendor.http, clock=self.clock, sleep=self.clock.sleep)

    def sign_in(self, account: str = "me", *, expires: float = NOW + 3600, number: int = 0, **record: Any) -> None:
        token = Token(access=f"a-{number}", refresh=f"r-{number}", expires=expires, account=account)
        save_login(self.store, "sub", token, NOW)
        if record:
            self.store.update(lambda providers: providers["sub"]["accounts"][account].update(record))

    def record(self, account: str = "me") -> Any:
        return self.store.read()["sub"]["accounts"][account]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(FileStore(tmp_path / "auth.json"), Vendor(), Clock())


async def settled(accounts: Accounts) -> None:
    """Wait for what was written on the side."""
    await asyncio.to_thread(accounts._threads.shutdown)


async def asked(world: World) -> None:
    """Wait until the vendor is asked."""
    async with asyncio.timeout(10):
        await asyncio.to_thread(world.vendor.asked.wait, 10)


# Renewing.


async def test_a_fresh_token_costs_nothing(world: World) -> None:
    """It is given as it is, without the vendor."""
    world.sign_in()
    accounts = world.accounts()
    (key,) = accounts.keys()

    assert await accounts.fresh(key) is key
    assert 0 == world.vendor.calls


async def test_ahead_of_its_end(world: World) -> None:
    """A token is renewed before it ends, and what came is in the file before it is used."""
    world.sign_in(expires=NOW + 299)
    accounts = world.accounts()

    key = await accounts.fresh(accounts.keys()[0])

    assert key is not None
    assert ("a-1", "a-1", "r-1") == (key.token.access, world.record()["access_token"], world.record()["refresh_token"])
    assert "a-1" == accounts.keys()[0].token.access


async def test_many_at_once(world: World) -> None:
    """All requests of a moment wait for one renewal."""
    world.sign_in(expires=NOW)
    accounts = world.accounts()
    (key,) = accounts.keys()

    keys = await asyncio.gather(*(accounts.fresh(key) for _ in range(50)))

    assert {"a-1"} == {each.token.access for each in keys if each}
    assert (1, 0) == (world.vendor.calls, world.vendor.reused)


async def test_another_process_was_first(world: World) -> None:
    """What another process has got is taken, at the next look or under the lock."""
    world.sign_in(expires=NOW)
    here, there = world.accounts(), world.accounts()
    (key,) = here.keys()
    await there.fresh(there.keys()[0])

    mine = await here.fresh(key)

    assert mine is not None
    assert ("a-1", 1) == (mine.token.access, world.vendor.calls)


async def test_whoever_waits_may_leave(world: World) -> None:
    """A client that leaves during a renewal does not stop it: the rotated token is kept."""
    world.sign_in(expires=NOW)
    world.vendor.gate = threading.Event()
    accounts = world.accounts()
    waiting = asyncio.create_task(accounts.fresh(accounts.keys()[0]))  # type: ignore[arg-type]
    await asked(world)

    waiting.cancel()
    await asyncio.wait({waiting})
    world.vendor.gate.set()
    await settled(accounts)

    assert "r-1" == world.record()["refresh_token"]


def test_the_loop_may_end(world: World) -> None:
    """A router that stops in the middle of a renewal still writes what came."""
    world.sign_in(expires=NOW)
    world.vendor.gate = threading.Event()
    accounts = world.accounts()

    async def go() -> None:
        asyncio.create_task(accounts.fresh(accounts.keys()[0]))  # type: ignore[arg-type]  # noqa: RUF006
        await asked(world)

    asyncio.run(go())
    world.vendor.gate.set()
    accounts._threads.shutdown()

    assert "r-1" == world.record()["refresh_token"]


async def test_dead(world: World) -> None:
    """A refresh token that is refused for good: the command to run, and no second call."""
    world.sign_in(expires=NOW)
    world.vendor.valid.clear()
    accounts = world.accounts()

    for _ in range(3):
        with pytest.raises(AccountError, match="Run: ccr auth login sub --account me"):
            await accounts.fresh(accounts.keys()[0])

    assert 1 == world.vendor.calls
    assert "needs_login" == world.record()["status"]["state"]
    other = world.accounts()
    with pytest.raises(AccountError):
        await other.fresh(other.keys()[0])
    assert 1 == world.vendor.calls


async def test_signing_in_again_is_enough(world: World) -> None:
    """A running router takes the new sign-in."""
    world.sign_in(expires=NOW)
    world.vendor.valid.clear()
    accounts = world.accounts()
    with pytest.raises(AccountError):
        await accounts.fresh(accounts.keys()[0])

    world.sign_in(number=9)
    world.clock.now += 2
    key = await accounts.fresh(accounts.keys()[0])

    assert key is not None
    assert "a-9" == key.token.access


async def test_signed_in_during_a_refusal(world: World) -> None:
    """If the file has another refresh token by then, the refusal was of the old one."""
    world.sign_in(expires=NOW)
    world.vendor.valid.clear()
    world.vendor.before = lambda: world.sign_in(number=9)
    accounts = world.accounts()

    key = await accounts.fresh(accounts.keys()[0])

    assert key is not None
    assert ("a-9", "ok") == (key.token.access, world.record()["status"]["state"])


@pytest.mark.parametrize("trouble", [UpstreamError("no network"), (503, {}), (500, {"error": "x"})])
async def test_what_may_pass(world: World, trouble: Any) -> None:
    """It is tried three times; meanwhile the old token serves as long as it holds."""
    world.sign_in(expires=NOW + 100)
    world.vendor.before = lambda: trouble
    accounts = world.accounts()

    key = await accounts.fresh(accounts.keys()[0])

    assert key is not None
    assert ("a-0", 3, [1.0, 2.0]) == (key.token.access, world.vendor.calls, world.clock.slept)
    world.clock.now = NOW + 200
    with pytest.raises(UpstreamError):
        await accounts.fresh(accounts.keys()[0])
    assert "ok" == world.record()["status"]["state"]


async def test_a_pause(world: World) -> None:
    """After 429 nobody asks until the pause is over, and the account is not lost."""
    world.sign_in(expires=NOW - 1)
    world.vendor.before = lambda: (429, {"error": "slow"})
    accounts = world.accounts()
    for _ in range(3):
        with pytest.raises(UpstreamError) as caught:
            await accounts.fresh(accounts.keys()[0])
        assert 429 == caught.value.status
    assert 1 == world.vendor.calls

    world.vendor.before = lambda: None
    world.clock.now += 6

    key = await accounts.fresh(accounts.keys()[0])
    assert key is not None
    assert "a-2" == key.token.access


async def test_it_cannot_be_saved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new token that cannot be written is used all the same, and written as soon as that is possible."""
    world.sign_in(expires=NOW)
    accounts = world.accounts()
    (key,) = accounts.keys()
    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "update", lambda self, edit: (_ for _ in ()).throw(OSError(28, "full")))
        first = await accounts.fresh(key)
        world.clock.now += 3600
        second = await accounts.fresh(accounts.keys()[0])
    assert first is not None
    assert second is not None
    assert ("a-1", "a-2", 0) == (first.token.access, second.token.access, world.vendor.reused)
    assert "r-0" == world.record()["refresh_token"]

    world.clock.now += 2
    accounts.keys()
    await settled(accounts)

    assert "r-2" == world.record()["refresh_token"]


async def test_forced(world: World) -> None:
    """After a 401 the token is renewed although it looks fresh; once for all that were refused."""
    world.sign_in()
    accounts = world.accounts()
    (key,) = accounts.keys()

    keys = await asyncio.gather(accounts.renew(key), accounts.renew(key))
    late = await accounts.renew(key)

    assert {"a-1"} == {each.token.access for each in (*keys, late)}
    assert 1 == world.vendor.calls


async def test_forced_but_not_possible(world: World) -> None:
    """Where it cannot be renewed just now the account is not blamed."""
    world.sign_in()
    world.vendor.before = lambda: (503, {})
    accounts = world.accounts()

    with pytest.raises(UpstreamError) as caught:
        await accounts.renew(accounts.keys()[0])

    assert (503, "ok") == (caught.value.status, world.record()["status"]["state"])


async def test_signed_out_meanwhile(world: World) -> None:
    """An account that was removed stays removed."""
    world.sign_in(expires=NOW)
    world.vendor.before = lambda: world.store.update(lambda providers: providers.clear())
    accounts = world.accounts()

    await accounts.fresh(accounts.keys()[0])

    assert {} == world.store.read().get("sub", {}).get("accounts", {})


class OfMachine(Scheme):
    """Needs no user."""

    by_itself = True


async def test_the_machines_own(world: World) -> None:
    """A credential that needs no user is got once, kept in memory, renewed before its end and after a refusal."""
    world.spec = attrs.evolve(SPEC, factory=OfMachine, interactive=False)
    world.vendor.valid.add("")
    accounts = world.accounts()
    assert () == accounts.keys()

    keys = await asyncio.gather(*(accounts.fresh(None) for _ in range(10)))
    assert {"a-1"} == {key.token.access for key in keys if key}

    world.clock.now += 3400
    later = await accounts.fresh(None)
    assert later is not None
    again = await accounts.renew(later)

    assert ("a-2", "a-3", 3) == (later.token.access, again.token.access, world.vendor.calls)
    assert not world.store.path.exists()


async def test_the_machines_own_in_a_router(world: World) -> None:
    """It signs requests although nobody is signed in."""
    world.spec = attrs.evolve(SPEC, factory=OfMachine, interactive=False)
    world.vendor.valid.add("")
    served, sender = app(world, whole({"message": "no"}, 401), good())

    got = await call(served, "POST", "/toy", said())

    assert (200, ["a-1", "a-2"]) == (got.status, who(sender))


# Which account.


def ids(keys: Iterable[Key]) -> list[str]:
    return [key.id for key in keys]


def test_order(world: World) -> None:
    """By priority, then the default, then the name; what is switched off is left out."""
    for number, (name, record) in enumerate(
        {"b": {}, "a": {}, "first": {"priority": 5}, "off": {"enabled": False}, "z": {"priority": 5}}.items()
    ):
        world.sign_in(name, number=number, **record)

    assert ["first", "z", "b", "a"] == ids(world.accounts().keys())


def test_resting_accounts_are_last(world: World) -> None:
    """A cool-down that was written is known after a restart."""
    world.sign_in("a", status={"state": "ok", "cooldown": {"*": NOW + 1000}})
    world.sign_in("b", number=1)

    assert ["b", "a"] == ids(world.accounts().keys())


async def test_unusable_accounts(world: World) -> None:
    """They are not used while another is there; alone, they tell what is wrong."""
    world.sign_in("a", status={"state": "disabled", "reason": "closed"})
    accounts = world.accounts()
    with pytest.raises(AccountError, match="closed") as caught:
        await accounts.fresh(accounts.keys()[0])
    assert 403 == caught.value.status

    world.sign_in("b", number=1)

    assert ["b"] == ids(world.accounts().keys())


async def test_consent(world: World) -> None:
    """Where there is a risk an account is not used before its owner agrees."""
    world.spec = attrs.evolve(SPEC, risk="they do not like it")
    world.sign_in()
    accounts = world.accounts()
    with pytest.raises(AccountError, match=r"agrees to the risk\. Run: ccr auth login sub --account me"):
        await accounts.fresh(accounts.keys()[0])

    save_login(world.store, "sub", Token(access="a", account="me"), NOW, consent=True)

    accounts = world.accounts()
    assert await accounts.fresh(accounts.keys()[0])


async def test_nobody(world: World) -> None:
    """Without an account there is a command to run; where none is needed the request goes out."""
    with pytest.raises(AuthError, match=r"nobody is signed in to sub\. Run: ccr auth login sub$"):
        await world.accounts().fresh(None)

    world.spec = attrs.evolve(SPEC, interactive=False)

    assert await world.accounts().fresh(None) is None


async def test_a_malformed_store(world: World) -> None:
    """A file that cannot be read is the error, and not that nobody has signed in."""
    world.store.path.write_text("{")
    accounts = world.accounts()
    assert () == accounts.keys()

    with pytest.raises(AuthError, match="cannot be read"):
        await accounts.fresh(None)


@pytest.mark.parametrize(
    "url", ["https://evil.example/one", "https://api.sub.example.evil.example/", "https://sub.example/"]
)
def test_foreign_hosts(world: World, url: str) -> None:
    """A token is sent to the service's own hosts only."""
    key = Key(id="me", token=Token(access="a"))

    with pytest.raises(AuthError, match="not sent to"):
        world.accounts().signed(WireRequest(url=url), key)
    assert (
        "Bearer a"
        == world.accounts().signed(WireRequest(url="https://api.sub.example/x"), key).headers["authorization"]
    )


def test_addresses() -> None:
    """What older configurations name, and what a token may be sent to."""
    assert legacy(SPEC, "https://old.example/v1beta")
    assert legacy(SPEC, "https://api.sub.example/")
    assert not legacy(SPEC, "https://api.sub.example/one")
    assert allowed(SPEC, "https://api.sub.example/one")
    assert not allowed(SPEC, "https://old.example")


# In a router.


def app(world: World, *replies: Any, **changes: Any) -> tuple[App, FakeSender]:
    def store(options: Any, home: Any) -> FileStore:
        return world.store

    plugin = toy_plugin(
        ccr_auth=lambda: [world.spec], ccr_token_stores=lambda: [TokenStoreSpec(name="file", factory=store)]
    )
    (_, spare) = toy_config().providers
    entry = ProviderConfig(name="sub", auth_type="oauth", where="Providers[0]", **changes.pop("entry", {}))
    config = toy_config(
        providers=(entry, attrs.evolve(spare, where="Providers[1]")), router=toy_config().router, **changes
    )
    config = attrs.evolve(config, router=attrs.evolve(config.router, default="sub,m"))
    runtime = build(config, toy_registry(plugin))
    accounts = runtime.providers["sub"].accounts
    assert accounts is not None
    accounts._http, accounts._clock, accounts._sleep = world.vendor.http, world.clock, world.clock.sleep
    sender = FakeSender(*replies)
    return create_app(runtime, sender), sender


def who(sender: FakeSender) -> list[str]:
    return [wire.headers["authorization"].removeprefix("Bearer ") for wire, _ in sender.sent]


def said(session: str = "", model: str = "sub,m") -> bytes:
    more: dict[str, Any] = {"metadata": {"user_id": json.dumps({"session_id": session})}} if session else {}
    return ask(**{**more, "model": model, "stream": True})


async def test_signed(world: World) -> None:
    """A request goes to the usual endpoint with the account's token, and to another where the sign-in says so."""
    world.sign_in()
    served, sender = app(world, good(), good())

    await call(served, "POST", "/toy", said())
    await call(served, "POST", "/toy", said(model="sub,m2"))

    assert ["https://api.sub.example/one", "https://api.sub.example/two"] == [wire.url for wire, _ in sender.sent]
    assert ["a-0", "a-0"] == who(sender)


async def test_refused_once(world: World) -> None:
    """After a 401: one renewal, one more try, and the client notices nothing."""
    world.sign_in()
    served, sender = app(world, whole({"message": "no"}, 401), good())

    got = await call(served, "POST", "/toy", said())

    assert (200, ["a-0", "a-1"]) == (got.status, who(sender))


async def test_refused_twice(world: World) -> None:
    """A renewed token that is refused too: the account is set aside, with the command."""
    world.sign_in()
    served, sender = app(world, whole({"message": "no"}, 401), whole({"message": "no"}, 401))

    got = await call(served, "POST", "/toy", said())
    again = await call(served, "POST", "/toy", said())

    assert (401, 401, 2, 1) == (got.status, again.status, len(sender.sent), world.vendor.calls)
    assert "Run: ccr auth login sub --account me" in again.json["message"]


class Moving(Scheme):
    """Signs with a project, which each renewal finds out; refusals that name it may be for its having moved."""

    project = "new"

    def refresh(self, token: Token) -> Flow[Token]:
        found = yield from super().refresh(token)
        return attrs.evolve(found, data={"project": self.project, "checked_at": found.obtained})

    def apply(self, wire: WireRequest, token: Token | None) -> WireRequest:
        project = token.data.get("project", "old") if token is not None else None
        return attrs.evolve(super().apply(wire, token), body={**(wire.body or {}), "project": project})

    def outdated(self, reply: WireReply, token: Token) -> bool:
        return reply.status in (403, 404) and b"project" in reply.body


MOVING = attrs.evolve(SPEC, factory=Moving)
GONE = {"message": "no such project"}


def projects(sender: FakeSender) -> list[str]:
    return [wire.body["project"] for wire, _ in sender.sent if wire.body is not None]


@pytest.mark.parametrize("status", [403, 404])
async def test_what_has_changed_is_found_again(world: World, status: int) -> None:
    """A refusal for a project that is not the account's any more: it is looked up, and the request sent again."""
    world.spec = MOVING
    world.sign_in()
    served, sender = app(world, whole(GONE, status), good(), good())

    got = await call(served, "POST", "/toy", said())
    await call(served, "POST", "/toy", said())

    assert (200, ["old", "new", "new"]) == (got.status, projects(sender))
    assert (1, "new") == (world.vendor.calls, world.record()["extra"]["project"])


async def test_what_has_not_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing has changed the refusal stands, and is not looked into again for ten minutes."""
    monkeypatch.setattr(Moving, "project", "old")
    world.spec = MOVING
    world.sign_in()
    served, sender = app(world, *(whole(GONE, 404) for _ in range(3)))

    first = await call(served, "POST", "/toy", said())
    world.clock.now += 599
    await call(served, "POST", "/toy", said())
    calls = world.vendor.calls
    world.clock.now += 2
    await call(served, "POST", "/toy", said())

    assert (404, "no such project", 3) == (first.status, first.json["message"], len(sender.sent))
    assert (1, 2) == (calls, world.vendor.calls)


async def test_it_cannot_be_found_again(world: World) -> None:
    """Where the vendor does not answer just now the refusal stands in the service's own words."""
    world.spec = MOVING
    world.sign_in()
    world.vendor.before = lambda: (503, {})
    served, sender = app(world, whole(GONE, 404))

    got = await call(served, "POST", "/toy", said())

    assert (404, "no such project", 1) == (got.status, got.json["message"], len(sender.sent))


async def test_found_again_once_for_all(world: World) -> None:
    """Requests that are refused side by side share one look, and who comes later takes what was found."""
    world.spec = MOVING
    world.sign_in()
    accounts = world.accounts()
    (key,) = accounts.keys()
    wire, refusal = WireRequest(url="https://api.sub.example/one", headers={}, body={}), reply(403, GONE)

    found = await asyncio.gather(*(accounts.found_again(key, wire, refusal) for _ in range(3)))
    late = await accounts.found_again(key, wire, refusal)
    other = await accounts.found_again(key, wire, reply(403, {"message": "no"}))

    assert ["new"] * 4 == [each.token.data["project"] for each in (*found, late) if each is not None]
    assert (1, None) == (world.vendor.calls, other)


async def test_cookies_of_a_gatekeeper(world: World) -> None:
    """Those that the sign-in names come back with the same account's next requests; others and empty ones do not."""
    world.spec = attrs.evolve(SPEC, cookies=("__cf_bm", "_cfuvid"))
    world.sign_in("a")
    world.sign_in("b", number=1)
    told = {"set-cookie": "other=1; path=/, __cf_bm=x.y-1; expires=Wed, 21 Oct 2026 07:28:00 GMT, _cfuvid=z; Secure"}
    served, sender = app(
        world,
        whole({"message": "nothing"}, 500, **told),
        whole({"message": "used up"}, 429, **{"set-cookie": "_cfuvid=; max-age=0"}),
        good(),
    )

    await call(served, "POST", "/toy", said())
    await call(served, "POST", "/toy", said())

    assert ["a-0", "a-0", "a-1"] == who(sender)
    assert [None, "__cf_bm=x.y-1; _cfuvid=z", None] == [wire.headers.get("cookie") for wire, _ in sender.sent]
    accounts = served.engine.runtime.providers["sub"].accounts
    assert accounts is not None
    again = accounts.signed(WireRequest(url="https://api.sub.example/one", headers={}), accounts.keys()[0])
    assert "__cf_bm=x.y-1" == again.headers["cookie"]


async def test_the_next_account(world: World) -> None:
    """An account that needs its owner is followed by the next one, in the same request."""
    world.sign_in("a", expires=NOW, number=5)
    world.sign_in("b", number=6)
    served, sender = app(world, good())

    got = await call(served, "POST", "/toy", said())

    assert (200, ["a-6"]) == (got.status, who(sender))


async def test_a_limit_and_the_next_account(world: World) -> None:
    """An account that is used up rests until its reset: the next is tried, and stays the session's."""
    world.sign_in("a")
    world.sign_in("b", number=1)
    served, sender = app(world, whole({"message": "used up"}, 429), good(), good(), good())

    await call(served, "POST", "/toy", said("s"))
    await call(served, "POST", "/toy", said("s"))
    await call(served, "POST", "/toy", said("other"))

    assert ["a-0", "a-1", "a-1", "a-1"] == who(sender)
    accounts = served.engine.runtime.providers["sub"].accounts
    assert accounts is not None
    await settled(accounts)
    assert {"*": NOW + 900} == world.record("a")["status"]["cooldown"]


async def test_one_account_is_enough(world: World) -> None:
    """While the first account works no other is used."""
    world.sign_in("a")
    world.sign_in("b", number=1)
    served, sender = app(world, good(), good(), good())

    for session in "xyz":
        await call(served, "POST", "/toy", said(session))

    assert ["a-0"] * 3 == who(sender)


async def test_a_limit_of_one_model(world: World) -> None:
    """It says nothing about the account's other models."""
    world.sign_in("a")
    world.sign_in("b", number=1)
    served, sender = app(world, whole({"message": "model used up"}, 429), good(), good(), good())

    await call(served, "POST", "/toy", said())
    await call(served, "POST", "/toy", said())
    await call(served, "POST", "/toy", said(model="sub,m2"))

    assert ["a-0", "a-1", "a-1", "a-0"] == who(sender)


async def test_used_up_altogether(world: World) -> None:
    """The client gets the limit and when it ends; then the configuration's fallback is tried first."""
    world.sign_in()
    served, sender = app(world, whole({"message": "model used up"}, 429))
    got = await call(served, "POST", "/toy", said())
    assert (429, "used up") == (got.status, got.json["message"])

    served, sender = app(
        world, whole({"message": "used up"}, 429), good(), good(), good(), fallback={"default": ("spare,m",)}
    )
    for model in ("sub,m2", "sub,m2", "sub,m"):
        got = await call(served, "POST", "/toy", said(model=model))
        assert 200 == got.status

    hosts = [wire.url.split("/")[2] for wire, _ in sender.sent]
    assert ["api.sub.example", "spare.invalid", "spare.invalid", "spare.invalid"] == hosts


@pytest.mark.parametrize(("cooldown", "resting"), [({"*": 900}, ["m", "m2"]), ({"m": 900}, ["m"]), ({"m": -1}, [])])
async def test_resting_over_a_restart(world: World, cooldown: dict[str, float], resting: list[str]) -> None:
    """Until the reset that was kept, the fallback is asked first: for the account, or for one of its models."""
    kept = {model: NOW + seconds for model, seconds in cooldown.items()}
    world.sign_in(status={"state": "ok", "cooldown": kept})
    for model in ("m", "m2"):
        served, sender = app(world, good(), fallback={"default": ("spare,m",)})
        await call(served, "POST", "/toy", said(model=f"sub,{model}"))

        host = "spare.invalid" if model in resting else "api.sub.example"
        assert [host] == [wire.url.split("/")[2] for wire, _ in sender.sent]


async def test_working_after_all(world: World) -> None:
    """An account that is asked because nothing else is left, and answers, does not rest any more."""
    world.sign_in(status={"state": "ok", "cooldown": {"*": NOW + 900, "m": NOW + 900, "m2": NOW + 900}})
    served, _ = app(world, good())

    await call(served, "POST", "/toy", said(model="sub,m"))

    accounts = served.engine.runtime.providers["sub"].accounts
    assert accounts is not None
    await settled(accounts)
    assert {"m2": NOW + 900} == world.record("me")["status"]["cooldown"]


async def test_closed(world: World) -> None:
    """What the vendor closes is not asked again, and the fallback serves."""
    world.sign_in()
    served, sender = app(world, whole({"message": "closed"}, 403), good(), good(), fallback={"default": ("spare,m",)})

    statuses = [(await call(served, "POST", "/toy", said())).status for _ in range(2)]

    assert ([200, 200], 3) == (statuses, len(sender.sent))


async def test_nobody_signed_in(world: World) -> None:
    """It is told, and the fallback serves."""
    served, _ = app(world)
    got = await call(served, "POST", "/toy", said())
    assert (401, "authentication_error") == (got.status, got.json["kind"])

    served, _ = app(world, good(), fallback={"default": ("spare,m",)})
    assert 200 == (await call(served, "POST", "/toy", said())).status


@pytest.mark.parametrize("two", [True, False])
async def test_an_unreachable_host(world: World, two: bool) -> None:
    """Where no connection can be made the sign-in's code may send the request elsewhere, once."""
    world.sign_in()
    away = Unreachable("cannot connect to api.sub.example", 502)
    served, sender = app(world, away, *([good()] if two else []))
    accounts = served.engine.runtime.providers["sub"].accounts
    assert accounts is not None
    accounts.auth.options = AuthOptions(headers={"x-two": "hosts"} if two else {})

    got = await call(served, "POST", "/toy", said())

    assert ((200, 2) if two else (502, 1)) == (got.status, len(sender.sent))


async def test_amended(world: World) -> None:
    """The sign-in's code may change a request that was refused, once."""
    world.sign_in()
    served, sender = app(world, whole({"message": "amend"}, 400), whole({"message": "amend"}, 400))

    got = await call(served, "POST", "/toy", said())

    assert (400, [None, True]) == (got.status, [body.get("amended") for _, body in sender.sent])


async def test_limits_are_kept(world: World) -> None:
    """What answers say of limits is written for people, once a minute at most."""
    world.sign_in()
    seen = [good() for _ in range(2)]
    for number, answer in enumerate(seen):
        answer.headers["x-used"] = f"0.{number + 1}"
    served, _ = app(world, *seen)

    for _ in seen:
        await call(served, "POST", "/toy", said())

    accounts = served.engine.runtime.providers["sub"].accounts
    assert accounts is not None
    await settled(accounts)
    (account,) = accounts_of(world.store.read(), "sub")
    assert (Window(name="5 h", used=0.1),) == account.windows


async def test_the_client_leaves_during_a_renewal(world: World) -> None:
    """Its request ends; the renewal does not."""
    world.sign_in(expires=NOW)
    world.vendor.gate = threading.Event()
    served, _ = app(world)
    async with calling(served, "POST", "/toy", said()) as (_, leave):
        await asked(world)
        leave()
        world.vendor.gate.set()
    accounts = served.engine.runtime.providers["sub"].accounts
    assert accounts is not None
    await settled(accounts)

    assert "r-1" == world.record()["refresh_token"]


# In a configuration.


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "https://api.sub.example/one"),
        ("https://api.sub.example", "https://api.sub.example/one"),
        ("https://old.example/v1beta/models", "https://api.sub.example/one"),
        ("https://api.sub.example/two", "https://api.sub.example/two"),
        ("https://eu.sub.example/deep/path", "https://eu.sub.example/deep/path"),
    ],
)
async def test_urls(world: World, given: str | None, expected: str) -> None:
    """The address of an entry is the service's own, unless it is a full one of its hosts."""
    world.sign_in()
    served, sender = app(world, good(), entry={"api_base_url": given})

    await call(served, "POST", "/toy", said())

    assert [expected] == [wire.url for wire, _ in sender.sent]


def refusal(**changes: Any) -> str:
    plugin = toy_plugin(ccr_auth=lambda: [SPEC], **changes.pop("hooks", {}))
    entry = ProviderConfig(name="sub", auth_type="oauth", where="Providers[0]", **changes.pop("entry", {}))
    config = toy_config(providers=(entry,), **changes)
    with pytest.raises(ConfigError) as caught:
        build(attrs.evolve(config, router=attrs.evolve(config.router, default=None)), toy_registry(plugin))
    return caught.value.message


STORE = {"ccr_token_stores": lambda: [TokenStoreSpec(name="file", factory=lambda options, home: FileStore(Path("x")))]}


def test_problems() -> None:
    """What is wrong with a sign-in is found at start, with its place."""
    assert 'token_store   no token store "file"' in refusal()
    assert 'no token store "keyring"; install ccr-plugin-store-keyring' in refusal(
        hooks=STORE, resolved={"token_store": "keyring"}
    )
    assert "the token store file takes no options" in refusal(
        hooks=STORE, resolved={"token_store": {"type": "file", "x": 1}}, entry={"dialect": "other"}
    )
    assert "sub speaks toy, and not other" in refusal(hooks=STORE, entry={"dialect": "other"})
    assert "the tokens of sub are not sent there" in refusal(
        hooks=STORE, entry={"api_base_url": "https://x.example/v1"}
    )
    assert "oauth.sub.api_bas" in refusal(hooks=STORE, resolved={"oauth": {"sub": {"api_bas": "x"}}})


def test_another_sign_in() -> None:
    """One that no plugin offers is a warning, as the entry may not be needed."""
    entry = ProviderConfig(name="x", auth_type="oauth", api_base_url="http://x.example", dialect="toy", models=("m",))
    runtime = build(toy_config(providers=(*toy_config().providers, entry)), toy_registry())

    assert any("signs in with x; no installed plugin offers that" in text for text in runtime.warnings)


def test_api_keys_pay_nothing() -> None:
    """A provider with keys has no accounts, and asks nobody."""
    runtime = build(toy_config(), toy_registry())
    provider = runtime.providers["toy"]

    assert provider.accounts is None
    assert provider.keys is provider.own_keys
    started = time.perf_counter()
    for _ in range(10_000):
        _ = provider.keys
    assert time.perf_counter() - started < 0.5
