"""A real router that is killed in the middle of its work, again and again."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import ccr_plugin_history as plugin
from ccr_plugin_history import query

from ccr_core import CcrError
from ccr_core.testing import ask
from ccr_core.testing.loopback import Router

CONFIG = {"Providers": [{"name": "echo", "models": ["echo"]}], "Router": {"default": "echo,echo"}}
ROUNDS = 4


class Burst:
    """Clients that ask one request after the other until the router is gone; ``answered`` are the ids."""

    def __init__(self, router: Router) -> None:
        self.answered: list[str] = []
        self._router = router
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(4)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            for turn in range(2000):
                body = ask(f"{number} {turn}", stream=turn % 2 == 0, model="echo,echo")
                status, headers, _ = self._router.post(body)
                if status != 200:
                    return
                self.answered.append(headers["request-id"])

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def until(holds: Callable[[], bool]) -> bool:
    """Wait for something, for a bounded time; whether it came."""
    end = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_kept(path: Path, id: str) -> bool:
    """Whether the end of a request is in the file."""
    with contextlib.suppress(CcrError):
        return bool(query.one(path, id)["state"] == "done")
    return False


def killed(home: Path, count: int) -> tuple[set[str], int]:
    """Start a router, kill it while it serves; the requests whose end must be in the file, and how many there were."""
    # The former router could not take it away, and it says where that one listened.
    (home / "config.json.home" / "run.json").unlink(missing_ok=True)
    with Router(home, CONFIG) as router:
        burst = Burst(router)
        assert until(lambda: len(burst.answered) >= count)
        before = [*burst.answered]
        assert until(lambda: all(is_kept(home / "config.json.home" / plugin.FILE, id) for id in before[-4:]))
        router.process.kill()
        router.process.wait(30)
        burst.join()
        return set(before), len(burst.answered)


def test_killed_again_and_again(tmp_path: Path) -> None:
    """After each kill the file is sound, has all that was written before, and the next router goes on with it."""
    kept: set[str] = set()
    asked = 0
    for turn in range(ROUNDS):
        before, answered = killed(tmp_path, 10 * (turn + 1))
        kept |= before
        asked += answered
        db = sqlite3.connect(tmp_path / "config.json.home" / plugin.FILE)
        sound = db.execute("PRAGMA integrity_check").fetchall()
        states = dict(db.execute("SELECT id, state FROM requests"))
        db.close()

        assert [("ok",)] == sound
        assert {"done"} == {states.get(id) for id in kept}
    assert asked >= len(kept) >= 10 * ROUNDS
