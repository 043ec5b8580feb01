"""Signing in to the web UI: a one-time link's code, or the management token, for a session."""

from __future__ import annotations

import math
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ccr_core import __version__
from ccr_core.access import Access
from ccr_core.errors import RequestError

PRIVATE = {"cache-control": "no-store"}

MOST = 4096
"""Bytes of a body: whoever sends it is not known yet."""


def session_routes(access: Access) -> list[BaseRoute]:
    """``POST``, ``GET`` and ``DELETE /api/session``."""

    async def begin(request: Request) -> Response:
        given = await _body(request)
        code, token = given.get("code"), given.get("token")
        session, expires = access.sign_in(
            code if isinstance(code, str) else None, token if isinstance(token, str) else None
        )
        return JSONResponse({"token": session, "expires": expires}, headers=PRIVATE)

    async def show(request: Request) -> Response:
        expires = access.expires(_token(request)) or 0.0
        return JSONResponse(
            {"expires": None if math.isinf(expires) else expires, "version": __version__}, headers=PRIVATE
        )

    async def end(request: Request) -> Response:
        access.end(_token(request))
        return JSONResponse({}, headers=PRIVATE)

    return [
        Route("/api/session", begin, methods=["POST"]),
        Route("/api/session", show, methods=["GET"]),
        Route("/api/session", end, methods=["DELETE"]),
    ]


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[2].strip()


async def _body(request: Request) -> dict[str, Any]:
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MOST:
            raise RequestError(f"the body is larger than {MOST} bytes", 413)
    try:
        given = orjson.loads(data)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise RequestError('expected a JSON object with "code" or "token"')
    return given
