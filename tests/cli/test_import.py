"""`ccr import`: what is taken over from an older router, what is named, and that nothing is touched."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ccr_core.cli import importing

CONFIG = """{
  // the old one
  "PORT": 3456,
  "CUSTOM_ROUTER_PATH": "~/.claude-code-router/router.js",
  "transformers": [
    {"path": "/x/one.js", "options": {"a": 1}},
  ],
  "Providers": [
    {"name": "deep", "api_base_url": "https://api.deepseek.com/chat/completions", "api_key": "sk-old-secret",
     "models": ["deepseek-chat"], "transformer": {"use": ["deepseek"]}},
  ],
  "Router": {"default": "deep,deepseek-chat"}
}
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of an older router, with everything it may have."""
    folder = tmp_path / "old"
    for name, text in {
        "config.json": CONFIG,
        "auth.json": '{"codex": {"type": "oauth", "access": "a", "refresh": "r", "expires": 1}}',
        "presets/mine/manifest.json": '{"name": "mine", "version": "1.0.0"}',
        "presets/mine/scripts/line.js": "module.exports = 1",
        "presets/broken/readme.md": "no manifest",
        "-home-me-project/config.json": '{"Router": {"default": "deep,deepseek-chat"}}',
        "-home-me-project/0123.json": '{"Router": {"think": "deep,deepseek-chat"}}',
        "plugins/mine.js": "module.exports = 1",
        "logs/ccr-1.log": "x",
        ".claude-code-router.pid": "999999999",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "presets" / "mine" / "link").symlink_to("/etc/passwd")
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Every file with a digest of its contents."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def untouched(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything that is there, links and folders too: kind and rights, time of the last change, and contents."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() and not path.is_symlink() else None,
        )
        for path in sorted([folder, *folder.rglob("*")])
    }


def imported(ccr: Any, old: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `ccr import`; whatever comes of it, the older router's folder is as it was, to the byte."""
    before = untouched(old)
    done: subprocess.CompletedProcess[str] = ccr.run("import", str(old), *words, **options)
    assert before == untouched(old)
    return done


def test_everything(ccr: Any, old: Path) -> None:
    """What can be taken over is copied, for its owner alone; JavaScript is named with what to write; the old stays."""
    before = contents(old)
    done = imported(ccr, old, "--json")
    data = json.loads(done.stdout)
    assert (0, True, None) == (done.returncode, data["ok"], data["problem"])

    assert before == contents(old)
    assert {
        "config.json",
        "auth.json",
        "presets/mine/manifest.json",
        "presets/mine/scripts/line.js",
        "-home-me-project/config.json",
        "-home-me-project/0123.json",
    } == {name for name in contents(ccr.folder) if not name.startswith("logs")}
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in ccr.folder.rglob("*") if path.is_file()}
    assert {"copied": 5, "write": 3, "look": 1} == {
        state: sum(line["state"] == state for line in data["report"]) for state in ("copied", "write", "look")
    }
    written = [line for line in data["report"] if line["state"] == "write"]
    assert ["CUSTOM_ROUTER_PATH: ~/.claude-code-router/router.js", "transformers[0]: /x/one.js"] == [
        line["what"] for line in written[:2]
    ]
    assert "route(req, config)" in written[0]["note"]
    assert "ccr_core.Transformer" in written[1]["note"]


@pytest.mark.parametrize(
    ("script", "advice"),
    [
        ("maxtoken.js", '"transformer": {"use": ["maxtoken"]}'),
        ("max-token-transformer.js", '"transformer": {"use": ["maxtoken"]}'),
        ("cleanCache.mjs", '"transformer": {"use": ["cleancache"]}'),
        ("extra_think_tag.js", '"transformer": {"use": ["extrathinktag"]}'),
        ("gemini-cli.js", 'oauth_provider = "gemini" needs no script'),
        ("copilot.js", '"transformer": {"use": ["copilot"]}'),
        ("qwen-cli.js", "ccr provider add qwen"),
        ("chutes-glm.js", "extrathinktag"),
        ("rovo-cli.js", "ccr plugins new rovo"),
        ("siliconflow.js", "ccr provider add siliconflow"),
        ("custom-transformer.js", "ccr_core.Transformer"),
        ("mine.ts", "ccr_core.Transformer"),
    ],
)
def test_scripts_with_a_known_name(script: str, advice: str) -> None:
    """What people pass round as a script and is built in is named; for the rest it is said what to write."""
    assert advice in importing.in_place_of(f"~/.claude-code-router/plugins/{script}")


def test_a_script_in_whose_place_there_is_a_transformer(ccr: Any, old: Path) -> None:
    """A provider that uses a script by the name of a built-in transformer goes on with that one."""
    text = CONFIG.replace("/x/one.js", "~/.claude-code-router/plugins/tooluse.js").replace(
        '["deepseek"]', '["deepseek", "tooluse"]'
    )
    (old / "config.json").write_text(text)
    data = json.loads(imported(ccr, old, "--json").stdout)
    assert (True, None) == (data["ok"], data["problem"])
    (line,) = (line for line in data["report"] if line["what"].startswith("transformers[0]"))
    assert '"use": ["tooluse"]' in line["note"]
    assert ["tooluse"] == json.loads(ccr.ok("provider", "list", "--json"))[0]["transformers"][1:]


def test_a_script_without_which_it_does_not_work(ccr: Any, old: Path) -> None:
    """A provider that uses a script that is not there any more is named, with the place; the copy is kept."""
    text = CONFIG.replace("/x/one.js", "/x/gemini-cli.js").replace('["deepseek"]', '["gemini-cli"]')
    (old / "config.json").write_text(text)
    done = imported(ccr, old)
    assert 1 == done.returncode
    assert "ccr auth login gemini" in done.stdout
    assert 'Providers[0].transformer.use[0]   no transformer "gemini-cli"' in done.stdout
    assert "gemini-cli" in (ccr.folder / "config.json").read_text()


def test_the_copy_works(ccr: Any, old: Path) -> None:
    """The copied configuration is the old text with the JavaScript set aside, and can be used."""
    assert 0 == imported(ccr, old).returncode
    text = (ccr.folder / "config.json").read_text()
    assert "// the old one" in text
    assert '"// CUSTOM_ROUTER_PATH (JavaScript)": "~/.claude-code-router/router.js"' in text
    assert "can be used" in ccr.ok("config", "check")


def test_dry_run(ccr: Any, old: Path) -> None:
    """Only looking writes nothing anywhere, and says the same."""
    said = imported(ccr, old, "--dry-run").stdout
    assert "copied  the configuration" in said
    assert not ccr.folder.exists()


def test_nothing_is_replaced(ccr: Any, old: Path) -> None:
    """What is there already stays; the old configuration is put beside it."""
    ccr.write_config({"Providers": [{"name": "echo", "models": ["echo"]}]})
    (ccr.folder / "auth.json").write_text("{}")
    before = contents(ccr.folder)
    said = imported(ccr, old).stdout
    after = contents(ccr.folder)
    assert before == {name: after[name] for name in before}
    assert "config.imported.json" in after
    assert "ccr start --config" in said
    assert "kept" in said
    again = contents(ccr.folder)
    assert 0 == imported(ccr, old).returncode
    assert again == contents(ccr.folder)


def test_in_place(ccr: Any, old: Path) -> None:
    """Where the old folder is ccr's own, nothing is copied, and the report says what has to be written anew."""
    before = contents(old)
    done = imported(ccr, old, "--json", env={"CCR_HOME": str(old)})
    data = json.loads(done.stdout)
    assert before == contents(old)
    assert set() == {line["state"] for line in data["report"]} - {"kept", "write", "look"}


def test_no_secrets(ccr: Any, old: Path) -> None:
    """The report shows no key."""
    done = imported(ccr, old)
    assert "sk-old" not in done.stdout + done.stderr


def test_running_router(ccr: Any, old: Path) -> None:
    """An older router that still runs is named."""
    (old / ".claude-code-router.pid").write_text(str(os.getpid()))
    assert f"the older router runs (pid {os.getpid()})" in imported(ccr, old).stdout


def test_unusable(ccr: Any, old: Path) -> None:
    """A configuration that cannot be used is copied as it is, with what is wrong, and exit code 1."""
    (old / "config.json").write_text('{"Providers": [], "Router": {"default": "gone,x"}}')
    done = imported(ccr, old)
    assert 1 == done.returncode
    assert 'no provider for "gone,x"' in done.stdout


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_other_folders(ccr: Any, tmp_path: Path, name: str) -> None:
    """A folder that is none, or none of a router, is an error."""
    (tmp_path / "empty").mkdir()
    done = ccr.run("import", str(tmp_path / name))
    assert (1, "") == (done.returncode, done.stdout)
    assert not ccr.folder.exists()
