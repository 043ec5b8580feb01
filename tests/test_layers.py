"""The layers: which module may import what, and what the public names are."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import ccr_core

ROOT = Path(__file__).parent.parent
CORE = ROOT / "ccr_core"
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("*/ccr_plugin_*") if (path / "__init__.py").exists())

SANS_IO = (
    "asked",
    "auth",
    "catalogue",
    "checks",
    "deprecated",
    "dialect",
    "errors",
    "events",
    "hookspecs",
    "measure",
    "messages",
    "observe",
    "push",
    "routing",
    "sequence",
    "servertool",
    "shape",
    "spec",
    "sse",
    "tokens",
    "transform",
)
"""Modules without event loop, socket, thread, process, clock or terminal: they are tested as plain functions."""

IO = {
    "aiohttp",
    "anyio",
    "asyncio",
    "click",
    "concurrent",
    "httptools",
    "httpx",
    "multiprocessing",
    "pathlib",
    "selectors",
    "socket",
    "ssl",
    "starlette",
    "subprocess",
    "threading",
    "time",
    "urllib",
    "uvicorn",
    "uvloop",
}

PUBLIC = [
    "AccountError",
    "Alike",
    "Answered",
    "ApiKey",
    "Arrived",
    "Ask",
    "AskedThinking",
    "Auth",
    "AuthError",
    "AuthOptions",
    "AuthSpec",
    "AwaitCallback",
    "BUDGETS",
    "BlockDelta",
    "BlockKey",
    "BlockStart",
    "BlockStop",
    "Body",
    "BrowserGrant",
    "Call",
    "CallIds",
    "Catalogue",
    "CatalogueSpec",
    "CcrError",
    "CheckContext",
    "CheckSpec",
    "Chunk",
    "Command",
    "ConfigError",
    "Context",
    "Counter",
    "CounterSpec",
    "Decision",
    "Dialect",
    "Embedded",
    "Endpoint",
    "Event",
    "FOREIGN_THINKING",
    "Failed",
    "FileStore",
    "Finding",
    "Finished",
    "Flow",
    "Headers",
    "Hints",
    "Ingress",
    "JSON",
    "LEVELS",
    "Limited",
    "Listen",
    "MessageDelta",
    "MessageStart",
    "MessageStop",
    "ModelFacts",
    "Now",
    "Observation",
    "Observer",
    "ObserverSpec",
    "OfferedModel",
    "OpenUrl",
    "Outcome",
    "PageSpec",
    "Pass",
    "Pattern",
    "Piece",
    "Ping",
    "Pipe",
    "Pkce",
    "PluginError",
    "Prices",
    "ProtocolError",
    "ProviderFacts",
    "ProviderSpec",
    "Push",
    "Request",
    "RequestError",
    "Route",
    "RouteContext",
    "Routed",
    "RoutingError",
    "RuleSpec",
    "Running",
    "Say",
    "Sent",
    "ServerTool",
    "ServerToolSpec",
    "Shape",
    "ShowCode",
    "Sleep",
    "SseParser",
    "Stage",
    "StreamError",
    "Streamed",
    "Subject",
    "Target",
    "Token",
    "TokenStore",
    "TokenStoreSpec",
    "ToolCall",
    "ToolContext",
    "ToolResult",
    "Transformer",
    "TransformerSpec",
    "Unknown",
    "UpstreamError",
    "Window",
    "WireReply",
    "WireRequest",
    "Wish",
    "account_id",
    "alone",
    "answer_of",
    "answer_schema",
    "as_error",
    "assemble",
    "blocks_of",
    "browser_login",
    "claims_of",
    "count_request",
    "described",
    "device_login",
    "error_code_of",
    "error_text",
    "explode",
    "explode_block",
    "find_route",
    "get_call",
    "hints_of",
    "home",
    "hookimpl",
    "is_server_tool",
    "json_text",
    "kind_of",
    "level_of",
    "loads",
    "long_names",
    "map_blocks",
    "new_id",
    "new_state",
    "offered_tools",
    "parse_arguments",
    "parse_body",
    "parse_event",
    "pkce",
    "post_call",
    "printable",
    "reading",
    "result_text",
    "retry_after",
    "schema_in_words",
    "seal",
    "short_name",
    "text_of",
    "thinking_of",
    "token_of",
    "unseal",
    "url_with",
    "walk_blocks",
    "wants_search",
]
"""What plugins may use.  A name that is added here is a promise; one that goes needs a deprecation first."""


def imports(path: Path, *, top: bool = False) -> Iterator[tuple[str, str | None]]:
    """What a file imports, as module and name: all of it, or what its ``top`` imports when it is loaded.

    Imports for type checkers only do not count.
    """
    parts = path.relative_to(ROOT).parent.parts
    package = parts[2:] if parts[0] == "plugins" else parts
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = ".".join([*package[: len(package) - node.level + 1], *filter(None, [module])])
            yield from ((module, alias.name) for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def loaded(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``code``, beyond those it always has."""
    script = f"import sys; before = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60)
    return set(result.stdout.split())


@pytest.mark.parametrize("name", SANS_IO)
def test_sans_io(name: str) -> None:
    """A sans-IO module imports nothing that does input or output, and no module of the core that may."""
    for module, imported in imports(CORE / f"{name}.py"):
        first, *rest = module.split(".")
        assert first not in IO, f"{name} imports {module}"
        if first == "ccr_core":
            assert (rest[0] if rest else imported) in SANS_IO, f"{name} imports {module}"


def test_sans_io_modules_load_no_io() -> None:
    """Loading all sans-IO modules loads no event loop, HTTP library or command line, directly or through others."""
    modules = loaded("\n".join(f"import ccr_core.{name}" for name in SANS_IO))

    heavy = {"aiohttp", "anyio", "asyncio", "click", "httptools", "httpx", "starlette", "uvicorn", "uvloop", "cattrs"}
    assert set() == heavy & {name.partition(".")[0] for name in modules}


def test_the_core_loads_nothing() -> None:
    """``import ccr_core`` loads no other module of the core and no library."""
    modules = {name for name in loaded("import ccr_core") if name.partition(".")[0] not in sys.stdlib_module_names}

    assert {"ccr_core"} == modules


def test_the_core_has_no_plugins() -> None:
    """Nothing in the core imports a plugin or implements a hook: ours come through the same door as anyone's."""
    testing = CORE / "testing"
    for path in CORE.rglob("*.py"):
        if not path.is_relative_to(testing):
            found = list(imports(path))
            assert not [module for module, _ in found if module.startswith("ccr_plugin")], path
            marked = [
                mark
                for node in ast.walk(ast.parse(path.read_text()))
                for mark in getattr(node, "decorator_list", ())
                if "hookimpl" in ast.unparse(mark)
            ]
            assert [] == marked, path


def test_public_names() -> None:
    """The public names are those that are promised."""
    assert PUBLIC == sorted(ccr_core.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_resolve(name: str) -> None:
    """Each public name resolves to something that is not private."""
    value = getattr(ccr_core, name)

    assert not getattr(value, "__name__", name).startswith("_")


def test_type_checkers_see_the_same_names() -> None:
    """The imports that type checkers read name the same things from the same modules as those at run time."""
    tree = ast.parse((CORE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    static = {
        (alias.asname or alias.name, str(node.module).removeprefix("ccr_core."))
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert {(name, module) for module, names in ccr_core._HOME.items() for name in names} == static


def test_unknown_names() -> None:
    """A name that does not exist is missing in the usual way."""
    with pytest.raises(AttributeError, match="module 'ccr_core' has no attribute 'Nothing'"):
        _ = ccr_core.Nothing


def built_on(package: Path) -> set[str]:
    """The packages of other plugins that a plugin's distribution says it needs."""
    needed = tomllib.loads((package.parent / "pyproject.toml").read_text())["project"].get("dependencies", [])
    names = [re.split(r"[^\w.-]", requirement)[0] for requirement in needed]
    return {name.replace("-", "_") for name in names if name.startswith("ccr-plugin-")}


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_plugins_use_public_names(package: Path) -> None:
    """A plugin imports from the core public names only, from itself, and from plugins that it says it needs."""
    others = built_on(package)
    for path in package.rglob("*.py"):
        for module, name in imports(path):
            first = module.partition(".")[0]
            if first == "ccr_core":
                assert ("ccr_core", True) == (module, name in [*PUBLIC, "__version__"]), (
                    f"{path.name} imports {name} from {module}"
                )
            mine = not first.startswith("ccr_plugin") or first == package.name or first in others
            assert mine, f"{path.name} imports {module}"


def commands_of(package: Path) -> set[str]:
    """The modules that entry points for commands name: they are loaded by their command alone, which needs click."""
    points = tomllib.loads((package.parent / "pyproject.toml").read_text())["project"].get("entry-points", {})
    return {value.partition(":")[0] for value in points.get("ccr.commands", {}).values()}


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_plugins_are_quick_to_load(package: Path) -> None:
    """At its top a plugin imports the core, attrs, the standard library and itself: the rest at its first use."""
    allowed = {"ccr_core", "attrs", "orjson", package.name, *built_on(package), *sys.stdlib_module_names}
    for path in package.rglob("*.py"):
        for module, _ in imports(path, top=True):
            first = module.split(".")[0]
            needed = {"click"} if f"{package.name}.{path.stem}" in commands_of(package) else set()
            assert first in allowed | needed, f"{path.name} imports {module} at its top"
