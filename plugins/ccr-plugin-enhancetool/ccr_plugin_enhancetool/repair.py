"""From broken JSON to a JSON object, if there is one in it."""

from __future__ import annotations

from typing import Any

import orjson


def repaired(text: str) -> str | None:
    """The object that ``text`` means, as JSON text; ``None`` if it cannot be said.

    Tried in this order: an object that was written as a JSON string, JSON5 (comments, single quotes, names without
    quotes, commas too many), and the guesses of json-repair (brackets, quotes and commas too few).
    """
    for read in (_nested, _json5, _guessed):
        value = read(text)
        if isinstance(value, dict) and (value or text.strip().strip("{} \t\r\n`") == ""):
            try:
                return orjson.dumps(value).decode()
            except TypeError:  # an infinite or otherwise unwritable value
                continue
    return None


def _nested(text: str) -> Any:
    try:
        value = orjson.loads(text)
        return orjson.loads(value) if isinstance(value, str) else None
    except orjson.JSONDecodeError:
        return None


def _json5(text: str) -> Any:
    import pyjson5

    try:
        return pyjson5.decode(text)
    except (pyjson5.Json5Exception, ValueError, RecursionError):
        return None


def _guessed(text: str) -> Any:
    if "{" not in text:
        # What json-repair makes of plain words is never what was meant.
        return None
    import json_repair

    try:
        return json_repair.loads(text)
    except (ValueError, RecursionError):
        return None
