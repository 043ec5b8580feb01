"""The transformer that asks for token counts in streamed answers.

Without them the client's context meter stays at zero.  The dialect asks by default, so the transformer matters where
a preset says that it must not, and for the opposite: services that refuse the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ccr_core import Transformer, TransformerSpec, hookimpl


@attrs.frozen(kw_only=True)
class Options:
    """What to ask for."""

    include_usage: bool = True
    """`false`: `stream_options` is not sent, for services that refuse it"""


def dialect_options(options: Options) -> Mapping[str, Mapping[str, Any]]:
    """The wish as an option of the chat completions format."""
    return {"openai-chat": {"stream_usage": "option" if options.include_usage else "never"}}


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``streamoptions``."""
    yield TransformerSpec(
        name="streamoptions",
        factory=Transformer,
        options=Options,
        dialect_options=dialect_options,
        summary="Ask for token counts in streamed answers.",
    )
