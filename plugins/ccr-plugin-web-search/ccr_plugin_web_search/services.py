"""The search services of this package.

Sources: the documentation of SearXNG (search API), Brave (web search API) and Tavily (search endpoint), 2026.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ccr_core import WireReply, WireRequest
from ccr_plugin_web_search.backend import Backend, Found, Query, address, plain, rows

if TYPE_CHECKING:
    from ccr_plugin_web_search import Options


class Searxng(Backend):
    """A SearXNG of one's own; it needs no key."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if not options.url:
            raise ValueError("searxng needs url: the address of your SearXNG, such as http://127.0.0.1:8080")
        self._url = address(options.url, "/search")

    def request(self, query: Query) -> WireRequest:
        """``GET /search?format=json``; the number of results cannot be chosen."""
        given = {"q": query.with_sites, "format": "json"}
        if self.options.language:
            given["language"] = self.options.language
        return WireRequest(method="GET", url=f"{self._url}?{urlencode(given)}", headers={"accept": "application/json"})

    def found(self, body: Any) -> Iterable[Found]:
        """The results, best first."""
        for row in rows(body.get("results")):
            age = row.get("publishedDate")
            text = plain(row.get("content"))
            yield Found(title=plain(row.get("title")), url=str(row.get("url") or ""), text=text, age=age and str(age))

    def refused(self, reply: WireReply) -> str | None:
        """403 is what SearXNG says to a format that is not switched on."""
        if reply.status != 403:
            return None
        return "put json into search.formats in the settings.yml of that SearXNG, or switch off its limiter"


class Brave(Backend):
    """Brave Search; it needs a key."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if not options.api_key:
            raise ValueError("brave needs api_key: a key of the Brave Search API")
        self._url = address(options.url or "https://api.search.brave.com", "/res/v1/web/search")
        self._key = options.api_key

    def request(self, query: Query) -> WireRequest:
        """``GET /res/v1/web/search``, at most 20 results."""
        given = {"q": query.with_sites, "count": str(min(20, query.count))}
        if query.country:
            given["country"] = query.country.upper()
        if self.options.language:
            given["search_lang"] = self.options.language.partition("-")[0]
        headers = {"accept": "application/json", "x-subscription-token": self._key}
        return WireRequest(method="GET", url=f"{self._url}?{urlencode(given)}", headers=headers)

    def found(self, body: Any) -> Iterable[Found]:
        """The web results; further snippets of a page are joined to its description."""
        web = body.get("web")
        for row in rows(web.get("results") if isinstance(web, dict) else None):
            snippets = row.get("extra_snippets")
            texts = [row.get("description"), *(snippets if isinstance(snippets, list) else ())]
            age = row.get("page_age") or row.get("age")
            yield Found(
                title=plain(row.get("title")),
                url=str(row.get("url") or ""),
                text=" ".join(filter(None, map(plain, texts))),
                age=age and str(age),
            )


class Tavily(Backend):
    """Tavily; it needs a key."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        if not options.api_key:
            raise ValueError("tavily needs api_key: a key of Tavily")
        self._url = address(options.url or "https://api.tavily.com", "/search")
        self._key = options.api_key

    def request(self, query: Query) -> WireRequest:
        """``POST /search``, which takes domains by itself."""
        body: dict[str, Any] = {"query": query.text, "max_results": min(20, query.count)}
        for name, domains in (("include_domains", query.allowed), ("exclude_domains", query.blocked)):
            hosts = sorted({domain.partition("/")[0] for domain in domains if name[0] == "i" or "/" not in domain})
            if hosts:
                body[name] = hosts
        headers = {"content-type": "application/json", "authorization": f"Bearer {self._key}"}
        return WireRequest(url=self._url, headers=headers, body=body)

    def found(self, body: Any) -> Iterable[Found]:
        """The results, best first."""
        for row in rows(body.get("results")):
            age = row.get("published_date")
            text = plain(row.get("content"))
            yield Found(title=plain(row.get("title")), url=str(row.get("url") or ""), text=text, age=age and str(age))
