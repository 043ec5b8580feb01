"""Transformers from files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from toy import ask, call, stream, toy_plugin, toy_registry, whole

from ccr_core import ConfigError, Transformer, TransformerSpec
from ccr_core.config import from_document
from ccr_core.custom import load_module
from ccr_core.runtime import Runtime, build
from ccr_core.server import create_app

MARK = """
import attrs
from ccr_core import Transformer

@attrs.frozen
class Options:
    text: str = "default"
    times: int = 1

class Mark(Transformer):
    '''Puts a mark into what is sent.'''

    name = "mark"
    Options = Options

    def on_wire_request(self, wire):
        return attrs.evolve(wire, body={**wire.body, "mark": self.options.text * self.options.times})
"""

FREE = """
from ccr_core import Transformer
import attrs

class Free(Transformer):
    def on_wire_request(self, wire):
        return attrs.evolve(wire, body={**wire.body, "mark": self.options})
"""


class Rig:
    """A folder with a configuration and files beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, text: str, name: str = "mark.py") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def build(self, *uses: Any, entry: Any = None, registry: Any = None, **more: Any) -> Runtime:
        """A runtime whose provider uses the steps ``uses``, with one file's ``entry`` or several."""
        entries = entry if isinstance(entry, list) else [entry or {"path": "mark.py"}]
        provider = {"name": "toy", "api_base_url": "http://toy.invalid/", "api_key": "k", "models": ["m"]}
        document = {
            "Providers": [{**provider, "dialect": "toy", "transformer": {"use": list(uses)}}],
            "transformers": entries,
            **more,
        }
        config = from_document(document, {}, self.folder / "config.json")
        return build(config, registry or toy_registry())

    async def sent(self, runtime: Runtime) -> Any:
        """What a provider is sent."""
        from toy import FakeSender

        sender = FakeSender(whole({"text": "a"}))
        assert 200 == (await call(create_app(runtime, sender), "POST", "/toy", ask())).status
        return sender.sent[0][1]

    def problem(self, *uses: Any, **more: Any) -> str:
        """The message of the error, with single blanks."""
        with pytest.raises(ConfigError) as error:
            self.build(*uses, **more)
        return re.sub(r"\s+", " ", error.value.message)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A folder."""
    return Rig(tmp_path)


async def test_class_in_a_file(rig: Rig) -> None:
    """
    A subclass of Transformer in a file is a transformer like any other, with its options checked.
    """
    rig.file(MARK)
    assert "default" == (await rig.sent(rig.build("mark")))["mark"]
    assert "xx" == (await rig.sent(rig.build(["mark", {"text": "x", "times": 2}])))["mark"]


async def test_options_of_entry_and_use(rig: Rig) -> None:
    """
    The entry's options are the defaults; those of a use win, one by one.
    """
    rig.file(MARK)
    entry = {"path": "mark.py", "options": {"text": "e", "times": 3}}

    assert "eee" == (await rig.sent(rig.build("mark", entry=entry)))["mark"]
    assert "uuu" == (await rig.sent(rig.build(["mark", {"text": "u"}], entry=entry)))["mark"]


def test_options_are_checked(rig: Rig) -> None:
    """
    A wrong option is an error at its place, whether the use or the entry has it.
    """
    rig.file(MARK)
    used = rig.problem(["mark", {"txt": "x"}])
    given = rig.problem("mark", entry={"path": "mark.py", "options": {"times": "x"}})

    assert 'Providers[0].transformer.use[0][1].txt unknown option of mark; did you mean "text"?' in used
    assert 'expected an integer, got "x"' in given


async def test_options_without_a_class(rig: Rig) -> None:
    """
    Without a class of options they are given as they are written.
    """
    rig.file(FREE)
    entry = {"path": "mark.py", "name": "free", "options": {"a": 1, "b": {"c": 2}}}
    assert {"a": 1, "b": {"c": 3}} == (await rig.sent(rig.build(["free", {"b": {"c": 3}}], entry=entry)))["mark"]
    assert {"a": 1, "b": {"c": 2}} == (await rig.sent(rig.build("free", entry=entry)))["mark"]


@pytest.mark.parametrize(
    ("text", "entry", "name"),
    [
        (MARK, {"path": "mark.py", "name": "mine"}, "mine"),
        (MARK, {"path": "mark.py"}, "mark"),
        (FREE, {"path": "mark.py", "name": "mine"}, "mine"),
        (FREE, {"path": "mark.py"}, "mark"),
        (FREE, {"path": "mark.py"}, "MARK"),
    ],
)
def test_names(rig: Rig, text: str, entry: dict[str, Any], name: str) -> None:
    """
    The name is the entry's, else the class's, else the file's; it is found without regard to case.
    """
    rig.file(text)
    (step,) = rig.build(name, entry=entry).providers["toy"].plan.steps
    assert name.lower() == step.spec.name


def test_several_classes(rig: Rig) -> None:
    """
    A file may hold several, each under its own name; what it imports is not one of them.
    """
    rig.file(
        "from ccr_core import Transformer\n"
        "class One(Transformer):\n    name = 'one'\n"
        "class Two(One):\n    name = 'two'\n    Options = None\n"
    )
    steps = rig.build("one", "two").providers["toy"].plan.steps
    assert ["One", "Two"] == [step.spec.factory.__name__ for step in steps]  # type: ignore[attr-defined]
    assert 'no transformer "Transformer"' in rig.problem("Transformer")


def test_entrys_name_for_several_classes(rig: Rig) -> None:
    """
    One name cannot be that of several, so there it is an error and not forgotten.
    """
    rig.file(
        "from ccr_core import Transformer\n"
        "class One(Transformer):\n    name = 'one'\nclass Two(Transformer):\n    name = 'two'\n"
    )
    found = rig.problem("one", entry={"path": "mark.py", "name": "mine"})
    assert "transformers[0].name" in found
    assert "itself names what it holds: one, two" in found


def test_class_that_takes_no_options(rig: Rig) -> None:
    """
    ``Options = None`` says that there are none.
    """
    rig.file("from ccr_core import Transformer\nclass One(Transformer):\n    Options = None\n")
    assert "mark takes no options" in rig.problem(["mark", {"a": 1}])


async def test_hook_function(rig: Rig) -> None:
    """
    A file may implement the hook as a package does, as a list or a generator.
    """
    rig.file(
        MARK
        + "\nfrom ccr_core import TransformerSpec\n"
        + "def ccr_transformers():\n"
        + "    yield TransformerSpec(name='hooked', factory=Mark, options=Options, aliases=('other',))\n"
    )
    assert "x" == (await rig.sent(rig.build(["hooked", {"text": "x"}])))["mark"]
    assert "default" == (await rig.sent(rig.build("other")))["mark"]
    assert 'no transformer "mark"' in rig.problem("mark")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("class Mark(:", r"mark.py failed: SyntaxError: .*\(line 1\)"),
        ("\n\n1 / 0", r"mark.py failed: ZeroDivisionError: division by zero \(line 3\)"),
        ("import no_such_module", r"mark.py failed: ModuleNotFoundError: No module named 'no_such_module' \(line 1\)"),
        ("import sys\nsys.exit(3)", r"mark.py failed: SystemExit: 3 \(line 2\)"),
        ("def f():\n    1 / 0\nf()", r"ZeroDivisionError: division by zero \(line 2\)"),
        ("", "holds no subclass of ccr_core.Transformer"),
        ("from ccr_core import Transformer", "holds no subclass of ccr_core.Transformer"),
        ("def ccr_transformers(): return ['x']", "ccr_transformers gave 'x', expected a TransformerSpec"),
        ("def ccr_transformers(): 1 / 0", "division by zero"),
        ("ccr_transformers = 7", "'int' object is not callable"),
    ],
)
def test_files_that_cannot_be_used(rig: Rig, text: str, why: str) -> None:
    """
    The error has the place in the configuration, the file, and the line in it where there is one.
    """
    rig.file(text)
    found = rig.problem()
    assert "transformers[0].path" in found
    assert re.search(why, found), found


@pytest.mark.parametrize("name", ["mark.js", "mark.mjs", "mark.cjs", "mark.ts"])
def test_javascript(rig: Rig, name: str) -> None:
    """
    A transformer of the older tool is told what to do.
    """
    rig.file("module.exports = class {}", name)
    found = rig.problem(entry={"path": name})
    assert f"{name} is JavaScript; write the transformer in Python, see docs/configuration.md" in found


@pytest.mark.parametrize(("path", "why"), [("none.py", "there is no file"), (".", "there is no file")])
def test_missing_file(rig: Rig, path: str, why: str) -> None:
    """
    A file that is not there is an error at its place, and the others are read all the same.
    """
    rig.file("1 / 0")
    found = rig.problem(entry=[{"path": path}, {"path": "mark.py"}])
    assert f"transformers[0].path {why}" in found
    assert "transformers[1].path" in found


@pytest.mark.parametrize("path", ["mark.py", "./mark.py", "sub/../mark.py", "~/mark.py", "{}/mark.py"])
def test_paths(rig: Rig, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """
    A path is relative to the configuration, from the home with ``~``, or absolute.
    """
    rig.file(MARK)
    (rig.folder / "sub").mkdir()
    monkeypatch.setenv("HOME", str(rig.folder))
    monkeypatch.chdir("/")

    runtime = rig.build("mark", entry={"path": path.format(rig.folder)})

    assert rig.folder / "mark.py" in [file.resolve() for file in runtime.files]


def test_two_of_one_name(rig: Rig) -> None:
    """
    Two files with one name are an error, also when only the case differs.
    """
    rig.file(MARK)
    rig.file(MARK, "other.py")
    for second in ("mark", "Mark"):
        found = rig.problem(entry=[{"path": "mark.py"}, {"path": "other.py", "name": second}])
        assert f'transformers[1].path a second transformer "{second}"; give one of them another name' in found


async def test_file_replaces_a_plugins_transformer(rig: Rig) -> None:
    """
    The user's own wins over a plugin's of the same name, with a warning that names both.
    """
    path = rig.file(MARK)
    registry = toy_registry(
        toy_plugin(ccr_transformers=lambda: [TransformerSpec(name="mark", factory=Transformer, summary="Nothing.")])
    )
    runtime = rig.build("mark", registry=registry)

    assert "default" == (await rig.sent(runtime))["mark"]
    assert 1 == len([text for text in runtime.warnings if f"{path} replaces the transformer mark of " in text])


def test_where_a_step_is_from(rig: Rig) -> None:
    """
    Explanations and errors name the file.
    """
    path = rig.file(MARK)
    (step,) = rig.build("mark").providers["toy"].plan.steps
    assert str(path) in step.plugin


async def test_failing_step_names_its_file(rig: Rig) -> None:
    """
    What a step raises is an answer that names it, and not the end of the router.
    """
    from toy import FakeSender

    rig.file("from ccr_core import Transformer\nclass Bad(Transformer):\n    def on_request(self, r):\n        1 / 0\n")
    got = await call(create_app(rig.build("mark"), FakeSender(stream())), "POST", "/toy", ask())
    assert 500 == got.status
    assert "mark" in got.json["message"]
    assert "ZeroDivisionError" in got.json["message"]


def test_files_are_run_anew(rig: Rig) -> None:
    """
    Each build runs the file as it is then; what was made of the older text stays as it was.
    """
    rig.file(MARK)
    before = rig.build("mark").providers["toy"].plan.steps[0].spec.factory
    rig.file(MARK.replace('"default"', '"changed"'))
    after = rig.build("mark").providers["toy"].plan.steps[0].spec.factory

    assert ("default", "changed") == (before.Options().text, after.Options().text)  # type: ignore[attr-defined]


def test_modules_do_not_pile_up(rig: Rig) -> None:
    """
    However often a file is run, only its newest modules are kept by name.
    """
    import sys

    rig.file(MARK, "pile.py")
    for _ in range(20):
        rig.build("mark", entry={"path": "pile.py"})
    assert 3 >= len([name for name in sys.modules if name.endswith("_pile")])


def test_classes_know_their_module(rig: Rig) -> None:
    """
    A file may postpone the evaluation of its annotations, as options of plugins do.
    """
    rig.file("from __future__ import annotations\n" + MARK)
    assert "expected an integer" in rig.problem(["mark", {"times": "x"}])


def test_file_may_have_any_name(rig: Rig) -> None:
    """
    Blanks, dots and hyphens in the name of a file do no harm.
    """
    path = rig.file("VALUE = 7", "my file-1.2.py")
    assert 7 == load_module(path, "router").VALUE


async def test_example_of_the_reference(rig: Rig) -> None:
    """
    The file in ``docs/configuration.md`` does what it says, with the options that are shown there.
    """
    from doc_blocks import ROOT, blocks
    from toy import FakeSender

    page = blocks(ROOT / "docs" / "configuration.md")
    (example,) = [block for block in page if block.language == "python" and "Redact" in block.text]
    rig.file(example.text, "redact.py")
    entry = {"path": "redact.py", "options": {"replacement": "***"}}
    sender = FakeSender(whole({"text": "a"}))
    runtime = rig.build(["redact", {"words": ["Zanzibar"]}], entry=entry)
    body = ask([{"type": "text", "text": "to Zanzibar"}])

    assert 200 == (await call(create_app(runtime, sender), "POST", "/toy", body)).status

    (wire, sent) = sender.sent[0]
    assert [{"type": "text", "text": "to ***"}] == sent["messages"][0]["content"]
    assert wire.headers["x-asked-by"].startswith("req_")
