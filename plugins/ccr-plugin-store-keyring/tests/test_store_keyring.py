"""Secrets in the keyring, the rest in the file; the keyring is one in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import ccr_plugin_store_keyring
import keyring
import pytest
from ccr_plugin_store_keyring import KeyringStore, Options, make
from keyring.backend import KeyringBackend
from keyring.errors import KeyringError, PasswordDeleteError

from ccr_core import AuthError, TokenStore
from ccr_core.testing import check_plugin


class Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.written = 0
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringError("it is locked. More words")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.written += 1
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError(username)


@pytest.fixture
def ring() -> Iterator[Ring]:
    before = keyring.get_keyring()
    made = Ring()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


@pytest.fixture
def store(tmp_path: Path, ring: Ring) -> TokenStore:
    return KeyringStore(tmp_path / "auth.json", "ccr")


def add(store: TokenStore, account: str = "a1", **record: object) -> None:
    given = {
        "access_token": "at-1",
        "refresh_token": "rt-1",
        "label": "me",
        "extra": {"host": "h", "github_refresh": "gr-1"},
    }

    def edit(providers: dict) -> None:  # type: ignore[type-arg]
        providers.setdefault("p", {"accounts": {}})["accounts"][account] = {**given, **record}

    store.update(edit)


def test_the_package() -> None:
    """It is as plugins must be."""
    check_plugin(ccr_plugin_store_keyring, Path(__file__).parents[1])


def test_no_secret_in_the_file(store: TokenStore, ring: Ring, tmp_path: Path) -> None:
    """The file has everything but the secrets, and reading gives both."""
    add(store)
    text = (tmp_path / "auth.json").read_text()

    assert [] == [secret for secret in ("at-1", "rt-1", "gr-1") if secret in text]
    assert {"at-1", "rt-1", "gr-1"} == set(ring.entries.values())
    record = store.read()["p"]["accounts"]["a1"]
    assert ("at-1", "rt-1", "me", {"host": "h", "github_refresh": "gr-1"}) == tuple(
        record[name] for name in ("access_token", "refresh_token", "label", "extra")
    )


def test_only_changes_are_written(store: TokenStore, ring: Ring) -> None:
    """A change of something else does not touch the keyring."""
    add(store)
    before = ring.written

    store.update(lambda providers: providers["p"]["accounts"]["a1"].update(label="you"))
    store.update(lambda providers: providers["p"]["accounts"]["a1"].update(refresh_token="rt-2"))

    assert before + 1 == ring.written
    assert "rt-2" == store.read()["p"]["accounts"]["a1"]["refresh_token"]


def test_what_goes_goes(store: TokenStore, ring: Ring) -> None:
    """Nothing of an account stays in the keyring, nor a token that is gone."""
    add(store)
    add(store, "a2")
    store.update(lambda providers: providers["p"]["accounts"]["a1"].update(refresh_token=None))
    assert ("ccr", "p:a1:refresh_token") not in ring.entries

    store.update(lambda providers: providers["p"]["accounts"].pop("a1"))

    assert {"p:a2"} == {name.rpartition(":")[0] for _, name in ring.entries}


def test_moving_in(tmp_path: Path, ring: Ring) -> None:
    """Tokens that are in the file move with the first change."""
    path = tmp_path / "auth.json"
    record = {"access_token": "at-1", "refresh_token": "rt-1"}
    path.write_text(json.dumps({"version": 2, "providers": {"p": {"accounts": {"a": record}}}}))
    store = KeyringStore(path, "ccr")
    assert "rt-1" == store.read()["p"]["accounts"]["a"]["refresh_token"]

    store.update(lambda providers: None)

    assert "rt-1" not in path.read_text()
    assert "rt-1" == store.read()["p"]["accounts"]["a"]["refresh_token"]


def test_a_locked_keyring(store: TokenStore, ring: Ring, tmp_path: Path) -> None:
    """It is an error that says what to do, and the file stays as it is."""
    add(store)
    before = (tmp_path / "auth.json").read_bytes()
    ring.locked = True

    for use in (store.read, lambda: add(store, "a2")):
        with pytest.raises(
            AuthError, match='the keyring cannot be used: it is locked; unlock it, or set token_store = "file"'
        ):
            use()

    assert before == (tmp_path / "auth.json").read_bytes()


def test_a_missing_entry(store: TokenStore, ring: Ring) -> None:
    """An entry that somebody has removed is told, not taken for an empty token."""
    add(store)
    ring.entries.clear()

    with pytest.raises(AuthError, match="no entry p:a1:access_token of ccr"):
        store.read()


def test_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is where the options or the variable say."""
    monkeypatch.delenv("CCR_AUTH_FILE", raising=False)
    assert f"{tmp_path / 'auth.json'} and the keyring (mine)" == make(Options(service="mine"), tmp_path).where()

    monkeypatch.setenv("CCR_AUTH_FILE", str(tmp_path / "x.json"))

    assert f"{tmp_path / 'x.json'} and the keyring (ccr)" == make(Options(), tmp_path).where()
