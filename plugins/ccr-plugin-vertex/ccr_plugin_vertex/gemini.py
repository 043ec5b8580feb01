"""Gemini models on Vertex AI."""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import quote

from ccr_plugin_gemini import Gemini

from ccr_core import Context

_TAIL = re.compile(r"/publishers/.*$|/endpoints/openapi.*$|/+$")


class VertexGemini(Gemini):
    """``…/publishers/google/models/{model}:generateContent``, streamed with ``alt=sse``."""

    name: ClassVar[str] = "vertex-gemini"
    endpoints: ClassVar[tuple[str, ...]] = ()
    key_style: ClassVar[str] = "bearer"
    maker: ClassVar[str] = "vertex-gemini"

    def url(self, ctx: Context, stream: bool) -> str:
        """The address of the model's method; without ``alt=sse`` the service answers with a JSON array."""
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return model_url(ctx.target.base_url, "google", self.model(ctx), method)


def model_url(base_url: str, publisher: str, model: str, method: str) -> str:
    """Where ``method`` of a model is; a base that names a publisher or a model already has it replaced."""
    name = model if model.startswith("publishers/") else f"publishers/{publisher}/models/{quote(model, safe='@')}"
    return f"{_TAIL.sub('', base_url.partition('?')[0])}/{name}:{method}"
