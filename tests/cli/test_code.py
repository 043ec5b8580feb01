"""`ccr code`: arguments, environment, settings, exit codes, and who stops the router."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ccr_core.cli import process
from ccr_core.cli.code import merged, split_settings
from ccr_core.cli.environment import NO_KEY, REMOVED, environment, goes_to_anthropic, past_proxy, window_of_default
from ccr_core.config import Config, from_document
from ccr_core.errors import CcrError

REPORT = "print(json.dumps({'args': args, 'env': env, 'settings': settings}))"


def reported(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What the client has seen."""
    assert 0 == done.returncode, done.stderr
    return dict(json.loads(done.stdout))


def config(**keys: Any) -> Config:
    """A configuration with one provider, which is the default."""
    provider = {"name": "up", "api_base_url": "https://up.example/v1", "api_key": "k", "models": ["m"]}
    return from_document({"Providers": [provider], **keys}, {})


def test_arguments_are_verbatim(ccr: Any) -> None:
    """Arguments reach the client in order and unchanged, behind our settings."""
    ccr.write_config({})
    ccr.client(REPORT)
    given = ["-p", "two words", "--flag=v", "--no-x", "007", "--help", "", "$HOME;ls", "--", "--settings", "x", "-d"]
    seen = reported(ccr.run("code", *given))
    assert "--settings" == seen["args"][0]
    assert given == seen["args"][2:]


def test_environment_of_the_client(ccr: Any) -> None:
    """The client finds the router, its key and the hints; what leads past the router is gone."""
    ccr.write_config({"APIKEY": "s3cret"})
    ccr.client(REPORT)
    there = {**dict.fromkeys(REMOVED, "1"), "NO_PROXY": "example.com", "no_proxy": "a.example", "OTHER": "stays"}
    seen = reported(ccr.run("code", env=there))
    url = seen["env"]["ANTHROPIC_BASE_URL"]
    assert url.startswith("http://127.0.0.1:")
    expected = {
        "ANTHROPIC_AUTH_TOKEN": "s3cret",
        "NO_PROXY": "example.com,127.0.0.1,localhost",
        "no_proxy": "a.example,127.0.0.1,localhost",
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
        "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        "API_TIMEOUT_MS": "600000",
        "DISABLE_COST_WARNINGS": "true",
        "DISABLE_TELEMETRY": "true",
    }
    assert {**expected, "OTHER": "stays"} == {name: seen["env"].get(name) for name in [*expected, "OTHER"]}
    assert [] == [name for name in REMOVED if name in seen["env"]]
    wanted = {**expected, "ANTHROPIC_BASE_URL": url, **dict.fromkeys(REMOVED, "")}
    assert {"env": wanted} == seen["settings"]


OWN_LOGIN = {
    "Providers": [{"name": "claude", "auth_type": "oauth", "oauth_provider": "anthropic", "models": ["m"]}],
    "Router": {"default": "claude,m"},
}


def test_the_clients_own_login(ccr: Any) -> None:
    """Where requests go with the client's own login, it keeps that, and the router's key goes beside it."""
    ccr.write_config({"APIKEY": "s3cret", **OWN_LOGIN})
    ccr.client(REPORT)
    there = {"CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-x", "ANTHROPIC_AUTH_TOKEN": "old", "ANTHROPIC_API_KEY": "old"}
    seen = reported(ccr.run("code", env={**there, "ANTHROPIC_CUSTOM_HEADERS": "x-mine: 1\nX-CCR-Key: old"}))

    names = (*there, "ANTHROPIC_CUSTOM_HEADERS", "CLAUDE_CODE_ATTRIBUTION_HEADER")
    assert {
        "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-x",
        "ANTHROPIC_CUSTOM_HEADERS": "x-mine: 1\nx-ccr-key: s3cret",
    } == {name: seen["env"][name] for name in names if name in seen["env"]}
    settings = seen["settings"]["env"]
    assert {"ANTHROPIC_AUTH_TOKEN": "", "ANTHROPIC_API_KEY": ""} == {
        name: settings[name] for name in there if name in settings
    }
    assert "x-mine: 1\nx-ccr-key: s3cret" == settings["ANTHROPIC_CUSTOM_HEADERS"]


@pytest.mark.parametrize(
    ("provider", "own"),
    [
        ({"auth_type": "oauth", "oauth_provider": "anthropic"}, True),
        ({"name": "anthropic", "auth_type": "oauth"}, True),
        ({"auth_type": "oauth", "oauth_provider": "anthropic-managed"}, False),
        ({"api_base_url": "https://api.anthropic.com/v1/messages", "api_key": "k"}, False),
    ],
    ids=str,
)
def test_whose_login(provider: dict[str, Any], own: bool) -> None:
    """Only that sign-in uses the client's login; every other one is given a token by the router."""
    entry = {"name": "p", "models": ["m"], **provider}
    given = environment(
        from_document({"Providers": [entry], "Router": {"default": f"{entry['name']},m"}}, {}), "http://127.0.0.1:1", {}
    )

    assert own == ("ANTHROPIC_AUTH_TOKEN" in given.removed) == ("ANTHROPIC_AUTH_TOKEN" not in given.always)
    assert own == ("CLAUDE_CODE_OAUTH_TOKEN" not in given.removed)
    assert "ANTHROPIC_CUSTOM_HEADERS" not in given.always


def test_headers_of_the_users_settings() -> None:
    """The router's key is added to the headers of the user's own settings."""
    given = environment(from_document({"APIKEY": "k", **OWN_LOGIN}, {}), "http://127.0.0.1:1", {})

    variables = merged(given, {"env": {"ANTHROPIC_CUSTOM_HEADERS": "x-a: 1\nx-ccr-key: old\nx-b: 2"}}, {})["env"]

    assert "x-a: 1\nx-b: 2\nx-ccr-key: k" == variables["ANTHROPIC_CUSTOM_HEADERS"]


def test_settings_are_merged(ccr: Any, tmp_path: Path) -> None:
    """The user's own settings are kept, except for what makes the connection."""
    ccr.write_config({})
    ccr.client(REPORT)
    own = {
        "permissions": {"allow": ["Bash"]},
        "env": {"MINE": "1", "DISABLE_TELEMETRY": "false", "ANTHROPIC_BASE_URL": "https://elsewhere.example"},
    }
    (tmp_path / "own.json").write_text(json.dumps(own))
    for given in (["--settings", "own.json"], [f"--settings={json.dumps(own)}"]):
        seen = reported(ccr.run("code", *given, "hi"))
        assert ["--settings", "hi"] == [seen["args"][0], *seen["args"][2:]]
        env = seen["settings"]["env"]
        assert {"allow": ["Bash"]} == seen["settings"]["permissions"]
        assert ("1", "false") == (env["MINE"], env["DISABLE_TELEMETRY"])
        assert env["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("missing.json", "cannot read the settings missing.json: No such file or directory"),
        ("{", "the settings { are not JSON"),
        ('{"env": 1}', "no JSON object"),
    ],
)
def test_unusable_settings(given: str, reason: str) -> None:
    """Settings that cannot be read are an error that says which."""
    with pytest.raises(CcrError, match=reason.replace("{", "\\{")):
        split_settings(["--settings", given])


@pytest.mark.parametrize(
    ("args", "rest"),
    [
        (["--", "--settings", "x"], ["--", "--settings", "x"]),
        (["a", "--settings"], ["a", "--settings"]),
        (["--settings", "{}", "a", "--settings={}"], ["a"]),
    ],
)
def test_where_settings_are_looked_for(args: list[str], rest: list[str]) -> None:
    """Settings are ours to merge only where the client would take them as such."""
    assert ({}, rest) == split_settings(args)


def test_settings_file_is_private_and_temporary(ccr: Any) -> None:
    """The file with the key can be read by the user alone, and is gone with the client."""
    ccr.write_config({})
    ccr.client("path = args[1]\nprint(json.dumps([path, oct(os.stat(path).st_mode & 0o777)]))")
    (ccr.folder / "client-999999999.json").write_text("left over by a launcher that was killed")
    path, mode = json.loads(ccr.ok("code"))
    assert "0o600" == mode
    assert not Path(path).exists()
    assert [] == list(ccr.folder.glob("client-*.json"))


@pytest.mark.parametrize(("body", "code"), [("sys.exit(7)", 7), ("os.kill(os.getpid(), 15)", 143), ("sys.exit(0)", 0)])
def test_exit_code(ccr: Any, body: str, code: int) -> None:
    """The exit code is the client's; 128 and the number if a signal ended it."""
    ccr.write_config({})
    ccr.client(body)
    assert code == ccr.run("code").returncode


def test_standard_input(ccr: Any) -> None:
    """What is piped in reaches the client, also in non-interactive mode."""
    ccr.write_config({"NON_INTERACTIVE_MODE": True})
    ccr.client("print(sys.stdin.read(), env['CI'], env['TERM'], settings['env']['FORCE_COLOR'])")
    assert "piped true dumb 0\n" == ccr.ok("code", "-p", input="piped")


def test_client_is_missing(ccr: Any) -> None:
    """Without the client: how to install it, exit code 127, and no router is started for nothing."""
    ccr.write_config({"CLAUDE_PATH": "no-such-client"})
    done = ccr.run("code")
    assert 127 == done.returncode
    assert 'error: Claude Code was not found ("no-such-client"); install it with: npm install -g' in done.stderr
    assert {} == ccr.state


def test_client_elsewhere(ccr: Any) -> None:
    """CLAUDE_PATH names the program, in the configuration or the environment."""
    path = ccr.client("print('mine')").rename(ccr.root / "my client")
    ccr.write_config({})
    assert "mine\n" == ccr.ok("code", env={"CLAUDE_PATH": str(path)})
    ccr.write_config({"CLAUDE_PATH": str(path)})
    assert "mine\n" == ccr.ok("code")


def test_router_that_was_started_for_the_client_ends_with_it(ccr: Any) -> None:
    """A router that `ccr code` starts is gone afterwards, and was running meanwhile."""
    ccr.write_config({})
    ccr.client(
        "import urllib.request\nprint(json.load(urllib.request.urlopen(env['ANTHROPIC_BASE_URL'] + '/health'))['pid'])"
    )
    pid = int(ccr.ok("code"))
    assert not process.exists(pid)
    assert {} == ccr.state


def test_router_of_the_user_stays(ccr: Any) -> None:
    """A router that the user started is used and left running."""
    ccr.write_config({})
    ccr.client(REPORT)
    ccr.ok("start", "-d")
    pid = ccr.state["pid"]
    seen = reported(ccr.run("code"))
    assert f"http://127.0.0.1:{ccr.state['port']}" == seen["env"]["ANTHROPIC_BASE_URL"]
    assert pid == ccr.state["pid"]
    assert process.exists(pid)


def test_last_user_stops_the_router(ccr: Any, wait_for: Callable[..., Any]) -> None:
    """Of two clients the first to go leaves the router, and the last one stops it."""
    ccr.write_config({})
    gates = [ccr.root / f"gate{number}" for number in range(2)]
    for gate in gates:
        os.mkfifo(gate)
    ccr.client("open(env['GATE']).read()")
    children = [ccr.begin("code", env={"GATE": str(gate)}) for gate in gates]
    writers = [gate.open("w") for gate in gates]  # each waits until its client reads
    pid = ccr.state["pid"]
    writers[0].close()
    assert 0 == children[0].wait(30)
    assert process.exists(pid)
    writers[1].close()
    assert 0 == children[1].wait(30)
    assert not process.exists(pid)


def test_killed_launcher(ccr: Any, wait_for: Callable[..., Any]) -> None:
    """A client whose launcher was killed is still a user; when it is gone the next launcher stops the router."""
    ccr.write_config({})
    gate = ccr.root / "gate"
    os.mkfifo(gate)
    ccr.client("if 'GATE' in env:\n    open(env['GATE']).read()")
    child = ccr.begin("code", env={"GATE": str(gate)})
    writer = gate.open("w")
    pid = ccr.state["pid"]
    child.kill()
    child.wait(30)
    ccr.ok("code")
    assert process.exists(pid)
    writer.close()
    wait_for(lambda: ccr.run("code").returncode == 0 and not process.exists(pid))


def test_no_terminal_in_non_interactive_mode(ccr: Any) -> None:
    """In non-interactive mode the client gets no terminal to ask at."""
    ccr.write_config({"NON_INTERACTIVE_MODE": True})
    ccr.client("print(repr(sys.stdin.read()))")
    outer, inner = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ccr_core.cli", "code"],
            env=ccr.env,
            stdin=inner,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        os.close(outer)
        os.close(inner)
    assert "''\n" == done.stdout


def test_start_makes_the_router_the_users(ccr: Any) -> None:
    """`ccr start` while a client's own router runs keeps it beyond the client."""
    ccr.write_config({})
    start = [sys.executable, "-m", "ccr_core.cli", "start"]
    ccr.client(f"import subprocess\nsys.exit(subprocess.run({start!r}).returncode)")
    ccr.ok("code")
    assert 0 == ccr.run("status").returncode


def test_signals_reach_the_client(ccr: Any) -> None:
    """SIGTERM is passed on and the client's answer decides; Ctrl-C is the client's business alone."""
    ccr.write_config({})
    gate = ccr.root / "gate"
    os.mkfifo(gate)
    ccr.client(
        "import signal\nsignal.signal(15, lambda *_: sys.exit(5))\nopen(env['GATE'], 'w').write('x')\nsignal.pause()"
    )
    child = ccr.begin("code", env={"GATE": str(gate)})
    gate.read_text()
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGTERM)
    assert 5 == child.wait(30)


def test_router_cannot_start(ccr: Any, taken: int) -> None:
    """When the router cannot start, its own words are shown and the client is not run."""
    ccr.write_config({"PORT": taken})
    ccr.client("print('ran')")
    done = ccr.run("code")
    assert (1, "") == (done.returncode, done.stdout)
    assert f"port {taken} is taken by another program (pid {os.getpid()}" in done.stderr
    assert "(whole output: " in done.stderr


def test_print_env(ccr: Any) -> None:
    """--print-env shows the environment without the key, and starts nothing."""
    ccr.write_config({"PORT": 4567, "APIKEY": "a-long-and-secret-key"})
    lines = ccr.ok("code", "--print-env").splitlines()
    assert "ANTHROPIC_BASE_URL=http://127.0.0.1:4567" in lines
    assert "ANTHROPIC_AUTH_TOKEN=a-l…-key" in lines
    assert "unset ANTHROPIC_API_KEY" in lines
    assert {} == ccr.state


def test_print_env_with_the_clients_login(ccr: Any) -> None:
    """The key is not shown where it is in a header either."""
    ccr.write_config({"APIKEY": "a-long-and-secret-key", **OWN_LOGIN})
    lines = ccr.ok("code", "--print-env").splitlines()
    assert "ANTHROPIC_CUSTOM_HEADERS=x-ccr-key: a-l…-key" in lines
    assert "unset ANTHROPIC_AUTH_TOKEN" in lines
    assert "unset CLAUDE_CODE_OAUTH_TOKEN" not in lines


def test_first_run(ccr: Any) -> None:
    """Without a configuration a first one is written before the client runs, and standard output is the client's."""
    ccr.client("print('answer')")
    (ccr.folder).mkdir()
    (ccr.folder / "config.toml").write_text("PORT = 0\n")
    assert "answer\n" == ccr.ok("code")
    (ccr.folder / "config.toml").unlink()
    done = ccr.run("code", env={"SERVICE_PORT": "0"})
    assert (0, "answer\n") == (done.returncode, done.stdout)
    assert f"a first one is written: {ccr.folder}/config.toml" in done.stderr


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ("", "127.0.0.1,localhost"),
        ("a.example, localhost", "a.example,localhost,127.0.0.1"),
        ("*", "*"),
    ],
)
def test_no_proxy_is_added_to(present: str, expected: str) -> None:
    """What is in NO_PROXY stays, our addresses are added once."""
    assert expected == past_proxy(present, "http://127.0.0.1:3456")


def test_no_proxy_holds_the_router() -> None:
    """A router on another address of the machine is no business of a proxy either."""
    assert "127.0.0.1,localhost,10.0.0.5" == past_proxy("", "http://10.0.0.5:1")


def test_the_users_own_variables_stay() -> None:
    """A variable that tunes the client and is set already is left alone; what makes the connection is not."""
    env = {"API_TIMEOUT_MS": "5", "ANTHROPIC_BASE_URL": "x"}
    chosen = environment(config(), "http://127.0.0.1:1", env).chosen(env)
    assert "API_TIMEOUT_MS" not in chosen
    assert ("http://127.0.0.1:1", NO_KEY) == (chosen["ANTHROPIC_BASE_URL"], chosen["ANTHROPIC_AUTH_TOKEN"])


def test_removed_variables_are_emptied_in_settings() -> None:
    """A settings file cannot remove a variable that another one sets, so it sets it to nothing."""
    given = environment(config(), "http://127.0.0.1:1", {})
    assert dict.fromkeys(REMOVED, "") == {
        name: merged(given, {"env": {"ANTHROPIC_API_KEY": "x"}}, {})["env"][name] for name in REMOVED
    }


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("https://api.anthropic.com/v1/messages", "a", True),
        ("https://notanthropic.com/v1/messages", "a", False),
        (None, "anthropic", True),
        (None, "openai", False),
    ],
)
def test_accounting_line(url: str | None, name: str, expected: bool) -> None:
    """The client's accounting line is left on only towards Anthropic itself."""
    provider = {"name": name, "models": ["m"], **({"api_base_url": url} if url else {})}
    made = from_document({"Providers": [provider], "Router": {"default": f"{name},m"}}, {})
    assert expected == goes_to_anthropic(made)
    names = environment(made, "http://127.0.0.1:1", {}).names()
    assert expected == ("CLAUDE_CODE_ATTRIBUTION_HEADER" not in names)


def test_window_of_the_default_model() -> None:
    """The client is told the window of the default model if the configuration knows it."""
    models = [{"name": "m", "context": 65536}, "n"]
    provider = {"name": "up", "api_base_url": "https://up.example", "api_key": "k", "models": models}
    known = from_document({"Providers": [provider], "Router": {"default": "up,m,high"}}, {})
    unknown = from_document({"Providers": [provider], "Router": {"default": "up,n"}}, {})
    assert (65536, None) == (window_of_default(known), window_of_default(unknown))
    assert "65536" == environment(known, "http://x", {}).unless_set["CLAUDE_CODE_MAX_CONTEXT_TOKENS"]
