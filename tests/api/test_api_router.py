"""Routing over the API: what is shown of it, explanations and route tests."""

from __future__ import annotations

import json
from typing import Any

from api_client import MASK, Client

from ccr_core.projects import digest


async def patch(client: Client, path: list[Any], value: Any) -> None:
    body = {"version": await client.version(), "changes": [{"op": "set", "path": path, "value": value}]}
    await client.ask("PATCH", "/api/config", body)


async def test_scenarios_say_what_is_chosen(client: Client) -> None:
    """
    Each route with its parts and the rule that it belongs to; those without a value are there to be set.
    """
    got = await client.get("/api/router")

    rows = {row["key"]: row for row in got["scenarios"]}
    assert ["default", "background", "think", "longContext", "webSearch", "image"] == list(rows)[:6]
    think = rows["think"]
    assert ("big", "huge", "high", True, "think") == tuple(
        think[key] for key in ("provider", "model", "level", "listed", "rule")
    )
    assert ["Router", "think"] == think["path"]
    assert None is rows["image"]["value"]
    assert ["agentTypes"] == [table["key"] for table in got["tables"]]


async def test_rules_have_their_order_and_options(client: Client) -> None:
    """
    The active ones first, with forms for their options and what is set.
    """
    await patch(client, ["Router", "rules"], ["explicit", "long-context", "default"])

    got = await client.get("/api/router")

    rules = {rule["name"]: rule for rule in got["rules"]}
    assert ["explicit", "long-context", "default"] == got["order"] == list(rules)[:3]
    assert True is got["own_order"]
    assert "think" in got["default_order"]
    assert {"longContextThreshold": 60000} == rules["long-context"]["values"]
    options = {option["name"]: option["type"] for option in rules["long-context"]["options"]}
    assert {"longContext": "route", "longContextThreshold": "integer"} == options
    assert False is rules["think"]["active"]


async def test_tables_and_lists_are_shown(client: Client) -> None:
    """
    Routes per agent type, fallback lists and tests.
    """
    await patch(client, ["Router", "agentTypes"], {"Explore": "local,tiny"})
    await patch(client, ["fallback"], {"default": ["big,small"]})

    got = await client.get("/api/router")

    assert "tiny" == got["tables"][0]["routes"]["Explore"]["model"]
    assert {"default": ["big,small"]} == got["fallback"]


async def test_routers_of_projects_are_listed(client: Client) -> None:
    """
    Those in ccr's own folder and in repositories, with their routes.
    """
    folder = client.path.parent / "-home-me-project"
    folder.mkdir()
    (folder / "config.json").write_text('{"Router": {"default": "big,huge"}}')

    shared = client.path.parent / ".ccr.toml"
    shared.write_text('[Router]\nthink = "local,tiny"\n')
    (client.path.parent / "trusted.json").write_text(json.dumps({str(shared): digest(shared.read_text()), "/zzz": "y"}))

    projects = (await client.get("/api/router"))["projects"]

    assert [
        (str(shared), "trusted", {"think": "local,tiny"}),
        ("/zzz", "gone", {}),
        (str(folder / "config.json"), "own", {"default": "big,huge"}),
    ] == [(each["file"], each["state"], each["router"]) for each in projects]


async def test_a_request_is_explained_without_secrets(client: Client) -> None:
    """
    Route, rules, steps and the body that would be sent, with masks where the chain puts secrets.
    """
    body = {"model": "big,huge", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}

    got = await client.ask("POST", "/api/router/explain", {"body": body})

    assert {"provider": "big", "model": "huge", "level": None} == got["route"]
    assert "explicit" == got["rule"]
    assert ["maxtoken", "customparams"] == list(dict.fromkeys(step["name"] for step in got["steps"]))
    assert MASK == got["body"]["token"]
    assert [{"role": "user", "content": "hi"}] == got["body"]["messages"]


async def test_a_described_request_is_explained(client: Client) -> None:
    """
    As in a route test; the size that is said is not counted.
    """
    got = await client.ask("POST", "/api/router/explain", {"describe": {"text": "hello", "tokens": 123456}})

    assert 123456 == got["tokens"]
    assert "default" == got["scenario"]


async def test_what_cannot_be_explained_is_said(client: Client) -> None:
    """
    A misspelt description is told with its path; a request that no model is found for is an explanation.
    """
    problems = await client.problems("POST", "/api/router/explain", {"describe": {"txt": "x"}})
    await client.problems("POST", "/api/router/explain", {})
    none = await client.ask("POST", "/api/router/explain", {"body": {"model": "x", "messages": []}}, 400)

    assert ["describe.txt"] == [path for path, _ in problems]
    assert "messages" in none["error"]["message"]


async def test_route_tests_are_run(client: Client) -> None:
    """
    Those of the configuration, or others; the real rules are asked.
    """
    own = [{"name": "usual", "request": {"text": "x"}, "expect": "deepseek,deepseek-chat"}]
    await patch(client, ["Router", "tests"], own)

    kept = await client.ask("POST", "/api/router/tests", {})
    given = [{"request": {"model": "big,huge"}, "expect": "local,tiny"}, own[0]]
    other = await client.ask("POST", "/api/router/tests", {"tests": given})

    assert (True, ["usual"]) == (kept["ok"], [each["name"] for each in kept["results"]])
    assert [False, True] == [each["ok"] for each in other["results"]]
    assert "big,huge" == other["results"][0]["route"]


async def test_broken_route_tests_are_told_with_their_place(client: Client) -> None:
    """
    In the request as in the file.
    """
    problems = await client.problems("POST", "/api/router/tests", {"tests": [{"request": {}, "expect": "no,where"}]})

    assert [("tests[0].expect", 'no provider for "no,where"')] == problems
