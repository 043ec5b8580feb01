"""Which model gets which request: described requests, the route that they take, and why.

The rules are tried together, in a whole router, with requests of the shapes that clients send: the newer Claude Code
with and without hint headers, the older one (for names that it does not know, and for those of the 4.5 age), and a
program that uses an SDK.  Every scenario has a model of its own, so a route tells the rule.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_anthropic
import ccr_plugin_openai_chat
import ccr_plugin_rule_agent_type
import ccr_plugin_rule_background
import ccr_plugin_rule_custom_router
import ccr_plugin_rule_default
import ccr_plugin_rule_explicit
import ccr_plugin_rule_image
import ccr_plugin_rule_long_context
import ccr_plugin_rule_rewrite_prompt
import ccr_plugin_rule_subagent_tag
import ccr_plugin_rule_think
import ccr_plugin_rule_web_search
import pytest

from ccr_core import ConfigError
from ccr_core.config import from_document
from ccr_core.messages import JSON
from ccr_core.plugins import load
from ccr_core.routing import DEFAULT_RULES
from ccr_core.runtime import build
from ccr_core.testing import Upstream, ask, claude_code_headers, claude_code_request, samples, sse, streamed
from ccr_core.testing.bodies import PIXEL
from ccr_core.testing.pytest_plugin import Make

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [
    ccr_plugin_anthropic,
    ccr_plugin_openai_chat,
    ccr_plugin_rule_agent_type,
    ccr_plugin_rule_background,
    ccr_plugin_rule_custom_router,
    ccr_plugin_rule_default,
    ccr_plugin_rule_explicit,
    ccr_plugin_rule_image,
    ccr_plugin_rule_long_context,
    ccr_plugin_rule_rewrite_prompt,
    ccr_plugin_rule_subagent_tag,
    ccr_plugin_rule_think,
    ccr_plugin_rule_web_search,
]

MODELS = ("default", "background", "think", "long", "web", "image", "explore", "agents", "named", "tagged", "custom")
ROUTES: JSON = {
    "default": "p,default",
    "background": "p,background",
    "think": "p,think",
    "longContext": "p,long",
    "longContextThreshold": 20_000,
    "webSearch": "p,web",
    "image": "p,image",
    "agentTypes": {"Explore": "p,explore", "*": "p,agents"},
}

CUSTOM = """
async def route(req, config):
    return "p,custom" if "let the file choose" in req.text else None
"""


@pytest.fixture
def custom_router(tmp_path: Path) -> Path:
    """A custom router that wants what the user asks it for."""
    path = tmp_path / "router.py"
    path.write_text(CUSTOM)
    return path


def configuration(router: Mapping[str, Any], custom: Path | None = None, **provider: Any) -> JSON:
    """One provider ``p`` with a model for each scenario."""
    entry = {"name": "p", "api_base_url": "https://api.example/v1", "api_key": "k", "models": list(MODELS), **provider}
    extra = {"CUSTOM_ROUTER_PATH": str(custom)} if custom else {}
    return {"Providers": [entry], "Router": dict(router), **extra}


# --- what clients send ----------------------------------------------------------------------------------------

SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
TAG = "<CCR-SUBAGENT-MODEL>p,tagged</CCR-SUBAGENT-MODEL>"
PLAN = "Plan mode is active. The user indicated that they do not want you to execute yet."
ALWAYS_ON = {"type": "enabled", "budget_tokens": 31_999}
JSON_WANTED = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
LONG = "All work and no play makes Jack a dull boy. " * 3_000
"""Some 30 000 tokens."""


@attrs.frozen
class Sent:
    """A request as a client sends it."""

    body: JSON
    headers: Mapping[str, str] = attrs.Factory(dict)


def new(kind: str | None = "main", *, agent: str | None = None, text: str = "Go on.", **fields: Any) -> Sent:
    """The newer Claude Code; ``kind`` is the class that its hint headers tell, ``None`` if they are not on."""
    headers = claude_code_headers(request_class=kind, agent_id="a0123456789abcdef" if agent else None)
    if agent and kind:
        headers["x-claude-code-agent-type"] = agent
    return Sent(
        claude_code_request(text, **{"model": "claude-sonnet-5-5", "subagent": agent is not None, **fields}), headers
    )


def old(*, agent: bool = False, text: str = "Go on.", **fields: Any) -> Sent:
    """The older Claude Code: no hints; thinking is ``disabled`` in the requests of sub-agents."""
    thinking = {"type": "disabled"} if agent else {"type": "adaptive"}
    headers = claude_code_headers(agent_id="a0123456789abcdef" if agent else None)
    headers["user-agent"] = "claude-cli/2.1.197 (external, sdk-cli)"
    given = {"model": "claude-sonnet-5", "subagent": agent, "thinking": thinking, "max_tokens": 64_000, **fields}
    return Sent(claude_code_request(text, **given), headers)


def aged(*notes: str, text: str = "Go on.", **fields: Any) -> Sent:
    """Either client with a model of the 4.5 age: its notes are reminders, thinking always has a budget, no effort."""
    blocks = [f"<system-reminder>\n{note}\n</system-reminder>\n" for note in ("The project notes.", *notes)]
    content = [{"type": "text", "text": text} for text in (*blocks, text)]
    given = {"model": "claude-sonnet-4-5", "thinking": ALWAYS_ON, "output_config": ..., **fields}
    body = {**claude_code_request(**given), "messages": [{"role": "user", "content": content}]}
    return Sent(body, claude_code_headers())


def sdk(text: str = "Translate this.", **fields: Any) -> Sent:
    """A program with an SDK: no tools, no session, no headers of its own."""
    return Sent(ask(text, **{"model": "claude-sonnet-4-5", **fields}))


def user(*content: JSON) -> JSON:
    return {"role": "user", "content": list(content)}


def result(*content: JSON) -> JSON:
    return user({"type": "tool_result", "tool_use_id": "toolu_1", "content": list(content)})


def note(text: str) -> JSON:
    return {"role": "system", "content": text}


ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "A picture of a cat."}]}
EXITED = "## Exited Plan Mode\n\nYou have exited plan mode."
HELPER: JSON = {"tools": ..., "thinking": ..., "output_config": JSON_WANTED}
HAIKU = "claude-haiku-4-5-20251001"


# --- one rule at a time ---------------------------------------------------------------------------------------

TABLE: dict[str, tuple[Sent, str, str, str]] = {
    # what: (request, route, rule, why)
    "a main request": (new(), "p,default", "default", "Router.default"),
    "a main request without hints": (new(None), "p,default", "default", "Router.default"),
    "a main request of the older client": (old(), "p,default", "default", "Router.default"),
    "a main request for a model of the 4.5 age": (aged(), "p,default", "default", "Router.default"),
    "a program's request": (sdk(), "p,default", "default", "Router.default"),
    "a probe before a change of the model": (
        Sent(ask("hi", model="claude-opus-5-5", max_tokens=1, stream=False), claude_code_headers()),
        "p,default",
        "default",
        "Router.default",
    ),
    # custom-router
    "the file chooses": (new(text="Please let the file choose."), "p,custom", "custom-router", "router.py chose it"),
    "the file chooses for a program": (sdk("let the file choose"), "p,custom", "custom-router", "router.py chose it"),
    # subagent-tag
    "a tag in an agent file": (
        new("subagent", agent="custom", system=f"{TAG}You are terse."),
        "p,tagged",
        "subagent-tag",
        "the prompt's <CCR-SUBAGENT-MODEL> tag",
    ),
    "a tag in the Agent tool's prompt": (
        old(agent=True, text=f"{TAG}Look around."),
        "p,tagged",
        "subagent-tag",
        "the prompt's <CCR-SUBAGENT-MODEL> tag",
    ),
    # explicit
    "a named model": (new(model="p,named"), "p,named", "explicit", "the client names provider and model"),
    "a named model, older client": (
        old(model="P , NAMED"),
        "p,named",
        "explicit",
        "the client names provider and model",
    ),
    "a named model with a level": (
        sdk(model="p/named,low"),
        "p,named,low",
        "explicit",
        "the client names provider and model",
    ),
    # image
    "a pasted picture": (
        new(history=[user(PICTURE, {"type": "text", "text": "What is it?"})]),
        "p,image",
        "image",
        "a picture in the newest user message",
    ),
    "a picture that a tool read": (
        old(history=[result(PICTURE)]),
        "p,image",
        "image",
        "a picture in the newest tool result",
    ),
    "a picture that was read and answered": (
        new(history=[result(PICTURE), ANSWER, user({"type": "text", "text": "And?"})]),
        "p,default",
        "default",
        "Router.default",
    ),
    # background
    "a helper call": (
        new("auxiliary", **HELPER),
        "p,background",
        "background",
        "the client calls the request auxiliary",
    ),
    "a helper call without hints": (new(None, **HELPER), "p,background", "background", "a helper call, by its shape"),
    "a helper call of the older client": (
        old(**{**HELPER, "thinking": {"type": "disabled"}}),
        "p,background",
        "background",
        "a helper call, by its shape",
    ),
    "a summary of the conversation": (
        new("compaction"),
        "p,background",
        "background",
        "the client calls the request compaction",
    ),
    "a haiku": (new(model="claude-haiku-5-5"), "p,background", "background", "the client asks for claude-haiku-5-5"),
    "a haiku of the older client": (aged(model=HAIKU), "p,background", "background", f"the client asks for {HAIKU}"),
    "a sub-agent that is to be a haiku": (
        new("subagent", agent="general-purpose", model="claude-haiku-5-5"),
        "p,background",
        "background",
        "the client asks for claude-haiku-5-5",
    ),
    "Explore of the older client": (
        old(agent=True, model=HAIKU, output_config=...),
        "p,background",
        "background",
        f"the client asks for {HAIKU}",
    ),
    "a haiku from a program": (sdk(model=HAIKU), "p,background", "background", f"the client asks for {HAIKU}"),
    "a program that wants JSON": (sdk(output_config=JSON_WANTED), "p,default", "default", "Router.default"),
    # web-search
    "a web search": (
        new("auxiliary", tools=[SEARCH], thinking=...),
        "p,web",
        "web-search",
        "a tool of the type web_search_20250305",
    ),
    "a web search without hints": (
        new(None, tools=[SEARCH], thinking=...),
        "p,web",
        "web-search",
        "a tool of the type web_search_20250305",
    ),
    "a web search of the older client": (
        old(tools=[SEARCH], thinking={"type": "disabled"}, tool_choice={"type": "tool", "name": "web_search"}),
        "p,web",
        "web-search",
        "a tool of the type web_search_20250305",
    ),
    "a web search from a program": (
        sdk(tools=[SEARCH]),
        "p,web",
        "web-search",
        "a tool of the type web_search_20250305",
    ),
    # think
    "a high effort": (new(output_config={"effort": "max"}), "p,think", "think", "the effort is max"),
    "a high effort, older client": (old(output_config={"effort": "xhigh"}), "p,think", "think", "the effort is xhigh"),
    "the effort that the client takes by itself": (
        old(output_config={"effort": "high"}),
        "p,default",
        "default",
        "Router.default",
    ),
    "plan mode": (new(history=[note(PLAN)]), "p,think", "think", "plan mode"),
    "plan mode, later": (new(history=[note(PLAN), ANSWER, result()]), "p,think", "think", "plan mode"),
    "plan mode for a model of the 4.5 age": (aged(PLAN), "p,think", "think", "plan mode"),
    "plan mode that is over": (
        old(history=[note(PLAN), ANSWER, note(EXITED)]),
        "p,default",
        "default",
        "Router.default",
    ),
    "ultrathink": (
        new(history=[note('The user included the keyword "ultrathink", requesting deeper reasoning on this turn.')]),
        "p,think",
        "think",
        "the user wrote ultrathink",
    ),
    "a budget from a program": (
        sdk(thinking={"type": "enabled", "budget_tokens": 8_000}),
        "p,think",
        "think",
        "thinking is enabled with 8000 tokens",
    ),
    "adaptive thinking from a program": (sdk(thinking={"type": "adaptive"}), "p,default", "default", "Router.default"),
    "thinking that is switched off": (
        sdk(thinking={"type": "disabled"}, output_config={"effort": "max"}),
        "p,default",
        "default",
        "Router.default",
    ),
    # agent-type
    "Explore": (
        new("subagent", agent="Explore"),
        "p,explore",
        "agent-type",
        'a sub-agent of the type Explore; Router.agentTypes has "Explore"',
    ),
    "a sub-agent from a file": (
        new("subagent", agent="custom"),
        "p,agents",
        "agent-type",
        'a sub-agent of the type custom; Router.agentTypes has "*"',
    ),
    "a sub-agent without hints": (
        new(None, agent="Explore"),
        "p,agents",
        "agent-type",
        'a sub-agent of unknown type; Router.agentTypes has "*"',
    ),
    "a sub-agent of the older client": (
        old(agent=True),
        "p,agents",
        "agent-type",
        'a sub-agent of unknown type; Router.agentTypes has "*"',
    ),
}


@pytest.mark.parametrize("what", TABLE)
async def test_the_table(ccr: Make, custom_router: Path, what: str) -> None:
    """
    With all routes set, each described request takes the documented route, for the documented reason.
    """
    sent, route, rule, why = TABLE[what]
    router = ccr(configuration(ROUTES, custom_router), plugins=PLUGINS)

    explained = await router.explain(sent.body, headers=sent.headers)

    parts = (explained["route"][part] for part in ("provider", "model", "level"))
    assert (route, rule, why) == (",".join(part for part in parts if part), explained["rule"], explained["why"])
    assert [] == [answer for answer in explained["rules"] if answer["state"] == "failed"]


@pytest.mark.parametrize("what", [what for what, row in TABLE.items() if row[2] not in ("explicit", "subagent-tag")])
@pytest.mark.parametrize("unset", ["", None])
async def test_empty_routes(ccr: Make, what: str, unset: str | None) -> None:
    """
    Files of the older tool have empty routes: they count as not set, and everything goes to the default.
    """
    routes = {key: unset for key in ROUTES if key not in ("default", "longContextThreshold", "agentTypes")}
    router = ccr(configuration({**routes, "default": "p,default", "longContextThreshold": 60_000}), plugins=PLUGINS)

    explained = await router.explain(TABLE[what][0].body, headers=TABLE[what][0].headers)

    assert ("default", "default") == (explained["route"]["model"], explained["rule"])


LENGTHS = {
    "new": (new(text=LONG), "p,long"),
    "old": (old(text=LONG), "p,long"),
    "program": (sdk(LONG), "p,long"),
    "new, short": (new(), "p,default"),
    "long in a tool's result": (new(history=[result({"type": "text", "text": LONG})]), "p,long"),
    "long helper call": (new("auxiliary", text=LONG, **HELPER), "p,long"),
    "long summary": (new("compaction", text=LONG), "p,long"),
    "long haiku": (aged(model=HAIKU, text=LONG), "p,long"),
}


@pytest.mark.parametrize("what", LENGTHS)
async def test_long(ccr: Make, what: str) -> None:
    """
    What is over the threshold goes to ``longContext``, also what would be ``background``; the reason has the numbers.
    """
    sent, route = LENGTHS[what]

    explained = await ccr(configuration(ROUTES), plugins=PLUGINS).explain(sent.body, headers=sent.headers)

    assert route == f"p,{explained['route']['model']}"
    if route == "p,long":
        assert f"{explained['tokens']} tokens, more than 20000" == explained["why"]
        assert 25_000 < explained["tokens"] < 50_000


async def test_nothing_is_counted_without_need(ccr: Make) -> None:
    """
    Without ``longContext`` no request is counted; where it is always taken neither.
    """
    counts = []
    for routes in (
        {},
        {"longContext": ""},
        {"longContext": "p,long", "longContextThreshold": 0},
        {"longContext": "p,long"},
    ):
        router = ccr(configuration({"default": "p,default", **routes}), plugins=PLUGINS)
        explained = await router.explain(new().body)
        counts.append((explained["tokens"] is not None, explained["rule"]))

    assert [(False, "default"), (False, "default"), (False, "long-context"), (True, "default")] == counts


@pytest.mark.parametrize(
    ("window", "other", "tokens", "route"),
    [
        (60_000, None, 8_000, "p,default"),
        (36_000, None, 8_000, "p,long"),
        (60_000, None, 128_000, "p,long"),
        (200_000, None, 128_000, "p,default"),
        (36_000, 36_000, 8_000, "p,default"),
        (36_000, 1_000_000, 8_000, "p,long"),
    ],
)
async def test_what_does_not_fit(ccr: Make, window: int, other: int | None, tokens: int, route: str) -> None:
    """
    A prompt that leaves no room for its answer in the default model goes to ``longContext``, if that is larger.
    """
    models = [{"name": "default", "context": window}, {"name": "long", **({"context": other} if other else {})}]
    routes = {"default": "p,default", "longContext": "p,long", "longContextThreshold": 1_000_000}
    router = ccr(configuration(routes, models=models), plugins=PLUGINS)

    explained = await router.explain(new(text=LONG, max_tokens=tokens).body)

    assert route == f"p,{explained['route']['model']}"


# --- rules that compete ---------------------------------------------------------------------------------------

Change = Callable[[JSON, dict[str, str]], JSON]


def _header(name: str, value: str) -> Change:
    def change(body: JSON, headers: dict[str, str]) -> JSON:
        headers[name] = value
        return body

    return change


def _said(block: JSON) -> Change:
    return lambda body, headers: {**body, "messages": [*body["messages"], user(block)]}


WANTED_BY: dict[str, tuple[Change, str]] = {
    "custom-router": (_said({"type": "text", "text": "let the file choose"}), "custom"),
    "subagent-tag": (
        lambda body, headers: {**body, "system": [*body["system"][:2], {"type": "text", "text": f"{TAG}Be brief."}]},
        "tagged",
    ),
    "explicit": (lambda body, headers: {**body, "model": "p,named"}, "named"),
    "image": (_said(PICTURE), "image"),
    "long-context": (_said({"type": "tool_result", "tool_use_id": "t", "content": LONG}), "long"),
    "background": (_header("x-claude-code-request-class", "auxiliary"), "background"),
    "web-search": (lambda body, headers: {**body, "tools": [SEARCH]}, "web"),
    "think": (lambda body, headers: {**body, "output_config": {"effort": "max"}}, "think"),
    "agent-type": (_header("x-claude-code-agent-type", "Explore"), "explore"),
}
"""What makes each rule want a request, and the model that it then chooses."""


def wanted_by(*rules: str) -> Sent:
    """A request that all these rules want."""
    sent = new(None)
    body, headers = sent.body, dict(sent.headers)
    for rule in rules:
        body = WANTED_BY[rule][0](body, headers)
    return Sent(body, headers)


PAIRS = list(itertools.combinations(WANTED_BY, 2))


def test_every_rule_competes() -> None:
    """
    Every rule of the default order takes part in the pairs below.
    """
    assert DEFAULT_RULES == ("rewrite-prompt", *WANTED_BY, "default")


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_pairs(ccr: Make, custom_router: Path, first: str, second: str) -> None:
    """
    Of two rules that want a request, the first in the order decides, and ``Router.rules`` can turn them around.

    One exception: a web search is left by ``background`` to its own rule, wherever that stands.
    """
    sent = wanted_by(first, second)
    winners = []
    for rules in ({}, {"rules": [second, first, "default"]}):
        router = ccr(configuration({**ROUTES, **rules}, custom_router), plugins=PLUGINS)
        explained = await router.explain(sent.body, headers=sent.headers)
        winners.append((explained["rule"], explained["route"]["model"]))
        assert "CCR-SUBAGENT-MODEL" not in str(explained["body"])

    order = (second, second) if (first, second) == ("background", "web-search") else (first, second)
    assert [(rule, WANTED_BY[rule][1]) for rule in order] == winners


def _helper(body: JSON, headers: dict[str, str]) -> JSON:
    """A helper call by its shape: what clients send that tell no class."""
    shape = {**body, "output_config": {**body.get("output_config", {}), **JSON_WANTED}}
    return {name: value for name, value in shape.items() if name not in ("tools", "thinking")}


def _sub_agent(body: JSON, headers: dict[str, str]) -> JSON:
    """A sub-agent by its id, of a type that is not told."""
    headers["x-claude-code-agent-id"] = "a0123456789abcdef"
    return body


UNTOLD: dict[str, tuple[Change, str]] = {
    **WANTED_BY,
    "background": (lambda body, headers: {**body, "model": HAIKU}, "background"),
    "agent-type": (_sub_agent, "agents"),
}
"""The same for clients that say nothing of what they send."""


def untold(client: str, *rules: str) -> Sent:
    """A request that these rules want, of a client without hint headers."""
    sent = new(None) if client == "new" else old()
    changes = {rule: UNTOLD[rule][0] for rule in rules}
    if {"explicit", "background"} <= set(rules):
        changes["background"] = _helper  # the name of the model is taken
    body, headers = sent.body, dict(sent.headers)
    for rule in rules:
        body = changes[rule](body, headers)
    return Sent(body, headers)


@pytest.mark.parametrize("client", ["new", "old"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_pairs_without_hints(ccr: Make, custom_router: Path, first: str, second: str, client: str) -> None:
    """
    The same pairs decide the same way where the newer client tells no hints, and for the older one, which knows none.
    """
    sent = untold(client, first, second)
    winners = []
    for rules in ({}, {"rules": [second, first, "default"]}):
        router = ccr(configuration({**ROUTES, **rules}, custom_router), plugins=PLUGINS)
        explained = await router.explain(sent.body, headers=sent.headers)
        winners.append((explained["rule"], explained["route"]["model"]))
        assert "CCR-SUBAGENT-MODEL" not in str(explained["body"])

    order = (second, second) if (first, second) == ("background", "web-search") else (first, second)
    assert [(rule, UNTOLD[rule][1]) for rule in order] == winners
    assert not [name for name in sent.headers if name in ("x-claude-code-request-class", "x-claude-code-agent-type")]


@pytest.mark.parametrize("rule", WANTED_BY)
async def test_each_alone(ccr: Make, custom_router: Path, rule: str) -> None:
    """
    What makes a rule want a request makes no other want it.
    """
    sent = wanted_by(rule)
    for rules in ({}, {"rules": [*(other for other in reversed(WANTED_BY) if other != rule), "default"]}):
        router = ccr(configuration({**ROUTES, **rules}, custom_router), plugins=PLUGINS)
        explained = await router.explain(sent.body, headers=sent.headers)
        assert ("default" if rules else rule) == explained["rule"]


async def test_everything_at_once(ccr: Make, custom_router: Path) -> None:
    """
    A request that all rules want goes down the order as rules are taken out of ``Router.rules``.
    """
    sent = wanted_by(*WANTED_BY)
    order = [rule for rule in DEFAULT_RULES if rule in WANTED_BY]
    seen = []
    for place in range(len(order)):
        routes = {**ROUTES, "rules": [*order[place:], "default"]}
        explained = await ccr(configuration(routes, custom_router), plugins=PLUGINS).explain(
            sent.body, headers=sent.headers
        )
        seen.append(explained["rule"])

    assert [rule if rule != "background" else "web-search" for rule in order] == seen


# --- what comes of it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [*WANTED_BY, "default"])
async def test_levels(ccr: Make, tmp_path: Path, rule: str) -> None:
    """
    A reasoning level at the end of a route reaches the provider, whatever rule took the route.
    """
    keys = {"long-context": "longContext", "web-search": "webSearch"}
    sent = wanted_by(rule) if rule in WANTED_BY else new()
    routes = {**ROUTES, "default": "p,default,low", keys.get(rule, rule): "p,think,low"}
    if rule == "default":
        routes[rule] = "p,default,low"
    for name in ("custom-router", "subagent-tag", "explicit", "agent-type"):
        routes.pop(name, None)
    routes["agentTypes"] = {"Explore": "p,explore,low"}
    custom = tmp_path / "router.py"
    custom.write_text(CUSTOM.replace("p,custom", "p,custom,low"))
    text = str(sent.body["model"])
    body = {**sent.body, "model": f"{text},low" if rule == "explicit" else text}
    if rule == "subagent-tag":
        body["system"] = f"{TAG.replace('tagged', 'tagged,low')}Be brief."
    router = ccr(configuration(routes, custom, dialect="openai-chat"), plugins=PLUGINS)

    explained = await router.explain(body, headers=sent.headers)

    assert (rule, "low", "low") == (
        explained["rule"],
        explained["route"]["level"],
        explained["body"]["reasoning_effort"],
    )


async def test_the_answer_says_where_it_went(ccr: Make, upstream: Upstream) -> None:
    """
    The header tells route, rule and scenario; what the client said of itself does not go to another provider.
    """
    upstream.reply({"choices": [{"message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]})
    sent = new("subagent", agent="Explore", stream=False)

    answer = await ccr(configuration(ROUTES, dialect="openai-chat"), plugins=PLUGINS).messages(
        sent.body, headers=sent.headers
    )

    assert "p,explore; rule=agent-type; scenario=agentTypes" == answer.headers["x-ccr-route"]
    [received] = upstream.requests
    assert [] == [name for name in received.headers if name.startswith("x-claude")]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_last_usage_of_the_session(ccr: Make, upstream: Upstream, stream: bool) -> None:
    """
    What the provider counted last, cached tokens too, makes the session's next request a long one, and no other.
    """
    usage = {"input_tokens": 30, "cache_read_input_tokens": 59_000, "cache_creation_input_tokens": 5_000}
    told = samples.message(samples.text("x"), usage={**usage, "output_tokens": 3})
    for _ in range(4):
        upstream.reply(told)
    routes = {"default": "p,default", "longContext": "p,long"}
    router = ccr(configuration(routes, dialect="anthropic"), plugins=PLUGINS)
    body = new(text=LONG, stream=stream).body
    other = {**body, "metadata": {"user_id": '{"session_id": "another"}'}}

    answers = [await router.messages(given) for given in (body, body, other, new(stream=stream).body)]

    assert ["p,default", "p,long", "p,default", "p,default"] == [answer.route for answer in answers]


async def test_a_broken_file_is_seen_and_passed_over(ccr: Make, tmp_path: Path) -> None:
    """
    When the custom router fails the other rules decide, and the explanation tells the file and the line.
    """
    custom = tmp_path / "router.py"
    custom.write_text("def route(req, config):\n    return config['x']\n")
    sent = new("subagent", agent="Explore")
    router = ccr(configuration(ROUTES, custom), plugins=PLUGINS)

    explained = await router.explain(sent.body, headers=sent.headers)

    assert "explore" == explained["route"]["model"]
    assert {
        "rule": "custom-router",
        "state": "failed",
        "why": "CustomRouterError: router.py, line 2: KeyError: 'x'",
    } == explained["rules"][1]


@pytest.mark.parametrize(
    ("routes", "place"),
    [
        ({"background": "typo,small"}, "Router.background"),
        ({"agentTypes": {"Plan": "typo,x"}}, "Router.agentTypes.Plan"),
    ],
)
def test_a_route_to_nowhere(ccr: Make, routes: JSON, place: str) -> None:
    """
    A route with an unknown provider stops the router at its start, with the route's place.
    """
    with pytest.raises(ConfigError) as caught:
        ccr(configuration({"default": "p,default", **routes}), plugins=PLUGINS)

    assert place in caught.value.message
    assert "known: p" in caught.value.message


def test_a_broken_file_is_a_warning_at_start(ccr: Make, tmp_path: Path) -> None:
    """
    What is wrong with the custom router is told before the first request.
    """
    router = ccr(configuration(ROUTES, tmp_path / "router.js"), plugins=PLUGINS)

    [warning] = [text for text in router.runtime.warnings if "custom-router" in text]
    assert "router.js is not Python" in warning


def test_a_relative_path(tmp_path: Path) -> None:
    """
    A relative path to the custom router begins in the folder of the configuration, whatever folder that is.
    """
    document = configuration(ROUTES, Path("router.py"))
    (tmp_path / "router.py").write_text(CUSTOM)

    runtime = build(from_document(document, {}, tmp_path / "config.json"), load(PLUGINS))

    assert (str(tmp_path / "router.py"), ()) == (runtime.public["CUSTOM_ROUTER_PATH"], runtime.warnings)


async def test_the_custom_router_gets_the_count(ccr: Make, tmp_path: Path) -> None:
    """
    A custom router gets the same count as the other rules, also when none of them needs it.
    """
    custom = tmp_path / "router.py"
    custom.write_text('def route(req, config):\n    return f"p,{req.token_count}"\n')
    sent = new(text=LONG)
    chosen = await ccr(configuration({"default": "p,default"}, custom), plugins=PLUGINS).explain(sent.body)
    counted = await ccr(configuration(ROUTES), plugins=PLUGINS).explain(sent.body)

    assert str(counted["tokens"]) == chosen["route"]["model"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", ["anthropic", "openai-chat"])
@pytest.mark.parametrize(
    ("agent", "wanted", "name"),
    [
        ("claude-cli/2.1.197 (external, sdk-cli)", None, "claude-sonnet-5"),
        ("claude-cli/2.1.329 (external, cli)", "auto", "claude-sonnet-5"),
        ("claude-cli/2.1.330 (external, cli)", None, "served"),
        ("claude-cli/2.2.0 (external, cli)", None, "served"),
        ("Anthropic/Python 2.12.0", None, "served"),
        ("claude-cli/odd", None, "served"),
        ("claude-cli/2.1.197 (external, sdk-cli)", "provider", "served"),
        ("claude-cli/2.1.330 (external, cli)", "requested", "claude-sonnet-5"),
        ("Anthropic/Python 2.12.0", "requested", "claude-sonnet-5"),
    ],
)
async def test_what_an_answer_calls_its_model(
    ccr: Make, upstream: Upstream, agent: str, wanted: str | None, name: str, dialect: str, stream: bool
) -> None:
    """
    The name is the provider's, but for clients that drop the thinking of an answer with another name than they asked
    for, and where the configuration wants it otherwise; nothing else of the answer changes.
    """
    answer = samples.message(samples.thinking("hm", signature="c2ln"), samples.text("x"), model="served")
    if dialect == "anthropic":
        upstream.stream(streamed(answer)) if stream else upstream.reply(answer)
    else:
        said = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
        chunk = {"id": "c", "model": "served", "choices": [{"index": 0, "delta": said, "finish_reason": "stop"}]}
        whole = {**chunk, "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
        upstream.stream(sse(chunk, "[DONE]")) if stream else upstream.reply(whole)
    config = {
        **configuration({"default": "p,default"}, dialect=dialect),
        **({"answer_model": wanted} if wanted else {}),
    }
    body = claude_code_request(model="claude-sonnet-5", stream=stream)

    got = await ccr(config, plugins=PLUGINS).messages(body, headers={**claude_code_headers(), "user-agent": agent})

    assert (200, name) == (got.status, got.message["model"])
    assert [("thinking", "hm"), ("text", "x")] == [(block["type"], block[block["type"]]) for block in got.content]
