"""Transformers: small steps that change a request on its way out or an answer on its way back.

One law of composition: *the steps of global, provider and model configuration form one flat list in the order
written; every outgoing stage runs first to last, every returning stage last to first.*
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from ccr_core.dialect import Context, WireRequest
from ccr_core.errors import CcrError, PluginError
from ccr_core.events import Event
from ccr_core.messages import Request
from ccr_core.push import Stage
from ccr_core.sse import Chunk

if TYPE_CHECKING:
    from ccr_core.spec import TransformerSpec

O = TypeVar("O")  # noqa: E741 - the options of a transformer


class Transformer(Generic[O]):
    """One step of one attempt: made new for each, so state on ``self`` is safe.

    Override what you need.  Return changed copies; never alter what you were given.  Streamed and whole answers take
    the same road through :meth:`feed`, so there is no second branch to write.
    """

    def __init__(self, options: O, ctx: Context) -> None:
        self.options = options
        self.ctx = ctx

    def on_request(self, request: Request) -> Request:
        """Change the request in canonical form."""
        return request

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """Change what will be sent, in the provider's own format."""
        return wire

    def feed_wire(self, chunk: Chunk) -> Iterable[Chunk]:
        """Change what was received, parsed but in the provider's own format (streamed answers only)."""
        return (chunk,)

    def flush_wire(self) -> Iterable[Chunk]:
        """No more chunks will come."""
        return ()

    def feed(self, event: Event) -> Iterable[Event]:
        """Change the answer, event by event, in canonical form."""
        return (event,)

    def flush(self) -> Iterable[Event]:
        """No more events will come."""
        return ()


@attrs.frozen
class Step:
    """A transformer as the configuration names it, ready to be made: its options are checked.

    ``where`` is its place in the configuration, ``plugin`` the distribution that contributes it.
    """

    spec: TransformerSpec
    options: Any
    where: str
    plugin: str


class Chain:
    """The steps of one attempt."""

    def __init__(self, steps: Sequence[Step], ctx: Context) -> None:
        self._made: list[tuple[Step, Transformer[Any]]] = []
        for step in steps:
            try:
                made = step.spec.factory(step.options, ctx)
                if not isinstance(made, Transformer):
                    raise TypeError(f"expected a Transformer, got {made!r}")
                self._made.append((step, made))
            except Exception as error:
                raise _failed(step, "__init__", error) from error

    def on_request(self, request: Request) -> Request:
        """Run the canonical stage, first to last."""
        for step, transformer in self._made:
            try:
                request = transformer.on_request(request)
                if not isinstance(request, Request):
                    raise TypeError(f"expected a Request, got {request!r}")
            except CcrError:
                raise
            except Exception as error:
                raise _failed(step, "on_request", error) from error
        return request

    def on_wire_request(self, wire: WireRequest) -> WireRequest:
        """Run the wire stage, first to last."""
        for step, transformer in self._made:
            try:
                wire = transformer.on_wire_request(wire)
                if not isinstance(wire, WireRequest):
                    raise TypeError(f"expected a WireRequest, got {wire!r}")
            except CcrError:
                raise
            except Exception as error:
                raise _failed(step, "on_wire_request", error) from error
        return wire

    def wire_stages(self) -> list[Stage]:
        """The stages for parsed chunks, last step first; steps that do nothing there are left out."""
        return [
            Stage(made.feed_wire, made.flush_wire, _label(step), step.plugin)
            for step, made in reversed(self._made)
            if overrides(made, "feed_wire", "flush_wire")
        ]

    def stages(self) -> list[Stage]:
        """The stages for events, last step first; steps that do nothing there are left out."""
        return [
            Stage(made.feed, made.flush, _label(step), step.plugin)
            for step, made in reversed(self._made)
            if overrides(made, "feed", "flush")
        ]


def overrides(transformer: Transformer[Any], *names: str) -> bool:
    """Whether ``transformer`` defines any of the methods ``names`` itself."""
    return any(getattr(type(transformer), name) is not getattr(Transformer, name) for name in names)


def _label(step: Step) -> str:
    return f"{step.spec.name} at {step.where}"


def _failed(step: Step, method: str, error: Exception) -> PluginError:
    return PluginError(step.plugin, _label(step), method, error)
