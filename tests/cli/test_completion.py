"""`ccr completion`: what a word may become, in a real bash, and quickly."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from terminals import Terminal

CONFIG = {
    "Providers": [
        {"name": "echo", "models": ["echo"]},
        {"name": "local", "models": ["qwen:7b", {"name": "llama"}]},
    ],
    "disabled_plugins": ["maxtoken"],
}


def completed(ccr: Any, *words: str) -> list[str]:
    """What the last word may become."""
    done = ccr.run("__complete", *words)
    assert (0, "") == (done.returncode, done.stderr)
    return list(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["stat"], ["status", "statusline"]),
        (["start", "--po"], ["--port"]),
        (["start", "--log-level", "w"], ["warn"]),
        (["plugins", "en"], ["enable"]),
        (["plugins", "enable", ""], ["maxtoken"]),
        (["plugin", "disable", "request"], ["request-log"]),
        (["plugins", "disable", "echo", "request"], ["request-log"]),
        (["plugins", "new", "x", "--kind", "r"], ["rule"]),
        (["model", "set", "lo"], ["longContext"]),
        (["model", "set", "default", "local,"], ["local,qwen:7b", "local,llama"]),
        (["model", "remove", "local", ""], ["qwen:7b", "llama"]),
        (["model", "add", "l"], ["local"]),
        (["provider", "test", ""], ["echo", "local"]),
        (["code", "--model", "ec"], ["echo,echo"]),
        (["mine", "--model", "ec"], ["echo,echo"]),
        (["m"], ["model", "mine"]),
        (["statusline", ""], ["mine"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["activate", "--shell", "f"], ["fish"]),
        (["auth", "login", "co"], ["codex", "copilot"]),
        (["auth", "logout", "copilot", "--account", ""], []),
        (["start", "--config", ""], []),
        (["auth", "status", "--"], ["--account", "--usage", "--json", "--help"]),
        (["status", ""], []),
        (["nonsense", "x", ""], []),
    ],
)
def test_words(ccr: Any, words: list[str], expected: list[str]) -> None:
    """Commands, options, their values, and names from the configuration and of sign-ins."""
    ccr.write_config(CONFIG)
    (ccr.folder / "presets" / "mine").mkdir(parents=True)
    assert expected == completed(ccr, *words)


def test_broken_configuration(ccr: Any) -> None:
    """Without a configuration, or with a broken one, there are no names, and nothing is said."""
    assert [] == completed(ccr, "provider", "test", "")
    ccr.folder.mkdir(parents=True)
    (ccr.folder / "config.json").write_text("{")
    assert [] == completed(ccr, "provider", "test", "")


def test_it_loads_little(ccr: Any) -> None:
    """A completion loads neither plugins nor the router nor the readers of configurations."""
    ccr.write_config(CONFIG)
    script = (
        "import sys\nfrom ccr_core.cli import main\nmain(['__complete', 'status', '--j'])\n"
        "main(['__complete', 'model', 'set', 'default', 'ec'])\nprint('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=ccr.env, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"--json", "echo,echo"} <= loaded
    unwanted = {"httpx", "starlette", "uvicorn", "pluggy", "cattrs", "pyjson5", "ccr_core.plugins", "ccr_core.runtime"}
    assert set() == loaded & unwanted


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ccr statusl", ["statusline"]),
        ("ccr model set default local,q", ["local,qwen:7b"]),
        ("ccr model remove local ", ["qwen:7b", "llama"]),
        ("ccr model remove local qwen:7", ["7b"]),  # bash itself has split at the colon
    ],
)
def test_bash(ccr: Any, line: str, expected: list[str]) -> None:
    """The code for bash works in bash, also with names that have colons."""
    ccr.write_config(CONFIG)
    install(ccr)
    words = line.replace(":", " : ").split(" ") if ":" in line else line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f"{ccr.ok('completion', 'bash')}\nCOMP_LINE='{line}' COMP_POINT={len(line)}\n"
        f"COMP_WORDS=({quoted}) COMP_CWORD={len(words) - 1}\n_ccr_complete\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    )
    done = subprocess.run(["bash", "-c", script], env=ccr.env, capture_output=True, text=True, timeout=60)
    assert expected == done.stdout.split(), done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(ccr: Any, shell: str) -> None:
    """The code for the other shells asks the same program."""
    assert "ccr __complete" in ccr.ok("completion", shell)


def install(ccr: Any) -> None:
    """Put `ccr` on the path."""
    program = ccr.bin / "ccr"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ccr_core.cli "$@"\n')
    program.chmod(0o755)


LINES = [("ccr statusl", "statusline"), ("ccr model set default local,q", "local,qwen:7b"), ("ccr plugin en", "enable")]


# CI has both shells.
@pytest.mark.parametrize(("line", "expected"), LINES if shutil.which("fish") else [])
def test_fish(ccr: Any, line: str, expected: str) -> None:
    """The code for fish works in fish."""
    ccr.write_config(CONFIG)
    install(ccr)
    script = f"ccr completion fish | source; complete -C {shlex.quote(line)}"
    done = subprocess.run(["fish", "-c", script], env=ccr.env, capture_output=True, text=True, timeout=60, check=True)
    assert [expected] == done.stdout.split(), done.stderr


@pytest.mark.parametrize(("line", "expected"), LINES if shutil.which("zsh") else [])
def test_zsh(ccr: Any, line: str, expected: str) -> None:
    """The code for zsh works in zsh, at a terminal, where the tabulator is pressed."""
    ccr.write_config(CONFIG)
    install(ccr)
    with Terminal(["zsh", "-f", "-i"], {**ccr.env, "PS1": "> "}, ccr.root) as terminal:
        terminal.until("> ")
        terminal.press("autoload -Uz compinit && compinit -u -D\r")
        terminal.press('eval "$(ccr completion zsh)"; echo rea""dy\r')
        terminal.until("ready\n")
        terminal.until("> ")
        terminal.press(f"{line}\t")
        terminal.until(line)
        terminal.until(expected.removeprefix(line.split()[-1]))


def test_unknown_shell(ccr: Any) -> None:
    """A shell that is not known is wrong use."""
    assert 2 == ccr.run("completion", "tcsh").returncode


def test_every_argument_is_there() -> None:
    """What names are completed for are arguments of commands that are there."""
    import click

    from ccr_core.cli.completion import NAMES
    from ccr_core.cli.group import group

    for key in NAMES:
        *path, argument = key.split()
        command: Any = group
        for word in path:
            command = command.get_command(click.Context(command), word)
            assert command is not None, key
        assert argument in [param.name for param in command.params], key


def test_page() -> None:
    """The page says how to switch it on."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    assert 'eval "$(ccr completion bash)"' in page
