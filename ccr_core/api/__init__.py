"""The management API: looking at the running router and changing its configuration over HTTP (docs/api.md).

Its rules: secrets go in and never come out; a change takes the version that it read, is checked as a whole before it
is written, and lists every problem with its place; nothing here loads code, installs packages or changes from where
code is loaded.  Who may enter was decided before (:mod:`ccr_core.access`).

What an operation needs is imported at the first request below ``/api``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from ccr_core.api.operation import Operation
    from ccr_core.server import App


def operations() -> tuple[Operation, ...]:
    """Every operation but session and status, in the order of the documentation."""
    from ccr_core.api import (
        attempts,
        config,
        doctor,
        logs,
        openapi,
        plugins,
        presets,
        providers,
        router,
        signin,
        statusline,
        transformers,
    )
    from ccr_core.api.operation import Operation

    return (
        Operation(
            method="GET",
            path="/api/openapi.json",
            summary="This description, for programs.",
            answer=openapi.shown,
            gives={str: object},
        ),
        *config.OPERATIONS,
        *providers.OPERATIONS,
        *router.OPERATIONS,
        *transformers.OPERATIONS,
        *presets.OPERATIONS,
        *signin.OPERATIONS,
        *plugins.OPERATIONS,
        *statusline.OPERATIONS,
        *logs.OPERATIONS,
        *doctor.OPERATIONS,
        *attempts.OPERATIONS,
    )


def routes(app: App) -> list[BaseRoute]:
    """Everything below ``/api/`` but what every router answers (session, status)."""
    from starlette.routing import Route

    return [Route("/api/{rest:path}", _Late(app))]


class _Late:
    """The operations as one ASGI application, which is made at its first request."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._router: Any = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve one request."""
        if self._router is None:
            self._router = self._made()
        await self._router(scope, receive, send)

    def _made(self) -> Any:
        from starlette.requests import Request
        from starlette.responses import Response
        from starlette.routing import Route, Router

        from ccr_core.api.desk import Desk

        desk = Desk(self._app)

        def route(operation: Operation) -> Route:
            async def serve(request: Request) -> Response:
                return await operation.serve(desk, request)

            # A name may have a slash in it.
            path = operation.path.replace("{name}", "{name:path}")
            return Route(path, serve, methods=[operation.method])

        return Router([route(operation) for operation in operations()], redirect_slashes=False)
