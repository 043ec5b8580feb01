"""The transformer ``cleancache``."""

from __future__ import annotations

import copy
from typing import Any

import ccr_plugin_cleancache as plugin
import orjson

from ccr_core import Context, Request, Target

CONTEXT = Context(exchange_id="1", target=Target(provider="p", model="m", base_url="http://localhost"))
MARK = {"cache_control": {"type": "ephemeral"}}


def clean(body: dict[str, Any]) -> Request:
    """The request after the transformer; what it was given must stay as it was."""
    before = copy.deepcopy(body)
    got = plugin.CleanCache(None, CONTEXT).on_request(Request(body))
    assert before == body
    return got


def marked(mark: dict[str, Any]) -> dict[str, Any]:
    """A request that has ``mark`` in every place where the Messages API has one."""
    text = {"type": "text", "text": "t", **mark}
    return {
        "model": "m",
        "system": [text, {"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": "plain", **mark},
            {"role": "user", "content": [text, {"type": "image", "source": {"type": "url", "url": "u"}, **mark}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {}, **mark}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [text], **mark}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [text]}]},
            {"role": "user", "content": [{"type": "document", "source": {"type": "content", "content": [text]}}]},
            {"role": "system", "content": [text]},
        ],
        "tools": [{"name": "n", "input_schema": {}, **mark}],
        **mark,
    }


def test_hook() -> None:
    """The plugin offers exactly the transformer that its README names."""
    assert ["cleancache"] == [spec.name for spec in plugin.ccr_transformers()]


def test_every_mark_goes() -> None:
    """Every mark goes, wherever it stands, and everything else stays."""
    got = clean(marked(MARK))

    assert marked({}) == got.body
    assert b"cache_control" not in orjson.dumps(got.body)


def test_fields_of_the_same_name_stay() -> None:
    """A tool's argument or schema property with that name means something else and stays."""
    body = {
        "messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": MARK}]}],
        "tools": [{"name": "n", "input_schema": {"type": "object", "properties": MARK}}],
    }

    assert body is clean(body).body


def test_nothing_to_remove() -> None:
    """A request without marks is handed on, not copied."""
    body = marked({})

    assert body is clean(body).body


def test_unmarked_parts_are_shared() -> None:
    """Only the way down to a mark is copied."""
    body = {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", **MARK}]}]}

    assert body["messages"][0] is clean(body).messages[0]
