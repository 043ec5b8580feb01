"""Web search for models whose provider has none.

A request may offer Anthropic's server tool ``web_search``, which the provider is to run.  Where it cannot, this tool
puts a function of the same name in its place, runs the calls with a search service, and shows the client the blocks
that Anthropic's own search gives: ``server_tool_use`` and ``web_search_tool_result``.

The text of a result is hidden from the client there (``encrypted_content``); ours is sealed, not encrypted.  When the
client sends it back, it becomes text again: here for models without a search of their own, in the anthropic dialect for
those of Anthropic.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from ccr_core import (
    JSON,
    CcrError,
    Request,
    ServerTool,
    ServerToolSpec,
    ToolCall,
    ToolContext,
    ToolResult,
    error_text,
    hookimpl,
    new_id,
    seal,
    unseal,
)

if TYPE_CHECKING:
    from ccr_plugin_web_search.backend import Backend, Found, Query

FAMILY = "web-search"
"""Under which results are sealed."""

LONGEST = 2000
"""Characters of a page's text that are kept."""


@attrs.frozen(kw_only=True)
class Options:
    """Which service searches, how to reach it, and for whom it does."""

    backend: str | None = None
    url: str | None = None
    api_key: str | None = attrs.field(default=None, repr=False)
    results: int = attrs.field(default=8, validator=attrs.validators.in_(range(1, 21)))
    language: str | None = None
    timeout_s: float = attrs.field(default=20.0, validator=attrs.validators.gt(0))
    native: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Refuse a backend that does not exist or lacks something."""
        if self.backend is not None:
            self.make()

    def make(self) -> Backend:
        """The backend; raises ``ValueError``."""
        from ccr_plugin_web_search.backend import make

        return make(self.backend or "", self)


class Failure(Exception):
    """A search that failed: ``code`` is Anthropic's word for it."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class WebSearch(ServerTool[Options]):
    """Takes part where a request wants ``web_search`` and the provider cannot run it."""

    def __init__(self, options: Options, ctx: ToolContext) -> None:
        super().__init__(options, ctx)
        self._tool: JSON = {}
        self._name = ""
        self._left: int | None = None
        self._searches: dict[str, asyncio.Future[list[Found]]] = {}

    def on_request(self, request: Request) -> Request | None:
        """The request with a function in place of the server tool; ``None`` without one, or if the provider runs it."""
        wanted = [tool for tool in request.tools if _is_search(tool)]
        if not wanted or self._searches_itself():
            return None
        if self.options.backend is None:
            self.ctx.note("web-search", "there is no search: set server_tools.web-search.backend")
            return None
        self._tool = wanted[0]
        self._name = str(self._tool.get("name") or "web_search")
        most = self._tool.get("max_uses")
        self._left = most if isinstance(most, int) else None
        tools = [_function(self._name) if tool is self._tool else tool for tool in request.tools]
        tools = [tool for tool in tools if not _is_search(tool)]
        return request.with_(tools=tools, messages=recalled(request.messages))

    def _searches_itself(self) -> bool:
        target = self.ctx.target
        names = (target.model.lower(), f"{target.provider},{target.model}".lower())
        return target.searches or any(
            fnmatch.fnmatchcase(name, glob.lower()) for glob in self.options.native for name in names
        )

    def names(self) -> Iterable[str]:
        """The name of the search tool, as the client gave it."""
        return (self._name,)

    async def run(self, call: ToolCall) -> ToolResult:
        """Search; the client sees the blocks of a search of Anthropic's, also when it failed."""
        text = str(call.input.get("query") or "").strip()
        ident = new_id("srvtoolu")
        use = {"type": "server_tool_use", "id": ident, "name": "web_search", "input": {"query": text}}
        try:
            pages = await self._search(text)
        except Failure as failure:
            self.ctx.note("web-search", f"{failure.code}: {failure}")
            error = {"type": "web_search_tool_result_error", "error_code": failure.code}
            shown: JSON = {"type": "web_search_tool_result", "tool_use_id": ident, "content": error}
            return ToolResult(content=f"The search failed: {failure}", shown=(use, shown), is_error=True)
        results = [_result(page) for page in pages]
        shown = {"type": "web_search_tool_result", "tool_use_id": ident, "content": results}
        return ToolResult(content=_told(text, pages), shown=(use, shown), served={"web_search_requests": 1})

    async def _search(self, text: str) -> list[Found]:
        """The pages for ``text``; the same words are searched for once."""
        if not text:
            raise Failure("invalid_tool_input", "query is missing")
        if self._left is not None and self._left <= 0:
            raise Failure("max_uses_exceeded", "no more searches are allowed for this request")
        if self._left is not None:
            self._left -= 1
        search = self._searches.get(text)
        if search is None:
            search = self._searches[text] = asyncio.ensure_future(self._fetch(text))
        try:
            return await search
        except Failure:
            self._searches.pop(text, None)
            raise

    async def _fetch(self, text: str) -> list[Found]:
        from ccr_plugin_web_search.backend import body_of

        backend, query = self.options.make(), self._query(text)
        try:
            async with asyncio.timeout(self.options.timeout_s):
                reply = await self.ctx.fetch(backend.request(query))
            if not 200 <= reply.status < 300:
                code = "too_many_requests" if reply.status == 429 else "unavailable"
                help_ = backend.refused(reply)
                why = f"{self.options.backend} answered {reply.status}: {error_text(reply)[:200]}"
                raise Failure(code, f"{why}; {help_}" if help_ else why)
            body = body_of(reply)
            pages = list(backend.found(body if isinstance(body, dict) else {}))
        except TimeoutError:
            raise Failure("unavailable", f"{self.options.backend} did not answer in time") from None
        except CcrError as error:
            raise Failure("unavailable", f"{self.options.backend}: {error.message}") from None
        except (ValueError, TypeError, AttributeError) as error:
            raise Failure("unavailable", f"{self.options.backend}: {error}") from error
        kept = [page for page in pages if page.url and _allowed(page.url, query)][: self.options.results]
        return [attrs.evolve(page, text=page.text[:LONGEST]) for page in kept]

    def _query(self, text: str) -> Query:
        from ccr_plugin_web_search.backend import Query

        place = self._tool.get("user_location")
        country = place.get("country") if isinstance(place, Mapping) else None
        return Query(
            text=text,
            count=self.options.results,
            allowed=_domains(self._tool.get("allowed_domains")),
            blocked=_domains(self._tool.get("blocked_domains")),
            country=country if isinstance(country, str) and len(country) == 2 else None,
        )


def recalled(messages: list[JSON]) -> list[JSON]:
    """``messages`` with our own earlier searches as text, which every model can read; others are left alone."""
    out = []
    for message in messages:
        content = message.get("content")
        if message.get("role") == "assistant" and isinstance(content, list):
            ours = {block.get("tool_use_id") for block in content if _sealed(block)}
            if ours:
                queries = {block.get("id"): (block.get("input") or {}).get("query") for block in content}
                message = {**message, "content": [new for block in content for new in _recall(block, ours, queries)]}
        out.append(message)
    return out


def _recall(block: JSON, ours: set[Any], queries: Mapping[Any, Any]) -> Iterable[JSON]:
    if block.get("type") == "server_tool_use" and block.get("id") in ours:
        return ()
    if block.get("tool_use_id") not in ours or not _sealed(block):
        return (block,)
    from ccr_plugin_web_search.backend import Found

    pages = [
        Found(title=str(row.get("title")), url=str(row.get("url")), text=_text(row), age=row.get("page_age"))
        for row in block["content"]
        if isinstance(row, dict)
    ]
    return ({"type": "text", "text": _told(str(queries.get(block.get("tool_use_id")) or ""), pages)},)


def _sealed(block: JSON) -> bool:
    content = block.get("content") if block.get("type") == "web_search_tool_result" else None
    return isinstance(content, list) and any(isinstance(row, dict) and _text(row) for row in content)


def _text(row: JSON) -> str:
    sealed = unseal(row.get("encrypted_content"))
    return str(sealed[1].get("text") or "") if sealed is not None and sealed[0] == FAMILY else ""


def _result(page: Found) -> JSON:
    return {
        "type": "web_search_result",
        "url": page.url,
        "title": page.title or page.url,
        "encrypted_content": seal(FAMILY, {"text": page.text or page.title or page.url}),
        "page_age": page.age,
    }


def _told(query: str, pages: list[Found]) -> str:
    """The result for the model."""
    if not pages:
        return f'Nothing was found for "{query}".'
    lines = [f'Results of a web search for "{query}":']
    for number, page in enumerate(pages, start=1):
        lines.append(f"\n{number}. {page.title or page.url}" + (f" ({page.age})" if page.age else ""))
        lines.append(f"   {page.url}")
        if page.text:
            lines.append(f"   {page.text}")
    return "\n".join([*lines, "\nName the pages that an answer rests on, with their addresses."])


def _is_search(tool: JSON) -> bool:
    return str(tool.get("type") or "").startswith("web_search")


def _domains(value: Any) -> tuple[str, ...]:
    given = [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
    return tuple(item.strip().lower().partition("://")[2] or item.strip().lower() for item in given if item.strip())


def _allowed(url: str, query: Query) -> bool:
    if any(_within(url, domain) for domain in query.blocked):
        return False
    return not query.allowed or any(_within(url, domain) for domain in query.allowed)


def _within(url: str, domain: str) -> bool:
    """Whether ``url`` is in a domain (its subdomains included), and under its path, which may have ``*``."""
    parts = urlsplit(url)
    host, _, path = domain.removeprefix("*.").partition("/")
    own = (parts.hostname or "").lower()
    if own != host and not own.endswith(f".{host}"):
        return False
    return not path or fnmatch.fnmatchcase(parts.path.lstrip("/"), f"{path.rstrip('*')}*" if "*" not in path else path)


def _function(name: str) -> JSON:
    return {
        "name": name,
        "description": (
            "Search the web. Gives pages with their addresses and what they say about the query. Use it for what you "
            "cannot know: recent events, current facts, documentation. Search again, in other words, if "
            "it was not found."
        ),
        "input_schema": {
            "type": "object",
            "properties": {"query": {"type": "string", "description": "What to search for."}},
            "required": ["query"],
        },
    }


@hookimpl
def ccr_server_tools() -> Iterable[ServerToolSpec]:
    """Offer the tool ``web-search``."""
    yield ServerToolSpec(
        name="web-search",
        factory=WebSearch,
        options=Options,
        default=False,
        summary="Runs the web searches that a provider cannot run itself, with a search service.",
    )
