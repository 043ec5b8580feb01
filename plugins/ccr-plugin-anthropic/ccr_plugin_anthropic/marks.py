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
    lists = [body.get("tools"), body.get("system"), *(message.get("content") for message in body["messages"])]
    over = sum(1 for blocks in lists for _ in _marked(blocks)) + ("cache_control" in body) - MOST
    if over <= 0:
        return body
    ctx.note("anthropic.cache", f"{over} cache marks above the limit of {MOST} left out")
    taking = _Taking(over)
    out: JSON = {name: taking.blocks(body[name]) for name in ("tools", "system") if name in body}
    out["messages"] = [{**message, "content": taking.blocks(message.get("content"))} for message in body["messages"]]
    return {**body, **out}


def _marked(blocks: Any) -> Iterator[JSON]:
    """The blocks that bear a mark, also those inside of results of tools."""
    for block in blocks if isinstance(blocks, list) else ():
        if block.get("type") == "tool_result":
            yield from _marked(block.get("content"))
        if block.get("cache_control"):
            yield block


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
