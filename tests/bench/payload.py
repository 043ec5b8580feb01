"""What goes over the wire in a benchmark: request bodies, provider answers, and the check of what came back.

Everything here is deterministic, so that the upstream stand-in and the load generator, two processes that
share nothing but this module, agree on every byte: the one serialises an answer from `(events, size)`, the
other knows from the same two numbers which text must arrive.
"""

import json
import random
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import attrs

JSON = dict[str, Any]

ANTHROPIC = "anthropic"
OPENAI_CHAT = "openai-chat"
OPENAI_RESPONSES = "openai-responses"
GEMINI = "gemini"
PATHS = {
    "/v1/messages": ANTHROPIC,
    "/v1/chat/completions": OPENAI_CHAT,
    "/v1/responses": OPENAI_RESPONSES,
    "/v1beta/models/m:streamGenerateContent": GEMINI,
    "/v1beta/models/m:generateContent": GEMINI,
}
"""What the stand-in answers, and in which dialect; Gemini's path says whether a stream is wanted."""

PROMPT_TOKENS = 14_321
"""Input tokens that every answer reports; the true number does not matter, only that it arrives."""

# 23 pieces (a prime number, so that no pattern of reads lines up with them) with all that escaping, UTF-8
# and line-based parsers can get wrong: quotes, backslashes, new lines, the words of SSE itself, non-ASCII.
_PIECES = (
    "The", " router", " reads", " one", ' "event"', " at", " a", " time", ",\n", " so", " nothing",
    " waits", " — ", "naïve", " C:\\tmp\\x", "\n\ndata: {}", "\n\n", "日本", " 🙂", " and", " goes", " on", ". ",
)  # fmt: skip


@cache
def pieces(events: int, size: int) -> tuple[str, ...]:
    """Return the text of each delta of an answer with `events` deltas.

    `size` 0 gives pieces of a few characters, as models stream them; otherwise each piece has `size`
    characters.  Every seventh piece holds its own number, so a lost, doubled or moved piece shows.
    """
    found = []
    for number in range(events):
        piece = f" {number}" if number % 7 == 3 else _PIECES[number % len(_PIECES)]
        if size:
            piece = (piece * (size // len(piece) + 1))[:size]
        found.append(piece)
    return tuple(found)


def answer_text(events: int, size: int) -> str:
    """Return the whole text that a client must have received from such an answer."""
    return "".join(pieces(events, size))


def dump(value: object) -> bytes:
    """Serialise compactly, with raw UTF-8, the way providers do."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# --- provider answers ---------------------------------------------------------------------------------


@attrs.frozen
class Answer:
    """One pre-serialised provider answer: HTTP head, steps of a stream, or the whole plain reply.

    A step is what leaves at one moment of a paced stream; step 0 opens the message, each further step is one
    delta, the last one also carries the end.  Each server-sent event is an HTTP chunk of its own.
    """

    head: bytes
    steps: tuple[bytes, ...]
    plain: bytes

    def writes(self, count: int) -> list[bytes]:
        """Return the whole answer as `count` pieces of about equal length; with 0, as one piece per step."""
        if not count:
            return [self.head + self.steps[0], *self.steps[1:]]
        whole = self.head + b"".join(self.steps)
        length = -(-len(whole) // count)
        return [whole[start : start + length] for start in range(0, len(whole), length)]


@cache
def answer(dialect: str, events: int, size: int) -> Answer:
    """Build the answer of a dialect; `events` is the number of text deltas, `size` as in `pieces`."""
    build, build_plain = _BUILDERS[dialect]
    steps = [b"".join(_chunk(event) for event in step) for step in build(pieces(events, size))]
    body = dump(build_plain(answer_text(events, size), events))
    return Answer(
        head=_head("text/event-stream; charset=utf-8", b"transfer-encoding: chunked"),
        steps=(*steps[:-1], steps[-1] + b"0\r\n\r\n"),
        plain=_head("application/json", b"content-length: %d" % len(body)) + body,
    )


def _head(content_type: str, framing: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncache-control: no-cache\r\nrequest-id: req_bench\r\n%s\r\n\r\n" % (
        content_type.encode(),
        framing,
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _anthropic_event(kind: str, **fields: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), dump({"type": kind, **fields}))


def _anthropic_message(content: list[JSON], stop_reason: str | None, output_tokens: int) -> JSON:
    return {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": PROMPT_TOKENS,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
        },
    }


def _anthropic_steps(texts: Iterable[str]) -> Iterator[list[bytes]]:
    held = [
        _anthropic_event("message_start", message=_anthropic_message([], None, 1)),
        _anthropic_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        _anthropic_event("ping"),
    ]
    count = 0
    for count, text in enumerate(texts, 1):  # noqa: B007 - the last number is used below
        yield held
        held = [_anthropic_event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})]
    yield [
        *held,
        _anthropic_event("content_block_stop", index=0),
        _anthropic_event(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": count},
        ),
        _anthropic_event("message_stop"),
    ]


def _anthropic_plain(text: str, events: int) -> JSON:
    return _anthropic_message([{"type": "text", "text": text}], "end_turn", events)


def _chat_usage(events: int) -> JSON:
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": events, "total_tokens": PROMPT_TOKENS + events}


def _chat_event(choices: list[JSON], usage: JSON | None = None) -> bytes:
    return b"data: %s\n\n" % dump(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion.chunk",
            "created": 1_760_000_000,
            "model": "m",
            "system_fingerprint": "fp_bench",
            "choices": choices,
            "usage": usage,
        }
    )


def _chat_choice(delta: JSON, finish_reason: str | None = None) -> list[JSON]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


def _chat_steps(texts: Iterable[str]) -> Iterator[list[bytes]]:
    held = [_chat_event(_chat_choice({"role": "assistant", "content": ""}))]
    count = 0
    for count, text in enumerate(texts, 1):  # noqa: B007 - the last number is used below
        yield held
        held = [_chat_event(_chat_choice({"content": text}))]
    yield [
        *held,
        _chat_event(_chat_choice({}, "stop")),
        _chat_event([], _chat_usage(count)),
        b"data: [DONE]\n\n",
    ]


def _chat_plain(text: str, events: int) -> JSON:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "m",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _chat_usage(events),
    }


def _responses_event(number: int, kind: str, **fields: object) -> bytes:
    data = {"type": kind, "sequence_number": number, **fields}
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), dump(data))


def _responses_item(text: str, status: str) -> JSON:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": "msg_bench",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [part] if text else [],
    }


def _responses_whole(text: str, events: int, status: str) -> JSON:
    usage = {
        "input_tokens": PROMPT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": events,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": PROMPT_TOKENS + events,
    }
    done = status == "completed"
    return {
        "id": "resp_bench",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": "m",
        "output": [_responses_item(text, status)] if done else [],
        "usage": usage if done else None,
    }


def _responses_steps(texts: Iterable[str]) -> Iterator[list[bytes]]:
    place = {"item_id": "msg_bench", "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    begun = _responses_whole("", 0, "in_progress")
    held = [
        _responses_event(0, "response.created", response=begun),
        _responses_event(1, "response.in_progress", response=begun),
        _responses_event(2, "response.output_item.added", output_index=0, item=_responses_item("", "in_progress")),
        _responses_event(3, "response.content_part.added", **place, part=empty),
    ]
    said: list[str] = []
    for text in texts:
        yield held
        said.append(text)
        held = [_responses_event(3 + len(said), "response.output_text.delta", **place, delta=text, logprobs=[])]
    whole, last = "".join(said), 4 + len(said)
    yield [
        *held,
        _responses_event(last, "response.output_text.done", **place, text=whole, logprobs=[]),
        _responses_event(last + 1, "response.content_part.done", **place, part={**empty, "text": whole}),
        _responses_event(
            last + 2, "response.output_item.done", output_index=0, item=_responses_item(whole, "completed")
        ),
        _responses_event(last + 3, "response.completed", response=_responses_whole(whole, len(said), "completed")),
    ]


def _responses_plain(text: str, events: int) -> JSON:
    return _responses_whole(text, events, "completed")


def _gemini_whole(text: str, events: int, finish: str | None) -> JSON:
    candidate: JSON = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    usage = {
        "promptTokenCount": PROMPT_TOKENS,
        "candidatesTokenCount": events,
        "totalTokenCount": PROMPT_TOKENS + events,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": PROMPT_TOKENS}],
    }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "bench"}


def _gemini_steps(texts: Iterable[str]) -> Iterator[list[bytes]]:
    # Its first piece of text opens the message: there is no greeting.
    known = list(texts)
    for count, text in enumerate(known, 1):
        finish = "STOP" if count == len(known) else None
        yield [b"data: %s\r\n\r\n" % dump(_gemini_whole(text, count, finish))]


def _gemini_plain(text: str, events: int) -> JSON:
    return _gemini_whole(text, events, "STOP")


_BUILDERS = {
    ANTHROPIC: (_anthropic_steps, _anthropic_plain),
    OPENAI_CHAT: (_chat_steps, _chat_plain),
    OPENAI_RESPONSES: (_responses_steps, _responses_plain),
    GEMINI: (_gemini_steps, _gemini_plain),
}


# --- the check of what came back ----------------------------------------------------------------------


class Checker:
    """Says what is wrong with an Anthropic answer that should carry the text of `(events, size)`.

    Every byte of every answer is looked at, but the costly way (parse each event, put the text together) is
    taken only for answers not seen before: one whose bytes after the first event equal those of an answer
    already found right is right too.  The first event holds a message id that may differ, so it is parsed
    each time.
    """

    KEPT = 8

    def __init__(self, events: int, size: int, usage: bool = True) -> None:
        self.events = events
        self.usage = usage
        self.text = answer_text(events, size)
        self._right: list[bytes] = []

    def stream(self, body: bytes) -> str | None:
        """Return what is wrong with a streamed body, or None."""
        cut = body.find(b"\n\n") + 2
        rest = body[cut:]
        if rest in self._right:
            return _first_event_problem(body[:cut])
        problem = _first_event_problem(body[:cut]) or self._stream_problem(body)
        if problem is None:
            self._right = [rest, *self._right[: self.KEPT - 1]]
        return problem

    def plain(self, body: bytes) -> str | None:
        """Return what is wrong with an answer that is one JSON message, or None."""
        try:
            message = json.loads(body)
            text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
            stop, usage = message["stop_reason"], message["usage"]["output_tokens"]
        except (ValueError, KeyError, TypeError) as error:
            return f"not a message: {error!r}"
        return self._end_problem(text, stop, usage)

    def _end_problem(self, text: str, stop_reason: object, output_tokens: object) -> str | None:
        if text != self.text:
            return f"text differs {_first_difference(self.text, text)}"
        if stop_reason != "end_turn":
            return f"stop_reason is {stop_reason!r}"
        if self.usage and output_tokens != self.events:
            return f"output_tokens is {output_tokens!r}, not {self.events}"
        return None

    def _stream_problem(self, body: bytes) -> str | None:
        texts: list[str] = []
        open_block: int | None = None
        stop_reason: object = None
        output_tokens: object = None
        ended = False
        if not body.endswith(b"\n\n"):
            return "the stream ends inside an event"
        for raw in body[:-2].split(b"\n\n"):
            name, event = _parse_event(raw)
            kind = event.get("type")
            if name != kind:
                return f"event {name!r} carries type {kind!r}"
            if ended:
                return f"{kind} after message_stop"
            if kind == "content_block_start":
                if open_block is not None:
                    return "a block starts inside another"
                open_block = event["index"]
            elif kind == "content_block_delta":
                if event["index"] != open_block:
                    return f"delta for block {event['index']} while {open_block} is open"
                texts.append(event["delta"].get("text", ""))
            elif kind == "content_block_stop":
                open_block = None
            elif kind == "message_delta":
                stop_reason, output_tokens = event["delta"]["stop_reason"], event["usage"]["output_tokens"]
            elif kind == "message_stop":
                ended = True
            elif kind == "error":
                return f"error event: {event.get('error')}"
        if not ended:
            return "no message_stop"
        return self._end_problem("".join(texts), stop_reason, output_tokens)


def _parse_event(raw: bytes) -> tuple[str, JSON]:
    name, data = "", b""
    for line in raw.split(b"\n"):
        if line.startswith(b"event:"):
            name = line[6:].strip().decode()
        elif line.startswith(b"data:"):
            data += line[5:]
    try:
        event = json.loads(data)
    except ValueError:
        event = None
    return name, event if isinstance(event, dict) else {"type": "not JSON"}


def _first_event_problem(raw: bytes) -> str | None:
    name, event = _parse_event(raw.rstrip(b"\n"))
    if not name == event.get("type") == "message_start":
        return f"the first event is {name!r}: {raw[:80]!r}"
    return None


def _first_difference(expected: str, actual: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(expected, actual, strict=False)) if a != b), None)
    if at is None:
        at = min(len(expected), len(actual))
    return f"at {at} of {len(expected)} (got {len(actual)}): {expected[at : at + 20]!r} != {actual[at : at + 20]!r}"


# --- request bodies -----------------------------------------------------------------------------------

_WORDS = """
    module build retry worker index parser schema header socket buffer window handle branch commit
    review status token cache limit default option record stream reader writer result caller thread
    signal folder project config report output policy update change follow ensure return before always
    never unless when
""".split()  # noqa: SIM905 - words in lines read better than a list


@attrs.frozen
class BodyTemplate:
    """A request body with a place for a number, so that no two requests of a run are equal bytes."""

    before: bytes
    after: bytes

    def render(self, number: int) -> bytes:
        """Return the body of request `number`; all have the same length."""
        return b"".join(self.pieces(number))

    def pieces(self, number: int) -> tuple[bytes, ...]:
        """Return the same in pieces, of which only the number is made for it."""
        return self.before, b"%08d" % (number % 100_000_000), self.after


@attrs.frozen
class GrowingBody:
    """A conversation that is longer by a message with each request: number ``n`` has ``n`` messages more."""

    before: bytes
    after: bytes

    def render(self, number: int) -> bytes:
        """Return the body of request `number`."""
        return b"".join(self.pieces(number))

    def pieces(self, number: int) -> tuple[bytes, ...]:
        """Return the same in pieces."""
        return self.before, b"".join(_ADDED % (_ROLES[each % 2], each) for each in range(number)), self.after


_ROLES = (b"assistant", b"user")
_ADDED = b',{"role":"%s","content":"Message %06d, ' + b"and what there is to be said of it. " * 12 + b'"}'


@cache
def growing_body(size: int, model: str) -> GrowingBody:
    """Return a conversation of `size` bytes as in `request_body`, to grow from there."""
    body = json.loads(request_body(size, model).render(0))
    whole = dump(body)
    place = whole.index(b',"system":')
    assert whole[place - 1 : place] == b"]"
    return GrowingBody(whole[: place - 1], whole[place - 1 :])


@cache
def request_body(size: int, model: str, stream: bool = True) -> BodyTemplate:
    """Return a body of about `size` bytes, in the shape of a coding client's main request.

    Three system blocks, twelve tools with schemas, adaptive thinking, metadata, cache marks, and a history
    of thinking, tool calls and results that grows until the size is reached.  Below about 8 kB only the
    fixed parts remain, shortened.
    """
    rng = random.Random(size)
    fixed = min(size, 60_000) // 2
    body: JSON = {
        "model": model,
        "messages": [],
        "system": [
            {"type": "text", "text": "bench-accounting: version=1.0.0; entrypoint=bench; " + "0" * 22},
            {"type": "text", "text": "You are a careful coding assistant.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": _prose(rng, fixed // 4), "cache_control": {"type": "ephemeral"}},
        ],
        "tools": [_tool(rng, name, fixed // 18) for name in _TOOLS],
        "metadata": {"user_id": dump({"device_id": "0" * 64, "account_uuid": "", "session_id": _SESSION}).decode()},
        "max_tokens": 32_000,
        "thinking": {"type": "adaptive", "display": "updates"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": stream,
    }
    if not stream:
        del body["stream"]
    reminder = f"<system-reminder>\n{_prose(rng, fixed // 10)}\n</system-reminder>"
    messages: list[JSON] = body["messages"]
    messages.append(
        {"role": "user", "content": [_text(reminder), _text("Find out why the retry test fails and repair it.")]}
    )
    last = {
        "role": "user",
        "content": [{"type": "text", "text": "request #NUMBER#, go on", "cache_control": {"type": "ephemeral"}}],
    }
    left = size - len(dump(body)) - len(dump(last))
    turn = 0
    while left > 0:
        added = _turn(rng, turn, left)
        left -= len(dump(added)) - 1
        messages.extend(added)
        turn += 1
    messages.append(last)
    before, after = dump(body).split(b"#NUMBER#")
    return BodyTemplate(before, after)


_SESSION = "3f0c8a52-6d1e-4b7f-9a44-0c5d2e7b9f10"
_TOOLS = ("Agent", "Bash", "Edit", "Glob", "Grep", "Notebook", "Plan", "Read", "Search", "Skill", "Todo", "Write")


def _text(text: str) -> JSON:
    return {"type": "text", "text": text}


def _prose(rng: random.Random, length: int) -> str:
    """Return `length` characters of sentences, with some Markdown, quotes and non-ASCII."""
    found: list[str] = []
    total = 0
    while total < length:
        sentence = " ".join(rng.choices(_WORDS, k=rng.randint(6, 18))).capitalize()
        sentence += rng.choice([". ", ".\n", ".\n\n- ", " — see `config.json`. ", ' ("as is"). '])
        found.append(sentence)
        total += len(sentence)
    return "".join(found)[:length]


def _code(rng: random.Random, length: int) -> str:
    """Return `length` characters that look like numbered lines of a source file."""
    found: list[str] = []
    total = 0
    number = 0
    while total < length:
        number += 1
        a, b, c = rng.choices(_WORDS, k=3)
        line = f'{number:6}\t{"    " * rng.randint(0, 3)}{a}_{b} = {c}("{b}", {rng.randint(0, 9999)})\n'
        found.append(line)
        total += len(line)
    return "".join(found)[:length]


def _tool(rng: random.Random, name: str, length: int) -> JSON:
    properties = {
        "path": {"type": "string", "description": "Absolute path of the file", "minLength": 1},
        "text": {"type": "string", "description": _prose(rng, min(120, length // 8))},
        "limit": {"type": "integer", "exclusiveMinimum": 0, "maximum": 9_007_199_254_740_991, "default": 100},
        "mode": {"anyOf": [{"type": "string", "enum": ["fast", "exact"]}, {"type": "null"}]},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"id": {"type": "string"}, "done": {"type": "boolean"}},
                "required": ["id"],
                "additionalProperties": False,
            },
        },
    }
    return {
        "name": name,
        "description": _prose(rng, max(40, length - 300)),
        "input_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": ["path"],
            "additionalProperties": False,
        },
    }


def _turn(rng: random.Random, turn: int, room: int) -> list[JSON]:
    """Return an assistant message with thinking and one or two tool calls, and the message of results."""
    calls = [f"toolu_bench{turn:06}{letter}" for letter in ("ab" if turn % 3 == 0 else "a")]
    length = min(room, rng.randint(1_500, 6_000)) // len(calls)
    content: list[JSON] = []
    if turn % 2 == 0:
        signature = "".join(rng.choices("ABCDEFGHabcdefgh0123456789+/", k=200))
        content.append({"type": "thinking", "thinking": _prose(rng, 150), "signature": signature})
    content.append(_text(_prose(rng, 80)))
    results: list[JSON] = []
    for number, call in enumerate(calls):
        arguments = {"path": f"/project/src/file_{turn}_{number}.py", "limit": rng.randint(10, 500)}
        content.append({"type": "tool_use", "id": call, "name": "Read", "input": arguments})
        text = _code(rng, max(20, length - 500))
        result: JSON = {"type": "tool_result", "tool_use_id": call, "content": text if number else [_text(text)]}
        if turn % 5 == 4:
            result["is_error"] = True
        results.append(result)
    return [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
