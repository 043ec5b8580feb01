"""What makes the router quick, as structure: counted by instrumented doubles, never by a clock.

Each table says how often something may happen in one exchange.  A figure that grows here is work that every request or
every piece of an answer has to carry; figures in time come from the benchmark (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import copy
import gc
import importlib.metadata
import inspect
import json
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from bench import payload
from bench.run import providers

from ccr_core import observe, plugins
from ccr_core.config import from_document
from ccr_core.dialect import WireRequest
from ccr_core.observe import Observer, Watch
from ccr_core.plugins import Registry
from ccr_core.runtime import Runtime, build
from ccr_core.server import App, create_app

WAYS = {
    "pass-through": ("ant,m", payload.ANTHROPIC),
    "chat": ("oai,m", payload.OPENAI_CHAT),
    "responses": ("res,m", payload.OPENAI_RESPONSES),
    "gemini": ("gem,m", payload.GEMINI),
    "two transformers": ("two,m", payload.OPENAI_CHAT),
}
"""The ways through the router: the model that selects one, and the dialect of its provider."""

EACH_WAY = pytest.mark.parametrize("way", WAYS)

SIZE = 60_000
"""Bytes of a request."""

BIG = SIZE // 2
"""Bytes from which JSON must be the body of a request or of an answer."""


class Provider:
    """A sender whose every answer arrives in ``reads`` network reads; ``log`` has what happened, in order."""

    def __init__(self, dialect: str, reads: int = 1, events: int = 20, size: int = 0, stream: bool = True) -> None:
        self.log: list[str] = []
        self.status = 200
        self.headers = {"content-type": "text/event-stream" if stream else "application/json"}
        self.on_send: Callable[[], None] = lambda: None
        build_stream, build_plain = payload._BUILDERS[dialect]
        if stream:
            steps = [b"".join(step) for step in build_stream(payload.pieces(events, size))]
        else:
            steps = [payload.dump(build_plain(payload.answer_text(events, size), events))]
        each = -(-len(steps) // reads)
        self._reads = [b"".join(steps[at : at + each]) for at in range(0, len(steps), each)]

    async def send(self, wire: WireRequest, body: bytes) -> Provider:
        self.log.append("sent")
        self.on_send()
        return self

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        self.log.append("read")
        return self._reads.pop(0) if self._reads else b""

    def close(self) -> None:
        self.log.append("closed")

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    """All that comes with ccr."""
    return plugins.load()


@pytest.fixture
def runtime(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Everything that comes with ccr, the default rules, a provider of each dialect, no observer."""
    monkeypatch.setenv("CCR_HOME", str(tmp_path))
    config = from_document({"Providers": providers(1), "Router": {"default": "oai,m"}}, {})
    made = build(config, registry, watch=False)
    assert () == made.warnings
    return made


async def exchange(app: App, provider: Provider, body: bytes, parts: int = 1) -> bytes:
    """Ask once; gives the body of the answer.  The request arrives in ``parts``."""
    each = -(-len(body) // parts)
    arriving = [body[at : at + each] for at in range(0, len(body), each)]
    answer: list[bytes] = []
    status = 0

    async def receive() -> dict[str, Any]:
        if not arriving:
            await asyncio.Event().wait()
        part = arriving.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(arriving)}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        if message.get("body"):
            provider.log.append("write")
            answer.append(message["body"])

    head = {"host": "127.0.0.1:1", "content-type": "application/json", "content-length": str(len(body))}
    head["x-claude-code-session-id"] = "s-1"
    raw = [(name.encode(), value.encode()) for name, value in head.items()]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": raw}
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert 200 == status, b"".join(answer)
    return b"".join(answer)


def request(way: str, size: int = SIZE, stream: bool = True) -> bytes:
    """A request that goes that way."""
    return payload.request_body(size, WAYS[way][0], stream).render(1)


def made(runtime: Runtime, way: str, **options: Any) -> tuple[App, Provider]:
    """The application, and the provider behind it."""
    provider = Provider(WAYS[way][1], **options)
    return create_app(runtime, provider), provider


# Parsing and writing.


class Json:
    """Counts how often something as large as a body is parsed or written as JSON."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        for module in (orjson, json):
            for name in ("loads", "dumps"):
                self._count(monkeypatch, module, name)

    def _count(self, monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        real = getattr(module, name)

        def counting(*args: Any, **options: Any) -> Any:
            found = real(*args, **options)
            self.done[name] += len(args[0] if name == "loads" else found) >= BIG
            return found

        monkeypatch.setattr(module, name, counting)


@EACH_WAY
async def test_a_body_is_parsed_once(runtime: Runtime, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's body is parsed once and written once, whatever the provider speaks."""
    await exchange(*made(runtime, way), request(way))  # what is read once for all
    app, provider = made(runtime, way, events=20)
    body = request(way)
    counted = Json(monkeypatch)
    await exchange(app, provider, body)
    assert {"loads": 1, "dumps": 1} == counted.done


@EACH_WAY
async def test_a_whole_answer_is_parsed_once(runtime: Runtime, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an answer that comes whole, both bodies are parsed once; passed through, the answer is not written anew."""
    app, provider = made(runtime, way, events=20, size=BIG // 10, stream=False)
    body = request(way, stream=False)
    counted = Json(monkeypatch)
    answer = await exchange(app, provider, body)
    assert len(answer) > BIG
    assert {"loads": 2, "dumps": 1 if way == "pass-through" else 2} == counted.done


# Reading and sending.


@EACH_WAY
@pytest.mark.parametrize("reads", [1, 7, 21])
async def test_one_write_for_a_read(runtime: Runtime, way: str, reads: int) -> None:
    """All that one network read brings goes to the client in at most one write."""
    app, provider = made(runtime, way, reads=reads, events=20)
    answer = await exchange(app, provider, request(way))
    assert payload.Checker(20, 0).stream(answer) is None
    between = "".join({"read": " ", "write": "w"}.get(each, "") for each in provider.log).split(" ")
    assert set(between) <= {"", "w"}
    assert 0 < "".join(between).count("w") <= reads + 1


@EACH_WAY
async def test_nothing_is_made_for_each_read(runtime: Runtime, way: str) -> None:
    """An answer in many reads needs no more tasks and no more timers than one in few."""
    loop = asyncio.get_running_loop()
    counts: list[Counter[str]] = []
    real = {name: getattr(loop, name) for name in ("call_later", "call_at")}

    def task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        counts[-1]["tasks"] += 1
        return asyncio.Task(coroutine, loop=loop, **options)

    def timer(name: str) -> Any:
        def counting(*args: Any, **options: Any) -> Any:
            counts[-1]["timers"] += name == "call_at"  # call_later comes to call_at
            return real[name](*args, **options)

        return counting

    loop.set_task_factory(task)
    for name in real:
        setattr(loop, name, timer(name))
    try:
        for reads in (5, 201):
            counts.append(Counter())
            app, provider = made(runtime, way, reads=reads, events=200)
            await exchange(app, provider, request(way))
            assert provider.log.count("read") >= reads
    finally:
        loop.set_task_factory(None)
        for name in real:
            delattr(loop, name)
    assert counts[0] == counts[1]


# Plugins.


@EACH_WAY
async def test_no_hook_is_called(runtime: Runtime, way: str) -> None:
    """Plugins are asked for values at the start; no hook runs while a request is served."""
    points = importlib.metadata.entry_points(group="ccr")
    hooks = {
        function.__code__: f"{point.name}.{name}"
        for point in points
        for name, function in inspect.getmembers(point.load(), inspect.isfunction)
        if hasattr(function, "ccr_impl")
    }
    assert len(hooks) > len(points) / 2
    called: list[str] = []

    def profile(frame: Any, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in hooks:
            called.append(hooks[frame.f_code])

    app, provider = made(runtime, way)
    sys.setprofile(profile)
    try:
        await exchange(app, provider, request(way))
    finally:
        sys.setprofile(None)
    assert [] == called


class Telling(Watch):
    """Writes down what observers are told."""

    def __init__(self, *wants: type) -> None:
        observers = [("x", Observer(), frozenset({each})) for each in wants]
        super().__init__(observers)
        self.told: list[str] = []

    def tell(self, observation: observe.Observation) -> None:
        self.told.append(type(observation).__name__)
        super().tell(observation)


OBSERVED: list[tuple[tuple[type, ...], list[str]]] = [
    ((), []),
    ((observe.Finished,), ["Finished"]),
    ((observe.Failed,), []),
    ((observe.Routed, observe.Streamed), ["Routed", "Streamed"]),
    (
        (observe.Arrived, observe.Routed, observe.Sent, observe.Answered, observe.Streamed, observe.Finished),
        ["Arrived", "Routed", "Sent", "Answered", "Streamed", "Finished"],
    ),
]


@pytest.mark.parametrize(("wants", "told"), OBSERVED)
async def test_observers_get_what_they_want(runtime: Runtime, wants: tuple[type, ...], told: list[str]) -> None:
    """What nobody wants to see is not made; and how many pieces an answer has makes no difference."""
    for reads in (1, 50):
        watch = Telling(*wants)
        app, provider = made(attrs.evolve(runtime, watch=watch), "chat", reads=reads, events=100)
        await exchange(app, provider, request("chat"))
        assert told == watch.told


# Copies.

COPIES = {1: 1, 3: 1}
"""Parts in which a request arrives → blocks of memory as large as the body while it is with the provider, besides
those parts: what goes out."""


@EACH_WAY
@pytest.mark.parametrize("parts", COPIES)
async def test_copies_of_the_body(runtime: Runtime, way: str, parts: int) -> None:
    """A body is in memory as it came, as it is sent, and as small parsed pieces; nothing else is as large as it."""
    size = 800_000
    await exchange(*made(runtime, way), request(way))
    body = request(way, size)
    app, provider = made(runtime, way)
    found: list[int] = []

    def look() -> None:
        traces = tracemalloc.take_snapshot().traces
        found.append(sum(trace.size > size * 0.75 for trace in traces))

    provider.on_send = look
    gc.collect()
    tracemalloc.start()
    try:
        await exchange(app, provider, body, parts)
        gc.collect()
        look()
    finally:
        tracemalloc.stop()
    assert [COPIES[parts], 0] == found


@EACH_WAY
async def test_no_deep_copy(runtime: Runtime, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is copied whole: a change is a copy along the path that it changes."""
    copies: list[object] = []
    monkeypatch.setattr(copy, "deepcopy", lambda value, memo=None: copies.append(value) or value)
    app, provider = made(runtime, way)
    await exchange(app, provider, request(way))
    assert [] == copies


# Commands.

SERVER = {"uvicorn", "starlette", "httptools", "uvloop", "httpx", "pluggy"}

COMMANDS: dict[str, set[str]] = {
    "--version": set(),
    "statusline": set(),
    "status": {"attr", "attrs", "click"},
    "stop": {"attr", "attrs", "click"},
    "activate": {"attr", "attrs", "click", "orjson"},
}
"""Command → all packages beside the standard library and the core that it imports."""


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_imports(command: str, tmp_path: Path) -> None:
    """A command that people run often imports what it needs and nothing else."""
    script = (
        "import sys; before = set(sys.modules)\n"
        "from ccr_core.cli import main\n"
        f"sys.argv = ['ccr', {command!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('\\n', *(set(sys.modules) - before))"
    )
    environment = {"CCR_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        input="{}",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    first = {module.partition(".")[0] for module in done.stdout.splitlines()[-1].split()}
    assert COMMANDS[command] == first - sys.stdlib_module_names - {"ccr_core"}
