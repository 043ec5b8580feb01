"""What the observer is told of made-up exchanges, for the tests of this package."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ccr_plugin_history import FILE, Options
from ccr_plugin_history.writer import Writer

from ccr_core import Answered, Arrived, Failed, Finished, Observation, Prices, Routed, Sent

AT = 1_764_000_000.0
"""When the made-up requests arrive, unless a test says otherwise."""

ANSWERS = (
    {"rule": "think", "state": "passed", "why": "thinking is off"},
    {"rule": "default", "state": "decided", "why": "p,m: Router.default"},
)
PRICES = Prices(input=1.0, output=10.0, cache_read=0.1)
USAGE = {"input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 5000}


def begun(id: str = "req_1", at: float = AT, provider: str = "p", model: str = "m", **fields: Any) -> Iterator[Any]:
    """A request that waits for its provider."""
    hints = {name: fields.get(name) for name in ("session", "agent_id", "agent_type", "parent_agent_id")}
    kind = fields.get("request_class")
    yield Arrived(id=id, at=at, path="/v1/messages", model="asked", stream=True, size=10, request_class=kind, **hints)
    yield Routed(
        id=id,
        at=at + 0.01,
        provider=provider,
        model=model,
        scenario=fields.get("scenario", "default"),
        why="Router.default",
        tokens=1200,
        explanation=ANSWERS,
        rule=fields.get("rule", "default"),
        project=fields.get("project"),
    )
    yield Sent(
        id=id,
        at=at + 0.02,
        attempt=1,
        provider=provider,
        model=model,
        url="https://user:pw@api.invalid/v1/chat?key=secret#x",
    )


def ended(id: str = "req_1", at: float = AT, provider: str = "p", model: str = "m", **fields: Any) -> Iterator[Any]:
    """Its end, two seconds after it arrived: well, or with ``error``."""
    given = {
        "status": 200,
        "stream": True,
        "requested": "asked",
        "scenario": "default",
        "why": "Router.default",
        "attempts": 1,
        "duration": 2.0,
        "first": 0.5,
        "stop_reason": "end_turn",
        "usage": USAGE,
        "tokens": 1200,
        "prices": PRICES,
        **fields,
    }
    given = {name: value for name, value in given.items() if name not in ("rule", "error", "kind")}
    yield Answered(id=id, at=at + 0.4, attempt=1, status=fields.get("status", 200))
    common = {"id": id, "at": at + 2.0, "provider": provider, "model": model, **given}
    if "error" in fields:
        yield Failed(**common, kind=fields.get("kind", "overloaded_error"), error=fields["error"])
    else:
        yield Finished(**common)


def whole(id: str = "req_1", at: float = AT, **fields: Any) -> Iterator[Observation]:
    """A request from its arrival to its end."""
    yield from begun(id, at, **{name: value for name, value in fields.items() if name != "error"})
    yield from ended(id, at, **fields)


def wrote(home: Path, *observations: Iterator[Observation], options: Options | None = None) -> Path:
    """A history with these observations; its file."""
    writer = Writer(home / FILE, options or Options(days=36500))
    writer.step([each for several in observations for each in several], last=True)
    return home / FILE


def now() -> float:
    """A moment ago, so that requests of now are not in the future."""
    return time.time() - 10
