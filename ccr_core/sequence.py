"""The grammar of an answer, in one place, and the stage that enforces it on whatever plugins produce.

Two rules about this file: nothing outside it assigns an index to a block, and nothing passes it that a client of
the Messages API could not read.

Theory of operation.  An answer is::

    start  block*  delta  stop          block = block-start  block-delta*  block-stop

with pings and unknown events anywhere after the start.  Upstream of this stage blocks carry any hashable key and may
overlap; here they get indexes 0, 1, 2 … in the order in which they started, and one is open at a time: what belongs
to a block that started while another was open waits until that one stops.  Blocks that were left open are closed
before the final delta.  A delta for a block that never started opens one when its kind says which; otherwise the
answer is refused, because dropping it would lose text in silence.

``MessageStart`` is held back until something follows it, so that a provider that greets and then fails can still be
answered with a proper status, or by another provider.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ccr_core.dialect import Outcome
from ccr_core.errors import ProtocolError
from ccr_core.events import (
    BlockDelta,
    BlockStart,
    BlockStop,
    Event,
    Key,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    StreamError,
)
from ccr_core.messages import JSON
from ccr_core.push import Push

OPENERS: dict[str, JSON] = {
    "text_delta": {"type": "text", "text": ""},
    "citations_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
    "signature_delta": {"type": "thinking", "thinking": "", "signature": ""},
}
"""The block that an orphan delta may open, by its type."""


@attrs.define
class _Waiting:
    block: JSON
    deltas: list[JSON] = attrs.Factory(list)
    stopped: bool = False


class Sequencer(Push[Event, Event]):
    """Events with keys, in any overlap, to the one lawful stream with indexes.

    What the answer says of itself goes into ``outcome``.
    """

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome = outcome or Outcome()
        self._held: MessageStart | None = None
        self._started = False
        self._delta: MessageDelta | None = None
        self._open: Key = None
        self._is_open = False
        self._index = -1
        self._waiting: dict[Key, _Waiting] = {}

    def feed(self, item: Event) -> Iterable[Event]:
        """Take the next event; raise ``UpstreamError`` for a ``StreamError``, ``ProtocolError`` for an unlawful one."""
        # The commonest first: text and arguments of the open block.
        if type(item) is BlockDelta:
            if self._is_open and item.key == self._open:
                return (BlockDelta(self._index, item.delta),)
            return self._stray(item)
        if type(item) is MessageStart:
            return self._start(item)
        if isinstance(item, StreamError):
            raise item.to_error()
        if isinstance(item, Ping) and not self._started:
            return ()
        if self.outcome.complete:
            # Some providers repeat their end mark; nothing can lawfully follow ours.
            return ()
        if not self._started:
            raise ProtocolError(f"the answer began with {type(item).__name__}, not with a message start")
        if isinstance(item, BlockStart):
            return self._block_start(item)
        if isinstance(item, BlockStop):
            return self._block_stop(item)
        if isinstance(item, MessageDelta):
            return self._message_delta(item)
        if isinstance(item, MessageStop):
            return self._stop()
        if isinstance(item, Ping):
            return (item,) if self._held is None else ()
        return self._release([item])

    def flush(self) -> Iterable[Event]:
        """Raise ``ProtocolError`` unless the answer was complete."""
        if not self.outcome.complete:
            raise ProtocolError(
                "the provider's answer ended before its end mark" if self._started else "the provider's answer is empty"
            )
        return ()

    def release(self) -> Iterable[Event]:
        """Let the held start go: the engine does so when the provider is silent for long."""
        return self._release([])

    def _release(self, events: list[Event]) -> list[Event]:
        if self._held is None:
            return events
        held, self._held = self._held, None
        return [held, *events]

    def _start(self, item: MessageStart) -> Iterable[Event]:
        if self._started:
            return ()
        self._started = True
        self._held = attrs.evolve(item, usage={"input_tokens": 0, "output_tokens": 0, **item.usage})
        self.outcome.id, self.outcome.model = item.id, item.model
        self.outcome.usage = dict(item.usage)
        return ()

    def _block_start(self, item: BlockStart) -> list[Event]:
        if self._is_open and item.key == self._open:
            # The same key again without a stop: the provider forgot it.
            return [*self._block_stop(BlockStop(item.key)), *self._block_start(item)]
        if self._is_open or self._waiting:
            if item.key in self._waiting:
                raise ProtocolError(f"the provider started the block {item.key!r} twice")
            self._waiting[item.key] = _Waiting(item.block)
            return []
        return self._release(self._begin(item.key, item.block))

    def _begin(self, key: Key, block: JSON) -> list[Event]:
        self._open, self._is_open = key, True
        self._index += 1
        return [BlockStart(self._index, block)]

    def _stray(self, item: BlockDelta) -> Iterable[Event]:
        waiting = self._waiting.get(item.key)
        if waiting is not None:
            waiting.deltas.append(item.delta)
            return ()
        opener = OPENERS.get(str(item.delta.get("type")))
        if self.outcome.complete or not self._started or opener is None:
            raise ProtocolError(f"the provider sent {item.delta.get('type')!r} for a block that was not started")
        given = self._block_start(BlockStart(item.key, opener))
        return [*given, *self.feed(item)]

    def _block_stop(self, item: BlockStop) -> list[Event]:
        waiting = self._waiting.get(item.key)
        if waiting is not None:
            waiting.stopped = True
            return []
        if not self._is_open or item.key != self._open:
            return []
        self._is_open = False
        events: list[Event] = [BlockStop(self._index)]
        while self._waiting and not self._is_open:
            key = next(iter(self._waiting))
            waiting = self._waiting.pop(key)
            events += self._begin(key, waiting.block)
            events += [BlockDelta(self._index, delta) for delta in waiting.deltas]
            if waiting.stopped:
                self._is_open = False
                events.append(BlockStop(self._index))
        return events

    def _message_delta(self, item: MessageDelta) -> list[Event]:
        # Kept until the stop: providers may send usage in a later one.
        previous = self._delta
        self.outcome.usage = {**self.outcome.usage, **item.usage}
        if previous is None:
            self._delta = item
        else:
            self._delta = MessageDelta(
                item.stop_reason or previous.stop_reason,
                item.stop_sequence or previous.stop_sequence,
                {**previous.usage, **item.usage},
                {**previous.extra, **item.extra},
                {**previous.beside, **item.beside},
            )
        return []

    def _stop(self) -> list[Event]:
        events: list[Event] = []
        while self._is_open:
            for key in self._waiting:
                self._waiting[key].stopped = True
            events += self._block_stop(BlockStop(self._open))
        delta = self._delta or MessageDelta("end_turn")
        usage = {"output_tokens": 0, **delta.usage}
        self.outcome.stop_reason = delta.stop_reason
        self.outcome.complete = True
        events += [attrs.evolve(delta, usage=usage), MessageStop()]
        return self._release(events)
