"""Web searches of others in the history of a request to Anthropic."""

from __future__ import annotations

from typing import Any

import pytest
from ccr_plugin_anthropic.dialect import Anthropic, AnthropicOptions

from ccr_core import JSON, Context, Target, seal
from ccr_core.testing import as_request, ask

SEALED = seal("web-search", {"text": "It is 324 m high."})


def search(encrypted: str = "", ident: str = "srvtoolu_1") -> list[JSON]:
    """The two blocks of a search with one result."""
    result = {"type": "web_search_result", "title": "Tower", "url": "https://t.example", "encrypted_content": encrypted}
    return [
        {"type": "server_tool_use", "id": ident, "name": "web_search", "input": {"query": "tower"}},
        {"type": "web_search_tool_result", "tool_use_id": ident, "content": [result]},
    ]


def cited(index: str) -> JSON:
    where = {
        "type": "web_search_result_location",
        "url": "u",
        "title": "t",
        "cited_text": "x",
        "encrypted_index": index,
    }
    return {"type": "text", "text": "High.", "citations": [where]}


def at(url: str, model: str = "glm", **options: Any) -> Context:
    """The context of an attempt at a service."""
    target = Target(provider="a", model=model, base_url=url, options=AnthropicOptions(**options))
    return Context(exchange_id="test", target=target)


def sent(
    *blocks: JSON, url: str = "https://api.anthropic.com", model: str = "claude-sonnet-4-5", **options: Any
) -> Any:
    """The assistant's blocks as they are sent."""
    history = [{"role": "user", "content": "x"}, {"role": "assistant", "content": list(blocks)}]
    body = ask(messages=[*history, {"role": "user", "content": "y"}])
    ctx = at(url, model, **options)
    wire = Anthropic().encode(as_request(body), ctx)
    assert wire.body is not None
    return wire.body["messages"][1]["content"]


@pytest.mark.parametrize("encrypted", ["", SEALED])
def test_searches_of_others_are_put_into_words(encrypted: str) -> None:
    """Anthropic gets no blocks whose encrypted text is not its own, but what they say."""
    text = {"type": "text", "text": "I search."}
    more = "\n  It is 324 m high." if encrypted else ""
    words = f'Results of a web search for "tower":\n- Tower: https://t.example{more}'

    assert [text, {"type": "text", "text": words}, {"type": "text", "text": "High."}] == sent(
        text, *search(encrypted), cited("")
    )


def test_its_own_searches_stay() -> None:
    """What Anthropic has encrypted goes back untouched; so do failures and searches that found nothing."""
    failed = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    nothing, lost = search(ident="srvtoolu_2"), search(ident="srvtoolu_3")
    blocks = [
        *search("EqgfCioIARgBIiQ3YTAwMjY1Mi1mZjM5"),
        cited("Eo8BCio"),
        *(nothing[0], {**nothing[1], "content": []}),
        *(lost[0], {**lost[1], "content": failed}),
    ]

    assert blocks == sent(*blocks)


def test_compatible_services_get_theirs_back() -> None:
    """A compatible service may leave the encrypted text empty; only what the router sealed is put into words."""
    kept = sent(*search(""), url="https://api.z.example", model="glm")
    worded = sent(*search(SEALED), url="https://api.z.example", model="glm")

    assert (search(""), ["text"]) == (kept, [block["type"] for block in worded])


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("https://api.anthropic.com", {}, True),
        ("https://api.z.example", {}, False),
        ("https://api.z.example", {"first_party": True}, True),
        ("https://api.z.example", {"web_search": True}, True),
        ("https://api.anthropic.com", {"web_search": False}, False),
    ],
)
def test_who_searches(url: str, options: JSON, expected: bool) -> None:
    """Anthropic searches itself, others where the configuration says so."""
    assert expected == Anthropic().searches(at(url, **options).target)


def test_the_tool_passes_a_service_that_runs_it() -> None:
    """``clean`` leaves the tool out, unless the service runs it."""
    body = ask(tools=[{"type": "web_search_20250305", "name": "web_search"}])

    def tools(**options: Any) -> Any:
        ctx = at("https://api.z.example", clean=True, **options)
        return (Anthropic().encode(as_request(body), ctx).body or {}).get("tools")

    assert (None, body["tools"]) == (tools(), tools(web_search=True))
