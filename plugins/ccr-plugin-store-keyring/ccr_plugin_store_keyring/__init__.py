"""Accounts in a file, their tokens in the keyring of the operating system.

The file has what is not secret, and where in the keyring the rest is: ``{"keyring": "codex:3f9c2a1b:refresh_token"}``.
A secret is in the keyring before the file names it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from ccr_core import JSON, AuthError, FileStore, TokenStore, TokenStoreSpec, hookimpl

_MEMBERS = ("access_token", "refresh_token", "id_token", "key")
_EXTRA = re.compile(r"token|refresh|secret")


@attrs.frozen(kw_only=True)
class Options:
    """``service`` is the name under which the keyring shows the entries; ``path`` that of the file."""

    service: str = "ccr"
    path: Path | None = None


class KeyringStore(FileStore):
    """The file store, without secrets in the file."""

    def __init__(self, path: Path, service: str) -> None:
        super().__init__(path)
        self.service = service

    def where(self) -> str:
        """The file and the keyring."""
        return f"{self.path} and the keyring ({self.service})"

    def hide(self, providers: JSON, before: JSON) -> JSON:
        """Put every secret into the keyring, and remove those that nothing refers to any more."""
        kept = set()
        for place, container, name in _secrets(providers):
            value = container[name]
            if isinstance(value, str) and value:
                if self._get(place) != value:
                    self._call("set_password", place, value)
                container[name] = {"keyring": place}
                kept.add(place)
        for _, container, name in _secrets(before):
            old = _place(container[name])
            if old is not None and old not in kept and self._get(old) is not None:
                self._call("delete_password", old)
        return providers

    def reveal(self, providers: JSON) -> JSON:
        """Fetch what the file refers to."""
        for _, container, name in _secrets(providers):
            place = _place(container[name])
            if place is None:
                continue
            value = self._get(place)
            if value is None:
                raise AuthError(f"the keyring has no entry {place} of {self.service}; unlock it, or sign in again")
            container[name] = value
        return providers

    def _get(self, place: str) -> str | None:
        found = self._call("get_password", place)
        return None if found is None else str(found)

    def _call(self, method: str, *words: str) -> Any:
        import keyring
        import keyring.errors

        try:
            return getattr(keyring, method)(self.service, *words)
        except keyring.errors.KeyringError as error:
            said = str(error).split(". ")[0] or type(error).__name__
            raise AuthError(
                f'the keyring cannot be used: {said}; unlock it, or set token_store = "file" and sign in again'
            ) from None


def _secrets(providers: JSON) -> Iterator[tuple[str, JSON, str]]:
    """Every member that is or was secret: its place in the keyring, the object that has it, its name."""
    for provider, entry in providers.items():
        for account, record in entry.get("accounts", {}).items():
            for name in _MEMBERS:
                if record.get(name):
                    yield f"{provider}:{account}:{name}", record, name
            extra = record.get("extra")
            for name in [*extra] if isinstance(extra, dict) else ():
                if _EXTRA.search(name):
                    yield f"{provider}:{account}:extra.{name}", extra, name


def _place(value: Any) -> str | None:
    found = value.get("keyring") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def make(options: Options, home: Path) -> TokenStore:
    """The store."""
    chosen = os.environ.get("CCR_AUTH_FILE") or options.path or home / "auth.json"
    return KeyringStore(Path(chosen).expanduser(), options.service)


@hookimpl
def ccr_token_stores() -> Iterable[TokenStoreSpec]:
    """The store ``keyring``."""
    return [
        TokenStoreSpec(
            name="keyring", factory=make, options=Options, summary="Keep tokens in the keyring of the operating system."
        )
    ]
