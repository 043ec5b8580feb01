"""Presets: what a manifest means, and presets in service beside the main configuration."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pyjson5
import pytest
from toy import FakeSender, ask, call, calling, stream, toy_plugin, toy_registry

from ccr_core import Decision, Observer, ObserverSpec, RuleSpec
from ccr_core.config import from_document
from ccr_core.errors import ConfigError
from ccr_core.namespaces import Namespaces
from ccr_core.presets import Manifest, check_name, digest, installed, manifest, presets_folder, read
from ccr_core.runtime import Runtime, build
from ccr_core.server import App, create_app

# The example that came with the format, as it stands (only the descriptive words are ours).
TWO_MODELS = """
{ "name": "two-models", "version": "1.0.0", "description": "…", "keywords": ["demo"],
  "schema": [
    { "id": "vendor", "type": "select", "label": "Vendor", "options": { "type": "providers" },
      "defaultValue": "alpha" },
    { "id": "model", "type": "select", "options": { "type": "models", "providerField": "#{vendor}" },
      "dependsOn": ["vendor"] },
    { "id": "key", "type": "password", "label": "API key" },
    { "id": "proxy", "type": "input", "required": false } ],
  "Providers": [ { "name": "alpha", "api_base_url": "https://alpha.example/v1/chat/completions", "api_key": "#{key}",
    "models": ["a1", "a2"] } ],
  "Router": { "default": "#{vendor},#{model}" },
  "configMappings": [
    { "target": "PROXY_URL", "value": "#{proxy}", "when": { "field": "proxy", "operator": "ne", "value": "" } } ],
  "StatusLine": { "enabled": true, "currentStyle": "default",
    "default": { "modules": [ { "type": "script", "scriptPath": "scripts/line.js", "text": "{{model}}" } ] } } }
"""


def made(folder: Path, **data: Any) -> Manifest:
    """A manifest of these data."""
    return manifest({"name": "p", **data}, folder)


def test_example(tmp_path: Path) -> None:
    """The format's own example gives the configuration that it means, status line and its variables included."""
    preset = manifest(pyjson5.decode(TWO_MODELS), tmp_path)
    document = preset.document({"vendor": "alpha", "model": "a2", "key": "k", "proxy": ""})

    assert ["model is required", "API key is required"] == preset.faults({})
    assert [] == preset.faults({"model": "a2", "key": "k"})
    assert {"Providers", "Router", "StatusLine"} == set(document)
    assert ("alpha,a2", "k") == (document["Router"]["default"], document["Providers"][0]["api_key"])
    module = document["StatusLine"]["default"]["modules"][0]
    assert ("{{model}}", str(tmp_path / "scripts" / "line.js")) == (module["text"], module["scriptPath"])
    assert "http://p" == preset.document({"model": "a2", "key": "k", "proxy": "http://p"})["PROXY_URL"]


def test_options(tmp_path: Path) -> None:
    """Choices are written out, or are the providers of the manifest, or the models of the one that was chosen."""
    preset = manifest(pyjson5.decode(TWO_MODELS), tmp_path)
    vendor, model, *_ = preset.questions
    [only] = preset.options(vendor, {})

    assert ("alpha", "https://alpha.example/v1/chat/completions") == (only.value, only.description)
    assert ["a1", "a2"] == [option.value for option in preset.options(model, {"vendor": "alpha"})]
    assert [] == preset.options(model, {"vendor": "other"})
    listed = [{"label": "One", "value": 1, "disabled": True}, "two"]
    for options in (listed, {"type": "static", "options": listed}):
        question = made(tmp_path, schema=[{"id": "x", "type": "select", "options": options}]).questions[0]
        found = [(each.label, each.value, each.disabled) for each in preset.options(question, {})]
        assert [("One", 1, True), ("two", "two", False)] == found


@pytest.mark.parametrize(
    ("operator", "value", "given", "holds"),
    [
        ("eq", "a", "a", True),
        ("eq", "a", "b", False),
        ("ne", "a", "b", True),
        ("in", ["a", "b"], "b", True),
        ("in", ["a"], "b", False),
        ("nin", ["a"], "b", True),
        ("gt", 3, 4, True),
        ("gt", 3, 3, False),
        ("lt", 3, 2, True),
        ("gte", 3, 3, True),
        ("lte", 3, 4, False),
        ("gt", 3, "many", False),
        ("exists", None, 0, True),
        ("exists", None, None, False),
    ],
)
def test_conditions(tmp_path: Path, operator: str, value: Any, given: Any, holds: bool) -> None:
    """A question is asked if its condition holds; a hidden one's answer does not count."""
    when = {"field": "a", "operator": operator, "value": value}
    preset = made(tmp_path, schema=[{"id": "b", "when": when}, {"id": "a", "required": False}], x="#{b}")

    assert holds == preset.questions[0].visible({"a": given})
    if given is not None:
        assert ("kept" if holds else "") == preset.document({"a": given, "b": "kept"})["x"]


def test_order(tmp_path: Path) -> None:
    """Questions come after those on which they depend, else in their order; a circle does not hang."""
    schema = [
        {"id": "a", "dependsOn": ["c"]},
        {"id": "b"},
        {"id": "c", "when": [{"field": "d", "value": 1}]},
        {"id": "d"},
        {"id": "e", "dependsOn": ["f"]},
        {"id": "f", "dependsOn": ["e"]},
    ]
    assert ["d", "c", "a", "b", "f", "e"] == [each.id for each in made(tmp_path, schema=schema).ordered()]


@pytest.mark.parametrize(
    ("item", "value", "fault"),
    [
        ({"type": "number", "min": 1, "max": 5}, 0, "X must be at least 1"),
        ({"type": "number", "max": 5}, 6, "X must be at most 5"),
        ({"type": "number"}, "6", "X must be a number"),
        ({"type": "number"}, 6, None),
        ({"type": "confirm"}, "yes", "X must be yes or no"),
        ({"type": "confirm"}, False, None),
        ({"type": "multiselect"}, [], "X is required"),
        ({"validator": "^sk-"}, "pk-1", "X does not have the form ^sk-"),
        ({"validator": "^sk-"}, "sk-1", None),
        ({"validator": "^sk-"}, "$MY_KEY", None),
        ({"type": "password"}, "", "X is required"),
        ({"required": False}, "", None),
        ({"type": "editor"}, "a\nb", None),
    ],
)
def test_validation(tmp_path: Path, item: dict[str, Any], value: Any, fault: str | None) -> None:
    """An answer is checked by the type and the limits of its question."""
    assert fault == made(tmp_path, schema=[{"id": "x", "label": "X", **item}]).questions[0].fault(value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [("number", "7", 7), ("number", "0.5", 0.5), ("confirm", "yes", True), ("multiselect", "a, b", ["a", "b"])],
)
def test_answers_as_text(tmp_path: Path, kind: str, text: str, value: Any) -> None:
    """An answer from a command line gets the type of its question."""
    assert value == made(tmp_path, schema=[{"id": "x", "type": kind}]).questions[0].convert(text)


def test_both_placeholders(tmp_path: Path) -> None:
    """Both ways to write a variable work, in a template too; a name without a question stays as it is, or vanishes."""
    schema = [{"id": "m"}, {"id": "n", "type": "number"}]
    template = {"Router": {"default": "p,{{m}}", "think": "p,#{m}"}, "x": "{{other}} #{other}!", "n": "#{n}"}
    beside = {"StatusLine": {"default": {"modules": [{"text": "{{m}} #{m}"}]}}}
    document = made(tmp_path, schema=schema, template=template, Router={"default": "unused"}, **beside).document(
        {"m": "big", "n": 3}
    )

    assert {"default": "p,big", "think": "p,big"} == document["Router"]
    assert ("{{other}} !", "3") == (document["x"], document["n"])
    assert "{{m}} big" == document["StatusLine"]["default"]["modules"][0]["text"]


def test_mappings(tmp_path: Path) -> None:
    """A mapping sets a place, made if it is missing, to the answer with its type, or to a text with answers in it."""
    schema = [{"id": "n", "type": "number"}, {"id": "on", "type": "confirm"}, {"id": "p"}]
    mappings = [
        {"target": "PORT2", "value": "#{n}"},
        {"target": "Providers[0].options.deep", "value": "{{on}}"},
        {"target": "Router.default", "value": "#{p},model"},
        {"target": "literal", "value": 7},
        {"target": "never", "value": "x", "when": {"field": "n", "operator": "gt", "value": 100}},
    ]
    preset = made(tmp_path, schema=schema, configMappings=mappings, Providers=[{"name": "a"}])
    values = {"n": 5, "on": True, "p": "a", "Router.think": "a,x"}

    assert {
        "Providers": [{"name": "a", "options": {"deep": True}}],
        "Router": {"default": "a,model", "think": "a,x"},
        "PORT2": 5,
        "literal": 7,
    } == preset.document(values)
    assert [{"name": "a"}] == preset.data["Providers"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a..b", ".hidden", "-x", "a\nb", " a", "x" * 101])
def test_names(name: str) -> None:
    """A name that could lead out of the folder, or be taken for an option, is none."""
    with pytest.raises(ConfigError):
        check_name(name)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"schema": {}}, "schema: expected a list"),
        ({"schema": [{"label": "x"}]}, "schema[0]: expected an object with an id"),
        ({"schema": [{"id": "a", "type": "colour"}]}, 'no type "colour"'),
        ({"schema": [{"id": "a"}, {"id": "a"}]}, "two questions have the same id"),
        ({"schema": [{"id": "a", "when": {"field": "b", "operator": "like"}}]}, 'no operator "like"'),
        ({"template": []}, "template: expected an object"),
    ],
)
def test_bad_manifests(tmp_path: Path, data: dict[str, Any], fault: str) -> None:
    """What cannot be understood is told with its place."""
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, **data)
    assert fault in caught.value.message


def test_digest(tmp_path: Path) -> None:
    """The checksum tells a changed file or manifest, and does not mind answers."""
    (tmp_path / "manifest.json").write_text('{"name": "p"}')
    (tmp_path / "x.py").write_text("1")
    first = digest(tmp_path, read(tmp_path).data)

    assert first == digest(tmp_path, {"name": "p", "userValues": {"a": 1}, "checksum": first, "source": "x"})
    assert first != digest(tmp_path, {"name": "q"})
    (tmp_path / "x.py").write_text("2")
    assert first != digest(tmp_path, {"name": "p"})


# --- in service -----------------------------------------------------------------------------------------------


class Seen(Observer):
    """Remembers what it saw; what comes after its end is a mistake."""

    def __init__(self) -> None:
        self.finished: list[str] = []
        self.closed = False
        self.end = asyncio.Event()

    def on(self, observation: Any) -> None:
        assert not self.closed
        if type(observation).__name__ == "Finished":
            self.finished.append(f"{observation.provider},{observation.model}")

    def close(self) -> None:
        self.closed = True
        self.end.set()


class Rig:
    """A router with presets in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.observers: list[Seen] = []
        self.sender = FakeSender()
        self.app: App = create_app(self.main("main"), self.sender)
        self.own: list[FakeSender] = []
        self.app.presets = Namespaces(presets_folder(root), self.app.engine, self.connect)

    def connect(self, config: Any, main: Any) -> Any:
        if config.proxy_url == main.proxy_url:
            return None
        self.own.append(FakeSender())
        return self.own[-1]

    def observer(self, options: Any, home: Any) -> Seen:
        self.observers.append(Seen())
        return self.observers[-1]

    def main(self, name: str, **more: Any) -> Runtime:
        rule = RuleSpec(name="default", decide=lambda request, ctx: Decision(ctx.router["default"], "the default"))
        observer = ObserverSpec(name="seen", factory=self.observer)
        registry = toy_registry(toy_plugin(ccr_rules=lambda: [rule], ccr_observers=lambda: [observer]))
        document = {"Providers": [self.provider(name)], "Router": {"default": f"{name},m"}, **more}
        return build(from_document(document, {}), registry)

    def provider(self, name: str) -> dict[str, Any]:
        url = f"http://{name}.invalid/"
        return {"name": name, "api_base_url": url, "api_key": f"key-of-{name}", "models": ["m"], "dialect": "toy"}

    def write(self, preset: str, **data: Any) -> None:
        folder = presets_folder(self.root) / preset
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / "new"
        beside.write_text(json.dumps(data))
        os.replace(beside, folder / "manifest.json")

    def preset(self, name: str, provider: str, **more: Any) -> None:
        data: dict[str, Any] = {"Providers": [self.provider(provider)], "Router": {"default": f"{provider},m"}}
        self.write(name, **{**data, **more})

    async def asked(self, path: str) -> str:
        """The address that a request to ``path`` reaches."""
        self.sender.replies = [whole_answer()]
        got = await call(self.app, "POST", path, ask(stream=True))
        assert 200 == got.status, got.body
        return self.sender.sent[-1][0].url


def whole_answer() -> Any:
    return stream(b'data: {"text":"a"}\n\ndata: {"end":true}\n\n')


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """A router and its folder of presets."""
    return Rig(tmp_path)


async def test_namespaces(rig: Rig) -> None:
    """Each preset has its own provider under its own path; the main one is as it was; all are observed."""
    rig.preset("one", "first")
    rig.preset("two", "second")
    rig.app.presets.load()

    assert ["one", "two"] == installed(rig.root)
    assert "http://first.invalid/" == await rig.asked("/preset/one/toy")
    assert "Bearer key-of-first" in rig.sender.sent[-1][0].headers.values()
    assert "http://second.invalid/" == await rig.asked("/preset/two/toy")
    assert "http://main.invalid/" == await rig.asked("/toy")
    assert ["first,m", "second,m", "main,m"] == rig.observers[0].finished
    assert 1 == len(rig.observers)


async def test_other_paths(rig: Rig) -> None:
    """A preset lists its own models, counts tokens, greets, and has nothing else."""
    rig.preset("one", "first")
    rig.app.presets.load()
    models = (await call(rig.app, "GET", "/preset/one/v1/models")).json["data"]

    assert "first,m" == models[0]["id"]
    assert "main,m" == (await call(rig.app, "GET", "/v1/models")).json["data"][0]["id"]
    assert 200 == (await call(rig.app, "GET", "/preset/one/v1/models/first,m")).status
    assert 0 < (await call(rig.app, "POST", "/preset/one/toy/count", ask("some words"))).json["tokens"]
    assert 200 == (await call(rig.app, "HEAD", "/preset/one/api/hello")).status
    assert 405 == (await call(rig.app, "GET", "/preset/one/toy")).status
    for path in ("one/api/status", "one/nothing", "none/toy", "", "one/preset/one/toy"):
        assert 404 == (await call(rig.app, "POST", f"/preset/{path}", ask())).status, path
    assert "first,m" == (await call(rig.app, "GET", "/api/status")).json["presets"]["one"]["default"]


@pytest.mark.parametrize("path", ["/preset/one/toy", "/preset/one/v1/models", "/preset/one/", "/preset/none/health"])
async def test_gate(rig: Rig, path: str) -> None:
    """The router's key and its rules about hosts hold for presets, also for those that are not there."""
    rig.app = create_app(rig.main("main", APIKEY="secret"), rig.sender)
    rig.app.presets = Namespaces(presets_folder(rig.root), rig.app.engine, rig.connect)
    rig.preset("one", "first", APIKEY="own")
    rig.app.presets.load()

    for method in ("GET", "POST"):
        assert 401 == (await call(rig.app, method, path, ask())).status
        assert 401 == (await call(rig.app, method, path, ask(), {"x-api-key": "own"})).status
        assert 403 == (await call(rig.app, method, path, ask(), {"host": "evil.example"})).status
    assert [] == rig.sender.sent


async def test_installed_while_it_runs(rig: Rig) -> None:
    """A preset that is put there, changed or taken away is so for the next request; else nothing is built."""
    looks = rig.app.presets.look
    assert not await looks()
    rig.preset("one", "first")
    assert await looks()
    assert "http://first.invalid/" == await rig.asked("/preset/one/toy")
    assert not await looks()

    rig.preset("one", "other-one")
    assert await looks()
    assert "http://other-one.invalid/" == await rig.asked("/preset/one/toy")

    (presets_folder(rig.root) / "one" / "manifest.json").unlink()
    assert await looks()
    got = await call(rig.app, "POST", "/preset/one/toy", ask())
    assert (404, "there is no preset 'one'; installed: none") == (got.status, got.json["message"])


async def test_unusable_presets(rig: Rig) -> None:
    """What is wrong with a preset is told to who asks for it, and hurts nobody; a changed one stays as it was."""
    rig.preset("good", "first")
    rig.preset("open", "second", schema=[{"id": "key", "type": "password", "label": "Key"}])
    rig.write("bad", Providers=[{"name": "x"}])
    rig.app.presets.load()

    told = (await call(rig.app, "POST", "/preset/open/toy", ask())).json["message"]
    assert "the preset open cannot be used: Key is required; to answer: ccr preset install open" == told
    assert "Providers[0].api_base_url" in (await call(rig.app, "POST", "/preset/bad/toy", ask())).json["message"]
    rig.write("good", Providers=7)
    assert await rig.app.presets.look()
    assert "http://first.invalid/" == await rig.asked("/preset/good/toy")
    assert "expected a list" in rig.app.presets.to_json()["good"]["problem"]


async def test_answers_are_used(rig: Rig) -> None:
    """The answers kept in a preset are in what is sent."""
    schema = [{"id": "key", "type": "password"}]
    provider = {**rig.provider("first"), "api_key": "#{key}"}
    rig.preset("one", "first", schema=schema, Providers=[provider], userValues={"key": "typed-in"})
    rig.app.presets.load()
    await rig.asked("/preset/one/toy")

    assert "Bearer typed-in" in rig.sender.sent[-1][0].headers.values()


async def test_without_providers(rig: Rig) -> None:
    """A preset that only has routes uses the providers of the main configuration, also after that has changed."""
    rig.write("routes", Router={"default": "main,other"})
    rig.app.presets.load()
    assert "http://main.invalid/" == await rig.asked("/preset/routes/toy")
    assert "other" == rig.sender.sent[-1][1]["model"]

    changed = rig.main("main")
    moved = {**rig.provider("main"), "api_base_url": "http://moved.invalid/"}
    rig.app.swap(build(from_document({"Providers": [moved]}, {}), changed.registry))
    assert await rig.app.presets.look()
    assert "http://moved.invalid/" == await rig.asked("/preset/routes/toy")
    assert not await rig.app.presets.look()


async def test_own_proxy(rig: Rig) -> None:
    """A preset with a proxy of its own does not use the connections of others."""
    rig.preset("one", "first", PROXY_URL="http://proxy.invalid:1")
    rig.app.presets.load()
    rig.own[0].replies = [whole_answer()]
    assert 200 == (await call(rig.app, "POST", "/preset/one/toy", ask(stream=True))).status
    assert (1, 0) == (len(rig.own[0].sent), len(rig.sender.sent))
    await rig.app.presets.close()
    assert rig.own[0].closed


async def test_observers_outlive_a_reload(rig: Rig) -> None:
    """A stream of a preset that is under way while the main configuration changes is observed to its end."""
    rig.preset("one", "first")
    rig.app.presets.load()
    rig.sender.replies = [stream(b'data: {"text":"a"}\n\n', 0.2, b'data: {"end":true}\n\n')]
    async with calling(rig.app, "POST", "/preset/one/toy", ask(stream=True)) as (got, _):
        await got.until(lambda: got.writes)
        rig.app.swap(rig.main("main"))
        assert not rig.observers[0].closed
        await got.until(lambda: got.ended)
    async with asyncio.timeout(5):
        await rig.observers[0].end.wait()

    assert ["first,m"] == rig.observers[0].finished
    await rig.asked("/preset/one/toy")
    assert ["first,m"] == rig.observers[1].finished


async def test_many_requests_while_presets_change(rig: Rig) -> None:
    """Requests to a preset that changes all the time reach the former or the new state, and all are answered."""
    rig.preset("one", "a0")
    rig.app.presets.load()
    urls = []
    for number in range(1, 6):
        rig.preset("one", f"a{number}")
        look = asyncio.create_task(rig.app.presets.look())
        urls.append(await rig.asked("/preset/one/toy"))
        await look
        urls.append(await rig.asked("/preset/one/toy"))

    assert [f"http://a{number}.invalid/" for number in range(1, 6)] == urls[1::2]
    assert [f"http://a{number}.invalid/" for number in range(5)] == urls[::2]
