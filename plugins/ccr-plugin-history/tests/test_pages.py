"""What answers under ``/api/history``, in a router and by itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import ccr_plugin_anthropic
import ccr_plugin_history as plugin
import ccr_plugin_rule_default
import pytest
from ccr_plugin_history.pages import Pages
from told import AT, begun, ended, whole, wrote

from ccr_core import RequestError
from ccr_core.testing import PLAIN, Make, Upstream, ask, config

pytest_plugins = ["ccr_core.testing.pytest_plugin"]


async def test_in_a_router(ccr: Make, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request appears in the list with its route, its explanation and its cost, to those who may manage."""
    monkeypatch.setattr(plugin, "TICK", 0.01)
    document = config(dialect="anthropic", models=("big",))
    document["Providers"][0]["models"] = [{"name": "big", "prices": {"input": 2, "output": 10}}]
    router = ccr(document, [plugin, ccr_plugin_anthropic, ccr_plugin_rule_default])
    upstream.reply(PLAIN["text"])
    key = {"authorization": f"Bearer {router.app.access.token()}"}

    async def get(path: str, status: int = 200, **options: Any) -> Any:
        answer = await router.get(f"/api/history/{path}", headers=key, **options)
        assert status == answer.status, answer.body
        return answer.json

    start = (await get("requests"))["after"]
    answer = await router.messages(ask())
    assert 200 == answer.status
    for _ in range(200):
        news = await get(f"requests?after={start}")
        if news["requests"] and news["requests"][0]["state"] == "done":
            break
        await asyncio.sleep(0.02)
    (request,) = news["requests"]
    one = await get(f"requests/{request['id']}")

    assert answer.headers["request-id"] == request["id"]
    usage = answer.usage
    assert (usage["input_tokens"] * 2 + usage["output_tokens"] * 10) / 1e6 == pytest.approx(request["cost"])
    assert ("acme", "big", "default") == tuple(one[name] for name in ("provider", "model", "rule"))
    assert "decided" in [rule["state"] for rule in one["explanation"]]
    assert [200] == [attempt["status"] for attempt in one["tries"]]
    assert 1 == (await get("usage?by=model"))["groups"][0]["requests"]
    assert 1 == (await get("overview"))["hour"]["requests"]
    assert 'there is no request "req_x"' in (await get("requests/req_x", 404))["error"]["message"]
    for wrong in (f"limit={'9' * 5000}", f"after={'9' * 20}", f"after={'9' * 5000}", f"before=1~{'9' * 20}"):
        assert "invalid_request_error" == (await get(f"requests?{wrong}", 400))["error"]["type"]
    assert 'limit must be a number, not "x"' == (await get("requests?limit=x", 400))["error"]["message"]
    assert 401 == (await router.get("/api/history/requests")).status
    assert {"deleted": 1} == await get("requests", method="DELETE")
    assert [] == (await get("requests"))["requests"]


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(
        wrote(
            tmp_path,
            whole("req_1", session="s"),
            whole("req_2", AT + 1, agent_type="Explore", agent_id="a"),
            whole("req_3", AT + 2, status=500, error="no"),
            begun("req_4", AT + 3),
            ended("req_4", AT + 3),
        )
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "4321"),
        ({"limit": "2"}, "43"),
        ({"session": "s"}, "1"),
        ({"agent": "Explore"}, "2"),
        ({"status": "error"}, "3"),
        ({"since": str(AT + 2)}, "43"),
        ({"until": "2025-11-24T16:00:01+00:00"}, "1"),
        ({"after": "0", "limit": "1"}, "1"),
        ({"class": "main"}, ""),
    ],
)
def test_parameters(pages: Pages, given: dict[str, str], expected: str) -> None:
    """Parameters choose requests."""
    got = pages.answer("GET", "requests", given)

    assert expected == "".join(request["id"][-1] for request in got["requests"])


@pytest.mark.parametrize(
    ("method", "place", "given", "status"),
    [
        ("GET", "", {}, 404),
        ("GET", "other", {}, 404),
        ("GET", "usage/x", {}, 404),
        ("POST", "requests", {}, 405),
        ("DELETE", "requests/req_1", {}, 405),
        ("DELETE", "usage", {}, 405),
        ("GET", "requests", {"colour": "blue"}, 400),
        ("GET", "requests", {"before": "x"}, 400),
        ("GET", "usage", {"by": "colour"}, 400),
        ("GET", "overview", {"days": "many"}, 400),
        ("GET", "requests/req", {}, 409),
    ],
)
def test_refusals(pages: Pages, method: str, place: str, given: dict[str, str], status: int) -> None:
    """What there is not, or is asked for in a wrong way, is refused."""
    with pytest.raises(RequestError) as caught:
        pages.answer(method, place, given)

    assert status == caught.value.status


async def test_an_answer(pages: Pages) -> None:
    """Answers are JSON that nobody stores; HEAD has none; ids may be quoted."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"path": "/api/history/requests/req%5F1", "root_path": "/api/history", "query_string": b"", "method": "GET"}
    await pages(scope, None, send)  # type: ignore[arg-type]
    await pages({**scope, "method": "HEAD"}, None, send)  # type: ignore[arg-type]

    assert "req_1" == json.loads(sent[1]["body"])["id"]
    assert {b"content-type": b"application/json", b"cache-control": b"no-store"} == dict(sent[0]["headers"])
    assert b"" == sent[3]["body"]


async def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is said what is wrong, as an error of the service."""
    path = tmp_path / "history.sqlite3"
    path.write_bytes(b"nothing of ours" * 1000)
    scope = {"path": "/api/history/requests", "root_path": "/api/history", "query_string": b"", "method": "GET"}

    with pytest.raises(RequestError, match="not a database") as caught:
        await Pages(path)(scope, None, None)  # type: ignore[arg-type]
    assert 503 == caught.value.status
