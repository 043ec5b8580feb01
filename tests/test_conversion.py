"""Every format of providers, all through the same laws: what is sent is valid and whole, what comes back is whole.

Nothing is lost but what a note names; thinking goes back to those who made it and to nobody else; cache marks, the
client's accounting line and keys of caches are for those who know them; refused parameters are learned from each
provider's words.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import attrs
import orjson
import pytest
from formats import (
    ALL,
    CHAT,
    CLAUDE,
    COMPATIBLE,
    DIALECTS,
    FOUR,
    GEMINI,
    PLUGINS,
    RESPONSES,
    VERTEX_GEMINI,
    Format,
    configuration,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccr_core import JSON, UpstreamError, WireReply, assemble
from ccr_core.testing import (
    Answer,
    Upstream,
    as_request,
    check_stream,
    claude_code_headers,
    claude_code_history,
    claude_code_request,
    decode,
    random_pieces,
)
from ccr_core.testing.pytest_plugin import Make
from ccr_core.testing.samples import text, thinking, tool_use

pytest_plugins = ["ccr_core.testing.pytest_plugin"]

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
NAMED = [pytest.param(each, id=each.name) for each in ALL]
DIALECT_EACH = [pytest.param(each, id=each.dialect) for each in FOUR]


def encoded(one: Format, body: JSON) -> tuple[JSON, str]:
    """What is sent for ``body``, and all that is noted about it."""
    notes: list[tuple[str, Any]] = []
    wire = DIALECTS[one.dialect].encode(as_request(body, claude_code_headers()), one.context(notes))
    assert wire.body is not None
    return wire.body, "\n".join(f"{key}: {value}" for key, value in notes)


# --- the way out -------------------------------------------------------------------------------------------------


@attrs.define
class Conversation:
    """A conversation of Claude Code in the making; each thing in it bears a word that is found nowhere else.

    ``said`` has each word with its kind, in order.
    """

    turns: list[JSON] = attrs.Factory(list)
    said: list[tuple[str, str]] = attrs.Factory(list)
    calls: int = 0

    def word(self, kind: str) -> str:
        """A new word."""
        word = f"w{len(self.said):04}w"
        self.said.append((kind, word))
        return word

    def data(self, kind: str) -> str:
        """A new word as base64, of a length that needs no padding."""
        word = base64.b64encode(f"d{len(self.said):04}d".encode()).decode()
        self.said.append((kind, word))
        return word


def image(made: Conversation) -> JSON:
    """A picture whose data is in the request."""
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": made.data("image")}}


def linked_image(made: Conversation) -> JSON:
    """A picture by its address."""
    return {"type": "image", "source": {"type": "url", "url": f"https://x.example/{made.word('image')}.png"}}


def document(made: Conversation) -> JSON:
    """A file whose data is in the request."""
    source = {"type": "base64", "media_type": "application/pdf", "data": made.data("document")}
    return {"type": "document", "source": source}


def plain_document(made: Conversation) -> JSON:
    """A file that is a text."""
    return {
        "type": "document",
        "title": made.word("title"),
        "source": {"type": "text", "media_type": "text/plain", "data": made.word("text")},
    }


def found(made: Conversation) -> JSON:
    """What a search of the client's own found."""
    content = [{"type": "text", "text": made.word("text")}]
    return {"type": "search_result", "source": "https://x.example", "title": made.word("title"), "content": content}


USER = [lambda made: text(made.word("text")), image, linked_image, document, plain_document, found]
"""What a user says besides results of tools."""


def thought(made: Conversation) -> JSON:
    """A thought of a provider that is none of those here."""
    return thinking(made.word("thinking"), signature=f"signed{made.word('thinking')}")


def hidden_thought(made: Conversation) -> JSON:
    """An encrypted one."""
    return {"type": "redacted_thinking", "data": made.word("thinking")}


def cited(made: Conversation) -> JSON:
    """A text with its source."""
    citation = {"type": "web_search_result_location", "url": "https://x.example", "title": made.word("citation")}
    citation |= {"encrypted_index": "e", "cited_text": "x"}
    return {"type": "text", "text": made.word("text"), "citations": [citation]}


ASSISTANT = [lambda made: text(made.word("text")), thought, hidden_thought, cited]
"""What a model says besides calls."""


def searched(made: Conversation) -> list[JSON]:
    """A search that the provider ran."""
    ident = f"srvtoolu_{len(made.said)}"
    page = {"type": "web_search_result", "url": f"https://x.example/{made.word('url')}", "title": made.word("title")}
    page |= {"encrypted_content": made.word("encrypted"), "page_age": None}
    return [
        {"type": "server_tool_use", "id": ident, "name": "web_search", "input": {"query": made.word("query")}},
        {"type": "web_search_tool_result", "tool_use_id": ident, "content": [page]},
    ]


def results(made: Conversation, kind: int) -> Any:
    """The content of a tool's result."""
    if kind == 0:
        return made.word("text")
    if kind == 1:
        return [text(made.word("text")), text(made.word("text"))]
    if kind == 2:
        return [text(made.word("text")), image(made)]
    if kind == 3:
        return [document(made)]
    if kind == 4:
        return [found(made)]
    return []


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    """Conversations of a few rounds, with blocks of all kinds."""
    made = Conversation()
    made.turns.append({"role": "user", "content": [draw(st.sampled_from(USER))(made) for _ in range(2)]})
    made.turns[0]["content"].append(text(made.word("text")))
    for _ in range(draw(st.integers(1, 3))):
        blocks = [draw(st.sampled_from(ASSISTANT))(made) for _ in range(draw(st.integers(0, 3)))]
        if draw(st.integers(0, 3)) == 0:
            blocks += searched(made)
        asked = []
        for _ in range(draw(st.integers(0, 2))):
            made.calls += 1
            asked.append(f"toolu_{made.calls:02}")
            blocks.append(tool_use("Read", asked[-1], file_path=made.word("text")))
        if not any(block["type"] in ("text", "tool_use") for block in blocks):
            blocks.append(text(made.word("text")))
        made.turns.append({"role": "assistant", "content": blocks})
        given_back: list[JSON] = []
        for ident in asked:
            content = results(made, draw(st.integers(0, 5)))
            result: JSON = {"type": "tool_result", "tool_use_id": ident, "content": content}
            given_back.append(result | ({"is_error": True} if draw(st.booleans()) else {}))
        given_back += [draw(st.sampled_from(USER))(made) for _ in range(draw(st.integers(0, 2)))]
        given_back.append(text(made.word("text")))
        made.turns.append({"role": "user", "content": given_back})
        if draw(st.booleans()):
            made.turns.append({"role": "system", "content": made.word("text")})
    return made


NAMED_IN_NOTES = {
    "thinking": ("thinking", "thoughts"),
    "image": ("image",),
    "document": ("document",),
    "citation": ("citation", "as text", "searches"),
    "encrypted": ("as text", "now text", "search"),
    "url": ("as text", "now text", "search"),
    "query": ("as text", "now text", "search"),
    "title": ("as text", "now text", "title"),
}
"""For each kind of thing that a format may lack: words of the note without which it must not be lost."""


@pytest.mark.parametrize("one", NAMED)
@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(made=conversations())
def test_nothing_is_lost_on_the_way_out(one: Format, made: Conversation) -> None:
    """The provider's own package takes the body; each thing is in it once, in order, or a note says what is not."""
    given_body = {**claude_code_request(), "messages": made.turns}
    before = orjson.dumps(given_body)

    body, notes = encoded(one, given_body)

    sent = json.dumps(body)
    assert before == orjson.dumps(given_body)
    one.accept(body)
    lost = {kind for kind, word in made.said if word not in sent}
    assert [] == [kind for kind in sorted(lost) if not any(word in notes for word in NAMED_IN_NOTES.get(kind, ()))]
    texts = [word for kind, word in made.said if kind in ("text", "query")]
    assert [1] * len(texts) == [sent.count(word) for word in texts if word in sent]
    called = list(_inputs(made.turns))
    assert sorted(called, key=sent.index) == called
    assert "ccr1." not in sent


def _inputs(turns: list[JSON]) -> Iterator[str]:
    for turn in turns:
        for block in turn["content"] if turn["role"] == "assistant" else ():
            if block["type"] == "tool_use":
                yield block["input"]["file_path"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("one", NAMED)
def test_a_conversation_of_claude_code_is_accepted(one: Format, stream: bool) -> None:
    """The provider's own package takes what becomes of a long conversation with every kind of block."""
    body, _ = encoded(one, claude_code_request(history=claude_code_history(), stream=stream))

    one.accept(body)


# --- the way back ------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30).filter(
    lambda words: words.strip() == words and "<" not in words
)


@st.composite
def answers(draw: st.DrawFn) -> list[JSON]:
    """The blocks of an answer: at most one thought, texts that do not touch, calls with any arguments."""
    parts: list[JSON] = [thinking(draw(WORDS))] if draw(st.booleans()) else []
    if draw(st.booleans()):
        parts.append(text(draw(WORDS)))
    inputs = st.dictionaries(st.sampled_from("abc"), WORDS | st.integers(-9, 9) | st.booleans() | st.none())
    for number in range(draw(st.integers(0 if parts and parts[-1]["type"] == "text" else 1, 3))):
        parts.append(tool_use("Read", f"toolu_n{number}", **draw(inputs)))
    return parts


@pytest.mark.parametrize("one", NAMED)
@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(parts=answers(), seed=st.integers(0, 999))
def test_nothing_is_lost_there_and_back(one: Format, parts: list[JSON], seed: int) -> None:
    """An answer, cut anywhere, becomes the same blocks, and these go back to the provider as what it said."""
    asked = as_request(claude_code_request())
    decoded = decode(DIALECTS[one.dialect], random_pieces(one.answer(parts), seed), asked, one.context())

    assert decoded.error is None
    check_stream(decoded.sequenced, complete=True)
    message = assemble(decoded.sequenced)
    said = [_plain(block) for block in message["content"] if _plain(block) != ("thinking", "")]
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    assert [_plain(part) for part in parts] == said
    assert ("tool_use" if calls else "end_turn") == message["stop_reason"]

    given_back = [{"type": "tool_result", "tool_use_id": call["id"], "content": "done"} for call in calls]
    turns = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": [*given_back, text("on")]},
    ]
    body, _ = encoded(one, {**claude_code_request(), "messages": turns})
    one.accept(body)
    texts = set(_strings(body))
    arguments = [found for found in map(_parsed, [*texts, *_objects(body)]) if isinstance(found, dict)]
    assert [] == [part["text"] for part in parts if part["type"] == "text" and part["text"] not in texts]
    assert [] == [part["input"] for part in parts if part["type"] == "tool_use" and part["input"] not in arguments]
    signed = [part for part in parts if part["type"] == "thinking"] or (one in (GEMINI, VERTEX_GEMINI) and parts)
    assert bool(signed) is (one.secret in texts)


def _plain(block: JSON) -> tuple[Any, ...]:
    if block["type"] == "tool_use":
        return block["type"], block["name"], block["input"]
    return block["type"], block[block["type"]]


def _strings(value: Any) -> Iterator[str]:
    """Every text inside of ``value``."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(inner)


def _objects(value: Any) -> Iterator[JSON]:
    """Every object inside of ``value``."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None


# --- thinking belongs to who made it -----------------------------------------------------------------------------

THOUGHT = "I wonder about the file."


async def _turn(ccr: Make, upstream: Upstream, one: Format, history: list[JSON], number: int) -> tuple[Answer, JSON]:
    """One turn with a router that has just started: its answer thinks and calls a tool."""
    parts = [thinking(f"{THOUGHT} {one.name}"), text(f"Said by {one.name}."), tool_use("Read", f"toolu_{number}")]
    upstream.stream(one.answer(parts))
    answer = await ccr(configuration(ALL), plugins=PLUGINS).messages(
        claude_code_request(model=one.route, history=history), headers=claude_code_headers()
    )
    history.append({"role": "assistant", "content": answer.content})
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": f"result {number}"} for call in answer.tool_uses
    ]
    history.append({"role": "user", "content": results})
    return answer, upstream.requests[-1].json


@pytest.mark.parametrize("second", NAMED)
@pytest.mark.parametrize("first", NAMED)
async def test_thinking_has_provenance(ccr: Make, upstream: Upstream, first: Format, second: Format) -> None:
    """Across turns, restarts and changes of the model each gets back its own family's thinking, and nobody else's."""
    history: list[JSON] = []
    one, _ = await _turn(ccr, upstream, first, history, 1)
    two, to_second = await _turn(ccr, upstream, second, history, 2)
    three, to_first = await _turn(ccr, upstream, first, history, 3)

    assert [200, 200, 200] == [one.status, two.status, three.status]
    assert [1, 1, 1] == [len(answer.tool_uses) for answer in (one, two, three)]
    second.accept(to_second)
    first.accept(to_first)
    sent, back = json.dumps(to_second), json.dumps(to_first)
    assert "ccr1." not in sent + back
    assert [True] * 4 == [words in back for words in ("Said by", "result 1", "result 2", first.secret)]
    assert (first.family == second.family) is (first.secret in sent)
    assert (first.family == second.family) is (second.secret in back)
    if first.family != second.family:
        assert f"{THOUGHT} {first.name}" not in sent
        assert f"Said by {first.name}." in sent
        assert any("thinking" in str(value) or "thinking" in key for key, value in two.notes)
        assert any("thinking" in str(value) or "thinking" in key for key, value in three.notes)


# --- caches ------------------------------------------------------------------------------------------------------


def _marks(body: JSON) -> int:
    return sum("cache_control" in each or "prompt_cache_breakpoint" in each for each in _objects(body))


MARKING = [
    (CLAUDE, 4),
    (COMPATIBLE, 4),
    (CHAT, 0),
    (RESPONSES, 0),
    (GEMINI, 0),
    (attrs.evolve(CHAT, options={"cache_marks": 4}), 4),
    (attrs.evolve(RESPONSES, options={"cache_marks": 4}), 4),
]


@pytest.mark.parametrize(("one", "expected"), MARKING)
def test_cache_marks(one: Format, expected: int) -> None:
    """Those who understand cache marks get four at most, the last ones among them; for others they are removed."""
    ephemeral = {"cache_control": {"type": "ephemeral"}}
    history = [
        {"role": role, "content": [{**text(f"{role} {n}"), **ephemeral}]}
        for n in range(6)
        for role in ("assistant", "user")
    ]
    body, notes = encoded(one, claude_code_request(history=history))

    assert expected == _marks(body)
    assert ("above the limit" in notes) is bool(expected)


@pytest.mark.parametrize("one", NAMED)
def test_the_accounting_line_is_for_anthropic(one: Format) -> None:
    """It changes with every request, so it would spoil every other provider's cache, and tells them of the client."""
    body, _ = encoded(one, claude_code_request())

    assert (one is CLAUDE) is ("x-anthropic-billing-header" in json.dumps(body))


KEYED = [
    (RESPONSES, "prompt_cache_key"),
    (attrs.evolve(CHAT, options={"session_field": "prompt_cache_key"}), "prompt_cache_key"),
]


@pytest.mark.parametrize(("one", "field"), KEYED)
def test_the_key_of_the_cache_is_stable(one: Format, field: str) -> None:
    """It is the same for a whole session, says nothing of it, and differs from those of others."""
    other = "5e551074-0000-4000-8000-000000000002"
    first, _ = encoded(one, claude_code_request())
    later, _ = encoded(one, claude_code_request(history=claude_code_history()))
    wire = DIALECTS[one.dialect].encode(
        as_request(claude_code_request(session=other), claude_code_headers(session=other)), one.context()
    )
    assert wire.body is not None

    assert first[field] == later[field]
    assert first[field] != wire.body[field]
    assert "5e551074" not in json.dumps(first)


@pytest.mark.parametrize("one", NAMED)
def test_what_was_sent_once_is_sent_again(one: Format) -> None:
    """The next turn begins with the bytes of the one before: nothing that is sent depends on the turn."""
    history = claude_code_history()[:2]
    more = [{"role": "assistant", "content": "Well."}, {"role": "user", "content": "On."}]
    once, _ = encoded(one, claude_code_request(history=history))
    again, _ = encoded(one, claude_code_request(history=[*history, *more]))
    fields = {"openai-responses": "input", "gemini": "contents", "vertex-gemini": "contents"}
    field = fields.get(one.dialect, "messages")

    unmarked = [json.dumps(_unmarked(body[field])) for body in (once, again)]
    assert unmarked[1].startswith(unmarked[0][:-200])
    assert {name: value for name, value in once.items() if name != field} == {
        name: value for name, value in again.items() if name != field
    }


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unmarked(inner) for name, inner in value.items() if name != "cache_control"}
    return [_unmarked(one) for one in value] if isinstance(value, list) else value


# --- what is refused is learned ----------------------------------------------------------------------------------


def said(message: str, **more: Any) -> JSON:
    """A refusal as most providers write it."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


def status(message: str) -> JSON:
    """A refusal as Google writes it."""
    return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


def refused(message: str) -> JSON:
    """A refusal as Anthropic writes it."""
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "req_1"}


LESSONS: list[tuple[Format, str, int, Any, str]] = [
    (
        CHAT,
        "openai-value",
        400,
        said(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is"
            " supported.",
            param="temperature",
            code="unsupported_value",
        ),
        "temperature",
    ),
    (
        CHAT,
        "openai-limit",
        400,
        said(
            "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you provided"
            " 32000.",
            param="max_tokens",
        ),
        "max_tokens=16384",
    ),
    (CHAT, "azure", 400, said("Unrecognized request argument supplied: stream_options"), "stream_options"),
    (CHAT, "groq", 400, said("property 'reasoning' is unsupported"), "reasoning"),
    (
        CHAT,
        "groq-limit",
        400,
        said(
            "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the"
            " `context_window` for this model"
        ),
        "max_tokens=8192",
    ),
    (
        CHAT,
        "mistral",
        422,
        {
            "object": "error",
            "message": {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", "reasoning"], "msg": "Extra inputs are not permitted"}
                ]
            },
            "type": "invalid_request_error",
        },
        "reasoning",
    ),
    (
        CHAT,
        "deepseek",
        400,
        said("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", code="invalid_request_error"),
        "max_tokens=8192",
    ),
    (
        CHAT,
        "dashscope",
        400,
        said("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]"),
        "max_tokens=8192",
    ),
    (
        CHAT,
        "cerebras",
        400,
        {"message": "property 'body.reasoning' is unsupported", "type": "invalid_request_error", "code": "wrong_api"},
        "reasoning",
    ),
    (
        CHAT,
        "xai",
        400,
        {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: stop"},
        "stop",
    ),
    (CHAT, "fireworks", 400, said("Extra inputs are not permitted, field: 'reasoning', value: {}"), "reasoning"),
    (CHAT, "moonshot", 400, said("invalid temperature: only 1 is allowed for this model"), "temperature"),
    (CHAT, "ollama", 400, said('"gemma3" does not support thinking'), "reasoning"),
    (
        RESPONSES,
        "openai",
        400,
        said("Unsupported parameter: 'reasoning.effort' is not supported with this model.", param="reasoning.effort"),
        "reasoning.effort",
    ),
    (
        RESPONSES,
        "openai-include",
        400,
        said("Encrypted content is not supported with this model.", param="include"),
        "include",
    ),
    (
        RESPONSES,
        "openai-summary",
        400,
        said("Your organization must be verified to generate reasoning summaries.", param="reasoning.summary"),
        "reasoning.summary",
    ),
    (RESPONSES, "chatgpt", 400, {"detail": "Unsupported parameter: max_output_tokens"}, "max_output_tokens"),
    (
        GEMINI,
        "google",
        400,
        status(
            "Invalid JSON payload received. Unknown name \"thinkingLevel\" at 'generation_config.thinking_config':"
            " Cannot find field."
        ),
        "generationConfig.thinkingConfig.thinkingLevel",
    ),
    (
        GEMINI,
        "google-limit",
        400,
        status(
            "Unable to submit request because it has a maxOutputTokens value of 32000 but the supported range is from 1"
            " (inclusive) to 8193 (exclusive). Update the value and try again."
        ),
        "generationConfig.maxOutputTokens=8192",
    ),
    (
        GEMINI,
        "google-thinking",
        400,
        status("Thinking is not enabled for models/gemini-3-flash-preview"),
        "generationConfig.thinkingConfig",
    ),
    (
        CLAUDE,
        "limit",
        400,
        refused("max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude-x"),
        "max_tokens=8192",
    ),
    (
        CLAUDE,
        "extra",
        400,
        refused("context_management: Extra inputs are not permitted"),
        "context_management",
    ),
    (
        CLAUDE,
        "pair",
        400,
        refused("`temperature` and `top_p` cannot both be specified for this model. Please use only one."),
        "top_p",
    ),
]


@pytest.mark.parametrize(
    ("one", "status", "words", "expected"),
    [pytest.param(one, *rest, id=f"{one.dialect}-{name}") for one, name, *rest in LESSONS],
)
async def test_refused_parameters_are_learned(
    ccr: Make, upstream: Upstream, one: Format, status: int, words: Any, expected: str
) -> None:
    """A provider's refusal is corrected at once, in that field only, and the next request begins corrected."""
    upstream.reply(words, status).then.stream(one.answer([text("Good.")])).then.stream(one.answer([text("Again.")]))
    router = ccr(configuration(ALL), plugins=PLUGINS)
    sampling = {"temperature": 0.2, "top_p": 0.9, "stop_sequences": ["END"]}
    if one is CLAUDE:
        sampling["thinking"] = {"type": "disabled"}
    body = claude_code_request(model=one.route, **sampling)

    first = await router.messages(body, headers=claude_code_headers())
    second = await router.messages(body, headers=claude_code_headers())

    before, after, later = [received.json for received in upstream.requests]
    path, _, most = expected.partition("=")
    wanted = json.loads(json.dumps(before))
    *way, last = path.split(".")
    inner = wanted
    for name in way:
        inner = inner[name]
    assert last in inner
    if most:
        inner[last] = int(most)
    else:
        del inner[last]
    assert (200, 200, "Good.", "Again.") == (first.status, second.status, first.text, second.text)
    assert wanted == after
    assert after == later
    assert [f"{'lowered' if most else 'left out'} {path}"] == [
        str(value).partition(" to ")[0].partition(":")[0] for key, value in second.notes if key == "learned"
    ]


# --- thinking that is refused ------------------------------------------------------------------------------------

UNREADABLE: list[tuple[Format, int, Any]] = [
    (
        CLAUDE,
        400,
        refused("messages.3.content.0: Invalid `signature` in `thinking` block"),
    ),
    (
        CHAT,
        400,
        said(
            "Provider returned error",
            metadata={"raw": json.dumps(refused("messages.3.content.0: Invalid `signature` in `thinking` block"))},
        ),
    ),
    (
        RESPONSES,
        400,
        said(
            "The encrypted content gAAA...=== could not be verified.",
            code="invalid_encrypted_content",
        ),
    ),
    (GEMINI, 400, status("Corrupted thought signature.")),
]


@pytest.mark.parametrize(("one", "code", "words"), [pytest.param(*each, id=each[0].dialect) for each in UNREADABLE])
async def test_thinking_that_is_refused_can_be_left_out(
    ccr: Make, upstream: Upstream, one: Format, code: int, words: Any
) -> None:
    """What a provider cannot read of its own thinking is what is left out, and nothing else; other refusals are not."""
    history: list[JSON] = []
    await _turn(ccr, upstream, one, history, 1)
    body, _ = encoded(one, claude_code_request(model=one.route, history=history))
    before = orjson.dumps(body)
    dialect = DIALECTS[one.dialect]
    error = dialect.decode_error(WireReply(status=code, body=json.dumps(words).encode()))

    mended = dialect.mend(error, body)

    assert before == orjson.dumps(body)
    assert mended is not None
    one.accept(mended)
    assert (True, False) == (one.secret in json.dumps(body), one.secret in json.dumps(mended))
    kept = {"Said by", "result 1", "toolu_1"} - ({"toolu_1"} if one is GEMINI else set())
    assert [] == [word for word in kept if word not in json.dumps(mended)]
    assert dialect.mend(error, mended) is None
    assert dialect.mend(UpstreamError("something is wrong", 400), body) is None
    assert dialect.mend(UpstreamError(error.message, 429), body) is None


@pytest.mark.parametrize(("one", "code", "words"), [pytest.param(*each, id=each[0].dialect) for each in UNREADABLE])
async def test_thinking_that_is_refused_is_left_out(
    ccr: Make, upstream: Upstream, one: Format, code: int, words: Any
) -> None:
    """
    The request is sent again at once, without the thinking; if that is refused too, the client is told.  Once it has
    been answered so, the same thinking is not sent any more.
    """
    history: list[JSON] = []
    await _turn(ccr, upstream, one, history, 1)
    body = claude_code_request(model=one.route, history=history)
    router = ccr(configuration(ALL), plugins=PLUGINS)
    upstream.reply(words, code).then.reply(words, code)
    bad = await router.messages(body, headers=claude_code_headers())
    upstream.reply(words, code).then.stream(one.answer([text("Good.")]))
    good = await router.messages(body, headers=claude_code_headers())
    upstream.stream(one.answer([text("Better.")]))
    better = await router.messages(body, headers=claude_code_headers())

    secrets = [one.secret in json.dumps(received.json) for received in upstream.requests]
    assert [False, True, False, True, False, False] == secrets
    assert (code, "Good.", "Better.") == (bad.status, good.text, better.text)
    assert [["mended"]] * 3 == [[key for key, _ in each.notes if key == "mended"] for each in (bad, good, better)]


def test_every_dialect_is_tried() -> None:
    """The laws above hold for each dialect of the packages that are tried, and for two services of one."""
    assert {each.dialect for each in ALL} == set(DIALECTS)
    assert len({each.secret for each in ALL}) == len(ALL)
