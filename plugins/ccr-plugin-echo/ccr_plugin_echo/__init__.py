"""A small deterministic model inside the router: works with no key and no network.

It makes the first run useful, and it is the provider of tests and demonstrations: what it answers follows from the
request alone.  It never pretends to be more than it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from ccr_core import Headers, ProviderSpec, WireRequest, hookimpl


async def answer(wire: WireRequest) -> tuple[int, Headers, AsyncIterator[bytes]]:
    """Answer a Messages request: status, headers, and the body in pieces."""
    from ccr_plugin_echo.wire import respond

    return await respond(wire.body or {})


@hookimpl
def ccr_providers() -> Iterable[ProviderSpec]:
    """Offer the preset ``echo``."""
    yield ProviderSpec(
        name="echo",
        base_url="embedded:echo",
        dialect="anthropic",
        key_style="none",
        models=("echo",),
        embedded=answer,
        summary="A small deterministic model inside the router, for a first run and for tests.",
    )
