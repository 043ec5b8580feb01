"""The check that every plugin package must pass, ours and anyone's."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

import ccr_core
from ccr_core.config import keys_of
from ccr_core.plugins import HOOKS, Contributed, Registry, load
from ccr_core.testing.samples import Findings, reason

PUBLIC_MODULES = frozenset(
    {
        "auth",
        "catalogue",
        "checks",
        "dialect",
        "errors",
        "events",
        "hookspecs",
        "messages",
        "observe",
        "push",
        "routing",
        "sequence",
        "servertool",
        "spec",
        "sse",
        "tokens",
        "transform",
    }
)
"""The modules of ``ccr_core`` whose public names a plugin may use, besides those that ``ccr_core`` itself exports."""

_BUDGET = """
import sys
sys.path[:0] = sys.argv[2:]
import importlib, json
import ccr_core
for name in ccr_core.__all__:
    getattr(ccr_core, name)
before = set(sys.modules)
module = importlib.import_module(sys.argv[1])
for name in dir(module):
    hook = getattr(module, name)
    if name.startswith("ccr_") and getattr(hook, "ccr_impl", None):
        list(hook())
print(json.dumps(sorted(set(sys.modules) - before)))
"""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def check_plugin(module: ModuleType, root: Path | str | None = None) -> None:
    """Raise ``AssertionError`` with everything that is wrong with a plugin package.

    ``module`` is what its entry point names; ``root`` the folder with its ``pyproject.toml`` (found from the module
    if not given).  The check says:

    * its hooks are known and give values of the right type, each with a name and a summary (dialects and ingresses:
      a docstring);
    * options are frozen attrs classes, in which everything has a default (those of a transformer may insist);
    * the README names each contribution and each option in backticks;
    * importing the module and calling its hooks loads ``ccr_core``, attrs, the standard library, the plugin itself
      and the plugins that it depends on, and nothing else;
    * it uses public names of ``ccr_core`` only.
    """
    findings = Findings(f"plugin {module.__name__}")
    registry = load([module])
    plugin = registry.plugins[0]
    if plugin.state != "active":
        findings.add("hooks", plugin.reason)
        findings.report()
    folder = Path(root).resolve() if root is not None else _folder(module)
    readme = _read(folder / "README.md", findings)
    commands = _check_package(module, folder, findings)
    offered = list(_offered(registry))
    if not offered and not commands:
        findings.add("hooks", f"it offers nothing; implement one of {', '.join(HOOKS)}")
    if not (module.__doc__ or "").strip():
        findings.add("module", "it has no docstring")
    for kind, value in offered:
        _check_value(kind, value, readme, findings)
    _check_budget(module, folder, findings)
    for file in _sources(module):
        findings.add(file.name, *private_uses(file.read_text("utf-8")))
    findings.report()


def _top(module: ModuleType) -> Path:
    """The folder of the package that ``module`` is in, or the file of a module that is in none."""
    top = importlib.import_module(module.__name__.partition(".")[0])
    file = Path(str(top.__file__)).resolve()
    return file.parent if hasattr(top, "__path__") else file


def _sources(module: ModuleType) -> list[Path]:
    top = _top(module)
    return sorted(top.rglob("*.py")) if top.is_dir() else [top]


def _folder(module: ModuleType) -> Path:
    for folder in Path(str(module.__file__)).resolve().parents:
        if (folder / "pyproject.toml").exists():
            return folder
    raise AssertionError(f"no pyproject.toml above {module.__file__}; pass root=")


def _read(file: Path, findings: Findings) -> str:
    if not file.exists():
        findings.add(file.name, "it is missing")
        return ""
    return file.read_text("utf-8")


def _check_package(module: ModuleType, folder: Path, findings: Findings) -> bool:
    """Look at the packaging; whether the package offers commands."""
    text = _read(folder / "pyproject.toml", findings)
    project = tomllib.loads(text).get("project", {})
    points = project.get("entry-points", {})
    if module.__name__ not in points.get("ccr", {}).values():
        findings.add("pyproject.toml", f'no entry point of the group "ccr" names {module.__name__}')
    if not any(re.match(r"ccr-core\b", need) for need in project.get("dependencies", ())):
        findings.add("pyproject.toml", "ccr-core is not among the dependencies")
    for field in ("description", "license", "requires-python", "readme"):
        if not project.get(field):
            findings.add("pyproject.toml", f"{field} is missing")
    if _top(module).is_dir() and not (_top(module) / "py.typed").exists():
        findings.add("package", "py.typed is missing")
    return bool(points.get("ccr.commands"))


def _offered(registry: Registry) -> Iterator[tuple[str, Any]]:
    kinds: dict[str, Mapping[str, Contributed[Any]]] = {
        "dialect": registry.dialects,
        "ingress": registry.ingresses,
        "provider": registry.providers,
        "transformer": registry.transformers,
        "rule": registry.rules,
        "counter": registry.counters,
        "catalogue": registry.catalogues,
        "observer": registry.observers,
        "server tool": registry.server_tools,
        "check": registry.checks,
        "sign-in": registry.auth,
        "token store": registry.token_stores,
        "page": registry.pages,
    }
    for kind, values in kinds.items():
        for contributed in values.values():
            yield kind, contributed.value


def _check_value(kind: str, value: Any, readme: str, findings: Findings) -> None:
    where = f"{kind} {value.name}"
    if not _NAME.fullmatch(value.name):
        findings.add(where, "a name has small letters, digits and hyphens only")
    summary = value.summary if attrs.has(type(value)) else type(value).__doc__ or ""
    if not summary.strip():
        findings.add(where, "it has no summary")
    if not _named(value.name, readme):
        findings.add(where, f"the README does not name it: write `{value.name}`")
    options = getattr(value, "options", None)
    if not isinstance(options, type):
        return
    if not attrs.has(options) or options.__setattr__ is object.__setattr__:
        findings.add(where, f"{options.__name__} is not a frozen attrs class")
        return
    for field in attrs.fields(options):
        # A transformer is made only where the configuration names it, so it may insist on an option.
        if field.default is attrs.NOTHING and kind != "transformer":
            findings.add(where, f"the option {field.name} has no default")
    for key in keys_of(options):
        if not _named(key, readme):
            findings.add(where, f"the README does not document the option `{key}`")


def _named(name: str, readme: str) -> bool:
    """Whether ``name`` stands in backticks, alone or with more around it (``{"max_tokens": 8192}``)."""
    return any(
        re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)
        for code in re.findall(r"```.*?```|`[^`\n]+`", readme, re.S)
    )


def _check_budget(module: ModuleType, folder: Path, findings: Findings) -> None:
    own = module.__name__.partition(".")[0]
    place = str(_top(module).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-c", _BUDGET, module.__name__, place], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        findings.add("import", done.stderr.strip().splitlines()[-1])
        return
    allowed = {own, "attr", "attrs", "ccr_core", *sys.stdlib_module_names, *_built_on(folder)}
    heavy = {name.partition(".")[0] for name in json.loads(done.stdout)} - allowed
    heavy |= {name for name in json.loads(done.stdout) if name.startswith("ccr_core.")}
    for name in sorted(heavy):
        findings.add("import", f"it loads {name} at start; import that inside the function that uses it")


def _built_on(folder: Path) -> Iterator[str]:
    """The packages of the plugins that the one in ``folder`` depends on: its dialect may extend one of theirs."""
    file = folder / "pyproject.toml"
    project = tomllib.loads(file.read_text("utf-8")).get("project", {}) if file.exists() else {}
    for need in project.get("dependencies", ()):
        if found := re.match(r"ccr-plugin-[\w-]+", need):
            yield found[0].replace("-", "_")


def private_uses(source: str) -> list[str]:
    """What a plugin's source uses of ``ccr_core`` and may not, with line numbers."""
    tree = ast.parse(source)
    out: list[str] = []
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _of_core(node.module):
            for alias in node.names:
                out += _refused(node.lineno, str(node.module), alias.name)
                modules.add(alias.asname or alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _of_core(alias.name):
                    out += _refused(node.lineno, alias.name, None)
                    modules.add(alias.asname or "ccr_core")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _private(node.attr) and _root(node) in modules:
            out.append(f"line {node.lineno}: {node.attr} is private to ccr_core")
    return out


def _of_core(name: str | None) -> bool:
    return name is not None and name.partition(".")[0] == "ccr_core"


def _private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _refused(line: int, module: str, name: str | None) -> Iterable[str]:
    if module == "ccr_core":
        if name is None or name in ccr_core.__all__ or name in PUBLIC_MODULES or name == "__version__":
            return []
        return [f"line {line}: {name} is not a public name of ccr_core"]
    if module.removeprefix("ccr_core.") not in PUBLIC_MODULES:
        return [f"line {line}: {module} is not for plugins; public: {', '.join(sorted(PUBLIC_MODULES))}"]
    if name is not None and _private(name):
        return [f"line {line}: {name} is private to {module}"]
    return []


def entry_module(folder: Path | str) -> ModuleType:
    """Import the module that the entry point of the plugin in ``folder`` names.

    Raises ``AssertionError`` if there is none or it does not import; the package need not be installed.
    """
    folder = Path(folder).resolve()
    points = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]["ccr"]
    name = next(iter(points.values()))
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise AssertionError(f"plugin {folder.name} does not import: {reason(error)}") from error
