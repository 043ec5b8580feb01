"""The observer ``history``: what gets into the file, and what happens when it cannot."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_history as plugin
import pytest
from ccr_plugin_history import query, store, writer
from ccr_plugin_history.writer import Writer
from told import AT, PRICES, begun, ended, now, whole, wrote

from ccr_core import Answered, Arrived, Body, Failed, Finished, Routed, Sent, Streamed

KEY = "sk-proj-AbCdEf0123456789AbCdEf"
ALL = query.Filter()


@pytest.fixture
def history(tmp_path: Path) -> Iterator[plugin.History]:
    observer = plugin.History(plugin.Options(days=36500), tmp_path)
    yield observer
    observer.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The observer writes at once."""
    monkeypatch.setattr(plugin, "TICK", 0.0)


def ids(path: Path, wanted: query.Filter = ALL) -> list[str]:
    return [request["id"] for request in query.page(path, wanted)["requests"]]


def column(path: Path, sql: str) -> list[Any]:
    with sqlite3.connect(path) as db:
        found = [row[0] for row in db.execute(sql)]
    db.close()
    return found


def test_hook() -> None:
    """The plugin offers the observer and the page that its README names; bodies are wanted where options say so."""
    (spec,) = plugin.ccr_observers()
    (page,) = plugin.ccr_pages()
    main = frozenset({Arrived, Routed, Sent, Answered, Finished, Failed})

    assert ("history", True) == (spec.name, spec.default)
    assert callable(spec.wants)
    assert [main, main | {Body}] == [spec.wants(plugin.Options(bodies=on)) for on in (False, True)]
    assert ("history", "/api/history", "manage") == (page.name, page.mount, page.access)


def test_a_request_from_end_to_end(history: plugin.History, tmp_path: Path, quick: None) -> None:
    """All that the observer is told of a request is in the file."""
    hints = {
        "session": "s",
        "agent_id": "a2",
        "agent_type": "Explore",
        "parent_agent_id": "a1",
        "request_class": "subagent",
        "project": "/home/me/thing",
    }
    for seen in whole(**hints, notes=(("dropped", "top_k"), ("more", {"a": [1]}))):
        history.on(seen)
    history.on(Streamed(id="req_1", at=AT))
    history.close()

    got = query.one(tmp_path / plugin.FILE, "req_1")
    timeline = got.pop("timeline")
    assert {
        "id": "req_1",
        "at": AT,
        "state": "done",
        "path": "/v1/messages",
        "requested": "asked",
        "stream": True,
        "size": 10,
        "provider": "p",
        "model": "m",
        "scenario": "default",
        "rule": "default",
        "why": "Router.default",
        "status": 200,
        "error": None,
        "stop_reason": "end_turn",
        "attempts": 1,
        "first": 0.5,
        "duration": 2.0,
        "tokens_per_second": 66.7,
        "tokens": {
            "input": 1000,
            "output": 100,
            "cache_read": 5000,
            "cache_write": None,
            "reasoning": None,
            "counted": 1200,
        },
        "cost": 0.0025,
        "session": "s",
        "agent_id": "a2",
        "agent_type": "Explore",
        "parent_agent_id": "a1",
        "class": "subagent",
        "project": "/home/me/thing",
        "explanation": [
            {"rule": "think", "state": "passed", "why": "thinking is off"},
            {"rule": "default", "state": "decided", "why": "p,m: Router.default"},
        ],
        "tries": [
            {
                "attempt": 1,
                "provider": "p",
                "model": "m",
                "url": "https://api.invalid/v1/chat",
                "sent": AT + 0.02,
                "answered": AT + 0.4,
                "status": 200,
                "error": None,
            }
        ],
        "notes": [{"key": "dropped", "value": "top_k"}, {"key": "more", "value": {"a": [1]}}],
        "usage": {"input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 5000},
        "bodies": [],
    } == got
    assert ["arrived", "routed", "sent", "answered", "first", "finished"] == [step["what"] for step in timeline]
    assert [0.0, 0.02, 0.02, 0.4, 0.5, 2.0] == [round(step["offset"], 3) for step in timeline]


def test_a_request_under_way_is_visible(history: plugin.History, tmp_path: Path, quick: None) -> None:
    """Before its end it is there as running, afterwards once, as it ended."""
    for seen in begun(at=now()):
        history.on(seen)
    assert history.settle(10)
    (running,) = query.page(history.path, ALL)["requests"]
    for seen in ended(at=now()):
        history.on(seen)
    assert history.settle(10)
    (done,) = query.page(history.path, ALL)["requests"]

    assert ("running", None, None, "p") == (
        running["state"],
        running["status"],
        running["duration"],
        running["provider"],
    )
    assert ("done", 200, 2.0) == (done["state"], done["status"], done["duration"])


def test_failures(tmp_path: Path) -> None:
    """A failure and a client that left are told apart, with what the client was told, without keys."""
    path = wrote(
        tmp_path,
        whole("req_1", status=529, error=f"too busy for {KEY}", usage={}),
        whole("req_2", AT + 1, status=499, kind="api_error", error="the client left"),
    )

    left, failed = query.page(path, ALL)["requests"]
    assert ("left", 499, "the client left") == (left["state"], left["status"], left["error"]["message"])
    assert ("failed", 529, None) == (failed["state"], failed["status"], failed["cost"])
    assert {"kind": "overloaded_error", "message": "too busy for sk-pr…"} == failed["error"]


def test_no_rule_chose(tmp_path: Path) -> None:
    """A request that went nowhere has every rule's answer all the same."""
    arrived = next(begun())
    failed = Failed(
        **{
            name: getattr(end, name)
            for end in [list(ended(provider="", model="", scenario="", why="", attempts=0, usage={}))[-1]]
            for name in (field.name for field in attrs.fields(Finished))
        },
        kind="not_found_error",
        error="no rule chose a model",
        explanation=({"rule": "default", "state": "passed", "why": "nothing is set"},),
    )
    got = query.one(wrote(tmp_path, iter([arrived, failed])), "req_1")

    assert [{"rule": "default", "state": "passed", "why": "nothing is set"}] == got["explanation"]
    assert (None, None, []) == (got["provider"], got["why"], got["tries"])


def test_an_end_without_a_beginning(tmp_path: Path) -> None:
    """Whoever was not told of the arrival makes do with the end."""
    (_, finished) = ended(session="s")
    (request,) = query.page(wrote(tmp_path, iter([finished])), ALL)["requests"]

    assert ("done", AT, "asked", "s", "Router.default") == tuple(
        request[name] for name in ("state", "at", "requested", "session", "why")
    )


@pytest.mark.parametrize(
    ("usage", "prices", "cost"),
    [
        ({"input_tokens": 1_000_000}, PRICES, 1.0),
        ({"input_tokens": 1_000_000, "cost": 0.25}, PRICES, 0.25),
        ({"input_tokens": 1_000_000}, None, None),
        ({}, PRICES, None),
    ],
)
def test_cost(tmp_path: Path, usage: dict[str, Any], prices: Any, cost: float | None) -> None:
    """The provider's own figure comes first, then the prices; what is not known is not 0."""
    (request,) = query.page(wrote(tmp_path, whole(usage=usage, prices=prices)), ALL)["requests"]

    assert cost == request["cost"]


def test_tokens_of_reasoning(tmp_path: Path) -> None:
    """They are kept where a provider reports them."""
    usage = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 7}}
    (request,) = query.page(wrote(tmp_path, whole(usage=usage)), ALL)["requests"]

    assert (9, 7) == (request["tokens"]["output"], request["tokens"]["reasoning"])


def test_a_project_that_is_known_later(tmp_path: Path) -> None:
    """The first requests of a session get the project that only the later ones know."""
    path = wrote(
        tmp_path,
        whole("req_1", session="s"),
        whole("req_2", AT + 1, session="other"),
        whole("req_3", AT + 2, session="s", project="/home/me"),
    )

    assert ["/home/me", None, "/home/me"] == [request["project"] for request in query.page(path, ALL)["requests"]]


def test_owner_only(tmp_path: Path) -> None:
    """File and folder are their owner's alone, even if they could be read before."""
    path = tmp_path / plugin.FILE
    path.parent.mkdir(mode=0o755)
    path.touch(0o644)
    writing = Writer(path, plugin.Options())
    writing.step(whole())

    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path, path.with_name(f"{path.name}-wal"))]
    assert [0o700, 0o600, 0o600] == modes
    writing.step([], last=True)


def test_several_processes(tmp_path: Path) -> None:
    """Writers take turns, and each one's requests are there once."""
    writers = [Writer(tmp_path / plugin.FILE, plugin.Options(days=36500)) for _ in range(3)]

    def write(number: int) -> None:
        for turn in range(10):
            writers[number].step([*whole(f"req_{number}_{turn}", AT + turn)])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for each in writers:
        each.step([], last=True)

    assert sorted(f"req_{n}_{turn}" for n in range(3) for turn in range(10)) == sorted(ids(tmp_path / plugin.FILE))
    assert 30 == len(set(column(tmp_path / plugin.FILE, "SELECT change FROM requests")))


def test_requests_of_a_dead_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process had under way that is gone is lost: at once to readers, in the file with the next writer."""
    path = tmp_path / plugin.FILE
    dead = Writer(path, plugin.Options(days=36500))
    dead.step(begun("req_1"))
    (before,) = query.page(path, ALL)["requests"]
    monkeypatch.setattr(store, "STALE", -1.0)
    monkeypatch.setattr(writer, "STALE", -1.0)
    (seen,) = query.page(path, ALL)["requests"]
    after = query.page(path, ALL)["after"]
    Writer(path, plugin.Options(days=36500)).step(whole("req_2", AT + 1), last=True)

    assert ("running", "lost") == (before["state"], seen["state"])
    assert "the router ended before the request did" == seen["error"]["message"]
    assert ["done", "lost"] == column(path, "SELECT state FROM requests ORDER BY at DESC")
    assert ["req_2", "req_1"] == [request["id"] for request in query.changes(path, ALL, after)["requests"]]


def test_what_is_under_way_at_the_end_is_lost(history: plugin.History, quick: None) -> None:
    """A router that ends in order says so of what it had under way."""
    for seen in begun():
        history.on(seen)
    history.close()

    assert ["lost"] == column(history.path, "SELECT state FROM requests")


def test_bodies(tmp_path: Path) -> None:
    """Where bodies are kept they are cut, and without what looks like a key; one may come after the end."""
    path = tmp_path / plugin.FILE
    observer = plugin.History(plugin.Options(bodies=True, body_kb=0.1, days=36500), tmp_path)
    request = b'{"api_key": "abc", "text": "' + KEY.encode() + b'"}'
    for seen in begun():
        observer.on(seen)
    observer.on(Body(id="req_1", at=AT, kind="request", content=request, size=len(request)))
    observer.on(Body(id="req_1", at=AT, kind="sent", content=b"{}", size=2, attempt=1))
    for seen in ended():
        observer.on(seen)
    observer.on(Body(id="req_1", at=AT, kind="answer", content=b"x" * 500, size=900))
    observer.close()

    assert [
        {
            "kind": "request",
            "attempt": None,
            "content": '{"api_key": "…", "text": "sk-pr…"}',
            "size": len(request),
            "cut": False,
        },
        {"kind": "sent", "attempt": 1, "content": "{}", "size": 2, "cut": False},
        {"kind": "answer", "attempt": None, "content": "x" * 100, "size": 900, "cut": True},
    ] == query.one(path, "req_1")["bodies"]


def test_odd_notes(tmp_path: Path) -> None:
    """Long notes are shortened, keys cut, and values that JSON has not are written as text."""
    notes = (("long", "x" * 5000), ("list", ["y" * 5000]), ("odd", Path("/a")), ("half", "\ud800"), ("key", [KEY]))
    got = query.one(wrote(tmp_path, whole(notes=notes)), "req_1")["notes"]

    values = [note["value"] for note in got]
    assert ["x" * 2000 + "… (5000 characters)", '["' + "y" * 1998 + "… (5004 characters)"] == values[:2]
    assert ["/a", "?", '["sk-pr…"]'] == [str(value).strip('"') for value in values[2:]]


def test_one_that_cannot_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Something that no file would take is counted, and does not keep out what comes after it."""
    writing = Writer(tmp_path / plugin.FILE, plugin.Options(days=36500))
    with caplog.at_level(logging.WARNING, "ccr.history"):
        writing.step(whole("req_1", usage={"input_tokens": 2**80}))
        writing.step(whole("req_2"), last=True)

    page = query.page(tmp_path / plugin.FILE, ALL)
    assert (["req_2"], 1) == ([request["id"] for request in page["requests"]], page["lost"])
    assert 1 == len(caplog.records)


# --- when the disk does not want ----------------------------------------------------------------------------------


def test_a_locked_file(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program holds the file, what is to be written waits; it is said once, and nothing is lost."""
    monkeypatch.setattr(writer, "open_to_write", lambda path: store.open_to_write(path, busy=0.01))
    path = tmp_path / plugin.FILE
    writing = Writer(path, plugin.Options(days=36500))
    writing.step(whole("req_1"))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with caplog.at_level(logging.WARNING, "ccr.history"):
        for number in (2, 3):
            writing.step(whole(f"req_{number}", AT + number))
    holder.execute("COMMIT")
    holder.close()
    writing.step([], last=True)

    assert ["req_3", "req_2", "req_1"] == ids(path)
    assert 1 == len(caplog.records)
    assert "requests go on" in caplog.records[0].getMessage()


def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit waits, up to a limit; the rest is counted, and the count is there when there is room again."""
    monkeypatch.setattr(writer, "HELD", 3)
    path = tmp_path / plugin.FILE
    writing = Writer(path, plugin.Options(days=36500))
    writing.step(whole("req_0"))
    assert writing._db is not None
    writing._db.execute("PRAGMA max_page_count = 1")
    with caplog.at_level(logging.WARNING, "ccr.history"):
        for number in range(1, 40):
            writing.step(whole(f"req_{number}", AT + number, notes=(("long", "x" * 2000),) * 10))
    kept = len(ids(path))
    writing._db.execute("PRAGMA max_page_count = 100000")
    writing.step([], last=True)

    page = query.page(path, ALL)
    assert 40 == len(page["requests"]) + page["lost"]
    assert page["requests"][0]["id"] == "req_39"
    assert 40 > len(page["requests"]) > kept
    assert 1 == len(caplog.records)
    assert "full" in caplog.records[0].getMessage()


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file in the place of the folder costs one warning, and when it is gone the history is written."""
    (tmp_path / "history").write_text("in the way")
    writing = Writer(tmp_path / plugin.FILE, plugin.Options(days=36500))
    with caplog.at_level(logging.WARNING, "ccr.history"):
        for number in range(3):
            writing.step(whole(f"req_{number}", AT + number))
        (tmp_path / "history").unlink()
        writing.step([], last=True)

    assert 1 == len(caplog.records)
    assert ["req_2", "req_1", "req_0"] == ids(tmp_path / plugin.FILE)


def test_a_damaged_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is no database is kept under another name, and a new history begins."""
    path = tmp_path / plugin.FILE
    path.parent.mkdir()
    path.write_bytes(b"this is no database, whatever its name may say" * 100)
    writing = Writer(path, plugin.Options(days=36500))
    with caplog.at_level(logging.WARNING, "ccr.history"):
        writing.step(whole())
        writing.step([], last=True)

    assert ["req_1"] == ids(path)
    assert path.with_name(f"{path.name}.broken").read_bytes().startswith(b"this is no database")
    assert "is damaged" in caplog.records[0].getMessage()


def test_a_file_that_is_taken_away(tmp_path: Path) -> None:
    """When somebody removes the file a new one is begun, with what is under way."""
    path = tmp_path / plugin.FILE
    writing = Writer(path, plugin.Options(days=36500))
    writing.step([*whole("req_1"), *begun("req_2", AT + 1)])
    for each in path.parent.iterdir():
        each.unlink()
    writing.step([*ended("req_2", AT + 1), *whole("req_3", AT + 2)], last=True)

    assert ["req_3", "req_2"] == ids(path)


def test_an_error_does_not_double_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure of the disk the file is opened anew, and a request under way keeps its row."""
    path = tmp_path / plugin.FILE
    writing = Writer(path, plugin.Options(days=36500))
    writing.step(begun())
    with monkeypatch.context() as patch:
        patch.setattr(writer, "meta", lambda db, key: (_ for _ in ()).throw(sqlite3.OperationalError("disk I/O error")))
        writing.step(ended())
    writing.step([], last=True)

    assert ["done"] == column(path, "SELECT state FROM requests")


def test_never_waits(history: plugin.History, monkeypatch: pytest.MonkeyPatch, quick: None) -> None:
    """While the disk hangs, telling returns at once; of what the queue cannot take the ends are counted."""
    hangs, goes_on = threading.Event(), threading.Event()
    real = Writer._write

    def write(self: Writer) -> None:
        hangs.set()
        assert goes_on.wait(10)
        real(self)

    monkeypatch.setattr(Writer, "_write", write)
    monkeypatch.setattr(plugin, "QUEUE", 10)
    history.on(next(begun("req_0")))
    assert hangs.wait(10)
    for number in range(1, 6):
        for seen in whole(f"req_{number}", AT + number):
            history.on(seen)
    goes_on.set()
    history.close()

    page = query.page(history.path, ALL)
    assert ["req_2", "req_1"] == [r["id"] for r in page["requests"] if r["state"] == "done"]
    assert 3 == page["lost"]


def test_much_is_not_held(history: plugin.History, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is written when it is much, long before the end of a tick; and all of it, whatever the numbers."""
    monkeypatch.setattr(plugin, "TICK", 3600.0)
    count = plugin.MANY // 5 + writer.CHUNKS[0] + 1
    told = [seen for number in range(count) for seen in whole(f"req_{number}", AT + number)]
    for seen in told[: plugin.MANY]:
        history.on(seen)

    assert history.settle(30)
    assert plugin.MANY // 5 == column(history.path, "SELECT count(*) FROM requests WHERE state = 'done'")[0]

    for seen in told[plugin.MANY :]:
        history.on(seen)
    history.close()
    assert [count] * 2 == [
        column(history.path, f"SELECT count(*) FROM {table}")[0] for table in ("requests", "details")
    ]


def test_little_of_the_file_is_in_memory(tmp_path: Path) -> None:
    """A writer keeps a bounded part of the file in memory, however large that is."""
    db = store.open_to_write(tmp_path / "history.sqlite3")

    assert [(-store.CACHE_KB,)] == db.execute("PRAGMA cache_size").fetchall()
    db.close()


def test_a_hanging_disk_does_not_hang_the_end(history: plugin.History, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end waits for a bounded time only."""
    goes_on = threading.Event()
    monkeypatch.setattr(plugin, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(Writer, "_write", lambda self: goes_on.wait(10))
    for seen in whole():
        history.on(seen)
    history.close()

    goes_on.set()
    assert history._thread is not None
    history._thread.join(10)
    assert not history._thread.is_alive()


def test_no_thread_without_requests(history: plugin.History, tmp_path: Path) -> None:
    """Without an exchange there is no thread and no file; closing twice is fine, and later words change nothing."""
    history.close()
    history.close()
    for seen in whole():
        history.on(seen)

    assert None is history._thread
    assert [] == os.listdir(tmp_path)


# --- versions and removal ------------------------------------------------------------------------------------------


def test_an_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of an older version gets what is new, and keeps what it has; whoever comes first does that."""
    path = wrote(tmp_path, whole("req_1"))
    newer = [*store.MIGRATIONS, "ALTER TABLE requests ADD COLUMN colour TEXT DEFAULT 'blue'; UPDATE meta SET value = 5"]
    monkeypatch.setattr(store, "MIGRATIONS", newer)

    assert ["req_1"] == ids(path)
    assert (["blue"], [2]) == (column(path, "SELECT colour FROM requests"), column(path, "PRAGMA user_version"))
    wrote(tmp_path, whole("req_2", AT + 1))
    assert ["req_2", "req_1"] == ids(path)


def test_a_newer_file(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a newer version is left as it is, and it is said what to do."""
    path = wrote(tmp_path, whole("req_1"))
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with caplog.at_level(logging.WARNING, "ccr.history"):
        wrote(tmp_path, whole("req_2"))

    assert "was written by a newer ccr" in caplog.records[0].getMessage()
    assert ["req_1"] == column(path, "SELECT id FROM requests")
    with pytest.raises(store.NewerFile, match="update ccr"):
        ids(path)


def test_retention_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too old goes, in steps, with all that belongs to it; what is young enough stays."""
    monkeypatch.setattr(writer, "STEP", 2)
    at = now()
    options = plugin.Options(days=2, bodies=True)
    body = Body(id="old_1", at=at, kind="request", content=b"{}", size=2)
    writing = Writer(tmp_path / plugin.FILE, options)
    old = [seen for n in range(5) for seen in whole(f"old_{n}", at - 3 * 86400)]
    waits = [writing.step([*old, body, *whole("young", at - 86400)]), *(writing.step([]) for _ in range(3))]
    writing.step([], last=True)

    assert ["young"] == ids(tmp_path / plugin.FILE)
    assert [[1], [0]] == [column(tmp_path / plugin.FILE, f"SELECT count(*) FROM {t}") for t in ("details", "bodies")]
    assert [True, True, True, False] == [wait == plugin.TICK for wait in waits]


def test_retention_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the file is too large the oldest requests go."""
    monkeypatch.setattr(writer, "STEP", 100)
    monkeypatch.setattr(writer, "TIDY", 0.0)
    at = now()
    writing = Writer(tmp_path / plugin.FILE, plugin.Options(size_mb=1))
    notes = (("long", "x" * 2000),)
    for start in range(0, 1000, 100):
        writing.step([s for n in range(start, start + 100) for s in whole(f"req_{n:03}", at + n / 1000, notes=notes)])
    for _ in range(12):
        writing.step([])
    assert writing._db is not None
    size = writing._size(writing._db)
    writing.step([], last=True)

    left = sorted(column(tmp_path / plugin.FILE, "SELECT id FROM requests"))
    assert size < 1_000_000
    assert 100 < len(left) < 600
    assert [f"req_{n:03}" for n in range(1000 - len(left), 1000)] == left


def test_clear(tmp_path: Path) -> None:
    """Everything can be removed, down to the bytes, while a writer writes; its next requests are there again."""
    path = tmp_path / plugin.FILE
    writing = Writer(path, plugin.Options(days=36500))
    writing.step([*whole("req_1", notes=(("secret", "raspberry"),)), *begun("req_2", AT + 1)])
    after = query.page(path, ALL)["after"]

    assert 2 == store.clear(path)
    assert [] == ids(path)
    assert not any(b"raspberry" in each.read_bytes() for each in path.parent.iterdir())
    writing.step([*ended("req_2", AT + 1), *whole("req_3", AT + 2)], last=True)
    assert ["req_3", "req_2"] == ids(path)
    assert {"req_2", "req_3"} == {request["id"] for request in query.changes(path, ALL, after)["requests"]}
    assert 0 == store.clear(tmp_path / "none.sqlite3")
