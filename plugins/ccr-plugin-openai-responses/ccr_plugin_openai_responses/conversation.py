"""The conversation, from the form of the Messages API to a list of items.

An item is a message, a thought, a call or a result; they stand in the order in which they were made.  Each call must
have its result and each result its call: what stands between the two waits until the results are out, a call that
was never answered gets a result saying so, a result without its call becomes text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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
from .reasoning import item_of
from .tools import short_id

ACCOUNTING = "x-anthropic-billing-header:"
"""The start of a system block that the client means for its own service; it changes with every request."""

INTERRUPTED = "(interrupted: the tool gave no result)"
NO_OUTPUT = "(no output)"
GO_ON = "Go on exactly where your last message stops, without repeating any of it."


class Conversation:
    """The items made so far."""

    def __init__(self, ctx: Context, options: Options) -> None:
        self._ctx = ctx
        self._options = options
        self._items: list[JSON] = []
        self._answers: dict[str, JSON | None] = {}
        """The calls that wait for their results, by their original ids, and the results so far."""
        self._sent: dict[str, str] = {}
        """Original id → the id as sent, for those calls."""
        self._used: Counter[str] = Counter()
        self._waiting: list[JSON] = []
        """Items that came before the calls were all answered."""
        self._lifted: list[JSON] = []
        """Parts that a result cannot hold."""
        self._lost: Counter[str] = Counter()
        self.instructions = ""

    # --- what goes in ----------------------------------------------------------------------------------------------

    def system(self, blocks: list[JSON], added: str) -> None:
        """Take the system prompt; ``added`` are further instructions."""
        parts = [
            self._text(block)
            for block in blocks
            if block.get("type") == "text" and block.get("text") and not _is_accounting(str(block["text"]))
        ]
        if added:
            parts.append({"type": "input_text", "text": added})
        if self._options.instructions == "system_prompt":
            self.instructions = "\n\n".join(part["text"] for part in parts)
        elif parts:
            self._items.append(_message(self._options.system_role, parts))

    def turns(self, turns: list[JSON]) -> None:
        """Take the messages."""
        replay = self._options.replay
        since = {"none": len(turns), "always": 0}.get(replay, _last_question(turns))
        blocks: list[JSON] = []
        for place, turn in enumerate(turns):
            content = blocks_of(turn.get("content"))
            if turn.get("role") == "assistant":
                # An answer may be spread over several messages, and its calls must not be torn apart.
                blocks += content
                if place + 1 == len(turns) or turns[place + 1].get("role") != "assistant":
                    self._assistant(blocks, place >= since)
                    blocks = []
            elif turn.get("role") == "system":
                self._inline_system(content)
            else:
                self._user(content)
        self._settle()

    def _inline_system(self, blocks: list[JSON]) -> None:
        parts = [self._text(block) for block in blocks if block.get("type") == "text" and block.get("text")]
        if self._options.system_role == "user":
            for part in parts:
                part["text"] = f"<system-reminder>\n{part['text']}\n</system-reminder>"
        if parts:
            self._add(_message(self._options.system_role, parts))

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
                what = "failed" if block.get("is_error") else "gave"
                parts.append({"type": "input_text", "text": f"[an earlier tool call ({call}) {what}:]"})
                parts += [part for inner in blocks_of(block.get("content")) for part in self._parts(inner)]
        if parts:
            self._add(_message("user", parts))

    def _assistant(self, blocks: list[JSON], replayed: bool) -> None:
        self._settle()
        begin = len(self._items)
        run: list[JSON] = []
        last_call = max((place for place, block in enumerate(blocks) if block.get("type") == "tool_use"), default=-1)
        for place, block in enumerate(blocks):
            kind = block.get("type")
            if kind not in ("tool_use", "thinking", "redacted_thinking"):
                run.append(block)
                continue
            self._said(run, place <= last_call)
            run = []
            if kind == "tool_use":
                self._call(block)
            else:
                item = item_of(block, self._ctx, self._options) if kind == "thinking" else None
                if item is None:
                    self._lost[FOREIGN_THINKING] += 1
                elif replayed:
                    self._items.append(item)
        self._said(run, False)
        while len(self._items) > begin and self._items[-1]["type"] == "reasoning":
            # The service refuses a thought that nothing follows.
            self._items.pop()
            self._lost["thoughts that led to nothing left out"] += 1

    def _said(self, blocks: list[JSON], commentary: bool) -> None:
        """Add what the model said in a row of blocks that are no thinking and no call."""
        texts: list[str] = []
        cited = False
        for block in blocks:
            text = str(block.get("text") or "") if block.get("type") == "text" else self._described(block)
            if not text:
                continue
            cites = bool(block.get("citations"))
            if cites:
                self._lost["citations left out"] += len(block["citations"])
            # Text with citations comes in blocks that are one text; other blocks are paragraphs.
            if texts and (cites or cited):
                texts[-1] += text
            else:
                texts.append(text)
            cited = cites
        if not texts:
            return
        content: Any = "\n\n".join(texts)
        if self._options.assistant_text == "parts":
            content = [{"type": "output_text", "text": text} for text in texts]
        message = {"type": "message", "role": "assistant", "content": content}
        if self._options.phase:
            message["phase"] = "commentary" if commentary else "final_answer"
        self._items.append(message)

    def _call(self, block: JSON) -> None:
        ident = str(block.get("id") or "")
        sent = short_id(ident, self._options.id_max, self._used[ident])
        self._used[ident] += 1
        self._answers[ident] = None
        self._sent[ident] = sent
        given = block.get("input")
        self._items.append(
            {
                "type": "function_call",
                "call_id": sent,
                "name": self._name(str(block.get("name") or "")),
                "arguments": orjson.dumps({} if given is None else given).decode(),
            }
        )

    def _result(self, call: str, block: JSON) -> JSON:
        text = result_text(block)
        if text is not None:
            text = as_error(text or NO_OUTPUT) if block.get("is_error") else text or NO_OUTPUT
            return {"type": "function_call_output", "call_id": self._sent[call], "output": text}
        parts: list[JSON] = []
        lifted: list[JSON] = []
        for inner in blocks_of(block.get("content")):
            for part in self._parts(inner):
                textual = part["type"] == "input_text" or self._options.tool_output == "parts"
                (parts if textual else lifted).append(part)
        if lifted:
            parts.append({"type": "input_text", "text": "(the rest of the result is in the next message)"})
            self._lifted.append({"type": "input_text", "text": f"[of the result of tool call {self._sent[call]}:]"})
            self._lifted += lifted
        if not parts or all(part.get("text") == "" for part in parts):
            parts = [{"type": "input_text", "text": NO_OUTPUT}]
        if block.get("is_error"):
            words = str(parts[0].get("text") or "")
            if words:
                parts[0] = {**parts[0], "text": as_error(words)}
            else:
                parts.insert(0, {"type": "input_text", "text": "Error:"})
        if block.get("cache_control"):
            parts[-1] = {**parts[-1], **self._mark(block)}
        output: Any = parts
        if all(part.keys() == {"type", "text"} for part in parts):
            output = "\n".join(part["text"] for part in parts)
        return {"type": "function_call_output", "call_id": self._sent[call], "output": output}

    # --- the order -------------------------------------------------------------------------------------------------

    def _add(self, item: JSON) -> None:
        (self._waiting if self._answers else self._items).append(item)

    def _settle(self) -> None:
        """Put out the results of the last calls, in the order of the calls, and what waited for them."""
        for call, answer in self._answers.items():
            if answer is None:
                self._lost["tool calls without a result"] += 1
                answer = {"type": "function_call_output", "call_id": self._sent[call], "output": INTERRUPTED}
            self._items.append(answer)
        self._answers = {}
        self._sent = {}
        if self._lifted:
            self._items.append(_message("user", self._lifted))
            self._lifted = []
        self._items += self._waiting
        self._waiting = []

    # --- blocks ----------------------------------------------------------------------------------------------------

    def _mark(self, block: JSON) -> JSON:
        marked = bool(block.get("cache_control")) and self._options.cache_marks > 0
        return {"prompt_cache_breakpoint": {"mode": "explicit"}} if marked else {}

    def _text(self, block: JSON) -> JSON:
        return {"type": "input_text", "text": str(block.get("text") or ""), **self._mark(block)}

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
                yield {"type": "input_text", "text": text}

    def _image(self, source: JSON) -> JSON:
        kind, ways = source.get("type"), self._options.images
        url = None
        if kind == "base64" and ways != "none":
            url = _data_url(source, "image/png")
        elif kind == "url" and ways == "url":
            url = str(source.get("url") or "")
        if url:
            return {"type": "input_image", "detail": "auto", "image_url": url}
        self._lost["images left out"] += 1
        return {"type": "input_text", "text": "[image omitted]"}

    def _document(self, block: JSON) -> Iterator[JSON]:
        source = block.get("source") or {}
        kind, title = source.get("type"), str(block.get("title") or "")
        if block.get("context"):
            yield {"type": "input_text", "text": str(block["context"])}
        if kind == "text":
            name = f' title="{title}"' if title else ""
            text = f"<document{name}>\n{source.get('data') or ''}\n</document>"
            yield {"type": "input_text", "text": text, **self._mark(block)}
        elif kind == "content":
            if title:
                yield {"type": "input_text", "text": title}
            for inner in blocks_of(source.get("content")):
                yield from self._parts(inner)
        else:
            yield {**self._file(source, title), **self._mark(block)}

    def _file(self, source: JSON, title: str) -> JSON:
        kind, ways = source.get("type"), self._options.documents
        if kind == "base64" and ways != "none":
            data = _data_url(source, "application/pdf")
            return {"type": "input_file", "filename": title or "document.pdf", "file_data": data}
        if kind == "url" and ways == "file_or_url":
            return {"type": "input_file", "file_url": str(source.get("url") or "")}
        self._lost["documents left out"] += 1
        return {"type": "input_text", "text": f"[document omitted: {title or kind}; it cannot be given to this model]"}

    def _described(self, block: JSON) -> str:
        return described(block, self._name, self._lost)

    def _name(self, name: str) -> str:
        return short_name(name, self._options.name_max)

    # --- what comes out --------------------------------------------------------------------------------------------

    def finished(self) -> list[JSON]:
        """The items as they are sent."""
        last = self._items[-1] if self._items else {}
        if last.get("role") == "assistant":
            self._ctx.note("messages", "the started answer cannot be continued; the model is asked in words to go on")
            self._items.append(_message("user", [{"type": "input_text", "text": GO_ON}]))
        for what, count in self._lost.items():
            self._ctx.note("messages", f"{count} {what}")
        if self._options.cache_marks:
            self._limit_marks(min(self._options.cache_marks, 4))
        return self._items

    def _limit_marks(self, most: int) -> None:
        lists = [item.get("content" if item["type"] == "message" else "output") for item in self._items]
        marked = [part for parts in lists if isinstance(parts, list) for part in parts if _BREAKPOINT in part]
        for part in marked[:-most]:
            del part[_BREAKPOINT]
        if len(marked) > most:
            self._ctx.note("cache", f"{len(marked) - most} cache marks above the limit of {most} left out")


_BREAKPOINT = "prompt_cache_breakpoint"


def conversation(request: Request, ctx: Context, options: Options, added: str) -> tuple[str, list[JSON]]:
    """The instructions and the items of ``request``; ``added`` are instructions beyond its system prompt."""
    made = Conversation(ctx, options)
    made.system(request.system_blocks(), added)
    made.turns(request.messages)
    return made.instructions, made.finished()


def _message(role: str, parts: list[JSON]) -> JSON:
    return {"type": "message", "role": role, "content": parts}


def _is_accounting(text: str) -> bool:
    return text.lstrip().startswith(ACCOUNTING)


def _last_question(turns: list[JSON]) -> int:
    """The place of the last message that is the user's own, not a delivery of results."""
    for place in range(len(turns) - 1, -1, -1):
        blocks = blocks_of(turns[place].get("content")) if turns[place].get("role") == "user" else []
        if blocks and not any(block.get("type") == "tool_result" for block in blocks):
            return place
    return 0


def _data_url(source: JSON, kind: str) -> str:
    data = str(source.get("data") or "")
    return data if data.startswith("data:") else f"data:{source.get('media_type') or kind};base64,{data}"


def _compact(value: Any) -> str:
    return orjson.dumps(value).decode()
