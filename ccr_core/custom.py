"""Transformers from files: the ``transformers`` list of the configuration.

A file holds a subclass of :class:`~ccr_core.transform.Transformer`.  Its name is the entry's ``name``, else the class
attribute ``name``, else the file's.  Options are read into the class's ``Options``, an attrs class, and given as they
are written if it has none.  A file may instead implement the hook ``ccr_transformers``, like a package.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ccr_core.config import CustomTransformer, Problems
from ccr_core.plugins import Contributed, Plugin
from ccr_core.spec import TransformerSpec
from ccr_core.transform import Transformer

KEPT = 2
"""Modules of one file that are kept by name: the one in use, and the one that running requests may still use."""

_numbers = itertools.count(1)
_names: dict[Path, list[str]] = {}


def load_module(path: Path, kind: str) -> ModuleType:
    """Run the Python file at ``path``; raise ``ValueError`` saying what is wrong with it.

    Each call runs the file anew, under a name of its own, so that a reload sees changes and running requests keep
    what they have.  ``kind`` is for the name and the messages: ``transformer``, ``router``.
    """
    path = path.expanduser()
    if path.suffix in (".js", ".mjs", ".cjs", ".ts"):
        raise ValueError(f"{path} is JavaScript; write the {kind} in Python, see docs/configuration.md")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    name = f"ccr_custom_{kind}_{next(_numbers)}_{path.stem.replace('-', '_')}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise ValueError(f"{path} failed: {type(error).__name__}: {error}{_line(error, path)}") from error
    names = _names.setdefault(path, [])
    names.append(name)
    if len(names) > KEPT:
        sys.modules.pop(names.pop(0), None)
    return module


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it happened, for people."""
    place, line = error.__traceback__, None
    while place is not None:
        if place.tb_frame.f_code.co_filename == str(path):
            line = place.tb_lineno
        place = place.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno
    return f" (line {line})" if line is not None else ""


def load_transformers(
    entries: tuple[CustomTransformer, ...], problems: Problems
) -> dict[str, tuple[Contributed[TransformerSpec], CustomTransformer]]:
    """The transformers of all files by each of their names in lower case, with their entries.

    Problems are added at their places.
    """
    found: dict[str, tuple[Contributed[TransformerSpec], CustomTransformer]] = {}
    for place, entry in enumerate(entries):
        where = f"transformers[{place}].path"
        try:
            module = load_module(entry.path, "transformer")
            specs = list(_specs(module, entry))
        except Exception as error:
            problems.add(where, str(error))
            continue
        if not specs:
            problems.add(where, f"{entry.path} holds no subclass of ccr_core.Transformer")
        elif entry.name is not None and entry.name not in (spec.name for spec in specs):
            names = ", ".join(spec.name for spec in specs)
            problems.add(f"transformers[{place}].name", f"{entry.path} itself names what it holds: {names}")
        plugin = Plugin(entry.path.stem, str(entry.path), "")
        for spec in specs:
            for name in (spec.name, *spec.aliases):
                if name.casefold() in found:
                    problems.add(where, f'a second transformer "{name}"; give one of them another name')
                found[name.casefold()] = (Contributed(spec, plugin), entry)
    return found


def _specs(module: ModuleType, entry: CustomTransformer) -> Iterator[TransformerSpec]:
    offers: Any = getattr(module, "ccr_transformers", None)
    if offers is not None:
        for spec in offers():
            if not isinstance(spec, TransformerSpec):
                raise TypeError(f"{entry.path}: ccr_transformers gave {spec!r}, expected a TransformerSpec")
            yield spec
        return
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Transformer) and value.__module__ == module.__name__
    ]
    for cls in classes:
        name = (entry.name if len(classes) == 1 else None) or getattr(cls, "name", None) or entry.path.stem
        yield TransformerSpec(name=str(name), factory=cls, options=getattr(cls, "Options", dict))
