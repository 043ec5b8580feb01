"""Writes ``docs/transformers.md`` from the transformers themselves: ``python docs/generate_transformers.py``.

The page lists what the plugins in ``plugins/`` offer, with the options that the router checks a configuration against,
so it cannot say anything that the code does not.  ``tests/test_docs_transformers.py`` fails when it is stale.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from ccr_core import TransformerSpec
from ccr_core.options import docstrings as texts_below
from ccr_core.plugins import load
from ccr_core.testing import entry_module

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "transformers.md"

HEAD = """\
# Transformers

A transformer changes requests on their way to a provider, or answers on their way back. It does nothing until the
configuration names it: for all providers (`transformer.use` at the top), for one provider, or for one of its models.

```json5
{
  "Providers": [{
    "name": "acme",
    "api_base_url": "https://api.acme.example/v1",
    "api_key": "$ACME_API_KEY",
    "models": ["acme-large", "acme-small"],
    "transformer": {
      "use": ["cleancache", ["maxtoken", { "max_tokens": 16384 }]],   // a name, or a name and options
      "acme-small": { "use": ["tooluse"] }                            // more for one model
    }
  }]
}
```

Requests pass the steps from the first to the last, answers from the last to the first. Small and capital letters in
names are the same. Some steps set options of the format that the provider speaks; those in the provider's own entry are
stronger. `ccr explain` shows what each step does to a request.

This page is made by `python docs/generate_transformers.py`; how to write a transformer is in
[writing-a-plugin.md](writing-a-plugin.md).
"""

_SCALARS = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}


def offered() -> Iterator[tuple[str, TransformerSpec]]:
    """Every transformer of the built-in plugins with the name of its distribution, by name."""
    found: list[tuple[str, TransformerSpec]] = []
    for file in (ROOT / "plugins").glob("*/pyproject.toml"):
        registry = load([entry_module(file.parent)])
        found += [(file.parent.name, contributed.value) for contributed in registry.transformers.values()]
    yield from sorted(found, key=lambda pair: pair[1].name)


def page() -> str:
    """The text of the page."""
    specs = list(offered())
    rows = [f"| [`{spec.name}`](#{spec.name}) | {_plain(spec.summary)} |" for _, spec in specs]
    parts = [HEAD.strip(), "\n".join(["| transformer | what it does |", "| --- | --- |", *rows])]
    for plugin, spec in specs:
        parts += [f"## `{spec.name}`", *section(plugin, spec)]
    return "\n\n".join(parts) + "\n"


def section(plugin: str, spec: TransformerSpec) -> Iterator[str]:
    """The paragraphs about one transformer, under its heading."""
    yield f"{_plain(spec.summary)} From [{plugin}](../plugins/{plugin}/README.md)."
    if spec.aliases:
        yield f"Other names: {', '.join(f'`{name}`' for name in spec.aliases)}."
    if spec.dialect:
        yield f"The provider is spoken to in the format `{spec.dialect}`."
    if spec.options is None:
        yield "It takes no options."
    elif not attrs.has(spec.options):
        yield "Its options are any fields of the request that is sent, in the provider's format."
    else:
        yield from _options(spec.options)
    yield from _settings(spec)


def _options(cls: type[Any]) -> Iterator[str]:
    meanings = docstrings(cls)
    kinds = typing.get_type_hints(cls)
    if not meanings.keys() >= kinds.keys():
        yield _plain(inspect.getdoc(cls) or "")
    rows = ["| option | type | default | meaning |", "| --- | --- | --- | --- |"]
    for field in attrs.fields(cls):
        key = field.metadata.get("key", field.name)
        if key is not None:
            kind, meaning = _kind(kinds[field.name]), meanings.get(field.name, "")
            rows.append(f"| `{key}` | {kind} | {_default(field)} | {meaning} |")
    yield "\n".join(rows)


def docstrings(cls: type[Any]) -> dict[str, str]:
    """The texts below the fields of a class, as Markdown."""
    return {name: _plain(text) for name, text in texts_below(cls).items()}


def _plain(text: str) -> str:
    """A text of the code as Markdown, on one line."""
    return " ".join(text.replace("``", "`").replace("|", "\\|").replace("<", "&lt;").split())


def _kind(kind: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(one) for one in inner if one is not type(None))
    if origin is Literal:
        return " or ".join(f"`{json.dumps(one)}`" for one in inner)
    if origin in (tuple, list):
        return f"list of {_kind(inner[0])}"
    if kind is Any:
        return "anything"
    return _SCALARS.get(kind, "object")


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "required"
    factory = getattr(field.default, "factory", None)
    default = factory() if factory else field.default
    return "" if default is None else f"`{json.dumps(default)}`"


def _settings(spec: TransformerSpec) -> Iterator[str]:
    """The options of dialects that it sets."""
    given: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] = spec.dialect_options
    if callable(given):
        given = given({} if spec.options is None or not attrs.has(spec.options) else spec.options())
    for dialect, options in given.items():
        if options:
            yield f"Options of the format `{dialect}` that it sets unless told otherwise:"
            yield f"```json\n{_folded(options)}\n```"


def _folded(value: Any, indent: int = 0) -> str:
    """JSON that is no longer than it must be."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, Mapping) or len(line) + indent < 90:
        return line
    blanks = " " * (indent + 2)
    items = [f"{blanks}{json.dumps(name)}: {_folded(item, indent + 2)}" for name, item in value.items()]
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
