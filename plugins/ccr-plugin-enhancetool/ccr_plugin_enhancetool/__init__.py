"""The transformer that repairs the arguments of tool calls, for models that write broken JSON.

The arguments of a call are held until it is known how they end.  A call that the length limit cut off is not
repaired: it would look complete, and a file would be written with half of its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
import orjson

from ccr_core import (
    BlockDelta,
    BlockKey,
    BlockStart,
    BlockStop,
    Context,
    Event,
    MessageDelta,
    MessageStop,
    StreamError,
    Transformer,
    TransformerSpec,
    hookimpl,
)


@attrs.define
class _Call:
    """A tool call whose arguments are held."""

    name: str
    parts: list[str] = attrs.Factory(list)
    stopped: bool = False


class EnhanceTool(Transformer[None]):
    """Gives the arguments of each call in one piece, as a JSON object wherever one can be made of them."""

    def __init__(self, options: None, ctx: Context) -> None:
        super().__init__(options, ctx)
        self._calls: dict[BlockKey, _Call] = {}

    def feed(self, event: Event) -> Iterable[Event]:
        """Hold arguments; let everything else pass."""
        if isinstance(event, BlockDelta):
            call = self._calls.get(event.key)
            if call is None or event.delta.get("type") != "input_json_delta":
                return (event,)
            call.parts.append(event.delta["partial_json"])
            return ()
        if isinstance(event, BlockStop):
            call = self._calls.get(event.key)
            if call is None:
                return (event,)
            call.stopped = True
            return ()
        if isinstance(event, BlockStart):
            return self._start(event)
        if isinstance(event, MessageDelta | MessageStop) and self._calls:
            cut = isinstance(event, MessageDelta) and event.stop_reason in (
                "max_tokens",
                "model_context_window_exceeded",
            )
            return [*self._release([*self._calls], not cut), event]
        if isinstance(event, StreamError) and self._calls:
            return [*self.flush(), event]
        return (event,)

    def flush(self) -> Iterable[Event]:
        """The answer was cut off: give the arguments as they came."""
        return list(self._release([*self._calls], False))

    def _start(self, event: BlockStart) -> Iterable[Event]:
        # A model that goes on has finished what it wrote before.
        done = [key for key, call in self._calls.items() if call.stopped or key == event.key]
        released = list(self._release(done, True))
        if event.block.get("type") == "tool_use":
            self._calls[event.key] = _Call(str(event.block.get("name") or ""))
        return [*released, event]

    def _release(self, keys: list[BlockKey], repair: bool) -> Iterator[Event]:
        for key in keys:
            call = self._calls.pop(key)
            text = "".join(call.parts)
            if text.strip():
                given = self._repaired(call.name, text) if repair else text
                yield BlockDelta(key, {"type": "input_json_delta", "partial_json": given})
            if call.stopped:
                yield BlockStop(key)

    def _repaired(self, name: str, text: str) -> str:
        try:
            if isinstance(orjson.loads(text), dict):
                return text
        except orjson.JSONDecodeError:
            pass
        from .repair import repaired

        made = repaired(text)
        if made is None:
            self.ctx.note("enhancetool", f"the arguments of {name} cannot be repaired: {text[:200]}")
            return text
        self.ctx.note("enhancetool", f"the arguments of {name} were repaired")
        return made


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``enhancetool``."""
    yield TransformerSpec(name="enhancetool", factory=EnhanceTool, summary="Repair broken arguments of tool calls.")
