"""From the chunks of an answer to events.

Each chunk holds parts, and a part may bear a signature that has to go back with it one day; see
:mod:`ccr_plugin_gemini.thinking` for how it travels.  A whole answer is read as a stream of one chunk: there is no
second reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from ccr_core import (
    JSON,
    BlockDelta,
    BlockStart,
    BlockStop,
    CallIds,
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
    long_names,
    new_id,
    reading,
)

from .dialect import TEXT, USAGE
from .errors import read_error
from .grounding import Grounding, tool_of_google
from .partial import put
from .thinking import sealed
from .tools import short_name

if TYPE_CHECKING:
    from .dialect import Gemini

_new = object.__new__

REFUSALS = frozenset(
    {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"}
    | {"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}
)
"""Finish reasons by which the service says that it will not answer."""

FAILED = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS"}
    | {"MALFORMED_RESPONSE", "OTHER", "IMAGE_OTHER", "NO_IMAGE"}
)
"""Finish reasons of answers that went wrong.  If they hold calls, the client can deal with them itself."""


@attrs.define
class _Call:
    """A call whose arguments come in pieces."""

    key: tuple[str, int]
    id: str
    name: str
    arguments: JSON = attrs.Factory(dict)


class Decoder(Push[Chunk, Event]):
    """Reads one answer.  ``whole``: it comes in one chunk, and needs no mark that it is complete."""

    def __init__(self, dialect: Gemini, request: Request, ctx: Context, whole: bool = False) -> None:
        self._unwrap = dialect.unwrap
        self._maker = dialect.maker
        self._ctx = ctx
        self._whole = whole
        most = dialect.settings(ctx).tools.name_max
        self._names = long_names(request, lambda name: short_name(name, most))
        self._thoughtful = request.thinking or bool(request.tools)
        """Whether the client will make something of a thinking block that it did not ask for."""
        self._tools = frozenset(str(tool.get("name")) for tool in request.tools)
        # It lives as long as the answer streams; of many requests at once the prompts and schemas would be most.
        self._request = request.with_(system=[], tools=[])
        self._started = False
        self._done = False
        self._reason = ""
        self._why = ""
        self._blocked = ""
        self._usage: JSON = {}
        self._useful = False
        self._calls = 0

        self._count = 0
        self._key: tuple[str, int] = ("", 0)
        self._open = ""
        self._texting = False
        self._plain: Pattern | None = None
        """The pattern of chunks that are known to be one piece of text, with counts, and nothing else."""
        self._blank = ""
        self._seal: JSON = {}
        """What the open thinking block will hold."""
        self._after: JSON = {}
        """What a thinking block after the open block will hold."""

        self._growing: _Call | None = None
        self._code = ""
        self._google: dict[str, str] = {}
        self._ids = CallIds(self._request)
        self._grounding = Grounding()
        self._noted: set[str] = set()

    # --- chunks --------------------------------------------------------------------------------------------------

    def feed(self, item: Chunk) -> Iterable[Event]:
        """Take the next chunk."""
        if type(item) is Piece and item.pattern is self._plain and self._texting:
            text, usage = item.values
            if text and type(text) is str and type(usage) is dict:
                self._usage.update(usage)
                event = _new(BlockDelta)
                event.key, event.delta = self._key, {"type": "text_delta", "text": text}
                return (event,)
        data = item.data
        if type(data) is not dict:
            return self._odd(data)
        data = self._unwrap(data)
        if self._texting:
            # Most chunks are one more piece of text.
            try:
                (candidate,) = data["candidates"]
                (part,) = candidate["content"]["parts"]
                if len(part) == 1 and part["text"] and "error" not in data and candidate.keys() <= _QUIET:
                    self._usage.update(data.get("usageMetadata") or {})
                    # What a call of the class does, for half of its price.
                    event = _new(BlockDelta)
                    event.key, event.delta = self._key, {"type": "text_delta", "text": part["text"]}
                    if type(item) is Piece and item.pattern.paths == (TEXT, USAGE):
                        self._plain = item.pattern
                    return (event,)
            except (KeyError, TypeError, ValueError, AttributeError):
                pass
        with reading(data):
            return self._chunk(data)

    def _odd(self, data: Any) -> Iterable[Event]:
        if isinstance(data, list):
            return [event for one in data for event in self.feed(Chunk(one))]
        if data and data != "[DONE]":
            self._note("unread", f"the provider sent something that is not JSON: {str(data)[:200]}")
        return ()

    def _chunk(self, data: JSON) -> list[Event]:
        out: list[Event] = []
        usage = data.get("usageMetadata")
        if isinstance(usage, dict):
            self._usage.update(usage)
        candidates = data.get("candidates")
        if not isinstance(candidates, list):
            candidates = []
        candidate = candidates[0] if candidates else None
        feedback = data.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._blocked = str(feedback["blockReason"])
            self._why = str(feedback.get("blockReasonMessage") or "")
        if isinstance(candidate, dict) or self._blocked:
            self._begin(data, out)
        if isinstance(candidate, dict):
            if len(candidates) > 1:
                self._note("unread", "the provider gave several answers; the first is taken")
            self._candidate(candidate, out)
        if data.get("error"):
            error = read_error(data)
            out.append(StreamError(error.kind, error.message, error.status))
        return out

    def _begin(self, data: JSON, out: list[Event]) -> None:
        if self._started:
            return
        self._started = True
        ident = data.get("responseId") or new_id("msg")
        counts = self._counts()
        counts.pop("output_tokens", None)
        out.append(MessageStart(str(ident), str(data.get("modelVersion") or self._ctx.target.model), counts))

    def _candidate(self, candidate: JSON, out: list[Event]) -> None:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                self._part(part, out)
        self._grounding.read(candidate)
        if self._open == "text":
            self._cite(out)
        if candidate.get("finishReason") and candidate["finishReason"] != "FINISH_REASON_UNSPECIFIED":
            self._reason = str(candidate["finishReason"])
            self._why = str(candidate.get("finishMessage") or self._why)

    def _part(self, part: JSON, out: list[Event]) -> None:
        signature = part.get("thoughtSignature") or ""
        if "functionCall" in part:
            self._call(part["functionCall"] or {}, signature, out)
        elif isinstance(part.get("text"), str):
            if part.get("thought") is True:
                self._think(part["text"], signature, out)
            else:
                self._say(part["text"], signature, out)
        elif "executableCode" in part or "codeExecutionResult" in part:
            self._run(part, out)
        elif "toolCall" in part or "toolResponse" in part:
            self._own_tool(part, out)
        elif isinstance(part.get("inlineData"), dict):
            self._file(part["inlineData"], bool(part.get("thought")), signature, out)
        elif isinstance(part.get("fileData"), dict):
            self._say(f"[file: {part['fileData'].get('fileUri')}]", signature, out)
        elif signature:
            self._say("", signature, out)
        else:
            for name in part:
                self._note("unread", f"a part of the answer has no counterpart: {name}")

    # --- text and thinking ---------------------------------------------------------------------------------------

    def _say(self, text: str, signature: str, out: list[Event]) -> None:
        if not text:
            if signature:
                self._keep("e", signature)
            return
        if self._open == "text":
            if signature:
                self._keep("p", signature)
        else:
            if text.isspace() and not signature:
                # Blanks between two calls are not worth a block, and other services refuse it.
                self._blank += text
                return
            self._place(signature, out)
            text, self._blank = self._blank + text, ""
            self._start("text", {"type": "text", "text": ""}, out)
            self._cite(out)
        out.append(BlockDelta(self._key, {"type": "text_delta", "text": text}))
        self._texting = self._useful = True

    def _think(self, text: str, signature: str, out: list[Event]) -> None:
        if not (text or signature):
            return
        if self._open == "think" and "t" in self._seal and text:
            self._close(out)
        if self._open != "think":
            self._close(out)
            self._start("think", {"type": "thinking", "thinking": "", "signature": ""}, out)
        if text:
            out.append(BlockDelta(self._key, {"type": "thinking_delta", "thinking": text}))
        if signature:
            self._seal["t"] = signature

    def _place(self, signature: str, out: list[Event]) -> None:
        """Close what is open; a ``signature`` of the text or file that comes next goes into the thinking before it."""
        if signature and self._open == "think":
            self._seal["n"] = signature
            signature = ""
        self._close(out)
        if signature and self._wanted():
            self._carry({"n": signature}, out)

    def _keep(self, name: str, signature: str) -> None:
        """Keep the ``signature`` of an empty text (``e``), or of more of the open text (``p``)."""
        if self._open == "think":
            self._seal.setdefault("e", []).append(signature)
        elif self._wanted():
            if name == "p" and "p" not in self._after:
                self._after["p"] = signature
            else:
                self._after.setdefault("e", []).append(signature)

    def _wanted(self) -> bool:
        if not self._thoughtful:
            self._note("thinking", "a signature of the text is not kept: the client did not ask for thinking")
        return self._thoughtful

    def _carry(self, data: JSON, out: list[Event]) -> None:
        """Make a thinking block for what must go back and came without a thought."""
        self._count += 1
        key = ("carrier", self._count)
        out.append(BlockStart(key, {"type": "thinking", "thinking": "", "signature": ""}))
        self._sign(key, data, out)
        out.append(BlockStop(key))

    def _sign(self, key: tuple[str, int], data: JSON, out: list[Event]) -> None:
        signature = sealed(self._ctx, self._maker, data)
        out.append(BlockDelta(key, {"type": "signature_delta", "signature": signature}))

    def _start(self, kind: str, block: JSON, out: list[Event]) -> None:
        self._count += 1
        self._key = (kind, self._count)
        self._open = kind
        out.append(BlockStart(self._key, block))

    def _close(self, out: list[Event]) -> None:
        """Stop whatever is open."""
        self._finish_call(out)
        if self._open == "think":
            self._sign(self._key, self._seal, out)
        if self._open:
            out.append(BlockStop(self._key))
        self._open, self._texting, self._seal = "", False, {}
        if self._code:
            # A run of which no result came; a call without a result is not lawful in a conversation.
            self._result(self._code, {}, out)
        if self._after:
            after, self._after = self._after, {}
            self._carry(after, out)

    def _cite(self, out: list[Event]) -> None:
        for citation in self._grounding.take():
            out.append(BlockDelta(self._key, {"type": "citations_delta", "citation": citation}))

    # --- calls ---------------------------------------------------------------------------------------------------

    def _call(self, call: JSON, signature: str, out: list[Event]) -> None:
        name = call.get("name")
        growing = self._growing
        if growing is not None and name and (call.get("id") not in (None, growing.id) or "args" in call):
            self._finish_call(out)
            growing = None
        if growing is None:
            if not name:
                if call:
                    raise ProtocolError("the provider sent a tool call without a name")
                return
            growing = self._start_call(str(name), str(call.get("id") or ""), signature, out)
        elif signature:
            self._after.setdefault("c", {})[growing.id] = signature
        given = call.get("args")
        if isinstance(given, dict):
            growing.arguments = {**growing.arguments, **given}
        elif given is not None:
            self._note("tools", f"the arguments of {growing.name} are no object")
            growing.arguments = {"__unparsedToolInput": {"raw": str(given), "len": len(str(given))}}
        for piece in call.get("partialArgs") or ():
            put(growing.arguments, piece)
        if not call.get("willContinue"):
            self._finish_call(out)

    def _start_call(self, name: str, given: str, signature: str, out: list[Event]) -> _Call:
        ident = self._ids.fresh(given)
        if signature and self._open == "think":
            self._seal["c"] = {ident: signature}
            signature = ""
        self._close(out)
        if signature:
            self._carry({"c": {ident: signature}}, out)
        self._count += 1
        self._calls += 1
        self._useful = True
        self._growing = call = _Call(("tool", self._count), ident, self._name(name))
        out.append(BlockStart(call.key, {"type": "tool_use", "id": ident, "name": call.name, "input": {}}))
        return call

    def _name(self, name: str) -> str:
        """The tool that is meant: models have been seen to put a module before the name (``default_api.Read``)."""
        name = self._names.get(name, name)
        if name in self._tools:
            return name
        short = re.split(r"[.:]", name)[-1]
        meant = self._names.get(short, short)
        if meant not in self._tools:
            return name
        self._note("tools", f"the model called {name}; taken for {meant}")
        return meant

    def _finish_call(self, out: list[Event]) -> None:
        call, self._growing = self._growing, None
        if call is None:
            return
        if call.arguments:
            text = orjson.dumps(call.arguments).decode()
            out.append(BlockDelta(call.key, {"type": "input_json_delta", "partial_json": text}))
        out.append(BlockStop(call.key))
        if self._after:
            after, self._after = self._after, {}
            self._carry(after, out)

    # --- Google's own tools and files ----------------------------------------------------------------------------

    def _raw(self, part: JSON, shown: str, out: list[Event]) -> None:
        """Keep ``part`` as it is; ``shown`` is the id of the blocks that show it."""
        if self._open == "think":
            self._seal.setdefault("r", []).append(part)
            self._seal.setdefault("i", []).append(shown)
            self._close(out)
        else:
            self._close(out)
            self._carry({"r": [part], "i": [shown]}, out)

    def _block(self, block: JSON, out: list[Event]) -> None:
        self._count += 1
        key = ("block", self._count)
        self._useful = True
        out += [BlockStart(key, block), BlockStop(key)]

    def _run(self, part: JSON, out: list[Event]) -> None:
        code, result = part.get("executableCode"), part.get("codeExecutionResult")
        if isinstance(code, dict):
            ident = new_id("srvtoolu")
            self._raw(part, ident, out)
            given = {"code": str(code.get("code") or "")}
            self._block({"type": "server_tool_use", "id": ident, "name": "code_execution", "input": given}, out)
            self._code = ident
        elif isinstance(result, dict):
            ident, self._code = self._code, ""
            if not ident:
                ident = new_id("srvtoolu")
                self._raw(part, ident, out)
                self._block({"type": "server_tool_use", "id": ident, "name": "code_execution", "input": {}}, out)
            else:
                self._raw(part, ident, out)
            self._result(ident, result, out)

    def _result(self, ident: str, result: JSON, out: list[Event]) -> None:
        self._code = ""
        text = str(result.get("output") or "")
        good = result.get("outcome") in (None, "OUTCOME_OK")
        content: JSON = {
            "type": "code_execution_result",
            "stdout": text if good else "",
            "stderr": "" if good else text,
            "return_code": 0 if good else 1,
            "content": [],
        }
        self._block({"type": "code_execution_tool_result", "tool_use_id": ident, "content": content}, out)

    def _own_tool(self, part: JSON, out: list[Event]) -> None:
        """A call of one of Google's tools, or its response, as newer models tell them."""
        call, response = part.get("toolCall"), part.get("toolResponse")
        told = call if isinstance(call, dict) else response if isinstance(response, dict) else {}
        kind, given = str(told.get("toolType") or ""), str(told.get("id") or "")
        if kind.startswith("GOOGLE_SEARCH"):
            # The results come with the sources of the text, at the end.
            self._grounding.searched = True
            for query in (told.get("args") or {}).get("queries") or ():
                self._grounding.queries[str(query)] = None
            self._raw(part, self._grounding.search, out)
            return
        ident = self._google.setdefault(given, new_id("mcptoolu"))
        self._raw(part, ident, out)
        use, result = tool_of_google(kind.casefold() or "tool", told.get("args"), [], ident)
        if isinstance(call, dict):
            self._block(use, out)
        else:
            text = orjson.dumps(told.get("response")).decode()
            self._block({**result, "content": [{"type": "text", "text": text}]}, out)

    def _file(self, data: JSON, thought: bool, signature: str, out: list[Event]) -> None:
        if thought:
            self._note("thinking", "an image among the thoughts left out")
            return
        self._place(signature, out)
        source = {"type": "base64", "media_type": str(data.get("mimeType") or ""), "data": str(data.get("data") or "")}
        kind = "image" if source["media_type"].startswith("image/") else "document"
        self._note("files", f"the answer holds a file ({source['media_type']}), given as a block of type {kind}")
        self._block({"type": kind, "source": source}, out)

    # --- the end -------------------------------------------------------------------------------------------------

    def flush(self) -> Iterable[Event]:
        """No more chunks; raise ``ProtocolError`` unless there was a sign that the answer is complete."""
        if self._done:
            return ()
        self._done = True
        if not (self._reason or self._blocked or (self._whole and self._started)):
            what = "ended in the middle: no finish reason was seen" if self._started else "is empty"
            raise ProtocolError(f"the provider's answer {what}")
        with reading(self._usage):
            return tuple(self._end())

    def _end(self) -> Iterator[Event]:
        out: list[Event] = []
        if self._growing is not None:
            self._note("tools", f"the arguments of {self._growing.name} may be incomplete")
        self._close(out)
        for block in self._grounding.blocks():
            self._block(block, out)
        left = self._grounding.take()
        if left:
            self._note("citations", f"{len(left)} citations left out: there was no text to bear them")
        yield from out
        failure = self._failure()
        if failure:
            yield StreamError("api_error", failure)
            return
        stop = self._stop_reason()
        extra: JSON = {}
        if stop == "refusal":
            why = ": ".join(filter(None, (self._blocked or self._reason, self._why)))
            what = "the request" if self._blocked else "the answer"
            words = f"{self._ctx.target.provider} blocked {what} ({why})"
            extra["stop_details"] = {"type": "refusal", "category": None, "explanation": words}
            self._note("refusal", words)
        yield MessageDelta(stop, None, self._counts(), extra)
        yield MessageStop()

    def _failure(self) -> str:
        """What went wrong, if the answer is none."""
        why = f": {self._why}" if self._why else ""
        if self._reason in FAILED and not self._calls:
            return f"the provider ended its answer with {self._reason}{why}"
        if self._reason in FAILED:
            self._note("finish_reason", f"the provider ended its answer with {self._reason}{why}")
        # A stop sequence at the very start makes an empty answer that is right.
        empty = not self._useful and not self._request.body.get("stop_sequences")
        if empty and not self._blocked and self._reason in ("STOP", ""):
            return "the provider gave an empty answer"
        return ""

    def _stop_reason(self) -> str:
        if self._blocked or self._reason in REFUSALS:
            return "refusal"
        if self._reason == "MAX_TOKENS":
            return "max_tokens"
        if self._reason not in ("", "STOP") and self._reason not in FAILED:
            self._note("finish_reason", f"unknown finish reason {self._reason!r}, taken for the end of the answer")
        return "tool_use" if self._calls else "end_turn"

    def _counts(self) -> JSON:
        usage = self._usage
        if not usage:
            return {}
        cached = _number(usage.get("cachedContentTokenCount"))
        thinking = _number(usage.get("thoughtsTokenCount"))
        counts: JSON = {"output_tokens": _number(usage.get("candidatesTokenCount")) + thinking}
        if thinking:
            counts["output_tokens_details"] = {"thinking_tokens": thinking}
        if "promptTokenCount" in usage:
            prompt = _number(usage["promptTokenCount"]) + _number(usage.get("toolUsePromptTokenCount"))
            counts["input_tokens"] = max(0, prompt - cached)
            counts["cache_read_input_tokens"] = cached
        if self._grounding.searches:
            counts["server_tool_use"] = {"web_search_requests": self._grounding.searches}
        return counts

    def _note(self, key: str, value: str) -> None:
        if value not in self._noted:
            self._noted.add(value)
            self._ctx.note(key, value)


_QUIET = frozenset({"content", "index", "safetyRatings", "avgLogprobs", "tokenCount"})
"""What a candidate may hold that says nothing beside its text."""


def _number(value: Any) -> int:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def decode_body(dialect: Gemini, body: Any, request: Request, ctx: Context) -> Iterable[Event]:
    """The events of a whole answer; raises ``ProtocolError`` if it is none."""
    decoder = Decoder(dialect, request, ctx, whole=True)
    seen = list(decoder.feed(Chunk(body)))
    if not seen:
        words = orjson.dumps(body)[:500].decode(errors="replace")
        raise ProtocolError(f"the provider's answer has no candidates: {words}")
    yield from seen
    if not isinstance(seen[-1], StreamError):
        yield from decoder.flush()
