"""The transformer that turns a tagged passage of the text into thinking.

The package also has the parts from which other transformers with other tags are made: ``scan`` and ``split``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ccr_core import Context, Event, Transformer, TransformerSpec, hookimpl, seal


def _name(options: Options, field: attrs.Attribute[Any], value: str) -> None:
    if not value.isidentifier():
        raise ValueError(f'tag must be a name without brackets, such as "think", got "{value}"')


@attrs.frozen(kw_only=True)
class Options:
    """Which passage is thinking."""

    tag: str = attrs.field(default="think", validator=_name)
    """the name of the tag, without brackets"""


class ExtraThinkTag(Transformer[Options]):
    """Makes thinking of what stands between the tags, wherever a line of the text begins with the first of them."""

    def __init__(self, options: Options, ctx: Context) -> None:
        from .split import Splitter

        super().__init__(options, ctx)
        self._splitter = Splitter(options.tag, seal("extrathinktag", {"m": ctx.target.model}), ctx.note)
        # Nearly all that comes is text to pass on: each piece is spared the call below.
        self.feed = self._splitter.feed  # type: ignore[assignment, method-assign]

    def feed(self, event: Event) -> Iterable[Event]:
        """Split the text."""
        return self._splitter.feed(event)

    def flush(self) -> Iterable[Event]:
        """Give the text that waited."""
        return self._splitter.flush()


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``extrathinktag``."""
    yield TransformerSpec(
        name="extrathinktag",
        factory=ExtraThinkTag,
        options=Options,
        summary="Turn <think>…</think> in the text into thinking.",
    )
