"""OpenAI chat completions for clients: what OpenAI's SDKs and most other clients speak, served by the router.

Requests become canonical ones, so they take the same routes, transformers and providers as those of Claude Code.
"""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import Ingress, hookimpl


@hookimpl
def ccr_ingresses() -> Iterable[Ingress]:
    """Offer the ingress ``chat-completions``."""
    from ccr_plugin_ingress_openai_chat.ingress import ChatCompletions

    yield ChatCompletions()
