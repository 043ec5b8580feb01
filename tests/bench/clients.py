"""What the HTTP client towards providers costs: `python -m tests.bench.clients`.

The one part of the suite that imports the product: it compares `ccr_core.upstream.HttpSender` with httpx (its default
transport) at the same work, reading streamed answers of 200 events, 16 at once, each event an HTTP chunk of its own.
CPU time is that of the reading process.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import httpx

from ccr_core import WireRequest
from ccr_core.upstream import HttpSender

from . import process, serving
from .payload import request_body

REQUESTS = 320
EVENTS = 200


async def measure(one: Callable[[], Awaitable[int]]) -> dict[str, float]:
    """Return the CPU time of one request in ms, and of one chunk in µs; the median of five rounds."""
    expected = await one()
    found = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(REQUESTS // 16):
            sizes = await asyncio.gather(*(one() for _ in range(16)))
            if set(sizes) != {expected}:
                raise SystemExit(f"answers differ in length: {sorted(set(sizes))}")
        found.append((time.process_time() - began) / REQUESTS)
    median = sorted(found)[2]
    return {"CPU ms/request": round(median * 1e3, 3), "CPU µs/event": round(median * 1e6 / EVENTS, 2)}


async def run(port: int) -> dict[str, dict[str, float]]:
    """Measure each client in turn."""
    url = f"http://127.0.0.1:{port}/v1/messages"
    headers = {"content-type": "application/json"}
    body = request_body(60_000, "m").render(1)
    sender = HttpSender()

    async def ours() -> int:
        reply = await sender.send(WireRequest(url=url, headers=headers), body)
        size = 0
        while data := await reply.read():
            size += len(data)
        return size

    found = {"ccr_core.upstream": await measure(ours)}
    await sender.aclose()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:

        async def theirs() -> int:
            size = 0
            async with client.stream("POST", url, headers=headers, content=body) as reply:
                async for data in reply.aiter_raw():
                    size += len(data)
            return size

        found["httpx"] = await measure(theirs)
    return found


def main() -> None:
    with process.script("upstream", "--events", str(EVENTS), "--writes", "0", "--seconds", "120") as upstream:
        for name, figures in serving.run(run(upstream.port)).items():
            print(name, json.dumps(figures, ensure_ascii=False))


if __name__ == "__main__":
    main()
