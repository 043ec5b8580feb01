"""The transformer that removes every ``cache_control``, for services that refuse fields they do not know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ccr_core import JSON, Request, Transformer, TransformerSpec, hookimpl

MARK = "cache_control"


class CleanCache(Transformer[None]):
    """Removes cache marks wherever the Messages API has them.

    It knows those places instead of searching everywhere: the arguments of a tool call and the schema of a tool may
    have a field of the same name that means something else.
    """

    def on_request(self, request: Request) -> Request:
        """The request without cache marks; the request itself if it has none."""
        body = request.body
        changes: JSON = {MARK: ...} if MARK in body else {}
        for field in ("system", "messages", "tools"):
            value = body.get(field)
            clean = _clean_all(value)
            if clean is not value:
                changes[field] = clean
        return request.with_(**changes) if changes else request


def _clean_all(items: Any) -> Any:
    if not isinstance(items, list):
        return items
    clean: list[Any] | None = None
    for place, item in enumerate(items):
        if _is_bare(item):
            continue
        new = _clean(item)
        if new is not item:
            clean = items.copy() if clean is None else clean
            clean[place] = new
    return items if clean is None else clean


def _is_bare(item: Any) -> bool:
    """Whether there is certainly no mark.  Nearly all messages and blocks are so, and this is quicker than the rest."""
    if type(item) is not dict or MARK in item or "source" in item:
        return False
    content = item.get("content")
    if type(content) is list:
        for block in content:
            if type(block) is not dict or MARK in block or "source" in block or type(block.get("content")) is list:
                return False
    return True


def _clean(item: Any) -> Any:
    """A message, block or tool without its own mark and those of the blocks inside it; itself if there are none."""
    if not isinstance(item, dict):
        return item
    clean = item
    content = item.get("content")
    if isinstance(content, list):
        new = _clean_all(content)
        if new is not content:
            clean = {**item, "content": new}
    source = item.get("source")
    if isinstance(source, dict) and isinstance(source.get("content"), list):
        new = _clean(source)
        if new is not source:
            clean = {**clean, "source": new}
    if MARK in item:
        clean = item.copy() if clean is item else clean
        del clean[MARK]
    return clean


@hookimpl
def ccr_transformers() -> Iterable[TransformerSpec]:
    """Offer the transformer ``cleancache``."""
    yield TransformerSpec(name="cleancache", factory=CleanCache, summary="Remove every cache_control from requests.")
