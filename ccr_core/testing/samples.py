"""Made-up answers for the checks: whole messages of the Messages API, and the ways to cut things into pieces."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import orjson

from ccr_core.errors import PluginError
from ccr_core.events import BlockDelta, Event
from ccr_core.messages import JSON

SEED = 1729
"""Where random cuts begin; a failed check names the seed of its cut."""


def message(*content: JSON, stop_reason: str = "end_turn", **fields: Any) -> JSON:
    """A whole message that holds ``content``."""
    return {
        "id": "msg_sample",
        "type": "message",
        "role": "assistant",
        "model": "big",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 34},
        **fields,
    }


def text(value: str) -> JSON:
    """A text block."""
    return {"type": "text", "text": value}


def thinking(value: str, signature: str = "c2ln") -> JSON:
    """A thinking block."""
    return {"type": "thinking", "thinking": value, "signature": signature}


def tool_use(name: str, ident: str = "toolu_1", **arguments: Any) -> JSON:
    """A tool call."""
    return {"type": "tool_use", "id": ident, "name": name, "input": arguments}


PLAIN: Mapping[str, JSON] = {
    "text": message(text("Hello, here is some text.\n\n```py\nprint(1)\n```\n")),
    "letters of all sizes": message(text('naïve Größe 漢字 🙂 — “quoted” \\ " \n end')),
    "thinking": message(thinking("First this, then that."), text("The answer is 4.")),
    "tool call": message(text("I look."), tool_use("Read", file_path="/a b/ü.py", limit=3), stop_reason="tool_use"),
    "parallel calls": message(
        tool_use("Bash", "toolu_1", command='echo "x" | sort'),
        tool_use("Bash", "toolu_2", command="ls"),
        tool_use("List", "toolu_3"),
        stop_reason="tool_use",
    ),
    "cut short": message(text("This goes on and"), stop_reason="max_tokens"),
    "nothing": message(),
}
"""Answers that every client format can carry, by what is in them."""

RICH: Mapping[str, JSON] = {
    **PLAIN,
    "thinking between calls": message(
        thinking("a"), tool_use("Read", "toolu_1", n=1), thinking("b"), text("c"), tool_use("Read", "toolu_2", n=2)
    ),
    "hidden thinking": message({"type": "redacted_thinking", "data": "ZW5j"}, text("Done.")),
    "a search": message(
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
        {"type": "text", "text": "Found.", "citations": [{"type": "web_search_result_location", "url": "u"}]},
    ),
    "a block of tomorrow": message({"type": "vendor_block", "value": {"a": [1, None]}}),
    "a block of tomorrow between others": message(
        text("before"), {"type": "vendor_block", "value": 1}, text("after"), tool_use("Read", n=1)
    ),
}
"""Answers with everything that the Messages API has."""


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """``data`` in pieces of ``size`` bytes."""
    return (data[at : at + size] for at in range(0, len(data), size))


def random_pieces(data: bytes, seed: int) -> Iterator[bytes]:
    """``data`` cut at random: mostly small pieces, some large ones, now and then an empty one."""
    rng = random.Random(seed)
    at = 0
    while at < len(data):
        size = rng.choice((0, 1, 2, 3, 5, 17, 80, 400, 3000))
        yield data[at : at + size]
        at += size


_GROWING = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}


def recut(events: Iterable[Event], seed: int) -> Iterator[Event]:
    """``events`` with the same meaning and other deltas: each is cut at random, down to single characters."""
    rng = random.Random(seed)
    for event in events:
        field = _GROWING.get(event.delta["type"]) if isinstance(event, BlockDelta) else None
        if field is None or not isinstance(event, BlockDelta):
            yield event
            continue
        rest = event.delta[field]
        while rest:
            size = 1 if seed == SEED else rng.choice((1, 1, 2, 3, 5, 8, 40))
            yield BlockDelta(event.key, {**event.delta, field: rest[:size]})
            rest = rest[size:]


@contextmanager
def steady_ids() -> Iterator[None]:
    """Inside, random UUIDs (and so the ids of ``ccr_core.new_id``) are the same in each run."""
    rng = random.Random(SEED)
    with mock.patch("ccr_core.messages.random.getrandbits", side_effect=rng.getrandbits):
        yield


def frozen_copy(value: Any) -> bytes:
    """``value`` (plain data) as it is now, to be compared later."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


class Findings:
    """What a check has found, reported all at once."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._lines: list[str] = []

    def add(self, where: str, *problems: str) -> None:
        """Note ``problems`` at ``where``."""
        self._lines += [f"{where}: {problem}" for problem in problems]

    def report(self) -> None:
        """Raise ``AssertionError`` with everything that was noted; do nothing if there is nothing."""
        if self._lines:
            shown = "\n".join(f"  {line}" for line in self._lines[:40])
            more = f"\n  … and {len(self._lines) - 40} more" if len(self._lines) > 40 else ""
            many = "1 problem" if len(self._lines) == 1 else f"{len(self._lines)} problems"
            raise AssertionError(f"{self._subject}: {many}\n{shown}{more}")


def reason(error: BaseException) -> str:
    """An exception in one line, with the place in the code that raised it."""
    if isinstance(error, PluginError) and error.__cause__ is not None:
        error = error.__cause__
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f" ({place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno})" if place else ""
    return f"{type(error).__name__}: {error}{at}"
