"""What hooks return: small frozen values, keyword-only so that fields can be added.

Each has a ``name``, by which the configuration chooses it.  Nothing here does anything by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from ccr_core.auth import Auth, AuthOptions
from ccr_core.catalogue import Catalogue
from ccr_core.checks import CheckContext, Finding
from ccr_core.dialect import Context, WireRequest
from ccr_core.messages import Headers, Request
from ccr_core.observe import Observer
from ccr_core.routing import Decision, Pass, RouteContext
from ccr_core.servertool import ServerTool, ToolContext
from ccr_core.tokens import Counter
from ccr_core.transform import Transformer

if TYPE_CHECKING:
    from ccr_core.tokenstore import TokenStore


class Embedded(Protocol):
    """An upstream that answers inside the process, instead of over the network."""

    async def __call__(self, wire: WireRequest) -> tuple[int, Headers, AsyncIterator[bytes]]:
        """Answer ``wire`` with status, headers (lower-case) and the body in pieces."""
        ...


@attrs.frozen(kw_only=True)
class TransformerSpec:
    """A transformer.  It does nothing until the configuration names it.

    ``options`` is a frozen attrs class with plain types and defaults (``None``: it takes none; ``dict``: any, given
    as they are written).  ``dialect`` is the
    wire format that naming this transformer implies.  ``dialect_options`` are options of dialects, by the dialect's
    name, that the transformer sets where that dialect is spoken (a function of its options may give them); the
    provider entry's own ``options`` win.  ``auth`` is the way to sign in that naming it implies, unless the entry has
    an ``auth_type``; ``auth_options`` are options of that way, for this entry, made of the transformer's own.
    ``aliases`` are further names that configurations use.
    """

    name: str
    factory: Callable[[Any, Context], Transformer[Any]]
    options: type[Any] | None = None
    dialect: str | None = None
    dialect_options: Mapping[str, Mapping[str, Any]] | Callable[[Any], Mapping[str, Mapping[str, Any]]] = attrs.Factory(
        dict
    )
    auth: str | None = None
    auth_options: Callable[[Any], Mapping[str, Any]] | None = None
    aliases: tuple[str, ...] = ()
    summary: str = ""


@attrs.frozen(kw_only=True)
class RuleSpec:
    """A routing rule.

    ``options`` is an attrs class whose fields are keys of the ``Router`` section.  ``needs`` may hold ``"tokens"``:
    then the size of the request is counted before the rule is asked; a function of the options may say so only when
    it matters.  ``always``: it is asked even after another rule has decided, and then only its changed request
    counts (a tag is stripped from the prompt whoever decides).  ``check`` gets the options and the configuration as
    plain data when the router starts or reloads, and yields what the user should be warned of.

    An option with ``metadata={"route": True}`` holds a route, or a table of routes: one with an unknown provider is
    an error at start.
    """

    name: str
    decide: Callable[[Request, RouteContext], Decision | Pass | Awaitable[Decision | Pass]]
    options: type[Any] | None = None
    needs: frozenset[str] | Callable[[Any], frozenset[str]] = frozenset()
    always: bool = False
    summary: str = ""
    check: Callable[[Any, Mapping[str, Any]], Iterable[str]] | None = None


@attrs.frozen(kw_only=True)
class ProviderSpec:
    """A preset: what is known of a service, so that a configuration need only name it.

    ``key_env`` is the environment variable that usually holds its key.  ``key_style`` is how the key is sent (the
    dialect's own style if absent; ``"none"``: no key is needed).  ``hosts`` are patterns (``*.example.com``,
    ``*:11434``) by which a provider entry with another name is recognised as this service.  ``options`` are options of
    the dialect.  ``transformers`` are steps that the service always needs, run before those of the configuration.
    ``probe`` is a URL of a local server that tells by answering that it is there.  ``key_advice`` says of a key that it
    does not belong here, and where it does; the key itself must not be in the words.
    """

    name: str
    base_url: str
    dialect: str = "openai-chat"
    key_style: str | None = None
    key_env: str | None = None
    models: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    transformers: tuple[str | tuple[str, Mapping[str, Any]], ...] = ()
    options: Mapping[str, Any] = attrs.Factory(dict)
    headers: Headers = attrs.Factory(dict)
    embedded: Embedded | None = None
    probe: str | None = None
    summary: str = ""
    key_advice: Callable[[str], str | None] | None = None


@attrs.frozen(kw_only=True)
class ServerToolSpec:
    """A tool that the router runs itself.

    ``server_tools`` in the configuration gives it options or switches it off; ``default`` says whether it is on
    without being named there.
    """

    name: str
    factory: Callable[[Any, ToolContext], ServerTool[Any]]
    options: type[Any] | None = None
    default: bool = True
    summary: str = ""


@attrs.frozen(kw_only=True)
class CheckSpec:
    """A check of ``ccr doctor``: ``run`` looks at the facts and gives what it finds (nothing: there is nothing to say).

    It runs in the command, never in the router, and mends nothing.
    """

    name: str
    run: Callable[[CheckContext], Iterable[Finding]]
    summary: str = ""


@attrs.frozen(kw_only=True)
class CounterSpec:
    """A token counter for models that match one of the globs ``models``; the most specific glob wins.

    The ``tokenizer`` block of a provider may also name it as its ``type``.  With ``options`` (an attrs class) the
    factory gets an instance of them, and only such a block can choose it; give no globs then.
    """

    name: str
    factory: Callable[..., Counter]
    models: tuple[str, ...] = ("*",)
    options: type[Any] | None = None
    summary: str = ""


@attrs.frozen(kw_only=True)
class CatalogueSpec:
    """A catalogue of models.  It is made at its first use, and asked where the configuration says nothing."""

    name: str
    factory: Callable[[], Catalogue]
    summary: str = ""


@attrs.frozen(kw_only=True)
class ObserverSpec:
    """An observer.  ``wants`` are the observation classes it is shown (none: all but ``Body``); a function of the
    options may say so.

    ``default`` says whether it watches without being named in the configuration.  The factory gets the checked
    options and the directory in which ccr keeps its files.
    """

    name: str
    factory: Callable[[Any, Any], Observer]
    options: type[Any] | None = None
    wants: frozenset[type] | Callable[[Any], frozenset[type]] = frozenset()
    default: bool = True
    summary: str = ""


@attrs.frozen(kw_only=True)
class PageSpec:
    """Something that the server answers beside models: a page for people, or data for programs.

    ``factory`` gets the checked options and the :class:`~ccr_core.pages.Running` router, and gives an ASGI application
    for everything at and below ``path`` (else ``/api/pages/<name>``); it is made at its first request and anew after a
    reload.  ``access``: ``manage`` wants a management token or a session of the web UI, ``key`` the router's key,
    ``open`` nothing; ``Host`` and ``Origin`` are checked for all.

    A page with a ``title`` is shown in the web UI: ``files`` is the folder (a path) of what the browser loads for it,
    served openly below ``/ui/pages/<name>/``, and ``script`` the ES module in it that draws the page.
    """

    name: str
    factory: Callable[[Any, Any], Any] | None = None
    path: str = ""
    access: Literal["manage", "key", "open"] = "manage"
    title: str = ""
    files: str = ""
    script: str = "index.js"
    options: type[Any] | None = None
    default: bool = True
    summary: str = ""

    @property
    def mount(self) -> str:
        """Where the application is, without a slash at its end."""
        return self.path.rstrip("/") or f"/api/pages/{self.name}"


@attrs.frozen(kw_only=True)
class Endpoint:
    """A way into a service that has several: a dialect, and the ``path`` below the service's base URL.

    ``options`` are those of the dialect; ``transformers`` are steps that it always needs.
    """

    name: str
    dialect: str
    path: str
    options: Mapping[str, Any] = attrs.Factory(dict)
    transformers: tuple[str | tuple[str, Mapping[str, Any]], ...] = ()


@attrs.frozen(kw_only=True)
class AuthSpec:
    """A way to sign in, and the service that it opens.

    A provider entry uses it with ``"auth_type": "oauth"`` and its name as ``oauth_provider``.  ``options`` extends
    ``AuthOptions`` and is filled from ``oauth.<name>`` of the configuration.  ``base_url`` and ``endpoints`` say where
    and how models are asked, the usual endpoint first; tokens are sent to ``hosts`` only (patterns).  ``legacy`` are
    hosts that older configurations name; they mean ``base_url``.  ``risk`` is what the vendor says against this
    use: if there is any, each account works only after its owner has read it and agreed.  ``interactive`` says whether
    there is anything to sign in to; without it requests go out with no account.  ``cookies`` are names of cookies by
    which a gatekeeper in front of the service knows a visitor again: they are sent back with the account's next
    requests, and kept in memory only.  ``address_options`` gives options that follow from the address in a provider
    entry, for that entry.
    """

    name: str
    factory: Callable[[Any, str], Auth[Any]]
    base_url: str
    endpoints: tuple[Endpoint, ...]
    hosts: tuple[str, ...]
    options: type[AuthOptions] = AuthOptions
    legacy: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    interactive: bool = True
    risk: str = ""
    summary: str = ""
    cookies: tuple[str, ...] = ()
    address_options: Callable[[str], Mapping[str, Any]] | None = None


@attrs.frozen(kw_only=True)
class TokenStoreSpec:
    """A place where accounts are kept.  ``token_store`` in the configuration chooses one (else ``file``).

    The factory gets the checked options and the directory in which ccr keeps its files.
    """

    name: str
    factory: Callable[[Any, Any], TokenStore]
    options: type[Any] | None = None
    summary: str = ""
