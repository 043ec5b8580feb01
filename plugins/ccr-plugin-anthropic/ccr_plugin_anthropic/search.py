"""Web searches of others in the history.

A result of Anthropic's own search carries its text in encrypted form, which the service wants back as it gave it.
Other providers, and the router's own search, give the client blocks of the same form whose text Anthropic cannot read;
they are put into words before they get there.
"""

from __future__ import annotations

from typing import Any

from ccr_core import JSON, Context, unseal

FAMILY = "web-search"
"""Under which the router's own search seals the text of a result (``encrypted_content``)."""


def in_words(results: list[JSON], query: str = "") -> str:
    """The results of a search as text; what the router has sealed is opened."""
    lines = [f'Results of a web search for "{query}":' if query else "Results of a web search:"]
    for result in results:
        lines.append(f"- {result.get('title')}: {result.get('url')}")
        sealed = unseal(result.get("encrypted_content"))
        if sealed is not None and sealed[0] == FAMILY and sealed[1].get("text"):
            lines.append(f"  {sealed[1]['text']}")
    return "\n".join(lines)


def without_foreign_searches(body: JSON, ctx: Context, claude_reads: bool) -> JSON:
    """``body`` with searches of others in words; ``body`` itself if there are none.

    What the router has sealed is foreign everywhere; results without an encrypted text, only where Claude reads them.
    """
    if not _may_hold_searches(body["messages"]):
        return body
    changed = 0
    messages = []
    for message in body["messages"]:
        content = message.get("content")
        if message.get("role") == "assistant" and isinstance(content, list):
            blocks = _blocks(content, claude_reads)
            if blocks is not content:
                changed += 1
                message = {**message, "content": blocks}
        messages.append(message)
    if not changed:
        return body
    ctx.note("anthropic.search", f"put web searches of others into words, in {changed} messages of the history")
    return {**body, "messages": messages}


def _may_hold_searches(messages: list[JSON]) -> bool:
    """Whether there is anything to look at; most conversations have nothing, and this is quick."""
    for message in messages:
        content = message.get("content")
        if message.get("role") == "assistant" and isinstance(content, list):
            for block in content:
                if "citations" in block or block.get("type") == "web_search_tool_result":
                    return True
    return False


def _blocks(content: list[JSON], claude_reads: bool) -> list[JSON]:
    foreign = {
        block.get("tool_use_id")
        for block in content
        if block.get("type") == "web_search_tool_result" and _is_foreign(block.get("content"), claude_reads)
    }
    cited = claude_reads and any(_foreign_citations(block) for block in content)
    if not foreign and not cited:
        return content
    queries: dict[Any, str] = {}
    out = []
    for block in content:
        kind = block.get("type")
        if kind == "server_tool_use" and block.get("id") in foreign:
            queries[block.get("id")] = str((block.get("input") or {}).get("query") or "")
        elif kind == "web_search_tool_result" and block.get("tool_use_id") in foreign:
            words = in_words(block["content"], queries.get(block.get("tool_use_id"), ""))
            out.append({"type": "text", "text": words})
        elif cited and _foreign_citations(block):
            out.append({name: value for name, value in block.items() if name != "citations"})
        else:
            out.append(block)
    return out


def _is_foreign(results: Any, claude_reads: bool) -> bool:
    if not isinstance(results, list):
        return False
    texts = [result.get("encrypted_content") for result in results if isinstance(result, dict)]
    return any(unseal(text) is not None or (claude_reads and not text) for text in texts)


def _foreign_citations(block: JSON) -> bool:
    return block.get("type") == "text" and any(
        citation.get("type") == "web_search_result_location" and not citation.get("encrypted_index")
        for citation in block.get("citations") or ()
    )
