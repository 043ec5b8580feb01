"""Running a model request again, on another model: what the web UI compares with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

from ccr_core.api.desk import Desk
from ccr_core.api.operation import JSON_TYPE, Call, Operation, Refused
from ccr_core.explain import messages_ingress


class _Reply(Response):
    """An answer that the engine writes itself, whole or as a stream."""

    def __init__(self, desk: Desk, headers: dict[str, str]) -> None:
        super().__init__()
        self._desk = desk
        self._given = headers

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve the request."""
        await self._desk.app.try_messages(self._given, receive, send)


async def messages(desk: Desk, call: Call) -> Response:
    """Serve a request of the Messages API as ``/v1/messages`` does."""
    headers = {name.lower(): value for name, value in call.request.headers.items()}
    if headers.get("content-type", "").partition(";")[0].strip().lower() != JSON_TYPE:
        raise Refused(f"send {JSON_TYPE}", 415)
    messages_ingress(desk.runtime)  # or say now that there is none
    return _Reply(desk, headers)


OPERATIONS = (
    Operation(
        method="POST",
        path="/api/try/messages",
        summary="A request of the Messages API, answered as `/v1/messages` does, whole or as a stream.",
        answer=messages,
        gives={str: object},
        bare=True,
    ),
)
