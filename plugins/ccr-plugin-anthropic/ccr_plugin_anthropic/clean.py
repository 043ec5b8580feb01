"""A Messages request reduced to what compatible services know.

Services that offer "an Anthropic endpoint" know the core of the format.  What Claude Code sends beyond it is refused by
some, ignored by others, and misleads a few; so with the option ``clean`` only what is listed here goes out.  The rest
is put into words where it means something to a model, and left out with a note where it does not.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from ccr_core import JSON, Context, blocks_of, text_of
from ccr_plugin_anthropic.search import in_words

FIELDS = frozenset(
    {
        "model",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "stream",
        "thinking",
    }
)
"""The fields of a request that every compatible service takes or ignores."""

_BLOCKS: dict[str, tuple[str, ...]] = {
    "text": ("type", "text", "cache_control"),
    "image": ("type", "source", "cache_control"),
    "tool_use": ("type", "id", "name", "input", "cache_control"),
    "tool_result": ("type", "tool_use_id", "content", "is_error", "cache_control"),
    "thinking": ("type", "thinking", "signature"),
}
"""The blocks that every compatible service takes, with their fields."""

_TOOL = ("name", "description", "input_schema", "cache_control")

BILLING = "x-anthropic-billing-header:"
"""How the accounting line begins that Claude Code puts before its prompt; it differs from request to request."""

PLACEHOLDER = "DeferredToolPlaceholder"
"""The tool by which Claude Code says that more tools can be loaded; no model may see it."""


def clean(body: JSON, ctx: Context, fields: Collection[str], documents: bool, searches: bool = False) -> JSON:
    """``body`` with known fields, blocks and tools only; ``fields`` are taken besides :data:`FIELDS`.

    With ``documents`` the service reads ``document`` blocks; otherwise their text is sent, or their name.  With
    ``searches`` it runs the tool ``web_search`` itself.
    """
    dropped: list[str] = sorted(name for name in body if name not in FIELDS and name not in fields)
    body = {name: value for name, value in body.items() if name not in dropped}
    if isinstance(body.get("thinking"), dict) and "display" in body["thinking"]:
        body["thinking"] = {name: value for name, value in body["thinking"].items() if name != "display"}
        dropped.append("thinking.display")
    if body.get("system"):
        body["system"] = _clean_system(body["system"], dropped)
        if not body["system"]:
            del body["system"]
    cleaner = _Cleaner(documents, dropped)
    body["messages"] = cleaner.messages(fold_system(body["messages"]))
    if "tools" in body:
        _clean_tools(body, dropped, searches)
    if dropped:
        ctx.note("anthropic.clean", f"left out: {', '.join(dict.fromkeys(dropped))}")
    return body


def is_accounting(block: JSON) -> bool:
    """Whether a ``block`` of the system prompt is Claude Code's accounting line, which is for Anthropic only."""
    return str(block.get("text") or "").startswith(BILLING)


def _clean_system(system: Any, dropped: list[str]) -> Any:
    if isinstance(system, str):
        return system
    kept = []
    for block in system:
        if block.get("type") != "text":
            dropped.append(f"system block {block.get('type')}")
        elif is_accounting(block):
            dropped.append("billing line")
        elif block["text"]:
            kept.append({name: block[name] for name in _BLOCKS["text"] if name in block})
    return kept


def _clean_tools(body: JSON, dropped: list[str], searches: bool) -> None:
    tools = []
    for tool in body.pop("tools") or ():
        name = tool.get("name")
        if searches and str(tool.get("type")).startswith("web_search"):
            tools.append(tool)
        elif tool.get("type") not in (None, "custom"):
            dropped.append(f"server tool {name or tool['type']}")
        elif name == PLACEHOLDER:
            dropped.append("tool placeholder")
        else:
            tools.append({field: tool[field] for field in _TOOL if tool.get(field) is not None})
    choice = body.pop("tool_choice", None)
    if tools:
        body["tools"] = tools
        forced = choice.get("name") if isinstance(choice, dict) else None
        if choice is not None and (forced is None or any(tool["name"] == forced for tool in tools)):
            body["tool_choice"] = choice
        elif choice is not None:
            dropped.append(f"tool_choice {forced}")


def fold_system(messages: list[JSON]) -> list[JSON]:
    """``messages`` with what the role ``system`` says moved into the user's.

    It goes to the end of the user message before it; after an answer it goes into the next user message, behind
    results of tools, which must come first.
    """
    folded: list[JSON] = []
    pending: list[JSON] = []
    for message in messages:
        role = message.get("role")
        if role == "system":
            said = [_reminder(block) for block in blocks_of(message.get("content")) if block.get("text")]
            if folded and folded[-1].get("role") == "user":
                content = [*blocks_of(folded[-1].get("content")), *said]
                folded[-1] = {**folded[-1], "content": content}
            else:
                pending += said
            continue
        if role == "user" and pending:
            blocks = blocks_of(message.get("content"))
            results = [block for block in blocks if block.get("type") == "tool_result"]
            others = [block for block in blocks if block.get("type") != "tool_result"]
            message = {**message, "content": [*results, *pending, *others]}
            pending = []
        folded.append(message)
    if pending:
        folded.append({"role": "user", "content": pending})
    return folded


def _reminder(block: JSON) -> JSON:
    return {**block, "text": f"<system-reminder>\n{block['text']}\n</system-reminder>"}


class _Cleaner:
    """The walk over the messages of one request."""

    def __init__(self, documents: bool, dropped: list[str]) -> None:
        self._documents = documents
        self._dropped = dropped

    def messages(self, messages: list[JSON]) -> list[JSON]:
        """The messages with known blocks only; those of which nothing is left are left out."""
        kept = []
        for message in messages:
            content = message["content"]
            if not isinstance(content, str):
                content = self.blocks(content)
            if content:
                kept.append({"role": message["role"], "content": content})
            else:
                self._dropped.append("empty message")
        return kept

    def blocks(self, blocks: list[JSON]) -> list[JSON]:
        """The blocks that every service knows, and the words for those that it does not."""
        kept = []
        for block in blocks:
            fields = _BLOCKS.get(str(block.get("type")))
            if fields is None:
                new = self._in_words(block)
            elif block["type"] == "tool_result":
                new = self._result(self._fields(block, fields))
            elif block["type"] == "text" and not block["text"]:
                new = None
            else:
                new = self._fields(block, fields)
            if new is not None:
                kept.append(new)
        return kept

    def _fields(self, block: JSON, known: tuple[str, ...]) -> JSON:
        self._dropped += [f"{block['type']}.{name}" for name in block if name not in known and block[name]]
        return {name: block[name] for name in known if name in block}

    def _result(self, block: JSON) -> JSON:
        content = block.get("content")
        if isinstance(content, list):
            block["content"] = self.blocks(content) or "(no output)"
        return block

    def _in_words(self, block: JSON) -> JSON | None:
        kind = str(block.get("type"))
        if kind == "document" and self._documents:
            return block
        words = _words(kind, block)
        if words is None or kind != "tool_reference":
            self._dropped.append(f"{kind} block" if words is None else f"{kind} block (now text)")
        return None if words is None else {"type": "text", "text": words}


def _words(kind: str, block: JSON) -> str | None:
    """What a block says that a service does not know; ``None`` if that means nothing to a model."""
    if kind == "tool_reference":
        return f"The tool {block.get('tool_name')} can now be called."
    if kind == "search_result":
        return f"{block.get('title')} ({block.get('source')})\n{text_of(block.get('content'))}"
    if kind == "document":
        source = block["source"]
        title = block.get("title") or "document"
        if source.get("type") == "text":
            return f"{title}:\n{source.get('data')}"
        if source.get("type") == "content":
            return f"{title}:\n{text_of(source.get('content'))}"
        return f"[{title} ({source.get('media_type') or source.get('url') or source.get('type')}) cannot be read here]"
    content = block.get("content")
    if kind == "web_search_tool_result" and isinstance(content, list):
        return in_words(content)
    if kind == "mcp_tool_result":
        return f"Result of a tool:\n{text_of(content)}"
    if kind in ("server_tool_use", "mcp_tool_use"):
        return f"[used {block.get('name')}: {orjson.dumps(block.get('input')).decode()}]"
    if kind == "compaction" and isinstance(content, str):
        return content
    return None
