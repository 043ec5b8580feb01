"""The accounts that a provider is used with: which one, with which token, and what is known of each.

A token is renewed before it ends, once: requests of this process wait for the same renewal, other processes wait for
a lock, and whoever gets the lock reads the account again first and takes what somebody else has renewed.  That is
what keeps single-use refresh tokens alive.  A renewal runs in a thread of its own, so that a client that leaves, or a
router that ends, cannot stop it between the vendor's answer and the file.

A request that is not in need of a renewal pays for a look at the clock and, once a second, at the file's date.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import attrs

from ccr_core.auth import AccountError, Auth, Key, Limited, Token, Window
from ccr_core.dialect import WireReply, WireRequest
from ccr_core.errors import AuthError, CcrError, UpstreamError
from ccr_core.health import retry_after
from ccr_core.login import Http, quietly
from ccr_core.messages import JSON, Headers
from ccr_core.spec import AuthSpec
from ccr_core.tokenstore import TokenStore, shown_key, to_record, to_token

log = logging.getLogger("ccr.accounts")

LOOK_SECONDS = 1.0
"""How often the store is looked at for changes of others."""

LOCK_SECONDS = 30.0
"""How long a renewal waits for one in another process."""

AGAIN_SECONDS = 600.0
"""How often, at most, a refusal leads to finding out again what belongs to an account."""

MACHINE = "machine"
"""Stands for the machine's own credential where there is no account."""

LONG = 300.0
"""Cool-downs longer than this are kept over restarts, in seconds."""

WAITS = (1.0, 2.0)
"""Pauses before a renewal that failed is tried again."""


@attrs.frozen(kw_only=True)
class Account:
    """An account as it is stored."""

    provider: str
    id: str
    token: Token
    state: str = "ok"
    reason: str = ""
    enabled: bool = True
    consented: bool = False
    priority: int = 0
    default: bool = False
    proxy: str | None = attrs.field(default=None, repr=False)
    dead: str | None = None
    """Hash of a refresh token that the vendor has refused for good."""

    cooldowns: Mapping[str, float] = attrs.field(factory=dict)
    """Until when it rests, in Unix seconds, by model; ``*`` is for all."""

    windows: tuple[Window, ...] = ()
    kind: str = "oauth"

    @property
    def cooldown(self) -> float:
        """Until when the whole account rests; 0 if it does not."""
        return self.cooldowns.get("*", 0.0)

    def standing(self, spec: AuthSpec | None, now: float) -> str:
        """In a word: ``active``, ``refreshable``, ``expired``, ``cooling``, or why it is not used."""
        if not self.enabled:
            return "switched off"
        if self.kind == "api":
            return "key"
        if self.state != "ok":
            return self.state
        if spec is not None and spec.risk and not self.consented:
            return "needs_consent"
        if self.cooldown > now:
            return "cooling"
        if self.token.expires is None or now < self.token.expires:
            return "active"
        return "refreshable" if self.token.refresh else "expired"


def accounts_of(providers: JSON, provider: str) -> list[Account]:
    """The accounts of a provider in what a store holds: in the order in which they are used."""
    entry = providers.get(provider)
    if not isinstance(entry, dict):
        return []
    found = []
    for id, record in entry.get("accounts", {}).items():
        status = record.get("status") if isinstance(record.get("status"), dict) else {}
        cooldown = status.get("cooldown")
        found.append(
            Account(
                provider=provider,
                id=id,
                token=to_token(record, id),
                state=status.get("state") or "ok",
                reason=status.get("reason") or "",
                enabled=record.get("enabled") is not False,
                consented=bool(record.get("consent")),
                priority=record.get("priority") if isinstance(record.get("priority"), int) else 0,
                default=entry.get("default") == id,
                proxy=record.get("proxy"),
                dead=status.get("dead_refresh_sha256"),
                cooldowns={
                    model: float(until)
                    for model, until in (cooldown if isinstance(cooldown, dict) else {}).items()
                    if isinstance(until, (int, float))
                },
                windows=tuple(
                    Window(name=each["name"], used=each["used"], resets=each.get("resets"))
                    for each in status.get("windows") or ()
                    if isinstance(each, dict) and "name" in each and isinstance(each.get("used"), (int, float))
                ),
                kind=record.get("type") or "oauth",
            )
        )
    return sorted(found, key=lambda account: (-account.priority, not account.default, account.id))


def command(provider: str, account: str | None = None) -> str:
    """What the user has to run to sign in."""
    return f"ccr auth login {provider}" + (f" --account {account}" if account else "")


def described(account: Account, spec: AuthSpec | None, now: float, key: Any = None) -> JSON:
    """An account for people and programs; nothing in it is secret.  ``key`` is an API key that it holds."""
    state = account.standing(spec, now)
    todo = ""
    if state in ("needs_login", "needs_consent", "expired"):
        todo = f"run: {command(account.provider, account.id)}"
    elif state in ("validation_required", "disabled"):
        todo = account.reason
    return {
        "provider": account.provider,
        "account": account.id,
        "type": account.kind,
        "label": shown_key(key) if account.kind == "api" else account.token.label,
        "state": state,
        "default": account.default,
        "expires": account.token.expires if account.kind == "oauth" else None,
        "cooling_until": account.cooldown or None,
        "cooling_models": {model: until for model, until in account.cooldowns.items() if model != "*" and until > now},
        "windows": [attrs.asdict(window) for window in account.windows],
        "reason": account.reason,
        "todo": todo,
    }


class Accounts:
    """The accounts of one way to sign in, for a running router."""

    def __init__(
        self,
        spec: AuthSpec,
        auth: Auth[Any],
        store: TokenStore,
        *,
        http: Callable[[str | None], Http] = Http,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.spec = spec
        self.auth = auth
        self.store = store
        self._http = http
        self._clock = clock
        self._sleep = sleep
        self._accounts: dict[str, Account] = {}
        self._keys: tuple[Key, ...] = ()
        self._problem: str | None = None
        self._stamp: Any = ...
        self._looked = 0.0
        self._renewing: dict[str, asyncio.Future[Token]] = {}
        self._blocked: dict[str, float] = {}
        self._found: dict[str, float] = {}
        self._unsaved: dict[str, _Unsaved] = {}
        self._own = Token(access="")
        self._windows: dict[str, tuple[Window, ...]] = {}
        self._written: dict[str, float] = {}
        self._cookies: dict[str, dict[str, str]] = {}
        names = "|".join(map(re.escape, spec.cookies))
        # Answers with several have them in one header, separated by commas.
        self._cookie = re.compile(rf"(?:^|,\s*)({names})=([^;,\s]*)") if names else None
        self._mutex = threading.Lock()
        self._threads = ThreadPoolExecutor(4, f"ccr-{spec.name}")

    # What there is.

    def keys(self) -> tuple[Key, ...]:
        """The accounts that may be used, in order; if there is none, those that might be, to tell what is wrong."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS or now < self._looked:
            self._looked = now
            if self.store.stamp() != self._stamp:
                self._load()
            for id in list(self._unsaved):
                self._threads.submit(self._save_again, id)
        return self._keys

    def look(self) -> None:
        """The store has just been changed: do not wait to see it."""
        self._looked = 0.0

    def accounts(self) -> list[Account]:
        """All accounts, used or not."""
        self.keys()
        return list(self._accounts.values())

    def _load(self) -> None:
        stamp = self.store.stamp()
        try:
            found = accounts_of(self.store.read(), self.spec.name)
        except AuthError as error:
            log.error("%s", error.message)
            self._problem, self._stamp = error.message, stamp
            return
        self._problem, self._stamp = None, stamp
        for account in found:
            self._accounts[account.id] = self._current(account)
        gone = set(self._accounts) - {account.id for account in found}
        for id in gone:
            del self._accounts[id]
        now = self._clock()
        possible = [account for account in found if account.enabled and account.kind == "oauth"]
        usable = [account for account in possible if self._wrong(account) is None]
        ordered = sorted(usable or possible, key=lambda account: account.cooldown > now)
        self._keys = tuple(Key(id=account.id, token=self._accounts[account.id].token) for account in ordered)

    def _wrong(self, account: Account) -> str | None:
        """Why an account is not used."""
        run = command(self.spec.name, account.id)
        if account.state == "needs_login":
            return f"the sign-in for {self.spec.name} is not valid any more. Run: {run}"
        if account.state != "ok":
            return (
                f"the account {account.id} of {self.spec.name} is not usable ({account.reason}). Afterwards run: {run}"
            )
        if self.spec.risk and not account.consented:
            return f"{self.spec.name} is not used before its owner agrees to the risk. Run: {run}"
        return None

    def token(self) -> Token | None:
        """The token of the first account, as it is; ``None`` if there is none."""
        keys = self.keys()
        return keys[0].token if keys else None

    # A request.

    async def fresh(self, key: Key | None) -> Key | None:
        """``key`` with a token that can be used; raise ``AuthError`` with the command that helps if there is none.

        ``None`` stays ``None`` where requests may go out without an account.
        """
        if key is None:
            if self._problem is not None:
                raise AuthError(self._problem)
            if self.auth.by_itself:
                return await self._of_machine()
            if not self.spec.interactive:
                return None
            raise AuthError(f"nobody is signed in to {self.spec.name}. Run: {command(self.spec.name)}")
        if key.id == MACHINE:
            return await self._of_machine()
        self.keys()
        account = self._accounts.get(key.id)
        if account is None:
            raise AccountError(f"the account {key.id} of {self.spec.name} was removed")
        wrong = self._wrong(account)
        if wrong is not None:
            raise AccountError(wrong, account.state if account.state != "ok" else "needs_login")
        token = account.token
        if not self.auth.fresh(token, self._clock()):
            token = await self._renewed(account.id, token)
        return key if token is key.token else attrs.evolve(key, token=token)

    async def renew(self, key: Key) -> Key:
        """``key`` after the vendor refused its token: with a new one, or one that another process has got since."""
        token = await self._renewed(key.id, key.token)
        if token.access == key.token.access:
            raise UpstreamError(f"{self.spec.name} refuses a token that cannot be renewed just now; try again", 503)
        return attrs.evolve(key, token=token)

    async def found_again(self, key: Key, wire: WireRequest, reply: WireReply) -> Key | None:
        """``key`` with what belongs to the account as it is now, if that makes another request of ``wire``.

        It is found out again if ``reply`` may be a refusal for that reason, and was not just now.
        """
        if not self.auth.outdated(reply, key.token):
            return None
        now = self._clock()
        token = self._accounts[key.id].token if key.id in self._accounts else key.token
        if key.id in self._renewing or now - self._found.get(key.id, -AGAIN_SECONDS) >= AGAIN_SECONDS:
            self._found[key.id] = now
            try:
                token = await self._renewed(key.id, key.token)
            except UpstreamError as error:
                log.warning("%s: what belongs to %s could not be found out: %s", self.spec.name, key.id, error.message)
                return None
        before, after = (self.auth.apply(wire, each) for each in (key.token, token))
        changed = (before.url, before.body) != (after.url, after.body)
        return attrs.evolve(key, token=token) if changed else None

    def signed(self, wire: WireRequest, key: Key | None) -> WireRequest:
        """``wire`` with the account's credential; raise ``AuthError`` if it would go where it must not."""
        signed = self.auth.apply(wire, key.token if key is not None else None)
        options = self.auth.options
        host = (urlsplit(signed.url).hostname or "").lower()
        if not options.allow_custom_host and not any(fnmatch.fnmatchcase(host, each) for each in self.spec.hosts):
            raise AuthError(
                f"the tokens of {self.spec.name} are not sent to {host}; "
                f"set oauth.{self.spec.name}.allow_custom_host if that is meant"
            )
        cookies = self._cookies.get(key.id) if key is not None else None
        if cookies or options.headers:
            more = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
            more |= {name.lower(): value for name, value in options.headers.items()}
            signed = attrs.evolve(signed, headers={**signed.headers, **more})
        return signed

    def observe(self, key: Key, headers: Headers) -> None:
        """Note what an answer says of the account's limits; written now and then, for ``ccr auth status``.

        Cookies that the service's gatekeeper wants to see again are kept as well, in memory.
        """
        if self._cookie is not None and "set-cookie" in headers:
            jar = self._cookies.setdefault(key.id, {})
            jar |= dict(self._cookie.findall(headers["set-cookie"]))
            self._cookies[key.id] = {name: value for name, value in jar.items() if value}
        windows = tuple(self.auth.observe(headers))
        if not windows or windows == self._windows.get(key.id):
            return
        self._windows[key.id] = windows
        now = self._clock()
        if now - self._written.get(key.id, 0.0) >= 60:
            self._written[key.id] = now
            rows = [attrs.asdict(window) for window in windows]
            self._threads.submit(self._set_status, key.id, windows=rows)

    def cooling(self, account: str, model: str) -> float:
        """For how many seconds an account rests, for ``model`` or for all, as far as that is kept."""
        known = self._accounts.get(account)
        if known is None or not known.cooldowns:
            return 0.0
        return max(0.0, max(known.cooldowns.get(name, 0.0) for name in ("*", model)) - self._clock())

    def worked(self, key: Key, model: str) -> None:
        """An answer came: the account does not rest, whatever was kept."""
        if self.cooling(key.id, model):
            self._rest(key.id, dict.fromkeys(("*", model), 0.0))

    def _rest(self, account: str, until: Mapping[str, float]) -> None:
        now = self._clock()
        known = self._accounts[account]
        kept = {name: at for name, at in {**known.cooldowns, **until}.items() if at > now}
        self._accounts[account] = attrs.evolve(known, cooldowns=kept)
        self._threads.submit(self._set_status, account, cooldown={name: int(at) for name, at in kept.items()})

    def refused(self, key: Key, reply: WireReply, error: CcrError, model: str) -> CcrError:
        """What a refusal means for the account and ``model``; ``error`` is what the dialect has made of it."""
        if not isinstance(error, UpstreamError):
            return error
        found = self.auth.refused(reply, error)
        if isinstance(found, AccountError):
            self.set_aside(key.id, found)
        elif isinstance(found, UpstreamError) and found.status == 429:
            seconds = retry_after(found.headers)
            whole = not (isinstance(found, Limited) and found.model_only)
            if seconds is not None and seconds > LONG and key.id in self._accounts:
                self._rest(key.id, {"*" if whole else model: self._clock() + seconds})
        return found

    def set_aside(self, account: str, error: AccountError) -> None:
        """Do not use an account until its owner has done something."""
        known = self._accounts.get(account)
        if known is not None:
            self._accounts[account] = attrs.evolve(known, state=error.state, reason=error.message)
            keys = tuple(key for key in self._keys if key.id != account)
            self._keys = keys or self._keys
        log.warning("%s: the account %s is set aside: %s", self.spec.name, account, error.message)
        changes = {"state": error.state, "reason": error.message[:300], "since": int(self._clock())}
        self._threads.submit(self._set_status, account, **changes)

    # Renewing.

    async def _of_machine(self) -> Key:
        """The machine's own credential."""
        token = self._own
        if not token.access or not self.auth.fresh(token, self._clock()):
            token = await self._renewed(MACHINE, token)
        return Key(id=MACHINE, token=token)

    async def _renewed(self, account: str, stale: Token) -> Token:
        running = self._renewing.get(account)
        if running is None:
            loop = asyncio.get_running_loop()
            renew = self._renew if account != MACHINE else self._renew_own
            running = loop.run_in_executor(self._threads, renew, account, stale)
            self._renewing[account] = running
            running.add_done_callback(lambda future: self._forget(account, future))
        # Whoever waits may leave; the renewal goes on.
        return await asyncio.shield(running)

    def _forget(self, account: str, future: asyncio.Future[Token]) -> None:
        if self._renewing.get(account) is future:
            del self._renewing[account]
        if not future.cancelled():
            future.exception()

    def _renew_own(self, id: str, stale: Token) -> Token:
        """Renew the machine's own token, which is in no store, unless that was done meanwhile; in a thread."""
        if self._own.access == stale.access:
            self._own = self._ask(Account(provider=self.spec.name, id=id, token=self._own))
        return self._own

    def _renew(self, id: str, stale: Token) -> Token:
        """Renew the token of an account unless somebody has; in a thread."""
        with self.store.lock(f"{self.spec.name}.{id}", LOCK_SECONDS) as held:
            account = self._read(id)
            if account.token.access != stale.access and self.auth.fresh(account.token, self._clock()):
                return self._adopt(account.token)
            if not held:
                raise UpstreamError(f"another process is renewing the sign-in for {self.spec.name}; try again", 503)
            try:
                token = self._ask(account)
            except AccountError as error:
                again = self._read(id)
                if again.token.refresh != account.token.refresh:
                    # Another program signed in meanwhile.
                    return self._adopt(again.token)
                raise self._dead(account, error) from None
            return self._keep(id, token, account.token)

    def _read(self, id: str) -> Account:
        found = {account.id: account for account in accounts_of(self.store.read(), self.spec.name)}
        account = found.get(id)
        if account is None:
            raise AccountError(f"nobody is signed in to {self.spec.name} any more. Run: {command(self.spec.name)}")
        return self._current(account)

    def _current(self, account: Account) -> Account:
        """``account`` with the token that could not be written, if the stored one is the one that it came from."""
        held = self._unsaved.get(account.id)
        if held is not None and account.token.refresh == held.spent:
            return attrs.evolve(account, token=held.token)
        return account

    def _ask(self, account: Account) -> Token:
        """Ask the vendor; tries again after what may pass."""
        token = account.token
        mark = _hash(token.refresh or token.access)
        if account.dead == mark:
            raise AccountError("it was refused before")
        blocked = self._blocked.get(mark, 0.0) - self._clock()
        failure: UpstreamError | None = None
        if blocked > 0:
            failure = Limited(f"the login service of {self.spec.name} wants a pause of {blocked:.0f} s", blocked)
        for wait in (*WAITS, None) if failure is None else ():
            try:
                http = self._http(account.proxy)
                return quietly(self.auth.refresh(token), http, clock=self._clock, sleep=self._sleep)
            except UpstreamError as error:
                failure = error
                if error.status == 429:
                    seconds = min(max(retry_after(error.headers) or 0.0, 5.0), 300.0)
                    self._blocked[mark] = self._clock() + seconds
                    break
                if wait is not None:
                    self._sleep(wait)
        assert failure is not None
        if token.expires is not None and self._clock() < token.expires:
            log.warning("%s: not renewed (%s); the old token still holds", self.spec.name, failure.message)
            return token
        raise failure

    def _keep(self, id: str, token: Token, old: Token) -> Token:
        """Write the new token before anybody uses it."""
        if token is old:
            return token
        token = attrs.evolve(token, account=id)
        try:
            self._save(id, token)
            self._unsaved.pop(id, None)
        except (OSError, AuthError) as error:
            # It must not be lost: the old one is used up.
            before = self._unsaved.get(id)
            self._unsaved[id] = _Unsaved(old.refresh if before is None else before.spent, token)
            log.error("%s: the new token of %s could not be saved: %s", self.spec.name, id, error)
        log.info("%s: renewed the token of the account %s", self.spec.name, id)
        return self._adopt(token)

    def _save(self, id: str, token: Token) -> None:
        now = self._clock()

        def edit(providers: JSON) -> None:
            accounts = providers.setdefault(self.spec.name, {"default": id, "accounts": {}})["accounts"]
            if id in accounts:  # else somebody has signed out meanwhile
                accounts[id] = _with_old_status(to_record(token, accounts[id], now), accounts[id])

        self.store.update(edit)

    def _save_again(self, id: str) -> None:
        """Write a token that could not be written when it came."""
        with self.store.lock(f"{self.spec.name}.{id}", LOCK_SECONDS) as held:
            unsaved = self._unsaved.get(id)
            if not held or unsaved is None:
                return
            try:
                if self._read(id).token is unsaved.token:
                    self._save(id, unsaved.token)
                self._unsaved.pop(id, None)
            except (OSError, AuthError):
                pass  # it was told when it happened; the next look tries again

    def _adopt(self, token: Token) -> Token:
        with self._mutex:
            known = self._accounts.get(token.account or "")
            if known is not None:
                self._accounts[known.id] = attrs.evolve(known, token=token)
                self._keys = tuple(attrs.evolve(key, token=token) if key.id == known.id else key for key in self._keys)
        return token

    def _dead(self, account: Account, error: AccountError) -> AccountError:
        run = command(self.spec.name, account.id)
        message = f"the sign-in for {self.spec.name} is not valid any more. Run: {run}"
        if error.state != "needs_login":
            message = error.message
        log.warning("%s: the account %s needs its owner: %s", self.spec.name, account.id, error.message)
        self._set_status(
            account.id,
            state=error.state,
            reason=error.message[:300],
            since=int(self._clock()),
            dead_refresh_sha256=_hash(account.token.refresh or account.token.access),
        )
        return AccountError(message, error.state)

    def _set_status(self, account: str, **changes: Any) -> None:
        def edit(providers: JSON) -> None:
            record = providers.get(self.spec.name, {}).get("accounts", {}).get(account)
            if record is not None:
                record["status"] = {**(record.get("status") or {}), **changes}

        try:
            self.store.update(edit)
        except (OSError, AuthError) as error:
            log.warning("%s: the state of %s could not be saved: %s", self.spec.name, account, error)


@attrs.frozen
class _Unsaved:
    """A token that could not be written, and the refresh token that it has used up."""

    spent: str | None = attrs.field(repr=False)
    token: Token


def _with_old_status(record: JSON, old: JSON) -> JSON:
    """A renewal tells that the sign-in is good, and nothing of limits."""
    before = old.get("status") or {}
    kept: dict[str, Any] = {name: before[name] for name in before if name in ("cooldown", "windows")}
    unknown = {name: before[name] for name in before if name not in record["status"]}
    return {**record, "status": {**record["status"], **unknown, **kept}}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def allowed(spec: AuthSpec, url: str) -> bool:
    """Whether a URL is one of those to which tokens of ``spec`` may be sent."""
    return _matches(url, spec.hosts)


def legacy(spec: AuthSpec, url: str) -> bool:
    """Whether a URL only stands for the service's own address, as older configurations have it."""
    return _matches(url, spec.legacy) or (_matches(url, spec.hosts) and not urlsplit(url).path.strip("/"))


def _matches(url: str, patterns: Sequence[str]) -> bool:
    host = (urlsplit(url).hostname or "").lower()
    return any(fnmatch.fnmatchcase(host, pattern) for pattern in patterns)
