"""Start, stop, restart and status with real processes."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ccr_core import __version__
from ccr_core.cli import process


def health(url: str) -> dict[str, Any]:
    """What a router says of itself."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/health", timeout=5) as answer:
        return dict(json.load(answer))


def mode(path: Path) -> str:
    """The permissions of a file."""
    return oct(path.stat().st_mode & 0o777)


def test_life_in_the_background(ccr: Any) -> None:
    """A router started in the background answers, is described by status, and is gone after stop."""
    ccr.write_config({})
    said = ccr.ok("start", "-d")
    state = ccr.state
    url = f"http://127.0.0.1:{state['port']}"
    assert f"ccr is running at {url} (pid {state['pid']}); its output goes to {state['log']}\n" == said
    assert (state["pid"], __version__) == (health(url)["pid"], health(url)["version"])
    status = ccr.run("status")
    assert 0 == status.returncode
    assert [url, str(state["pid"]), __version__, str(ccr.folder / "config.json"), state["log"]] == [
        line.split(maxsplit=1)[1]
        for line in status.stdout.splitlines()
        if line.split()[0] in ("url", "pid", "version", "configuration", "output")
    ]
    assert f"ccr is stopped (it was pid {state['pid']} at {url})\n" == ccr.ok("stop")
    assert not process.exists(state["pid"])
    assert {} == ccr.state
    assert not (ccr.folder / process.OLD_PID).exists()


def test_files_are_private(ccr: Any) -> None:
    """The state, the file for older tools and the log can be read by the user alone."""
    ccr.write_config({})
    ccr.ok("start", "-d")
    state = ccr.state
    files = [ccr.folder / "run.json", ccr.folder / process.OLD_PID, Path(state["log"]), ccr.folder / "start.lock"]
    assert ["0o600"] * 4 == [mode(path) for path in files]
    assert str(state["pid"]) == (ccr.folder / process.OLD_PID).read_text()


def test_status_codes(ccr: Any) -> None:
    """Status is 1 when stopped, 0 when running, 2 when the process is there but silent; JSON says the same."""
    ccr.write_config({})
    assert (1, "ccr is not running; start it with: ccr start -d\n") == (
        (stopped := ccr.run("status")).returncode,
        stopped.stdout,
    )
    assert {"state": "stopped"} == json.loads(ccr.run("status", "--json").stdout)
    ccr.ok("start", "-d")
    running = json.loads(ccr.ok("status", "--json"))
    assert ("running", ccr.state["pid"]) == (running["state"], running["pid"])
    os.kill(running["pid"], signal.SIGSTOP)
    try:
        stuck = ccr.run("status", "--json")
        assert (2, "stuck") == (stuck.returncode, json.loads(stuck.stdout)["state"])
        assert 1 == ccr.run("start", "-d").returncode
    finally:
        os.kill(running["pid"], signal.SIGCONT)
    ccr.ok("stop")
    assert 1 == ccr.run("status").returncode


def test_start_again(ccr: Any) -> None:
    """Starting a router that runs says where it is, exit code 0, in the fore- and in the background."""
    ccr.write_config({})
    ccr.ok("start", "-d")
    state = ccr.state
    text = f"ccr is already running at http://127.0.0.1:{state['port']} (pid {state['pid']}, version {__version__})\n"
    assert text == ccr.ok("start", "-d")
    assert text == ccr.ok("start")
    assert state == ccr.state


def test_foreground(ccr: Any, wait_for: Callable[..., Any]) -> None:
    """In the foreground Ctrl-C ends it in good order with exit code 0, and leaves no state behind."""
    ccr.write_config({})
    for number in (signal.SIGINT, signal.SIGTERM):
        child = ccr.begin("start", "--port", "0")
        wait_for(lambda: ccr.state)
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
        assert 0 == child.returncode, out + err
        assert f"ccr {__version__} is running at http://127.0.0.1:" in out
        assert {} == ccr.state


def test_stop_without_a_router(ccr: Any) -> None:
    """Stopping nothing is fine."""
    assert "ccr is not running\n" == ccr.ok("stop")


def test_restart_keeps_options(ccr: Any) -> None:
    """Restart gives another process with the same options, and takes new ones."""
    ccr.write_config({"LOG_LEVEL": "info"})
    ccr.ok("start", "-d", "--log-level", "debug")
    first = ccr.state
    ccr.ok("restart")
    second = ccr.state
    assert not process.exists(first["pid"])
    assert (["--log-level", "debug"], True) == (second["options"], second["pid"] != first["pid"])
    ccr.ok("restart", "--log-level", "error")
    assert ["--log-level", "error"] == ccr.state["options"]


def test_restart_checks_first(ccr: Any) -> None:
    """A configuration that cannot be used is told, and the running router goes on."""
    ccr.write_config({})
    ccr.ok("start", "-d")
    pid = ccr.state["pid"]
    ccr.write_config({"PORT": "seventy"})
    done = ccr.run("restart")
    assert 1 == done.returncode
    assert 'PORT   expected an integer, got "seventy"' in done.stderr
    assert 0 == ccr.run("status").returncode
    assert pid == ccr.state["pid"]


def test_restart_starts_what_is_stopped(ccr: Any) -> None:
    """Restart without a router starts one."""
    ccr.write_config({})
    ccr.ok("restart")
    assert 0 == ccr.run("status").returncode


@pytest.mark.parametrize("daemon", [["-d"], []])
def test_port_of_another_program(ccr: Any, taken: int, daemon: list[str]) -> None:
    """A port that another program holds is told with its process, in the fore- and in the background."""
    ccr.write_config({"PORT": taken})
    done = ccr.run("start", *daemon)
    assert 1 == done.returncode
    assert f"error: cannot start: port {taken} is taken by another program (pid {os.getpid()}: " in done.stderr
    assert {} == ccr.state
    assert 1 == ccr.run("status").returncode


def test_port_of_another_router(ccr: Any, tmp_path: Path) -> None:
    """A port that a router of another folder holds is told with its version and folder."""
    ccr.write_config({})
    ccr.ok("start", "-d")
    state = ccr.state
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"PORT": state["port"]}))
    done = ccr.run("start", "-d", env={"CCR_HOME": str(other)})
    assert 1 == done.returncode
    assert f"port {state['port']} is taken by another router, ccr {__version__} (pid {state['pid']}: " in done.stderr
    assert f"its folder is {ccr.folder})" in done.stderr


def test_broken_configuration(ccr: Any) -> None:
    """A configuration that cannot be used is told with its place and left as it was."""
    path = ccr.write_config({"PORT": "seventy", "Router": {"defualt": "a,b"}})
    before = path.read_bytes()
    for args in (["start"], ["start", "-d"]):
        done = ccr.run(*args)
        assert 1 == done.returncode
        assert 'PORT   expected an integer, got "seventy"   (line 1, column' in done.stderr
    assert before == path.read_bytes()


def test_broken_plugin_named_by_the_configuration(ccr: Any, tmp_path: Path) -> None:
    """A plugin that fails is told with its reason; start fails only if the configuration names what it would offer."""
    info = tmp_path / "site" / "ccr_plugin_bad-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ccr-plugin-bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ccr]\nbad = ccr_plugin_bad\n")
    (tmp_path / "site" / "ccr_plugin_bad.py").write_text("raise RuntimeError('out of order')\n")
    env = {"PYTHONPATH": str(tmp_path / "site")}
    reason = "RuntimeError: out of order (ccr_plugin_bad.py:1)"
    ccr.write_config({"transformer": {"use": ["bad"]}})
    done = ccr.run("start", "-d", env=env)
    assert 1 == done.returncode
    assert f'no transformer "bad"; plugin ccr-plugin-bad 1.0 failed: {reason}' in done.stderr
    ccr.write_config({})
    ccr.ok("start", "-d", env=env)
    assert [{"name": "bad", "reason": reason}] == json.loads(ccr.ok("status", "--json"))["failed"]
    assert f"failed: {reason}" in ccr.ok("status")


def test_unusable_folder(ccr: Any, tmp_path: Path) -> None:
    """A folder that cannot be used is told, with the way to name another."""
    (tmp_path / "file").write_text("")
    done = ccr.run("start", "-d", env={"CCR_HOME": str(tmp_path / "file" / "ccr")})
    assert 1 == done.returncode
    assert f"error: cannot use the folder {tmp_path}/file/ccr: Not a directory; CCR_HOME names another\n" == done.stderr


def test_state_cannot_be_written(ccr: Any) -> None:
    """A router that cannot leave its state where it is looked for ends, and says what is in the way."""
    ccr.write_config({})
    (ccr.folder / "run.json").mkdir()
    for args in (["start"], ["start", "-d"]):
        done = ccr.run(*args)
        assert 1 == done.returncode
        assert f"error: cannot write {ccr.folder}/run.json: Is a directory" in done.stderr
        assert "Traceback" not in done.stderr


def test_number_used_again(ccr: Any) -> None:
    """A state file with the number of a process that is no router counts as stopped; that process is left alone."""
    ccr.write_config({})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        try:
            (ccr.folder / "run.json").write_text(json.dumps({"pid": other.pid, "port": 1, "born": "1"}))
            assert 1 == ccr.run("status").returncode
            assert "ccr is not running\n" == ccr.ok("stop")
            assert other.poll() is None
        finally:
            other.kill()


class OldRouter(http.server.BaseHTTPRequestHandler):
    """A server whose `/health` knows no process number."""

    def do_GET(self) -> None:
        body = b'{"status": "ok"}'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def old_router() -> Iterator[int]:
    """The port of an older router."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OldRouter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_port_of_an_old_router(ccr: Any, old_router: int) -> None:
    """A port that an older router holds is told, with its process."""
    ccr.write_config({"PORT": old_router})
    done = ccr.run("start")
    assert 1 == done.returncode
    assert f"port {old_router} is taken by another router (pid {os.getpid()}: " in done.stderr


def test_state_of_another_answer(ccr: Any, old_router: int) -> None:
    """A state file whose port is answered by someone else is not believed."""
    ccr.write_config({})
    (ccr.folder / "run.json").write_text(json.dumps({"pid": os.getpid(), "port": old_router}))
    assert 1 == ccr.run("status").returncode


def test_port_from_environment(ccr: Any, taken: int) -> None:
    """SERVICE_PORT wins over the configuration, and --port over both."""
    ccr.write_config({"PORT": 1})
    assert f"port {taken} is taken" in ccr.run("start", env={"SERVICE_PORT": str(taken)}).stderr
    ccr.ok("start", "-d", "--port", "0", env={"SERVICE_PORT": str(taken)})
    assert taken != ccr.state["port"]


def test_host_needs_a_key(ccr: Any) -> None:
    """Without a key only loopback is bound, whatever --host says."""
    ccr.write_config({})
    ccr.ok("start", "-d", "--host", "0.0.0.0")
    assert "127.0.0.1" == ccr.state["host"]


def test_named_configuration(ccr: Any, tmp_path: Path) -> None:
    """--config names the file, relative to where one is, also after a restart from elsewhere."""
    (tmp_path / "my.json").write_text('{"PORT": 0}')
    ccr.ok("start", "-d", "--config", "my.json", cwd=tmp_path)
    assert str(tmp_path / "my.json") == ccr.state["config"]
    ccr.ok("restart", cwd=Path("/"))
    assert str(tmp_path / "my.json") == ccr.state["config"]


def test_two_files(ccr: Any) -> None:
    """With both files there, start says which one it does not read."""
    path = ccr.write_config({})
    (ccr.folder / "config.toml").write_text("PORT = 1\n")
    ccr.ok("start", "-d")
    assert f"using {path}; config.toml beside it is not read" in Path(ccr.state["log"]).read_text()


def test_ten_logs_are_kept(tmp_path: Path) -> None:
    """Of the output files the newest ten stay, the new one among them; other files are left alone."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "requests.ndjson").write_text("")
    for number in range(15):
        old = logs / f"ccr-2020010100{number:02}00.log"
        old.write_text("")
        os.utime(old, (number, number))
    path, file = process.new_log(tmp_path)
    file.close()
    again, file = process.new_log(tmp_path)
    file.close()
    kept = sorted(each.name for each in logs.iterdir())
    expected = [f"ccr-2020010100{number:02}00.log" for number in range(7, 15)]
    assert sorted([*expected, path.name, again.name, "requests.ndjson"]) == kept


def test_two_at_once(ccr: Any) -> None:
    """Of two that start at the same time one starts the router and the other finds it."""
    ccr.write_config({})
    children = [ccr.begin("start", "-d") for _ in range(2)]
    said = sorted(child.communicate(timeout=60)[0] for child in children)
    assert [0, 0] == [child.returncode for child in children]
    assert ["ccr is already", "ccr is running"] == [text[:14] for text in said]


def said(*parts: bytes) -> Any:
    """What `probe` makes of an answer that comes in these parts."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                for part in parts:
                    connection.sendall(part)
                    time.sleep(0.01)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            return process.probe("127.0.0.1", server.getsockname()[1], timeout=1)
        finally:
            thread.join(5)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"HTTP/1.0 200 OK\r\n\r\n{}"], {}),
        ([b"HTTP/1.1 200", b" OK\r\nContent-Le", b'ngth: 8\r\n\r\n{"a"', b": 1}", b"and more"], {"a": 1}),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}"], {}),
        ([b"HTTP/1.1 200 OK\r\n\r\n[1]"], None),
        ([b"HTTP/1.1 200 OK\r\n\r\n<html>"], None),
        ([b"HTTP/1.1 401 no\r\n\r\n{}"], None),
        ([b"SSH-2.0-OpenSSH\r\n"], None),
        ([b"HTTP/1.1"], None),
        ([b"\xff\xff\xff"], None),
        ([b""], None),
    ],
)
def test_what_answers(parts: list[bytes], expected: Any) -> None:
    """Only a whole object with status 200 is a router's answer, in however many parts it comes."""
    assert expected == said(*parts)


def test_probe_has_an_end() -> None:
    """What is silent is not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert process.probe("127.0.0.1", server.getsockname()[1], timeout=0.2) is None
