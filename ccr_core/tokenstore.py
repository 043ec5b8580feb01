"""Where accounts are kept: the interface of a store, and the file ``auth.json``.

Rules of the file: only its owner can read it; it is replaced whole, never written into, so that a process that dies
leaves the old one or the new one; who changes it holds a lock, reads it again, changes it and writes it, so that
nobody's change is lost; what is not understood survives; what cannot be read is kept beside it, never thrown away.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ccr_core.auth import Token
from ccr_core.errors import AuthError
from ccr_core.flows import account_id
from ccr_core.locks import alone
from ccr_core.messages import JSON

log = logging.getLogger("ccr.tokens")

T = TypeVar("T")

VERSION = 2
"""The version of the file that is written."""

SECRETS = ("access_token", "refresh_token", "id_token", "key")
"""Members of an account that are secret."""


class TokenStore:
    """Where accounts are kept.  Its methods may block; they are called in threads.

    What is stored is a JSON object: provider → ``{"default": id, "accounts": {id: account}}``; an account is as
    :func:`to_record` makes it.  Members that a store or the core does not know must survive.
    """

    def read(self) -> JSON:
        """All accounts.  Raises ``AuthError`` if they cannot be read; it never gives less than there is."""
        raise NotImplementedError

    def update(self, edit: Callable[[JSON], T]) -> T:
        """Read, let ``edit`` change the object in place, and write; give what ``edit`` returns.

        Nobody else's change comes between, and after a crash there is the old state or the new.
        """
        raise NotImplementedError

    def lock(self, name: str, seconds: float) -> contextlib.AbstractContextManager[bool]:
        """Keep out everyone else who wants ``name``, in any process.

        Waits for up to ``seconds``; gives ``False`` if it could not be had.
        """
        raise NotImplementedError

    def stamp(self) -> Hashable:
        """Something that differs after every change, whoever made it; cheap."""
        raise NotImplementedError

    def where(self) -> str:
        """For people: where the accounts are."""
        raise NotImplementedError


class FileStore(TokenStore):
    """Accounts in a JSON file.

    A subclass may keep secrets elsewhere: :meth:`hide` and :meth:`reveal` are called with everything that is written
    and read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def where(self) -> str:
        """The file's path."""
        return str(self.path)

    def hide(self, providers: JSON, before: JSON) -> JSON:
        """What to write for ``providers``; ``before`` is what the file has now."""
        return providers

    def reveal(self, providers: JSON) -> JSON:
        """What was meant by ``providers`` as written."""
        return providers

    def read(self) -> JSON:
        """All accounts; none if there is no file."""
        try:
            return self.reveal(self._document()["providers"])
        except _Broken as error:
            raise AuthError(
                f"{self.path} cannot be read ({error}); mend it, or sign in again: a copy of it will be kept"
            ) from None

    def update(self, edit: Callable[[JSON], T]) -> T:
        """See :meth:`TokenStore.update`."""
        with self.lock("", 5.0) as held:
            if not held:
                raise AuthError(f"{self.path} is being changed by another process; try again")
            try:
                document = self._document()
            except _Broken as error:
                document = {"version": VERSION, "providers": {}}
                self._keep("corrupt-" + time.strftime("%Y%m%d-%H%M%S"), str(error))
            if document.pop("converted", False):
                self._keep("v1.bak", "written by an older tool", copy=True)
            before = document["providers"]
            providers = self.reveal(json.loads(json.dumps(before)))
            result = edit(providers)
            document["providers"] = self.hide(providers, before)
            self._write(document)
            return result

    @contextlib.contextmanager
    def lock(self, name: str, seconds: float) -> Iterator[bool]:
        """See :meth:`TokenStore.lock`."""
        safe = re.sub(r"[^\w.-]", "_", name)
        path = self._real().with_name(f"auth.refresh.{safe}.lock" if name else "auth.json.lock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(path, seconds) as held:
            yield held

    def stamp(self) -> Hashable:
        """Time, number and size of the file."""
        try:
            now = os.stat(self.path)
        except OSError:
            return None
        return now.st_mtime_ns, now.st_ino, now.st_size

    def _real(self) -> Path:
        return Path(os.path.realpath(self.path))

    def _document(self) -> JSON:
        try:
            mode = os.stat(self.path).st_mode
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return {"version": VERSION, "providers": {}}
        except UnicodeDecodeError as error:
            raise _Broken("it is not UTF-8 text") from error
        except OSError as error:
            raise AuthError(f"cannot read {self.path}: {error.strerror or error}") from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            log.warning("%s could be read by others; now it can be read by you alone", self.path)
            with contextlib.suppress(OSError):
                os.chmod(self.path, 0o600)
        try:
            document = json.loads(text) if text.strip() else {}
        except ValueError as error:
            place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "too deep"
            raise _Broken(f"it is not valid JSON, {place}") from None
        if not isinstance(document, dict):
            raise _Broken("it is no JSON object")
        if "version" not in document:
            return {"version": VERSION, "providers": _from_version_1(document), "converted": bool(document)}
        if not isinstance(document["version"], int) or document["version"] > VERSION:
            raise AuthError(
                f"{self.path} was written by a newer ccr (version {document['version']!r}); update this one"
            )
        providers = document.setdefault("providers", {})
        for part in (providers, *(providers.values() if isinstance(providers, dict) else ())):
            accounts = part.get("accounts", {}) if isinstance(part, dict) else None
            if not isinstance(accounts, dict) or not all(isinstance(each, dict) for each in accounts.values()):
                raise _Broken("providers or accounts are no JSON objects")
        return document

    def _keep(self, ending: str, why: str, copy: bool = False) -> None:
        real = self._real()
        kept = real.with_name(f"{real.name}.{ending}")
        if copy:
            descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(real.read_bytes())
        else:
            while kept.exists():
                kept = kept.with_name(f"{kept.name}x")
            os.replace(real, kept)
        log.warning("%s: %s; it is kept as %s", self.path, why, kept)

    def _write(self, document: JSON) -> None:
        real = self._real()
        for rest in real.parent.glob(f".{real.name}.*"):
            rest.unlink(missing_ok=True)  # of a process that was killed: we hold the lock, so nobody writes it
        descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2, ensure_ascii=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, real)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        if os.name == "posix":
            folder = os.open(real.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


class _Broken(Exception):
    """The file is there, but is not what it should be."""


# Accounts as they are written.


def to_token(record: JSON, account: str) -> Token:
    """The token in the record of an account."""
    expires, obtained = record.get("access_expires_at"), record.get("last_refresh_at")
    return Token(
        access=record.get("access_token") or "",
        refresh=record.get("refresh_token"),
        expires=expires if isinstance(expires, (int, float)) else None,
        account=account,
        label=record.get("label") or "",
        scopes=tuple(record.get("scopes") or ()),
        obtained=obtained if isinstance(obtained, (int, float)) else None,
        data=record.get("extra") or {},
    )


def to_record(token: Token, old: JSON | None, now: float) -> JSON:
    """The record of an account whose token is ``token`` from ``now`` on; what ``old`` has besides is kept."""
    old = old or {}
    rotated = old.get("refresh_token") not in (None, token.refresh)
    return {
        "enabled": True,
        "priority": 0,
        "proxy": None,
        "consent": None,
        "created_at": int(now),
        **old,
        "type": "oauth",
        "label": token.label or old.get("label") or "",
        "updated_at": int(now),
        "access_token": token.access,
        "access_expires_at": None if token.expires is None else int(token.expires),
        "refresh_token": token.refresh,
        "refresh_generation": int(old.get("refresh_generation") or 0) + rotated,
        "last_refresh_at": int(token.obtained or now),
        "token_type": "Bearer",
        "scopes": list(token.scopes),
        "extra": dict(token.data),
        "status": {"state": "ok", "reason": None, "since": int(now), "dead_refresh_sha256": None, "cooldown": {}},
    }


def save_login(store: TokenStore, provider: str, token: Token, now: float, *, consent: bool = False) -> str:
    """Keep the account that a login gave; returns its id.  The first one of a provider is its default.

    An account that is there already keeps its priority and what else its owner has set.  Accounts that an older tool
    has left, of which nobody knows whose they are, make way.
    """
    if not token.account:
        raise AuthError(f"the sign-in for {provider} did not say whose account it is")
    account = token.account

    def edit(providers: JSON) -> None:
        entry = providers.setdefault(provider, {"default": account, "accounts": {}})
        accounts = entry.setdefault("accounts", {})
        for other in [key for key, record in accounts.items() if record.get("imported") and key != account]:
            del accounts[other]
        record = to_record(token, accounts.get(account), now)
        record.pop("imported", None)
        if consent:
            record["consent"] = {"at": int(now), "version": 1}
        accounts[account] = record
        if entry.get("default") not in accounts:
            entry["default"] = account

    store.update(edit)
    return account


def remove(store: TokenStore, provider: str, account: str) -> None:
    """Forget an account; another one becomes the default if it was."""

    def edit(providers: JSON) -> None:
        entry = providers.get(provider, {})
        accounts = entry.get("accounts", {})
        accounts.pop(account, None)
        if entry.get("default") == account:
            entry["default"] = next(iter(accounts), None)
        if not accounts:
            providers.pop(provider, None)

    store.update(edit)


def _from_version_1(document: JSON) -> JSON:
    """Accounts of the older file: `{"<provider>": {"type", "access", "refresh", "expires"}}`; times in milliseconds."""
    providers: JSON = {}
    for name, entry in document.items():
        if not isinstance(entry, dict):
            continue
        if entry.get("type") == "api":
            account: JSON = {**entry, "type": "api", "key": entry.get("key")}
            key = "key"
        else:
            refresh, extra = entry.get("refresh"), {}
            if name == "antigravity" and isinstance(refresh, str) and "|" in refresh:
                refresh, _, project = refresh.partition("|")
                extra = {"project_id": project} if project else {}
            owner = entry.get("accountId")
            if owner:
                extra["account_id"] = owner
            expires = entry.get("expires")
            token = Token(
                access=str(entry.get("access") or ""),
                refresh=str(refresh) if refresh else None,
                expires=expires / 1000 if isinstance(expires, (int, float)) else 0,
                data=extra,
            )
            account = {**to_record(token, None, time.time()), "imported": True, "last_refresh_at": None}
            key = account_id(name, str(owner or "imported"))
        providers[name] = {"default": key, "accounts": {key: account}}
    return providers


def shown_key(value: Any) -> str:
    """An API key for people: its first characters."""
    text = str(value or "")
    return f"{text[:8]}…" if len(text) > 12 else "…"
