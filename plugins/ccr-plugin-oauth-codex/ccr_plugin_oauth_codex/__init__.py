"""A ChatGPT plan: a sign-in with the browser or with a code, and the backend of Codex."""

from __future__ import annotations

from collections.abc import Iterable

from ccr_core import AuthSpec, Endpoint, TransformerSpec, hookimpl

from .auth import Codex, Options
from .step import Step

__all__ = ["Codex", "Options", "Step"]


@hookimpl
def ccr_auth() -> Iterable[AuthSpec]:
    """The sign-in ``codex``."""
    return [
        AuthSpec(
            name="codex",
            factory=Codex,
            options=Options,
            base_url="https://chatgpt.com/backend-api/codex",
            endpoints=(
                Endpoint(
                    name="responses",
                    dialect="openai-responses",
                    path="/responses",
                    options={
                        "instructions": "empty",
                        "system_role": "developer",
                        "assistant_text": "parts",
                        "force_stream": True,
                        "session_header": "session_id",
                        "fast": "priority",
                        "web_search": "web_search",
                        "levels": ["none", "low", "medium", "high", "xhigh"],
                        "drop": ["max_output_tokens", "temperature", "top_p", "metadata", "truncation", "user"],
                    },
                    transformers=("codex",),
                ),
            ),
            hosts=("chatgpt.com",),
            legacy=("api.openai.com",),
            cookies=("__cf_bm", "_cfuvid", "cf_clearance"),
            models=("gpt-5.5", "gpt-5.4", "gpt-5.4-mini"),
            summary="A ChatGPT plan (Plus, Pro, Business …), with the browser or a device code.",
        )
    ]


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """The transformer ``codex``."""
    return [
        TransformerSpec(name="codex", factory=Step, summary="Send the Codex backend what it takes; used by itself.")
    ]
