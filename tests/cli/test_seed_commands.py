"""Every command that the older tool has, typed at a pseudo-terminal: what it shows and its exit code.

Where the older tool's exit code says nothing (`ccr status` was always 0, an uncaught error too), ours is the one that
docs/cli.md names. The dialog of `ccr model` is walked in test_dialog.py, `ccr auth login` with stand-ins for the
vendors in the tests of their plugins.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from terminals import CTRL_C, CTRL_D, DOWN, ENTER

from ccr_core import __version__

WORDS = {
    *("-h", "-v", "activate", "auth", "code", "env", "help", "install", "model", "preset"),
    *("restart", "start", "status", "statusline", "stop", "version"),
}
"""The first words of the older tool (`ui` comes with the plugin of that name)."""

CONFIG = {
    "APIKEY": "the key's",
    "Providers": [
        {"name": "echo", "models": ["echo"]},
        {"name": "up", "api_base_url": "http://127.0.0.1:1/v1/messages", "api_key": "sk-secret", "models": ["m"]},
    ],
    "Router": {"default": "echo,echo"},
    "StatusLine": {"enabled": True, "default": {"modules": [{"type": "model", "text": "<{{model}}>"}]}},
}
CLIENT = """
print("client:", *args[2:], env["ANTHROPIC_BASE_URL"].partition(":")[2].partition(":")[2].partition("/")[2], end=".\\n")
sys.exit(7)
"""
STATUS = json.dumps({"model": {"display_name": "Opus"}, "workspace": {"current_dir": "/tmp/x"}, "session_id": "s"})


@pytest.fixture(scope="module")
def ccr(shared: Any) -> Any:
    """A router that runs, a client that ends with 7, and a preset that is called mine."""
    shared.client(CLIENT)
    shared.write_config(CONFIG)
    shared.ok("preset", "export", "mine", "--description", "a preset", "--author", "me", "--tags", "a,b")
    shared.ok("preset", "install", "mine", "--answers", "-", input='{"up_api_key": "$UP_KEY"}')
    shared.ok("start", "-d")
    return shared


def test_life(tmp_path: Path, make_ccr: Any) -> None:
    """Start serves in the terminal until Ctrl-C; a second start is content; stop, status and restart do as they say."""
    ccr = make_ccr(tmp_path)
    ccr.write_config({"Providers": [{"name": "echo", "models": ["echo"]}]})

    def said(*args: str) -> tuple[int, str]:
        with ccr.terminal(*args) as terminal:
            return terminal.wait(), terminal.shown

    assert (1, "ccr is not running; start it with: ccr start -d\n") == said("status")
    assert (0, "ccr is not running\n") == said("stop")
    with ccr.terminal("start") as serving:
        serving.until(f"ccr {__version__} is running at http://127.0.0.1:")
        serving.until('Claude Code through it: "ccr code". To stop it: Ctrl-C.')
        code, shown = said("start")
        assert (0, True) == (code, shown.startswith("ccr is already running at http://127.0.0.1:"))
        code, shown = said("status")
        assert 0 == code
        for part in (
            "ccr is running\n",
            f"pid            {serving.child.pid}\n",
            "in the terminal where it was started",
        ):
            assert part in shown
        assert 0 == serving.interrupt()
        assert "Traceback" not in serving.output
    assert {} == ccr.state

    code, shown = said("restart")
    assert (0, True) == (code, shown.startswith("ccr is running at http://127.0.0.1:")), shown
    pid, url = ccr.state["pid"], f"http://127.0.0.1:{ccr.state['port']}"
    assert (0, f"ccr is stopped (it was pid {pid} at {url})\n") == said("stop")
    assert 1 == said("status")[0]


@pytest.mark.parametrize(
    ("args", "code", "parts"),
    [
        # help and version
        ("", 1, ["Usage: ccr [OPTIONS]", "statusline  Print Claude Code's status line."]),
        ("-h", 0, ["Usage: ccr [OPTIONS]"]),
        ("--help", 0, ["Usage: ccr [OPTIONS]"]),
        ("help", 0, ["Usage: ccr [OPTIONS]"]),
        ("help preset export", 0, ["Usage: ccr preset export [OPTIONS] NAME", "Examples:"]),
        ("-v", 0, [f"claude-code-router version: {__version__}\n"]),
        ("--version", 0, [f"claude-code-router version: {__version__}\n"]),
        ("version", 0, [f"claude-code-router version: {__version__}\n"]),
        ("statsu", 2, ['error: there is no command "statsu"; did you mean status', "ccr --help lists them"]),
        ("../x", 2, ['error: there is no command "../x"']),
        # the router
        ("start", 0, ["ccr is already running at http://127.0.0.1:"]),
        ("status", 0, ["ccr is running\n", "url            http://127.0.0.1:", "pid  ", "configuration  "]),
        # the client
        ("code", 7, ["client: .\n"]),
        ("code a\\ b --x=1 -p -- --settings", 7, ["client: a b --x=1 -p -- --settings .\n"]),
        ("mine hello", 7, ["client: hello preset/mine.\n"]),
        ("activate", 0, ["export ANTHROPIC_AUTH_TOKEN='the key'\"'\"'s'\n", "unset CLAUDE_CODE_USE_BEDROCK"]),
        ("env", 0, ["export ANTHROPIC_BASE_URL=http://127.0.0.1:", 'to use it: eval "$(ccr activate)"']),
        # presets
        ("preset", 2, ["Usage: ccr preset [OPTIONS] COMMAND", "export   Make a preset of the configuration."]),
        ("preset nonsense", 2, ["Usage: ccr preset", "No such command 'nonsense'"]),
        ("preset export", 2, ["Usage: ccr preset export", "Missing argument 'NAME'"]),
        ("preset export ../x", 1, ["error: '../x' cannot be the name of a preset"]),
        ("preset export mine", 1, ["presets/mine exists already; choose another name, or remove it"]),
        ("preset list", 0, ["NAME  VERSION  AUTHOR  DESCRIPTION\nmine  1.0.0    me      a preset\n"]),
        ("preset info mine", 0, ["description  a preset\n", "keywords     a, b\n", "providers    2: echo, up\n"]),
        ("preset info mine", 0, ["asks       API key of up (up_api_key, needed): "]),
        ("preset info nobody", 1, ['error: there is no preset "nobody"']),
        ("preset install", 2, ["Usage: ccr preset install", "Missing argument 'SOURCE|NAME'"]),
        ("preset install nobody", 1, ['error: no preset "nobody" is installed; ccr install nobody gets it']),
        ("preset install /nowhere/at-all", 1, ["error: there is no folder or file /nowhere/at-all"]),
        ("preset delete nobody", 1, ['error: there is no preset "nobody"']),
        ("preset rm ../mine", 1, ["error: '../mine' cannot be the name of a preset"]),
        ("install", 2, ["Usage: ccr install", "error: name a preset, or --list"]),
        ("install x --index http://127.0.0.1:1/x", 1, ["error: cannot get http://127.0.0.1:1/x: Connection refused"]),
        # accounts
        ("auth", 0, ["Usage: ccr auth", "login   Sign in."]),
        ("auth -h", 0, ["Usage: ccr auth"]),
        ("auth login", 0, ["usage: ccr auth login PROVIDER", "antigravity", "codex", "copilot", "gemini", "anthropic"]),
        ("auth login nobody", 1, ['error: no sign-in "nobody"; there are: anthropic,']),
        ("auth logout copilot", 0, ["nobody is signed in to copilot"]),
        ("auth list", 0, ["nobody is signed in; sign in with: ccr auth login PROVIDER"]),
        ("auth status", 0, ["nobody is signed in; sign in with: ccr auth login PROVIDER"]),
        ("auth status codex", 1, ["nobody is signed in; sign in with: ccr auth login codex"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_command(ccr: Any, args: str, code: int, parts: list[str]) -> None:
    """What is shown, and the exit code; nowhere a traceback, and no secret."""
    words = [word.replace("\0", " ") for word in args.replace("\\ ", "\0").split()]
    with ccr.terminal(*words) as terminal:
        assert code == terminal.wait(), terminal.output
    for part in parts:
        assert part in terminal.shown
    assert "Traceback" not in terminal.output
    assert "sk-secret" not in terminal.output


def test_statusline(ccr: Any) -> None:
    """The line for what is typed; what is no JSON is an error."""
    with ccr.terminal("statusline") as terminal:
        terminal.press(STATUS, ENTER, CTRL_D)
        assert 0 == terminal.wait()
    assert terminal.shown.endswith("<echo>\n")
    with ccr.terminal("statusline", "mine") as terminal:
        terminal.press("nonsense", ENTER, CTRL_D)
        assert 1 == terminal.wait()
    assert "error: standard input is not the JSON" in terminal.shown


def test_model(ccr: Any) -> None:
    """The menu shows the routes, leads to the lists, and is left without a change."""
    before = (ccr.folder / "config.json").read_bytes()
    with ccr.terminal("model") as terminal:
        terminal.until("default  echo,echo")
        terminal.until("What now?")
        terminal.press(DOWN, ENTER)
        terminal.until("To which provider?")
        terminal.press(CTRL_C)
        terminal.until("What now?")
        terminal.press(*[DOWN] * 5, ENTER)
        assert 0 == terminal.wait()
    assert before == (ccr.folder / "config.json").read_bytes()


def test_preset_from_export_to_deletion(tmp_path: Path, make_ccr: Any) -> None:
    """Asked for at the terminal: description, author, keywords; the answers of an installation; the end of it."""
    ccr = make_ccr(tmp_path)
    ccr.write_config({**CONFIG, "PORT": 4000})
    with ccr.terminal("preset", "export", "mine") as terminal:
        for question, answer in (("description", "what"), ("author", "me"), ("keywords", "x, y")):
            terminal.until(question)
            terminal.press(answer, ENTER)
        assert 0 == terminal.wait()
    for part in ("  providers  2\n", "  questions  1\n", "asks for API key of up (up_api_key)"):
        assert part in terminal.shown
    folder = ccr.folder / "presets" / "mine"
    text = (folder / "manifest.json").read_text()
    manifest = json.loads(text)
    assert ("what", "me", ["x", "y"]) == (manifest["description"], manifest["author"], manifest["keywords"])
    assert [] == [word for word in ("sk-secret", "the key", "4000", "PORT") if word in text]

    folder.rename(tmp_path / "given")
    with ccr.terminal("preset", "install", "./given", "--name", "other") as terminal:
        terminal.until("API key of up")
        terminal.press("sk-typed", ENTER)
        assert 0 == terminal.wait(), terminal.output
    assert "the preset other is installed" in terminal.shown
    assert "sk-typed" not in terminal.output
    with ccr.terminal("preset", "install", "other") as terminal:  # its answers anew
        terminal.until("API key of up")
        terminal.press(CTRL_C)
        assert 130 == terminal.wait()
    with ccr.terminal("preset", "delete", "other") as terminal:
        terminal.until("? [y/N]")
        terminal.press("n", ENTER)
        assert 130 == terminal.wait()
    with ccr.terminal("preset", "delete", "other") as terminal:
        terminal.until("? [y/N]")
        terminal.press("y", ENTER)
        assert 0 == terminal.wait()
    assert "the preset other is removed" in terminal.shown


def test_no_command_is_left_out() -> None:
    """The tests above begin with every word of the older tool."""
    (mark,) = (mark for mark in test_command.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    typed = {args.partition(" ")[0] for args, _, _ in mark.args[1]}
    assert set() == WORDS - typed - {"model", "restart", "start", "statusline", "stop"}
