"""Tools and the choice among them, from Responses to the Messages API."""

from __future__ import annotations

from typing import Any

import attrs

from ccr_core import JSON, RequestError

from .request import ToolName

TEXT_INPUT: JSON = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The schema of a custom tool, whose input is a text."""

SEARCHES = ("web_search", "web_search_preview")
"""How the types of the hosted web search begin."""


def flat_name(name: str, namespace: Any) -> str:
    """The canonical name of a tool in a ``namespace``; MCP servers' namespaces end in the separator already."""
    if not isinstance(namespace, str) or not namespace:
        return name
    return namespace + name if namespace.endswith("__") else f"{namespace}__{name}"


@attrs.define
class Tools:
    """The tools of one request: canonical ones, and how the client names those that differ."""

    notes: list[tuple[str, Any]]
    tools: list[JSON] = attrs.Factory(list)
    names: dict[str, ToolName] = attrs.Factory(dict)
    left: list[str] = attrs.Factory(list)
    """The types of hosted tools that nobody here can run."""

    def read(self, given: Any) -> None:
        """Take the field ``tools``; raise ``RequestError`` with the place of what is wrong."""
        if given is not None and not isinstance(given, list):
            raise RequestError("tools: must be a list")
        for place, tool in enumerate(given or ()):
            self._tool(tool, f"tools[{place}]", None)
        if self.left:
            self.notes.append(("tools", f"hosted tools left out: {', '.join(self.left)}"))

    def _tool(self, tool: Any, where: str, namespace: str | None) -> None:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str):
            raise RequestError(f"{where}.type: must be a string")
        if kind in ("function", "custom"):
            self._function(tool, where, namespace, kind == "custom")
        elif kind == "namespace" and namespace is None:
            name, inner = tool.get("name"), tool.get("tools")
            if not isinstance(name, str) or not name:
                raise RequestError(f"{where}.name: must be a string")
            if not isinstance(inner, list):
                raise RequestError(f"{where}.tools: must be a list")
            for place, one in enumerate(inner):
                self._tool(one, f"{where}.tools[{place}]", name)
        elif kind.startswith(SEARCHES) and tool.get("external_web_access") is not False:
            self.tools.append(_search(tool))
        else:
            self.left.append(f"{kind} without access to the web" if kind.startswith(SEARCHES) else kind)

    def _function(self, tool: JSON, where: str, namespace: str | None, custom: bool) -> None:
        name, schema = tool.get("name"), tool.get("parameters")
        if not isinstance(name, str) or not name:
            raise RequestError(f"{where}.name: must be a string")
        if not isinstance(schema, dict | None):
            raise RequestError(f"{where}.parameters: must be an object")
        flat = flat_name(name, namespace)
        if custom or namespace:
            self.names[flat] = ToolName(name, namespace, custom)
        description = str(tool.get("description") or "") + (_grammar(tool) if custom else "")
        made: JSON = {"name": flat, **({"description": description} if description else {})}
        made["input_schema"] = TEXT_INPUT if custom else schema or {"type": "object", "properties": {}}
        self.tools.append(made)
        if tool.get("strict"):
            self.notes.append(("tools", f"{flat}: strict is a wish only"))

    def choice(self, given: Any, parallel: Any) -> JSON:
        """The ``tool_choice``, empty if nothing is said; it may leave fewer tools."""
        choice: JSON = {}
        if given == "auto":
            choice = {"type": "auto"}
        elif given == "none":
            choice = {"type": "none"}
        elif given == "required":
            choice = {"type": "any"}
        elif isinstance(given, dict) and given.get("type") == "allowed_tools":
            self._allow(given.get("tools"))
            choice = {"type": "any" if given.get("mode") == "required" else "auto"}
        elif isinstance(given, dict):
            choice = {"type": "tool", "name": self._named(given, "tool_choice")}
            if all(tool["name"] != choice["name"] for tool in self.tools):
                raise RequestError(f'tool_choice: there is no tool "{choice["name"]}" to call')
        elif given is not None:
            raise RequestError('tool_choice: must be "none", "auto", "required", or an object that names a tool')
        if not isinstance(parallel, bool | None):
            raise RequestError("parallel_tool_calls: must be true or false")
        if parallel is False and choice.get("type") != "none":
            choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
        return choice

    def _allow(self, listed: Any) -> None:
        if not isinstance(listed, list):
            raise RequestError("tool_choice.tools: must be a list")
        names = {self._named(tool, f"tool_choice.tools[{place}]") for place, tool in enumerate(listed)}
        self.tools = [tool for tool in self.tools if tool["name"] in names]

    def _named(self, given: Any, where: str) -> str:
        kind = given.get("type") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind.startswith(SEARCHES):
            return "web_search"
        name = given.get("name") if isinstance(given, dict) else None
        if kind not in ("function", "custom") or not isinstance(name, str):
            raise RequestError(f"{where}: must name a function, a custom tool or web_search")
        return flat_name(name, given.get("namespace"))


def _grammar(tool: JSON) -> str:
    form = tool.get("format")
    if not isinstance(form, dict) or form.get("type") != "grammar" or not form.get("definition"):
        return ""
    return f"\n\nThe input must follow this {form.get('syntax') or ''} grammar:\n{form['definition']}"


def _search(tool: JSON) -> JSON:
    made: JSON = {"type": "web_search_20250305", "name": "web_search"}
    filters = tool.get("filters")
    if isinstance(filters, dict) and filters.get("allowed_domains"):
        made["allowed_domains"] = filters["allowed_domains"]
    location = tool.get("user_location")
    if isinstance(location, dict):
        made["user_location"] = {
            name: value for name, value in {"type": "approximate", **location}.items() if value is not None
        }
    return made
