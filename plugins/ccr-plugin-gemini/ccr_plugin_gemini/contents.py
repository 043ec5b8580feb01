"""The conversation, from the form of the Messages API to ``contents``.

The hard rules of the service: roles alternate and a user begins; what follows a content with calls is a user content
with one response for each of them, in their order, and a response names its function.  So whatever stands between
calls and results in the original comes after the responses; a call that was never answered gets a response saying
so; a result without its call becomes text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from ccr_core import JSON, Context, Request, blocks_of, described, result_text

from .families import Family
from .options import Options
from .thinking import SKIP, Thoughts, thoughts_of
from .tools import short_name

ACCOUNTING = "x-anthropic-billing-header:"
"""The start of a system block that the client means for its own service; it changes with every request."""

INTERRUPTED = "(interrupted: the tool gave no result)"
NO_OUTPUT = "(no output)"
BEGIN = "(The conversation begins with your own words.)"
GO_ON = "Go on exactly where your last message stops, without repeating any of it."

REFUSED = frozenset({"image/gif", "image/svg+xml", "image/bmp", "image/tiff", "image/x-icon"})
"""Types of images that the service refuses together with the whole request."""

_TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "pdf": "application/pdf"}


def contents(
    request: Request, ctx: Context, options: Options, family: Family, maker: str, instruction: str = ""
) -> tuple[list[JSON], list[JSON]]:
    """The contents, and the parts of the system instruction, to which ``instruction`` is added."""
    system = [
        {"text": str(block["text"])}
        for block in request.system_blocks()
        if block.get("type") == "text" and block.get("text") and not str(block["text"]).lstrip().startswith(ACCOUNTING)
    ]
    if instruction:
        system.append({"text": instruction})
    conversation = _Conversation(ctx, options, family, maker)
    if system and not family.instruction:
        ctx.note("messages", "the system prompt is part of the first user message: the model takes no other")
        conversation.say(system)
        system = []
    conversation.turns(request.messages)
    return conversation.finished(), system


class _Conversation:
    """The contents made so far."""

    def __init__(self, ctx: Context, options: Options, family: Family, maker: str) -> None:
        self._ctx = ctx
        self._options = options
        self._family = family
        self._maker = maker
        self._nested = options.tools.files == "nested" or (options.tools.files == "auto" and family.nests)
        self._out: list[JSON] = []
        self._open: dict[str, str] = {}
        """The calls of the last model content that are to be answered: id → name as sent."""
        self._answers: dict[str, JSON] = {}
        self._beside: dict[str, list[JSON]] = {}
        """Parts of results that go beside the responses, by the id of the call."""
        self._waiting: list[JSON] = []
        """Parts that came before all calls were answered."""
        self._lost: Counter[str] = Counter()

    # --- what goes in ------------------------------------------------------------------------------------------

    def turns(self, turns: list[JSON]) -> None:
        """Add the messages of the conversation."""
        blocks: list[JSON] = []
        for place, turn in enumerate(turns):
            role = turn.get("role")
            if role == "assistant":
                # An answer may be spread over several messages, and its calls must not be torn apart.
                blocks = [*blocks, *blocks_of(turn.get("content"))]
                if place + 1 == len(turns) or turns[place + 1].get("role") != "assistant":
                    self._assistant(blocks)
                    blocks = []
            elif role == "system":
                self._user(blocks_of(turn.get("content")), system=True)
            else:
                self._user(blocks_of(turn.get("content")))
        self._settle()

    def _user(self, blocks: list[JSON], system: bool = False) -> None:
        parts: list[JSON] = []
        for block in blocks:
            if block.get("type") != "tool_result":
                made = list(self._parts(block))
                # Gemini has no system messages in the conversation; this is how the client itself marks them.
                parts += [_reminder(part) for part in made] if system else made
                continue
            call = str(block.get("tool_use_id") or "")
            if call in self._open and call not in self._answers:
                self._answers[call] = self._response(call, block)
            else:
                self._lost["tool results without their call, now text"] += 1
                how = "failed" if block.get("is_error") else "gave"
                inner = [part for one in blocks_of(block.get("content")) for part in self._parts(one)]
                parts += [{"text": f"[an earlier tool call ({call}) {how}:]"}, *inner]
        if self._open and len(self._answers) == len(self._open):
            self._settle()
        if self._open:
            self._waiting += parts
        elif parts:
            self.say(parts)

    def _assistant(self, blocks: list[JSON]) -> None:
        self._settle()
        thoughts = thoughts_of(blocks, self._ctx, self._maker, self._options.thinking)
        if thoughts.foreign:
            self._lost["thinking blocks of another service or model left out"] += thoughts.foreign
        parts = self._model_parts(blocks, thoughts)
        if not any("thought" not in part for part in parts):
            if parts or (blocks and not thoughts.foreign):
                self._lost["messages of the assistant without text or calls left out"] += 1
            return
        self._sign(parts)
        if not self._out:
            self._ctx.note("messages", "a user message put before the first one, which is the assistant's")
            self.say([{"text": BEGIN}])
        if self._out[-1]["role"] == "model":
            self._out[-1]["parts"] += parts
        else:
            self._out.append({"role": "model", "parts": parts})

    def _model_parts(self, blocks: list[JSON], thoughts: Thoughts) -> list[JSON]:
        parts: list[JSON] = []
        following: str | None = None
        for place, block in enumerate(blocks):
            kind = block.get("type")
            if kind in ("thinking", "redacted_thinking"):
                seal = thoughts.seals.get(place)
                if seal is not None:
                    self._unsealed(block, seal, parts)
                    following = seal.get("n") or following
                continue
            if kind == "tool_use":
                parts.append(self._call(block, thoughts))
                continue
            if str(block.get("id") or block.get("tool_use_id") or "") in thoughts.shown:
                continue
            if block.get("citations"):
                self._lost["citations left out"] += len(block["citations"])
            for part in self._parts(block):
                if following:
                    part["thoughtSignature"], following = following, None
                parts.append(part)
        return parts

    def _unsealed(self, block: JSON, seal: JSON, parts: list[JSON]) -> None:
        """Put what the thinking ``block`` holds into ``parts``."""
        before = seal.get("p")
        if before:
            if parts and "text" in parts[-1] and not parts[-1].keys() & {"thoughtSignature", "thought"}:
                parts[-1] = {**parts[-1], "thoughtSignature": before}
            else:
                parts.append({"text": "", "thoughtSignature": before})
        text, own = str(block.get("thinking") or ""), seal.get("t")
        if own or (text and self._options.thinking.replay == "all"):
            thought: JSON = {"text": text if self._options.thinking.replay == "all" else "", "thought": True}
            parts.append({**thought, "thoughtSignature": own} if own else thought)
        parts += [{"text": "", "thoughtSignature": signature} for signature in seal.get("e") or ()]
        parts += seal.get("r") or ()

    def _call(self, block: JSON, thoughts: Thoughts) -> JSON:
        ident = str(block.get("id") or "")
        given = block.get("input")
        name = self._name(str(block.get("name") or ""))
        self._open[ident] = name
        call: JSON = {"id": ident} if self._options.tools.ids else {}
        call |= {"name": name, "args": given if isinstance(given, dict) else {}}
        part: JSON = {"functionCall": call}
        signature = thoughts.calls.get(ident)
        return {**part, "thoughtSignature": signature} if signature else part

    def _sign(self, parts: list[JSON]) -> None:
        """Of calls made at once the first bears the signature; without one newer models refuse the request."""
        way = self._options.thinking.missing
        if way == "none" or (way == "auto" and not self._family.signs):
            return
        for part in parts:
            if "functionCall" in part:
                if "thoughtSignature" not in part:
                    part["thoughtSignature"] = SKIP
                    self._lost["calls without a signature of this model"] += 1
                return

    def _response(self, call: str, block: JSON) -> JSON:
        only = result_text(block)
        texts: list[str] = [only] if only else []
        files: list[JSON] = []
        for inner in blocks_of(block.get("content")) if only is None else ():
            for part in self._parts(inner):
                if "text" in part:
                    texts.append(part["text"])
                else:
                    files.append(part)
        nested = [part for part in files if self._nested and "inlineData" in part]
        beside = [part for part in files if part not in nested]
        if beside:
            texts.append("(the result has a file: it follows the responses)")
            label = f"[file of the result of {self._open[call]} ({call}):]"
            self._beside[call] = [{"text": label}, *beside]
        text = "\n".join(texts) or ("(a file)" if nested else NO_OUTPUT)
        response: JSON = {"id": call} if self._options.tools.ids else {}
        response |= {"name": self._open[call], "response": {"error" if block.get("is_error") else "output": text}}
        if nested:
            response["parts"] = nested
        return {"functionResponse": response}

    # --- the order ---------------------------------------------------------------------------------------------

    def say(self, parts: list[JSON]) -> None:
        """Add ``parts`` of the user's side."""
        if self._out and self._out[-1]["role"] == "user":
            self._out[-1]["parts"] += parts
        else:
            self._out.append({"role": "user", "parts": list(parts)})

    def _settle(self) -> None:
        """Put out the responses to the last calls, in the order of the calls, and what waited for them."""
        if self._open:
            responses = []
            for call, name in self._open.items():
                answer = self._answers.get(call)
                if answer is None:
                    self._lost["tool calls without a result"] += 1
                    response: JSON = {"id": call} if self._options.tools.ids else {}
                    answer = {"functionResponse": {**response, "name": name, "response": {"error": INTERRUPTED}}}
                responses.append(answer)
            files = [part for call in self._open for part in self._beside.get(call, ())]
            if self._waiting:
                self._ctx.note("messages", "what stood between tool calls and their results now follows the results")
            self.say([*responses, *files, *self._waiting])
        self._open, self._answers, self._beside, self._waiting = {}, {}, {}, []

    # --- blocks ------------------------------------------------------------------------------------------------

    def _parts(self, block: JSON) -> Iterator[JSON]:
        """The parts that a block becomes; each is new."""
        kind = block.get("type")
        if kind == "text":
            if block.get("text"):
                yield {"text": str(block["text"])}
        elif kind == "image":
            yield self._file(block.get("source") or {}, "image", "image/png")
        elif kind == "document":
            yield from self._document(block)
        else:
            text = self._described(block)
            if text:
                yield {"text": text}

    def _document(self, block: JSON) -> Iterator[JSON]:
        source = block.get("source") or {}
        title = str(block.get("title") or "")
        if block.get("context"):
            yield {"text": str(block["context"])}
        if source.get("type") == "text":
            name = f' title="{title}"' if title else ""
            yield {"text": f"<document{name}>\n{source.get('data') or ''}\n</document>"}
            return
        if title:
            yield {"text": title}
        if source.get("type") == "content":
            for inner in blocks_of(source.get("content")):
                yield from self._parts(inner)
        else:
            yield self._file(source, "document", "application/pdf")

    def _file(self, source: JSON, what: str, usual: str) -> JSON:
        kind = source.get("type")
        uri = str(source.get("url") or "") if kind == "url" else ""
        if kind == "base64" or uri.startswith("data:"):
            media, data = str(source.get("media_type") or ""), uri or str(source.get("data") or "")
            if data.startswith("data:"):
                head, _, data = data.partition(",")
                media = media or head.removeprefix("data:").partition(";")[0]
            media = media or usual
            if data and media not in REFUSED:
                return {"inlineData": {"mimeType": media, "data": data}}
            self._lost[f"{what}s of type {media} left out"] += 1
            return {"text": f"[{what} omitted: this model cannot be given {media}]"}
        if uri and self._options.urls:
            ending = uri.partition("?")[0].rpartition(".")[2].casefold()
            return {"fileData": {"mimeType": _TYPES.get(ending, usual), "fileUri": uri}}
        self._lost[f"{what}s left out"] += 1
        return {"text": f"[{what} omitted]"}

    def _described(self, block: JSON) -> str:
        return described(block, self._name, self._lost)

    def _name(self, name: str) -> str:
        return short_name(name, self._options.tools.name_max)

    # --- what comes out ----------------------------------------------------------------------------------------

    def finished(self) -> list[JSON]:
        """The contents as they are sent."""
        if not self._out:
            self._ctx.note("messages", "there is no text to send; an empty message stands for it")
            self.say([{"text": " "}])
        if self._out[-1]["role"] == "model":
            self._ctx.note("messages", "the started answer cannot be continued; the model is asked in words to go on")
            self.say([{"text": GO_ON}])
        for what, count in self._lost.items():
            self._ctx.note("messages", f"{count} {what}")
        return self._out


def _reminder(part: JSON) -> JSON:
    return {"text": f"<system-reminder>\n{part['text']}\n</system-reminder>"} if "text" in part else part


def _compact(value: Any) -> str:
    return orjson.dumps(value).decode()
