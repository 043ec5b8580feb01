"""Tools and the choice among them, from chat completions to the Messages API."""

from __future__ import annotations

from typing import Any

from ccr_core import JSON, RequestError

TEXT_INPUT: JSON = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The schema of a custom tool, whose input is a text."""


def tools_of(given: Any, search: Any, notes: list[tuple[str, Any]]) -> tuple[list[JSON], frozenset[str]]:
    """The tools of a request, and the names of those whose input is a text."""
    if given is not None and not isinstance(given, list):
        raise RequestError("tools: must be a list")
    tools: list[JSON] = []
    customs: set[str] = set()
    strict: list[str] = []
    for place, tool in enumerate(given or ()):
        where = f"tools[{place}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind not in ("function", "custom"):
            raise RequestError(f'{where}.type: must be "function" or "custom", got {kind!r}')
        said = tool.get(kind)
        name = said.get("name") if isinstance(said, dict) else None
        if not isinstance(said, dict) or not isinstance(name, str) or not name:
            raise RequestError(f"{where}.{kind}.name: must be a string")
        description = str(said.get("description") or "")
        if kind == "custom":
            customs.add(name)
            tools.append({"name": name, **_described(description + _grammar(said)), "input_schema": TEXT_INPUT})
            continue
        schema = said.get("parameters")
        if schema is not None and not isinstance(schema, dict):
            raise RequestError(f"{where}.function.parameters: must be an object")
        if said.get("strict"):
            strict.append(name)
        tools.append(
            {"name": name, **_described(description), "input_schema": schema or {"type": "object", "properties": {}}}
        )
    if strict:
        notes.append(("tools", f"strict is a wish only, for: {', '.join(strict)}"))
    if search is not None:
        tools.append(_search(search))
    return tools, frozenset(customs)


def _described(text: str) -> JSON:
    return {"description": text} if text else {}


def _grammar(tool: JSON) -> str:
    form = tool.get("format")
    grammar = form.get("grammar", form) if isinstance(form, dict) and form.get("type") == "grammar" else None
    if not isinstance(grammar, dict) or not grammar.get("definition"):
        return ""
    return f"\n\nThe input must follow this {grammar.get('syntax') or ''} grammar:\n{grammar['definition']}"


def _search(options: Any) -> JSON:
    if not isinstance(options, dict):
        raise RequestError("web_search_options: must be an object")
    tool: JSON = {"type": "web_search_20250305", "name": "web_search"}
    location = options.get("user_location")
    approximate = location.get("approximate") if isinstance(location, dict) else None
    if isinstance(approximate, dict):
        tool["user_location"] = {"type": "approximate", **approximate}
    return tool


def choice_of(given: Any, parallel: Any, tools: list[JSON]) -> tuple[JSON, list[JSON]]:
    """The ``tool_choice``, empty if nothing is said, and the tools that it leaves."""
    choice: JSON = {}
    if given is None or given == "auto":
        choice = {"type": "auto"} if given else {}
    elif given == "none":
        choice = {"type": "none"}
    elif given == "required":
        choice = {"type": "any"}
    elif isinstance(given, dict) and given.get("type") in ("function", "custom"):
        choice = {"type": "tool", "name": _named(given, "tool_choice")}
        if all(tool["name"] != choice["name"] for tool in tools):
            raise RequestError(f'tool_choice.{given["type"]}.name: there is no tool "{choice["name"]}"')
    elif isinstance(given, dict) and given.get("type") == "allowed_tools":
        allowed = given.get("allowed_tools")
        listed = allowed.get("tools") if isinstance(allowed, dict) else None
        if not isinstance(allowed, dict) or not isinstance(listed, list):
            raise RequestError("tool_choice.allowed_tools.tools: must be a list")
        names = {_named(tool, f"tool_choice.allowed_tools.tools[{place}]") for place, tool in enumerate(listed)}
        tools = [tool for tool in tools if tool["name"] in names]
        choice = {"type": "any" if allowed.get("mode") == "required" else "auto"}
    else:
        raise RequestError('tool_choice: must be "none", "auto", "required", or an object that names a tool')
    if parallel is not None and not isinstance(parallel, bool):
        raise RequestError("parallel_tool_calls: must be true or false")
    if parallel is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    return choice, tools


def _named(given: Any, where: str) -> str:
    said = given.get(given.get("type")) if isinstance(given, dict) else None
    name = said.get("name") if isinstance(said, dict) else None
    if not isinstance(name, str):
        raise RequestError(f"{where}: must name a tool")
    return name
