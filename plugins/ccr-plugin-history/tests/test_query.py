"""Reading the history: pages, changes, one request, sums, the overview."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import ccr_plugin_history as plugin
import pytest
from ccr_plugin_history import query, store
from ccr_plugin_history.query import Filter
from ccr_plugin_history.writer import COLUMNS, Writer
from told import AT, PRICES, begun, ended, whole, wrote

from ccr_core import CcrError, RequestError

ALL = Filter()


def ids(page: dict[str, Any]) -> list[str]:
    return [request["id"] for request in page["requests"]]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Six requests of several kinds, a second apart; the last is under way."""
    return wrote_open(
        tmp_path,
        whole("req_a", AT, session="s1", request_class="main"),
        whole("req_b", AT + 1, session="s1", agent_type="Explore", agent_id="x1", project="/one"),
        whole("req_c", AT + 2, provider="q", model="n", scenario="think", rule="think"),
        whole("req_d", AT + 3, status=529, error="too busy", usage={}),
        whole("req_e", AT + 4, provider="q", prices=None),
        begun("req_f", AT + 5, session="s2"),
    )


def wrote_open(home: Path, *observations: Any) -> Path:
    """A history whose writer goes on."""
    writer = Writer(home / plugin.FILE, plugin.Options(days=36500))
    writer.step([each for several in observations for each in several])
    return home / plugin.FILE


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), "fedcba"),
        (Filter(session="s1"), "ba"),
        (Filter(provider="q"), "ec"),
        (Filter(model="m"), "fedba"),
        (Filter(model="q,n"), "c"),
        (Filter(model="m", provider="q"), "e"),
        (Filter(requested="asked"), "fedcba"),
        (Filter(requested="other"), ""),
        (Filter(project="/one"), "ba"),
        (Filter(scenario="think"), "c"),
        (Filter(rule="think"), "c"),
        (Filter(request_class="main"), "a"),
        (Filter(agent="main"), "fedca"),
        (Filter(agent="Explore"), "b"),
        (Filter(agent="x1"), "b"),
        (Filter(status="ok"), "ecba"),
        (Filter(status="error"), "d"),
        (Filter(status="running"), "f"),
        (Filter(status="529"), "d"),
        (Filter(since=AT + 3), "fed"),
        (Filter(until=AT + 3), "cba"),
        (Filter(since=AT + 1, until=AT + 3, session="s1"), "b"),
    ],
)
def test_filters(few: Path, wanted: Filter, expected: str) -> None:
    """Each filter gives the requests that it describes, newest first; in what has changed, too."""
    page = query.page(few, wanted)
    changed = query.changes(few, wanted, "0")

    assert [f"req_{letter}" for letter in expected] == ids(page)
    assert sorted(ids(page)) == sorted(ids(changed))


@pytest.mark.parametrize("status", ["good", "20", "2000", "'"])
def test_a_status_that_there_is_not(few: Path, status: str) -> None:
    """It is refused, with what there is."""
    with pytest.raises(RequestError, match="say ok, error, running"):
        query.page(few, Filter(status=status))


def test_pages(few: Path) -> None:
    """Pages have no gap and no request twice, also where several arrived at the same moment."""
    wrote_open(few.parent.parent, *(whole(f"same_{n}", AT + 2.5) for n in range(7)))
    seen: list[str] = []
    before: str | None = None
    for _ in range(10):
        page = query.page(few, ALL, before, 3)
        seen += ids(page)
        before = page["before"]
        assert (before is not None) is page["more"]
        if before is None:
            break

    assert sorted([f"req_{letter}" for letter in "abcdef"] + [f"same_{n}" for n in range(7)]) == sorted(seen)
    assert ["req_f", "req_e", "req_d"] == seen[:3]
    assert ["req_c", "req_b", "req_a"] == seen[-3:]


def test_changes(tmp_path: Path) -> None:
    """A reader is told what is new and what has changed since, each once, also in parts."""
    writer = Writer(tmp_path / plugin.FILE, plugin.Options(days=36500))
    path = tmp_path / plugin.FILE
    assert "0" == query.page(path, ALL)["after"]
    writer.step([*whole("req_1"), *begun("req_2", AT + 1)])
    after = query.page(path, ALL)["after"]
    nothing = query.changes(path, ALL, after)
    writer.step([*ended("req_2", AT + 1), *begun("req_3", AT + 2)])
    some = query.changes(path, ALL, after)
    first = query.changes(path, ALL, after, 1)
    second = query.changes(path, ALL, first["after"], 1)

    assert ([], after, False) == (nothing["requests"], nothing["after"], nothing["more"])
    assert [("req_2", "done"), ("req_3", "running")] == [(each["id"], each["state"]) for each in some["requests"]]
    assert ([["req_2"], ["req_3"]], [True, False]) == (
        [ids(first), ids(second)],
        [first["more"], second["more"]],
    )
    assert some["after"] == second["after"]


def test_changes_of_another_file(few: Path) -> None:
    """A cursor of a file that was removed is no reason to be told nothing of the new one."""
    assert 6 == len(query.changes(few, ALL, "1000")["requests"])


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda path: query.page(path, ALL, "x"), 'no cursor; take the "before"'),
        (lambda path: query.page(path, ALL, "1~x"), 'no cursor; take the "before"'),
        (lambda path: query.changes(path, ALL, "-1"), 'no cursor; take the "after"'),
        (lambda path: query.page(path, ALL, limit=0), "limit must be 1 to 200, not 0"),
        (lambda path: query.page(path, ALL, limit=201), "limit must be 1 to 200, not 201"),
        (lambda path: query.usage(path, "colour", ALL), 'no sums by "colour"'),
        (lambda path: query.overview(path, 0), "days must be 1 to 366, not 0"),
        (lambda path: query.one(path, "req_z"), 'no request "req_z"'),
        (lambda path: query.one(path, "%"), 'no request "%"'),
        (lambda path: query.one(path, "req"), "several requests fit req: req_a, req_b"),
    ],
)
def test_bad_questions(few: Path, ask: Any, words: str) -> None:
    """What cannot be answered is refused with a reason."""
    with pytest.raises(RequestError, match=re.escape(words)):
        ask(few)


def test_one_by_a_part_of_its_id(tmp_path: Path) -> None:
    """The beginning or the end of an id is enough where only one fits."""
    path = wrote(tmp_path, whole("req_0a11"), whole("req_0b22"))

    assert ["req_0a11", "req_0b22", "req_0b22"] == [
        query.one(path, part)["id"] for part in ("a11", "req_0b", "req_0b22")
    ]


def test_without_a_file(tmp_path: Path) -> None:
    """Before the first request everything is empty."""
    path = tmp_path / "none.sqlite3"

    assert {"requests": [], "before": None, "after": "0", "more": False, "lost": 0} == query.page(path, ALL)
    assert query.page(path, ALL) == query.changes(path, ALL, "17")
    usage = query.usage(path, "day", ALL)
    assert ([], 0, None) == (usage["groups"], usage["total"]["requests"], usage["total"]["cost"])
    overview = query.overview(path)
    assert (0, None, []) == (overview["hour"]["requests"], overview["hour"]["first"]["p50"], overview["days"])
    with pytest.raises(RequestError, match='no request "req_1"'):
        query.one(path, "req_1")


def test_a_file_that_is_no_history(tmp_path: Path) -> None:
    """It is said what is wrong."""
    path = tmp_path / "bad.sqlite3"
    path.write_bytes(b"no database" * 1000)

    with pytest.raises(CcrError, match="not a database"):
        query.page(path, ALL)


def test_a_folder_that_cannot_be_written(few: Path) -> None:
    """The file of a copy on a read-only medium can be read; nothing is made beside it."""
    copy = few.with_name("copy.sqlite3")
    with sqlite3.connect(few) as db:
        db.execute(f"VACUUM INTO '{copy}'")
    db.close()
    copy.chmod(0o400)

    assert 6 == len(query.page(copy, ALL)["requests"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", AT - 90),
        ("15m", AT - 900),
        ("2h", AT - 7200),
        ("1.5d", AT - 129600),
        ("2 w", AT - 1209600),
        ("1763999000", 1763999000.0),
        ("1763999000.5", 1763999000.5),
        ("2026-11-22", datetime(2026, 11, 22).timestamp()),
        ("2026-11-22T14:00:00+00:00", 1795356000.0),
    ],
)
def test_moments(text: str, expected: float) -> None:
    """Ages, Unix seconds and ISO times are understood."""
    assert expected == query.moment(text, AT)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "5x", "999999999999999999"])
def test_no_moments(text: str) -> None:
    """Anything else is refused with examples."""
    with pytest.raises(RequestError, match="is no time; write 90s"):
        query.moment(text, AT)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ((100, 0.5, 2.5, True), 50.0),
        ((100, 0.5, 2.0, False), 50.0),
        ((100, 1.99, 2.0, True), 50.0),
        ((100, None, 2.0, True), 50.0),
        ((0, 0.5, 2.0, True), None),
        ((100, None, None, True), None),
        ((100, 0.0, 0.0, True), None),
    ],
)
def test_rate(figures: tuple[Any, Any, Any, bool], expected: float | None) -> None:
    """Output by the time that it took to come; an answer that came at once by the whole time."""
    assert expected == query.rate(*figures)


# --- sums ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("model", {"p,m": 4, "q,n": 1, "q,m": 1}),
        ("provider", {"p": 4, "q": 2}),
        ("session", {"s1": 2, "s2": 1, None: 3}),
        ("agent", {"Explore": 1, None: 5}),
        ("project", {"/one": 2, None: 4}),
        ("scenario", {"default": 5, "think": 1}),
        ("class", {"main": 1, None: 5}),
    ],
)
def test_usage(few: Path, by: str, expected: dict[Any, int]) -> None:
    """Requests are summed up by each kind of group."""
    result = query.usage(few, by, ALL)

    assert expected == {group["key"]: group["requests"] for group in result["groups"]}
    assert 6 == result["total"]["requests"]


def test_sums(few: Path) -> None:
    """Tokens and cost are added; what lacks a price is counted, and a group without any has no cost."""
    result = query.usage(few, "model", ALL)
    groups = {group["key"]: group for group in result["groups"]}

    assert {
        "key": "p,m",
        "requests": 4,
        "errors": 1,
        "tokens": {"input": 2000, "output": 200, "cache_read": 10000, "cache_write": 0, "reasoning": 0},
        "cost": 0.005,
        "unpriced": 0,
        "duration": 6.0,
        "last": AT + 5,
    } == groups["p,m"]
    assert (None, 1) == (groups["q,m"]["cost"], groups["q,m"]["unpriced"])
    assert (0.0075, 1, 1) == tuple(result["total"][name] for name in ("cost", "unpriced", "errors"))
    assert ["p,m", "q,n", "q,m"] == [group["key"] for group in result["groups"]]


def test_usage_of_a_part(few: Path) -> None:
    """Filters hold for sums."""
    result = query.usage(few, "provider", Filter(since=AT + 1, until=AT + 3))

    assert (AT + 1, AT + 3) == (result["since"], result["until"])
    assert [("p", 1), ("q", 1)] == sorted((group["key"], group["requests"]) for group in result["groups"])


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place where clocks are put back in October."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    query._local.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    query._local.cache_clear()


def test_days_are_local(tmp_path: Path, in_berlin: None) -> None:
    """A day begins at midnight where the router is, and may have 25 hours."""
    before = datetime(2026, 10, 24, 23, 59).timestamp()
    morning = datetime(2026, 10, 25, 0, 1).timestamp()
    path = wrote(
        tmp_path,
        whole("req_1", before),
        *(whole(f"req_2_{hour}", morning + hour * 3600) for hour in range(25)),
        whole("req_3", morning + 25 * 3600),
    )

    days = query.usage(path, "day", ALL)["groups"]
    assert [("2026-10-24", 1), ("2026-10-25", 25), ("2026-10-26", 1)] == [(g["key"], g["requests"]) for g in days]
    hours = {g["key"]: g["requests"] for g in query.usage(path, "hour", ALL)["groups"]}
    assert ("2026-10-25T02", 2, 26) == ("2026-10-25T02", hours["2026-10-25T02"], len(hours))


def test_overview(tmp_path: Path) -> None:
    """The last hour, the last day, series, models, and what is under way."""
    at = datetime(2026, 11, 22, 14, 30).timestamp()
    path = wrote_open(
        tmp_path,
        *(whole(f"req_{n}", at - n * 60, first=0.1 * n, duration=1.0 * n) for n in range(1, 11)),
        whole("req_yesterday", at - 20 * 3600, provider="q", prices=None),
        whole("req_older", at - 40 * 3600, prices=PRICES),
        whole("req_oldest", at - 400 * 86400),
        whole("req_bad", at - 30, status=500, error="no", usage={}),
        begun("req_now", at - 1),
    )
    got = query.overview(path, 30, at)

    assert (at, 0) == (got["at"], got["lost"])
    assert (12, 1, 0) == tuple(got["hour"][name] for name in ("requests", "errors", "unpriced"))
    assert 0.025 == round(got["hour"]["cost"], 9)
    assert {"p50": 0.6, "p90": 1.0, "p99": 1.0} == {key: round(value, 3) for key, value in got["hour"]["first"].items()}
    assert (13, 1) == (got["day"]["requests"], got["day"]["unpriced"])
    assert 22.2 == got["day"]["tokens_per_second"]
    days = {day["key"]: day for day in got["days"]}
    assert {"2026-11-20": 1, "2026-11-21": 1, "2026-11-22": 12} == {k: day["requests"] for k, day in days.items()}
    assert [("q,m", 1)] == [(model["key"], model["requests"]) for model in days["2026-11-21"]["models"]]
    assert ["2026-11-21T18", "2026-11-22T14"] == [hour["key"] for hour in got["hours"]]
    assert {"p,m": 13, "q,m": 1} == {model["key"]: model["requests"] for model in got["models"]}
    assert 1 == query.overview(path)["running"]


# --- many ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred thousand requests."""
    path = tmp_path_factory.mktemp("many") / "history.sqlite3"
    db = store.open_to_write(path)
    row = dict.fromkeys(COLUMNS)
    rows = (
        {
            **row,
            "seq": n,
            "change": n,
            "id": f"req_{n}",
            "state": "done" if n % 50 else "failed",
            "at": AT + n,
            "provider": f"p{n % 7}",
            "model": f"m{n % 50}",
            "session": f"s{n // 100}",
            "input": n,
            "output": 1,
            "attempts": 1,
        }
        for n in range(1, 100_001)
    )
    with store.writing(db):
        db.executemany(
            f"INSERT INTO requests ({', '.join(COLUMNS)}) VALUES ({', '.join(f':{name}' for name in COLUMNS)})", rows
        )
        db.execute("UPDATE meta SET value = 100000 WHERE key = 'change'")
    db.close()
    return path


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (query.page_sql(ALL, None, 50), "requests_at"),
        (query.page_sql(ALL, (AT + 5, 5), 50), "requests_at"),
        (query.page_sql(Filter(since=AT + 9), (AT + 50_000, 50_000), 50), "requests_at"),
        (query.page_sql(Filter(session="s7"), (AT + 5, 5), 50), "requests_session"),
        (query.page_sql(Filter(model="m7"), None, 50), "requests_model"),
        (query.page_sql(Filter(provider="p1"), (AT + 50_000, 50_000), 50), "requests_provider"),
        (query.page_sql(Filter(status="error"), (AT + 50_000, 50_000), 50), "requests_odd"),
        (query.page_sql(Filter(status="running"), None, 50), "requests_odd"),
        (query.page_sql(Filter(agent="main"), (AT + 50_000, 50_000), 50), "requests_at"),
        (query.changes_sql(ALL, 99_990, 50), "requests_change"),
        (query.changes_sql(Filter(session="s7", model="m7"), 99_990, 50), "requests_change"),
    ],
)
def test_lists_use_an_index(many: Path, statement: tuple[str, list[Any]], index: str) -> None:
    """With a hundred thousand requests no list looks at all of them, nor sorts them."""
    sql, values = statement
    with store.reading(many) as db:
        assert db is not None
        plan = [row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    (step,) = plan
    assert f"USING INDEX {index}" in step


def test_pages_of_many(many: Path) -> None:
    """The first page and one far behind are as long as was asked for, and right."""
    assert ["req_100000", "req_99999"] == ids(query.page(many, ALL, limit=2))
    assert ["req_49", "req_48"] == ids(query.page(many, ALL, f"{AT + 50}~50", 2))
    assert ["req_99957"] == ids(query.page(many, Filter(model="m7"), limit=1))
    assert 100_000 == query.usage(many, "model", ALL)["total"]["requests"]
