"""``check_plugin`` on packages that a test writes, one fault at a time."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ccr_core.testing import check_plugin, entry_module, private_uses

PROJECT = """
[project]
name = "ccr-plugin-sample"
version = "1.0"
description = "A sample."
readme = "README.md"
license = "MIT"
requires-python = ">=3.11"
dependencies = ["ccr-core"]

[project.entry-points.ccr]
sample = "ccr_plugin_sample"
"""

MODULE = '''
"""A sample."""
import attrs
from ccr_core import Transformer, TransformerSpec, hookimpl
from ccr_core.messages import map_blocks

@attrs.frozen
class Options:
    """Its options."""
    max_lines: int = 5

@hookimpl
def ccr_transformers():
    yield TransformerSpec(name="sample", factory=Transformer, options=Options, summary="Does nothing.")
'''

README = """
# ccr-plugin-sample

The transformer `sample` does nothing, up to `max_lines`:

```json
["sample", {"max_lines": 5}]
```
"""

Write = Callable[..., ModuleType]


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Write]:
    """Writes the sample with other parts in it and imports it."""

    def write(
        module: str = MODULE, project: str = PROJECT, readme: str | None = README, typed: bool = True
    ) -> ModuleType:
        folder = tmp_path / "ccr_plugin_sample"
        folder.mkdir()
        (folder / "__init__.py").write_text(textwrap.dedent(module))
        (tmp_path / "pyproject.toml").write_text(project)
        if readme is not None:
            (tmp_path / "README.md").write_text(readme)
        if typed:
            (folder / "py.typed").touch()
        return entry_module(tmp_path)

    before = list(sys.path)
    yield write
    sys.path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] == "ccr_plugin_sample"]:
        del sys.modules[name]


def test_a_good_plugin_passes(package: Write) -> None:
    """
    The sample has all that a plugin needs.
    """
    check_plugin(package())


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("yield Tr", "raise ValueError('no')\n    yield Tr", "ccr_transformers: ValueError: no"),
        ("def ccr_transformers", "def ccr_transformer", "unknown hook ccr_transformer"),
        ("yield TransformerSpec", "yield dict", "ccr_transformers gave {"),
        ("Does nothing.", "", "transformer sample: it has no summary"),
        ('name="sample"', 'name="Sam ple"', "a name has small letters"),
        ("@attrs.frozen", "@attrs.define", "Options is not a frozen attrs class"),
        ("max_lines", "max_pages", "the README does not document the option `max_pages`"),
        ('"""A sample."""', "", "module: it has no docstring"),
        ("    yield T", "    yield from () and T", "it offers nothing"),
        ("@hookimpl\n", "", "ccr_transformers is not marked with @ccr_core.hookimpl"),
        ("import attrs", "import attrs, httpx", "it loads httpx at start"),
        ("import attrs", "import attrs, cattrs", "it loads cattrs at start"),
        ("    yield T", "    import tomlkit\n    yield T", "it loads tomlkit at start"),
        ("import attrs", "import attrs, ccr_core.config", "ccr_core.config is not for plugins"),
        ("import map_blocks", "import _session", "_session is private to ccr_core.messages"),
        ("hookimpl\nfrom", "hookimpl, engine\nfrom", "engine is not a public name of ccr_core"),
    ],
)
def test_a_faulty_module_is_found_out(package: Write, old: str, new: str, complaint: str) -> None:
    """
    Each fault in the code is reported.
    """
    assert old in MODULE
    module = package(MODULE.replace(old, new))

    with pytest.raises(AssertionError) as raised:
        check_plugin(module)

    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('sample = "ccr_plugin_sample"', 'sample = "ccr_plugin_sample"\n\n[project.entry-points.x]', ""),
        ('["ccr-core"]', '["ccr-corel"]', "ccr-core is not among the dependencies"),
        ('license = "MIT"', "", "license is missing"),
    ],
)
def test_a_faulty_project_is_found_out(package: Write, old: str, new: str, complaint: str) -> None:
    """
    Each fault in the packaging is reported.
    """
    module = package(project=PROJECT.replace(old, new))

    if not complaint:
        check_plugin(module)
        return
    with pytest.raises(AssertionError, match=complaint):
        check_plugin(module)


BUILT_ON = """
import ccr_plugin_gemini.dialect
"""


@pytest.mark.parametrize(("needs", "passes"), [('"ccr-core", "ccr-plugin-gemini>=0.1"', True), ('"ccr-core"', False)])
def test_a_plugin_may_build_on_another(package: Write, needs: str, passes: bool) -> None:
    """A plugin that another is built on may be loaded with it, if it is among its dependencies."""
    module = package(module=MODULE + BUILT_ON, project=PROJECT.replace('"ccr-core"', needs))

    if passes:
        check_plugin(module)
    else:
        with pytest.raises(AssertionError, match="it loads ccr_plugin_gemini at start"):
            check_plugin(module)


def test_a_missing_readme_is_found_out(package: Write) -> None:
    """
    A plugin without a README says nothing of what it offers.
    """
    module = package(readme=None, typed=False)

    with pytest.raises(AssertionError) as raised:
        check_plugin(module)

    assert "README.md: it is missing" in str(raised.value)
    assert "write `sample`" in str(raised.value)
    assert "py.typed is missing" in str(raised.value)


def test_the_prefix_of_a_name_does_not_document_it(package: Write) -> None:
    """
    ``max_lines_x`` in the README is another option.
    """
    module = package(readme=README.replace("max_lines", "max_lines_x"))

    with pytest.raises(AssertionError, match="does not document the option `max_lines`"):
        check_plugin(module)


def test_a_module_that_does_not_import_is_told(package: Write) -> None:
    """
    The reason and the line are in the message.
    """
    with pytest.raises(AssertionError, match=r"does not import: ZeroDivisionError: .* \(__init__.py:1\)"):
        package("1 / 0")


@pytest.mark.parametrize(
    ("source", "complaints"),
    [
        ("from ccr_core import Dialect, __version__, events", []),
        ("from ccr_core.sse import Chunk, encode\nimport ccr_core.events", []),
        ("from . import _own\nfrom ._own import _x\nimport httpx._models", []),
        ("from ccr_core import _WHERE", ["line 1: _WHERE is not a public name of ccr_core"]),
        ("from ccr_core.sse import _parse", ["line 1: _parse is private to ccr_core.sse"]),
        ("from ccr_core import Pipe\nPipe._run", ["line 2: _run is private to ccr_core"]),
        ("import ccr_core\nccr_core.sse._value()", ["line 2: _value is private to ccr_core"]),
    ],
)
def test_private_uses_are_found(source: str, complaints: list[str]) -> None:
    """
    Private names are found wherever they are imported or taken from; a plugin's own are its own business.
    """
    assert complaints == private_uses(source)


def test_engines_and_servers_are_not_for_plugins() -> None:
    """
    Of the core's modules, those that do input and output are out of bounds.
    """
    for module in ("engine", "server", "runtime", "upstream", "config", "cli", "testing", "exchange"):
        assert 1 == len(private_uses(f"import ccr_core.{module}"))
