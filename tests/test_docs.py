"""The documentation and the code say the same.

What is tied elsewhere: the keys of the configuration (``test_config.py``), the help of the commands
(``cli/test_docs.py``), the package of the guide (``test_third_party.py``).
"""

from __future__ import annotations

import inspect
import json
import re
import shlex
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import click
import pyjson5
import pytest
from click.testing import CliRunner
from doc_blocks import PAGES, ROOT, Block, blocks, prose

import ccr_core
from ccr_core import (
    ApiKey,
    BlockDelta,
    Counter,
    Dialect,
    Finished,
    Ingress,
    MessageStop,
    Observer,
    ProtocolError,
    RouteContext,
    Target,
    Transformer,
    hookspecs,
    spec,
)
from ccr_core.cli.group import COMMANDS, group
from ccr_core.config import from_document
from ccr_core.dialect import Context
from ccr_core.plugins import HOOKS, Registry, load
from ccr_core.runtime import build
from ccr_core.testing import RuleCase, as_request, ask, check_rule, check_transformer, context, decode, pieces

DOCS = ROOT / "docs"
HOOKS_PAGE = DOCS / "hooks.md"
BLOCKS = [block for page in PAGES for block in blocks(page)]
ENVIRON = {"DEEPSEEK_API_KEY": "sk-test"}
"""What the examples of configurations take from the environment."""


def text_of(page: Path) -> str:
    """A page, as text."""
    return page.read_text("utf-8")


def of_language(*languages: str) -> list[Any]:
    """The blocks in these languages, as parameters of a test."""
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


def marked(mark: str) -> list[Any]:
    """The blocks with a mark, as parameters of a test."""
    return [pytest.param(block, id=f"{block.page.stem} {block.about}") for block in BLOCKS if block.mark == mark]


# --- the pages ----------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings make, as the usual renderers of Markdown make them."""
    headings = re.findall(r"^#+ (.+?) *#*$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[Any]:
    """Every link of every page that leads to a file or a heading of this project."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if not re.match(r"[a-z]+:", target):
                yield pytest.param(page, target, id=f"{page.stem} {target}")


@pytest.mark.parametrize(("page", "target"), [*links()])
def test_links(page: Path, target: str) -> None:
    """A relative link leads to a file that is there, and to a heading that is in it."""
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page

    assert file.is_file()
    assert file.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(file)


def test_the_index_lists_every_page() -> None:
    """Nobody has to know that a page exists to find it."""
    listed = set(re.findall(r"\]\(([\w.-]+\.md)\)", text_of(DOCS / "index.md")))

    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} == listed


def test_the_index_lists_every_plugin() -> None:
    """Each built-in plugin has one line that says what it does."""
    rows = re.findall(
        r"^\| \[([\w-]+)\]\(\.\./plugins/\1/README\.md\) \| (\S.{10,150}) \|$", text_of(DOCS / "index.md"), re.M
    )

    assert sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")) == [name for name, _ in rows]


def test_every_file_of_the_core_is_explained() -> None:
    """The architecture has a line for every module of the core."""
    listed = set(re.findall(r"^\| `([\w.]+/?)` \|", text_of(DOCS / "architecture.md"), re.M))
    modules = {path.name for path in (ROOT / "ccr_core").glob("*.py")} - {"__init__.py"}
    folders = {f"{path.parent.name}/" for path in (ROOT / "ccr_core").glob("*/__init__.py")}

    assert modules | folders == listed


def test_every_dependency_is_argued_for() -> None:
    """The architecture has a line for each package that the core depends on."""
    wanted = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["dependencies"]
    section = text_of(DOCS / "architecture.md").partition("## Dependencies")[2].partition("\n## ")[0]

    assert {re.split(r"[^\w-]", need)[0] for need in wanted} <= set(re.findall(r"^\| ([\w-]+) \|", section, re.M))


# --- the reference ------------------------------------------------------------------------------------------


def hooks() -> list[Any]:
    """Every hook, by name."""
    return [
        pytest.param(name, function, id=name)
        for name, function in vars(hookspecs).items()
        if inspect.isfunction(function) and getattr(function, "ccr_spec", None) is not None
    ]


@pytest.mark.parametrize(("name", "function"), hooks())
def test_hooks_are_documented(name: str, function: types.FunctionType) -> None:
    """Each hook has a heading with its exact signature, says since when it exists, and shows an example of itself."""
    signature = inspect.signature(function)
    heading = (
        f"### `{name}{signature.replace(return_annotation=inspect.Signature.empty)} -> {signature.return_annotation}`"
    )
    section = text_of(HOOKS_PAGE).partition(f"\n{heading}\n")[2].partition("\n### ")[0]
    since = re.search(r"versionadded:: ([\d.]+)", function.__doc__ or "")

    assert since is not None
    assert f"Since {since[1]}." in section
    assert f"def {name}(" in section


def test_hooks_are_all_documented() -> None:
    """The page has no hook that is not there, and the other way round; nor has the list of the core."""
    documented = set(re.findall(r"^### `(ccr_\w+)\(", text_of(HOOKS_PAGE), re.M))

    assert set(HOOKS) == documented
    assert set(HOOKS) == {parameter.values[0] for parameter in hooks()}


def rows(heading: str) -> list[str]:
    """What stands first in the rows of the table under a heading of the hooks page, without arguments."""
    section = text_of(HOOKS_PAGE).partition(f"\n### {heading}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    assert section, f"hooks.md has no heading {heading}"
    return re.findall(r"^\| `(\w+)(?:\([\w, ]*\))?` \|", section, re.M)


SPECS = [
    cls for cls in vars(spec).values() if isinstance(cls, type) and cls.__module__ == spec.__name__ and attrs.has(cls)
]


@pytest.mark.parametrize("cls", SPECS)
def test_fields_of_specs(cls: type[Any]) -> None:
    """Every field of what hooks return has its row, in the same order."""
    assert [field.name for field in attrs.fields(cls)] == rows(f"`{cls.__name__}`")


def test_fields_of_the_rules_context() -> None:
    """Everything that a rule may know has its row."""
    assert {field.name for field in attrs.fields(RouteContext)} == set(rows("Rules"))


@pytest.mark.parametrize("cls", [Transformer, Dialect, Ingress])
def test_methods_of_base_classes(cls: type[Any]) -> None:
    """Everything that a plugin may override has its row."""
    names = {name for name in {**vars(cls), **cls.__annotations__} if not name.startswith("_")}

    assert names == set(rows(f"`{cls.__name__}`"))


@pytest.mark.parametrize("cls", [Observer, Counter])
def test_methods_of_small_classes(cls: type[Any]) -> None:
    """Of these two each method is named in the text."""
    methods = [name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")]

    assert [] == [name for name in methods if f"`{name}(" not in text_of(HOOKS_PAGE)]


@pytest.mark.parametrize("cls", [Target, Context])
def test_fields_of_values(cls: type[Any]) -> None:
    """What a dialect or transformer knows of its attempt is in the table of values."""
    row = next(line for line in text_of(HOOKS_PAGE).splitlines() if line.startswith(f"| `{cls.__name__}` |"))

    assert [] == [field.name for field in attrs.fields(cls) if not re.search(rf"\b{field.name}\b", row)]


def test_key_styles() -> None:
    """The ways to send a key are listed where a preset chooses one."""
    from ccr_core.auth import KEY_STYLES

    row = next(line for line in text_of(HOOKS_PAGE).splitlines() if line.startswith("| `key_style` | how the key"))

    assert ApiKey.__name__ in text_of(HOOKS_PAGE)
    assert [] == [style for style in (*KEY_STYLES, "none") if f"`{style}`" not in row]


def test_public_names_are_documented() -> None:
    """Every public name of the core is on the hooks page."""
    page = text_of(HOOKS_PAGE)

    assert [] == [name for name in ccr_core.__all__ if not re.search(rf"(?<!\w){name}(?!\w)", page)]


# --- the code blocks ----------------------------------------------------------------------------------------


def test_blocks_have_a_language() -> None:
    """A block says what it is, so that it can be checked and coloured."""
    languages = {"json", "json5", "toml", "python", "shell", "text", "markdown", "yaml", "dockerfile", "typescript", ""}

    assert set() == {block.language for block in BLOCKS} - languages


@pytest.mark.parametrize("block", of_language("json", "json5"))
def test_json_parses(block: Block) -> None:
    """What is marked as JSON is JSON; with comments it is JSON5."""
    assert (json.loads if block.language == "json" else pyjson5.decode)(block.text) is not None


@pytest.mark.parametrize("block", of_language("toml"))
def test_toml_parses(block: Block) -> None:
    """What is marked as TOML is TOML."""
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("block", of_language("python"))
def test_python_compiles(block: Block) -> None:
    """What is marked as Python is Python."""
    assert compile(block.text, str(block), "exec", dont_inherit=True)


@pytest.mark.parametrize("block", marked("from"))
def test_excerpts_are_the_files_text(block: Block) -> None:
    """An excerpt stands in the file that it is from, word for word."""
    assert block.text in text_of(ROOT / block.about)


def commands() -> Iterator[Any]:
    """Every call of ``ccr`` in a shell block, with the words after it."""
    for block in BLOCKS:
        if block.language != "shell":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            for call in re.findall(r"(?:^|[|&;(] ?|uv run )ccr ([^|&;)#]+)", line):
                yield pytest.param(call.strip().strip('"'), id=f"{block} {call.strip()}")


@pytest.mark.parametrize("call", [*commands()])
def test_commands_exist(call: str) -> None:
    """Commands in examples are there and have the options that they are called with."""
    words = shlex.split(call)
    ctx = click.Context(group)
    command: click.Command = group
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command, words = command.get_command(ctx, words[0]) or pytest.fail(f"no command {words[0]}"), words[1:]
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}

    assert command is not group or not words or set(words) <= known
    if command.name != "code":  # its arguments are the client's
        assert set() == {word.partition("=")[0] for word in words if word.startswith("-")} - known


def test_every_command_is_mentioned() -> None:
    """The page of commands has a heading for each, except for second names."""
    headings = set(re.findall(r"`ccr (\w+)", "\n".join(re.findall(r"^## .*$", text_of(DOCS / "cli.md"), re.M))))

    assert set(COMMANDS) - {"env", "plugin"} <= headings


def module_of(block: Block) -> types.ModuleType:
    """The block, executed as a module."""
    module = types.ModuleType(f"example_at_line_{block.line}")
    exec(compile(block.text, str(block), "exec", dont_inherit=True), vars(module))
    return module


def loaded(block: Block) -> Registry:
    """What the block offers as a plugin."""
    registry = load([module_of(block)])
    assert ("active", "") == (registry.plugins[0].state, registry.plugins[0].reason)
    return registry


@pytest.mark.parametrize(
    "block", [parameter for parameter in of_language("python") if "@hookimpl" in parameter.values[0].text]
)
def test_examples_of_hooks_load(block: Block) -> None:
    """Every example with a hook is a plugin that loads and offers something."""
    assert loaded(block).plugins[0].offers


def example(name: str) -> Registry:
    """The plugin of the guide with this mark."""
    return loaded(next(block for block in BLOCKS if (block.mark, block.about) == ("plugin", name)))


def test_the_rule_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    """It decides at night, passes by day and where it is not configured, and keeps to what rules must do."""
    rule = example("rule").rules["night"].value
    hour = {"now": 23}
    monkeypatch.setattr(
        rule.decide.__globals__["time"],
        "localtime",
        lambda: types.SimpleNamespace(tm_hour=hour["now"]),
    )
    routes = {"night": "local,tiny", "nightHours": [22, 7]}

    check_rule(rule, [RuleCase(body=ask(), router=routes, model="local,tiny"), RuleCase(body=ask())])
    hour["now"] = 12
    check_rule(rule, [RuleCase(body=ask(), router=routes)])


def test_the_preset_of_the_guide() -> None:
    """Its name alone makes a provider."""
    plugins = [module_of(block) for block in BLOCKS if (block.mark, block.about) == ("plugin", "preset")]
    registry = load([*plugins, *installed("openai-chat", "cleancache", "maxtoken")])
    document = {"Providers": [{"name": "acme"}], "Router": {"default": "acme,acme-small"}}

    provider = build(from_document(document, {}), registry).providers["acme"]

    assert "https://api.acme.example/v1/chat/completions" == provider.base_url
    assert ("acme-large", "acme-small") == provider.models
    assert ["cleancache", "maxtoken"] == [step.spec.name for step in provider.plan.steps]


def test_the_dialect_of_the_guide() -> None:
    """It reads its answers however they are cut, and does not take a cut one for a whole one."""
    dialect = example("dialect").dialects["lines"].value
    data = '{"text": "Grüße "}\n{"text": "an alle"}\n{"done": true, "tokens": 5}\n'.encode()
    request, ctx = as_request(ask()), context(dialect=dialect)

    whole = decode(dialect, [data], request, ctx)
    bytewise = decode(dialect, pieces(data, 1), request, ctx)
    cut = decode(dialect, [data[:-30]], request, ctx)

    assert whole.error is None
    assert "Grüße an alle" == "".join(event.delta["text"] for event in whole.events if isinstance(event, BlockDelta))
    assert whole.sequenced[1:] == bytewise.sequenced[1:]
    assert isinstance(cut.error, ProtocolError)
    assert [MessageStop()] == list(dialect.decode_body({"text": "x"}, request, ctx))[-1:]


def test_the_observer_of_the_guide(tmp_path: Path) -> None:
    """It counts what finished and writes it at the end."""
    observer = example("observer").observers["tally"].value.factory(None, tmp_path)
    fields: dict[str, Any] = {field.name: None for field in attrs.fields(Finished)}
    done = Finished(**{**fields, "provider": "p", "model": "m", "usage": {"output_tokens": 3}})

    observer.on(done)
    observer.on(done)
    observer.close()

    assert {"p,m": 6} == json.loads((tmp_path / "tally.json").read_text())


def test_the_counter_of_the_guide() -> None:
    """It counts four tokens for three words."""
    assert 4 == example("counter").counters["acme-words"].value.factory().count("one two three")


async def test_the_page_of_the_guide() -> None:
    """It answers with the number of models that the router has."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    factory = example("page").pages["census"].value.factory
    assert factory is not None
    router = types.SimpleNamespace(models=lambda: [{"id": "p,m"}, {"id": "p,n"}])

    await factory(None, router)({"type": "http"}, None, send)

    assert 200 == sent[0]["status"]
    assert {"models": 2} == json.loads(sent[1]["body"])


def test_the_transformer_of_the_reference() -> None:
    """The example of a transformer keeps to what transformers must do."""
    block = next(block for block in blocks(HOOKS_PAGE) if "def ccr_transformers" in block.text)

    check_transformer(loaded(block).transformers["no-temperature"].value)


# --- configurations and what is said of them ----------------------------------------------------------------


def installed(*names: str) -> list[Any]:
    """Modules of built-in plugins."""
    import importlib

    return [importlib.import_module(f"ccr_plugin_{name.replace('-', '_')}") for name in names]


def configurations() -> list[Any]:
    """The complete configurations in the pages for newcomers."""
    return [
        pytest.param(block, id=str(block))
        for block in BLOCKS
        if block.page.stem in ("README", "tutorial")
        and block.language in ("json", "toml")
        and "Providers" in block.text
    ]


@pytest.mark.parametrize("block", configurations())
def test_configurations_can_be_used(block: Block) -> None:
    """A configuration in the pages for newcomers works as it stands, without a warning."""
    document = json.loads(block.text) if block.language == "json" else tomllib.loads(block.text)

    assert () == build(from_document(document, ENVIRON), load()).warnings


def test_both_syntaxes_say_the_same() -> None:
    """The readme's two minimal configurations are one."""
    one, other = (
        parameter.values[0].text for parameter in configurations() if parameter.values[0].page.stem == "README"
    )

    assert tomllib.loads(other) == json.loads(one)


@pytest.mark.parametrize("block", marked("explain"))
def test_explanations(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tutorial shows of ``ccr explain`` is what it prints for the tutorial's configuration and request."""
    configuration = next(each for each in BLOCKS if (each.mark, each.about) == ("config", block.about))
    call = next(each.text for each in blocks(block.page) if "| ccr explain" in each.text)
    (tmp_path / "config.toml").write_text(configuration.text, "utf-8")
    monkeypatch.setenv("CCR_HOME", str(tmp_path))
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-test")

    said = CliRunner().invoke(group, ["explain"], input=shlex.split(call)[1], standalone_mode=False)

    assert block.text in said.stdout
