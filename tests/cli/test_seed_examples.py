"""The examples that the older tool's documentation shows are taken as they stand: by the commands, as people use them.

What requests become with its configurations is tried in tests/test_seed_configs.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from seed_examples import ACCOUNTS, BARE

from ccr_core.cli import statusline

RESPONSES, CHAT, CODE_ASSIST = "openai-responses", "openai-chat", "code-assist"
WHERE = {
    "codex": (RESPONSES, "https://chatgpt.com/backend-api/codex/responses", "sign-in codex"),
    "copilot": (CHAT, "https://api.githubcopilot.com/chat/completions", "sign-in copilot"),
    "gemini": (CODE_ASSIST, "https://cloudcode-pa.googleapis.com/v1internal", "sign-in gemini"),
    "openrouter": (CHAT, "https://openrouter.ai/api/v1/chat/completions", "set"),
}


def write(ccr: Any, text: str) -> None:
    ccr.folder.mkdir(parents=True, exist_ok=True)
    (ccr.folder / "config.json").write_text(text)


@pytest.mark.parametrize(("text", "warnings"), [(ACCOUNTS, 0), (BARE, 1)], ids=["accounts", "without routes"])
def test_configuration(ccr: Any, text: str, warnings: int) -> None:
    """It can be used; every provider is reached where its account is served; every route leads where it says."""
    write(ccr, text)
    given = json.loads(text)
    env = {"OPENROUTER_API_KEY": "k"}
    found = json.loads(ccr.ok("config", "check", "--json", env=env))
    assert (True, warnings) == (found["ok"], len(found["warnings"])), found
    rows = json.loads(ccr.ok("provider", "list", "--json", env=env))
    assert {each["name"]: WHERE[each["name"]] for each in given["Providers"]} == {
        each["name"]: (each["dialect"], each["url"], each["key"]) for each in rows
    }
    listed = json.loads(ccr.ok("model", "list", "--json", env=env))
    routes = {key: value for key, value in given.get("Router", {}).items() if key != "longContextThreshold"}
    assert routes.items() <= listed["routes"].items()
    models = {each["name"]: each["models"] for each in given["Providers"]}
    assert models == listed["models"]
    assert text == (ccr.folder / "config.json").read_text()


def test_javascript(ccr: Any) -> None:
    """A transformer or a router in JavaScript is not run; it is said what to write, and where the file names it."""
    write(ccr, '{"transformers": [{"path": "/path/to/custom-transformer.js", "options": {}}]}')
    done = ccr.run("config", "check")
    assert 1 == done.returncode
    assert "transformers[0].path   /path/to/custom-transformer.js is JavaScript; write the transformer in Python" in (
        done.stderr
    )
    write(ccr, '{"CUSTOM_ROUTER_PATH": "/path/to/custom-router.js", "Providers": [{"name": "echo"}]}')
    done = ccr.run("config", "check")
    assert 0 == done.returncode
    assert "/path/to/custom-router.js is not Python" in done.stderr
    assert "write def route(req, config)" in done.stderr


# --- presets ----------------------------------------------------------------------------------------------------

TWO_MODELS = """
{ "name": "two-models", "version": "1.0.0", "description": "…", "keywords": ["demo"],
  "schema": [
    { "id": "vendor", "type": "select", "label": "Vendor", "options": { "type": "providers" },
      "defaultValue": "alpha" },
    { "id": "model", "type": "select", "options": { "type": "models", "providerField": "#{vendor}" },
      "dependsOn": ["vendor"] },
    { "id": "key", "type": "password", "label": "API key" },
    { "id": "proxy", "type": "input", "required": false } ],
  "Providers": [ { "name": "alpha", "api_base_url": "https://alpha.example/v1/chat/completions", "api_key": "#{key}",
    "models": ["a1", "a2"] } ],
  "Router": { "default": "#{vendor},#{model}" },
  "configMappings": [
    { "target": "PROXY_URL", "value": "#{proxy}", "when": { "field": "proxy", "operator": "ne", "value": "" } } ],
  "StatusLine": { "enabled": true, "currentStyle": "default",
    "default": { "modules": [ { "type": "script", "scriptPath": "scripts/line.js", "text": "" } ] } } }
"""
LINE = "module.exports = (variables, options) => `${variables.model} of ${variables.workDirName}`\n"


def test_preset(ccr: Any, tmp_path: Path) -> None:
    """Installed with its questions, it is a configuration of its own, with a status line of its own."""
    write(ccr, '{"PORT": 0, "Providers": [{"name": "echo", "models": ["echo"]}]}')
    folder = tmp_path / "two-models"
    (folder / "scripts").mkdir(parents=True)
    (folder / "manifest.json").write_text(TWO_MODELS)
    (folder / "scripts" / "line.js").write_text(LINE)
    answers = json.dumps({"model": "a2", "key": "sk-two", "proxy": ""})

    done = ccr.run("preset", "install", str(folder), "--answers", "-", input=answers)
    assert 1 == done.returncode
    for said in ("runs the code in scripts/line.js", "sends requests, and the keys given for them, to alpha.example"):
        assert said in done.stdout + done.stderr
    ccr.ok("preset", "install", str(folder), "--answers", "-", "--yes", input=answers)

    info = json.loads(ccr.ok("preset", "info", "two-models", "--json"))
    assert ({"default": "alpha,a2"}, ["alpha"], [], False) == tuple(
        info[key] for key in ("routes", "providers", "missing", "changed")
    )
    assert "/preset/two-models\n" in ccr.ok("two-models", "--print-env")
    ccr.client("print(settings['statusLine']['command'].split()[-2:])")
    assert "['statusline', 'two-models']\n" == ccr.ok("two-models")


@pytest.mark.parametrize("node", [node] if (node := shutil.which("node")) else [])
def test_script_of_a_preset(ccr: Any, node: str) -> None:
    """The example's script, in JavaScript as it is, makes the line where there is node, as in CI."""
    write(ccr, '{"Providers": [{"name": "echo", "models": ["echo"]}], "Router": {"default": "echo,echo"}}')
    folder = ccr.folder / "presets" / "two-models"
    (folder / "scripts").mkdir(parents=True)
    (folder / "manifest.json").write_text(TWO_MODELS)
    (folder / "scripts" / "line.js").write_text(LINE)
    given = {"model": {"display_name": "Opus"}, "workspace": {"current_dir": "/tmp/here"}}
    assert "echo of here\n" == ccr.ok("statusline", "two-models", input=json.dumps(given))


# --- status lines -----------------------------------------------------------------------------------------------

ICONS = ("\U000f024b", "\ue725", "\U000f06a9", "↑", "↓")
TEXTS = ("{{workDirName}}", "{{gitBranch}}", "{{model}}", "{{inputTokens}}", "{{outputTokens}}")
KINDS = ("workDir", "gitBranch", "model", "usage", "usage")
COLOURS = ("blue", "magenta", "cyan", "green", "yellow")
ROWS = list(zip(KINDS, ICONS, TEXTS, COLOURS, strict=True))
THEMES: dict[str, list[dict[str, str]]] = {
    "default": [
        {"type": kind, "icon": icon, "text": text, "color": f"bright_{colour}"} for kind, icon, text, colour in ROWS
    ],
    "powerline": [
        {"type": kind, "icon": icon, "text": text, "color": "white", "background": f"bg_bright_{colour}"}
        for kind, icon, text, colour in ROWS
    ],
    "simple": [
        {"type": kind, "icon": icon if kind == "usage" else "", "text": text, "color": f"bright_{colour}"}
        for kind, icon, text, colour in ROWS
    ],
    "full": [
        *(
            {"type": kind, "icon": icon, "text": text, "color": f"bright_{colour}"}
            for kind, icon, text, colour in ROWS[:3]
        ),
        {
            "type": "context",
            "icon": "🪟",
            "text": "{{contextPercent}}% / {{contextWindowSize}}",
            "color": "bright_green",
        },
        {"type": "speed", "icon": "⚡", "text": "{{tokenSpeed}} t/s {{isStreaming}}", "color": "bright_yellow"},
        {"type": "cost", "icon": "💰", "text": "{{cost}}", "color": "bright_magenta"},
        {"type": "duration", "icon": "⏱️", "text": "{{duration}}", "color": "bright_white"},
        {"type": "lines", "icon": "📝", "text": "+{{linesAdded}}/-{{linesRemoved}}", "color": "bright_cyan"},
    ],
}
"""The older tool's themes, as its own settings page writes them into a configuration."""


@pytest.mark.parametrize("name", THEMES)
def test_themes(ccr: Any, name: str) -> None:
    """Written out, a theme is the built-in one of its name, in letters and in colours."""
    given = json.dumps(
        {
            "model": {"display_name": "Opus"},
            "workspace": {"current_dir": "/tmp/here"},
            "cost": {"total_cost_usd": 1.5, "total_duration_ms": 90_000, "total_lines_added": 3},
            "context_window": {
                "context_window_size": 200_000,
                "current_usage": {"input_tokens": 1600, "output_tokens": 20},
            },
        }
    )
    shown = []
    for line in ({"currentStyle": name, name: {"modules": THEMES[name]}}, {"currentStyle": name}):
        write(ccr, json.dumps({"StatusLine": {"enabled": True, **line}}))
        shown.append(ccr.ok("statusline", input=given))
    assert shown[0] == shown[1]
    for part in ("here", "Opus", *(("1% / 200k", "$1.50", "1m30s", "+3/-0") if name == "full" else ("1.6k", "20"))):
        assert part in shown[0]
    assert THEMES[name] == statusline.theme_named(name)
