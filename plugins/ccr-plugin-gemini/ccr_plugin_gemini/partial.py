"""Arguments of a call that come in pieces: each piece is a value with the path at which it belongs."""

from __future__ import annotations

import re
from typing import Any

from ccr_core import JSON, ProtocolError

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
_VALUES = ("stringValue", "numberValue", "boolValue")
_MOST = 100_000
"""The largest index of a list that is believed."""


def put(arguments: JSON, piece: JSON) -> None:
    """Put ``piece`` into ``arguments``; a text goes on where one is already.  Raise ``ProtocolError`` if it cannot."""
    path = str(piece.get("jsonPath") or "")
    steps = _steps(path)
    value = next((piece[name] for name in _VALUES if name in piece), None)
    target: Any = arguments
    for place, step in enumerate(steps):
        if isinstance(step, int) != isinstance(target, list) or not isinstance(target, (dict, list)):
            raise ProtocolError(f"the provider sent an argument for {path}, where something else is")
        if isinstance(target, list) and isinstance(step, int) and step >= len(target):
            target.extend([None] * (step + 1 - len(target)))
        held = target[step] if isinstance(target, list) else target.get(step)
        if place + 1 == len(steps):
            target[step] = held + value if isinstance(held, str) and isinstance(value, str) else value
        else:
            if held is None:
                held = target[step] = [] if isinstance(steps[place + 1], int) else {}
            target = held


def _steps(path: str) -> list[Any]:
    steps: list[Any] = []
    at = 1 if path.startswith("$") else 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or (found[2] is not None and int(found[2]) > _MOST):
            raise ProtocolError(f"the provider sent an argument at a place that cannot be read: {path!r}")
        name, index, single, double = found.groups()
        quoted = single if single is not None else double
        steps.append(int(index) if index is not None else name or re.sub(r"\\(.)", r"\1", quoted or ""))
        at = found.end()
    if not steps:
        raise ProtocolError("the provider sent an argument without its place")
    return steps
