"""The echo model's answers as they go over the wire: Messages API, streamed or whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator

import orjson

from ccr_core import JSON, Headers, kind_of
from ccr_plugin_echo.model import Answer, compose, pieces

_GROUP = 3
"""Tokens in one delta."""

_BATCH = 16
"""Deltas that are given at once."""

_STATUS = {"overloaded_error": 529, "rate_limit_error": 429, "invalid_request_error": 400, "timeout_error": 504}


async def respond(body: JSON) -> tuple[int, Headers, AsyncIterator[bytes]]:
    """Status, headers and body for a Messages request."""
    composed = compose(body)
    if isinstance(composed, tuple):
        failure, seconds = composed
        await asyncio.sleep(seconds)
        headers = {} if failure.retry_after is None else {"retry-after": failure.retry_after}
        return _refusal(failure.status, kind_of(failure.status), failure.message, headers)
    if body.get("stream") is True:
        headers = {"content-type": "text/event-stream", "request-id": f"req_{composed.id[4:]}"}
        return 200, headers, Paced(stream(composed))
    end = composed.end
    if end is not None and end.kind:
        return _refusal(_STATUS.get(end.kind, 500), end.kind, end.message, {})
    data = orjson.dumps(composed.message)
    if end is not None:
        data = data[: len(data) // 2]
    waits = [item for item in composed.items if isinstance(item, float)]
    headers = {"content-type": "application/json", "request-id": f"req_{composed.id[4:]}"}
    return 200, headers, Paced([*waits, data])


def _refusal(status: int, kind: str, message: str, headers: Headers) -> tuple[int, Headers, AsyncIterator[bytes]]:
    body = orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})
    return status, {"content-type": "application/json", **headers}, Paced([body])


class Paced(AsyncIterator[bytes]):
    """Pieces of a body, with pauses (seconds) among them.

    A call that is cancelled in a pause loses nothing: the next one waits for the rest of it.
    """

    def __init__(self, items: Iterable[bytes | float]) -> None:
        self._items = iter(items)
        self._until: float | None = None

    async def __anext__(self) -> bytes:
        while True:
            # Others get their turn between two pieces, as they would with a network.
            await asyncio.sleep(0 if self._until is None else max(0.0, self._until - time.monotonic()))
            self._until = None
            item = next(self._items, None)
            if item is None:
                raise StopAsyncIteration
            if isinstance(item, bytes):
                return item
            self._until = time.monotonic() + item


def stream(answer: Answer) -> Iterator[bytes | float]:
    """The answer as server-sent events, several at once, and the pauses between them."""
    batch = bytearray()
    count = 0
    for item in _events(answer):
        if isinstance(item, float):
            if batch:
                yield bytes(batch)
                batch.clear()
            yield item
            continue
        batch += b"event: %b\ndata: %b\n\n" % (item["type"].encode(), orjson.dumps(item))
        count += 1
        if count % _BATCH == 0:
            yield bytes(batch)
            batch.clear()
    if batch:
        yield bytes(batch)


def _events(answer: Answer) -> Iterator[JSON | float]:
    begun = {**answer.message, "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": {**begun, "usage": {**answer.usage, "output_tokens": 1}}}
    index = 0
    for item in answer.items:
        if isinstance(item, float):
            yield {"type": "ping"}
            yield item
            continue
        yield from _block(index, item)
        index += 1
    end = answer.end
    if end is not None:
        if end.kind:
            yield {"type": "error", "error": {"type": end.kind, "message": end.message}}
        return
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": answer.stop_sequence}
    yield {"type": "message_delta", "delta": delta, "usage": answer.usage}
    yield {"type": "message_stop"}


def _block(index: int, block: JSON) -> Iterator[JSON]:
    kind = block["type"]
    if kind == "text":
        opening, deltas = {**block, "text": ""}, [("text_delta", "text", part) for part in _groups(block["text"])]
    elif kind == "thinking":
        opening = {**block, "thinking": "", "signature": ""}
        deltas = [("thinking_delta", "thinking", part) for part in _groups(block["thinking"])]
        deltas.append(("signature_delta", "signature", block["signature"]))
    else:
        opening = {**block, "input": {}}
        text = orjson.dumps(block["input"]).decode()
        deltas = [("input_json_delta", "partial_json", part) for part in ("", *_groups(text))]
    yield {"type": "content_block_start", "index": index, "content_block": opening}
    for name, field, part in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": {"type": name, field: part}}
    yield {"type": "content_block_stop", "index": index}


def _groups(text: str) -> Iterator[str]:
    tokens = pieces(text)
    for start in range(0, len(tokens), _GROUP):
        yield "".join(tokens[start : start + _GROUP])
