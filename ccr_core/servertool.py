"""Tools that the router runs itself, inside an exchange: looking at images for a model that cannot, searching the web.

A tool changes the request so that the model can call it, and runs the calls.  The engine stops at a call, runs it,
goes on with a follow-up request to the same route, and joins the answers into one, any number of rounds up to a
limit, streamed or not.  The client never sees a call that is the router's; it sees the blocks that the tool shows.

When the model calls the client's tools in the same turn, the turn must end for the client to run them: the router's
results are then shown as blocks of that turn, which the client sends back with the conversation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from ccr_core.dialect import Target, WireReply, WireRequest
from ccr_core.events import (
    BlockDelta,
    BlockKey,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    assemble,
    explode_block,
)
from ccr_core.messages import JSON, Request
from ccr_core.push import Push

O = TypeVar("O")  # noqa: E741 - the options of a tool


@attrs.frozen(kw_only=True)
class ToolCall:
    """A call of the model."""

    id: str
    name: str
    input: JSON


@attrs.frozen(kw_only=True)
class ToolResult:
    """What a call gave: ``content`` (text, or blocks) for the model, ``shown`` whole blocks for the client.

    ``served`` is what it adds to the answer's ``usage.server_tool_use``, such as ``{"web_search_requests": 1}``.
    """

    content: str | list[JSON]
    shown: tuple[JSON, ...] = ()
    is_error: bool = False
    served: Mapping[str, int] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class ToolContext:
    """What a tool may know and do.

    ``target`` is where the request goes; ``router`` the effective ``Router`` section.  ``ask(request, route)`` has
    another route (``provider,model``) answer a request and gives its whole message.  ``fetch(wire)`` calls a service.
    ``note(key, value)`` leaves a remark on the exchange.
    """

    target: Target
    router: Mapping[str, Any]
    config: Mapping[str, Any]
    ask: Callable[[Request, str], Awaitable[JSON]]
    fetch: Callable[[WireRequest], Awaitable[WireReply]]
    note: Callable[[str, Any], None]


class ServerTool(Generic[O]):
    """One tool in one attempt: made new for each, so state on ``self`` is safe."""

    def __init__(self, options: O, ctx: ToolContext) -> None:
        self.options = options
        self.ctx = ctx

    def on_request(self, request: Request) -> Request | None:
        """``request`` with the tool offered to the model; ``None`` if it has no part in this request."""
        raise NotImplementedError

    def names(self) -> Iterable[str]:
        """The names of the tools that :meth:`on_request` has offered."""
        raise NotImplementedError

    async def run(self, call: ToolCall) -> ToolResult:
        """Run a call.  An exception becomes a result that tells the model of the failure."""
        raise NotImplementedError


class Round(Push[Event, Event]):
    """One round of an answer: lets pass what is the client's, keeps the calls that are the router's.

    ``number`` counts from 0; ``outputs`` are the output tokens of the rounds before; ``served`` is what the router's
    tools have done until now, by the names of ``usage.server_tool_use``.
    """

    def __init__(
        self, number: int, mine: frozenset[str], outputs: int = 0, served: Mapping[str, int] | None = None
    ) -> None:
        self.number = number
        self.calls: list[ToolCall] = []
        self.content: list[JSON] = []
        self.others = False
        self.delta: MessageDelta | None = None
        self.outputs = outputs
        self.served: Mapping[str, int] = served if served is not None else {}
        self._mine = mine
        self._events: dict[BlockKey, list[Event]] = {}
        self._hidden: set[BlockKey] = set()

    def feed(self, item: Event) -> Iterable[Event]:
        """Take the next event of this round."""
        if isinstance(item, BlockStart):
            self._events[item.key] = [item]
            if item.block.get("type") == "tool_use":
                if item.block.get("name") in self._mine:
                    self._hidden.add(item.key)
                else:
                    self.others = True
            return () if item.key in self._hidden else (attrs.evolve(item, key=(self.number, item.key)),)
        if isinstance(item, (BlockDelta, BlockStop)):
            self._events.setdefault(item.key, []).append(item)
            if isinstance(item, BlockStop):
                self._close(item.key)
            return () if item.key in self._hidden else (attrs.evolve(item, key=(self.number, item.key)),)
        if isinstance(item, MessageStart):
            # Later rounds are one answer with the first: it has begun already.
            return () if self.number else (item,)
        if isinstance(item, MessageDelta):
            self.delta = item
            return ()
        return () if isinstance(item, MessageStop) else (item,)

    def _close(self, key: BlockKey) -> None:
        events = self._events.pop(key, None)
        if not events or not isinstance(events[0], BlockStart):
            return
        whole = assemble([MessageStart("", ""), *events, MessageDelta(None), MessageStop()])["content"][0]
        self.content.append(whole)
        if key in self._hidden:
            call = ToolCall(id=str(whole.get("id")), name=str(whole.get("name")), input=whole.get("input") or {})
            self.calls.append(call)

    def usage(self) -> JSON:
        """The usage so far: input of this round, output of all, and what the tools did."""
        given = dict(self.delta.usage) if self.delta is not None else {}
        if self.served:
            own = given.get("server_tool_use")
            done = dict(own) if isinstance(own, dict) else {}
            for name, times in self.served.items():
                done[name] = (done.get(name) or 0) + times
            given["server_tool_use"] = done
        if "output_tokens" in given or self.outputs:
            given["output_tokens"] = (given.get("output_tokens") or 0) + self.outputs
        return given

    def ending(self, shown: Iterable[JSON] = ()) -> Iterable[Event]:
        """The end of the whole answer, after ``shown`` blocks."""
        yield from self.showing(shown)
        delta = self.delta or MessageDelta("end_turn")
        reason = delta.stop_reason
        if reason == "tool_use" and not self.others:
            reason = "end_turn"
        yield attrs.evolve(delta, stop_reason=reason, usage=self.usage())
        yield MessageStop()

    def showing(self, blocks: Iterable[JSON]) -> Iterable[Event]:
        """Whole blocks for the client."""
        for place, block in enumerate(blocks):
            yield from explode_block((self.number, "shown", place), block)

    def follow_up(self, request: Request, results: Iterable[ToolResult]) -> Request:
        """``request`` with this round's turn and the results of its calls."""
        answers = [
            {
                "type": "tool_result",
                "tool_use_id": call.id,
                "content": result.content,
                **({"is_error": True} if result.is_error else {}),
            }
            for call, result in zip(self.calls, results, strict=True)
        ]
        turn = [{"role": "assistant", "content": self.content}, {"role": "user", "content": answers}]
        messages = [*request.messages, *turn]
        choice = request.body.get("tool_choice")
        if isinstance(choice, dict) and choice.get("type") == "tool" and choice.get("name") in self._mine:
            # It has been called, as the client wanted; forced again, the model would call it for ever.
            kept = {name: value for name, value in choice.items() if name not in ("type", "name")}
            return request.with_(messages=messages, tool_choice={"type": "auto", **kept})
        return request.with_(messages=messages)
