"""Who may manage the router over HTTP: the management token, one-time links and the sessions of the web UI.

Rules:

* the management token is a file that only its owner can read; it is never the key of the model endpoints;
* a link's code is known to whoever made it, its digest is the name of a file, and using it removes that file, so that
  it works once, also when several processes serve;
* a session is a text signed with the management token: nothing is kept for it, and a new token ends all sessions;
* secrets are compared in constant time.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import time
from collections import deque
from pathlib import Path

from ccr_core.errors import CcrError, RequestError

LINK_SECONDS = 120
"""How long a one-time link works."""

SESSION_SECONDS = 12 * 3600
"""How long a session of the web UI lasts."""

ATTEMPTS = 10
"""How many sign-ins may fail in a minute before all are refused for a while."""

LINK, ENDED = "link-", "ended-"


class Access:
    """Tokens, links and sessions, kept in ``folder`` (ccr's own)."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "management.token"
        self._folder = folder / "management"
        self._token = ""
        self._read: tuple[int, int] | None = None
        self._failed: deque[float] = deque(maxlen=ATTEMPTS)

    def token(self) -> str:
        """The management token, made if there is none; ``CcrError`` if its file cannot be read or written."""
        try:
            found = self._find()
            if found:
                return found
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Written whole under another name and linked: two processes that start at once agree on one token.
            draft = self._file.with_name(f".{self._file.name}.{os.getpid()}.{secrets.token_hex(4)}")
            try:
                _write(draft, secrets.token_urlsafe(32))
                os.link(draft, self._file)
            except FileExistsError:
                if not self._file.read_text().strip():  # left by a full disk
                    os.replace(draft, self._file)
            finally:
                draft.unlink(missing_ok=True)
            return self._find()
        except OSError as error:
            raise CcrError(f"cannot keep the management token in {self._file}: {error.strerror or error}") from error

    def _find(self) -> str:
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            self._read = None
            return ""
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._read:
            self._token, self._read = self._file.read_text().strip(), stamp
        return self._token

    def link(self) -> str:
        """A code that :meth:`redeem` takes once within two minutes."""
        code = secrets.token_urlsafe(32)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep(time.time())
            _write(self._folder / (LINK + _digest(code)), "")
        except OSError as error:
            raise CcrError(f"cannot make a link in {self._folder}: {error.strerror or error}") from error
        return code

    def redeem(self, code: str) -> bool:
        """Whether ``code`` is that of an unused link; it is used now."""
        path = self._folder / (LINK + _digest(code))
        try:
            made = path.stat().st_mtime
            path.unlink()  # of two that try, one succeeds
        except OSError:
            return False
        return 0 <= time.time() - made + 1 <= LINK_SECONDS + 1

    def sign_in(self, code: str | None, token: str | None) -> tuple[str, float]:
        """A session for a link's code or the management token: its token, and when it ends (Unix time).

        Raises ``RequestError``: 401 for a wrong one, 429 after too many of these.
        """
        now = time.monotonic()
        if len(self._failed) == ATTEMPTS and now - self._failed[0] < 60:
            wait = int(60 - (now - self._failed[0])) + 1
            raise RequestError(f"too many wrong sign-ins; try again in {wait} s", 429, {"retry_after": wait})
        if not ((code and self.redeem(code)) or (token and _equal(token, self.token()))):
            self._failed.append(now)
            raise RequestError(
                "the link was used or is too old, or the token is wrong; open the page with: ccr ui", 401
            )
        return self.session()

    def session(self) -> tuple[str, float]:
        """A new session: its token, and when it ends (Unix time)."""
        expires = int(time.time()) + SESSION_SECONDS
        text = f"s.{expires}.{secrets.token_urlsafe(12)}"
        return f"{text}.{self._signature(text)}", expires

    def expires(self, given: str) -> float | None:
        """When what ``given`` opens ends (infinity for the management token); ``None`` if it opens nothing."""
        token = self._find_quietly()
        if not token or not given:
            return None
        if _equal(given, token):
            return float("inf")
        text, _, signature = given.rpartition(".")
        if not text.startswith("s.") or not _equal(signature, self._signature(text)):
            return None
        expires, nonce = text[2:].split(".", 1)
        if float(expires) <= time.time() or (self._folder / (ENDED + _digest(nonce))).exists():
            return None
        return float(expires)

    def end(self, given: str) -> None:
        """End the session ``given``; the management token is not ended by this."""
        if self.expires(given) is None or not given.startswith("s."):
            return
        nonce = given.split(".")[2]
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(self._folder / (ENDED + _digest(nonce)), "")
        except OSError as error:
            raise CcrError(f"cannot end the session in {self._folder}: {error.strerror or error}") from error

    def _find_quietly(self) -> str:
        try:
            return self._find()
        except OSError:
            return ""

    def _signature(self, text: str) -> str:
        return hmac.new(self.token().encode(), text.encode(), hashlib.sha256).hexdigest()

    def _sweep(self, now: float) -> None:
        """Remove what is past its time."""
        for path in self._folder.iterdir():
            age = SESSION_SECONDS if path.name.startswith(ENDED) else LINK_SECONDS
            with contextlib.suppress(OSError):
                if now - path.stat().st_mtime > age:
                    path.unlink()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:40]


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
