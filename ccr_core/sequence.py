"""The grammar of an answer, in one place, and the stage that enforces it on whatever plugins produce.

Two rules about this file: nothing outside it assigns an index to a block, and nothing passes it that a client of
the Messages API could not read.

Theory of operation.  An answer is::

    start  block*  delta  stop          block = block-start  block-delta*  block-stop

with pings and unknown events anywhere after the start.  Upstream of this stage blocks carry any hashable key and may
overlap; here they get indexes 0, 1, 2 … in the order in which they started, and one is open at a time: what belongs
to a block that started while another was open waits until that one stops.  A key may be used again: a start for a key
whose block is not stopped yet stops it.  Blocks that were left open are closed before the final delta.  A delta for a
block that never started, or was stopped, opens one when its kind says which; otherwise the answer is refused, because
dropping it would lose text in silence.  For the same reason content after the end is refused; other things there are
without meaning and are dropped.

``MessageStart`` is held back until something follows it, so that a provider that greets and then fails can still be
answered with a proper status, or by another provider.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import attrs

from ccr_core.dialect import Outcome
from ccr_core.errors import CcrError, PluginError, ProtocolError
from ccr_core.events import (
    BlockDelta,
    BlockKey,
    BlockStart,
    BlockStop,
    Event,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    StreamError,
    Unknown,
)
from ccr_core.messages import JSON
from ccr_core.push import Pipe, Push, Stage

_new = object.__new__

OPENERS: dict[str, JSON] = {
    "text_delta": {"type": "text", "text": ""},
    "citations_delta": {"type": "text", "text": ""},
    "thinking_delta": {"type": "thinking", "thinking": "", "signature": ""},
    "signature_delta": {"type": "thinking", "thinking": "", "signature": ""},
}
"""The block that an orphan delta may open, by its type."""


@attrs.define
class _Waiting:
    """A block that started while another was open."""

    key: BlockKey
    block: JSON
    deltas: list[JSON] = attrs.Factory(list)
    stopped: bool = False


class Sequencer(Push[Event, Event]):
    """Events with keys, in any overlap, to the one lawful stream with indexes.

    What the answer says of itself goes into ``outcome``.  ``named`` is the model's name for the client, where that is
    not the provider's.
    """

    def __init__(self, outcome: Outcome | None = None, named: str | None = None) -> None:
        self.outcome = outcome or Outcome()
        self._named = named
        self._held: MessageStart | None = None
        self._started = False
        self._delta: MessageDelta | None = None
        self._open: BlockKey = None
        self._is_open = False
        self._index = -1
        self._queue: deque[_Waiting] = deque()
        self._growing: dict[BlockKey, _Waiting] = {}
        """Those in the queue that are not stopped."""

    def feed(self, item: Event) -> Iterable[Event]:
        """Take the next event; raise ``UpstreamError`` for a ``StreamError``, ``ProtocolError`` for an unlawful one."""
        # The commonest first: text and arguments of the open block.
        if type(item) is BlockDelta:
            if self._is_open and item.key == self._open:
                # What a call of the class does, for half of its price.
                delta = _new(BlockDelta)
                delta.key, delta.delta = self._index, item.delta
                return (delta,)
            return self._stray(item)
        if type(item) is MessageStart:
            return self._start(item)
        if self.outcome.complete and not isinstance(item, BlockStart):
            # Some providers repeat their end mark; nothing can lawfully follow ours.
            return ()
        if isinstance(item, StreamError):
            raise item.to_error()
        if isinstance(item, Ping) and not self._started:
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
        if isinstance(item, Unknown):
            return self._release([item])
        raise TypeError(f"expected an event, got {item!r}")

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

    def into(self, encoder: Push[Event, bytes], name: str) -> Stage:
        """This stage and the ``encoder`` of the ingress ``name`` behind it, as one: every event goes through both.

        An encoder that has a method ``delta(index, delta)`` gets no event for a piece of the open block: none is made.
        """
        both = Pipe([Stage.of(self, "sequencer"), Stage.of(encoder, name)])
        push = both.push
        delta: Callable[[int, JSON], bytes] | None = getattr(encoder, "delta", None)

        def run(item: Event, out: list[bytes]) -> None:
            if delta is None or type(item) is not BlockDelta or not self._is_open or item.key != self._open:
                push(item, out)
                return
            try:
                out.append(delta(self._index, item.delta))
            except CcrError:
                raise
            except Exception as error:
                raise PluginError("ccr-core", name, "delta", error) from error

        stage = Stage(both.feed, both.flush, name, "ccr-core", run)
        return attrs.evolve(stage, feed=Pipe([stage]).feed)

    def _release(self, events: list[Event]) -> list[Event]:
        if self._held is None:
            return events
        held, self._held = self._held, None
        return [held, *events]

    def _start(self, item: MessageStart) -> Iterable[Event]:
        if self._started:
            return ()
        self._started = True
        usage = {"input_tokens": 0, "output_tokens": 0, **item.usage}
        self._held = attrs.evolve(item, model=self._named or item.model, usage=usage)
        self.outcome.id, self.outcome.model = item.id, item.model
        self.outcome.usage = dict(item.usage)
        return ()

    def _block_start(self, item: BlockStart) -> list[Event]:
        if self.outcome.complete:
            raise ProtocolError("the provider sent a block after its end mark")
        stopped = self._block_stop(BlockStop(item.key))
        if self._is_open:
            waiting = _Waiting(item.key, item.block)
            self._queue.append(waiting)
            self._growing[item.key] = waiting
            return stopped
        return self._release([*stopped, *self._begin(item.key, item.block)])

    def _begin(self, key: BlockKey, block: JSON) -> list[Event]:
        self._open, self._is_open = key, True
        self._index += 1
        return [BlockStart(self._index, block)]

    def _stray(self, item: BlockDelta) -> Iterable[Event]:
        waiting = self._growing.get(item.key)
        if waiting is not None:
            waiting.deltas.append(item.delta)
            return ()
        opener = OPENERS.get(str(item.delta.get("type")))
        if self.outcome.complete or not self._started or opener is None:
            raise ProtocolError(f"the provider sent {item.delta.get('type')!r} for a block that was not started")
        given = self._block_start(BlockStart(item.key, opener))
        return [*given, *self.feed(item)]

    def _block_stop(self, item: BlockStop) -> list[Event]:
        waiting = self._growing.pop(item.key, None)
        if waiting is not None:
            waiting.stopped = True
            return []
        if not self._is_open or item.key != self._open:
            return []
        self._is_open = False
        events: list[Event] = [BlockStop(self._index)]
        while self._queue and not self._is_open:
            waiting = self._queue.popleft()
            events += self._begin(waiting.key, waiting.block)
            events += [BlockDelta(self._index, delta) for delta in waiting.deltas]
            if waiting.stopped:
                self._is_open = False
                events.append(BlockStop(self._index))
            else:
                del self._growing[waiting.key]
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
            events += self._block_stop(BlockStop(self._open))
        delta = self._delta or MessageDelta(None)
        reason = delta.stop_reason or "end_turn"
        usage = {"output_tokens": self.outcome.usage.get("output_tokens", 0), **delta.usage}
        self.outcome.stop_reason = reason
        self.outcome.complete = True
        events += [attrs.evolve(delta, stop_reason=reason, usage=usage), MessageStop()]
        return self._release(events)
