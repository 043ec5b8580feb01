"""From the chunks of an answer to events.

Services differ in where they put things and agree on little, so everything that any of them has been seen to send is
read here without being told who it is.  A whole answer is read as a stream of one chunk: there is no second reader.

Chunks are the commonest thing in the router, and most of them are one piece of text: :meth:`Decoder.feed` handles
that case by itself and leaves all others to the methods below it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from ccr_core import (
    JSON,
    BlockDelta,
    BlockStart,
    BlockStop,
    Chunk,
    Context,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Pattern,
    Piece,
    ProtocolError,
    Push,
    Request,
    StreamError,
    is_server_tool,
    long_names,
    new_id,
    reading,
    short_name,
)

from .calls import Call, Calls
from .citations import Citations
from .dialect import TEXT
from .errors import read_error
from .options import Options
from .reasoning import merge_details, sealed
from .think import ThinkTags
from .usage import usage_of

FINISH = {
    "stop": "end_turn",
    "eos": "end_turn",
    "end_turn": "end_turn",
    "complete": "end_turn",
    "stop_sequence": "stop_sequence",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "tool_use": "tool_use",
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "max_tokens",
    "model_context_window_exceeded": "model_context_window_exceeded",
    "content_filter": "refusal",
    "safety": "refusal",
    "sensitive": "refusal",
    "refusal": "refusal",
    "repetition_truncation": "end_turn",
}
"""Finish reason → stop reason, for answers that ended as the model or a limit wanted it."""

FAILED = {
    "error": "api_error",
    "network_error": "api_error",
    "abort": "api_error",
    "insufficient_system_resource": "overloaded_error",
}
"""Finish reasons by which a service says that its answer is not complete, and the kind of error that each is."""

_new = object.__new__

_KNOWN = frozenset(
    {
        "role",
        "content",
        "reasoning_content",
        "reasoning",
        "reasoning_text",
        "reasoning_details",
        "tool_calls",
        "function_call",
        "refusal",
        "annotations",
        "audio",
        "extra_content",
        "thought_signature",
        "channel",
        "name",
        "id",
        "padding",
        "obfuscation",
        "prefix",
    }
)
"""Keys of a message or delta that are read here, or mean nothing."""


class Decoder(Push[Chunk, Event]):
    """Reads one answer.  ``whole``: it comes in one chunk, and needs no mark that it is complete."""

    def __init__(self, request: Request, ctx: Context, options: Options, whole: bool = False) -> None:
        name_max = options.tools.name_max
        self._names = long_names(request, lambda name: short_name(name, name_max))
        self._tools = [str(tool.get("name")) for tool in request.tools if not is_server_tool(tool)]
        self._citations = Citations(request)
        # It lives as long as the answer streams; of many requests at once the prompts and schemas would be most.
        self._request = request.with_(system=[], tools=[])
        self._ctx = ctx
        self._options = options
        self._fields = options.reasoning.fields
        self._tags: ThinkTags | None = None
        inline = options.reasoning.inline_think
        if inline != "never":
            self._tags = ThinkTags(inside=inline == "open")
        self._started = False
        self._odd: JSON | None = None
        self._done = False
        self._whole = whole
        self._reason: str | None = None
        self._sequence: str | None = None
        self._usage: JSON | None = None
        self._useful = False

        self._count = 0
        self._key: tuple[str, int] = ("", 0)
        self._open = ""
        self._texting = False
        self._blank = ""
        self._plain: Pattern | None = None
        """The pattern of chunks that are known to be one piece of text and nothing else."""
        self._at = 0
        """Where the text is among their values."""

        self._field = ""
        self._thought: list[str] = []
        self._blank_thought = ""
        self._details: list[JSON] = []
        self._extra: JSON = {}

        self._calls = Calls(self._request)
        self._noted: set[Any] = set()

    # --- chunks --------------------------------------------------------------------------------------------------

    def feed(self, item: Chunk) -> Iterable[Event]:
        """Take the next chunk."""
        if type(item) is Piece and item.pattern is self._plain and self._texting:
            text = item.values[self._at]
            if text and type(text) is str:
                event = _new(BlockDelta)
                event.key, event.delta = self._key, {"type": "text_delta", "text": text}
                return (event,)
        data = item.data
        try:
            choice = data["choices"][0]
            delta = choice["delta"]
            text = delta.get("content")
            if (
                self._texting
                and text
                and type(text) is str
                and (len(delta) == 1 or (len(delta) == 2 and "role" in delta))
                and not choice.get("finish_reason")
                and not data.get("usage")
                and "error" not in data
                and "citations" not in data
                and "usage" not in choice
            ):
                # What a call of the class does, for half of its price.
                event = _new(BlockDelta)
                event.key, event.delta = self._key, {"type": "text_delta", "text": text}
                if type(item) is Piece:
                    self._plain, self._at = item.pattern, item.pattern.paths.index(TEXT)
                return (event,)
        except (KeyError, IndexError, TypeError, AttributeError):
            with reading(data):
                return tuple(self._other(item))
        with reading(data):
            return self._chunk(data, choice, delta)

    def _other(self, item: Chunk) -> Iterable[Event]:
        """A chunk that is not quite as the format has it."""
        data = item.data
        if isinstance(data, list) and data:
            data = data[0]
        if not isinstance(data, dict):
            return self._mark(data, item.event)
        choices = data.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        if choice is None:
            return self._beside(data, item.event)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            message = choice.get("message")
            delta = message if isinstance(message, dict) and not self._useful else {}
        return self._chunk(data, choice, delta)

    def _mark(self, data: Any, event: str | None) -> Iterable[Event]:
        if data == "[DONE]":
            if not self._started:
                raise ProtocolError("the provider's answer is empty")
            return self._end()
        if event == "error":
            error = read_error(data)
            return (StreamError(error.kind, error.message, error.status),)
        if data:
            self._note("unread", f"the provider sent something that is not JSON: {str(data)[:200]}")
        return ()

    def _beside(self, data: JSON, event: str | None) -> Iterable[Event]:
        """A chunk without a choice: an error, usage, or news of no consequence."""
        error = _error_in(data, event)
        if error is not None:
            return (error,)
        usage = data.get("usage")
        if usage:
            self._usage = usage
        elif not self._started and "choices" not in data:
            self._odd = data
        if self._citations.wanted(data):
            self._citations.read_top(data)
        return ()

    def _begin(self, data: JSON) -> Iterable[Event]:
        if self._started:
            return ()
        self._started = True
        given = data.get("id")
        return (MessageStart(str(given) if given else new_id("msg"), str(data.get("model") or self._ctx.target.model)),)

    def _chunk(self, data: JSON, choice: JSON, delta: JSON) -> Iterable[Event]:
        out: list[Event] = [] if self._started else list(self._begin(data))
        if data.get("error") or choice.get("error"):
            error = _error_in(data if data.get("error") else choice, None)
            assert error is not None
            self._content(delta, out)
            out.append(error)
            return out
        usage = data.get("usage") or choice.get("usage")
        if usage or "x_groq" in data:
            self._usage = usage or (data["x_groq"] or {}).get("usage") or self._usage
        if self._citations.wanted(data):
            self._citations.read_top(data)
            if self._open == "text":
                self._cite(out)
        if delta:
            self._content(delta, out)
        reason = choice.get("finish_reason")
        if reason and reason != "null":
            self._finish(str(reason), choice, out)
        return out

    def _content(self, delta: JSON, out: list[Event]) -> None:
        thought = None
        for field in self._fields:
            value = delta.get(field)
            if value and type(value) is str:
                thought = value
                self._field = field
                break
        details = delta.get("reasoning_details")
        if details and isinstance(details, list):
            thought = self._detailed(thought, details)
        if thought:
            self._think(thought, out)
        content = delta.get("content")
        if content:
            if type(content) is str:
                self._text(content, out)
            else:
                self._parts(content, out)
        if len(delta) > 1 or not (content or thought):
            self._rest(delta, out)

    def _rest(self, delta: JSON, out: list[Event]) -> None:
        if delta.get("extra_content"):
            # Before the calls, so that a signature does not need a block behind them.
            self._extra[""] = delta["extra_content"]
        calls = delta.get("tool_calls")
        if calls:
            for entry in calls:
                if isinstance(entry, dict):
                    self._tool(entry, out)
        legacy = delta.get("function_call")
        if legacy and isinstance(legacy, dict) and (legacy.get("name") or legacy.get("arguments")):
            self._tool({"index": "function_call", "function": legacy}, out)
        refusal = delta.get("refusal")
        if refusal and type(refusal) is str:
            self._decline(refusal, out)
        annotations = delta.get("annotations")
        if annotations:
            left = self._citations.read(annotations)
            for kind in left:
                self._note("annotations", f"annotation of type {kind} left out")
            if self._open == "text":
                self._cite(out)
        audio = delta.get("audio")
        if audio and isinstance(audio, dict) and audio.get("transcript"):
            self._say(str(audio["transcript"]), out)
        if not delta.keys() <= _KNOWN:
            for name in delta.keys() - _KNOWN:
                if delta[name]:
                    self._note("unread", f"the field {name} of the answer has no counterpart")

    def _parts(self, content: Any, out: list[Event]) -> None:
        """Content that is a list of parts, as Mistral sends it."""
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str):
                self._text(part, out)
                continue
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in ("text", "output_text"):
                self._text(str(part.get("text") or ""), out)
            elif kind in ("thinking", "reasoning"):
                inner = part.get("thinking") or part.get("text") or ""
                self._field = "parts"
                if isinstance(inner, list):
                    inner = "".join(str(one.get("text") or "") for one in inner if isinstance(one, dict))
                if inner:
                    self._think(str(inner), out)
            elif kind == "refusal":
                self._decline(str(part.get("refusal") or ""), out)
            else:
                self._note("unread", f"a content part of type {kind} has no counterpart")

    # --- text ----------------------------------------------------------------------------------------------------

    def _text(self, text: str, out: list[Event]) -> None:
        tags = self._tags
        if tags is not None:
            if not text:
                return
            if self._open == "think" and self._field != "think_tags":
                # Thinking has its own field here, so a tag is text.
                self._tags = None
            else:
                thought, text = tags.feed(text)
                if not tags.active:
                    self._tags = None
                if thought:
                    self._field = "think_tags"
                    self._think(thought, out)
        if text:
            self._say(text, out)

    def _say(self, text: str, out: list[Event]) -> None:
        if self._open != "text":
            if text.isspace():
                # Blanks between two calls are not worth a block, and other services refuse it.
                self._blank += text
                return
            self._close(out)
            self._settle(out)
            self._carry(out)
            text, self._blank = self._blank + text, ""
            self._sources(out, before_text=True)
            self._start("text", {"type": "text", "text": ""}, out)
            self._cite(out)
        out.append(BlockDelta(self._key, {"type": "text_delta", "text": text}))
        self._texting = self._tags is None

    def _decline(self, text: str, out: list[Event]) -> None:
        """The model's own words for not doing it: they are to be seen, and clients show none of a ``refusal``."""
        if text:
            self._note("refusal", "the model declined; its words are the text of the answer")
            self._say(text, out)

    def _cite(self, out: list[Event]) -> None:
        for citation in self._citations.take():
            out.append(BlockDelta(self._key, {"type": "citations_delta", "citation": citation}))

    def _start(self, kind: str, block: JSON, out: list[Event]) -> None:
        self._count += 1
        self._key = (kind, self._count)
        self._open = kind
        self._useful = True
        out.append(BlockStart(self._key, block))

    def _close(self, out: list[Event]) -> None:
        """Stop the open block of text or thinking."""
        if not self._open:
            return
        if self._open == "think":
            out.append(BlockDelta(self._key, {"type": "signature_delta", "signature": self._sealed()}))
        out.append(BlockStop(self._key))
        self._open = ""
        self._texting = False

    # --- thinking ------------------------------------------------------------------------------------------------

    def _detailed(self, thought: str | None, details: list[Any]) -> str | None:
        """Keep ``details`` for the signature; their text counts only where no other field has it."""
        merge_details(self._details, details)
        text = "".join(
            str(detail.get("text") or detail.get("summary") or "") for detail in details if isinstance(detail, dict)
        )
        field, self._field = self._field, "reasoning_details"
        if thought or not text:
            return thought
        if field and field != "reasoning_details" and text == "".join(self._thought):
            return None
        return text

    def _think(self, text: str, out: list[Event]) -> None:
        if self._open != "think":
            if text.isspace():
                self._blank_thought += text
                return
            self._close(out)
            self._settle(out)
            text, self._blank_thought = self._blank_thought + text, ""
            self._start("think", {"type": "thinking", "thinking": "", "signature": ""}, out)
            self._thought = []
        self._thought.append(text)
        out.append(BlockDelta(self._key, {"type": "thinking_delta", "thinking": text}))

    def _sealed(self) -> str:
        signature = sealed(self._ctx, self._options, self._field or "reasoning_content", self._details, self._extra)
        self._details, self._extra = [], {}
        return signature

    def _carry(self, out: list[Event]) -> None:
        """Make a thinking block for what must go back to the service and came without a thought."""
        if self._details or self._extra:
            self._start("think", {"type": "thinking", "thinking": "", "signature": ""}, out)
            self._close(out)

    # --- tool calls ----------------------------------------------------------------------------------------------

    def _tool(self, entry: JSON, out: list[Event]) -> None:
        function = entry.get("function")
        if not isinstance(function, dict):
            function = {}
        given = entry.get("id")
        given = "" if given is None else str(given)
        name = function.get("name")
        name = self._names.get(name, name) if isinstance(name, str) else ""
        arguments = function.get("arguments")
        if arguments is None:
            arguments = ""
        elif type(arguments) is not str:
            arguments = orjson.dumps(arguments).decode()
        call = self._calls.find(entry.get("index"), given, name, arguments)
        extra = entry.get("extra_content")
        if extra:
            self._extra[call.id] = extra
        if name and not call.name:
            call.name = name
        if call.stopped:
            if arguments.strip():
                raise ProtocolError(f"the provider sent more arguments for the finished tool call {call.name}")
            return
        if arguments:
            call.parts.append(arguments)
        if call.started:
            if arguments:
                out.append(BlockDelta(call.key, {"type": "input_json_delta", "partial_json": arguments}))
        elif call.name:
            self._start_call(call, out)

    def _start_call(self, call: Call, out: list[Event]) -> None:
        self._flush_tags(out)
        self._close(out)
        self._settle(out)
        self._carry(out)
        self._useful = call.started = True
        out.append(BlockStart(call.key, {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}))
        text = "".join(call.parts)
        if text:
            out.append(BlockDelta(call.key, {"type": "input_json_delta", "partial_json": text}))

    def _settle(self, out: list[Event]) -> None:
        """Stop the calls whose arguments are whole, so that what follows need not wait for the end."""
        for call in self._calls:
            if call.started and not call.stopped and call.complete():
                call.stopped = True
                out.append(BlockStop(call.key))

    # --- the end -------------------------------------------------------------------------------------------------

    def _flush_tags(self, out: list[Event]) -> None:
        tags, self._tags = self._tags, None
        if tags is not None:
            thought, text = tags.flush()
            if thought:
                self._field = "think_tags"
                self._think(thought, out)
            if text:
                self._say(text, out)

    def _finish(self, reason: str, choice: JSON, out: list[Event]) -> None:
        if self._reason is None:
            self._reason = reason
        matched = choice.get("stop_reason") or choice.get("matched_stop")
        if isinstance(matched, str) and matched in (self._request.body.get("stop_sequences") or ()):
            self._sequence = matched
        kind = FAILED.get(reason) if reason not in self._options.finish else None
        if kind is not None:
            out.append(StreamError(kind, f"the provider ended its answer with finish_reason {reason}"))
            return
        self._wind_up(out)

    def _wind_up(self, out: list[Event]) -> None:
        """Stop all blocks."""
        self._flush_tags(out)
        self._close(out)
        for call in self._calls:
            if not call.started and (call.parts or call.given):
                self._nameless(call, out)
            if call.started and not call.stopped:
                call.stopped = True
                out.append(BlockStop(call.key))
        self._carry(out)

    def _nameless(self, call: Call, out: list[Event]) -> None:
        call.name = self._tools[0] if len(self._tools) == 1 else "unknown_tool"
        self._note("tools", f"the provider gave no name for a tool call; taken for {call.name}")
        self._start_call(call, out)

    def _end(self) -> list[Event]:
        if self._done:
            return []
        self._done = True
        out: list[Event] = []
        self._wind_up(out)
        self._sources(out)
        out.append(MessageDelta(self._stop_reason(), self._sequence, self._counts()))
        out.append(MessageStop())
        return out

    def _sources(self, out: list[Event], before_text: bool = False) -> None:
        """Give the results of a search that the client asked for, and at the end sources that no text could bear."""
        for block in self._citations.blocks(before_text):
            self._start("sources", block, out)
            out.append(BlockStop(self._key))
            self._open = ""

    def _stop_reason(self) -> str:
        if self._sequence is not None:
            return "stop_sequence"
        calls = any(call.started for call in self._calls)
        reason = self._reason or ""
        stop = self._options.finish.get(reason) or FINISH.get(reason.lower())
        if stop is None:
            if reason:
                self._note("finish_reason", f"unknown finish reason {reason!r}, taken for the end of the answer")
            stop = "end_turn"
        if stop in ("end_turn", "tool_use"):
            stop = "tool_use" if calls else "end_turn"
        return stop

    def _counts(self) -> JSON:
        if not isinstance(self._usage, dict):
            self._note("usage", "the provider gave no token counts")
            return {}
        if self._usage.get("cost"):
            self._note("cost", self._usage["cost"])
        return usage_of(self._usage, self._options.reasoning_tokens == "separate")

    def flush(self) -> Iterable[Event]:
        """No more chunks; raise ``ProtocolError`` unless there was a sign that the answer is complete."""
        if self._done:
            return ()
        # Usage alone is no end mark: some services count as they go.
        lawful = self._reason is not None or self._whole
        if not lawful and not (self._options.ends_without_mark and self._useful):
            raise ProtocolError(f"the provider's answer {self._broken()}")
        with reading(self._usage):
            return tuple(self._end())

    def _broken(self) -> str:
        if self._started:
            return "ended in the middle: neither a finish reason nor [DONE] was seen"
        if self._odd is None:
            return "is empty"
        return f"is no chat completion; it holds: {orjson.dumps(self._odd)[:500].decode(errors='replace')}"

    def _note(self, key: str, value: Any) -> None:
        if value not in self._noted:
            self._noted.add(value)
            self._ctx.note(key, value)


def _error_in(data: JSON, event: str | None) -> StreamError | None:
    """The error that a chunk reports, if it does."""
    base = data.get("base_resp")
    failed = isinstance(base, dict) and base.get("status_code") not in (None, 0)
    if not (data.get("error") or event == "error" or data.get("object") == "error" or failed):
        return None
    error = read_error(data)
    return StreamError(error.kind, error.message, error.status)


def decode_body(body: Any, request: Request, ctx: Context, options: Options) -> Iterable[Event]:
    """The events of a whole answer; raises ``ProtocolError`` if it is none."""
    decoder = Decoder(request, ctx, options, whole=True)
    if isinstance(body, list) and body:
        body = body[0]
    choices = body.get("choices") if isinstance(body, dict) else None
    if not choices or not isinstance(choices, list) or not isinstance(choices[0], dict):
        error = _whole_error(body)
        if error is None:
            raise ProtocolError(
                f"the provider's answer has no choices: {orjson.dumps(body)[:500].decode(errors='replace')}"
            )
        yield error
        return
    choice = dict(choices[0])
    message = choice.pop("message", None) or choice.get("delta")
    if not isinstance(message, dict):
        message = {"content": choice.get("text")}
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        # In a whole answer the place is the index, whatever the service writes there.
        message = {**message, "tool_calls": [{**c, "index": i} for i, c in enumerate(calls) if isinstance(c, dict)]}
    yield from decoder.feed(Chunk({**body, "choices": [{**choice, "delta": message}]}))
    yield from decoder.flush()


def _whole_error(body: Any) -> StreamError | None:
    if not isinstance(body, dict):
        return None
    if any(name in body for name in ("error", "detail", "message", "Message", "base_resp", "code")):
        error = read_error(body)
        return StreamError(error.kind, error.message, error.status)
    return None
