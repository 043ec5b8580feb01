"""The transformer for models of DeepSeek, at DeepSeek itself or elsewhere.

Source of the rules: DeepSeek's API reference, 2026.  While it thinks, the model wants its own ``reasoning_content``
back with every message of the conversation (empty where it is lost), and refuses to be told which tool to call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from ccr_core import JSON, Request, Transformer, TransformerSpec, hookimpl


def _count(options: Options, field: attrs.Attribute[Any], value: int | str | None) -> None:
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError(f'{field.name} must be a number of tokens, got "{value}"')
    if value is not None and int(value) < 1:
        raise ValueError(f"{field.name} must be at least 1, got {value}")


@attrs.frozen(kw_only=True)
class Options:
    """What older models need."""

    max_tokens: int | str | None = attrs.field(default=None, validator=_count)
    """the most output tokens to ask for; models before V4 take 8192"""


class DeepSeek(Transformer[Options]):
    """Caps the answer if told to; the rest is options of the dialect."""

    def on_request(self, request: Request) -> Request:
        """The request with at most the configured tokens."""
        asked = request.body.get("max_tokens")
        limit = self.options.max_tokens
        if limit is None or not isinstance(asked, int) or asked <= int(limit):
            return request
        return request.with_(max_tokens=int(limit))


_REPLAY = {"replay": "required_empty", "replay_as": "reasoning_content"}
_OWN: JSON = {
    "reasoning": {
        "style": "thinking",
        "effort_too": True,
        "levels": ["low", "medium", "high", "max"],
        "forced_tools": False,
        **_REPLAY,
    }
}
"""For models under the names that DeepSeek itself gives them."""

CHAT: JSON = {
    "models": {
        "*deepseek-v4*": {"reasoning": _REPLAY},
        "deepseek-v4-pro": _OWN,
        "deepseek-v4-flash": _OWN,
        "deepseek-flash": _OWN,
    }
}
"""Options of the chat completions format.

Other services ask the same models for thinking in ways of their own, and older models refuse to be asked.  Where
nothing is said here, thinking is read and given back in ``reasoning_content`` anyway.
"""


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``deepseek``."""
    yield TransformerSpec(
        name="deepseek",
        factory=DeepSeek,
        options=Options,
        dialect_options={"openai-chat": CHAT},
        summary="Ask for thinking, and give it back, as DeepSeek's models want it.",
    )
