"""One operation of the management API: what it takes, what it gives, and how its errors look.

The table of operations is the only place where a route is written down: the routes, the OpenAPI document and the tests
are made of it.  What is taken is an attrs class, read by the strict reader of the configuration, so that every problem
of a body is told at once and with its path.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import attrs
import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ccr_core.config import Problem, Problems, structure
from ccr_core.errors import AuthError, CcrError, ConfigError, RequestError, UpstreamError, kind_of

if TYPE_CHECKING:
    from ccr_core.api.desk import Desk

log = logging.getLogger("ccr.api")

T = TypeVar("T")

JSON_LIMIT = 4 * 1024 * 1024
"""Bytes of a body, unless an operation says otherwise."""

JSON_TYPE = "application/json"


class Refused(RequestError):
    """The answer is an error: ``problems`` is everything that is wrong, ``more`` what else a program should know."""

    def __init__(
        self,
        message: str,
        status: int = 400,
        problems: Sequence[Problem] = (),
        *,
        kind: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message, status)
        self.kind = kind or self.kind
        self.problems = tuple(problems)
        self.more = more


def refuse(problems: Sequence[Problem], status: int = 400, end: str = "nothing was changed", **more: Any) -> Refused:
    """The error for a list of problems."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return Refused(f"{count}; {end}", status, problems, **more)


@attrs.frozen(kw_only=True)
class Call:
    """A request for an operation: ``given`` is its body, read; ``data`` its bytes where they are no JSON."""

    request: Request
    path: Mapping[str, str]
    query: Mapping[str, str]
    given: Any = None
    data: bytes = b""


Answer: TypeAlias = Callable[["Desk", Call], Any | Awaitable[Any]]


@attrs.frozen(kw_only=True)
class Operation:
    """An entry of the table.

    ``answer`` is called with the desk and the call: a coroutine function on the event loop, any other function in a
    thread; it gives plain data, or a response.  ``takes`` is the class of the body, ``gives`` the shape of the answer
    (see :mod:`ccr_core.api.openapi`), ``query`` what may follow the path, by name, with a sentence each.  ``media``
    are the content types of the body.
    """

    method: str
    path: str
    summary: str
    answer: Answer
    takes: type[Any] | None = None
    gives: Any = None
    query: Mapping[str, str] = attrs.Factory(dict)
    media: tuple[str, ...] = (JSON_TYPE,)
    limit: int = JSON_LIMIT
    bare: bool = False
    """The answer is no plain data but what ``answer`` makes of the request itself, such as a stream."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    async def serve(self, desk: Desk, request: Request) -> Response:
        """Answer a request."""
        try:
            call = await self._call(request)
            if inspect.iscoroutinefunction(self.answer):
                result = await self.answer(desk, call)
            else:
                result = await asyncio.to_thread(self.answer, desk, call)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            return failed(error, str(self), desk.clean)
        return result if isinstance(result, Response) else reply(result)

    async def _call(self, request: Request) -> Call:
        call = Call(request=request, path=dict(request.path_params), query=dict(request.query_params))
        if self.bare:
            return call
        unknown = [name for name in call.query if name not in self.query]
        if unknown:
            raise Refused(f"no parameter {unknown[0]!r}; known: {', '.join(self.query) or 'none'}")
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self.takes is None and self.media == (JSON_TYPE,):
            return call
        data = await self._body(request)
        if media != JSON_TYPE and media in self.media:
            return attrs.evolve(call, data=data)
        if media != JSON_TYPE:
            raise Refused(f"send {' or '.join(self.media)}, not {media or 'nothing'}", 415)
        assert self.takes is not None
        return attrs.evolve(call, given=given(self.takes, data))

    async def _body(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.limit:
                raise Refused(f"the body is larger than {self.limit} bytes", 413)
            parts.append(part)
        return b"".join(parts)


def given(cls: type[T], data: bytes) -> T:
    """The body of a request; :class:`Refused` with every problem."""
    try:
        body = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError as error:
        place = Problem("", f"this is no JSON: {error}", error.lineno, error.colno)
        raise Refused("the body is no JSON", 400, [place]) from None
    if not isinstance(body, dict):
        raise Refused("the body must be a JSON object")
    problems = Problems()
    result = structure(cls, body, "", problems)
    if result is None:
        raise refuse(problems.items, end="the body cannot be used")
    return result


def reply(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Plain data as an answer, which nobody keeps."""
    data = orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS)
    return Response(data, status, {"cache-control": "no-store", **(headers or {})}, JSON_TYPE)


def failed(error: Exception, what: str, clean: Callable[[Any], Any]) -> Response:
    """The answer for an error; what is nobody's mistake but ours is logged and not shown.  ``clean`` hides secrets."""
    status, more, problems = 500, {}, []
    kind: str | None = None
    message = getattr(error, "message", "")
    match error:
        case Refused():
            status, kind, more, problems = error.status, error.kind, error.more, list(error.problems)
        case ConfigError():
            status, problems = 400, list(error.problems)
        case RequestError():
            status, kind = error.status, error.kind
        case AuthError():
            status = 400  # of an account: 401 would say that the caller's own token is wrong
        case UpstreamError():
            status = 502
        case CcrError():
            status = 400
        case RecursionError():
            status, message = 400, "this is nested too deeply"
        case _:
            log.error("%s failed", what, exc_info=error)
            message = f"this is a fault of the router: {type(error).__name__}; its log says more"
    told = {"problems": [told_problem(each) for each in problems]} if problems else {}
    body = {"type": kind or kind_of(status), "message": message, **told, **more}
    return reply(clean({"type": "error", "error": body}), status)


def told_problem(problem: Problem) -> dict[str, Any]:
    """A problem as plain data."""
    return {"path": problem.path, "message": problem.message, "line": problem.line, "column": problem.column}
