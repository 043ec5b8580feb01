"""Tools: which are offered, under which names and ids, and which one must be called."""

from __future__ import annotations

import hashlib
from typing import Any

from ccr_core import JSON, Context, Request, is_server_tool, offered_tools, short_name

from .options import Options
from .schema import tool_schema


def short_id(given: str, most: int, again: int = 0) -> str:
    """The id of a tool call in at most ``most`` characters; ``again`` tells apart those that were the same."""
    if given and len(given) <= most and not again:
        return given
    digest = hashlib.sha256(f"{again}{given}".encode()).hexdigest()[:16]
    return f"{given[: most - 17]}_{digest}"


def fields(request: Request, ctx: Context, options: Options) -> JSON:
    """The fields of the request body that concern tools."""
    choice = request.body.get("tool_choice") or {}
    kind = choice.get("type") if isinstance(choice, dict) else choice
    forced = str(choice.get("name") or "") if kind == "tool" else ""
    offered = list(offered_tools(request, ctx, forced))
    most = options.max_tools
    if most is not None and len(offered) > most:
        names = ", ".join(str(tool.get("name")) for tool in offered[most:])
        ctx.note("tools", f"only {most} may be offered; left out: {names}")
        offered = offered[:most]
    tools = [_function(tool, ctx, options) for tool in offered]
    hosted: dict[str, JSON] = {}
    for tool in request.tools:
        if is_server_tool(tool):
            made = _hosted(tool, ctx, options)
            if made is None:
                ctx.note("tools", f"server tool left out: {tool.get('name') or tool['type']} ({tool['type']})")
            else:
                hosted[str(tool.get("name") or "")] = made
    tools += hosted.values()
    if not tools:
        if forced:
            ctx.note("tools", f"tool_choice left out: there is no tool {forced} to offer")
        return {}
    body: JSON = {"tools": tools}
    if kind in ("auto", "none"):
        body["tool_choice"] = kind
    elif kind == "any" or (forced in hosted and len(tools) == 1):
        body["tool_choice"] = "required"
    elif forced in hosted:
        body["tool_choice"] = {"type": hosted[forced]["type"]}
    elif forced and any(tool.get("name") == forced for tool in offered):
        body["tool_choice"] = {"type": "function", "name": short_name(forced, options.name_max)}
    elif forced:
        ctx.note("tools", f"tool_choice left out: {forced} is not offered")
    if isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True and kind != "none":
        if options.parallel_flag:
            body["parallel_tool_calls"] = False
        else:
            ctx.note("tools", "the service cannot be told to call one tool at a time")
    return body


def _function(tool: JSON, ctx: Context, options: Options) -> JSON:
    name = str(tool.get("name") or "")
    schema, lost = tool_schema(tool.get("input_schema"), options.schema, options.schema_without)
    if lost:
        ctx.note("schema", f"{name}: simplified: {', '.join(lost)}")
    function: JSON = {"type": "function", "name": short_name(name, options.name_max)}
    if tool.get("description"):
        function["description"] = str(tool["description"])
    # Without the word the service makes schemas strict by itself, and optional arguments obligatory.
    return {**function, "parameters": schema, "strict": False}


def _hosted(tool: JSON, ctx: Context, options: Options) -> JSON | None:
    """The provider's own tool for a server tool of Anthropic, if there is one."""
    kind = str(tool["type"])
    if kind.startswith("code_execution") and options.code_execution:
        return {"type": "code_interpreter", "container": {"type": "auto"}}
    if not kind.startswith("web_search") or options.web_search == "none":
        return None
    made: JSON = {"type": options.web_search}
    place = tool.get("user_location")
    if isinstance(place, dict):
        known = ("city", "country", "region", "timezone")
        made["user_location"] = {"type": "approximate", **{name: place[name] for name in known if place.get(name)}}
    left = [name for name in ("max_uses", "blocked_domains") if tool.get(name)]
    if tool.get("allowed_domains"):
        if options.web_search == "web_search":
            made["filters"] = {"allowed_domains": tool["allowed_domains"]}
        else:
            left.append("allowed_domains")
    if left:
        ctx.note("tools", f"web search: left out, the service does not know it: {', '.join(left)}")
    return made


def shell_tool(request: Request) -> str | None:
    """The name of the client's own tool that runs a command, if it offers one."""
    for tool in request.tools:
        properties = (tool.get("input_schema") or {}).get("properties") or {}
        if str(tool.get("type") or "").startswith("bash_"):
            return str(tool.get("name"))
        if str(tool.get("name")).casefold() == "bash" and "command" in properties:
            return str(tool.get("name"))
    return None


def text_argument(request: Request, name: str) -> str:
    """The argument in which the client's tool ``name`` takes its text; ``input`` unless its schema has just one."""
    for tool in request.tools:
        if tool.get("name") == name and not is_server_tool(tool):
            properties: Any = (tool.get("input_schema") or {}).get("properties") or {}
            if len(properties) == 1:
                return str(next(iter(properties)))
    return "input"
