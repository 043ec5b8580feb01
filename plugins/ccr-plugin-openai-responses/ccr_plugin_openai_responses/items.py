"""Items that are neither text, thinking nor an ordinary call: as blocks where the Messages API has the like.

Tools that the service runs itself become the blocks of Anthropic's server tools.  Tools that the client has to run
become calls, in the form of a tool of the client's where it has the like.  The rest is told in words, if the reader
must know of it, or in a note.
"""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import orjson

from ccr_core import JSON, Request, new_id, parse_arguments

from .options import Options
from .tools import shell_tool, text_argument


@attrs.define
class Told:
    """What an item becomes."""

    blocks: list[JSON] = attrs.Factory(list)
    note: str = ""
    call: bool = False
    """Whether the client is to run something."""
    searches: int = 0


class Items:
    """Translates the items of one answer."""

    def __init__(self, request: Request, options: Options, call_id: Callable[[Any], str]) -> None:
        self._request = request
        self._options = options
        self._call_id = call_id
        self._hosted: dict[str, str] = {}
        """The last call of each kind of hosted tool whose result is an item of its own."""
        self.queries: list[str] = []
        """What was searched for in the web."""

    def told(self, item: JSON) -> Told:
        """What ``item`` becomes."""
        method = _KINDS.get(str(item.get("type")))
        return method(self, item) if method else Told(note=f"an item of type {item.get('type')} has no counterpart")

    # --- run by the service ----------------------------------------------------------------------------------------

    def _web_search_call(self, item: JSON) -> Told:
        action = item.get("action") or {}
        if action.get("type") in ("open_page", "find_in_page"):
            return Told(note=f"the provider looked into the page {action.get('url')}")
        query = str(action.get("query") or "; ".join(map(str, action.get("queries") or ())))
        self.queries.append(query)
        sources = [one for one in action.get("sources") or () if isinstance(one, dict)]
        content: Any = search_results((str(one["url"]), "") for one in sources if one.get("url"))
        if item.get("status") == "failed":
            content = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
        others = ", ".join(str(one.get("name") or one.get("type")) for one in sources if not one.get("url"))
        return Told(
            search_blocks(query, content), f"sources without an address: {others}" if others else "", searches=1
        )

    def _code_interpreter_call(self, item: JSON) -> Told:
        # xAI gives the code as the argument of a call.
        code = item.get("code")
        if code is None:
            code = parse_arguments(str(item.get("arguments") or "")).get("code")
        outputs = [one for one in item.get("outputs") or () if isinstance(one, dict)]
        images = sum(one.get("type") == "image" for one in outputs)
        failed = item.get("status") == "failed"
        result: JSON = {
            "type": "code_execution_result",
            "stdout": "".join(str(one.get("logs") or "") for one in outputs),
            "stderr": "",
            "return_code": int(failed),
            "content": [],
        }
        call = new_id("srvtoolu")
        blocks = [
            {"type": "server_tool_use", "id": call, "name": "code_execution", "input": {"code": code or ""}},
            {"type": "code_execution_tool_result", "tool_use_id": call, "content": result},
        ]
        return Told(blocks, note=f"{images} images made by code left out" if images else "")

    def _mcp_call(self, item: JSON) -> Told:
        call = new_id("mcptoolu")
        error = item.get("error")
        output = item.get("output") if error is None else error
        text = output if isinstance(output, str) else orjson.dumps(output).decode()
        use = {
            "type": "mcp_tool_use",
            "id": call,
            "name": str(item.get("name") or ""),
            "server_name": str(item.get("server_label") or ""),
            "input": parse_arguments(str(item.get("arguments") or "")),
        }
        result = {
            "type": "mcp_tool_result",
            "tool_use_id": call,
            "is_error": error is not None,
            "content": [{"type": "text", "text": text}],
        }
        return Told([use, result])

    def _tool_search_call(self, item: JSON) -> Told:
        arguments = item.get("arguments")
        given = arguments if isinstance(arguments, dict) else parse_arguments(str(arguments or ""))
        if item.get("execution") == "client":
            return self._call(item, "tool_search", given)
        self._hosted["tool_search"] = call = new_id("srvtoolu")
        return Told([{"type": "server_tool_use", "id": call, "name": "tool_search_tool_bm25", "input": given}])

    def _tool_search_output(self, item: JSON) -> Told:
        found = [
            {"type": "tool_reference", "tool_name": str(inner.get("name") or "")}
            for tool in item.get("tools") or ()
            for inner in (tool.get("tools") if tool.get("type") == "namespace" else None) or (tool,)
        ]
        content = {"type": "tool_search_tool_search_result", "tool_references": found}
        return self._result("tool_search", "tool_search_tool_result", content)

    def _shell_call_output(self, item: JSON) -> Told:
        outputs = [one for one in item.get("output") or () if isinstance(one, dict)]
        codes = [(one.get("outcome") or {}).get("exit_code", 1) for one in outputs]
        content: JSON = {
            "type": "bash_code_execution_result",
            "stdout": "".join(str(one.get("stdout") or "") for one in outputs),
            "stderr": "".join(str(one.get("stderr") or "") for one in outputs),
            "return_code": next((code for code in codes if code), 0),
            "content": [],
        }
        return self._result("shell", "bash_code_execution_tool_result", content)

    def _result(self, hosted: str, kind: str, content: JSON) -> Told:
        call = self._hosted.pop(hosted, None)
        if call is None:
            return Told(note=f"a result of {hosted} without its call left out")
        return Told([{"type": kind, "tool_use_id": call, "content": content}])

    def _file_search_call(self, item: JSON) -> Told:
        queries = "; ".join(map(str, item.get("queries") or ()))
        return Told(note=f"the provider searched its files for: {queries}")

    def _mcp_list_tools(self, item: JSON) -> Told:
        names = ", ".join(str(tool.get("name")) for tool in item.get("tools") or ())
        return Told(note=f"the MCP server {item.get('server_label')} has the tools {names}")

    def _image_generation_call(self, item: JSON) -> Told:
        words = item.get("revised_prompt") or "no description"
        return Told(
            [{"type": "text", "text": f"[the model made an image that cannot be shown here: {words}]"}],
            note="a generated image has no counterpart",
        )

    # --- to be run by the client -----------------------------------------------------------------------------------

    def _call(self, item: JSON, name: str, given: Any) -> Told:
        ident = self._call_id(item.get("call_id") or item.get("id"))
        return Told([{"type": "tool_use", "id": ident, "name": name, "input": given}], call=True)

    def _custom_tool_call(self, item: JSON) -> Told:
        name = str(item.get("name") or "")
        if runs_itself(name, self._options):
            return Told(note=f"the provider ran its tool {name} with {item.get('input')!r}")
        return self._call(item, name, {text_argument(self._request, name): item.get("input") or ""})

    def _local_shell_call(self, item: JSON) -> Told:
        action = item.get("action") or {}
        words = [str(word) for word in action.get("command") or ()]
        # A home directory is meant, not a file of that name.
        line = " ".join(word if word == "~" or word.startswith("~/") else shlex.quote(word) for word in words)
        for name, value in reversed(list((action.get("env") or {}).items())):
            line = f"{name}={shlex.quote(str(value))} {line}"
        if action.get("working_directory"):
            line = f"cd {shlex.quote(str(action['working_directory']))} && {line}"
        return self._shell(item, "local_shell", line, action)

    def _shell_call(self, item: JSON) -> Told:
        action = item.get("action") or {}
        line = "\n".join(map(str, action.get("commands") or ()))
        if str((item.get("environment") or {}).get("type") or "local") != "local":
            self._hosted["shell"] = call = new_id("srvtoolu")
            given = {"command": line}
            return Told([{"type": "server_tool_use", "id": call, "name": "bash_code_execution", "input": given}])
        return self._shell(item, "shell", line, action)

    def _shell(self, item: JSON, kind: str, line: str, action: JSON) -> Told:
        name = shell_tool(self._request)
        if name is None:
            return self._call(item, kind, action)
        wait = action.get("timeout_ms")
        return self._call(item, name, {"command": line, **({"timeout": wait} if wait else {})})

    def _apply_patch_call(self, item: JSON) -> Told:
        return self._call(item, "apply_patch", item.get("operation") or {})

    def _computer_call(self, item: JSON) -> Told:
        given = {name: item[name] for name in ("action", "actions", "pending_safety_checks") if item.get(name)}
        return self._call(item, "computer", given)

    def _mcp_approval_request(self, item: JSON) -> Told:
        name, server = item.get("name"), item.get("server_label")
        text = f"[The MCP server {server} asks for leave to run {name} with {item.get('arguments')}]"
        return Told(
            [{"type": "text", "text": text}],
            note=f"a request for approval ({name} of {server}) is only told in words; it cannot be granted from here",
        )


_KINDS: dict[str, Callable[[Items, JSON], Told]] = {
    "web_search_call": Items._web_search_call,
    "code_interpreter_call": Items._code_interpreter_call,
    "mcp_call": Items._mcp_call,
    "mcp_list_tools": Items._mcp_list_tools,
    "mcp_approval_request": Items._mcp_approval_request,
    "tool_search_call": Items._tool_search_call,
    "tool_search_output": Items._tool_search_output,
    "file_search_call": Items._file_search_call,
    "image_generation_call": Items._image_generation_call,
    "custom_tool_call": Items._custom_tool_call,
    "local_shell_call": Items._local_shell_call,
    "shell_call": Items._shell_call,
    "shell_call_output": Items._shell_call_output,
    "apply_patch_call": Items._apply_patch_call,
    "computer_call": Items._computer_call,
}


def runs_itself(name: str, options: Options) -> bool:
    """Whether ``name`` is a tool that the service runs itself."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in options.provider_tools)


def search_blocks(query: str, content: Any) -> list[JSON]:
    """The two blocks of a web search."""
    call = new_id("srvtoolu")
    return [
        {"type": "server_tool_use", "id": call, "name": "web_search", "input": {"query": query}},
        {"type": "web_search_tool_result", "tool_use_id": call, "content": content},
    ]


def search_results(sources: Iterable[tuple[str, str]]) -> list[JSON]:
    """Results of a search, from addresses and titles."""
    return [
        {"type": "web_search_result", "url": url, "title": title or url, "encrypted_content": "", "page_age": None}
        for url, title in sources
    ]
