"""Changed files are taken into service while requests run, and nothing is lost or mixed meanwhile."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from toy import FakeReply, FakeSender, ask, call, calling, stream, toy_plugin, toy_registry

from ccr_core import Decision, Observer, ObserverSpec, Pass, Request, RouteContext, RuleSpec, UpstreamError
from ccr_core.config import Config, load
from ccr_core.observe import Finished
from ccr_core.plugins import Registry
from ccr_core.reload import Reload, stamps
from ccr_core.runtime import Runtime, build
from ccr_core.server import App, create_app
from ccr_core.upstream import HttpSender

MARK = """
from ccr_core import Transformer

class Mark(Transformer):
    def on_wire_request(self, wire):
        import attrs
        return attrs.evolve(wire, body={{**wire.body, "mark": {mark!r}}})
"""


class Kept(Observer):
    """Remembers what it saw, and whether it was closed."""

    made: list[Kept]

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.closed = 0

    def on(self, observation: Any) -> None:
        assert not self.closed, "told after its end"
        self.seen.append(observation)

    def close(self) -> None:
        self.closed += 1


def by_default(request: Request, ctx: RouteContext) -> Decision | Pass:
    """The default route of the configuration in force."""
    return Decision(ctx.router["default"], "the default")


class Rig:
    """A router with its files in a folder: ``config.json`` and the transformer ``mark.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.json"
        self.transformer = folder / "mark.py"
        self.observers: list[Kept] = []
        self.sender: Any = FakeSender()
        self.write(1)
        self.app = create_app(build(*self.read()), self.sender)
        self.reload = Reload(self.app.engine.runtime, self.read, self.app.swap)
        self.app.reload = self.reload

    def observer(self, options: Any, home: Any) -> Kept:
        self.observers.append(Kept())
        return self.observers[-1]

    def read(self) -> tuple[Config, Registry]:
        """What ``ccr start`` reads anew."""
        return load(self.config), self.registry()

    def registry(self) -> Registry:
        return toy_registry(
            toy_plugin(
                ccr_rules=lambda: [RuleSpec(name="default", decide=by_default)],
                ccr_observers=lambda: [ObserverSpec(name="kept", factory=self.observer)],
            )
        )

    def document(self, version: int, **changes: Any) -> dict[str, Any]:
        """A configuration in which every part says its version."""
        provider = {
            "name": f"toy{version}",
            "api_base_url": f"http://toy{version}.invalid/",
            "api_key": f"key-{version}",
            "models": [f"m{version}"],
            "dialect": "toy",
            "transformer": {"use": ["mark"]},
        }
        return {
            "Providers": [provider],
            "Router": {"default": f"toy{version},m{version}"},
            "transformers": [{"path": f"mark{version}.py", "name": "mark"}],
            **changes,
        }

    def write(self, version: int, **changes: Any) -> None:
        """Write a version of all files, the configuration last and in one step."""
        (self.folder / f"mark{version}.py").write_text(MARK.format(mark=f"mark-{version}"))
        self.replace(self.config, json.dumps(self.document(version, **changes)))

    def replace(self, path: Path, text: str) -> None:
        beside = path.with_suffix(".new")
        beside.write_text(text)
        os.replace(beside, path)

    async def answer(self) -> Any:
        """Where one request goes: what the provider is sent."""
        self.sender.replies = [stream(b'data: {"text":"a"}\n\ndata: {"end":true}\n\n')]
        got = await call(self.app, "POST", "/toy", ask(stream=True))
        assert 200 == got.status, got.body
        return self.sender.sent[-1][1]

    async def status(self) -> Mapping[str, Any]:
        """What ``GET /api/status`` says of the reload."""
        return (await call(self.app, "GET", "/api/status")).json["reload"]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A router with its files."""
    return Rig(tmp_path)


async def test_changed_file_is_taken_into_service(rig: Rig) -> None:
    """
    After a change new requests go where the new file says; without one nothing is built.
    """
    assert ("m1", "mark-1") == ((sent := await rig.answer())["model"], sent["mark"])
    assert not await rig.reload.look()

    rig.write(2)

    assert await rig.reload.look()
    assert ("m2", "mark-2") == ((sent := await rig.answer())["model"], sent["mark"])
    assert not await rig.reload.look()
    assert 1 == rig.reload.count


async def test_status_tells_of_reloads(rig: Rig) -> None:
    """
    The files that are watched, the last reload and their number are in the status.
    """
    before = await rig.status()
    rig.write(2)
    await rig.reload.look()
    after = await rig.status()

    assert ([str(rig.config), str(rig.folder / "mark1.py")], None, 0) == (
        before["files"],
        before["last"],
        before["count"],
    )
    assert [str(rig.config), str(rig.folder / "mark2.py")] == after["files"]
    assert (1, None) == (after["count"], after["problem"])
    assert after["last"] is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "config.json"),
        ('{"PORT": "x"}', 'expected an integer, got "x"'),
        ('{"Router": {"default": "nobody,m"}}', 'no provider for "nobody,m"'),
    ],
)
async def test_bad_file_keeps_the_old(rig: Rig, caplog: pytest.LogCaptureFixture, text: str, why: str) -> None:
    """
    A file that cannot be used changes nothing; log and status say why, once, until it can be used.
    """
    rig.replace(rig.config, text)

    assert not await rig.reload.look()

    assert "m1" == (await rig.answer())["model"]
    assert why in (await rig.status())["problem"]
    assert [True] == [why in record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert not await rig.reload.look()
    assert 1 == len([record for record in caplog.records if record.levelno == logging.ERROR])

    rig.write(3)
    assert await rig.reload.look()
    assert None is (await rig.status())["problem"]
    assert "m3" == (await rig.answer())["model"]


async def test_file_that_goes_and_comes_back(rig: Rig) -> None:
    """
    Without its file the router goes on with what it had; the same file, back again, ends the complaint.
    """
    away = rig.folder / "away"
    rig.config.rename(away)
    assert not await rig.reload.look()
    assert "cannot read" in (await rig.status())["problem"]

    away.rename(rig.config)

    assert await rig.reload.look()
    assert None is (await rig.status())["problem"]


async def test_changed_transformer_file(rig: Rig) -> None:
    """
    A change of a transformer's file alone is a change.
    """
    rig.replace(rig.folder / "mark1.py", MARK.format(mark="changed"))

    assert await rig.reload.look()

    assert "changed" == (await rig.answer())["mark"]


async def test_broken_transformer_file(rig: Rig) -> None:
    """
    A broken transformer keeps the old one, and names file and line.
    """
    rig.replace(rig.folder / "mark1.py", "class Mark(:")

    assert not await rig.reload.look()

    assert "mark-1" == (await rig.answer())["mark"]
    problem = (await rig.status())["problem"]
    assert "transformers[0].path" in problem
    assert "SyntaxError" in problem
    assert "line 1" in problem


async def test_file_that_only_the_refused_configuration_names_is_watched(rig: Rig) -> None:
    """
    When a new configuration names a broken file, mending that file is enough.
    """
    (rig.folder / "other.py").write_text("oh no")
    document = rig.document(2, transformers=[{"path": "other.py", "name": "mark"}])
    rig.replace(rig.config, json.dumps(document))
    assert not await rig.reload.look()

    rig.replace(rig.folder / "other.py", MARK.format(mark="mended"))

    assert await rig.reload.look()
    assert ("m2", "mended") == ((sent := await rig.answer())["model"], sent["mark"])


async def test_custom_router_file_is_watched(rig: Rig) -> None:
    """
    The file of the user's own rule is one of those that are looked at.
    """
    rig.write(2, CUSTOM_ROUTER_PATH="route.py")
    await rig.reload.look()

    (rig.folder / "route.py").write_text("def route(req, config): ...")

    assert await rig.reload.look()
    assert str(rig.folder / "route.py") in (await rig.status())["files"]


async def test_half_written_file_is_not_read(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that is still being written, or has been emptied for it, is left until it stays the same.
    """
    read: list[None] = []
    monkeypatch.setattr(rig.reload, "_read", lambda: (read.append(None), rig.read())[1])
    text = json.dumps(rig.document(2))
    (rig.folder / "mark2.py").write_text(MARK.format(mark="mark-2"))

    rig.config.write_text("")
    assert not await rig.reload.look()
    rig.config.write_text(text[:50])
    looking = asyncio.create_task(rig.reload.look())
    await asyncio.sleep(0.02)
    rig.config.write_text(text)
    assert not await looking

    assert [] == read
    assert None is (await rig.status())["problem"]
    assert await rig.reload.look()
    assert "m2" == (await rig.answer())["model"]


async def test_empty_file_that_was_always_empty_stops_nothing(rig: Rig) -> None:
    """
    Only a file that has just become empty is waited for.
    """
    (rig.folder / "route.py").write_text("")
    rig.write(2, CUSTOM_ROUTER_PATH="route.py")
    assert await rig.reload.look()

    rig.write(3, CUSTOM_ROUTER_PATH="route.py")

    assert await rig.reload.look()


async def test_change_during_the_build_is_not_missed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What changes while a new runtime is being built is seen at the next look.
    """

    def read() -> tuple[Config, Registry]:
        found = rig.read()
        (rig.folder / "mark2.py").write_text(MARK.format(mark="later"))
        return found

    monkeypatch.setattr(rig.reload, "_read", read)
    rig.write(2)
    await rig.reload.look()
    monkeypatch.undo()
    (rig.folder / "mark2.py").write_text(MARK.format(mark="latest!"))

    assert await rig.reload.look()
    assert "latest!" == (await rig.answer())["mark"]


async def test_streams_finish_on_what_they_began_with(rig: Rig) -> None:
    """
    A stream under way keeps its runtime and its observers, who are told of its end and only then closed.
    """
    rig.sender.replies = [stream(b'data: {"text":"a"}\n\n', 0.1, b'data: {"end":true}\n\n')]
    async with calling(rig.app, "POST", "/toy", ask(stream=True)) as (got, _hang_up):
        await got.until(lambda: got.writes)
        rig.write(2)
        await rig.reload.look()
        (old, new) = rig.observers
        assert 0 == old.closed
        await got.until(lambda: got.ended)

    assert ["MessageStop"] == got.lines[-1]
    assert ["toy1"] == [seen.provider for seen in old.seen if isinstance(seen, Finished)]
    assert (1, 0, []) == (old.closed, new.closed, new.seen)


async def test_runtime_without_requests_is_closed_at_once_and_forgotten(rig: Rig) -> None:
    """
    Nothing of an old runtime stays behind, however often the files change.
    """
    old = weakref.ref(rig.app.engine.runtime)
    for version in range(2, 6):
        rig.write(version)
        assert await rig.reload.look()
    gc.collect()

    assert None is old()
    assert [1, 1, 1, 1, 0] == [observer.closed for observer in rig.observers]


async def test_exchange_keeps_its_connections_when_the_proxy_changes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A request that began before a change of the proxy is tried again over the network settings that it began with.
    """
    begun, go = asyncio.Event(), asyncio.Event()
    who: list[HttpSender] = []

    async def send(self: HttpSender, wire: Any, body: bytes) -> Any:
        who.append(self)
        if len(who) == 1:
            begun.set()
            await go.wait()
            raise UpstreamError("gone", 503)
        return stream(b'data: {"end":true}\n\n')

    monkeypatch.setattr(HttpSender, "send", send)
    monkeypatch.setattr("ccr_core.engine._wait", lambda error, times: 0.0)
    app = create_app(build(*rig.read()))
    reload = Reload(app.engine.runtime, rig.read, app.swap)
    answer = asyncio.create_task(call(app, "POST", "/toy", ask(stream=True)))
    await begun.wait()
    rig.write(2, PROXY_URL="http://127.0.0.1:1")
    assert await reload.look()
    go.set()

    assert 200 == (await answer).status
    assert [who[0]] == who[1:]
    assert app.sender is not who[0]
    assert "http://127.0.0.1:1" == app.status()["proxy"]
    await call(app, "POST", "/toy", ask(stream=True))
    assert app.sender is who[2]


async def test_another_proxy_is_announced(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """
    Whoever reads the log sees through which proxy requests go from now on, and never its password.
    """
    for proxy in ("http://me:secret@proxy.example:3128", "http://me:secret@proxy.example:3128", None):
        rig.write(2 if proxy else 3, **({"PROXY_URL": proxy} if proxy else {}))
        await rig.reload.again()

    assert [
        "requests go through the proxy http://proxy.example:3128 from now on (PROXY_URL)",
        "requests go through no proxy from now on (PROXY_URL)",
    ] == [record.getMessage() for record in caplog.records if "PROXY_URL" in record.getMessage()]
    assert "secret" not in caplog.text


async def test_new_key_does_not_cool_down_for_the_old_one(rig: Rig) -> None:
    """
    When a provider gets another key, what was held against the old one is forgotten; else it is kept.
    """
    health, learned = rig.app.engine.health, rig.app.engine.learned
    refused = UpstreamError("unsupported parameter: top_k", 400)
    health.failed("toy1", "key 1", UpstreamError("no", 401))
    learned.learn("toy1", "m1", refused, {"top_k": 1})

    rig.write(1, PORT=1)
    await rig.reload.look()
    kept = [health.report(), learned.report()]
    document = rig.document(1)
    document["Providers"][0]["api_key"] = "another"
    rig.replace(rig.config, json.dumps(document))
    await rig.reload.look()

    assert [1, 1] == [len(each) for each in kept]
    assert [[], []] == [health.report(), learned.report()]


async def test_failing_takeover_is_a_problem_and_not_the_end(rig: Rig) -> None:
    """
    Should taking over itself fail, that is told like any other reason, and the next change is looked at.
    """
    use: Callable[[Runtime], None] = rig.app.swap

    def once(runtime: Runtime) -> None:
        rig.reload._use = use
        raise OSError("no more files")

    rig.reload._use = once
    rig.write(2)
    assert not await rig.reload.look()
    assert "OSError: no more files" == (await rig.status())["problem"]

    rig.write(3)

    assert await rig.reload.look()


async def test_the_files_are_looked_at_while_the_router_serves(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The application begins to look when it starts and ends that when it ends.
    """
    messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    taken = asyncio.Event()

    def use(runtime: Runtime) -> None:
        rig.app.swap(runtime)
        taken.set()

    monkeypatch.setattr(rig.reload, "_use", use)
    monkeypatch.setattr(rig.reload, "run", lambda: Reload.run(rig.reload, 0.01))
    living = asyncio.create_task(rig.app({"type": "lifespan"}, messages.get, send))
    messages.put_nowait({"type": "lifespan.startup"})
    rig.write(2)
    async with asyncio.timeout(5):
        await taken.wait()
    messages.put_nowait({"type": "lifespan.shutdown"})
    await living

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent
    assert "m2" == (await rig.answer())["model"]


def test_stamps(tmp_path: Path) -> None:
    """
    A changed text, another file of the same name and a missing one are told from what was there.
    """
    path = tmp_path / "file"
    missing = stamps([path])
    path.write_text("a")
    first = stamps([path])
    path.write_text("ab")
    second = stamps([path])
    beside = tmp_path / "beside"
    beside.write_text("cd")
    os.utime(beside, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(beside, path)

    assert {path: None} == missing
    assert 4 == len({str(each) for each in (missing, first, second, stamps([path]))})


class Patient:
    """A provider that takes its time, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, ...]] = []
        self._random = random.Random(7)

    async def send(self, wire: Any, body: bytes) -> FakeReply:
        parsed = orjson.loads(body)
        key = wire.headers["authorization"].removeprefix("Bearer key-")
        host = wire.url.removeprefix("http://toy").removesuffix(".invalid/")
        self.sent.append((key, host, parsed["model"].removeprefix("m"), parsed["mark"].removeprefix("mark-")))
        pause = self._random.choice([0.0001, 0.001, 0.01])
        return stream(b'data: {"text":"a"}\n\n', pause, b'data: {"text":"b"}\n\n', pause, b'data: {"end":true}\n\n')

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_requests_under_reloads(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Two thousand requests with a reload every 50 ms: each is answered whole, and by one configuration only.
    """
    monkeypatch.setattr("ccr_core.reload.SETTLED", 0.005)
    provider = Patient()
    app = App(build(*rig.read()), provider)
    reload = Reload(app.engine.runtime, rig.read, app.swap)
    looking = asyncio.create_task(reload.run(0.01))
    left, done = 2000, 0

    async def change() -> None:
        version = 1
        while True:
            version += 1
            await asyncio.sleep(0.05)
            if version % 7 == 0:
                rig.config.write_text('{"Router": ')  # cut
                await asyncio.sleep(0.05)
            rig.write(version)

    async def client() -> None:
        nonlocal left, done
        while left:
            left -= 1
            got = await call(app, "POST", "/toy", ask(stream=True))
            assert 200 == got.status, got.body
            assert ["MessageStop"] == got.lines[-1]
            assert 7 == len(got.lines)
            done += 1

    changing = asyncio.create_task(change())
    async with asyncio.timeout(60):
        await asyncio.gather(*(client() for _ in range(20)))
    for task in (changing, looking):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert 2000 == done == len(provider.sent)
    assert [] == [sent for sent in provider.sent if len(set(sent)) != 1]
    versions = {sent[0] for sent in provider.sent}
    assert len(versions) > 5
    assert reload.count > 5
