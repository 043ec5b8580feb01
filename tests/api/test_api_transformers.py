"""Transformers over the API, and the options that forms are made of."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from api_client import Client, fits

from ccr_core.api.transformers import OPTION
from ccr_core.config import Problems, structure
from ccr_core.options import class_schema, options_of, plain, takes_any
from ccr_core.plugins import Registry

FILE = '''
import attrs
from ccr_core import Transformer


@attrs.frozen
class Options:
    """``word``: what is said."""

    word: str = "hi"
    api_key: str = "not-shown-either"


class Polite(Transformer):
    Options = Options
'''


async def test_every_transformer_is_listed(client: Client, registry: Registry) -> None:
    """
    With plugin, version, and options of the shape that is documented.
    """
    got = await client.get("/api/transformers")

    rows = {row["name"]: row for row in got["transformers"]}
    assert set(registry.transformers) == set(rows)
    assert ["max_tokens"] == [option["name"] for option in rows["maxtoken"]["options"]]
    assert ("integer", True) == tuple(rows["maxtoken"]["options"][0][key] for key in ("type", "required"))
    assert True is rows["openrouter"]["free"]
    assert (False, []) == (rows["tooluse"]["free"], rows["tooluse"]["options"])
    assert {"name": "tooluse", "provider": "deepseek", "model": "deepseek-chat"}.items() <= got["used"][1].items()


async def test_files_of_the_user_have_forms_too(client: Client) -> None:
    """
    A transformer in a file gets its form like any other; the default of a secret is not shown.
    """
    path = client.path.parent / "polite.py"
    path.write_text(FILE)
    named = '"transformers": [{"path": "polite.py"}],'
    client.path.write_text(client.text.replace('"PORT": 3456,', f'"PORT": 3456, {named}'))
    assert await client.app.reload.now()  # type: ignore[union-attr]

    (own,) = (await client.get("/api/transformers"))["custom"]

    assert ("polite.py", None) == (own["path"], own["error"])
    (made,) = own["transformers"]
    word, key = made["options"]
    assert ("polite", "string", "hi", "what is said") == (made["name"], word["type"], word["default"], word["summary"])
    assert (True, None) == (key["secret"], key["default"])


async def test_options_of_a_file_may_change_and_its_path_may_not(client: Client) -> None:
    """
    What is run stays; what it is told, or that it goes, is up to the page.
    """
    (client.path.parent / "polite.py").write_text(FILE)
    named = '"transformers": [{"path": "polite.py"}],'
    client.path.write_text(client.text.replace('"PORT": 3456,', f'"PORT": 3456, {named}'))

    async def change(*path: Any, value: Any = None, op: str = "set") -> Any:
        change = {"op": op, "path": ["transformers", *path], "value": value}
        return await client.http.patch("/api/config", json={"version": await client.version(), "changes": [change]})

    assert 200 == (await change(0, "options", value={"word": "hello"})).status_code
    assert 403 == (await change(0, "path", value="other.py")).status_code
    assert 403 == (await change(0, value={"path": "other.py"}, op="insert")).status_code
    assert 200 == (await change(0, op="delete")).status_code


@pytest.mark.parametrize(
    "kind", ["transformers", "rules", "observers", "server_tools", "counters", "auth", "token_stores", "pages"]
)
def test_all_options_of_all_plugins_can_be_asked_for(registry: Registry, kind: str) -> None:
    """
    For each class: known types only, every key there, and a default that the strict reader takes again.
    """
    asked = 0
    for name, contributed in getattr(registry, kind).items():
        options = contributed.value.options
        if options is None:
            continue
        found = options_of(options)
        fits(found, [OPTION], name)
        assert takes_any(options) == (not attrs.has(options))
        if attrs.has(options):
            given = {option["name"]: option["default"] for option in found if option["default"] is not None}
            needed = {option["name"]: 1 for option in found if option["required"]}
            without, problems = Problems(), Problems()
            structure(options, needed, name, without)
            structure(options, {**needed, **given}, name, problems)
            assert without == problems
            assert {option["name"] for option in found} == set(class_schema(options)["properties"])
        asked += 1
    assert asked or kind in ("pages",)


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Inner:
    """Options inside of options."""

    a: int = 1


@attrs.frozen
class Every:
    """One of each.

    ``size``: how large; at most ten.  ``name`` is what it is called.
    """

    name: str
    size: int = attrs.field(default=3, validator=[attrs.validators.gt(0), attrs.validators.le(10)])
    share: float | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    colour: Colour = Colour.RED
    mode: Literal["x", "y"] = "x"
    flag: bool = False
    file: Path | None = None
    words: tuple[str, ...] = ("a",)
    table: Mapping[str, int] = attrs.field(factory=dict)
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    free: Any = None
    route: str | None = attrs.field(default=None, metadata={"route": True, "key": "wayTo"})
    routes: Mapping[str, str] = attrs.field(factory=dict, metadata={"route": True})
    limit: int | str = 5
    token: str = attrs.field(default="x", repr=False)
    port: int = attrs.field(default=1, validator=attrs.validators.in_(range(1, 65536)))
    level: str = attrs.field(default="a", validator=attrs.validators.in_(("a", "b")))
    hidden: int = attrs.field(default=0, metadata={"key": None})
    hinted: int = attrs.field(default=0, metadata={"summary": "so", "minimum": 2, "maximum": 4})


def test_types_become_fields_of_a_form() -> None:
    """
    Every type that the reader understands has its field, with limits, choices and words.
    """
    found = {option["name"]: option for option in options_of(Every)}

    assert "hidden" not in found
    types = {name: option["type"] for name, option in found.items()}
    assert {
        "name": "string",
        "size": "integer",
        "share": "number",
        "colour": "choice",
        "mode": "choice",
        "flag": "boolean",
        "file": "string",
        "words": "list",
        "table": "object",
        "inner": "object",
        "many": "list",
        "free": "any",
        "wayTo": "route",
        "routes": "object",
        "limit": "integer",
        "token": "string",
        "port": "integer",
        "level": "choice",
        "hinted": "integer",
    } == types
    assert (True, "what it is called") == (found["name"]["required"], found["name"]["summary"][-17:].strip("."))
    assert (1, 10, "how large") == tuple(found["size"][key] for key in ("minimum", "maximum", "summary"))
    assert (0, True) == (found["share"]["minimum"], found["share"]["nullable"])
    assert (["red", "blue"], "red") == (found["colour"]["choices"], found["colour"]["default"])
    assert ["x", "y"] == found["mode"]["choices"]
    assert ("string", ["a"]) == (found["words"]["items"]["type"], found["words"]["default"])
    assert "integer" == found["table"]["items"]["type"]
    assert ["a"] == [option["name"] for option in found["inner"]["options"]]
    assert ["a"] == [option["name"] for option in found["many"]["items"]["options"]]
    assert {"a": 1} == found["inner"]["default"]
    assert "route" == found["routes"]["items"]["type"]
    assert (True, None) == (found["token"]["secret"], found["token"]["default"])
    assert (1, 65535) == (found["port"]["minimum"], found["port"]["maximum"])
    assert ["a", "b"] == found["level"]["choices"]
    assert ("so", 2, 4) == tuple(found["hinted"][key] for key in ("summary", "minimum", "maximum"))


def test_a_value_is_written_as_in_a_file() -> None:
    """
    What the reader makes of plain data becomes the same plain data again.
    """
    data = {"name": "n", "colour": "blue", "words": ["b"], "table": {"k": 2}, "inner": {"a": 4}, "wayTo": "p,m"}

    problems = Problems()
    made = structure(Every, data, "", problems)

    assert [] == problems.items
    assert data.items() <= plain(made).items()
