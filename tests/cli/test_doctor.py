"""`ccr doctor`: it works above all when nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ECHO = {"Providers": [{"name": "echo", "models": ["echo"]}], "Router": {"default": "echo,echo"}}


def report(ccr: Any, *args: str, code: int = 1, **options: Any) -> dict[str, list[dict[str, str]]]:
    """What `ccr doctor --json` finds, by check."""
    done = ccr.run("doctor", "--json", *args, **options)
    assert code == done.returncode, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert (code == 0) == data["ok"]
    found: dict[str, list[dict[str, str]]] = {}
    for finding in data["findings"]:
        assert {"check", "level", "text", "mend"} == set(finding)
        found.setdefault(finding["check"], []).append(finding)
    return found


def test_all_is_well(ccr: Any) -> None:
    """With a configuration, a client and a running router nothing is wrong, and the exit code is 0."""
    ccr.client("print('2.1.0')")
    (ccr.bin / "claude").write_text("#!/bin/sh\necho 2.1.0\n")
    ccr.write_config(ECHO).chmod(0o600)
    ccr.ok("start", "-d")
    found = report(ccr, code=0)
    assert {"ok"} == {finding["level"] for findings in found.values() for finding in findings}
    assert ccr.state["pid"] == json.loads(ccr.ok("status", "--json"))["pid"]
    assert f"pid {ccr.state['pid']}" in found["router"][0]["text"]


def test_a_new_machine(ccr: Any) -> None:
    """Without anything the one error is the missing client, and nothing is written."""
    found = report(ccr)
    assert ["client"] == [name for name, all in found.items() if any(each["level"] == "error" for each in all)]
    assert not ccr.folder.exists()


def test_broken_configuration(ccr: Any) -> None:
    """A configuration that cannot be read is one error with its place; everything else is still looked at."""
    ccr.folder.mkdir(parents=True)
    (ccr.folder / "config.json").write_text('{"PORT": 1,,}')
    found = report(ccr)
    assert "line 1, column" in found["configuration"][0]["text"]
    assert "plugins are active" in found["plugins"][0]["text"]


def test_unset_key(ccr: Any) -> None:
    """A variable that is not set is named with the command that sets it, once."""
    providers = [{"name": "deepseek", "api_key": "$DEEP_KEY"}]
    ccr.write_config({"Providers": providers})
    found = report(ccr)
    assert [("error", "export DEEP_KEY=…")] == [(each["level"], each["mend"]) for each in found["variables"]]
    assert "DEEP_KEY" not in str(found["configuration"])


def test_taken_port(ccr: Any, taken: int) -> None:
    """The program that has the port is named."""
    import os

    ccr.write_config({**ECHO, "PORT": taken})
    text = report(ccr)["port"][0]["text"]
    assert f"port {taken} is taken by another program (pid {os.getpid()}" in text


def test_broken_plugin(ccr: Any, tmp_path: Path) -> None:
    """A plugin that fails is an error with the command that leaves it out; a failing check is told, too."""
    site = tmp_path / "site"
    for name, text in (
        ("broken", "raise RuntimeError('no luck')"),
        (
            "checking",
            "from ccr_core import CheckSpec, hookimpl\n@hookimpl\ndef ccr_checks():\n"
            "    yield CheckSpec(name='bad', run=lambda ctx: 1 / 0)\n",
        ),
    ):
        info = site / f"third_{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: third-{name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ccr]\n{name} = third_{name}\n")
        (site / f"third_{name}.py").write_text(text)
    ccr.write_config(ECHO)
    found = report(ccr, env={"PYTHONPATH": str(site)})
    assert "plugin third-broken 1.0 failed: RuntimeError: no luck" in found["plugins"][0]["text"]
    assert "ccr plugins disable broken" == found["plugins"][0]["mend"]
    assert "the check bad of third-checking 1.0 failed: ZeroDivisionError: division by zero" == found["bad"][0]["text"]


def test_without_checks(ccr: Any) -> None:
    """Without the plugin that has the checks that is the error."""
    ccr.write_config(ECHO)
    assert ["checks"] == list(report(ccr, env={"CCR_PLUGINS": "echo"}))


def test_chosen_checks(ccr: Any) -> None:
    """Names choose checks; a wrong one is wrong use, with the nearest name."""
    ccr.write_config(ECHO)
    assert ["keys", "configuration"][::-1] == list(report(ccr, "keys", "configuration", code=0))
    done = ccr.run("doctor", "kays")
    assert 2 == done.returncode
    assert 'there is no check "kays"; did you mean "keys"?' in done.stderr


@pytest.mark.parametrize("quiet", [True, False])
def test_text(ccr: Any, quiet: bool) -> None:
    """For people there is a line each, the command that mends it below; --quiet leaves out what is fine."""
    ccr.write_config({"Providers": [{"name": "deepseek", "api_key": "$DEEP_KEY"}]})
    done = ccr.run("doctor", "variables", "port", *(["--quiet"] if quiet else []))
    assert "variables  error    Providers[0].api_key refers to" in done.stdout
    assert "-> export DEEP_KEY=…" in done.stdout
    assert quiet == ("is free" not in done.stdout)
    assert done.stdout.endswith("1 error(s), 0 warning(s)\n")


def test_secrets_are_not_shown(ccr: Any) -> None:
    """Whatever is found, no key is in it."""
    ccr.write_config({"APIKEY": "sk-secret-1", "Providers": [{"name": "deepseek", "api_key": "sk-secret-2", "x": 1}]})
    done = ccr.run("doctor", "--json", env={"ANTHROPIC_API_KEY": "sk-secret-3", "ANTHROPIC_AUTH_TOKEN": "sk-secret-4"})
    assert "sk-secret" not in done.stdout + done.stderr
