"""What answers under ``/api/history``.  The README documents parameters and answers.

The file is read in a thread, so that model requests do not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

import orjson

from ccr_core import JSON, CcrError, RequestError
from ccr_plugin_history import query, store

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

FILTERS = ("session", "provider", "model", "requested", "project", "scenario", "rule", "agent", "status")


class Pages:
    """The ASGI application for the file ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = unquote(scope["path"])[len(scope.get("root_path", "")) :].strip("/")
        given = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=False))
        try:
            result = await asyncio.to_thread(self.answer, scope["method"], place, given)
        except RequestError:
            raise
        except CcrError as error:
            raise RequestError(error.message, 503) from error
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        body = b"" if scope["method"] == "HEAD" else orjson.dumps(result)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def answer(self, method: str, place: str, given: Mapping[str, str]) -> JSON:
        """The answer to ``method`` at ``place`` with the parameters ``given``; raise ``RequestError``."""
        name, _, id = place.partition("/")
        if (method, name, id) == ("DELETE", "requests", ""):
            return {"deleted": store.clear(self.path)}
        if method not in ("GET", "HEAD"):
            raise RequestError(f"there is no {method} here", 405)
        if name == "requests" and id:
            return query.one(self.path, id)
        if place == "requests":
            _known(given, "limit", "before", "after", "since", "until", "class", *FILTERS)
            limit = _number(given, "limit", 50)
            if "after" in given:
                return query.changes(self.path, wanted(given), given["after"], limit)
            return query.page(self.path, wanted(given), given.get("before"), limit)
        if place == "usage":
            _known(given, "by", "since", "until", "class", *FILTERS)
            return query.usage(self.path, given.get("by", "model"), wanted(given))
        if place == "overview":
            _known(given, "days")
            return query.overview(self.path, _number(given, "days", 30))
        raise RequestError("there are requests, requests/<id>, usage and overview here", 404)


def wanted(given: Mapping[str, str]) -> query.Filter:
    """The filter that parameters describe."""
    return query.Filter(
        **{name: given.get(name) for name in FILTERS},
        request_class=given.get("class"),
        since=query.moment(given["since"]) if "since" in given else None,
        until=query.moment(given["until"]) if "until" in given else None,
    )


def _known(given: Mapping[str, str], *names: str) -> None:
    for name in given:
        if name not in names:
            raise RequestError(f'there is no parameter "{name}"; there are: {", ".join(sorted(names))}')


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not text.isdecimal() or len(text) > 18:
        raise RequestError(f'{name} must be a number, not "{text[:40]}"')
    return int(text)
