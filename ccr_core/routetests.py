"""Route tests: described requests, and where each must go.  They are ``Router.tests`` of the configuration.

A description names only what matters for routing; here it becomes the request that a client would send, and goes
through the real rules.  Sans-IO: whoever runs them says how a request is decoded and routed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import attrs
import orjson

from ccr_core.config import Problems, join, structure, structure_value
from ccr_core.errors import CcrError, RoutingError
from ccr_core.messages import JSON, Headers, Hints, Request
from ccr_core.routing import Answer, Choice, Route

MODEL = "claude-sonnet-4-5"
"""The model of a description that names none: one that no provider of a configuration is called by."""

_PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@attrs.frozen(kw_only=True)
class Description:
    """A request in a few words; every key may be absent.

    ``thinking`` is what the client asks for: ``adaptive``, ``disabled``, or a budget in tokens.  ``tools`` are names,
    or whole definitions.  ``plan`` is plan mode, ``tag`` the text of a ``<CCR-SUBAGENT-MODEL>`` tag, ``agent`` the
    type of the sub-agent whose request it is.  ``tokens`` is the size of the request, which then is not counted.
    """

    model: str = MODEL
    text: str = "hello"
    system: str | None = None
    thinking: Literal["adaptive", "disabled"] | int | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    plan: bool = False
    tools: tuple[str | Mapping[str, Any], ...] = ()
    web_search: bool = False
    image: bool = False
    tag: str | None = None
    agent: str | None = None
    hints: Hints = attrs.Factory(Hints)
    max_tokens: int = 32_000
    tokens: int | None = None

    def body(self) -> JSON:
        """The body of the Messages API."""
        tag = f"<CCR-SUBAGENT-MODEL>{self.tag}</CCR-SUBAGENT-MODEL>" if self.tag is not None else ""
        content: list[JSON] = [{"type": "text", "text": tag + self.text}]
        if self.image:
            source = {"type": "base64", "media_type": "image/png", "data": _PICTURE}
            content.append({"type": "image", "source": source})
        body: JSON = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": content}],
        }
        if self.plan:
            # A note of the client's own, as observed with Claude Code.
            body["messages"].append({"role": "system", "content": "Plan mode is active."})
        if self.system is not None:
            body["system"] = [{"type": "text", "text": self.system}]
        tools: list[Mapping[str, Any]] = [
            {"name": tool, "input_schema": {"type": "object"}} if isinstance(tool, str) else tool for tool in self.tools
        ]
        if self.web_search:
            tools.append({"type": "web_search_20250305", "name": "web_search", "max_uses": 8})
        if tools:
            body["tools"] = tools
        if isinstance(self.thinking, int):
            body["thinking"] = {"type": "enabled", "budget_tokens": self.thinking}
        elif self.thinking is not None:
            body["thinking"] = {"type": self.thinking}
        if self.effort is not None:
            body["output_config"] = {"effort": self.effort}
        return body

    def headers(self) -> dict[str, str]:
        """The headers in which a client says what its request is."""
        hints = self.hints
        if self.agent is not None:
            hints = attrs.evolve(
                hints,
                agent_type=hints.agent_type or self.agent,
                agent_id=hints.agent_id or "a1",
                request_class=hints.request_class or "subagent",
            )
        said = {_header(name): value for name, value in attrs.asdict(hints).items()}
        return {name: value for name, value in said.items() if value is not None}


def _header(hint: str) -> str:
    return "x-claude-code-session-id" if hint == "session" else f"x-claude-code-{hint.replace('_', '-')}"


@attrs.frozen(kw_only=True)
class Expectation:
    """What a test wants; what is absent does not matter."""

    route: str | None = None
    rule: str | None = None
    scenario: str | None = None


@attrs.frozen(kw_only=True)
class RouteTest:
    """One test: a request as the client would send it, and what must become of it.

    ``where`` is its place in the configuration; ``tokens`` the size of the request if that is not to be counted.
    """

    name: str
    where: str
    body: JSON
    headers: Headers
    tokens: int | None
    route: Route | None = None
    rule: str | None = None
    scenario: str | None = None


@attrs.frozen(kw_only=True)
class Result:
    """What became of a test's request; ``wrong`` says in sentences what is not as expected."""

    test: RouteTest
    route: Route | None = None
    rule: str | None = None
    scenario: str | None = None
    why: str = ""
    answers: tuple[Answer, ...] = ()
    wrong: tuple[str, ...] = ()

    def to_json(self) -> JSON:
        """As plain data."""
        test = self.test
        expected = {"route": test.route and str(test.route), "rule": test.rule, "scenario": test.scenario}
        return {
            "name": test.name,
            "where": test.where,
            "ok": not self.wrong,
            "wrong": list(self.wrong),
            "expected": {key: value for key, value in expected.items() if value is not None},
            "route": str(self.route) if self.route is not None else None,
            "rule": self.rule,
            "scenario": self.scenario,
            "why": self.why,
            "rules": [answer.to_json() for answer in self.answers],
        }


@attrs.frozen(kw_only=True)
class _Entry:
    """An entry of ``Router.tests`` as written."""

    request: Mapping[str, Any]
    expect: str | Expectation
    name: str | None = None
    headers: Mapping[str, str] = attrs.Factory(dict)


def read(
    value: Any, where: str, find: Callable[[str], Route | None], rules: Sequence[str], problems: Problems
) -> list[RouteTest]:
    """The tests in the list ``value`` at ``where``; what is wrong is added to ``problems``, with its place.

    ``find`` finds the route that a text names, ``rules`` are the names of the rules that are asked.
    """
    tests = []
    for place, item in enumerate(structure_value(tuple[Any, ...], value, where, problems) or ()):
        at = join(where, place)
        entry = structure(_Entry, item, at, problems)
        test = _test(entry, at, find, rules, problems) if entry is not None else None
        if test is not None:
            tests.append(test)
    return tests


def _test(
    entry: _Entry, where: str, find: Callable[[str], Route | None], rules: Sequence[str], problems: Problems
) -> RouteTest | None:
    made = _request(entry.request, join(where, "request"), problems)
    place = join(where, "expect")
    expected = entry.expect
    if isinstance(expected, str):
        expected = Expectation(route=expected)
    else:
        if expected == Expectation():
            problems.add(place, "expected at least one of route, rule and scenario")
        place = join(place, "route")
    route = find(expected.route) if expected.route is not None else None
    if expected.route is not None and route is None:
        problems.add(place, f'no provider for "{expected.route}"')
    if expected.rule is not None and expected.rule not in rules:
        problems.add(join(where, "expect", "rule"), f'no rule "{expected.rule}" is asked; asked are {", ".join(rules)}')
    if made is None:
        return None
    body, headers, tokens = made
    return RouteTest(
        name=entry.name or where,
        where=where,
        body=body,
        headers={**headers, **{name.lower(): text for name, text in entry.headers.items()}},
        tokens=tokens,
        route=route,
        rule=expected.rule,
        scenario=expected.scenario,
    )


def _request(
    value: Mapping[str, Any], where: str, problems: Problems
) -> tuple[JSON, dict[str, str], int | None] | None:
    """Body, headers and size of a request that is described, or given as a whole body (which has ``messages``)."""
    if "messages" not in value:
        description = structure(Description, value, where, problems)
        return (description.body(), description.headers(), description.tokens) if description is not None else None
    own = {field.name for field in attrs.fields(Description)} - {"model", "system", "thinking", "tools", "max_tokens"}
    for key in sorted(own & set(value)):
        problems.add(join(where, key), "not a key of a whole body, which this is, because it has messages")
    return dict(value), {}, None


async def run(
    tests: Sequence[RouteTest],
    decode: Callable[[bytes, Headers], Request],
    route: Callable[[Request, int | None], Awaitable[Choice]],
) -> list[Result]:
    """Route the request of every test; nothing is sent."""
    results = []
    for test in tests:
        try:
            choice = await route(decode(orjson.dumps(test.body), test.headers), test.tokens)
        except CcrError as error:
            answers = tuple(error.answers) if isinstance(error, RoutingError) else ()
            results.append(Result(test=test, why=error.message, answers=answers, wrong=(error.message,)))
        else:
            results.append(_judged(test, choice))
    return results


def _judged(test: RouteTest, choice: Choice) -> Result:
    pairs = (
        ("route", test.route, choice.route),
        ("rule", test.rule, choice.rule),
        ("scenario", test.scenario, choice.scenario),
    )
    return Result(
        test=test,
        route=choice.route,
        rule=choice.rule,
        scenario=choice.scenario,
        why=choice.why,
        answers=choice.answers,
        wrong=tuple(
            f"expected the {what} {wanted}, got {got}"
            for what, wanted, got in pairs
            if wanted is not None and wanted != got
        ),
    )
