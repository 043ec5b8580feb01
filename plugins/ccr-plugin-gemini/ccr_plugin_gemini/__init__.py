"""The Gemini format (generateContent and streamGenerateContent), and the preset for the Gemini API itself.

Services that wrap this format (Vertex, Code Assist) are subclasses of :class:`Gemini` in their own packages.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ccr_core import Dialect, ProviderSpec, Transformer, TransformerSpec, hookimpl

if TYPE_CHECKING:
    from .decode import Decoder as Decoder
    from .dialect import Gemini as Gemini
    from .errors import Details as Details
    from .errors import decode_error as decode_error
    from .families import Family as Family
    from .families import family_of as family_of
    from .options import Options as Options
    from .options import Thinking as Thinking
    from .options import Tools as Tools

_HOME = {
    "Decoder": "decode",
    "Family": "families",
    "Gemini": "dialect",
    "Options": "options",
    "Thinking": "options",
    "Tools": "options",
    "Details": "errors",
    "decode_error": "errors",
    "family_of": "families",
}

__all__ = ["Decoder", "Details", "Family", "Gemini", "Options", "Thinking", "Tools", "decode_error", "family_of"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


@hookimpl
def ccr_dialects() -> Iterable[Dialect]:
    """The dialect ``gemini``."""
    from .dialect import Gemini

    return [Gemini()]


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """The transformer ``gemini``: it changes nothing, but naming it selects the dialect."""
    return [
        TransformerSpec(
            name="gemini", factory=Transformer, dialect="gemini", summary="Speak the Gemini format to this provider."
        )
    ]


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """The preset ``gemini``."""
    return [
        ProviderSpec(
            name="gemini",
            base_url="https://generativelanguage.googleapis.com",
            dialect="gemini",
            key_env="GEMINI_API_KEY",
            hosts=("generativelanguage.googleapis.com",),
            models=(
                "gemini-3.7-flash",
                "gemini-3.6-flash",
                "gemini-3.5-flash",
                "gemini-3.5-flash-lite",
                "gemini-3.1-pro-preview",
                "gemini-2.5-pro",
                "gemini-2.5-flash",
                "gemini-2.5-flash-lite",
            ),
            summary="Google's Gemini API, with a key of AI Studio",
        )
    ]
