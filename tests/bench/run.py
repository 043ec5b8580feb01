"""Run the benchmark: `python -m tests.bench.run` from the root of the project (`--help` for the options).

It starts a provider stand-in, the bare relay, and `ccr` with a private home and a generated configuration,
each on a free loopback port, drives them one after the other with the load generator, and prints a table.
Linux only, as processor time and memory are read from the kernel.

Rules that make the figures worth something:

* The unit is the bare relay (`relay.py`) in the same run.  Milliseconds differ from machine to machine and
  from hour to hour; ratios within a run differ much less.
* The programs take turns, round by round, in changing order.  A ratio is taken within its round, and the
  median over the rounds is reported.
* Processor time is that of the measured program alone, all its processes together.
* Every answer is checked; a run with an error says so and ends with exit code 1.
* Everything is bounded in count and time; only processes started here are ended.
"""

if __name__ == "__main__" and not __package__:  # run as a file: come in again through the package
    import runpy
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("bench.run", run_name="__main__", alter_sys=True)
    sys.exit()

import argparse
import contextlib
import functools
import http.client
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import attrs

from ccr_core import __version__

from . import node, payload, process
from .process import HERE, Running, StartError

JSON = dict[str, Any]
RELAY = "relay"
DIRECT = "direct"


@attrs.frozen
class Target:
    """Something that answers model calls: a program, and the model name that selects the way through it."""

    name: str
    server: Running
    model: str = "m"
    usage: bool = True
    """False for a peer known to lose the usage figures: its text is checked all the same."""


@attrs.frozen
class Product:
    """How to start `ccr` (or another router that reads the same configuration)."""

    name: str
    command: tuple[str, ...]

    @contextlib.contextmanager
    def home(self, upstream: int, **more: Any) -> Iterator[tuple[int, dict[str, str], Path]]:
        """Make a private home with a configuration, changed by `more`; yields port, environment and folder."""
        with tempfile.TemporaryDirectory(prefix="ccr-bench-") as name:
            home = Path(name)
            folder = home / ".claude-code-router"
            folder.mkdir()
            port = process.free_port()
            (folder / "config.json").write_text(json.dumps({**configuration(port, upstream), **more}, indent=2))
            yield port, process.own_environment(home, CCR_HOME=str(folder)), home

    @contextlib.contextmanager
    def started(self, upstream: int, *options: str, **more: Any) -> Iterator[tuple[Running, dict[str, str]]]:
        """Start it in a private home; yields the running server and its environment."""
        command = [*self.command, "start", *options]
        with (
            self.home(upstream, **more) as (port, environment, home),
            process.server(self.name, command, port, environment, home / "out.txt") as running,
        ):
            yield running, environment


def configuration(port: int, upstream: int) -> JSON:
    """Return the configuration: a provider of each dialect, all at the stand-in, the request log on."""
    return {
        "PORT": port,
        "LOG": True,
        "Providers": providers(upstream)[:2],
        "Router": {"default": "oai,m"},
    }


def providers(upstream: int) -> list[JSON]:
    """Return a provider of each dialect, and one whose requests and answers two transformers work on."""
    address = f"http://127.0.0.1:{upstream}"
    chat = f"{address}/v1/chat/completions"
    return [
        {"name": "oai", "api_base_url": chat, "api_key": "k", "models": ["m"]},
        {
            "name": "ant",
            "api_base_url": f"{address}/v1/messages",
            "api_key": "k",
            "models": ["m"],
            "transformer": {"use": ["Anthropic"]},
        },
        {"name": "res", "api_base_url": f"{address}/v1/responses", "api_key": "k", "models": ["m"]},
        {
            "name": "gem",
            "api_base_url": f"{address}/v1beta/models/",
            "api_key": "k",
            "models": ["m"],
            "transformer": {"use": ["gemini"]},
        },
        {
            "name": "two",
            "api_base_url": chat,
            "api_key": "k",
            "models": ["m"],
            # The one walks the whole request, the other looks into every piece of text of the answer.
            "transformer": {"use": ["cleancache", "extrathinktag"]},
        },
    ]


@attrs.define
class Bench:
    """One run: what is measured, how thoroughly, and what was found."""

    upstream: Running
    relay: Running
    product: Product | None
    targets: list[Target]
    environment: dict[str, str]
    quick: bool
    writes: int
    errors: list[str] = attrs.Factory(list)

    def often(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def shape(self, events: int, delay: float = 0.0, size: int = 0, writes: int | None = None) -> JSON:
        """Set what the stand-in answers, and return the part of a load that expects it."""
        writes = self.writes if writes is None else writes
        process.control(self.upstream.port, f"reset=1&events={events}&delay={delay}&size={size}&writes={writes}")
        return {"events": events, "size": size}

    def load(self, target: Target, **load: Any) -> JSON:
        """Run the load generator against a target to its end."""
        return self.wait(target, self.begin(target, **load))

    def begin(self, target: Target, **load: Any) -> "subprocess.Popen[bytes]":
        load = {"port": target.server.port, "models": [target.model], "usage": target.usage, **load}
        return subprocess.Popen(
            [sys.executable, "-m", "bench.load", json.dumps(load)], cwd=HERE.parent, stdout=subprocess.PIPE
        )

    def wait(self, target: Target, generator: "subprocess.Popen[bytes]") -> JSON:
        try:
            output, _ = generator.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            generator.kill()
            generator.wait()
            raise
        if generator.returncode:
            raise StartError(f"the load generator ended with exit {generator.returncode}")
        found: JSON = json.loads(output)
        for kind, count in found["error_kinds"].items():
            self.errors.append(f"{target.name}: {count} times {kind}")
            print(f"  ! {self.errors[-1]}", file=sys.stderr)
        if not target.server.alive():
            raise StartError(f"{target.name} ended during the run (exit {target.server.process.returncode})")
        return found

    def rounds(
        self, count: int, targets: Sequence[Target], one: Callable[[Target, int], JSON]
    ) -> dict[str, list[JSON]]:
        """Measure each target once per round, in an order that turns by one each round."""
        found: dict[str, list[JSON]] = {target.name: [] for target in targets}
        for number in range(count):
            turn = number % len(targets)
            for target in [*targets[turn:], *targets[:turn]]:
                found[target.name].append(one(target, number))
        return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ratio(found: dict[str, list[JSON]], name: str, key: str, unit: str = RELAY) -> float:
    """Return the median over the rounds of a figure divided by that of the relay, or of `unit`, in the same round."""
    return median([mine[key] / other[key] for mine, other in zip(found[name], found[unit], strict=True)])


# --- scenarios: each returns {program: {figure: number}} ----------------------------------------------


def burst(bench: Bench) -> JSON:
    """CPU per request and requests per second: 16 at once, 60 kB requests, 200-event answers without delay."""
    return _burst(bench, bench.shape(events=200), bench.targets)


def flushed(bench: Bench) -> JSON:
    """The same, but the provider writes each of the 200 events by itself, as fast as it can."""
    return _burst(bench, bench.shape(events=200, writes=0), bench.targets)


def dialects(bench: Bench) -> JSON:
    """The load of `flushed` towards a provider of each other dialect, and with two transformers in the chain."""
    if bench.product is None:
        return {}
    several = providers(bench.upstream.port)
    with bench.product.started(bench.upstream.port, Providers=several) as (running, _):
        chat = Target("translated (OpenAI chat)", running, "oai,m")
        others = [
            Target("translated (OpenAI Responses)", running, "res,m"),
            Target("translated (Gemini)", running, "gem,m"),
            Target("two transformers (OpenAI chat)", running, "two,m"),
        ]
        found = _burst(bench, bench.shape(events=200, writes=0), [chat, *others], chat.name)
    return {name: {key.replace("relay", "chat"): value for key, value in each.items()} for name, each in found.items()}


def _burst(bench: Bench, shape: JSON, targets: Sequence[Target], unit: str = RELAY) -> JSON:
    count = bench.often(480, 128)
    for target in targets:
        bench.load(target, **shape, requests=64)

    def one(target: Target, number: int) -> JSON:
        before = process.cpu_seconds(target.server.pid)
        result = bench.load(target, **shape, requests=count, first_number=number * count)
        cpu = process.cpu_seconds(target.server.pid) - before
        arrived = process.control(bench.upstream.port)["smallest_request"]
        if arrived < 30_000:  # a translated body is shorter, but not by half
            bench.errors.append(f"{target.name}: a request reached the provider with {arrived} bytes")
        return {
            "cpu_ms": cpu * 1000 / count,
            "per_second": result["per_second"],
            "whole_ms": result["whole_ms"].get("p50", 0.0),
            "load_share": result["own_cpu_share"],
        }

    found = bench.rounds(bench.often(9, 3), targets, one)
    return {
        target.name: {
            "CPU ms/request": median([each["cpu_ms"] for each in found[target.name]]),
            "x relay": ratio(found, target.name, "cpu_ms", unit),
            "requests/s": median([each["per_second"] for each in found[target.name]]),
            "whole answer ms": median([each["whole_ms"] for each in found[target.name]]),
            "generator CPU": median([each["load_share"] for each in found[target.name]]),
        }
        for target in targets
    }


def history(bench: Bench) -> JSON:
    """CPU ms per request of a burst with the history of requests, and with it switched off."""
    if bench.product is None:
        return {}
    shape = bench.shape(events=200)
    count = 128
    with (
        bench.product.started(bench.upstream.port) as (on, _),
        bench.product.started(bench.upstream.port, observers={"history": False}) as (without, _),
    ):
        targets = [
            Target(f"{way} {name}", server, model)
            for name, server in (("on", on), ("off", without))
            for way, model in (("pass-through", "ant,m"), ("translated", "oai,m"))
        ]
        for target in targets:
            bench.load(target, **shape, requests=64)

        def one(target: Target, number: int) -> JSON:
            before = process.cpu_seconds(target.server.pid)
            bench.load(target, **shape, requests=count, first_number=number * count)
            time.sleep(0.7)  # until what is left is written
            return {"cpu_ms": (process.cpu_seconds(target.server.pid) - before) * 1000 / count}

        found = bench.rounds(bench.often(40, 4), targets, one)
    report: JSON = {}
    for way in ("pass-through", "translated"):
        on_ms, off_ms = ([each["cpu_ms"] for each in found[f"{way} {state}"]] for state in ("on", "off"))
        report[way] = {
            "on: CPU ms/request": median(on_ms),
            "off: CPU ms/request": median(off_ms),
            "costs %": (median(on_ms) / median(off_ms) - 1) * 100,
            "of the least %": (min(on_ms) / min(off_ms) - 1) * 100,
        }
    return report


def paced(bench: Bench) -> JSON:
    """CPU per event: 64 streams, an event each 10 ms in each; taken while all 64 are streaming."""
    window = bench.often(3, 1)
    shape = bench.shape(events=100 * (window + 2), delay=10)
    for target in bench.targets:  # so that no one-time work falls into the first window
        bench.load(target, **bench.shape(events=5, delay=10), requests=8, clients=8)
    bench.shape(events=100 * (window + 2), delay=10)

    def one(target: Target, number: int) -> JSON:
        generator = bench.begin(target, **shape, clients=64, requests=64, stagger=0.5, first_number=number * 64)
        try:
            process.until(lambda: process.control(bench.upstream.port)["active"] == 64, 10)
            time.sleep(0.2)
            cpu, events = _cpu_and_events(bench, target)
            time.sleep(window)
            cpu_after, events_after = _cpu_and_events(bench, target)
            result = bench.wait(target, generator)
        except BaseException:
            generator.kill()
            generator.wait()
            raise
        sent = events_after - events
        return {
            "cpu_us": (cpu_after - cpu) * 1e6 / sent,
            "rate": sent / window,
            "first_ms": result["first_byte_ms"].get("p50", 0.0),
        }

    found = bench.rounds(bench.often(5, 2), bench.targets, one)
    return {
        target.name: {
            "CPU µs/event": median([each["cpu_us"] for each in found[target.name]]),
            "x relay": ratio(found, target.name, "cpu_us"),
            "events/s": median([each["rate"] for each in found[target.name]]),
            "first event ms": median([each["first_ms"] for each in found[target.name]]),
        }
        for target in bench.targets
    }


def _cpu_and_events(bench: Bench, target: Target) -> tuple[float, int]:
    return process.cpu_seconds(target.server.pid), process.control(bench.upstream.port)["events_sent"]


def first(bench: Bench) -> JSON:
    """Added time to first event, one request at a time, against the same request sent straight to the stand-in."""
    targets = [Target(DIRECT, bench.upstream), *bench.targets]
    report: JSON = {target.name: {} for target in targets}
    for label, body_bytes, count in (("60 kB", 60_000, bench.often(60, 20)), ("1 MB", 1_000_000, bench.often(15, 5))):
        shape = bench.shape(events=20)
        for target in targets:
            bench.load(target, **shape, requests=5, clients=1, body_bytes=body_bytes)

        one = functools.partial(_first_byte, bench, shape | {"requests": count, "body_bytes": body_bytes})
        found = bench.rounds(bench.often(9, 3), targets, one)
        for target in targets:
            pairs = list(zip(found[target.name], found[DIRECT], strict=True))
            report[target.name] |= {
                f"{label}: ms": median([mine["p50"] for mine, _ in pairs]),
                f"{label}: added ms": median([mine["p50"] - direct["p50"] for mine, direct in pairs]),
                f"{label}: p90 added ms": median([mine["p90"] - direct["p90"] for mine, direct in pairs]),
            }
    return report


def _first_byte(bench: Bench, load: JSON, target: Target, number: int) -> JSON:
    return bench.load(target, clients=1, **load)["first_byte_ms"] or {"p50": 0.0, "p90": 0.0}


def long(bench: Bench) -> JSON:
    """What the rule `long-context` adds to the first event: 1 MB of conversation that grows by a message each time."""
    if bench.product is None:
        return {}
    off = {"default": "oai,m"}
    on = {**off, "longContext": "ant,m", "longContextThreshold": 10**9}
    with (
        bench.product.started(bench.upstream.port, Router=off) as (plain, _),
        bench.product.started(bench.upstream.port, Router=on) as (counting, _),
    ):
        targets = [Target("no rule asks for a count", plain), Target("the rule counts", counting)]
        count, rounds = bench.often(15, 8), bench.often(7, 3)
        shape = bench.shape(events=20)
        firsts = {
            target.name: bench.load(target, **shape, grow=True, requests=1, clients=1, body_bytes=1_000_000)
            for target in targets
        }
        load = {**shape, "grow": True, "requests": count, "clients": 1, "body_bytes": 1_000_000}

        def one(target: Target, number: int) -> JSON:
            first: JSON = bench.load(target, **load, first_number=1 + number * count)["first_byte_ms"]
            return first

        found = bench.rounds(rounds, targets, one)
    unit = targets[0].name
    return {
        target.name: {
            "first request ms": firsts[target.name]["first_byte_ms"]["p50"],
            "grown: ms": median([each["p50"] for each in found[target.name]]),
            "grown: more ms": median(
                [mine["p50"] - other["p50"] for mine, other in zip(found[target.name], found[unit], strict=True)]
            ),
            "p90 more ms": median(
                [mine["p90"] - other["p90"] for mine, other in zip(found[target.name], found[unit], strict=True)]
            ),
        }
        for target in targets
    }


def workers(bench: Bench) -> JSON:
    """One worker and two, translated, 32 at once: requests/s, and whose processor time it took.

    The first load is that of `flushed`.  There the generator and the stand-in, which write and read each event by
    itself, need a third of the time of the router, on the same cores: what two workers can do where there are cores
    enough follows from processor time alone, as many requests as the busiest of them has time for.  The other two
    loads leave nearly all of the work to the router, so that they show by the clock what two cores do.
    """
    if bench.product is None:
        return {}
    loads: dict[str, tuple[int, int, int, int]] = {
        "": (bench.often(640, 256), 60_000, 200, 0),
        ", long requests": (bench.often(320, 96), 1_000_000, 20, 1),
        ", long answers": (bench.often(480, 128), 60_000, 1000, 8),
    }
    report: JSON = {}
    with contextlib.ExitStack() as stack:
        routers = []
        for number in (1, 2):
            started = bench.product.started(bench.upstream.port, "--workers", str(number))
            running, _ = stack.enter_context(started)
            routers.append((f"{number} worker{'s' if number > 1 else ''}", running))
        for name, (count, size, events, writes) in loads.items():
            targets = [Target(f"{title}{name}", running, "oai,m") for title, running in routers]
            shape = bench.shape(events=events, writes=writes) | {"body_bytes": size}
            report |= _workers(bench, targets, count, shape)
    return report


def _workers(bench: Bench, targets: Sequence[Target], count: int, shape: JSON) -> JSON:
    """Run one load against one worker and against two, in turns."""
    for target in targets:
        bench.load(target, **shape, requests=128, clients=32)

    def one(target: Target, number: int) -> JSON:
        tree = process.tree(target.server.pid)
        before = [process.cpu_seconds_of(pid) for pid in tree]
        theirs = process.cpu_seconds(bench.upstream.pid)
        result = bench.load(target, **shape, requests=count, clients=32, first_number=number * count)
        theirs = process.cpu_seconds(bench.upstream.pid) - theirs + result["own_cpu_share"] * result["elapsed"]
        spent = [process.cpu_seconds_of(pid) - then for pid, then in zip(tree, before, strict=True)]
        return {
            "per_second": result["per_second"],
            "cpu_ms": sum(spent) * 1000 / count,
            "busiest_ms": max(spent) * 1000 / count,
            "others_ms": theirs * 1000 / count,
        }

    found = bench.rounds(bench.often(9, 3), targets, one)
    unit = targets[0].name
    return {
        target.name: {
            "requests/s": median([each["per_second"] for each in found[target.name]]),
            "x one": ratio(found, target.name, "per_second", unit),
            "CPU ms/request": median([each["cpu_ms"] for each in found[target.name]]),
            "busiest CPU ms/request": median([each["busiest_ms"] for each in found[target.name]]),
            "x one, by CPU": 1 / ratio(found, target.name, "busiest_ms", unit),
            "others' CPU ms/request": median([each["others_ms"] for each in found[target.name]]),
        }
        for target in targets
    }


def slow(bench: Bench) -> JSON:
    """Back-pressure: what the provider can send of 40 MB while the client reads nothing, and what that takes."""
    report: JSON = {}
    events, size = 2_000, 20_000
    for target in bench.targets:
        with _fresh(bench, target) as server, socket.socket() as client:
            shape = bench.shape(events=200)
            bench.load(attrs.evolve(target, server=server), **shape, requests=64)
            before = process.memory(server.pid)
            bench.shape(events=events, size=size, writes=0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.settimeout(60)
            client.connect(("127.0.0.1", server.port))
            body = payload.request_body(60_000, target.model).render(0)
            head = (
                f"POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            client.sendall(head.encode() + body)
            sent = _standing(bench)
            figures: JSON = {
                "provider sent MB": sent / 1e6,
                "memory more MB": (process.memory(server.pid) - before) / 1e6,
            }
            answer = http.client.HTTPResponse(client)
            answer.begin()
            problem = payload.Checker(events, size, target.usage).stream(answer.read())
            if problem:
                bench.errors.append(f"{target.name}: after the client began to read: {problem}")
            figures["memory after MB"] = (process.memory(server.pid) - before) / 1e6
            report[target.name] = figures
    bench.shape(events=200)
    return report


def _standing(bench: Bench) -> int:
    """Return how many bytes the stand-in has sent when it can send no more."""
    sent = -1
    for _ in range(60):
        time.sleep(0.5)
        now: int = process.control(bench.upstream.port)["bytes_sent"]
        if now == sent > 0:
            return now
        sent = now
    return sent


def memory(bench: Bench) -> JSON:
    """Memory of a fresh process: idle, after 32 requests, with 256 streams, after 500 and 10,000 streamed requests."""
    report: JSON = {}
    for target in bench.targets:
        with _fresh(bench, target) as server:
            fresh = attrs.evolve(target, server=server)
            figures: JSON = {"idle MB": _megabytes(server)}
            bench.load(fresh, **bench.shape(events=200), requests=32)
            warm = process.memory(server.pid)
            shape = bench.shape(events=60, delay=50)
            generator = bench.begin(fresh, **shape, clients=256, requests=256, stagger=1.0)
            try:
                full = process.until(lambda: process.control(bench.upstream.port)["active"] == 256, 10)
                time.sleep(0.5)
                with_streams = process.memory(server.pid)
            finally:
                bench.wait(fresh, generator)
            if not full:
                bench.errors.append(f"{target.name}: 256 streams were never open at once")
            figures["used MB"] = warm / 1e6
            figures["256 streams MB"] = with_streams / 1e6
            figures["kB/stream"] = (with_streams - warm) / 256 / 1000
            shape = bench.shape(events=200)
            bench.load(fresh, **shape, requests=500)
            early = _megabytes(server)
            later = bench.often(10_000, 2_000)
            bench.load(fresh, **shape, requests=later - 500, first_number=500)
            figures |= {"after 500 MB": early, f"after {later} MB": _megabytes(server)}
            figures["growth %"] = (figures[f"after {later} MB"] / early - 1) * 100
            report[target.name] = figures
    return report


@contextlib.contextmanager
def _fresh(bench: Bench, target: Target) -> Iterator[Running]:
    """Start a new process of the target's program, where that is the relay or the product; else take the old one."""
    if target.name == RELAY:
        with process.script("relay", str(bench.upstream.port)) as running:
            yield running
    elif bench.product and target.server.name == bench.product.name:
        with bench.product.started(bench.upstream.port) as (running, _):
            yield running
    else:
        yield target.server


def _megabytes(server: Running) -> float:
    time.sleep(0.3)
    return process.memory(server.pid) / 1e6


def startup(bench: Bench) -> JSON:
    """Start to healthy, and short commands, over `python -c pass`; wall and CPU time in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="ccr-bench-startup-") as name:
        return _startup(bench, Path(name))


def _startup(bench: Bench, folder: Path) -> JSON:
    line = _status_input(folder)
    commands: dict[str, tuple[list[str], dict[str, str], Path | None]] = {
        "python -c pass": ([sys.executable, "-c", "pass"], bench.environment, None)
    }
    products = {"ccr": (bench.product, bench.environment)}
    peer = node.program()
    if peer is not None:
        # A router of its own does not run, so its status is the shorter way.
        products["node ccr"] = (Product("node-ccr", (str(peer),)), process.own_environment(folder))
    for name, (product, environment) in products.items():
        if product:
            commands[f"{name} --version"] = ([*product.command, "-v"], environment, None)
            commands[f"{name} status"] = ([*product.command, "status"], environment, None)
            commands[f"{name} statusline"] = ([*product.command, "statusline"], environment, line)
    times: dict[str, list[process.CommandTimes]] = {name: [] for name in commands}
    for _ in range(bench.often(11, 4)):
        for name, (command, environment, given) in commands.items():
            times[name].append(process.run_command(command, environment, given=given))
    for name, each in times.items():
        if any(one.exit for one in each):
            bench.errors.append(f"{name}: exit {[one.exit for one in each]}")
    for name, (product, _) in products.items():
        if product:
            times[f"{name} start, to healthy"] = []
            for _ in range(bench.often(7, 2)):
                with product.started(bench.upstream.port) as (running, _environment):
                    cpu = process.cpu_seconds(running.pid)
                    times[f"{name} start, to healthy"].append(process.CommandTimes(running.seconds, cpu, 0))
    # The first run of each reads files that are not in memory yet and may write byte code.
    base = times["python -c pass"][1:]
    return {
        name: {
            "wall ms": median([one.wall for one in each[1:]]) * 1000,
            "over python ms": (median([one.wall for one in each[1:]]) - median([one.wall for one in base])) * 1000,
            "CPU ms": median([one.cpu for one in each[1:]]) * 1000,
        }
        for name, each in times.items()
    }


def _status_input(folder: Path) -> Path:
    """What Claude Code gives a status line, with a transcript of a hundred turns in a folder with a branch."""
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    transcript = folder / "transcript.jsonl"
    usage = {"input_tokens": 12_000, "output_tokens": 300}
    turn = [
        {"type": "user", "message": {"role": "user", "content": "word " * 400}},
        {"type": "assistant", "message": {"role": "assistant", "model": "m", "content": "word " * 200, "usage": usage}},
    ]
    transcript.write_text("".join(f"{json.dumps(entry)}\n" for entry in turn * 100))
    given = {
        "hook_event_name": "Status",
        "session_id": "0123456789abcdef",
        "transcript_path": str(transcript),
        "cwd": str(folder),
        "workspace": {"current_dir": str(folder), "project_dir": str(folder)},
        "model": {"id": "claude-opus-4-5", "display_name": "Opus"},
    }
    path = folder / "given.json"
    path.write_text(json.dumps(given))
    return path


def soak(bench: Bench) -> JSON:
    """200 streams at once for a minute, plain and with each third client hanging up midway: errors, memory, sockets."""
    report: JSON = {}
    servers = {target.server.name: target for target in bench.targets}
    for name, target in servers.items():
        models = [each.model for each in bench.targets if each.server is target.server]
        with _fresh(bench, target) as server:
            fresh = attrs.evolve(target, server=server)
            bench.load(fresh, **bench.shape(events=60), models=models, requests=400)
            for label, hang_up_every in (("whole", 0), ("a third hang up", 3)):
                report[f"{name}, {label}"] = _soak(bench, fresh, models, hang_up_every)
    return report


def _soak(bench: Bench, target: Target, models: list[str], hang_up_every: int) -> JSON:
    seconds = bench.often(60, 10)
    shape = bench.shape(events=60, delay=50)
    files = process.open_files(target.server.pid)
    samples: list[float] = []
    generator = bench.begin(
        target,
        **shape,
        models=models,
        clients=200,
        seconds=float(seconds),
        stagger=3.0,
        hang_up_every=hang_up_every,
    )
    try:
        while generator.poll() is None and len(samples) < seconds * 2:
            time.sleep(1)
            samples.append(process.memory(target.server.pid) / 1e6)
    finally:
        result = bench.wait(target, generator)
    quiet = process.until(lambda: process.control(bench.upstream.port)["active"] == 0, 5)
    time.sleep(1)
    counts = process.control(bench.upstream.port)
    held = process.sockets(target.server.pid)
    clients = sum(n for (state, local, _), n in held.items() if local == target.server.port and state != "listen")
    closing = sum(n for (state, _, _), n in held.items() if state == "close_wait")
    if not quiet or clients or closing:
        bench.errors.append(
            f"{target.server.name}: left open: {counts['active']} upstream answers, {clients} client sockets, "
            f"{closing} in close-wait"
        )
    quarter = max(1, len(samples) // 4)
    return {
        "answers": result["right"],
        "hung up": result["hung_up"],
        "errors": result["errors"],
        "most at once": counts["peak"],
        "MB 2nd quarter": median(samples[quarter : 2 * quarter]),
        "MB last quarter": median(samples[-quarter:]),
        "client sockets left": clients,
        "in close-wait": closing,
        "upstream streams left": counts["active"],
        "files before": files,
        "files after": process.open_files(target.server.pid),
    }


SCENARIOS: dict[str, Callable[[Bench], JSON]] = {
    "burst": burst,
    "flushed": flushed,
    "history": history,
    "paced": paced,
    "first": first,
    "dialects": dialects,
    "long": long,
    "workers": workers,
    "slow": slow,
    "startup": startup,
    "memory": memory,
    "soak": soak,
}


# --- peers: other programs, measured where they are installed ------------------------------------------

_NGINX = """\
daemon off; worker_processes 1; error_log stderr error; pid {folder}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_max_body_size 0; client_body_buffer_size 2m; keepalive_requests 10000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 10000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


@contextlib.contextmanager
def _nginx(program: str, upstream: int) -> Iterator[list[Target]]:
    """Run nginx as a relay with one worker."""
    with tempfile.TemporaryDirectory(prefix="ccr-bench-nginx-") as name:
        folder = Path(name)
        port = process.free_port()
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, upstream=upstream, port=port))
        command = [program, "-p", name, "-c", f"{name}/nginx.conf", "-e", "stderr"]
        with process.server("nginx", command, port, process.own_environment(folder), folder / "out.txt") as running:
            yield [Target("nginx", running)]


@contextlib.contextmanager
def _node_ccr(program: str, upstream: int) -> Iterator[list[Target]]:
    """Run the Node router of the same name; it reads the same configuration."""
    with Product("node-ccr", tuple(shlex.split(program))).started(upstream) as (running, _):
        yield [
            Target("node-ccr pass-through", running, "ant,m"),
            # It stops reading at the finish reason, so the usage that follows it is lost.
            Target("node-ccr translated", running, "oai,m", usage=False),
        ]


PEERS = {"nginx": _nginx, "node-ccr": _node_ccr}


def _program(peer: str) -> str | None:
    """Where a peer is installed; None if it is not."""
    if peer == "node-ccr":
        path = node.program(node.ROUTER_VERSION)
        return shlex.quote(str(path)) if path is not None else None
    return shutil.which(peer)


# --- the command --------------------------------------------------------------------------------------


def find_ccr() -> tuple[str, ...]:
    """Return the command of the `ccr` that belongs to this interpreter."""
    script = Path(sys.executable).with_name("ccr")
    return (str(script),) if script.exists() else (sys.executable, "-m", "ccr_core.cli")


def machine() -> JSON:
    """Describe where the figures come from."""
    model = "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load before": os.getloadavg()[0],
    }


HISTORY: tuple[tuple[str, str, str, str], ...] = (
    ("flushed, pass-through", "flushed", "ccr pass-through", "x relay"),
    ("translated", "flushed", "ccr translated", "x relay"),
    ("paced, pass-through", "paced", "ccr pass-through", "x relay"),
    ("translated", "paced", "ccr translated", "x relay"),
    ("added 60 kB, ms", "first", "ccr translated", "60 kB: added ms"),
    ("added 1 MB, ms", "first", "ccr translated", "1 MB: added ms"),
    ("Responses", "dialects", "translated (OpenAI Responses)", "x chat"),
    ("Gemini", "dialects", "translated (Gemini)", "x chat"),
    ("two transformers", "dialects", "two transformers (OpenAI chat)", "x chat"),
    ("long, more ms", "long", "the rule counts", "grown: more ms"),
    ("two workers", "workers", "2 workers", "x one, by CPU"),
    ("idle MB", "memory", "ccr translated", "idle MB"),
)
"""The columns of the history in docs/performance.md: title, scenario, program, figure."""


def row(report: JSON, version: str) -> str:
    """Format a run as a row of the history: what was not measured in it is left open."""
    about = report["machine"]
    name = f"{about['processor']}, {about['cores']} cores, Python {about['python']}, load {about['load before']:.1f}"
    cells = [time.strftime("%Y-%m-%d"), version, name]
    for _, scenario, program, figure in HISTORY:
        value = report["scenarios"].get(scenario, {}).get(program, {}).get(figure)
        cells.append("" if value is None else f"{value:.1f}" if abs(value) >= 2 else f"{value:.2f}")
    return "| " + " | ".join(cells) + " |"


def table(title: str, rows: JSON) -> str:
    """Format {program: {figure: number}} as a Markdown table."""
    columns = list(dict.fromkeys(key for figures in rows.values() for key in figures))
    lines = [["", *columns]]
    lines += [[name, *(_number(figures.get(key)) for key in columns)] for name, figures in rows.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    shown = []
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=True)]
        cells[0] = line[0].ljust(widths[0])
        shown.append("| " + " | ".join(cells) + " |")
    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([f"\n{title}\n", shown[0], rule, *shown[1:]])


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.run", description="Benchmark ccr against a bare relay."
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and shorter ones; for a first look")
    parser.add_argument("--only", action="append", choices=SCENARIOS, metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--ccr", metavar="COMMAND", help="how to run ccr; 'none' measures the relay alone")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop", help="event loop of the relay")
    parser.add_argument("--writes", type=int, default=8, help="writes in which an answer without delay arrives")
    parser.add_argument(
        "--peer",
        action="append",
        metavar="NAME[=COMMAND]",
        help=f"measure these beside it ({', '.join(PEERS)}; without the option those that are installed), or 'none'",
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    if given.ccr == "none":
        product = None
    else:
        product = Product("ccr", tuple(shlex.split(given.ccr)) if given.ccr else find_ccr())
    about = machine()
    report: JSON = {"machine": about, "quick": given.quick, "writes": given.writes, "loop": given.loop, "scenarios": {}}
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(process.script("upstream"))
        relay = stack.enter_context(process.script("relay", str(upstream.port), "--loop", given.loop))
        targets = [Target(RELAY, relay)]
        environment = process.own_environment(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        if product:
            running, environment = stack.enter_context(product.started(upstream.port))
            targets += [
                Target("ccr pass-through", running, "ant,m"),
                Target("ccr translated", running, "oai,m"),
            ]
        peers = given.peer if given.peer is not None else [name for name in PEERS if _program(name)]
        for peer in peers if peers != ["none"] else []:
            name, _, command = peer.partition("=")
            if name not in PEERS:
                parser.error(f"unknown peer {name!r}: choose from {', '.join(PEERS)}")
            program = command or _program(name)
            if not program:
                parser.error(f"{name} is not installed here: give its command as --peer {name}=COMMAND")
            targets += stack.enter_context(PEERS[name](program, upstream.port))
        bench = Bench(upstream, relay, product, targets, environment, given.quick, given.writes)
        print(", ".join(f"{key}: {value}" for key, value in about.items()))
        for name in given.only or SCENARIOS:
            print(f"… {name}", file=sys.stderr)
            report["scenarios"][name] = SCENARIOS[name](bench)
            about_it = (SCENARIOS[name].__doc__ or "").partition("\n")[0]
            print(table(f"{name} — {about_it}", report["scenarios"][name]), flush=True)
        report["errors"] = bench.errors
    if product and not given.quick and not bench.errors:
        print(f"\nfor the history in docs/performance.md:\n\n{row(report, __version__)}")
    if given.json:
        given.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if bench.errors:
        print("\nerrors:\n  " + "\n  ".join(bench.errors))
        sys.exit(1)


def _stop(signum: int, frame: object) -> NoReturn:
    """End in order on SIGTERM, so that the programs started here are ended too."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    try:
        main()
    except StartError as error:
        sys.exit(f"error: {error}")
