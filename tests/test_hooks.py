"""Every hook, through the one road by which plugins are called: what goes in comes out in the registry.

There is one ``test_hook_<name>`` per hook; a test at the end insists on it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ccr_core import (
    Auth,
    AuthSpec,
    Catalogue,
    CatalogueSpec,
    CheckSpec,
    Counter,
    CounterSpec,
    Dialect,
    Ingress,
    Observer,
    ObserverSpec,
    PageSpec,
    Pass,
    ProviderSpec,
    RuleSpec,
    ServerTool,
    ServerToolSpec,
    TokenStore,
    TokenStoreSpec,
    Transformer,
    TransformerSpec,
    hookimpl,
    hookspecs,
)
from ccr_core.plugins import HOOKS, Contributed, Registry, load


def offer(hook: str, *values: Any) -> Registry:
    """The registry with one plugin that offers ``values`` by ``hook``, as a generator."""

    def implementation() -> Any:
        yield from values

    implementation.__name__ = hook
    return load([SimpleNamespace(**{hook: hookimpl(implementation)})])


def names(contributed: Any) -> dict[str, Any]:
    assert all(isinstance(value, Contributed) for value in contributed.values())
    return {name: value.value for name, value in contributed.items()}


def test_hook_ccr_dialects() -> None:
    """Dialects come out under their names."""
    dialect = type("One", (Dialect,), {"name": "one"})()

    assert {"one": dialect} == names(offer("ccr_dialects", dialect).dialects)


def test_hook_ccr_ingresses() -> None:
    """Ingresses come out under their names."""
    ingress = type("One", (Ingress,), {"name": "one", "paths": ("/one",)})()

    assert {"one": ingress} == names(offer("ccr_ingresses", ingress).ingresses)


def test_hook_ccr_providers() -> None:
    """Presets come out under their names."""
    one, two = (ProviderSpec(name=name, base_url="http://localhost") for name in ("one", "two"))

    assert {"one": one, "two": two} == names(offer("ccr_providers", one, two).providers)


def test_hook_ccr_transformers() -> None:
    """Transformers come out under their names."""
    spec = TransformerSpec(name="one", factory=Transformer)

    assert {"one": spec} == names(offer("ccr_transformers", spec).transformers)


def test_hook_ccr_rules() -> None:
    """Rules come out under their names."""
    spec = RuleSpec(name="one", decide=lambda request, ctx: Pass("x"))

    assert {"one": spec} == names(offer("ccr_rules", spec).rules)


def test_hook_ccr_token_counters() -> None:
    """Counters come out under their names, not yet made."""
    spec = CounterSpec(name="one", factory=Counter)

    assert {"one": spec} == names(offer("ccr_token_counters", spec).counters)


def test_hook_ccr_catalogues() -> None:
    """Catalogues come out under their names, not yet made."""
    spec = CatalogueSpec(name="one", factory=Catalogue)

    assert {"one": spec} == names(offer("ccr_catalogues", spec).catalogues)


def test_hook_ccr_observers() -> None:
    """Observers come out under their names, not yet made."""
    spec = ObserverSpec(name="one", factory=lambda options, home: Observer())

    assert {"one": spec} == names(offer("ccr_observers", spec).observers)


def test_hook_ccr_server_tools() -> None:
    """Tools that the router runs come out under their names, not yet made."""
    spec = ServerToolSpec(name="one", factory=ServerTool)

    assert {"one": spec} == names(offer("ccr_server_tools", spec).server_tools)


def test_hook_ccr_auth() -> None:
    """Ways to sign in come out under their names, not yet made."""
    spec = AuthSpec(name="one", factory=Auth, base_url="https://one.example", endpoints=(), hosts=())

    assert {"one": spec} == names(offer("ccr_auth", spec).auth)


def test_hook_ccr_token_stores() -> None:
    """Token stores come out under their names, not yet made."""
    spec = TokenStoreSpec(name="one", factory=lambda options, home: TokenStore())

    assert {"one": spec} == names(offer("ccr_token_stores", spec).token_stores)


def test_hook_ccr_checks() -> None:
    """Checks come out under their names, not yet run."""
    spec = CheckSpec(name="one", run=lambda ctx: ())

    assert {"one": spec} == names(offer("ccr_checks", spec).checks)


def test_hook_ccr_pages() -> None:
    """Pages come out under their names, not yet made."""
    spec = PageSpec(name="one", factory=lambda options, router: None)

    assert {"one": spec} == names(offer("ccr_pages", spec).pages)


def hooks() -> dict[str, Callable[..., Any]]:
    """The hooks that ``hookspecs`` declares."""
    return {name: value for name, value in vars(hookspecs).items() if hasattr(value, "ccr_spec")}


def test_every_hook_is_collected() -> None:
    """Whatever is declared is collected, and nothing else."""
    assert set(HOOKS) == set(hooks())


def test_every_hook_is_tested() -> None:
    """Each hook has a test of its own here."""
    tested = {name.removeprefix("test_hook_") for name in globals() if name.startswith("test_hook_")}

    assert set(hooks()) == tested


@pytest.mark.parametrize("name", sorted(hooks()))
def test_every_hook_is_documented(name: str) -> None:
    """A hook says what it is for, when it is called, what to return, what a failure does, and since when."""
    text = inspect.getdoc(hooks()[name]) or ""

    parts = [
        "Offer ",
        "Called once when the router starts",
        "Return any number of ",
        "If this raises, ",
        ".. versionadded::",
    ]
    assert [] == [part for part in parts if part not in text]


@pytest.mark.parametrize("name", sorted(hooks()))
def test_hooks_take_no_arguments_yet(name: str) -> None:
    """Hooks only give values: order, choice and options come from the configuration."""
    assert [] == list(inspect.signature(hooks()[name]).parameters)
