"""Every hook there is.

Hooks are plain synchronous functions that return values.  They are called when the router starts and when it reloads
its configuration, never during a request.  A plugin implements any of them with ``ccr_core.hookimpl`` in the module
that its entry point (group ``ccr``) names::

    [project.entry-points.ccr]
    foo = "ccr_plugin_foo"

If an implementation raises, none of that plugin's values are used, and ``ccr plugins list`` shows it as failed with
the reason; all other plugins work on.  Two plugins that offer the same name are an error at start that names both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pluggy

from ccr_core import deprecated
from ccr_core.dialect import Dialect, Ingress
from ccr_core.spec import (
    AuthSpec,
    CatalogueSpec,
    CheckSpec,
    CounterSpec,
    ObserverSpec,
    PageSpec,
    ProviderSpec,
    RuleSpec,
    ServerToolSpec,
    TokenStoreSpec,
    TransformerSpec,
)

F = TypeVar("F", bound=Callable[..., Any])

_specification = pluggy.HookspecMarker("ccr")
hookimpl = pluggy.HookimplMarker("ccr")


def hookspec(function: F) -> F:
    """Mark a function as a hook; who implements one that is retired is warned (:mod:`ccr_core.deprecated`)."""
    return _specification(function, warn_on_impl=deprecated.warning_for(function.__name__))


@hookspec
def ccr_dialects() -> Iterable[Dialect]:  # type: ignore[empty-body]
    """Offer formats in which the router can speak to providers.

    Called once when the router starts and once per reload.

    Return any number of :class:`~ccr_core.dialect.Dialect` instances; they are stateless and shared.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_ingresses() -> Iterable[Ingress]:  # type: ignore[empty-body]
    """Offer formats that clients may speak, and the paths on which they do.

    Called once when the router starts and once per reload; the server then answers on the paths.

    Return any number of :class:`~ccr_core.dialect.Ingress` instances; they are stateless and shared.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_providers() -> Iterable[ProviderSpec]:  # type: ignore[empty-body]
    """Offer presets of services: data only.

    Called once when the router starts, once per reload, and for the first-run configuration.

    Return any number of :class:`~ccr_core.spec.ProviderSpec`.  A preset does nothing until a provider entry of the
    configuration bears its name, or a base URL on one of its hosts.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_transformers() -> Iterable[TransformerSpec]:  # type: ignore[empty-body]
    """Offer transformers to the configuration.

    Called once when the router starts and once per reload.

    Return any number of :class:`~ccr_core.spec.TransformerSpec`.  A transformer does nothing until the configuration
    names it.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_rules() -> Iterable[RuleSpec]:  # type: ignore[empty-body]
    """Offer routing rules.

    Called once when the router starts and once per reload.

    Return any number of :class:`~ccr_core.spec.RuleSpec`.  A rule is asked if ``Router.rules`` names it, or, when
    that is not set, if it is one of the default order.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_token_counters() -> Iterable[CounterSpec]:  # type: ignore[empty-body]
    """Offer token counters.

    Called once when the router starts and once per reload; a counter is made at its first use.

    Return any number of :class:`~ccr_core.spec.CounterSpec`.

    If this raises, the plugin is listed as failed and none of its values are used; counts are then estimates.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_catalogues() -> Iterable[CatalogueSpec]:  # type: ignore[empty-body]
    """Offer catalogues of models: windows, output limits, prices.

    Called once when the router starts and once per reload; a catalogue is made at its first use.

    Return any number of :class:`~ccr_core.spec.CatalogueSpec`.  They are asked where the configuration says nothing
    of a model, in the order of their names.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_observers() -> Iterable[ObserverSpec]:  # type: ignore[empty-body]
    """Offer observers, which watch exchanges and can change nothing.

    Called once when the router starts and once per reload.

    Return any number of :class:`~ccr_core.spec.ObserverSpec`.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_server_tools() -> Iterable[ServerToolSpec]:  # type: ignore[empty-body]
    """Offer tools that the router runs itself, inside an exchange.

    Called once when the router starts and once per reload; a tool is made for each attempt and decides then whether
    it has a part in the request.

    Return any number of :class:`~ccr_core.spec.ServerToolSpec`.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_checks() -> Iterable[CheckSpec]:  # type: ignore[empty-body]
    """Offer checks to ``ccr doctor``.

    Called once when the router starts and once per reload, as all hooks are; the checks run only in ``ccr doctor``.

    Return any number of :class:`~ccr_core.spec.CheckSpec`.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_auth() -> Iterable[AuthSpec]:  # type: ignore[empty-body]
    """Offer ways to sign in to services, other than with an API key.

    Called once when the router starts, once per reload, and by ``ccr auth``.

    Return any number of :class:`~ccr_core.spec.AuthSpec`.  A way does nothing until a provider entry of the
    configuration names it as its ``oauth_provider``, or the user signs in with it.

    If this raises, the plugin is listed as failed and none of its values are used.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_token_stores() -> Iterable[TokenStoreSpec]:  # type: ignore[empty-body]
    """Offer places where accounts and their tokens are kept.

    Called once when the router starts, once per reload, and by ``ccr auth``; the one that the configuration chooses
    is made at its first use.

    Return any number of :class:`~ccr_core.spec.TokenStoreSpec`.

    If this raises, the plugin is listed as failed and none of its values are used.  Another store is never used in
    its place.

    .. versionadded:: 0.1
    """


@hookspec
def ccr_pages() -> Iterable[PageSpec]:  # type: ignore[empty-body]
    """Offer what the server answers beside models: pages of the web UI, data for programs.

    Called once when the router starts and once per reload; the application behind a page is made at its first request.

    Return any number of :class:`~ccr_core.spec.PageSpec`.

    If this raises, the plugin is listed as failed and none of its values are used.  If a page fails while it answers,
    that answer is a 500 that names the plugin.

    .. versionadded:: 0.1
    """
