"""`ccr service`: the files for systemd and launchd, and what is asked of them (stand-ins: no real service is made)."""

from __future__ import annotations

import json
import os
import plistlib
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ccr_core.cli import service

SYSTEMCTL = """
import json, os, pathlib, shlex, subprocess, sys
args = sys.argv[1:]
home = pathlib.Path(os.environ["HOME"])
with (home / "asked").open("a") as file:
    file.write(" ".join(args) + "\\n")
mark = home / "active"
if "restart" in args:
    unit = (home / ".config/systemd/user/ccr.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    words = shlex.split(line.partition("=")[2])
    subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    mark.touch()
elif "disable" in args:
    mark.unlink(missing_ok=True)
elif "is-active" in args:
    sys.exit(0 if mark.exists() else 3)
"""


@pytest.fixture
def systemd(ccr: Any) -> Any:
    """A `ccr` on a system with a stand-in for systemd that starts what the unit says."""
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", "import sys\nprint('journal', *sys.argv[1:])")):
        path = ccr.bin / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(0o755)
    ccr.write_config({"Providers": [{"name": "echo", "models": ["echo"]}]})
    return ccr


def asked(ccr: Any) -> list[str]:
    path: Path = ccr.root / "home" / "asked"
    return path.read_text().splitlines() if path.exists() else []


def unit_of(ccr: Any) -> Path:
    return Path(ccr.root / "home" / ".config" / "systemd" / "user" / "ccr.service")


def test_life(systemd: Any) -> None:
    """Installed it runs, is told to, and shows it; uninstalled nothing of it stays but the variables."""
    assert 1 == systemd.run("service", "status").returncode
    said = systemd.ok("service", "install")
    assert f"runs at {json.loads(systemd.ok('status', '--json'))['url']}" in said
    assert ["--user daemon-reload", "--user enable ccr.service", "--user restart ccr.service"] == asked(systemd)[-3:]

    shown = json.loads(systemd.ok("service", "status", "--json"))
    assert {
        "installed": True,
        "active": True,
        "kind": "systemd",
        "path": str(unit_of(systemd)),
        "url": f"http://127.0.0.1:{systemd.state['port']}",
    } == shown
    assert "journal --user --unit ccr.service --lines 7 --no-pager --follow\n" == systemd.ok(
        "service", "logs", "-n", "7", "-f"
    )

    systemd.ok("service", "uninstall")
    assert not unit_of(systemd).exists()
    assert ["--user disable --now ccr.service", "--user daemon-reload"] == asked(systemd)[-2:]
    assert "is not installed" in systemd.ok("service", "uninstall")
    assert (systemd.folder / "service.env").exists()


def test_not_running(systemd: Any) -> None:
    """Installed and not running is exit code 2."""
    unit_of(systemd).parent.mkdir(parents=True)
    unit_of(systemd).write_text("")
    done = systemd.run("service", "status")
    assert (2, True) == (done.returncode, "does not run" in done.stdout)


def test_another_router(systemd: Any) -> None:
    """Beside a router that runs already no service is installed."""
    systemd.ok("start", "-d")
    done = systemd.run("service", "install")
    assert (1, True) == (done.returncode, "a router runs already" in done.stderr)
    assert not unit_of(systemd).exists()


def test_refusal(systemd: Any) -> None:
    """What the system refuses is told with its own words."""
    (systemd.bin / "systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    done = systemd.run("service", "install")
    assert 1 == done.returncode
    assert "systemctl --user daemon-reload failed: Failed to connect to bus" in done.stderr


def test_keys(systemd: Any) -> None:
    """Variables of the configuration that the service would not see are named; their file is private."""
    systemd.write_config(
        {"Providers": [{"name": "echo", "models": ["echo"]}, {"name": "deepseek", "api_key": "$DEEP"}]}
    )
    done = systemd.run("service", "install", env={"DEEP": "sk-secret"})
    assert 0 == done.returncode, done.stderr
    path = systemd.folder / "service.env"
    assert f"refers to DEEP, which a service does not see: put them into {path}" in done.stderr
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert "sk-secret" not in path.read_text() + unit_of(systemd).read_text()


def test_print(systemd: Any) -> None:
    """The file can be seen without being written."""
    text = systemd.ok("service", "install", "--print")
    assert "[Service]" in text
    assert not unit_of(systemd).exists()
    assert [] == asked(systemd)


ODD = ["/a b/py%thon", "-P", 'x"y\\z', "$HOME"]


def test_unit() -> None:
    """Words with blanks, quotes, dollars and percents reach the program as they are."""
    unit = service.systemd_unit(ODD, Path("/h o/%x"))
    lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    assert ODD == [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(lines["ExecStart"])]
    assert '"CCR_HOME=/h o/%%x"' == lines["Environment"]
    assert "-/h o/%%x/service.env" == lines["EnvironmentFile"]
    assert ("on-failure", "0077", "default.target") == (lines["Restart"], lines["UMask"], lines["WantedBy"])


@pytest.mark.parametrize("folder", ["home", "it's a 100% odd \\ folder"] if shutil.which("systemd-analyze") else [])
def test_unit_as_systemd_reads_it(tmp_path: Path, folder: str) -> None:
    """Systemd's own checker has nothing to say (CI has it); of a misspelt key it would."""
    unit, runtime = tmp_path / "ccr.service", tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    (tmp_path / folder).mkdir()

    def said(text: str) -> str:
        unit.write_text(text)
        words = ["systemd-analyze", "verify", "--user", str(unit)]
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout + done.stderr

    text = service.systemd_unit([sys.executable, *ODD], tmp_path / folder)
    assert "" == said(text)
    assert "Unknown key" in said(text.replace("UMask=", "UMaks="))


def test_plist(tmp_path: Path) -> None:
    """launchd runs the program through a shell that reads the variables, and keeps it running."""
    folder = tmp_path / "it's <home> & more"
    folder.mkdir()
    (folder / "service.env").write_text("KEY=val\n")
    program = [sys.executable, "-c", "import os; print(os.environ['KEY'], '<&>')"]
    data = plistlib.loads(service.launchd_plist(program, folder).encode())
    done = subprocess.run(data["ProgramArguments"], capture_output=True, text=True, check=True, env={"PATH": "/bin"})
    assert "val <&>\n" == done.stdout
    assert (str(folder), True, False, 0o077) == (
        data["EnvironmentVariables"]["CCR_HOME"],
        data["RunAtLoad"],
        data["KeepAlive"]["SuccessfulExit"],
        data["Umask"],
    )


@pytest.mark.parametrize(("platform", "name"), [("darwin", "launchd"), ("linux", "systemd")])
def test_kinds(monkeypatch: pytest.MonkeyPatch, platform: str, name: str) -> None:
    """What runs services is known by the system."""
    monkeypatch.setattr(service.sys, "platform", platform)
    assert name == service.kind().name


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere it is said what to do instead."""
    from ccr_core.errors import CcrError

    monkeypatch.setattr(service.sys, "platform", "win32")
    with pytest.raises(CcrError, match="ccr start -d"):
        service.kind()
    with pytest.raises(CcrError, match="ccr start -d"):
        service.call(["no-such-program-anywhere"])


def test_launchd_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An old job is removed before the new one is loaded."""
    words = service._starting(service.Kind("launchd", tmp_path / "x.plist"))
    assert ["bootout", "bootstrap"] == [each[1] for each in words]
    assert str(tmp_path / "x.plist") == words[1][-1]
