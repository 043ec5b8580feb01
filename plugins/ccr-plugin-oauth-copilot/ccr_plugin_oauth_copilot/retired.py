"""GitHub Models, which is not served any more: whoever has it in a configuration is told what to use instead."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson

from ccr_core import Headers, WireRequest

MESSAGE = (
    "GitHub Models was retired on 2026-07-30. Use GitHub Copilot (ccr auth login copilot), Azure (the presets azure "
    "and azure-anthropic) or another provider"
)


async def answer(wire: WireRequest) -> tuple[int, Headers, AsyncIterator[bytes]]:
    """Refuse every request, without asking anybody."""

    async def body() -> AsyncIterator[bytes]:
        yield orjson.dumps({"error": {"message": MESSAGE, "code": "retired"}})

    return 403, {"content-type": "application/json"}, body()
