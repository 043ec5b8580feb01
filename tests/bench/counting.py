"""What counting costs: `python -m tests.bench.counting` from the root of the project.

A conversation of Claude Code's shape is counted once, then again and again with one new message each time, as the
router does it: parsed anew, with the installed counters.  Processor time of this process; nothing is sent.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from typing import Any

import orjson

from ccr_core.config import from_document
from ccr_core.engine import Engine
from ccr_core.messages import Request
from ccr_core.plugins import load
from ccr_core.runtime import build
from ccr_core.testing import claude_code_request

MODEL = "claude-sonnet-4-5"


def conversation(tokens: int, words: list[str], chance: random.Random) -> dict[str, Any]:
    """A body of about so many tokens: answers with tool calls, and their results."""
    body = claude_code_request("go")
    while len(orjson.dumps(body)) < tokens * 2.75:
        name = f"toolu_{len(body['messages'])}"
        call = {"type": "tool_use", "id": name, "name": "Read", "input": {"file_path": f"/src/{name}.py"}}
        answer = {"role": "assistant", "content": [{"type": "text", "text": prose(words, chance, 60)}, call]}
        result = {"type": "tool_result", "tool_use_id": name, "content": prose(words, chance, 900)}
        body["messages"] += [answer, {"role": "user", "content": [result]}]
    return body


def prose(words: list[str], chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(words, k=count))


async def measure(tokens: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of processor time for the first count, and for each after it."""
    chance = random.Random(1)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(4000)]
    body = conversation(tokens, words, chance)
    provider = {"name": "p", "api_base_url": "http://127.0.0.1:1/v1/messages", "api_key": "k", "models": [MODEL]}
    document = {"Providers": [provider], "Router": {"default": f"p,{MODEL}"}}
    runtime = build(from_document(document, {}), load(), watch=False)
    engine = Engine(runtime)
    taken: list[float] = []
    counts: list[int] = []
    for _ in range(rounds + 1):
        request = Request(orjson.loads(orjson.dumps(body)))
        begun = time.process_time()
        counts.append(await engine.count(runtime, request))
        taken.append((time.process_time() - begun) * 1000)
        body["messages"].append({"role": "user", "content": prose(words, chance, 300)})
    again = taken[1:]
    return {
        "tokens": counts[0],
        "bytes": len(orjson.dumps(body)),
        "counter": runtime.tally(MODEL).name,
        "first_ms": round(taken[0], 2),
        "again_ms": {"median": round(statistics.median(again), 2), "most": round(max(again), 2)},
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(measure(options.tokens, options.rounds)), indent=2))


if __name__ == "__main__":
    main()
