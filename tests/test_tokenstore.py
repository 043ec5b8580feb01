"""The file of accounts: who can read it, what survives, and what a crash leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ccr_core import AuthError, FileStore, Token
from ccr_core.accounts import accounts_of
from ccr_core.tokenstore import remove, save_login, to_record, to_token

TOKEN = Token(access="a-1", refresh="r-1", expires=2000.0, account="me", label="me@x", scopes=("s",), data={"x": 1})


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "auth.json")


def written(store: FileStore) -> Any:
    return json.loads(store.path.read_text())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_nothing_yet(store: FileStore) -> None:
    """Without a file there is nobody, and looking makes none."""
    assert {} == store.read()
    assert not store.path.exists()


def test_there_and_back(store: FileStore) -> None:
    """A token comes out as it went in."""
    save_login(store, "p", TOKEN, 1000.0)

    record = store.read()["p"]["accounts"]["me"]

    assert Token(**{**_fields(TOKEN), "obtained": 1000.0}) == to_token(record, "me")


def _fields(token: Token) -> dict[str, Any]:
    import attrs

    return {field.name: getattr(token, field.name) for field in attrs.fields(Token)}


def test_only_its_owner_reads_it(store: FileStore) -> None:
    """The file and its locks are 0600 whatever the umask, and an open file is closed at the next look."""
    old = os.umask(0)
    try:
        save_login(store, "p", TOKEN, 1000.0)
    finally:
        os.umask(old)
    assert {0o600} == {mode(path) for path in store.path.parent.iterdir()}

    store.path.chmod(0o644)
    store.read()

    assert 0o600 == mode(store.path)


def test_unknown_members_survive(store: FileStore) -> None:
    """What a newer version or a person has written stays, at every level."""
    save_login(store, "p", TOKEN, 1000.0)
    document = written(store)
    document["extra"] = 1
    document["providers"]["p"]["extra"] = 2
    document["providers"]["p"]["accounts"]["me"] |= {"extra_member": 3, "priority": 7, "label": "mine"}
    store.path.write_text(json.dumps(document))

    save_login(store, "p", Token(access="a-2", account="me"), 3000.0)

    document = written(store)
    record = document["providers"]["p"]["accounts"]["me"]
    assert (1, 2, 3, 7, "mine", "a-2", 1000) == (
        document["extra"],
        document["providers"]["p"]["extra"],
        record["extra_member"],
        record["priority"],
        record["label"],
        record["access_token"],
        record["created_at"],
    )


def test_defaults(store: FileStore) -> None:
    """The first account is the default; when it goes, another is; with the last the provider goes."""
    save_login(store, "p", TOKEN, 1.0)
    save_login(store, "p", Token(access="b", account="other"), 1.0)
    assert "me" == written(store)["providers"]["p"]["default"]

    remove(store, "p", "me")
    assert "other" == written(store)["providers"]["p"]["default"]

    remove(store, "p", "other")
    remove(store, "p", "other")
    assert {} == written(store)["providers"]


def test_no_account(store: FileStore) -> None:
    """A login that does not say whose it is keeps nothing."""
    with pytest.raises(AuthError, match="did not say whose"):
        save_login(store, "p", Token(access="a"), 1.0)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"version": 2, "providers": []}', "\x00\xff", '{"version":2,"providers":{"p":{"accounts":{"a":1}}}}'],
)
def test_malformed(store: FileStore, text: str) -> None:
    """A file that cannot be understood is told, not wiped; a sign-in keeps a copy of it."""
    store.path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AuthError, match="cannot be read"):
        store.read()
    assert text.encode("latin-1") == store.path.read_bytes()

    save_login(store, "p", TOKEN, 1.0)

    (kept,) = store.path.parent.glob("auth.json.corrupt-*")
    assert text.encode("latin-1") == kept.read_bytes()
    assert ["me"] == list(store.read()["p"]["accounts"])


def test_a_newer_file(store: FileStore) -> None:
    """A version that is not known is left alone."""
    store.path.write_text('{"version": 3, "providers": {}}')

    with pytest.raises(AuthError, match="newer ccr"):
        save_login(store, "p", TOKEN, 1.0)

    assert {"version": 3, "providers": {}} == written(store)


OLD = {
    "codex": {"type": "oauth", "access": "a", "refresh": "r", "expires": 1760000000000, "accountId": "acc"},
    "antigravity": {"type": "oauth", "access": "a", "refresh": "r|project-1", "expires": 1},
    "x": {"type": "api", "key": "sk-1"},
    "broken": 5,
}


def test_the_older_format(store: FileStore) -> None:
    """It is understood, and only changed at the first change; then it is kept beside."""
    store.path.write_text(json.dumps(OLD))

    providers = store.read()
    (codex,) = accounts_of(providers, "codex")
    (other,) = accounts_of(providers, "antigravity")
    (key,) = accounts_of(providers, "x")

    assert ("a", "r", 1760000000.0, "acc") == (
        codex.token.access,
        codex.token.refresh,
        codex.token.expires,
        codex.token.data["account_id"],
    )
    assert ("r", {"project_id": "project-1"}) == (other.token.refresh, other.token.data)
    assert "api" == key.kind
    assert OLD == written(store)

    store.update(lambda providers: None)

    assert 2 == written(store)["version"]
    kept = store.path.with_name("auth.json.v1.bak")
    assert (OLD, 0o600) == (json.loads(kept.read_text()), mode(kept))


def test_signing_in_replaces_what_was_imported(store: FileStore) -> None:
    """Of an imported account nobody knows whose it is: the first real one takes its place."""
    store.path.write_text(json.dumps(OLD))

    save_login(store, "codex", TOKEN, 1.0)

    assert ["me"] == list(store.read()["codex"]["accounts"])


def test_a_link(tmp_path: Path) -> None:
    """A link stays a link; what it leads to is replaced."""
    (tmp_path / "real").mkdir()
    (tmp_path / "auth.json").symlink_to(tmp_path / "real" / "auth.json")

    save_login(FileStore(tmp_path / "auth.json"), "p", TOKEN, 1.0)

    assert (tmp_path / "auth.json").is_symlink()
    assert "providers" in json.loads((tmp_path / "real" / "auth.json").read_text())


def test_an_edit_that_fails(store: FileStore) -> None:
    """It changes nothing, leaves nothing, and lets the next one in."""
    save_login(store, "p", TOKEN, 1.0)
    before = store.path.read_bytes()

    def edit(providers: Any) -> None:
        providers.clear()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.update(edit)

    assert before == store.path.read_bytes()
    remove(store, "p", "me")


def test_a_full_disk(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written leaves the old file and no rest."""
    save_login(store, "p", TOKEN, 1.0)
    before = store.path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(OSError, match="No space"):
        remove(store, "p", "me")

    assert before == store.path.read_bytes()
    assert {"auth.json", "auth.json.lock"} == {path.name for path in store.path.parent.iterdir()}


def test_stamps(store: FileStore) -> None:
    """Every change, also one within the same tick of a clock, has another stamp."""
    stamps = [store.stamp()]
    for number in range(3):
        save_login(store, "p", Token(access=f"a-{number}", account="me"), 1.0)
        stamps.append(store.stamp())

    assert 4 == len(set(stamps))


def test_locks(store: FileStore) -> None:
    """Whoever wants the same name waits, and gives up in time; another name is free."""
    with store.lock("p.me", 1) as held, store.lock("p.me", 0.05) as second, store.lock("p.other", 0.05) as third:
        assert (True, False, True) == (held, second, third)
    with store.lock("p.me", 0.05) as held:
        assert held


def test_side_by_side(store: FileStore) -> None:
    """Changes made at once are all there afterwards."""

    def add(name: str) -> None:
        for number in range(5):
            save_login(store, "p", Token(access="a", account=f"{name}{number}"), 1.0)

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert 20 == len(store.read()["p"]["accounts"])


WRITER = """
import sys
from pathlib import Path
from ccr_core import FileStore, Token
from ccr_core.tokenstore import save_login
store = FileStore(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    save_login(store, "p", Token(access=f"a-{number}" + "x" * 5000, account="me"), 1.0)
    print(number, flush=True)
"""


def test_killed(store: FileStore) -> None:
    """A process that is killed while it writes leaves a whole file, and no lock that stays."""
    for attempt in range(8):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(store.path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        with child.stdout as out:
            said = int(out.readline())
            time.sleep(0.003 * attempt)
            child.send_signal(signal.SIGKILL)
            child.wait(20)
            said = max([said, *(int(line) for line in out.read().split())])
        token = to_token(store.read()["p"]["accounts"]["me"], "me")
        assert int(token.access.split("x")[0].removeprefix("a-")) >= said
        with store.lock("", 1) as held:
            assert held
    save_login(store, "p", TOKEN, 1.0)

    assert {"auth.json", "auth.json.lock"} == {path.name for path in store.path.parent.iterdir()}


def test_generations() -> None:
    """A rotated refresh token is counted; the same one is not."""
    first = to_record(TOKEN, None, 1.0)
    same = to_record(TOKEN, first, 2.0)
    other = to_record(Token(access="b", refresh="r-2"), same, 3.0)

    assert [0, 0, 1] == [record["refresh_generation"] for record in (first, same, other)]
