"""Tools: which are offered, under which names, and which one must be called."""

from __future__ import annotations

import functools
import hashlib
import re

from ccr_core import JSON, Context, Request, is_server_tool, offered_tools

from .families import Family
from .options import Tools
from .schema import openapi, plain

_BAD = re.compile(r"[^a-zA-Z0-9_.-]")


@functools.lru_cache(maxsize=1024)
def short_name(name: str, most: int) -> str:
    """``name`` as the service takes it: a letter or ``_``, then also digits, ``.`` and ``-``; the same every time."""
    clean = _BAD.sub("_", name)
    if not re.match(r"[a-zA-Z_]", clean):
        clean = f"_{clean}"
    if clean == name and len(name) <= most:
        return name
    return f"{clean[: most - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def fields(request: Request, ctx: Context, options: Tools, family: Family) -> JSON:
    """The fields ``tools`` and ``toolConfig``."""
    choice = request.body.get("tool_choice")
    choice = choice if isinstance(choice, dict) else {"type": choice}
    kind = choice.get("type")
    forced = str(choice.get("name") or "") if kind == "tool" else ""
    functions = _functions(request, ctx, options, forced)
    google = _google(request, ctx, options)
    config: JSON = {}
    if functions and google:
        if options.mix == "always" or (options.mix == "auto" and family.mixes):
            config["includeServerSideToolInvocations"] = True
        elif any(forced in names for names in google.values()) and forced:
            ctx.note("tools", f"only {forced} is offered: the model does not take Google's tools together with others")
            functions = []
        else:
            lost = ", ".join(sorted(name for names in google.values() for name in names))
            ctx.note("tools", f"{lost} left out: the model does not take Google's tools together with others")
            google = {}
    offered: list[JSON] = [{name: {}} for name in google]
    if functions:
        offered.append({"functionDeclarations": functions})
        config["functionCallingConfig"] = _calling(kind, forced, ctx, options, functions)
    elif forced and not any(forced in names for names in google.values()):
        ctx.note("tools", f"tool_choice left out: there is no tool {forced} to offer")
    if functions and kind != "none" and choice.get("disable_parallel_tool_use") is True:
        ctx.note("tools", "the service cannot be told to call one tool at a time")
    body: JSON = {"tools": offered} if offered else {}
    if config:
        body["toolConfig"] = config
    return body


def _calling(kind: object, forced: str, ctx: Context, options: Tools, functions: list[JSON]) -> JSON:
    if kind == "none":
        return {"mode": "NONE"}
    if kind == "any":
        return {"mode": "ANY"}
    name = short_name(forced, options.name_max) if forced else ""
    if name and any(function["name"] == name for function in functions):
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    if forced:
        ctx.note("tools", f"tool_choice left out: {forced} is not offered as a function")
    return {"mode": options.auto_mode}


def _functions(request: Request, ctx: Context, options: Tools, forced: str) -> list[JSON]:
    made: dict[str, JSON] = {}
    for tool in offered_tools(request, ctx, forced):
        function = _function(tool, ctx, options)
        if function["name"] in made:
            ctx.note("tools", f"{tool.get('name')}: offered twice, the second left out")
        else:
            made[function["name"]] = function
    return list(made.values())


def _function(tool: JSON, ctx: Context, options: Tools) -> JSON:
    name = str(tool.get("name") or "")
    function: JSON = {"name": short_name(name, options.name_max), "description": str(tool.get("description") or "")}
    if options.schema == "openapi":
        schema, lost = openapi(tool.get("input_schema"))
        if schema.get("properties"):
            function["parameters"] = schema
    else:
        schema, lost = plain(tool.get("input_schema"))
        function["parametersJsonSchema"] = schema
    if lost:
        ctx.note("schema", f"{name}: simplified: {', '.join(lost)}")
    return function


def _google(request: Request, ctx: Context, options: Tools) -> dict[str, list[str]]:
    """The tools of Google that stand for server tools of the request, each with the names of those."""
    out: dict[str, list[str]] = {}
    for tool in request.tools:
        if not is_server_tool(tool):
            continue
        kind, name = str(tool["type"]), str(tool.get("name") or tool["type"])
        if kind.startswith("web_search") and options.search:
            out.setdefault("googleSearch", []).append(name)
        elif kind.startswith("web_fetch") and options.fetch:
            out.setdefault("urlContext", []).append(name)
        elif kind.startswith("code_execution") and options.code:
            out.setdefault("codeExecution", []).append(name)
        else:
            ctx.note("tools", f"server tool left out: {name} ({kind})")
            continue
        limits = [field for field in ("max_uses", "allowed_domains", "blocked_domains") if tool.get(field)]
        if limits:
            ctx.note("tools", f"{name}: {', '.join(limits)} cannot be passed on")
    return out
