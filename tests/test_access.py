"""Who may manage the router: the management token, links that work once, and sessions."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ccr_core import RequestError
from ccr_core.access import ATTEMPTS, LINK_SECONDS, Access


def test_the_token_is_private_and_stays(tmp_path: Path) -> None:
    """Made once, readable by its owner only, the same for every process."""
    made = Access(tmp_path).token()

    assert 0o600 == (tmp_path / "management.token").stat().st_mode & 0o777
    assert made == Access(tmp_path).token()
    assert 40 < len(made)


def test_processes_that_start_at_once_agree_on_one_token(tmp_path: Path) -> None:
    """However many make it, all have the one that is in the file."""
    begin, found = threading.Barrier(8), []

    def make() -> None:
        begin.wait(10)
        found.append(Access(tmp_path).token())

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert {(tmp_path / "management.token").read_text()} == set(found)
    assert ["management.token"] == os.listdir(tmp_path)


def test_a_link_works_once(tmp_path: Path) -> None:
    """The second use opens nothing, and what lies in the folder does not tell the code."""
    code = Access(tmp_path).link()
    kept = [path.name + path.read_text() for path in (tmp_path / "management").iterdir()]

    assert not any(code in text for text in kept)
    assert [True, False] == [Access(tmp_path).redeem(code), Access(tmp_path).redeem(code)]


def test_of_many_that_use_a_link_at_once_one_gets_in(tmp_path: Path) -> None:
    """Also when they are asked side by side."""
    code = Access(tmp_path).link()
    begin, got = threading.Barrier(8), []

    def use() -> None:
        begin.wait(10)
        got.append(Access(tmp_path).redeem(code))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert [False] * 7 + [True] == sorted(got)


def test_an_old_link_opens_nothing(tmp_path: Path) -> None:
    """After its time a link is only a file, and the next link sweeps such files away."""
    access = Access(tmp_path)
    code = access.link()
    (path,) = (tmp_path / "management").iterdir()
    old = path.stat().st_mtime - LINK_SECONDS - 5
    os.utime(path, (old, old))
    again = access.link()

    assert not path.exists()
    assert [False, True] == [access.redeem(code), access.redeem(again)]


@pytest.mark.parametrize("code", ["", "x", "../management.token", "link-", "\0", "é" * 50])
def test_a_made_up_code_opens_nothing(tmp_path: Path, code: str) -> None:
    """A code never names a file by itself."""
    access = Access(tmp_path)
    token = access.token()

    assert access.redeem(code) is False
    assert token == access.token()


def test_a_session_opens_until_it_is_ended(tmp_path: Path) -> None:
    """It holds for every process with that folder, and ending it holds for them too."""
    access, other = Access(tmp_path), Access(tmp_path)
    token, expires = access.sign_in(access.link(), None)

    assert expires == other.expires(token)
    other.end(token)
    assert access.expires(token) is None


def test_the_management_token_opens_and_signs_in(tmp_path: Path) -> None:
    """It is itself accepted, makes sessions, and is not ended by a sign-out."""
    access = Access(tmp_path)
    token = access.token()
    session, _ = access.sign_in(None, token)
    access.end(token)

    assert float("inf") == access.expires(token)
    assert access.expires(session) is not None


def test_a_new_management_token_ends_all_sessions(tmp_path: Path) -> None:
    """Whoever removes the file has signed everybody out."""
    access = Access(tmp_path)
    session, _ = access.sign_in(None, access.token())
    (tmp_path / "management.token").unlink()

    assert access.expires(session) is None
    access.token()
    assert access.expires(session) is None


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text.replace("s.", "s.9", 1), lambda text: ""])
def test_a_changed_session_opens_nothing(tmp_path: Path, change: object) -> None:
    """A later end, or any other change, breaks the signature."""
    access = Access(tmp_path)
    access.token()
    session, _ = access.session()

    assert callable(change)
    assert access.expires(change(session)) is None


def test_a_session_past_its_end_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve hours later it is nothing any more."""
    access = Access(tmp_path)
    access.token()
    session, expires = access.session()
    monkeypatch.setattr("ccr_core.access.time.time", lambda: expires + 1)

    assert access.expires(session) is None


def test_sign_ins_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After too many wrong ones even a right one waits, and is taken a minute later."""
    now = 1000.0
    monkeypatch.setattr("ccr_core.access.time.monotonic", lambda: now)
    access = Access(tmp_path)
    token = access.token()
    for _ in range(ATTEMPTS):
        with pytest.raises(RequestError) as wrong:
            access.sign_in("x", None)
        assert 401 == wrong.value.status

    with pytest.raises(RequestError) as limited:
        access.sign_in(None, token)
    assert (429, {"retry_after": 61}) == (limited.value.status, limited.value.details)
    now += 61
    assert access.sign_in(None, token)[1] > 0
