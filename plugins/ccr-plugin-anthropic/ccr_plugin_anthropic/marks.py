"""Cache marks: the API takes four in all, and refuses a request that has more.

Clients of other formats and transformers may set more than that.  The first ones go, because what comes later in a
request covers what comes before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ccr_core import JSON, Context

MOST = 4
"""The most cache marks of a request."""


def limit_marks(body: JSON, ctx: Context) -> JSON:
    """``body`` with four cache marks at most; ``body`` itself if it has no more."""
    over = ("cache_control" in body) + _count(body.get("tools")) + _count(body.get("system")) - MOST
    for message in body["messages"]:
        over += _count(message.get("content"))
    if over <= 0:
        return body
    ctx.note("anthropic.cache", f"{over} cache marks above the limit of {MOST} left out")
    taking = _Taking(over)
    out: JSON = {name: taking.blocks(body[name]) for name in ("tools", "system") if name in body}
    out["messages"] = [{**message, "content": taking.blocks(message.get("content"))} for message in body["messages"]]
    return {**body, **out}


def _count(blocks: Any) -> int:
    """How many blocks bear a mark, those inside of results of tools included."""
    count = 0
    if isinstance(blocks, list):
        for block in blocks:
            if block.get("cache_control"):
                count += 1
            if block.get("type") == "tool_result":
                count += _count(block.get("content"))
    return count


class _Taking:
    """Takes away so many marks."""

    def __init__(self, count: int) -> None:
        self._count = count

    def blocks(self, blocks: Any) -> Any:
        """``blocks`` without marks, as long as there are some to be taken."""
        return [*self._each(blocks)] if isinstance(blocks, list) and self._count > 0 else blocks

    def _each(self, blocks: Iterable[JSON]) -> Iterator[JSON]:
        for block in blocks:
            if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
                block = {**block, "content": self.blocks(block["content"])}
            if block.get("cache_control") and self._count > 0:
                self._count -= 1
                block = {name: value for name, value in block.items() if name != "cache_control"}
            yield block
