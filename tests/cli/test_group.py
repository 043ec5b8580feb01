"""The first word: version, help, unknown words, commands of plugins, and what each command imports."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from ccr_core import __version__
from ccr_core.cli.group import COMMANDS, group

HEAVY = ("httpx", "starlette", "uvicorn", "uvloop", "orjson", "pluggy", "ccr_core.server", "ccr_core.engine")
PLUGINS = ("ccr_core.plugins", "ccr_plugin_anthropic", "ccr_plugin_echo", "ccr_plugin_openai_chat")


def loaded(ccr: Any, *args: str, env: dict[str, str] | None = None) -> set[str]:
    """The modules that a fresh process has loaded after `ccr args`."""
    script = (
        "import sys, io, contextlib\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):\n"
        "    from ccr_core.cli import main\n"
        f"    main({list(args)!r})\n"
        "print('\\n'.join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**ccr.env, **(env or {})},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("word", ["--version", "-v", "version"])
def test_version(ccr: Any, word: str) -> None:
    """Each way of asking gives one line with the version."""
    assert f"claude-code-router version: {__version__}\n" == ccr.ok(word)


def test_version_imports_next_to_nothing(ccr: Any) -> None:
    """The version is printed without click, configuration or anything heavier."""
    unwanted = {*HEAVY, *PLUGINS, "click", "attrs", "cattrs", "ccr_core.config", "importlib.metadata", "http.client"}
    assert set() == loaded(ccr, "--version") & unwanted


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["status"],
        ["stop"],
        ["config", "path"],
        ["config", "show"],
        ["logs"],
        ["completion", "bash"],
        ["service", "install", "--print"],
        ["plugins", "audit"],
        ["plugins", "--help"],
        ["statusline", "--uninstall"],
    ],
)
def test_light_commands_load_no_router(ccr: Any, args: list[str]) -> None:
    """Help, status, stop and showing the configuration load neither the router's stack, nor plugins, nor cattrs."""
    ccr.write_config({})
    assert set() == loaded(ccr, *args) & {*HEAVY, *PLUGINS, "cattrs", "pyjson5"}


@pytest.mark.parametrize("args", [["activate"], ["code", "--print-env"]])
def test_environment_commands_load_no_router(ccr: Any, args: list[str]) -> None:
    """What prints the client's environment reads the configuration and loads no plugin and no server."""
    ccr.write_config({})
    seen = loaded(ccr, *args)
    assert set() == seen & {"httpx", "starlette", "uvicorn", "pluggy", *PLUGINS}


def test_help_asks_entry_points_but_loads_none(ccr: Any, plugin_command: Path) -> None:
    """The help names a plugin's command and where it comes from, without importing it."""
    env = {"PYTHONPATH": str(plugin_command)}
    lines = [line.split(maxsplit=1) for line in ccr.ok("--help", env=env).splitlines()]
    assert ["hello", "From ccr-plugin-hello."] in lines
    assert "hello_commands" not in loaded(ccr, "--help", env=env)


@pytest.fixture
def plugin_command(tmp_path: Path) -> Path:
    """A folder with an installed distribution that brings the commands `hello` and `broken`."""
    folder = tmp_path / "site"
    info = folder / "ccr_plugin_hello-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ccr-plugin-hello\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ccr.commands]\nhello = hello_commands:hello\nbroken = hello_missing:command\nstatus = hello_commands:hello\n"
    )
    (folder / "hello_commands.py").write_text(
        "import click\n\n\n@click.command()\n@click.argument('who')\n"
        "def hello(who):\n    print(f'hello {who}')\n    return 3\n"
    )
    return folder


def test_command_of_a_plugin(ccr: Any, plugin_command: Path) -> None:
    """A word that is not ours is looked for among the plugins' commands, and its exit code is kept."""
    done = ccr.run("hello", "world", env={"PYTHONPATH": str(plugin_command)})
    assert ("hello world\n", 3) == (done.stdout, done.returncode)


def test_own_commands_win(ccr: Any, plugin_command: Path) -> None:
    """A plugin cannot replace a command of ours."""
    done = ccr.run("status", env={"PYTHONPATH": str(plugin_command)})
    assert "ccr is not running; start it with: ccr start -d\n" == done.stdout


def test_broken_command_of_a_plugin(ccr: Any, plugin_command: Path) -> None:
    """A plugin's command that cannot be imported says whose it is, and is no harm to others."""
    env = {"PYTHONPATH": str(plugin_command)}
    done = ccr.run("broken", env=env)
    assert 1 == done.returncode
    assert (
        "error: the command broken of ccr-plugin-hello cannot be loaded: "
        "ModuleNotFoundError: No module named 'hello_missing'\n" == done.stderr
    )
    assert 0 == ccr.run("--help", env=env).returncode


def test_unknown_word(ccr: Any) -> None:
    """An unknown word is an error that names the nearest commands, exit code 2."""
    done = ccr.run("stat")
    assert 2 == done.returncode
    assert (
        'error: there is no command "stat"; did you mean start or status or restart?; ccr --help lists them\n'
        == done.stderr
    )


def test_wrong_option(ccr: Any) -> None:
    """A wrong option shows the usage and exits with 2."""
    done = ccr.run("start", "--prot", "1")
    assert 2 == done.returncode
    assert "Usage: ccr start [OPTIONS]" in done.stderr
    assert "--port" in done.stderr


def test_no_argument(ccr: Any) -> None:
    """Without a word the help is printed, exit code 1; asked for, it is 0."""
    bare, asked = ccr.run(), ccr.run("--help")
    assert (1, 0) == (bare.returncode, asked.returncode)
    assert asked.stdout == bare.stdout == ccr.ok("help") == ccr.ok("-h")


def test_help_of_a_command(ccr: Any) -> None:
    """`ccr help start` is `ccr start --help`."""
    assert ccr.ok("start", "--help") == ccr.ok("help", "start")


def test_table_is_right() -> None:
    """Each line of the table leads to a command with the same summary."""
    context = group.make_context("ccr", [], resilient_parsing=True)
    found = {name: group.get_command(context, name) for name in COMMANDS}
    second = ("env", "plugin")
    summaries = {name: each.short_help for name, each in found.items() if each is not None and name not in second}
    assert {name: summary for name, (_, summary) in COMMANDS.items() if name not in second} == summaries
    assert found["plugins"] is found["plugin"]
    assert found["activate"] is found["env"]


def every(command: click.Command, path: str, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from every(below, f"{path} {name}", context)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples(name: str) -> None:
    """Each command's help shows how it is used, and what its exit code means."""
    context = group.make_context("ccr", [], resilient_parsing=True)
    command = group.get_command(context, name)
    assert command is not None
    for path, each in every(command, name, context):
        wanted = ["Example"] if isinstance(each, click.Group) else ["Example", "Exit code"]
        assert [] == [(path, word) for word in wanted if word not in (each.help or "")]


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (0, ["--version"]),
        (1, ["status"]),
        (1, ["preset", "info", "nobody"]),
        (2, ["nonsense"]),
        (2, ["start", "--port", "many"]),
        (2, ["model", "set", "default"]),
        (127, ["code"]),
    ],
)
def test_exit_codes(ccr: Any, code: int, args: list[str]) -> None:
    """The codes of the page's table; 130 is met where something is asked (test_terminal.py)."""
    ccr.write_config({"Providers": [{"name": "echo", "models": ["echo"]}], "CLAUDE_PATH": "no-such-client"})
    done = ccr.run(*args)
    assert code == done.returncode
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert {"0", "1", "2", "127", "130"} == set(re.findall(r"(?m)^\| (\d+) \| ", page.partition("## `ccr`")[0]))


def test_no_plugins_leaves_own_ones(ccr: Any, tmp_path: Path) -> None:
    """`--no-plugins` keeps the plugins that come with ccr and leaves out others."""
    import json

    info = tmp_path / "site" / "ccr_plugin_other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ccr-plugin-other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ccr]\nother = json\n")
    env = {"PYTHONPATH": str(tmp_path / "site")}
    listed = json.loads(ccr.ok("--no-plugins", "plugins", "list", "--json", env=env))["plugins"]
    states = {plugin["name"]: plugin["state"] for plugin in listed}
    assert ("disabled", "active") == (states["other"], states["maxtoken"])
