"""Recorded answers of providers, and an oracle that says what each of them means.

The oracle shares no code with the dialects: it reads the provider's JSON in the plainest way that is right, without
a thought for streams.  A streamed recording is first folded into the whole answer that it amounts to
(:func:`whole`), and only whole answers are read (:func:`expected`).  So it can also be asked for the plain twin of a
streamed recording.

It knows ``anthropic``, ``openai-chat``, ``openai-responses`` and ``gemini``; what it says is compared in terms of
the Messages API.  The layout of a folder of recordings is described in ``docs/testing.md``.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ccr_core.messages import JSON


@attrs.frozen(kw_only=True)
class Recording:
    """One recorded answer.  ``name`` is ``dialect/provider/case``; ``response`` are the bytes as they came."""

    name: str
    dialect: str
    provider: str
    model: str
    stream: bool
    status: int
    features: frozenset[str]
    content_type: str
    response: bytes = attrs.field(repr=False)
    request: JSON | None = attrs.field(default=None, repr=False)
    meta: JSON = attrs.field(factory=dict, repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def failed(self) -> bool:
        """Whether the provider refused the request (an error inside a stream that began well is not meant)."""
        return self.status >= 400

    @property
    def headers(self) -> dict[str, str]:
        """The headers to answer with, names in lower case."""
        return {"content-type": self.content_type}

    def events(self) -> Iterator[Any]:
        """The JSON of each event of a streamed answer; ``"[DONE]"`` and the like as text."""
        return read_sse(self.response)

    @classmethod
    def load(cls, folder: Path | str, root: Path | str | None = None) -> Recording:
        """Read one case; ``root`` is left out of its name."""
        folder = Path(folder)
        meta = json.loads((folder / "meta.json").read_text("utf-8"))
        request = folder / "request.json"
        stream = bool(meta["stream"])
        return cls(
            name=folder.relative_to(root).as_posix() if root else folder.name,
            dialect=meta["dialect"],
            provider=meta.get("provider") or "",
            model=meta.get("model") or "",
            stream=stream,
            status=meta.get("status", 200),
            features=frozenset(meta.get("features", ())),
            content_type=(meta.get("response_headers") or {}).get("content-type")
            or ("text/event-stream" if stream else "application/json"),
            response=(folder / ("response.sse" if stream else "response.json")).read_bytes(),
            request=json.loads(request.read_text("utf-8")) if request.exists() else None,
            meta=meta,
        )


def recordings(root: Path | str, dialect: str | None = None) -> list[Recording]:
    """All recordings below ``root``, or those of one ``dialect``, in the order of their names.

    Raises ``LookupError`` if there is none: a test over no recordings would prove nothing.
    """
    found = [
        recording
        for meta in sorted(Path(root).rglob("meta.json"))
        if (recording := Recording.load(meta.parent, root)).dialect == (dialect or recording.dialect)
    ]
    if not found:
        raise LookupError(f"no recordings{f' of {dialect}' if dialect else ''} below {root}")
    return found


@attrs.frozen
class Call:
    """A tool call: the name of the tool and its parsed arguments."""

    name: str
    input: Any


@attrs.frozen(kw_only=True)
class Failure:
    """That the provider failed: ``status`` where it gave one, and its ``words`` (any of them is enough)."""

    words: tuple[str, ...]
    status: int | None = None

    def differences(self, message: str, status: int | None) -> list[str]:
        """How an error with this ``message`` and ``status`` differs from the provider's."""
        out = []
        if self.words and not any(word in message for word in self.words):
            out.append(f"error: expected the provider's words {self.words[0]!r}, got {message!r}")
        if self.status is not None and self.status != status:
            out.append(f"error: expected status {self.status}, got {status}")
        return out


@attrs.frozen(kw_only=True)
class Expected:
    """What a recording means, in terms of the Messages API.

    ``texts`` and ``thoughts`` are the runs of visible text and thinking: exact inside a run; between two runs any
    white space is allowed.  ``stop_reason`` is ``None`` where several are right.  ``usage`` maps a field to the
    figures that are right; a field that is not there is not compared.  ``open`` says that the answer holds things
    which have no one form in the Messages API (a shell call, say): there may then be more text and more calls.
    ``failure`` is what went wrong; what came before it is still expected.
    """

    texts: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    stop_reason: str | None = None
    usage: Mapping[str, tuple[int, ...]] = attrs.Factory(dict)
    open: bool = False
    failure: Failure | None = None

    @property
    def text(self) -> str:
        """All visible text."""
        return "".join(self.texts)

    @property
    def thinking(self) -> str:
        """All visible thinking."""
        return "".join(self.thoughts)

    def differences(self, message: JSON) -> list[str]:
        """How ``message`` (of the Messages API) differs from this, a line each; empty if it does not."""
        out = []
        got = Meaning.of(message)
        for what, runs, said in (("text", self.texts, got.text), ("thinking", self.thoughts, got.thinking)):
            if not _agrees(runs, said, self.open):
                out.append(f"{what}: expected {_short(''.join(runs))}, got {_short(said)}")
        calls = tuple(call for call in got.calls if not self.open or call in self.calls)
        if self.calls != calls:
            out.append(f"tool calls: expected {list(self.calls)}, got {list(calls)}")
        if self.stop_reason is not None and self.stop_reason != got.stop_reason:
            out.append(f"stop_reason: expected {self.stop_reason!r}, got {got.stop_reason!r}")
        usage = message.get("usage") or {}
        for field, figures in self.usage.items():
            figure = usage.get(field) or 0
            if figure not in figures:
                right = " or ".join(map(str, dict.fromkeys(figures)))
                out.append(f"usage.{field}: expected {right}, got {figure}")
        return out


@attrs.frozen
class Meaning:
    """What a message of the Messages API says: the part that must survive every conversion."""

    text: str
    thinking: str
    calls: tuple[Call, ...]
    stop_reason: str | None

    @classmethod
    def of(cls, message: JSON) -> Meaning:
        """The meaning of ``message``."""
        content = message.get("content") or []
        return cls(
            "".join(block["text"] for block in content if block["type"] == "text"),
            "".join(block["thinking"] for block in content if block["type"] == "thinking"),
            tuple(Call(block["name"], block["input"]) for block in content if block["type"] == "tool_use"),
            message.get("stop_reason"),
        )


def _agrees(runs: Sequence[str], said: str, more: bool) -> bool:
    pattern = r"\s*".join(re.escape(run) for run in runs)
    return bool(re.search(pattern, said) if more else re.fullmatch(pattern, said))


def _short(text: str) -> str:
    return repr(text) if len(text) <= 200 else f"{text[:100]!r} … {text[-80:]!r} ({len(text)} characters)"


# --- reading a stream ---------------------------------------------------------------------------------------


def read_sse(data: bytes) -> Iterator[Any]:
    """The data of each server-sent event in ``data``, parsed where it is JSON; comments are left out.

    Raises ``ValueError`` if an event looks like JSON and is not.
    """
    text = data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    for part in text.split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in part.split("\n") if line.startswith("data:")]
        joined = "\n".join(lines).strip()
        if joined:
            yield json.loads(joined) if joined[0] in "{[" and joined != "[DONE]" else joined


def is_end(dialect: str, data: Any) -> bool:
    """Whether ``data``, an event of a stream of ``dialect``, may be taken for the end of the answer.

    Raises ``LookupError`` for a dialect that is not known here.
    """
    event = data if isinstance(data, dict) else {}
    if dialect == "anthropic":
        return event.get("type") == "message_stop"
    if dialect == "openai-chat":
        return data == "[DONE]" or any(choice.get("finish_reason") for choice in event.get("choices") or ())
    if dialect == "openai-responses":
        return event.get("type") in ("response.completed", "response.incomplete")
    if dialect == "gemini":
        blocked = bool((event.get("promptFeedback") or {}).get("blockReason"))
        return blocked or any(candidate.get("finishReason") for candidate in event.get("candidates") or ())
    raise LookupError(f"no end mark is known for the dialect {dialect!r}; pass is_end=")


# --- folding a stream into the whole answer -----------------------------------------------------------------


@attrs.frozen
class Whole:
    """A provider's whole answer in its own format, or as much of it as came before its ``failure``."""

    body: JSON
    failure: Failure | None = None


def whole(recording: Recording) -> Whole:
    """The whole answer of ``recording``, folded if it was streamed.

    Raises ``LookupError`` for a dialect that is not known here.
    """
    if recording.dialect not in _FOLDS:
        raise LookupError(f"the dialect {recording.dialect!r} is not known to the oracle")
    if recording.stream:
        return _FOLDS[recording.dialect](recording.events())
    body = json.loads(recording.response)
    if recording.failed or ("error" in body and body["error"] is not None):
        return Whole(body, Failure(words=_words(body), status=recording.status if recording.failed else None))
    return Whole(body)


def _words(body: Any) -> tuple[str, ...]:
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return (str(error),)
    raw = (error.get("metadata") or {}).get("raw")
    return tuple(word for word in (error.get("message"), raw) if isinstance(word, str) and word)


def fold_anthropic(events: Iterable[Any]) -> Whole:
    """The message that a stream of the Messages API makes, or as much of it as came."""
    message: JSON = {}
    texts: dict[int, dict[str, str]] = {}
    failure = None
    for event in events:
        kind = event["type"]
        if kind == "error":
            failure = Failure(words=_words(event))
            break
        if kind == "message_start":
            message = copy.deepcopy(event["message"])
        elif kind == "content_block_start":
            message["content"].append(dict(event["content_block"]))
            texts[event["index"]] = {}
        elif kind == "content_block_delta":
            _fold_delta(message["content"][event["index"]], texts[event["index"]], event["delta"])
        elif kind == "message_delta":
            message.update(event["delta"])
            message["usage"] = {**(message.get("usage") or {}), **(event.get("usage") or {})}
            message.update({key: event[key] for key in event if key not in ("type", "delta", "usage")})
    for index, parts in texts.items():
        block = message["content"][index]
        for field, text in parts.items():
            if field != "input":
                block[field] = (block.get(field) or "") + text
            elif text:
                block["input"] = _arguments(text)
    return Whole(message, failure)


def _fold_delta(block: JSON, parts: dict[str, str], delta: JSON) -> None:
    kind = delta["type"]
    fields = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
    if kind in fields:
        parts[fields[kind]] = parts.get(fields[kind], "") + delta[fields[kind]]
    elif kind == "input_json_delta":
        parts["input"] = parts.get("input", "") + delta["partial_json"]
    elif kind == "compaction_delta":
        parts["content"] = parts.get("content", "") + (delta.get("content") or "")
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]


def _fold_chat(events: Iterable[Any]) -> Whole:
    message: JSON = {"role": "assistant", "content": None}
    body: JSON = {"object": "chat.completion"}
    choice: JSON = {"index": 0, "message": message, "finish_reason": None}
    calls: list[JSON] = []
    failure = None
    for event in events:
        if not isinstance(event, dict):
            continue
        if event.get("error"):
            failure = Failure(words=_words(event))
            break
        body.update({key: event[key] for key in ("id", "model", "created", "citations") if event.get(key)})
        usage = event.get("usage") or (event.get("x_groq") or {}).get("usage")
        body.update({"usage": usage} if usage else {})
        for part in event.get("choices") or ():
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
            delta = part.get("delta") or {}
            for field in ("reasoning_content", "reasoning", "refusal"):
                if delta.get(field):
                    message[field] = (message.get(field) or "") + delta[field]
            for field in ("reasoning_details", "annotations"):
                if delta.get(field):
                    message[field] = [*message.get(field, ()), *delta[field]]
            message["content"] = _join_content(message["content"], delta.get("content"))
            for call in delta.get("tool_calls") or ():
                _fold_chat_call(calls, call)
    if calls:
        message["tool_calls"] = [{key: call[key] for key in call if key != "index"} for call in calls]
    return Whole({**body, "choices": [choice]}, failure)


def _join_content(before: Any, more: Any) -> Any:
    """Text stays text; as soon as there are parts, all are parts, and neighbours of one kind are joined."""
    if not more:
        return before
    if isinstance(more, str) and not isinstance(before, list):
        return (before or "") + more
    parts = list(before) if isinstance(before, list) else [{"type": "text", "text": before}] if before else []
    for part in [{"type": "text", "text": more}] if isinstance(more, str) else more:
        last = parts[-1] if parts else {}
        if last.get("type") != part["type"]:
            parts.append(part)
        elif part["type"] == "text":
            parts[-1] = {**last, "text": last["text"] + part["text"]}
        elif part["type"] == "thinking":
            parts[-1] = {**last, "thinking": [*last["thinking"], *part["thinking"]]}
        else:
            parts.append(part)
    return parts


def _fold_chat_call(calls: list[JSON], piece: JSON) -> None:
    function = piece.get("function") or {}
    index, ident = piece.get("index"), piece.get("id") or ""
    call = None
    if index is not None:
        call = next((known for known in reversed(calls) if known["index"] == index), None)
    elif calls and not function.get("name"):
        call = calls[-1]
    if call is None or (ident and call["id"] and ident != call["id"] and function.get("name")):
        call = {"index": index, "id": ident, "type": "function", "function": {"name": "", "arguments": ""}}
        calls.append(call)
    call["id"] = call["id"] or ident
    call["function"]["name"] = call["function"]["name"] or function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def _fold_responses(events: Iterable[Any]) -> Whole:
    items: dict[int, JSON] = {}
    body: JSON = {}
    failure = None
    for event in events:
        kind = event["type"] if isinstance(event, dict) else ""
        if kind == "response.output_item.done":
            items[event["output_index"]] = event["item"]
        elif kind.startswith("response.") and isinstance(event.get("response"), dict):
            body = event["response"]
        if kind == "error" or kind == "response.failed":
            failure = failure or Failure(words=_words(body if kind == "response.failed" else event))
    if not body.get("output"):
        body = {**body, "output": [items[index] for index in sorted(items)]}
    return Whole(body, failure)


def _fold_gemini(events: Iterable[Any]) -> Whole:
    candidate: JSON = {"content": {"role": "model", "parts": []}}
    parts: list[JSON] = candidate["content"]["parts"]
    body: JSON = {"candidates": [candidate], "usageMetadata": {}}
    growing: JSON | None = None
    for event in events:
        if event.get("error"):
            return Whole(body, Failure(words=_words(event)))
        body.update({key: event[key] for key in ("modelVersion", "responseId", "promptFeedback") if key in event})
        body["usageMetadata"].update(event.get("usageMetadata") or {})
        for piece in event.get("candidates") or ():
            candidate.update({key: value for key, value in piece.items() if key != "content"})
            for part in (piece.get("content") or {}).get("parts") or ():
                call = part.get("functionCall")
                if call is None:
                    parts.append(part)
                    continue
                if growing is None:
                    growing = {"args": {}}
                    parts.append({**part, "functionCall": growing})
                growing.update({key: call[key] for key in ("name", "id", "args") if key in call})
                for piece_of_arguments in call.get("partialArgs") or ():
                    _set(growing["args"], piece_of_arguments)
                if not call.get("willContinue"):
                    growing = None
    return Whole(body)


def _set(target: Any, piece: JSON) -> None:
    """Put one of Gemini's partial arguments in its place; ``jsonPath`` is like ``$.items[0].name``."""
    steps = [
        name or quoted if not index else int(index)
        for name, index, quoted in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]|\['((?:[^'])*)'\]", piece["jsonPath"])
    ]
    value = next((piece[key] for key in ("stringValue", "numberValue", "boolValue") if key in piece), None)
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(step, int):
            target.extend([None] * (step + 1 - len(target)))
            before = target[step]
        else:
            before = target.get(step)
        if following is None:
            target[step] = before + value if isinstance(before, str) and isinstance(value, str) else value
        elif before is None:
            target[step] = [] if isinstance(following, int) else {}
        target = target[step]


_FOLDS = {
    "anthropic": fold_anthropic,
    "openai-chat": _fold_chat,
    "openai-responses": _fold_responses,
    "gemini": _fold_gemini,
}


# --- reading a whole answer ---------------------------------------------------------------------------------


def expected(recording: Recording) -> Expected:
    """What ``recording`` means.  Raises ``LookupError`` for a dialect that is not known here."""
    answer = whole(recording)
    if recording.failed:
        return Expected(failure=answer.failure)
    said = _READERS[recording.dialect](answer.body)
    if answer.failure is None:
        return said
    return attrs.evolve(said, stop_reason=None, usage={}, failure=answer.failure)


def _expected_anthropic(body: JSON) -> Expected:
    content = body.get("content") or []
    usage = body.get("usage") or {}
    fields = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return Expected(
        texts=tuple(block["text"] for block in content if block["type"] == "text"),
        thoughts=tuple(block["thinking"] for block in content if block["type"] == "thinking"),
        calls=tuple(Call(block["name"], block["input"]) for block in content if block["type"] == "tool_use"),
        stop_reason=body.get("stop_reason"),
        usage={field: (usage[field],) for field in fields if isinstance(usage.get(field), int)},
    )


def _expected_chat(body: JSON) -> Expected:
    choice = body["choices"][0]
    message = choice["message"]
    texts, thoughts = _chat_texts(message.get("content"))
    details = message.get("reasoning_details") or ()
    # Several fields may carry the same thinking: the first that is there is enough.
    for thinking in (
        message.get("reasoning_content"),
        message.get("reasoning"),
        "".join(str(part.get("text") or part.get("summary") or "") for part in details),
    ):
        if isinstance(thinking, str) and thinking and not thoughts:
            thoughts = (thinking,)
    refusal = message.get("refusal")
    functions = [call["function"] for call in message.get("tool_calls") or ()]
    if (message.get("function_call") or {}).get("name"):
        functions.append(message["function_call"])
    calls = tuple(Call(function["name"], _arguments(function["arguments"])) for function in functions)
    reasons = {"length": "max_tokens", "content_filter": "refusal"}
    normal = "tool_use" if calls else "end_turn"
    return Expected(
        texts=(*texts, refusal) if refusal else texts,
        thoughts=thoughts,
        calls=calls,
        stop_reason=None if refusal else reasons.get(choice.get("finish_reason") or "", normal),
        usage=_chat_usage(body.get("usage") or {}),
    )


def _chat_texts(content: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if isinstance(content, list):
        texts = tuple(part["text"] for part in content if part["type"] == "text")
        thoughts = (part["thinking"] for part in content if part["type"] == "thinking")
        return texts, tuple("".join(piece["text"] for piece in pieces) for pieces in thoughts)
    tagged = re.fullmatch(r"\s*<think>\s*(.*?)\s*(?:</think>\s*(.*)|$)", content or "", re.S)
    if tagged:
        # Empty runs at the ends: the white space around the tags belongs to nobody.
        return ("", tagged[2] or ""), ("", tagged[1], "")
    return ((content,) if content else ()), ()


def _chat_usage(usage: JSON) -> dict[str, tuple[int, ...]]:
    if not usage:
        return {}
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    details = usage.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or usage.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0
    written = details.get("cache_write_tokens") or 0
    # Some providers leave the thinking out of completion_tokens and count it in the total only.
    total = usage.get("total_tokens") or 0
    return {
        "input_tokens": (prompt - cached - written,),
        "output_tokens": (completion, max(completion, total - prompt)),
        "cache_read_input_tokens": (cached,),
        "cache_creation_input_tokens": (written,),
    }


_CLIENT_ITEMS = frozenset(
    {
        "custom_tool_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "computer_call",
        "mcp_approval_request",
        "image_generation_call",
    }
)
"""Items of a Responses answer for which the Messages API has no one form."""


def _expected_responses(body: JSON) -> Expected:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Call] = []
    for item in body.get("output") or ():
        if item["type"] == "message":
            texts += [part.get("text") or part.get("refusal") or "" for part in item["content"]]
        elif item["type"] == "reasoning":
            thoughts += [part["text"] for part in item.get("summary") or item.get("content") or ()]
        elif item["type"] == "function_call":
            calls.append(Call(item["name"], _arguments(item["arguments"])))
    open_ = any(item["type"] in _CLIENT_ITEMS for item in body.get("output") or ())
    reason = (body.get("incomplete_details") or {}).get("reason")
    reasons = {"max_output_tokens": "max_tokens", "content_filter": "refusal"}
    usage = body.get("usage") or {}
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
    return Expected(
        texts=tuple(texts),
        thoughts=tuple(thoughts),
        calls=tuple(calls),
        stop_reason=None if open_ else reasons.get(reason or "", "tool_use" if calls else "end_turn"),
        usage={
            "input_tokens": (usage["input_tokens"] - cached,),
            "output_tokens": (usage["output_tokens"],),
            "cache_read_input_tokens": (cached,),
        }
        if usage
        else {},
        open=open_,
    )


_GEMINI_REFUSALS = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"})


def _expected_gemini(body: JSON) -> Expected:
    candidate: JSON = next(iter(body.get("candidates") or ()), {})
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Call] = []
    run: list[str] | None = None
    for part in (candidate.get("content") or {}).get("parts") or ():
        if "text" in part:
            # Parts that follow each other are pieces of one text.
            into = thoughts if part.get("thought") else texts
            if run is not into:
                into.append("")
            run = into
            into[-1] += part["text"]
        else:
            run = None
            if "functionCall" in part:
                calls.append(Call(part["functionCall"]["name"], part["functionCall"].get("args") or {}))
    finish = candidate.get("finishReason")
    blocked = bool((body.get("promptFeedback") or {}).get("blockReason"))
    stop: str | None = None
    if blocked or finish in _GEMINI_REFUSALS:
        stop = "refusal"
    elif finish == "MAX_TOKENS":
        stop = "max_tokens"
    elif calls:
        stop = "tool_use"
    elif finish == "STOP":
        stop = "end_turn"
    return Expected(
        texts=tuple(texts),
        thoughts=tuple(thoughts),
        calls=tuple(calls),
        stop_reason=stop,
        usage=_gemini_usage(body.get("usageMetadata") or {}),
    )


def _gemini_usage(usage: JSON) -> dict[str, tuple[int, ...]]:
    if "promptTokenCount" not in usage:
        return {}
    cached = usage.get("cachedContentTokenCount", 0)
    prompt = usage["promptTokenCount"] - cached
    # What a tool of the provider put into the prompt is counted apart; adding it is as right as leaving it out.
    return {
        "input_tokens": (prompt, prompt + usage.get("toolUsePromptTokenCount", 0)),
        "output_tokens": (usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0),),
        "cache_read_input_tokens": (cached,),
    }


def _arguments(text: Any) -> Any:
    """Arguments as the Messages API has them; text that is no JSON object is kept the way clients replay it."""
    if isinstance(text, dict):
        return text
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"__unparsedToolInput": {"raw": text, "len": len(text)}}


_READERS = {
    "anthropic": _expected_anthropic,
    "openai-chat": _expected_chat,
    "openai-responses": _expected_responses,
    "gemini": _expected_gemini,
}
