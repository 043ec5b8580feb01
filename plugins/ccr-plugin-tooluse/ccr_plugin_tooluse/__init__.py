"""The transformer that makes hesitant models call tools.

The model must call some tool in each turn.  One more is offered, with which it says that it has done its work; the call
of that one becomes the text of the answer, and the client never sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from ccr_core import (
    JSON,
    BlockDelta,
    BlockKey,
    BlockStart,
    BlockStop,
    Context,
    Event,
    MessageDelta,
    MessageStop,
    Request,
    StreamError,
    Transformer,
    TransformerSpec,
    hookimpl,
)

from .words import Words

EXIT = "ExitTool"

TOOL: JSON = {
    "name": EXIT,
    "description": (
        "Call this tool, and no other beside it, when the task is done, when no other tool can help, or when you only "
        "want to say something to the user. Never call it while there is work left that another tool can do."
    ),
    "input_schema": {
        "type": "object",
        "properties": {
            "response": {"type": "string", "description": "What you say to the user; they see it exactly as written."}
        },
        "required": ["response"],
    },
}

SAYING = (
    "Tool mode is on: call the tool that brings the task forward best, instead of describing what you would do. "
    f"You must call a tool in every turn; if none fits, or all is done, call {EXIT} with your words to the user."
)


class ToolUse(Transformer[None]):
    """Demands a tool call, offers one for the end, and turns that one back into text."""

    def __init__(self, options: None, ctx: Context) -> None:
        super().__init__(options, ctx)
        self._offered = False
        self._exits: dict[BlockKey, Words] = {}
        self._exited = False
        self._called = False

    def on_request(self, request: Request) -> Request:
        """The request with the demand, unless it has no tools or says itself which one to call."""
        tools = [tool for tool in request.tools if tool.get("type") in (None, "custom")]
        choice = request.body.get("tool_choice")
        kind = choice.get("type") if isinstance(choice, dict) else None
        if not tools or kind in ("any", "tool", "none") or any(tool.get("name") == EXIT for tool in tools):
            return request
        self._offered = True
        flag = {} if not isinstance(choice, dict) else {name: choice[name] for name in choice if name != "type"}
        return request.with_(
            system=[*request.system_blocks(), {"type": "text", "text": SAYING}],
            tools=[*request.tools, TOOL],
            tool_choice={"type": "any", **flag},
        )

    def feed(self, event: Event) -> Iterable[Event]:
        """Turn calls of the exit tool into text; the rest passes."""
        if not self._offered:
            return (event,)
        if isinstance(event, BlockDelta):
            words = self._exits.get(event.key)
            if words is None or event.delta.get("type") != "input_json_delta":
                return (event,)
            return _say(event.key, words, words.feed(event.delta["partial_json"]))
        if isinstance(event, BlockStart):
            return self._start(event)
        if isinstance(event, BlockStop):
            return list(self._end(event.key)) if event.key in self._exits else (event,)
        if isinstance(event, MessageDelta):
            ended = list(self.flush())
            if self._exited and not self._called and event.stop_reason == "tool_use":
                event = attrs.evolve(event, stop_reason="end_turn")
            return [*ended, event]
        if isinstance(event, MessageStop | StreamError):
            return [*self.flush(), event]
        return (event,)

    def flush(self) -> Iterable[Event]:
        """Give the words that waited."""
        return [event for key in [*self._exits] for event in self._end(key)]

    def _start(self, event: BlockStart) -> Iterable[Event]:
        # A start for a key that is still open stops the block before it.
        ended = list(self._end(event.key)) if event.key in self._exits else []
        if event.block.get("type") != "tool_use":
            return [*ended, event]
        if event.block.get("name") != EXIT:
            self._called = True
            return [*ended, event]
        self._exited = True
        words = self._exits[event.key] = Words()
        given = event.block.get("input")
        return [*ended, *(_say(event.key, words, words.whole(given)) if given else ())]

    def _end(self, key: BlockKey) -> Iterator[Event]:
        words = self._exits.pop(key)
        yield from _say(key, words, words.flush())
        if words.lost:
            self.ctx.note("tooluse", f"the call of {EXIT} was not as agreed; its arguments are the answer's text")
        if words.started:
            yield BlockStop(key)


def _say(key: BlockKey, words: Words, text: str) -> list[Event]:
    """The events for more ``text``; the block begins with its first words."""
    if not text:
        return []
    events: list[Event] = []
    if not words.started:
        words.started = True
        events.append(BlockStart(key, {"type": "text", "text": ""}))
    return [*events, BlockDelta(key, {"type": "text_delta", "text": text})]


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``tooluse``."""
    yield TransformerSpec(name="tooluse", factory=ToolUse, summary="Make a model call tools instead of only talking.")
