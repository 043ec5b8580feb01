"""Counting within the engine: what a growing conversation costs, who waits for it, and how near it comes."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import FakeSender, ask, call, stream, toy_config, toy_plugin, toy_registry

from ccr_core import (
    ConfigError,
    Counter,
    CounterSpec,
    Decision,
    MessageDelta,
    MessageStart,
    MessageStop,
    Pass,
    Request,
    RouteContext,
    RuleSpec,
)
from ccr_core.config import ProviderConfig, from_document
from ccr_core.engine import Engine
from ccr_core.runtime import Runtime, build
from ccr_core.server import create_app
from ccr_core.testing import claude_code_request
from ccr_core.tokens import Memo, count_request, cut

SESSION = {"x-claude-code-session-id": "s1"}


class Words(Counter):
    """One token a word; remembers what it was asked, and in which thread."""

    def __init__(self, slow: bool = False, seconds: float = 0.0) -> None:
        self.slow = slow
        self.seen: list[str] = []
        self.threads: set[int] = set()
        self._seconds = seconds

    def count(self, text: str) -> int:
        self.seen.append(text)
        self.threads.add(threading.get_ident())
        time.sleep(self._seconds)
        return len(text.split())


def decide(request: Request, ctx: RouteContext) -> Decision | Pass:
    """Where the client says, else the default; the reason tells the count."""
    return Decision(request.model if "," in request.model else "toy,m", f"{ctx.tokens} tokens")


def runtime(*counters: CounterSpec, **changes: Any) -> Runtime:
    """A runtime that counts every request with ``counters``."""
    plugin = toy_plugin(
        ccr_rules=lambda: [RuleSpec(name="default", decide=decide, needs=frozenset({"tokens"}))],
        ccr_token_counters=lambda: counters,
    )
    return build(toy_config(**changes), toy_registry(plugin))


def counting(counter: Counter, **changes: Any) -> Engine:
    """An engine that counts with ``counter``."""
    return Engine(runtime(CounterSpec(name="words", factory=lambda: counter), **changes))


def text(words: int, seed: object = "") -> str:
    """A text of so many words, other ones for another ``seed``."""
    return " ".join(f"w{seed}x{number}" for number in range(words))


def conversation(messages: int, words: int = 400) -> dict[str, Any]:
    """A long conversation of Claude Code's shape, parsed anew at each call as the router does it."""
    body = claude_code_request("begin")
    for number in range(messages):
        role = ("assistant", "user")[number % 2]
        body["messages"].append({"role": role, "content": [{"type": "text", "text": text(words, number)}]})
    return json.loads(json.dumps(body))  # type: ignore[no-any-return]


# --- what it costs ------------------------------------------------------------------------------------------


async def test_growing_conversation_costs_its_new_part() -> None:
    """
    Of a conversation of 200,000 tokens that grows by one message, only the new text is counted.
    """
    words = Words()
    engine = counting(words)
    first = await engine.count(engine.runtime, Request(conversation(500)))
    long = [text for text in words.seen if len(text) >= 64]
    words.seen.clear()

    again = await engine.count(engine.runtime, Request(conversation(501)))

    assert first > 200_000
    assert len(long) > 500
    assert [text(400, 500)] == [seen for seen in words.seen if len(seen) >= 64]
    assert 403 == again - first


async def test_reload_keeps_what_was_counted() -> None:
    """
    After a reload a conversation need not be counted again.
    """
    words = Words()
    engine = counting(words)
    before = await engine.count(engine.runtime, Request(conversation(10)))
    words.seen.clear()
    engine.swap(runtime(CounterSpec(name="words", factory=lambda: words)))

    assert before == await engine.count(engine.runtime, Request(conversation(10)))
    assert [] == [seen for seen in words.seen if len(seen) >= 64]


async def test_others_are_served_while_a_long_request_is_counted() -> None:
    """
    Counting gives way to others every few milliseconds, also within one long text.
    """
    engine = counting(Words(seconds=0.004))
    body = {"messages": [{"role": "user", "content": text(200_000)}, *({"content": text(20, n)} for n in range(30))]}
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            begun = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - begun)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0)
    begun = time.monotonic()
    await engine.count(engine.runtime, Request(body))
    took = time.monotonic() - begun
    beating.cancel()

    assert took > 0.2
    assert longest < took / 4


async def test_slow_counters_count_in_a_thread() -> None:
    """
    A counter that asks a service holds nobody up.
    """
    slow = Words(slow=True, seconds=0.2)
    engine = counting(slow)
    counted = asyncio.create_task(engine.count(engine.runtime, Request({"messages": [{"content": "a b"}]})))
    turns = 0
    while not counted.done():
        turns += 1
        await asyncio.sleep(0.001)

    assert 3 + 2 == counted.result()
    assert turns > 10
    assert threading.get_ident() not in slow.threads


def test_memo_in_several_threads() -> None:
    """
    A memo that is too small for what several threads count at once still counts right.
    """
    memo = Memo(Words(slow=True), size=2, shortest=0)
    texts = [text(number) for number in range(20)]

    def run(_: int) -> list[int]:
        return [memo.count(each) for each in texts for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(run, range(64)))

    assert [[len(each.split()) for each in texts for _ in range(3)]] * 64 == counts


@given(st.text(st.sampled_from("ab \n"), max_size=200), st.integers(1, 20))
def test_cut(given_text: str, size: int) -> None:
    """
    The pieces are the text, none is too long, and words stay whole where they fit.
    """
    pieces = list(cut(given_text, size))
    assert given_text == "".join(pieces)
    assert all(len(piece) <= size for piece in pieces)


def test_cut_at_words() -> None:
    """
    A long text of short words is cut before white space only.
    """
    assert ["aaa bbb", " ccc ddd"] == list(cut("aaa bbb ccc ddd", 8))


# --- which counter ------------------------------------------------------------------------------------------


@attrs.frozen
class Options:
    """A factor."""

    times: int = 1


@attrs.frozen
class Times(Counter):
    """Counts every word several times."""

    options: Options

    def count(self, text: str) -> int:
        return len(text.split()) * self.options.times


def provider(tokenizer: Any) -> ProviderConfig:
    """An entry with a ``tokenizer`` block, as the configuration has it."""
    entry = {"name": "toy", "api_base_url": "http://toy.invalid/", "api_key": "k", "models": ["m"], "dialect": "toy"}
    return from_document({"Providers": [{**entry, "tokenizer": tokenizer}]}, {}).providers[0]


COUNTERS = (
    CounterSpec(name="words", factory=Words),
    CounterSpec(name="claude", factory=lambda: Times(Options(7)), models=("*claude*",)),
    CounterSpec(name="times", factory=Times, models=(), options=Options),
)


async def tokens(tokenizer: Any, model: str) -> int:
    """How many tokens one word is."""
    made = runtime(*COUNTERS, providers=(provider(tokenizer),))
    return await Engine(made).count(made, Request({"model": model, "messages": [{"content": "word"}]})) - 3


@pytest.mark.parametrize(
    ("model", "expected"), [("toy,m", 5), ("toy,other", 2), ("claude-x", 5), ("", 5), ("toy,m,high", 5)]
)
async def test_tokenizer_block(model: str, expected: int) -> None:
    """
    A provider's block names the counter of its models; a name that says nothing is counted for the default route.
    """
    block = {"default": {"type": "times", "times": 2}, "models": {"m": {"type": "times", "times": 5}}}
    assert expected == await tokens(block, model)


@pytest.mark.parametrize(("model", "expected"), [("toy,claude-x", 7), ("toy,m", 1)])
async def test_without_a_block_the_best_glob_counts(model: str, expected: int) -> None:
    """
    Without a block the most specific glob that matches the model decides.
    """
    assert expected == await tokens(None, model)


@pytest.mark.parametrize(
    ("block", "place", "why"),
    [
        ({"default": {"type": "tmies"}}, "tokenizer.default.type", 'no token counter "tmies"; did you mean "times"?'),
        ({"default": {}}, "tokenizer.default.type", "missing"),
        ({"default": "times"}, "tokenizer.default", 'expected an object, got "times"'),
        ({"default": {"type": "times", "times": "x"}}, "tokenizer.default.times", 'expected an integer, got "x"'),
        ({"default": {"type": "words", "a": 1}}, "tokenizer.default", "words takes no options"),
        ({"models": {"a.b": {"type": "x"}}}, 'tokenizer.models["a.b"].type', 'no token counter "x"'),
        ({"models": []}, "tokenizer.models", "expected an object"),
        ({"defualt": {"type": "times"}}, "tokenizer.defualt", 'unknown key; did you mean "default"?'),
    ],
)
def test_wrong_blocks(block: Any, place: str, why: str) -> None:
    """
    Whatever is wrong in a block is an error with its place.
    """
    with pytest.raises(ConfigError) as error:
        runtime(*COUNTERS, providers=(provider(block),))
    lines = [line for line in error.value.message.splitlines() if line.strip().startswith(f"Providers[0].{place} ")]
    assert 1 == len(lines), error.value.message
    assert why in lines[0]


async def test_counter_that_cannot_be_made(caplog: pytest.LogCaptureFixture) -> None:
    """
    Without its counter a request is estimated, the log says so, and the next reload tries again.
    """
    missing = [True]

    def factory() -> Counter:
        if missing:
            raise OSError("no vocabulary")
        return Words()

    made = runtime(CounterSpec(name="words", factory=factory))
    engine = Engine(made)
    request = Request({"messages": [{"content": "four short words here"}]})
    estimate = count_request(request.body, Counter().count)
    assert estimate == await engine.count(made, request)
    assert "token counter words" in caplog.text

    missing.clear()
    assert estimate == await engine.count(made, request)
    engine.swap(made)
    assert 7 == await engine.count(made, request)


# --- corrected by what providers report ---------------------------------------------------------------------


class Reporting(FakeSender):
    """A provider that reports so many input tokens for each request, in order."""

    def __init__(self, *reports: int) -> None:
        super().__init__(*(stream(b'data: {"text":"a"}\n\ndata: {"end":true}\n\n') for _ in reports))
        self.reports = iter(reports)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, int]]:
    """Usage that the toy provider reports, an answer each."""
    from toy import ToyDecoder

    waiting: list[dict[str, int]] = []

    def feed(self: Any, item: Any) -> Any:
        if "text" in item.data:
            yield MessageStart("m", "toy", waiting.pop(0))
        if item.data.get("end"):
            self.ended = True
            yield MessageDelta("end_turn", usage={"output_tokens": 1})
            yield MessageStop()

    monkeypatch.setattr(ToyDecoder, "feed", feed)
    return waiting


class Talk:
    """Requests of 10,003 words, and what they are counted as."""

    def __init__(self, reports: list[dict[str, int]]) -> None:
        self.reports = reports
        self.sender = FakeSender()
        self.app = create_app(runtime(CounterSpec(name="words", factory=Words)), self.sender)

    async def say(
        self, reported: int | dict[str, int], words: int = 10_000, session: str = "s1", model: str = "x"
    ) -> None:
        """One exchange."""
        self.reports.append(reported if isinstance(reported, dict) else {"input_tokens": reported})
        self.sender.replies.append(stream(b'data: {"text":"a"}\n\ndata: {"end":true}\n\n'))
        headers = {"x-claude-code-session-id": session}
        got = await call(self.app, "POST", "/toy", ask(text(words), model=model, stream=True), headers)
        assert 200 == got.status, got.body

    async def counted(self, words: int = 10_000, session: str = "s1", model: str = "x") -> int:
        """The count of a request."""
        headers = {"x-claude-code-session-id": session}
        return (await call(self.app, "POST", "/toy/count", ask(text(words), model=model), headers)).json["tokens"]  # type: ignore[no-any-return]


@pytest.fixture
def talk(reports: list[dict[str, int]]) -> Talk:
    """A router whose provider reports usage."""
    return Talk(reports)


async def test_count_is_corrected_by_reported_usage(talk: Talk) -> None:
    """
    After one answer a session is counted as the provider counts it, and goes on to be.
    """
    assert 10_003 == await talk.counted()
    for reported in (12_004, 12_004, 12_004):
        await talk.say(reported)
        assert 12_004 == await talk.counted()
    assert round(20_003 * 12_004 / 10_003) == await talk.counted(20_000)


async def test_cached_tokens_are_input(talk: Talk) -> None:
    """
    What the provider read from or wrote to its cache was part of the request.
    """
    await talk.say({"input_tokens": 4, "cache_read_input_tokens": 10_000, "cache_creation_input_tokens": 2000})
    assert 12_004 == await talk.counted()


async def test_sessions_are_corrected_apart(talk: Talk) -> None:
    """
    One session's correction is not another's.
    """
    await talk.say(12_004)
    assert 10_003 == await talk.counted(session="s2")


async def test_models_are_corrected_apart(talk: Talk) -> None:
    """
    What another model reports in the same session does not correct the counts for this one.
    """
    await talk.say(12_004)
    await talk.say(6000, model="spare,m")

    assert 12_004 == await talk.counted()
    assert 6000 == await talk.counted(model="spare,m")


async def test_small_requests_correct_nothing(talk: Talk) -> None:
    """
    Neither a request of a few tokens nor a helper's beside a long conversation says how that is counted.
    """
    await talk.say(900, words=300)
    assert 10_003 == await talk.counted()

    await talk.say(12_004)
    await talk.say(5000, words=3000)
    assert 12_004 == await talk.counted()


async def test_requests_at_the_same_time_do_not_correct_twice(talk: Talk) -> None:
    """
    Sub-agents share their session's id: what one reports corrects the counter, not another's corrected count.
    """
    await asyncio.gather(*(talk.say(12_004) for _ in range(5)))
    assert 12_004 == await talk.counted()


@pytest.mark.parametrize(("reported", "expected"), [(100_000, 20_006), (2000, 5002)])
async def test_corrections_are_bounded(talk: Talk, reported: int, expected: int) -> None:
    """
    A provider that reports nonsense does not make counts nonsense.
    """
    await talk.say(reported)
    assert expected == await talk.counted()


async def test_reports_without_a_session_change_nothing(talk: Talk) -> None:
    """
    Who has no session is counted as the counter counts.
    """
    await talk.say(12_004, session="")
    assert 10_003 == await talk.counted(session="")


async def test_a_session_full_of_tools_is_right_from_its_second_turn(
    reports: list[dict[str, int]],
) -> None:
    """
    A provider that puts much around tools, calls and results, which the counter does not know, is counted within 5 %
    from the second turn on, as the conversation grows.
    """
    sender = FakeSender()
    app = create_app(runtime(CounterSpec(name="words", factory=Words)), sender)
    messages: list[dict[str, Any]] = [{"role": "user", "content": text(4000)}]
    tools = [{"name": f"t{n}", "description": text(200, n), "input_schema": {"type": "object"}} for n in range(12)]
    off: list[float] = []
    for turn in range(6):
        body = {"model": "x", "stream": True, "messages": list(messages), "tools": tools}
        sent = json.dumps(body).encode()
        counted = (await call(app, "POST", "/toy/count", sent, SESSION)).json["tokens"]
        true = provider_tokens(body)
        off.append(counted / true - 1)
        reports.append({"input_tokens": 10, "cache_read_input_tokens": true - 10})
        sender.replies.append(stream(b'data: {"text":"a"}\n\ndata: {"end":true}\n\n'))
        assert 200 == (await call(app, "POST", "/toy", sent, SESSION)).status
        use = {"type": "tool_use", "id": f"c{turn}", "name": "t1", "input": {"path": text(30, turn)}}
        result = {"type": "tool_result", "tool_use_id": f"c{turn}", "content": text(600, turn)}
        messages += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]

    assert abs(off[0]) > 0.1
    assert max(map(abs, off[1:])) < 0.05, off


def provider_tokens(body: dict[str, Any]) -> int:
    """What such a provider counts: the words, and much around each part that is of tools."""
    blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
    uses = sum(block["type"] == "tool_use" for block in blocks)
    return count_request(body, Words().count) + 497 + 120 * len(body["tools"]) + 55 * uses
