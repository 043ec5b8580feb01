"""The commands that only read: plugins list, explain, config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

REQUEST = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
PROVIDER = {
    "name": "up",
    "api_base_url": "https://up.example/v1/messages",
    "api_key": "sk-a-long-and-secret-key",
    "models": ["m", "n"],
    "headers": {"x-api-key": "sk-another-long-and-secret-key"},
}
CONFIG = {"Providers": [PROVIDER], "Router": {"default": "up,m"}}


def plugin(folder: Path, name: str, code: str) -> None:
    """Install a plugin in `folder`."""
    info = folder / f"ccr_plugin_{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ccr-plugin-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ccr]\n{name} = ccr_plugin_{name}\n")
    (folder / f"ccr_plugin_{name}.py").write_text(code)


def listed(ccr: Any, env: dict[str, str]) -> dict[str, Any]:
    """The plugins by name, from JSON."""
    return {each["name"]: each for each in json.loads(ccr.ok("plugins", "list", "--json", env=env))["plugins"]}


RULE = """
from ccr_core import Pass, RuleSpec, hookimpl
@hookimpl
def ccr_rules():
    return [RuleSpec(name="{}", decide=lambda request, ctx: Pass("no"))]
"""


def test_plugins_list(ccr: Any) -> None:
    """Each plugin is listed with distribution, version, state, what it offers, and whether it is used."""
    ccr.write_config({**CONFIG, "disabled_plugins": ["maxtoken"]})
    plugins = listed(ccr, {})
    assert {
        "name": "rule-default",
        "distribution": "ccr-plugin-rule-default",
        "version": plugins["rule-default"]["version"],
        "state": "active",
        "reason": "",
        "offers": {"ccr_rules": ["default"]},
        "used": True,
    } == plugins["rule-default"]
    assert (True, False) == (plugins["anthropic"]["used"], plugins["cleancache"]["used"])
    assert ("disabled", "named in disabled_plugins") == (plugins["maxtoken"]["state"], plugins["maxtoken"]["reason"])
    lines = [line.split()[:5] for line in ccr.ok("plugins", "list").splitlines()]
    assert ["NAME", "DISTRIBUTION", "VERSION", "STATE", "USED"] == lines[0]
    version = plugins["cleancache"]["version"]
    assert ["cleancache", "ccr-plugin-cleancache", version, "active", "no"] in lines


def test_broken_plugins_are_listed(ccr: Any, tmp_path: Path) -> None:
    """Whatever a plugin does when it is loaded, the list works and says who failed how."""
    ccr.write_config(CONFIG)
    site = tmp_path / "site"
    plugin(site, "raises", "raise RuntimeError('out of order')")
    plugin(site, "syntax", "def (")
    plugin(site, "hook", "from ccr_core import hookimpl\n@hookimpl\ndef ccr_rules():\n    yield 1 / 0\n")
    plugin(site, "kind", "from ccr_core import hookimpl\n@hookimpl\ndef ccr_rules():\n    return ['no rule']\n")
    plugin(site, "noisy", "print('{')\n" + RULE.format("noisy"))
    plugins = listed(ccr, {"PYTHONPATH": str(site)})
    states = {name: plugins[name]["state"] for name in ("raises", "syntax", "hook", "kind", "noisy", "anthropic")}
    assert {
        **dict.fromkeys(("raises", "syntax", "hook", "kind"), "failed"),
        **dict.fromkeys(("noisy", "anthropic"), "active"),
    } == states
    assert "RuntimeError: out of order (ccr_plugin_raises.py:1)" == plugins["raises"]["reason"]
    assert "ccr_rules: ZeroDivisionError: division by zero (ccr_plugin_hook.py:4)" == plugins["hook"]["reason"]
    shown = ccr.ok("plugins", "list", env={"PYTHONPATH": str(site)})
    assert "raises is failed: RuntimeError: out of order (ccr_plugin_raises.py:1)" in shown


def test_two_plugins_of_one_name(ccr: Any, tmp_path: Path) -> None:
    """Two plugins that offer the same name are both listed, with the conflict and how to end it."""
    ccr.write_config(CONFIG)
    site = tmp_path / "site"
    plugin(site, "one", RULE.format("same"))
    plugin(site, "two", RULE.format("same"))
    env = {"PYTHONPATH": str(site)}
    found = json.loads(ccr.ok("plugins", "list", "--json", env=env))
    offers = {each["name"]: each["offers"] for each in found["plugins"] if each["name"] in ("one", "two")}
    assert {"one": {"ccr_rules": ["same"]}, "two": {"ccr_rules": ["same"]}} == offers
    assert 'rule "same" is offered by both ccr-plugin-one 1.0 and ccr-plugin-two 1.0; disable one' in found["conflict"]
    assert "note: " in ccr.run("plugins", "list", env=env).stderr


def test_plugins_without_a_usable_configuration(ccr: Any) -> None:
    """A broken configuration does not hide the plugins; what it says of disabled ones still holds."""
    ccr.write_config({"PORT": "x", "disabled_plugins": ["maxtoken"]})
    found = json.loads(ccr.ok("plugins", "list", "--json"))
    states = {each["name"]: (each["state"], each["used"]) for each in found["plugins"]}
    assert (("disabled", None), ("active", None)) == (states["maxtoken"], states["cleancache"])
    assert 'expected an integer, got "x"' in found["configuration"]


def test_explain(ccr: Any) -> None:
    """Every rule's answer, the route, the steps with what they change, and where it would be sent; keys are masked."""
    provider = {**PROVIDER, "transformer": {"use": [["maxtoken", {"max_tokens": 5}]]}}
    ccr.write_config({**CONFIG, "Providers": [provider]})
    found = json.loads(ccr.ok("explain", "--json", input=json.dumps(REQUEST)))
    assert {"provider": "up", "model": "m", "level": None} == found["route"]
    states = {answer["rule"]: answer["state"] for answer in found["rules"]}
    assert ("passed", "passed", "decided") == (states["subagent-tag"], states["explicit"], states["default"])
    assert [("maxtoken", [{"path": "max_tokens", "before": 9, "after": 5}])] == [
        (step["name"], step["changed"]) for step in found["steps"]
    ]
    assert (5, "m", "anthropic") == (found["body"]["max_tokens"], found["body"]["model"], found["dialect"])
    assert "sk-…-key" == found["headers"]["x-api-key"]
    text = ccr.ok("explain", input=json.dumps(REQUEST))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for expected in ("requested claude-x", "route up,m", "max_tokens: 9 -> 5", "header x-api-key: sk-…-key"):
        assert expected in lines
    assert "url https://up.example/v1/messages" in " ".join(lines)
    assert "secret" not in text


def test_explain_a_file_with_headers(ccr: Any, tmp_path: Path) -> None:
    """A request may be a file, headers may be given, and a model named by the client is taken."""
    ccr.write_config(CONFIG)
    (tmp_path / "request.json").write_text(json.dumps({**REQUEST, "model": "up,n"}))
    found = json.loads(ccr.ok("explain", "request.json", "-H", "X-Test: 1", "--json"))
    assert ("n", "explicit") == (found["route"]["model"], found["rule"])
    assert '"messages"' in ccr.ok("explain", "request.json", "--body")
    assert 2 == ccr.run("explain", "request.json", "-H", "no header").returncode


def test_explain_without_a_route(ccr: Any) -> None:
    """When no model would be chosen the reason is an error, exit code 1."""
    ccr.write_config({})
    done = ccr.run("explain", input=json.dumps(REQUEST))
    assert 1 == done.returncode
    assert "error: no rule chose a model" in done.stderr


@pytest.mark.parametrize(
    ("input", "reason"), [("{", "the request is not JSON"), ("[]", "the request is no JSON object"), ("", "not JSON")]
)
def test_explain_nonsense(ccr: Any, input: str, reason: str) -> None:
    """What is no request is told so."""
    ccr.write_config(CONFIG)
    done = ccr.run("explain", input=input)
    assert 1 == done.returncode
    assert reason in done.stderr


def test_config_path(ccr: Any) -> None:
    """The file in use is printed; the other is named on standard error; none is an error."""
    assert 1 == ccr.run("config", "path").returncode
    path = ccr.write_config({})
    (ccr.folder / "config.toml").write_text("")
    done = ccr.run("config", "path")
    assert (f"{path}\n", f"{ccr.folder}/config.toml is not read\n") == (done.stdout, done.stderr)
    found = json.loads(ccr.ok("config", "path", "--json"))
    expected = {"path": str(path), "not_read": [f"{ccr.folder}/config.toml"], "folder": str(ccr.folder)}
    assert expected == found


def test_config_show(ccr: Any) -> None:
    """The configuration is shown as written, without secrets, in its own syntax or as JSON."""
    ccr.write_config({"APIKEY": "$MY_KEY", **CONFIG})
    shown = json.loads(ccr.ok("config", "show", env={"MY_KEY": "resolved"}))
    assert ("$MY_KEY", "sk-…-key") == (shown["APIKEY"], shown["Providers"][0]["api_key"])
    toml = ccr.root / "other.toml"
    toml.write_text('PORT = 1\nAPIKEY = "a-long-and-secret-key"  # mine\n')
    assert 'PORT = 1\nAPIKEY = "a-l…-key"\n' == ccr.ok("config", "show", "--config", str(toml))
    assert {"PORT": 1, "APIKEY": "a-l…-key"} == json.loads(ccr.ok("config", "show", "--json", "--config", str(toml)))


def test_config_check(ccr: Any) -> None:
    """A usable configuration is 0, with its warnings; one that is not is 1, with every problem and its place."""
    path = ccr.write_config({**CONFIG, "Roter": {}})
    done = ccr.run("config", "check")
    assert (0, f"{path} can be used\n") == (done.returncode, done.stdout)
    assert 'warning: unknown key "Roter" is ignored' in done.stderr
    ccr.write_config({"PORT": "x", "Providers": [{**PROVIDER, "modles": []}]})
    bad = ccr.run("config", "check")
    assert (1, "") == (bad.returncode, bad.stdout)
    assert "error: 2 problems in config.json" in bad.stderr
    assert 'Providers[0].modles   unknown key; did you mean "models"?' in bad.stderr
    found = json.loads(ccr.run("config", "check", "--json").stdout)
    assert (False, str(path)) == (found["ok"], found["path"])


def test_config_check_asks_plugins(ccr: Any) -> None:
    """What only a plugin can know is checked too."""
    ccr.write_config({**CONFIG, "transformer": {"use": ["no-such-step"]}})
    assert 'no transformer "no-such-step"' in ccr.run("config", "check").stderr


def test_no_colour_in_pipes(ccr: Any) -> None:
    """What is piped holds no escape sequence."""
    ccr.write_config(CONFIG)
    text = ccr.ok("plugins", "list") + ccr.ok("explain", input=json.dumps(REQUEST)) + ccr.ok("--help")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("env", "colour"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_on_terminals(ccr: Any, env: dict[str, str], colour: bool) -> None:
    """A terminal gets colour, unless NO_COLOR or its kind forbids it."""
    import os
    import subprocess
    import sys

    ccr.write_config(CONFIG)
    outer, inner = os.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "ccr_core.cli", "plugins", "list"],
            env={**ccr.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=inner,
            check=True,
            timeout=60,
        )
        seen = os.read(outer, 4096)
    finally:
        os.close(inner)
        os.close(outer)
    assert colour == (b"\x1b[" in seen)
