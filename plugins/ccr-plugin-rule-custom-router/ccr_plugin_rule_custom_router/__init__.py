"""The routing rule in a Python file of the user's own: ``CUSTOM_ROUTER_PATH``.

The file defines ``route(req, config)``, plain or async, which returns ``"provider,model[,level]"`` or ``None``.  It
runs inside the router with all its rights.  It is loaded at the first request, and again when it has changed; a file
that cannot be used, or that raises, never stops a request: the rule counts as failed, with file and line, and the
next rules decide.  What ``route`` is given are copies, so whatever it does to them changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ccr_core import (
    JSON,
    Counter,
    Decision,
    Hints,
    Pass,
    Request,
    RouteContext,
    RuleSpec,
    blocks_of,
    count_request,
    hookimpl,
)

SECONDS = 10
"""How long an async ``route`` may take."""


class CustomRouterError(Exception):
    """What is wrong with the user's file, with its name and line."""


class RouterRequest:
    """What ``route(req, config)`` is told of a request; what costs something is made at its first use."""

    def __init__(self, request: Request, ctx: RouteContext, tokens: int | None) -> None:
        self._request = request
        self._ctx = ctx
        self._tokens = tokens

    @property
    def model(self) -> str:
        """The model as the client names it."""
        return self._ctx.requested_model

    @property
    def hints(self) -> Hints:
        """What the client says of its request."""
        return self._ctx.hints

    @property
    def session_id(self) -> str | None:
        """The conversation's id, if the client tells it."""
        return self._ctx.hints.session

    @cached_property
    def headers(self) -> dict[str, str]:
        """The client's headers, with lower-case names."""
        return dict(self._request.headers)

    @cached_property
    def last_usage(self) -> JSON | None:
        """The usage of the session's last answer."""
        usage: JSON | None = _copy(self._ctx.last_usage)
        return usage

    @cached_property
    def body(self) -> JSON:
        """The request, as the client sent it to the Messages API: a copy, made at the first use."""
        body: JSON = _copy(self._request.body)
        return body

    @cached_property
    def token_count(self) -> int:
        """The size of the request."""
        return count_request(self._request.body, Counter().count) if self._tokens is None else self._tokens

    @cached_property
    def text(self) -> str:
        """What the user wrote last, as one text, without the client's own reminders and without tool results."""
        return next(filter(None, map(_written, reversed(self._request.messages))), "")

    @cached_property
    def first_text(self) -> str:
        """What the user wrote first, in the same way."""
        return next(filter(None, map(_written, self._request.messages)), "")


def _written(message: JSON) -> str:
    """What the user wrote in a message."""
    content = message.get("content") if message.get("role") == "user" else None
    texts = [
        str(block.get("text") or "")
        for block in blocks_of(content if isinstance(content, (str, list)) else ())
        if block.get("type") == "text"
    ]
    return "\n".join(text for text in texts if not text.startswith("<system-reminder>"))


def _copy(value: Any) -> Any:
    """A copy of plain data, to be changed at will; texts, which are nearly all of its size, are shared."""
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return value


async def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """What the user's ``route`` returns; raises ``CustomRouterError`` for whatever is wrong with it."""
    named = ctx.config.get("CUSTOM_ROUTER_PATH")
    if not isinstance(named, str) or not named:
        return Pass("CUSTOM_ROUTER_PATH is not set")
    path = _path(named)
    route = load(path)
    config = {**_copy(ctx.config), "Router": _copy({**_section(ctx.config), **ctx.router})}
    tokens = await ctx.count() if ctx.tokens is None and ctx.count is not None else ctx.tokens
    limit = asyncio.timeout(SECONDS)
    try:
        async with limit:
            said = route(RouterRequest(request, ctx, tokens), config)
            if inspect.isawaitable(said):
                said = await said
    except Exception as error:
        if limit.expired():
            raise CustomRouterError(f"{path.name}: route() took longer than {SECONDS} s") from error
        raise CustomRouterError(_told(error, path)) from error
    if said is None or said == "":
        return Pass(f"{path.name} leaves it to the other rules")
    if not isinstance(said, str):
        raise CustomRouterError(f'{path.name}: route() must return "provider,model" or None, got {said!r:.100}')
    return Decision(said, f"{path.name} chose it")


def _section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    router = config.get("Router") or config.get("router")
    return router if isinstance(router, Mapping) else {}


def _path(named: str) -> Path:
    return Path(named).expanduser()


def check(options: None, config: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with the user's file, told at start."""
    named = config.get("CUSTOM_ROUTER_PATH")
    if isinstance(named, str) and named:
        try:
            load(_path(named))
        except CustomRouterError as error:
            yield str(error)


_Route = Callable[[RouterRequest, dict[str, Any]], Any]
_known: dict[Path, tuple[tuple[int, int], _Route | CustomRouterError]] = {}


def load(path: Path) -> _Route:
    """The function ``route`` in the file at ``path``; executed once, and again when the file has changed.

    Raises ``CustomRouterError``: a file that was found wanting is not executed again until it changes.
    """
    if path.suffix != ".py":
        raise CustomRouterError(
            f"{path} is not Python: custom routers are .py files now; write "
            'def route(req, config): return "provider,model"  (or None), and name that file in CUSTOM_ROUTER_PATH'
        )
    try:
        found = path.stat()
        state = (found.st_mtime_ns, found.st_size)
        if path not in _known or _known[path][0] != state:
            _known[path] = (state, _loaded(path, path.read_bytes()))
    except OSError as error:
        raise CustomRouterError(f"cannot read {path}: {error.strerror or error}") from None
    route = _known[path][1]
    if isinstance(route, CustomRouterError):
        raise route
    return route


def _loaded(path: Path, source: bytes) -> _Route | CustomRouterError:
    module = types.ModuleType(f"ccr_custom_router_{hashlib.sha1(str(path).encode()).hexdigest()[:8]}")
    module.__file__ = str(path)
    # Known by its name, as classes of the standard library expect of the module they are used in.  Compiled here and
    # not imported: a cached compilation would hide a change within the same second.
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        return CustomRouterError(_told(error, path))
    route = getattr(module, "route", None)
    if not callable(route):
        return CustomRouterError(f"{path.name} defines no function route(req, config)")
    return route  # type: ignore[no-any-return]


def _told(error: Exception, path: Path) -> str:
    """An error of the user's code in one line, with the last line of the file that was under way."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    place = error.__traceback__
    while place is not None and not isinstance(error, SyntaxError):
        if place.tb_frame.f_code.co_filename == str(path):
            line = place.tb_lineno
        place = place.tb_next
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{path.name}" + (f", line {line}" if line else "") + f": {type(error).__name__}: {said}"


@hookimpl
def ccr_rules() -> Iterable[RuleSpec]:
    """Offer the rule ``custom-router``."""
    yield RuleSpec(
        name="custom-router",
        decide=decide,
        summary="The function route(req, config) of the file CUSTOM_ROUTER_PATH.",
        check=check,
    )
