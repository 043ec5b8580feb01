"""What the echo model answers to a Messages request: a function of the request, with no clock, chance or network."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import attrs
import orjson

from ccr_core import JSON, Counter, count_request, seal, text_of
from ccr_plugin_echo.schema import instance
from ccr_plugin_echo.script import Break, Call, Directive, Fail, Pause, Say, Think, Turn, read

HELP = """\
I am the echo model that is built into ccr. I do what these lines say, one on each line:

  say TEXT             answer TEXT
  words N              answer N words
  think TEXT           think TEXT first, if the request asks for thinking
  call TOOL {"a": 1}   call a tool; several lines make parallel calls
  then                 do what follows after the results of the calls have come back
  pause SECONDS        be silent for a while
  fail 429             refuse the request; also: fail 429 retry-after 2 MESSAGE
  error KIND MESSAGE   report an error in the middle of the answer, such as overloaded_error
  cut                  break off in the middle of the answer

Anything else I send back. max_tokens, stop_sequences, tool_choice, thinking and a JSON schema for the answer are
honoured."""

WELCOME = """\
This is the echo model that is built into ccr. Your client reaches the router, and answers come back: everything works.

No real model has answered. To get one, add a provider with its API key to the configuration file (`ccr config path`
prints where it is) and set `Router.default` to "provider,model"; a running router takes that up by itself. Write "help"
to see what I can do without one."""

_PIECE = re.compile(r"\s*\S{1,8}|\s+")
"""What counts as one token of an answer: up to eight letters, and the space before them."""


@attrs.define
class Answer:
    """An answer: content blocks and pauses (seconds) in their order, and how it ends.

    ``end`` is set when the answer breaks off after its items.
    """

    id: str
    model: str
    input_tokens: int
    items: list[JSON | float] = attrs.Factory(list)
    output_tokens: int = 0
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    end: Break | None = None

    @property
    def blocks(self) -> list[JSON]:
        """The content."""
        return [item for item in self.items if isinstance(item, dict)]

    @property
    def usage(self) -> JSON:
        """The token counts: estimates."""
        return {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": self.output_tokens,
        }

    @property
    def message(self) -> JSON:
        """The answer as a whole message."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": self.blocks,
            "stop_reason": self.stop_reason,
            "stop_sequence": self.stop_sequence,
            "usage": self.usage,
        }


def pieces(text: str) -> list[str]:
    """``text`` cut into tokens; together they are the text again."""
    return _PIECE.findall(text)


def compose(body: JSON) -> Answer | tuple[Fail, float]:
    """The answer to a Messages request, or the refusal it asks for and the seconds to wait before it."""
    turn = read(body.get("messages") or [])
    step = turn.step
    for place, directive in enumerate(step):
        if isinstance(directive, Fail):
            return directive, sum(before.seconds for before in step[:place] if isinstance(before, Pause))
    digest = hashlib.blake2b(orjson.dumps([body.get("messages"), body.get("system")]), digest_size=12).hexdigest()
    counter = Counter()
    answer = Answer(f"msg_{digest}", str(body.get("model") or "echo"), count_request(body, counter.count))
    writer = _Writer(answer, body, digest)
    thinking = body.get("thinking") or {}
    if thinking.get("type") in ("enabled", "adaptive"):
        thoughts = [directive.text for directive in step if isinstance(directive, Think)]
        writer.think("\n".join(thoughts) or _thought(turn), thinking.get("display") == "omitted")
    _write(writer, turn, step, body)
    return answer


def _write(writer: _Writer, turn: Turn, step: list[Directive], body: JSON) -> None:
    spoken = False
    choice = body.get("tool_choice") or {}
    for place, directive in enumerate(step):
        if isinstance(directive, Say):
            text = directive.text
            previous = step[place - 1] if place else None
            writer.say("\n" + text if isinstance(previous, Say) else text, joined=isinstance(previous, Say))
            spoken = True
        elif isinstance(directive, Call):
            if choice.get("type") == "none":
                writer.say(f"I may not call {directive.name}: tool_choice is none.")
            else:
                writer.call(directive.name, directive.arguments)
            spoken = True
        elif isinstance(directive, Pause):
            writer.pause(directive.seconds)
        elif isinstance(directive, Break):
            if not spoken:
                writer.say(WELCOME)
            writer.answer.end = directive
            return
    if spoken:
        return
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    forced = _forced(choice, body.get("tools") or [])
    if forced is not None:
        writer.call(forced["name"], instance(forced.get("input_schema") or {"type": "object"}))
    elif isinstance(schema, dict):
        writer.say(orjson.dumps(instance(schema)).decode())
    elif turn.results:
        writer.say(_summary(turn, body["messages"]))
    else:
        writer.say(_reply(turn))


def _forced(choice: JSON, tools: list[JSON]) -> JSON | None:
    """The tool that the request forces the model to call, if it does."""
    own = [tool for tool in tools if tool.get("name") and tool.get("type") in (None, "custom")]
    if choice.get("type") == "tool":
        return next((tool for tool in own if tool["name"] == choice.get("name")), None)
    return own[0] if choice.get("type") == "any" and own else None


def _reply(turn: Turn) -> str:
    if turn.steps and not turn.step:
        return "That was the last step."
    if turn.text.strip("/?!. ").casefold() == "help":
        return HELP
    parts = [WELCOME]
    if turn.text:
        parts.append(f"You wrote: {turn.text}")
    if turn.attachments:
        parts.append(f"With it came: {', '.join(turn.attachments)}.")
    return "\n\n".join(parts)


def _thought(turn: Turn) -> str:
    if turn.results:
        return f"{len(turn.results)} tools have answered. I sum up what they said."
    return f"The user wrote {len(turn.text)} characters. I am the echo model, so I do as they say or send it back."


def _summary(turn: Turn, messages: list[JSON]) -> str:
    """What the tools have answered, in a few lines."""
    names = {
        block.get("id"): block.get("name")
        for message in messages
        if isinstance(message.get("content"), list)
        for block in message["content"]
        if block.get("type") == "tool_use"
    }
    lines = ["The tools have answered:"]
    for result in turn.results:
        content = result.get("content")
        text = text_of(content).strip()
        others = (
            [str(block["type"]) for block in content if block["type"] != "text"] if isinstance(content, list) else []
        )
        what = ", ".join(part for part in (_short(text), *others) if part) or "nothing"
        name = names.get(result.get("tool_use_id")) or "an unknown tool"
        lines.append(f"- {name} {'failed' if result.get('is_error') else 'gave'}: {what}")
    return "\n".join(lines)


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


class _Writer:
    """Writes an answer within ``max_tokens`` and up to the first of ``stop_sequences``; then takes no more."""

    def __init__(self, answer: Answer, body: JSON, digest: str) -> None:
        self.answer = answer
        self._left = body.get("max_tokens") or 1_000_000
        self._stops = [stop for stop in body.get("stop_sequences") or () if stop]
        self._digest = digest
        self._ended = False

    def think(self, text: str, omitted: bool) -> None:
        """Add a thinking block.  Its signature says truly that it is this model's."""
        kept = self._spend(text)
        block = {"type": "thinking", "thinking": "" if omitted else kept, "signature": seal("echo", {"v": 1})}
        self.answer.items.append(block)

    def say(self, text: str, joined: bool = False) -> None:
        """Add text, to the text block before it if ``joined``."""
        if self._ended:
            return
        found = min((at, stop) for stop in (*self._stops, "") if (at := text.find(stop) if stop else len(text)) >= 0)
        kept = self._spend(text[: found[0]])
        last = self.answer.items[-1] if self.answer.items else None
        if joined and isinstance(last, dict) and last["type"] == "text":
            last["text"] += kept
        elif kept:
            self.answer.items.append({"type": "text", "text": kept})
        if found[1] and not self._ended:
            self._end("stop_sequence")
            self.answer.stop_sequence = found[1]

    def call(self, name: str, arguments: Any) -> None:
        """Add a tool call, if it fits whole."""
        if self._ended:
            return
        cost = len(pieces(orjson.dumps(arguments).decode())) + 4
        if cost > self._left:
            self._end("max_tokens")
            return
        self._left -= cost
        self.answer.output_tokens += cost
        ident = f"toolu_{self._digest}{len(self.answer.items):02d}"
        self.answer.items.append({"type": "tool_use", "id": ident, "name": name, "input": arguments})
        self.answer.stop_reason = "tool_use"

    def pause(self, seconds: float) -> None:
        """Add a pause."""
        if not self._ended:
            self.answer.items.append(seconds)

    def _spend(self, text: str) -> str:
        tokens = pieces(text)
        kept = tokens[: self._left]
        self.answer.output_tokens += len(kept)
        self._left -= len(kept)
        if len(kept) < len(tokens):
            self._end("max_tokens")
        return "".join(kept)

    def _end(self, reason: str) -> None:
        self._ended = True
        self.answer.stop_reason = reason
