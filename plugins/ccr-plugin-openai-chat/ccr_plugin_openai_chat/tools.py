"""Tools: which are offered, under which names and ids, and which one must be called."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import attrs

from ccr_core import JSON, Context, Request, is_server_tool, offered_tools, short_name

from .options import Options
from .options import Tools as ToolOptions
from .reasoning import can_switch_off
from .schema import tool_schema

_ALNUM9 = re.compile(r"[a-zA-Z0-9]{9}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Ids:
    """The ids of tool calls in one request, in the style that the service takes."""

    def __init__(self, style: str) -> None:
        self._style = style
        self._known: dict[str, str] = {}
        self._used: set[str] = set()

    def __call__(self, given: Any) -> str:
        """The id for ``given``: the same for the same, different for different."""
        text = str(given or "")
        if self._style == "any":
            return text
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = self._make(text)
            self._used.add(known)
        return known

    def _make(self, text: str) -> str:
        if (self._style == "max40" and len(text) <= 40) or self._fits(text):
            return text
        count = 0
        while True:
            number = int.from_bytes(hashlib.sha256(f"{count}{text}".encode()).digest()[:16], "big")
            made = ""
            for _ in range(9 if self._style == "alnum9" else 20):
                number, digit = divmod(number, 62)
                made += _DIGITS[digit]
            if self._style == "max40":
                made = f"call_{made}"
            if made not in self._used:
                return made
            count += 1

    def _fits(self, text: str) -> bool:
        return self._style == "alnum9" and bool(_ALNUM9.fullmatch(text)) and text not in self._used


def fields(request: Request, ctx: Context, options: Options) -> JSON:
    """The fields of the request body that concern tools."""
    wanted = options.tools
    if not options.reasoning.forced_tools and not can_switch_off(options.reasoning):
        wanted = attrs.evolve(wanted, choice_required="auto", forced="filter")
    choice = request.body.get("tool_choice") or {}
    kind = choice.get("type") if isinstance(choice, dict) else choice
    forced = str(choice.get("name") or "") if kind == "tool" else ""
    offered = list(offered_tools(request, ctx, forced))
    if forced and wanted.forced == "filter":
        offered = [tool for tool in offered if tool.get("name") == forced] or offered
    if wanted.max_count is not None and len(offered) > wanted.max_count:
        ctx.note("tools", f"only {wanted.max_count} may be offered; left out: {_names(offered[wanted.max_count :])}")
        offered = offered[: wanted.max_count]
    tools = [_function(tool, ctx, wanted) for tool in offered]
    body: JSON = {}
    server = [tool for tool in request.tools if is_server_tool(tool)]
    for tool in server:
        extra = _search(tool, wanted) if str(tool["type"]).startswith("web_search") else None
        if extra is None:
            ctx.note("tools", f"server tool left out: {tool.get('name') or tool['type']} ({tool['type']})")
        else:
            tools += extra.pop("tools", ())
            body.update(extra)
    if not tools:
        if forced:
            ctx.note("tools", f"tool_choice left out: there is no tool {forced} to offer")
        return body
    body["tools"] = tools
    known = bool(forced) and any(tool.get("name") == forced for tool in offered)
    if kind in ("auto", "none"):
        body["tool_choice"] = kind
    elif kind == "any" or (known and wanted.forced == "filter"):
        body["tool_choice"] = wanted.choice_required
        if wanted.choice_required == "auto":
            ctx.note("tools", "the service cannot be told that a tool must be called")
    elif known and wanted.forced == "auto":
        body["tool_choice"] = "auto"
        ctx.note("tools", f"the service cannot be told to call {forced}")
    elif known:
        body["tool_choice"] = {"type": "function", "function": {"name": short_name(forced, wanted.name_max)}}
    elif forced:
        ctx.note("tools", f"tool_choice left out: {forced} is not offered")
    if kind != "none" and isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True:
        if wanted.parallel_flag:
            body["parallel_tool_calls"] = False
        else:
            ctx.note("tools", "the service cannot be told to call one tool at a time")
    return body


def _names(tools: Iterable[JSON]) -> str:
    return ", ".join(str(tool.get("name")) for tool in tools)


def _function(tool: JSON, ctx: Context, options: ToolOptions) -> JSON:
    name = str(tool.get("name") or "")
    schema, lost = tool_schema(tool.get("input_schema"), options.schema)
    if lost:
        ctx.note("schema", f"{name}: simplified: {', '.join(lost)}")
    description = str(tool.get("description") or "")
    if options.description_max is not None and len(description) > options.description_max:
        ctx.note("tools", f"{name}: description cut from {len(description)} to {options.description_max} characters")
        description = description[: options.description_max]
    function: JSON = {"name": short_name(name, options.name_max)}
    if description:
        function["description"] = description
    function["parameters"] = schema
    return {"type": "function", "function": function}


def _search(tool: JSON, options: ToolOptions) -> JSON | None:
    """The wish for web search as the service takes it: body fields, among them perhaps ``tools``."""
    match options.web_search:
        case "openrouter":
            parameters = {
                name: tool[name] for name in ("max_uses", "allowed_domains", "blocked_domains") if tool.get(name)
            }
            if "blocked_domains" in parameters:
                parameters["excluded_domains"] = parameters.pop("blocked_domains")
            return {"tools": [{"type": "openrouter:web_search", **({"parameters": parameters} if parameters else {})}]}
        case "web_search_options":
            return {"web_search_options": {}}
        case "enable_search":
            return {"enable_search": True}
        case "glm":
            return {"tools": [{"type": "web_search", "web_search": {"enable": True, "search_result": True}}]}
        case _:
            return None
