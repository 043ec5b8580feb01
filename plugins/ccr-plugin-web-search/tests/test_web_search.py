"""The server tool ``web-search``."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import ccr_plugin_openai_chat
import ccr_plugin_web_search as plugin
import pytest
from ccr_plugin_web_search import backend
from ccr_plugin_web_search.backend import Backend, Found, Query, make

from ccr_core import JSON, ConfigError, Request, Target, ToolCall, ToolContext, ToolResult, WireReply, seal, unseal
from ccr_core.testing import Harness, Make, Upstream, as_request, ask, check_plugin, config, samples, standins, streamed

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

PLUGINS = [plugin, standins.ingress, standins.dialect, standins.rule]
SEARXNG = {"backend": "searxng", "url": "http://search.example"}
TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
ROWS = [
    {
        "title": "The <b>tower</b>",
        "url": "https://a.example/tower",
        "content": "324 m &amp; grey",
        "publishedDate": "2026",
    },
    {"title": "Towers", "url": "https://www.b.example/docs/x", "content": "many"},
]


def router(ccr: Make, search: JSON | None = None, plugins: Any = (), **fields: Any) -> Harness:
    given = {**config(**{"dialect": "plain", **fields}), "server_tools": {"web-search": search or SEARXNG}}
    return ccr(given, plugins=[*PLUGINS, *plugins])


def call(query: str = "tower", number: int = 1) -> JSON:
    return samples.tool_use("web_search", f"toolu_{number}", query=query)


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def test_the_plugin_keeps_the_rules() -> None:
    """The check that every plugin has to pass finds nothing."""
    check_plugin(plugin)


@pytest.mark.parametrize("asked", [True, False])
async def test_search(ccr: Make, upstream: Upstream, asked: bool) -> None:
    """The model calls a function, the router searches, and the client sees a search as Anthropic's."""
    upstream.stream(streamed(samples.message(call(), stop_reason="tool_use")))
    upstream.reply({"query": "tower", "results": ROWS})
    upstream.stream(streamed(samples.message(samples.text("324 m."))))

    got = await router(ccr).messages(ask(tools=[TOOL, "Read"], stream=asked))

    use, result, text = got.content
    assert ("server_tool_use", "web_search", {"query": "tower"}) == (use["type"], use["name"], use["input"])
    assert use["id"].startswith("srvtoolu_")
    assert ("web_search_tool_result", use["id"]) == (result["type"], result["tool_use_id"])
    assert [("The tower", "https://a.example/tower", "2026"), ("Towers", "https://www.b.example/docs/x", None)] == [
        (row["title"], row["url"], row["page_age"]) for row in result["content"]
    ]
    assert {"web_search_requests": 1} == got.usage["server_tool_use"]
    assert ("web-search", {"text": "324 m & grey"}) == unseal(result["content"][0]["encrypted_content"])
    assert ("324 m.", "end_turn") == (text["text"], got.stop_reason)
    first, search, second = upstream.requests
    assert ["web_search", "Read"] == [tool["name"] for tool in first.json["tools"]]
    assert all("type" not in tool for tool in first.json["tools"])
    assert ("GET", {"q": "tower", "format": "json"}) == (search.method, query_of(search.url))
    told = second.json["messages"][-1]["content"][0]["content"]
    assert "1. The tower (2026)\n   https://a.example/tower\n   324 m & grey" in told


async def test_foreign_formats(ccr: Make, upstream: Upstream) -> None:
    """A chat-completions provider searches in the same way, also when the client forces the search: once."""
    calls = [{"id": "c1", "function": {"name": "web_search", "arguments": '{"query": "tower"}'}}]
    upstream.reply({"id": "1", "model": "m", "choices": [{"message": {"tool_calls": calls}}]})
    upstream.reply({"results": ROWS})
    upstream.reply({"id": "1", "model": "m", "choices": [{"message": {"content": "324 m."}}]})
    chat = router(ccr, plugins=[ccr_plugin_openai_chat], dialect="openai-chat")

    got = await chat.messages(ask(tools=[TOOL], stream=False, tool_choice={"type": "tool", "name": "web_search"}))

    assert ["server_tool_use", "web_search_tool_result", "text"] == [block["type"] for block in got.content]
    first, second = upstream.requests[0].json, upstream.requests[2].json
    assert ({"type": "function", "function": {"name": "web_search"}}, "auto") == (
        first["tool_choice"],
        second["tool_choice"],
    )


async def test_providers_that_search(ccr: Make, upstream: Upstream) -> None:
    """Where the provider runs searches itself, its request is as it was."""
    upstream.reply({"id": "1", "model": "m", "choices": [{"message": {"content": "324 m."}}]})
    options = {"tools": {"web_search": "enable_search"}}
    chat = router(ccr, plugins=[ccr_plugin_openai_chat], dialect="openai-chat", options=options)

    await chat.messages(ask(tools=[TOOL], stream=False))

    assert (True, None) == (upstream.requests[0].json["enable_search"], upstream.requests[0].json.get("tools"))


async def test_off_until_configured(ccr: Make, upstream: Upstream) -> None:
    """Without a word in the configuration the tool has no part."""
    upstream.reply(samples.message(samples.text("ok")))
    plain = ccr(config(dialect="plain"), plugins=PLUGINS)

    await plain.messages(ask(tools=[TOOL], stream=False))

    assert [TOOL] == upstream.requests[0].json["tools"]


async def test_without_a_backend(ccr: Make, upstream: Upstream) -> None:
    """Switched on without a service, it says what is missing."""
    upstream.reply(samples.message(samples.text("ok")))
    plain = ccr({**config(dialect="plain"), "server_tools": {"web-search": True}}, plugins=PLUGINS)

    got = await plain.messages(ask(tools=[TOOL], stream=False))

    assert [("web-search", "there is no search: set server_tools.web-search.backend")] == got.notes


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"backend": "altavista"}, 'no search backend "altavista"; there are brave, searxng, tavily'),
        ({"backend": "searxng"}, "searxng needs url"),
        ({"backend": "brave"}, "brave needs api_key"),
        ({"backend": "tavily"}, "tavily needs api_key"),
        ({**SEARXNG, "results": 0}, "results"),
        ({**SEARXNG, "timeout_s": 0}, "timeout_s"),
        ({**SEARXNG, "site": "x"}, "site"),
    ],
)
async def test_mistakes_in_the_configuration(ccr: Make, options: JSON, problem: str) -> None:
    """What cannot work is refused at start, with its place."""
    with pytest.raises(ConfigError, match=r"server_tools\.web-search") as caught:
        router(ccr, options)

    assert problem in str(caught.value)


# The tool by itself.


def reply(body: Any = None, status: int = 200) -> WireReply:
    data = body if isinstance(body, bytes) else json.dumps({"results": ROWS} if body is None else body).encode()
    return WireReply(status=status, body=data)


def tool(*replies: Any, searches: bool = False, **options: Any) -> tuple[Any, list[Any]]:
    """The tool, and the requests that it sends."""
    sent: list[Any] = []
    waiting = list(replies)

    async def fetch(wire: Any) -> WireReply:
        sent.append(wire)
        await asyncio.sleep(0)
        given = waiting.pop(0)
        if isinstance(given, Exception):
            raise given
        if given is None:
            await asyncio.sleep(60)
        return given  # type: ignore[no-any-return]

    async def other(request: Request, route: str) -> JSON:
        raise AssertionError("nobody is asked")

    ctx = ToolContext(
        target=Target(provider="acme", model="Big", base_url="https://acme.example", searches=searches),
        router={},
        config={},
        ask=other,
        fetch=fetch,
        note=lambda key, value: None,
    )
    return plugin.WebSearch(plugin.Options(**{**SEARXNG, **options}), ctx), sent


async def run(made: Any, query: Any = "tower", **fields: Any) -> ToolResult:
    made.on_request(as_request(ask(tools=[{**TOOL, **fields}])))
    answer: ToolResult = await made.run(ToolCall(id="t", name="web_search", input={"query": query}))
    return answer


def shown(result: ToolResult) -> Any:
    """What the client sees: addresses, or the code of an error."""
    content = result.shown[1]["content"]
    return [row["url"] for row in content] if isinstance(content, list) else content["error_code"]


@pytest.mark.parametrize(
    ("tools", "searches", "native"),
    [
        (["web_search"], False, ()),
        ([TOOL], True, ()),
        ([TOOL], False, ("big",)),
        ([TOOL], False, ("acme,*",)),
        ([{"type": "web_fetch_20250910", "name": "web_fetch"}], False, ()),
    ],
)
def test_no_part(tools: list[Any], searches: bool, native: Any) -> None:
    """A request without the server tool, or for somebody who searches, is left alone."""
    made, _ = tool(searches=searches, native=native)

    assert made.on_request(as_request(ask(tools=tools))) is None


def test_only_one_search_is_offered() -> None:
    """Two search tools become one function; other tools keep their places."""
    made, _ = tool()
    body = made.on_request(as_request(ask(tools=["Read", TOOL, {**TOOL, "type": "web_search_20990101"}, "Bash"]))).body

    assert ["Read", "web_search", "Bash"] == [item["name"] for item in body["tools"]]


@pytest.mark.parametrize(
    ("fields", "expected", "words"),
    [
        ({"allowed_domains": ["a.example"]}, ["https://a.example/tower"], "tower site:a.example"),
        ({"allowed_domains": ["b.example/docs"]}, ["https://www.b.example/docs/x"], "tower site:b.example/docs"),
        ({"allowed_domains": ["b.example/blog"]}, [], "tower site:b.example/blog"),
        ({"allowed_domains": ["b.example/*/x"]}, ["https://www.b.example/docs/x"], "tower site:b.example"),
        ({"allowed_domains": ["*.b.example"]}, ["https://www.b.example/docs/x"], "tower site:b.example"),
        (
            {"allowed_domains": ["a.example", "c.example"]},
            ["https://a.example/tower"],
            "tower (site:a.example OR site:c.example)",
        ),
        ({"blocked_domains": ["A.example"]}, ["https://www.b.example/docs/x"], "tower -site:a.example"),
        ({"allowed_domains": None, "blocked_domains": "x"}, None, "tower"),
        ({"allowed_domains": ["xample"]}, [], "tower site:xample"),
    ],
)
async def test_domains(fields: JSON, expected: Any, words: str) -> None:
    """Domains are told to the service, and what it gives all the same is left out; subdomains belong to a domain."""
    made, sent = tool(reply())

    result = await run(made, **fields)

    wanted = [row["url"] for row in ROWS] if expected is None else expected
    assert (wanted, words) == (shown(result), query_of(sent[0].url)["q"])


async def test_max_uses() -> None:
    """After as many searches as the client allows there are no more."""
    made, sent = tool(reply(), reply())
    made.on_request(as_request(ask(tools=[{**TOOL, "max_uses": 2}])))

    results = [await made.run(ToolCall(id="t", name="web_search", input={"query": text})) for text in "abc"]

    assert (2, "max_uses_exceeded", True) == (len(sent), shown(results[2]), results[2].is_error)
    assert "no more searches" in results[2].content


async def test_the_same_words_are_searched_for_once() -> None:
    """Equal searches, also at the same time, share one request."""
    made, sent = tool(reply(), reply())
    made.on_request(as_request(ask(tools=[TOOL])))

    async def once() -> ToolResult:
        answer: ToolResult = await made.run(ToolCall(id="t", name="web_search", input={"query": "x"}))
        return answer

    first, second = await asyncio.gather(once(), once())

    assert (1, first.content) == (len(sent), second.content)


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (reply(b"slow down", 429), "too_many_requests", "searxng answered 429: slow down"),
        (reply(b"", 403), "unavailable", "search.formats"),
        (reply(b"", 500), "unavailable", "searxng answered 500"),
        (reply(b"<html>"), "unavailable", "not JSON"),
        (None, "unavailable", "did not answer in time"),
    ],
)
async def test_failures(given: Any, code: str, words: str) -> None:
    """A failed search is an error of Anthropic's kind for the client, and words for the model."""
    made, _ = tool(given, timeout_s=0.05)

    result = await run(made)

    assert (code, True) == (shown(result), result.is_error)
    assert words in result.content


async def test_a_failure_is_not_remembered() -> None:
    """The next search for the same words is made again."""
    made, sent = tool(reply(status=500), reply())
    made.on_request(as_request(ask(tools=[TOOL])))

    results = [await made.run(ToolCall(id="t", name="web_search", input={"query": "x"})) for _ in range(2)]

    assert ([True, False], 2) == ([result.is_error for result in results], len(sent))


@pytest.mark.parametrize("body", [{}, [], {"results": None}, {"results": [1, {"title": "no address"}]}])
async def test_nothing_found(body: Any) -> None:
    """An answer without pages is a search that found nothing."""
    made, _ = tool(reply(body))

    result = await run(made)

    assert ([], 'Nothing was found for "tower".', False) == (shown(result), result.content, result.is_error)


@pytest.mark.parametrize("query", ["", "  ", None])
async def test_without_words(query: Any) -> None:
    """A call without a query is refused."""
    made, sent = tool()

    assert ("invalid_tool_input", []) == (shown(await run(made, query)), sent)


async def test_as_many_as_wanted() -> None:
    """No more pages than the option says, each with a text of bounded length."""
    many = [{"title": str(n), "url": f"https://{n}.example", "content": "x" * 5000} for n in range(9)]
    made, _ = tool(reply({"results": many}), results=3)

    result = await run(made)

    assert 3 == len(shown(result))
    assert len(result.content) < 3 * 2100


# Later turns.


async def test_earlier_searches_are_text() -> None:
    """What was found earlier is there for the model again; searches of others are left to the dialect."""
    made, _ = tool(reply())
    use, found = (await run(made)).shown
    other = {**found, "tool_use_id": "srvtoolu_2", "content": [{"url": "u", "title": "t", "encrypted_content": "abc"}]}
    history = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [use, found, samples.text("324 m."), {**use, "id": "srvtoolu_2"}, other]},
        {"role": "user", "content": "y"},
    ]
    fresh, _ = tool()

    body = fresh.on_request(as_request(ask(tools=[TOOL], messages=history))).body

    first, *rest = body["messages"][1]["content"]
    assert "324 m & grey" in first["text"]
    assert [samples.text("324 m."), {**use, "id": "srvtoolu_2"}, other] == rest
    assert body["messages"][0] is history[0]


def test_foreign_seals_are_no_searches() -> None:
    """A text that somebody else sealed is not taken for ours."""
    row = {"url": "u", "title": "t", "encrypted_content": seal("gemini", {"text": "x"})}
    block = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [row]}
    message = {"role": "assistant", "content": [block]}

    assert [message] == plugin.recalled([message])


# The services.


def service(name: str, **options: Any) -> Backend:
    return make(name, plugin.Options(**options))


def test_searxng() -> None:
    """The address may have the path already; the language goes along."""
    urls = [
        service("searxng", url=url, language="de").request(Query(text="ü x")).url
        for url in ("http://s.example", "http://s.example/", "https://s.example/sub/search", "s.example")
    ]

    tail = "/search?q=%C3%BC+x&format=json&language=de"
    assert [f"http://s.example{tail}"] * 2 + [f"https://s.example/sub{tail}", f"https://s.example{tail}"] == urls


def test_brave() -> None:
    """The key is in a header, and all snippets of a page are one text."""
    brave = service("brave", api_key="k", language="en-US")
    wire = brave.request(Query(text="x", count=50, country="de"))
    row = {"title": "T", "url": "u", "description": "<strong>a</strong>", "extra_snippets": ["b"], "age": "1 day"}

    assert ("k", "GET") == (wire.headers["x-subscription-token"], wire.method)
    assert wire.url.startswith("https://api.search.brave.com/res/v1/web/search?")
    assert {"q": "x", "count": "20", "country": "DE", "search_lang": "en"} == query_of(wire.url)
    assert [Found(title="T", url="u", text="a b", age="1 day")] == list(brave.found({"web": {"results": [row]}}))
    assert [] == list(brave.found({"web": None}))


def test_tavily() -> None:
    """Domains are fields of the request; a blocked path is not a blocked domain."""
    tavily = service("tavily", api_key="k", url="https://proxy.example")
    query = Query(text="x", allowed=("a.example/docs",), blocked=("b.example", "c.example/x"))
    wire = tavily.request(query)
    row = {"title": "T", "url": "u", "content": "c", "published_date": "2026-01-01"}

    assert ("https://proxy.example/search", "Bearer k") == (wire.url, wire.headers["authorization"])
    expected = {"query": "x", "max_results": 8, "include_domains": ["a.example"], "exclude_domains": ["b.example"]}
    assert expected == wire.body
    assert [Found(title="T", url="u", text="c", age="2026-01-01")] == list(tavily.found({"results": [row]}))


async def test_a_backend_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that an entry point names is a backend."""
    point = importlib.metadata.EntryPoint("mine", f"{__name__}:Mine", backend.GROUP)
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: Mine if self.name == "mine" else None)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    made, sent = tool(reply({"hits": ["https://m.example"]}), backend="mine")

    assert (["https://m.example"], "https://mine.example/tower") == (shown(await run(made)), sent[0].url)


class Mine(Backend):
    """The least that a backend is."""

    def request(self, query: Query) -> Any:
        from ccr_core import WireRequest

        return WireRequest(method="GET", url=f"https://mine.example/{query.text}")

    def found(self, body: Any) -> Any:
        return [Found(title="m", url=url) for url in body["hits"]]
