"""`ccr statusline`: every variable and theme, what it may import, and its place in Claude Code's settings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ccr_core.cli import statusline

SIMPLE = "deep feature/one seen ↑ 1.2k ↓ 56"
"""The theme of that name for `given`."""
ESCAPES = re.compile(r"\x1b\[[\d;]*m")
GIVEN: dict[str, Any] = {
    "hook_event_name": "Status",
    "session_id": "0123456789abcdef",
    "cwd": "/tmp",
    "model": {"id": "claude-x", "display_name": "Claude X"},
    "version": "2.1.3",
    "cost": {
        "total_cost_usd": 0.0042,
        "total_duration_ms": 83_000,
        "total_lines_added": 12,
        "total_lines_removed": 5,
    },
    "context_window": {
        "total_input_tokens": 15_500,
        "total_output_tokens": 900,
        "context_window_size": 200_000,
        "current_usage": {
            "input_tokens": 1000,
            "output_tokens": 50,
            "cache_creation_input_tokens": 20_000,
            "cache_read_input_tokens": 9000,
        },
    },
}
STATS = {
    "version": 1,
    "streaming": True,
    "last": {
        "route": "openrouter,x/y",
        "provider": "openrouter",
        "model": "x/y",
        "scenario": "think",
        "ttft_ms": 350,
        "tokens_per_second": 41.6,
        "input_tokens": 1500,
        "output_tokens": 80,
        "cost": 0.0123,
    },
    "total": {"cost": 1.5, "requests": 7},
}


@pytest.fixture
def given(ccr: Any, tmp_path: Path) -> dict[str, Any]:
    """The client's JSON for a session in a project with a branch and a transcript, which the router has measured."""
    project = tmp_path / "my project"
    (project / ".git").mkdir(parents=True)
    (project / ".git" / "HEAD").write_text("ref: refs/heads/feature/one\n")
    (project / "deep").mkdir()
    transcript = tmp_path / "t.jsonl"
    lines: list[Any] = [
        {"type": "user", "message": {"content": 'says "assistant"'}},
        {"type": "assistant", "message": {"model": "seen", "usage": {"input_tokens": 1234, "output_tokens": 56}}},
        {"type": "assistant", "message": {"model": "<synthetic>", "usage": {}}},
        {"type": "user", "message": {"content": "next"}},
    ]
    transcript.write_text("\n".join(map(json.dumps, lines)) + '\n{"cut": "assistant')
    return {
        **GIVEN,
        "transcript_path": str(transcript),
        "workspace": {"current_dir": str(project / "deep"), "project_dir": str(project)},
    }


def stats(ccr: Any, session: str = GIVEN["session_id"], **last: Any) -> None:
    """Write what the observer writes."""
    folder = ccr.folder / "run" / "sessions"
    folder.mkdir(parents=True)
    (folder / f"{session}.json").write_text(
        json.dumps({**STATS, "session": session, "last": {**STATS["last"], "at": time.time(), **last}})  # type: ignore[dict-item]
    )


def theme(ccr: Any, *modules: dict[str, Any], style: str = "default") -> None:
    """A configuration with these modules."""
    ccr.write_config({"StatusLine": {"enabled": True, "currentStyle": style, style: {"modules": list(modules)}}})


def line(ccr: Any, given: Any, *args: str, **env: str) -> str:
    """What `ccr statusline` prints for the client's JSON."""
    done = ccr.run("statusline", *args, input=given if isinstance(given, str) else json.dumps(given), env=env)
    assert (0, 1) == (done.returncode, done.stdout.count("\n")), done.stderr
    return str(done.stdout).removesuffix("\n")


def variables(ccr: Any, given: Any) -> dict[str, str]:
    """All variables, as the line shows them."""
    theme(ccr, *({"type": "model", "text": f"{name}=[{{{{{name}}}}}]"} for name in statusline.NAMES))
    return dict(re.findall(r"(\w+)=\[(.*?)\](?= |$)", line(ccr, given)))


def test_variables(ccr: Any, given: dict[str, Any]) -> None:
    """Each variable has the value and the form that the page says."""
    stats(ccr)
    assert {
        "workDirName": "deep",
        "gitBranch": "feature/one",
        "model": "x/y",
        "inputTokens": "1.2k",
        "outputTokens": "56",
        "totalInputTokens": "15.5k",
        "totalOutputTokens": "900",
        "contextPercent": "15",
        "contextWindowSize": "200k",
        "tokenSpeed": "42",
        "isStreaming": "streaming",
        "streamingIndicator": "[Streaming]",
        "timeToFirstToken": "350ms",
        "cost": "0.42¢",
        "duration": "1m23s",
        "linesAdded": "12",
        "linesRemoved": "5",
        "netLines": "7",
        "version": "2.1.3",
        "sessionId": "01234567",
        "route": "openrouter,x/y",
        "provider": "openrouter",
        "scenario": "think",
        "tokensPerSecond": "42",
        "requestCost": "$0.01",
        "sessionCost": "$1.50",
        "sessionRequests": "7",
    } == variables(ccr, given)


def test_variables_of_a_new_conversation(ccr: Any) -> None:
    """Before the first answer there is no transcript, no usage and no figure, and still a line."""
    nothing = {**GIVEN, "transcript_path": "/nowhere/t.jsonl", "workspace": {"current_dir": "/"}, "cost": {}}
    nothing["context_window"] = {"context_window_size": 1_000_000, "current_usage": None}
    seen = variables(ccr, nothing)

    assert ("Claude X", "0", "0", "0", "") == tuple(
        seen[name] for name in ("model", "inputTokens", "contextPercent", "tokenSpeed", "cost")
    )
    assert ("", "", "", "", "1000k") == tuple(
        seen[name] for name in ("gitBranch", "route", "sessionCost", "duration", "contextWindowSize")
    )


def test_old_speed(ccr: Any, given: dict[str, Any]) -> None:
    """After three seconds the present speed is none; the last one stays."""
    stats(ccr, at=time.time() - 4)
    seen = variables(ccr, given)
    assert ("0", "42") == (seen["tokenSpeed"], seen["tokensPerSecond"])


@pytest.mark.parametrize("where", ["project", "global", "transcript"])
def test_model(ccr: Any, given: dict[str, Any], where: str) -> None:
    """Without the router's own figures the transcript's model counts, then the default of project and configuration."""
    ccr.write_config({"Router": {"default": "p,general"}})
    if where != "transcript":
        given["transcript_path"] = "/nowhere"
    if where == "project":
        folder = Path(given["workspace"]["current_dir"]) / ".claude-code-router"
        folder.mkdir()
        (folder / "config.json").write_text('{"Router": {"default": "p,special"}}')
    assert {"project": "special", "global": "general", "transcript": "seen"}[where] in line(ccr, given)


@pytest.mark.parametrize(
    ("head", "expected"),
    [("ref: refs/heads/main\n", "main"), ("0123456789abcdef\n", ""), (None, "")],
)
def test_branch(tmp_path: Path, head: str | None, expected: str) -> None:
    """The branch is read from git's files; a detached or broken head has none."""
    (tmp_path / ".git").mkdir()
    if head is not None:
        (tmp_path / ".git" / "HEAD").write_text(head)
    assert expected == statusline.branch(str(tmp_path))


def test_branch_of_a_worktree(tmp_path: Path) -> None:
    """In a worktree `.git` is a file that says where git's files are."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "HEAD").write_text("ref: refs/heads/other\n")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").write_text("gitdir: ../real\n")
    assert "other" == statusline.branch(str(tmp_path / "tree"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", "\U000f024b deep \ue725 feature/one \U000f06a9 seen ↑ 1.2k ↓ 56"),
        ("simple", SIMPLE),
        (
            "full",
            "\U000f024b deep \ue725 feature/one \U000f06a9 seen 🪟 15% / 200k ⚡ 0 t/s 💰 0.42¢ ⏱️ 1m23s 📝 +12/-5",
        ),
        ("powerline", " \U000f024b deep \ue0b0 \ue725 feature/one \ue0b0 \U000f06a9 seen \ue0b0 ↑ 1.2k \ue0b0 ↓ 56 "),
    ],
)
def test_built_in_themes(ccr: Any, given: dict[str, Any], name: str, expected: str) -> None:
    """Each built-in theme can be chosen by its name alone."""
    ccr.write_config({"StatusLine": {"enabled": True, "currentStyle": name}})
    assert expected == ESCAPES.sub("", line(ccr, given))


def test_theme_without_configuration(ccr: Any, given: dict[str, Any]) -> None:
    """Without any configuration the default theme is shown, on a dumb terminal the simple one."""
    assert "\x1b[94m\U000f024b deep\x1b[0m" in line(ccr, given, TERM="xterm")
    assert "\x1b[94mdeep\x1b[0m" in line(ccr, given, TERM="dumb")
    assert "\x1b[94mdeep\x1b[0m" in line(ccr, given, USE_SIMPLE_ICONS="true")


@pytest.mark.parametrize(
    ("colours", "codes"),
    [
        ({"color": "red"}, "\x1b[31m"),
        ({"color": "bright_cyan"}, "\x1b[96m"),
        ({"color": "#fa0"}, "\x1b[38;2;255;170;0m"),
        ({"color": "00ff7f"}, "\x1b[38;2;0;255;127m"),
        ({"background": "bg_blue"}, "\x1b[44m"),
        ({"background": "bg_bright_black", "color": "white"}, "\x1b[100m\x1b[37m"),
        ({"background": "#102030"}, "\x1b[48;2;16;32;48m"),
        ({"color": "no such colour"}, ""),
    ],
)
def test_colours(ccr: Any, given: dict[str, Any], colours: dict[str, str], codes: str) -> None:
    """Colours by name and by number, for letters and background."""
    theme(ccr, {"type": "model", "text": "x", **colours})
    assert (f"{codes}x\x1b[0m" if codes else "x") == line(ccr, given)
    assert "x" == line(ccr, given, NO_COLOR="1")


def test_powerline_colours(ccr: Any, given: dict[str, Any]) -> None:
    """A separator has the colour of the block before it on that of the block after it; unknown ones are blue."""
    theme(
        ccr,
        {"type": "model", "text": "a", "color": "black", "background": "#0a0b0c"},
        {"type": "model", "text": ""},
        {"type": "model", "text": "b", "background": "bg_nonsense"},
        style="powerline",
    )
    expected = (
        "\x1b[48;2;10;11;12m\x1b[38;2;0;0;0m a \x1b[0m\x1b[48;2;33;150;243m\x1b[38;2;10;11;12m\ue0b0\x1b[0m"
        "\x1b[48;2;33;150;243m\x1b[38;2;229;229;229m b \x1b[0m"
    )
    assert expected == line(ccr, given)


def test_powerline_has_ten_blocks(ccr: Any, given: dict[str, Any]) -> None:
    """More than ten modules are not shown."""
    theme(ccr, *({"type": "model", "text": str(number)} for number in range(12)), style="powerline")
    shown = ESCAPES.sub("", line(ccr, given))
    assert list("0123456789") == re.findall(r"\d+", shown)


def test_references_in_a_theme(ccr: Any, given: dict[str, Any]) -> None:
    """References to the environment are replaced, as everywhere in the configuration."""
    theme(ccr, {"type": "model", "text": "$HOST_NAME ${UNSET} {{nothing}}!"})
    assert "box ${UNSET} !" == line(ccr, given, HOST_NAME="box")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sync.py", "def statusline(variables, options):\n    return variables['model'] + options['end']"),
        ("one.py", "def main(variables):\n    return variables['model'] + '!'"),
        ("coroutine.py", "async def statusline(variables, options):\n    return variables['model'] + options['end']"),
        ("text.py", "statusline = 'seen!'"),
        ("program", "import json, sys\ngiven = json.load(sys.stdin)\nprint(given['model'] + given['options']['end'])"),
    ],
)
def test_scripts(ccr: Any, given: dict[str, Any], name: str, text: str) -> None:
    """A script is a function of a Python file, a coroutine function, a text, or any program; relative to the folder."""
    theme(ccr, {"type": "script", "icon": ">", "scriptPath": f"scripts/{name}", "text": "", "options": {"end": "!"}})
    (ccr.folder / "scripts").mkdir()
    (ccr.folder / "scripts" / name).write_text(text if "." in name else f"#!{sys.executable}\n{text}\n")
    (ccr.folder / "scripts" / name).chmod(0o755)
    assert "> seen!" == line(ccr, given)


@pytest.mark.parametrize("text", ["1/0", "def statusline(variables, options):\n    raise SystemError", "("])
def test_failing_script(ccr: Any, given: dict[str, Any], text: str) -> None:
    """A script that fails leaves its place empty; what failed is on standard error."""
    theme(ccr, {"type": "script", "icon": ">", "scriptPath": "bad.py"}, {"type": "model", "text": "rest"})
    (ccr.folder / "bad.py").write_text(text)
    done = ccr.run("statusline", input=json.dumps(given))
    assert ("rest\n", 0) == (done.stdout, done.returncode)
    assert "bad.py" in done.stderr


def test_javascript_of_an_older_theme(ccr: Any, given: dict[str, Any], tmp_path: Path) -> None:
    """A script in JavaScript is given to node: the words it gets, and the variables it gets."""
    theme(ccr, {"type": "script", "scriptPath": "line.js", "options": {"a": 1}})
    node = ccr.bin / "node"
    node.write_text(
        f"#!{sys.executable}\nimport json, sys\ngiven = json.load(sys.stdin)\n"
        "print(sys.argv[1], sys.argv[3], given['workDirName'], given['options'])\n"
    )
    node.chmod(0o755)
    assert f"-e {ccr.folder / 'line.js'} deep {{'a': 1}}" == line(ccr, given)


def preset(ccr: Any, **data: Any) -> Path:
    """Install the preset `mine` with these data; gives its folder."""
    folder: Path = ccr.folder / "presets" / "mine"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("// a preset\n" + json.dumps({"name": "mine", **data}))
    (folder / "line.py").write_text("statusline = 'from the preset'")
    return folder


def test_preset(ccr: Any, given: dict[str, Any]) -> None:
    """A preset's own status line is used, with the user's values, and scripts of its own folder."""
    modules = [{"type": "model", "text": "#{who}: {{model}}"}, {"type": "script", "scriptPath": "line.py"}]
    preset(ccr, StatusLine={"default": {"modules": modules}}, userValues={"who": "me"})
    assert "me: seen from the preset" == line(ccr, given, "mine")
    assert "\U000f024b" in line(ccr, given, "no-such-preset")
    assert "\U000f024b" in line(ccr, given, "../presets/mine")


MODULE = {"type": "model", "text": "plain"}
SCRIPT = {"type": "script", "scriptPath": "line.py"}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"configMappings": [{"target": "StatusLine.default.modules[0].text", "value": "#{word}"}]}, "typed"),
        ({"configMappings": [{"target": "StatusLine.default.modules[0].text", "value": "now #{word}"}]}, "now typed"),
        (
            {
                "configMappings": [
                    {
                        "target": "StatusLine.default.modules[0].text",
                        "value": "never",
                        "when": {"field": "word", "value": "other"},
                    }
                ]
            },
            "plain",
        ),
        ({"configMappings": [{"target": "StatusLine.currentStyle", "value": "simple"}]}, SIMPLE),
        ({"userValues": {"StatusLine.default.modules[0].text": "by path"}}, "by path"),
        ({"template": {"StatusLine": {"default": {"modules": [{"text": "#{word} #{also}"}]}}}}, "typed by default"),
        ({"template": {"Router": {}}}, "plain"),
        ({"template": {"StatusLine": {"default": {"modules": [SCRIPT]}}}}, "from the preset"),
        (
            {"configMappings": [{"target": "StatusLine.default", "value": {"modules": [SCRIPT]}}]},
            "from the preset",
        ),
    ],
)
def test_preset_as_it_is_in_effect(ccr: Any, given: dict[str, Any], data: dict[str, Any], expected: str) -> None:
    """Mappings, templates, defaults and values by path count as they do for the router."""
    schema = [{"id": "word", "type": "input"}, {"id": "also", "type": "input", "defaultValue": "by default"}]
    whole = {"schema": schema, "StatusLine": {"default": {"modules": [MODULE]}}, "userValues": {"word": "typed"}}
    preset(ccr, **{**whole, **data})
    assert expected == ESCAPES.sub("", line(ccr, given, "mine"))


def test_broken_preset(ccr: Any, given: dict[str, Any]) -> None:
    """A preset that cannot be understood leaves the line to the configuration, and says why on standard error."""
    theme(ccr, {"type": "model", "text": "of the configuration"})
    preset(ccr, schema=3, StatusLine={"default": {"modules": [{"text": "#{x}"}]}})
    done = ccr.run("statusline", "mine", input=json.dumps(given))
    assert (0, "of the configuration\n") == (done.returncode, done.stdout)
    assert "statusline: the preset mine: " in done.stderr
    assert "schema: expected a list" in done.stderr


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"a": '])
def test_wrong_input(ccr: Any, text: str) -> None:
    """Input that is no JSON object is an error."""
    done = ccr.run("statusline", input=text)
    assert (1, "") == (done.returncode, done.stdout)
    assert "error: standard input is not the JSON" in done.stderr


@pytest.mark.parametrize(
    "config",
    ["{", '{"StatusLine": 3}', '{"StatusLine": {"default": {"modules": [3, {"text": 5}]}}}', '{"StatusLine": {}}'],
)
def test_broken_configuration(ccr: Any, given: dict[str, Any], config: str) -> None:
    """Whatever is in the configuration, there is a line and the exit code is 0."""
    ccr.folder.mkdir(parents=True)
    (ccr.folder / "config.json").write_text(config)
    assert "\n" not in line(ccr, given)


def test_odd_input(ccr: Any) -> None:
    """Values of the wrong type are as good as none."""
    odd = {"session_id": 5, "model": "x", "workspace": [], "cost": {"total_cost_usd": "3"}, "context_window": None}
    assert "\U000f06a9" not in line(ccr, odd)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        ("{a: 'it\\'s \"so\"', /* b: 1, */ $c: [1, 2,], // end\n}", {"a": 'it\'s "so"', "$c": [1, 2]}),
        ('{"url": "http://x//y", "t": true, n: -1.5e3, }', {"url": "http://x//y", "t": True, "n": -1500}),
        ('{"true": true, a: [], "x\\"y": "// no"}', {"true": True, "a": [], 'x"y': "// no"}),
    ],
)
def test_json5(text: str, expected: Any) -> None:
    """What people write in configurations is understood without the real parser."""
    assert expected == statusline.loads(text)


def test_toml(ccr: Any, given: dict[str, Any]) -> None:
    """The configuration may be TOML."""
    ccr.folder.mkdir(parents=True)
    (ccr.folder / "config.toml").write_text('[[StatusLine.default.modules]]\ntype = "model"\ntext = "toml {{model}}"\n')
    assert "toml seen" == line(ccr, given)


@pytest.mark.parametrize("words", [["statusline"], ["statusline", "mine"]])
def test_imports_nothing(ccr: Any, given: dict[str, Any], words: list[str]) -> None:
    """The line is made without click, attrs, HTTP, configuration, plugins, or what starts processes."""
    ccr.write_config({"StatusLine": {"currentStyle": "full"}})
    stats(ccr)
    schema = [{"id": "key", "type": "password"}]
    preset(ccr, schema=schema, userValues={"key": "k"}, StatusLine={"default": {"modules": [MODULE]}})
    script = (
        "import sys, io\n"
        f"sys.stdin = io.TextIOWrapper(io.BytesIO({json.dumps(given).encode()!r}))\n"
        "from ccr_core.cli import main\n"
        f"assert main({words!r}) == 0\n"
        "print('\\n'.join(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=ccr.env, capture_output=True, text=True, check=True, timeout=60
    )
    unwanted = {"click", "attrs", "attr", "httpx", "starlette", "pyjson5", "subprocess", "asyncio", "tomllib", "pluggy"}
    loaded = set(done.stdout.split())
    assert set() == loaded & unwanted
    assert {"ccr_core", "ccr_core.cli", "ccr_core.cli.statusline"} == {
        name for name in loaded if name.startswith(("ccr_", "ccr.")) and "editable" not in name
    }


def test_variables_are_in_the_page() -> None:
    """The page names every variable."""
    page = (Path(__file__).parents[2] / "docs" / "statusline.md").read_text()
    assert [] == [name for name in statusline.NAMES if f"`{name}`" not in page]


# --- in the client's settings -------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, {"env": {"A": "b"}}, {"statusLine": {"type": "command", "command": "mine"}}])
def test_install_and_undo(ccr: Any, before: dict[str, Any] | None) -> None:
    """The entry is added to the user's settings, once, and afterwards they are what they were."""
    path = ccr.root / "home" / ".claude" / "settings.json"
    if before is not None:
        path.parent.mkdir()
        path.write_text(json.dumps(before, indent=4) + "\n")
    old = path.read_text() if before is not None else None

    ccr.ok("statusline", "--install")
    ccr.ok("statusline", "--install", "mine")
    settings = json.loads(path.read_text())
    assert settings["statusLine"]["command"].endswith("statusline mine")
    assert {**(before or {}), "statusLine": settings["statusLine"]} == settings
    if old is not None:
        assert old in [copy.read_text() for copy in path.parent.glob("settings.json.*.bak")]

    ccr.ok("statusline", "--uninstall")
    assert before == (json.loads(path.read_text()) if path.exists() else None)
    assert "nothing to do" in ccr.ok("statusline", "--uninstall")


def test_install_keeps_comments(ccr: Any) -> None:
    """Only the entry changes in the text of the settings."""
    path = ccr.root / "home" / ".claude" / "settings.json"
    path.parent.mkdir()
    path.write_text('{\n  // mine\n  "model": "opus"\n}\n')
    old = path.read_text()
    ccr.ok("statusline", "--install")
    assert "// mine" in path.read_text()
    ccr.ok("statusline", "--uninstall")
    assert old == path.read_text()


def test_undo_respects_others(ccr: Any) -> None:
    """What somebody wrote in place of our entry stays."""
    path = ccr.root / "home" / ".claude" / "settings.json"
    ccr.ok("statusline", "--install")
    path.write_text('{"statusLine": {"type": "command", "command": "other"}}')
    assert "stays as it is" in ccr.ok("statusline", "--uninstall")
    assert "other" in path.read_text()


def test_broken_settings_are_left_alone(ccr: Any) -> None:
    """Settings that cannot be read are an error, and not touched."""
    path = ccr.root / "home" / ".claude" / "settings.json"
    path.parent.mkdir()
    path.write_text('{"env": ')
    done = ccr.run("statusline", "--install")
    assert 1 == done.returncode
    assert "mend the file" in done.stderr
    assert '{"env": ' == path.read_text()


def test_settings_elsewhere(ccr: Any, tmp_path: Path) -> None:
    """`CLAUDE_CONFIG_DIR` names another folder of the client's settings."""
    ccr.ok("statusline", "--install", env={"CLAUDE_CONFIG_DIR": str(tmp_path / "other")})
    assert "statusLine" in json.loads((tmp_path / "other" / "settings.json").read_text())


def test_both_options(ccr: Any) -> None:
    """Installing and uninstalling at once is wrong use."""
    assert 2 == ccr.run("statusline", "--install", "--uninstall").returncode


def test_code_shows_it(ccr: Any) -> None:
    """`ccr code` gives the client the status line where it is enabled, unless the user's settings have one."""
    ccr.client("print(json.dumps(settings.get('statusLine')))")
    providers = [{"name": "echo", "models": ["echo"]}]
    ccr.write_config({"Providers": providers, "StatusLine": {"enabled": True}})
    assert json.loads(ccr.ok("code"))["command"].endswith("statusline")
    assert {"type": "x"} == json.loads(ccr.ok("code", "--settings", '{"statusLine": {"type": "x"}}'))
    ccr.write_config({"Providers": providers, "StatusLine": {"enabled": False}})
    assert "null" == ccr.ok("code").strip()
