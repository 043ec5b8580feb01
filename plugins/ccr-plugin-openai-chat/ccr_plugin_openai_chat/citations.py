"""Sources that an answer names: citations of its text, and results of a web search.

A citation needs a text block to stand in; those that come before the text wait for it.  If the client asked for web
search (it then wants a list of results), or if there is no text, the sources are given as blocks of a search too.
"""

from __future__ import annotations

from typing import Any

from ccr_core import JSON, Request, blocks_of, new_id, text_of, wants_search

_TOP = ("search_results", "web_search", "citations")
"""Fields of a chunk that list sources: results of Perplexity and of Z.ai, addresses of Perplexity."""


class Citations:
    """The sources of one answer."""

    def __init__(self, request: Request) -> None:
        self._messages = request.messages
        self._seen: set[tuple[str, ...]] = set()
        self._sources: dict[str, JSON] = {}
        self._last: Any = None
        self._listed = 0
        self._searching = wants_search(request)
        self.waiting: list[JSON] = []
        """Citations that were not yet given."""

    def wanted(self, data: JSON) -> bool:
        """Whether a chunk lists sources at its top level."""
        return "citations" in data or "search_results" in data or "web_search" in data

    def read_top(self, data: JSON) -> None:
        """Take the sources that a chunk lists; most services repeat the list in every chunk."""
        for name in _TOP:
            listed = data.get(name)
            if not listed or not isinstance(listed, list) or listed is self._last or listed == self._last:
                continue
            if name == "citations":
                self._last = listed
            for one in listed:
                if isinstance(one, str):
                    self._add(one, "", "")
                elif isinstance(one, dict):
                    self._add(
                        str(one.get("url") or one.get("link") or ""),
                        str(one.get("title") or ""),
                        str(one.get("snippet") or one.get("content") or ""),
                    )

    def read(self, annotations: Any) -> list[str]:
        """Take the annotations of a text; give the types of those that are no citations."""
        left = []
        for one in annotations if isinstance(annotations, list) else [annotations]:
            if not isinstance(one, dict):
                continue
            kind = str(one.get("type") or "url_citation")
            inner = one.get(kind)
            cited = inner if isinstance(inner, dict) else one
            if kind == "url_citation" and cited.get("url"):
                self._add(str(cited["url"]), str(cited.get("title") or ""), str(cited.get("content") or ""), cited)
            else:
                left.append(kind)
        return left

    def _add(self, url: str, title: str, text: str, place: JSON | None = None) -> None:
        key = (url, text, str((place or {}).get("start_index")), str((place or {}).get("end_index")))
        if not url:
            return
        source = self._sources.setdefault(url, {"url": url, "title": title})
        if title and not source["title"]:
            source["title"] = title
        if key in self._seen or (not place and not text and any(seen[0] == url for seen in self._seen)):
            return
        self._seen.add(key)
        self.waiting.append(
            {
                "type": "web_search_result_location",
                "url": url,
                "title": title or None,
                "cited_text": text,
                "encrypted_index": "",
            }
        )

    def take(self) -> list[JSON]:
        """The citations that wait, to be put into the open text block."""
        taken, self.waiting = self.waiting, []
        return taken

    def blocks(self, before_text: bool) -> list[JSON]:
        """The blocks of a search with the sources that were in none yet, where such blocks are needed.

        ``before_text``: a text block comes next, which will bear the citations that wait.
        """
        if len(self._sources) == self._listed or not (self._searching or (self.waiting and not before_text)):
            return []
        new = list(self._sources.values())[self._listed :]
        self._listed = len(self._sources)
        call = new_id("srvtoolu")
        results = [
            {
                "type": "web_search_result",
                "url": source["url"],
                "title": source["title"] or source["url"],
                "encrypted_content": "",
                "page_age": None,
            }
            for source in new
        ]
        return [
            {"type": "server_tool_use", "id": call, "name": "web_search", "input": {"query": self._query()}},
            {"type": "web_search_tool_result", "tool_use_id": call, "content": results},
        ]

    def _query(self) -> str:
        """What was searched for; services do not say, so the last words of the user stand for it."""
        for message in reversed(self._messages):
            if message.get("role") == "user":
                text = text_of(blocks_of(message.get("content")))
                if text:
                    return text[-400:]
        return ""
