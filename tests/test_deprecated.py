"""What is on its way out warns whoever uses it, and keeps its term."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path

import pluggy
import pytest

import ccr_core
from ccr_core import deprecated, hookspecs
from ccr_core.deprecated import Retired
from ccr_core.plugins import HOOKS

GONE = Retired(since="0.2", until="0.4", instead="use ccr_rules")


@pytest.fixture
def retired(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook and a name that go."""
    monkeypatch.setattr(deprecated, "RETIRED", {"ccr_old": GONE, "Route": GONE})


def manager() -> pluggy.PluginManager:
    """A manager with the hooks `ccr_old` and `ccr_new`, marked as ours are."""

    def ccr_old() -> None: ...

    def ccr_new() -> None: ...

    made = pluggy.PluginManager("ccr")
    made.add_hookspecs(types.SimpleNamespace(ccr_old=hookspecs.hookspec(ccr_old), ccr_new=hookspecs.hookspec(ccr_new)))
    return made


def plugin(name: str) -> types.SimpleNamespace:
    def implementation() -> None: ...

    implementation.__name__ = name
    return types.SimpleNamespace(**{name: hookspecs.hookimpl(implementation)})


def test_a_retired_hook(retired: None) -> None:
    """Who implements it is warned with the version in which it goes and what to use; it is called all the same."""
    made = manager()
    with pytest.warns(DeprecationWarning, match="ccr_old") as seen:
        made.register(plugin("ccr_old"))
    text = "ccr_old is deprecated since ccr-core 0.2 and will be removed in 0.4: use ccr_rules"
    assert [text] == [str(each.message) for each in seen]
    assert [None] == [impl.function() for impl in made.hook.ccr_old.get_hookimpls()]


def test_other_hooks(retired: None) -> None:
    """Who implements another one is not (warnings are errors here)."""
    assert manager().register(plugin("ccr_new")) is not None


def test_a_retired_name(retired: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each use of it warns, at the place of its use, and works; other names are silent."""
    monkeypatch.delitem(vars(ccr_core), "Route", raising=False)
    for _ in range(2):
        with pytest.warns(DeprecationWarning, match="Route is deprecated since ccr-core 0.2") as seen:
            from ccr_core import Route
        assert {__file__} == {each.filename for each in seen}
        assert Route.__name__ == "Route"
    monkeypatch.delitem(vars(ccr_core), "Push", raising=False)
    assert ccr_core.Push is not None


def wrong(entries: Mapping[str, Retired], page: str) -> list[str]:
    """What of a table breaks the rules."""
    faults = []
    for name, each in entries.items():
        since, until = (tuple(map(int, version.split(".")[:2])) for version in (each.since, each.until))
        if until[0] == since[0] and until[1] < since[1] + 2:
            faults.append(f"{name} goes too early")
        if name not in HOOKS and name not in ccr_core.__all__:
            faults.append(f"{name} is not there any more")
        if f"`{name}`" not in page:
            faults.append(f"{name} has no line in api-changes.md")
    return faults


def test_the_table() -> None:
    """Every entry keeps the promise of two minor releases, names something that is there, and is on the page."""
    page = (Path(__file__).parents[1] / "docs" / "api-changes.md").read_text()
    assert [] == wrong(deprecated.RETIRED, page)


def test_a_wrong_table() -> None:
    """An entry that breaks the promise is found."""
    early = Retired(since="0.2", until="0.3", instead="nothing")
    found = wrong({"Route": early, "nothing": GONE, "Push": Retired("0.9", "1.0", "x")}, "`Push`")
    assert [
        "Route goes too early",
        "Route has no line in api-changes.md",
        "nothing is not there any more",
        "nothing has no line in api-changes.md",
    ] == found


def test_it_costs_nothing() -> None:
    """The table is light: nothing but the standard library is loaded for it."""
    script = "import ccr_core.deprecated, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set() == {"attrs", "pluggy", "click"} & set(done.stdout.split())
