"""The checks that come with ccr, each with facts that are fine and facts that are not."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
import ccr_plugin_checks as plugin
import pytest

from ccr_core import CheckContext, Finding, ProviderFacts

FACTS = CheckContext(
    home="/nowhere",
    cwd="/nowhere",
    environ={},
    version="1.0",
    config_path="/nowhere/config.json",
    router={"state": "stopped"},
    url="http://127.0.0.1:3456",
)
ECHO = ProviderFacts(name="echo", url="embedded:echo", has_key=False, embedded=True)
UNLIKE = {"distribution": "d", "state": "changed", "version": "1", "noted": "1"}
ACME = ProviderFacts(name="acme", url="https://acme.example/v1", has_key=True)


def found(check: Callable[[CheckContext], Iterable[Finding]], **changes: Any) -> list[tuple[str, str, str]]:
    """What a check finds with these facts: level, text and what mends it."""
    return [(each.level, each.text, each.mend) for each in check(attrs.evolve(FACTS, **changes))]


def test_hook() -> None:
    """Each check has a name of its own and a summary that is a sentence."""
    specs = list(plugin.ccr_checks())
    assert 13 == len({spec.name for spec in specs})
    assert [] == [spec.name for spec in specs if not spec.summary.endswith(".")]


@pytest.mark.parametrize(
    ("check", "changes", "expected"),
    [
        (plugin.configuration, {}, ("ok", "can be used", "")),
        (plugin.configuration, {"config_path": None}, ("note", "no configuration yet", "ccr start -d")),
        (plugin.configuration, {"problem": "no comma"}, ("error", "cannot be used: no comma", "ccr config check")),
        (plugin.configuration, {"warnings": ("odd key",)}, ("warning", "odd key", "ccr config check")),
        (plugin.variables, {"unresolved": (("Providers[0].api_key", "KEY"),)}, ("error", "KEY", "export KEY=")),
        (plugin.keys, {"providers": (ACME, ECHO)}, ("ok", "2 provider(s): acme, echo", "")),
        (
            plugin.keys,
            {"providers": (attrs.evolve(ACME, has_key=False),)},
            ("error", "acme has no key", "api_key of acme"),
        ),
        (
            plugin.keys,
            {"providers": (attrs.evolve(ACME, has_key=False, key_env="ACME_KEY"),)},
            ("error", "usually in ACME_KEY", "export ACME_KEY="),
        ),
        (
            plugin.keys,
            {"providers": (attrs.evolve(ACME, has_key=False, oauth="codex"),)},
            ("error", "no account", "ccr auth login codex"),
        ),
        (plugin.keys, {}, ("error", "no provider is configured", "ccr provider add")),
        (
            plugin.accounts,
            {"accounts_problem": "auth.json is broken"},
            ("error", "auth.json is broken", "ccr auth list"),
        ),
        (plugin.router, {}, ("note", "does not run", "ccr start -d")),
        (plugin.router, {"router": {"state": "stuck", "pid": 7}}, ("error", "process 7 exists", "ccr stop")),
        (plugin.router, {"router": {"state": "running", "version": "0.9"}}, ("warning", "version 0.9", "ccr restart")),
        (
            plugin.router,
            {"router": {"state": "running", "version": "1.0", "failed": [{"name": "x", "reason": "bad"}]}},
            ("warning", "does without x: bad", "ccr restart"),
        ),
        (plugin.port, {}, ("ok", "is free", "")),
        (
            plugin.port,
            {"blocked": "port 3456 is taken by another program (pid 9); stop it"},
            ("error", "pid 9", "--port"),
        ),
        (plugin.plugins, {"plugins": ({"state": "active"},)}, ("ok", "1 plugins are active", "")),
        (
            plugin.plugins,
            {"plugins": ({"state": "failed", "distribution": "d", "version": "2", "name": "n", "reason": "bad"},)},
            ("error", "plugin d 2 failed: bad", "ccr plugins disable n"),
        ),
        (plugin.plugins, {"lock": (UNLIKE,)}, ("warning", "d is not as plugins.lock has it: changed", "--accept")),
        (
            plugin.plugins,
            {"lock": (UNLIKE,), "config": {"plugins_lock": "enforce"}},
            ("error", "d is not as plugins.lock has it: changed; so the router does not start", "ccr plugins audit"),
        ),
        (plugin.plugins, {"lock": ({**UNLIKE, "state": "not noted"},)}, ("note", "not noted", "--accept")),
        (
            plugin.plugins,
            {"lock": ({**UNLIKE, "state": "not noted"},), "config": {"plugins_lock": "warn"}},
            ("warning", "not noted", "--accept"),
        ),
        (plugin.plugins, {"lock_problem": "cannot read it"}, ("warning", "cannot read it", "")),
        (
            plugin.plugins,
            {"lock_problem": "cannot read it", "config": {"plugins_lock": "enforce"}},
            ("error", "cannot read it", ""),
        ),
        (
            plugin.environment,
            {"environ": {"CLAUDE_CODE_USE_VERTEX": "1"}},
            ("warning", "past the router", "unset CLAUDE"),
        ),
        (
            plugin.environment,
            {"environ": {"ANTHROPIC_BASE_URL": "https://u:secret@x.example"}},
            ("warning", "https://…@x.example, which is not the router", "ccr activate"),
        ),
        (
            plugin.environment,
            {"environ": {"ANTHROPIC_API_KEY": "a", "ANTHROPIC_AUTH_TOKEN": "b"}},
            ("warning", "are both set", "unset ANTHROPIC_API_KEY"),
        ),
        (plugin.proxy, {"environ": {"HTTPS_PROXY": "http://p"}}, ("warning", "NO_PROXY", "ccr activate")),
        (plugin.proxy, {"proxy": "http://u:secret@p:1"}, ("ok", "through http://…@p:1", "")),
        (plugin.proxy, {"proxy": "p:1"}, ("error", "is no http", "PROXY_URL")),
    ],
)
def test_findings(check: Any, changes: dict[str, Any], expected: tuple[str, str, str]) -> None:
    """The finding has the level, names the thing and says what mends it; no secret is in it."""
    level, text, mend = expected
    seen = found(check, **changes)
    assert [] != [each for each in seen if each[0] == level and text in each[1] and mend in each[2]], seen
    assert "secret" not in str(seen)


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        (plugin.environment, {"environ": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:3456", "ANTHROPIC_AUTH_TOKEN": "x"}}),
        (plugin.proxy, {"environ": {"HTTPS_PROXY": "http://p", "NO_PROXY": "a, 127.0.0.1"}, "config_path": None}),
        (plugin.network, {"providers": (ACME,)}),
        (plugin.settings, {}),
        (plugin.accounts, {}),
    ],
)
def test_nothing_to_say(check: Any, changes: dict[str, Any]) -> None:
    """Where nothing is wrong, or nothing may be looked at, nothing is said."""
    assert [] == found(check, **changes)


@pytest.mark.parametrize(
    ("account", "level"),
    [
        ({"access_expires_at": 1, "refreshable": True}, "ok"),
        ({"access_expires_at": 1}, "error"),
        ({"access_expires_at": time.time() + 3600}, "warning"),
        ({"access_expires_at": time.time() + 100 * 3600}, "ok"),
        ({}, "ok"),
        ({"status": {"state": "dead", "reason": "revoked"}}, "error"),
    ],
)
def test_expiry(account: dict[str, Any], level: str) -> None:
    """A token that cannot be renewed is judged by its end; one that can is fine."""
    seen = found(plugin.accounts, accounts={"codex": {"me": {"label": "me@x", **account}}})
    assert [level] == [each[0] for each in seen]
    assert ("ccr auth login codex" if level != "ok" else "") == seen[0][2]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"apiKeyHelper": "x"}, "apiKeyHelper"),
        ({"env": {"ANTHROPIC_BASE_URL": "https://other.example"}}, "other.example"),
        ({"env": {"ANTHROPIC_API_KEY": "secret"}}, "ANTHROPIC_API_KEY"),
        ({"env": {"CLAUDE_CODE_USE_BEDROCK": "1"}}, "CLAUDE_CODE_USE_BEDROCK"),
        ({"forceLoginMethod": "claudeai"}, "forceLoginMethod"),
        ("{", "cannot be read"),
    ],
)
@pytest.mark.parametrize("place", ["home/.claude/settings.json", "project/.claude/settings.local.json"])
def test_settings(tmp_path: Path, place: str, data: Any, expected: str) -> None:
    """What leads past the router is found in the user's settings and the project's, and no key is shown."""
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    seen = found(plugin.settings, environ={"HOME": str(tmp_path / "home")}, cwd=str(tmp_path / "project"))
    assert ["warning"] == [each[0] for each in seen]
    assert expected in seen[0][1]
    assert str(path) in seen[0][1]
    assert "secret" not in str(seen)


def test_managed_settings_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the machine win over those of ccr code, so they are errors."""
    (tmp_path / "managed.json").write_text('{"apiKeyHelper": "x"}')
    monkeypatch.setattr(plugin, "MANAGED", (str(tmp_path / "managed.json"),))
    assert ["error"] == [each[0] for each in found(plugin.settings)]


@pytest.mark.parametrize(
    ("script", "level", "text"),
    [
        ("echo '2.1.4 (Claude Code)'", "ok", "Claude Code 2.1.4"),
        ("echo '1.0.2'", "warning", "older"),
        ("exit 3", "error", "exit code 3"),
        (None, "error", "was not found"),
    ],
)
def test_client(tmp_path: Path, script: str | None, level: str, text: str) -> None:
    """The client's version is asked for; none, a broken and an old one are told."""
    if script is not None:
        (tmp_path / "claude").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "claude").chmod(0o755)
    seen = found(plugin.client, environ={"PATH": str(tmp_path)})
    assert [level] == [each[0] for each in seen]
    assert text in seen[0][1]


@pytest.mark.parametrize(("name", "level"), [("auth.json", "error"), ("config.json", "warning"), (None, "ok")])
def test_permissions(tmp_path: Path, name: str | None, level: str) -> None:
    """A file that others can read is told, with the command that mends it."""
    tmp_path.chmod(0o700)
    (tmp_path / "auth.json").touch(0o600)
    if name is not None:
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    seen = found(plugin.permissions, home=str(tmp_path))
    assert [level] == [each[0] for each in seen]
    if name is not None:
        assert 0 == os.system(seen[0][2])
        assert 0o600 == stat.S_IMODE((tmp_path / name).stat().st_mode)


def test_writable_folder(tmp_path: Path) -> None:
    """A folder in which others can write is an error."""
    tmp_path.chmod(0o777)
    assert [("error", f"chmod go-rwx {tmp_path}")] == [
        (level, mend) for level, _, mend in found(plugin.permissions, home=str(tmp_path))
    ]


def test_network() -> None:
    """A provider that answers is fine, one that does not is an error; one inside the process is left out."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()[1]
        there = attrs.evolve(ACME, url=f"http://127.0.0.1:{place}/v1")
        assert [("ok", "")] == [
            (level, mend) for level, _, mend in found(plugin.network, network=True, providers=(there, ECHO))
        ]
        proxied = found(plugin.network, network=True, providers=(ACME,), proxy=f"http://127.0.0.1:{place}")
        assert ["ok"] == [each[0] for each in proxied]
    seen = found(plugin.network, network=True, providers=(there,))
    assert [("error", "ccr provider test acme")] == [(level, mend) for level, _, mend in seen]


def test_network_without_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is not trusted is told as such."""

    class Distrust:
        def wrap_socket(self, connection: Any, server_hostname: str) -> Any:
            problem = ssl.SSLCertVerificationError(1, "certificate verify failed")
            problem.verify_message = "self-signed certificate"
            raise problem

    monkeypatch.setattr(ssl, "create_default_context", Distrust)
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = attrs.evolve(ACME, url=f"https://127.0.0.1:{server.getsockname()[1]}/v1")
        seen = found(plugin.network, network=True, providers=(there,))
    assert "its certificate is not trusted (self-signed certificate)" in seen[0][1]
