"""What `--json` prints is what docs/cli.md says, for every command that has it."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from shapes import documented, shape

from ccr_core.cli.group import COMMANDS, group

SHAPES = documented()
REQUEST = {"model": "claude-opus-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}]}
CONFIG = {
    "APIKEY": "k",
    "unknown_key": 1,
    "plugins_lock": "warn",
    "Providers": [
        {"name": "echo", "models": ["echo"], "transformer": {"use": [["maxtoken", {"max_tokens": 30}]]}},
        {"name": "up", "api_base_url": "http://127.0.0.1:1/v1/messages", "api_key": "$UP_KEY", "models": ["m"]},
    ],
    "Router": {
        "default": "echo,echo",
        "tests": [
            {"request": {"model": "x"}, "expect": "echo,echo"},
            {"request": {"model": "x"}, "expect": {"route": "up,m", "rule": "think"}},
        ],
    },
    "fallback": {"default": ["up,m"]},
}


@pytest.fixture(scope="module")
def ccr(shared: Any) -> Any:
    """A home with something of everything: a router that has answered, a preset, an account, trust, a lock file."""
    shared.write_config(CONFIG)
    shared.ok("preset", "export", "mine", "--description", "d")
    broken = shared.folder / "presets" / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    account = {"type": "oauth", "access": "a", "refresh": "r", "expires": 1}
    (shared.folder / "auth.json").write_text(
        json.dumps({"codex": account, "old": {"type": "api", "key": "sk-old-key"}})
    )
    (shared.folder / "plugins.lock").write_text('{"version": 1, "plugins": {"gone": {"version": "1", "sha256": "d"}}}')
    (shared.root / ".ccr.toml").write_text('[Router]\ndefault = "up,m"\n')
    shared.ok("trust", "--yes")
    (shared.root / "request.json").write_text(json.dumps(REQUEST))
    shared.ok("start", "-d")
    asked = urllib.request.Request(
        f"http://127.0.0.1:{shared.state['port']}/v1/messages",
        json.dumps(REQUEST).encode(),
        {"content-type": "application/json", "x-api-key": "k"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert 200 == opener.open(asked, timeout=30).status
    return shared


CASES = [
    # arguments, exit code, what must be somewhere in the output
    ("status", 0, '"learned": []'),
    ("model list", 0, '"up": ['),
    ("provider list", 0, '"key": "$UP_KEY is not set"'),
    ("provider list --presets", 0, '"key_env": "DEEPSEEK_API_KEY"'),
    ("provider test echo", 0, '"ok": true'),
    ("provider test up", 1, '"ok": false'),
    ("provider test", 1, '"provider": "up"'),
    ("preset list", 0, '"name": "broken"'),
    ("preset info mine", 0, '"reads from the environment: UP_KEY"'),
    ("auth list", 0, '"type": "api"'),
    ("auth status", 0, '"state": "refreshable"'),
    ("auth status codex", 0, '"provider": "codex"'),
    ("explain request.json", 0, '"changed": ['),
    ("config check", 0, "unknown_key"),
    ("config check --config nowhere.json", 1, '"ok": false'),
    ("config test", 1, '"failed": 1'),
    ("config path", 0, "config.json"),
    ("config show", 0, '"APIKEY": "'),
    ("trust --list", 0, '"state": "trusted"'),
    ("plugins list", 0, '"used": true'),
    ("plugins show maxtoken", 0, '"max_tokens"'),
    ("plugins audit", 1, '"state": "missing"'),
    ("doctor", 1, '"level": "ok"'),
    ("import HOME", 0, '"state": "kept"'),
    ("ui", 0, "/ui/#code="),
    ("service status", 1, '"installed": false'),
    ("logs", 0, '"route":"echo,echo"'),
    ("logs --request ID", 0, '"log": ['),
]


@pytest.mark.parametrize(("words", "code", "part"), CASES, ids=[words for words, _, _ in CASES])
def test_output(ccr: Any, words: str, code: int, part: str) -> None:
    """The whole output has the documented shape, and has in it what it is about."""
    args = words.replace("HOME", str(ccr.folder)).split()
    if args[-1] == "ID":
        args[-1] = json.loads(ccr.ok("logs", "--json", "-n", "1"))["id"]
    done = ccr.run(*args, "--json")
    assert code == done.returncode, done.stdout + done.stderr
    command = next(name for name in SHAPES if f"ccr {words} ".startswith(f"{name} "))
    assert [] == SHAPES[command](json.loads(done.stdout), command)
    assert part in done.stdout
    assert "sk-old-key" not in done.stdout


def test_without_anything(tmp_path: Path, make_ccr: Any) -> None:
    """Where there is nothing the shape is kept."""
    ccr = make_ccr(tmp_path)
    for words in ("status", "config path", "auth list", "preset list", "trust --list", "plugins audit", "config check"):
        done = ccr.run(*words.split(), "--json")
        command = next(name for name in SHAPES if f"ccr {words} ".startswith(f"{name} "))
        assert [] == SHAPES[command](json.loads(done.stdout), command)


def test_nowhere_to_go(ccr: Any, tmp_path: Path) -> None:
    """An explanation that ends without a route has the shape of that."""
    path = tmp_path / "config.json"
    path.write_text('{"Providers": [{"name": "echo", "models": ["echo"]}], "Router": {"rules": ["explicit"]}}')
    done = ccr.run("explain", "request.json", "--config", str(path), "--json")
    assert 1 == done.returncode, done.stdout
    assert [] == SHAPES["ccr explain"](json.loads(done.stdout), "")
    assert "error" in json.loads(done.stdout)


def options(command: click.Command, path: str) -> Iterator[tuple[str, list[str]]]:
    """Each command with its options."""
    yield path, [opt for param in command.params for opt in param.opts]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from options(child, f"{path} {name}")


def test_every_command_is_documented_and_tried() -> None:
    """Each command with `--json` has a shape on the page and is run above; there are no other shapes."""
    context = click.Context(group)
    found = set()
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        if name not in ("plugin", "env"):
            found |= {path for path, opts in options(command, f"ccr {name}") if "--json" in opts}
    assert found == set(SHAPES)
    tried = {name for name in SHAPES for words, _, _ in CASES if f"ccr {words} ".startswith(f"{name} ")}
    assert {"ccr auth models"} == found - tried  # it asks a vendor: test_auth.py


@pytest.mark.parametrize(
    ("text", "value", "faults"),
    [
        ("{ a: string, b?: integer }", {"a": "x"}, []),
        ("{ a: string, b?: integer }", {"b": 1.5}, ["v.a is missing", "v.b: expected integer, got 1.5"]),
        ("{ a: string }", {"a": "x", "c": 1}, ["v.c is not in the page"]),
        ("{ [name]: number[] } // remark", {"x": [1, 2.5], "y": [True]}, ["v.y[0]: expected number, got True"]),
        ('"a" | "b" | null', None, []),
        ('("a" | "b")[]', ["a", "c"], ["v[1]: expected \"a\", got 'c'"]),
        ("{ a: null | { b: any } }", {"a": {"b": [1]}}, []),
        ("{ a: string }[] | integer", [{"a": 1}], ["v[0].a: expected string, got 1"]),
    ],
)
def test_shapes(text: str, value: Any, faults: list[str]) -> None:
    """The reader of shapes finds what is wrong."""
    assert faults == shape(text)(value, "v")


@pytest.mark.parametrize("text", ["{ a string }", "{ a: string", "strin", "string string", "{ [x] : }", "(string"])
def test_no_shapes(text: str) -> None:
    """What is no shape is not taken for one."""
    with pytest.raises(ValueError, match=re.compile("what is|missing|write")):
        shape(text)
