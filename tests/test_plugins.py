"""Finding, loading and containing plugins.

Most tests write real distributions, with their metadata, into a folder on ``sys.path``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ccr_core import ConfigError, Observer, ObserverSpec, RuleSpec, hookimpl
from ccr_core.plugins import HOOKS, Plugin, Registry, load

HEAD = "from ccr_core import Decision, Dialect, RuleSpec, TransformerSpec, Transformer, hookimpl\n"
GOOD = """
@hookimpl
def ccr_rules():
    yield RuleSpec(name="{name}", decide=lambda request, ctx: Decision("p,m", "x"))
"""

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Write a distribution with one module and one entry point; gives the module's name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(
        name: str, code: str, *, point: str | None = None, version: str = "1.0", entry_points: str | None = None
    ) -> str:
        module = f"zz_test_{name}"
        (tmp_path / f"{module}.py").write_text(HEAD + code)
        info = tmp_path / f"zz_{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zz-{name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points or f"[ccr]\n{point or name} = {module}\n")
        return module

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("zz_test_"):
            del sys.modules[name]


def found(registry: Registry) -> dict[str, Plugin]:
    """The plugins that a test installed, by distribution."""
    return {plugin.distribution: plugin for plugin in registry.plugins if plugin.distribution.startswith("zz-")}


def rules(registry: Registry) -> list[str]:
    """The rules that a test's plugins offer."""
    return sorted(name for name, rule in registry.rules.items() if rule.plugin.distribution.startswith("zz-"))


def test_an_installed_plugin(install: Install) -> None:
    """An installed plugin is found, and its values know who offers them."""
    install("good", GOOD.format(name="zz"), version="2.1")

    registry = load(environ={})

    plugin = registry.rules["zz"].plugin
    assert ("good", "zz-good", "2.1", "active", "", {"ccr_rules": ["zz"]}) == (
        plugin.name,
        plugin.distribution,
        plugin.version,
        plugin.state,
        plugin.reason,
        plugin.offers,
    )
    assert "zz-good 2.1" == str(plugin)
    assert {
        "name": "good",
        "distribution": "zz-good",
        "version": "2.1",
        "state": "active",
        "reason": "",
        "offers": {"ccr_rules": ["zz"]},
    } == plugin.to_json()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing' (zz_test_bad.py:2)"),
        ("1 / 0", "ZeroDivisionError: division by zero (zz_test_bad.py:2)"),
        ("def broken(:", "SyntaxError: "),
        ("raise SystemExit(3)", "SystemExit: 3 (zz_test_bad.py:2)"),
        ("@hookimpl\ndef ccr_rules():\n    raise KeyError('x')", "ccr_rules: KeyError: 'x' (zz_test_bad.py:4)"),
        (
            "@hookimpl\ndef ccr_rules():\n    yield RuleSpec(name='early', decide=None)\n    raise OSError('late')",
            "ccr_rules: OSError: late (zz_test_bad.py:5)",
        ),
        ("@hookimpl\ndef ccr_rules():\n    return None", "ccr_rules: TypeError: 'NoneType' object is not iterable"),
        ("@hookimpl\ndef ccr_rules():\n    exit(1)", "ccr_rules: SystemExit: 1"),
        (
            "@hookimpl\ndef ccr_rules():\n    return ['a rule']",
            "ccr_rules: TypeError: ccr_rules gave 'a rule', expected",
        ),
        (
            "@hookimpl\ndef ccr_rules():\n    return [RuleSpec(name='ok', decide=None), Transformer]",
            "ccr_rules: TypeError: ccr_rules gave <class",
        ),
        (
            "@hookimpl\ndef ccr_rules():\n    return [RuleSpec(name='', decide=0)]",
            "ccr_rules: TypeError: ccr_rules gave",
        ),
        ("@hookimpl\ndef ccr_rules():\n    return [RuleSpec(nam='x')]", "ccr_rules: TypeError: "),
        ("@hookimpl\ndef ccr_dialects():\n    return [Dialect()]", "ccr_dialects: AttributeError: "),
        ("@hookimpl\ndef ccr_rule():\n    return []", "TypeError: unknown hook ccr_rule; known: ccr_dialects, "),
        ("@hookimpl\ndef rules():\n    return []", "TypeError: unknown hook rules; known: "),
        ("def ccr_rules():\n    return []", "TypeError: ccr_rules is not marked with @ccr_core.hookimpl"),
        ("@hookimpl\ndef ccr_rules(config):\n    return []", "PluginValidationError: "),
        ("@hookimpl(wrapper=True)\ndef ccr_rules():\n    return (yield)", "ccr_rules: TypeError: "),
    ],
)
def test_a_broken_plugin(install: Install, code: str, reason: str) -> None:
    """A broken plugin is listed with the reason and its place; nothing of it is used; the others work."""
    install("bad", code)
    install("good", GOOD.format(name="zz"))

    registry = load(environ={})

    plugin = found(registry)["zz-bad"]
    assert ("failed", {}) == (plugin.state, plugin.offers)
    assert plugin.reason.startswith(reason)
    assert "\n" not in plugin.reason
    assert ["zz"] == rules(registry)
    assert f"; plugin zz-bad 1.0 failed: {plugin.reason}" == registry.failed()


def test_a_plugin_fails_as_a_whole(install: Install) -> None:
    """If one hook of a plugin fails, the values of its other hooks are not used either, earlier or later ones."""
    install(
        "half",
        GOOD.format(name="zz")
        + "@hookimpl\ndef ccr_transformers():\n    yield TransformerSpec(name='zz-t', factory=Transformer)\n"
        + "@hookimpl\ndef ccr_observers():\n    raise ValueError('x')\n"
        + "@hookimpl\ndef ccr_dialects():\n    return []\n",
    )

    registry = load(environ={})

    assert [] == rules(registry)
    assert "zz-t" not in registry.transformers
    assert ("failed", {}) == (found(registry)["zz-half"].state, found(registry)["zz-half"].offers)


def test_a_missing_attribute(install: Install) -> None:
    """An entry point that names what is not there fails its plugin."""
    install("gone", "", entry_points="[ccr]\ngone = zz_test_gone:plugin\n")

    plugin = found(load(environ={}))["zz-gone"]

    assert "failed" == plugin.state
    assert plugin.reason.startswith("AttributeError: module 'zz_test_gone' has no attribute 'plugin'")


def test_an_object_as_plugin(install: Install) -> None:
    """An entry point may name an object; its methods are the hooks."""
    method = "    @hookimpl\n    def ccr_rules(self):\n        return [RuleSpec(name='zz', decide=None)]\n"
    code = f"class P:\n{method}\nplugin = P()\n"
    install("object", code, entry_points="[ccr]\nobject = zz_test_object:plugin\n")

    assert ["zz"] == rules(load(environ={}))


def test_two_plugins_one_value(install: Install) -> None:
    """Two plugins that offer the same name are an error that names both, with versions, and says how to go on."""
    install("one", GOOD.format(name="zz"), version="1.0")
    install("two", GOOD.format(name="zz"), version="2.0")

    with pytest.raises(ConfigError) as caught:
        load(environ={})

    expected = 'rule "zz" is offered by both zz-one 1.0 and zz-two 2.0; disable one: disabled_plugins = ["two"]'
    assert expected == caught.value.message
    assert ["zz"] == rules(load(environ={}, disabled=["two"]))

    noted: list[str] = []
    registry = load(environ={}, conflicts=noted)
    assert ([expected], ["zz"]) == (noted, rules(registry))
    assert {"one": {"ccr_rules": ["zz"]}, "two": {"ccr_rules": ["zz"]}} == {
        plugin.name: plugin.offers for plugin in registry.plugins if plugin.name in ("one", "two")
    }


@pytest.mark.parametrize(
    ("hook", "noun"),
    [
        ("ccr_dialects", "dialect"),
        ("ccr_ingresses", "ingress"),
        ("ccr_providers", "provider"),
        ("ccr_transformers", "transformer"),
        ("ccr_rules", "rule"),
        ("ccr_token_counters", "token counter"),
        ("ccr_observers", "observer"),
    ],
)
def test_what_is_offered_twice_is_called(hook: str, noun: str) -> None:
    """The error calls the thing what users call it."""
    value = object.__new__(type("Value", (HOOKS[hook],), {"name": "zz"}))
    plugins = [SimpleNamespace(**{hook: hookimpl(lambda: [value])}) for _ in range(2)]
    for plugin in plugins:
        getattr(plugin, hook).__name__ = hook

    with pytest.raises(ConfigError, match=f'^{noun} "zz" is offered by both'):
        load(plugins)


def test_two_plugins_one_entry_point(install: Install) -> None:
    """Two distributions may have chosen the same name for their entry point; both work."""
    install("one", GOOD.format(name="zz-1"), point="same")
    install("two", GOOD.format(name="zz-2"), point="same")

    assert ["zz-1", "zz-2"] == rules(load(environ={}))


@pytest.mark.parametrize("name", ["good", "zz-good"])
def test_disabled(install: Install, name: str) -> None:
    """A plugin is disabled by its name or its distribution, and is then not even imported."""
    module = install("good", "raise RuntimeError('imported')")

    plugin = found(load(environ={}, disabled=[name]))["zz-good"]

    assert ("disabled", "named in disabled_plugins") == (plugin.state, plugin.reason)
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("only", "expected"), [("", []), ("one", ["one"]), (" zz-two , ", ["two"]), ("one,zz-two", ["one", "two"])]
)
def test_only_some(install: Install, only: str, expected: list[str]) -> None:
    """The variable ``CCR_PLUGINS`` names the plugins that are loaded, by name or distribution; empty: none."""
    install("one", GOOD.format(name="one"))
    install("two", GOOD.format(name="two"))

    registry = load(environ={"CCR_PLUGINS": only})

    assert expected == sorted(registry.rules)
    assert {"disabled", "active"} >= {plugin.state for plugin in registry.plugins}


def test_only_what_is_not_there(install: Install) -> None:
    """A name in ``CCR_PLUGINS`` that is not installed is listed as such."""
    registry = load(environ={"CCR_PLUGINS": "zz-typo"})

    assert ("failed", "named in CCR_PLUGINS, but not installed") == (
        found(registry)["zz-typo"].state,
        found(registry)["zz-typo"].reason,
    )


def test_other_distributions_with_broken_metadata(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    """A distribution whose metadata cannot be read, ours or not, is passed over with a warning."""
    install("good", GOOD.format(name="zz"))
    install("broken", "", entry_points="[console_scripts]\nno equals sign\n")

    assert ["zz"] == rules(load(environ={}))
    assert any("metadata of an installed distribution is broken" in record.getMessage() for record in caplog.records)


def test_given_modules() -> None:
    """Given modules and objects are used instead of what is installed."""
    module = ModuleType("ccr_plugin_given")
    module.ccr_rules = hookimpl(_rules)  # type: ignore[attr-defined]

    class Given:
        @hookimpl
        def ccr_observers(self) -> list[ObserverSpec]:
            return [ObserverSpec(name="o", factory=lambda options, home: Observer())]

    registry = load([module, Given()])

    assert [("ccr_plugin_given", "active"), ("Given", "active")] == [(p.name, p.state) for p in registry.plugins]
    assert "ccr-plugin-given" == registry.rules["zz"].plugin.distribution
    assert ["o"] == list(registry.observers)


def _rules() -> list[RuleSpec]:
    return [RuleSpec(name="zz", decide=lambda request, ctx: None)]  # type: ignore[arg-type, return-value]


_rules.__name__ = "ccr_rules"


def test_the_same_object_twice() -> None:
    """The same object given twice fails the second time, with the reason."""
    plugin: Any = SimpleNamespace()

    registry = load([plugin, plugin])

    assert ["active", "failed"] == [plugin.state for plugin in registry.plugins]


def test_no_plugins() -> None:
    """Without plugins everything is empty and nothing has failed."""
    registry = load([])

    assert ((), {}, {}, "") == (registry.plugins, registry.rules, registry.dialects, registry.failed())


def test_entry_points_of_another_class(install: Install) -> None:
    """Where a package has replaced the standard library's metadata by its own, plugins are found all the same."""
    install("good", GOOD.format(name="zz"))
    script = (
        "import importlib_metadata\nfrom ccr_core.plugins import load\nassert 'anthropic' in load(environ={}).dialects"
    )

    assert 0 == subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode
    assert "zz" in load(environ={}).rules
