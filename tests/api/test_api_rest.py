"""Plugins, pages, logs, the status line, the doctor, and requests that are run again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from api_client import MASK, Client

from ccr_core.cli import statusline
from ccr_core.testing.loopback import Vendor

# --- plugins ------------------------------------------------------------------------------------------------------


async def test_plugins_say_what_they_offer(client: Client) -> None:
    """
    State, version, whether they are used, and each offer with its form.
    """
    rows = {row["name"]: row for row in (await client.get("/api/plugins"))["plugins"]}

    log = rows["request-log"]
    assert ("active", "", True, ["ccr_observers"]) == tuple(log[key] for key in ("state", "reason", "used", "hooks"))
    (offer,) = log["offers"]
    assert (["observers", "request-log"], True) == (offer["path"], offer["on"])
    assert ["max_mb", "keep"] == [option["name"] for option in offer["options"]]
    assert False is rows["openrouter"]["used"]


async def test_an_observer_that_is_off_is_told(client: Client) -> None:
    """
    What the configuration says of it is shown beside its form.
    """
    value = {"request-log": False, "session-stats": {"keep_days": 3}}
    change = {"op": "set", "path": ["observers"], "value": value}
    await client.ask("PATCH", "/api/config", {"version": await client.version(), "changes": [change]})

    rows = {row["name"]: row for row in (await client.get("/api/plugins"))["plugins"]}

    assert False is rows["request-log"]["offers"][0]["on"]
    assert {"keep_days": 3} == rows["session-stats"]["offers"][0]["values"]


async def test_pages_are_listed(client: Client) -> None:
    """
    Those of plugins, as the web UI shows them.
    """
    assert {"ui"} <= {page["name"] for page in (await client.get("/api/pages"))["pages"]}


# --- logs ---------------------------------------------------------------------------------------------------------


def write_logs(client: Client) -> Path:
    folder = client.path.parent / "logs"
    folder.mkdir()
    rows = [{"id": f"r{number}", "status": 200 if number % 10 else 502, "route": "a,b"} for number in range(100)]
    (folder / "requests.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "ccr-1.log").write_text(
        "2026-01-01 10:00:00,000 INFO ccr.server: begun with sk-first-key-of-big-0001\n"
        "2026-01-01 10:00:01,000 ERROR ccr.engine: it failed\n"
        "Traceback (most recent call last):\n"
        "  File x\n"
        "2026-01-01 10:00:02,000 WARNING ccr.server: Authorization: Bearer abcdefghijklmnop1234\n"
    )
    return folder


async def test_log_files_are_listed_by_name(client: Client) -> None:
    """
    Plain files in the folder, and nothing that a link leads to.
    """
    folder = write_logs(client)
    (folder / "link.log").symlink_to("/etc/passwd")
    (folder / "folder").mkdir()

    got = await client.get("/api/logs/files")

    assert {"requests.jsonl", "ccr-1.log"} == {each["name"] for each in got["files"]}


@pytest.mark.parametrize("name", ["../config.json", "/etc/passwd", "link.log", "", ".", "folder", "ccr-1.log/", "x"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_other_files_are_not_read_or_emptied(client: Client, method: str, name: str) -> None:
    """
    A name is looked up among those that are there: no path leads out of the folder.
    """
    folder = write_logs(client)
    target = client.path.parent / "target"
    target.write_text("untouched")
    (folder / "link.log").symlink_to(target)
    (folder / "folder").mkdir()
    before = client.text

    await client.ask(method, "/api/logs", status=404, params={"file": name})

    assert (before, "untouched") == (client.text, target.read_text())


async def test_lines_come_from_the_end_and_page_backwards(client: Client) -> None:
    """
    The last ones first, and with the place that was told those before them, until there is none.
    """
    write_logs(client)
    seen: list[str] = []
    before: dict[str, Any] = {}

    for _ in range(10):
        got = await client.get("/api/logs", params={"file": "requests.jsonl", "lines": 30, **before})
        seen = [*(line["id"] for line in got["lines"]), *seen]
        if got["before"] is None:
            break
        before = {"before": got["before"]}

    assert [f"r{number}" for number in range(100)] == seen


async def test_lines_are_chosen_by_level_and_request(client: Client) -> None:
    """
    A traceback belongs to the line before it; failed requests are errors.
    """
    write_logs(client)

    errors = await client.get("/api/logs", params={"file": "ccr-1.log", "level": "error"})
    failed = await client.get("/api/logs", params={"file": "requests.jsonl", "level": "error"})
    one = await client.get("/api/logs", params={"file": "requests.jsonl", "request": "r42"})

    assert ["it failed", "Traceback (most recent call last):", "  File x"] == [
        line.rpartition("ccr.engine: ")[2] for line in errors["lines"]
    ]
    assert 10 == len(failed["lines"])
    assert ["r42"] == [line["id"] for line in one["lines"]]


async def test_logs_are_shown_without_secrets(client: Client) -> None:
    """
    Keys of the configuration and whatever looks like a key are masked.
    """
    write_logs(client)

    lines = (await client.get("/api/logs", params={"file": "ccr-1.log"}))["lines"]

    assert f"begun with {MASK}" in lines[0]
    assert f"Bearer {MASK}" in lines[-1]


async def test_a_log_is_emptied(client: Client) -> None:
    """
    The file stays, so that whoever writes it goes on.
    """
    folder = write_logs(client)

    await client.ask("DELETE", "/api/logs", params={"file": "ccr-1.log"})

    assert 0 == (folder / "ccr-1.log").stat().st_size


@pytest.mark.parametrize("query", [{"lines": "x"}, {"before": "-1"}, {"level": "loud"}, {"other": "1"}])
async def test_odd_parameters_are_refused(client: Client, query: dict[str, str]) -> None:
    """
    What cannot be understood is not guessed.
    """
    write_logs(client)

    await client.ask("GET", "/api/logs", status=400, params={"file": "ccr-1.log", **query})


# --- the status line ----------------------------------------------------------------------------------------------


async def test_the_status_line_is_shown_with_its_choices(client: Client) -> None:
    """
    Themes, variables with examples, colours.
    """
    got = await client.get("/api/statusline")

    assert (False, "default", {}) == (got["enabled"], got["style"], got["config"])
    assert ["default", "powerline", "simple", "full", "router"] == list(got["themes"])
    assert list(statusline.NAMES) == [each["name"] for each in got["variables"]]
    assert all(each["example"] for each in got["variables"])
    assert "#11a8cd" == got["colors"]["cyan"]


@pytest.mark.parametrize("style", ["default", "powerline", "simple", "full", "router"])
async def test_a_preview_is_what_a_terminal_would_show(client: Client, style: str) -> None:
    """
    The pieces for a page have the same text as the line for a terminal.
    """
    got = await client.ask("POST", "/api/statusline/preview", {"style": style})

    assert re.sub("\x1b\\[[0-9;]*m", "", got["ansi"]) == "".join(span["text"] for span in got["spans"])
    assert "my-project" in got["ansi"]


async def test_a_preview_runs_no_script_and_reads_no_file(client: Client) -> None:
    """
    A script is shown by its name.
    """
    path = client.path.parent / "script.py"
    path.write_text(f"open({str(client.path.parent / 'ran')!r}, 'w')\nstatusline = 'x'\n")
    text = {"type": "model", "text": "{{model}} {{nothing}}", "color": "#f00"}
    modules = [{"type": "script", "scriptPath": str(path)}, text]

    got = await client.ask("POST", "/api/statusline/preview", {"config": {"default": {"modules": modules}}})

    assert ["<script.py>", " ", "deepseek-flash"] == [span["text"] for span in got["spans"]]
    assert "#ff0000" == got["spans"][2]["color"]
    assert not (client.path.parent / "ran").exists()


# --- the doctor ---------------------------------------------------------------------------------------------------


async def test_the_doctor_finds_what_the_command_finds(client: Client) -> None:
    """
    Each finding with what mends it.
    """
    got = await client.get("/api/doctor")

    assert {"configuration", "plugins"} <= {finding["check"] for finding in got["findings"]}
    assert any("local" in finding["message"] for finding in got["findings"] if finding["check"] == "keys")


# --- again --------------------------------------------------------------------------------------------------------

CHUNKS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "po"}}]},
    {"choices": [{"index": 0, "delta": {"content": "ng"}, "finish_reason": "stop"}]},
]
STREAM = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in CHUNKS) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_is_run_on_another_model(client: Client, stream: bool) -> None:
    """
    It is answered as the model endpoint does; the token of the management does not go to the provider.
    """
    answer = (200, {"content-type": "text/event-stream"}, STREAM)
    body = {
        "model": "local,tiny",
        "max_tokens": 10,
        "stream": stream,
        "messages": [{"role": "user", "content": "ping"}],
    }
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "stop"}]}
    with Vendor({"POST /v1/chat/completions": lambda hit: answer if stream else whole}) as vendor:
        change = {"base_url": f"{vendor.url}/v1/chat/completions", "api_key": "key-of-local"}
        await client.ask("PATCH", "/api/providers/local", {"version": await client.version(), **change})
        got = await client.http.post("/api/try/messages", json=body, headers={"authorization": "Bearer management"})
        (hit,) = vendor.hits

    assert 200 == got.status_code
    assert "Bearer key-of-local" == hit.headers["authorization"]
    assert "management" not in json.dumps(hit.headers)
    if stream:
        assert got.headers["content-type"].startswith("text/event-stream")
        assert "message_stop" in got.text
    else:
        assert "pong" == got.json()["content"][0]["text"]


async def test_only_json_is_run(client: Client) -> None:
    """
    A form of a web page cannot spend money.
    """
    got = await client.http.post("/api/try/messages", content=b"{}", headers={"content-type": "text/plain"})

    assert 415 == got.status_code
