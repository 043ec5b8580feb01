"""OpenAI Responses for clients: what Codex and OpenAI's newer SDKs speak, served by the router.

Requests become canonical ones, so they take the same routes, transformers and providers as those of Claude Code.
"""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import Ingress, hookimpl


@hookimpl
def ccr_ingresses() -> Iterable[Ingress]:
    """Offer the ingress ``responses``."""
    from ccr_plugin_ingress_openai_responses.ingress import Responses

    yield Responses()
