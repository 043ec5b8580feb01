"""What a request asks of a model, read once for all formats: thinking, tools, the form of the answer.

For those who write a dialect.  Claude Code says some of it in several ways, lists tools that are not to be seen yet,
tools that only Anthropic's service can run, and one that is no tool at all; and its history holds blocks for which
other formats have no word.  The rules are the client's, so they stand here; services differ in what they make of it.
Source: requests of Claude Code as observed, and Anthropic's documentation of thinking and of tool search, 2026.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator
from collections.abc import MutableMapping as Tally
from typing import Any

import attrs
import orjson

from ccr_core.dialect import Context
from ccr_core.messages import JSON, Request, blocks_of, new_id

# --- thinking ------------------------------------------------------------------------------------------------------

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All levels of thinking, in order."""

BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 65536}
"""The number of thinking tokens that a level stands for."""


@attrs.frozen
class AskedThinking:
    """What is wanted: thinking at all (``None``: nothing is said), at which level, with how many tokens, and shown."""

    on: bool | None = None
    level: str | None = None
    budget: int | None = None
    shown: bool = True


def level_of(budget: int) -> str:
    """The level that a number of thinking tokens stands for."""
    return next((level for level in LEVELS[:5] if budget <= BUDGETS[level]), "xhigh")


def thinking_of(request: Request, level: str | None) -> AskedThinking:
    """What ``request`` wants; ``level`` is that of the route (a level, or ``budget:<tokens>``) and wins."""
    if level:
        number = level.removeprefix("budget:")
        if number != level:
            tokens = int(number) if number.isdecimal() else 0
            return AskedThinking(tokens > 0, level_of(tokens), tokens)
        return AskedThinking(level != "none", level)
    config = request.body.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    effort = effort if isinstance(effort, str) else None
    thinking = request.body.get("thinking")
    thinking = thinking if isinstance(thinking, dict) else {}
    kind, budget = thinking.get("type"), thinking.get("budget_tokens")
    shown = thinking.get("display") != "omitted"
    if kind == "disabled":
        return AskedThinking(False, "none")
    if kind == "enabled" and isinstance(budget, int):
        return AskedThinking(True, effort or level_of(budget), budget, shown)
    return AskedThinking(True if kind in ("enabled", "adaptive") else None, effort, None, shown)


# --- tools ---------------------------------------------------------------------------------------------------------

PLACEHOLDER = "DeferredToolPlaceholder"
"""A tool that Claude Code lists for Anthropic only; it must not be offered."""


def is_server_tool(tool: JSON) -> bool:
    """Whether Anthropic's service would run this tool itself."""
    return tool.get("type") not in (None, "custom")


def wants_search(request: Request) -> bool:
    """Whether the request offers the server tool for web search."""
    return any("type" in tool and str(tool["type"]).startswith("web_search") for tool in request.tools)


def offered_tools(request: Request, ctx: Context, forced: str = "") -> Iterator[JSON]:
    """The client's tools that the model is to see now; ``forced`` is the one that it must call, if there is one.

    A deferred tool is shown once the conversation refers to it or has called it.  Where the search for deferred
    tools is a server tool, which no other service runs, all of them are shown, with a note.
    """
    tools = [tool for tool in request.tools if not is_server_tool(tool) and tool.get("name") != PLACEHOLDER]
    if not any(tool.get("defer_loading") for tool in tools):
        yield from tools
        return
    everything = any(str(tool.get("type") or "").startswith("tool_search") for tool in request.tools)
    if everything:
        ctx.note("tools", "all deferred tools are offered: the service has no tool search")
    loaded = {forced, *_loaded(request)}
    for tool in tools:
        if everything or not tool.get("defer_loading") or tool.get("name") in loaded:
            yield tool


def _loaded(request: Request) -> Iterator[str]:
    """Names of tools that the conversation refers to or has called."""
    for message in request.messages:
        for block in blocks_of(message.get("content")):
            if block.get("type") == "tool_use":
                yield str(block.get("name"))
            elif block.get("type") == "tool_result":
                for inner in blocks_of(block.get("content")):
                    if inner.get("type") == "tool_reference":
                        yield str(inner.get("tool_name"))


@functools.lru_cache(maxsize=1024)
def short_name(name: str, most: int, allowed: str = "a-zA-Z0-9_-") -> str:
    """``name`` as a service takes it: characters of the class ``allowed``, at most ``most``; the same every time.

    What is not allowed becomes ``_``; a changed name ends in a digest of the whole one, so that no two fall together.
    """
    bad = _outside(allowed)
    if len(name) <= most and not bad.search(name):
        return name
    return f"{bad.sub('_', name)[: most - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@functools.cache
def _outside(allowed: str) -> re.Pattern[str]:
    return re.compile(f"[^{allowed}]")


def long_names(request: Request, shorten: Callable[[str], str]) -> dict[str, str]:
    """Shortened name → name, for the tools of ``request`` that ``shorten`` does not leave as they are."""
    names = (str(tool.get("name") or "") for tool in request.tools)
    return {short: name for name in names if (short := shorten(name)) != name}


# --- the form of the answer ----------------------------------------------------------------------------------------


def answer_schema(request: Request, ctx: Context) -> JSON | None:
    """The JSON schema that the answer must follow, if the request wants one; another form is left out, with a note."""
    config = request.body.get("output_config")
    form: Any = config.get("format") if isinstance(config, dict) else None
    if not isinstance(form, dict):
        return None
    schema = form.get("schema")
    if form.get("type") == "json_schema" and isinstance(schema, dict):
        return schema
    ctx.note("body", f"unknown output format left out: {form.get('type')}")
    return None


def schema_in_words(schema: JSON) -> str:
    """The demand for an answer that follows ``schema``, for a model that can be told in words only."""
    text = orjson.dumps(schema).decode()
    return f"Answer with one JSON object that follows this JSON schema, and nothing else:\n{text}"


# --- blocks --------------------------------------------------------------------------------------------------------


def result_text(block: JSON) -> str | None:
    """The text of a tool result that holds one text and nothing else, not even a cache mark; ``None`` for others.

    Nearly all of a long conversation is such results, and a format can take them as they are.
    """
    content = block.get("content")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
        inner = content[0]
        content = inner.get("text") if inner.get("type") == "text" and "cache_control" not in inner else None
    return content if isinstance(content, str) and not block.get("cache_control") else None


def as_error(text: str) -> str:
    """The ``text`` of a failed tool result, such that it says so, for formats that have no other mark for it."""
    told = text.lstrip()[:16].lower().startswith(("error", "<tool_use_error>"))
    return text if told else f"Error: {text}"


class CallIds:
    """Ids for the calls of one answer, of which none stands twice in the conversation: some services number the calls
    of each answer anew, and some give none."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._used: set[str] | None = None

    def fresh(self, given: str) -> str:
        """``given``, unless it is empty or was used before; then another one."""
        if self._used is None:
            # Only now: most answers call nothing.
            self._used = {
                str(block.get("id"))
                for message in self._request.messages
                if message.get("role") == "assistant"
                for block in blocks_of(message.get("content"))
                if block.get("type") == "tool_use"
            }
        if not given or given in self._used:
            given = new_id("toolu")
        self._used.add(given)
        return given


def described(block: JSON, shorten: Callable[[str], str], lost: Tally[str, int]) -> str:
    """A block that a format has no word for, as text; ``""`` for one that must not be told.

    ``shorten`` gives the name under which a tool is offered.  What is lost is counted in ``lost``, by what it is:
    the dialect leaves one note for each at the end.
    """
    kind = str(block.get("type"))
    if kind == "text":
        return str(block.get("text") or "")
    if kind == "tool_reference":
        return f"The tool {shorten(str(block.get('tool_name') or ''))} is now available."
    if kind == "search_result":
        inner = "\n".join(described(one, shorten, lost) for one in blocks_of(block.get("content")))
        return f"{block.get('title') or ''} ({block.get('source') or ''})\n{inner}"
    if kind == "compaction":
        return str(block.get("content") or "")
    if kind in ("thinking", "redacted_thinking"):
        _count(lost, FOREIGN_THINKING)
        return ""
    _count(lost, f"{kind} blocks written as text")
    if kind in ("server_tool_use", "mcp_tool_use"):
        return f"[the tool {block.get('name')} was called with {_compact(block.get('input'))}]"
    content = block.get("content")
    if kind == "web_search_tool_result" and isinstance(content, list):
        lines = [f"- {one.get('title')}: {one.get('url')}" for one in content if isinstance(one, dict)]
        return "\n".join(["[web search results:]", *lines])
    return f"[{kind}: {_compact({key: value for key, value in block.items() if key != 'type'})}]"


FOREIGN_THINKING = "thinking blocks of another service or model left out"
"""What is said of thinking that its maker alone can read."""


def _count(lost: Tally[str, int], what: str) -> None:
    lost[what] = lost.get(what, 0) + 1


def _compact(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
