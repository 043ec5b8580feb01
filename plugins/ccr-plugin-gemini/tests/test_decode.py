"""Answers: what chunks of the Gemini format become."""

from __future__ import annotations

from typing import Any

import pytest
from ccr_plugin_gemini import Gemini, Options
from ccr_plugin_gemini.partial import put
from hypothesis import given, settings
from hypothesis import strategies as st

from ccr_core import (
    JSON,
    Chunk,
    Context,
    Event,
    MessageStart,
    ProtocolError,
    Request,
    StreamError,
    Target,
    UpstreamError,
    assemble,
    unseal,
)
from ccr_core.testing import as_request, ask, check_stream, decode, sse, tool

ASKED = as_request(ask(tools=["Read", "Write"], thinking={"type": "adaptive"}))
PLAIN = as_request(ask())


def chunk(*parts: JSON, finish: str = "", usage: JSON | None = None, **candidate: Any) -> JSON:
    """A chunk with these parts."""
    made: JSON = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **candidate}
    if finish:
        made["finishReason"] = finish
    data: JSON = {"candidates": [made], "modelVersion": "gemini-x", "responseId": "r1"}
    return {**data, "usageMetadata": usage} if usage else data


def end(*parts: JSON, **candidate: Any) -> JSON:
    """A last chunk that ends well."""
    return chunk(*parts, finish="STOP", **candidate)


def context(notes: list[tuple[str, Any]] | None = None) -> Context:
    gathered = notes if notes is not None else []
    target = Target(provider="acme", model="gemini-x", base_url="https://h", options=Options())
    return Context(exchange_id="t", target=target, note=lambda key, value: gathered.append((key, value)))


def stream(*chunks: Any, request: Request = ASKED, notes: list[tuple[str, Any]] | None = None) -> JSON:
    """The message that a stream makes; the stream is lawful."""
    decoded = decode(Gemini(), [sse(*chunks)], request, context(notes))
    if decoded.error is not None:
        raise decoded.error
    check_stream(decoded.sequenced)
    return assemble(decoded.sequenced)


def kinds(message: JSON) -> list[str]:
    return [block["type"] for block in message["content"]]


def seals(message: JSON) -> list[JSON]:
    """What the thinking blocks hold, without the model."""
    out = []
    for block in message["content"]:
        if block["type"] == "thinking":
            opened = unseal(block["signature"])
            assert opened is not None
            assert ("gemini", "gemini-x") == (opened[0], opened[1].pop("m"))
            out.append(opened[1])
    return out


def text(value: str, signature: str = "", thought: bool = False) -> JSON:
    part: JSON = {"text": value}
    if thought:
        part["thought"] = True
    return {**part, "thoughtSignature": signature} if signature else part


def call(name: str = "Read", signature: str = "", **given: Any) -> JSON:
    part: JSON = {"functionCall": {"name": name, "args": given}}
    return {**part, "thoughtSignature": signature} if signature else part


# --- text, thinking, signatures ----------------------------------------------------------------------------------


def test_text() -> None:
    """Pieces of text are one block, and the message has the names that the service gave."""
    message = stream(chunk(text("a")), chunk(text("b"), text("c")), end(text(" ")))

    assert ("r1", "gemini-x", "end_turn") == (message["id"], message["model"], message["stop_reason"])
    assert [{"type": "text", "text": "abc "}] == message["content"]


def test_thoughts() -> None:
    """Thoughts are a thinking block that says whom they come from, also without a signature."""
    message = stream(chunk(text("h", thought=True)), chunk(text("m", thought=True)), end(text("a")))

    assert "hm" == message["content"][0]["thinking"]
    assert ["thinking", "text"] == kinds(message)
    assert [{}] == seals(message)


def test_signature_of_a_text_after_thoughts() -> None:
    """It is in the seal of the thought."""
    message = stream(chunk(text("hm", thought=True)), chunk(text("a", "S")), end(text("b")))

    assert ["thinking", "text"] == kinds(message)
    assert [{"n": "S"}] == seals(message)


def test_signature_of_a_text_without_thoughts() -> None:
    """A thinking block without text carries it, if the client has use for thinking."""
    message = stream(end(text("a", "S")))

    assert ["thinking", "text"] == kinds(message)
    assert "" == message["content"][0]["thinking"]
    assert [{"n": "S"}] == seals(message)

    notes: list[tuple[str, Any]] = []
    assert ["text"] == kinds(stream(end(text("a", "S")), request=PLAIN, notes=notes))
    assert "not kept" in notes[0][1]


def test_signatures_inside_and_after_a_text() -> None:
    """The text stays one block; a thinking block after it carries them."""
    message = stream(chunk(text("a")), chunk(text("b", "P")), chunk(text("c", "Q")), end(text("", "E")))

    assert ["text", "thinking"] == kinds(message)
    assert "abc" == message["content"][0]["text"]
    assert [{"p": "P", "e": ["Q", "E"]}] == seals(message)


def test_signatures_of_thoughts() -> None:
    """A signed thought is complete: the next thought is another block."""
    message = stream(
        chunk(text("a", thought=True)),
        chunk(text("", "T", thought=True)),
        chunk(text("b", "U", thought=True)),
        chunk(text("", "E")),
        end(call()),
    )

    assert [("a", {"t": "T"}), ("b", {"t": "U", "e": ["E"]})] == list(
        zip([block["thinking"] for block in message["content"][:2]], seals(message), strict=True)
    )


def test_signatures_of_calls() -> None:
    """They are in the thought before the calls or in a block made for them, by the id of the call."""
    message = stream(
        chunk(text("hm", thought=True)), chunk(call(signature="A", n=1), call(n=2)), end(call("Write", "B"))
    )

    one, _, three = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
    assert ["thinking", "tool_use", "tool_use", "thinking", "tool_use"] == kinds(message)
    assert [{"c": {one: "A"}}, {"c": {three: "B"}}] == seals(message)
    assert "tool_use" == message["stop_reason"]


def test_signatures_of_calls_are_kept_for_everyone() -> None:
    """Without them the next request would be refused, so that a client which asked for nothing gets them too."""
    assert ["thinking", "tool_use"] == kinds(stream(end(call(signature="A")), request=PLAIN))


def test_signatures_that_are_too_large() -> None:
    """What no client would store is left out, and that is told."""
    notes: list[tuple[str, Any]] = []
    message = stream(end(call(signature="A" * 300_000)), notes=notes)

    assert [{}] == seals(message)
    assert "too large to keep" in notes[0][1]


# --- calls -------------------------------------------------------------------------------------------------------


def test_calls_get_ids_of_their_own() -> None:
    """Missing ids are made, repeated ones replaced, others kept."""
    history = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "old", "name": "Read", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "old", "content": "b"}]},
    ]
    given: list[JSON] = [{"functionCall": {"name": "Read", "args": {}, "id": ident}} for ident in ("new", "new", "old")]
    message = stream(end(*given, call()), request=as_request(ask(messages=history, tools=["Read"])))

    ids = [block["id"] for block in message["content"]]
    assert "new" == ids[0]
    assert [True] * 3 == [ident.startswith("toolu_") for ident in ids[1:]]
    assert 4 == len(set(ids))


def test_names_are_restored() -> None:
    """Shortened names and names with a module before them are those that the client knows; others stay."""
    long = f"mcp__{'x' * 80}"
    request = as_request(ask(tools=[tool(long), tool("Read")]))
    wire = Gemini().encode(request, context()).body
    assert wire is not None
    short = wire["tools"][0]["functionDeclarations"][0]["name"]
    notes: list[tuple[str, Any]] = []
    message = stream(
        end(call(short), call("default_api.Read"), call(f"default_api:{short}"), call("x.Other")),
        request=request,
        notes=notes,
    )

    assert [long, "Read", long, "x.Other"] == [block["name"] for block in message["content"]]
    assert ("tools", "the model called default_api.Read; taken for Read") in notes


def growing(*pieces: JSON, **more: Any) -> JSON:
    return {"functionCall": {"partialArgs": list(pieces), "willContinue": True, **more}}


def test_arguments_in_pieces() -> None:
    """Texts grow, lists and objects are made on the way, and the call ends with its last piece."""
    message = stream(
        chunk({"functionCall": {"name": "Write", "willContinue": True}, "thoughtSignature": "S"}),
        chunk(growing({"jsonPath": "$.a[1].b", "stringValue": "x", "willContinue": True})),
        chunk(text("")),
        chunk(growing({"jsonPath": "$.a[1].b", "stringValue": "y"}, {"jsonPath": "$['c.d']", "boolValue": False})),
        chunk(growing({"jsonPath": '$.e["f"]', "numberValue": 2}, {"jsonPath": "$.g", "nullValue": "NULL_VALUE"})),
        chunk({"functionCall": {}, "thoughtSignature": "Z"}),
        chunk(call("Read", n=1)),
        end(),
    )

    carrier, write, second, read = message["content"]
    assert {"a": [None, {"b": "xy"}], "c.d": False, "e": {"f": 2}, "g": None} == write["input"]
    assert {"n": 1} == read["input"]
    assert ["thinking", "tool_use", "thinking", "tool_use"] == kinds(message)
    assert [{"c": {write["id"]: "S"}}, {"c": {write["id"]: "Z"}}] == seals(message)
    assert carrier["thinking"] == second["thinking"] == ""


def test_a_call_that_never_ends() -> None:
    """The next call, or the end of the answer, ends it; a note says that something may lack."""
    notes: list[tuple[str, Any]] = []
    message = stream(
        chunk({"functionCall": {"name": "Write", "willContinue": True}}),
        chunk(growing({"jsonPath": "$.a", "stringValue": "x"})),
        chunk({"functionCall": {"name": "Read", "args": {"n": 1}}}),
        chunk({"functionCall": {"name": "Write", "willContinue": True, "args": {"b": 1}}}),
        chunk(finish="MAX_TOKENS"),
        notes=notes,
    )

    assert [{"a": "x"}, {"n": 1}, {"b": 1}] == [block["input"] for block in message["content"]]
    assert ("tools", "the arguments of Write may be incomplete") in notes
    assert "max_tokens" == message["stop_reason"]


@pytest.mark.parametrize("path", ["", "$", "a b", "$.a[x]", "$.a[200000]", "$[0]", "$.held.b", "$.list.b"])
def test_pieces_without_a_place(path: str) -> None:
    """A piece whose place cannot be understood breaks the answer, instead of getting lost."""
    with pytest.raises(ProtocolError, match="argument"):
        put({"held": "x", "list": [1]}, {"jsonPath": path, "stringValue": "v"})


def test_calls_that_are_none() -> None:
    """A call without a name breaks the answer; arguments that are no object are kept for the client to refuse."""
    with pytest.raises(ProtocolError, match="without a name"):
        stream(end({"functionCall": {"args": {"a": 1}}}))
    message = stream(end({"functionCall": {"name": "Read", "args": "text"}}))
    assert {"__unparsedToolInput": {"raw": "text", "len": 4}} == message["content"][0]["input"]


# --- Google's own tools ------------------------------------------------------------------------------------------


def test_runs_of_code() -> None:
    """Code and what it printed are blocks of a code execution; the parts themselves go back sealed."""
    code: JSON = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    good: JSON = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}, "thoughtSignature": "S"}
    bad: JSON = {"codeExecutionResult": {"outcome": "OUTCOME_FAILED", "output": "oh"}}
    message = stream(chunk(code), chunk(good), chunk(code, bad), chunk(code), end(text("done")))

    blocks = [block for block in message["content"] if block["type"] != "thinking"]
    assert ["server_tool_use", "code_execution_tool_result"] * 3 + ["text"] == [block["type"] for block in blocks]
    assert {"code": "print(1)"} == blocks[0]["input"]
    assert [("1\n", "", 0), ("", "oh", 1), ("", "", 0)] == [
        (block["content"]["stdout"], block["content"]["stderr"], block["content"]["return_code"])
        for block in blocks[1::2]
    ]
    assert [use["id"] for use in blocks[:6:2]] == [one["tool_use_id"] for one in blocks[1::2]]
    assert [code, good, code, bad, code] == [part for seal in seals(message) for part in seal["r"]]
    assert "end_turn" == message["stop_reason"]


WEB = [{"web": {"uri": "https://a", "title": "A"}}, {"web": {"uri": "https://b", "domain": "b.org"}}]


def grounded(**more: Any) -> JSON:
    support = {"segment": {"endIndex": 2, "text": "ab"}, "groundingChunkIndices": [0, 1, 7]}
    return {"webSearchQueries": ["q", "r"], "groundingChunks": WEB, "groundingSupports": [support], **more}


def test_a_search() -> None:
    """Sources are citations of the text and results of a search, told once however often they came."""
    message = stream(
        chunk(text("a"), groundingMetadata={}),
        chunk(text("b"), groundingMetadata=grounded()),
        end(groundingMetadata=grounded()),
    )

    said, use, found = message["content"]
    assert [("https://a", "A", "ab"), ("https://b", None, "ab")] == [
        (one["url"], one["title"], one["cited_text"]) for one in said["citations"]
    ]
    assert ("web_search", {"query": "q, r"}) == (use["name"], use["input"])
    assert use["id"] == found["tool_use_id"]
    assert [("https://a", "A"), ("https://b", "b.org")] == [(one["url"], one["title"]) for one in found["content"]]


def test_a_search_as_newer_models_tell_it() -> None:
    """The parts of the search go back sealed; the client sees one search with its results."""
    ask_for: JSON = {"toolCall": {"id": "g", "toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["q"]}}}
    told: JSON = {"toolResponse": {"id": "g", "toolType": "GOOGLE_SEARCH_WEB", "response": {}}, "thoughtSignature": "S"}
    usage = {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 3}
    message = stream(end(ask_for, told, text("ab"), groundingMetadata=grounded(), usage=usage))

    use, found = message["content"][-2:]
    assert [{"r": [ask_for], "i": [use["id"]]}, {"r": [told], "i": [use["id"]]}] == seals(message)
    assert "q, r" == use["input"]["query"]
    assert 2 == len(found["content"])
    assert {"web_search_requests": 2} == message["usage"]["server_tool_use"]
    assert (15, 3) == (message["usage"]["input_tokens"], message["usage"]["output_tokens"])


def test_other_tools_of_google() -> None:
    """Tools for which the Messages API has no blocks are shown as calls of a server's tool, with their result."""
    ask_for: JSON = {"toolCall": {"id": "g", "toolType": "GOOGLE_MAPS", "args": {"q": 1}}}
    told: JSON = {"toolResponse": {"id": "g", "toolType": "GOOGLE_MAPS", "response": {"a": "b"}}}
    message = stream(end(ask_for, told, text("a")))

    use, result = (block for block in message["content"] if block["type"].startswith("mcp"))
    assert ("google_maps", {"q": 1}, use["id"]) == (use["name"], use["input"], result["tool_use_id"])
    assert [{"type": "text", "text": '{"a":"b"}'}] == result["content"]
    assert [[use["id"]], [use["id"]]] == [seal["i"] for seal in seals(message)]


def test_pages_and_files() -> None:
    """Fetched pages and files that were found are told; a page that was fetched is no result of a search."""
    pages = [
        {"retrievedUrl": "https://a", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"},
        {"retrievedUrl": "https://x", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_UNSAFE"},
    ]
    file = {"retrievedContext": {"title": "f.md", "text": "the words"}}
    support = {"segment": {"text": "ab"}, "groundingChunkIndices": [1]}
    metadata = {"groundingChunks": [WEB[0], file], "groundingSupports": [support]}
    message = stream(end(text("ab"), urlContextMetadata={"urlMetadata": pages}, groundingMetadata=metadata))

    said, first, page, _, refused, search, found = message["content"]
    assert [("f.md", "the words")] == [(one["source"], one["cited_text"]) for one in said["citations"]]
    assert ("web_fetch", {"url": "https://a"}) == (first["name"], first["input"])
    assert "https://a" == page["content"]["url"]
    assert "url_not_allowed" == refused["content"]["error_code"]
    assert "file_search" == search["name"]
    assert [{"type": "text", "text": "f.md\nthe words"}] == found["content"]
    assert "server_tool_use" not in message["usage"]


def test_sources_without_a_text() -> None:
    """Citations that no text can bear are told; what was recited is a citation too."""
    notes: list[tuple[str, Any]] = []
    stream(end(text("a"), call(), groundingMetadata=grounded()), notes=notes)
    assert ("citations", "2 citations left out: there was no text to bear them") in notes

    recited = {"citationSources": [{"uri": "https://c", "startIndex": 0}]}
    message = stream(end(text("a"), citationMetadata=recited))
    assert ["https://c"] == [one["url"] for one in message["content"][0]["citations"]]


def test_files_in_an_answer() -> None:
    """An image that the model made is a block, with its signature before it."""
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBO"}, "thoughtSignature": "S"}
    message = stream(chunk(text("see"), image), end({"fileData": {"fileUri": "https://f"}}))

    assert ["text", "thinking", "image", "text"] == kinds(message)
    assert {"type": "base64", "media_type": "image/png", "data": "iVBO"} == message["content"][2]["source"]
    assert [{"n": "S"}] == seals(message)
    assert "[file: https://f]" == message["content"][3]["text"]


def test_what_is_not_understood_is_told() -> None:
    """Parts of tomorrow, further candidates and lines that are no JSON do not break an answer."""
    notes: list[tuple[str, Any]] = []
    several = end(text("a"))
    several["candidates"].append({"content": {"parts": [{"text": "b"}]}})
    message = stream(chunk({"hologram": {}}), "text", several, "[DONE]", notes=notes)

    assert [{"type": "text", "text": "a"}] == message["content"]
    assert [
        "a part of the answer has no counterpart: hologram",
        "the provider sent something that is not JSON: text",
        "the provider gave several answers; the first is taken",
    ] == [value for _, value in notes]


# --- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finish", "parts", "expected"),
    [
        ("STOP", [text("a")], "end_turn"),
        ("STOP", [text("a"), call()], "tool_use"),
        ("MAX_TOKENS", [], "max_tokens"),
        ("MAX_TOKENS", [call()], "max_tokens"),
        ("SAFETY", [], "refusal"),
        ("RECITATION", [text("a")], "refusal"),
        ("LANGUAGE", [], "refusal"),
        ("BLOCKLIST", [], "refusal"),
        ("PROHIBITED_CONTENT", [], "refusal"),
        ("SPII", [], "refusal"),
        ("IMAGE_SAFETY", [], "refusal"),
        ("UNEXPECTED_TOOL_CALL", [call("no_such_tool")], "tool_use"),
        ("SOMETHING_NEW", [text("a")], "end_turn"),
    ],
)
def test_stop_reasons(finish: str, parts: list[JSON], expected: str) -> None:
    """Each finish reason has its stop reason."""
    assert expected == stream(chunk(*parts), chunk(finish=finish))["stop_reason"]


@pytest.mark.parametrize(
    "finish",
    ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS", "OTHER"],
)
@pytest.mark.parametrize("parts", [[], [text("I will now")]])
def test_answers_that_went_wrong(finish: str, parts: list[JSON]) -> None:
    """Such an answer is an error that can be tried again, with the service's reason."""
    with pytest.raises(UpstreamError, match=f"{finish}: the model erred") as raised:
        stream(chunk(*parts), chunk(finish=finish, finishMessage="the model erred"))

    assert (500, "api_error") == (raised.value.status, raised.value.kind)


@pytest.mark.parametrize("parts", [[], [text("")], [text("", "S")], [text("hm", thought=True)], [text("\n")]])
def test_empty_answers(parts: list[JSON]) -> None:
    """``STOP`` without text or call is an error, unless a stop sequence may have come first."""
    with pytest.raises(UpstreamError, match="empty answer"):
        stream(end(*parts))
    request = as_request(ask(stop_sequences=["</x>"]))
    assert "end_turn" == stream(end(*parts), request=request)["stop_reason"]


def test_a_blocked_request() -> None:
    """A request that a filter blocked is refused, with the reason where a client may find it."""
    notes: list[tuple[str, Any]] = []
    feedback = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "not so"}
    message = stream({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 3}}, notes=notes)

    assert ([], "refusal", 3) == (message["content"], message["stop_reason"], message["usage"]["input_tokens"])
    words = "acme blocked the request (PROHIBITED_CONTENT: not so)"
    assert {"type": "refusal", "category": None, "explanation": words} == message["stop_details"]
    assert [("refusal", words)] == notes


def test_usage() -> None:
    """Cached tokens are not counted twice, thoughts count as output, the last figures win."""
    message = stream(
        chunk(text("a"), usage={"promptTokenCount": 100, "cachedContentTokenCount": 60}),
        chunk(text("b"), usage={"promptTokenCount": 90, "candidatesTokenCount": 5, "thoughtsTokenCount": 7}),
        end(),
        {"usageMetadata": {"candidatesTokenCount": 6, "cachedContentTokenCount": 60}},
    )

    assert {
        "input_tokens": 30,
        "cache_read_input_tokens": 60,
        "output_tokens": 13,
        "output_tokens_details": {"thinking_tokens": 7},
    } == message["usage"]


def test_the_start_tells_what_is_known() -> None:
    """The size of the prompt is told at once."""
    decoder = Gemini().decoder(ASKED, context())
    (start, *_) = decoder.feed(Chunk(chunk(text("a"), usage={"promptTokenCount": 9, "candidatesTokenCount": 1})))

    assert MessageStart("r1", "gemini-x", {"input_tokens": 9, "cache_read_input_tokens": 0}) == start


ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


def test_errors_inside_a_stream() -> None:
    """An error after some text ends the answer with the service's words and status."""
    decoder = Gemini().decoder(ASKED, context())
    events = [event for data in (chunk(text("a")), ERROR) for event in decoder.feed(Chunk(data))]

    assert StreamError("overloaded_error", "The model is overloaded.", 503) == events[-1]
    with pytest.raises(UpstreamError, match="overloaded"):
        stream(chunk(text("a")), [ERROR])


def body(data: Any) -> list[Event]:
    return list(Gemini().decode_body(data, ASKED, context()))


def test_whole_answers_that_are_none() -> None:
    """An error, also in a list, is an error; something else is no answer."""
    assert [StreamError("overloaded_error", "The model is overloaded.", 503)] == body([ERROR])
    assert [StreamError("overloaded_error", "The model is overloaded.", 503)] == body(ERROR)
    with pytest.raises(ProtocolError, match=r"has no candidates: \{\"a\":1\}"):
        body({"a": 1})


def test_a_whole_answer_needs_no_finish_reason() -> None:
    """A whole body is complete; a stream is not."""
    assert "end_turn" == assemble(body(chunk(text("a"))))["stop_reason"]
    with pytest.raises(ProtocolError, match="ended in the middle"):
        stream(chunk(text("a")))
    with pytest.raises(ProtocolError, match="is empty"):
        stream({"usageMetadata": {}})


# --- nothing is lost ---------------------------------------------------------------------------------------------

words = st.text(alphabet="abc é\n", min_size=1, max_size=8).filter(lambda value: value.strip() == value)
signed = st.sampled_from(["", "S"])
parts = st.one_of(
    st.builds(text, words, signed, st.booleans()),
    st.builds(text, st.just(""), signed),
    st.builds(lambda n, s: call("Read", s, n=n), st.integers(0, 9), signed),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(parts, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_nothing_is_lost_on_the_way_back(given_parts: list[JSON], random: Any) -> None:
    """Texts, thoughts, calls and signatures come through in order, however the parts are spread over chunks."""
    # Each signature is another, so that none can stand for another.
    numbered = [
        {**part, "thoughtSignature": f"S{n}"} if "thoughtSignature" in part else part
        for n, part in enumerate(given_parts)
    ]
    chunks: list[JSON] = []
    for part in [*numbered, text("end")]:
        if chunks and random.random() < 0.4:
            chunks[-1]["candidates"][0]["content"]["parts"].append(part)
        else:
            chunks.append(chunk(part))
    messages = [stream(*chunks, end()), assemble(body(end(*numbered, text("end"))))]

    def said(thought: bool) -> str:
        return "".join(one["text"] for one in numbered if "text" in one and bool(one.get("thought")) == thought)

    for message in messages:
        content = message["content"]
        assert said(False) + "end" == "".join(block["text"] for block in content if block["type"] == "text")
        assert said(True) == "".join(block["thinking"] for block in content if block["type"] == "thinking")
        calls = [one["functionCall"]["args"] for one in numbered if "functionCall" in one]
        assert calls == [block["input"] for block in content if block["type"] == "tool_use"]
        kept: list[str] = []
        for seal in seals(message):
            kept += [seal[name] for name in "tnp" if name in seal]
            kept += [*seal.get("e", ()), *seal.get("c", {}).values()]
        assert sorted(one["thoughtSignature"] for one in numbered if "thoughtSignature" in one) == sorted(kept)
        assert unsealed_parts(message) == joined([*numbered, text("end")])


def unsealed_parts(message: JSON) -> list[JSON]:
    """What the service gets back, without ids."""
    calls = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": ident, "content": "done"} for ident in calls]
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": [*results, {"type": "text", "text": "b"}]},
    ]
    wire = Gemini().encode(as_request(ask(messages=turns)), context()).body
    assert wire is not None
    return joined(
        [
            {**part, "functionCall": {k: v for k, v in part["functionCall"].items() if k != "id"}}
            if "functionCall" in part
            else part
            for part in wire["contents"][1]["parts"]
        ]
    )


def joined(given_parts: list[JSON]) -> list[JSON]:
    """The parts with pieces of one text as one, as a whole answer has them; signatures apart, in order."""
    out: list[JSON] = []
    for part in given_parts:
        plain = {name: value for name, value in part.items() if name != "thoughtSignature"}
        if plain == {"text": ""}:
            continue
        last = out[-1] if out else {}
        if "text" in plain and "text" in last and plain.get("thought") == last.get("thought"):
            out[-1] = {**last, "text": last["text"] + plain["text"]}
        else:
            out.append(plain)
    return out
