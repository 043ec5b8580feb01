"""The conversation, from the form of the Messages API to that of chat completions.

The hard rule of chat completions is that the messages of role ``tool`` follow the calls that they answer directly,
one for each call.  So whatever stands between calls and results in the original waits until the results are out;
a call that was never answered gets a result saying so; a result without its call becomes text.  Everything that a
tool message cannot hold (images, mostly) follows in a user message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from ccr_core import (
    FOREIGN_THINKING,
    JSON,
    Context,
    Request,
    as_error,
    blocks_of,
    described,
    result_text,
    short_name,
)

from .options import Options
from .reasoning import Thoughts, replay, thoughts_of, wish_of
from .tools import Ids

ACCOUNTING = "x-anthropic-billing-header:"
"""The start of a system block that the client means for its own service; it changes with every request."""

INTERRUPTED = "(interrupted: the tool gave no result)"
NO_OUTPUT = "(no output)"
GO_ON = "Go on exactly where your last message stops, without repeating any of it."


def messages(request: Request, ctx: Context, options: Options, instruction: str = "") -> list[JSON]:
    """The conversation of ``request``; ``instruction`` is added to its system prompt."""
    conversation = _Conversation(ctx, options, wish_of(request, ctx, options).on is not False)
    conversation.system(request.system_blocks(), instruction)
    conversation.turns(request.messages)
    return conversation.finished()


def reminder(text: str) -> str:
    """``text`` marked as not being the user's own words, in the way that the client itself does it."""
    return f"<system-reminder>\n{text}\n</system-reminder>"


class _Conversation:
    """The messages made so far.

    Until :meth:`finished`, the content of all but assistant messages is a list of parts, or the text that stands for
    the only one of a tool message.
    """

    def __init__(self, ctx: Context, options: Options, thinks: bool) -> None:
        self._ctx = ctx
        self._thinks = thinks
        self._options = options
        self._content = options.content
        self._ids = Ids(options.tools.id_style)
        self._out: list[JSON] = []
        self._answers: dict[str, JSON | None] = {}
        """The calls of the last assistant message, by their original ids, and their results so far."""
        self._waiting: list[JSON] = []
        """Messages that came before the calls were all answered."""
        self._lifted: list[JSON] = []
        """Parts that the tool messages cannot hold."""
        self._lost: Counter[str] = Counter()

    # --- what goes in ------------------------------------------------------------------------------------------

    def system(self, blocks: list[JSON], instruction: str) -> None:
        """Add the system prompt."""
        parts = [
            self._text(block)
            for block in blocks
            if block.get("type") == "text"
            and block.get("text")
            and not str(block["text"]).lstrip().startswith(ACCOUNTING)
        ]
        if instruction:
            parts.append({"type": "text", "text": instruction})
        if parts:
            self._out.append({"role": self._content.system_role, "content": parts})

    def turns(self, turns: list[JSON]) -> None:
        """Add the messages of the conversation."""
        since = _last_question(turns) if self._options.reasoning.replay == "tool_loop" else 0
        blocks: list[JSON] = []
        for place, turn in enumerate(turns):
            role = turn.get("role")
            if role == "assistant":
                # An answer may be spread over several messages, and its calls must not be torn apart.
                blocks = [*blocks, *blocks_of(turn.get("content"))]
                if place + 1 == len(turns) or turns[place + 1].get("role") != "assistant":
                    self._assistant(blocks, place >= since)
                    blocks = []
            elif role == "system":
                self._inline_system(blocks_of(turn.get("content")))
            else:
                self._user(blocks_of(turn.get("content")))
        self._settle()

    def _inline_system(self, blocks: list[JSON]) -> None:
        parts = [self._text(block) for block in blocks if block.get("type") == "text" and block.get("text")]
        if not parts:
            return
        if self._content.inline_system == "user" or self._content.system_role == "user":
            parts = [{**part, "text": reminder(part["text"])} for part in parts]
            self._add({"role": "user", "content": parts})
        else:
            self._add({"role": self._content.system_role, "content": parts})

    def _user(self, blocks: list[JSON]) -> None:
        parts: list[JSON] = []
        for block in blocks:
            if block.get("type") != "tool_result":
                parts += self._parts(block)
                continue
            call = str(block.get("tool_use_id") or "")
            if call in self._answers and self._answers[call] is None:
                self._answers[call] = self._result(call, block)
            else:
                self._lost["tool results without their call, now text"] += 1
                inner = [part for one in blocks_of(block.get("content")) for part in self._parts(one)]
                error = "failed" if block.get("is_error") else "gave"
                parts += [{"type": "text", "text": f"[an earlier tool call ({call}) {error}:]"}, *inner]
        if self._answers and None not in self._answers.values():
            self._settle()
        if parts:
            self._add({"role": "user", "content": parts})

    def _assistant(self, blocks: list[JSON], replayed: bool) -> None:
        self._settle()
        uses: list[JSON] = []
        thinking: list[JSON] = []
        for block in blocks:
            kind = block.get("type")
            if kind == "tool_use":
                uses.append(block)
            elif kind in ("thinking", "redacted_thinking"):
                thinking.append(block)
        thoughts = thoughts_of(thinking, self._ctx, self._options)
        if thoughts.foreign:
            self._lost[FOREIGN_THINKING] += thoughts.foreign
        calls = [self._call(block, thoughts) for block in uses]
        text, mark = self._spoken(blocks)
        way = self._options.reasoning.replay
        has_thoughts = bool(thoughts.text or thoughts.details) and replayed and way != "none"
        if not (text or calls or has_thoughts):
            if blocks and not thoughts.foreign:
                self._lost["empty assistant messages"] += 1
            return
        message: JSON = {"role": "assistant"}
        if text or not calls:
            message["content"] = [{"type": "text", "text": text, **mark}] if mark else text
        elif self._content.empty != "omit":
            message["content"] = None if self._content.empty == "null" else ""
        if calls:
            message["tool_calls"] = calls
        if thoughts.message is not None:
            message["extra_content"] = thoughts.message
        if has_thoughts or (way == "required_empty" and self._thinks):
            message = replay(message, thoughts, self._options)
        self._out.append(message)

    def _spoken(self, blocks: list[JSON]) -> tuple[str, JSON]:
        """The text of an assistant message, and its cache mark."""
        text = ""
        mark: JSON = {}
        cited = False
        for block in blocks:
            kind = block.get("type")
            if kind in ("thinking", "redacted_thinking", "tool_use"):
                cited = False
                continue
            piece = str(block.get("text") or "") if kind == "text" else self._described(block)
            if not piece:
                continue
            if block.get("cache_control"):
                mark = self._mark(block)
            # Text with citations comes in blocks that are one text; other blocks are paragraphs.
            cites = bool(block.get("citations"))
            if cites:
                self._lost["citations left out"] += len(block["citations"])
            text += ("" if not text or cites or cited else "\n\n") + piece
            cited = cites
        return text, mark

    def _call(self, block: JSON, thoughts: Thoughts) -> JSON:
        given = block.get("input")
        call_id = str(block.get("id") or "")
        self._answers[call_id] = None
        arguments = orjson.dumps({} if given is None else given).decode()
        function = {"name": self._name(str(block.get("name") or "")), "arguments": arguments}
        call: JSON = {"id": self._ids(call_id), "type": "function", "function": function}
        if call_id in thoughts.calls:
            call["extra_content"] = thoughts.calls[call_id]
        return call

    def _result(self, call: str, block: JSON) -> JSON:
        text = result_text(block)
        if text is not None:
            text = as_error(text or NO_OUTPUT) if block.get("is_error") else text or NO_OUTPUT
            return {"role": "tool", "tool_call_id": self._ids(call), "content": text}
        parts: list[JSON] = []
        lifted: list[JSON] = []
        for inner in blocks_of(block.get("content")):
            for part in self._parts(inner):
                if part["type"] == "text" or (part["type"] == "image_url" and self._content.image_in_tool):
                    parts.append(part)
                else:
                    lifted.append(part)
        if lifted:
            what = "an image" if all(part["type"] == "image_url" for part in lifted) else "a file"
            parts.append({"type": "text", "text": f"(the result has {what}: see the next message)"})
            label = f"[{what} of the result of tool call {self._ids(call)}:]"
            self._lifted += [{"type": "text", "text": label}, *lifted]
        if not any(part.get("text") or part["type"] != "text" for part in parts):
            parts = [{"type": "text", "text": NO_OUTPUT}]
        if block.get("is_error"):
            first = parts[0]
            if first["type"] == "text":
                parts[0] = {**first, "text": as_error(first["text"])}
            else:
                parts.insert(0, {"type": "text", "text": "Error:"})
        if block.get("cache_control"):
            parts[-1] = {**parts[-1], **self._mark(block)}
        return {"role": "tool", "tool_call_id": self._ids(call), "content": parts}

    # --- the order ---------------------------------------------------------------------------------------------

    def _add(self, message: JSON) -> None:
        if self._answers:
            self._waiting.append(message)
        else:
            self._place(message)

    def _place(self, message: JSON) -> None:
        last = self._out[-1] if self._out else {}
        if message["role"] == "user" and last.get("lifted"):
            last["content"] += message["content"]
        else:
            self._out.append(message)

    def _settle(self) -> None:
        """Put out the results of the last calls, in the order of the calls, and what waited for them."""
        if not (self._answers or self._lifted or self._waiting):
            return
        for call, answer in self._answers.items():
            if answer is None:
                self._lost["tool calls without a result"] += 1
                answer = {
                    "role": "tool",
                    "tool_call_id": self._ids(call),
                    "content": [{"type": "text", "text": INTERRUPTED}],
                }
            self._out.append(answer)
        self._answers = {}
        if self._lifted:
            self._out.append({"role": "user", "content": self._lifted, "lifted": True})
            self._lifted = []
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._place(message)

    # --- blocks ------------------------------------------------------------------------------------------------

    def _mark(self, block: JSON) -> JSON:
        mark = block.get("cache_control")
        return {"cache_control": mark} if mark and self._options.cache_marks else {}

    def _text(self, block: JSON) -> JSON:
        return {"type": "text", "text": str(block.get("text") or ""), **self._mark(block)}

    def _parts(self, block: JSON) -> Iterator[JSON]:
        """The parts that a block of a user message or tool result becomes."""
        kind = block.get("type")
        if kind == "text":
            if block.get("text"):
                yield self._text(block)
        elif kind == "image":
            yield {**self._image(block.get("source") or {}), **self._mark(block)}
        elif kind == "document":
            yield from self._document(block)
        else:
            text = self._described(block)
            if text:
                yield {"type": "text", "text": text}

    def _image(self, source: JSON) -> JSON:
        kind = source.get("type")
        if kind == "base64" and self._content.images != "none":
            data = str(source.get("data") or "")
            if not data.startswith("data:"):
                data = f"data:{source.get('media_type') or 'image/png'};base64,{data}"
            return {"type": "image_url", "image_url": {"url": data}}
        if kind == "url" and self._content.images == "url":
            return {"type": "image_url", "image_url": {"url": str(source.get("url") or "")}}
        self._lost["images left out"] += 1
        return {"type": "text", "text": "[image omitted]"}

    def _document(self, block: JSON) -> Iterator[JSON]:
        source = block.get("source") or {}
        kind = source.get("type")
        title = str(block.get("title") or "")
        if block.get("context"):
            yield {"type": "text", "text": str(block["context"])}
        if kind == "text":
            name = f' title="{title}"' if title else ""
            yield {
                "type": "text",
                "text": f"<document{name}>\n{source.get('data') or ''}\n</document>",
                **self._mark(block),
            }
        elif kind == "content":
            if title:
                yield {"type": "text", "text": title}
            for inner in blocks_of(source.get("content")):
                yield from self._parts(inner)
        else:
            yield {**self._file(source, title or "document.pdf"), **self._mark(block)}

    def _file(self, source: JSON, title: str) -> JSON:
        way = self._content.documents
        url = None
        if source.get("type") == "base64":
            url = f"data:{source.get('media_type') or 'application/pdf'};base64,{source.get('data') or ''}"
        elif source.get("type") == "url" and way in ("file_or_url", "document_url"):
            url = str(source.get("url") or "")
        if url and way == "document_url":
            return {"type": "document_url", "document_url": url}
        if url and way != "none":
            return {"type": "file", "file": {"filename": title, "file_data": url}}
        self._lost["documents left out"] += 1
        return {"type": "text", "text": f"[document omitted: {title}; this model cannot be given such files]"}

    def _described(self, block: JSON) -> str:
        return described(block, self._name, self._lost)

    def _name(self, name: str) -> str:
        return short_name(name, self._options.tools.name_max)

    # --- what comes out ----------------------------------------------------------------------------------------

    def finished(self) -> list[JSON]:
        """The messages as they are sent."""
        self._last_word()
        for what, count in self._lost.items():
            self._ctx.note("messages", f"{count} {what}")
        out: list[JSON] = []
        for message in self._joined():
            if message["role"] != "assistant" and not isinstance(message["content"], str):
                message["content"] = _content(message["content"], "\n" if message["role"] == "tool" else "\n\n")
                message.pop("lifted", None)
            if self._content.after_tool and message["role"] == "user" and out and out[-1]["role"] == "tool":
                out.append({"role": "assistant", "content": self._content.after_tool})
            out.append(message)
        if self._options.cache_marks:
            _limit_marks(out, min(self._options.cache_marks, 4), self._ctx)
        return out

    def _last_word(self) -> None:
        """Chat completions answer; they do not go on with the assistant's own text unless told so."""
        if not self._out or self._out[-1]["role"] != "assistant":
            return
        way = self._content.prefill
        if way == "none":
            self._ctx.note("messages", "the started answer cannot be continued; the model is asked in words to go on")
            self._out.append({"role": "user", "content": [{"type": "text", "text": GO_ON}]})
        elif way != "as_is":
            self._out[-1][way] = True

    def _joined(self) -> Iterator[JSON]:
        if not self._content.merge_users:
            yield from self._out
            return
        held: JSON | None = None
        for message in self._out:
            if held is not None and message["role"] == "user":
                held["content"] += message["content"]
                continue
            if held is not None:
                yield held
            held = message if message["role"] == "user" else None
            if held is None:
                yield message
        if held is not None:
            yield held


def _last_question(turns: list[JSON]) -> int:
    """The place of the last message that is the user's own, not a delivery of results."""
    for place in range(len(turns) - 1, -1, -1):
        turn = turns[place]
        blocks = blocks_of(turn.get("content")) if turn.get("role") == "user" else []
        if blocks and not any(block.get("type") == "tool_result" for block in blocks):
            return place
    return 0


def _content(parts: list[JSON], joiner: str) -> Any:
    """``parts`` as a string where that says the same, for not every service takes lists."""
    if all(part["type"] == "text" and len(part) == 2 for part in parts):
        return joiner.join(part["text"] for part in parts)
    return parts


def _marked(messages: Iterable[JSON]) -> Iterator[tuple[JSON, int]]:
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            for place, part in enumerate(content):
                if "cache_control" in part:
                    yield message, place


def _limit_marks(messages: list[JSON], most: int, ctx: Context) -> None:
    marks = list(_marked(messages))
    extra = marks[:-most]
    for message, place in extra:
        part = {key: value for key, value in message["content"][place].items() if key != "cache_control"}
        message["content"] = [*message["content"][:place], part, *message["content"][place + 1 :]]
    if extra:
        ctx.note("cache", f"{len(extra)} cache marks above the limit of {most} left out")
