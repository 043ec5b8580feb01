"""What an answer rests on: results of Google's own tools, as blocks and citations of the Messages API.

The service tells it beside the text, mostly at the end, so the blocks follow the text.  It says which places of the
text a source supports, not which words of the source; ``cited_text`` is the text so supported.
"""

from __future__ import annotations

from typing import Any

from ccr_core import JSON, new_id


class Grounding:
    """The sources of one answer."""

    def __init__(self) -> None:
        self.search = new_id("srvtoolu")
        """The id of the search that the blocks are about."""
        self.searched = False
        self.queries: dict[str, None] = {}
        self._web: dict[str, JSON] = {}
        self._files: dict[str, str] = {}
        self._fetched: dict[str, str] = {}
        self._cited: set[tuple[str, str]] = set()
        self.waiting: list[JSON] = []
        """Citations that were not yet given."""

    def read(self, candidate: JSON) -> None:
        """Take what ``candidate`` says of its sources; services may repeat it."""
        metadata = candidate.get("groundingMetadata")
        if metadata:
            self._read_grounding(metadata)
        for one in _dicts((candidate.get("urlContextMetadata") or {}).get("urlMetadata")):
            url = str(one.get("retrievedUrl") or "")
            if url:
                self._fetched[url] = str(one.get("urlRetrievalStatus") or "")
        recited = candidate.get("citationMetadata") or {}
        for one in _dicts(recited.get("citationSources") or recited.get("citations")):
            if one.get("uri"):
                self._cite(_web_citation(str(one["uri"]), str(one.get("title") or ""), ""))

    def _read_grounding(self, metadata: JSON) -> None:
        for query in metadata.get("webSearchQueries") or ():
            if query:
                self.queries[str(query)] = None
        cites: list[JSON] = []
        for chunk in _dicts(metadata.get("groundingChunks"), keep=True):
            kind = next((name for name in ("web", "maps", "image", "retrievedContext") if chunk.get(name)), "")
            source = chunk.get(kind) or {}
            uri = str(source.get("uri") or source.get("sourceUri") or "")
            title = str(source.get("title") or "")
            if kind == "retrievedContext":
                name = title or uri or str(source.get("documentName") or source.get("fileSearchStore") or "")
                text = str(source.get("text") or "")
                self._files[text] = name
                cites.append(_file_citation(uri or name, title, text, len(cites)))
            else:
                if uri:
                    self._web[uri] = {"url": uri, "title": title or str(source.get("domain") or "")}
                cites.append(_web_citation(uri, title, "") if uri else {})
        for support in _dicts(metadata.get("groundingSupports")):
            segment = support.get("segment") or {}
            for index in support.get("groundingChunkIndices") or ():
                cite = cites[index] if isinstance(index, int) and 0 <= index < len(cites) else None
                if cite:
                    self._cite(cite if cite.get("cited_text") else {**cite, "cited_text": segment.get("text") or ""})

    def _cite(self, citation: JSON) -> None:
        key = (str(citation.get("url") or citation.get("source")), str(citation["cited_text"]))
        if key not in self._cited:
            self._cited.add(key)
            self.waiting.append(citation)

    def take(self) -> list[JSON]:
        """The citations that wait, to be put into the open text block."""
        taken, self.waiting = self.waiting, []
        return taken

    @property
    def searches(self) -> int:
        """How many searches were made."""
        return max(len(self.queries), 1) if self.searched or self.queries or self._found() else 0

    def _found(self) -> list[JSON]:
        """The pages that were found.  Pages that were fetched are listed as sources too; they are no search."""
        return [source for url, source in self._web.items() if url not in self._fetched]

    def blocks(self) -> list[JSON]:
        """The blocks that tell the client of searches, pages and files."""
        out: list[JSON] = []
        for url, status in self._fetched.items():
            out += _fetch(url, status)
        found = self._found()
        if found or self.queries or self.searched:
            query = ", ".join(self.queries)
            out += [
                {"type": "server_tool_use", "id": self.search, "name": "web_search", "input": {"query": query}},
                {
                    "type": "web_search_tool_result",
                    "tool_use_id": self.search,
                    "content": [
                        {
                            "type": "web_search_result",
                            "url": source["url"],
                            "title": source["title"] or source["url"],
                            "encrypted_content": "",
                            "page_age": None,
                        }
                        for source in found
                    ],
                },
            ]
        if self._files:
            texts = [{"type": "text", "text": f"{name}\n{text}".strip()} for text, name in self._files.items()]
            out += tool_of_google("file_search", {}, texts)
        return out


def tool_of_google(name: str, given: Any, content: list[JSON], ident: str | None = None) -> list[JSON]:
    """Call and result of a tool for which the Messages API has no blocks of its own."""
    ident = ident or new_id("mcptoolu")
    return [
        {
            "type": "mcp_tool_use",
            "id": ident,
            "name": name,
            "server_name": "google",
            "input": given if isinstance(given, dict) else {},
        },
        {"type": "mcp_tool_result", "tool_use_id": ident, "is_error": False, "content": content},
    ]


def _fetch(url: str, status: str) -> list[JSON]:
    ident = new_id("srvtoolu")
    if status in ("", "URL_RETRIEVAL_STATUS_SUCCESS"):
        # The text of the page went to the model; the service does not show it.
        source = {"type": "text", "media_type": "text/plain", "data": ""}
        document = {"type": "document", "source": source, "title": None, "citations": None}
        content: JSON = {"type": "web_fetch_result", "url": url, "content": document, "retrieved_at": None}
    else:
        code = "url_not_allowed" if status.endswith("UNSAFE") else "url_not_accessible"
        content = {"type": "web_fetch_tool_result_error", "error_code": code}
    return [
        {"type": "server_tool_use", "id": ident, "name": "web_fetch", "input": {"url": url}},
        {"type": "web_fetch_tool_result", "tool_use_id": ident, "content": content},
    ]


def _web_citation(url: str, title: str, text: str) -> JSON:
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": title or None,
        "cited_text": text,
        "encrypted_index": "",
    }


def _file_citation(source: str, title: str, text: str, place: int) -> JSON:
    return {
        "type": "search_result_location",
        "source": source,
        "title": title or None,
        "cited_text": text,
        "search_result_index": place,
        "start_block_index": 0,
        "end_block_index": 1,
    }


def _dicts(values: Any, keep: bool = False) -> list[JSON]:
    """The objects among ``values``; with ``keep`` others become empty ones, so that places stay."""
    if not isinstance(values, list):
        return []
    return [value if isinstance(value, dict) else {} for value in values if keep or isinstance(value, dict)]
