"""Replaying the flows of logins: no network, no browser, no clock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from ccr_core.auth import Ask, AwaitCallback, Call, Command, Flow, Listen, Now, Sleep
from ccr_core.dialect import WireReply

T = TypeVar("T")


def replay(flow: Flow[T], replies: Iterable[Any] = (), *, now: float = 1_700_000_000.0) -> tuple[T, list[Command]]:
    """Run ``flow`` with what the vendor and the user answer; returns its result and what it asked for.

    A ``Call`` takes the next of ``replies``: an object (the JSON of an answer with status 200), a pair of status and
    object, a ``WireReply``, or an exception that is raised in the flow.  An ``AwaitCallback`` or ``Ask`` takes the
    next one too: a text.  All else is answered by itself; the clock begins at ``now``, stands still and is moved by
    ``Sleep``, and ``Now`` is not listed.  Raises ``AssertionError`` when there are replies too few or too many.
    """
    waiting = list(replies)
    asked: list[Command] = []
    value: Any = None
    failure: BaseException | None = None
    while True:
        try:
            command = flow.send(value) if failure is None else flow.throw(failure)
        except StopIteration as end:
            assert not waiting, f"nobody asked for {len(waiting)} of the replies, the first is {waiting[0]!r}"
            result: T = end.value
            return result, asked
        value, failure = None, None
        if isinstance(command, Now):
            value = now
            continue
        asked.append(command)
        if isinstance(command, Sleep):
            now += command.seconds
        elif isinstance(command, Listen):
            port = next((port for port in command.ports if port), 4321)
            value = f"http://{command.host}:{port}{command.path}"
        elif isinstance(command, Call | AwaitCallback | Ask):
            assert waiting, f"there is no reply to {command!r}"
            given = waiting.pop(0)
            if isinstance(given, BaseException):
                failure = given
            else:
                value = _reply(given) if isinstance(command, Call) else given


def _reply(given: Any) -> WireReply:
    if isinstance(given, WireReply):
        return given
    status, body = given if isinstance(given, tuple) else (200, given)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers: Mapping[str, str] = {"content-type": "application/json"}
    return WireReply(status=status, headers=headers, body=data)
