"""Route tests: how a description becomes a request, and how its way is judged."""

from __future__ import annotations

from typing import Any

import pytest

from ccr_core.config import Problems, from_document
from ccr_core.engine import Engine
from ccr_core.explain import messages_ingress
from ccr_core.plugins import load
from ccr_core.routetests import MODEL, Description, Result, RouteTest, read, run
from ccr_core.routing import DEFAULT_RULES, Route, find_route
from ccr_core.runtime import Runtime, build

MODELS = ["m", "deep", "small", "long", "eyes", "web"]
ROUTER = {
    "default": "up,m",
    "think": "up,deep,high",
    "background": "up,small",
    "longContext": "up,long",
    "image": "up,eyes",
    "webSearch": "up,web",
    "agentTypes": {"Explore": "up,small"},
}


def find(text: str) -> Route | None:
    return find_route(text, {"up": MODELS})


def read_all(*entries: Any, where: str = "Router.tests") -> tuple[list[RouteTest], dict[str, str]]:
    """The tests, and what is wrong, by place."""
    problems = Problems()
    tests = read(list(entries), where, find, DEFAULT_RULES, problems)
    return tests, {problem.path: problem.message for problem in problems.items}


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    """A router with all rules and a route for each."""
    entry = {"name": "up", "api_base_url": "https://up.example/v1/messages", "api_key": "k", "models": MODELS}
    return build(from_document({"Providers": [entry], "Router": ROUTER}, {}), load(), watch=False)


async def results(runtime: Runtime, *entries: Any) -> list[Result]:
    """What becomes of tests."""
    tests, problems = read_all(*entries)
    assert {} == problems
    engine, ingress = Engine(runtime), messages_ingress(runtime)
    return await run(tests, ingress.decode, lambda request, tokens: engine.route(runtime, request, tokens))


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, {"route": "up,m", "rule": "default", "scenario": "default"}),
        ({"model": "up,deep"}, {"route": "up,deep", "rule": "explicit"}),
        ({"model": "claude-haiku-4-5"}, {"route": "up,small", "rule": "background", "scenario": "background"}),
        ({"thinking": "adaptive"}, {"rule": "default"}),
        ({"thinking": 10_000}, {"route": "up,deep,high", "rule": "think"}),
        ({"thinking": "disabled", "effort": "max"}, {"rule": "default"}),
        ({"effort": "max"}, {"rule": "think"}),
        ({"plan": True}, {"rule": "think"}),
        ({"image": True}, {"rule": "image"}),
        ({"web_search": True}, {"rule": "web-search"}),
        ({"tools": ["Bash", {"name": "Read", "input_schema": {}}]}, {"rule": "default"}),
        ({"tokens": 60_001}, {"rule": "long-context"}),
        ({"tokens": 60_000}, {"rule": "default"}),
        ({"text": "word " * 70_000}, {"rule": "long-context"}),
        ({"agent": "Explore"}, {"rule": "agent-type"}),
        ({"agent": "Plan"}, {"rule": "default"}),
        ({"hints": {"request_class": "auxiliary"}}, {"rule": "background"}),
        ({"tag": "up,deep"}, {"route": "up,deep", "rule": "subagent-tag"}),
        ({"tag": "up,deep", "model": "up,small"}, {"route": "up,deep"}),
        ({"system": "<CCR-SUBAGENT-MODEL>up,eyes</CCR-SUBAGENT-MODEL>Be brief."}, {"route": "up,eyes"}),
        ({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "thinking": {"type": "adaptive"}}, "up,m"),
    ],
)
async def test_descriptions_go_through_the_rules(runtime: Runtime, request_: Any, expected: Any) -> None:
    """
    Each key of a description is what the rule for it looks at.
    """
    (result,) = await results(runtime, {"request": request_, "expect": expected})
    assert () == result.wrong, [str(answer) for answer in result.answers]


async def test_what_is_not_as_expected_is_said(runtime: Runtime) -> None:
    """
    A test that fails says what differs, with every rule's answer.
    """
    expected = {"route": "up,m", "rule": "default", "scenario": "default"}
    (result,) = await results(runtime, {"name": "plan", "request": {"plan": True}, "expect": expected})

    assert (
        "expected the route up,m, got up,deep,high",
        "expected the rule default, got think",
        "expected the scenario default, got think",
    ) == result.wrong
    assert list(DEFAULT_RULES) == [answer.rule for answer in result.answers]
    assert {
        "name": "plan",
        "where": "Router.tests[0]",
        "ok": False,
        "wrong": list(result.wrong),
        "expected": expected,
        "route": "up,deep,high",
        "rule": "think",
        "scenario": "think",
        "why": "plan mode",
        "rules": [answer.to_json() for answer in result.answers],
    } == result.to_json()


async def test_level_belongs_to_the_route(runtime: Runtime) -> None:
    """
    A level that was not expected is a difference.
    """
    (result,) = await results(runtime, {"request": {"plan": True}, "expect": "up,deep"})
    assert ("expected the route up,deep, got up,deep,high",) == result.wrong


async def test_names_are_compared_as_routing_does(runtime: Runtime) -> None:
    """
    An expected route is read like one of the Router.
    """
    (result,) = await results(runtime, {"request": {}, "expect": "UP , M"})
    assert () == result.wrong


async def test_request_without_a_route(runtime: Runtime) -> None:
    """
    A request that is refused is a failed test, and the others are run all the same.
    """
    refused, fine = await results(
        runtime, {"request": {"model": "nobody,m"}, "expect": "up,m"}, {"request": {}, "expect": "up,m"}
    )
    assert (None, None, ()) == (refused.route, refused.rule, fine.wrong)
    assert 'no provider for "nobody,m"' in refused.wrong[0]
    assert "explicit" in [answer.rule for answer in refused.answers]


async def test_body_that_no_client_may_send(runtime: Runtime) -> None:
    """
    A whole body is decoded as a client's would be, and refused as such.
    """
    (result,) = await results(runtime, {"request": {"model": "m", "messages": 7}, "expect": "up,m"})
    assert "messages" in result.wrong[0]


async def test_tests_do_not_disturb_each_other(runtime: Runtime) -> None:
    """
    The same test gives the same result wherever it stands.
    """
    entry = {"request": {"hints": {"session": "s"}, "text": "word " * 3000}, "expect": "up,m"}
    first, second = await results(runtime, entry, entry)
    assert (first.why, first.answers) == (second.why, second.answers)


@pytest.mark.parametrize(
    ("entry", "place", "why"),
    [
        ({"request": {"foo": 1}, "expect": "up,m"}, "request.foo", "unknown key"),
        ({"request": {"modle": "x"}, "expect": "up,m"}, "request.modle", 'unknown key; did you mean "model"?'),
        ({"request": {"tokens": "7"}, "expect": "up,m"}, "request.tokens", 'expected an integer, got "7"'),
        ({"request": {"image": 1}, "expect": "up,m"}, "request.image", "expected true or false, got 1"),
        (
            {"request": {"thinking": True}, "expect": "up,m"},
            "request.thinking",
            'expected one of "adaptive", "disabled"',
        ),
        ({"request": {"effort": "huge"}, "expect": "up,m"}, "request.effort", "expected one of"),
        ({"request": {"hints": {"clas": "x"}}, "expect": "up,m"}, "request.hints.clas", "unknown key"),
        ({"request": {"messages": [], "tokens": 7}, "expect": "up,m"}, "request.tokens", "not a key of a whole body"),
        ({"request": [], "expect": "up,m"}, "request", "expected an object, got a list"),
        ({"expect": "up,m"}, "request", "missing"),
        ({"request": {}}, "expect", "missing"),
        ({"request": {}, "expect": {}}, "expect", "expected at least one of route, rule and scenario"),
        ({"request": {}, "expect": 7}, "expect", "expected a string or an object, got 7"),
        ({"request": {}, "expect": "nobody,m"}, "expect", 'no provider for "nobody,m"'),
        ({"request": {}, "expect": {"route": "nobody,m"}}, "expect.route", 'no provider for "nobody,m"'),
        (
            {"request": {}, "expect": {"rule": "thinking"}},
            "expect.rule",
            'no rule "thinking" is asked; asked are rewrite-prompt, custom',
        ),
        ({"request": {}, "expect": "up,m", "nmae": "x"}, "nmae", 'unknown key; did you mean "name"?'),
        ("up,m", "", "expected an object"),
    ],
)
def test_mistakes(entry: Any, place: str, why: str) -> None:
    """
    Whatever is wrong in a test is a problem with its place, and the good ones are read all the same.
    """
    good = {"request": {}, "expect": "up,m"}
    tests, problems = read_all(good, entry)

    (found,) = [message for path, message in problems.items() if path == "Router.tests[1]" + f".{place}" * bool(place)]
    assert why in found
    assert 1 == len(problems)
    assert "Router.tests[0]" == tests[0].name


def test_list_that_is_none() -> None:
    """
    ``Router.tests`` itself must be a list.
    """
    problems = Problems()
    assert [] == read({"a": 1}, "Router.tests", find, DEFAULT_RULES, problems)
    assert ["Router.tests"] == [problem.path for problem in problems.items]


def test_headers_of_a_test() -> None:
    """
    Further headers may be given; they win over those of the description, and their names are in lower case.
    """
    headers = {"User-Agent": "claude-cli/2", "x-claude-code-agent-id": "mine"}
    (test,), _ = read_all({"request": {"agent": "Plan"}, "headers": headers, "expect": "up,m"})
    assert {
        "x-claude-code-agent-type": "Plan",
        "x-claude-code-request-class": "subagent",
        "x-claude-code-agent-id": "mine",
        "user-agent": "claude-cli/2",
    } == dict(test.headers)


def test_hints_are_the_clients_headers() -> None:
    """
    Every hint arrives as the router reads it.
    """
    from ccr_core import Hints, hints_of

    hints = Hints("s", "main", "Explore", "a", "p", "auto")
    assert hints == hints_of({}, Description(hints=hints).headers())
