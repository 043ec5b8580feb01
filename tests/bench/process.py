"""The processes of a run: starting and ending them, and what the kernel says they used.

Only processes started here are ever ended, by their process id.  Figures come from Linux: the process's CPU
clock and `/proc`.  A measured program may have child processes (workers); every figure covers the whole tree.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

HERE = Path(__file__).resolve().parent
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TCP_STATES = {"01": "established", "06": "time_wait", "08": "close_wait", "0A": "listen"}


class StartError(Exception):
    """A program of the run did not come up; the message holds the end of what it printed."""


@attrs.frozen
class Running:
    """A started program that listens on a loopback port."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    seconds: float
    """Wall time from the start of the process to the first answer."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_environment(home: Path, **more: str) -> dict[str, str]:
    """Return a minimal environment with a private home, so that nothing of the person's own set-up is read."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1,localhost",
        **more,
    }


@contextlib.contextmanager
def script(module: str, *arguments: str) -> Iterator[Running]:
    """Run `bench.<module>` of this folder, which prints `{"port": n}` when it listens."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"bench.{module}", *arguments],
        cwd=HERE.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise StartError(f"bench.{module} ended before it listened (exit {process.wait(10)})")
        yield Running(module, process, json.loads(line)["port"], time.perf_counter() - began)
    finally:
        end(process)


@contextlib.contextmanager
def server(
    name: str, command: Sequence[str], port: int, environment: Mapping[str, str], log: Path, limit: float = 30.0
) -> Iterator[Running]:
    """Run a foreign program until `GET /health` on its port answers anything; what it prints goes to `log`."""
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not _answers(port):
            if process.poll() is not None:
                raise StartError(f"{name} ended with exit {process.returncode}:\n{_last_lines(log)}")
            if time.perf_counter() - began > limit:
                raise StartError(f"{name} did not answer on port {port} in {limit:.0f} s:\n{_last_lines(log)}")
            time.sleep(0.003)
        yield Running(name, process, port, time.perf_counter() - began)
    finally:
        end(process)


def _answers(port: int) -> bool:
    """Say whether an HTTP answer comes back; a bare connect could be accepted before the program is ready."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nconnection: close\r\n\r\n" % port)
            return connection.recv(12).startswith(b"HTTP/1.")
    except OSError:
        return False


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process started here and those it started: ask, wait, then force."""
    children = tree(process.pid)[1:]
    if process.stdin:
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    for child in children:
        # A worker that outlived its parent; its parent is gone, so it belongs to init now.
        with contextlib.suppress(OSError):
            if _parent(child) in (1, process.pid):
                os.kill(child, signal.SIGKILL)
    if process.stdout:
        process.stdout.close()


# --- what the kernel says -----------------------------------------------------------------------------


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat after the program's name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def tree(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(_parent(int(entry)), []).append(int(entry))
    found = [pid]
    for known in found:
        found.extend(children.get(known, ()))
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time used so far by a process, its living descendants and those it has waited for."""
    return sum(cpu_seconds_of(each) for each in tree(pid))


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU time used so far by one process and those it has waited for; 0 if it is gone."""
    total = 0.0
    with contextlib.suppress(OSError):
        fields = _stat(pid)
        total += (int(fields[13]) + int(fields[14])) / _TICK  # cutime, cstime
        try:
            # The CPU clock of another process (see clock_getcpuclockid(3)): exact to the nanosecond,
            # where utime and stime count ticks of 10 ms.
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            total += (int(fields[11]) + int(fields[12])) / _TICK
    return total


def memory(pid: int) -> int:
    """Return the resident memory of a process tree in bytes.

    Pages that several processes share count in full for each.  The kernel's fair share (PSS) would make a program look
    the smaller, the more unrelated programs with the same libraries happen to run beside it.
    """
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE
    return total


def sockets(pid: int) -> Counter[tuple[str, int, int]]:
    """Count the TCP sockets a process tree holds open, by (state, local port, remote port)."""
    inodes = set()
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{each}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(entry.path)
                    if target.startswith("socket:["):
                        inodes.add(target[8:-1])
    found: Counter[tuple[str, int, int]] = Counter()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[9] in inodes:
                    ports = [int(address.rpartition(":")[2], 16) for address in fields[1:3]]
                    found[_TCP_STATES.get(fields[3], f"state {fields[3]}"), ports[0], ports[1]] += 1
    return found


def open_files(pid: int) -> int:
    """Return how many file descriptors a process tree has open."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            total += len(os.listdir(f"/proc/{each}/fd"))
    return total


@attrs.frozen
class CommandTimes:
    """What one run of a short command took, in seconds."""

    wall: float
    cpu: float
    exit: int


def run_command(
    command: Sequence[str], environment: Mapping[str, str], limit: float = 30.0, given: Path | None = None
) -> CommandTimes:
    """Run a command to its end and return its times; it reads the file `given`, and what it prints is thrown away."""
    with open(given or os.devnull, "rb") as file:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=dict(environment), stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    with _alarm(process, limit):
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return CommandTimes(wall, usage.ru_utime + usage.ru_stime, process.returncode)


@contextlib.contextmanager
def _alarm(process: "subprocess.Popen[bytes]", limit: float) -> Iterator[None]:
    timer = threading.Timer(limit, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def until(condition: Callable[[], bool], limit: float) -> bool:
    """Wait for a condition, at most `limit` seconds; say whether it came true."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def control(port: int, query: str = "") -> dict[str, Any]:
    """Ask the upstream stand-in for its counters, setting the shape of its answers by `query` first."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/control?{query}", timeout=10) as reply:
        found: dict[str, Any] = json.load(reply)
    return found
