"""``ccr service``: the router as a service of the user, under systemd or launchd.

Rules: it is a service of the user, never of the system; the unit says where everything is, because a service gets no
environment of a shell; keys are not in it but in ``service.env`` of ccr's folder, which is the user's alone.  What runs
``systemctl`` and ``launchctl`` is :func:`call`, and nothing else here does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import attrs
import click

from ccr_core.cli import process
from ccr_core.cli.output import emit, facts, fail, note
from ccr_core.config import home
from ccr_core.errors import CcrError

UNIT = "ccr.service"
LABEL = "ccr.router"
ENV = "service.env"
LOG = "service.log"

ENV_HEAD = """\
# Variables for the router as a service, NAME=value, one a line: the keys that the configuration refers to.
# A service does not see those of your shell. After a change: ccr service install
"""


def call(words: Sequence[str]) -> tuple[int, str]:
    """Run a program of the system; its exit code and what it said.  ``CcrError`` if there is no such program."""
    try:
        done = subprocess.run(list(words), capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as error:
        raise CcrError(f"there is no {words[0]} here; use: ccr start -d") from error
    except subprocess.TimeoutExpired as error:
        raise CcrError(f"{' '.join(words)} does not end; use: ccr start -d") from error
    return done.returncode, (done.stdout + done.stderr).strip()


@attrs.frozen
class Kind:
    """What runs services here: ``systemd`` or ``launchd``, and the file in which it finds ours."""

    name: str
    path: Path


def kind() -> Kind:
    """What runs services of users on this system; ``CcrError`` if nothing is known that does."""
    if sys.platform == "darwin":
        return Kind("launchd", Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist")
    if sys.platform.startswith("linux"):
        base = os.environ.get("XDG_CONFIG_HOME")
        return Kind("systemd", (Path(base) if base else Path.home() / ".config") / "systemd" / "user" / UNIT)
    raise CcrError("services are known for systemd and launchd only; use: ccr start -d")


def program() -> list[str]:
    """The command that serves."""
    return [sys.executable, "-P", "-m", "ccr_core.cli", "start"]


def _quoted(text: str) -> str:
    """A word of ``ExecStart=``: specifiers, variables, quotes and backslashes mean nothing in it."""
    for character, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        text = text.replace(character, written)
    return f'"{text}"'


def systemd_unit(words: Sequence[str], folder: Path) -> str:
    """The unit for systemd."""
    path = str(folder).replace("%", "%%")
    return f"""\
[Unit]
Description=ccr, a local router between Claude Code and models

[Service]
Type=exec
ExecStart={" ".join(map(_quoted, words))}
Environment={_quoted(f"CCR_HOME={folder}").replace("$$", "$")}
EnvironmentFile=-{path}/{ENV}
WorkingDirectory={path}
Restart=on-failure
RestartSec=2
TimeoutStopSec=40
UMask=0077
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""


def launchd_plist(words: Sequence[str], folder: Path) -> str:
    """The property list for launchd, which knows no files of variables: a shell reads them."""
    import shlex

    script = f"set -a; [ ! -r {shlex.quote(f'{folder}/{ENV}')} ] || . {shlex.quote(f'{folder}/{ENV}')}; set +a; "
    script += f"exec {shlex.join(words)}"
    arguments = "\n".join(f"    <string>{escape(word)}</string>" for word in ("/bin/sh", "-c", script))
    log = escape(f"{folder}/logs/{LOG}")
    return f"""\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>{LABEL}</string>
  <key>ProgramArguments</key>
  <array>
{arguments}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
    <key>CCR_HOME</key>
    <string>{escape(str(folder))}</string>
  </dict>
  <key>WorkingDirectory</key>
  <string>{escape(str(folder))}</string>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>Umask</key>
  <integer>63</integer>
  <key>StandardOutPath</key>
  <string>{log}</string>
  <key>StandardErrorPath</key>
  <string>{log}</string>
</dict>
</plist>
"""


@click.group(short_help="Run the router as a service that starts with your session.")
def service() -> None:
    """Run the router as a service that starts with your session (systemd, launchd).

    \b
    Examples:
      ccr service install
      ccr service status
      ccr service logs -f
      ccr service uninstall
    """


@service.command(short_help="Install and start the service.")
@click.option("--print", "only_print", is_flag=True, help="Only print the file that would be written.")
def install(only_print: bool) -> int:
    """Install and start the service; again after a change of service.env or of where ccr is installed.

    The service does not see the variables of your shell: keys that the configuration refers to go into service.env in
    ccr's folder, NAME=value, one a line.

    \b
    Examples:
      ccr service install
      ccr service install --print

    Exit code: 0 when the service runs, 1 otherwise.
    """
    found, folder = kind(), home().absolute()
    text = systemd_unit(program(), folder) if found.name == "systemd" else launchd_plist(program(), folder)
    if only_print:
        print(text, end="")
        return 0
    process.make_folder(folder)
    standing = process.look(folder)
    ours = _active(found)
    if standing.run is not None and not ours:
        return fail(f"a router runs already (pid {standing.run.pid}), which is not the service; end it with: ccr stop")
    from ccr_core.cli import firstrun

    firstrun.ensure(None)
    _variables(folder)
    found.path.parent.mkdir(parents=True, exist_ok=True)
    process.write_private(found.path, text)
    for words in _starting(found):
        code, said = call(words)
        if code != 0 and words[1] != "bootout":
            return fail(f"{' '.join(words)} failed: {said or code}; the file is {found.path}")
    if not process.until(lambda: process.look(folder).state == "running", 15):
        return fail("the service was started but does not answer; see: ccr service logs")
    run = process.look(folder).run
    print(f"the service is installed ({found.path}) and runs{f' at {run.url}' if run else ''}")
    if found.name == "systemd":
        note("it starts with your session; to start it with the machine: loginctl enable-linger")
    return 0


def _variables(folder: Path) -> None:
    """Make the file of variables, and name those that the configuration refers to and that are not in it."""
    from ccr_core import config as configuration

    path = folder / ENV
    if not path.exists():
        process.write_private(path, ENV_HEAD)
    given = {line.partition("=")[0].strip() for line in path.read_text().splitlines() if "=" in line}
    wanted = [each.name for each in configuration.load(env={}).unresolved]
    missing = [name for name in dict.fromkeys(wanted) if name not in given]
    if missing:
        note(f"the configuration refers to {', '.join(missing)}, which a service does not see: put them into {path}")


def _starting(found: Kind) -> list[list[str]]:
    if found.name == "systemd":
        control = ["systemctl", "--user"]
        return [[*control, "daemon-reload"], [*control, "enable", UNIT], [*control, "restart", UNIT]]
    domain = f"gui/{os.getuid()}"
    return [["launchctl", "bootout", f"{domain}/{LABEL}"], ["launchctl", "bootstrap", domain, str(found.path)]]


def _active(found: Kind) -> bool:
    """Whether the service runs."""
    if not found.path.exists():
        return False
    if found.name == "systemd":
        return call(["systemctl", "--user", "is-active", UNIT])[0] == 0
    code, said = call(["launchctl", "print", f"gui/{os.getuid()}/{LABEL}"])
    return code == 0 and "state = running" in said


@service.command(short_help="Say whether the service is installed and runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> int:
    """Say whether the service is installed and runs.

    \b
    Examples:
      ccr service status
      ccr service status --json

    Exit code: 0 it runs, 1 it is not installed, 2 it is installed and does not run.
    """
    found = kind()
    there = found.path.exists()
    active = there and _active(found)
    standing = process.look(home())
    url = standing.run.url if standing.run is not None else None
    if as_json:
        emit(
            {
                "installed": there,
                "active": active,
                "kind": found.name,
                "path": found.path,
                "url": url if active else None,
            }
        )
    elif not there:
        print("the service is not installed; install it with: ccr service install")
    else:
        print("the service runs" if active else "the service is installed and does not run; see: ccr service logs")
        facts([("kind", found.name), ("file", found.path), ("url", url if active else ""), ("variables", home() / ENV)])
    return 0 if active else 2 if there else 1


@service.command(short_help="Show the output of the service.")
@click.option("-f", "--follow", is_flag=True, help="Go on, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="How many of the last lines."
)
def logs(follow: bool, lines: int) -> int:
    """Show the output of the service (under systemd from the journal).

    \b
    Examples:
      ccr service logs
      ccr service logs -f

    Exit code: 0; 1 when there is none.
    """
    found = kind()
    if found.name == "systemd":
        words = ["journalctl", "--user", "--unit", UNIT, "--lines", str(lines), "--no-pager"]
        try:
            return subprocess.call([*words, *(["--follow"] if follow else [])])
        except FileNotFoundError:
            return fail("there is no journalctl here; see: ccr logs server")
        except KeyboardInterrupt:
            return 0
    from ccr_core.cli.logs import logs as show

    with show.make_context("logs", [LOG, "--lines", str(lines), *(["--follow"] if follow else [])]) as ctx:
        result: Any = show.invoke(ctx)
    return int(result)


@service.command(short_help="Stop and remove the service.")
def uninstall() -> int:
    """Stop and remove the service. Configuration, logs and service.env stay.

    \b
    Example:
      ccr service uninstall

    Exit code: 0 when it is not installed any more, 1 otherwise.
    """
    found = kind()
    if not found.path.exists():
        print("the service is not installed")
        return 0
    if found.name == "systemd":
        code, said = call(["systemctl", "--user", "disable", "--now", UNIT])
    else:
        code, said = call(["launchctl", "bootout", f"gui/{os.getuid()}/{LABEL}"])
    if code != 0 and _active(found):
        return fail(f"the service could not be stopped: {said or code}")
    found.path.unlink(missing_ok=True)
    if found.name == "systemd":
        call(["systemctl", "--user", "daemon-reload"])
    print(f"the service is removed ({found.path})")
    return 0
