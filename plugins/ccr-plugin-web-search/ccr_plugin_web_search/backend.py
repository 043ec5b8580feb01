"""What a search service is to the router: a request made of a query, and the pages in its answer.

A backend is a class that an entry point of the group :data:`GROUP` names; those of this package are known without one.
It does not speak to anybody itself: the router sends what it makes.
"""

from __future__ import annotations

import html
import importlib.metadata
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from ccr_core import WireReply, WireRequest, loads

if TYPE_CHECKING:
    from ccr_plugin_web_search import Options

GROUP = "ccr.web_search"

OWN = {
    "searxng": "ccr_plugin_web_search.services:Searxng",
    "brave": "ccr_plugin_web_search.services:Brave",
    "tavily": "ccr_plugin_web_search.services:Tavily",
}
"""The backends of this package."""


@attrs.frozen(kw_only=True)
class Query:
    """What is searched for.

    ``text`` are the model's words; ``allowed`` and ``blocked`` are domains, with a path perhaps (``example.com/docs``);
    ``country`` has two letters.  A backend may pass domains on or not: the router leaves out what does not fit.
    """

    text: str
    count: int = 8
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    country: str | None = None

    @property
    def with_sites(self) -> str:
        """The text with the domains in the way that most search engines understand: ``site:``, ``-site:``."""
        prefixes = [domain.removeprefix("*.").partition("*")[0].rstrip("/") for domain in self.allowed]
        sites = " OR ".join(f"site:{prefix}" for prefix in prefixes if prefix)
        parts = [self.text, f"({sites})" if " OR " in sites else sites]
        return " ".join([part for part in parts if part] + [f"-site:{d}" for d in self.blocked if "*" not in d])


@attrs.frozen(kw_only=True)
class Found:
    """A page: its ``text`` is what the service quotes of it, ``age`` when it was written, in any words."""

    title: str
    url: str
    text: str = ""
    age: str | None = None


class Backend:
    """One search service, as the options describe it.  Made when the configuration is read."""

    def __init__(self, options: Options) -> None:
        """Take the options; raise ``ValueError`` saying which is missing."""
        self.options = options

    def request(self, query: Query) -> WireRequest:
        """What is sent for ``query``, signed."""
        raise NotImplementedError

    def found(self, body: Any) -> Iterable[Found]:
        """The pages in a JSON answer."""
        raise NotImplementedError

    def refused(self, reply: WireReply) -> str | None:
        """What helps against a refusal, where this service has something of its own to say."""
        return None


def known() -> dict[str, Any]:
    """Name → what loads the class of each backend there is."""
    points = {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}
    own = {name: importlib.metadata.EntryPoint(name, place, GROUP) for name, place in OWN.items()}
    return {**points, **own}


def make(name: str, options: Options) -> Backend:
    """The backend called ``name``; raise ``ValueError`` if there is none or its options do not do."""
    there = known()
    if name not in there:
        raise ValueError(f'no search backend "{name}"; there are {", ".join(sorted(there))}')
    made: Backend = there[name].load()(options)
    return made


def address(base: str, path: str) -> str:
    """The URL of ``path`` at a service whose address is given with or without that path."""
    parts = urlsplit(base if "://" in base else f"https://{base}")
    own = parts.path.rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, own if own.endswith(path) else own + path, "", ""))


def plain(text: Any) -> str:
    """Text without markup, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", str(text or ""))).split())


def rows(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; nothing of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def body_of(reply: WireReply) -> Any:
    """The JSON of an answer; raise ``ValueError`` if it is none."""
    try:
        return loads(reply.body)
    except ValueError:
        raise ValueError("the answer of the search service is not JSON") from None
