"""The router as a process: where it says that it runs, whether that is still true, starting and ending it.

Rules:

* ``run.json`` in ccr's folder says which process serves where.  It is written when the socket is open and removed
  when the server ends; it is believed only if that process still exists *and* is the same one (``GET /health`` gives
  its number, or it was born at the moment noted), because numbers of processes are used again;
* one router per folder: whoever starts one in the background holds the lock ``start.lock`` meanwhile;
* who uses a router through ``ccr code`` holds a shared lock on ``users.lock``.  The system drops it when the user
  dies, however it dies, so there is no count that could be wrong;
* only processes whose identity is certain are sent signals.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

from ccr_core.errors import CcrError
from ccr_core.locks import alone, open_lock, release, take

STATE = "run.json"
OLD_PID = ".claude-code-router.pid"
"""The file in which older tools look for the number of the process."""
LOGS_KEPT = 10
MOST_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer that are looked at."""
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses to bind that are none to connect to → where to connect."""


@attrs.frozen(kw_only=True)
class Run:
    """A router as its state file describes it.

    ``started`` is in seconds since the epoch; ``born`` is the system's own note of the start of the process, ``log``
    the file of its output, ``options`` the arguments of ``ccr start``, ``auto`` says that ``ccr code`` started it, and
    ``failed`` are plugins that could not be used, as ``{"name", "reason"}``.
    """

    pid: int
    port: int
    host: str = "127.0.0.1"
    version: str = ""
    config: str | None = None
    started: float = 0
    born: str | None = None
    log: str | None = None
    options: tuple[str, ...] = ()
    auto: bool = False
    failed: tuple[dict[str, str], ...] = ()

    @property
    def url(self) -> str:
        """Where clients on this machine reach it."""
        return url_of(self.host, self.port)


def url_of(host: str, port: int) -> str:
    """Where clients on this machine reach a router that listens on an address."""
    host = LOOPBACK.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def service_port(configured: int) -> int:
    """The port to listen on: ``SERVICE_PORT`` if it is set, else the configured one."""
    text = os.environ.get("SERVICE_PORT", "")
    if not text:
        return configured
    if not text.isdecimal() or int(text) > 65535:
        raise CcrError(f'SERVICE_PORT is "{text}", which is no port number; unset it, or set it to 0..65535')
    return int(text)


@attrs.frozen
class Standing:
    """Whether a router runs: ``state`` is ``running``, ``stopped`` or ``stuck`` (its process lives but is silent)."""

    state: str
    run: Run | None = None


def look(folder: Path) -> Standing:
    """Whether the router of ``folder`` runs.  Changes nothing."""
    run = read(folder)
    if run is None or not exists(run.pid):
        return Standing("stopped")
    health = probe(run.host, run.port)
    if health is not None and health.get("pid") == run.pid:
        return Standing("running", run)
    if run.born is not None and born(run.pid) == run.born:
        return Standing("stuck", run)
    return Standing("stopped")


def read(folder: Path) -> Run | None:
    """The state file, or ``None`` if there is none that can be understood."""
    try:
        data = json.loads((folder / STATE).read_bytes())
        known = {field.name for field in attrs.fields(Run)}
        run = Run(**{key: value for key, value in data.items() if key in known})
        int(run.pid), int(run.port)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return attrs.evolve(run, options=tuple(run.options), failed=tuple(run.failed))


def write(folder: Path, run: Run) -> None:
    """Write the state file and the one for older tools, each in one step and readable by the user alone."""
    write_private(folder / STATE, json.dumps(attrs.asdict(run), indent=2))
    write_private(folder / OLD_PID, str(run.pid))


def clear(folder: Path, pid: int) -> None:
    """Remove the state files if they speak of the process ``pid``."""
    run = read(folder)
    if run is not None and run.pid == pid:
        (folder / STATE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if (folder / OLD_PID).read_text().strip() == str(pid):
            (folder / OLD_PID).unlink()


def write_private(path: Path, text: str) -> None:
    """Put ``text`` where ``path`` is in one step, in a file that only the user can read; ``CcrError`` if that fails."""
    import tempfile

    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CcrError(f"cannot write {path}: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Create ccr's folder and the one for logs; ``CcrError`` with the cause if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "logs").mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise CcrError(f"cannot use the folder {folder}: {error.strerror or error}; CCR_HOME names another") from error
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise CcrError(f"cannot use the folder {folder}: it is not readable and writable; CCR_HOME names another")


# --- processes --------------------------------------------------------------------------------------------------


def exists(pid: int) -> bool:
    """Whether a process with this number exists (one that ended and waits for its parent does not count)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        if Path("/proc/self/stat").exists():
            return False
    if os.name != "posix":
        return True  # there is no harmless signal; whether it answers decides
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def born(pid: int) -> str | None:
    """The system's note of when a process started: with the number it identifies the process.  ``None``: no such."""
    if not exists(pid):
        return None
    try:
        # Field 22, counted behind the name, which may hold anything: clock ticks since the machine started.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return shown.stdout.strip() or None


def command_of(pid: int) -> str:
    """The command line of a process, shortened; empty if it cannot be seen."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        text = " ".join(words)
    except OSError:
        try:
            shown = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
        except OSError:
            return ""
        text = shown.stdout.strip()
    return text if len(text) <= 100 else f"{text[:97]}..."


def listener(port: int) -> int | None:
    """The number of the process that listens on a TCP port of this machine, as far as it can be seen."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            # local_address is HEX:PORT, 0A is LISTEN, field 9 the inode of the socket
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if inodes:
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                if os.readlink(link) in inodes:
                    return int(link.parts[2])
        return None
    try:
        shown = subprocess.run(
            ["lsof", "-nP", "-t", f"-iTCP:{port}", "-sTCP:LISTEN"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    first = shown.stdout.split()
    return int(first[0]) if first and first[0].isdigit() else None


def probe(
    host: str, port: int, timeout: float = 2, path: str = "/health", key: str | None = None
) -> dict[str, Any] | None:
    """What ``GET /health`` (or another path, with the router's ``key``) says.

    ``None`` if nothing answers there, if the key is refused, or if what answers does not speak like a router.
    """
    try:
        head, _, body = _get(LOOPBACK.get(host, host), port, timeout, path, key).partition(b"\r\n\r\n")
        status = head.split(None, 2)
        if status[:1] not in ([b"HTTP/1.0"], [b"HTTP/1.1"]) or status[1] != b"200":
            return None
        data = json.loads(body)
    except (OSError, ValueError, IndexError):
        return None
    return data if isinstance(data, dict) else None


def status(run: Run, key: str | None) -> dict[str, Any] | None:
    """What ``GET /api/status`` of a running router says; ``None`` if it does not answer or refuses the key."""
    return probe(run.host, run.port, path="/api/status", key=key)


def _get(host: str, port: int, timeout: float, path: str, key: str | None) -> bytes:
    """A whole answer, as it comes.  Written out because importing a client costs more than the question itself.

    HTTP/1.0, so that the answer ends with the connection, or with the length that its head gives.
    """
    import socket

    end = time.monotonic() + timeout
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"GET {path} HTTP/1.0", f"host: {name}", "accept: application/json", "connection: close"]
    if key:
        lines.append(f"x-api-key: {key}")
    with socket.create_connection((host, port), timeout) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        answer = b""
        while len(answer) < MOST_ANSWER:
            connection.settimeout(max(0.001, end - time.monotonic()))
            part = connection.recv(65536)
            answer += part
            head, ended, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^content-length: *(\d+)", head) if ended else None
            if not part or (length is not None and len(body) >= int(length[1])):
                break
    return answer


def blocked(host: str, port: int) -> str | None:
    """Why the router could not listen there, for people; ``None`` if it can."""
    import errno
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            if os.name == "posix":
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"port {port} is taken by {_holder(host, port)}"
        if error.errno == errno.EACCES:
            return f"port {port} needs more rights than this user has; choose one above 1023 with --port"
        return f"cannot listen on {host}: {error.strerror or error}; HOST in the configuration, or --host, says where"
    return None


def _holder(host: str, port: int) -> str:
    pid = listener(port)
    health = probe(host, port, timeout=1)
    if health is not None and health.get("status") == "ok":
        version = health.get("version")
        who = f"another router{f', ccr {version}' if version else ''}"
        known = health.get("pid")
        pid = known if isinstance(known, int) else pid
    else:
        who = "another program"
    if pid is None:
        return f"{who}; stop it or choose another port with --port"
    folder = _home_of(pid)
    shown = f"{who} (pid {pid}: {command_of(pid)}" + (f"; its folder is {folder})" if folder else ")")
    return f"{shown}; stop it or choose another port with --port"


def _home_of(pid: int) -> Path | None:
    """The folder that a router of the same user works in, told by the environment it was started with."""
    from ccr_core.config import home

    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    env = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    if "CCR_HOME" not in env and "HOME" not in env:
        return None
    folder = home(env) if env.get("CCR_HOME") else Path(env["HOME"]) / ".claude-code-router"
    run = read(folder)
    return folder if run is not None and run.pid == pid else None


# --- locks ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[None]:
    """Hold the right to start a router in the background; others wait."""
    with alone(folder / "start.lock"):
        yield


@contextlib.contextmanager
def using(folder: Path) -> Iterator[int]:
    """Be a user of the router.  At the end a router that was started for users is stopped if this was the last one.

    Gives the locked file.  A child that inherits it goes on being a user if this process is killed.
    """
    file = open_lock(folder / "users.lock")
    try:
        take(file, shared=True, wait=True)  # waits while a last user is just stopping the router
        try:
            yield file
        finally:
            # Taken only if nobody else holds the shared lock; held until the router is gone, so that a new user
            # does not find a router that is about to end.
            try:
                if take(file):
                    run = look(folder).run
                    if run is not None and run.auto:
                        stop(folder, 15)
            finally:
                release(file)
    finally:
        os.close(file)


# --- starting and stopping --------------------------------------------------------------------------------------


def stop(folder: Path, timeout: float) -> Run | None:
    """End the router of ``folder`` and wait until its process is gone; ``None`` if none was running.

    Raises ``CcrError`` if it does not end within ``timeout`` seconds, or may not be ended.
    """
    standing = look(folder)
    run = standing.run
    if run is None:
        stale = read(folder)
        if stale is not None:
            clear(folder, stale.pid)
        return None
    birth = run.born or born(run.pid)

    def gone() -> bool:
        return born(run.pid) != birth if birth else look(folder).state == "stopped"

    try:
        os.kill(run.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except OSError as error:
        raise CcrError(f"cannot stop the router (pid {run.pid}): {error.strerror or error}") from error
    if not until(gone, timeout):
        raise CcrError(
            f"the router (pid {run.pid}) has not ended within {timeout:g} s; it may be finishing answers: "
            f"wait, or end it with: kill -9 {run.pid}"
        )
    clear(folder, run.pid)
    return run


def launch(folder: Path, options: Sequence[str], *, auto: bool = False, timeout: float = 30) -> Run:
    """Start a router in the background and wait until it answers.

    ``options`` are those of ``ccr start``.  Hold :func:`starting` around this.  Raises ``CcrError`` with the end of
    its output if it ends before it answers, or does not answer within ``timeout`` seconds (then it is ended).
    """
    log, output = new_log(folder)
    # -P: the folder that the process works in must not become a place of Python modules.
    command = [sys.executable, "-P", "-m", "ccr_core.cli", "start", *options, "--log-file", str(log)]
    with output:
        child = subprocess.Popen(
            [*command, *(["--auto"] if auto else [])],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def settled() -> bool:
        if child.poll() is not None:
            return True
        standing = look(folder)
        return standing.state == "running" and standing.run is not None and standing.run.pid == child.pid

    answered = until(settled, timeout)
    run = read(folder)
    if child.returncode is None and answered and run is not None:
        return run
    if child.returncode is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
        reason = f"the router did not answer within {timeout:g} s"
    else:
        reason = f"the router ended at once (exit code {child.returncode})"
    raise CcrError(f"{reason}; it said:\n{_tail(log)}\n(whole output: {log})")


def until(done: Callable[[], bool], timeout: float) -> bool:
    """Wait until ``done`` says so, for at most ``timeout`` seconds; whether it did."""
    end = time.monotonic() + timeout
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def new_log(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new file for the output of a router, open for writing; of the older ones the newest nine are kept."""
    stamp = time.strftime("%Y%m%d%H%M%S")
    logs = folder / "logs"
    for number in range(100):
        path = logs / f"ccr-{stamp}{f'_{number}' if number else ''}.log"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError:
            continue
        except OSError as error:
            raise CcrError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            # On a full disk a file can be made and not filled: a router that can say nothing must not start.
            os.write(descriptor, b"\n")
            os.ftruncate(descriptor, 0)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise CcrError(f"cannot write {path}: {error.strerror or error}; make room on that disk") from error
        files = sorted(logs.glob("ccr-*.log"), key=lambda each: each.stat().st_mtime_ns)
        for old in files[:-LOGS_KEPT]:
            old.unlink(missing_ok=True)
        return path, os.fdopen(descriptor, "wb")
    raise CcrError(f"cannot create another file in {logs}; try again in a second")


def _tail(path: Path, lines: int = 20) -> str:
    try:
        text = path.read_text(errors="replace").rstrip()
    except OSError as error:
        return f"  (cannot read {path}: {error.strerror or error})"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (nothing)"
